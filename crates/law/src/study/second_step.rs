//! Accuracy from bits per byte: the second step of a law on scores.
//!
//! Of small models accuracy says little while the bits of the right answers fall already. A law predicts the bits, and a
//! sigmoid, fitted to the runs that answer better than by guessing, says what accuracy goes with them.
//!
//! # Source
//! Bhagia et al., arXiv 2412.04403 (task loss, then accuracy by a sigmoid); that few tasks can be predicted so:
//! arXiv 2507.00885.

use serde::Serialize;
use std::fmt;

/// Runs that a sigmoid is fitted to, at least.
const FEWEST: usize = 6;
/// Share of the runs that are held out: those of the most training FLOPs.
const HELD_OUT: f64 = 0.25;
/// Rank correlations that are called monotone, at least.
const MONOTONE: f64 = 0.5;

/// A run's scores of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskScore {
    /// Bits for each byte of the right answers.
    pub bits_per_byte: f64,
    /// Share of right answers.
    pub accuracy: f64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Whether the accuracy is within two standard errors of it: then it is not fitted.
    pub at_chance: bool,
    /// Training FLOPs.
    pub flops: f64,
}

/// accuracy = chance + (1 − chance) · σ(slope · (middle − bits)).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SecondStep {
    /// Accuracy of guessing.
    pub chance: f64,
    /// How steeply accuracy grows as bits fall, per bit.
    pub slope: f64,
    /// Bits per byte at which the accuracy is halfway between guessing and always right.
    pub middle: f64,
    /// Runs that it was fitted to: those that answer better than by guessing.
    pub runs: usize,
    /// Runs that are at chance and not fitted.
    pub at_chance: usize,
    /// Root mean square error of the accuracy on the runs of the most training FLOPs, fitted without them.
    pub held_out_error: f64,
    /// How many those are.
    pub held_out: usize,
}

/// An accuracy that is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PredictedAccuracy {
    /// Bits for each byte that the law predicts.
    pub bits_per_byte: f64,
    /// The accuracy that goes with them.
    pub accuracy: f64,
    /// Its interval, from that of the bits; the sigmoid's own error is not in it.
    pub interval: Option<[f64; 2]>,
}

/// Fits the second step.
///
/// # Errors
/// Why it cannot be: too few runs that answer better than by guessing, bits that do not fall with training FLOPs, or
/// accuracies that do not grow as bits fall.
pub fn second_step(scores: &[TaskScore]) -> Result<SecondStep, String> {
    let mut fitted: Vec<TaskScore> = scores.iter().copied().filter(|s| !s.at_chance).collect();
    if fitted.len() < FEWEST {
        return Err(format!(
            "{} of {} runs answer better than by guessing, and {FEWEST} are needed: predict its bits per byte \
             (`--target TASK.bits_per_byte`), or train larger models",
            fitted.len(),
            scores.len()
        ));
    }
    let column = |of: &[TaskScore], value: fn(&TaskScore) -> f64| -> Vec<f64> {
        of.iter().map(value).collect()
    };
    let bits = |s: &TaskScore| s.bits_per_byte;
    let first = rank_correlation(&column(scores, |s| s.flops), &column(scores, bits));
    if first > -MONOTONE {
        return Err(format!(
            "bits per byte do not fall steadily with training FLOPs (rank correlation {first:.2}): what a law predicts \
             of them would say nothing of accuracy"
        ));
    }
    let second = rank_correlation(&column(&fitted, bits), &column(&fitted, |s| s.accuracy));
    if second > -MONOTONE {
        return Err(format!(
            "accuracy does not grow steadily as bits per byte fall (rank correlation {second:.2})"
        ));
    }
    fitted.sort_by(|a, b| a.flops.total_cmp(&b.flops));
    let held_out = ((fitted.len() as f64 * HELD_OUT).round() as usize).max(1);
    let (smaller, larger) = fitted.split_at(fitted.len() - held_out);
    let chance = fitted[0].chance;
    let without = sigmoid(smaller, chance);
    let errors = larger
        .iter()
        .map(|s| (at(without, chance, s.bits_per_byte) - s.accuracy).powi(2));
    let held_out_error = (errors.sum::<f64>() / held_out as f64).sqrt();
    let [slope, middle] = sigmoid(&fitted, chance);
    Ok(SecondStep {
        chance,
        slope,
        middle,
        runs: fitted.len(),
        at_chance: scores.len() - fitted.len(),
        held_out_error,
        held_out,
    })
}

fn at([slope, middle]: [f64; 2], chance: f64, bits: f64) -> f64 {
    chance + (1.0 - chance) / (1.0 + (-slope * (middle - bits)).exp())
}

/// Finds slope and middle of the least squares: by a grid, then by ever finer ones around its best.
fn sigmoid(scores: &[TaskScore], chance: f64) -> [f64; 2] {
    let bits = || scores.iter().map(|s| s.bits_per_byte);
    let (low, high) = bits().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), b| {
        (low.min(b), high.max(b))
    });
    let width = (high - low).max(1e-6);
    let squares = |point: [f64; 2]| -> f64 {
        let error = |s: &TaskScore| at(point, chance, s.bits_per_byte) - s.accuracy;
        scores.iter().map(|s| error(s).powi(2)).sum()
    };
    // The slope on a logarithmic scale: from hardly any change over the runs to a step between them.
    let mut centre = [(4.0 / width).ln(), 0.5 * (low + high)];
    let mut reach = [4.0, 4.0 * width];
    for _ in 0..40 {
        const STEPS: i32 = 6;
        let mut best = (f64::INFINITY, centre);
        for i in -STEPS..=STEPS {
            for j in -STEPS..=STEPS {
                let share = |k: i32| f64::from(k) / f64::from(STEPS);
                let point = [
                    centre[0] + reach[0] * share(i),
                    centre[1] + reach[1] * share(j),
                ];
                let found = squares([point[0].exp(), point[1]]);
                if found < best.0 {
                    best = (found, point);
                }
            }
        }
        centre = best.1;
        reach = reach.map(|reach| 0.6 * reach);
    }
    [centre[0].exp(), centre[1]]
}

/// Spearman's rank correlation; ties take their mean rank.
fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    if spread > 0.0 {
        product(&a, &b) / spread
    } else {
        0.0
    }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count() as f64;
        let same = values.iter().filter(|other| *other == value).count() as f64;
        below + (same - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

impl SecondStep {
    /// Says what accuracy goes with bits per byte, and with the ends of their interval.
    pub fn predict(&self, bits: f64, interval: Option<[f64; 2]>) -> PredictedAccuracy {
        let accuracy = |bits: f64| at([self.slope, self.middle], self.chance, bits);
        PredictedAccuracy {
            bits_per_byte: bits,
            accuracy: accuracy(bits),
            interval: interval.map(|[low, high]| [accuracy(high), accuracy(low)]),
        }
    }
}

impl fmt::Display for SecondStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "accuracy = {:.3} + {:.3} · σ({:.3} · ({:.3} − bits/byte)), by {} runs that answer better than by guessing \
             ({} do not); wrong by {:.3} on the {} largest when those are held out",
            self.chance,
            1.0 - self.chance,
            self.slope,
            self.middle,
            self.runs,
            self.at_chance,
            self.held_out_error,
            self.held_out
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(n: usize) -> Vec<TaskScore> {
        let score = |k: usize| {
            let bits_per_byte = 3.0 - 0.2 * k as f64;
            TaskScore {
                bits_per_byte,
                accuracy: at([2.5, 1.7], 0.25, bits_per_byte),
                chance: 0.25,
                at_chance: false,
                flops: 10f64.powi(k as i32),
            }
        };
        (0..n).map(score).collect()
    }

    #[test]
    fn a_planted_sigmoid_is_found() {
        let step = second_step(&scores(10)).expect("monotone");
        assert!(
            (step.slope - 2.5).abs() < 1e-5 && (step.middle - 1.7).abs() < 1e-5,
            "{step:?}"
        );
        assert!(step.held_out_error < 1e-5 && step.held_out == 3, "{step:?}");
        let predicted = step.predict(1.7, Some([1.5, 2.0]));
        assert!((predicted.accuracy - 0.625).abs() < 1e-6);
        let [low, high] = predicted.interval.expect("one");
        assert!(low < predicted.accuracy && high > predicted.accuracy);
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let refused = |scores: &[TaskScore]| second_step(scores).expect_err("refused");
        let mut guessed = scores(10);
        guessed[..5].iter_mut().for_each(|s| s.at_chance = true);
        assert!(refused(&guessed).contains("5 of 10 runs answer better"));
        let mut flat = scores(8);
        flat.iter_mut()
            .enumerate()
            .for_each(|(k, s)| s.flops = [1.0, 2.0][k % 2]);
        assert!(refused(&flat).contains("do not fall steadily"));
        let mut wrong = scores(8);
        wrong.iter_mut().for_each(|s| s.accuracy = 1.0 - s.accuracy);
        assert!(refused(&wrong).contains("does not grow steadily"));
    }

    #[test]
    fn ties_take_their_mean_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), [1.5, 0.0, 1.5]);
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        assert_eq!(rank_correlation(&[1.0, 1.0], &[3.0, 2.0]), 0.0);
    }
}
