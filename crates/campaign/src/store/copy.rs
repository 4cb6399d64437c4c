//! Copies of a database: for somebody to keep, and to read what cannot be read in place.

use super::error::is_busy;
use super::opening::beside;
use super::{Store, StoreError, locks};
use experiment::folder::ResultsFolder;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Endings of the files that make up a database: itself, its write-ahead log, its rollback journal.
const PARTS: [&str; 3] = ["", "-wal", "-journal"];

/// Times that files are copied which change meanwhile.
const TRIES: usize = 20;

/// A copy that is read in place of a database; it is removed when nobody reads it any more.
#[derive(Debug)]
pub(super) struct Copied {
    _folder: TempDir,
    /// Tells it from copies before and after it.
    pub(super) number: i64,
}

impl Copied {
    pub(super) fn of(folder: TempDir) -> Arc<Self> {
        /// Far above the versions that SQLite counts.
        static NUMBER: AtomicI64 = AtomicI64::new(1 << 40);
        Arc::new(Self {
            _folder: folder,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        })
    }
}

/// Makes a folder for a copy.
pub(super) fn folder() -> Result<TempDir, StoreError> {
    TempDir::with_prefix("orchestrator-").map_err(|source| StoreError::Copy {
        path: std::env::temp_dir(),
        source,
    })
}

/// Says whether a database keeps a write-ahead log: bytes 18 and 19 of its header
/// (<https://sqlite.org/fileformat.html>) tell.
pub(super) fn has_write_ahead_log(path: &Path) -> Result<bool, StoreError> {
    let mut header = [0; 20];
    match File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        Ok(()) => Ok(header[18..] == [2, 2]),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(source) => Err(unreadable(path)(source)),
    }
}

fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Unreadable { path, source }
}

/// Copies a database file by file, as it stands between two changes; says what the copy lacks.
pub(super) fn of_files(path: &Path) -> Result<(TempDir, Option<String>), StoreError> {
    let folder = folder()?;
    let copy = ResultsFolder(folder.path()).database();
    for _ in 0..TRIES {
        let before = PARTS.map(|part| stamp(&beside(path, part)));
        let mut lacks = None;
        for part in PARTS {
            let (from, to) = (beside(path, part), beside(&copy, part));
            // What was there at the last try may be gone.
            let _ = std::fs::remove_file(&to);
            match copy_bytes(&from, &to) {
                Err(Failed::Read(error)) if part.is_empty() => return Err(unreadable(path)(error)),
                Err(Failed::Read(error)) if error.kind() == ErrorKind::NotFound => {}
                Err(Failed::Read(error)) => {
                    lacks = Some(format!(
                        "{} cannot be read ({error}): the newest rows, which are there, are missing",
                        from.display()
                    ));
                }
                Err(Failed::Write(source)) => return Err(StoreError::Copy { path: to, source }),
                Ok(()) => {}
            }
        }
        if PARTS.map(|part| stamp(&beside(path, part))) == before {
            return Ok((folder, lacks));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(unreadable(path)(std::io::Error::other(
        "it changes all the time, and cannot be copied",
    )))
}

enum Failed {
    Read(std::io::Error),
    Write(std::io::Error),
}

fn copy_bytes(from: &Path, to: &Path) -> Result<(), Failed> {
    let bytes = std::fs::read(from).map_err(Failed::Read)?;
    std::fs::write(to, bytes).map_err(Failed::Write)
}

/// Length and time of the last change; `None` where there is no such file.
fn stamp(path: &Path) -> Option<(u64, SystemTime)> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.len(), file.modified().ok()?))
}

impl Store {
    /// Says whether a copy is read, in which nothing changes any more.
    pub fn is_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// Says what cannot be seen of the database; nothing where all of it is read.
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// Writes a copy of the whole as it stands at one moment, whoever writes meanwhile, as one file.
    ///
    /// # Errors
    /// When the file is there already or cannot be written, or the database refuses.
    pub async fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        let failed = |source: std::io::Error| StoreError::Copy {
            path: file.to_owned(),
            source,
        };
        let name = file.to_str().ok_or_else(|| {
            failed(std::io::Error::other(
                "its name is not UTF-8, as SQLite's must be",
            ))
        })?;
        if file.exists() {
            return Err(failed(ErrorKind::AlreadyExists.into()));
        }
        let refused = |source: sqlx::Error| {
            if is_busy(&source) {
                StoreError::Locked {
                    path: self.path.clone(),
                    holder: locks::holder(&self.path),
                }
            } else {
                StoreError::Sql(source)
            }
        };
        let mut connection = self.pool.acquire().await?;
        let (only_reads,): (bool,) = sqlx::query_as("PRAGMA query_only")
            .fetch_one(&mut *connection)
            .await?;
        // It would keep the copy from being written, too.
        sqlx::query("PRAGMA query_only = OFF")
            .execute(&mut *connection)
            .await?;
        let copied = sqlx::query("VACUUM INTO ?")
            .bind(name)
            .execute(&mut *connection)
            .await;
        if only_reads {
            sqlx::query("PRAGMA query_only = ON")
                .execute(&mut *connection)
                .await?;
        }
        copied.map_err(refused)?;
        // SQLite leaves it to the system when that is on the disk.
        File::open(file)
            .and_then(|file| file.sync_all())
            .map_err(failed)
    }
}
