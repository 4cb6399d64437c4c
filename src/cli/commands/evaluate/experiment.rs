//! All runs of an experiment.

use super::words::number;
use super::{Args, said_at_times};
use crate::application::{AskRunError, Asking, Unasked, items_of, read_set};
use crate::cli::Failure;
use crate::cli::answer::in_json;
use crate::cli::failure::FAILED;
use crate::cli::terminal::{aligned, note, print};
use ::experiment::lock::Lock;
use ::experiment::quantity::{counted, human};
use ::experiment::run::{Evaluation, RunId};
use ::experiment::tasks::{Scores, TextScore};
use ::report::comparison::{Answers, Group, Pair};
use campaign::store::{RunRecord, Store};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use trainer::inference::EvaluationSet;

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    crate::cli::block_on(async {
        let place = args.named().place()?;
        let _lock = Lock::take(&place.results, "orchestrator")?;
        let store = Store::create(&place.results).await?;
        let (experiment, _) = place.find(&store).await?;
        let runs = store.runs(experiment).await?;
        let answered = store.scores(experiment).await?;
        let set = set_of(args, &runs, !answered.is_empty())?;
        let asking = Asking {
            store: &store,
            experiment,
            results: &place.results,
            set: &set,
        };
        let failed = ask_all(&asking, &args.device, &said_at_times()).await?;
        let scores = store.scores(experiment).await?;
        let found = Answers::of(&runs, scores, &|run| items_of(&place.results, run));
        print(&if args.json {
            in_json(&found)?
        } else {
            in_words(&found, &runs, args.verbose)
        })?;
        Ok(if failed > 0 {
            ExitCode::from(FAILED)
        } else {
            ExitCode::SUCCESS
        })
    })
}

/// Reads what is asked: what the file says, or else what the runs were to be asked; other tasks where they are named.
fn set_of(args: &Args, runs: &[RunRecord], have_answered: bool) -> Result<EvaluationSet, Failure> {
    let mut specs = runs.iter().filter_map(|run| run.spec.model());
    // The pieces of a trunk are asked nothing.
    let asks = specs
        .clone()
        .find(|spec| !spec.execution.evaluation.is_empty());
    let spec = asks.or_else(|| specs.next());
    let spec = spec.ok_or_else(|| {
        Failure::input(
            "there are no runs of this program's own models here: another trainer's it cannot load, and one that \
             scores its models itself can report what it finds",
        )
    })?;
    let mut evaluation = if Path::new(&args.subject).is_file() {
        args.named().load()?.experiment.evaluation
    } else if args.overrides.is_empty() {
        spec.execution.evaluation.clone()
    } else {
        return Err(Failure::input(format!(
            "`{}` is where an experiment is stored: --set changes what its file says, so give that",
            args.subject
        )));
    };
    if let Some(tasks) = &args.tasks {
        evaluation.tasks = Some(tasks.clone());
    }
    // What was answered before is shown even where nothing is to be asked.
    if evaluation == Evaluation::default() && !have_answered {
        return Err(Failure::input(
            "there is nothing to ask: name a folder of tasks with `--tasks DIR`, or in the experiment's file with \
             `evaluation: {tasks: DIR}`",
        ));
    }
    Ok(read_set(&evaluation, &spec.data)?)
}

/// Asks all runs that have not answered; returns how many could not.
pub(in crate::cli) async fn ask_all(
    asking: &Asking<'_>,
    device: &str,
    goes_on: &dyn Fn(&str, usize) -> bool,
) -> Result<usize, Failure> {
    let Unasked {
        runs,
        without_weights,
    } = asking.unasked().await?;
    if without_weights > 0 {
        note!(
            "warning: {} no weights any more and cannot be asked (`execution.keep_weights`, `orchestrator prune`)",
            match without_weights {
                1 => "1 trained run has".to_owned(),
                n => format!("{n} trained runs have"),
            }
        );
    }
    let mut failed = 0;
    for (done, run) in runs.iter().enumerate() {
        tracing::info!(target: "progress", "asking run {run}, {} of {}", done + 1, runs.len());
        match asking.ask(run, device, goes_on).await {
            Ok(()) => {}
            Err(error) if error.is_stop() => {
                note!("stopped: the same command goes on with the runs that are left");
                return Ok(failed + runs.len() - done);
            }
            Err(AskRunError::Refused(refused)) => return Err(refused.into()),
            Err(error) => {
                note!("run {run} could not be asked: {error}");
                failed += 1;
            }
        }
    }
    Ok(failed)
}

fn in_words(found: &Answers, runs: &[RunRecord], verbose: bool) -> String {
    let mut text = String::new();
    let comparison = &found.comparison;
    // Writing to a string cannot fail.
    for pair in [&comparison.at_equal_flops, &comparison.at_equal_loss] {
        if let Some(pair) = pair.first() {
            let _ = writeln!(text, "{}", pair.verdict());
        }
    }
    text += &chances(found);
    for pairs in [&comparison.at_equal_flops, &comparison.at_equal_loss] {
        let shown = if verbose { pairs.len() } else { 1 };
        for pair in pairs.iter().take(shown) {
            let _ = write!(text, "\n{}", pair_table(pair));
        }
        if pairs.len() > shown {
            let _ = writeln!(
                text,
                "{} more with --verbose",
                counted(pairs.len() - shown, "pair")
            );
        }
    }
    text += &texts_table(found, runs);
    if verbose {
        text += &runs_table(&found.runs, runs);
    }
    for remark in &comparison.remarks {
        let _ = writeln!(text, "- {remark}");
    }
    text
}

/// Says of each task in how many runs its accuracy tells something.
fn chances(found: &Answers) -> String {
    let lines = found.tasks().into_iter().map(|(task, (answered, above))| {
        format!(
            "{task}: {above} of {} {} better than by guessing\n",
            counted(answered, "run"),
            if above == 1 { "answers" } else { "answer" },
        )
    });
    lines.collect()
}

fn pair_table(pair: &Pair) -> String {
    let side = |name: &str, group: &Group| {
        vec![
            name.to_owned(),
            human(group.params as f64),
            human(group.tokens as f64),
            format!("{:.2}", group.realised_ratio),
            format!("{:.3e}", group.inference_flops),
            format!("{:.4}", group.loss),
            group
                .runs
                .iter()
                .map(|run| run.0.as_str())
                .collect::<Vec<_>>()
                .join(" "),
        ]
    };
    let header = ["model", "N", "D", "R", "FLOPs/token", "loss", "runs"];
    let models = aligned(&[
        header.map(str::to_owned).to_vec(),
        side("hierarchical", &pair.dlcm),
        side("dense", &pair.dense),
    ]);
    let accuracy = |accuracy: Option<f64>| {
        accuracy.map_or_else(|| "at chance".to_owned(), |value| format!("{value:.3}"))
    };
    let header = [
        "task",
        "bits/byte",
        "dense",
        "saved",
        "accuracy",
        "dense",
        "gained",
        "chance",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(pair.tasks.iter().map(|task| {
        vec![
            task.difference.task.clone(),
            format!("{:.3}", task.dlcm.bits_per_byte),
            format!("{:.3}", task.dense.bits_per_byte),
            number(Some(&task.difference.bits_per_byte)),
            accuracy(task.dlcm.accuracy),
            accuracy(task.dense.accuracy),
            number(task.difference.accuracy.as_ref()),
            format!("{:.3}", task.chance),
        ]
    }));
    let mean = ["mean over tasks", "", "", "", "", "", "", ""].map(str::to_owned);
    let mut mean = mean.to_vec();
    mean[3] = number(Some(&pair.bits_saved));
    mean[6] = number(pair.accuracy_gained.as_ref());
    rows.push(mean);
    format!(
        "{models}{}± is one standard error, over items\n",
        aligned(&rows)
    )
}

/// Held-out texts, the run of each kind of model with the lowest loss.
fn texts_table(found: &Answers, runs: &[RunRecord]) -> String {
    let best = found.best_readers(runs);
    if best.is_empty() {
        return String::new();
    }
    let header = [
        "text",
        "model",
        "run",
        "bits/byte",
        "tokens/concept",
        "tokens",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let row = |run: &RunRecord, text: &TextScore| {
        vec![
            text.text.clone(),
            run.kind.name().to_owned(),
            run.id.0.clone(),
            number(Some(&text.bits_per_byte)),
            text.realised_ratio
                .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            text.tokens.to_string(),
        ]
    };
    for run in best.values() {
        rows.extend(found.runs[&run.id].texts.iter().map(|text| row(run, text)));
    }
    rows[1..].sort_by(|a, b| a[0].cmp(&b[0]));
    format!(
        "\nTexts, by the run of each kind of model with the lowest loss:\n{}",
        aligned(&rows)
    )
}

fn runs_table(all: &BTreeMap<RunId, Scores>, runs: &[RunRecord]) -> String {
    let header = [
        "run",
        "model",
        "N",
        "loss",
        "task",
        "bits/byte",
        "accuracy",
        "chance",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for run in runs {
        for score in all.get(&run.id).iter().flat_map(|scores| &scores.tasks) {
            rows.push(vec![
                run.id.0.clone(),
                run.kind.name().to_owned(),
                run.params
                    .map_or_else(|| "-".to_owned(), |n| human(n as f64)),
                run.loss
                    .map_or_else(|| "-".to_owned(), |loss| format!("{loss:.4}")),
                score.task.clone(),
                number(Some(&score.bits_per_byte)),
                number(Some(&score.accuracy)),
                format!("{:.3}", score.chance),
            ]);
        }
    }
    format!("\n{}", aligned(&rows))
}
