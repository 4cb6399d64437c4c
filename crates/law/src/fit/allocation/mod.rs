//! What to train: the setting that minimises a fitted loss within a compute budget.
//!
//! Owns the search over N, D, P and R, its bounds, its uncertainty and the FLOPs it saves against a
//! dense law. Knows no architecture: what a setting costs comes from a [`Cost`].

mod budget;
mod cost;
mod error;
mod feasible;
mod minimise;
mod optimum;
mod region;
mod saving;
mod suggest;
mod surface;
mod variable;

pub use budget::{Budget, Domain, Range, Setting};
pub use cost::{Convention, Cost, Shape};
pub use error::AllocationError;
pub use optimum::{ActiveBound, Optimum, active_bounds, extrapolates, optimum};
pub use region::{FrontierPoint, Region, frontier, region};
pub use saving::{
    Baseline, Saving, SavingInterval, Unreachable, saving, saving_draws, smallest_without_concepts,
};
pub use suggest::{Candidate, Suggestion, suggest};
pub use surface::Surface;
pub use variable::Variable;
