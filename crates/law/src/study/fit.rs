//! A law fitted to rows, with everything that tells how far it can be believed.

use super::rows::{LeftOutRows, Rows};
use crate::analysis::{
    CannotFit, Estimate, Fitted, LEVEL, Laws, ParameterEstimate, Policy, SeedNoise, Uncertainty,
    Warning, fit_as_written, in_words, reductions,
};
use crate::fit::diagnostics::{
    Change, DataRange, Goodness, Sensitivity, Which, held_out_largest, sensitivity,
};
use crate::fit::law::Law;
use crate::fit::{FitError, FitOptions, Observations, Profile, interval, profile};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// What is found out beside a fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Whether to profile every parameter.
    pub profile: bool,
    /// Whether to hold rows out by column and refit under other choices.
    pub choices: bool,
}

impl Checks {
    /// Nothing beside the fit.
    pub const NONE: Self = Self {
        profile: false,
        choices: false,
    };
}

/// Why a law cannot be fitted to rows.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// The engine refuses.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The runs are none for this law.
    #[error("{0}")]
    Runs(CannotFit),
}

/// A fit, and the law that it found.
#[derive(Debug)]
pub struct Studied {
    /// How far it can be believed.
    pub report: FitReport,
    /// The law.
    pub fitted: Fitted,
    /// The law with the laws of the other kinds of models, where there are any.
    pub laws: Option<Laws>,
    /// Its rows: what each is called, its loss and what the law predicts.
    pub estimate: Estimate,
}

/// A fitted law and how far it can be believed.
#[derive(Clone, Debug, Serialize)]
pub struct FitReport {
    /// Name of the law.
    pub law: String,
    /// Its equation.
    pub equation: String,
    /// Where the equation comes from.
    pub source: String,
    /// The one D at which it holds; null when it knows what D does.
    pub at_tokens: Option<f64>,
    /// How it is less than the law as it is written, in words.
    pub reduced: Vec<String>,
    /// What was fitted.
    pub data: String,
    /// Natural parameters by name.
    pub parameters: BTreeMap<String, f64>,
    /// Units by parameter.
    pub units: BTreeMap<String, String>,
    /// The minimum: the sum over rows of the objective.
    pub objective: f64,
    /// What was minimised, and from how many starts.
    pub options: FitOptions,
    /// Rows fitted.
    pub n_rows: usize,
    /// Runs (groups of rows) fitted.
    pub n_runs: usize,
    /// Whether the solver reached a minimum.
    pub converged: bool,
    /// Starts that were followed.
    pub starts: usize,
    /// Starts that reached the minimum.
    pub starts_at_minimum: usize,
    /// Parameters on a bound.
    pub at_bound: Vec<String>,
    /// Parameters the data do not determine.
    pub unidentified: Vec<String>,
    /// Why they are not determined.
    pub why_unidentified: BTreeMap<String, String>,
    /// 95% intervals by parameter; an open end is null, and so are both where the parameter has no
    /// effect or others make up for it.
    pub intervals: BTreeMap<String, [Option<f64>; 2]>,
    /// Where they come from.
    pub uncertainty: Uncertainty,
    /// Resamples without a fit; they are in no interval.
    pub failed: usize,
    /// Standard errors: over the resamples, or from the curvature without them; null when infinite.
    pub standard_errors: BTreeMap<String, Option<f64>>,
    /// Condition number of the scaled Jacobian; null when infinite.
    pub condition_number: Option<f64>,
    /// Coefficient of determination of the response.
    pub r2: Option<f64>,
    /// Residuals and their pattern.
    pub residuals: Goodness,
    /// Errors on the rows with the largest values of a column, predicted from the others.
    pub held_out: BTreeMap<String, HeldOutError>,
    /// Whether the conclusion moves under other choices.
    pub sensitivity: Option<SensitivityReport>,
    /// Noise between runs that differ in their seed alone.
    pub seed_noise: Option<SeedNoise>,
    /// Profiles, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Profile>,
    /// Range of every input.
    pub ranges: Vec<DataRange>,
    /// Declared values of R, each with the mean of what was realised; empty for a law without R.
    pub ratios: Vec<(f64, f64)>,
    /// Rows left out.
    pub excluded: Vec<LeftOutRows>,
    /// What a reader must know.
    #[serde(serialize_with = "in_words")]
    pub warnings: Vec<Warning>,
    /// Wall-clock seconds of all this.
    pub seconds: f64,
    /// Wall-clock seconds of the point fit alone.
    pub seconds_point_fit: f64,
    /// Parameters of every resample, in the law's order.
    pub draws: Vec<Vec<f64>>,
}

/// An error on rows that were held out, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum HeldOutError {
    /// The error.
    Measured {
        /// The smallest value that was held out.
        from: f64,
        /// Rows held out.
        n_rows: usize,
        /// Mean absolute relative error.
        mean_error: f64,
        /// Worst absolute relative error.
        worst_error: f64,
        /// Mean relative error: positive when the law predicts too high a loss.
        bias: f64,
    },
    /// Why there is none.
    Unknown {
        /// Why.
        problem: String,
    },
}

/// Whether the conclusion moves under choices that could as well have been made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SensitivityReport {
    /// The reference: 10× the largest value of every resource, medians of the rest.
    pub reference: BTreeMap<String, f64>,
    /// The loss predicted there.
    pub prediction: f64,
    /// Its interval over the resamples.
    pub interval: Option<[f64; 2]>,
    /// The same under other choices.
    pub refits: Vec<Moved>,
    /// Largest relative change of the prediction.
    pub largest_change: f64,
    /// Whether a choice moves the prediction out of its interval (without one: by over 1%).
    pub moves: bool,
}

/// The prediction under another choice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// The choice in words.
    pub choice: String,
    /// The prediction; null when the law could not be fitted.
    pub prediction: Option<f64>,
    /// Why it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Rows times parameters up to which refits under other choices are made.
const CHECKED: usize = 1_000_000;

/// A relative change of a loss that is less than this changes no conclusion.
const MATTERS: f64 = 1e-3;

/// Fits a law to rows and finds out how far it can be believed.
///
/// `dlcm` and `chinchilla` are the laws of kinds of models: of them as much is fitted as the runs of
/// that kind determine, by the same function as an experiment's analysis. What they do not determine
/// at all is fitted as it is written, and so is every other law.
///
/// # Errors
/// [`Unfit`] when the rows cannot be fitted at all.
pub fn fit(name: &str, rows: &Rows, policy: &Policy, checks: Checks) -> Result<Studied, Unfit> {
    let started = Instant::now();
    let (mut laws, mut found) = (None, None);
    let mut warnings = Vec::new();
    if let Some(kind) = rows.kind(name) {
        let all = Laws::of(&rows.runs, policy);
        warnings.extend(all.warnings.iter().cloned());
        match all.of_kind(kind) {
            Ok(estimate) => found = Some(estimate.clone()),
            Err(why @ CannotFit::SeveralDataSets { .. }) => return Err(Unfit::Runs(why.clone())),
            Err(why) => warnings.push(Warning::Rows {
                text: format!("{why}: fitted as it is written"),
            }),
        }
        laws = Some(all);
    }
    let noise = laws.as_ref().and_then(|laws| laws.noise);
    let estimate = match found {
        Some(estimate) => estimate,
        None => fit_as_written(name, &rows.observations, &rows.places, noise, policy)?,
    };
    let seconds_point_fit = started.elapsed().as_secs_f64();
    let noise = noise.or(estimate.noise);
    let mut report = describe(&estimate, checks.profile)?;
    report.data.clone_from(&rows.name);
    report.excluded.clone_from(&rows.excluded);
    report.seconds_point_fit = seconds_point_fit;
    report.seed_noise = noise;
    warnings.extend(estimate.warnings.iter().cloned());
    let data = &estimate.data;
    let law = estimate.fitted.law.law();
    // Over a floor that another law gives there is nothing to choose.
    let own = data.column("floor").is_none();
    let small = data.len() * law.parameters().len() <= CHECKED;
    if checks.choices && small && own {
        report
            .held_out
            .extend(held_out(law, data, &policy.options()));
        // Where a column has one value there is nothing to conclude from it.
        if report
            .ranges
            .iter()
            .all(|range| range.lowest < range.highest)
        {
            let found = moves(law, data, &estimate)?;
            if found.moves {
                warnings.push(Warning::ConclusionMoves { law: law.name() });
            }
            report.sensitivity = Some(found);
        }
    } else if checks.choices && !small {
        warnings.push(Warning::NotChecked { rows: data.len() });
    }
    // The laws of kinds of models have said of their axes what there is to say.
    let said = warnings.clone();
    warnings.extend(rows.warnings().filter(|warning| !said.contains(warning)));
    warnings.sort_by_key(Warning::severity);
    report.warnings = warnings;
    report.seconds = started.elapsed().as_secs_f64();
    Ok(Studied {
        report,
        fitted: estimate.fitted.clone(),
        laws,
        estimate,
    })
}

fn profiles(estimate: &Estimate, wanted: bool) -> Result<Vec<Profile>, FitError> {
    let own = estimate.data.column("floor").is_none();
    let law = estimate.fitted.law.law();
    let parameters = law.parameters().into_iter().filter(|_| wanted && own);
    parameters
        .map(|parameter| profile(law, &estimate.data, &estimate.found, &parameter.name, LEVEL))
        .collect()
}

fn describe(estimate: &Estimate, profile: bool) -> Result<FitReport, FitError> {
    let profiles = profiles(estimate, profile)?;
    let Estimate {
        report,
        fitted,
        found,
        ..
    } = estimate;
    let parameters = &report.parameters;
    let known = |[low, high]: [f64; 2]| [low, high].map(|end| Some(end).filter(|e| e.is_finite()));
    let mut intervals: BTreeMap<String, [Option<f64>; 2]> = parameters
        .iter()
        .map(|p| (p.name.clone(), p.interval.map_or([None; 2], known)))
        .collect();
    let mut why_unidentified: BTreeMap<String, String> = parameters
        .iter()
        .filter_map(|p| Some((p.name.clone(), p.unidentified.clone()?)))
        .collect();
    let mut uncertainty = report.uncertainty;
    for profile in &profiles {
        if fitted.draws.is_empty() {
            uncertainty = Uncertainty::Profiles;
            intervals.insert(profile.parameter.clone(), profile.interval);
        }
        if profile.interval[1].is_none() {
            let why = "its profile has no upper end".to_owned();
            why_unidentified
                .entry(profile.parameter.clone())
                .or_insert(why);
        }
    }
    if matches!(uncertainty, Uncertainty::None) {
        intervals.clear();
    }
    let curvature = &found.identification.standard_errors;
    let error = |p: &ParameterEstimate| {
        if fitted.draws.is_empty() {
            curvature.get(&p.name).and_then(|error| error.0)
        } else {
            p.standard_error
        }
    };
    Ok(FitReport {
        law: report.law.clone(),
        equation: report.equation.clone(),
        source: report.source.clone(),
        at_tokens: report.at_tokens,
        reduced: reductions(report),
        data: String::new(),
        parameters: parameters
            .iter()
            .map(|p| (p.name.clone(), p.value))
            .collect(),
        units: parameters
            .iter()
            .map(|p| (p.name.clone(), p.unit.clone()))
            .collect(),
        objective: found.objective,
        options: found.options.clone(),
        n_rows: found.n_rows,
        n_runs: found.n_clusters,
        converged: found.converged(),
        starts: found.starts,
        starts_at_minimum: found.starts_at_minimum,
        at_bound: parameters
            .iter()
            .filter(|p| p.at_bound.is_some())
            .map(|p| p.name.clone())
            .collect(),
        unidentified: why_unidentified.keys().cloned().collect(),
        why_unidentified,
        intervals,
        uncertainty,
        failed: report.failed,
        standard_errors: parameters
            .iter()
            .map(|p| (p.name.clone(), error(p)))
            .collect(),
        condition_number: found.identification.condition_number,
        r2: found.goodness.r2,
        residuals: found.goodness.clone(),
        held_out: BTreeMap::new(),
        sensitivity: None,
        seed_noise: None,
        profiles,
        ranges: report.ranges.clone(),
        ratios: fitted.ratios.clone(),
        excluded: Vec::new(),
        warnings: Vec::new(),
        seconds: 0.0,
        seconds_point_fit: 0.0,
        draws: fitted
            .draws
            .iter()
            .map(|draw| draw.parameters().to_vec())
            .collect(),
    })
}

/// Holds out the rows with the most of every resource.
fn held_out(
    law: &Arc<dyn Law>,
    data: &Observations,
    options: &FitOptions,
) -> BTreeMap<String, HeldOutError> {
    let inputs = law.inputs().into_iter();
    let mut columns: Vec<String> = inputs
        .filter(|input| input.helps == Some(true))
        .map(|input| input.name)
        .collect();
    // The sizes of a model may stand for N: the largest N is still worth predicting.
    if data.column("params").is_some() && !columns.iter().any(|column| column == "params") {
        columns.push("params".into());
    }
    let error = |column: &String| match held_out_largest(law, data, options, column) {
        Ok(held) => HeldOutError::Measured {
            from: match held.rows {
                Which::Largest { from, .. } => from,
                Which::Folds(_) => f64::NAN,
            },
            n_rows: held.n_rows,
            mean_error: held.mean_error,
            worst_error: held.worst_error,
            bias: held.bias,
        },
        Err(error) => HeldOutError::Unknown {
            problem: error.to_string(),
        },
    };
    let errors = columns.iter().map(|column| (column.clone(), error(column)));
    errors.collect()
}

fn moves(
    law: &Arc<dyn Law>,
    data: &Observations,
    estimate: &Estimate,
) -> Result<SensitivityReport, FitError> {
    let Sensitivity {
        reference,
        prediction,
        refits,
        problems,
        largest_change,
    } = sensitivity(law, data, &estimate.found)?;
    let inputs: Vec<f64> = law
        .inputs()
        .iter()
        .filter_map(|input| reference.get(&input.name).copied())
        .collect();
    let draws = estimate.fitted.draws.iter();
    let over_draws: Vec<f64> = draws.map(|fitted| fitted.predict(&inputs)).collect();
    let interval = interval(&over_draws, LEVEL);
    // Nearly exact data have intervals narrower than anybody asks for.
    let outside = |value: f64| match (interval, (value / prediction - 1.0).abs()) {
        (Some([low, high]), change) => change > MATTERS && (value < low || value > high),
        (None, change) => change > 0.01,
    };
    let moves = refits.iter().any(|refit| outside(refit.prediction));
    let failed = problems.into_iter().map(|(change, problem)| Moved {
        choice: choice(&change),
        prediction: None,
        problem: Some(problem),
    });
    let moved = refits.iter().map(|refit| Moved {
        choice: choice(&refit.change),
        prediction: Some(refit.prediction),
        problem: None,
    });
    Ok(SensitivityReport {
        reference,
        prediction,
        interval,
        refits: moved.chain(failed).collect(),
        largest_change,
        moves,
    })
}

fn choice(change: &Change) -> String {
    match change {
        Change::Objective(objective) => objective.to_string(),
        Change::WithoutSmallest(column) => format!("without the smallest tenth of {column}"),
        Change::WithoutWorst(rows) => format!("without the {rows} worst rows"),
    }
}
