//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

/// Reads the clock.
///
/// # Units
/// Seconds since the Unix epoch; 0 on a machine whose clock stands before it.
pub fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
