//! What a fit does not know: identification, bounds, residuals, ranges and suspicious data.

mod data;
mod held_out;
mod identification;
mod residuals;
mod sensitivity;

pub(crate) use data::ALIKE;
pub use data::{DataRange, Extrapolation, Warning};
pub(crate) use data::{data_warnings, ranges, setting_columns};
pub use held_out::{Contestant, HeldOut, Which, compete, cross_validated, held_out_largest};
pub use identification::{AtBound, Identification, Side, StandardError, Unidentified, Why};
pub(crate) use identification::{at_bounds, identification};
pub(crate) use residuals::goodness;
pub use residuals::{Goodness, Trend};
pub use sensitivity::{Change, Refit, Sensitivity, sensitivity};
