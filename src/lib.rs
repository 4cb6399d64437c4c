//! Scaling-law experiments for hierarchical token/concept language models.
//!
//! A grid over compression ratio R, concept share P, parameters N and tokens D is declared in
//! YAML, planned, trained one process a run, stored in SQLite, fitted and drawn: by the crates below
//! `crates/`, of which ARCHITECTURE.md tells. Here is what a person meets: [`rows`] reads tables of
//! runs, [`application`] is what the program does for whoever asks, [`serve`] is the page,
//! [`complete`] a trained run behind completions, [`cli`] the commands.

pub mod application;
pub mod cli;
pub mod complete;
pub mod rows;
pub mod serve;
