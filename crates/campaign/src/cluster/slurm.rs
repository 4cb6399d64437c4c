//! Workers by Slurm: arrays of equal jobs, as few questions as possible, and no conclusion from one answer.
//!
//! A time-out, an error, or anything on standard error is *unknown*: nothing changes by it. A job is gone when
//! two good answers in a row do not have it.

use super::pool::Pool;
use super::profile::SlurmProfile;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time that Slurm may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much longer than an answer takes the next question waits.
const CALM: u32 = 5;
/// Times between submissions that were refused, in seconds.
const BACK_OFF: [u64; 5] = [0, 60, 900, 1800, 3600];
/// Submissions in an hour, at most.
const MOST_AN_HOUR: usize = 60;
/// Seconds before its end at which Slurm tells a worker: at most, and of a short time a quarter.
const WARNING: (f64, f64) = (10.0, 120.0);

/// What is known of a job.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    /// Its state in the last good answer that had it.
    state: String,
    /// Why it waits.
    reason: String,
    /// Good answers in a row that lacked it.
    missed: usize,
}

impl Known {
    /// Says whether it waits for something else than a place: Slurm holds jobs that it has requeued.
    fn is_held(&self) -> bool {
        const HELD: [&str; 5] = [
            "BeginTime",
            "Dependency",
            "JobHeldAdmin",
            "JobHeldUser",
            "launch failed requeued held",
        ];
        self.state == "PENDING" && HELD.contains(&self.reason.as_str())
    }
}

/// Workers as jobs of Slurm.
pub struct Slurm {
    profile: SlurmProfile,
    results: PathBuf,
    program: PathBuf,
    /// The name of all its jobs: no others have it.
    name: String,
    jobs: BTreeMap<String, Known>,
    asked: Option<Instant>,
    /// How long the last answer took.
    took: Duration,
    /// Jobs that were submitted since the last good answer.
    unseen: usize,
    submitted: VecDeque<Instant>,
    /// Submissions in a row that were refused.
    refused: usize,
    /// Jobs of the next array, where the last was too many.
    chunk: usize,
    told: BTreeSet<String>,
}

impl Slurm {
    /// Prepares to submit workers of a results folder; `token` names it among all others.
    pub fn new(profile: SlurmProfile, results: &Path, program: PathBuf, token: &str) -> Self {
        Self {
            chunk: profile.workers,
            profile,
            results: std::path::absolute(results).unwrap_or_else(|_| results.to_owned()),
            program,
            name: format!("orchestrator-{token}"),
            jobs: BTreeMap::new(),
            asked: None,
            took: Duration::ZERO,
            unseen: 0,
            submitted: VecDeque::new(),
            refused: 0,
            told: BTreeSet::new(),
        }
    }

    /// Counts the jobs that wait for a place or run, those that were just submitted included. One that is
    /// held comes when it comes: a worker too many finds nothing, and ends.
    fn alive(&self) -> usize {
        let here = |job: &&Known| job.missed < 2 && !job.is_held();
        self.jobs.values().filter(here).count() + self.unseen
    }

    fn is_waiting(&self) -> bool {
        let waits = |job: &Known| job.missed == 0 && job.state == "PENDING" && !job.is_held();
        self.unseen > 0 || self.jobs.values().any(waits)
    }

    /// Asks for all jobs at once, as far as that is due.
    fn ask(&mut self) -> Option<String> {
        let due = Duration::from_secs_f64(self.profile.poll).max(CALM * self.took);
        if self.asked.is_some_and(|at| at.elapsed() < due) {
            return None;
        }
        self.asked = Some(Instant::now());
        let mut squeue = command("squeue");
        squeue.args(["-h", "-r", "-n", &self.name, "-o", "%i|%T|%r|%N"]);
        let answer = answered(squeue);
        self.took = self.asked.map_or(Duration::ZERO, |at| at.elapsed());
        match answer {
            Ok(text) => {
                self.take_in(&text);
                None
            }
            Err(why) => self.once(format!(
                "Slurm does not answer, and nothing is concluded from that: {why}"
            )),
        }
    }

    /// Takes in a good answer.
    fn take_in(&mut self, text: &str) {
        let mut present = BTreeSet::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.trim().split('|').collect();
            let [id, state, reason, ..] = fields[..] else {
                continue;
            };
            present.insert(id.to_owned());
            let known = Known {
                state: state.to_owned(),
                reason: reason.to_owned(),
                missed: 0,
            };
            self.jobs.insert(id.to_owned(), known);
        }
        for (id, job) in &mut self.jobs {
            if !present.contains(id) {
                job.missed += 1;
            }
        }
        self.unseen = 0;
    }

    /// Submits an array of workers.
    fn submit(&mut self, workers: usize, excluded: &BTreeSet<String>) -> Vec<String> {
        let hour = Duration::from_secs(3600);
        self.submitted.retain(|at| at.elapsed() < hour);
        let wait = Duration::from_secs(BACK_OFF[self.refused.min(BACK_OFF.len() - 1)]);
        let too_soon = self.submitted.back().is_some_and(|at| at.elapsed() < wait);
        if too_soon || self.submitted.len() >= MOST_AN_HOUR {
            return Vec::new();
        }
        self.submitted.push_back(Instant::now());
        let workers = workers.min(self.chunk).max(1);
        let submitted = self.script().map_err(|error| error.to_string());
        let submitted = submitted.and_then(|script| {
            let mut sbatch = command("sbatch");
            sbatch.args(self.arguments(workers, excluded)).arg(script);
            answered(sbatch)
        });
        match submitted.and_then(|text| job_id(&text)) {
            Ok(id) => {
                self.refused = 0;
                self.unseen += workers;
                vec![format!("{workers} workers submitted to Slurm as job {id}")]
            }
            Err(why) => {
                self.refused += 1;
                // A limit on jobs, or on the size of an array, may let fewer pass.
                self.chunk = (workers / 2).max(1);
                let told = self.once(format!("Slurm refused {workers} workers: {why}"));
                told.into_iter().collect()
            }
        }
    }

    /// The options of sbatch.
    fn arguments(&self, workers: usize, excluded: &BTreeSet<String>) -> Vec<String> {
        let profile = &self.profile;
        let jobs = experiment::folder::ClusterFolder(&self.results).jobs();
        let output = jobs.join("%j.txt").display().to_string();
        let mut arguments = vec![
            "--parsable".to_owned(),
            format!("--array=0-{}", workers - 1),
            format!("--job-name={}", self.name),
            format!("--output={output}"),
            format!("--error={output}"),
            format!("--chdir={}", self.results.display()),
            "--ntasks=1".to_owned(),
            "--open-mode=append".to_owned(),
            // To the step, which is the worker, before its time is over.
            format!("--signal=USR1@{:.0}", self.warning()),
        ];
        let mut option = |name: &str, value: Option<String>| {
            arguments.extend(value.map(|value| format!("--{name}={value}")));
        };
        let joined = |words: Vec<String>| (!words.is_empty()).then(|| words.join(","));
        option("time", profile.time.as_deref().map(minutes));
        option("partition", joined(profile.partition.0.clone()));
        option("account", profile.account.clone());
        option("qos", profile.qos.clone());
        option("gres", profile.gres.clone());
        option("cpus-per-task", profile.cpus.map(|cpus| cpus.to_string()));
        option("mem", profile.memory.clone());
        option("constraint", profile.constraint.clone());
        let exclude = profile.exclude.0.iter().chain(excluded).cloned().collect();
        option("exclude", joined(exclude));
        arguments.extend(profile.extra.0.iter().cloned());
        arguments
    }

    /// Seconds before its end at which a worker is told.
    fn warning(&self) -> f64 {
        let time = self.profile.time.as_deref();
        let seconds = time.and_then(|time| experiment::quantity::parse_duration(time).ok());
        let quarter = seconds.map_or(WARNING.1, |seconds| 0.25 * seconds);
        quarter.clamp(WARNING.0, WARNING.1)
    }

    /// Writes the script of a job, and says where it is.
    fn script(&self) -> std::io::Result<PathBuf> {
        let profile = &self.profile;
        let jobs = experiment::folder::ClusterFolder(&self.results).jobs();
        std::fs::create_dir_all(&jobs)?;
        // A step has no more cores than it is told.
        let mut text =
            "#!/bin/bash\nexport SRUN_CPUS_PER_TASK=\"${SLURM_CPUS_PER_TASK:-1}\"\n".to_owned();
        // Writing to a string cannot fail.
        for line in &profile.setup.0 {
            let _ = writeln!(text, "{line}");
        }
        let wrap = profile.wrap.as_deref().unwrap_or("");
        let scratch = match &profile.scratch {
            // Quoted so that the node's variables are read there.
            Some(scratch) => format!(" --data-cache \"{scratch}\""),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            // A step is told at once of preemption; a script would be killed without a word.
            "exec srun --ntasks=1 {wrap} {} worker {} --idle {}{scratch}",
            quoted(&self.program.display().to_string()),
            quoted(&self.results.display().to_string()),
            profile.idle,
        );
        let path = jobs.join("worker.sh");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Says something that was not said before.
    fn once(&mut self, text: String) -> Option<String> {
        self.told.insert(text.clone()).then_some(text)
    }
}

impl Pool for Slurm {
    fn tend(&mut self, open: usize, excluded: &BTreeSet<String>) -> Vec<String> {
        let mut notes: Vec<String> = self.ask().into_iter().collect();
        let wanted = self.profile.workers.min(open);
        let alive = self.alive();
        // One array waits at most, and after an answer that says what there is.
        if wanted > alive && !self.is_waiting() && self.asked.is_some() {
            notes.extend(self.submit(wanted - alive, excluded));
        }
        let waits = self
            .jobs
            .values()
            .find(|job| job.missed == 0 && job.state == "PENDING");
        let reason = waits.map(|job| job.reason.clone());
        let plain = |reason: &str| ["None", "Priority", "Resources"].contains(&reason);
        if let Some(reason) = reason.filter(|reason| !plain(reason)) {
            notes.extend(self.once(format!("workers wait in Slurm's queue: {reason}")));
        }
        notes
    }

    fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.profile.patience)
    }

    fn is_gone(&self, job: &str) -> Option<bool> {
        match self.jobs.get(job) {
            Some(known) if known.missed >= 2 => Some(true),
            Some(known) if known.missed == 0 => Some(false),
            _ => None,
        }
    }

    fn cancel(&mut self) -> Vec<String> {
        let mut scancel = command("scancel");
        scancel.args(["-n", &self.name]);
        match answered(scancel) {
            Ok(_) => vec!["all workers are cancelled".to_owned()],
            Err(why) => vec![format!("Slurm did not cancel the workers: {why}")],
        }
    }
}

/// A command of Slurm, as from outside of any job.
fn command(name: &str) -> Command {
    let mut command = Command::new(name);
    for (variable, _) in std::env::vars_os() {
        let text = variable.to_string_lossy();
        let of_job = text.starts_with("SLURM_") && text != "SLURM_CONF";
        if of_job || text.starts_with("SBATCH_") {
            command.env_remove(&variable);
        }
    }
    command
}

/// Runs a command to its end and returns what it printed; whatever is not a good answer is an error.
fn answered(mut command: Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| format!("cannot start {name}: {error}"))?;
    let started = Instant::now();
    // What it prints fits into a pipe only while somebody reads it.
    let (mut output, mut errors) = (child.stdout.take(), child.stderr.take());
    let read = |stream: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stream) = stream {
                let _ = stream.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let output = read(output.take().map(|stream| Box::new(stream) as _));
    let errors = read(errors.take().map(|stream| Box::new(stream) as _));
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{name} did not answer in {} s", PATIENCE.as_secs()));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(format!("{name}: {error}")),
        }
    };
    let output = output.join().unwrap_or_default();
    let errors = errors.join().unwrap_or_default();
    match errors.trim() {
        "" if status.success() => Ok(output),
        "" => Err(format!("{name} ended with {status}: {}", output.trim())),
        errors => Err(format!("{name}: {errors}")),
    }
}

/// Reads the id that `sbatch --parsable` prints.
fn job_id(text: &str) -> Result<String, String> {
    let id = text.trim().split(';').next().unwrap_or_default();
    if !id.is_empty() && id.chars().all(|c| c.is_ascii_digit()) {
        Ok(id.to_owned())
    } else {
        Err(format!("sbatch printed no job id: `{}`", text.trim()))
    }
}

/// Writes a time as sbatch takes it: `4h` is 240 minutes.
fn minutes(time: &str) -> String {
    match experiment::quantity::parse_duration(time) {
        Ok(seconds) => format!("{}", (seconds / 60.0).ceil().max(1.0)),
        Err(_) => time.to_owned(),
    }
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::profile::{Profile, parse};

    fn slurm(text: &str) -> Slurm {
        let mut profiles = parse(text).expect("right").0;
        let Some(Profile::Slurm(profile)) = profiles.remove("a") else {
            panic!("{text}");
        };
        Slurm::new(*profile, Path::new("/r"), "/bin/orchestrator".into(), "t")
    }

    #[test]
    fn a_job_is_gone_after_two_good_answers_without_it() {
        let mut slurm = slurm("a: {slurm: {workers: 2}}");
        slurm.take_in("7_0|RUNNING|None|n1\n7_1|PENDING|Resources|\n");
        assert_eq!((slurm.alive(), slurm.is_waiting()), (2, true));
        assert_eq!(slurm.is_gone("7_0"), Some(false));
        slurm.take_in("7_1|RUNNING|None|n2\n");
        assert_eq!(slurm.is_gone("7_0"), None, "one answer is none");
        assert_eq!(
            slurm.is_gone("9_9"),
            None,
            "of what was never seen nothing is known"
        );
        slurm.take_in("7_1|PENDING|BeginTime|\n");
        assert_eq!((slurm.alive(), slurm.is_waiting()), (0, false), "held");
        slurm.take_in("garbage\n7_1|RUNNING|None|n2\n");
        assert_eq!(slurm.is_gone("7_0"), Some(true));
        assert_eq!((slurm.alive(), slurm.is_waiting()), (1, false));
    }

    #[test]
    fn a_profile_becomes_options() {
        let slurm = slurm(
            "a: {slurm: {workers: 3, time: 4h, partition: [gpu, spot], gres: 'gpu:1', exclude: n7, \
             extra: [--mail-type=FAIL]}}",
        );
        let excluded = BTreeSet::from(["n9".to_owned()]);
        let options = slurm.arguments(3, &excluded);
        for option in [
            "--array=0-2",
            "--time=240",
            "--partition=gpu,spot",
            "--gres=gpu:1",
            "--exclude=n7,n9",
            "--mail-type=FAIL",
            "--job-name=orchestrator-t",
            "--signal=USR1@120",
        ] {
            assert!(
                options.iter().any(|given| given == option),
                "{option}: {options:?}"
            );
        }
        assert_eq!(job_id("17;cluster\n"), Ok("17".into()));
        assert!(job_id("sbatch: error: Batch job submission failed").is_err());
    }

    #[test]
    fn whatever_is_no_good_answer_is_unknown() {
        let run = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]);
            answered(shell)
        };
        assert_eq!(run("echo 1_0"), Ok("1_0\n".into()));
        for script in ["exit 1", "echo x; echo error >&2", "kill -9 $$"] {
            assert!(run(script).is_err(), "{script}");
        }
    }
}
