//! The database: the only SQL of the program.
//!
//! One SQLite file a results folder, one writer. Every statement is exercised against the
//! migrated schema by a test below.

mod attempts;
mod choices;
mod claims;
mod copy;
mod error;
mod filesystem;
mod fits;
mod homes;
mod imported;
mod ingest;
mod locks;
mod opening;
mod origin;
mod overview;
mod planned;
mod readings;
mod rebuild;
mod records;
mod scores;
mod standing;
mod writing;

pub use choices::ChosenRun;
pub use claims::RegisteredClaim;
pub use error::{StoreError, is_of_machine};
pub use experiment::record::RunRecord;
pub use filesystem::shared_filesystem;
pub use imported::{FittedRows, Imported, ImportedRun};
pub use origin::Machine;
pub use overview::{Overview, Progress};
pub use readings::{ReadContent, ReadPosition, ReadingRecord};
pub use rebuild::FoundRun;
pub use records::{
    AttemptRecord, Ended, ExperimentRecord, FitRecord, PlannedRun, StartedAttempt, StoredFit,
};
pub use standing::{Selection, Standing, Tally};
pub use writing::Patience;

use error::content;
use experiment::event::Measurement;
use experiment::run::RunId;
use experiment::work::Work;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;
use std::path::{Path, PathBuf};
use std::sync::Arc;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// An open database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
    /// Its file.
    path: PathBuf,
    writes: bool,
    patience: Option<Patience>,
    /// What is read, where that is a copy of the file.
    copy: Option<Arc<copy::Copied>>,
    remark: Option<String>,
}

impl Store {
    /// The results folder that it is of.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// Finds an experiment's id by name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn experiment(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let row: Option<(i64,)> = sqlx::query_as("SELECT id FROM experiments WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|(id,)| id))
    }

    /// Reads what is recorded of an experiment itself.
    ///
    /// # Errors
    /// When the database refuses or holds no such experiment.
    pub async fn experiment_record(&self, id: i64) -> Result<ExperimentRecord, StoreError> {
        let row = sqlx::query_as(
            "SELECT name, config, config_hash, program_version, git_commit FROM experiments
             WHERE id = ?",
        );
        Ok(row.bind(id).fetch_one(&self.pool).await?)
    }

    /// Lists the names of all experiments.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn experiments(&self) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT name FROM experiments ORDER BY name")
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Reads the runs that an experiment's file asks for, in plan order.
    ///
    /// # Errors
    /// When the database refuses or holds a run this program cannot read.
    pub async fn runs(&self, experiment: i64) -> Result<Vec<RunRecord>, StoreError> {
        let rows: Vec<records::RunRow> = sqlx::query_as(
            "SELECT runs.*, axes, part, start_run FROM experiment_runs
             JOIN runs ON runs.id = experiment_runs.run_id
             WHERE experiment_id = ? AND wanted = 1 ORDER BY position",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(RunRecord::try_from).collect()
    }

    /// Reads a run's measurements in order of step.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn measurements(&self, run: &RunId) -> Result<Vec<Measurement>, StoreError> {
        let rows: Vec<records::MeasurementRow> =
            sqlx::query_as("SELECT * FROM measurements WHERE run_id = ? ORDER BY step")
                .bind(&run.0)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(Measurement::try_from).collect()
    }

    /// Takes note that a run's journal ends at `newest`, where it has lost lines that were taken in:
    /// what comes next is new, though its numbers were used before.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn journal_ends(&self, run: &RunId, newest: Option<u64>) -> Result<(), StoreError> {
        let newest = newest.map(|seq| seq as i64);
        self.write(
            sqlx::query(
                "UPDATE runs SET last_seq = ?2 WHERE id = ?1 AND last_seq > COALESCE(?2, -1)",
            )
            .bind(&run.0)
            .bind(newest),
        )
        .await
    }

    /// Says whether a run's held-out loss after `step` steps is known.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn is_validated(&self, run: &RunId, step: Option<u64>) -> Result<bool, StoreError> {
        is_validated(&mut *self.pool.acquire().await?, run, step).await
    }
}

async fn is_validated(
    connection: &mut SqliteConnection,
    run: &RunId,
    step: Option<u64>,
) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT 1 FROM measurements
         WHERE run_id = ?1 AND step = COALESCE(?2, step) AND validation_loss IS NOT NULL LIMIT 1",
    )
    .bind(&run.0)
    .bind(step.map(|step| step as i64))
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

/// Reads a run's specification from its JSON.
fn read_spec(json: &str) -> Result<Work, StoreError> {
    Work::parse(json.as_bytes()).map_err(|error| content("runs.spec", error))
}

#[cfg(test)]
pub(crate) mod tests;
