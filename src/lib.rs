//! Scaling-law experiments for hierarchical token/concept language models.
//!
//! A grid over compression ratio R, concept share P, parameters N and tokens D is declared in
//! YAML, planned, trained one process a run, stored in SQLite, fitted and drawn. Modules are
//! listed so that each uses only those above it; `tests/layering.rs` holds them to it.

pub mod quantity;
pub mod architecture;
pub mod flops;
pub mod recipe;
pub mod run;
pub mod event;
pub mod clock;
pub mod grid;
pub mod plan;
pub mod model;
pub mod data;
pub mod train;
pub mod fit;
pub mod launch;
pub mod store;
pub mod orchestrate;
pub mod cli;
