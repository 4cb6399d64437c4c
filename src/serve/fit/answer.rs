//! Fits as the page shows them, whatever they come from.

use experiment::run::RunId;
use scaling_law::analysis::{
    Allocation, AnalysisResult, Attribution, Choice, LawOutcome, LawReport, Maybe, Savings,
    Warning, remarks,
};
use scaling_law::fit::allocation::Setting;
use scaling_law::study::{AllocationReport, Studied};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Everything a fit says.
#[derive(Serialize)]
pub(crate) struct FitAnswer {
    pub(super) laws: Vec<FittedLaw>,
    pub(super) optimum: Outcome<Optimum>,
    pub(super) saving: Outcome<Saving>,
    /// Whose the saving is; `None` of laws that were fitted one by one.
    pub(super) attribution: Option<Attribution>,
    pub(super) warnings: Vec<Warned>,
    /// Rows that were not fitted, with reasons.
    pub(super) left_out: Vec<LeftOut>,
    /// Laws that can be asked for.
    pub(super) possible: Vec<String>,
    pub(super) seconds: f64,
}

/// A result, or in words why there is none.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome<T> {
    Known(T),
    Unknown(String),
}

/// A law, fitted or not.
#[derive(Serialize)]
pub(super) struct FittedLaw {
    title: String,
    /// Why it was not fitted.
    problem: Option<String>,
    equation: String,
    runs: usize,
    r2: Option<f64>,
    /// Root mean square of ln(predicted/observed).
    rms_residual: Option<f64>,
    parameters: Vec<Parameter>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Parameter {
    name: String,
    unit: String,
    value: f64,
    interval: Option<[f64; 2]>,
    note: Option<String>,
}

/// A row's observed and predicted loss, nats per token.
#[derive(Serialize)]
struct Row {
    /// Its run, where it was trained here.
    run: Option<String>,
    label: String,
    observed: f64,
    predicted: f64,
}

/// The best settings for a budget of training FLOPs.
#[derive(Serialize)]
pub(super) struct Optimum {
    budget: f64,
    convention: String,
    /// The D that is held.
    at_tokens: Option<f64>,
    choices: Vec<Chosen>,
}

#[derive(Serialize)]
struct Chosen {
    /// Declared R where that is held.
    held_ratio: Option<f64>,
    setting: Setting,
    loss: f64,
    /// By quantity: `params`, `tokens`, `concept_share`, `compression_ratio`, `loss`.
    intervals: BTreeMap<String, [f64; 2]>,
    remarks: Vec<String>,
}

/// FLOPs saved against dense models of the same loss and D.
#[derive(Serialize)]
pub(super) struct Saving {
    tokens: f64,
    points: Vec<SavingPoint>,
}

#[derive(Serialize)]
struct SavingPoint {
    /// Declared R where that is held.
    held_ratio: Option<f64>,
    /// N of the dense model.
    baseline: f64,
    /// Share of training FLOPs; `None` when out of reach.
    saved: Option<f64>,
    interval: [Option<f64>; 2],
    extrapolated: bool,
}

#[derive(Serialize)]
pub(super) struct Warned {
    loud: bool,
    message: String,
}

#[derive(Serialize)]
pub(super) struct LeftOut {
    rows: usize,
    why: String,
}

impl FitAnswer {
    /// Keeps the run of a row where there is one to show.
    pub(super) fn keep_runs(&mut self, trained: &HashSet<RunId>) {
        for row in self.laws.iter_mut().flat_map(|law| &mut law.rows) {
            let run = row.run.take();
            row.run = run.filter(|id| trained.contains(&RunId(id.clone())));
        }
    }

    /// Takes over an analysis of all laws.
    pub(super) fn of_analysis(result: &AnalysisResult) -> Self {
        let mut why: BTreeMap<&str, usize> = BTreeMap::new();
        for left_out in &result.left_out {
            *why.entry(&left_out.why).or_default() += 1;
        }
        let left_out = why.into_iter().map(|(why, rows)| LeftOut {
            rows,
            why: why.to_owned(),
        });
        Self {
            laws: laws(result),
            attribution: Some(result.attribution()),
            optimum: of_maybe(&result.allocation, Optimum::of_allocation),
            saving: of_maybe(&result.savings, Saving::of_savings),
            warnings: warned(&result.warnings),
            left_out: left_out.collect(),
            possible: Vec::new(),
            seconds: 0.0,
        }
    }

    /// Takes over the fit of one law, and what is allocated by it.
    pub(super) fn of_law(
        name: &str,
        studied: &Studied,
        allocated: Result<AllocationReport, String>,
        budget: f64,
        warning: Option<Warning>,
    ) -> Self {
        let mut warnings = warned(&studied.report.warnings);
        warnings.extend(warned(&Vec::from_iter(warning)));
        let excluded = studied.report.excluded.iter().map(|rows| LeftOut {
            rows: rows.lines.len(),
            why: rows.reason.clone(),
        });
        let mut answer = Self {
            laws: vec![FittedLaw::of_report(name, &studied.estimate.report)],
            attribution: None,
            optimum: Outcome::Unknown(String::new()),
            saving: Outcome::Unknown("there is no dense law to compare with".to_owned()),
            warnings,
            left_out: excluded.collect(),
            possible: Vec::new(),
            seconds: 0.0,
        };
        match allocated {
            Ok(report) => {
                answer.warnings.extend(warned(&report.warnings));
                answer.optimum = Outcome::Known(Optimum::of_report(&report, budget));
                if let Some(saving) = report.saving {
                    answer.saving = of_maybe(&saving.dense, Saving::of_savings);
                    answer.attribution = saving.attribution;
                }
            }
            Err(why) => answer.optimum = Outcome::Unknown(why),
        }
        answer
    }
}

fn laws(result: &AnalysisResult) -> Vec<FittedLaw> {
    let mut laws = vec![
        FittedLaw::of_outcome("DLCM law", &result.dlcm),
        FittedLaw::of_outcome("Dense law", &result.dense),
    ];
    if result.has_controls() {
        laws.push(FittedLaw::of_outcome("Control law", &result.control));
    }
    laws
}

fn of_maybe<T, U>(maybe: &Maybe<T>, with: impl Fn(&T) -> U) -> Outcome<U> {
    match maybe {
        Maybe::Known(value) => Outcome::Known(with(value)),
        Maybe::Unknown(why) => Outcome::Unknown(why.clone()),
    }
}

impl FittedLaw {
    fn of_outcome(title: &str, outcome: &LawOutcome) -> Self {
        match outcome {
            LawOutcome::Fitted(report) => Self::of_report(title, report),
            LawOutcome::CannotFit { why } => Self {
                title: title.to_owned(),
                problem: Some(why.to_string()),
                equation: String::new(),
                runs: 0,
                r2: None,
                rms_residual: None,
                parameters: Vec::new(),
                rows: Vec::new(),
            },
        }
    }

    fn of_report(title: &str, report: &LawReport) -> Self {
        let parameters = report.parameters.iter().map(|parameter| Parameter {
            name: parameter.name.clone(),
            unit: parameter.unit.clone(),
            value: parameter.value,
            interval: parameter.interval,
            note: match (&parameter.unidentified, parameter.at_bound) {
                (Some(why), _) => Some(format!("not identified: {why}")),
                (None, Some(_)) => Some("on a bound".to_owned()),
                (None, None) => None,
            },
        });
        let rows = report.predicted.iter().map(|row| Row {
            run: Some(row.run.0.clone()),
            label: row.run.0.clone(),
            observed: row.observed,
            predicted: row.predicted,
        });
        Self {
            title: title.to_owned(),
            problem: None,
            equation: report.equation.clone(),
            runs: report.runs,
            r2: report.r2,
            rms_residual: Some(report.rms_residual),
            parameters: parameters.collect(),
            rows: rows.collect(),
        }
    }
}

impl Optimum {
    fn of_allocation(allocation: &Allocation) -> Self {
        let chosen = |choice: &Choice| Chosen {
            held_ratio: choice.declared_ratio,
            setting: choice.setting,
            loss: choice.loss,
            intervals: choice.intervals.clone(),
            remarks: remarks(choice),
        };
        let choices = std::iter::once(&allocation.best).chain(&allocation.by_ratio);
        Self {
            budget: allocation.budget,
            convention: allocation.convention.clone(),
            at_tokens: allocation.at_tokens,
            choices: choices.map(chosen).collect(),
        }
    }

    pub(super) fn of_report(report: &AllocationReport, budget: f64) -> Self {
        let intervals = report
            .region
            .as_ref()
            .map(|region| region.intervals.clone());
        Self {
            budget,
            convention: report.cost.clone(),
            at_tokens: None,
            choices: vec![Chosen {
                held_ratio: None,
                setting: report.optimum.setting,
                loss: report.optimum.loss,
                intervals: intervals.unwrap_or_default(),
                remarks: Vec::new(),
            }],
        }
    }
}

impl Saving {
    fn of_savings(savings: &Savings) -> Self {
        let points = savings.curves.iter().flat_map(|curve| {
            curve.points.iter().map(|point| SavingPoint {
                held_ratio: Some(curve.declared_ratio),
                baseline: point.baseline,
                saved: point.training,
                interval: point.interval,
                extrapolated: point.extrapolated,
            })
        });
        Self {
            tokens: savings.tokens,
            points: points.collect(),
        }
    }
}

/// Takes over warnings.
fn warned(warnings: &[Warning]) -> Vec<Warned> {
    let warned = |warning: &Warning| Warned {
        loud: warning.is_loud(),
        message: warning.to_string(),
    };
    warnings.iter().map(warned).collect()
}
