//! Scaling-law experiments for hierarchical token/concept language models.
//!
//! A grid over compression ratio R, concept share P, parameters N and tokens D is declared in
//! YAML, planned, trained one process a run, stored in SQLite, fitted and drawn. Modules are
//! listed so that each uses only those above it; `tests/layering.rs` holds them to it.

pub mod analysis;
pub mod architecture;
pub mod cli;
pub mod clock;
pub mod data;
mod digest;
pub mod event;
mod expression;
pub mod fit;
pub mod flops;
pub mod grid;
pub mod inference;
pub mod launch;
pub mod lock;
pub mod model;
pub mod orchestrate;
pub mod plan;
pub mod quantity;
pub mod recipe;
pub mod report;
pub mod rows;
pub mod run;
pub mod serve;
mod spelling;
pub mod store;
pub mod study;
pub mod train;
