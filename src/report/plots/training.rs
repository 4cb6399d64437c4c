//! Training curves: a panel for every N, held-out loss as markers over the training loss.

use super::panel::{Axis, Entry, Panel, about, legend, notes, range, short};
use super::picture::{Align, Colour, Dash, Mark, Picture};
use super::style::{DASHES, INK, LABEL, Series, WIDTH, series};
use crate::analysis::levels;
use crate::event::Measurement;
use crate::run::{RunId, RunOutcome};
use crate::store::RunRecord;
use std::collections::BTreeMap;

const COLUMNS: usize = 3;

/// Panels of a figure; more sizes than this are thinned out.
const PANELS: usize = 9;

/// Curves of a panel; more runs than this cannot be told apart and are thinned out.
const CURVES: usize = 36;

/// Points of a curve: no panel is so many pixels wide.
const POINTS: usize = 240;

/// The scale of the loss is for what follows this share of the tokens.
const SETTLED: f64 = 0.12;

/// Curves are shown from this share of the shortest one's tokens.
const SHOWN_FROM: f64 = 0.05;

/// A run's curve.
struct Curve<'a> {
    run: &'a RunRecord,
    training: Vec<(f64, f64)>,
    held_out: Vec<(f64, f64)>,
}

impl Curve<'_> {
    /// Tokens at its end.
    fn last(&self) -> f64 {
        let ends = [self.training.last(), self.held_out.last()]
            .into_iter()
            .flatten();
        ends.map(|point| point.0).fold(0.0, f64::max)
    }
}

pub(super) fn picture(
    runs: &[RunRecord],
    measurements: &BTreeMap<RunId, Vec<Measurement>>,
) -> Result<Picture, String> {
    let curves: Vec<Curve<'_>> = runs
        .iter()
        .filter_map(|run| {
            let rows = measurements.get(&run.id)?;
            let column = |value: fn(&Measurement) -> Option<f64>| -> Vec<(f64, f64)> {
                let points = rows
                    .iter()
                    .filter_map(|row| Some((row.tokens as f64, value(row)?)));
                points.filter(|(x, y)| *x > 0.0 && y.is_finite()).collect()
            };
            let training = thinned(&smooth(&column(|row| row.loss)), POINTS);
            let held_out = column(|row| row.validation_loss);
            (!training.is_empty() || !held_out.is_empty()).then_some(Curve {
                run,
                training,
                held_out,
            })
        })
        .collect();
    if curves.is_empty() {
        return Err("no run has measured a loss".to_owned());
    }
    let tokens = curves
        .iter()
        .flat_map(|c| c.training.iter().chain(&c.held_out).map(|p| p.0));
    let Some(tokens) = range(tokens) else {
        return Err("no run has measured a loss".to_owned());
    };
    // The first steps fall steeply from ln(vocabulary).
    let losses = curves.iter().flat_map(|c| {
        let settled = c.last() * SETTLED;
        let points = c.training.iter().chain(&c.held_out);
        points
            .filter(move |point| point.0 >= settled)
            .map(|point| point.1)
    });
    let shortest = curves.iter().map(Curve::last).fold(f64::INFINITY, f64::min);
    let [low, high] = range(losses).unwrap_or([1.0, 10.0]);
    let room = 0.05 * (high - low);
    let x = Axis::log(
        "Training tokens",
        [(shortest * SHOWN_FROM).max(tokens[0]), tokens[1] * 1.06],
    );
    let y = Axis::linear("Loss (nats per token)", [low - room, high + room]);

    let all_sizes = levels(curves.iter().map(|c| c.run.params as f64), 0.05);
    let every = all_sizes.len().div_ceil(PANELS).max(1);
    let sizes: Vec<f64> = all_sizes
        .iter()
        .rev()
        .step_by(every)
        .rev()
        .copied()
        .collect();
    let dlcm = || {
        curves
            .iter()
            .filter(|c| !c.run.spec.architecture.is_dense())
    };
    let ratios = levels(dlcm().map(|c| c.run.compression_ratio), 1e-6);
    let shares = levels(dlcm().map(|c| c.run.concept_share), 0.05);
    let has_dense = curves.iter().any(|c| c.run.spec.architecture.is_dense());

    let columns = sizes.len().min(COLUMNS);
    let rows = sizes.len().div_ceil(COLUMNS);
    let (left, gap, tall) = (70.0, 34.0, 260.0);
    let mut picture = Picture::new(WIDTH, 0.0);
    let entries = entries(&ratios, &shares, has_dense);
    let top = legend(&mut picture, (left, 20.0), WIDTH - left - 20.0, &entries) + 22.0;
    let width = ((WIDTH - left - 20.0 - gap * (columns - 1) as f64) / columns as f64).min(420.0);
    let mut left_out = 0;
    for (k, size) in sizes.iter().enumerate() {
        let start = left + (k % COLUMNS) as f64 * (width + gap);
        let panel_top = top + (k / COLUMNS) as f64 * (tall + 58.0);
        let panel = Panel {
            left: start,
            top: panel_top,
            right: start + width,
            bottom: panel_top + tall,
            x: x.clone(),
            y: y.clone(),
        };
        panel.grid(&mut picture);
        let here: Vec<&Curve<'_>> = curves
            .iter()
            .filter(|c| (c.run.params as f64 / size).ln().abs() < 0.05)
            .collect();
        let drawn = thinned(&here, CURVES);
        left_out += here.len() - drawn.len();
        for curve in drawn {
            draw_curve(&mut picture, &panel, curve, &ratios, &shares);
        }
        panel.frame(&mut picture, false, k % COLUMNS == 0);
        panel.title(&mut picture, &format!("N ≈ {}", about(*size)));
    }
    let below = top + (rows - 1) as f64 * (tall + 58.0) + tall;
    let middle = left + 0.5 * (columns as f64 * (width + gap) - gap);
    picture.text((middle, below + 36.0), &x.label, LABEL, Align::Middle, INK);
    let mut words = remarks(&curves, sizes.len(), all_sizes.len());
    if left_out > 0 {
        words.push(format!(
            "{left_out} runs of these sizes are not shown, for legibility."
        ));
    }
    let end = notes(
        &mut picture,
        (left, below + 62.0),
        WIDTH - left - 20.0,
        &words,
    );
    picture.height = end + 6.0;
    Ok(picture)
}

/// Keeps at most so many values, evenly strided, the last among them.
fn thinned<T: Clone>(values: &[T], most: usize) -> Vec<T> {
    let step = values.len().div_ceil(most).max(1);
    let kept: Vec<T> = values.iter().rev().step_by(step).cloned().collect();
    kept.into_iter().rev().collect()
}

/// A moving mean over a fiftieth of the run on either side, so that single batches do not hide it.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 50;
    (0..points.len())
        .map(|k| {
            // As far on both sides, so that the mean does not lag where the loss falls.
            let reach = reach.min(k).min(points.len() - 1 - k);
            let window = &points[k - reach..=k + reach];
            (
                points[k].0,
                window.iter().map(|p| p.1).sum::<f64>() / window.len() as f64,
            )
        })
        .collect()
}

fn style_of(run: &RunRecord, ratios: &[f64], shares: &[f64]) -> Series {
    if run.spec.architecture.is_dense() {
        return Series {
            colour: INK,
            dash: Dash::Solid,
            mark: Mark::Cross,
        };
    }
    let near = |values: &[f64], value: f64, tolerance: f64| {
        values
            .iter()
            .position(|v| (v / value - 1.0).abs() <= tolerance)
            .unwrap_or(0)
    };
    let ratio = near(ratios, run.compression_ratio, 1e-6);
    let share = near(shares, run.concept_share, 0.06);
    Series {
        dash: DASHES[share % DASHES.len()],
        ..series(ratio)
    }
}

fn draw_curve(
    picture: &mut Picture,
    panel: &Panel,
    curve: &Curve<'_>,
    ratios: &[f64],
    shares: &[f64],
) {
    let style = style_of(curve.run, ratios, shares);
    let width = if style.colour == INK { 1.8 } else { 1.3 };
    let line = if curve.training.is_empty() {
        &curve.held_out
    } else {
        &curve.training
    };
    panel.curve(picture, line, width, style.dash, style.colour, 0.75);
    for &(x, y) in curve.held_out.iter().filter(|(x, y)| panel.holds(*x, *y)) {
        picture.mark(panel.at(x, y), style.mark, 2.6, style.colour);
    }
}

fn entries(ratios: &[f64], shares: &[f64], has_dense: bool) -> Vec<Entry> {
    let grey = Colour(0x55, 0x55, 0x55);
    let mut entries: Vec<Entry> = ratios
        .iter()
        .enumerate()
        .map(|(k, ratio)| Entry {
            series: Series {
                dash: Dash::Solid,
                ..series(k)
            },
            line: true,
            mark: true,
            text: format!("R = {}", short(*ratio)),
        })
        .collect();
    if has_dense {
        let series = Series {
            colour: INK,
            dash: Dash::Solid,
            mark: Mark::Cross,
        };
        entries.push(Entry {
            series,
            line: true,
            mark: true,
            text: "dense".to_owned(),
        });
    }
    // More shares than dashes cannot be told apart, and the note says so.
    for (k, share) in shares.iter().take(DASHES.len()).enumerate() {
        let series = Series {
            colour: grey,
            dash: DASHES[k],
            mark: Mark::Circle,
        };
        entries.push(Entry {
            series,
            line: true,
            mark: false,
            text: format!("P = {share:.1}"),
        });
    }
    entries
}

fn remarks(curves: &[Curve<'_>], shown: usize, sizes: usize) -> Vec<String> {
    let mut words = vec![
        "Lines: loss of the training batches, smoothed over a fiftieth of the run; markers: \
         held-out loss. The first steps are cut off."
            .to_owned(),
    ];
    if shown < sizes {
        words.push(format!("{shown} of {sizes} sizes are shown."));
    }
    let broken = curves.iter().filter(|c| {
        c.run
            .outcome
            .is_some_and(|o| !matches!(o, RunOutcome::Finished | RunOutcome::Interrupted))
    });
    let broken = broken.count();
    if broken > 0 {
        words.push(format!("{broken} of these runs did not end well."));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_end() {
        assert_eq!(thinned(&[1, 2, 3], 3), [1, 2, 3]);
        assert_eq!(thinned(&[1, 2, 3, 4, 5], 3), [1, 3, 5]);
        assert_eq!(thinned(&[1, 2, 3, 4], 3), [2, 4]);
        assert!(thinned::<u8>(&[], 3).is_empty());
    }

    #[test]
    fn smoothing_keeps_ends_and_straight_lines() {
        let line: Vec<(f64, f64)> = (0..200)
            .map(|k| (k as f64, 3.0 - 0.01 * k as f64))
            .collect();
        for (smoothed, given) in smooth(&line).iter().zip(&line) {
            assert!((smoothed.1 - given.1).abs() < 1e-12);
        }
        assert!(smooth(&[]).is_empty());
    }
}
