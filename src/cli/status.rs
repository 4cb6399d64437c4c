//! `orchestrator status`: where the runs of an experiment stand.

use super::Failure;
use super::experiment::{ExperimentArgs, Loaded};
use super::trained::{harmless, print};
use super::watch;
use crate::orchestrate::blocked_by;
use crate::quantity::{Params, Tokens};
use crate::run::{RunId, RunState};
use crate::store::{RunRecord, Store};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// Time between two looks of `--watch`.
const WATCH: Duration = Duration::from_secs(2);

/// Print where every run of an experiment stands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator status experiments/quickstart.yaml --json")]
pub(super) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    /// Print JSON: an object whose `runs` array holds one object a run.
    #[arg(long)]
    json: bool,

    /// Print it again every two seconds, until no run is left that waits or trains.
    #[arg(long, conflicts_with = "json")]
    watch: bool,

    /// Also the runs that the experiment asked for once, and does no more.
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    super::runtime()?.block_on(async {
        let store = Store::open(&loaded.results).await?;
        let experiment = super::fit::known(&store, &loaded).await?;
        loop {
            let status = Status::read(&store, experiment, args.all).await?;
            if args.json {
                print(&format!("{}\n", status.json(&loaded)?))?;
            } else if args.watch && std::io::stdout().is_terminal() {
                let summary = status.summary();
                print(&watch::screen(&store, experiment, summary.trim_end()).await?)?;
            } else {
                print(&status.text())?;
            }
            if !args.watch || !status.is_open() {
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(WATCH).await;
        }
    })
}

type Run = RunRecord<()>;

/// A run with what it waits for in vain.
#[derive(serde::Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    run: &'a Run,
    blocked_by: Option<&'a RunId>,
}

struct Status {
    runs: Vec<Run>,
    /// Runs that are no longer asked for.
    removed: Vec<Run>,
    /// The failed run that each blocked one waits for.
    blocked: HashMap<RunId, RunId>,
    shows_removed: bool,
}

impl Status {
    async fn read(store: &Store, experiment: i64, shows_removed: bool) -> Result<Self, Failure> {
        let runs = store.runs_in_brief(experiment, true).await?;
        Ok(Self {
            blocked: blocked_by(&runs),
            runs,
            removed: store.runs_in_brief(experiment, false).await?,
            shows_removed,
        })
    }

    /// Says whether a run waits or trains.
    fn is_open(&self) -> bool {
        let mut runs = self.runs.iter();
        runs.any(|run| run.state != RunState::Ended && !self.blocked.contains_key(&run.id))
    }

    fn rows<'a>(&'a self, runs: &'a [Run]) -> Vec<Row<'a>> {
        let row = |run: &'a Run| Row {
            run,
            blocked_by: self.blocked.get(&run.id),
        };
        runs.iter().map(row).collect()
    }

    fn json(&self, loaded: &Loaded) -> Result<String, Failure> {
        #[derive(serde::Serialize)]
        struct Json<'a> {
            experiment: &'a str,
            runs: Vec<Row<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            removed: Option<Vec<Row<'a>>>,
        }
        let json = Json {
            experiment: &loaded.experiment.name,
            runs: self.rows(&self.runs),
            removed: self.shows_removed.then(|| self.rows(&self.removed)),
        };
        serde_json::to_string_pretty(&json).map_err(Failure::machine)
    }

    fn text(&self) -> String {
        let mut text = header();
        for run in &self.runs {
            text += &self.line(run);
        }
        if self.shows_removed && !self.removed.is_empty() {
            text += "no longer asked for:\n";
            for run in &self.removed {
                text += &self.line(run);
            }
        }
        for run in &self.runs {
            text += &why(run);
        }
        text += &self.summary();
        text
    }

    fn summary(&self) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for run in &self.runs {
            let state = match run.outcome {
                _ if self.blocked.contains_key(&run.id) => "waiting for a failed run",
                Some(outcome) if run.state == RunState::Ended => outcome.name(),
                _ => run.state.name(),
            };
            match counts.iter_mut().find(|(name, _)| *name == state) {
                Some((_, count)) => *count += 1,
                None => counts.push((state, 1)),
            }
        }
        let counts = counts.into_iter();
        let mut words: Vec<String> = counts.map(|(name, n)| format!("{n} {name}")).collect();
        if !self.removed.is_empty() {
            let hint = if self.shows_removed { "" } else { " (--all)" };
            words.push(format!("{} no longer asked for{hint}", self.removed.len()));
        }
        format!("{}\n", words.join(", "))
    }

    fn state(&self, run: &Run) -> String {
        if let Some(by) = self.blocked.get(&run.id) {
            let outcome = self.runs.iter().find(|other| other.id == *by);
            let outcome = outcome.and_then(|other| other.outcome);
            let outcome = outcome.map_or("failed", |outcome| outcome.name());
            return format!("waits for {by}: {outcome}");
        }
        match run.outcome {
            Some(outcome) if run.state == RunState::Ended => outcome.to_string(),
            Some(outcome) if run.state == RunState::Pending => format!("pending, {outcome} before"),
            _ => run.state.to_string(),
        }
    }

    fn line(&self, run: &Run) -> String {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        format!(
            "{:<12}  {:<12}  {:>6}  {:>5.3}  {:>5}  {:>8}  {:>6}  {:>4}  {:>7}  {:>9}  {}\n",
            run.id,
            super::plan::kind(run.kind == "dense", run.part),
            Params(run.params),
            run.concept_share,
            run.compression_ratio,
            number(run.realised_ratio, 3),
            Tokens(run.tokens),
            run.seed,
            number(run.loss, 4),
            run.flops
                .map_or("-".to_owned(), |flops| format!("{flops:.3e}")),
            self.state(run)
        )
    }
}

fn header() -> String {
    format!(
        "{:<12}  {:<12}  {:>6}  {:>5}  {:>5}  {:>8}  {:>6}  {:>4}  {:>7}  {:>9}  {}\n",
        "id", "kind", "N", "P", "R", "R found", "D", "seed", "loss", "FLOPs", "state"
    )
}

/// Says in a line why a run failed; nothing for others.
fn why(run: &Run) -> String {
    let failed = run.outcome.is_some_and(|outcome| !outcome.is_result());
    match (&run.message, run.state) {
        (Some(message), RunState::Ended | RunState::Pending) if failed => {
            let last = message.lines().rfind(|line| !line.trim().is_empty());
            let last = harmless(last.unwrap_or_default().trim().to_owned());
            format!("{}: {last}\n", run.id)
        }
        _ => String::new(),
    }
}
