//! The rows that a question is about.

use crate::fit::Observations;
use crate::row::Row;
use experiment::architecture::ModelKind;
use experiment::run::RunId;
use serde::{Deserialize, Serialize};

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
    /// Rows left out, by reason.
    pub excluded: Vec<LeftOutRows>,
    /// What was derived, and what a reader should know of these rows.
    pub remarks: Vec<String>,
}

impl Rows {
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
