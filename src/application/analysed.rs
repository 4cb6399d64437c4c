//! The newest stored analysis of an experiment, and what has become of its runs since.

use super::Refused;
use crate::rows::{Selection, Table};
use campaign::store::Store;
use scaling_law::analysis::{AnalysisResult, Since};

/// A stored analysis.
#[derive(Debug)]
pub struct Analysed {
    /// What it found.
    pub result: AnalysisResult,
    /// When it was made, seconds since the Unix epoch.
    pub at: f64,
    /// What has become of the runs since.
    pub since: Since,
}

impl Analysed {
    /// Reads the newest analysis of an experiment whose runs are these now; `None` where it was never
    /// analysed.
    ///
    /// # Errors
    /// When the database refuses, or holds what this program cannot read.
    pub async fn newest(
        store: &Store,
        experiment: i64,
        table: &Table,
    ) -> Result<Option<Self>, Refused> {
        let Some(fit) = store.newest_fit(experiment, AnalysisResult::NAME).await? else {
            return Ok(None);
        };
        let result: AnalysisResult = serde_json::from_value(fit.result).map_err(|error| {
            Refused::machine(format!(
                "the stored fit cannot be read ({error}): fit again with `orchestrator fit`"
            ))
        })?;
        let now = table.runs(&Selection::default());
        let now = now.map_err(Refused::machine)?;
        Ok(Some(Self {
            since: result.since(&now.rows),
            at: fit.created_at,
            result,
        }))
    }
}
