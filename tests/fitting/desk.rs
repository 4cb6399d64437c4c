//! A temporary folder in which the program runs, and what is laid on it.

use assert_cmd::Command;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

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

    fn output(&self, args: &[&str]) -> std::process::Output {
        Command::cargo_bin("orchestrator")
            .expect("the program")
            .args(args)
            .current_dir(self.path())
            .env("NO_COLOR", "1")
            .timeout(Duration::from_secs(300))
            .output()
            .expect("ran")
    }

    /// Runs a command that must be refused with status 2, and returns what it said in one line.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        // Long messages are wrapped and marked along the left.
        let words = said.split_whitespace().filter(|word| *word != "│");
        words.collect::<Vec<_>>().join(" ")
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) fn done(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(args)).expect("JSON")
    }
}

pub(crate) fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

pub(crate) fn close(found: f64, expected: f64, relative: f64, what: &str) {
    let error = (found / expected - 1.0).abs();
    assert!(
        error <= relative,
        "{what}: {found:.12e}, not {expected:.12e} (off by {error:.1e})"
    );
}

pub(crate) fn kinds(report: &Value) -> Vec<&str> {
    let warnings = report["warnings"].as_array().expect("warnings");
    warnings
        .iter()
        .map(|w| w["kind"].as_str().expect("a kind"))
        .collect()
}

/// Runs of a Chinchilla law with a little noise, as text of a CSV file.
pub(crate) fn chinchilla(sizes: &[f64], tokens: &[f64]) -> String {
    let mut text = "params,tokens,loss\n".to_owned();
    let mut row = 0.0_f64;
    for n in sizes {
        for d in tokens {
            row += 1.0;
            let loss = 1.8 + 480.0 / n.powf(0.35) + 2100.0 / d.powf(0.37);
            let loss = loss * (0.002 * (row * 2.399).sin()).exp();
            writeln!(text, "{n},{d},{loss}").expect("written");
        }
    }
    text
}

pub(crate) const SIZES: [f64; 5] = [3e7, 1e8, 3e8, 1e9, 3e9];
pub(crate) const TOKENS: [f64; 5] = [1e9, 4e9, 1.6e10, 6.4e10, 2.6e11];
