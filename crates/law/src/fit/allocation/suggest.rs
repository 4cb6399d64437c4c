//! Which runs to train next: those that narrow the answer most per FLOP.

use std::cmp::Ordering;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::budget::{Budget, Domain, Setting};
use super::cost::Cost;
use super::optimum::{Optimum, best};
use super::surface::Surface;
use super::variable::Variable;
use crate::fit::law::FittedLaw;

/// A run that could be trained next.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its setting.
    #[serde(flatten)]
    pub setting: Setting,
    /// What it costs in training FLOPs.
    pub flops: f64,
}

/// A candidate that was chosen, in the order of choice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// Position among the candidates.
    pub index: usize,
    /// The candidate.
    #[serde(flatten)]
    pub candidate: Candidate,
    /// Share of the answer's present variance that it removes, after those chosen before it.
    pub reduction: f64,
    /// Share of the present variance that remains after it.
    pub remaining: f64,
}

/// Chooses up to `count` candidates, one after the other, by variance removed per FLOP.
///
/// The answer is the optimum within a budget: of ln N, ln D, P and ln R those that are asked for, each
/// scaled by its present spread over `draws`. Over the draws, answers and candidate losses are taken as jointly Gaussian,
/// so measuring a loss with noise `noise` (standard deviation of the log loss between seeds) removes
/// a share of the variance that is known before the run. Returns fewer when nothing narrows the
/// answer any more, and none when the answer does not vary.
#[expect(
    clippy::too_many_arguments,
    reason = "an allocation, and what may be trained next"
)]
pub fn suggest(
    surface: &Surface,
    draws: &[FittedLaw],
    cost: &dyn Cost,
    domain: &Domain,
    budget: &Budget,
    reported: &Optimum,
    candidates: &[Candidate],
    noise: f64,
    asked: &[Variable],
    count: usize,
) -> Vec<Suggestion> {
    let samples: Vec<Sample> = draws
        .par_iter()
        .filter_map(|law| {
            let drawn = surface.with_law(law.clone());
            let hint = Some(&reported.setting);
            let found = best(&drawn, cost, domain, budget, 5, hint).ok()?.setting;
            let answer = asked.iter().map(|variable| match variable {
                Variable::ConceptShare => found.concept_share,
                other => found.get(*other).ln(),
            });
            let answer: Vec<f64> = answer.collect();
            let losses = candidates
                .iter()
                .map(|c| drawn.loss(&c.setting).ln())
                .collect();
            Some((answer, losses))
        })
        .filter(|(answer, losses)| answer.iter().chain(losses).all(|v| v.is_finite()))
        .collect();
    let mut joint = Joint::of(&samples);
    let total = joint.answers.len() as f64;
    let mut chosen: Vec<Suggestion> = Vec::new();
    while chosen.len() < count && total > 0.0 {
        let gain = |j: usize| joint.gain(j, noise) / candidates[j].flops;
        let open = (0..candidates.len()).filter(|j| chosen.iter().all(|s| s.index != *j));
        let better =
            |a: &usize, b: &usize| gain(*a).partial_cmp(&gain(*b)).unwrap_or(Ordering::Equal);
        let Some(index) = open.max_by(better) else {
            break;
        };
        let reduction = joint.gain(index, noise) / total;
        if reduction.is_nan() || reduction <= 1e-6 {
            break;
        }
        joint.observe(index, noise);
        let remaining = joint.remaining() / total;
        chosen.push(Suggestion {
            index,
            candidate: candidates[index],
            reduction,
            remaining,
        });
    }
    chosen
}

/// A resample's answers and its log losses at the candidates.
type Sample = (Vec<f64>, Vec<f64>);

/// Covariances of scaled answers and candidate losses.
struct Joint {
    /// Resamples that the covariances are known from.
    samples: f64,
    /// Covariance of every answer (with itself first) and the candidates: `[variance, covariances]`.
    answers: Vec<(f64, Vec<f64>)>,
    losses: Vec<Vec<f64>>,
}

impl Joint {
    fn of(samples: &[Sample]) -> Self {
        let n = samples.len() as f64;
        let centered = |pick: &dyn Fn(&Sample) -> f64| -> Vec<f64> {
            let values: Vec<f64> = samples.iter().map(pick).collect();
            let mean = values.iter().sum::<f64>() / n;
            values.into_iter().map(|v| v - mean).collect()
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / n;
        let Some((answer, loss)) = samples.first() else {
            return Self {
                samples: n,
                answers: Vec::new(),
                losses: Vec::new(),
            };
        };
        let losses: Vec<Vec<f64>> = (0..loss.len()).map(|j| centered(&|s| s.1[j])).collect();
        let answers = (0..answer.len())
            .map(|q| centered(&|s| s.0[q]))
            .filter(|values| dot(values, values) > 1e-12)
            .map(|values| {
                let spread = dot(&values, &values).sqrt();
                (
                    1.0,
                    losses
                        .iter()
                        .map(|loss| dot(&values, loss) / spread)
                        .collect(),
                )
            })
            .collect();
        let losses = losses
            .iter()
            .map(|a| losses.iter().map(|b| dot(a, b)).collect())
            .collect();
        Self {
            samples: n,
            answers,
            losses,
        }
    }

    /// The variance of the answers that a candidate's loss takes off.
    ///
    /// By chance alone a squared correlation over n resamples is about 1/n, which for a cheap run looks like much for its
    /// FLOPs: it is taken off, as in an adjusted coefficient of determination.
    fn gain(&self, j: usize, noise: f64) -> f64 {
        let own_variance = self.losses[j][j];
        // What was measured exactly tells nothing more.
        if own_variance <= 0.0 {
            return 0.0;
        }
        let variance = own_variance + noise * noise;
        let gain = |(own, c): &(f64, Vec<f64>)| {
            let explained = c[j] * c[j] / own_variance;
            let by_chance = (own - explained).max(0.0) / (self.samples - 2.0);
            (explained - by_chance).max(0.0) * own_variance / variance
        };
        self.answers.iter().map(gain).sum()
    }

    fn observe(&mut self, j: usize, noise: f64) {
        let variance = self.losses[j][j] + noise * noise;
        let row = self.losses[j].clone();
        for (own, covariances) in &mut self.answers {
            let pull = covariances[j] / variance;
            *own -= pull * covariances[j];
            covariances
                .iter_mut()
                .zip(&row)
                .for_each(|(c, r)| *c -= pull * r);
        }
        for (i, losses) in self.losses.iter_mut().enumerate() {
            let pull = row[i] / variance;
            losses
                .iter_mut()
                .zip(&row)
                .for_each(|(c, r)| *c -= pull * r);
        }
    }

    fn remaining(&self) -> f64 {
        self.answers.iter().map(|(own, _)| own.max(0.0)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two answers: the first is told by loss 0, the second by loss 1, loss 2 is noise.
    fn samples() -> Vec<Sample> {
        (0..200)
            .map(|i| {
                let at = |k: f64| (f64::from(i) * k).sin();
                let (a, b, c) = (at(1.7), at(2.9), at(4.3));
                (vec![a, 3.0 * b], vec![0.1 * a, 0.02 * b, c])
            })
            .collect()
    }

    #[test]
    fn an_observation_removes_what_it_explains() {
        let mut joint = Joint::of(&samples());
        assert!((joint.gain(0, 0.0) - 1.0).abs() < 0.02 && joint.gain(2, 0.0) < 0.02);
        joint.observe(0, 0.0);
        assert!(joint.gain(0, 0.0).is_nan() || joint.gain(0, 1e-9) < 1e-6);
        assert!((joint.remaining() - 1.0).abs() < 0.02);
    }

    #[test]
    fn noise_makes_a_measurement_worth_less() {
        let joint = Joint::of(&samples());
        assert!(joint.gain(1, 0.02) < 0.5 * joint.gain(1, 0.0));
    }
}
