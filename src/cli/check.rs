//! `orchestrator check`: is this experiment file right?

use super::Failure;
use super::answer::answer;
use super::experiment::ExperimentArgs;
use std::fmt;
use std::process::ExitCode;

/// Check an experiment file, its data and its shapes; write nothing and run nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator check experiments/text.yaml")]
pub(super) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    /// Print JSON: an object with the experiment's name and the number of its runs.
    #[arg(long)]
    json: bool,
}

/// What was found right.
#[derive(serde::Serialize)]
struct Checked {
    experiment: String,
    runs: usize,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} runs", self.experiment, self.runs)
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    let checked = Checked {
        runs: loaded.plan()?.len(),
        experiment: loaded.experiment.name,
    };
    answer(&checked, args.json)
}
