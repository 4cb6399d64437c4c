//! Loss against P for every N and R of the grid: measured points and the fitted curve with its band.

use super::estimate::{Estimate, predict};
use super::observe::{Observed, levels, of_kind};
use super::{LEVEL, interval, same_size};
use experiment::architecture::ModelKind;
use experiment::run::RunId;
use serde::{Deserialize, Serialize};

/// A fitted curve over P at one N, R and D, with the runs it passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossCurve {
    /// Mean N of the runs.
    pub params: f64,
    /// Declared R.
    pub declared_ratio: f64,
    /// Mean realised R, at which the curve is computed.
    pub ratio: f64,
    /// Training tokens D.
    pub tokens: f64,
    /// The curve.
    pub points: Vec<CurvePoint>,
    /// Runs at this N, R and D: P, loss and id.
    pub runs: Vec<(f64, f64, RunId)>,
}

/// A point of a fitted curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Concept share P.
    pub share: f64,
    /// Fitted loss, nats per token.
    pub loss: f64,
    /// Its 95% interval (of the law, not of a new run); `None` without resamples.
    pub interval: Option<[f64; 2]>,
}

/// Points of a curve.
const POINTS: usize = 41;

/// How far beyond the sampled P a curve is drawn.
const MARGIN: f64 = 0.15;

/// Computes the curves at the D of most runs.
pub(super) fn curves(estimate: &Estimate, runs: &[Observed]) -> Vec<LossCurve> {
    let runs = of_kind(runs, ModelKind::Dlcm);
    let tokens = levels(runs.iter().map(|run| run.tokens), 0.05)
        .into_iter()
        .max_by_key(|&at| (at_level(&runs, at, |run| run.tokens).len(), at as u64));
    let Some(tokens) = estimate.report.at_tokens.or(tokens) else {
        return Vec::new();
    };
    let runs = at_level(&runs, tokens, |run| run.tokens);
    let share =
        |pick: fn(f64, f64) -> f64, start: f64| runs.iter().map(|run| run.share).fold(start, pick);
    let low = (share(f64::min, 1.0) - MARGIN).max(0.05);
    let high = (share(f64::max, 0.0) + MARGIN).min(0.95);
    let mut curves = Vec::new();
    for params in levels(runs.iter().map(|run| run.params), 0.05) {
        for declared_ratio in levels(runs.iter().map(|run| run.declared_ratio), 1e-6) {
            let same_size = at_level(&runs, params, |run| run.params);
            let group = at_level(&same_size, declared_ratio, |run| run.declared_ratio);
            if group.is_empty() {
                continue;
            }
            let mean = |value: fn(&Observed) -> f64| {
                group.iter().map(|run| value(run)).sum::<f64>() / group.len() as f64
            };
            let (params, ratio) = (mean(|run| run.params), mean(|run| run.ratio));
            let points = (0..POINTS).map(|k| {
                let share = low + (high - low) * k as f64 / (POINTS - 1) as f64;
                let at = |law| predict(law, params, tokens, share, ratio);
                let drawn: Vec<f64> = estimate.fitted.draws.iter().map(at).collect();
                CurvePoint {
                    share,
                    loss: at(&estimate.fitted.law),
                    interval: interval(&drawn, LEVEL),
                }
            });
            curves.push(LossCurve {
                params,
                declared_ratio,
                ratio,
                tokens,
                points: points.collect(),
                runs: group
                    .iter()
                    .map(|run| (run.share, run.loss, run.id.clone()))
                    .collect(),
            });
        }
    }
    curves
}

/// Returns the runs whose value is `at`.
fn at_level<'a>(runs: &[&'a Observed], at: f64, value: fn(&Observed) -> f64) -> Vec<&'a Observed> {
    runs.iter()
        .copied()
        .filter(|run| same_size(value(run), at))
        .collect()
}
