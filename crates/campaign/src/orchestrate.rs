//! The loop: plan → launch → events → store.
//!
//! Owns the order of things while an experiment runs. It is the only writer of the database; the
//! runs write journals, which are taken in idempotently, so that a crash on either side loses
//! nothing.

mod active;
mod campaign;
mod control;
mod disk;
mod intake;
mod policy;
mod pulse;
mod queue;
mod rebuild;
mod requests;
mod tail;

pub use campaign::run;
pub use control::{Control, ControlError, Requested};
pub use disk::{DiskNeed, disk_free, disk_need};
pub use queue::{blocked_by, by_urgency, to_do};
pub use rebuild::{Rebuilt, rebuild};
pub use requests::Request;
pub use tail::Tail;

use crate::launch::LaunchError;
use crate::store::StoreError;
use experiment::event::Measurement;
use experiment::folder::ResultsFolder;
use experiment::grid::ExecutionSettings;
use experiment::lock::Holder;
use experiment::run::{RunId, RunOutcome};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the loop had to end early.
#[derive(Debug, thiserror::Error)]
pub enum OrchestrateError {
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A process could not be started or watched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A run's folder could not be written or read.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Where an experiment's runs live and on what they run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The results folder.
    pub results: PathBuf,
    /// The folder of prepared data.
    pub data_cache: PathBuf,
    /// How runs are carried out.
    pub execution: ExecutionSettings,
    /// Runs that may start, where that is bounded.
    pub max_runs: Option<usize>,
    /// Runs that start before all others.
    pub first: Vec<RunId>,
    /// How far the loop goes.
    pub mode: Mode,
    /// Where the numbers come from.
    pub provenance: Provenance,
}

/// How far the loop goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Until no run is left that can be trained.
    #[default]
    Train,
    /// Until what workers elsewhere have done is taken in, and the other runs are offered to them.
    Offer,
    /// Until what workers elsewhere have done is taken in.
    TakeIn,
}

/// Where numbers come from.
#[derive(Clone, Debug, Default)]
pub struct Provenance {
    /// The machine's name.
    pub host: String,
    /// Commit of the working folder's repository, with a trailing + when it had changes.
    pub git_commit: Option<String>,
    /// SHA-256 of the lock file that the program was built with.
    pub lock_hash: Option<String>,
    /// Devices by name, as their system describes them.
    pub hardware: HashMap<String, String>,
}

impl Setting {
    /// Finds a run's folder.
    pub fn run_folder(&self, run: &RunId) -> PathBuf {
        ResultsFolder(&self.results).run(run)
    }
}

/// What an observer is told.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A run's process started.
    Started(RunId),
    /// A run measured something.
    Measured(RunId, Box<Measurement>),
    /// A run ended.
    Ended(RunId, RunOutcome, Option<String>),
    /// An attempt at a run failed, and it is tried again.
    Retried(Box<Retried>),
    /// A run that had ended is to be trained again, as somebody asked.
    Reopened(RunId),
    /// A run waits for a process that still works in its folder.
    Held(RunId, String),
    /// Another orchestrator was asked to cancel a run, and ended before it did.
    Left(RunId, Holder),
    /// A run will not start, and why.
    Blocked(RunId, String),
    /// Something that concerns no run.
    Said(String),
    /// Stopping was asked for; so many runs are still to stop.
    Stopping(usize),
    /// Stopping was asked for once more; so many runs are killed.
    Killing(usize),
}

/// A failure that is answered by another attempt.
#[derive(Clone, Debug)]
pub struct Retried {
    /// The run.
    pub run: RunId,
    /// How the attempt ended.
    pub outcome: RunOutcome,
    /// What was said about it.
    pub message: Option<String>,
    /// Time until the next.
    pub after: Duration,
    /// Sequences in one forward pass from now on, where memory ran out.
    pub micro_batch: Option<usize>,
}

/// Watches a grid being run.
pub trait Observer {
    /// Takes a notice.
    fn notice(&mut self, notice: Notice);

    /// Is called about ten times a second.
    fn tick(&mut self) {}
}

/// What came of a grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// Runs that were finished before.
    pub already: usize,
    /// Runs that finished now.
    pub finished: usize,
    /// Runs that diverged, now or before: a result, and not tried again.
    pub diverged: usize,
    /// Runs that failed, now or before, and are not tried again by themselves.
    pub failed: usize,
    /// Runs that were cancelled, now or before.
    pub cancelled: usize,
    /// Runs that did not start, since the one they go on from failed.
    pub blocked: usize,
    /// Runs left to do.
    pub left: usize,
    /// What kept them from starting; none where none is left.
    pub left_by: Option<Limit>,
}

impl Summary {
    /// Counts the runs that ended now; those that had diverged or failed before among them.
    pub fn started(&self) -> usize {
        self.finished + self.diverged + self.failed
    }
}

/// What keeps runs from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Stopping was asked for.
    Stop,
    /// They are offered to workers elsewhere.
    Elsewhere,
    /// [`Setting::max_runs`].
    MaxRuns,
    /// `execution.max_time`.
    MaxTime,
    /// `execution.max_flops`.
    MaxFlops,
}

impl Summary {
    /// The number that runs with an outcome are counted in.
    fn of(&mut self, outcome: RunOutcome) -> &mut usize {
        match outcome {
            RunOutcome::Finished => &mut self.finished,
            RunOutcome::Diverged => &mut self.diverged,
            RunOutcome::Cancelled => &mut self.cancelled,
            RunOutcome::Interrupted => &mut self.left,
            RunOutcome::Crashed
            | RunOutcome::OutOfMemory
            | RunOutcome::TimedOut
            | RunOutcome::Stalled
            | RunOutcome::FinishedWithoutResult => &mut self.failed,
        }
    }
}

/// Makes an IO error that says what was tried on which path.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> OrchestrateError {
    let path = path.to_owned();
    move |source| OrchestrateError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests;
