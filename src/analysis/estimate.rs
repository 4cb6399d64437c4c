//! The two fits: the fullest law that the runs can determine, with its uncertainty.

use super::laws::{DenseOverFloor, DlcmForm, LawForm};
use super::observe::{LeftOut, Observed, SeedNoise, levels};
use super::report::{CannotFit, LawReport, NoiseSource, ParameterEstimate, Predicted, Uncertainty};
use super::warning::Warning;
use super::{LEVEL, interval};
use crate::fit::diagnostics::{Side, Why};
use crate::fit::{
    BootstrapOptions, Fit, FitOptions, FittedLaw, Law, Objective, Observations, Resampling,
    bootstrap, fit,
};
use crate::grid::Analysis;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
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

/// Below this many runs a parameter, resampling runs would lose whole settings of the grid, and
/// losses are perturbed by their noise instead.
const RUNS_A_PARAMETER: usize = 4;

/// N and D with a correlation above this (of logarithms) cannot be told apart.
const TOGETHER: f64 = 0.995;

/// A form to try, and the D to which it is confined.
struct Candidate {
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
    let runs: Vec<&Observed> = runs.iter().filter(|run| !run.dense).collect();
    check_axes(&runs)?;
    let mut refused = None;
    let crowded = most_common_tokens(&runs);
    let ratio = levels(runs.iter().map(|run| run.declared_ratio), SAME_SIZE).len() > 1;
    for at in [None, Some(crowded)] {
        let kept = confine(&runs, at);
        if at.is_none() && levels(kept.iter().map(|run| run.tokens), SAME_SIZE).len() < 3 {
            continue;
        }
        for offsets in [true, false] {
            let form = DlcmForm { offsets, ratio, data: at.is_none() };
            let parameters = form.parameters();
            let needed = if offsets { 2 * parameters } else { parameters + 1 };
            let found = settings_count(&kept);
            if found < needed {
                refused = Some(CannotFit::TooFewRuns { kind: "DLCM".into(), found, needed });
                continue;
            }
            let candidate = Candidate { form: LawForm::Dlcm(form), at };
            return estimate(candidate, &runs, settings, noise, None, warnings);
        }
    }
    Err(refused.unwrap_or(CannotFit::NoRuns { kind: "DLCM".into() }))
}

/// Fits a law of the dense baselines; one D and few sizes borrow the floor of the DLCM law there.
pub(super) fn dense(
    runs: &[Observed],
    settings: &Analysis,
    noise: Option<SeedNoise>,
    dlcm: Option<&Estimate>,
    warnings: &mut Vec<Warning>,
) -> Result<Estimate, CannotFit> {
    let runs: Vec<&Observed> = runs.iter().filter(|run| run.dense).collect();
    if runs.is_empty() {
        return Err(CannotFit::NoRuns { kind: "dense".into() });
    }
    let sizes = |runs: &[&Observed]| levels(runs.iter().map(|run| run.params), SAME_SIZE).len();
    let tokens = levels(runs.iter().map(|run| run.tokens), SAME_SIZE).len();
    if sizes(&runs) >= 3 && tokens >= 3 && settings_count(&runs) >= 6 {
        let candidate = Candidate { form: LawForm::Chinchilla, at: None };
        return estimate(candidate, &runs, settings, noise, dlcm, warnings);
    }
    let at = most_common_tokens(&runs);
    let found = sizes(&confine(&runs, Some(at)));
    let form = match (found, dlcm) {
        (4.., _) => LawForm::DenseAtOneD,
        (2.., Some(_)) => LawForm::DenseSharedFloor,
        _ => {
            let needed = if dlcm.is_some() { 2 } else { 4 };
            return Err(CannotFit::TooFewSizes { kind: "dense".into(), found, needed });
        }
    };
    estimate(Candidate { form, at: Some(at) }, &runs, settings, noise, dlcm, warnings)
}

/// Refuses grids in which a term of Eq. 22 cannot be seen at all.
fn check_axes(runs: &[&Observed]) -> Result<(), CannotFit> {
    let kind = || "DLCM".to_owned();
    if runs.is_empty() {
        return Err(CannotFit::NoRuns { kind: kind() });
    }
    let sizes = levels(runs.iter().map(|run| run.params), SAME_SIZE).len();
    if sizes < 2 {
        return Err(CannotFit::TooFewSizes { kind: kind(), found: sizes, needed: 2 });
    }
    // Shares are levels of 1 + P, so that the tolerance is one on P itself.
    if levels(runs.iter().map(|run| 1.0 + run.share), 0.02).len() < 2 {
        return Err(CannotFit::OneShare { share: runs[0].share });
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
    values.into_iter().max_by_key(|&at| (count(at), at as u64)).unwrap_or(f64::NAN)
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
    Candidate { form, at }: Candidate,
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
    let options =
        FitOptions { objective: Objective::Huber { delta: settings.huber_delta }, ..FitOptions::default() };
    let law: Arc<dyn Law> = match floor {
        Some(_) => Arc::new(DenseOverFloor),
        None => form.law()?,
    };
    let data = observations(&kept, floor.map(|(dlcm, at)| floor_of(&dlcm.law, at)))?;
    let found = fit(&law, &data, &options)?;
    let with_floor = |vector: Vec<f64>, floor: Option<f64>| {
        let all = floor.into_iter().chain(vector).collect();
        FittedLaw::from_parts(form.law()?, all)
    };
    let fitted = with_floor(
        law.parameters().iter().filter_map(|p| found.parameters.get(&p.name).copied()).collect(),
        floor.map(|(dlcm, at)| floor_of(&dlcm.law, at)),
    )?;
    let parameters = law.parameters().len();
    let (sigma, source) = noise_of(&found, &kept, &fitted, parameters, noise, other);
    let few = data.n_clusters() < RUNS_A_PARAMETER * parameters;
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
        let Some(sigma) = sigma else { return Ok(Vec::new()) };
        let draw = |k: usize| {
            let floor = floor.map(|(dlcm, at)| {
                floor_of(dlcm.draws.get(k).unwrap_or(&dlcm.law), at)
            });
            let vector = perturbed(&law, &kept, &fitted, &found, floor, sigma, settings.seed, k)?;
            with_floor(vector, floor).ok()
        };
        Ok((0..draws).into_par_iter().filter_map(draw).collect())
    };
    #[cfg(test)]
    let t0 = std::time::Instant::now();
    let draws = match settings.bootstrap {
        0 => Vec::new(),
        count => resampled(count)?,
    };
    #[cfg(test)]
    eprintln!("T draws {:?} alternates {}", t0.elapsed(), found.alternates.len());
    let uncertainty = match (draws.is_empty(), few) {
        (true, _) => Uncertainty::None,
        (false, false) => Uncertainty::Runs { draws: draws.len() },
        (false, true) => {
            Uncertainty::Noise { draws: draws.len(), sigma: sigma.unwrap_or_default(), source }
        }
    };
    warn(form, &found, &kept, runs.len() - kept.len(), at, warnings);
    let report = report(form, at, &fitted, &draws, &found, &kept, runs, uncertainty)?;
    Ok(Estimate { report, law: fitted, draws })
}

/// The loss of an infinitely large model on D tokens, by the DLCM law.
fn floor_of(law: &FittedLaw, tokens: f64) -> f64 {
    const INFINITE: f64 = 1e300;
    predict(law, INFINITE, tokens, 0.5, 1.0)
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

fn observations(kept: &[&Observed], floor: Option<f64>) -> Result<Observations, CannotFit> {
    let column = |value: fn(&Observed) -> f64| kept.iter().map(|run| value(run)).collect();
    let mut columns: Vec<(&str, Vec<f64>)> = vec![
        ("params", column(|run| run.params)),
        ("tokens", column(|run| run.tokens)),
        ("compression_ratio", column(|run| run.ratio)),
        ("concept_share", column(|run| run.share)),
        ("loss", column(|run| run.loss)),
    ];
    if let Some(floor) = floor {
        columns.push(("floor", vec![floor; kept.len()]));
    }
    let ids: Vec<&str> = kept.iter().map(|run| run.id.0.as_str()).collect();
    Ok(Observations::new(columns)?.with_clusters(&ids)?)
}

/// The scale of the noise on ln loss: what replicates show or what the fit leaves, if larger.
///
/// A fit that leaves nothing, because it has as many parameters as points, borrows the noise of
/// the other law, whose runs are of the same experiment.
fn noise_of(
    found: &Fit,
    kept: &[&Observed],
    fitted: &FittedLaw,
    parameters: usize,
    replicates: Option<SeedNoise>,
    other: Option<&Estimate>,
) -> (Option<f64>, NoiseSource) {
    let squares: f64 = kept
        .iter()
        .map(|run| {
            (predict(fitted, run.params, run.tokens, run.share, run.ratio) / run.loss).ln().powi(2)
        })
        .sum();
    let freedom = found.n_rows.saturating_sub(parameters);
    let residual = (freedom > 0).then(|| (squares / freedom as f64).sqrt());
    let borrowed = other.and_then(|other| other.report.noise);
    let candidates = [
        (residual, NoiseSource::Residuals { freedom }),
        (replicates.map(|noise| noise.log), NoiseSource::Replicates),
        // Few degrees of freedom can leave hardly any residual by luck.
        (borrowed.filter(|_| freedom < 5), NoiseSource::OtherLaw),
    ];
    candidates
        .into_iter()
        .filter_map(|(sigma, source)| Some((sigma.filter(|s| s.is_finite())?, source)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or((None, NoiseSource::Residuals { freedom: 0 }), |(s, source)| (Some(s), source))
}

/// Refits losses that are the fitted ones with fresh noise.
#[expect(clippy::too_many_arguments, reason = "one draw needs all of the fit")]
fn perturbed(
    law: &Arc<dyn Law>,
    kept: &[&Observed],
    fitted: &FittedLaw,
    found: &Fit,
    floor: Option<f64>,
    sigma: f64,
    seed: u64,
    draw: usize,
) -> Option<Vec<f64>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(draw as u64);
    let noisy: Vec<Observed> = kept
        .iter()
        .map(|run| {
            let loss = predict(fitted, run.params, run.tokens, run.share, run.ratio);
            Observed { loss: loss * (sigma * normal(&mut random)).exp(), ..(*run).clone() }
        })
        .collect();
    let data = observations(&noisy.iter().collect::<Vec<_>>(), floor).ok()?;
    // One wild draw of these data is a refit from the fit's own minima; turning the sign of
    // symmetric noise leaves it what it was.
    let options =
        BootstrapOptions { draws: 1, resampling: Resampling::Wild, seed: draw as u64, level: LEVEL };
    bootstrap(law, &data, found, &options).ok()?.draws.pop()
}

/// Draws from the standard normal distribution (Box–Muller).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

fn warn(
    form: LawForm,
    found: &Fit,
    kept: &[&Observed],
    left_out: usize,
    at: Option<f64>,
    warnings: &mut Vec<Warning>,
) {
    let law = || found.law.clone();
    if !found.converged() {
        warnings.push(Warning::NotConverged { law: law() });
    }
    if let (Some(tokens), true) = (at, left_out > 0) {
        warnings.push(Warning::OneTokenCount { law: law(), tokens, left_out });
    }
    let (runs, parameters) = (kept.len(), found.parameters.len());
    if runs < 2 * parameters {
        warnings.push(Warning::Stretched { law: law(), runs, parameters });
    }
    if form.knows_tokens() && move_together(kept) {
        warnings.push(Warning::SizesMoveTogether { law: law() });
    }
    for warning in &found.warnings {
        // Known and said: the floor is one value by construction.
        let single = matches!(warning, crate::fit::diagnostics::Warning::SingleValued { .. });
        if !single {
            warnings.push(Warning::Fit { law: law(), warning: warning.clone() });
        }
    }
}

fn move_together(kept: &[&Observed]) -> bool {
    let n = kept.len() as f64;
    let mean = |value: fn(&Observed) -> f64| kept.iter().map(|r| value(r).ln()).sum::<f64>() / n;
    let (params, tokens) = (mean(|r| r.params), mean(|r| r.tokens));
    let (mut pp, mut tt, mut pt) = (0.0, 0.0, 0.0);
    for run in kept {
        let (p, t) = (run.params.ln() - params, run.tokens.ln() - tokens);
        pp += p * p;
        tt += t * t;
        pt += p * t;
    }
    pt / (pp * tt).sqrt() > TOGETHER
}

#[expect(clippy::too_many_arguments, reason = "everything that is known about one fit")]
fn report(
    form: LawForm,
    at: Option<f64>,
    fitted: &FittedLaw,
    draws: &[FittedLaw],
    found: &Fit,
    kept: &[&Observed],
    all: &[&Observed],
    uncertainty: Uncertainty,
) -> Result<LawReport, CannotFit> {
    let law = fitted.law();
    let parameters = law.parameters().into_iter().enumerate().map(|(j, parameter)| {
        let values: Vec<f64> = draws.iter().map(|draw| draw.parameters()[j]).collect();
        // The shared-floor fit calls them A and alpha.
        let own = match (form, j) {
            (LawForm::DenseSharedFloor, 1) => "A",
            (LawForm::DenseSharedFloor, 2) => "alpha",
            _ => parameter.name.as_str(),
        };
        let why = found.unidentified.iter().find(|u| u.parameter == own);
        ParameterEstimate {
            value: fitted.parameters()[j],
            interval: interval(&values, LEVEL),
            at_bound: found.at_bound.iter().find(|b| b.parameter == own).map(|b| b.side),
            unidentified: why.map(|unidentified| in_words(&unidentified.why)),
            name: parameter.name,
            unit: parameter.unit.to_owned(),
        }
    });
    let parameters = parameters.collect();
    let noise = match uncertainty {
        Uncertainty::Noise { sigma, .. } => Some(sigma),
        _ => Some(found.goodness.rms_residual).filter(|r| r.is_finite() && *r > 0.0),
    };
    let left_out = all
        .iter()
        .filter(|run| !kept.iter().any(|other| other.id == run.id))
        .map(|run| LeftOut { id: run.id.clone(), why: "it has another D".into() })
        .collect();
    let predicted = kept.iter().map(|run| Predicted {
        run: run.id.clone(),
        observed: run.loss,
        predicted: predict(fitted, run.params, run.tokens, run.share, run.ratio),
    });
    Ok(LawReport {
        form,
        law: law.name(),
        equation: law.equation(),
        source: law.source().to_owned(),
        at_tokens: at,
        parameters,
        runs: found.n_clusters,
        converged: found.converged(),
        r2: found.goodness.r2.filter(|r2| r2.is_finite()),
        rms_residual: found.goodness.rms_residual,
        noise,
        uncertainty,
        starts: found.starts,
        starts_at_minimum: found.starts_at_minimum,
        ranges: found.ranges.iter().filter(|r| r.column != "floor").cloned().collect(),
        predicted: predicted.collect(),
        left_out,
    })
}

fn in_words(why: &Why) -> String {
    match why {
        Why::NoEffect => "its term has amplitude 0".to_owned(),
        Why::Degenerate { single_valued } if single_valued.is_empty() => {
            "other values predict the same losses".to_owned()
        }
        Why::Degenerate { single_valued } => {
            format!("{} has one value", single_valued.join(" and "))
        }
        Why::Imprecise { relative_error } if relative_error.is_finite() => {
            format!("its standard error is {relative_error:.1} times its value")
        }
        #[allow(unreachable_patterns, reason = "the engine may learn other reasons")]
        _ => "its standard error is above its value".to_owned(),
    }
}

/// Names a side of a range.
pub(super) fn side(side: Side) -> &'static str {
    match side {
        Side::Lower => "lower",
        Side::Upper => "upper",
    }
}
