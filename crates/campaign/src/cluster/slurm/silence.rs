//! Jobs that are said to run though their worker has died: Slurm may hold on to one for minutes whose step was killed.

use crate::cluster::read;
use crate::launch::offers::listed;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// A worker's sign of life.
#[derive(Deserialize)]
struct Sign {
    job: Option<String>,
    /// By the worker's own clock, of which nothing is known but that it goes on.
    time: f64,
}

/// When each worker was last heard.
#[derive(Debug, Default)]
pub(super) struct Silence {
    heard: BTreeMap<String, (f64, Instant)>,
}

impl Silence {
    /// Listens, and returns the jobs of which no worker has given a sign for so long. A job without any worker yet is none
    /// of them.
    pub(super) fn listen(
        &mut self,
        workers: &Path,
        patience: Duration,
        now: Instant,
    ) -> BTreeSet<String> {
        let (mut silent, mut lives) = (BTreeSet::new(), BTreeSet::new());
        for path in listed(workers) {
            let Some(Sign {
                job: Some(job),
                time,
            }) = read(&path)
            else {
                continue;
            };
            let worker = path.display().to_string();
            let heard = self.heard.entry(worker).or_insert((time, now));
            if heard.0 != time {
                *heard = (time, now);
            }
            let is_silent = now.duration_since(heard.1) > patience;
            if is_silent { &mut silent } else { &mut lives }.insert(job);
        }
        // One that was requeued has the sign of the worker before, too.
        &silent - &lives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_silent_when_none_of_its_workers_is_heard() {
        let folder = tempfile::tempdir().expect("a folder");
        let sign = |worker: &str, job: &str, time: f64| {
            let text =
                format!("{{\"host\": \"h\", \"job\": {job}, \"runs\": [], \"time\": {time}}}");
            std::fs::write(folder.path().join(worker), text).expect("written");
        };
        let (mut silence, start) = (Silence::default(), Instant::now());
        let mut after = |seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            let silent = silence.listen(folder.path(), Duration::from_secs(60), now);
            silent.into_iter().collect::<Vec<_>>()
        };
        sign("a", "\"7_0\"", 100.0);
        sign("b", "\"7_1\"", 3.0);
        sign("by hand", "null", 3.0);
        assert_eq!(after(0), [""; 0]);
        sign("b", "\"7_1\"", 2.0);
        assert_eq!(after(50), [""; 0]);
        assert_eq!(
            after(70),
            ["7_0"],
            "a clock that was set back is a sign, too"
        );
        sign("c", "\"7_0\"", 9.0);
        assert_eq!(after(80), [""; 0], "it was requeued");
        assert_eq!(after(141), ["7_0", "7_1"]);
        std::fs::remove_file(folder.path().join("b")).expect("removed");
        assert_eq!(after(150), ["7_0"], "a worker that ended well");
    }
}
