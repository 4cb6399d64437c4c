//! FLOPs saved against a dense law at equal loss and equal tokens.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::budget::{Domain, Range, Setting};
use super::cost::{Cost, Shape};
use super::error::AllocationError;
use super::minimise::minimise;
use super::optimum::{ActiveBound, active_bounds};
use super::surface::Surface;
use super::variable::Variable;
use crate::fit::bootstrap::{interval, quantile};
use crate::fit::law::FittedLaw;

/// A dense model to be matched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Non-embedding parameters.
    pub params: f64,
    /// Training tokens.
    pub tokens: f64,
}

impl Baseline {
    /// Returns it as a setting without concepts.
    pub fn setting(&self) -> Setting {
        Setting {
            params: self.params,
            tokens: self.tokens,
            concept_share: 0.0,
            compression_ratio: 1.0,
        }
    }
}

/// The cheapest model that matches a dense baseline's loss on the same tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saving {
    /// The dense baseline.
    pub baseline: Baseline,
    /// Its predicted loss in nats per token.
    pub target_loss: f64,
    /// The cheapest setting with that loss.
    #[serde(flatten)]
    pub setting: Setting,
    /// Share of the training FLOPs saved; negative when the baseline is cheaper.
    pub training: f64,
    /// Share of the FLOPs per generated token saved.
    pub inference: f64,
    /// Bounds of the domain on which the setting lies.
    pub active_bounds: Vec<ActiveBound>,
}

/// No setting of the domain reaches the baseline's loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unreachable {
    /// The dense baseline.
    pub baseline: Baseline,
    /// Its predicted loss in nats per token.
    pub target_loss: f64,
    /// The lowest loss found on the same tokens.
    pub lowest_loss: f64,
}

/// Finds the cheapest setting (by training FLOPs) that matches a dense baseline.
///
/// The dense law gives the baseline's loss at (N, D); the other law is searched over N, P and R of
/// the domain at the same D. `Ok(Err(_))` means that nothing in the domain reaches that loss.
///
/// # Errors
/// [`AllocationError`] when the domain is unusable.
pub fn saving(
    dense: &Surface,
    surface: &Surface,
    cost: &dyn Cost,
    domain: &Domain,
    baseline: Baseline,
) -> Result<Result<Saving, Unreachable>, AllocationError> {
    let domain = surface.restrict(domain.with(Variable::Tokens, Range::fixed(baseline.tokens)));
    domain.check()?;
    Ok(cheapest(dense, surface, cost, &domain, baseline, 9))
}

fn cheapest(
    dense: &Surface,
    surface: &Surface,
    cost: &dyn Cost,
    domain: &Domain,
    baseline: Baseline,
    side: usize,
) -> Result<Saving, Unreachable> {
    let target_loss = dense.loss(&baseline.setting());
    let axes: Vec<Variable> = [Variable::ConceptShare, Variable::CompressionRatio]
        .into_iter()
        .filter(|variable| !domain.get(*variable).is_fixed())
        .collect();
    let place = |x: &[f64], params: f64| {
        let at = |variable: Variable| {
            let Range { low, high } = domain.get(variable);
            match axes.iter().position(|axis| *axis == variable) {
                Some(i) if x[i] >= 1.0 => high,
                Some(i) => low + (high - low) * x[i],
                None => low,
            }
        };
        Setting {
            params,
            tokens: baseline.tokens,
            concept_share: at(Variable::ConceptShare),
            compression_ratio: at(Variable::CompressionRatio),
        }
    };
    let smallest = |x: &[f64]| -> Option<Setting> {
        let loss = |params: f64| surface.loss(&place(x, params));
        smallest_reaching(loss, domain.params, target_loss).map(|params| place(x, params))
    };
    let price =
        |x: &[f64]| smallest(x).map_or(f64::INFINITY, |s| cost.training_per_token(&s.shape()).ln());
    let found = minimise(&price, axes.len(), side, &[]).and_then(|(x, _)| smallest(&x));
    let Some(setting) = found else {
        let loss = |x: &[f64]| surface.loss(&place(x, domain.params.high));
        let lowest = minimise(&loss, axes.len(), side, &[]);
        let lowest_loss = lowest.map_or(f64::NAN, |(_, loss)| loss);
        return Err(Unreachable {
            baseline,
            target_loss,
            lowest_loss,
        });
    };
    let saved = |price: fn(&dyn Cost, &Shape) -> f64| {
        1.0 - price(cost, &setting.shape()) / price(cost, &baseline.setting().shape())
    };
    Ok(Saving {
        baseline,
        target_loss,
        setting,
        training: saved(|cost, shape| cost.training_per_token(shape)),
        inference: saved(|cost, shape| cost.inference_per_token(shape)),
        active_bounds: active_bounds(domain, &setting),
    })
}

/// The smallest N of a range that reaches a loss; the loss falls with N.
fn smallest_reaching(loss: impl Fn(f64) -> f64, params: Range, target_loss: f64) -> Option<f64> {
    let Range { low, high } = params;
    let reaches = |ln_params: f64| loss(ln_params.exp()) <= target_loss;
    if reaches(low.ln()) {
        return Some(low);
    }
    if !reaches(high.ln()) {
        return None;
    }
    let (mut above, mut below) = (low.ln(), high.ln());
    for _ in 0..60 {
        let middle = 0.5 * (above + below);
        if reaches(middle) {
            below = middle
        } else {
            above = middle
        }
    }
    Some(below.exp())
}

/// Finds the smallest model without concepts that reaches a loss; `None` where none of the range does.
pub fn smallest_without_concepts(
    surface: &Surface,
    tokens: f64,
    params: Range,
    target_loss: f64,
) -> Option<Baseline> {
    let loss = |params: f64| surface.loss(&Baseline { params, tokens }.setting());
    let params = smallest_reaching(loss, params, target_loss)?;
    Some(Baseline { params, tokens })
}

/// The saving over pairs of resampled fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavingInterval {
    /// Coverage of the intervals.
    pub level: f64,
    /// Interval of the share of training FLOPs saved; an end is `None` where resamples in which the
    /// loss is out of reach make up that tail.
    pub training: [Option<f64>; 2],
    /// Interval of the share of FLOPs per generated token saved.
    pub inference: [Option<f64>; 2],
    /// Median share of training FLOPs saved; `None` when out of reach.
    pub training_median: Option<f64>,
    /// Resamples in which nothing in the domain reaches the baseline's loss.
    pub unreachable: usize,
    /// Pairs of resamples.
    pub draws: usize,
}

impl SavingInterval {
    /// Takes the interval of the savings of resampled fits.
    ///
    /// A resample in which the baseline's loss is out of reach counts as an infinitely bad saving.
    pub fn of(draws: &[Result<Saving, Unreachable>], level: f64) -> Self {
        let values = |pick: fn(&Saving) -> f64| -> Vec<f64> {
            let mut all: Vec<f64> = draws
                .iter()
                .map(|draw| draw.as_ref().map_or(f64::NEG_INFINITY, pick))
                .collect();
            all.sort_by(f64::total_cmp);
            all
        };
        let finite = |value: f64| value.is_finite().then_some(value);
        let ends =
            |values: &[f64]| interval(values, level).map_or([None; 2], |ends| ends.map(finite));
        let training = values(|s| s.training);
        Self {
            level,
            training_median: quantile(&training, 0.5).and_then(finite),
            training: ends(&training),
            inference: ends(&values(|s| s.inference)),
            unreachable: draws.iter().filter(|draw| draw.is_err()).count(),
            draws: draws.len(),
        }
    }
}

/// Finds the saving in every pair of resampled fits (the two laws' runs are independent).
///
/// # Errors
/// [`AllocationError`] when the domain is unusable.
pub fn saving_draws(
    dense: &Surface,
    dense_draws: &[FittedLaw],
    surface: &Surface,
    draws: &[FittedLaw],
    cost: &dyn Cost,
    domain: &Domain,
    baseline: Baseline,
) -> Result<Vec<Result<Saving, Unreachable>>, AllocationError> {
    let domain = surface.restrict(domain.with(Variable::Tokens, Range::fixed(baseline.tokens)));
    domain.check()?;
    let pairs = dense_draws.par_iter().zip(draws.par_iter());
    let savings = pairs.map(|(a, b)| {
        let (dense, surface) = (dense.with_law(a.clone()), surface.with_law(b.clone()));
        cheapest(&dense, &surface, cost, &domain, baseline, 5)
    });
    Ok(savings.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Convention;
    use super::*;
    use crate::fit::law::by_name;

    fn surface(law: &str, p: &[f64]) -> Surface {
        let law = by_name(law).unwrap();
        Surface::new(FittedLaw::from_parts(law, p.to_vec()).unwrap(), &[]).unwrap()
    }

    const BASELINE: Baseline = Baseline {
        params: 1e9,
        tokens: 2e10,
    };

    #[test]
    fn a_law_saves_nothing_against_itself() {
        let dense = surface("chinchilla", &[1.8, 480.0, 2100.0, 0.35, 0.37]);
        let saved = saving(
            &dense,
            &dense,
            &Convention::SixN,
            &Domain::default(),
            BASELINE,
        );
        let saved = saved.unwrap().unwrap();
        assert!(
            saved.training.abs() < 1e-9 && saved.inference.abs() < 1e-9,
            "{saved:?}"
        );
    }

    #[test]
    fn a_smaller_amplitude_saves_what_it_says() {
        // A → A/2 at the same D: N shrinks by 2^(1/α).
        let dense = surface("chinchilla", &[1.8, 480.0, 2100.0, 0.35, 0.37]);
        let other = surface("chinchilla", &[1.8, 240.0, 2100.0, 0.35, 0.37]);
        let saved = saving(
            &dense,
            &other,
            &Convention::SixN,
            &Domain::default(),
            BASELINE,
        );
        let expected = 1.0 - 0.5_f64.powf(1.0 / 0.35);
        assert!((saved.unwrap().unwrap().training - expected).abs() < 1e-9);
    }

    #[test]
    fn the_cheapest_match_reaches_the_loss_and_nothing_near_is_cheaper() {
        let dense = surface("chinchilla", &[1.6, 420.0, 850.0, 0.33, 0.33]);
        let other = surface(
            "dlcm",
            &[
                1.6, 110.0, 2e7, 0.3, 55.0, 0.15, 3e7, 0.28, 850.0, 1e9, 0.33,
            ],
        );
        let (cost, domain) = (Convention::SixNActive, Domain::default());
        let saved = saving(&dense, &other, &cost, &domain, BASELINE)
            .unwrap()
            .unwrap();
        assert!((other.loss(&saved.setting) / saved.target_loss - 1.0).abs() < 1e-12);
        for share in [0.3, 0.5, 0.7, 0.9] {
            for ratio in [2.0, 4.0, 8.0, 16.0] {
                let domain = domain
                    .with(Variable::ConceptShare, Range::fixed(share))
                    .with(Variable::CompressionRatio, Range::fixed(ratio));
                let fixed = saving(&dense, &other, &cost, &domain, BASELINE)
                    .unwrap()
                    .unwrap();
                assert!(
                    fixed.training <= saved.training + 1e-12,
                    "P {share} R {ratio}"
                );
            }
        }
    }

    #[test]
    fn a_loss_out_of_reach_is_said_to_be() {
        let dense = surface("chinchilla", &[1.0, 480.0, 2100.0, 0.35, 0.37]);
        let other = surface("chinchilla", &[3.5, 480.0, 2100.0, 0.35, 0.37]);
        let missed = saving(
            &dense,
            &other,
            &Convention::SixN,
            &Domain::default(),
            BASELINE,
        );
        let missed = missed.unwrap().unwrap_err();
        assert!(missed.lowest_loss > missed.target_loss);
        let draws = [dense.law().clone(), other.law().clone()];
        let dense_draws = [dense.law().clone(), dense.law().clone()];
        let drawn = saving_draws(
            &dense,
            &dense_draws,
            &dense,
            &draws,
            &Convention::SixN,
            &Domain::default(),
            BASELINE,
        );
        let interval = SavingInterval::of(&drawn.unwrap(), 0.9);
        assert_eq!((interval.unreachable, interval.training[0]), (1, None));
    }
}
