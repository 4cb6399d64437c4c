//! Fits as the page shows them: the report's own parts, and the rows that the page draws.

use experiment::run::RunId;
use report::html::{self, parts};
use scaling_law::analysis::{AnalysisResult, Asker, LawOutcome, LawReport, Warning};
use scaling_law::study::{AllocationReport, Studied};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Everything a fit says.
#[derive(Serialize)]
pub(super) struct FitAnswer {
    /// The question, the answer and what stands behind it, as markup.
    answer: String,
    laws: Vec<FittedLaw>,
    /// As markup.
    warnings: String,
    /// Rows that were not fitted, with reasons.
    left_out: Vec<LeftOut>,
}

/// A law, fitted or not.
#[derive(Serialize)]
struct FittedLaw {
    title: String,
    /// What is said about it, as markup.
    about: String,
    rows: Vec<Row>,
}

/// A row's observed and predicted loss, nats per token.
#[derive(Serialize)]
struct Row {
    /// Its run, or where it stands in a table.
    label: String,
    /// Whether it is a run that was trained here.
    trained: bool,
    observed: f64,
    predicted: f64,
}

#[derive(Serialize)]
struct LeftOut {
    rows: usize,
    why: String,
}

impl FitAnswer {
    /// Takes over an analysis of all laws; `trained` are the runs that were trained here.
    pub(super) fn of_analysis(
        result: &AnalysisResult,
        experiment: &str,
        trained: &HashSet<RunId>,
    ) -> Self {
        let asker = Asker {
            rows: experiment,
            has_grid: !trained.is_empty(),
        };
        let mut why: BTreeMap<&str, usize> = BTreeMap::new();
        for left_out in &result.left_out {
            *why.entry(&left_out.why).or_default() += 1;
        }
        let left_out = why.into_iter().map(|(why, rows)| LeftOut {
            rows,
            why: why.to_owned(),
        });
        let law = |(title, outcome): (&str, &LawOutcome)| FittedLaw {
            title: title.to_owned(),
            about: parts::law(outcome),
            rows: outcome
                .report()
                .map_or_else(Vec::new, |report| rows(report, trained)),
        };
        Self {
            answer: parts::answer(result, &asker),
            laws: html::laws(result).into_iter().map(law).collect(),
            warnings: parts::warnings(&result.warnings),
            left_out: left_out.collect(),
        }
    }

    /// Takes over the fit of one law, and what is allocated by it.
    pub(super) fn of_law(
        name: &str,
        studied: &Studied,
        allocated: Result<AllocationReport, String>,
        budget: f64,
        warning: Option<Warning>,
        trained: &HashSet<RunId>,
    ) -> Self {
        let mut warnings = studied.report.warnings.clone();
        warnings.extend(warning);
        let excluded = studied.report.excluded.iter().map(|rows| LeftOut {
            rows: rows.lines.len(),
            why: rows.reason.clone(),
        });
        let answer = match allocated {
            Ok(report) => {
                for warning in &report.warnings {
                    // The fit and the allocation may say the same.
                    if !warnings.contains(warning) {
                        warnings.push(warning.clone());
                    }
                }
                parts::allocated(Ok(&report), budget)
            }
            Err(why) => parts::allocated(Err(&why), budget),
        };
        warnings.sort_by_key(Warning::severity);
        let report = &studied.estimate.report;
        Self {
            answer,
            laws: vec![FittedLaw {
                title: name.to_owned(),
                about: parts::one_law(report),
                rows: rows(report, trained),
            }],
            warnings: parts::warnings(&warnings),
            left_out: excluded.collect(),
        }
    }
}

fn rows(report: &LawReport, trained: &HashSet<RunId>) -> Vec<Row> {
    let rows = report.predicted.iter().map(|row| Row {
        label: row.run.0.clone(),
        trained: trained.contains(&row.run),
        observed: row.observed,
        predicted: row.predicted,
    });
    rows.collect()
}
