//! A sign of life for whoever watches a run.

use experiment::folder::HEARTBEAT;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between two beats, or more where a step takes longer.
const EVERY: Duration = Duration::from_secs(1);

/// A file that changes while a run makes progress: between rows of measurements minutes may pass.
pub struct Heartbeat {
    path: PathBuf,
    last: Cell<Instant>,
}

impl Heartbeat {
    /// Prepares the heartbeat of a run's folder; a run of less than a second writes none.
    pub fn new(folder: &Path) -> Self {
        Self {
            path: folder.join(HEARTBEAT),
            last: Cell::new(Instant::now()),
        }
    }

    /// Leaves none.
    pub fn end(self) {
        // One that stays does no harm.
        let _ = std::fs::remove_file(self.path);
    }

    /// Beats, unless it just did.
    pub fn beat(&self, step: u64) {
        if self.last.get().elapsed() >= EVERY {
            self.last.set(Instant::now());
            // Where it cannot be written, neither can anything that matters: that fails by itself.
            let _ = std::fs::write(&self.path, step.to_string());
        }
    }
}
