//! Scaling-law experiments for hierarchical token/concept language models.
//!
//! A grid over compression ratio R, concept share P, parameters N and tokens D is declared in
//! YAML, planned, trained one process a run, stored in SQLite, fitted and drawn: by the crates below
//! `crates/`, of which ARCHITECTURE.md tells. Here is what a person meets: [`rows`] reads tables of
//! runs, [`asked`] puts rows, settings and models together, [`serve`] is the page, [`cli`] the commands.

pub mod asked;
pub mod cli;
pub mod rows;
pub mod serve;
