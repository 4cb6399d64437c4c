//! `orchestrator cancel`: a run that is not wanted after all.

use crate::cli::Failure;
use crate::cli::answer::in_json;
use crate::cli::find_run::find_stored;
use crate::cli::terminal::print;
use campaign::orchestrate::{Control, Request};
use campaign::store::Store;
use experiment::run::RunState;
use std::path::PathBuf;
use std::process::ExitCode;

/// Cancel a run: it stops at a checkpoint, or does not start.
///
/// Where an orchestrator is at work it is asked to, and does so within a second or two.
/// `orchestrator retry` takes it back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator cancel 4f2a")]
pub(in crate::cli) struct Args {
    /// The run: its id, the beginning of it, or its folder.
    run: String,

    /// Results folder to look for it in [default: every folder below results/].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,

    /// Print JSON: what was asked for (`request`), the `runs`, and who was `asked`, null where it is
    /// done.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    crate::cli::block_on(async {
        let found = find_stored(&args.run, args.results.as_deref()).await?;
        found.store.close().await;
        let store = Store::open(&found.results).await?;
        // First the lock: nobody changes what is read then.
        let control = Control::over(&found.results, &store)?;
        let id = &found.record.id;
        let run = store.run(id).await?;
        let run = run.ok_or_else(|| Failure::machine(format!("run {id} has gone")))?;
        let came = control.request(Request::Cancel, &[&run]).await?;
        print(&match (&came.asked, args.json) {
            (_, true) => in_json(&came)?,
            _ if run.state == RunState::Ended => {
                format!("{id}: the request to try it again is taken back\n")
            }
            (None, false) => format!("{id} is cancelled\n"),
            (Some(who), false) => format!("{id}: asked {who}\n"),
        })?;
        Ok(ExitCode::SUCCESS)
    })
}
