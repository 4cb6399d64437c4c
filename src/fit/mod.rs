//! Fitting scaling laws: numbers in, numbers out.

pub mod allocation;
pub mod diagnostics;
pub mod isoflop;
pub mod law;

mod bootstrap;
mod design;
mod estimate;
mod matrix;
mod objective;
mod observations;
mod profile;
mod solve;
mod valley;

pub use bootstrap::{Bootstrap, BootstrapOptions, Resampling, bootstrap};
pub use estimate::{Fit, FitError, FitOptions, Prediction, fit};
pub use law::{FittedLaw, Law, LawError};
pub use objective::Objective;
pub use observations::{Exclusion, ObservationError, Observations, Row};
pub use profile::{Profile, ProfilePoint, profile};
pub use solve::Outcome;
