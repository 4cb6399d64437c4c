//! What trained runs made of texts: tokens per concept by content, loss by position in a concept.

use super::axis::{Axis, about, range, roomy, short};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Dash, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{GREY, series};
use campaign::store::{ReadContent, ReadPosition, ReadingRecord, RunRecord};

/// Runs that can be told apart.
const MOST: usize = 6;

/// Letters of a label.
const LETTERS: usize = 18;

/// Fewer tokens than this say nothing about a position.
const FEWEST: usize = 20;

/// Tokens per concept that differ by more than this factor are drawn on a logarithmic scale.
const WIDE: f64 = 8.0;

/// Why there is nothing to draw.
const NOTHING: &str = "no run has read a text";

/// The readings that have what a figure draws, with their runs.
fn with<'a>(
    runs: &'a [RunRecord],
    readings: &'a [ReadingRecord],
    has: fn(&ReadingRecord) -> bool,
) -> Vec<(&'a RunRecord, &'a ReadingRecord)> {
    let found = readings
        .iter()
        .filter(|reading| has(reading))
        .filter_map(|reading| Some((runs.iter().find(|run| run.id == reading.run)?, reading)));
    found.take(MOST).collect()
}

fn entries(read: &[(&RunRecord, &ReadingRecord)]) -> Vec<Entry> {
    let setting = |run: &RunRecord| {
        format!(
            "R = {}, P = {:.1}, N ≈ {}, D = {}",
            short(run.compression_ratio),
            run.concept_share,
            about(run.params.unwrap_or(0) as f64),
            about(run.tokens.unwrap_or(0) as f64)
        )
    };
    let settings: Vec<String> = read.iter().map(|(run, _)| setting(run)).collect();
    let entries = read
        .iter()
        .zip(&settings)
        .enumerate()
        .map(|(k, ((run, _), text))| {
            // Seeds of one setting are told apart.
            let is_alone = settings.iter().filter(|other| *other == text).count() == 1;
            let text = if is_alone {
                text.clone()
            } else {
                format!("{text}, seed {}", run.seed)
            };
            Entry::both(series(k), text)
        });
    entries.collect()
}

/// Draws the tokens per concept of each text.
pub(super) fn by_content<'a>(
    runs: &'a [RunRecord],
    readings: &'a [ReadingRecord],
) -> Result<Sheet<'a>, String> {
    let known = |content: &ReadContent| content.tokens_per_concept.is_some();
    let read = with(runs, readings, |reading| {
        reading
            .contents
            .iter()
            .any(|content| content.tokens_per_concept.is_some())
    });
    let mut labels: Vec<&str> = Vec::new();
    for content in read.iter().flat_map(|(_, reading)| &reading.contents) {
        if known(content) && !labels.contains(&content.label.as_str()) {
            labels.push(&content.label);
        }
    }
    let ratios = read.iter().flat_map(|(run, reading)| {
        let realised = reading.contents.iter().filter_map(|c| c.tokens_per_concept);
        realised.chain([run.compression_ratio])
    });
    let Some(ratios) = range(ratios) else {
        return Err(format!(
            "{NOTHING} (`orchestrator inspect RUN --file … --keep`)"
        ));
    };
    let count = labels.len() as f64;
    let place = |label: &str| {
        let place = labels.iter().position(|known| *known == label);
        count - 1.0 - place.unwrap_or(0) as f64
    };
    let cut = |label: &str| {
        if label.chars().count() > LETTERS {
            label.chars().take(LETTERS - 1).chain(['…']).collect()
        } else {
            label.to_owned()
        }
    };
    let ticks = labels
        .iter()
        .rev()
        .map(|label| (place(label), cut(label)))
        .collect();
    let y = Axis::linear("", [-0.6, count - 0.4]).with_ticks(ticks);
    // A text that is hardly cut at all must not press the others together.
    let x = if ratios[1] > WIDE * ratios[0] {
        Axis::log("Tokens per concept", [ratios[0] / 1.3, ratios[1] * 1.3])
    } else {
        Axis::linear("Tokens per concept", roomy(ratios, 0.1))
    };
    let dots: Vec<Vec<(f64, f64)>> = read
        .iter()
        .map(|(_, reading)| {
            let dot = |c: &ReadContent| Some((c.tokens_per_concept?, place(&c.label)));
            reading.contents.iter().filter_map(dot).collect()
        })
        .collect();
    let legend = entries(&read);
    let draw = move |picture: &mut Picture, panel: &Panel| {
        panel.grid(picture);
        for (k, ((run, _), dots)) in read.iter().zip(&dots).enumerate() {
            let style = series(k);
            let ratio = run.compression_ratio;
            let declared = [panel.y.low, panel.y.high].map(|y| panel.at(ratio, y));
            picture.line(declared.to_vec(), 1.4, style.dash, style.colour);
            let aside = 0.16 * (k as f64 - 0.5 * (read.len() - 1) as f64);
            for &(x, y) in dots {
                panel.mark(picture, (x, y - aside), style.mark, 4.2, style.colour);
            }
        }
    };
    Ok(Sheet {
        charts: vec![Chart::new("", x, y, draw)],
        legend,
        notes: vec![
            "Markers: tokens per concept of each text, boundaries as in evaluation; lines: the R \
             that was declared for the training data."
                .to_owned(),
        ],
        ..Sheet::default()
    })
}

/// What is drawn against positions: its label, and how it is read.
type Quantity = (&'static str, fn(&ReadPosition) -> Option<f64>);

/// Draws loss by position inside a concept, and the gain over another run where it was compared.
pub(super) fn by_position<'a>(
    runs: &'a [RunRecord],
    readings: &'a [ReadingRecord],
) -> Result<Sheet<'a>, String> {
    let read = with(runs, readings, |reading| {
        reading
            .positions
            .iter()
            .any(|at| at.tokens >= FEWEST && at.loss.is_some())
    });
    let values: [Quantity; 2] = [
        ("Loss (nats per token)", |at| at.loss),
        ("Gain over the other run (nats per token)", |at| at.gain),
    ];
    let last = read.iter().flat_map(|(_, reading)| &reading.positions);
    let last = last
        .filter(|at| at.tokens >= FEWEST)
        .map(|at| at.position)
        .max();
    let Some(last) = last else {
        let how = "`orchestrator inspect RUN --file … --by-position --keep`";
        return Err(format!("{NOTHING} by position ({how})"));
    };
    // The last position that is told apart stands for all after it.
    let all = read.iter().flat_map(|(_, reading)| &reading.positions);
    let end = all.map(|at| at.position).max();
    let tick = |at: usize| {
        let more = if Some(at) == end { "+" } else { "" };
        (at as f64, format!("{at}{more}"))
    };
    let legend = entries(&read);
    let charts = values.into_iter().filter_map(|(label, value)| {
        let line = |reading: &ReadingRecord| -> Vec<(f64, f64)> {
            let inside = reading.positions.iter().filter(|at| at.tokens >= FEWEST);
            inside
                .filter_map(|at| Some((at.position as f64, value(at)?)))
                .collect()
        };
        let lines: Vec<_> = read.iter().map(|(_, reading)| line(reading)).collect();
        let ends = range(lines.iter().flatten().map(|at| at.1))?;
        let x = Axis::linear(
            "Position inside a concept (0 starts it)",
            [-0.5, last as f64 + 0.5],
        )
        .with_ticks((0..=last).map(tick).collect());
        let draw = move |picture: &mut Picture, panel: &Panel| {
            panel.grid(picture);
            if panel.y.holds(0.0) {
                panel.level(picture, 0.0, 1.2, Dash::Solid, GREY);
            }
            for (k, line) in lines.iter().enumerate() {
                let style = series(k);
                panel.curve(picture, line, 1.8, style.dash, style.colour, 1.0);
                for &at in line {
                    panel.mark(picture, at, style.mark, 3.4, style.colour);
                }
            }
        };
        Some(Chart::new("", x, Axis::losses(label, ends, 0.1), draw))
    });
    let charts: Vec<Chart<'a>> = charts.collect();
    let others = readings
        .iter()
        .filter_map(|reading| reading.against.as_ref());
    let others: std::collections::BTreeSet<&str> = others.map(|run| run.0.as_str()).collect();
    let mut notes = vec![format!(
        "Means over all tokens at a position; positions of fewer than {FEWEST} tokens are left \
         out."
    )];
    if charts.len() > 1 {
        let others: Vec<&str> = others.into_iter().collect();
        notes.push(format!("The other run: {}.", others.join(", ")));
    }
    Ok(Sheet {
        charts,
        legend,
        notes,
        ..Sheet::default()
    })
}
