//! Confidence by resampling whole runs.
//!
//! Rows of one trajectory are not independent, so a resample draws clusters (runs) with
//! replacement and keeps all rows of a drawn run together. A refit starts from the point fit and
//! from the other minima that the point fit met.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::design::Design;
use super::estimate::{Fit, FitError, check_options};
use super::law::{FittedLaw, Law};
use super::observations::Observations;
use super::solve::{Outcome, Solution, descend};

/// How a resample is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// Clusters are drawn with replacement.
    #[default]
    Pairs,
    /// Every cluster keeps its settings; its residuals keep or change sign together. For few runs
    /// on a designed grid, where drawing runs would lose whole settings.
    Wild,
}

/// How to resample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BootstrapOptions {
    /// Number of resamples.
    pub draws: usize,
    /// How a resample is made.
    pub resampling: Resampling,
    /// Seed; the same seed gives the same draws on any number of threads.
    pub seed: u64,
    /// Coverage of the intervals.
    pub level: f64,
}

impl Default for BootstrapOptions {
    /// Returns 1,000 draws of runs and 95% intervals.
    fn default() -> Self {
        Self { draws: 1000, resampling: Resampling::Pairs, seed: 0, level: 0.95 }
    }
}

/// Refits of resampled data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Name of the law.
    pub law: String,
    /// How it was made.
    pub options: BootstrapOptions,
    /// Natural parameters of every refit, in the law's order.
    pub draws: Vec<Vec<f64>>,
    /// Resamples without a finite fit; they are in no interval.
    pub failed: usize,
    /// Refits that stopped before the minimum; they are in the intervals.
    pub not_converged: usize,
    /// Percentile intervals by parameter.
    pub intervals: BTreeMap<String, [f64; 2]>,
    /// Standard deviations over the draws by parameter.
    pub standard_errors: BTreeMap<String, f64>,
}

impl Bootstrap {
    /// Returns every refit as a predicting law.
    ///
    /// # Errors
    /// [`FitError`] when the draws are not those of `law`.
    pub fn fitted(&self, law: &Arc<dyn Law>) -> Result<Vec<FittedLaw>, FitError> {
        let fitted = |draw: &Vec<f64>| FittedLaw::from_parts(law.clone(), draw.clone());
        Ok(self.draws.iter().map(fitted).collect::<Result<_, _>>()?)
    }
}

/// Refits a law to resampled data, in parallel.
///
/// # Errors
/// [`FitError`] when the data or options are unusable, or `fit` is not a fit of `law`.
pub fn bootstrap(
    law: &Arc<dyn Law>,
    data: &Observations,
    fit: &Fit,
    options: &BootstrapOptions,
) -> Result<Bootstrap, FitError> {
    check_options(&fit.options)?;
    if options.draws == 0 || !(options.level > 0.0 && options.level < 1.0) {
        return Err(FitError::Options("draws must be at least 1 and level in (0, 1)".into()));
    }
    let design = Design::new(law.as_ref(), data)?;
    let named = FittedLaw::from_named(law.clone(), |name| fit.parameters.get(name).copied())?;
    let best = law.internal(named.parameters(), &design.frame);
    let mut starts = vec![best.clone()];
    starts.extend(fit.alternates.iter().map(|p| law.internal(p, &design.frame)));
    let residuals = design.residuals(&best);
    let clusters = Clusters::of(data);

    let ends: Vec<Option<Solution>> = (0..options.draws)
        .into_par_iter()
        .map(|draw| {
            let mut random = ChaCha8Rng::seed_from_u64(options.seed);
            random.set_stream(draw as u64);
            let sample = match options.resampling {
                Resampling::Pairs => design.resampled(&clusters.counts(&mut random)),
                Resampling::Wild => {
                    let signs = clusters.signs(&mut random);
                    let mut sample = design.clone();
                    for ((target, r), sign) in sample.target.iter_mut().zip(&residuals).zip(signs) {
                        // target + r is the prediction; the new residual is ±r.
                        *target += r - sign * r;
                    }
                    sample
                }
            };
            starts
                .iter()
                .map(|start| descend(&sample, fit.options.objective, start))
                .filter(|end| end.objective.is_finite())
                .min_by(|a, b| a.objective.total_cmp(&b.objective))
        })
        .collect();

    let found: Vec<&Solution> = ends.iter().flatten().collect();
    let draws: Vec<Vec<f64>> =
        found.iter().map(|end| law.natural(&end.u, &design.frame)).collect();
    let (mut intervals, mut standard_errors) = (BTreeMap::new(), BTreeMap::new());
    for (j, parameter) in law.parameters().into_iter().enumerate() {
        let values: Vec<f64> = draws.iter().map(|draw| draw[j]).collect();
        if let Some(interval) = interval(&values, options.level) {
            intervals.insert(parameter.name.clone(), interval);
        }
        standard_errors.insert(parameter.name, deviation(&values));
    }
    Ok(Bootstrap {
        law: law.name(),
        options: *options,
        failed: options.draws - found.len(),
        not_converged: found.iter().filter(|end| end.outcome != Outcome::Converged).count(),
        draws,
        intervals,
        standard_errors,
    })
}

/// Rows by cluster.
struct Clusters {
    of_row: Vec<usize>,
    present: usize,
}

impl Clusters {
    fn of(data: &Observations) -> Self {
        let mut ids = data.clusters().to_vec();
        ids.sort_unstable();
        ids.dedup();
        let position = |c: &usize| ids.binary_search(c).unwrap_or(0);
        Self { of_row: data.clusters().iter().map(position).collect(), present: ids.len() }
    }

    /// Draws clusters with replacement and returns how often each row occurs.
    fn counts(&self, random: &mut ChaCha8Rng) -> Vec<f64> {
        let mut counts = vec![0.0; self.present];
        for _ in 0..self.present {
            counts[random.random_range(0..self.present)] += 1.0;
        }
        self.of_row.iter().map(|c| counts[*c]).collect()
    }

    /// Draws a sign for every cluster and returns it for each row.
    fn signs(&self, random: &mut ChaCha8Rng) -> Vec<f64> {
        let signs: Vec<f64> =
            (0..self.present).map(|_| if random.random() { 1.0 } else { -1.0 }).collect();
        self.of_row.iter().map(|c| signs[*c]).collect()
    }
}

/// Returns the central percentile interval, or `None` without finite values.
pub(crate) fn interval(values: &[f64], level: f64) -> Option<[f64; 2]> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - level);
    Some([quantile(&sorted, tail)?, quantile(&sorted, 1.0 - tail)?])
}

/// Returns a quantile of sorted values, interpolating between order statistics.
pub(crate) fn quantile(sorted: &[f64], probability: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = probability.clamp(0.0, 1.0) * last as f64;
    let (low, share) = (position.floor() as usize, position.fract());
    let high = (low + 1).min(last);
    // Without the branch an infinite neighbour of weight 0 would give NaN.
    Some(if share == 0.0 { sorted[low] } else { sorted[low] * (1.0 - share) + sorted[high] * share })
}

/// Returns the standard deviation.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.25), Some(1.25));
        assert_eq!(quantile(&[1.0, f64::INFINITY], 0.0), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
