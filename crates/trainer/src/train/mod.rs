//! The child side: one process that trains one run.
//!
//! Owns the training loop, the optimizer, evaluation, checkpoints and the run's journal. Refuses
//! SQL and the terminal; what it has to say it says as [`experiment::event`]s.

pub mod checkpoint;
pub mod coordinates;
pub mod evaluate;
pub mod export;
pub mod heartbeat;
pub mod journal;
pub mod measure;
pub mod optimizer;
#[cfg(feature = "tch")]
pub mod replay;
pub mod session;
pub mod shapes;
pub mod step;
pub mod timing;

/// Steps are repeated by GPUs alone.
#[cfg(not(feature = "tch"))]
pub mod replay {
    use super::step::{Passes, Sequences, Settings};
    use network::{Decision, Network};

    /// No recordings.
    #[derive(Debug, Default)]
    pub struct Replays(());

    impl Replays {
        pub(super) fn run(
            &mut self,
            _: &Settings,
            _: &Network,
            _: &Sequences,
            _: &Decision,
        ) -> Option<Passes> {
            None
        }
    }
}

use std::path::PathBuf;

/// Why a training process had to give up.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data could not be prepared.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    /// The data are not those the run was planned on.
    #[error(
        "the data changed since planning: fingerprint {found}, planned {planned}; plan again to \
         make new runs on the new data"
    )]
    DataChanged {
        /// What was found.
        found: String,
        /// What the run was planned on.
        planned: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The run is another's by now.
    #[error("the run was given to another worker: nothing more is written here")]
    Fenced,
    /// Another trainer cannot be started or heard.
    #[error("{0}")]
    External(String),
    /// Another process works in the run's folder.
    #[error(transparent)]
    Lock(#[from] experiment::lock::LockError),
    /// No checkpoint could be read, though there is one.
    #[error("no usable checkpoint in {}: {why}", path.display())]
    Checkpoint {
        /// The run's folder.
        path: PathBuf,
        /// What is wrong with each.
        why: String,
    },
    /// A token knows what comes after it: every loss would be false.
    #[error(
        "this architecture leaks: token {} changes with the tokens after {}; no run of it can be \
         trusted, please report it with the experiment file",
        .0.token, .0.after
    )]
    Leak(network::causality::Leak),
    /// There is no model of this shape.
    #[error(transparent)]
    Shape(#[from] experiment::architecture::solver::ShapeError),
    /// The device is not one this program can use.
    #[error(transparent)]
    Device(#[from] network::device::DeviceError),
}

impl TrainError {
    /// Makes an IO error that says what was tried on which path.
    pub(crate) fn io(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
