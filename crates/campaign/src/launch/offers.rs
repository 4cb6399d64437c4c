//! Offers: files in a results folder that say which runs workers elsewhere may take, and what is asked of those
//! that they have.

use experiment::folder::ClusterFolder;
use experiment::run::RunId;
use serde::{Deserialize, Serialize};
use std::io::Result;
use std::path::{Path, PathBuf};

/// A run that may be trained, as its file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Which attempt at the run it is.
    pub attempt: usize,
    /// Threads that its process may use.
    pub threads: usize,
    /// A variable that its process is started with.
    pub environment: Option<(String, String)>,
    /// Memory it is expected to take, in bytes.
    pub memory: f64,
    /// Devices that it takes together.
    pub devices: usize,
    /// The run whose end it goes on from.
    pub after: Option<RunId>,
}

/// Names the file of an offer: the smallest place first.
pub(crate) fn offer_name(place: u64, run: &RunId) -> String {
    format!("{place:010}-{run}")
}

/// Finds the run of an offer's file.
pub(crate) fn run_of_offer(path: &Path) -> Option<RunId> {
    let name = path.file_name()?.to_str()?;
    let (_, run) = name.split_once('-')?;
    (!run.contains('.')).then(|| RunId(run.to_owned()))
}

/// Lists the files of a folder by name; none where it is not there.
pub(crate) fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Takes back the offer of a run, and asks whoever trains it to stop, where no leader is there to do so.
///
/// # Errors
/// When a file cannot be removed or written.
pub(crate) fn withdraw(results: &Path, run: &RunId) -> Result<()> {
    let folder = ClusterFolder(results);
    for path in listed(&folder.offers()) {
        if run_of_offer(&path).as_ref() == Some(run) {
            remove(&path)?;
        }
    }
    if folder.claim(run).exists() {
        std::fs::write(folder.stops().join(&run.0), STOP)?;
    }
    Ok(())
}

/// What a worker is asked for: to have a run save and end, or to end it.
pub(crate) const STOP: &str = "stop";
/// As [`STOP`].
pub(crate) const KILL: &str = "kill";

/// Removes a file; one that has gone is no trouble.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
