//! What to train for a budget, how sure that is, and how it moves with the budget.

use super::cost::CostModel;
use super::describe::side;
use super::estimate::Estimate;
use super::observe::{Observed, levels, of_kind};
use super::{LEVEL, Maybe, thin};
use crate::architecture::ModelKind;
use crate::fit::FittedLaw;
use crate::fit::allocation::{
    AllocationError, Budget, Cost, Domain, Range, Setting, Surface, Variable, frontier, optimum,
    region,
};
use crate::fit::diagnostics::{ALIKE, DataRange};
use crate::grid::Analysis;
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
    /// Quantities whose interval covers most of the searched range: the runs do not determine them.
    pub undetermined: Vec<String>,
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
    /// Whether the budget is beyond the largest run's.
    pub extrapolated: bool,
}

/// Without a stated budget the question is asked one decade above the largest run.
const DEFAULT_BUDGET: f64 = 10.0;

/// The same for a law of one D: all of a larger budget would go into N, far beyond the data.
const DEFAULT_BUDGET_AT_ONE_D: f64 = 1.0;

/// Resamples behind the regions; more would not move two digits of an interval.
const DRAWS: usize = 250;

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

/// Finds the best settings for the budget.
pub(super) fn allocate(
    estimate: &Estimate,
    runs: &[Observed],
    cost: &CostModel,
    settings: &Analysis,
) -> Maybe<Allocation> {
    match try_allocate(estimate, runs, cost, settings) {
        Ok(allocation) => Maybe::Known(allocation),
        Err(error) => Maybe::Unknown(error.to_string()),
    }
}

fn try_allocate(
    estimate: &Estimate,
    runs: &[Observed],
    cost: &CostModel,
    settings: &Analysis,
) -> Result<Allocation, AllocationError> {
    let runs = of_kind(runs, ModelKind::Dlcm);
    let spent = runs.iter().map(|run| setting(run).training_flops(cost));
    let (least, most) = spent.fold((f64::INFINITY, 0.0), |(low, high), c| {
        (c.min(low), c.max(high))
    });
    let times = match estimate.report.at_tokens {
        None => DEFAULT_BUDGET,
        Some(_) => DEFAULT_BUDGET_AT_ONE_D,
    };
    let budget = settings.budget.unwrap_or(times * most);
    let ratios = extent(runs.iter().map(|run| run.ratio));
    let domain = domain(estimate, &runs, ratios);
    let surface = Surface::new(estimate.law.clone(), &[])?;
    let draws = thin(&estimate.draws, DRAWS);
    let search = Search {
        surface: &surface,
        draws: &draws,
        cost,
        ranges: &estimate.report.ranges,
    };
    let (best, cloud) = search.choice(&domain, budget, None)?;
    let declared = levels(runs.iter().map(|run| run.declared_ratio), 1e-6);
    let by_ratio = declared.into_iter().filter_map(|declared| {
        let here = runs
            .iter()
            .filter(|run| (run.declared_ratio / declared - 1.0).abs() < 1e-3);
        let realised: Vec<f64> = here.map(|run| run.ratio).collect();
        let mean = realised.iter().sum::<f64>() / realised.len() as f64;
        let held = domain.with(Variable::CompressionRatio, Range::fixed(mean));
        search
            .choice(&held, budget, Some(declared))
            .ok()
            .map(|(choice, _)| choice)
    });
    let by_ratio = by_ratio.collect();
    let low = least.min(budget);
    let high = (times * most).max(budget);
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
    .map(|step| FrontierStep {
        flops: step.flops,
        setting: step.optimum.setting,
        loss: step.optimum.loss,
        intervals: step
            .region
            .map(|region| region.intervals)
            .unwrap_or_default(),
        extrapolated: step.flops > 1.001 * most,
    })
    .collect();
    Ok(Allocation {
        budget,
        times_largest: budget / most,
        stated: settings.budget.is_some(),
        convention: cost.name().to_owned(),
        at_tokens: estimate.report.at_tokens,
        best,
        by_ratio,
        cloud,
        surface: loss_surface(&surface, cost, &domain, budget),
        frontier,
        sampled_shares: extent(runs.iter().map(|run| run.share)),
        sampled_ratios: ratios,
    })
}

/// Where an optimum may lie: within the data in P and R, far beyond them in N and D.
pub(super) fn domain(estimate: &Estimate, runs: &[&Observed], ratios: [f64; 2]) -> Domain {
    let tokens = match estimate.report.at_tokens {
        Some(tokens) => Range::fixed(tokens),
        None => wide(extent(runs.iter().map(|run| run.tokens))),
    };
    // A law without R can say nothing about other R than that of its runs.
    let knows_ratio = estimate.report.parameter("gamma").is_some();
    let ratio = match knows_ratio {
        true => Range::between(ratios[0], ratios[1]),
        false => Range::fixed((ratios[0] * ratios[1]).sqrt()),
    };
    let [least, most] = extent(runs.iter().map(|run| run.share));
    Domain::default()
        .with(
            Variable::Params,
            wide(extent(runs.iter().map(|run| run.params))),
        )
        .with(Variable::Tokens, tokens)
        .with(Variable::ConceptShare, Range::between(least, most))
        .with(Variable::CompressionRatio, ratio)
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

fn setting(run: &Observed) -> Setting {
    Setting {
        params: run.params,
        tokens: run.tokens,
        concept_share: run.share,
        compression_ratio: run.ratio,
    }
}

struct Search<'a> {
    surface: &'a Surface,
    draws: &'a [FittedLaw],
    cost: &'a CostModel,
    ranges: &'a [DataRange],
}

impl Search<'_> {
    fn choice(
        &self,
        domain: &Domain,
        budget: f64,
        declared_ratio: Option<f64>,
    ) -> Result<(Choice, Vec<(f64, f64)>), AllocationError> {
        let budget = Budget::training(budget);
        let found = optimum(self.surface, self.cost, domain, &budget)?;
        let region = region(
            self.surface,
            self.draws,
            self.cost,
            domain,
            &budget,
            &found,
            LEVEL,
        );
        let cloud = region
            .settings
            .iter()
            .map(|s| (s.concept_share, s.compression_ratio));
        let cloud = cloud.collect();
        let name = |variable: Variable| variable.name().to_owned();
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
            intervals: region.intervals,
            at_edge: edge
                .map(|b| format!("{} ({})", name(b.variable), side(b.side)))
                .collect(),
        };
        Ok((choice, cloud))
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
    let (low, high) = match domain.compression_ratio.is_fixed() {
        true => (low, high),
        false => ((low / RATIO_MARGIN).max(1.0), high * RATIO_MARGIN),
    };
    let ratios: Vec<f64> = match domain.compression_ratio.is_fixed() {
        true => vec![low],
        false => (0..SIDE)
            .map(|k| low * (high / low).powf(step(k)))
            .collect(),
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
