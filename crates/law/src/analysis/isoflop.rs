//! Loss against N at equal compute: the valley of each fitted law, and the runs beside it.

use super::allocate::extent;
use super::cost::CostModel;
use super::estimate::{Estimate, predict};
use super::observe::{Observed, levels, of_kind};
use super::{LEVEL, interval, thin};
use crate::fit::allocation::{Budget, Range, Setting, Surface, Variable, optimum};
use experiment::architecture::ModelKind;
use experiment::run::RunId;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The loss of models of all sizes that are trained with the same FLOPs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IsoflopCurve {
    /// Whether the models are dense.
    pub dense: bool,
    /// Their training FLOPs.
    pub flops: f64,
    /// The curve: where P and R are free they are the best ones.
    pub points: Vec<IsoflopPoint>,
    /// The runs of about as many FLOPs.
    pub runs: Vec<RunId>,
}

/// A model on such a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IsoflopPoint {
    /// N.
    pub params: f64,
    /// D that the FLOPs leave.
    pub tokens: f64,
    /// Loss by the law, nats per token.
    pub loss: f64,
    /// Its 95% interval; `None` without resamples.
    pub interval: Option<[f64; 2]>,
}

impl IsoflopCurve {
    /// Returns the point of lowest loss, unless it lies at an end of the curve.
    pub fn lowest(&self) -> Option<&IsoflopPoint> {
        let lowest = self
            .points
            .iter()
            .min_by(|a, b| a.loss.total_cmp(&b.loss))?;
        let inner = self.points.get(1..self.points.len() - 1)?;
        inner.contains(lowest).then_some(lowest)
    }
}

/// Budgets, which both laws share.
const BUDGETS: usize = 5;

/// Points of a curve.
const POINTS: usize = 31;

/// How far a curve goes beyond the sizes that were trained, as a factor on either side.
const BEYOND: f64 = 3.0;

/// Runs within this relative distance of a budget count as of it.
const NEAR: f64 = 0.1;

/// Resamples behind a band.
const DRAWS: usize = 120;

/// Computes the curves of the laws that know what D does; of others there are none.
pub(super) fn curves(
    dlcm: Option<&Estimate>,
    dense: Option<&Estimate>,
    runs: &[Observed],
    cost: &CostModel,
) -> Vec<IsoflopCurve> {
    let baselines = of_kind(runs, ModelKind::Dense);
    let models = of_kind(runs, ModelKind::Dlcm);
    let knows_tokens = |estimate: &&Estimate| estimate.report.at_tokens.is_none();
    let both: Vec<&Observed> = models.iter().chain(&baselines).copied().collect();
    let budgets = budgets(&both, |run| spent(run, cost));
    let mut curves = Vec::new();
    if let Some(estimate) = dlcm.filter(knows_tokens)
        && let Ok(surface) = Surface::new(estimate.fitted.law.clone(), &[])
    {
        let domain = estimate.fitted.domain();
        let best = |params: f64, flops: f64| {
            let here = domain.with(Variable::Params, Range::fixed(params));
            let found = optimum(&surface, cost, &here, &Budget::training(flops)).ok()?;
            Some(found.setting)
        };
        curves.extend(along(estimate, &models, &budgets, cost, best));
    }
    if let Some(estimate) = dense.filter(knows_tokens) {
        let of_size = |params: f64, flops: f64| {
            let one = setting(params, 1.0, 0.0, 1.0);
            let tokens = flops / one.training_flops(cost);
            Some(Setting { tokens, ..one })
        };
        curves.extend(along(estimate, &baselines, &budgets, cost, of_size));
    }
    curves
}

fn setting(params: f64, tokens: f64, concept_share: f64, compression_ratio: f64) -> Setting {
    Setting {
        params,
        tokens,
        concept_share,
        compression_ratio,
    }
}

/// The training FLOPs of a run.
fn spent(run: &Observed, cost: &CostModel) -> f64 {
    setting(run.params, run.tokens, run.share, run.ratio).training_flops(cost)
}

/// Computes a law's curves.
fn along(
    estimate: &Estimate,
    runs: &[&Observed],
    budgets: &[f64],
    cost: &CostModel,
    at: impl Fn(f64, f64) -> Option<Setting> + Sync,
) -> Vec<IsoflopCurve> {
    let [low, high] = extent(runs.iter().map(|run| run.params));
    let (low, high) = (low / BEYOND, high * BEYOND);
    let draws = thin(&estimate.fitted.draws, DRAWS);
    let curves = budgets.par_iter().map(|&flops| {
        let sizes = (0..POINTS).map(|k| low * (high / low).powf(k as f64 / (POINTS - 1) as f64));
        let points = sizes.filter_map(|params| {
            let place = at(params, flops)?;
            let of = |law| {
                let Setting {
                    params,
                    tokens,
                    concept_share,
                    compression_ratio,
                } = place;
                predict(law, params, tokens, concept_share, compression_ratio)
            };
            let drawn: Vec<f64> = draws.iter().map(of).collect();
            let loss = of(&estimate.fitted.law);
            loss.is_finite().then(|| IsoflopPoint {
                params,
                tokens: place.tokens,
                loss,
                interval: interval(&drawn, LEVEL),
            })
        });
        let near = runs
            .iter()
            .filter(|run| (spent(run, cost) / flops).ln().abs() < NEAR);
        IsoflopCurve {
            dense: !runs.iter().any(|run| run.has_concepts()),
            flops,
            points: points.collect(),
            runs: near.map(|run| run.id.clone()).collect(),
        }
    });
    curves.collect()
}

/// The FLOPs at which several sizes were trained, else some between the least and the most.
fn budgets(runs: &[&Observed], spent: impl Fn(&Observed) -> f64) -> Vec<f64> {
    let mut shared = levels(runs.iter().map(|run| spent(run)), NEAR);
    shared.retain(|flops| {
        let here = runs
            .iter()
            .filter(|run| (spent(run) / flops).ln().abs() < NEAR);
        levels(here.map(|run| run.params), 0.05).len() > 2
    });
    if shared.len() > 1 {
        return thin(&shared, BUDGETS);
    }
    let [least, most] = extent(runs.iter().map(|run| spent(run)));
    let share = |k: usize| k as f64 / (BUDGETS - 1) as f64;
    (0..BUDGETS)
        .map(|k| least * (most / least).powf(share(k)))
        .collect()
}
