//! What to train for a budget, how sure that is, and how it moves with the budget.

use super::cost::CostModel;
use super::describe::side;
use super::estimate::Estimate;
use super::warning::Warning;
use super::{LEVEL, Maybe, thin};
use crate::fit::FittedLaw;
use crate::fit::allocation::{
    AllocationError, Budget, Cost, Domain, Range, Region, Setting, Surface, Variable, frontier,
    optimum, region,
};
use crate::fit::diagnostics::{ALIKE, DataRange};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The best settings for a budget of training FLOPs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    /// The budget, in training FLOPs.
    pub budget: f64,
    /// How many times the largest DLCM run's it is.
    pub times_largest: f64,
    /// Whether the experiment states it.
    pub stated: bool,
    /// How FLOPs are counted.
    pub convention: String,
    /// The D that is held, where the law does not know what D does.
    pub at_tokens: Option<f64>,
    /// The best setting of all.
    pub best: Choice,
    /// The best setting at every declared R.
    pub by_ratio: Vec<Choice>,
    /// Where the optimum of resampled laws lies: P and R.
    pub cloud: Vec<(f64, f64)>,
    /// The best loss at every (P, R).
    pub surface: LossSurface,
    /// The optimum along budgets.
    pub frontier: Vec<FrontierStep>,
    /// Range of P that was sampled.
    pub sampled_shares: [f64; 2],
    /// Range of realised R that was sampled.
    pub sampled_ratios: [f64; 2],
}

/// A best setting with its region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Declared R, where R was held; `None` where it was chosen.
    pub declared_ratio: Option<f64>,
    /// N, D, P and R.
    pub setting: Setting,
    /// Predicted loss, nats per token.
    pub loss: f64,
    /// Training FLOPs.
    pub flops: f64,
    /// FLOPs per generated token.
    pub inference_flops: f64,
    /// 95% intervals of `params`, `tokens`, `concept_share`, `compression_ratio` and `loss`.
    pub intervals: BTreeMap<String, [f64; 2]>,
    /// Mean loss given away by not knowing the law better, nats per token.
    pub expected_regret: Option<f64>,
    /// Where it lies outside the data.
    pub outside: Vec<Outside>,
    /// Ends of the search on which it lies, such as `concept_share (upper)`.
    pub at_edge: Vec<String>,
    /// Quantities that the runs do not determine: their interval covers most of the searched range, their
    /// concepts are unused, or they have another order of P than the law.
    pub undetermined: Vec<String>,
    /// Whether the training budget is used up; if not, a bound stands in the way.
    #[serde(default = "yes")]
    pub training_binds: bool,
    /// Whether a limit per generated token is used up.
    #[serde(default)]
    pub inference_binds: bool,
}

/// Of results of before it was stored: no other budgets were asked about.
fn yes() -> bool {
    true
}

/// A quantity outside the range that was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outside {
    /// The quantity.
    pub quantity: String,
    /// How many times it lies beyond the nearest run.
    pub factor: f64,
}

/// The best loss over (P, R) within the budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossSurface {
    /// Values of P.
    pub shares: Vec<f64>,
    /// Values of R.
    pub ratios: Vec<f64>,
    /// Loss by R, then P; `None` where the budget affords nothing.
    pub loss: Vec<Vec<Option<f64>>>,
}

/// The optimum at one budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrontierStep {
    /// The budget, in training FLOPs.
    pub flops: f64,
    /// N, D, P and R.
    pub setting: Setting,
    /// Predicted loss, nats per token.
    pub loss: f64,
    /// 95% intervals by quantity.
    pub intervals: BTreeMap<String, [f64; 2]>,
    /// Quantities that the runs do not determine, as in [`Choice`].
    #[serde(default)]
    pub undetermined: Vec<String>,
    /// Whether the budget is beyond the largest run's.
    pub extrapolated: bool,
}

/// The best N and D for a budget, of models without concepts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DenseBest {
    /// The budget, in training FLOPs.
    pub budget: f64,
    /// How many times the largest run's it is.
    pub times_largest: f64,
    /// Whether the experiment states it.
    pub stated: bool,
    /// How FLOPs are counted.
    pub convention: String,
    /// The best setting.
    pub best: Choice,
}

/// Finds the best N and D by the law of models without concepts; `None` where it holds at one D or N, or
/// nothing can be afforded.
pub(super) fn dense_best(
    estimate: &Estimate,
    cost: &CostModel,
    stated: Option<f64>,
) -> Option<DenseBest> {
    let fitted = &estimate.fitted;
    let varies = |variable| {
        fitted
            .extent(variable)
            .is_some_and(|[low, high]| high > low)
    };
    if fitted.at_tokens.is_some() || !varies(Variable::Params) {
        return None;
    }
    let (_, most) = spent(estimate, cost);
    let budget = stated.unwrap_or(most);
    let surface = Surface::new(fitted.law.clone(), &[]).ok()?;
    let search = Search {
        surface: &surface,
        draws: &thin(&fitted.draws, DRAWS),
        cost,
        ranges: &fitted.ranges,
    };
    let domain = surface.restrict(fitted.domain());
    let found = search.choice(&domain, &Budget::training(budget), None);
    let (best, _) = found.ok()?;
    Some(DenseBest {
        budget,
        times_largest: budget / most,
        stated: stated.is_some(),
        convention: cost.name().to_owned(),
        best,
    })
}

impl Allocation {
    /// Marks as not determined what warnings say that the law does not tell.
    pub(super) fn leave_open(&mut self, warnings: &[Warning], domain: &Domain) {
        let open = untold(warnings, domain);
        for step in &mut self.frontier {
            mark(&mut step.undetermined, &open);
        }
        self.best.leave_open(&open);
        for choice in &mut self.by_ratio {
            choice.leave_open(&open);
        }
    }
}

impl Choice {
    /// Marks quantities as not determined, but for R where it is held.
    pub(crate) fn leave_open(&mut self, open: &[Variable]) {
        let is_free = |variable: &&Variable| {
            self.declared_ratio.is_none() || **variable != Variable::CompressionRatio
        };
        let open: Vec<Variable> = open.iter().filter(is_free).copied().collect();
        mark(&mut self.undetermined, &open);
    }
}

fn mark(undetermined: &mut Vec<String>, open: &[Variable]) {
    for variable in open {
        if !undetermined.iter().any(|known| known == variable.name()) {
            undetermined.push(variable.name().to_owned());
        }
    }
}

/// Lists what a law does not tell whatever its intervals are: of unused concepts both P and R, of another
/// order of P than was measured P. What is held is no question.
pub(crate) fn untold(warnings: &[Warning], domain: &Domain) -> Vec<Variable> {
    let open = warnings.iter().map(Warning::leaves_open);
    let open = open
        .max_by_key(|open| open.len())
        .unwrap_or_default()
        .iter();
    open.filter(|variable| !domain.get(**variable).is_fixed())
        .copied()
        .collect()
}

/// How far beyond the largest run the optimum is followed.
const BEYOND: f64 = 10.0;

/// Resamples behind the regions; more would not move two digits of an interval.
pub(crate) const DRAWS: usize = 250;

/// Resamples behind every step of the frontier.
const FRONTIER_DRAWS: usize = 80;

/// Budgets of the frontier.
const STEPS: usize = 7;

/// Cells of the surface along each side.
const SIDE: usize = 25;

/// How far the surface goes beyond the sampled P. The optimum itself is sought only where P and R
/// were trained: the law says nothing about where compression breaks down.
const SHARE_MARGIN: f64 = 0.1;

/// How far the surface goes beyond the sampled R, as a factor.
const RATIO_MARGIN: f64 = 1.15;

/// Finds the best settings for the budget, or for [`default_budget`] where none is stated.
pub(super) fn allocate(
    estimate: &Estimate,
    cost: &CostModel,
    stated: Option<f64>,
) -> Maybe<Allocation> {
    match try_allocate(estimate, cost, stated) {
        Ok(allocation) => Maybe::Known(allocation),
        Err(error) => Maybe::Unknown(error.to_string()),
    }
}

fn try_allocate(
    estimate: &Estimate,
    cost: &CostModel,
    stated: Option<f64>,
) -> Result<Allocation, AllocationError> {
    let (least, most) = spent(estimate, cost);
    let budget = stated.unwrap_or(most);
    let fitted = &estimate.fitted;
    let domain = fitted.domain();
    let surface = Surface::new(fitted.law.clone(), &[])?;
    let draws = thin(&fitted.draws, DRAWS);
    let search = Search {
        surface: &surface,
        draws: &draws,
        cost,
        ranges: &fitted.ranges,
    };
    let (best, region) = search.choice(&domain, &Budget::training(budget), None)?;
    let by_ratio = fitted.ratios.iter().filter_map(|&(declared, mean)| {
        let held = domain.with(Variable::CompressionRatio, Range::fixed(mean));
        let found = search.choice(&held, &Budget::training(budget), Some(declared));
        found.ok().map(|(choice, _)| choice)
    });
    let by_ratio = by_ratio.collect();
    // All of a larger budget would go into N where the law holds at one D.
    let beyond = estimate.report.at_tokens.map_or(BEYOND, |_| 1.0);
    let (low, high) = (least.min(budget), (beyond * most).max(budget));
    let budgets: Vec<f64> = (0..STEPS)
        .map(|k| low * (high / low).powf(k as f64 / (STEPS - 1) as f64))
        .collect();
    let few = thin(&draws, FRONTIER_DRAWS);
    let frontier = frontier(
        &surface,
        &few,
        cost,
        &domain,
        &Budget::training(budget),
        &budgets,
        LEVEL,
    )
    .unwrap_or_default()
    .into_iter()
    .map(|step| {
        let region = step.region.map(|region| region.intervals);
        let intervals = region.unwrap_or_default();
        FrontierStep {
            flops: step.flops,
            setting: step.optimum.setting,
            loss: step.optimum.loss,
            undetermined: undetermined(&intervals, &domain),
            intervals,
            extrapolated: step.flops > 1.001 * most,
        }
    })
    .collect();
    let cloud = region
        .settings
        .iter()
        .map(|s| (s.concept_share, s.compression_ratio));
    let sampled = |variable| fitted.extent(variable).unwrap_or([f64::NAN; 2]);
    Ok(Allocation {
        budget,
        times_largest: budget / most,
        stated: stated.is_some(),
        convention: cost.name().to_owned(),
        at_tokens: estimate.report.at_tokens,
        best,
        by_ratio,
        cloud: cloud.collect(),
        surface: loss_surface(&surface, cost, &domain, budget),
        frontier,
        sampled_shares: sampled(Variable::ConceptShare),
        sampled_ratios: sampled(Variable::CompressionRatio),
    })
}

/// The training FLOPs of the cheapest and of the dearest run.
fn spent(estimate: &Estimate, cost: &dyn Cost) -> (f64, f64) {
    let spent = estimate.settings().map(|run| run.training_flops(cost));
    spent.fold((f64::INFINITY, 0.0), |(low, high), c| {
        (c.min(low), c.max(high))
    })
}

/// The training FLOPs that are asked about where nobody states any: what the largest run took.
pub fn default_budget(estimate: &Estimate, cost: &dyn Cost) -> f64 {
    spent(estimate, cost).1
}

/// The sizes among which one is sought: far beyond those that were trained.
pub(super) fn wide([low, high]: [f64; 2]) -> Range {
    Range::between(low / 30.0, high * 1e5)
}

pub(super) fn extent(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| {
        [low.min(v), high.max(v)]
    })
}

/// The search for the best setting by a law and its resamples.
pub(crate) struct Search<'a> {
    pub(crate) surface: &'a Surface,
    pub(crate) draws: &'a [FittedLaw],
    pub(crate) cost: &'a dyn Cost,
    pub(crate) ranges: &'a [DataRange],
}

impl Search<'_> {
    /// Finds the best setting of a domain, with the region in which it lies over the resamples.
    pub(crate) fn choice(
        &self,
        domain: &Domain,
        budget: &Budget,
        declared_ratio: Option<f64>,
    ) -> Result<(Choice, Region), AllocationError> {
        let found = optimum(self.surface, self.cost, domain, budget)?;
        let region = region(
            self.surface,
            self.draws,
            self.cost,
            domain,
            budget,
            &found,
            LEVEL,
        );
        let edge = found.active_bounds.iter();
        let choice = Choice {
            declared_ratio,
            setting: found.setting,
            loss: found.loss,
            flops: found.flops,
            inference_flops: found.inference_flops,
            expected_regret: Some(region.expected_regret).filter(|regret| regret.is_finite()),
            outside: outside(&found.setting, self.ranges),
            undetermined: undetermined(&region.intervals, domain),
            intervals: region.intervals.clone(),
            at_edge: edge
                .map(|b| format!("{} ({})", b.variable.name(), side(b.side)))
                .collect(),
            training_binds: found.training_binds,
            inference_binds: found.inference_binds,
        };
        Ok((choice, region))
    }
}

/// An interval that covers more than this share of what was searched determines nothing.
const MOST: f64 = 0.6;

/// Names P and R where their intervals say nothing.
fn undetermined(intervals: &BTreeMap<String, [f64; 2]>, domain: &Domain) -> Vec<String> {
    [Variable::ConceptShare, Variable::CompressionRatio]
        .into_iter()
        .filter(|variable| {
            let searched = domain.get(*variable);
            let covered = intervals.get(variable.name()).map(|[low, high]| high - low);
            !searched.is_fixed()
                && covered.is_some_and(|c| c > MOST * (searched.high - searched.low))
        })
        .map(|variable| variable.name().to_owned())
        .collect()
}

/// Names the quantities of a setting that lie beyond what was trained.
fn outside(setting: &Setting, ranges: &[DataRange]) -> Vec<Outside> {
    ranges
        .iter()
        .filter_map(|range| {
            let value = setting.get(Variable::of_column(&range.column)?);
            let factor = range.times_outside(value);
            (factor > ALIKE).then(|| Outside {
                quantity: range.column.clone(),
                factor,
            })
        })
        .collect()
}

fn loss_surface(surface: &Surface, cost: &dyn Cost, domain: &Domain, budget: f64) -> LossSurface {
    let step = |k: usize| k as f64 / (SIDE - 1) as f64;
    let Range { low, high } = domain.concept_share;
    let (low, high) = (
        (low - SHARE_MARGIN).max(0.02),
        (high + SHARE_MARGIN).min(0.98),
    );
    let shares: Vec<f64> = (0..SIDE).map(|k| low + (high - low) * step(k)).collect();
    let Range { low, high } = domain.compression_ratio;
    let ratios: Vec<f64> = if domain.compression_ratio.is_fixed() {
        vec![low]
    } else {
        let (low, high) = ((low / RATIO_MARGIN).max(1.0), high * RATIO_MARGIN);
        (0..SIDE)
            .map(|k| low * (high / low).powf(step(k)))
            .collect()
    };
    let budget = Budget::training(budget);
    let loss = ratios.par_iter().map(|&ratio| {
        let row = shares.iter().map(|&share| {
            let here = domain
                .with(Variable::ConceptShare, Range::fixed(share))
                .with(Variable::CompressionRatio, Range::fixed(ratio));
            let found = optimum(surface, cost, &here, &budget).ok()?;
            found.loss.is_finite().then_some(found.loss)
        });
        row.collect()
    });
    let loss = loss.collect();
    LossSurface {
        shares,
        ratios,
        loss,
    }
}
