//! What a fit does not know: identification, bounds, residuals, ranges and suspicious data.

mod data;
mod identification;
mod residuals;

pub use data::{Extrapolation, DataRange, Warning};
pub(crate) use data::{data_warnings, ranges};
pub(crate) use identification::{at_bounds, identification};
pub use identification::{AtBound, Identification, Side, StandardError, Unidentified, Why};
pub(crate) use residuals::goodness;
pub use residuals::{Goodness, Trend};
