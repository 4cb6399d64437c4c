//! Whether a run still makes progress.

use experiment::folder::HEARTBEAT;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The most that one look adds: what passed while nobody looked (this process was stopped, the
/// machine slept) says nothing about the run.
const MOST: Duration = Duration::from_secs(1);

/// How long a run has given no sign of life.
pub(super) struct Pulse {
    path: PathBuf,
    seen: Option<SystemTime>,
    looked: Instant,
    quiet: Duration,
}

impl Pulse {
    /// Starts with a run that has just started.
    pub(super) fn new(folder: &Path) -> Self {
        let path = folder.join(HEARTBEAT);
        Self {
            seen: modified(&path),
            path,
            looked: Instant::now(),
            quiet: Duration::ZERO,
        }
    }

    /// Looks again, knowing whether the run `said` something since, and returns how long it has
    /// been quiet. Whatever the clock shows, a change is a sign of life.
    pub(super) fn quiet(&mut self, said: bool) -> Duration {
        let seen = modified(&self.path);
        if said || seen != self.seen {
            self.quiet = Duration::ZERO;
        } else {
            self.quiet += self.looked.elapsed().min(MOST);
        }
        self.seen = seen;
        self.looked = Instant::now();
        self.quiet
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|file| file.modified())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_sign_ends_the_quiet() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut pulse = Pulse::new(folder.path());
        let pause = Duration::from_millis(3);
        std::thread::sleep(pause);
        assert!(pulse.quiet(false) >= pause);
        assert_eq!(pulse.quiet(true), Duration::ZERO);
        std::thread::sleep(pause);
        assert!(pulse.quiet(false) >= pause);
        std::fs::write(folder.path().join(HEARTBEAT), "1").expect("written");
        assert_eq!(pulse.quiet(false), Duration::ZERO);
        pulse.looked = Instant::now()
            .checked_sub(Duration::from_secs(60))
            .expect("the machine has run for a minute");
        assert_eq!(pulse.quiet(false), MOST, "nobody looked for a minute");
    }
}
