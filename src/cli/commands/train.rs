//! `orchestrator train`: the child process of one run. Not for people: `run` starts it.

use crate::cli::terminal::note;
use campaign::launch::exit_code;
use experiment::folder::SPECIFICATION;
use experiment::run::RunOutcome;
use experiment::work::Work;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use trainer::external::{self, Ended};
use trainer::inference::evaluation;
use trainer::train::session::{Place, train};

/// Train one run in this process.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  orchestrator train --folder results/quickstart/runs/021d4c0d6641 \
    --data-cache ~/.cache/orchestrator/data"
)]
pub(in crate::cli) struct Args {
    /// The run's folder.
    #[arg(long)]
    folder: PathBuf,

    /// Where prepared data are kept.
    #[arg(long)]
    data_cache: PathBuf,

    /// The device.
    #[arg(long, default_value = "cpu")]
    device: String,

    /// Stop at a checkpoint when this process is no longer the parent.
    #[arg(long)]
    parent: Option<i32>,

    /// Which attempt at the run it is.
    #[arg(long, default_value_t = 1)]
    attempt: usize,

    /// The file of the claim that it keeps to.
    #[arg(long, requires = "token")]
    claim: Option<PathBuf>,

    /// The token of that claim.
    #[arg(long, requires = "claim")]
    token: Option<String>,
}

pub(in crate::cli) fn run(args: &Args) -> ExitCode {
    match train_folder(args) {
        Ok(Ended {
            was_killed: true, ..
        }) => ExitCode::from(exit_code::KILLED as u8),
        Ok(Ended { outcome, .. }) => ExitCode::from(match outcome {
            RunOutcome::Finished => exit_code::FINISHED as u8,
            RunOutcome::Diverged => exit_code::DIVERGED as u8,
            RunOutcome::Interrupted => exit_code::INTERRUPTED as u8,
            RunOutcome::FinishedWithoutResult => exit_code::WITHOUT_RESULT as u8,
            // Outcomes that only an orchestrator knows of.
            RunOutcome::OutOfMemory
            | RunOutcome::Crashed
            | RunOutcome::TimedOut
            | RunOutcome::Stalled
            | RunOutcome::Cancelled => exit_code::FAILED as u8,
        }),
        Err(message) => {
            note!("{message}");
            ExitCode::from(exit_code::FAILED as u8)
        }
    }
}

fn train_folder(args: &Args) -> Result<Ended, String> {
    let path = args.folder.join(SPECIFICATION);
    let wrong = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let text = std::fs::read(&path).map_err(|error| wrong(&error))?;
    let work = Work::read(&text).map_err(|error| wrong(&error))?;
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&asked))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    let orphaned = || {
        args.parent
            .is_some_and(|parent| nix::unistd::getppid().as_raw() != parent)
    };
    let should_stop = &|| asked.load(Ordering::Relaxed) || orphaned();
    let claim = args.claim.clone().zip(args.token.clone());
    let ended = match &work {
        Work::Model(spec) => {
            let asking = evaluation::Place {
                folder: &args.folder,
                data_cache: &args.data_cache,
                device: &args.device,
                should_stop,
            };
            let place = Place {
                folder: &args.folder,
                data_cache: &args.data_cache,
                device: &args.device,
                should_stop,
                claim,
                at_end: &|spec, alive| asking.ask(spec, alive),
            };
            train(spec, &place).map(Ended::from)
        }
        Work::External(spec) => {
            let place = external::Place {
                folder: &args.folder,
                device: &args.device,
                attempt: args.attempt,
                should_stop,
                claim,
            };
            external::watch(spec, &place)
        }
    };
    ended.map_err(|error| error.to_string())
}
