//! The grid as a matrix, and what became of every cell.

use super::runs::last_line;
use super::{Column, MISSING, Stored, decimals, kind, minus, standing, table};
use campaign::store::RunRecord;
use experiment::architecture::ModelKind;
use experiment::quantity::{Params, Tokens, parse_number};
use experiment::run::{Part, RunOutcome};
use maud::{Markup, html};
use std::collections::{BTreeMap, BTreeSet};

/// What stands for R of a control, which has a token level alone.
const CONTROL: &str = "control";

/// The axes that go from left to right; all others go down.
const ACROSS: [&str; 2] = ["compression_ratio", "concept_share"];

pub(super) fn section(stored: &Stored) -> Markup {
    html! {
        (counts(stored))
        (matrix(stored))
        (unfinished(stored))
        (left_out(stored))
    }
}

fn counts(stored: &Stored) -> Markup {
    let mut counts: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for run in stored.runs {
        let (state, class) = standing(run, stored);
        counts.entry(state).or_insert((0, class)).0 += 1;
    }
    html! {
        ul.counts {
            @for (state, (number, class)) in &counts {
                li class=(class) { strong { (number) } " " (state) }
            }
        }
    }
}

/// Where a run stands on an axis, as its file says it or else as it was built.
fn on_axis(run: &RunRecord, axis: &str) -> String {
    match (run.axes.get(axis), axis) {
        (_, "compression_ratio") if run.kind == ModelKind::TokenOnly => CONTROL.to_owned(),
        (_, "compression_ratio" | "concept_share") if run.kind == ModelKind::Dense => {
            MISSING.to_owned()
        }
        (Some(written), _) => written.clone(),
        (None, "params") => run
            .params
            .map_or(MISSING.to_owned(), |n| Params(n).to_string()),
        (None, "tokens") => run
            .tokens
            .map_or(MISSING.to_owned(), |d| Tokens(d).to_string()),
        (None, "seed") => run.seed.to_string(),
        (None, "compression_ratio") => run.compression_ratio.to_string(),
        (None, "concept_share") => format!("{:.2}", run.concept_share),
        (None, _) => MISSING.to_owned(),
    }
}

/// An axis with the values that runs take on it.
type Axis<'a> = (&'a str, Vec<String>);

fn with_values<'a>(runs: &[&RunRecord], axis: &'a str) -> Axis<'a> {
    (axis, values(runs, axis))
}

/// Lists the values that runs take on an axis: in order of size, others as the plan has them.
fn values(runs: &[&RunRecord], axis: &str) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for run in runs {
        let value = on_axis(run, axis);
        if seen.insert(value.clone()) {
            values.push(value);
        }
    }
    let size = |text: &String| {
        let number = text.parse().ok().or_else(|| parse_number(text).ok());
        number.unwrap_or(f64::INFINITY)
    };
    // Stable: values that are no numbers stay in the order of the plan.
    values.sort_by(|a, b| size(a).total_cmp(&size(b)));
    values
}

/// The place of every value on its axis.
fn places(axes: &[Axis], run: &RunRecord) -> Vec<usize> {
    let place = |(axis, values): &Axis| {
        let value = on_axis(run, axis);
        values.iter().position(|other| *other == value).unwrap_or(0)
    };
    axes.iter().map(place).collect()
}

fn matrix(stored: &Stored) -> Markup {
    let runs: Vec<&RunRecord> = stored
        .runs
        .iter()
        .filter(|run| !matches!(run.part, Part::Trunk | Part::Trial))
        .collect();
    let trunks = stored
        .runs
        .iter()
        .filter(|run| run.part == Part::Trunk)
        .count();
    let written = runs
        .iter()
        .flat_map(|run| run.axes.keys().map(String::as_str));
    // Repetitions of a cell stand below one another.
    let place = |axis: &str| match axis {
        "params" => 0,
        "tokens" => 1,
        "seed" => 3,
        _ => 2,
    };
    let names: BTreeSet<(u8, &str)> = written
        .chain(["params"])
        .filter(|axis| !ACROSS.contains(axis))
        .map(|axis| (place(axis), axis))
        .collect();
    let across: Vec<Axis> = ACROSS.iter().map(|axis| with_values(&runs, axis)).collect();
    let (down, same): (Vec<_>, Vec<_>) = names
        .iter()
        .map(|(_, axis)| with_values(&runs, axis))
        .partition(|(axis, values)| values.len() > 1 || *axis == "params");
    let mut cells: BTreeMap<Vec<usize>, BTreeMap<Vec<usize>, Vec<&RunRecord>>> = BTreeMap::new();
    let mut columns: BTreeSet<Vec<usize>> = BTreeSet::new();
    for run in &runs {
        let column = places(&across, run);
        columns.insert(column.clone());
        let row = cells.entry(places(&down, run)).or_default();
        row.entry(column).or_default().push(run);
    }
    let extent = extent(&runs);
    html! {
        div.tall tabindex="0" role="region" aria-label="Held-out loss of every cell" {
            table.matrix {
                caption {
                    "Held-out loss of every cell, nats per token; the stronger the shade, the lower."
                    @for (axis, values) in &same { " " (axis) " = " (values.join(", ")) "." }
                    @if trunks > 0 {
                        " " (trunks) " trunks are only in the table of runs."
                    }
                }
                thead {
                    @for (k, (axis, values)) in across.iter().enumerate() {
                        tr {
                            @if k == 0 {
                                @for (axis, _) in &down {
                                    th scope="col" rowspan=(across.len()) { (letter(axis)) }
                                }
                            }
                            @for (place, width) in spans(&columns, k) {
                                th scope="colgroup" colspan=(width) {
                                    (heading(axis, &values[place]))
                                }
                            }
                        }
                    }
                }
                tbody {
                    @for (row, cells) in &cells {
                        tr {
                            @for ((_, values), &place) in down.iter().zip(row) {
                                th scope="row" { (values[place]) }
                            }
                            @for column in &columns {
                                (cell(cells.get(column).map_or(&[], Vec::as_slice), extent, stored))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Joins neighbouring columns with the same value on the `k`-th axis and those before.
fn spans(columns: &BTreeSet<Vec<usize>>, k: usize) -> Vec<(usize, usize)> {
    let mut spans: Vec<(&[usize], usize)> = Vec::new();
    for column in columns {
        match spans.last_mut() {
            Some((prefix, width)) if *prefix == &column[..=k] => *width += 1,
            _ => spans.push((&column[..=k], 1)),
        }
    }
    spans
        .into_iter()
        .map(|(prefix, width)| (prefix[k], width))
        .collect()
}

fn letter(axis: &str) -> &str {
    match axis {
        "params" => "N",
        "tokens" => "D",
        "compression_ratio" => "declared R",
        "concept_share" => "P",
        axis => axis,
    }
}

fn heading(axis: &str, value: &str) -> String {
    match value {
        // Only dense models have neither.
        MISSING if axis == ACROSS[0] => "dense".to_owned(),
        MISSING => String::new(),
        CONTROL => CONTROL.to_owned(),
        value => format!("{} = {value}", letter(axis)),
    }
}

fn finished_loss(run: &RunRecord) -> Option<f64> {
    let finished = run.outcome == Some(RunOutcome::Finished);
    run.loss.filter(|loss| finished && loss.is_finite())
}

/// The lowest and the highest loss of finished runs.
fn extent(runs: &[&RunRecord]) -> [f64; 2] {
    let losses = runs.iter().filter_map(|run| finished_loss(run));
    losses.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], loss| {
        [low.min(loss), high.max(loss)]
    })
}

fn cell(runs: &[&RunRecord], [low, high]: [f64; 2], stored: &Stored) -> Markup {
    // Losses gather near the lowest: the root spreads them.
    let shade = |loss: f64| {
        let above = ((loss - low) / (high - low).max(1e-12)).clamp(0.0, 1.0);
        format!("--shade:{:.0}%", 100.0 * (1.0 - above.sqrt()))
    };
    let best = runs
        .iter()
        .filter_map(|run| finished_loss(run))
        .reduce(f64::min);
    html! {
        td style=[best.map(shade)] {
            @for run in runs {
                @let (state, class) = standing(run, stored);
                @let loss = finished_loss(run);
                a class=(class) href={ "#run-" (run.id) } title={ (run.id) ": " (state) } {
                    @match loss {
                        Some(loss) => (format!("{loss:.3}")),
                        None => (state),
                    }
                }
            }
            @if runs.is_empty() { span.dim title="not in the grid" { "·" } }
        }
    }
}

/// Lists the runs that did not finish, with what was said about it.
fn unfinished(stored: &Stored) -> Markup {
    let runs = stored.runs.iter();
    let bad = runs.filter(|run| {
        let ended_badly = run
            .outcome
            .is_some_and(|outcome| outcome != RunOutcome::Finished);
        ended_badly || stored.blocked.contains_key(&run.id)
    });
    let rows: Vec<Vec<Markup>> = bad
        .map(|run| {
            let (state, class) = standing(run, stored);
            let message = run.message.as_deref().unwrap_or_default();
            let axes = run
                .axes
                .iter()
                .map(|(axis, value)| format!("{} = {value}", letter(axis)));
            vec![
                html! { a href={ "#run-" (run.id) } { (run.id) } },
                html! { (kind(run)) ", " (axes.collect::<Vec<_>>().join(", ")) },
                html! { span class=(class) { (state) } },
                html! { (decimals(run.loss, 4)) },
                html! {
                    @match last_line(message) {
                        Some(line) if line != message.trim() => details {
                            summary { (line) }
                            pre { (message) }
                        },
                        Some(line) => (line),
                        None => (MISSING),
                    }
                },
            ]
        })
        .collect();
    let columns = [
        Column::Text("run"),
        Column::Text("cell"),
        Column::Text("outcome"),
        Column::Number("last loss"),
        Column::Text("reason"),
    ];
    html! {
        @if !rows.is_empty() {
            h3 { "Runs that did not finish" }
            (table("Runs that did not finish", &columns, rows))
        }
    }
}

/// Lists the finished runs that are not fitted.
fn left_out(stored: &Stored) -> Markup {
    let finished: BTreeSet<&str> = stored
        .runs
        .iter()
        .filter(|run| run.outcome == Some(RunOutcome::Finished))
        .map(|run| run.id.0.as_str())
        .collect();
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for left_out in &stored.result.left_out {
        if finished.contains(left_out.id.0.as_str()) {
            reasons
                .entry(&left_out.why)
                .or_default()
                .push(&left_out.id.0);
        }
    }
    html! {
        @if !reasons.is_empty() {
            h3 { "Finished runs that are not fitted" }
            ul { @for (why, runs) in &reasons {
                li { (minus(why)) ": "
                    @for (k, run) in runs.iter().enumerate() {
                        @if k > 0 { ", " } a href={ "#run-" (run) } { (run) }
                    }
                }
            } }
        }
    }
}
