//! FLOPs saved against models without concepts at equal loss and equal D: dense ones, and token levels
//! alone.

use super::allocate::wide;
use super::cost::{CostModel, TokenOnlyCost};
use super::families::called;
use super::fitted::Fitted;
use super::parts::{Control, SavingParts};
use super::{LEVEL, Maybe, same_size, thin};
use crate::fit::allocation::{
    AllocationError, Baseline, Cost, Domain, Range, SavingInterval, Surface, Variable, saving,
    saving_draws,
};
use crate::fit::diagnostics::ALIKE;
use experiment::architecture::ModelKind;
use serde::{Deserialize, Serialize};

/// What DLCMs save against models without concepts of the same loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Savings {
    /// Training tokens D of both.
    pub tokens: f64,
    /// How FLOPs are counted.
    pub convention: String,
    /// Sizes N of the baselines that were trained, smallest and largest.
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
/// Savings are shares of the baseline's FLOPs: 0.3 is 30% saved, negative costs more. Training
/// and inference use the same parts (inference forward only), so each has its own share only where
/// a convention counts them apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavingPoint {
    /// N of the baseline.
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
    /// What of a saving against dense models concepts have; `None` where no law of controls says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<SavingParts>,
}

impl Savings {
    /// Finds the saving to name first: at the declared R nearest to the best one, against a baseline of
    /// middle size.
    pub fn headline(&self, best_ratio: Option<f64>) -> Option<(&SavingCurve, &SavingPoint)> {
        let distance =
            |curve: &SavingCurve| best_ratio.map_or(0.0, |r| (curve.ratio / r).ln().abs());
        let nearest = |a: &&SavingCurve, b: &&SavingCurve| distance(a).total_cmp(&distance(b));
        let curve = self.curves.iter().min_by(nearest)?;
        Some((curve, self.told(curve).next()?))
    }

    /// Picks the points worth a line: the middle of the trained baselines and the farthest one.
    pub fn told<'a>(&self, curve: &'a SavingCurve) -> impl Iterator<Item = &'a SavingPoint> {
        let middle = (self.trained[0] * self.trained[1]).sqrt();
        let distance = |point: &SavingPoint| (point.baseline / middle).ln().abs();
        let nearest = curve
            .points
            .iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)));
        nearest.into_iter().chain(curve.points.last())
    }
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

/// The laws between which a saving is sought.
#[derive(Clone, Copy)]
pub(super) struct Laws<'a> {
    pub(super) dlcm: &'a Fitted,
    /// What is compared with, and its law.
    pub(super) kind: ModelKind,
    pub(super) baseline: &'a Fitted,
    /// The law of the controls, where a saving against dense models is to be divided.
    pub(super) control: Option<&'a Fitted>,
}

/// Computes the savings at every declared R.
pub(super) fn savings(laws: Laws<'_>, cost: &CostModel) -> Maybe<Savings> {
    match try_savings(laws, cost) {
        Ok(Some(savings)) => Maybe::Known(savings),
        Ok(None) => Maybe::Unknown(format!(
            "the DLCM law and the {} law hold at different D: train both on the same tokens",
            called(laws.kind)
        )),
        Err(error) => Maybe::Unknown(error.to_string()),
    }
}

/// Computes what one law's models save against another's, which are dense.
pub(crate) fn savings_against(dlcm: &Fitted, dense: &Fitted, cost: &CostModel) -> Maybe<Savings> {
    if dense.ranges.is_empty() || dlcm.ranges.is_empty() {
        let why = "parameters were stated: nothing says which models were trained";
        return Maybe::Unknown(why.to_owned());
    }
    let laws = Laws {
        dlcm,
        kind: ModelKind::Dense,
        baseline: dense,
        control: None,
    };
    savings(laws, cost)
}

/// The D at which both laws speak; `None` when there is none.
fn common_tokens(dlcm: &Fitted, baseline: &Fitted) -> Option<f64> {
    match (dlcm.at_tokens, baseline.at_tokens) {
        (Some(a), Some(b)) => same_size(a, b).then_some(a),
        (Some(at), None) | (None, Some(at)) => Some(at),
        (None, None) => baseline.extent(Variable::Tokens).map(|[_, most]| most),
    }
}

/// The sizes that a law's runs have.
fn trained(fitted: &Fitted) -> [f64; 2] {
    fitted.extent(Variable::Params).unwrap_or([f64::NAN; 2])
}

fn try_savings(laws: Laws<'_>, cost: &CostModel) -> Result<Option<Savings>, AllocationError> {
    let Laws { dlcm, baseline, .. } = laws;
    let Some(tokens) = common_tokens(dlcm, baseline) else {
        return Ok(None);
    };
    let sizes = trained(baseline);
    let domain = dlcm.domain();
    let own_cost = TokenOnlyCost(cost);
    let search = Search {
        baseline: Surface::new(baseline.law.clone(), &[])?,
        dlcm: Surface::new(dlcm.law.clone(), &[])?,
        // The k-th draws of all belong together where a floor is the DLCM law's, until one is left
        // out; taking them as independent from there on widens the interval.
        baseline_draws: thin(&baseline.draws, DRAWS),
        draws: thin(&dlcm.draws, DRAWS),
        cost: match laws.kind {
            ModelKind::TokenOnly => &own_cost,
            _ => cost,
        },
        trained: sizes,
        trained_models: trained(dlcm),
        control: control(laws.control, tokens, cost)?,
    };
    let mut curves = Vec::new();
    // Models without concepts have one curve.
    let ratios = match dlcm.ratios.as_slice() {
        [] => &[(1.0, 1.0)],
        ratios => ratios,
    };
    for (declared_ratio, ratio) in ratios.iter().copied() {
        let domain = domain.with(Variable::CompressionRatio, Range::fixed(ratio));
        let span = BEYOND * sizes[1] / sizes[0];
        let points: Result<_, _> = (0..POINTS)
            .map(|k| sizes[0] * span.powf(k as f64 / (POINTS - 1) as f64))
            .map(|params| search.point(&domain, Baseline { params, tokens }))
            .collect();
        curves.push(SavingCurve {
            declared_ratio,
            ratio,
            points: points?,
        });
    }
    let convention = cost.name().to_owned();
    Ok(Some(Savings {
        tokens,
        convention,
        trained: sizes,
        curves,
    }))
}

/// Takes the law of the controls, where it holds at that D.
fn control<'a>(
    law: Option<&Fitted>,
    tokens: f64,
    cost: &'a CostModel,
) -> Result<Option<Control<'a>>, AllocationError> {
    let holds = |law: &&Fitted| {
        let at = law.at_tokens;
        at.is_none_or(|at| same_size(at, tokens))
    };
    let Some(law) = law.filter(holds) else {
        return Ok(None);
    };
    let trained = trained(law);
    Ok(Some(Control {
        surface: Surface::new(law.law.clone(), &[])?,
        draws: thin(&law.draws, DRAWS),
        cost,
        trained,
        searched: wide(trained),
    }))
}

struct Search<'a> {
    baseline: Surface,
    dlcm: Surface,
    baseline_draws: Vec<crate::fit::FittedLaw>,
    draws: Vec<crate::fit::FittedLaw>,
    cost: &'a dyn Cost,
    trained: [f64; 2],
    trained_models: [f64; 2],
    control: Option<Control<'a>>,
}

impl Search<'_> {
    fn point(&self, domain: &Domain, baseline: Baseline) -> Result<SavingPoint, AllocationError> {
        let found = saving(&self.baseline, &self.dlcm, self.cost, domain, baseline)?;
        let drawn = saving_draws(
            &self.baseline,
            &self.baseline_draws,
            &self.dlcm,
            &self.draws,
            self.cost,
            domain,
            baseline,
        )?;
        let spread = SavingInterval::of(&drawn, LEVEL);
        let parts = self.control.as_ref();
        let parts = parts.map(|control| control.parts(&found, &drawn));
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
            parts,
        })
    }
}
