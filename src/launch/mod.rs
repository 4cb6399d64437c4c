//! Starting, watching and stopping training processes.
//!
//! Owns processes; refuses SQL. A launcher runs a [`Job`] somewhere; what the run has to say
//! comes through its journal, so a launcher only reports how processes end.

pub mod local;

use crate::run::{RunId, RunOutcome};
use std::path::PathBuf;

/// Name of the file in a run's folder that says what the run is.
pub const SPEC_FILE: &str = "run.json";
/// Name of the file in a run's folder that takes its process's output.
pub const LOG_FILE: &str = "log.txt";

/// Exit codes of a training process: how it tells its launcher the outcome.
pub mod exit_code {
    /// Trained to its last token.
    pub const FINISHED: i32 = 0;
    /// Something failed; the journal and the log say what.
    pub const FAILED: i32 = 1;
    /// The loss was not a number or passed the bound.
    pub const DIVERGED: i32 = 3;
    /// Stopped on request at a checkpoint.
    pub const INTERRUPTED: i32 = 4;
}

/// A run to start.
#[derive(Clone, Debug)]
pub struct Job {
    /// The run.
    pub run: RunId,
    /// Its folder, which holds [`SPEC_FILE`].
    pub folder: PathBuf,
    /// Where prepared data are kept.
    pub data_cache: PathBuf,
    /// The device to train on.
    pub device: String,
    /// Threads it may use.
    pub threads: usize,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The run.
    pub run: RunId,
    /// Exit code, where it exited.
    pub code: Option<i32>,
    /// Signal, where it was killed.
    pub signal: Option<i32>,
    /// The last lines of its log.
    pub log_tail: String,
}

impl Exit {
    /// Classifies the end of a process that nobody asked to stop by force.
    pub fn outcome(&self) -> RunOutcome {
        match (self.code, self.signal) {
            (Some(exit_code::FINISHED), _) => RunOutcome::Finished,
            (Some(exit_code::DIVERGED), _) => RunOutcome::Diverged,
            (Some(exit_code::INTERRUPTED), _) => RunOutcome::Interrupted,
            // The kernel's out-of-memory killer sends SIGKILL; Rust's allocator aborts.
            (_, Some(9)) => RunOutcome::OutOfMemory,
            (_, Some(6)) if self.log_tail.contains("memory allocation of") => {
                RunOutcome::OutOfMemory
            }
            _ => RunOutcome::Crashed,
        }
    }
}

/// Why a job could not be started or watched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A process could not be started.
    #[error("cannot start run {run}: {source}")]
    Start {
        /// The run.
        run: RunId,
        /// Why.
        source: std::io::Error,
    },
    /// A process could not be watched.
    #[error("cannot watch run {run}: {source}")]
    Watch {
        /// The run.
        run: RunId,
        /// Why.
        source: std::io::Error,
    },
}

/// A place where jobs run.
pub trait Launcher {
    /// Says how many jobs may run at once.
    fn slots(&self) -> usize;

    /// Starts a job and returns its process id.
    ///
    /// # Errors
    /// When the process cannot be started.
    fn start(&mut self, job: &Job) -> Result<u32, LaunchError>;

    /// Collects the jobs that ended since the last call.
    ///
    /// # Errors
    /// When a process cannot be watched.
    fn ended(&mut self) -> Result<Vec<Exit>, LaunchError>;

    /// Asks every running job to stop at a checkpoint.
    fn stop(&mut self);

    /// Kills every running job.
    fn kill(&mut self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_classified() {
        let exit = |code, signal, log: &str| Exit {
            run: RunId("r".into()),
            code,
            signal,
            log_tail: log.into(),
        };
        for (end, outcome) in [
            (exit(Some(0), None, ""), RunOutcome::Finished),
            (exit(Some(3), None, ""), RunOutcome::Diverged),
            (exit(Some(4), None, ""), RunOutcome::Interrupted),
            (exit(Some(1), None, "boom"), RunOutcome::Crashed),
            (exit(Some(101), None, "panicked"), RunOutcome::Crashed),
            (exit(None, Some(9), ""), RunOutcome::OutOfMemory),
            (
                exit(None, Some(6), "memory allocation of 9 bytes failed"),
                RunOutcome::OutOfMemory,
            ),
            (exit(None, Some(11), ""), RunOutcome::Crashed),
        ] {
            assert_eq!(end.outcome(), outcome, "{end:?}");
        }
    }
}
