//! `orchestrator retry`: runs that failed become eligible again.

use crate::cli::Failure;
use crate::cli::answer::in_json;
use crate::cli::experiment::ExperimentArgs;
use crate::cli::terminal::print;
use campaign::orchestrate::{Control, Request, Requested};
use campaign::store::{RunRecord, Store};
use experiment::run::RunState;
use std::path::Path;
use std::process::ExitCode;

/// Make runs that failed or were cancelled eligible again, with all their retries.
///
/// The next `orchestrator run`, or the one at work, takes them up from their checkpoints. A run that
/// diverged is a result; it is tried again only when it is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator retry experiments/quickstart.yaml")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    /// Only these runs: ids, or beginnings of them.
    #[arg(value_name = "RUN")]
    runs: Vec<String>,

    /// Print JSON: what was asked for (`request`), the `runs`, and who was `asked`, null where it is
    /// done.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let place = args.experiment.place()?;
    crate::cli::block_on(async {
        let store = Store::open(&place.results).await?;
        let (experiment, _) = place.find(&store).await?;
        // First the lock: nobody changes what is read then.
        let control = Control::over(&place.results, &store)?;
        let runs = store.runs(experiment).await?;
        let chosen = if args.runs.is_empty() {
            runs.iter().filter(|run| control.has_failed(run)).collect()
        } else {
            named(&args.runs, &runs)?
        };
        let came = control.request(Request::Retry, &chosen).await?;
        print(&if args.json {
            in_json(&came)?
        } else {
            describe(&came, &chosen, &args.experiment.file)
        })?;
        Ok(ExitCode::SUCCESS)
    })
}

fn describe(came: &Requested, chosen: &[&RunRecord], file: &Path) -> String {
    let file = file.display();
    let lines = chosen.iter().map(|run| {
        let outcome = run.outcome.map_or("-", |outcome| outcome.name());
        match came.asked {
            _ if run.state != RunState::Ended => {
                format!("{}: the request to cancel it is taken back\n", run.id)
            }
            None => format!("{} is eligible again; it ended as {outcome}\n", run.id),
            Some(_) => format!(
                "{} ended as {outcome}: the orchestrator at work is asked\n",
                run.id
            ),
        }
    });
    let end = match (chosen.len(), &came.asked) {
        (0, _) => "no run has failed or was cancelled\n".to_owned(),
        (_, None) => format!("`orchestrator run {file}` trains them\n"),
        (_, Some(_)) => format!("if it ends before, `orchestrator run {file}` trains them\n"),
    };
    lines.chain([end]).collect()
}

/// Finds the runs with these names.
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
            [run] => chosen.push(run),
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
