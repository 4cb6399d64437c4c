//! A folder with a grid, the program that runs it, and what stands there when it is done.

use super::machine::{self, Clock, Disk, Process};
use nix::sys::signal::Signal;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Short runs: two shapes of two ratios, each three branches of one trunk.
pub(super) const GRID: &str = "
name: grid
grid: {params: 20000, tokens: [8192, 12288, 16384], concept_share: [0.3, 0.5], compression_ratio: [2, 4]}
model: {seq_len: 32, token_window: 8}
data: {synthetic: {language: cycles, document_tokens: 32, document_words: 6}}
training: {batch: 4, validations: 2, validation_tokens: 256, branches: true}
evaluation: {tasks: tasks}
analysis: {bootstrap: 0}
execution: {checkpoint_every: 0.015, parallel: 2, stall_limit: 3, back_off: 0.1, retries: 3}
";

/// What its branches are asked when they are trained.
const TASKS: &str = "tasks: {next: {file: next.jsonl, kind: multiple_choice, delimiter: ''}}";

/// Items in the letters of the language.
fn items() -> String {
    let letters = "abcdefghijklmnopqrstuvwx";
    let item = |place: usize| {
        let (query, choices) = (
            &letters[place..place + 8],
            [&letters[..3], &letters[place + 8..]],
        );
        format!("{{\"query\": {query:?}, \"choices\": {choices:?}, \"gold\": 1}}\n")
    };
    (0..16).map(item).collect()
}

/// Its runs: 12 branches of 12 pieces of trunks.
pub(super) const RUNS: usize = 24;

/// Commands after which a grid must be done, whatever happened to it before.
const COMMANDS: usize = 3;

/// How long one command may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long processes without an orchestrator may go on.
const ORPHANED: Duration = Duration::from_secs(15);

/// A folder in which the grid is run.
pub(super) struct Desk {
    folder: tempfile::TempDir,
    /// The disk that holds the results, where it is one of their own.
    pub(super) disk: Option<Disk>,
    pub(super) clock: Option<Clock>,
    /// The name of the machine on which commands are started, where it is not this one's.
    pub(super) host: Option<&'static str>,
    /// Variables of all that is started here.
    pub(super) variables: Vec<(String, String)>,
}

/// A command that runs.
pub(super) struct Running {
    child: Child,
}

impl Desk {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("grid.yaml"), GRID).expect("written");
        std::fs::create_dir_all(folder.path().join("results")).expect("made");
        let tasks = folder.path().join("tasks");
        std::fs::create_dir_all(&tasks).expect("made");
        std::fs::write(tasks.join("tasks.yaml"), TASKS).expect("written");
        std::fs::write(tasks.join("next.jsonl"), items()).expect("written");
        let desk = Self {
            folder,
            disk: None,
            clock: None,
            host: None,
            variables: Vec::new(),
        };
        desk.restore_program();
        desk
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn results(&self) -> PathBuf {
        self.path().join("results/grid")
    }

    /// The folders of runs that have been started.
    pub(super) fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.results().join("runs")) else {
            return Vec::new();
        };
        let mut runs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        runs.sort();
        runs
    }

    /// The program as this folder sees it, and as its children are started.
    fn program(&self) -> PathBuf {
        self.path().join("orchestrator")
    }

    /// Puts a script in the program's place: what starts after this is the script, once.
    pub(super) fn replace_program(&self, misbehaviour: &str) {
        let script = format!(
            "#!/bin/sh\nif mkdir \"{}\" 2>/dev/null; then\n{misbehaviour}\nfi\nexec \"{}\" \"$@\"\n",
            self.path().join("misbehaved").display(),
            real_program().display(),
        );
        let path = self.path().join("script");
        std::fs::write(&path, script).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("made executable");
        std::fs::rename(&path, self.program()).expect("replaced");
    }

    /// Says whether the script has been started.
    pub(super) fn misbehaved(&self) -> bool {
        self.path().join("misbehaved").exists()
    }

    pub(super) fn restore_program(&self) {
        let path = self.path().join("link");
        let linked = std::fs::hard_link(real_program(), &path);
        let there = linked.or_else(|_| std::fs::copy(real_program(), &path).map(drop));
        there.expect("the program");
        std::fs::rename(&path, self.program()).expect("replaced");
    }

    pub(super) fn start(&self, arguments: &[&str]) -> Running {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path().join("said.txt"))
            .expect("a log");
        let mut command = match self.host {
            None => Command::new(self.program()),
            Some(host) => {
                let mut command = Command::new("unshare");
                let script = "hostname \"$0\" && exec \"$@\"";
                command
                    .args(["--uts", "sh", "-c", script, host])
                    .arg(self.program());
                command
            }
        };
        command
            .args(arguments)
            .current_dir(self.path())
            .env("ORCHESTRATOR_CACHE", self.path().join("cache"))
            .env("NO_COLOR", "1")
            .envs(self.variables.clone())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0);
        if let Some(clock) = &self.clock {
            command.envs(clock.variables());
        }
        let child = command.spawn().expect("started");
        Running { child }
    }

    /// What all commands and runs have printed.
    pub(super) fn said(&self) -> String {
        let logs = self.runs().into_iter().flat_map(|run| {
            let files = std::fs::read_dir(run).expect("readable").flatten();
            let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("log"));
            logs.map(|file| file.path()).collect::<Vec<_>>()
        });
        let logs = logs.chain([self.path().join("said.txt")]);
        let texts = logs.map(|log| std::fs::read(log).unwrap_or_default());
        texts
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .collect()
    }

    /// Runs the grid to its end; returns how many commands that took.
    pub(super) fn finish(&self) -> Result<usize, String> {
        for command in 1..=COMMANDS {
            if command > 1 {
                // What failed for good is tried again on request only.
                self.start(&["retry", "grid.yaml"]).wait(PATIENCE);
            }
            match self.start(&["run", "grid.yaml"]).wait(PATIENCE) {
                Some(status) if status.success() => return Ok(command),
                Some(_) => {}
                None => return Err("a command did not end".into()),
            }
        }
        Err(format!("not done after {COMMANDS} commands"))
    }

    /// Waits until no process works here any more; returns those that go on nevertheless.
    pub(super) fn orphans(&self) -> Vec<Process> {
        let mut left = Vec::new();
        wait_until(ORPHANED, || {
            left = machine::processes_in(self.path());
            left.is_empty()
        });
        for process in &left {
            machine::signal(process.pid, Signal::SIGKILL);
        }
        left
    }

    /// Starts the grid and waits for a random moment of it; `None` if it ended before.
    pub(super) fn start_and_wait(&self, rng: &mut ChaCha8Rng, seconds: f64) -> Option<Running> {
        let mut running = self.start(&["run", "grid.yaml"]);
        wait_until(PATIENCE, || {
            !self.trainings(&running).is_empty() || !running.is_running()
        });
        let moment = rng.random_range(0.0..0.8) * seconds;
        std::thread::sleep(Duration::from_secs_f64(moment));
        running.is_running().then_some(running)
    }

    /// The processes that train for a command.
    pub(super) fn trainings(&self, running: &Running) -> Vec<Process> {
        let mut processes = machine::processes_in(self.path());
        processes.retain(|process| {
            process.parent == running.pid() && process.arguments.contains("train --folder")
        });
        processes
    }

    /// Waits for a training process and picks one; `None` if the command ends before.
    pub(super) fn pick_training(
        &self,
        running: &mut Running,
        rng: &mut ChaCha8Rng,
    ) -> Option<Process> {
        let mut found = Vec::new();
        wait_until(PATIENCE, || {
            found = self.trainings(running);
            !found.is_empty() || !running.is_running()
        });
        (!found.is_empty()).then(|| found.swap_remove(rng.random_range(0..found.len())))
    }

    /// Kills a command and all its training processes at once, as a power cut does.
    pub(super) fn cut_power(&self, mut running: Running) {
        machine::signal(running.pid(), Signal::SIGSTOP);
        for process in machine::processes_in(self.path()) {
            machine::signal(process.pid, Signal::SIGKILL);
        }
        running.wait(PATIENCE);
        let gone = || machine::processes_in(self.path()).is_empty();
        assert!(wait_until(PATIENCE, gone), "a killed process goes on");
    }
}

impl Running {
    pub(super) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("watched").is_none()
    }

    /// Waits for its end; one that takes too long is killed.
    pub(super) fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        if !wait_until(patience, || !self.is_running()) {
            self.child.kill().expect("killed");
            self.child.wait().expect("ended");
            return None;
        }
        Some(self.child.wait().expect("ended"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition; says whether it came true.
pub(super) fn wait_until(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() > patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn real_program() -> PathBuf {
    assert_cmd::cargo::cargo_bin("orchestrator")
}
