//! An experiment whose runs another trainer carries out: `trainer`, and a grid with free axes.

mod cells;
mod read;

use super::source::Location;
use crate::external::{AxisValue, Quantities, Trainer};
use std::collections::BTreeMap;

pub(super) use cells::cells;
pub(super) use read::{Declared, axes, read};

/// What is asked of another trainer.
#[derive(Clone, Debug, PartialEq)]
pub struct External {
    /// The trainer.
    pub trainer: Trainer,
    /// Devices that a run takes.
    pub devices_per_run: usize,
    /// The models to train, each once.
    pub cells: Vec<ExternalCell>,
}

/// One point of such a grid.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalCell {
    /// Its axes, in the order of the file.
    pub axes: Vec<(String, AxisValue)>,
    /// Their values as the file writes them.
    pub written: BTreeMap<String, String>,
    /// Seed; 0 where it is no axis.
    pub seed: u64,
    /// What the file says of the model.
    pub declared: Quantities,
    /// Where it was declared: its point, or the value of its first axis.
    pub location: Location,
}
