//! Fits as the page shows them, whatever they come from.

use super::super::problem::Problem;
use crate::analysis::{
    Allocation, AnalysisResult, Attribution, Choice, LawOutcome, LawReport, Maybe, Savings, remarks,
};
use crate::fit::allocation::Setting;
use crate::fit::law::Law;
use crate::rows::{LeftOutRows, Rows, Table};
use crate::study::{AllocationReport, FitReport, Remark, SavingReport};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// Takes over an analysis of all laws.
    pub(super) fn of_analysis(
        result: &AnalysisResult,
        before: &[Remark],
        possible: Vec<String>,
    ) -> Self {
        let mut warnings = warned(before);
        warnings.extend(result.warnings.iter().map(|warning| Warned {
            loud: warning.is_loud(),
            message: warning.to_string(),
        }));
        let mut why: BTreeMap<&str, usize> = BTreeMap::new();
        for left_out in &result.left_out {
            *why.entry(&left_out.why).or_default() += 1;
        }
        Self {
            laws: laws(result),
            attribution: Some(result.attribution()),
            optimum: of_maybe(&result.allocation, Optimum::of_allocation),
            saving: of_maybe(&result.savings, Saving::of_savings),
            warnings,
            left_out: why
                .into_iter()
                .map(|(why, rows)| LeftOut {
                    rows,
                    why: why.to_owned(),
                })
                .collect(),
            possible,
            seconds: 0.0,
        }
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

/// Takes over a law that was fitted to rows.
pub(super) fn law(
    title: &str,
    law: &Arc<dyn Law>,
    report: &FitReport,
    table: &Table,
    rows: &Rows,
) -> Result<FittedLaw, Problem> {
    let parameters = law.parameters().into_iter().filter_map(|parameter| {
        let name = parameter.name;
        let interval = report.intervals.get(&name).copied();
        let unidentified = report.why_unidentified.get(&name);
        Some(Parameter {
            unit: parameter.unit.to_owned(),
            value: *report.parameters.get(&name)?,
            interval: interval.filter(|ends| ends.iter().all(|end| end.is_finite())),
            note: match unidentified {
                Some(why) => Some(format!("not identified: {why}")),
                None => report
                    .at_bound
                    .contains(&name)
                    .then(|| "on a bound".to_owned()),
            },
            name,
        })
    });
    Ok(FittedLaw {
        title: title.to_owned(),
        problem: (!report.converged).then(|| "the fit did not converge: do not use it".to_owned()),
        equation: report.equation.clone(),
        runs: report.n_runs,
        r2: report.r2,
        rms_residual: Some(report.residuals.rms_residual),
        parameters: parameters.collect(),
        rows: predicted(law, report, table, rows)?,
    })
}

fn predicted(
    law: &Arc<dyn Law>,
    report: &FitReport,
    table: &Table,
    rows: &Rows,
) -> Result<Vec<Row>, Problem> {
    let fitted = crate::study::Fitted::of_report(law, report).map_err(Problem::machine)?;
    let data = &rows.observations;
    let inputs = law.inputs();
    let columns: Option<Vec<&[f64]>> = inputs
        .iter()
        .map(|input| data.column(&input.name))
        .collect();
    let (Some(columns), Some(observed)) = (columns, data.column(law.response())) else {
        return Ok(Vec::new());
    };
    let id = table.header().iter().position(|column| column == "id");
    let row = |(i, &at): (usize, &usize)| {
        let values: Vec<f64> = columns.iter().map(|column| column[i]).collect();
        let run = id.map(|id| table.cell(at, id).to_owned());
        Row {
            run: run.filter(|run| !run.is_empty()),
            label: table.place(at),
            observed: observed[i],
            predicted: fitted.law.predict(&values),
        }
    };
    Ok(data.source_rows().iter().enumerate().map(row).collect())
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

    pub(super) fn of_report(report: &AllocationReport) -> Outcome<Self> {
        match &report.saving {
            None => Outcome::Unknown("there is no dense law to compare with".to_owned()),
            Some(SavingReport::OutOfReach(unreachable)) => Outcome::Unknown(format!(
                "the dense loss of {:.3} is out of reach: the lowest found on the same tokens is {:.3}",
                unreachable.target_loss, unreachable.lowest_loss
            )),
            Some(SavingReport::Saved {
                baseline,
                training,
                intervals,
                ..
            }) => Outcome::Known(Self {
                tokens: baseline.tokens,
                points: vec![SavingPoint {
                    held_ratio: None,
                    baseline: baseline.params,
                    saved: Some(*training),
                    interval: intervals.as_ref().map_or([None; 2], |known| known.training),
                    extrapolated: !report.extrapolation.is_empty(),
                }],
            }),
        }
    }
}

/// Takes over remarks; those without which a fit must not be read are loud.
pub(super) fn warned(remarks: &[Remark]) -> Vec<Warned> {
    const LOUD: [&str; 4] = [
        "not_converged",
        "unidentified",
        "conclusion_moves",
        "extrapolation",
    ];
    let warned = |remark: &Remark| Warned {
        loud: LOUD.contains(&remark.kind.as_str()),
        message: remark.message.clone(),
    };
    remarks.iter().map(warned).collect()
}

/// Takes over rows that were left out.
pub(super) fn left_out(rows: &LeftOutRows) -> LeftOut {
    LeftOut {
        rows: rows.lines.len(),
        why: rows.reason.clone(),
    }
}
