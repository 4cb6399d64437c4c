//! Workers by Slurm: arrays of equal jobs, as few questions as possible, and no conclusion from one answer.
//!
//! A time-out, an error, or anything on standard error is *unknown*: nothing changes by it. A job is gone when
//! two good answers in a row do not have it.

mod asking;
mod check;
mod queue;
mod silence;
mod submission;

pub use check::{Finding, check};
pub use queue::{Job, Queue, meaning};
use submission::Accepted;
pub use submission::Submission;

use super::pool::Pool;
use crate::launch::Stuck;
use asking::{command, printed};
use experiment::clock::now;
use experiment::folder::ClusterFolder;
use experiment::quantity::counted;
use silence::Silence;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How much longer than an answer takes the next question waits.
const CALM: u32 = 5;
/// Times between submissions that were refused, in seconds.
const BACK_OFF: [u64; 5] = [0, 60, 900, 1800, 3600];
/// Submissions in an hour, at most.
const MOST_AN_HOUR: usize = 60;
/// Times between tries to submit what follows the workers, in times between two questions.
const PAUSES: [u32; 5] = [1, 2, 4, 8, 16];
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
    /// Good answers, and when the last was asked for.
    answers: usize,
    answered: Option<Instant>,
    submitted: VecDeque<Instant>,
    /// Submissions in a row that were refused.
    refused: usize,
    /// Jobs of an array, at most.
    chunk: usize,
    /// Jobs that there were when Slurm admitted no more.
    full_at: Option<usize>,
    /// Jobs in a row that ended before their worker began, with their nodes.
    stillborn: Vec<(String, String)>,
    /// Nodes where they did.
    broken: BTreeSet<String>,
    told: BTreeSet<String>,
    silence: Silence,
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
            answers: 0,
            answered: None,
            submitted: VecDeque::new(),
            refused: 0,
            full_at: None,
            stillborn: Vec::new(),
            broken: BTreeSet::new(),
            told: BTreeSet::new(),
            silence: Silence::default(),
        }
    }

    fn folder(&self) -> ClusterFolder<'_> {
        ClusterFolder(&self.asks.results)
    }

    /// Lists the jobs that are in the queue.
    fn here(&self) -> impl Iterator<Item = &Job> {
        let here = self.jobs.values().filter(|known| known.missed < 2);
        here.map(|known| &known.job)
    }

    /// Lists those that wait for a place or run. One that has begun and is held, since it was requeued, comes when it
    /// comes: a worker too many finds nothing, and ends.
    fn alive(&self) -> impl Iterator<Item = &Job> {
        let jobs = self.folder().jobs();
        let is_away = move |job: &Job| job.is_held() && jobs.join(began_name(&job.id)).exists();
        self.here().filter(move |job| !is_away(job))
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
        self.answers += 1;
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
        let mut most = self.chunk;
        while left > 0 && self.submitted.len() < MOST_AN_HOUR {
            let workers = left.min(most);
            self.submitted.push_back(Instant::now());
            let many = counted(workers, "worker");
            let why = match self.asks.workers(workers, excluded) {
                Ok(job) => {
                    self.refused = 0;
                    accepted += workers;
                    left -= workers;
                    notes.extend(self.accept(&job, workers));
                    continue;
                }
                Err(why) => why,
            };
            let alive = self.alive().count();
            if is_for_ever(&why) && alive == 0 {
                return Err(Stuck(format!("Slurm refused the workers: {why}")));
            }
            if is_limit(&why) && workers > 1 {
                most = workers / 2;
                if why.to_lowercase().contains("job array") {
                    self.chunk = most;
                }
                notes.extend(self.once(format!("Slurm refused {many} at once: {why}")));
                continue;
            }
            if is_limit(&why) && alive > 0 {
                // Others come up when one of these has ended.
                self.full_at = Some(alive);
                break;
            }
            self.refused += 1;
            let wait = BACK_OFF[self.refused.min(BACK_OFF.len() - 1)] / 60;
            notes.extend(self.once(format!(
                "Slurm refused {many}, and is asked again in {}: {why}",
                counted(wait as usize, "minute")
            )));
            break;
        }
        if accepted > 0 {
            // Whoever looks before the next answer is shown these too.
            let queue = Queue {
                name: self.asks.name.clone(),
                asked_at: now(),
                jobs: self.here().cloned().collect(),
            };
            queue.keep(&self.asks.results);
        }
        Ok(notes)
    }

    /// Takes note of an array that was accepted; says what a person should know.
    fn accept(&mut self, job: &Accepted, workers: usize) -> Vec<String> {
        for task in 0..workers {
            self.know(Job {
                id: format!("{}_{task}", job.id),
                state: "PENDING".to_owned(),
                reason: "None".to_owned(),
                node: String::new(),
            });
        }
        let many = counted(workers, "worker");
        let mut notes = vec![format!("{many} submitted to Slurm as job {}", job.id)];
        if !job.remark.is_empty() {
            notes.extend(self.once(format!("Slurm remarks: {}", job.remark)));
        }
        notes
    }

    /// Tries once to submit a command that follows the workers.
    fn try_to_follow(&mut self, words: &[String], folder: &Path) -> Result<String, String> {
        let patience = self.asks.profile.answer.0.duration();
        let before = Queue::ask(&self.asks.leader_name(), patience)?;
        if let Some(job) = before.jobs.iter().find(|job| job.is_pending()) {
            return Ok(format!("job {} follows them already", job.id));
        }
        // Tasks of one array have one dependency.
        let array = |job: &Job| job.id.split('_').next().map(str::to_owned);
        let arrays: BTreeSet<String> = self.here().filter_map(array).collect();
        if arrays.is_empty() {
            return Err("no worker is submitted that it could follow".to_owned());
        }
        let refused = match self.asks.after(&arrays, words, folder) {
            Ok(job) => {
                return Ok(format!(
                    "job {} follows them: it takes in what they measured, submits others where runs are left, \
                     and fits",
                    job.id
                ));
            }
            Err(why) => why,
        };
        // Where all places that one may have are taken by workers, one of them gives way: it saves what it trains.
        let several = self.alive().count() > 1;
        let last = self.alive().max_by_key(|job| job.is_pending());
        let last = last.filter(|_| several);
        if let Some(id) = last
            .filter(|_| is_limit(&refused))
            .map(|job| job.id.clone())
        {
            let mut scancel = command("scancel");
            scancel.arg(&id);
            printed(scancel, patience)?;
            self.jobs.remove(&id);
        }
        Err(format!("Slurm refused the job that fits: {refused}"))
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
        let (workers, patience) = (self.folder().workers(), self.patience());
        let silent = self.silence.listen(&workers, patience, Instant::now());
        let is_heard = |job: &&Job| job.is_pending() || !silent.contains(&job.id);
        let alive = self.alive().filter(is_heard).count();
        let waits = self.alive().any(Job::is_pending);
        if self.full_at.is_some_and(|full| alive < full) {
            self.full_at = None;
        }
        // After a submission only an answer says what there is, also where that seemed to fail.
        let last = self.submitted.back();
        let is_known = self
            .answered
            .is_some_and(|at| last.is_none_or(|last| at > *last));
        let has_room = self.full_at.is_none() && self.here().count() < 2 * wanted;
        // One round of arrays waits at most.
        if wanted > alive && !waits && is_known && has_room {
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
        let missed = self
            .jobs
            .get(job)
            .map_or(self.answers, |known| known.missed);
        match missed {
            0 if self.jobs.contains_key(job) => Some(false),
            0 | 1 => None,
            _ => Some(true),
        }
    }

    fn is_settled(&self) -> bool {
        self.alive().next().is_some()
    }

    fn cancel(&mut self) -> Result<String, Stuck> {
        let patience = self.asks.profile.answer.0.duration();
        // What follows them first: it would submit others.
        let mut cancelled = Ok("all workers are cancelled".to_owned());
        for name in [self.asks.leader_name(), self.asks.name.clone()] {
            let mut scancel = command("scancel");
            scancel.args(["-n", &name]);
            if let Err(why) = printed(scancel, patience) {
                cancelled = Err(Stuck(format!("Slurm did not cancel {name}: {why}")));
            }
        }
        cancelled
    }

    fn follow(&mut self, words: &[String], folder: &Path) -> Result<String, Stuck> {
        // Nobody may be there to try again: a silence of Slurm is waited out.
        for pause in PAUSES {
            match self.try_to_follow(words, folder) {
                Err(why) if !is_for_ever(&why) => {
                    tracing::warn!(%why, "it is tried again");
                    std::thread::sleep(self.asks.profile.poll.0.duration() * pause);
                }
                tried => return tried.map_err(Stuck),
            }
        }
        self.try_to_follow(words, folder).map_err(Stuck)
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
        assert_eq!(held, (1, true, Some(true)), "it has never begun");
        assert_eq!(hear("7_1|RUNNING|None|n2\n").0, 1);
        assert_eq!(slurm.is_gone("9_9"), Some(true), "no answer has had it");
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
