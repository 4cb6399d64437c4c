//! `orchestrator check`: is this experiment file right?

use super::Failure;
use super::experiment::ExperimentArgs;
use std::process::ExitCode;

/// Check an experiment file, its data and its shapes; write nothing and run nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator check experiments/text.yaml")]
pub(super) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    let planned = loaded.plan()?;
    println!("{}: {} runs", loaded.experiment.name, planned.len());
    Ok(ExitCode::SUCCESS)
}
