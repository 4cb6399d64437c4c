//! Training curves as they are drawn: smoothed, and on axes that show what follows the first fall.

use super::axis::{Axis, range};
use campaign::store::RunRecord;
use experiment::event::Measurement;
use experiment::run::{Part, RunId};
use std::collections::BTreeMap;

/// The scale of the loss is for what follows this share of the tokens.
const SETTLED: f64 = 0.12;

/// Points of a curve: no panel is so many pixels wide.
const POINTS: usize = 240;

/// A run's losses against training tokens.
pub(super) struct Curve<'a> {
    pub(super) run: &'a RunRecord,
    /// Loss of the training batches, smoothed.
    pub(super) training: Vec<(f64, f64)>,
    /// Held-out loss.
    pub(super) held_out: Vec<(f64, f64)>,
}

impl Curve<'_> {
    /// Tokens at its end.
    pub(super) fn last(&self) -> f64 {
        let ends = [self.training.last(), self.held_out.last()]
            .into_iter()
            .flatten();
        ends.map(|point| point.0).fold(0.0, f64::max)
    }

    /// The smoothed training loss, or the held-out loss where no other was measured.
    pub(super) fn line(&self) -> &[(f64, f64)] {
        if self.training.is_empty() {
            &self.held_out
        } else {
            &self.training
        }
    }
}

/// D of a run; 0 where nobody has said it, and then it has no curve either.
pub(super) fn tokens(run: &RunRecord) -> f64 {
    run.tokens.map_or(0.0, |tokens| tokens as f64)
}

/// Reads the curves of all runs that have measured a loss.
pub(super) fn curves<'a>(
    runs: &'a [RunRecord],
    measurements: &BTreeMap<RunId, Vec<Measurement>>,
) -> Result<Vec<Curve<'a>>, String> {
    let curves: Vec<Curve<'a>> = runs
        .iter()
        .filter_map(|run| {
            let rows = measurements.get(&run.id)?;
            let column = |value: fn(&Measurement) -> Option<f64>| -> Vec<(f64, f64)> {
                let points = rows
                    .iter()
                    .filter_map(|row| Some((row.tokens? as f64, value(row)?)));
                points.filter(|(x, y)| *x > 0.0 && y.is_finite()).collect()
            };
            let training = thinned(smooth(&column(|row| row.loss)), POINTS);
            let held_out = thinned(column(|row| row.validation_loss), POINTS);
            (!training.is_empty() || !held_out.is_empty()).then_some(Curve {
                run,
                training,
                held_out,
            })
        })
        .collect();
    if curves.is_empty() {
        Err("no run has measured a loss".to_owned())
    } else {
        Ok(curves)
    }
}

/// Chooses axes for curves: tokens from a share of the shortest one's, losses as after the first
/// steps, which fall steeply from ln(vocabulary).
pub(super) fn axes(curves: &[&Curve<'_>], from: f64) -> (Axis, Axis) {
    let points = || {
        curves
            .iter()
            .flat_map(|c| c.training.iter().chain(&c.held_out))
    };
    let tokens = range(points().map(|p| p.0)).unwrap_or([1.0, 10.0]);
    let ends = curves.iter().map(|c| c.last());
    let start = (ends.fold(f64::INFINITY, f64::min) * from).max(tokens[0]);
    let losses = curves.iter().flat_map(|c| {
        let settled = start.max(c.last() * SETTLED);
        let of = |points: &[(f64, f64)]| usual(points.iter().filter(|p| p.0 >= settled));
        of(&c.training).into_iter().chain(of(&c.held_out)).flatten()
    });
    let losses = range(losses).unwrap_or([1.0, 10.0]);
    (
        Axis::log("Training tokens", [start, tokens[1] * 1.06]),
        Axis::losses("Loss (nats per token)", losses, 0.05),
    )
}

/// The share of a curve's losses that its scale is not for: a batch on which the loss leaps must not
/// press all others together.
const SPIKES: f64 = 0.03;

/// The lowest loss of a stretch and the highest that is no spike.
fn usual<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> Option<[f64; 2]> {
    let mut losses: Vec<f64> = points.map(|p| p.1).collect();
    losses.sort_by(f64::total_cmp);
    let spikes = (SPIKES * losses.len() as f64).floor() as usize;
    Some([*losses.first()?, *losses.get(losses.len() - 1 - spikes)?])
}

/// Says how many curves leap out of the frame once they are in it; `None` where none does.
pub(super) fn cut_off(curves: &[Curve<'_>], losses: &Axis) -> Option<String> {
    let leaps = |c: &&Curve<'_>| {
        [&c.training, &c.held_out].into_iter().any(|line| {
            // Where it falls from its start it comes into the frame, and then it should stay.
            let mut inside = line.iter().skip_while(|p| p.1 > losses.high);
            inside.any(|p| p.1 > losses.high)
        })
    };
    match curves.iter().filter(leaps).count() {
        0 => None,
        1 => Some("1 curve leaps out of its panel.".to_owned()),
        count => Some(format!("{count} curves leap out of their panels.")),
    }
}

/// Puts before each branch the trunk that it leaves, and leaves trunks and trials out.
pub(super) fn with_trunks(curves: Vec<Curve<'_>>) -> Vec<Curve<'_>> {
    let (trunks, mut rest): (Vec<_>, Vec<_>) =
        curves.into_iter().partition(|c| c.run.part == Part::Trunk);
    rest.retain(|curve| curve.run.part != Part::Trial);
    for curve in &mut rest {
        let mut start = curve.run.start_run.as_ref();
        while let Some(piece) = trunks.iter().find(|piece| Some(&piece.run.id) == start) {
            curve.training.splice(0..0, piece.training.iter().copied());
            curve.held_out.splice(0..0, piece.held_out.iter().copied());
            start = piece.run.start_run.as_ref();
        }
    }
    rest
}

/// Keeps at most so many values, evenly spread, the last among them.
pub(super) fn thinned<T>(values: Vec<T>, most: usize) -> Vec<T> {
    let every = values.len().div_ceil(most).max(1);
    let last = values.len().saturating_sub(1);
    let values = values.into_iter().enumerate();
    let kept = values.filter(|(place, _)| (last - place).is_multiple_of(every));
    kept.map(|(_, value)| value).collect()
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

/// Reads a curve off between its points; `None` beyond its ends.
pub(super) fn read_off(line: &[(f64, f64)], tokens: f64) -> Option<f64> {
    let after = line.partition_point(|point| point.0 < tokens);
    let next = line.get(after)?;
    match after.checked_sub(1).map(|before| line[before]) {
        Some((x, y)) if next.0 > x => {
            Some(y + (next.1 - y) * (tokens / x).ln() / (next.0 / x).ln())
        }
        _ => (next.0 == tokens).then_some(next.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_spike_does_not_set_the_scale() {
        let mut line: Vec<(f64, f64)> = (1..=100).map(|k| (f64::from(k), 3.0)).collect();
        line[60].1 = 30.0;
        assert_eq!(usual(line.iter()), Some([3.0, 3.0]));
        assert_eq!(usual([(1.0, 2.0), (2.0, 9.0)].iter()), Some([2.0, 9.0]));
        assert_eq!(usual([].iter()), None);
    }

    #[test]
    fn thinning_spreads_evenly_and_keeps_the_last() {
        assert_eq!(thinned(vec![1, 2, 3], 3), [1, 2, 3]);
        assert_eq!(thinned(vec![1, 2, 3, 4, 5], 3), [1, 3, 5]);
        assert_eq!(thinned(vec![1, 2, 3, 4], 3), [2, 4]);
        assert!(thinned::<u8>(Vec::new(), 3).is_empty());
    }

    #[test]
    fn a_curve_is_read_off_between_its_points_alone() {
        let line = [(1.0, 3.0), (10.0, 2.0), (100.0, 1.0)];
        let at = |tokens| read_off(&line, tokens);
        assert_eq!((at(0.5), at(1.0), at(200.0)), (None, Some(3.0), None));
        assert!((at(10f64.sqrt()).expect("inside") - 2.5).abs() < 1e-12);
        assert_eq!(at(100.0), Some(1.0));
    }
}
