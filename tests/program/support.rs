//! The program as a user runs it, in a temporary folder.

// Each file of tests uses a part of it.
#![allow(dead_code)]

use assert_cmd::Command;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Prepares a command of the program in a folder.
pub(crate) fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("orchestrator").expect("the program");
    command
        .args(args)
        .current_dir(folder)
        .env("ORCHESTRATOR_CACHE", folder.join("cache"))
        .env("NO_COLOR", "1")
        .timeout(Duration::from_secs(300));
    command
}

pub(crate) const TINY: &str = "
name: tiny
grid: {params: 60000, tokens: 8192, concept_share: [0.3, 0.5], compression_ratio: 4}
baselines: {params: 50000, tokens: 8192}
model: {seq_len: 64, token_window: 8}
data: {synthetic: {language: cycles, document_tokens: 64, document_words: 6}}
training: {batch: 8, validations: 2, validation_tokens: 512}
analysis: {bootstrap: 20}
";

/// A file that does not come with the program, or loudly nothing.
pub(crate) fn shared(name: &str) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = folder.join(name);
    if path.is_file() {
        return Some(path.display().to_string());
    }
    eprintln!(
        "SKIPPED: {} is not there, so nothing was compared with it",
        path.display()
    );
    None
}

/// A folder with an experiment in it, and the program.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.path().join(name), content).expect("written");
        self
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        command(self.path(), args)
    }

    /// Starts a command that goes on beside the test.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        std::process::Command::new(assert_cmd::cargo::cargo_bin("orchestrator"))
            .args(args)
            .current_dir(self.path())
            .env("ORCHESTRATOR_CACHE", self.path().join("cache"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started")
    }

    /// The last held-out loss of each run.
    pub(crate) fn losses(&self) -> Vec<Value> {
        let runs = self.status();
        runs.iter().map(|run| run["loss"].clone()).collect()
    }

    /// Runs a command that must be refused with status 2, and returns what it said in one line.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("ran");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        // Long messages are wrapped and marked along the left.
        let words = said.split_whitespace().filter(|word| *word != "│");
        words.collect::<Vec<_>>().join(" ")
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("ran");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs a command that must print JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(args)).expect("JSON")
    }

    /// What `status` says of each run.
    pub(crate) fn status(&self) -> Vec<Value> {
        let status = self.json(&["status", "tiny.yaml", "--json"]);
        status["runs"].as_array().expect("runs").clone()
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path())
            .expect("readable")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Desk {
    pub(crate) fn journal(&self, run: &Value) -> Vec<u8> {
        let id = run["id"].as_str().expect("an id");
        let folder = self.path().join("results/tiny/runs").join(id);
        std::fs::read(folder.join("events.jsonl")).expect("a journal")
    }
}
