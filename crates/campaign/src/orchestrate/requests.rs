//! Requests to a running orchestrator: files, so that none is lost when it dies.

use experiment::lock::Holder;
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

/// Asks for something of a run: the orchestrator `of` which it is asked, where that is known.
///
/// # Errors
/// When the request cannot be written.
pub(super) fn ask(
    results: &Path,
    request: Request,
    run: &RunId,
    of: Option<&Holder>,
) -> Result<()> {
    let folder = request.folder(results);
    std::fs::create_dir_all(&folder)?;
    let said = of.map(serde_json::to_string).transpose()?;
    // Whole or not at all: who is at work may look at any moment.
    let (path, temporary) = (folder.join(&run.0), folder.join(format!(".{run}.tmp")));
    std::fs::write(&temporary, said.unwrap_or_default())?;
    std::fs::rename(temporary, path)
}

/// Lists the runs for which something was asked, and of whom, where that is known.
pub(super) fn asked(results: &Path, request: Request) -> Vec<(RunId, Option<Holder>)> {
    let entries = std::fs::read_dir(request.folder(results));
    let entries = entries.into_iter().flatten().flatten();
    let asked = entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let said = std::fs::read(entry.path()).ok()?;
        let of = serde_json::from_slice(&said).ok();
        (!name.starts_with('.')).then_some((RunId(name), of))
    });
    asked.collect()
}

/// Takes a request back, since it has been fulfilled or is no longer meant; says whether there was one.
///
/// # Errors
/// When it cannot be removed.
pub(super) fn take_back(results: &Path, request: Request, run: &RunId) -> Result<bool> {
    match std::fs::remove_file(request.folder(results).join(&run.0)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}
