//! `orchestrator status`: where the runs of an experiment stand.

use super::Failure;
use super::experiment::ExperimentArgs;
use crate::quantity::{Params, Tokens};
use crate::run::RunState;
use crate::store::{RunRecord, Store};
use std::process::ExitCode;

/// Print where every run of an experiment stands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator status experiments/quickstart.yaml --json")]
pub(super) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    /// Print JSON: an object whose `runs` array holds one object a run.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    let name = &loaded.experiment.name;
    let runs = super::runtime()?.block_on(async {
        let store = Store::open(&loaded.results).await?;
        let experiment = super::fit::known(&store, &loaded).await?;
        Ok::<_, Failure>(store.runs(experiment).await?)
    })?;
    if args.json {
        println!(
            "{:#}",
            serde_json::json!({ "experiment": name, "runs": runs })
        );
    } else {
        print!("{}", table(&runs));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(runs: &[RunRecord]) -> String {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let mut text = format!(
        "{:<12}  {:<12}  {:>6}  {:>5}  {:>5}  {:>8}  {:>6}  {:>4}  {:>7}  {:>9}  {}\n",
        "id", "kind", "N", "P", "R", "R found", "D", "seed", "loss", "FLOPs", "state"
    );
    for run in runs {
        let state = match run.outcome {
            Some(outcome) if run.state == RunState::Ended => outcome.name(),
            _ => run.state.name(),
        };
        text += &format!(
            "{:<12}  {:<12}  {:>6}  {:>5.3}  {:>5}  {:>8}  {:>6}  {:>4}  {:>7}  {:>9}  {}\n",
            run.id,
            super::plan::kind(run.spec.architecture.is_dense(), run.part),
            Params(run.params),
            run.concept_share,
            run.compression_ratio,
            number(run.realised_ratio, 3),
            Tokens(run.tokens),
            run.seed,
            number(run.loss, 4),
            run.flops
                .map_or("-".to_owned(), |flops| format!("{flops:.3e}")),
            state
        );
    }
    text
}
