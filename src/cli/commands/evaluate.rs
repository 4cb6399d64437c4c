//! `orchestrator evaluate`: how well a trained run answers tasks.

use crate::cli::Failure;
use crate::cli::answer::in_json;
use crate::cli::terminal::{aligned, note, print};
use crate::cli::trained::TrainedArgs;
use experiment::quantity::counted;
use experiment::tasks::{self, Task};
use serde::Serialize;
use std::cell::Cell;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use trainer::inference::Trained;
use trainer::inference::answers::{Answer, Difference, Mean, Score};

/// Score a trained run on tasks: bits per byte of the right answers, and accuracy.
///
/// Tasks are JSON lines as CORE (DCLM, nanochat) writes them, named by a `tasks.yaml` or a `core.yaml` in their folder.
/// Of a small model bits per byte say more than accuracy, which is not compared where it is within two standard
/// errors of guessing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestrator evaluate 3f2a --tasks tasks\n  \
    orchestrator evaluate 3f2a --tasks tasks --against 9c01 --items items.jsonl")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    trained: TrainedArgs,

    /// The folder of the tasks.
    #[arg(long, value_name = "DIR")]
    tasks: PathBuf,

    /// Another run: what RUN gains over it, item by item.
    #[arg(long, value_name = "RUN2")]
    against: Option<String>,

    /// Write what was found of every item, as JSON lines.
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,

    /// Print JSON: an object with `run`, `scores`, and `differences` to the other run.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Serialize)]
struct Found {
    run: String,
    against: Option<String>,
    scores: Vec<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores_against: Option<Vec<Score>>,
    differences: Vec<Difference>,
}

/// An item as it is written.
#[derive(Serialize)]
struct Item<'a> {
    run: &'a str,
    task: &'a str,
    item: usize,
    #[serde(flatten)]
    answer: &'a Answer,
}

/// Time between two words on how far it is.
const SAID: Duration = Duration::from_secs(5);

/// A run's answers, task by task.
type Answered = Vec<(Score, Vec<Answer>)>;

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    // First the tasks: a mistake in them is found before a run is loaded.
    let tasks = tasks::read(&args.tasks).map_err(Failure::input)?;
    let trained = args.trained.load()?;
    let id = trained.spec.id().0;
    let own = answered(&trained, &tasks)?;
    let other = match &args.against {
        Some(run) => {
            let other = args.trained.load_other(run)?;
            Some((other.spec.id().0, answered(&other, &tasks)?))
        }
        None => None,
    };
    if let Some(path) = &args.items {
        let runs = [(&id, &own)].into_iter();
        write_items(
            path,
            runs.chain(other.iter().map(|(id, answered)| (id, answered))),
        )?;
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
        in_words(&found)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn answered(trained: &Trained, tasks: &[Task]) -> Result<Answered, Failure> {
    let said_at = Cell::new(Instant::now());
    let answered = tasks.iter().map(|task| {
        let said = |scored: usize| {
            if said_at.get().elapsed() > SAID {
                said_at.set(Instant::now());
                tracing::info!(target: "progress", task = %task.name, scored);
            }
        };
        let answers = trained.answer(task, &said).map_err(|error| {
            let failure = Failure::from(error);
            note!("task {}:", task.name);
            failure
        })?;
        let score = Score::of(task, &answers)
            .ok_or_else(|| Failure::input(format!("task {} has no items", task.name)))?;
        Ok((score, answers))
    });
    answered.collect()
}

/// Writes all items, whole or not at all.
fn write_items<'a>(
    path: &Path,
    runs: impl Iterator<Item = (&'a String, &'a Answered)>,
) -> Result<(), Failure> {
    let mut text = String::new();
    for (run, answered) in runs {
        for (score, answers) in answered {
            for (item, answer) in answers.iter().enumerate() {
                text += &in_json(&Item {
                    run,
                    task: &score.task,
                    item,
                    answer,
                })?;
            }
        }
    }
    let unfinished = path.with_extension("unfinished");
    let written =
        std::fs::write(&unfinished, text).and_then(|()| std::fs::rename(&unfinished, path));
    written.map_err(|error| Failure::input(format!("{}: {error}", path.display())))
}

/// What people read: the verdict first.
fn in_words(found: &Found) -> String {
    let mut text = String::new();
    let at_chance = |scores: &[Score]| -> Vec<String> {
        let guessed = scores.iter().filter(|score| score.at_chance);
        guessed.map(|score| score.task.clone()).collect()
    };
    let of_runs = [
        (Some(&found.run), Some(&found.scores)),
        (found.against.as_ref(), found.scores_against.as_ref()),
    ];
    for (run, scores) in of_runs {
        let Some((run, scores)) = run.zip(scores) else {
            continue;
        };
        let guessed = at_chance(scores);
        // Writing to a string cannot fail.
        let _ = match guessed.len() {
            0 => writeln!(
                text,
                "{run} answers {} better than by guessing.",
                counted(scores.len(), "task")
            ),
            n if n == scores.len() => writeln!(
                text,
                "{run} answers no task better than by guessing (within two standard errors): accuracies say \
                 nothing, bits per byte may."
            ),
            _ => writeln!(
                text,
                "{run} is at chance in {} (within two standard errors): accuracies there say nothing, bits per \
                 byte may.",
                guessed.join(", ")
            ),
        };
        text += &table(scores);
        text.push('\n');
    }
    if let Some(against) = &found.against {
        let _ = writeln!(text, "{} against {against}, item by item:", found.run);
        let header = ["task", "bits/byte saved", "accuracy gained"]
            .map(str::to_owned)
            .to_vec();
        let row = |difference: &Difference| {
            vec![
                difference.task.clone(),
                number(Some(&difference.bits_per_byte)),
                difference
                    .accuracy
                    .map_or_else(|| "at chance".to_owned(), |mean| number(Some(&mean))),
            ]
        };
        let rows: Vec<_> = std::iter::once(header)
            .chain(found.differences.iter().map(row))
            .collect();
        text += &aligned(&rows);
    }
    text.trim_end().to_owned() + "\n"
}

fn table(scores: &[Score]) -> String {
    let header = [
        "task",
        "items",
        "bits/byte",
        "accuracy",
        "per byte",
        "share",
        "chance",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for score in scores {
        let verdict = if score.at_chance { " at chance" } else { "" };
        let accuracy = format!("{}{verdict}", number(Some(&score.accuracy)));
        rows.push(vec![
            score.task.clone(),
            score.items.to_string(),
            number(Some(&score.bits_per_byte)),
            accuracy,
            number(score.accuracy_per_byte.as_ref()),
            number(score.share.as_ref()),
            format!("{:.3}", score.chance),
        ]);
    }
    let mut text = aligned(&rows);
    text += "± is one standard error; share: of the probability of all candidates, that of the right one\n";
    for score in scores.iter().filter(|score| score.truncated > 0) {
        let _ = writeln!(
            text,
            "{}: of {} the left end did not fit into the run's seq_len",
            score.task,
            counted(score.truncated, "item")
        );
    }
    text
}

fn number(mean: Option<&Mean>) -> String {
    match mean {
        None => "-".to_owned(),
        Some(Mean {
            mean,
            standard_error: None,
        }) => format!("{mean:.3}"),
        Some(Mean {
            mean,
            standard_error: Some(error),
        }) => format!("{mean:.3} ± {error:.3}"),
    }
}
