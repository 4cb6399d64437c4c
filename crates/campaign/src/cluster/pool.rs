//! What brings workers up.

use std::collections::BTreeSet;
use std::time::Duration;

/// Workers of a place, however they come there.
pub trait Pool {
    /// Brings up workers for so many open runs, as far as that is due; nodes in `excluded` are left out.
    /// Says what a person should know.
    fn tend(&mut self, open: usize, excluded: &BTreeSet<String>) -> Vec<String>;

    /// Time that a worker may take to end a run that it is to kill, before the run is taken from it: longer
    /// than a shared filesystem takes to show a file.
    fn patience(&self) -> Duration;

    /// Says whether a job is gone; `None` where that is not known.
    fn is_gone(&self, job: &str) -> Option<bool>;

    /// Ends all workers.
    fn cancel(&mut self) -> Vec<String>;
}

/// Workers that somebody else starts, and of which nothing is known.
#[derive(Debug)]
pub struct ByHand {
    /// As [`Pool::patience`].
    pub patience: Duration,
}

impl Pool for ByHand {
    fn tend(&mut self, _: usize, _: &BTreeSet<String>) -> Vec<String> {
        Vec::new()
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn is_gone(&self, _: &str) -> Option<bool> {
        None
    }

    fn cancel(&mut self) -> Vec<String> {
        vec!["workers that were started by hand end by themselves when nothing is left".to_owned()]
    }
}
