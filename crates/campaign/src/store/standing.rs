//! Where runs stand, whatever experiment asks for them.

use super::{RunRecord, Store, StoreError, content, records};
use experiment::run::{RunId, RunOutcome, RunState};
use sqlx::AssertSqlSafe;

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

/// Runs of an experiment that stand alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// Where they stand.
    pub state: RunState,
    /// How they, or else their last attempts, ended.
    pub outcome: Option<RunOutcome>,
    /// Whether the experiment's file still asks for them.
    pub wanted: bool,
    /// How many there are.
    pub runs: u64,
}

/// Which of an experiment's runs to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those that its file asks for.
    Wanted,
    /// Of these, what is not simply finished or waiting for its turn: runs that train, that did not
    /// finish, or that go on from another one.
    Remarkable,
    /// Those that its file asks for no more.
    Removed,
}

impl Store {
    /// Counts an experiment's runs by where they stand.
    ///
    /// # Errors
    /// When the database refuses or holds a state this program does not know.
    pub async fn tally(&self, experiment: i64) -> Result<Vec<Tally>, StoreError> {
        let rows: Vec<(String, Option<String>, bool, i64)> = sqlx::query_as(
            "SELECT state, outcome, wanted, COUNT(*)
             FROM runs INDEXED BY runs_by_standing
             JOIN experiment_runs ON experiment_id = ? AND run_id = id
             GROUP BY state, outcome, wanted",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        let tally = |(state, outcome, wanted, runs): (String, _, _, i64)| {
            Ok(Tally {
                state: read_state(&state)?,
                outcome: records::read_outcome("runs.outcome", outcome)?,
                wanted,
                runs: runs as u64,
            })
        };
        rows.into_iter().map(tally).collect()
    }

    /// Counts the lines of all journals, but for two of each attempt (that it began, and how it ended): a number that
    /// rises when runs measure something or write checkpoints, and not when they only begin.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn amount_done(&self) -> Result<i64, StoreError> {
        let (count,): (i64,) = sqlx::query_as(
            "SELECT (SELECT COALESCE(SUM(last_seq + 1), 0) FROM runs) - 2 * (SELECT COUNT(*) FROM attempts)",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(count)
    }

    /// Reads some of an experiment's runs in plan order, without what each is in full.
    ///
    /// # Errors
    /// When the database refuses or holds a run this program cannot read.
    pub async fn runs_in_brief(
        &self,
        experiment: i64,
        selection: Selection,
    ) -> Result<Vec<RunRecord<()>>, StoreError> {
        let which = match selection {
            Selection::Wanted => "wanted = 1",
            Selection::Removed => "wanted = 0",
            Selection::Remarkable => {
                "wanted = 1 AND run_id IN (
                     SELECT id FROM runs INDEXED BY runs_by_standing
                     WHERE NOT (state = 'ended' AND outcome = 'finished')
                         AND NOT (state = 'pending' AND outcome IS NULL)
                     UNION ALL
                     SELECT run_id FROM experiment_runs
                     WHERE experiment_id = ?1 AND start_run IS NOT NULL)"
            }
        };
        let rows: Vec<records::RunRow> = sqlx::query_as(AssertSqlSafe(format!(
            "SELECT id, kind, '' AS spec, params, concept_share, compression_ratio, tokens, seed,
                 planned_flops, state, outcome, message, retries, micro_batch, loss, bits_per_byte,
                 flops, realised_ratio, realised_sampled, realised_training,
                concept_gain, boundary_gain, axes, part,
                 start_run
             FROM experiment_runs JOIN runs ON runs.id = experiment_runs.run_id
             WHERE experiment_id = ?1 AND {which} ORDER BY position"
        )))
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(RunRecord::try_from).collect()
    }

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
                state: read_state(&state)?,
                outcome: records::read_outcome("runs.outcome", outcome)?,
                wanted,
                awaited,
            })
        };
        rows.into_iter().map(standing).collect()
    }
}

fn read_state(name: &str) -> Result<RunState, StoreError> {
    RunState::from_name(name).ok_or_else(|| content("runs.state", name))
}
