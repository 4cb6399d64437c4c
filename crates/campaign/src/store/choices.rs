//! Runs that were chosen for what they narrow, and why.

use super::{Store, StoreError};
use experiment::run::RunId;
use serde::Serialize;

/// A run of a grid that was chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChosenRun {
    /// The run.
    pub run: RunId,
    /// When, seconds since the Unix epoch.
    pub chosen_at: f64,
    /// What was to be known.
    pub goal: String,
    /// Why it.
    pub reason: String,
    /// What was known before, as JSON; `None` where there was no law yet.
    pub known: Option<String>,
}

impl Store {
    /// Records choices; one that was made before stays as it is.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn record_choices(
        &self,
        experiment: i64,
        choices: &[ChosenRun],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for choice in choices {
            sqlx::query(
                "INSERT INTO choices (experiment_id, run_id, chosen_at, goal, reason, known)
                 VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (experiment_id, run_id) DO NOTHING",
            )
            .bind(experiment)
            .bind(&choice.run.0)
            .bind(choice.chosen_at)
            .bind(&choice.goal)
            .bind(&choice.reason)
            .bind(&choice.known)
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Reads the choices of an experiment, the newest last.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn choices(&self, experiment: i64) -> Result<Vec<ChosenRun>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT run_id, chosen_at, goal, reason, known FROM choices
             WHERE experiment_id = ? ORDER BY chosen_at, rowid",
        );
        let rows = rows.bind(experiment).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(chosen).collect())
    }

    /// Reads which runs that an experiment has asked for have ended, also those that it no longer asks for.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn ended(&self, experiment: i64) -> Result<Vec<RunId>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT runs.id FROM experiment_runs JOIN runs ON runs.id = experiment_runs.run_id
             WHERE experiment_id = ? AND state = 'ended'",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|(run,)| RunId(run)).collect())
    }

    /// Reads why a run was chosen, in each experiment that chose it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn choices_of(&self, run: &RunId) -> Result<Vec<ChosenRun>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT run_id, chosen_at, goal, reason, known FROM choices
             WHERE run_id = ? ORDER BY chosen_at",
        );
        let rows = rows.bind(&run.0).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(chosen).collect())
    }
}

/// A choice of its row.
fn chosen(
    (run, chosen_at, goal, reason, known): (String, f64, String, String, Option<String>),
) -> ChosenRun {
    ChosenRun {
        run: RunId(run),
        chosen_at,
        goal,
        reason,
        known,
    }
}
