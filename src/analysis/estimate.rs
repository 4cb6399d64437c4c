//! The two fits: the fullest law that the runs can determine, with its uncertainty.

use super::LEVEL;
use super::describe::Described;
use super::laws::{DenseOverFloor, DlcmForm, LawForm};
use super::noise::{Refits, noise_of, observations};
use super::observe::{Observed, SeedNoise, levels, of_kind};
use super::report::{CannotFit, LawReport, Predicted, Uncertainty};
use super::warning::Warning;
use crate::architecture::ModelKind;
use crate::fit::{
    BootstrapOptions, Fit, FitOptions, FittedLaw, Law, LawError, Objective, Resampling, bootstrap,
    fit,
};
use crate::grid::Analysis;
use rayon::prelude::*;
use std::sync::Arc;

/// A fitted law, what is said about it, and its resamples as predictors.
pub(super) struct Estimate {
    pub(super) report: LawReport,
    pub(super) law: FittedLaw,
    pub(super) draws: Vec<FittedLaw>,
}

/// Sizes within this relative distance count as one: solvers reach N within 1%.
const SAME_SIZE: f64 = 0.05;

/// Below this many settings a parameter, resampling runs would lose whole settings of the grid, and
/// losses are perturbed by their noise instead.
const SETTINGS_A_PARAMETER: usize = 4;

/// A form to try for a kind of model, and the D to which it is confined.
struct Candidate {
    kind: ModelKind,
    form: LawForm,
    at: Option<f64>,
}

/// Fits Eq. 22, or as much of it as the DLCM runs determine.
pub(super) fn dlcm(
    runs: &[Observed],
    settings: &Analysis,
    noise: Option<SeedNoise>,
    warnings: &mut Vec<Warning>,
) -> Result<Estimate, CannotFit> {
    let runs = of_kind(runs, ModelKind::Dlcm);
    check_axes(&runs)?;
    let mut refused = None;
    let crowded = most_common_tokens(&runs);
    for at in [None, Some(crowded)] {
        let kept = confine(&runs, at);
        if at.is_none() && levels(kept.iter().map(|run| run.tokens), SAME_SIZE).len() < 3 {
            continue;
        }
        // What varies over all D may not at this one.
        if let Err(lacking) = check_axes(&kept) {
            refused.get_or_insert(lacking);
            continue;
        }
        let ratio = levels(kept.iter().map(|run| run.declared_ratio), SAME_SIZE).len() > 1;
        let without = DlcmForm {
            offsets: false,
            ratio,
            data: at.is_none(),
        };
        let (found, needed) = (settings_count(&kept), without.parameters() + 1);
        if found < needed {
            refused = Some(CannotFit::TooFewRuns {
                kind: called(ModelKind::Dlcm).into(),
                found,
                needed,
            });
            continue;
        }
        let with = DlcmForm {
            offsets: true,
            ..without
        };
        let enough = found >= 2 * with.parameters();
        let form = if enough && offsets_earn_their_place(with, without, &kept, settings)? {
            with
        } else {
            without
        };
        let candidate = Candidate {
            kind: ModelKind::Dlcm,
            form: LawForm::Dlcm(form),
            at,
        };
        return estimate(candidate, &runs, settings, noise, None, warnings);
    }
    Err(refused.unwrap_or(CannotFit::NoRuns {
        kind: called(ModelKind::Dlcm).into(),
    }))
}

/// Compares Eq. 22 with and without offsets by the Bayesian information criterion.
///
/// Offsets that the runs do not show only widen every interval and send exponents to their bounds.
fn offsets_earn_their_place(
    with: DlcmForm,
    without: DlcmForm,
    kept: &[&Observed],
    settings: &Analysis,
) -> Result<bool, CannotFit> {
    let data = observations(kept, None)?;
    let criterion = |form: DlcmForm| -> Result<f64, CannotFit> {
        let found = fit(&LawForm::Dlcm(form).law()?, &data, &options(settings))?;
        let n = found.n_rows as f64;
        let parameters = found.parameters.len() as f64;
        Ok(2.0 * n * found.goodness.rms_residual.ln() + parameters * n.ln())
    };
    Ok(criterion(with)? < criterion(without)?)
}

/// Chooses the estimator that an experiment asks for.
pub(super) fn options(settings: &Analysis) -> FitOptions {
    let objective = Objective::Huber {
        delta: settings.huber_delta,
    };
    FitOptions {
        objective,
        ..FitOptions::default()
    }
}

/// Fits a law of the models of a kind without concepts; one D and few sizes borrow the floor of the
/// DLCM law there.
pub(super) fn baseline(
    kind: ModelKind,
    runs: &[Observed],
    settings: &Analysis,
    noise: Option<SeedNoise>,
    dlcm: Option<&Estimate>,
    warnings: &mut Vec<Warning>,
) -> Result<Estimate, CannotFit> {
    let runs = of_kind(runs, kind);
    if runs.is_empty() {
        return Err(CannotFit::NoRuns {
            kind: called(kind).into(),
        });
    }
    let sizes = |runs: &[&Observed]| levels(runs.iter().map(|run| run.params), SAME_SIZE).len();
    let tokens = levels(runs.iter().map(|run| run.tokens), SAME_SIZE).len();
    if sizes(&runs) >= 3 && tokens >= 3 && settings_count(&runs) >= 6 {
        let candidate = Candidate {
            kind,
            form: LawForm::Chinchilla,
            at: None,
        };
        return estimate(candidate, &runs, settings, noise, dlcm, warnings);
    }
    let at = most_common_tokens(&runs);
    let found = sizes(&confine(&runs, Some(at)));
    let form = match (found, dlcm) {
        (4.., _) => LawForm::DenseAtOneD,
        (2.., Some(_)) => LawForm::DenseSharedFloor,
        _ => {
            let needed = if dlcm.is_some() { 2 } else { 4 };
            return Err(CannotFit::TooFewSizes {
                kind: called(kind).into(),
                found,
                needed,
            });
        }
    };
    let candidate = Candidate {
        kind,
        form,
        at: Some(at),
    };
    estimate(candidate, &runs, settings, noise, dlcm, warnings)
}

/// Names a kind of model in a sentence.
pub(super) fn called(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Dlcm => "DLCM",
        ModelKind::Dense => "dense",
        ModelKind::TokenOnly => "token-only",
    }
}

/// Refuses grids in which a term of Eq. 22 cannot be seen at all.
fn check_axes(runs: &[&Observed]) -> Result<(), CannotFit> {
    let kind = || called(ModelKind::Dlcm).to_owned();
    if runs.is_empty() {
        return Err(CannotFit::NoRuns { kind: kind() });
    }
    let sizes = levels(runs.iter().map(|run| run.params), SAME_SIZE).len();
    if sizes < 2 {
        return Err(CannotFit::TooFewSizes {
            kind: kind(),
            found: sizes,
            needed: 2,
        });
    }
    // Shares are levels of 1 + P, so that the tolerance is one on P itself.
    if levels(runs.iter().map(|run| 1.0 + run.share), 0.02).len() < 2 {
        return Err(CannotFit::OneShare {
            share: runs[0].share,
        });
    }
    Ok(())
}

fn confine<'a>(runs: &[&'a Observed], at: Option<f64>) -> Vec<&'a Observed> {
    let inside = |run: &&Observed| at.is_none_or(|at| (run.tokens / at).ln().abs() < SAME_SIZE);
    runs.iter().copied().filter(inside).collect()
}

/// Finds the D of most runs; the largest of equally common ones.
fn most_common_tokens(runs: &[&Observed]) -> f64 {
    let values = levels(runs.iter().map(|run| run.tokens), SAME_SIZE);
    let count = |at: f64| confine(runs, Some(at)).len();
    values
        .into_iter()
        .max_by_key(|&at| (count(at), at as u64))
        .unwrap_or(f64::NAN)
}

/// Counts runs with different N, D, P or declared R: replicates count once.
fn settings_count(runs: &[&Observed]) -> usize {
    let mut keys: Vec<[u64; 4]> = runs
        .iter()
        .map(|r| [r.params, r.tokens, r.share, r.declared_ratio].map(f64::to_bits))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys.len()
}

fn estimate(
    Candidate { kind, form, at }: Candidate,
    runs: &[&Observed],
    settings: &Analysis,
    noise: Option<SeedNoise>,
    other: Option<&Estimate>,
    warnings: &mut Vec<Warning>,
) -> Result<Estimate, CannotFit> {
    let kept = confine(runs, at);
    let floor = match (form, other, at) {
        (LawForm::DenseSharedFloor, Some(dlcm), Some(at)) => Some((dlcm, at)),
        _ => None,
    };
    let law: Arc<dyn Law> = match floor {
        Some(_) => Arc::new(DenseOverFloor),
        None => form.law()?,
    };
    let lowest = kept
        .iter()
        .map(|run| run.loss)
        .fold(f64::INFINITY, f64::min);
    let level = floor
        .map(|(dlcm, at)| floor_of(&dlcm.law, at))
        .transpose()?;
    if let Some(level) = level.filter(|&level| level >= lowest) {
        return Err(CannotFit::FloorAbove {
            kind: called(kind).into(),
            level,
            lowest,
        });
    }
    let data = observations(&kept, level)?;
    let parameters = law.parameters().len();
    let found = fit(&law, &data, &options(settings))?;
    let with_floor = |vector: Vec<f64>, floor: Option<f64>| {
        let all = floor.into_iter().chain(vector).collect();
        FittedLaw::from_parts(form.law()?, all)
    };
    let rebuilt = |found: &Fit| {
        let values = law.parameters().into_iter();
        let values = values.filter_map(|p| found.parameters.get(&p.name).copied());
        with_floor(values.collect(), level)
    };
    let fitted = rebuilt(&found)?;
    let others = |runs: &[&Observed]| {
        let data = observations(runs, level).ok()?;
        let found = fit(&law, &data, &options(settings)).ok()?;
        rebuilt(&found).ok()
    };
    let held_out = held_out(&kept, parameters, others);
    let (sigma, source) = noise_of(&found, parameters, noise, other);
    // A shared floor varies with the draws of the other law: its refits are made here.
    let independent = settings_count(&kept).min(data.n_clusters());
    let few = floor.is_some() || independent < SETTINGS_A_PARAMETER * parameters;
    let resampled = |draws: usize| -> Result<Vec<FittedLaw>, CannotFit> {
        if !few {
            let options = BootstrapOptions {
                draws,
                resampling: Resampling::Pairs,
                seed: settings.seed,
                level: LEVEL,
            };
            return Ok(bootstrap(&law, &data, &found, &options)?.fitted(&law)?);
        }
        let Some(sigma) = sigma else {
            return Ok(Vec::new());
        };
        let seed = settings.seed;
        let refits = Refits {
            law: &law,
            runs: &kept,
            fitted: &fitted,
            found: &found,
            sigma,
            seed,
        };
        let draw = |k: usize| {
            let level = match floor {
                // A draw of the DLCM law that puts the floor above a dense run is ruled out by it.
                Some((dlcm, at)) => {
                    let law = dlcm.draws.get(k).unwrap_or(&dlcm.law);
                    Some(floor_of(law, at).ok().filter(|&level| level < lowest)?)
                }
                None => None,
            };
            with_floor(refits.draw(k, level)?, level).ok()
        };
        Ok((0..draws).into_par_iter().filter_map(draw).collect())
    };
    let draws = match settings.bootstrap {
        0 => Vec::new(),
        count => resampled(count)?,
    };
    let uncertainty = match (draws.is_empty(), few) {
        (true, _) => Uncertainty::None,
        (false, false) => Uncertainty::Runs { draws: draws.len() },
        (false, true) => Uncertainty::Noise {
            draws: draws.len(),
            sigma: sigma.unwrap_or_default(),
            source,
        },
    };
    let described = Described {
        kind,
        form,
        at,
        law: &fitted,
        draws: &draws,
        found: &found,
        kept: &kept,
        all: runs,
        held_out,
    };
    warnings.extend(described.warnings());
    let report = described.report(uncertainty);
    Ok(Estimate {
        report,
        law: fitted,
        draws,
    })
}

/// The loss of an infinitely large dense model on D tokens, by the DLCM law: what is left without
/// its terms of size. (At infinite N a concept term whose exponent the data put at 0 would stay.)
fn floor_of(law: &FittedLaw, tokens: f64) -> Result<f64, LawError> {
    let names = law.law().parameters();
    let parameters = names.iter().zip(law.parameters());
    let without_size = parameters.map(|(parameter, &value)| match parameter.name.as_str() {
        "A_token" | "A_concept" => 0.0,
        _ => value,
    });
    let rest = FittedLaw::from_parts(law.law().clone(), without_size.collect())?;
    // Columns of a fit are positive.
    Ok(predict(&rest, 1.0, tokens, 0.5, 1.0).max(1e-9))
}

/// At least this share of the runs is held out.
const HELD_OUT: f64 = 0.1;

/// Predicts the runs of most compute (N·D) from a fit to the others; empty where they are too few.
fn held_out(
    kept: &[&Observed],
    parameters: usize,
    refit: impl Fn(&[&Observed]) -> Option<FittedLaw>,
) -> Vec<Predicted> {
    let compute = |run: &Observed| run.params * run.tokens;
    let mut sorted: Vec<f64> = kept.iter().map(|run| compute(run)).collect();
    sorted.sort_by(f64::total_cmp);
    let count = (HELD_OUT * sorted.len() as f64).ceil() as usize;
    let Some(least) = sorted.len().checked_sub(count.max(1)).map(|k| sorted[k]) else {
        return Vec::new();
    };
    // Runs of one setting, which differ by what the solver reaches, are held out together.
    let (tested, others): (Vec<&Observed>, Vec<&Observed>) = kept
        .iter()
        .copied()
        .partition(|run| compute(run) >= least / (1.0 + SAME_SIZE));
    if settings_count(&others) <= parameters {
        return Vec::new();
    }
    let Some(law) = refit(&others) else {
        return Vec::new();
    };
    let judged = tested.into_iter().map(|run| Predicted {
        run: run.id.clone(),
        observed: run.loss,
        predicted: predict(&law, run.params, run.tokens, run.share, run.ratio),
    });
    judged.filter(|one| one.predicted.is_finite()).collect()
}

/// Predicts the loss of a setting; a law takes of it what it knows.
pub(super) fn predict(law: &FittedLaw, params: f64, tokens: f64, share: f64, ratio: f64) -> f64 {
    let inputs: Vec<f64> = law
        .law()
        .inputs()
        .iter()
        .map(|input| match input.name.as_str() {
            "params" => params,
            "tokens" => tokens,
            "concept_share" => share,
            _ => ratio,
        })
        .collect();
    law.predict(&inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_holds_no_term_of_size() {
        let whole = LawForm::Dlcm(DlcmForm::WHOLE);
        let at_one_d = LawForm::Dlcm(DlcmForm {
            offsets: false,
            ratio: true,
            data: false,
        });
        for (form, data) in [(whole, 850.0 / 3e6_f64.powf(0.33)), (at_one_d, 0.0)] {
            // Exponents of 0, as a fit to noise may end: the concept term is a constant.
            let law = form
                .fitted(|name| match name {
                    "E0" => Some(3.1),
                    "A_token" => Some(22.0),
                    "A_concept" => Some(1.0),
                    "gamma" => Some(-8.0),
                    "A_data" => Some(850.0),
                    "t_data" => Some(1e6),
                    "alpha" => Some(0.33),
                    _ => Some(0.0),
                })
                .expect("all given");
            let floor = floor_of(&law, 2e6).expect("a law");
            assert!((floor - 3.1 - data).abs() < 1e-12, "{floor}");
        }
    }
}
