//! What to train: the setting that minimises a fitted loss within a compute budget.
//!
//! Owns the search over N, D, P and R, its bounds, its uncertainty and the FLOPs it saves against a
//! dense law. Knows no architecture: what a setting costs comes from a [`Cost`].

mod budget;
mod cost;
mod feasible;
mod minimise;
mod optimum;
mod region;
mod saving;
mod suggest;
mod surface;

pub use budget::{Budget, Domain, Range, Setting, Variable};
pub use cost::{Convention, Cost, CostFn, Shape};
pub use optimum::{ActiveBound, AllocationError, Optimum, optimum};
pub use region::{FrontierPoint, Region, frontier, region};
pub use saving::{
    Baseline, Saving, SavingInterval, Unreachable, saving, saving_draws, saving_interval,
    smallest_without_concepts,
};
pub use suggest::{Candidate, Suggestion, suggest};
pub use surface::Surface;
