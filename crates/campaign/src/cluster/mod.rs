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

use experiment::run::RunId;
use serde::{Deserialize, Serialize};
use std::io::Result;
use std::path::Path;

/// How an attempt ended, as the worker that carried it out tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// Who carried it out.
    pub claim: experiment::run_claim::RunClaim,
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
