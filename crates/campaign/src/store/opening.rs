//! Opening a database: to write it, or only to read it, whatever its folder allows; and closing it.

use super::copy::Copied;
use super::error::{is_busy, is_of_disk, needs_to_write};
use super::filesystem::shared_filesystem;
use super::{MIGRATIONS, Store, StoreError, copy, locks};
use experiment::folder::ResultsFolder;
use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time that a statement waits for another process that writes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time in which a database is changed to another kind of journal, which SQLite itself does not wait for.
const TURNING: Duration = Duration::from_secs(5);

/// Time that whoever wants the one connection waits for it. Statements give up long before, and say why.
const QUEUE: Duration = Duration::from_secs(3600);

/// What this process has open.
///
/// A process that ends with a database open leaves its last rows in the write-ahead log, and the file
/// itself without them.
static OPEN: Mutex<Vec<Store>> = Mutex::new(Vec::new());

/// How changes are made safe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Journal {
    /// By a write-ahead log: readers and a writer do not wait for each other. For one machine alone.
    Ahead,
    /// By a rollback journal: also where several machines share the folder.
    Rollback,
}

impl Journal {
    /// Chooses it for the filesystem that a database is on.
    fn of(path: &Path) -> Self {
        match path.parent().and_then(shared_filesystem) {
            Some(_) => Self::Rollback,
            None => Self::Ahead,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ahead => "wal",
            Self::Rollback => "delete",
        }
    }
}

/// Names a file beside the database, as SQLite does.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(ending);
    name.into()
}

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .foreign_keys(true)
        // Large experiments take what they take; a warning amid a table helps nobody.
        .disable_statement_logging()
}

/// Puts the file in place of the statement where an error is of the statement.
fn of_file(path: &Path) -> impl Fn(sqlx::Error) -> StoreError + Copy {
    move |source| {
        if is_busy(&source) {
            return StoreError::Locked {
                path: path.to_owned(),
                holder: locks::holder(path),
            };
        }
        StoreError::Open {
            path: path.to_owned(),
            source,
        }
    }
}

/// The schema's version that this program knows.
fn known() -> i64 {
    let versions = MIGRATIONS.iter().map(|migration| migration.version);
    versions.max().unwrap_or(0)
}

/// Reads the version of a database's schema; 0 of an empty one.
async fn version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let (made,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await?;
    if made == 0 {
        return Ok(0);
    }
    let (version,): (Option<i64>,) = sqlx::query_as("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await?;
    Ok(version.unwrap_or(0))
}

fn check_version(path: &Path, found: i64) -> Result<(), StoreError> {
    let known = known();
    if found <= known {
        return Ok(());
    }
    Err(StoreError::Newer {
        path: path.to_owned(),
        found,
        known,
    })
}

/// Brings a database's schema up to date: one process at a time, and whole or not at all.
async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let failed = of_file(path);
    let found = version(connection).await.map_err(failed)?;
    check_version(path, found)?;
    if found == known() {
        return Ok(());
    }
    let transaction = connection.begin_with("BEGIN EXCLUSIVE");
    let mut transaction = transaction.await.map_err(failed)?;
    // Another process may have done it meanwhile: what is there is looked at again in here.
    MIGRATIONS
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|error| failed(sqlx::Error::Migrate(Box::new(error))))?;
    transaction.commit().await.map_err(failed)
}

/// Has a database keep this kind of journal. Where others have it open it may keep the one that it has,
/// which is told.
async fn set_journal(
    connection: &mut SqliteConnection,
    journal: Journal,
    path: &Path,
) -> Result<(), sqlx::Error> {
    let began = Instant::now();
    loop {
        let (now,): (String,) = sqlx::query_as("PRAGMA journal_mode")
            .fetch_one(&mut *connection)
            .await?;
        if now == journal.name() {
            return Ok(());
        }
        let set: Result<(String,), sqlx::Error> = match journal {
            Journal::Ahead => sqlx::query_as("PRAGMA journal_mode = WAL"),
            Journal::Rollback => sqlx::query_as("PRAGMA journal_mode = DELETE"),
        }
        .fetch_one(&mut *connection)
        .await;
        match set {
            Err(error) if !is_busy(&error) => return Err(error),
            Ok((mode,)) if mode == journal.name() => return Ok(()),
            _ if began.elapsed() < TURNING => tokio::time::sleep(Duration::from_millis(20)).await,
            _ => {
                if journal == Journal::Rollback {
                    tracing::warn!(
                        "{} is on a filesystem that machines may share, and keeps a write-ahead log, \
                         since it is open elsewhere: let no other machine use it until all that use it \
                         have ended",
                        path.display()
                    );
                }
                return Ok(());
            }
        }
    }
}

impl Store {
    /// Opens the database of a results folder, making both when they do not exist.
    ///
    /// # Errors
    /// When the folder cannot be written, or the file is foreign, damaged, newer or locked.
    pub async fn create(results: &Path) -> Result<Self, StoreError> {
        Self::make_folder(results)?;
        let path = ResultsFolder(results).database();
        Self::connect(
            &path,
            options(&path).create_if_missing(true),
            Journal::of(&path),
        )
        .await
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

    /// Opens the database of a results folder, which must exist, to write it.
    ///
    /// # Errors
    /// When there is none, or the file is foreign, damaged, newer, locked or cannot be written.
    pub async fn open(results: &Path) -> Result<Self, StoreError> {
        let path = existing(results)?;
        let (options, journal) = (options(&path), Journal::of(&path));
        match Self::connect(&path, options.clone(), journal).await {
            // On a full disk there is no room for the index that processes share. Alone, none is
            // needed (<https://sqlite.org/wal.html#noshm>).
            Err(StoreError::Open { source, .. }) if is_of_disk(&source) => {
                let alone = options.locking_mode(SqliteLockingMode::Exclusive);
                Self::connect(&path, alone, journal).await
            }
            opened => opened,
        }
    }

    /// Opens the database of a results folder for reading alone, beside whoever writes it; nothing in the
    /// folder is written.
    ///
    /// Where that cannot be done in place, a copy is read as it stands now: in a folder that does not let
    /// SQLite make the files that it shares with a writer, of a database of an earlier version, which
    /// would have to be changed first, and of a write-ahead log of another machine.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or it is foreign, damaged or newer.
    pub async fn open_to_read(results: &Path) -> Result<Self, StoreError> {
        let path = existing(results)?;
        let is_shared = path.parent().and_then(shared_filesystem).is_some();
        // Of a log that this process itself writes the index is here.
        if is_shared && !is_open(&path) && copy::has_write_ahead_log(&path)? {
            return Self::open_copy(&path).await;
        }
        match Self::open_in_place(&path).await {
            Ok((store, found)) if found == known() => Ok(store),
            Ok((store, _)) => {
                let folder = copy::folder()?;
                let database = ResultsFolder(folder.path()).database();
                store.copy_to(&database).await?;
                store.close().await;
                Self::of_copy(folder, None).await
            }
            Err(StoreError::Open { source, .. }) if needs_to_write(&source) => {
                Self::open_copy(&path).await
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a database where it is, and says of which version it is.
    async fn open_in_place(path: &Path) -> Result<(Self, i64), StoreError> {
        // Where there is no write-ahead log one is made to read, which only a connection that could write
        // removes again. One that is there may be somebody's.
        let is_shared = path.parent().and_then(shared_filesystem).is_some();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(is_shared || beside(path, "-wal").exists())
            .pragma("query_only", "ON")
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        let store = Self::of_options(path, options, false).await?;
        let failed = of_file(path);
        let mut connection = store.pool.acquire().await.map_err(failed)?;
        let found = version(&mut connection).await.map_err(failed)?;
        check_version(path, found)?;
        drop(connection);
        Ok((store.remembered(), found))
    }

    async fn open_copy(path: &Path) -> Result<Self, StoreError> {
        let (folder, remark) = copy::of_files(path)?;
        let store = Self::of_copy(folder, remark).await?;
        // Another machine may have changed it as it was copied, without telling this one yet.
        let (sound,): (String,) = sqlx::query_as("PRAGMA quick_check(1)")
            .fetch_one(&store.pool)
            .await?;
        if sound != "ok" {
            return Err(StoreError::Unreadable {
                path: path.to_owned(),
                source: std::io::Error::other(format!(
                    "a copy of it is not sound ({sound}): it changed meanwhile, or is damaged"
                )),
            });
        }
        Ok(store)
    }

    async fn of_copy(folder: TempDir, remark: Option<String>) -> Result<Self, StoreError> {
        let database = ResultsFolder(folder.path()).database();
        let store = Self::connect(&database, options(&database), Journal::Ahead).await?;
        Ok(Self {
            copy: Some(Copied::of(folder)),
            remark,
            ..store
        })
    }

    pub(super) async fn connect(
        path: &Path,
        options: SqliteConnectOptions,
        journal: Journal,
    ) -> Result<Self, StoreError> {
        let store = Self::of_options(path, options, true).await?;
        let failed = of_file(path);
        let mut connection = store.pool.acquire().await.map_err(failed)?;
        let found = version(&mut connection).await.map_err(failed)?;
        check_version(path, found)?;
        set_journal(&mut connection, journal, path)
            .await
            .map_err(failed)?;
        migrate(&mut connection, path).await?;
        drop(connection);
        Ok(store.remembered())
    }

    async fn of_options(
        path: &Path,
        options: SqliteConnectOptions,
        writes: bool,
    ) -> Result<Self, StoreError> {
        // One connection, kept: `version` counts what others write as one connection sees it.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(QUEUE)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(of_file(path))?;
        Ok(Self {
            pool,
            path: path.to_owned(),
            writes,
            patience: None,
            copy: None,
            remark: None,
        })
    }

    /// Takes note that this is open, until it is closed.
    fn remembered(self) -> Self {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|store| !store.pool.is_closed());
        open.push(self.clone());
        drop(open);
        self
    }

    /// Closes the database, with all that was stored in the one file.
    pub async fn close(self) {
        /// Time that a connection in use is waited for: nobody uses one at the end, if all is well.
        const MOST: Duration = Duration::from_secs(5);
        if self.pool.is_closed() {
            return;
        }
        let closing = async {
            if self.writes {
                // SQLite does so itself where nobody else has the database open. What stays in the log
                // beside a reader is not lost.
                let moved = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&self.pool);
                if let Err(error) = moved.await {
                    tracing::debug!(%error, "rows stay in the write-ahead log");
                }
            }
            self.pool.close().await;
        };
        if tokio::time::timeout(MOST, closing).await.is_err() {
            tracing::debug!("a database is still in use");
        }
    }

    /// Closes every database that this process has open, as it does before it ends.
    pub async fn close_all() {
        let mut open = std::mem::take(&mut *OPEN.lock().unwrap_or_else(PoisonError::into_inner));
        // Who closes last tidies up, which one that only reads cannot.
        open.sort_by_key(|store| store.writes);
        for store in open {
            store.close().await;
        }
    }
}

/// Says whether this process has a database open.
fn is_open(path: &Path) -> bool {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.iter()
        .any(|store| store.path == path && !store.pool.is_closed())
}

/// Finds the database of a results folder.
fn existing(results: &Path) -> Result<PathBuf, StoreError> {
    let path = ResultsFolder(results).database();
    match path.try_exists() {
        Ok(true) => Ok(path),
        Ok(false) => Err(StoreError::Missing {
            path: results.to_owned(),
        }),
        Err(source) => Err(StoreError::Unreadable { path, source }),
    }
}
