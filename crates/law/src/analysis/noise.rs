//! How noisy losses are, and refits under that noise.

use super::estimate::{Estimate, over};
use super::observe::SeedNoise;
use super::report::NoiseSource;
use crate::fit::{Fit, Law, Observations, refit};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Fewer runs to spare than this do not tell the noise; the other law's are added.
const SPARE: usize = 5;

/// The scale of the noise on ln loss: what replicates show or what the fit leaves, if larger.
///
/// The runs of both laws are of one experiment, so a fit with hardly a run to spare borrows what
/// the other one leaves. `taken` is how many rows' variance the fit explains away.
pub(super) fn noise_of(
    found: &Fit,
    parameters: usize,
    taken: f64,
    replicates: Option<SeedNoise>,
    other: Option<&Estimate>,
) -> (Option<f64>, NoiseSource) {
    let rows = found.n_rows as f64;
    let freedom = found.n_rows.saturating_sub(parameters);
    let left = |rms: f64, rows: f64| rows * rms.powi(2);
    let mut squares = left(found.goodness.rms_residual, rows);
    // A fit through all rows leaves nothing but rounding.
    let mut spare = Some(rows - taken)
        .filter(|spare| *spare > 1e-6)
        .unwrap_or(0.0);
    let mut source = NoiseSource::Residuals { freedom };
    if let (Some(other), true) = (other, freedom < SPARE) {
        squares += left(other.report.rms_residual, other.report.runs as f64);
        spare += other.report.freedom as f64;
        source = NoiseSource::BothLaws;
    }
    let residual = (spare > 0.0)
        .then(|| (squares / spare).sqrt())
        .filter(|s| s.is_finite());
    match (residual, replicates) {
        (residual, Some(seeds)) if residual.is_none_or(|sigma| sigma < seeds.log) => {
            (Some(seeds.log), NoiseSource::Replicates)
        }
        (residual, _) => (residual, source),
    }
}

/// Share of the variance of the noise that branches have from their trunk: the same seed and the same
/// text until they leave it. Few trunks do not tell it; half keeps intervals honest both along a trunk
/// and between trunks.
pub(super) const OF_TRUNK: f64 = 0.5;

/// Refits of losses that are the fitted ones with fresh noise.
pub(super) struct Refits<'a> {
    pub(super) law: &'a Arc<dyn Law>,
    pub(super) data: &'a Observations,
    /// The fitted loss of every row.
    pub(super) expected: &'a [f64],
    pub(super) found: &'a Fit,
    /// Standard deviation of ln loss.
    pub(super) sigma: f64,
    pub(super) seed: u64,
}

impl Refits<'_> {
    /// Makes the k-th refit, over a floor where the law needs one; `None` when it has no minimum.
    pub(super) fn draw(&self, k: usize, floor: Option<f64>) -> Option<Vec<f64>> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(k as u64);
        let noise = noise(self.data.clusters(), &mut random);
        let noisy = self.expected.iter().zip(noise);
        let noisy = noisy.map(|(expected, noise)| expected * (self.sigma * noise).exp());
        let response = self.law.response();
        let data = self.data.clone().with_column(response, noisy.collect());
        let data = over(data, floor).ok()?;
        let found = refit(self.law, &data, self.found).ok().flatten()?;
        Some(found.parameters().to_vec())
    }
}

/// Draws noise of variance 1 for runs of these clusters, correlated where they share one.
pub(super) fn noise<T: Copy + Eq + Hash>(clusters: &[T], random: &mut ChaCha8Rng) -> Vec<f64> {
    let mut sizes: HashMap<T, usize> = HashMap::new();
    for &cluster in clusters {
        *sizes.entry(cluster).or_default() += 1;
    }
    let mut of_trunks: HashMap<T, f64> = HashMap::new();
    let mut draws = Vec::with_capacity(clusters.len());
    for &cluster in clusters {
        let own = normal(random);
        draws.push(match sizes[&cluster] {
            1 => own,
            _ => {
                let trunk = of_trunks.entry(cluster).or_insert_with(|| normal(random));
                OF_TRUNK.sqrt() * *trunk + (1.0 - OF_TRUNK).sqrt() * own
            }
        });
    }
    draws
}

/// Draws from the standard normal distribution (Box–Muller).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_of_a_trunk_vary_together_and_other_runs_by_themselves() {
        let clusters = ["a", "alone", "a", "b", "b"];
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<Vec<f64>> = (0..20_000).map(|_| noise(&clusters, &mut random)).collect();
        let product = |i: usize, k: usize| {
            let sum: f64 = draws.iter().map(|draw| draw[i] * draw[k]).sum();
            sum / draws.len() as f64
        };
        for run in 0..clusters.len() {
            assert!((product(run, run) - 1.0).abs() < 0.05);
        }
        for [i, k] in [[0, 2], [3, 4]] {
            assert!((product(i, k) - OF_TRUNK).abs() < 0.05);
        }
        for [i, k] in [[0, 1], [0, 3], [1, 4]] {
            assert!(product(i, k).abs() < 0.05);
        }
    }
}
