//! Scaling laws fitted to measured losses, and what follows from them: numbers in, numbers out.
//!
//! ```text
//! Observations ─► fit ─► Fit ─► bootstrap, profile, diagnostics
//!                         └───► allocation: optimum, region, frontier, saving, suggest
//! ```
//!
//! Owns the [`law`]s, the estimator ([`fit`](fn@fit): Huber on log residuals, exact gradients, many
//! starts, Newton polish), its uncertainty ([`bootstrap`](fn@bootstrap) over whole runs,
//! [`profile`](fn@profile)), its honesty ([`diagnostics`]), compute-optimal settings without a law
//! ([`isoflop`]) and with one ([`allocation`]).
//!
//! Refuses files, clocks, printing, burn, and any knowledge of architectures: what a setting costs
//! is the caller's [`allocation::Cost`]. Nothing here panics: bad data are typed errors, and a fit
//! that stopped early, sits on a bound or is not identified is a typed result that can be stored.
//!
//! Results do not depend on the number of threads: starts and resamples are seeded one by one, and
//! sums over rows are made in fixed chunks.

pub mod allocation;
pub mod diagnostics;
pub mod isoflop;
pub mod law;

mod absorbed;
mod bootstrap;
mod design;
mod estimate;
mod interrupt;
pub(crate) mod matrix;
mod objective;
mod observations;
mod profile;
mod solve;
#[cfg(test)]
mod tests;
mod valley;

pub use absorbed::absorbed;
pub(crate) use bootstrap::deviation;
pub use bootstrap::interval;
pub use bootstrap::{Bootstrap, BootstrapOptions, Resampling, bootstrap, refit};
pub use estimate::{Fit, FitError, FitOptions, Prediction, fit};
pub use interrupt::{Interrupted, interruptible};
pub use law::{FittedLaw, Law, LawError};
pub use objective::Objective;
pub use observations::{Exclusion, ObservationError, Observations, Row, VARIANT};
pub use profile::{Profile, ProfilePoint, profile};
pub use solve::Outcome;
pub(crate) use solve::median;
