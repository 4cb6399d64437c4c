//! FLOPs saved against the dense law at equal loss and equal D.

use super::allocate::{domain, extent};
use super::cost::CostModel;
use super::estimate::Estimate;
use super::observe::{Observed, levels};
use super::{LEVEL, Maybe, thin};
use crate::fit::allocation::{
    AllocationError, Baseline, Domain, Range, Surface, Variable, saving, saving_interval,
};
use crate::fit::diagnostics::ALIKE;
use serde::{Deserialize, Serialize};

/// What DLCMs save against dense models of the same loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Savings {
    /// Training tokens D of both.
    pub tokens: f64,
    /// How FLOPs are counted.
    pub convention: String,
    /// Sizes N of dense baselines that were trained, smallest and largest.
    pub trained: [f64; 2],
    /// One curve for every declared R.
    pub curves: Vec<SavingCurve>,
}

/// The saving along baseline sizes at one R.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavingCurve {
    /// Declared R.
    pub declared_ratio: f64,
    /// Mean realised R, at which it is computed.
    pub ratio: f64,
    /// Its points, by baseline size.
    pub points: Vec<SavingPoint>,
}

/// The saving against one baseline.
///
/// # Units
/// Savings are shares of the dense model's FLOPs: 0.3 is 30% saved, negative costs more. Training
/// and inference use the same parts (inference forward only), so each has its own share only where
/// a convention counts them apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavingPoint {
    /// N of the dense baseline.
    pub baseline: f64,
    /// Its predicted loss, nats per token.
    pub target_loss: Option<f64>,
    /// Share of training FLOPs saved; `None` when no DLCM reaches the loss.
    pub training: Option<f64>,
    /// Share of FLOPs per generated token saved.
    pub inference: Option<f64>,
    /// 95% interval of `training`; an end is `None` where the loss is out of reach.
    pub interval: [Option<f64>; 2],
    /// 95% interval of `inference`.
    pub inference_interval: [Option<f64>; 2],
    /// N of the DLCM.
    pub params: Option<f64>,
    /// P of the DLCM.
    pub share: Option<f64>,
    /// Share of resamples in which no DLCM reaches the loss.
    pub out_of_reach: f64,
    /// Whether the baseline, or the DLCM that matches it, is larger or smaller than any trained.
    pub extrapolated: bool,
}

impl SavingPoint {
    /// Says whether the interval leaves no doubt about the sign.
    pub fn sign_is_known(&self) -> bool {
        match self.interval {
            [Some(low), _] if low > 0.0 => true,
            [_, Some(high)] => high < 0.0,
            _ => false,
        }
    }
}

/// Baselines along a curve.
const POINTS: usize = 9;

/// How far beyond the largest trained baseline a curve goes.
const BEYOND: f64 = 10.0;

/// Pairs of resamples behind an interval.
const DRAWS: usize = 200;

/// Computes the savings at every declared R.
pub(super) fn savings(
    dlcm: &Estimate,
    dense: &Estimate,
    runs: &[Observed],
    cost: &CostModel,
) -> Maybe<Savings> {
    match try_savings(dlcm, dense, runs, cost) {
        Ok(Some(savings)) => Maybe::Known(savings),
        Ok(None) => Maybe::Unknown(
            "the DLCM law and the dense law hold at different D: train both on the same tokens"
                .into(),
        ),
        Err(error) => Maybe::Unknown(error.to_string()),
    }
}

/// The D at which both laws speak; `None` when there is none.
fn common_tokens(dlcm: &Estimate, dense: &Estimate, baselines: &[&Observed]) -> Option<f64> {
    match (dlcm.report.at_tokens, dense.report.at_tokens) {
        (Some(a), Some(b)) => ((a / b).ln().abs() < 0.05).then_some(a),
        (Some(at), None) | (None, Some(at)) => Some(at),
        (None, None) => baselines
            .iter()
            .map(|run| run.tokens)
            .max_by(f64::total_cmp),
    }
}

fn try_savings(
    dlcm: &Estimate,
    dense: &Estimate,
    runs: &[Observed],
    cost: &CostModel,
) -> Result<Option<Savings>, AllocationError> {
    let (baselines, models): (Vec<&Observed>, Vec<&Observed>) =
        runs.iter().partition(|run| run.dense);
    let Some(tokens) = common_tokens(dlcm, dense, &baselines) else {
        return Ok(None);
    };
    let trained = extent(baselines.iter().map(|run| run.params));
    let trained_models = extent(models.iter().map(|run| run.params));
    let domain = domain(dlcm, &models, extent(models.iter().map(|run| run.ratio)));
    let search = Search {
        dense: Surface::new(dense.law.clone(), &[])?,
        dlcm: Surface::new(dlcm.law.clone(), &[])?,
        // The k-th draws of both belong together where the dense floor is the DLCM law's, until
        // one is left out; taking them as independent from there on widens the interval.
        dense_draws: thin(&dense.draws, DRAWS),
        draws: thin(&dlcm.draws, DRAWS),
        cost,
        trained,
        trained_models,
    };
    let mut curves = Vec::new();
    for declared in levels(models.iter().map(|run| run.declared_ratio), 1e-6) {
        let here = models
            .iter()
            .filter(|run| (run.declared_ratio / declared - 1.0).abs() < 1e-3);
        let realised: Vec<f64> = here.map(|run| run.ratio).collect();
        let ratio = realised.iter().sum::<f64>() / realised.len() as f64;
        let domain = domain.with(Variable::CompressionRatio, Range::fixed(ratio));
        let span = BEYOND * trained[1] / trained[0];
        let points: Result<_, _> = (0..POINTS)
            .map(|k| trained[0] * span.powf(k as f64 / (POINTS - 1) as f64))
            .map(|params| search.point(&domain, Baseline { params, tokens }))
            .collect();
        curves.push(SavingCurve {
            declared_ratio: declared,
            ratio,
            points: points?,
        });
    }
    let convention = cost.name().to_owned();
    Ok(Some(Savings {
        tokens,
        convention,
        trained,
        curves,
    }))
}

struct Search<'a> {
    dense: Surface,
    dlcm: Surface,
    dense_draws: Vec<crate::fit::FittedLaw>,
    draws: Vec<crate::fit::FittedLaw>,
    cost: &'a CostModel,
    trained: [f64; 2],
    trained_models: [f64; 2],
}

impl Search<'_> {
    fn point(&self, domain: &Domain, baseline: Baseline) -> Result<SavingPoint, AllocationError> {
        let found = saving(&self.dense, &self.dlcm, self.cost, domain, baseline)?;
        let spread = saving_interval(
            &self.dense,
            &self.dense_draws,
            &self.dlcm,
            &self.draws,
            self.cost,
            domain,
            baseline,
            LEVEL,
        )?;
        let outside =
            |value: f64, [low, high]: [f64; 2]| value < low / ALIKE || value > high * ALIKE;
        let finite = |value: f64| value.is_finite().then_some(value);
        let (saved, target) = match &found {
            Ok(saving) => (Some(saving), saving.target_loss),
            Err(unreachable) => (None, unreachable.target_loss),
        };
        let params = saved.map(|saving| saving.setting.params);
        Ok(SavingPoint {
            baseline: baseline.params,
            target_loss: finite(target),
            training: saved.and_then(|saving| finite(saving.training)),
            inference: saved.and_then(|saving| finite(saving.inference)),
            interval: spread.training,
            inference_interval: spread.inference,
            params,
            share: saved.map(|saving| saving.setting.concept_share),
            out_of_reach: spread.unreachable as f64 / spread.draws.max(1) as f64,
            extrapolated: outside(baseline.params, self.trained)
                || params.is_none_or(|params| outside(params, self.trained_models)),
        })
    }
}
