//! Who may train a run, where several machines share a results folder: claims, and the fence that keeps out
//! whoever has lost one.
//!
//! A claim is a file that only one can make. Whoever was wrongly taken for dead finds it gone, or another's,
//! and writes nothing more. Nothing is decided by clocks of two machines.

use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Result, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A claim on a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunClaim {
    /// Names who claims it: no other has this.
    pub token: String,
    /// Its machine.
    pub host: String,
    /// Its job in a batch system.
    pub job: Option<String>,
    /// The device it trains on.
    pub device: String,
    /// Which attempt at the run it is.
    pub attempt: usize,
    /// When it was made, in seconds since the Unix epoch, by its machine's clock: for people.
    pub since: f64,
}

impl RunClaim {
    /// Makes the claim; false where somebody else has one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn take(&self, path: &Path) -> Result<bool> {
        let text = serde_json::to_vec(self)?;
        let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            file => file?,
        };
        let written = file.write_all(&text).and_then(|()| file.sync_all());
        if written.is_err() {
            // One that nobody can read would keep everybody out.
            let _ = std::fs::remove_file(path);
        }
        written.map(|()| true)
    }

    /// Reads a claim; `None` where there is none, or it is still being written.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            text => Ok(serde_json::from_slice(&text?).ok()),
        }
    }

    /// Gives it back; one of somebody else stays.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn release(&self, path: &Path) -> Result<()> {
        match Self::read(path)? {
            Some(found) if found.token == self.token => Self::take_away(path),
            _ => Ok(()),
        }
    }

    /// Takes a claim from whoever holds it: from now on that is fenced out.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn take_away(path: &Path) -> Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// Time that a look at a claim holds for what is written often.
const LOOK: Duration = Duration::from_secs(1);

/// What keeps a process from writing once its claim is gone.
#[derive(Debug)]
pub struct Fence {
    path: PathBuf,
    token: String,
    looked: Cell<Option<Instant>>,
}

impl Fence {
    /// Watches the claim of this token.
    pub fn new(path: PathBuf, token: String) -> Self {
        Self {
            path,
            token,
            looked: Cell::new(None),
        }
    }

    /// Says whether the claim is still its own, now.
    pub fn holds(&self) -> bool {
        let found = RunClaim::read(&self.path);
        let holds = matches!(&found, Ok(Some(claim)) if claim.token == self.token);
        self.looked.set(holds.then(Instant::now));
        holds
    }

    /// The same, by a look that may be a second old.
    pub fn held(&self) -> bool {
        let fresh = |at: Instant| at.elapsed() < LOOK;
        self.looked.get().is_some_and(fresh) || self.holds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    fn claim(token: &str) -> RunClaim {
        RunClaim {
            token: token.into(),
            host: "h".into(),
            job: None,
            device: "cpu".into(),
            attempt: 1,
            since: 1.0,
        }
    }

    #[test]
    fn of_two_that_race_one_wins_a_thousand_times() {
        let folder = tempfile::tempdir().expect("a folder");
        let start = Barrier::new(2);
        let race = |token: &str| -> Vec<bool> {
            let claim = claim(token);
            let run = |run: usize| {
                start.wait();
                let path = folder.path().join(run.to_string());
                claim.take(&path).expect("written")
            };
            (0..1000).map(run).collect()
        };
        let (a, b) = std::thread::scope(|scope| {
            let a = scope.spawn(|| race("a"));
            (race("b"), a.join().expect("ran"))
        });
        assert!(a.iter().zip(&b).all(|(a, b)| a != b));
    }

    #[test]
    fn whoever_has_lost_a_claim_is_fenced_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run");
        let (first, second) = (claim("first"), claim("second"));
        assert!(first.take(&path).expect("written"));
        let fence = Fence::new(path.clone(), "first".into());
        assert!(fence.holds() && fence.held());
        assert_eq!(RunClaim::read(&path).expect("read"), Some(first.clone()));
        RunClaim::take_away(&path).expect("removed");
        assert!(!fence.holds());
        assert!(second.take(&path).expect("written"));
        assert!(!fence.held(), "another's is none of its own");
        first.release(&path).expect("passed over");
        assert_eq!(RunClaim::read(&path).expect("read"), Some(second));
    }
}
