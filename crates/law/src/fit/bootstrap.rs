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

use super::absorbed::leverages;
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
        Self {
            draws: 1000,
            resampling: Resampling::Pairs,
            seed: 0,
            level: 0.95,
        }
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
    /// Resamples without a finite fit, and all of them where there is only one run to draw; they are
    /// in no interval.
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
        return Err(FitError::Options(
            "draws must be at least 1 and level in (0, 1)".into(),
        ));
    }
    let design = Design::new(law.as_ref(), data)?.under(fit.options.objective);
    let starts = starts(law, fit, &design)?;
    let residuals = design.residuals(&starts[0]);
    let whole = match options.resampling {
        Resampling::Pairs => Vec::new(),
        Resampling::Wild => unshrunk(&design, &starts[0], &residuals),
    };
    let clusters = Clusters::of(data);
    // One run drawn again and again gives intervals without width, and the signs of one run two fits.
    let draws = match clusters.present {
        0 | 1 => 0,
        _ => options.draws,
    };

    let ends: Vec<Option<Solution>> = (0..draws)
        .into_par_iter()
        .map(|draw| {
            let mut random = ChaCha8Rng::seed_from_u64(options.seed);
            random.set_stream(draw as u64);
            let sample = match options.resampling {
                Resampling::Pairs => design.resampled(&clusters.counts(&mut random)),
                Resampling::Wild => {
                    let signs = clusters.signs(&mut random);
                    let mut sample = design.clone();
                    let rows = residuals.iter().zip(&whole).zip(signs);
                    for (target, ((r, whole), sign)) in sample.target.iter_mut().zip(rows) {
                        // target + r is the prediction.
                        *target += r - sign * whole;
                    }
                    sample
                }
            };
            lowest(&sample, fit, &starts)
        })
        .collect();

    // A refit may run off to where a natural parameter overflows: that is no fit either.
    let found: Vec<(Vec<f64>, Outcome)> = ends
        .into_iter()
        .flatten()
        .map(|end| (law.natural(&end.u, &design.frame), end.outcome))
        .filter(|(natural, _)| natural.iter().all(|v| v.is_finite()))
        .collect();
    let not_converged = found
        .iter()
        .filter(|(_, o)| *o != Outcome::Converged)
        .count();
    let draws: Vec<Vec<f64>> = found.into_iter().map(|(natural, _)| natural).collect();
    let (mut intervals, mut standard_errors) = (BTreeMap::new(), BTreeMap::new());
    for (j, parameter) in law.parameters().into_iter().enumerate() {
        let values: Vec<f64> = draws.iter().map(|draw| draw[j]).collect();
        if let Some(interval) = interval(&values, options.level) {
            intervals.insert(parameter.name.clone(), interval);
        }
        if values.len() > 1 {
            standard_errors.insert(parameter.name, deviation(&values));
        }
    }
    Ok(Bootstrap {
        law: law.name(),
        options: *options,
        failed: options.draws - draws.len(),
        not_converged,
        draws,
        intervals,
        standard_errors,
    })
}

/// Refits a law to other data from where a fit of it ended; `None` where there is no finite minimum.
///
/// # Errors
/// As [`bootstrap`].
pub fn refit(
    law: &Arc<dyn Law>,
    data: &Observations,
    fit: &Fit,
) -> Result<Option<FittedLaw>, FitError> {
    let design = Design::new(law.as_ref(), data)?.under(fit.options.objective);
    let starts = starts(law, fit, &design)?;
    let natural = lowest(&design, fit, &starts).map(|end| law.natural(&end.u, &design.frame));
    let natural = natural.filter(|natural| natural.iter().all(|v| v.is_finite()));
    let fitted = natural.map(|natural| FittedLaw::from_parts(law.clone(), natural));
    Ok(fitted.transpose()?)
}

/// Residuals as large as the noise that they are from: a fit takes part of each row's, and what is left is as much too
/// small.
fn unshrunk(design: &Design<'_>, at: &[f64], residuals: &[f64]) -> Vec<f64> {
    let leverages = leverages(design, at).unwrap_or_else(|| vec![0.0; design.rows()]);
    let rows = residuals.iter().zip(leverages);
    rows.map(|(r, taken)| r / (1.0 - taken).max(0.1)).collect()
}

/// Where a fit ended, and the other minima that it met.
fn starts(law: &Arc<dyn Law>, fit: &Fit, design: &Design<'_>) -> Result<Vec<Vec<f64>>, FitError> {
    let named = FittedLaw::from_named(law.clone(), |name| fit.parameters.get(name).copied())?;
    let others = fit.alternates.iter().map(Vec::as_slice);
    let all = std::iter::once(named.parameters()).chain(others);
    Ok(all.map(|p| law.internal(p, &design.frame)).collect())
}

/// The lowest end of a few starts.
fn lowest(design: &Design<'_>, fit: &Fit, starts: &[Vec<f64>]) -> Option<Solution> {
    starts
        .iter()
        .map(|start| descend(design, fit.options.objective, start))
        .filter(|end| end.objective.is_finite())
        .min_by(|a, b| a.objective.total_cmp(&b.objective))
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
        Self {
            of_row: data.clusters().iter().map(position).collect(),
            present: ids.len(),
        }
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
        let signs: Vec<f64> = (0..self.present)
            .map(|_| if random.random() { 1.0 } else { -1.0 })
            .collect();
        self.of_row.iter().map(|c| signs[*c]).collect()
    }
}

/// Returns the central percentile interval, or `None` without finite values.
pub fn interval(values: &[f64], level: f64) -> Option<[f64; 2]> {
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
    Some(if share == 0.0 {
        sorted[low]
    } else {
        sorted[low] * (1.0 - share) + sorted[high] * share
    })
}

/// Returns the standard deviation.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fit::law::by_name;
    use crate::fit::solve::search;
    use crate::fit::{FitOptions, Objective, fit};

    /// Runs of a Chinchilla law: a size each, five lengths, one common error a run.
    fn runs(error: f64) -> Observations {
        let (mut columns, mut labels) = (vec![Vec::new(); 3], Vec::new());
        for run in 0..24 {
            let params = 1e7 * 1.35_f64.powi(run);
            for tokens in [1e9, 4e9, 1.6e10, 6.4e10, 2.6e11] {
                let loss = 1.8 + 480.0 / f64::powf(params, 0.35) + 2100.0 / f64::powf(tokens, 0.37);
                let noise = error * (f64::from(run) * 2.399).sin() + 1e-4 * (loss * 1e4).sin();
                let values = [params, tokens, loss * noise.exp()];
                columns.iter_mut().zip(values).for_each(|(c, v)| c.push(v));
                labels.push(run.to_string());
            }
        }
        let names = ["params", "tokens", "loss"];
        Observations::new(names.into_iter().zip(columns))
            .unwrap()
            .with_clusters(&labels)
            .unwrap()
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.25), Some(1.25));
        assert_eq!(quantile(&[1.0, f64::INFINITY], 0.0), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn all_rows_of_a_run_stay_together() {
        let data = runs(0.01);
        let clusters = Clusters::of(&data);
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let counts = clusters.counts(&mut random);
        assert!(counts.chunks(5).all(|run| run.iter().all(|c| *c == run[0])));
        assert_eq!(counts.iter().sum::<f64>(), 120.0);
    }

    #[test]
    fn one_seed_gives_one_answer() {
        let (law, data) = (by_name("chinchilla").unwrap(), runs(0.01));
        let fitted = fit(&law, &data, &FitOptions::default()).unwrap();
        let options = BootstrapOptions {
            draws: 40,
            ..BootstrapOptions::default()
        };
        let once = bootstrap(&law, &data, &fitted, &options).unwrap();
        assert_eq!(once, bootstrap(&law, &data, &fitted, &options).unwrap());
        let other = BootstrapOptions { seed: 7, ..options };
        assert_ne!(
            once.draws,
            bootstrap(&law, &data, &fitted, &other).unwrap().draws
        );
    }

    #[test]
    fn rows_taken_for_runs_would_claim_too_much() {
        let (law, data) = (by_name("chinchilla").unwrap(), runs(0.01));
        let fitted = fit(&law, &data, &FitOptions::default()).unwrap();
        let options = BootstrapOptions {
            draws: 200,
            ..BootstrapOptions::default()
        };
        let by_run = bootstrap(&law, &data, &fitted, &options).unwrap();
        let rows: Vec<String> = (0..data.len()).map(|row| row.to_string()).collect();
        let data = data.with_clusters(&rows).unwrap();
        let by_row = bootstrap(&law, &data, &fitted, &options).unwrap();
        assert!(by_run.standard_errors["alpha"] > 1.5 * by_row.standard_errors["alpha"]);
    }

    #[test]
    fn warm_refits_reach_the_minimum_of_a_full_search() {
        let (law, data) = (by_name("chinchilla").unwrap(), runs(0.01));
        for objective in [
            Objective::default(),
            Objective::Huber { delta: 1e-4 },
            Objective::L2,
        ] {
            let fitted = fit(
                &law,
                &data,
                &FitOptions {
                    objective,
                    ..FitOptions::default()
                },
            )
            .unwrap();
            let options = BootstrapOptions {
                draws: 30,
                ..BootstrapOptions::default()
            };
            let warm = bootstrap(&law, &data, &fitted, &options).unwrap();
            let design = Design::new(law.as_ref(), &data).unwrap();
            let clusters = Clusters::of(&data);
            for (draw, natural) in warm.draws.iter().enumerate() {
                let mut random = ChaCha8Rng::seed_from_u64(options.seed);
                random.set_stream(draw as u64);
                let sample = design.resampled(&clusters.counts(&mut random));
                let full = search(&sample, objective, 24, &[]).unwrap().best.objective;
                let residuals = sample.residuals(&law.internal(natural, &design.frame));
                let found: f64 = residuals
                    .iter()
                    .zip(&sample.weight)
                    .map(|(r, w)| w * objective.value(*r))
                    .sum();
                assert!(
                    found <= full * (1.0 + 1e-6),
                    "draw {draw}: {found} against {full}"
                );
            }
        }
    }

    #[test]
    fn one_run_has_no_interval() {
        let (law, data) = (by_name("chinchilla").unwrap(), runs(0.01));
        let data = data.with_clusters(&["only"; 120]).unwrap();
        let fitted = fit(&law, &data, &FitOptions::default()).unwrap();
        let result = bootstrap(&law, &data, &fitted, &BootstrapOptions::default()).unwrap();
        assert_eq!((result.failed, result.draws.len()), (1000, 0));
        assert!(result.intervals.is_empty() && result.standard_errors.is_empty());
    }

    #[test]
    fn one_run_gives_no_interval_however_it_is_resampled() {
        let law = by_name("chinchilla").unwrap();
        let data = runs(0.005);
        let data = data
            .clone()
            .with_clusters(&vec!["one"; data.len()])
            .unwrap();
        let fitted = fit(&law, &data, &FitOptions::default()).unwrap();
        for resampling in [Resampling::Pairs, Resampling::Wild] {
            let options = BootstrapOptions {
                draws: 10,
                resampling,
                ..BootstrapOptions::default()
            };
            let result = bootstrap(&law, &data, &fitted, &options).unwrap();
            assert!(result.draws.is_empty() && result.intervals.is_empty());
        }
    }

    #[test]
    fn intervals_cover_the_truth() {
        let (law, data) = (by_name("chinchilla").unwrap(), runs(0.005));
        let fitted = fit(&law, &data, &FitOptions::default()).unwrap();
        for resampling in [Resampling::Pairs, Resampling::Wild] {
            let options = BootstrapOptions {
                draws: 300,
                resampling,
                ..BootstrapOptions::default()
            };
            let result = bootstrap(&law, &data, &fitted, &options).unwrap();
            for (name, truth) in [("E", 1.8), ("alpha", 0.35), ("beta", 0.37)] {
                let [low, high] = result.intervals[name];
                assert!(
                    low <= truth && truth <= high,
                    "{resampling:?} {name}: {low} to {high}"
                );
            }
            assert_eq!((result.failed, result.not_converged), (0, 0));
        }
    }
}
