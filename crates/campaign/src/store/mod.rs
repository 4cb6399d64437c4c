//! The database: the only SQL of the program.
//!
//! One SQLite file a results folder, one writer. Every statement is exercised against the
//! migrated schema by a test below.

mod attempts;
mod fits;
mod imported;
mod ingest;
mod origin;
mod overview;
mod planned;
mod readings;
mod rebuild;
mod records;
mod standing;

pub use experiment::record::RunRecord;
pub use imported::{FittedRows, Imported, ImportedRun};
pub use origin::Machine;
pub use overview::{Overview, Progress};
pub use readings::{ReadContent, ReadPosition, ReadingRecord};
pub use rebuild::FoundRun;
pub use records::{
    AttemptRecord, Ended, ExperimentRecord, FitRecord, PlannedRun, StartedAttempt, StoredFit,
};
pub use standing::{Selection, Standing, Tally};

use experiment::event::Measurement;
use experiment::folder::ResultsFolder;
use experiment::run::{RunId, RunSpec};
use sqlx::ConnectOptions;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Sqlite, SqliteConnection, Transaction};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The results folder cannot be made or written.
    #[error("cannot write the results folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database was written by a newer program.
    #[error(
        "{} was written by a newer version of this program (schema {found}, this one knows up to \
         {known}); use that version, or another results folder (--results)",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The database was written by an older program and is only read.
    #[error(
        "{} was written by an older version of this program (schema {found}, this one has {known}); \
         `orchestrator status FILE` brings it up to date",
        path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The one this program has.
        known: i64,
    },
    /// The file is not a database, or is damaged.
    #[error("cannot open {} as a database: {source}{}", path.display(), remedy(source))]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// There is no database yet.
    #[error("there are no results in {}: run the experiment first", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// A statement failed.
    #[error("the database refused: {}{}", .0, remedy(.0))]
    Sql(#[from] sqlx::Error),
    /// Something stored does not have the form it should have.
    #[error("the database holds something unexpected in {what}: {why}")]
    Content {
        /// Where.
        what: String,
        /// What is wrong.
        why: String,
    },
}

fn content(what: &str, why: impl ToString) -> StoreError {
    StoreError::Content {
        what: what.to_owned(),
        why: why.to_string(),
    }
}

/// An open database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(30))
        .foreign_keys(true)
        // Large experiments take what they take; a warning amid a table helps nobody.
        .disable_statement_logging()
}

/// SQLite's primary result code (<https://sqlite.org/rescode.html>); none where the error is
/// another's.
fn code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?.parse::<u32>().ok()?;
    Some(code & 0xff)
}

/// Says whether the disk is to blame: it fails, or is full.
fn is_of_disk(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(10 | 13))
}

/// Says whether the machine is to blame and not the file: the disk, or another process that writes.
pub fn is_of_machine(error: &sqlx::Error) -> bool {
    is_of_disk(error) || code(error) == Some(5)
}

/// What to do about an error of SQLite, after its message.
fn remedy(error: &sqlx::Error) -> &'static str {
    match code(error) {
        Some(5) => "; another process is writing to it: try again when that has ended",
        Some(10) => "; is the disk full or failing? Make room and try again",
        Some(13) => "; make room and try again",
        Some(11 | 26) => {
            "; it is damaged: `orchestrator rebuild DIR`, DIR being its folder, makes it anew from the \
             runs"
        }
        _ => "",
    }
}

impl Store {
    /// Opens the database of a results folder, making both when they do not exist.
    ///
    /// # Errors
    /// When the folder cannot be written, or the file is foreign, damaged or newer.
    pub async fn create(results: &Path) -> Result<Self, StoreError> {
        Self::make_folder(results)?;
        let path = ResultsFolder(results).database();
        Self::connect(&path, options(&path).create_if_missing(true)).await
    }

    /// Makes a results folder where there is none, and sees whether it can be written.
    ///
    /// # Errors
    /// When it cannot.
    pub fn make_folder(results: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError::Folder {
            path: results.to_owned(),
            source,
        };
        std::fs::create_dir_all(results).map_err(failed)?;
        // A read-only folder would show itself only at the first write: show it now.
        let probe = results.join(".write-probe.tmp");
        std::fs::write(&probe, b"").map_err(failed)?;
        match std::fs::remove_file(&probe) {
            // Somebody else looked at the same time.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(failed),
        }
    }

    /// Opens the database of a results folder that must exist.
    ///
    /// # Errors
    /// When there is none, or the file is foreign, damaged or newer.
    pub async fn open(results: &Path) -> Result<Self, StoreError> {
        let path = ResultsFolder(results).database();
        if !path.exists() {
            return Err(StoreError::Missing {
                path: results.to_owned(),
            });
        }
        let options = options(&path);
        match Self::connect(&path, options.clone()).await {
            // On a full disk there is no room for the index that processes share. Alone, none is
            // needed (<https://sqlite.org/wal.html#noshm>), and what can be removed can be looked up.
            Err(StoreError::Open { source, .. }) if is_of_disk(&source) => {
                Self::connect(&path, options.locking_mode(SqliteLockingMode::Exclusive)).await
            }
            opened => opened,
        }
    }

    async fn connect(path: &Path, options: SqliteConnectOptions) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(open)?;
        match MIGRATIONS.run(&pool).await {
            Ok(()) => Ok(Self { pool }),
            Err(MigrateError::VersionMissing(found)) => Err(StoreError::Newer {
                path: path.to_owned(),
                found,
                known: MIGRATIONS
                    .iter()
                    .map(|migration| migration.version)
                    .max()
                    .unwrap_or(0),
            }),
            Err(error) => Err(open(sqlx::Error::Migrate(Box::new(error)))),
        }
    }

    /// Begins to write: waits for others that write, as long as the busy timeout says.
    ///
    /// A transaction that reads first and writes then would be refused at once where another has
    /// written meanwhile (<https://sqlite.org/rescode.html#busy_snapshot>).
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
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
        Ok(rows.into_iter().map(Measurement::from).collect())
    }

    /// Takes note that a run's journal ends at `newest`, where it has lost lines that were taken in:
    /// what comes next is new, though its numbers were used before.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn journal_ends(&self, run: &RunId, newest: Option<u64>) -> Result<(), StoreError> {
        let newest = newest.map(|seq| seq as i64);
        sqlx::query("UPDATE runs SET last_seq = ?2 WHERE id = ?1 AND last_seq > COALESCE(?2, -1)")
            .bind(&run.0)
            .bind(newest)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Says whether a run's held-out loss after `step` steps is known.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn is_validated(&self, run: &RunId, step: u64) -> Result<bool, StoreError> {
        is_validated(&mut *self.pool.acquire().await?, run, step).await
    }
}

async fn is_validated(
    connection: &mut SqliteConnection,
    run: &RunId,
    step: u64,
) -> Result<bool, StoreError> {
    let row: Option<(i64,)> = sqlx::query_as(
        "SELECT 1 FROM measurements
         WHERE run_id = ? AND step = ? AND validation_loss IS NOT NULL",
    )
    .bind(&run.0)
    .bind(step as i64)
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

/// Reads a run's specification from its JSON.
fn read_spec(json: &str) -> Result<RunSpec, StoreError> {
    serde_json::from_str(json).map_err(|error| content("runs.spec", error))
}

#[cfg(test)]
pub(crate) mod tests;
