//! What a person asks of one law on given rows, and answers that can be stored and read.
//!
//! ```text
//! Rows ─► fit ─► Fitted ─► predict, allocate, suggest
//!    └──► compare, isoflop
//! ```
//!
//! Every answer serialises (the JSON of the commands) and says itself in words (what they print). The
//! law of a kind of model is the one that [`analyse`](crate::analysis::analyse) fits to the same rows.

mod allocate;
mod allocate_text;
mod compare;
mod fit;
mod fit_text;
mod isoflop;
mod next;
mod predict;
mod rows;
mod second_step;
mod speedup;
mod stored;
mod suggest;

pub use allocate::{
    AllocateQuestion, AllocationReport, BestSetting, CannotAllocate, DENSE, FrontierReport,
    RegionReport, SavingReport, allocate,
};
pub use compare::{ComparedLaw, ComparisonReport, compare, usual_laws};
pub use fit::{Checks, FitReport, HeldOutError, Moved, SensitivityReport, Studied, Unfit, fit};
pub use isoflop::{IsoflopReport, NumberedApproach, isoflop};
pub use next::{Chosen, Course, Goal, Known, Next, Open};
pub use predict::{PredictionReport, predict};
pub use rows::{LeftOutRows, Rows};
pub use second_step::{LOSS, PredictedScore, SecondStep, TaskScore, score_and_law};
pub use speedup::{Speedup, SpeedupQuestion};
pub use stored::StoredFit;
pub use suggest::{SuggestQuestion, SuggestionReport, suggest};
