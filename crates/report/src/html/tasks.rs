//! What runs answer to tasks, hierarchical models against dense ones, and what they make of texts.

use super::{Column, MISSING, decimals, minus, table};
use crate::comparison::{Answers, Group, Pair};
use campaign::store::RunRecord;
use experiment::quantity::{counted, human};
use experiment::tasks::Mean;
use maud::{Markup, html};

pub(super) fn section(answers: &Answers, runs: &[RunRecord]) -> Markup {
    let comparison = &answers.comparison;
    let pairs = [&comparison.at_equal_flops, &comparison.at_equal_loss];
    let first = || pairs.iter().filter_map(|pairs| pairs.first());
    let tasks = answers.tasks();
    html! {
        @for pair in first() { p { (minus(&pair.verdict())) } }
        @if !tasks.is_empty() {
            p.dim {
                "Better than by guessing, beyond two standard errors: "
                @for (k, (task, (answered, above))) in tasks.iter().enumerate() {
                    @if k > 0 { "; " }
                    (task) " in " (above) " of " (counted(*answered, "run"))
                }
                "."
            }
        }
        @for pair in first() { (models(pair)) (answered(pair)) }
        (texts(answers, runs))
        @if !comparison.remarks.is_empty() {
            ul { @for remark in &comparison.remarks { li { (remark) } } }
        }
    }
}

fn models(pair: &Pair) -> Markup {
    let row = |name: &str, group: &Group| {
        vec![
            html! { (name) },
            html! { (human(group.params as f64)) },
            html! { (human(group.tokens as f64)) },
            html! { (decimals(Some(group.realised_ratio), 2)) },
            html! { (format!("{:.3e}", group.inference_flops)) },
            html! { (decimals(Some(group.loss), 4)) },
            html! { (group.runs.len()) },
        ]
    };
    let columns = [
        Column::Text("model"),
        Column::Number("N"),
        Column::Number("D"),
        Column::Number("R"),
        Column::Number("inference FLOPs a token"),
        Column::Number("loss"),
        Column::Number("seeds"),
    ];
    let rows = [row("hierarchical", &pair.dlcm), row("dense", &pair.dense)];
    table("The models compared", &columns, rows)
}

fn answered(pair: &Pair) -> Markup {
    let columns = [
        Column::Text("task"),
        Column::Number("bits per byte"),
        Column::Number("dense"),
        Column::Number("saved"),
        Column::Number("accuracy"),
        Column::Number("dense accuracy"),
        Column::Number("gained"),
        Column::Number("chance"),
    ];
    let accuracy = |value: Option<f64>| match value {
        Some(value) => html! { (decimals(Some(value), 3)) },
        None => html! { "at chance" },
    };
    let tasks = pair.tasks.iter().map(|task| {
        vec![
            html! { (task.difference.task) },
            html! { (decimals(Some(task.dlcm.bits_per_byte), 3)) },
            html! { (decimals(Some(task.dense.bits_per_byte), 3)) },
            mean(Some(&task.difference.bits_per_byte)),
            accuracy(task.dlcm.accuracy),
            accuracy(task.dense.accuracy),
            mean(task.difference.accuracy.as_ref()),
            html! { (decimals(Some(task.chance), 3)) },
        ]
    });
    let empty = || html! {};
    let last = vec![
        html! { strong { "mean over tasks" } },
        empty(),
        empty(),
        mean(Some(&pair.bits_saved)),
        empty(),
        empty(),
        mean(pair.accuracy_gained.as_ref()),
        empty(),
    ];
    html! {
        (table("What they answer", &columns, tasks.chain([last])))
        p.dim { "± is one standard error over items." }
    }
}

fn mean(mean: Option<&Mean>) -> Markup {
    let Some(mean) = mean else {
        return html! { (MISSING) };
    };
    html! {
        (minus(&format!("{:+.3}", mean.mean)))
        @if let Some(error) = mean.standard_error {
            span.dim { " ± " (format!("{error:.3}")) }
        }
    }
}

fn texts(answers: &Answers, runs: &[RunRecord]) -> Markup {
    let best = answers.best_readers(runs);
    if best.is_empty() {
        return html! {};
    }
    let mut rows: Vec<(&str, Vec<Markup>)> = Vec::new();
    for run in best.values() {
        for text in &answers.runs[&run.id].texts {
            let cells = vec![
                html! { (text.text) },
                html! { (run.kind.name()) },
                html! { (run.id) },
                html! { (decimals(Some(text.bits_per_byte.mean), 3)) },
                html! { (decimals(text.realised_ratio, 2)) },
                html! { (text.tokens) },
            ];
            rows.push((&text.text, cells));
        }
    }
    rows.sort_by_key(|(text, _)| *text);
    let columns = [
        Column::Text("text"),
        Column::Text("model"),
        Column::Text("run"),
        Column::Number("bits per byte"),
        Column::Number("tokens per concept"),
        Column::Number("tokens"),
    ];
    html! {
        h3 { "Texts that are held out" }
        p.dim { "By the run of each kind of model with the lowest loss." }
        (table("Texts that are held out", &columns, rows.into_iter().map(|(_, cells)| cells)))
    }
}
