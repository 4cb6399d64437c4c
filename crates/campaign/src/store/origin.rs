//! Where an experiment's numbers come from.

use super::{Store, StoreError};
use experiment::run::RunId;

/// What attempts at runs were made on and with, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Machine {
    /// The machine's name.
    pub host: String,
    /// The device's name.
    pub device: String,
    /// The device as its system describes it, with its driver.
    pub hardware: Option<String>,
    /// Threads of a process.
    pub threads: i64,
    /// Version of this program.
    pub program_version: String,
    /// Commit of the working folder's repository, with a trailing + when it had changes.
    pub git_commit: Option<String>,
    /// SHA-256 of the lock file that the program was built with.
    pub lock_hash: Option<String>,
    /// Attempts that were made so.
    pub attempts: i64,
}

impl Store {
    /// Lists what the runs that an experiment asks for were attempted on, the first first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn machines(&self, experiment: i64) -> Result<Vec<Machine>, StoreError> {
        let machines = sqlx::query_as(
            "SELECT host, device, hardware, threads, program_version, git_commit, lock_hash,
                 COUNT(*) AS attempts
             FROM experiment_runs JOIN attempts USING (run_id)
             WHERE experiment_id = ? AND wanted = 1
             GROUP BY host, device, hardware, threads, program_version, git_commit, lock_hash
             ORDER BY MIN(started_at)",
        );
        Ok(machines.bind(experiment).fetch_all(&self.pool).await?)
    }

    /// Adds up the seconds that the attempts at each finished run of an experiment took.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn seconds_taken(&self, experiment: i64) -> Result<Vec<(RunId, f64)>, StoreError> {
        let rows: Vec<(String, f64)> = sqlx::query_as(
            "SELECT run_id, SUM(attempts.ended_at - started_at)
             FROM experiment_runs JOIN attempts USING (run_id) JOIN runs ON runs.id = run_id
             WHERE experiment_id = ? AND wanted = 1 AND runs.outcome = 'finished'
                 AND attempts.ended_at IS NOT NULL
             GROUP BY run_id",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        let rows = rows.into_iter();
        Ok(rows.map(|(run, seconds)| (RunId(run), seconds)).collect())
    }
}
