//! Several machines on one results folder: offers, claims and exits are files in it, and no server is needed.
//!
//! ```text
//! leader (orchestrate) ─ offers/PLACE-RUN ─► workers: claims/RUN ─► the training process, fenced
//!        ▲ journals, heartbeats, exits/RUN.N ────────────┘
//! ```
//!
//! Owns those files, the worker, and the launcher that stands for all workers; a [`pool::Pool`] brings them
//! up. Refuses SQL: the leader alone has the database.

pub mod leader;
pub mod pool;
pub mod profile;
pub mod slurm;
pub mod worker;
pub mod workload;

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

/// How an attempt ended, as the worker that carried it out tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// Who carried it out.
    pub claim: experiment::claim::Claim,
    /// Its process; `None` where none could be started.
    pub pid: Option<u32>,
    /// Exit code, where it exited.
    pub code: Option<i32>,
    /// Signal, where it was killed.
    pub signal: Option<i32>,
    /// Whether the system killed a process for memory meanwhile.
    pub memory_ran_out: Option<bool>,
    /// The last lines of its log.
    pub log_tail: String,
    /// Whether the worker takes its machine for broken: what it began died before a first step.
    pub is_suspect: bool,
    /// Bytes of the run's journal: another machine may see them later than this.
    pub journal: u64,
}

/// Names the file of an offer: the smallest place first.
fn offer_name(place: u64, run: &RunId) -> String {
    format!("{place:010}-{run}")
}

/// Finds the run of an offer's file.
fn run_of_offer(path: &Path) -> Option<RunId> {
    let name = path.file_name()?.to_str()?;
    let (_, run) = name.split_once('-')?;
    (!run.contains('.')).then(|| RunId(run.to_owned()))
}

/// Names the file of an ending.
fn exit_name(run: &RunId, attempt: usize) -> String {
    format!("{run}.{attempt}")
}

/// Finds the run and the attempt of an ending's file; `None` for one that is being written.
fn run_of_exit(path: &Path) -> Option<(RunId, usize)> {
    let name = path.file_name()?.to_str()?;
    let (run, attempt) = name.split_once('.')?;
    Some((RunId(run.to_owned()), attempt.parse().ok()?))
}

/// Lists the files of a folder by name; none where it is not there.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Takes back the offer of a run, and asks whoever trains it to stop, where no leader is there to do so.
///
/// # Errors
/// When a file cannot be removed or written.
pub fn withdraw(results: &Path, run: &RunId) -> Result<()> {
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
const STOP: &str = "stop";
/// As [`STOP`].
const KILL: &str = "kill";

/// Removes a file; one that has gone is no trouble.
fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Writes a file whole or not at all.
fn write_whole(path: &Path, value: &impl Serialize) -> Result<()> {
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&unfinished, serde_json::to_vec(value)?)?;
    std::fs::rename(&unfinished, path)
}

/// Reads a file; `None` where it is gone or not whole yet.
fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
