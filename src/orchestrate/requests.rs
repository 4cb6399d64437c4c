//! Requests to a running orchestrator: files, so that none is lost when it dies.

use crate::run::RunId;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Folder of the runs to cancel, in a results folder.
fn folder(results: &Path) -> PathBuf {
    results.join(".cancel")
}

/// Asks whoever works, or will work, on a results folder to cancel a run.
///
/// # Errors
/// When the request cannot be written.
pub fn ask_to_cancel(results: &Path, run: &RunId) -> Result<()> {
    let folder = folder(results);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(&run.0), "")
}

/// Lists the runs that were asked to be cancelled.
pub(super) fn cancelled(results: &Path) -> Vec<RunId> {
    let entries = std::fs::read_dir(folder(results));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .map(|entry| RunId(entry.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Takes a request back, since it has been fulfilled.
///
/// # Errors
/// When it cannot be removed.
pub fn fulfilled(results: &Path, run: &RunId) -> Result<()> {
    match std::fs::remove_file(folder(results).join(&run.0)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
