//! Attempts at runs, and what they make of a run's state.

use super::{AttemptRecord, Ended, StartedAttempt, Store, StoreError, content, records};
use experiment::run::{RunId, RunOutcome, RunState};
use std::collections::HashSet;

impl Store {
    /// Starts an attempt at a run and returns its number.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn start_attempt(
        &self,
        run: &RunId,
        attempt: &StartedAttempt,
    ) -> Result<i64, StoreError> {
        let mut transaction = self.begin().await?;
        let (number,): (i64,) = sqlx::query_as(
            "INSERT INTO attempts
                 (run_id, number, host, device, threads, program_version, git_commit, started_at,
                  log_path, lock_hash, hardware, micro_batch)
             SELECT ?1, COALESCE(MAX(number), 0) + 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
             FROM attempts WHERE run_id = ?1
             RETURNING number",
        )
        .bind(&run.0)
        .bind(&attempt.host)
        .bind(&attempt.device)
        .bind(attempt.threads)
        .bind(&attempt.program_version)
        .bind(&attempt.git_commit)
        .bind(attempt.started_at)
        .bind(&attempt.log_path)
        .bind(&attempt.lock_hash)
        .bind(&attempt.hardware)
        .bind(attempt.micro_batch)
        .fetch_one(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE runs SET state = 'running', outcome = NULL, message = NULL WHERE id = ?",
        )
        .bind(&run.0)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(number)
    }

    /// Takes note of the process that an attempt runs as.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn attempt_runs_as(
        &self,
        run: &RunId,
        number: i64,
        pid: u32,
    ) -> Result<(), StoreError> {
        self.write(
            sqlx::query("UPDATE attempts SET pid = ? WHERE run_id = ? AND number = ?")
                .bind(pid)
                .bind(&run.0)
                .bind(number),
        )
        .await
    }

    /// Ends an attempt and sets the run's state from its outcome.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_attempt(
        &self,
        run: &RunId,
        number: i64,
        ended: &Ended,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE attempts SET ended_at = ?, outcome = ?, exit_code = ?, signal = ?, message = ?
             WHERE run_id = ? AND number = ?",
        )
        .bind(ended.at)
        .bind(ended.outcome.name())
        .bind(ended.exit_code)
        .bind(ended.signal)
        .bind(&ended.message)
        .bind(&run.0)
        .bind(number)
        .execute(&mut *transaction)
        .await?;
        let state = match ended.outcome {
            RunOutcome::Interrupted => RunState::Pending,
            _ if ended.tried_again => RunState::Pending,
            _ => RunState::Ended,
        };
        sqlx::query(
            "UPDATE runs SET state = ?, outcome = ?, ended_at = ?, message = ?,
                 retries = retries + ?, micro_batch = COALESCE(?, micro_batch)
             WHERE id = ?",
        )
        .bind(state.name())
        .bind(ended.outcome.name())
        .bind(ended.at)
        .bind(&ended.message)
        // A smaller micro-batch bounds itself.
        .bind(ended.tried_again && ended.micro_batch.is_none())
        .bind(ended.micro_batch)
        .bind(&run.0)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Lists the runs with attempts that an orchestrator left open when it died, with the attempts'
    /// numbers.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn open_attempts(&self) -> Result<Vec<(RunId, i64)>, StoreError> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT run_id, number FROM attempts WHERE ended_at IS NULL")
                .fetch_all(&self.pool)
                .await?;
        let rows = rows.into_iter();
        Ok(rows.map(|(run, number)| (RunId(run), number)).collect())
    }

    /// Closes attempts that an orchestrator left open when it died, `but` those of runs that go on without
    /// one; the others' runs are pending again.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn close_abandoned(&self, now: f64, but: &HashSet<RunId>) -> Result<u64, StoreError> {
        let but: Vec<&str> = but.iter().map(|run| run.0.as_str()).collect();
        let but = serde_json::to_string(&but).map_err(|error| content("runs", error))?;
        let mut transaction = self.begin().await?;
        let closed = sqlx::query(
            "UPDATE attempts SET ended_at = ?, outcome = 'interrupted',
                 message = 'the orchestrator ended before the attempt did'
             WHERE ended_at IS NULL AND run_id NOT IN (SELECT value FROM json_each(?))",
        )
        .bind(now)
        .bind(&but)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        sqlx::query(
            "UPDATE runs SET state = 'pending'
             WHERE state = 'running' AND id NOT IN (SELECT value FROM json_each(?))",
        )
        .bind(&but)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(closed)
    }

    /// Ends a run that is not being trained, whatever became of its attempts.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_run(
        &self,
        run: &RunId,
        outcome: RunOutcome,
        message: &str,
        now: f64,
    ) -> Result<(), StoreError> {
        let end = sqlx::query(
            "UPDATE runs SET state = 'ended', outcome = ?, message = ?, ended_at = ? WHERE id = ?",
        );
        let end = end.bind(outcome.name()).bind(message).bind(now);
        self.write(end.bind(&run.0)).await
    }

    /// Makes a run that has ended eligible again, with all its retries; it goes on from its
    /// checkpoint.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn make_eligible(&self, run: &RunId) -> Result<(), StoreError> {
        let again = sqlx::query(
            "UPDATE runs SET state = 'pending', retries = 0 WHERE id = ? AND state = 'ended'",
        );
        self.write(again.bind(&run.0)).await
    }

    /// Counts the attempts at a run.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn attempts(&self, run: &RunId) -> Result<i64, StoreError> {
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM attempts WHERE run_id = ?")
            .bind(&run.0)
            .fetch_one(&self.pool)
            .await?;
        Ok(count)
    }

    /// Reads the attempts at a run, the first first.
    ///
    /// # Errors
    /// When the database refuses or holds an outcome this program does not know.
    pub async fn history(&self, run: &RunId) -> Result<Vec<AttemptRecord>, StoreError> {
        let rows: Vec<records::AttemptRow> =
            sqlx::query_as("SELECT * FROM attempts WHERE run_id = ? ORDER BY number")
                .bind(&run.0)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(AttemptRecord::try_from).collect()
    }

    /// Finds the runs whose id begins with `prefix`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn runs_beginning_with(&self, prefix: &str) -> Result<Vec<RunId>, StoreError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT id FROM runs WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id")
                .bind(prefix)
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(|(run,)| RunId(run)).collect())
    }
}
