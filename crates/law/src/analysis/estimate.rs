//! The fit of one law to some rows, with its uncertainty: what every answer about a law is made from.

use super::describe::Described;
use super::fitted::Fitted;
use super::laws::{DenseOverFloor, LawForm};
use super::noise::{OF_TRUNK, Refits, noise_of};
use super::observe::{SeedNoise, levels, seed_noise};
use super::policy::{Policy, ResampledBy};
use super::report::{CannotFit, LawReport, LeftOut, Predicted, Uncertainty};
use super::warning::Warning;
use super::{LEVEL, SAME_SIZE};
use crate::fit::allocation::Setting;
use crate::fit::diagnostics::setting_columns;
use crate::fit::law::{by_name, called};
use crate::fit::{
    BootstrapOptions, Fit, FitError, FittedLaw, Law, LawError, Objective, Observations, Resampling,
    absorbed, bootstrap, fit,
};
use experiment::run::RunId;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A fitted law, what is said about it, and its resamples as predictors.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// What is reported.
    pub report: LawReport,
    /// The law, ready to predict.
    pub fitted: Fitted,
    /// The point fit; over a given floor, of what stands above it.
    pub found: Fit,
    /// The rows that were fitted.
    pub data: Observations,
    /// Noise between rows that agree in everything that tells settings apart.
    pub noise: Option<SeedNoise>,
    /// What limits it.
    pub warnings: Vec<Warning>,
}

/// A law to fit, and the rows.
pub(super) struct Task<'a> {
    /// What sentences call it, such as `DLCM law`.
    pub(super) title: String,
    pub(super) form: LawForm,
    /// The D to which it is confined.
    pub(super) at: Option<f64>,
    pub(super) data: Observations,
    /// What the rows are called.
    pub(super) names: Vec<RunId>,
    /// Usable rows that are not fitted here.
    pub(super) left_out: Vec<LeftOut>,
    /// The law whose floor is taken over.
    pub(super) floor: Option<&'a Estimate>,
    pub(super) noise: Option<SeedNoise>,
    /// Another law's fit to runs of the same experiment.
    pub(super) other: Option<&'a Estimate>,
}

/// Fits a law.
pub(super) fn estimate(task: Task<'_>, policy: &Policy) -> Result<Estimate, CannotFit> {
    let whole = task.form.law()?;
    let floor = task.floor.zip(task.at);
    let law: Arc<dyn Law> = match floor {
        Some(_) => Arc::new(DenseOverFloor),
        None => whole.clone(),
    };
    let losses = task.data.required(law.response())?;
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let level = floor
        .map(|(dlcm, at)| floor_of(&dlcm.fitted.law, at))
        .transpose()?;
    if let Some(level) = level.filter(|&level| level >= lowest) {
        return Err(CannotFit::FloorAbove {
            kind: task.title.trim_end_matches(" law").to_owned(),
            level,
            lowest,
        });
    }
    let data = over(task.data.clone(), level)?;
    let parameters = law.parameters().len();
    let found = fit(&law, &data, &policy.options())?;
    let with_floor = |vector: Vec<f64>, floor: Option<f64>| {
        let all = floor.into_iter().chain(vector).collect();
        FittedLaw::from_parts(whole.clone(), all)
    };
    let rebuilt = |found: &Fit| {
        let values = law.parameters().into_iter();
        let values = values.filter_map(|p| found.parameters.get(&p.name).copied());
        with_floor(values.collect(), level)
    };
    let fitted = rebuilt(&found)?;
    let refit = |data: Observations| {
        let found = fit(&law, &data, &policy.options()).ok()?;
        rebuilt(&found).ok()
    };
    let predicted = predictions(&fitted, &data, &task.names)?;
    let held_out = held_out(&data, &task.names, &law, refit);
    let taken = absorbed(&law, &data, &found, OF_TRUNK)?;
    let (sigma, source) = noise_of(&found, parameters, taken, task.noise, task.other);
    let independent = count_settings(&data, law.as_ref()).min(data.n_clusters());
    // A shared floor varies with the draws of the other law: its refits are made here.
    let resampled = match floor {
        Some(_) => ResampledBy::Noise,
        None => policy.resampling(independent, parameters),
    };
    let resample = |draws: usize| -> Result<Vec<FittedLaw>, CannotFit> {
        let resampling = match resampled {
            ResampledBy::Pairs => Resampling::Pairs,
            ResampledBy::Wild => Resampling::Wild,
            ResampledBy::Noise => {
                let sigma = sigma.filter(|_| data.n_clusters() > 1);
                let Some(sigma) = sigma else {
                    return Ok(Vec::new());
                };
                let expected: Vec<f64> = predicted.iter().map(|row| row.predicted).collect();
                let refits = Refits {
                    law: &law,
                    data: &data,
                    expected: &expected,
                    found: &found,
                    sigma,
                    seed: policy.seed,
                };
                let draw = |k: usize| {
                    let level = match floor {
                        // A draw of the DLCM law that puts the floor above a dense run is ruled out
                        // by it.
                        Some((dlcm, at)) => {
                            let law = dlcm.fitted.draws.get(k).unwrap_or(&dlcm.fitted.law);
                            Some(floor_of(law, at).ok().filter(|&level| level < lowest)?)
                        }
                        None => None,
                    };
                    with_floor(refits.draw(k, level)?, level).ok()
                };
                return Ok((0..draws).into_par_iter().filter_map(draw).collect());
            }
        };
        let options = BootstrapOptions {
            draws,
            resampling,
            seed: policy.seed,
            level: LEVEL,
        };
        Ok(bootstrap(&law, &data, &found, &options)?.fitted(&law)?)
    };
    let wanted = policy.draws(data.len(), parameters);
    let draws = match wanted {
        0 => Vec::new(),
        _ => resample(wanted)?,
    };
    let uncertainty = match (draws.is_empty(), resampled) {
        (true, _) => Uncertainty::None,
        (false, ResampledBy::Pairs) => Uncertainty::Runs { draws: draws.len() },
        (false, ResampledBy::Wild) => Uncertainty::Signs { draws: draws.len() },
        (false, ResampledBy::Noise) => Uncertainty::Noise {
            draws: draws.len(),
            sigma: sigma.unwrap_or_default(),
            source,
        },
    };
    let described = Described {
        title: &task.title,
        form: &task.form,
        at: task.at,
        law: &fitted,
        draws: &draws,
        found: &found,
        data: &data,
        left_out: &task.left_out,
    };
    let mut warnings = described.warnings();
    let stands_for_noise = policy.objective == Objective::L2 && data.n_clusters() == data.len();
    if matches!(uncertainty, Uncertainty::Signs { .. }) && !stands_for_noise {
        let law = task.title.clone();
        warnings.push(Warning::NarrowSigns { law });
    }
    let report = LawReport {
        predicted,
        held_out,
        failed: wanted - draws.len(),
        ..described.report(uncertainty)
    };
    let noise = task.noise.map(|noise| noise.log);
    Ok(Estimate {
        fitted: Fitted {
            ratios: ratios(&data, whole.as_ref()),
            ranges: report.ranges.clone(),
            at_tokens: task.at,
            noise: noise.or(Some(found.goodness.robust_residual)),
            law: fitted,
            draws,
        },
        report,
        found,
        data,
        noise: task.noise,
        warnings,
    })
}

impl Estimate {
    /// Lists the settings of the rows; P = 0 and R = 1 where the law knows neither.
    pub(super) fn settings(&self) -> impl Iterator<Item = Setting> {
        let column = |name: &str, missing: f64| {
            let values = self.data.column(name);
            move |row: usize| values.map_or(missing, |values| values[row])
        };
        let (params, tokens) = (column("params", f64::NAN), column("tokens", f64::NAN));
        let (share, ratio) = (
            column("concept_share", 0.0),
            column("compression_ratio", 1.0),
        );
        (0..self.data.len()).map(move |row| Setting {
            params: params(row),
            tokens: tokens(row),
            concept_share: share(row),
            compression_ratio: ratio(row),
        })
    }
}

/// Lists the declared values of R with the mean of what was realised there; one for each realised value
/// where none was declared, and none for a law that does not read R.
fn ratios(data: &Observations, law: &dyn Law) -> Vec<(f64, f64)> {
    let reads = law
        .inputs()
        .iter()
        .any(|input| input.name == "compression_ratio");
    let (Some(realised), true) = (data.column("compression_ratio"), reads) else {
        return Vec::new();
    };
    let declared = data.column("declared_ratio").unwrap_or(realised);
    let mean = |level: f64| {
        let near = |declared: f64| (declared / level - 1.0).abs() < 1e-3;
        let here = declared.iter().zip(realised);
        let here: Vec<f64> = here
            .filter(|(declared, _)| near(**declared))
            .map(|(_, realised)| *realised)
            .collect();
        here.iter().sum::<f64>() / here.len() as f64
    };
    let levels = levels(declared.iter().copied(), 1e-6).into_iter();
    levels.map(|level| (level, mean(level))).collect()
}

/// Fits a law as it is written; `places` is what its rows are called, and `noise` that between seeds
/// where something else than these rows tells it.
///
/// # Errors
/// [`FitError`] when the rows cannot be fitted.
pub fn fit_as_written(
    name: &str,
    data: &Observations,
    places: &[RunId],
    noise: Option<SeedNoise>,
    policy: &Policy,
) -> Result<Estimate, FitError> {
    let law = by_name(name)?;
    let of_loss = law.response() == "loss";
    let found = seed_noise(data, &setting_columns(data, law.as_ref()), law.response());
    let task = Task {
        title: called(name),
        form: LawForm::Named {
            law: name.to_owned(),
        },
        at: None,
        data: data.clone(),
        names: places.to_vec(),
        left_out: Vec::new(),
        floor: None,
        noise: noise.filter(|_| of_loss).or(found),
        other: None,
    };
    estimate(task, policy).map_err(|why| FitError::Options(why.to_string()))
}

/// Adds the floor, where the law needs one.
pub(super) fn over(data: Observations, floor: Option<f64>) -> Result<Observations, CannotFit> {
    let rows = data.len();
    match floor {
        Some(floor) => Ok(data.with_column("floor", vec![floor; rows])),
        None => Ok(data),
    }
}

/// Counts rows with different settings: replicates count once.
pub(super) fn count_settings(data: &Observations, law: &dyn Law) -> usize {
    let names = setting_columns(data, law);
    let columns: Vec<&[f64]> = names.iter().filter_map(|name| data.column(name)).collect();
    let key = |row: usize| columns.iter().map(|c| c[row].to_bits()).collect::<Vec<_>>();
    let keys: BTreeSet<Vec<u64>> = (0..data.len()).map(key).collect();
    keys.len()
}

/// Predicts every row by a law; NaN where it has no value.
fn predict_rows(law: &FittedLaw, data: &Observations) -> Result<Vec<f64>, CannotFit> {
    let inputs = law.law().inputs();
    let columns: Vec<&[f64]> = inputs
        .iter()
        .map(|input| data.required(&input.name))
        .collect::<Result<_, _>>()?;
    let mut at = vec![0.0; columns.len()];
    let rows = (0..data.len()).map(|row| {
        for (value, column) in at.iter_mut().zip(&columns) {
            *value = column[row];
        }
        law.predict(&at)
    });
    Ok(rows.collect())
}

fn predictions(
    law: &FittedLaw,
    data: &Observations,
    names: &[RunId],
) -> Result<Vec<Predicted>, CannotFit> {
    let observed = data.required(law.law().response())?;
    let rows = names.iter().zip(observed).zip(predict_rows(law, data)?);
    let row = |((name, observed), predicted): ((&RunId, &f64), f64)| Predicted {
        run: name.clone(),
        observed: *observed,
        predicted,
    };
    Ok(rows.map(row).collect())
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

/// Predicts the rows of most compute (N·D) from a fit to the others; empty where they are too few, or
/// the rows have no N and D.
fn held_out(
    data: &Observations,
    names: &[RunId],
    law: &Arc<dyn Law>,
    refit: impl Fn(Observations) -> Option<FittedLaw>,
) -> Vec<Predicted> {
    let (Some(params), Some(tokens)) = (data.column("params"), data.column("tokens")) else {
        return Vec::new();
    };
    let compute: Vec<f64> = params.iter().zip(tokens).map(|(n, d)| n * d).collect();
    let mut sorted = compute.clone();
    sorted.sort_by(f64::total_cmp);
    let count = (HELD_OUT * sorted.len() as f64).ceil() as usize;
    let Some(least) = sorted.len().checked_sub(count.max(1)).map(|k| sorted[k]) else {
        return Vec::new();
    };
    // Rows of one setting, which differ by what the solver reaches, are held out together.
    let tested: Vec<bool> = compute
        .iter()
        .map(|compute| *compute >= least / (1.0 + SAME_SIZE))
        .collect();
    let kept: Vec<bool> = tested.iter().map(|tested| !tested).collect();
    if !kept.iter().any(|kept| *kept) {
        return Vec::new();
    }
    let others = data.clone().keep(&kept, "held out");
    if count_settings(&others, law.as_ref()) <= law.parameters().len() {
        return Vec::new();
    }
    let judged = refit(others).and_then(|law| predictions(&law, data, names).ok());
    let judged = judged.into_iter().flatten().zip(tested);
    let judged = judged.filter(|(one, tested)| *tested && one.predicted.is_finite());
    judged.map(|(one, _)| one).collect()
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
    use crate::fit::law::DlcmForm;

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
