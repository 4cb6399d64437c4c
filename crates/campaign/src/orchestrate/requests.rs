//! Requests to a running orchestrator: files, so that none is lost when it dies.

use experiment::run::RunId;
use serde::Serialize;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

/// What can be asked for of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// To stop it at a checkpoint, or not to start it.
    Cancel,
    /// To train it again though it has ended, with all its retries.
    Retry,
}

impl Request {
    /// Folder of such requests, a file a run, in a results folder.
    fn folder(self, results: &Path) -> PathBuf {
        results.join(match self {
            Self::Cancel => ".cancel",
            Self::Retry => ".retry",
        })
    }
}

/// Asks whoever works, or will work, on a results folder for something.
///
/// # Errors
/// When the request cannot be written.
pub(super) fn ask(results: &Path, request: Request, run: &RunId) -> Result<()> {
    let folder = request.folder(results);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(&run.0), "")
}

/// Lists the runs for which something was asked.
pub(super) fn asked(results: &Path, request: Request) -> Vec<RunId> {
    let entries = std::fs::read_dir(request.folder(results));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .map(|entry| RunId(entry.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Takes a request back, since it has been fulfilled.
///
/// # Errors
/// When it cannot be removed.
pub(super) fn fulfilled(results: &Path, request: Request, run: &RunId) -> Result<()> {
    match std::fs::remove_file(request.folder(results).join(&run.0)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
