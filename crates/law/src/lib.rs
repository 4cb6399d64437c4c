//! Scaling laws fitted to measured losses, and what follows from them.
//!
//! ```text
//! rows ─► study::fit ─► Fitted ─► predict, allocate, suggest       one law
//!    └──► analysis::analyse ─► laws, allocation, savings, worth    all of an experiment
//!                   └── both by analysis::Laws and fit::fit, under one analysis::Policy
//! ```
//!
//! Refuses networks, SQL, tables, files and printing: rows in, answers out.

pub mod analysis;
pub mod claims;
pub mod fit;
pub mod row;
pub mod study;
