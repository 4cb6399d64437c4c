//! Why something cannot be done.

use campaign::store::StoreError;
use experiment::grid::GridError;
use trainer::data::DataError;

/// Why something cannot be done: what is wrong, and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The input is wrong: a file, an argument, a path.
    #[error("{0}")]
    Input(String),
    /// The machine, not the input, is at fault.
    #[error("{0}")]
    Machine(String),
    /// The experiment's file is wrong.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// Its data are.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refused {
    pub(super) fn input(message: impl std::fmt::Display) -> Self {
        Self::Input(message.to_string())
    }

    pub(super) fn machine(message: impl std::fmt::Display) -> Self {
        Self::Machine(message.to_string())
    }
}
