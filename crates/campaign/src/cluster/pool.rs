//! What brings workers up.

use crate::launch::Stuck;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// Workers of a place, however they come there.
pub trait Pool {
    /// Brings up workers for so many open runs, as far as that is due; nodes in `excluded` are left out.
    /// Says what a person should know.
    ///
    /// # Errors
    /// When no more are tried to bring up.
    fn tend(&mut self, open: usize, excluded: &BTreeSet<String>) -> Result<Vec<String>, Stuck>;

    /// Time that a worker may take to end a run that it is to kill, before the run is taken from it: more than
    /// twice what a shared filesystem takes to show a file, since the request and the answer both take that.
    fn patience(&self) -> Duration;

    /// Says whether a job is gone; `None` where that is not known.
    fn is_gone(&self, job: &str) -> Option<bool>;

    /// Says whether workers are at work or on the way, as far as it can bring them up.
    fn is_settled(&self) -> bool;

    /// Ends all workers; says what a person should know.
    ///
    /// # Errors
    /// When they go on.
    fn cancel(&mut self) -> Result<String, Stuck>;

    /// Has a command carried out in a folder once all workers have ended; says what a person should know.
    ///
    /// # Errors
    /// When it will not be.
    fn follow(&mut self, words: &[String], folder: &Path) -> Result<String, Stuck>;
}

/// Workers that somebody else starts, and of which nothing is known.
#[derive(Debug)]
pub struct ByHand {
    /// As [`Pool::patience`].
    pub patience: Duration,
}

impl Pool for ByHand {
    fn tend(&mut self, _: usize, _: &BTreeSet<String>) -> Result<Vec<String>, Stuck> {
        Ok(Vec::new())
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn is_gone(&self, _: &str) -> Option<bool> {
        None
    }

    fn is_settled(&self) -> bool {
        true
    }

    fn cancel(&mut self) -> Result<String, Stuck> {
        Ok("workers save what they train, and end by themselves when nothing is left".to_owned())
    }

    fn follow(&mut self, _: &[String], _: &Path) -> Result<String, Stuck> {
        Ok("runs are offered: start workers, and then the same command again, which takes in what they measured".to_owned())
    }
}
