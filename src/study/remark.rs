//! What a reader must know of an answer before believing it.

use super::FitReport;
use crate::fit::Fit;
use crate::fit::law::Law;
use crate::rows::Rows;
use serde::{Deserialize, Serialize};

/// Something a reader must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// A word for programs.
    pub kind: String,
    /// A sentence for people.
    pub message: String,
}

/// Said of a fit without resamples, on the command line, in the report and on the served page.
pub(super) const NO_RESAMPLES: &str = "no resamples were drawn, so nothing says how sure this is: \
    --bootstrap 1000 does, or `analysis.bootstrap: 1000` in the file";

impl Remark {
    /// Makes a remark.
    pub fn new(kind: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            message: message.into(),
        }
    }
}

/// Collects what limits a fit, the most serious first.
pub(super) fn warnings(law: &dyn Law, rows: &Rows, found: &Fit, report: &FitReport) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if !report.converged {
        let text = "the fit did not converge: do not use it";
        remarks.push(Remark::new("not_converged", text));
    } else if report.starts_at_minimum < 2 && report.starts > 4 {
        remarks.push(Remark::new(
            "one_start",
            format!(
                "only {} of {} starts reached this minimum: there may be a lower one",
                report.starts_at_minimum, report.starts
            ),
        ));
    }
    if !report.unidentified.is_empty() {
        remarks.push(Remark::new(
            "unidentified",
            format!(
                "not determined by these data: {}; use predictions near the data, not these values",
                report.unidentified.join(", ")
            ),
        ));
    }
    for bound in &found.at_bound {
        remarks.push(Remark::new(
            "at_bound",
            format!("{} sits on its bound, {}", bound.parameter, bound.value),
        ));
    }
    let parameters = law.parameters().len();
    if report.n_rows < 2 * parameters {
        remarks.push(Remark::new(
            "stretched",
            format!(
                "{} rows for {parameters} parameters leave little to check it",
                report.n_rows
            ),
        ));
    }
    for warning in &found.warnings {
        let value = serde_json::to_value(warning).unwrap_or_default();
        let kind = value["kind"].as_str().unwrap_or("data");
        remarks.push(Remark::new(kind, warning.to_string()));
    }
    let rows_are_runs = report.n_rows == report.n_runs;
    let together = found.goodness.autocorrelation.is_some_and(|a| a > 0.5);
    if together && rows_are_runs {
        remarks.push(Remark::new(
            "not_independent",
            "successive residuals go together: if rows are points of a trajectory, name the runs \
             with --group",
        ));
    }
    for trend in &found.goodness.trends {
        remarks.push(Remark::new(
            "trend",
            format!(
                "residuals still follow {} ({:+.2}% per e-fold): the law misses something along it",
                trend.column,
                100.0 * trend.slope
            ),
        ));
    }
    if report.sensitivity.as_ref().is_some_and(|s| s.moves) {
        remarks.push(Remark::new(
            "conclusion_moves",
            "other choices (of δ, or of the rows) lead elsewhere: see sensitivity",
        ));
    }
    if report.draws.is_empty() {
        remarks.push(Remark::new("no_intervals", NO_RESAMPLES));
    }
    let more = rows
        .remarks
        .iter()
        .map(|text| Remark::new("rows", text.as_str()));
    remarks.extend(more);
    remarks
}
