//! Other people's trainers: small shell scripts, each with a habit that real ones have.

mod examples;
mod habits;
mod logs;
mod plans;

use crate::support::Desk;
use serde_json::Value;
use std::path::Path;

/// The start of every experiment here; a test adds its own.
pub(super) fn experiment(trainer: &str, rest: &str) -> String {
    format!(
        "name: theirs\ntrainer:\n  command: [sh, train.sh, \"{{args}}\"]\n{trainer}\n{rest}\n\
         analysis: {{bootstrap: 20}}\n"
    )
}

/// One run, of a model of a million parameters.
pub(super) const ONE: &str = "grid: {params: 1M, tokens: 20M}";

/// A desk with a trainer's script and an experiment of one run.
pub(super) fn desk(script: &str, trainer: &str, rest: &str) -> Desk {
    Desk::new()
        .with("train.sh", script)
        .with("theirs.yaml", experiment(trainer, rest))
}

/// Trains what there is; whether it succeeds is for the test to say.
pub(super) fn run(desk: &Desk) -> String {
    let output = desk.command(&["run", "theirs.yaml", "--quiet"]).output();
    let output = output.expect("ran");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// What `status` says of each run.
pub(super) fn status(desk: &Desk) -> Vec<Value> {
    let status = desk.json(&["status", "theirs.yaml", "--json"]);
    status["runs"].as_array().expect("runs").clone()
}

/// Runs a trainer once; returns its outcome and what is said of it.
pub(super) fn outcome(script: &str, trainer: &str, rest: &str) -> (String, String) {
    let desk = desk(script, trainer, rest);
    let said = run(&desk);
    let runs = status(&desk);
    assert_eq!(runs.len(), 1, "{said}");
    let text = |key: &str| runs[0][key].as_str().unwrap_or("").to_owned();
    (text("outcome"), text("message"))
}

/// The folder of the only run.
pub(super) fn folder(desk: &Desk) -> std::path::PathBuf {
    let runs = desk.path().join("results/theirs/runs");
    let mut entries = std::fs::read_dir(runs).expect("runs").flatten();
    entries.next().expect("a run").path()
}

/// Whether Python is there; loudly no where it is not.
pub(super) fn has_python() -> bool {
    let python = std::process::Command::new("python3")
        .arg("--version")
        .output();
    let found = python.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: there is no python3, for which the helper and the example are");
    }
    found
}

/// The folder of the shipped examples.
pub(super) fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/trainers")
}
