//! How a command fails: the message and the exit status.

use super::terminal::note;
use crate::application::{AskError, Refused};
use crate::rows::RowsError;
use campaign::orchestrate::{ControlError, OrchestrateError};
use campaign::store::{StoreError, is_of_machine};
use experiment::grid::GridError;
use experiment::lock::LockError;
use miette::{Report, miette};
use std::process::ExitCode;
use trainer::data::DataError;
use trainer::inference::InferenceError;
use trainer::train::TrainError;

/// Exit status when some runs failed or the machine did.
pub(in crate::cli) const FAILED: u8 = 1;
/// Exit status when the input is wrong.
const INPUT: u8 = 2;

/// A command's failure.
#[derive(Debug)]
pub struct Failure {
    report: Report,
    status: u8,
}

impl Failure {
    /// The input is wrong: a file, an argument, a path.
    pub(super) fn input(message: impl std::fmt::Display) -> Self {
        Self {
            report: miette!("{message}"),
            status: INPUT,
        }
    }

    /// The machine, not the input, is at fault.
    pub(super) fn machine(message: impl std::fmt::Display) -> Self {
        Self {
            report: miette!("{message}"),
            status: FAILED,
        }
    }

    /// Prints the failure and gives its exit status.
    pub(super) fn report(self) -> ExitCode {
        note!("{:?}", self.report);
        ExitCode::from(self.status)
    }
}

impl From<GridError> for Failure {
    fn from(error: GridError) -> Self {
        Self {
            report: Report::new(error),
            status: INPUT,
        }
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self::input(error)
    }
}

impl From<RowsError> for Failure {
    fn from(error: RowsError) -> Self {
        Self::input(error)
    }
}

impl From<Refused> for Failure {
    fn from(error: Refused) -> Self {
        match error {
            Refused::Input(message) => Self::input(message),
            Refused::Machine(message) => Self::machine(message),
            Refused::Grid(error) => error.into(),
            Refused::Data(error) => error.into(),
            Refused::Store(error) => error.into(),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Store(error) => error.into(),
            error => Self::input(error),
        }
    }
}

impl From<InferenceError> for Failure {
    fn from(error: InferenceError) -> Self {
        Self::input(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Folder { .. }
            | StoreError::Newer { .. }
            | StoreError::Unreadable { .. }
            | StoreError::Missing { .. } => Self::input(error),
            StoreError::Open { ref source, .. } if !is_of_machine(source) => Self::input(error),
            StoreError::Open { .. }
            | StoreError::Locked { .. }
            | StoreError::Copy { .. }
            | StoreError::Sql(_)
            | StoreError::Content { .. } => Self::machine(error),
        }
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        Self::machine(error)
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Ended { .. }
            | ControlError::Finished { .. }
            | ControlError::Open { .. } => Self::input(error),
            ControlError::Store(error) => error.into(),
            ControlError::Lock(error) => error.into(),
            error @ ControlError::Io(_) => Self::machine(error),
        }
    }
}

impl From<OrchestrateError> for Failure {
    fn from(error: OrchestrateError) -> Self {
        match error {
            OrchestrateError::Store(error) => error.into(),
            error => Self::machine(error),
        }
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Shape(_) | TrainError::Device(_) => Self::input(error),
            error => Self::machine(error),
        }
    }
}
