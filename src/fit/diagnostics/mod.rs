//! What a fit does not know: identification, bounds, residuals, ranges and suspicious data.

mod data;
mod held_out;
mod identification;
mod residuals;

pub use data::{DataRange, Extrapolation, Warning};
pub(crate) use data::{data_warnings, ranges};
pub use held_out::{
    Change, Contestant, HeldOut, Refit, SeedNoise, Sensitivity, Which, compete, cross_validated,
    held_out_largest, seed_noise, sensitivity,
};
pub use identification::{AtBound, Identification, Side, StandardError, Unidentified, Why};
pub(crate) use identification::{at_bounds, identification};
pub(crate) use residuals::goodness;
pub use residuals::{Goodness, Trend};
