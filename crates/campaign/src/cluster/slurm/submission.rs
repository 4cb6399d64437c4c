//! What is submitted: an array of equal workers, and the job that fits after them.

use super::asking::{Printed, command, printed};
use crate::cluster::profile::{SlurmProfile, Words};
use experiment::folder::ClusterFolder;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Seconds before its end at which Slurm tells a worker: at most, and of a short time a quarter.
const WARNING: (f64, f64) = (10.0, 120.0);

/// Minutes of the job that fits, where the profile does not say.
const FIT_MINUTES: usize = 120;

/// A job that was accepted.
#[derive(Debug, PartialEq)]
pub(super) struct Accepted {
    /// Its id, without that of a task.
    pub(super) id: String,
    /// What the site remarked.
    pub(super) remark: String,
}

/// How workers of a results folder are submitted.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What jobs ask of Slurm.
    pub profile: SlurmProfile,
    /// The results folder, from the root.
    pub results: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// The name of all its workers: no other jobs have it.
    pub name: String,
    /// Devices that a run takes together.
    pub devices_per_run: usize,
}

impl Submission {
    /// Submits an array of workers.
    pub(super) fn workers(
        &self,
        workers: usize,
        excluded: &BTreeSet<String>,
    ) -> Result<Accepted, String> {
        let script = self.written("worker.sh", &self.worker_script())?;
        let mut sbatch = command("sbatch");
        sbatch
            .arg("--parsable")
            .args(self.worker_options(workers, excluded))
            .arg(script);
        self.submitted(sbatch)
    }

    /// Submits a command that is carried out when jobs have ended, however they did.
    pub(super) fn after(
        &self,
        jobs: &BTreeSet<String>,
        words: &[String],
        folder: &Path,
    ) -> Result<Accepted, String> {
        let script = self.written("fit.sh", &self.leader_script(words, folder))?;
        let ids: Vec<&str> = jobs.iter().map(String::as_str).collect();
        let mut sbatch = command("sbatch");
        sbatch
            .arg("--parsable")
            .args(self.leader_options(&ids.join(":")))
            .arg(script);
        self.submitted(sbatch)
    }

    /// The name of the job that fits.
    pub(super) fn leader_name(&self) -> String {
        format!("{}-fit", self.name)
    }

    /// Has Slurm say what it would do with a worker; nothing is submitted.
    pub(super) fn tried(&self) -> Result<String, String> {
        // A file of its own: whoever only checks writes nothing into the results.
        let mut script = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        let written = std::io::Write::write_all(&mut script, self.worker_script().as_bytes());
        written.map_err(|error| error.to_string())?;
        let mut sbatch = command("sbatch");
        sbatch
            .arg("--test-only")
            .args(self.worker_options(1, &BTreeSet::new()))
            .arg(script.path());
        // It answers on standard error.
        let Printed { output, remark } = printed(sbatch, self.profile.answer.0.duration())?;
        Ok(format!("{}{}", output.trim(), remark.trim()))
    }

    /// Carries out an sbatch: only one that ends well and prints an id has submitted anything that is known.
    fn submitted(&self, sbatch: Command) -> Result<Accepted, String> {
        let Printed { output, remark } = printed(sbatch, self.profile.answer.0.duration())?;
        Ok(Accepted {
            id: job_id(&output)?,
            remark: remark.trim().to_owned(),
        })
    }

    /// The options of all its jobs.
    fn options(&self, name: &str, output: &str) -> Vec<String> {
        let profile = &self.profile;
        let output = ClusterFolder(&self.results).jobs().join(output);
        let mut options = vec![
            format!("--job-name={name}"),
            format!("--output={}", output.display()),
            format!("--chdir={}", self.results.display()),
            "--ntasks=1".to_owned(),
            "--open-mode=append".to_owned(),
        ];
        options.extend(option("partition", joined(&profile.partition)));
        options.extend(option("account", profile.account.clone()));
        options.extend(option("qos", profile.qos.clone()));
        options
    }

    fn worker_options(&self, workers: usize, excluded: &BTreeSet<String>) -> Vec<String> {
        let profile = &self.profile;
        // Named by its task, as the queue shows it.
        let mut options = self.options(&self.name, "%A_%a.txt");
        options.push(format!("--array=0-{}", workers - 1));
        // To the step, which is the worker, before its time is over.
        options.push(format!("--signal=USR1@{:.0}", self.warning()));
        let exclude = Words(profile.exclude.0.iter().chain(excluded).cloned().collect());
        let minutes = profile.time.map(|time| (time.0.get() / 60.0).ceil());
        let further = [
            option("time", minutes.map(|minutes| minutes.max(1.0).to_string())),
            option("gres", profile.gres.clone()),
            option("cpus-per-task", profile.cpus.map(|cpus| cpus.to_string())),
            option("mem", profile.memory.clone()),
            option("constraint", profile.constraint.clone()),
            option("exclude", joined(&exclude)),
        ];
        options.extend(further.into_iter().flatten());
        options.extend(profile.extra.0.iter().cloned());
        options
    }

    fn leader_options(&self, after: &str) -> Vec<String> {
        let mut options = self.options(&self.leader_name(), "fit-%j.txt");
        options.push(format!("--dependency=afterany:{after}"));
        options.push(format!("--time={FIT_MINUTES}"));
        options.extend(self.profile.leader.0.iter().cloned());
        options
    }

    /// Seconds before its end at which a worker is told.
    fn warning(&self) -> f64 {
        let quarter = self.profile.time.map(|time| 0.25 * time.0.get());
        quarter.unwrap_or(WARNING.1).clamp(WARNING.0, WARNING.1)
    }

    fn worker_script(&self) -> String {
        let profile = &self.profile;
        let mut words: Vec<String> = profile.wrap.iter().cloned().collect();
        words.extend([
            quoted(&self.program.display().to_string()),
            "worker".to_owned(),
            quoted(&self.results.display().to_string()),
            format!("--idle {}", profile.idle.0.get()),
            format!("--devices-per-run {}", self.devices_per_run),
        ]);
        words.extend(
            profile
                .per_device
                .map(|runs| format!("--per-device {runs}")),
        );
        words.extend(
            profile
                .runs_per_worker
                .0
                .map(|runs| format!("--runs {runs}")),
        );
        let scratch = profile.scratch.as_ref();
        // Quoted so that the node's variables are read there.
        words.extend(scratch.map(|scratch| format!("--data-cache \"{scratch}\"")));
        // A step has no more cores than it is told; it is told at once of preemption, where a script would be
        // killed without a word.
        let step = "export SRUN_CPUS_PER_TASK=\"${SLURM_CPUS_PER_TASK:-1}\"\nexec srun --ntasks=1";
        self.script(step, &words)
    }

    fn leader_script(&self, words: &[String], folder: &Path) -> String {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let step = format!("cd {} || exit\nexec", quoted(&folder.display().to_string()));
        self.script(&step, &words)
    }

    /// Writes a script beside what jobs print, and says where it is.
    fn written(&self, name: &str, script: &str) -> Result<PathBuf, String> {
        let jobs = ClusterFolder(&self.results).jobs();
        let path = jobs.join(name);
        // Where the folder of its output is missing, a job dies without a word.
        let made = std::fs::create_dir_all(&jobs).and_then(|()| std::fs::write(&path, script));
        made.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    fn script(&self, step: &str, words: &[String]) -> String {
        let mut text = "#!/bin/bash\n".to_owned();
        for line in &self.profile.setup.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "{step} {}", words.join(" "));
        text
    }
}

fn option(name: &str, value: Option<String>) -> Option<String> {
    value.map(|value| format!("--{name}={value}"))
}

fn joined(words: &Words) -> Option<String> {
    (!words.0.is_empty()).then(|| words.0.join(","))
}

/// Reads the id that `sbatch --parsable` prints.
fn job_id(text: &str) -> Result<String, String> {
    // Some sites greet on standard output: the id is the last line.
    let last = text.trim().lines().last().unwrap_or_default();
    let id = last.split(';').next().unwrap_or_default().trim();
    if !id.is_empty() && id.chars().all(|c| c.is_ascii_digit()) {
        Ok(id.to_owned())
    } else {
        Err(format!("sbatch printed no job id: `{}`", text.trim()))
    }
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::slurm;
    use super::*;

    #[test]
    fn a_profile_becomes_options() {
        let slurm = slurm(
            "a: {slurm: {workers: 3, time: 4h, partition: [gpu, spot], gres: 'gpu:1', exclude: n7, \
             wrap: apptainer exec, extra: [--mail-type=FAIL], leader: [--partition=cpu]}}",
        );
        let asks = slurm.asks;
        let options = asks.worker_options(3, &BTreeSet::from(["n9".to_owned()]));
        for option in [
            "--array=0-2",
            "--time=240",
            "--partition=gpu,spot",
            "--gres=gpu:1",
            "--exclude=n7,n9",
            "--mail-type=FAIL",
            "--job-name=orchestrator-t",
            "--signal=USR1@120",
            "--output=/r/cluster/jobs/%A_%a.txt",
        ] {
            assert!(
                options.iter().any(|given| given == option),
                "{option}: {options:?}"
            );
        }
        let options = asks.leader_options("17:18");
        let last = |start: &str| options.iter().rfind(|option| option.starts_with(start));
        assert_eq!(
            last("--partition").map(String::as_str),
            Some("--partition=cpu")
        );
        assert_eq!(
            last("--dependency").map(String::as_str),
            Some("--dependency=afterany:17:18")
        );
        assert_eq!(last("--gres"), None, "a fit needs no GPU");
        let words = ["/bin/orchestrator".to_owned(), "run".to_owned()];
        let fit = asks.leader_script(&words, Path::new("/home/it's"));
        assert!(
            !fit.contains("apptainer")
                && asks.worker_script().contains("srun --ntasks=1 apptainer")
        );
        assert!(fit.contains("cd '/home/it'\\''s' || exit"), "{fit}");
        assert_eq!(job_id("17;cluster\n"), Ok("17".into()));
        assert_eq!(job_id("Welcome to the cluster!\n17\n"), Ok("17".into()));
        assert!(job_id("sbatch: error: Batch job submission failed").is_err());
    }
}
