//! Scores in words: the verdict first.

use super::Found;
use crate::cli::terminal::aligned;
use ::experiment::quantity::counted;
use ::experiment::tasks::{Difference, Mean, Score};
use std::fmt::Write;

/// What people read: the verdict first.
pub(super) fn of_run(found: &Found) -> String {
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

pub(super) fn number(mean: Option<&Mean>) -> String {
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
