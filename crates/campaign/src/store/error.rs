//! What can go wrong with the database, and what mends it.

use std::path::PathBuf;

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
    /// The database cannot be read, nor a copy of it be made.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A copy of the database cannot be written.
    #[error("cannot write a copy of the database to {}: {source}", path.display())]
    Copy {
        /// Where.
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
    /// The file is not a database, or is damaged.
    #[error("cannot open {} as a database: {source}{}", path.display(), remedy(source))]
    Open {
        /// The database.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// Somebody else writes to the database for longer than anybody waits.
    #[error(
        "{} is locked: {holder} writes to it; wait until that has ended, or end it, and try again",
        path.display()
    )]
    Locked {
        /// The database.
        path: PathBuf,
        /// Who writes, as far as the system shows.
        holder: String,
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
    #[error(
        "the database holds something unexpected in {what}: {why}; if it was changed by hand, \
         `orchestrator rebuild DIR`, DIR being its folder, makes it anew from the runs"
    )]
    Content {
        /// Where.
        what: String,
        /// What is wrong.
        why: String,
    },
}

pub(super) fn content(what: &str, why: impl ToString) -> StoreError {
    StoreError::Content {
        what: what.to_owned(),
        why: why.to_string(),
    }
}

/// SQLite's primary result code (<https://sqlite.org/rescode.html>); none where the error is
/// another's.
fn code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?.parse::<u32>().ok()?;
    Some(code & 0xff)
}

/// Says whether another process is to blame, which writes.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(5 | 6))
}

/// Says whether the disk is to blame: it fails, or is full.
pub(super) fn is_of_disk(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(10 | 13))
}

/// Says whether a database was not opened for want of a file beside it that cannot be written: on a full
/// or a read-only disk, or in somebody else's folder.
pub(super) fn needs_to_write(error: &sqlx::Error) -> bool {
    is_of_disk(error) || matches!(code(error), Some(3 | 8 | 14))
}

/// Says whether the machine is to blame and not the file: the disk, or another process that writes.
pub fn is_of_machine(error: &sqlx::Error) -> bool {
    is_of_disk(error) || is_busy(error)
}

/// What to do about an error of SQLite, after its message.
fn remedy(error: &sqlx::Error) -> &'static str {
    let is_without_table = error
        .as_database_error()
        .is_some_and(|error| error.message().contains("no such"));
    match code(error) {
        Some(5) => "; another process is writing to it: try again when that has ended",
        Some(8) => "; it can only be read: its folder or its disk does not let this user write",
        Some(10) => "; is the disk full or failing? Make room and try again",
        Some(13) => "; make room and try again",
        Some(11 | 26) => {
            "; it is damaged: `orchestrator rebuild DIR`, DIR being its folder, makes it anew from the \
             runs"
        }
        _ if is_without_table => {
            "; it is not as this program made it: `orchestrator rebuild DIR`, DIR being its folder, makes \
             it anew from the runs"
        }
        _ => "",
    }
}
