//! What a sweep of learning rates says: the best rate at every N, how sure that is, and whether it
//! transfers from one N to the next.

use super::observe::{SeedNoise, levels};
use super::suspicion::USUAL_NOISE;
use super::{SAME_SIZE, same_size};
use crate::row::Row;
use experiment::architecture::ModelKind;
use experiment::quantity::human;
use experiment::run::{Part, RunOutcome};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A sweep of learning rates over one kind of model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateSweep {
    /// The kind.
    pub kind: ModelKind,
    /// What was found at each N, the smallest first.
    pub sizes: Vec<SweptSize>,
    /// Standard deviation of a loss between seeds behind the ranges, nats per token.
    pub noise: f64,
    /// Whether that is assumed, since no setting was run with two seeds.
    pub noise_is_assumed: bool,
}

/// A sweep at one N.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweptSize {
    /// Mean N.
    pub params: f64,
    /// Every base rate that was tried, with its loss over the settings and seeds at this N, nats per
    /// token; no loss where a run diverged.
    pub losses: Vec<(f64, Option<f64>)>,
    /// The rate of the lowest loss.
    pub best: f64,
    /// The run that has the lowest loss.
    pub best_run: String,
    /// The lowest and highest rate whose loss is within noise of the lowest (95%).
    pub alike: [f64; 2],
    /// Whether that range reaches the lowest or the highest rate that was tried.
    pub at_edge: [bool; 2],
}

/// Rates that agree to this are one.
const SAME_RATE: f64 = 1e-6;

impl RateSweep {
    /// The rates that are within noise of the best at every N; `None` where no rate is.
    pub fn at_all_sizes(&self) -> Option<[f64; 2]> {
        let low = self.sizes.iter().map(|size| size.alike[0]);
        let high = self.sizes.iter().map(|size| size.alike[1]);
        let (low, high) = (low.fold(0.0, f64::max), high.fold(f64::INFINITY, f64::min));
        (low <= high).then_some([low, high])
    }
}

impl fmt::Display for RateSweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.kind.label())?;
        for (k, size) in self.sizes.iter().enumerate() {
            let [low, high] = size.alike;
            write!(
                f,
                "{}{} ",
                if k > 0 { ", " } else { "best rate " },
                size.best
            )?;
            if low < high {
                write!(f, "[{low}, {high}] ")?;
            }
            write!(f, "at N = {}", human(size.params))?;
            let edge = match size.at_edge {
                [true, true] => " (no rate that was tried is worse than noise)",
                [true, false] => " (the lowest that was tried: better may lie below)",
                [false, true] => " (the highest that was tried: better may lie above)",
                [false, false] => "",
            };
            f.write_str(edge)?;
        }
        match (self.sizes.len(), self.at_all_sizes()) {
            (1, _) => f.write_str("; with one N nobody knows whether it transfers"),
            (_, Some([low, high])) if low < high => {
                write!(
                    f,
                    "; it transfers: {low} to {high} are within noise of the best at every N"
                )
            }
            (_, Some([low, _])) => {
                write!(
                    f,
                    "; it transfers: {low} is within noise of the best at every N"
                )
            }
            (_, None) => f.write_str(
                "; it does not transfer: no rate is within noise of the best at every N",
            ),
        }
    }
}

/// Finds the sweeps among the rows: settings that were run at two learning rates or more and that
/// nobody tried for `tune`.
pub(super) fn sweeps(rows: &[Row], noise: Option<SeedNoise>) -> Vec<RateSweep> {
    let trials = rows.iter().filter(|row| row.part == Part::Trial);
    let tuned: Vec<&str> = trials.filter_map(|row| row.family.as_deref()).collect();
    let mut families: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    // A rate that serves reading ahead is no other's.
    let swept = |row: &&Row| row.part != Part::Trunk && !row.reads_ahead;
    for row in rows.iter().filter(swept) {
        match row.family.as_deref() {
            Some(family) if !tuned.contains(&family) && has_result(row) => {
                families.entry(family).or_default().push(row);
            }
            _ => {}
        }
    }
    families.retain(|_, rows| rates(rows.iter().copied()).len() > 1);
    let deviation = noise.map_or(USUAL_NOISE, |noise| noise.nats);
    let of_kind = |kind: &ModelKind| {
        let families: Vec<&Vec<&Row>> = families
            .values()
            .filter(|rows| rows[0].kind == *kind)
            .collect();
        let sizes = levels(families.iter().map(|rows| rows[0].params), SAME_SIZE);
        let sizes = sizes.into_iter().filter_map(|params| {
            let here = families
                .iter()
                .filter(|rows| same_size(rows[0].params, params));
            size(
                params,
                &here.map(|rows| rows.as_slice()).collect::<Vec<_>>(),
                deviation,
            )
        });
        let sizes: Vec<SweptSize> = sizes.collect();
        (!sizes.is_empty()).then_some(RateSweep {
            kind: *kind,
            sizes,
            noise: deviation,
            noise_is_assumed: noise.is_none(),
        })
    };
    ModelKind::ALL.iter().filter_map(of_kind).collect()
}

/// Says whether a run tells something of its rate: it ended with a loss, or diverged.
fn has_result(row: &Row) -> bool {
    let rate = row.learning_rate.is_some_and(f64::is_finite);
    rate && (row.finished_loss().is_some() || row.outcome == Some(RunOutcome::Diverged))
}

fn rates<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<f64> {
    levels(rows.filter_map(|row| row.learning_rate), SAME_RATE)
}

/// Puts the settings of one N together: the rates that all of them were run at.
fn size(params: f64, families: &[&[&Row]], deviation: f64) -> Option<SweptSize> {
    let is_at = |row: &Row, rate: f64| {
        row.learning_rate
            .is_some_and(|own| (own / rate - 1.0).abs() < SAME_RATE)
    };
    let mut rates = rates(families.iter().flat_map(|rows| rows.iter().copied()));
    rates.retain(|rate| {
        families
            .iter()
            .all(|rows| rows.iter().any(|row| is_at(row, *rate)))
    });
    // The mean over settings of the means over seeds, and its variance in units of a run's.
    let at = |rate: f64| -> Option<(f64, f64)> {
        let (mut mean, mut variance) = (0.0, 0.0);
        for rows in families {
            let losses: Option<Vec<f64>> = rows
                .iter()
                .filter(|row| is_at(row, rate))
                .map(|row| row.finished_loss())
                .collect();
            let losses = losses?;
            let of = families.len() as f64;
            mean += losses.iter().sum::<f64>() / losses.len() as f64 / of;
            variance += 1.0 / losses.len() as f64 / of.powi(2);
        }
        Some((mean, variance))
    };
    let tried: Vec<(f64, Option<(f64, f64)>)> =
        rates.iter().map(|rate| (*rate, at(*rate))).collect();
    let finite = tried
        .iter()
        .filter_map(|(rate, found)| Some((*rate, (*found)?)));
    let finite: Vec<(f64, (f64, f64))> = finite.collect();
    let (best, (lowest, own)) = *finite.iter().min_by(|a, b| a.1.0.total_cmp(&b.1.0))?;
    let alike = |(_, (mean, variance)): &&(f64, (f64, f64))| {
        mean - lowest <= 1.96 * deviation * (own + variance).sqrt()
    };
    let alike: Vec<f64> = finite.iter().filter(alike).map(|(rate, _)| *rate).collect();
    let [low, high] = [alike[0], alike[alike.len() - 1]];
    let runs = families.iter().flat_map(|rows| rows.iter());
    let losses = runs.filter_map(|row| Some((row.finished_loss()?, &row.id)));
    let (_, run) = losses.min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(SweptSize {
        params,
        best,
        best_run: run.0.clone(),
        alike: [low, high],
        // A rate that diverged beyond it is an edge that was seen.
        at_edge: [low == rates[0], high == rates[rates.len() - 1]],
        losses: tried
            .iter()
            .map(|(rate, found)| (*rate, found.map(|(mean, _)| mean)))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiment::run::RunId;

    /// Losses along a parabola in ln rate whose lowest point is `best`.
    fn rows(params: f64, best: f64, rates: &[f64]) -> Vec<Row> {
        let row = |rate: &f64| {
            let loss = 1.0 + 0.1 * (rate / best).ln().powi(2);
            let id = RunId(format!("{params}-{rate}"));
            let mut row = Row::measured(id, ModelKind::Dense, params, 1e6, loss);
            row.family = Some(params.to_string());
            row.learning_rate = Some(*rate);
            row
        };
        rates.iter().map(row).collect()
    }

    const NOISE: Option<SeedNoise> = Some(SeedNoise {
        log: 0.005,
        nats: 0.005,
        settings: 2,
        runs: 4,
    });

    const RATES: [f64; 5] = [0.001, 0.002, 0.004, 0.008, 0.016];

    #[test]
    fn a_best_rate_that_stays_transfers_and_one_that_moves_does_not() {
        let small = rows(1e5, 0.004, &RATES);
        let stays = [small.clone(), rows(2e5, 0.0041, &RATES)].concat();
        let told = sweeps(&stays, NOISE);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].at_all_sizes(), Some([0.004, 0.004]), "{}", told[0]);
        assert!(
            told[0].to_string().contains("it transfers: 0.004"),
            "{}",
            told[0]
        );
        let moves = [small, rows(2e5, 0.001, &RATES)].concat();
        let told = sweeps(&moves, NOISE);
        assert_eq!(told[0].at_all_sizes(), None);
        let words = told[0].to_string();
        assert!(words.contains("does not transfer"), "{words}");
        assert!(
            words.contains("0.001 at N = 200K (the lowest that was tried"),
            "{words}"
        );
    }

    #[test]
    fn a_rate_that_diverged_bounds_the_best_and_one_rate_is_no_sweep() {
        let mut swept = rows(1e5, 0.008, &RATES[..4]);
        let mut diverged = rows(1e5, 0.008, &RATES[4..]);
        diverged[0].outcome = Some(RunOutcome::Diverged);
        diverged[0].loss = None;
        swept.extend(diverged);
        let told = sweeps(&swept, None);
        assert_eq!(told[0].sizes[0].best, 0.008);
        assert_eq!(told[0].sizes[0].at_edge, [false, false]);
        assert_eq!(told[0].sizes[0].losses[4], (0.016, None));
        assert!(sweeps(&rows(1e5, 0.004, &RATES[..1]), None).is_empty());
    }
}
