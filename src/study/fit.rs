//! A law fitted to rows, with everything that tells how far it can be believed.

use super::LEVEL;
use super::remark::{Remark, warnings};
use crate::fit::diagnostics::{
    Change, DataRange, Goodness, SeedNoise, Sensitivity, Why, held_out_largest, seed_noise,
    sensitivity,
};
use crate::fit::law::Law;
use crate::fit::{
    Bootstrap, BootstrapOptions, Fit, FitError, FitOptions, Objective, Observations, Profile,
    Resampling, bootstrap, profile,
};
use crate::rows::{LeftOutRows, Rows, Table};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// How to fit, and what to find out.
#[derive(Clone, Debug, PartialEq)]
pub struct FitQuestion {
    /// What is minimised.
    pub objective: Objective,
    /// Resamples; `None` for as many as are cheap.
    pub draws: Option<usize>,
    /// How a resample is made.
    pub resampling: Resampling,
    /// Seed of the resamples.
    pub seed: u64,
    /// Whether to profile every parameter.
    pub profile: bool,
    /// Whether to hold rows out and refit under other choices.
    pub checks: bool,
}

impl Default for FitQuestion {
    fn default() -> Self {
        Self {
            objective: Objective::default(),
            draws: None,
            resampling: Resampling::Pairs,
            seed: 0,
            profile: false,
            checks: true,
        }
    }
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
    pub intervals: BTreeMap<String, [f64; 2]>,
    /// Where they come from.
    pub intervals_from: IntervalKind,
    /// The resamples behind them.
    pub resamples: Option<Resamples>,
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
    /// Noise between runs that differ in nothing the law reads.
    pub seed_noise: Option<SeedNoise>,
    /// Profiles, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Profile>,
    /// Range of every input.
    pub ranges: Vec<DataRange>,
    /// Rows left out.
    pub excluded: Vec<LeftOutRows>,
    /// What a reader must know.
    pub warnings: Vec<Remark>,
    /// Wall-clock seconds of all this.
    pub seconds: f64,
    /// Wall-clock seconds of the point fit alone.
    pub seconds_point_fit: f64,
    /// Parameters of every resample, in the law's order.
    pub draws: Vec<Vec<f64>>,
}

/// Where intervals come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalKind {
    /// Resamples of runs.
    Bootstrap,
    /// Profiles of the objective.
    Profile,
    /// There are none.
    None,
}

/// How the resamples went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Resamples {
    /// How they were made.
    #[serde(flatten)]
    pub options: BootstrapOptions,
    /// Resamples without a fit.
    pub failed: usize,
    /// Refits that stopped before the minimum.
    pub not_converged: usize,
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

/// Rows times parameters up to which 1,000 resamples are cheap, and up to which 200 are.
const CHEAP: [(usize, usize); 2] = [(20_000, 1000), (100_000, 200)];

/// Rows times parameters up to which refits under other choices are made.
const CHECKED: usize = 1_000_000;

/// An interval so many times as wide as the value (two standard errors of it on either side) says
/// that the parameter is not determined.
const WIDE: f64 = 4.0;

/// Finds how far runs differ that only seeds tell apart, in what laws read.
pub(super) fn noise_between_seeds<'a>(
    laws: impl Iterator<Item = &'a dyn Law>,
    data: &Observations,
    response: &str,
) -> Option<SeedNoise> {
    // Seeds realise different R: replicates agree in the declared one.
    let declared = data.column("declared_ratio").map(|_| "declared_ratio");
    let inputs = laws.flat_map(|law| law.inputs());
    let columns: BTreeSet<String> = inputs
        .map(|input| match (input.name.as_str(), declared) {
            ("compression_ratio", Some(declared)) => declared.to_owned(),
            _ => input.name,
        })
        .collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    seed_noise(data, &columns, response)
}

/// Fits a law to rows and finds out how far it can be believed.
///
/// # Errors
/// [`FitError`] when the rows cannot be fitted at all.
pub fn fit(
    law: &Arc<dyn Law>,
    table: &Table,
    rows: &Rows,
    question: &FitQuestion,
) -> Result<FitReport, FitError> {
    let started = Instant::now();
    let data = &rows.observations;
    let options = FitOptions {
        objective: question.objective,
        ..FitOptions::default()
    };
    let found = crate::fit::fit(law, data, &options)?;
    let seconds_point_fit = started.elapsed().as_secs_f64();
    let work = data.len() * law.parameters().len();
    let draws = question.draws.unwrap_or_else(|| {
        let cheap = CHEAP.iter().find(|(most, _)| work <= *most);
        cheap.map_or(0, |(_, draws)| *draws)
    });
    let resampled = (draws > 0)
        .then(|| {
            let options = BootstrapOptions {
                draws,
                resampling: question.resampling,
                seed: question.seed,
                level: LEVEL,
            };
            bootstrap(law, data, &found, &options)
        })
        .transpose()?;
    let profiles = profiles(law, data, &found, question.profile)?;
    let checks = question.checks && work <= CHECKED;
    let varied = found
        .ranges
        .iter()
        .all(|range| range.lowest < range.highest);
    let mut report = describe(law.as_ref(), &found, resampled, profiles);
    report.data = table.name().to_owned();
    report.excluded = table.by_reason(data.exclusions());
    report.seconds_point_fit = seconds_point_fit;
    report.seed_noise = noise_between_seeds([law.as_ref()].into_iter(), data, law.response());
    if checks {
        report.held_out = held_out(law, data, &options);
        // Where a column has one value there is nothing to conclude from it.
        if varied {
            report.sensitivity = Some(moves(law, data, &found, &report)?);
        }
    }
    report.warnings = warnings(law.as_ref(), rows, &found, &report);
    if question.checks && !checks {
        report.warnings.push(Remark::new(
            "not_checked",
            format!(
                "{} rows are many: nothing was held out and no other choices were tried",
                data.len()
            ),
        ));
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

fn profiles(
    law: &Arc<dyn Law>,
    data: &Observations,
    found: &Fit,
    wanted: bool,
) -> Result<Vec<Profile>, FitError> {
    let parameters = law.parameters().into_iter().filter(|_| wanted);
    parameters
        .map(|parameter| profile(law, data, found, &parameter.name, LEVEL))
        .collect()
}

fn describe(
    law: &dyn Law,
    found: &Fit,
    resampled: Option<Bootstrap>,
    profiles: Vec<Profile>,
) -> FitReport {
    let open = |end: Option<f64>| end.unwrap_or(f64::NAN);
    let (mut intervals, intervals_from) = match &resampled {
        Some(resampled) => (resampled.intervals.clone(), IntervalKind::Bootstrap),
        None if profiles.is_empty() => (BTreeMap::new(), IntervalKind::None),
        None => {
            let ends = |p: &Profile| (p.parameter.clone(), p.interval.map(open));
            (profiles.iter().map(ends).collect(), IntervalKind::Profile)
        }
    };
    let mut why_unidentified: BTreeMap<String, String> = found
        .unidentified
        .iter()
        .map(|unidentified| (unidentified.parameter.clone(), unidentified.why.to_string()))
        .collect();
    for profile in profiles
        .iter()
        .filter(|profile| profile.interval[1].is_none())
    {
        let why = "its profile has no upper end".to_owned();
        why_unidentified
            .entry(profile.parameter.clone())
            .or_insert(why);
    }
    let curvature = &found.identification.standard_errors;
    let mut standard_errors: BTreeMap<String, Option<f64>> = match &resampled {
        Some(resampled) => {
            let finite = |(name, error): (&String, &f64)| {
                (name.clone(), Some(*error).filter(|error| error.is_finite()))
            };
            resampled.standard_errors.iter().map(finite).collect()
        }
        None => curvature
            .iter()
            .map(|(name, error)| (name.clone(), error.0))
            .collect(),
    };
    if resampled.is_some() {
        for (name, [low, high]) in &intervals {
            let times = (high - low) / found.parameters.get(name).copied().unwrap_or(0.0).abs();
            if times > WIDE && times.is_finite() {
                let why = format!("its interval is {times:.0} times its value");
                why_unidentified.entry(name.clone()).or_insert(why);
            }
        }
    }
    // Resamples of what has no effect agree with each other and say nothing.
    for unidentified in &found.unidentified {
        if !matches!(unidentified.why, Why::Imprecise { .. }) {
            let name = &unidentified.parameter;
            intervals.insert(name.clone(), [f64::NAN; 2]);
            standard_errors.insert(name.clone(), None);
        }
    }
    FitReport {
        law: law.name(),
        equation: law.equation(),
        source: law.source().to_owned(),
        data: String::new(),
        parameters: found.parameters.clone(),
        units: law
            .parameters()
            .into_iter()
            .map(|parameter| (parameter.name, parameter.unit.to_owned()))
            .collect(),
        objective: found.objective,
        options: found.options.clone(),
        n_rows: found.n_rows,
        n_runs: found.n_clusters,
        converged: found.converged(),
        starts: found.starts,
        starts_at_minimum: found.starts_at_minimum,
        at_bound: found.at_bound.iter().map(|b| b.parameter.clone()).collect(),
        unidentified: why_unidentified.keys().cloned().collect(),
        why_unidentified,
        intervals,
        intervals_from,
        resamples: resampled.as_ref().map(|resampled| Resamples {
            options: resampled.options,
            failed: resampled.failed,
            not_converged: resampled.not_converged,
        }),
        standard_errors,
        condition_number: found.identification.condition_number,
        r2: found.goodness.r2,
        residuals: found.goodness.clone(),
        held_out: BTreeMap::new(),
        sensitivity: None,
        seed_noise: None,
        profiles,
        ranges: found.ranges.clone(),
        excluded: Vec::new(),
        warnings: Vec::new(),
        seconds: 0.0,
        seconds_point_fit: 0.0,
        draws: resampled.map_or_else(Vec::new, |resampled| resampled.draws),
    }
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
                crate::fit::diagnostics::Which::Largest { from, .. } => from,
                crate::fit::diagnostics::Which::Folds(_) => f64::NAN,
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
    found: &Fit,
    report: &FitReport,
) -> Result<SensitivityReport, FitError> {
    let Sensitivity {
        reference,
        prediction,
        refits,
        problems,
        largest_change,
    } = sensitivity(law, data, found)?;
    let inputs: Vec<f64> = law
        .inputs()
        .iter()
        .filter_map(|input| reference.get(&input.name).copied())
        .collect();
    let over_draws: Vec<f64> = report
        .draws
        .iter()
        .filter_map(|draw| crate::fit::FittedLaw::from_parts(law.clone(), draw.clone()).ok())
        .map(|fitted| fitted.predict(&inputs))
        .collect();
    let interval = crate::fit::interval(&over_draws, LEVEL);
    let outside = |value: f64| match interval {
        Some([low, high]) => value < low || value > high,
        None => (value / prediction - 1.0).abs() > 0.01,
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
        Change::Objective(objective) => super::fit_text::objective(*objective),
        Change::WithoutSmallest(column) => format!("without the smallest tenth of {column}"),
        Change::WithoutWorst(rows) => format!("without the {rows} worst rows"),
    }
}
