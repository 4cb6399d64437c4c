//! `orchestrator claims`: what the runs of an experiment say of its claims.

use crate::application::verdicts;
use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::experiment::ExperimentArgs;
use std::process::ExitCode;

/// Print what the runs of an experiment say of the claims in its file: reproduced, contradicted, or not determined.
///
/// Claims are registered when `orchestrator run` first sees them, with how many runs had ended by then. Claims about
/// laws are judged by the newest fit.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator claims experiments/paper/fig6a_small.yaml")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    /// Print JSON: an object whose `claims` array holds one object a claim.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let place = args.experiment.place()?;
    crate::cli::block_on(async {
        let store = crate::cli::open_to_read(&place.results).await?;
        let (experiment, name) = place.find(&store).await?;
        match verdicts(&store, experiment).await? {
            Some(verdicts) => answer(&verdicts, args.json),
            None => Err(Failure::input(format!(
                "{name} claims nothing: write `claims` into its file, and `orchestrator run` registers them"
            ))),
        }
    })
}
