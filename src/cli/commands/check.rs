//! `orchestrator check`: is this experiment file right?

use crate::application::warnings;
use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::experiment::ExperimentArgs;
use std::fmt;
use std::process::ExitCode;

/// Check an experiment file, its data and its shapes; run nothing, and write nothing but prepared data
/// into the cache.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator check experiments/text.yaml")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    /// Print JSON: an object with the experiment's name and the number of its runs, and `warnings`.
    #[arg(long)]
    json: bool,
}

/// What was found right.
#[derive(serde::Serialize)]
struct Checked {
    experiment: String,
    runs: usize,
    warnings: Vec<String>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} runs", self.experiment, self.runs)?;
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    let planned = crate::cli::block_on(async { Ok(loaded.runs().await?) })?.planned;
    let checked = Checked {
        runs: planned.len(),
        warnings: warnings(&planned),
        experiment: loaded.experiment.name,
    };
    answer(&checked, args.json)
}
