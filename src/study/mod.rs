//! One law on given rows: what a person asks of it, and answers that can be stored and read.
//!
//! ```text
//! Rows ─► fit ─► Fitted ─► predict, allocate, suggest
//!    └──► compare, isoflop
//! ```
//!
//! Every answer serialises (the JSON of the commands) and says itself in words (what they print).
//! Refuses files, SQL and printing.

mod fit;
mod fit_text;
mod fitted;

pub use fit::{
    FitQuestion, FitReport, HeldOutError, IntervalKind, Moved, Remark, Resamples,
    SensitivityReport, fit,
};
pub use fitted::{Fitted, PredictedLoss};

/// Coverage of every interval.
pub const LEVEL: f64 = 0.95;
