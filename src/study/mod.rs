//! One law on given rows: what a person asks of it, and answers that can be stored and read.
//!
//! ```text
//! Rows ─► fit ─► Fitted ─► predict, allocate, suggest
//!    └──► compare, isoflop
//! ```
//!
//! Every answer serialises (the JSON of the commands) and says itself in words (what they print).
//! Refuses files, SQL and printing.

mod allocate;
mod allocate_text;
mod compare;
mod fit;
mod fit_text;
mod fitted;
mod isoflop;
mod predict;
mod remark;
mod suggest;

pub use allocate::{
    AllocateQuestion, AllocationReport, BestSetting, CannotAllocate, FrontierReport, RegionReport,
    SavingReport, allocate,
};
pub use compare::{ComparedLaw, ComparisonReport, compare, usual_laws};
pub use fit::{
    FitQuestion, FitReport, HeldOutError, IntervalKind, Moved, Resamples, SensitivityReport, fit,
};
pub use fitted::{Fitted, PredictedLoss};
pub use isoflop::{IsoflopReport, NumberedApproach, isoflop};
pub use predict::{PredictionReport, predict};
pub use remark::Remark;
pub use suggest::{SuggestQuestion, SuggestionReport, suggest};

/// Coverage of every interval.
pub const LEVEL: f64 = 0.95;
