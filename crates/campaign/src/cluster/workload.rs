//! Where the runs of workers stand, for whoever asks: leader or none.

use super::run_of_exit;
use super::slurm::{Queue, meaning};
use crate::launch::offers::{listed, run_of_offer};
use experiment::clock::now;
use experiment::folder::ClusterFolder;
use experiment::quantity::counted;
use experiment::run_claim::RunClaim;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Age of an answer of the queue that needs no other.
const FRESH: Duration = Duration::from_secs(30);
/// Time that the queue may take to answer whoever only looks.
const PATIENCE: Duration = Duration::from_secs(10);

/// What workers have, and why others wait.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Workload {
    /// Runs that are offered, and that nobody has taken.
    pub offered: usize,
    /// Runs that are claimed, by machine.
    pub claimed: BTreeMap<String, usize>,
    /// Attempts that have ended, and are not in the database yet.
    pub ended: usize,
    /// The last answer of a batch system's queue, where there is one.
    pub queue: Option<Queue>,
}

impl Workload {
    /// Reads what the files of a results folder say.
    pub fn read(results: &Path) -> Self {
        let folder = ClusterFolder(results);
        let mut claimed = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for path in listed(&folder.claims()) {
            // One that is being written has no host yet.
            let claim = RunClaim::read(&path).ok().flatten();
            let host = claim.map_or_else(|| "a machine".to_owned(), |claim| claim.host);
            *claimed.entry(host).or_default() += 1;
            taken.extend(
                path.file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
        let offers = listed(&folder.offers());
        let offers = offers.iter().filter_map(|path| run_of_offer(path));
        let exits = listed(&folder.exits());
        Self {
            offered: offers.filter(|run| !taken.contains(&run.0)).count(),
            claimed,
            ended: exits.iter().filter_map(|path| run_of_exit(path)).count(),
            queue: Queue::last(results),
        }
    }

    /// Asks the queue again where nobody has for half a minute.
    pub fn with_queue(mut self, results: &Path) -> Self {
        if self.is_open() {
            self.queue = Queue::look(results, FRESH, PATIENCE);
        }
        self
    }

    /// Counts the runs that are claimed.
    pub fn trained(&self) -> usize {
        self.claimed.values().sum()
    }

    /// Says whether workers have anything, or may take it.
    pub fn is_open(&self) -> bool {
        self.offered + self.trained() + self.ended > 0
    }

    /// Says it in lines; none where workers have nothing.
    pub fn describe(&self) -> Vec<String> {
        if !self.is_open() {
            return Vec::new();
        }
        let hosts = self
            .claimed
            .iter()
            .map(|(host, runs)| format!("{runs} on {host}"));
        let hosts: Vec<String> = hosts.collect();
        let mut said = format!("workers train {}", counted(self.trained(), "run"));
        if !hosts.is_empty() {
            said += &format!(" ({})", hosts.join(", "));
        }
        said += &format!(", {} offered", self.offered);
        if self.ended > 0 {
            said += &format!(", {} ended and not taken in yet", self.ended);
        }
        let mut lines = vec![said];
        if let Some(queue) = &self.queue {
            lines.push(of_queue(queue));
            lines.extend(
                queue
                    .reasons()
                    .iter()
                    .filter_map(|(reason, _)| Some(format!("{reason}: {}", meaning(reason)?))),
            );
        }
        lines
    }
}

fn of_queue(queue: &Queue) -> String {
    let reasons = queue.reasons();
    let waiting: usize = reasons.iter().map(|(_, jobs)| jobs).sum();
    let seconds = (now() - queue.asked_at).max(0.0);
    let mut said = format!(
        "Slurm, {} ago: {} of workers at work",
        counted(seconds as usize, "second"),
        counted(queue.jobs.len() - waiting, "job")
    );
    if waiting > 0 {
        let reasons: Vec<String> = reasons
            .iter()
            .map(|(reason, jobs)| format!("{reason} {jobs}"))
            .collect();
        said += &format!(", {waiting} waiting ({})", reasons.join(", "));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::slurm::Job;

    #[test]
    fn files_say_what_workers_have_and_the_queue_why_others_wait() {
        let folder = tempfile::tempdir().expect("a folder");
        let results = folder.path();
        assert!(!Workload::read(results).is_open());
        let cluster = ClusterFolder(results);
        for folder in cluster.all() {
            std::fs::create_dir_all(folder).expect("made");
        }
        for name in ["0000000001-aa", "0000000002-bb", "0000000003-cc.7.tmp"] {
            std::fs::write(cluster.offers().join(name), "{}").expect("written");
        }
        let claim = r#"{"token":"t","host":"n1","job":"7_0","device":"cpu","attempt":1,"since":1}"#;
        std::fs::write(cluster.claims().join("aa"), claim).expect("written");
        std::fs::write(cluster.exits().join("dd.1"), "{}").expect("written");
        let job = |id: &str, state: &str, reason: &str| Job {
            id: id.into(),
            state: state.into(),
            reason: reason.into(),
            node: String::new(),
        };
        let workload = Workload {
            queue: Some(Queue {
                name: "n".into(),
                asked_at: now(),
                jobs: vec![
                    job("7_0", "RUNNING", "None"),
                    job("7_1", "PENDING", "QOSMaxJobsPerUserLimit"),
                ],
            }),
            ..Workload::read(results)
        };
        assert_eq!(
            (workload.offered, workload.trained(), workload.ended),
            (1, 1, 1)
        );
        let said = workload.describe();
        assert_eq!(
            said[0],
            "workers train 1 run (1 on n1), 1 offered, 1 ended and not taken in yet"
        );
        assert!(
            said[1].contains("1 job of workers at work, 1 waiting (QOSMaxJobsPerUserLimit 1)"),
            "{said:?}"
        );
        assert!(said[2].contains("a limit of the site"), "{said:?}");
    }
}
