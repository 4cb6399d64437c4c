//! The rows that a question is about.

use crate::analysis::{Warning, units};
use crate::fit::Observations;
use crate::row::Row;
use experiment::architecture::ModelKind;
use experiment::run::RunId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Rows left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutRows {
    /// The reason.
    pub reason: String,
    /// Their lines in the file, or their numbers counted from 1.
    pub lines: Vec<usize>,
}

/// The rows that are meant, as a fit takes them.
#[derive(Clone, Debug)]
pub struct Rows {
    /// What messages call their table.
    pub name: String,
    /// What a law reads; its exclusions hold the rows left out.
    pub observations: Observations,
    /// What every observation is called.
    pub places: Vec<RunId>,
    /// The rows as runs, those included that the law is not about; empty where the table does not say
    /// what they are runs of.
    pub runs: Vec<Row>,
    /// Columns that no law reads and in which rows of one setting differ, with how many values.
    pub varying: Vec<(String, usize)>,
    /// Rows left out, by reason.
    pub excluded: Vec<LeftOutRows>,
    /// What was derived, and what a reader should know of these rows.
    pub remarks: Vec<String>,
}

impl Rows {
    /// Says what limits them, whatever is fitted.
    pub(super) fn warnings(&self) -> impl Iterator<Item = Warning> {
        let column = |name: &str| Some(self.observations.column(name)?.to_vec());
        let varying = self
            .varying
            .iter()
            .map(|(axis, values)| Warning::OtherAxis {
                axis: axis.clone(),
                values: *values,
            });
        let remarks = self
            .remarks
            .iter()
            .map(|text| Warning::Rows { text: text.clone() });
        units(column).into_iter().chain(varying).chain(remarks)
    }

    /// Finds the kind of model that a law of this name is about, among those there are runs of.
    pub(super) fn kind(&self, law: &str) -> Option<ModelKind> {
        let usable = self.runs.iter().filter(|run| run.unusable().is_none());
        let has = |kind: ModelKind| usable.clone().any(|run| run.kind == kind);
        let (dlcm, dense) = (has(ModelKind::Dlcm), has(ModelKind::Dense));
        match law {
            "dlcm" if dlcm => Some(ModelKind::Dlcm),
            "chinchilla" if dense => Some(ModelKind::Dense),
            // Where nothing else is there, the controls are what is meant.
            "chinchilla" if !dlcm && has(ModelKind::TokenOnly) => Some(ModelKind::TokenOnly),
            _ => None,
        }
    }
}

/// Says how many rows are left out, and why.
pub(super) fn write_left_out(f: &mut fmt::Formatter<'_>, left_out: &[LeftOutRows]) -> fmt::Result {
    let reasons = left_out.iter().filter(|group| !group.lines.is_empty());
    let reasons = reasons.map(|group| format!("{} ({})", group.lines.len(), group.reason));
    let reasons: Vec<String> = reasons.collect();
    if reasons.is_empty() {
        return Ok(());
    }
    writeln!(f, "  left out: {}", reasons.join(", "))
}
