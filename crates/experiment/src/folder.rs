//! What lies where in a results folder and in the folders of its runs: every name is here.

use crate::run::RunId;
use std::path::{Path, PathBuf};

/// The database of a results folder.
pub const DATABASE: &str = "orchestrator.db";
/// The lock of a folder on which somebody works.
pub const LOCK: &str = ".lock";

/// What a run is, in its folder.
pub const SPECIFICATION: &str = "run.json";
/// The journal of a run: its events.
pub const JOURNAL: &str = "events.jsonl";
/// A file that changes while a run's process makes progress.
pub const HEARTBEAT: &str = "heartbeat";
/// The tokenizer of a run whose tokens stand for text.
pub const TOKENIZER: &str = "tokenizer.json";
/// The newest checkpoint of a run that has not ended.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The checkpoint before it.
pub const PREVIOUS_CHECKPOINT: &str = "checkpoint.previous.safetensors";
/// The weights that a run keeps at its end.
pub const WEIGHTS: &str = "weights.safetensors";
/// What a trained run answered to every item of its tasks.
pub const ITEMS: &str = "items.parquet";
/// The state that a trunk keeps, for other runs to go on from.
pub const END: &str = "end.safetensors";

/// The reports of a run's external trainer: JSON lines, over all attempts.
pub const REPORT: &str = "report.jsonl";
/// The arguments of an external trainer that reads them from a file.
pub const ARGUMENTS: &str = "arguments.json";
/// The folder for an external trainer's checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";

/// What workers on other machines share with whoever plans, in a results folder.
#[derive(Clone, Copy, Debug)]
pub struct ClusterFolder<'a>(pub &'a Path);

impl ClusterFolder<'_> {
    fn folder(self, name: &str) -> PathBuf {
        self.0.join("cluster").join(name)
    }

    /// Runs that may be trained: a file each, named by its place and its run.
    pub fn offers(self) -> PathBuf {
        self.folder("offers")
    }

    /// Who trains what: a file each, named by its run.
    pub fn claims(self) -> PathBuf {
        self.folder("claims")
    }

    /// The claim on a run.
    pub fn claim(self, run: &RunId) -> PathBuf {
        self.claims().join(&run.0)
    }

    /// How attempts ended: a file each, named by its run and its number.
    pub fn exits(self) -> PathBuf {
        self.folder("exits")
    }

    /// Runs that are to stop: a file each, named by its run.
    pub fn stops(self) -> PathBuf {
        self.folder("stops")
    }

    /// The workers: a file each, that changes while it lives.
    pub fn workers(self) -> PathBuf {
        self.folder("workers")
    }

    /// The scripts that were submitted, and what the jobs printed.
    pub fn jobs(self) -> PathBuf {
        self.folder("jobs")
    }

    /// The last answer of a batch system's queue.
    pub fn queue(self) -> PathBuf {
        self.folder("queue.json")
    }

    /// All folders.
    pub fn all(self) -> [PathBuf; 6] {
        [
            self.offers(),
            self.claims(),
            self.exits(),
            self.stops(),
            self.workers(),
            self.jobs(),
        ]
    }
}

/// A results folder.
#[derive(Clone, Copy, Debug)]
pub struct ResultsFolder<'a>(pub &'a Path);

impl ResultsFolder<'_> {
    /// The database.
    pub fn database(self) -> PathBuf {
        self.0.join(DATABASE)
    }

    /// The folder of all runs.
    pub fn runs(self) -> PathBuf {
        self.0.join("runs")
    }

    /// The folder of a run.
    pub fn run(self, id: &RunId) -> PathBuf {
        self.runs().join(&id.0)
    }

    /// The folder of what is written about an experiment beside the first one here.
    pub fn experiment(self, name: &str) -> PathBuf {
        self.0.join("experiments").join(name)
    }

    /// The folder of the figures.
    pub fn figures(self) -> PathBuf {
        self.0.join("figures")
    }

    /// The report.
    pub fn report(self) -> PathBuf {
        self.0.join("report.html")
    }

    /// The table of runs.
    pub fn runs_table(self) -> PathBuf {
        self.0.join("runs.csv")
    }

    /// The table of fits.
    pub fn fits_table(self) -> PathBuf {
        self.0.join("fits.csv")
    }
}

/// Names the log of an attempt at a run, in its folder.
pub fn log_name(attempt: usize) -> String {
    format!("log.{attempt}.txt")
}
