//! `orchestrator retry`: runs that failed become eligible again.

use super::Failure;
use super::experiment::ExperimentArgs;
use crate::lock::{Lock, LockError};
use crate::orchestrate::{Request, ask, fulfilled};
use crate::run::RunState;
use crate::store::{RunRecord, Store};
use std::process::ExitCode;

/// Make runs that failed or were cancelled eligible again, with all their retries.
///
/// The next `orchestrator run`, or the one at work, takes them up from their checkpoints. A run that
/// diverged is a result; it is tried again only when it is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator retry experiments/quickstart.yaml")]
pub(super) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    /// Only these runs: ids, or beginnings of them.
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let place = args.experiment.place()?;
    super::runtime()?.block_on(async {
        let store = Store::open(&place.results).await?;
        let (experiment, _) = place.find(&store).await?;
        let results = &place.results;
        let lock = match Lock::take(results, "orchestrator") {
            Ok(lock) => Some(lock),
            // Whoever works on them is asked.
            Err(LockError::Held { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let runs = store.runs(experiment).await?;
        let chosen = match args.runs.is_empty() {
            true => runs.iter().filter(|run| has_failed(run)).collect(),
            false => named(&args.runs, &runs)?,
        };
        for run in &chosen {
            fulfilled(results, Request::Cancel, &run.id).map_err(Failure::machine)?;
            let outcome = run.outcome.map_or("-", |outcome| outcome.name());
            if lock.is_some() {
                store.make_eligible(&run.id).await?;
                println!("{} is eligible again; it ended as {outcome}", run.id);
            } else {
                ask(results, Request::Retry, &run.id).map_err(Failure::machine)?;
                println!(
                    "{} ended as {outcome}: the orchestrator at work is asked",
                    run.id
                );
            }
        }
        let file = args.experiment.file.display();
        match chosen.len() {
            0 => println!("no run has failed or was cancelled"),
            _ if lock.is_some() => println!("`orchestrator run {file}` trains them"),
            _ => println!("if it ends before, `orchestrator run {file}` trains them"),
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn has_failed(run: &RunRecord) -> bool {
    run.state == RunState::Ended && run.outcome.is_some_and(|outcome| !outcome.is_result())
}

/// Finds the runs with these names; what has not ended, or has finished, cannot be tried again.
fn named<'a>(names: &[String], runs: &'a [RunRecord]) -> Result<Vec<&'a RunRecord>, Failure> {
    let mut chosen = Vec::new();
    for name in names {
        let found: Vec<&RunRecord> = runs
            .iter()
            .filter(|run| run.id.0.starts_with(name))
            .collect();
        match found[..] {
            [] => {
                return Err(Failure::input(format!(
                    "no run of this experiment begins with `{name}`; `orchestrator status` lists them"
                )));
            }
            [run] => match (run.state, run.outcome) {
                (RunState::Ended, Some(crate::run::RunOutcome::Finished)) => {
                    return Err(Failure::input(format!("run {} has finished", run.id)));
                }
                (RunState::Ended, _) => chosen.push(run),
                (state, _) => {
                    let id = &run.id;
                    return Err(Failure::input(format!(
                        "run {id} has not ended: it is {state}"
                    )));
                }
            },
            _ => {
                return Err(Failure::input(format!(
                    "{} runs begin with `{name}`: give more of the id",
                    found.len()
                )));
            }
        }
    }
    Ok(chosen)
}
