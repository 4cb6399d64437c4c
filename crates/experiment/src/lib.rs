//! What an experiment asks, from its text to its plan, without carrying anything out.
//!
//! Owns quantities, the shapes of models and what they cost, recipes, what a run is, the grid in YAML
//! and the plan of its runs; and what the processes that carry it out share: [`event`]s, [`lock`]s and
//! the [`clock`]. Modules are listed so that each uses only those above it. Refuses networks, SQL and
//! printing.

pub mod architecture;
pub mod claims;
pub mod clock;
pub mod digest;
pub mod event;
pub mod expression;
pub mod external;
pub mod flops;
pub mod folder;
pub mod grid;
pub mod lock;
pub mod parquet;
pub mod plan;
pub mod processes;
pub mod quantity;
pub mod quietly;
pub mod recipe;
pub mod record;
pub mod run;
pub mod run_claim;
pub mod spelling;
pub mod tasks;
pub mod work;
