//! Carrying an experiment out: processes on devices, their events, the database, retries.
//!
//! Knows a run by its specification and its events; refuses networks, fits and printing.

pub mod cluster;
pub mod launch;
pub mod orchestrate;
pub mod store;
