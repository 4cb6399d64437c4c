//! What hierarchical models gain over dense ones on tasks: a panel for each way in which they are alike.

use super::axis::{Axis, range, roomy, short};
use super::panel::Panel;
use super::picture::{Dash, Mark, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{GREY, INK, series};
use crate::comparison::{Comparison, Equal, Pair};

/// Letters of a label.
const LETTERS: usize = 22;

/// What the last row is called.
const MEAN: &str = "mean over tasks";

/// A row of a panel: its label, what is saved, and half its interval's width.
type Gain = (String, f64, Option<f64>);

pub(super) fn sheet(comparison: &Comparison) -> Result<Sheet<'_>, String> {
    let pairs = [&comparison.at_equal_flops, &comparison.at_equal_loss];
    let pairs: Vec<&Pair> = pairs
        .into_iter()
        .filter_map(|pairs| pairs.first())
        .collect();
    if pairs.is_empty() {
        return Err(match comparison.remarks.first() {
            Some(why) => why.clone(),
            None => "no run was asked (`orchestrator evaluate EXPERIMENT --tasks DIR`)".to_owned(),
        });
    }
    let rows: Vec<Vec<Gain>> = pairs.iter().map(|pair| gains(pair)).collect();
    let ends = rows.iter().flatten().flat_map(|(_, saved, half)| {
        let half = half.unwrap_or(0.0);
        [saved - half, saved + half]
    });
    // Nothing gained belongs into the picture.
    let ends = range(ends.chain([0.0])).unwrap_or([-1.0, 1.0]);
    let x = Axis::linear("Bits per byte saved", roomy(ends, 0.12));
    let charts = pairs.iter().zip(rows).enumerate().map(|(k, (pair, rows))| {
        let count = rows.len() as f64;
        let place = move |row: usize| count - 1.0 - row as f64;
        let ticks = rows.iter().enumerate().rev();
        let ticks = ticks.map(|(row, (label, ..))| (place(row), cut(label)));
        let y = Axis::linear("", [-0.6, count - 0.4]).with_ticks(ticks.collect());
        let draw = move |picture: &mut Picture, panel: &Panel| {
            panel.grid(picture);
            let zero = [panel.y.low, panel.y.high].map(|y| panel.at(0.0, y));
            picture.line(zero.to_vec(), 1.4, Dash::Solid, GREY);
            for (row, (label, saved, half)) in rows.iter().enumerate() {
                let (colour, mark) = if label == MEAN {
                    (INK, Mark::Square)
                } else {
                    (series(k).colour, series(k).mark)
                };
                if let Some(half) = half {
                    let ends = [saved - half, saved + half].map(|x| panel.at(x, place(row)));
                    picture.line(ends.to_vec(), 1.8, Dash::Solid, colour);
                }
                panel.mark(picture, (*saved, place(row)), mark, 4.2, colour);
            }
        };
        Chart::new(title(pair), x.clone(), y, draw)
    });
    let charts = charts.collect();
    let mut notes = vec![
        "Right of zero the hierarchical model needs fewer bits for the right answers, item by item; bars: 95% \
         intervals over items."
            .to_owned(),
    ];
    notes.extend(pairs.iter().map(|pair| pair.verdict()));
    Ok(Sheet {
        charts,
        notes,
        ..Sheet::default()
    })
}

fn gains(pair: &Pair) -> Vec<Gain> {
    let tasks = pair.tasks.iter().map(|task| {
        let saved = &task.difference.bits_per_byte;
        (task.difference.task.clone(), saved.mean, saved.two_errors())
    });
    let mean = (
        MEAN.to_owned(),
        pair.bits_saved.mean,
        pair.bits_saved.two_errors(),
    );
    tasks.chain([mean]).collect()
}

fn title(pair: &Pair) -> String {
    match pair.equal {
        Equal::InferenceFlops => format!(
            "Equal inference FLOPs ({} a token)",
            short(pair.dense.inference_flops)
        ),
        Equal::Loss => format!("Equal loss ({:.3})", pair.dense.loss),
    }
}

fn cut(label: &str) -> String {
    if label.chars().count() > LETTERS {
        label.chars().take(LETTERS - 1).chain(['…']).collect()
    } else {
        label.to_owned()
    }
}
