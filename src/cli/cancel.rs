//! `orchestrator cancel`: a run that is not wanted after all.

use super::Failure;
use super::find_run::find_stored;
use crate::clock::now;
use crate::lock::{Lock, LockError};
use crate::orchestrate::{Request, ask, fulfilled};
use crate::run::{RunOutcome, RunState};
use std::path::PathBuf;
use std::process::ExitCode;

/// Cancel a run: it stops at a checkpoint, or does not start.
///
/// Where an orchestrator is at work it is asked to, and does so within a second or two.
/// `orchestrator retry` takes it back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator cancel 4f2a")]
pub(super) struct Args {
    /// The run: its id, the beginning of it, or its folder.
    run: String,

    /// Results folder to look for it in [default: every folder below results/].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    super::runtime()?.block_on(async {
        let found = find_stored(&args.run, args.results.as_deref()).await?;
        let (id, results) = (&found.record.id, &found.results);
        if let (RunState::Ended, Some(outcome)) = (found.record.state, found.record.outcome) {
            return Err(Failure::input(format!(
                "run {id} has ended already, as {outcome}"
            )));
        }
        let cannot = |error| Failure::machine(format!("cannot ask for it: {error}"));
        // First the request: an orchestrator that starts meanwhile finds it.
        ask(results, Request::Cancel, id).map_err(cannot)?;
        match Lock::take(results, "orchestrator") {
            Ok(_lock) => {
                let outcome = RunOutcome::Cancelled;
                found.store.end_run(id, outcome, "cancelled", now()).await?;
                fulfilled(results, Request::Cancel, id).map_err(cannot)?;
                println!("{id} is cancelled");
            }
            Err(LockError::Held { holder, .. }) => {
                let holder = holder.map_or("the orchestrator".into(), |holder| holder.describe());
                println!("{id}: asked {holder}");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(ExitCode::SUCCESS)
    })
}
