//! One training process: its data, the loop, its checkpoints, and generation from what was trained; or
//! another trainer's, watched over.
//!
//! Speaks to whoever started it by events alone. Refuses SQL and the terminal.

pub mod data;
pub mod external;
pub mod inference;
pub mod train;
