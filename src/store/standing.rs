//! Where runs stand, whatever experiment asks for them.

use super::{RunRecord, Store, StoreError, content, records};
use crate::run::{RunId, RunOutcome, RunState};

/// Where a run stands, in a few words.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The run.
    pub id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// How it, or else its last attempt, ended.
    pub outcome: Option<RunOutcome>,
    /// Whether an experiment's file asks for it.
    pub wanted: bool,
    /// Whether a run that goes on from it has not come to a result.
    pub awaited: bool,
}

impl Store {
    /// Reads a run, as the experiment that was planned last describes it.
    ///
    /// # Errors
    /// When the database refuses or holds a run this program cannot read.
    pub async fn run(&self, run: &RunId) -> Result<Option<RunRecord>, StoreError> {
        let row: Option<records::RunRow> = sqlx::query_as(
            "SELECT runs.*, COALESCE(axes, '{}') AS axes, COALESCE(part, 'whole') AS part, start_run
             FROM runs LEFT JOIN experiment_runs ON run_id = id
             WHERE id = ? ORDER BY wanted DESC, experiment_id DESC LIMIT 1",
        )
        .bind(&run.0)
        .fetch_optional(&self.pool)
        .await?;
        row.map(RunRecord::try_from).transpose()
    }

    /// Lists the experiments that have asked for a run, and whether they still do.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn experiments_of(&self, run: &RunId) -> Result<Vec<(String, bool)>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT name, wanted FROM experiment_runs
             JOIN experiments ON experiments.id = experiment_id WHERE run_id = ? ORDER BY name",
        );
        Ok(rows.bind(&run.0).fetch_all(&self.pool).await?)
    }

    /// Says where every run stands.
    ///
    /// # Errors
    /// When the database refuses or holds a state this program does not know.
    pub async fn standings(&self) -> Result<Vec<Standing>, StoreError> {
        let rows: Vec<(String, String, Option<String>, bool, bool)> = sqlx::query_as(
            "SELECT id, state, outcome,
                 EXISTS (SELECT 1 FROM experiment_runs WHERE run_id = runs.id AND wanted = 1),
                 runs.id IN (
                     SELECT start_run FROM experiment_runs
                     JOIN runs AS other ON other.id = run_id
                     WHERE wanted = 1 AND start_run IS NOT NULL
                         AND NOT (state = 'ended' AND outcome IN ('finished', 'diverged')))
             FROM runs ORDER BY id",
        )
        .fetch_all(&self.pool)
        .await?;
        let standing = |(id, state, outcome, wanted, awaited): (String, String, _, _, _)| {
            Ok(Standing {
                id: RunId(id),
                state: RunState::from_name(&state).ok_or_else(|| content("runs.state", &state))?,
                outcome: records::read_outcome("runs.outcome", outcome)?,
                wanted,
                awaited,
            })
        };
        rows.into_iter().map(standing).collect()
    }
}
