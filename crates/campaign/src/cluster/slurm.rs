//! Workers by Slurm: arrays of equal jobs, as few questions as possible, and no conclusion from one answer.
//!
//! A time-out, an error, or anything on standard error is *unknown*: nothing changes by it. A job is gone when
//! two good answers in a row do not have it.

mod asking;
mod check;
mod queue;
mod submission;

pub use check::{Finding, check};
pub use queue::{Job, Queue, meaning};
pub use submission::Submission;

use super::pool::Pool;
use crate::launch::Stuck;
use asking::{answer, command};
use experiment::clock::now;
use experiment::folder::ClusterFolder;
use experiment::quantity::counted;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How much longer than an answer takes the next question waits.
const CALM: u32 = 5;
/// Times between submissions that were refused, in seconds.
const BACK_OFF: [u64; 5] = [0, 60, 900, 1800, 3600];
/// Submissions in an hour, at most.
const MOST_AN_HOUR: usize = 60;
/// Jobs in a row that end before their worker began, after which no more are submitted.
const STILLBORN: usize = 3;

/// What is known of a job.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    job: Job,
    /// Good answers in a row that lacked it.
    missed: usize,
    /// Since when it is gone, until it is judged how it was.
    gone: Option<Instant>,
}

/// Workers as jobs of Slurm.
pub struct Slurm {
    asks: Submission,
    jobs: BTreeMap<String, Known>,
    /// When Slurm was asked last, and how long that took.
    asked: Option<Instant>,
    took: Duration,
    /// When the last good answer was asked for.
    answered: Option<Instant>,
    submitted: VecDeque<Instant>,
    /// Submissions in a row that were refused.
    refused: usize,
    /// Jobs of the next array, where the last was too many.
    chunk: usize,
    /// Jobs in a row that ended before their worker began, with their nodes.
    stillborn: Vec<(String, String)>,
    /// Nodes where they did.
    broken: BTreeSet<String>,
    told: BTreeSet<String>,
}

impl Slurm {
    /// Prepares to submit workers.
    pub fn new(asks: Submission) -> Self {
        Self {
            chunk: asks.profile.workers.get(),
            asks,
            jobs: BTreeMap::new(),
            asked: None,
            took: Duration::ZERO,
            answered: None,
            submitted: VecDeque::new(),
            refused: 0,
            stillborn: Vec::new(),
            broken: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }

    fn folder(&self) -> ClusterFolder<'_> {
        ClusterFolder(&self.asks.results)
    }

    /// Lists the jobs that wait for a place or run. One that is held comes when it comes: a worker too many
    /// finds nothing, and ends.
    fn alive(&self) -> impl Iterator<Item = &Job> {
        let here = self.jobs.values().filter(|known| known.missed < 2);
        here.map(|known| &known.job).filter(|job| !job.is_held())
    }

    /// Asks for all jobs at once, as far as that is due.
    fn ask(&mut self) -> Option<String> {
        let due = self.asks.profile.poll.0.duration().max(CALM * self.took);
        if self.asked.is_some_and(|at| at.elapsed() < due) {
            return None;
        }
        let asked = Instant::now();
        self.asked = Some(asked);
        let answer = Queue::ask(&self.asks.name, self.asks.profile.answer.0.duration());
        self.took = asked.elapsed();
        match answer {
            Ok(queue) => {
                queue.keep(&self.asks.results);
                self.answered = Some(asked);
                self.take_in(&queue.jobs);
                None
            }
            Err(why) => self.once(format!(
                "Slurm does not answer, and nothing is concluded from that: {why}"
            )),
        }
    }

    /// Takes in a good answer.
    fn take_in(&mut self, jobs: &[Job]) {
        let present: BTreeSet<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
        for (id, known) in &mut self.jobs {
            if !present.contains(id.as_str()) {
                known.missed += 1;
                if known.missed == 2 {
                    known.gone = Some(Instant::now());
                }
            }
        }
        for job in jobs {
            self.know(job.clone());
        }
    }

    fn know(&mut self, job: Job) {
        let known = Known {
            job,
            missed: 0,
            gone: None,
        };
        self.jobs.insert(known.job.id.clone(), known);
    }

    /// Looks at how jobs were that have gone: files are given time to show.
    fn judge(&mut self) -> Result<Option<String>, Stuck> {
        let patience = self.patience();
        let jobs = self.folder().jobs();
        for known in self.jobs.values_mut() {
            if known.gone.is_none_or(|since| since.elapsed() < patience) {
                continue;
            }
            known.gone = None;
            let id = &known.job.id;
            if jobs.join(began_name(id)).exists() {
                self.stillborn.clear();
            } else if jobs.join(output_name(id)).exists() {
                self.stillborn.push((id.clone(), known.job.node.clone()));
            }
            // One without output never ran: it was cancelled while it waited.
        }
        let [.., (id, node)] = &self.stillborn[..] else {
            return Ok(None);
        };
        if self.stillborn.len() < STILLBORN {
            return Ok(None);
        }
        if !node.is_empty() && self.stillborn.iter().all(|(_, other)| other == node) {
            let said = format!(
                "{node} seems to be broken: jobs end there before their worker begins; it gets no more"
            );
            self.broken.insert(node.clone());
            self.stillborn.clear();
            return Ok(Some(said));
        }
        let output = jobs.join(output_name(id));
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        Err(Stuck(format!(
            "{} in a row ended before their worker began; {} ends with: {}",
            counted(self.stillborn.len(), "job"),
            output.display(),
            last.unwrap_or("nothing").trim()
        )))
    }

    /// Submits so many workers, in arrays as large as Slurm takes them.
    fn submit(
        &mut self,
        mut left: usize,
        excluded: &BTreeSet<String>,
    ) -> Result<Vec<String>, Stuck> {
        let hour = Duration::from_secs(3600);
        self.submitted.retain(|at| at.elapsed() < hour);
        let wait = Duration::from_secs(BACK_OFF[self.refused.min(BACK_OFF.len() - 1)]);
        if self.submitted.back().is_some_and(|at| at.elapsed() < wait) {
            return Ok(Vec::new());
        }
        let mut notes = Vec::new();
        let mut accepted = 0;
        while left > 0 && self.submitted.len() < MOST_AN_HOUR {
            let workers = left.min(self.chunk);
            self.submitted.push_back(Instant::now());
            let many = counted(workers, "worker");
            match self.asks.workers(workers, excluded) {
                Ok(job) => {
                    self.refused = 0;
                    accepted += workers;
                    left -= workers;
                    for task in 0..workers {
                        self.know(Job {
                            id: format!("{}_{task}", job.id),
                            state: "PENDING".to_owned(),
                            reason: "None".to_owned(),
                            node: String::new(),
                        });
                    }
                    notes.push(format!("{many} submitted to Slurm as job {}", job.id));
                    notes.extend(match job.remark.as_str() {
                        "" => None,
                        remark => self.once(format!("Slurm remarks: {remark}")),
                    });
                }
                Err(why) if is_for_ever(&why) && self.alive().next().is_none() => {
                    return Err(Stuck(format!("Slurm refused the workers: {why}")));
                }
                // An array too large, or more jobs than one may have: fewer may pass.
                Err(why) if is_limit(&why) && accepted == 0 && workers > 1 => {
                    self.chunk = workers / 2;
                    notes.extend(self.once(format!("Slurm refused {many} at once: {why}")));
                }
                Err(why) => {
                    self.refused += 1;
                    let wait = BACK_OFF[self.refused.min(BACK_OFF.len() - 1)] / 60;
                    notes.extend(self.once(format!(
                        "Slurm refused {many}, and is asked again in {}: {why}",
                        counted(wait as usize, "minute")
                    )));
                    break;
                }
            }
        }
        if accepted > 0 {
            // Whoever looks before the next answer is shown these too.
            let jobs = self.jobs.values().filter(|known| known.missed < 2);
            let queue = Queue {
                name: self.asks.name.clone(),
                asked_at: now(),
                jobs: jobs.map(|known| known.job.clone()).collect(),
            };
            queue.keep(&self.asks.results);
        }
        Ok(notes)
    }

    /// Says something that was not said before.
    fn once(&mut self, text: String) -> Option<String> {
        self.told.insert(text.clone()).then_some(text)
    }

    /// Says why jobs wait, where that needs words.
    fn why_jobs_wait(&mut self) -> Vec<String> {
        let waits = self.jobs.values().filter(|known| known.missed == 0);
        let waits = waits.map(|known| &known.job).filter(|job| job.is_pending());
        let reasons: BTreeSet<&str> = waits.map(|job| job.reason.as_str()).collect();
        let said: Vec<String> = reasons
            .into_iter()
            .filter_map(|reason| Some((reason, meaning(reason)?)))
            .map(|(reason, meaning)| format!("workers wait in Slurm's queue: {reason} ({meaning})"))
            .collect();
        said.into_iter()
            .filter_map(|said| self.once(said))
            .collect()
    }
}

impl Pool for Slurm {
    fn tend(&mut self, open: usize, excluded: &BTreeSet<String>) -> Result<Vec<String>, Stuck> {
        let mut notes: Vec<String> = self.ask().into_iter().collect();
        notes.extend(self.judge()?);
        let wanted = self.asks.profile.workers_for(open);
        let alive = self.alive().count();
        let waits = self.alive().any(Job::is_pending);
        // After a submission only an answer says what there is, also where that seemed to fail.
        let last = self.submitted.back();
        let is_known = self
            .answered
            .is_some_and(|at| last.is_none_or(|last| at > *last));
        // One round of arrays waits at most.
        if wanted > alive && !waits && is_known {
            let excluded = excluded.union(&self.broken).cloned().collect();
            notes.extend(self.submit(wanted - alive, &excluded)?);
        }
        notes.extend(self.why_jobs_wait());
        Ok(notes)
    }

    fn patience(&self) -> Duration {
        self.asks.profile.patience.0.duration()
    }

    fn is_gone(&self, job: &str) -> Option<bool> {
        match self.jobs.get(job)?.missed {
            0 => Some(false),
            1 => None,
            _ => Some(true),
        }
    }

    fn cancel(&mut self) -> Vec<String> {
        let patience = self.asks.profile.answer.0.duration();
        let cancel = |name: &str| {
            let mut scancel = command("scancel");
            scancel.args(["-n", name]);
            answer(scancel, patience)
        };
        let names = [self.asks.leader_name(), self.asks.name.clone()];
        match names.iter().try_for_each(|name| cancel(name).map(drop)) {
            Ok(()) => vec!["all workers are cancelled".to_owned()],
            Err(why) => vec![format!("Slurm did not cancel the workers: {why}")],
        }
    }

    fn follow(&mut self, words: &[String], folder: &Path) -> Result<String, Stuck> {
        let patience = self.asks.profile.answer.0.duration();
        let before = Queue::ask(&self.asks.leader_name(), patience);
        let before = before.map_err(|why| Stuck(format!("Slurm does not answer: {why}")))?;
        if let Some(job) = before.jobs.iter().find(|job| job.is_pending()) {
            return Ok(format!("job {} follows them already", job.id));
        }
        // Tasks of one array have one dependency.
        let array = |job: &Job| job.id.split('_').next().map(str::to_owned);
        let here = self.jobs.values().filter(|known| known.missed < 2);
        let arrays: BTreeSet<String> = here.filter_map(|known| array(&known.job)).collect();
        if arrays.is_empty() {
            return Err(Stuck(
                "no worker is submitted that it could follow".to_owned(),
            ));
        }
        match self.asks.after(&arrays, words, folder) {
            Ok(job) => Ok(format!(
                "job {} follows them: it takes in what they measured, submits others where runs are left, and \
                 fits",
                job.id
            )),
            Err(why) => Err(Stuck(format!("Slurm refused the job that fits: {why}"))),
        }
    }
}

/// Names the mark of a worker that began in a job.
pub(super) fn began_name(job: &str) -> PathBuf {
    PathBuf::from(format!("{job}.began"))
}

/// Names what a job prints.
fn output_name(job: &str) -> PathBuf {
    PathBuf::from(format!("{job}.txt"))
}

/// Says whether a refusal would be the same tomorrow.
fn is_for_ever(why: &str) -> bool {
    const WORDS: [&str; 13] = [
        "cannot start sbatch",
        "unrecognized option",
        "invalid option",
        "invalid partition",
        "invalid account",
        "invalid qos",
        "invalid generic resource",
        "invalid feature",
        "invalid node name",
        "requested time limit is invalid",
        "requested node configuration is not available",
        "memory specification can not be satisfied",
        "cpu count per node can not be satisfied",
    ];
    let why = why.to_lowercase();
    WORDS.iter().any(|words| why.contains(words))
}

/// Says whether a refusal is for the number of jobs.
fn is_limit(why: &str) -> bool {
    let why = why.to_lowercase();
    why.contains("limit") || why.contains("job array")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cluster::profile::{Profile, parse};

    pub(super) fn slurm(text: &str) -> Slurm {
        let mut profiles = parse(text).expect("right").0;
        let Some(Profile::Slurm(profile)) = profiles.remove("a") else {
            panic!("{text}");
        };
        Slurm::new(Submission {
            profile: *profile,
            results: "/r".into(),
            program: "/bin/orchestrator".into(),
            name: "orchestrator-t".into(),
            devices_per_run: 1,
        })
    }

    #[test]
    fn a_job_is_gone_after_two_good_answers_without_it() {
        let mut slurm = slurm("a: {slurm: {workers: 2}}");
        let mut hear = |text: &str| {
            slurm.take_in(&queue::parse(text).expect("an answer"));
            let alive = slurm.alive().count();
            (
                alive,
                slurm.alive().any(Job::is_pending),
                slurm.is_gone("7_0"),
            )
        };
        let both = hear("7_0|RUNNING|None|n1\n7_1|PENDING|Resources|\n");
        assert_eq!(both, (2, true, Some(false)));
        let one = hear("7_1|RUNNING|None|n2\n");
        assert_eq!(one, (2, false, None), "one answer is none");
        let held = hear("7_1|PENDING|BeginTime|\n");
        assert_eq!(held, (0, false, Some(true)));
        assert_eq!(hear("7_1|RUNNING|None|n2\n").0, 1);
        assert_eq!(
            slurm.is_gone("9_9"),
            None,
            "of what was never seen nothing is known"
        );
    }

    #[test]
    fn refusals_are_told_apart() {
        let limit = "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: \
                     Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)";
        let array = "sbatch: error: Batch job submission failed: Invalid job array specification";
        let time = "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or \
                    exceeds some limit)";
        let busy =
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation";
        for (why, for_ever, of_number) in [
            (limit, false, true),
            (array, false, true),
            (time, true, true),
            (busy, false, false),
        ] {
            assert_eq!(
                (is_for_ever(why), is_limit(why)),
                (for_ever, of_number),
                "{why}"
            );
        }
    }
}
