//! Processes that measure what runs would take, several at once, as a grid would run them.

use super::local::environment;
use experiment::clock::now;
use experiment::plan::Cost;
use experiment::run::RunSpec;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a measuring process says when it is about to take its timed steps.
pub const READY: &str = "ready";

/// Where and how runs are measured.
pub struct Setting<'a> {
    /// This program.
    pub program: &'a Path,
    /// Where prepared data are kept.
    pub data_cache: &'a Path,
    /// The device.
    pub device: &'a str,
    /// Threads of each process.
    pub threads: usize,
    /// Seconds of timed steps.
    pub seconds: f64,
    /// Time after which processes that say nothing are killed.
    pub patience: Duration,
}

/// Measures runs side by side: each process warms up by itself, then all take steps together.
///
/// Gives for each its cost, or what the process said as it failed.
pub fn measure_together(setting: &Setting, runs: &[&RunSpec]) -> Vec<Result<Cost, String>> {
    let mut started: Vec<Result<Measuring, String>> = runs
        .iter()
        .map(|run| Measuring::start(setting, run).map_err(|error| error.to_string()))
        .collect();
    let _watch = Watch::begin(started.iter().flatten(), setting.patience);
    for measuring in started.iter_mut().flatten() {
        measuring.await_ready();
    }
    for measuring in started.iter_mut().flatten() {
        measuring.go();
    }
    let costs = started.into_iter();
    costs.map(|measuring| measuring?.finish()).collect()
}

/// Kills processes that take too long, until it is dropped.
struct Watch {
    _end: Sender<()>,
}

impl Watch {
    fn begin<'a>(measuring: impl Iterator<Item = &'a Measuring>, patience: Duration) -> Self {
        let children: Vec<_> = measuring.map(|one| Arc::clone(&one.child)).collect();
        let (end, ended) = channel();
        std::thread::spawn(move || {
            if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                tracing::warn!("measuring took longer than {} s", patience.as_secs());
                for child in children {
                    // One that has ended meanwhile needs no killing.
                    let _ = lock(&child).kill();
                }
            }
        });
        Self { _end: end }
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that measures a run. It ends by itself when this one does: its input ends then.
struct Measuring {
    child: Arc<Mutex<Child>>,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    errors: ChildStderr,
}

impl Measuring {
    fn start(setting: &Setting, run: &RunSpec) -> std::io::Result<Self> {
        let mut child = Command::new(setting.program)
            .arg("measure")
            .args(["--device", setting.device])
            .arg("--data-cache")
            .arg(setting.data_cache)
            .args(["--seconds", &setting.seconds.to_string()])
            .args(["--started", &now().to_string()])
            .env("RAYON_NUM_THREADS", setting.threads.to_string())
            .envs(environment(run.recipe.precision))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut input), Some(output), Some(errors)) = pipes else {
            return Err(std::io::Error::other("it has no input or output"));
        };
        let mut line = serde_json::to_vec(run)?;
        line.push(b'\n');
        // One that gives up at once says why.
        let _ = input.write_all(&line);
        Ok(Self {
            child: Arc::new(Mutex::new(child)),
            input,
            output: BufReader::new(output),
            errors,
        })
    }

    /// Waits until it is ready, or gives up.
    fn await_ready(&mut self) {
        // One that gives up says why on its way out.
        let _ = self.output.read_line(&mut String::new());
    }

    /// Has it take its timed steps.
    fn go(&mut self) {
        // One that has given up reads no more.
        let _ = self.input.write_all(b"\n");
    }

    /// Waits for what it found.
    fn finish(mut self) -> Result<Cost, String> {
        let mut text = String::new();
        let read = self.output.read_to_string(&mut text);
        // What it says besides is short: it does not wait for anybody to read it.
        let mut errors = Vec::new();
        let _ = self.errors.read_to_end(&mut errors);
        let status = lock(&self.child)
            .wait()
            .map_err(|error| error.to_string())?;
        match read.is_ok().then(|| serde_json::from_str(&text)) {
            Some(Ok(cost)) => Ok(cost),
            _ => {
                let errors = String::from_utf8_lossy(&errors);
                let line = errors.lines().rfind(|line| !line.trim().is_empty());
                Err(line.map_or(status.to_string(), str::to_owned))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiment::plan::example::planned;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn setting(program: &Path) -> Setting<'_> {
        Setting {
            program,
            data_cache: Path::new("unused"),
            device: "cpu",
            threads: 1,
            seconds: 0.1,
            patience: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_process_that_fails_is_told_of() {
        let grid = "grid: {params: 0.1M, tokens: 1M, concept_share: 0.5, compression_ratio: 4}";
        let planned = planned(grid);
        let spec = &planned[0].spec;
        for (program, why) in [
            ("/bin/sh", "measure"),
            ("/bin/true", "exit status: 0"),
            ("/nowhere/program", "No such file"),
        ] {
            for cost in measure_together(&setting(Path::new(program)), &[spec, spec]) {
                let said = cost.expect_err("no cost");
                assert!(said.contains(why), "{said}");
            }
        }
    }

    #[test]
    fn a_process_that_says_nothing_is_killed() {
        let grid = "grid: {params: 0.1M, tokens: 1M, concept_share: 0.5, compression_ratio: 4}";
        let planned = planned(grid);
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("silent");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").expect("written");
        std::fs::set_permissions(&program, Permissions::from_mode(0o700)).expect("set");
        let impatient = Setting {
            patience: Duration::from_millis(200),
            ..setting(&program)
        };
        for cost in measure_together(&impatient, &[&planned[0].spec]) {
            let said = cost.expect_err("no cost");
            assert!(said.contains("signal: 9"), "{said}");
        }
    }
}
