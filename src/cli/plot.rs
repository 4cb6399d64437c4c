//! `orchestrator plot`: redraw the figures from the database alone.

use super::experiment::ExperimentArgs;
use super::{Failure, fit};
use crate::store::Store;
use std::process::ExitCode;

/// Redraw the figures from the stored runs and the newest stored fit.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator plot experiments/quickstart.yaml")]
pub(super) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    super::runtime()?.block_on(async {
        let store = Store::open(&loaded.results).await?;
        let (experiment, _) = loaded.place().find(&store).await?;
        fit::redraw(&store, experiment, &loaded).await
    })?;
    Ok(ExitCode::SUCCESS)
}
