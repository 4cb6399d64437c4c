//! The noise between runs that differ only in their seed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fit::observations::Observations;

/// What replicates say about the noise between runs that differ only in their seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedNoise {
    /// Settings that were run more than once.
    pub settings: usize,
    /// Degrees of freedom: replicates beyond the first of every setting.
    pub degrees_of_freedom: usize,
    /// Pooled standard deviation of the response.
    pub deviation: f64,
    /// Pooled standard deviation of the logarithm of the response.
    pub log_deviation: f64,
    /// Differences of two single runs below this are within the noise (95%).
    pub floor: f64,
}

/// Pools the spread of `response` over rows of different clusters that agree in all `columns`.
///
/// Returns `None` without replicates.
pub fn seed_noise(data: &Observations, columns: &[&str], response: &str) -> Option<SeedNoise> {
    let values = data.column(response)?;
    let keys: Vec<&[f64]> = columns
        .iter()
        .map(|c| data.column(c))
        .collect::<Option<_>>()?;
    let mut groups: BTreeMap<Vec<u64>, BTreeMap<usize, f64>> = BTreeMap::new();
    for row in 0..data.len() {
        let key = keys.iter().map(|c| c[row].to_bits()).collect();
        // One value a run: a later row replaces an earlier one.
        groups
            .entry(key)
            .or_default()
            .insert(data.clusters()[row], values[row]);
    }
    let (mut settings, mut freedom, mut squares, mut log_squares) = (0, 0, 0.0, 0.0);
    for group in groups.values().filter(|group| group.len() > 1) {
        let runs: Vec<f64> = group.values().copied().collect();
        settings += 1;
        freedom += runs.len() - 1;
        squares += scatter(&runs);
        log_squares += scatter(&runs.iter().map(|v| v.ln()).collect::<Vec<_>>());
    }
    (freedom > 0).then(|| {
        let deviation = (squares / freedom as f64).sqrt();
        let log_deviation = (log_squares / freedom as f64).sqrt();
        let floor = 1.96 * std::f64::consts::SQRT_2 * deviation;
        SeedNoise {
            settings,
            degrees_of_freedom: freedom,
            deviation,
            log_deviation,
            floor,
        }
    })
}

fn scatter(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|v| (v - mean).powi(2)).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn replicates_give_the_noise() {
        let data = Observations::new([
            ("params", vec![1e8, 1e8, 1e8, 2e8]),
            ("loss", vec![2.0, 2.1, 2.2, 1.9]),
        ])
        .unwrap();
        let noise = seed_noise(&data, &["params"], "loss").unwrap();
        assert_eq!((noise.settings, noise.degrees_of_freedom), (1, 2));
        assert!((noise.deviation - 0.1).abs() < 1e-12);
        assert!(seed_noise(&data, &["loss"], "loss").is_none());
    }
}
