//! `orchestrator evaluate`: how well trained runs answer tasks.

mod experiment;
mod words;

pub(super) use experiment::ask_all;

use crate::application::Named;
use crate::cli::Failure;
use crate::cli::answer::in_json;
use crate::cli::terminal::{note, print};
use crate::cli::trained;
use ::experiment::folder::{DATABASE, ResultsFolder};
use ::experiment::tasks::{self, Answer, Difference, Score, Task};
use serde::Serialize;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use trainer::inference::Trained;
use trainer::inference::items::{self, Items};

/// Score trained runs on tasks: bits per byte of the right answers, and accuracy.
///
/// Tasks are JSON lines as CORE (DCLM, nanochat) writes them, named by a `tasks.yaml` or a `core.yaml` in their folder.
/// A run is asked and its scores printed. Of an experiment (its file, its results folder or its name) all trained runs
/// that have not answered yet are asked, and the answers stored; then hierarchical models are compared with dense ones
/// at equal inference FLOPs and at equal loss. Of a small model bits per byte say more than accuracy, which is not
/// compared where it is within two standard errors of guessing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestrator evaluate 3f2a --tasks tasks\n  \
    orchestrator evaluate 3f2a --tasks tasks --against 9c01 --items items.parquet\n  \
    orchestrator evaluate experiments/quickstart.yaml --tasks tasks")]
pub(in crate::cli) struct Args {
    /// A run (its id, the beginning of it, its folder, or a file of its exported weights), or an experiment (its file, its results folder, or its
    /// name).
    #[arg(value_name = "RUN|EXPERIMENT")]
    subject: String,

    /// The folder of the tasks [default: `evaluation.tasks` of the experiment].
    #[arg(long, value_name = "DIR")]
    tasks: Option<PathBuf>,

    /// Override a value of the file: a dotted path and a YAML value.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,

    /// Results folder [default: of a run every folder below results/, of an experiment results/NAME].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,

    /// The device that computes.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,

    /// Another run: what RUN gains over it, item by item.
    #[arg(long, value_name = "RUN2")]
    against: Option<String>,

    /// Write what was found of every item and candidate of a run, as Parquet; those of an experiment's runs lie in
    /// their folders.
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,

    /// Say what every run of an experiment answers.
    #[arg(long, short)]
    verbose: bool,

    /// Print JSON: of a run an object with `run`, `scores`, and `differences` to the other run; of an experiment one
    /// with `runs` and `comparison`.
    #[arg(long)]
    json: bool,
}

/// What was found of one run, or two.
#[derive(Serialize)]
struct Found {
    run: String,
    against: Option<String>,
    scores: Vec<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores_against: Option<Vec<Score>>,
    differences: Vec<Difference>,
}

/// Time between two words on how far it is.
const SAID: Duration = Duration::from_secs(5);

/// A run's answers, task by task.
type Answered = Vec<(Score, Vec<Answer>)>;

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if is_experiment(args) {
        for (flag, given) in [
            ("--against", args.against.is_some()),
            ("--items", args.items.is_some()),
        ] {
            if given {
                return Err(Failure::input(format!(
                    "`{flag}` is of one run, and `{}` is an experiment",
                    args.subject
                )));
            }
        }
        return experiment::run(args);
    }
    evaluate_run(args)
}

/// Says whether an experiment is meant: a file, a folder with a database, or the name of one.
fn is_experiment(args: &Args) -> bool {
    let path = Path::new(&args.subject);
    let named = || {
        let results = args.results.clone();
        results.unwrap_or_else(|| Path::new("results").join(&args.subject))
    };
    let is_run = |results: &Path| ResultsFolder(results).runs().join(&args.subject).exists();
    path.is_file() && !trained::is_exported(path) || path.join(DATABASE).is_file() || {
        let results = named();
        args.results.is_none() && results.join(DATABASE).is_file() && !is_run(&results)
    }
}

impl Args {
    fn named(&self) -> Named {
        Named {
            file: PathBuf::from(&self.subject),
            overrides: self.overrides.clone(),
            results: self.results.clone(),
        }
    }
}

fn evaluate_run(args: &Args) -> Result<ExitCode, Failure> {
    if !args.overrides.is_empty() {
        return Err(Failure::input(format!(
            "`--set` is of an experiment's file, and `{}` is none",
            args.subject
        )));
    }
    let folder = args.tasks.as_deref().ok_or_else(|| {
        Failure::input(format!(
            "`{}` is no experiment file, results folder or experiment's name: if it is a run, name the folder of the \
             tasks with `--tasks DIR`",
            args.subject
        ))
    })?;
    // First the tasks: a mistake in them is found before a run is loaded.
    let tasks = tasks::read(folder).map_err(Failure::input)?;
    let load = |run: &str| trained::load(run, args.results.as_deref(), &args.device);
    let trained = load(&args.subject)?;
    let id = trained.name.clone();
    let own = answered(&trained, &tasks)?;
    let other = match &args.against {
        Some(run) => {
            let other = load(run)?;
            Some((other.name.clone(), answered(&other, &tasks)?))
        }
        None => None,
    };
    if let Some(path) = &args.items {
        let of_run = |answered: &Answered| -> Items {
            let answered = answered.iter();
            let answered = answered.map(|(score, answers)| (score.task.clone(), answers.clone()));
            answered.collect()
        };
        let own = of_run(&own);
        let other = other.as_ref().map(|(id, answered)| (id, of_run(answered)));
        let runs = std::iter::once((id.as_str(), &own));
        let other = other.iter().map(|(id, items)| (id.as_str(), items));
        items::write(path, runs.chain(other))?;
    }
    let pairs = own
        .iter()
        .zip(other.iter().flat_map(|(_, answered)| answered));
    let differences = pairs
        .filter_map(|(own, other)| Difference::of((&own.0, &own.1), (&other.0, &other.1)))
        .collect();
    let scores = |answered: Answered| answered.into_iter().map(|(score, _)| score).collect();
    let (against, answered) = other.unzip();
    let found = Found {
        run: id,
        against,
        scores: scores(own),
        scores_against: answered.map(scores),
        differences,
    };
    print(&if args.json {
        in_json(&found)?
    } else {
        words::of_run(&found)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn answered(trained: &Trained, tasks: &[Task]) -> Result<Answered, Failure> {
    let said = said_at_times();
    let answered = tasks.iter().map(|task| {
        let answers = trained.answer(task, &|scored| said(&task.name, scored));
        let answers = answers.map_err(|error| {
            note!("task {}:", task.name);
            Failure::from(error)
        })?;
        let score = Score::of(task, &answers)
            .ok_or_else(|| Failure::input(format!("task {} has no items", task.name)))?;
        Ok((score, answers))
    });
    answered.collect()
}

/// Says now and then how far scoring is, and that it is to go on.
fn said_at_times() -> impl Fn(&str, usize) -> bool {
    let said_at = Cell::new(Instant::now());
    move |task, scored| {
        if said_at.get().elapsed() > SAID {
            said_at.set(Instant::now());
            tracing::info!(target: "progress", task, scored);
        }
        true
    }
}
