//! Starting, watching and stopping training processes.
//!
//! Owns processes; refuses SQL. A launcher runs a [`Job`] somewhere; what the run has to say
//! comes through its journal, so a launcher only reports how processes end.

pub mod hardware;
pub mod local;
pub mod measure;
pub mod offers;

use experiment::lock::Holder;
use experiment::run::{RunId, RunOutcome};
use std::path::PathBuf;

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
    /// Another trainer ended without a fault, and without a result.
    pub const WITHOUT_RESULT: i32 = 5;
    /// Another trainer's process was killed by SIGKILL, as a shell says it.
    pub const KILLED: i32 = 128 + 9;
}

/// A run to start.
#[derive(Clone, Debug)]
pub struct Job {
    /// The run.
    pub run: RunId,
    /// Its folder, which holds its specification.
    pub folder: PathBuf,
    /// Where prepared data are kept.
    pub data_cache: PathBuf,
    /// The device to train on.
    pub device: String,
    /// Threads it may use.
    pub threads: usize,
    /// Which attempt at the run it is, from 1.
    pub attempt: usize,
    /// A variable that its process is started with.
    pub environment: Option<(String, String)>,
    /// The run from whose end it goes on.
    pub after: Option<RunId>,
    /// The claim that its process is to keep to: its file and its token.
    pub claim: Option<(PathBuf, String)>,
    /// Memory it is expected to take, in bytes.
    pub memory: f64,
    /// Devices that it takes together.
    pub devices: usize,
    /// The file that takes its output.
    pub log: PathBuf,
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
    /// Whether the system killed a process for memory meanwhile; `None` where it does not say.
    pub memory_ran_out: Option<bool>,
    /// The last lines of its log.
    pub log_tail: String,
    /// Why its end is not its own, where it is not: its machine or its time was.
    pub lost: Option<String>,
}

/// A job that has begun elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Begun {
    /// The run.
    pub run: RunId,
    /// The machine.
    pub host: String,
    /// The device there.
    pub device: String,
    /// Which attempt at the run it is.
    pub attempt: usize,
}

impl Exit {
    /// Classifies the end of a process that nobody asked to stop by force.
    pub fn outcome(&self) -> RunOutcome {
        const KILL: i32 = 9;
        match (self.code, self.signal) {
            (Some(exit_code::FINISHED), _) => RunOutcome::Finished,
            (Some(exit_code::DIVERGED), _) => RunOutcome::Diverged,
            (Some(exit_code::INTERRUPTED), _) => RunOutcome::Interrupted,
            (Some(exit_code::WITHOUT_RESULT), _) => RunOutcome::FinishedWithoutResult,
            // The system's out-of-memory killer sends it; so may anybody.
            (Some(exit_code::KILLED), _) | (_, Some(KILL))
                if self.memory_ran_out.unwrap_or(true) =>
            {
                RunOutcome::OutOfMemory
            }
            _ if self.says_out_of_memory() => RunOutcome::OutOfMemory,
            _ => RunOutcome::Crashed,
        }
    }

    /// Says whether a signal ended it, or what it watches over.
    pub(crate) fn was_killed(&self) -> bool {
        self.signal.is_some() || self.code == Some(exit_code::KILLED)
    }

    /// Says whether its last words are those of Rust's allocator, or of a GPU's.
    fn says_out_of_memory(&self) -> bool {
        let said = self.log_tail.to_lowercase();
        ["memory allocation of", "out of memory", "out_of_memory"]
            .iter()
            .any(|words| said.contains(words))
    }

    /// Says in words how it ended.
    pub fn describe(&self) -> String {
        match (self.code, self.signal) {
            (Some(code), _) => format!("its process ended with status {code}"),
            (_, Some(signal)) => format!("its process was killed by signal {signal}"),
            _ => "its process ended".to_owned(),
        }
    }
}

/// Why no workers come up, whatever is tried.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Stuck(pub String);

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
    /// No workers come up.
    #[error(transparent)]
    Stuck(#[from] Stuck),
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
    /// Finds a device where a job of so many bytes can start now; `None` when all are full.
    fn place(&self, memory: f64) -> Option<String>;

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

    /// Asks a running job to stop at a checkpoint.
    fn stop(&mut self, run: &RunId);

    /// Kills a running job.
    fn kill(&mut self, run: &RunId);

    /// Says whether jobs are offered, and begin elsewhere when somebody takes them.
    fn is_remote(&self) -> bool {
        false
    }

    /// Finds the runs that were offered before, and are still.
    fn adopt(&mut self) -> Vec<RunId> {
        Vec::new()
    }

    /// Takes back a run that was offered, with whatever is told of it; says whether it was.
    fn forget(&mut self, _: &RunId) -> bool {
        false
    }

    /// Leaves a run that was offered to whoever offered it: nothing of it is touched or told any more.
    fn leave(&mut self, _: &RunId) {}

    /// Collects the jobs that have begun elsewhere since the last call.
    fn begun(&mut self) -> Vec<Begun> {
        Vec::new()
    }

    /// Says whether whoever takes jobs is on the way, and those who have some live: then nobody is needed here.
    fn is_settled(&mut self) -> bool {
        true
    }

    /// Counts the jobs that nobody has taken.
    fn waiting(&self) -> usize {
        0
    }

    /// Is told that whatever has ended is in the database.
    fn settle(&mut self) {}

    /// Sees to whoever takes jobs; says what a person should know.
    ///
    /// # Errors
    /// When nobody will, whatever is tried.
    fn tend(&mut self) -> Result<Vec<String>, LaunchError> {
        Ok(Vec::new())
    }

    /// Makes a process that trains a run, though this launcher did not start it, end: at a
    /// checkpoint, or at once `by_force`.
    fn evict(&mut self, run: &RunId, holder: &Holder, by_force: bool);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_classified() {
        use RunOutcome::{
            Crashed, Diverged, Finished, FinishedWithoutResult, Interrupted, OutOfMemory,
        };
        let no_memory = "memory allocation of 9 bytes failed";
        for (code, signal, memory_ran_out, log, outcome) in [
            (Some(0), None, None, "", Finished),
            (Some(3), None, None, "", Diverged),
            (Some(4), None, None, "", Interrupted),
            (Some(1), None, None, "boom", Crashed),
            (Some(5), None, None, "", FinishedWithoutResult),
            (Some(137), None, None, "", OutOfMemory),
            (Some(137), None, Some(false), "", Crashed),
            (Some(101), None, None, "panicked", Crashed),
            (
                Some(101),
                None,
                None,
                "CUDA_ERROR_OUT_OF_MEMORY",
                OutOfMemory,
            ),
            (None, Some(9), None, "", OutOfMemory),
            (None, Some(9), Some(true), "", OutOfMemory),
            (None, Some(9), Some(false), "", Crashed),
            (None, Some(6), Some(false), no_memory, OutOfMemory),
            (None, Some(6), None, "", Crashed),
            (None, Some(11), None, "", Crashed),
        ] {
            let end = Exit {
                run: RunId("r".into()),
                code,
                signal,
                memory_ran_out,
                log_tail: log.into(),
                lost: None,
            };
            assert_eq!(end.outcome(), outcome, "{end:?}");
        }
    }
}
