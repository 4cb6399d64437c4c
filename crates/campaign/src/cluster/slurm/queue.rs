//! Slurm's queue: its answers, and what they say to a person.

use super::asking::{answer, command};
use crate::cluster::{read, write_whole};
use experiment::clock::now;
use experiment::folder::ClusterFolder;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// A job in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id, with that of its task: `17_3`.
    pub id: String,
    /// Its state, such as `RUNNING`.
    pub state: String,
    /// Why it waits.
    pub reason: String,
    /// Where it runs.
    pub node: String,
}

impl Job {
    /// Says whether it waits.
    pub(super) fn is_pending(&self) -> bool {
        self.state == "PENDING"
    }

    /// Says whether it waits for something else than a place: Slurm holds jobs that it has requeued.
    pub(super) fn is_held(&self) -> bool {
        const HELD: [&str; 5] = [
            "BeginTime",
            "Dependency",
            "JobHeldAdmin",
            "JobHeldUser",
            "launch failed requeued held",
        ];
        self.is_pending() && HELD.contains(&self.reason.as_str())
    }
}

/// The last good answer of the queue, kept in the results folder for whoever wants to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// The name of all jobs of the workers of this folder.
    pub name: String,
    /// When it was asked, in seconds since the Unix epoch.
    pub asked_at: f64,
    /// The jobs.
    pub jobs: Vec<Job>,
}

impl Queue {
    /// Asks for all jobs of a name at once.
    ///
    /// # Errors
    /// When there is no good answer: then nothing is known.
    pub(super) fn ask(name: &str, patience: Duration) -> Result<Self, String> {
        let mut squeue = command("squeue");
        squeue.args(["-h", "-r", "-n", name, "-o", "%i|%T|%r|%N"]);
        Ok(Self {
            name: name.to_owned(),
            asked_at: now(),
            jobs: parse(&answer(squeue, patience)?)?,
        })
    }

    /// Keeps it in a results folder.
    pub(super) fn keep(&self, results: &Path) {
        // Nobody decides anything by it.
        let _ = write_whole(&ClusterFolder(results).queue(), self);
    }

    /// Reads the last answer that was kept; `None` where there is none.
    pub fn last(results: &Path) -> Option<Self> {
        read(&ClusterFolder(results).queue())
    }

    /// Asks again where nobody has for so long, and keeps the answer; without a good one the last stays.
    pub fn look(results: &Path, age: Duration, patience: Duration) -> Option<Self> {
        let last = Self::last(results)?;
        // A clock that goes back makes no answer new.
        if (0.0..age.as_secs_f64()).contains(&(now() - last.asked_at)) {
            return Some(last);
        }
        let Ok(asked) = Self::ask(&last.name, patience) else {
            return Some(last);
        };
        asked.keep(results);
        Some(asked)
    }

    /// Lists why jobs wait, with how many do, the commonest first.
    pub fn reasons(&self) -> Vec<(&str, usize)> {
        let mut reasons: Vec<(&str, usize)> = Vec::new();
        for job in self.jobs.iter().filter(|job| job.is_pending()) {
            match reasons.iter_mut().find(|(reason, _)| *reason == job.reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((&job.reason, 1)),
            }
        }
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }
}

/// Reads what squeue printed. A line of another form is an error in place of an answer: some print theirs so
/// and end with status 0.
pub(super) fn parse(text: &str) -> Result<Vec<Job>, String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.trim().split('|').collect();
        match fields[..] {
            [id, state, reason, node] if id.starts_with(|c: char| c.is_ascii_digit()) => Ok(Job {
                id: id.to_owned(),
                state: state.to_owned(),
                reason: reason.to_owned(),
                node: node.to_owned(),
            }),
            _ => Err(format!("squeue printed `{}`", line.trim())),
        }
    };
    text.lines().map(line).collect()
}

/// Says what a reason for waiting means, where there is more to say than that others were first.
pub fn meaning(reason: &str) -> Option<&'static str> {
    const MEANINGS: [(&str, &str); 14] = [
        ("BeginTime", "Slurm holds what it requeued for two minutes"),
        ("Dependency", "it follows the workers"),
        (
            "PartitionTimeLimit",
            "`time` is longer than the partition allows: it never starts",
        ),
        (
            "PartitionNodeLimit",
            "the partition has no such nodes: it never starts",
        ),
        ("PartitionDown", "the partition is closed"),
        ("PartitionInactive", "the partition is closed"),
        (
            "Reserved for maintenance",
            "a shorter `time` may fit before the maintenance",
        ),
        (
            "ReqNodeNotAvail",
            "its nodes are down, drained or reserved: a shorter `time` may fit before a reservation",
        ),
        (
            "BadConstraints",
            "no node is as `constraint`, `gres`, `cpus` and `memory` ask: it never starts",
        ),
        ("JobHeldAdmin", "an administrator holds it"),
        ("JobHeldUser", "`scontrol release` lets it go"),
        (
            "launch failed requeued held",
            "it could not begin, and waits for `scontrol release`",
        ),
        (
            "InvalidAccount",
            "`account` may not be used: it never starts",
        ),
        ("InvalidQOS", "`qos` may not be used: it never starts"),
    ];
    const OF_SITE: &str =
        "a limit of the site: it starts when less of yours, or of your account, runs";
    let found = MEANINGS.iter().find(|(word, _)| reason.contains(word));
    let is_limit = || reason.starts_with("QOS") || reason.starts_with("Assoc");
    found
        .map(|(_, meaning)| *meaning)
        .or_else(|| is_limit().then_some(OF_SITE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_on_standard_output_is_no_empty_queue() {
        let jobs = parse("17_0|RUNNING|None|n1\n17_1|PENDING|Resources|\n").expect("an answer");
        assert_eq!(jobs.len(), 2);
        assert_eq!(parse(""), Ok(vec![]));
        for text in [
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n",
            "17_0|RUNNING|None|n1\nslurm_load_jobs error: Socket timed out\n",
            "error|in|four|fields\n",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reasons_are_counted_and_explained() {
        let job = |reason: &str| Job {
            id: "1_0".into(),
            state: "PENDING".into(),
            reason: reason.into(),
            node: String::new(),
        };
        let queue = Queue {
            name: "n".into(),
            asked_at: 0.0,
            jobs: ["Priority", "Resources", "Resources"].map(job).into(),
        };
        assert_eq!(queue.reasons(), [("Resources", 2), ("Priority", 1)]);
        assert_eq!(meaning("Resources"), None);
        let maintenance = meaning("ReqNodeNotAvail, Reserved for maintenance");
        assert!(maintenance.is_some_and(|words| words.contains("before the maintenance")));
        assert!(meaning("QOSMaxGRESPerUser").is_some_and(|words| words.contains("limit")));
    }
}
