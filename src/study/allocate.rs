//! What to train for a budget, how sure that is, and what it saves.

use super::remark::NO_RESAMPLES;
use super::{Fitted, LEVEL, Remark};
use crate::fit::allocation::{
    ActiveBound, AllocationError, Baseline, Budget, Cost, Domain, Optimum, Range, Region,
    SavingInterval, Setting, Surface, Unreachable, Variable, frontier, optimum, region, saving,
    saving_interval,
};
use crate::fit::diagnostics::{DataRange, Extrapolation};
use serde::Serialize;
use std::collections::BTreeMap;

/// What may be spent, on what, at which cost.
pub struct AllocateQuestion<'a> {
    /// What settings cost.
    pub cost: &'a dyn Cost,
    /// What may be spent.
    pub budget: Budget,
    /// Bounds that were stated; the others follow from the data.
    pub bounds: Vec<(Variable, Range)>,
    /// Values of columns that are neither N, D, P nor R.
    pub constants: Vec<(String, f64)>,
    /// Training budgets along which the optimum is followed.
    pub frontier: Vec<f64>,
    /// A dense law, against which FLOPs are saved.
    pub dense: Option<&'a Fitted>,
}

/// What to train for a budget.
#[derive(Clone, Debug, Serialize)]
pub struct AllocationReport {
    /// Name of the law.
    pub law: String,
    /// Its parameters.
    pub parameters: BTreeMap<String, f64>,
    /// How FLOPs are counted.
    pub cost: String,
    /// What may be spent.
    pub budget: Budget,
    /// Where the optimum was sought.
    pub domain: Domain,
    /// The best setting.
    pub optimum: BestSetting,
    /// Quantities that lie on a bound of the domain.
    pub active_bounds: Vec<String>,
    /// Which bounds those are.
    pub bounds_reached: Vec<ActiveBound>,
    /// Whether the training budget is used up.
    pub training_binds: bool,
    /// Whether the limit per generated token is used up.
    pub inference_binds: bool,
    /// Where the optimum lies over the resamples; null without resamples.
    pub region: Option<RegionReport>,
    /// Sizes more than 10× outside the data, and P and R outside them.
    pub extrapolation: Vec<Extrapolation>,
    /// FLOPs saved against the dense law; null without one.
    pub saving: Option<SavingReport>,
    /// The optimum along training budgets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frontier: Vec<FrontierReport>,
    /// What a reader must know.
    pub warnings: Vec<Remark>,
}

/// A setting with what it costs and the loss it should reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BestSetting {
    /// N, D, P and R; P = 0 and R = 1 for a law that knows neither.
    #[serde(flatten)]
    pub setting: Setting,
    /// The predicted loss, nats per token.
    pub loss: f64,
    /// Training FLOPs.
    pub flops: f64,
    /// FLOPs per generated token.
    pub inference_flops: f64,
}

impl BestSetting {
    fn of(found: &Optimum) -> Self {
        Self {
            setting: found.setting,
            loss: found.loss,
            flops: found.flops,
            inference_flops: found.inference_flops,
        }
    }
}

/// Where the optimum lies over the resamples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegionReport {
    /// Coverage of the intervals.
    pub level: f64,
    /// Intervals of every quantity and of the loss.
    pub intervals: BTreeMap<String, [f64; 2]>,
    /// What not knowing the law better costs on average, nats per token.
    pub expected_regret: f64,
    /// The 95th percentile of that.
    pub regret_95: f64,
    /// Resamples.
    pub draws: usize,
    /// Resamples without an optimum.
    pub failed: usize,
}

impl RegionReport {
    fn of(region: &Region) -> Self {
        Self {
            level: region.level,
            intervals: region.intervals.clone(),
            expected_regret: region.expected_regret,
            regret_95: region.regret_95,
            draws: region.settings.len() + region.failed,
            failed: region.failed,
        }
    }
}

/// FLOPs saved against the dense optimum of the same budget, at equal loss and equal tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SavingReport {
    /// The loss is reached.
    Saved {
        /// The dense optimum.
        baseline: Baseline,
        /// Its loss.
        target_loss: f64,
        /// The cheapest setting with that loss.
        setting: Setting,
        /// Share of training FLOPs saved; negative when dense is cheaper.
        training: f64,
        /// Share of FLOPs per generated token saved.
        inference: f64,
        /// Intervals over pairs of resamples.
        intervals: Option<SavingInterval>,
    },
    /// The loss is out of reach.
    OutOfReach(Unreachable),
}

/// The optimum at one budget.
#[derive(Clone, Debug, Serialize)]
pub struct FrontierReport {
    /// The best setting there.
    #[serde(flatten)]
    pub optimum: BestSetting,
    /// Quantities that lie on a bound.
    pub active_bounds: Vec<String>,
    /// Where it lies over the resamples.
    pub region: Option<RegionReport>,
    /// Sizes more than 10× outside the data, and P and R outside them.
    pub extrapolation: Vec<Extrapolation>,
}

/// Why nothing was allocated.
#[derive(Debug, thiserror::Error)]
pub enum CannotAllocate {
    /// The engine refuses.
    #[error(transparent)]
    Engine(#[from] AllocationError),
    /// A quantity has one value in the data and is not fixed.
    #[error(
        "every run has {name} = {value}: how the loss depends on it is unknown, so it cannot be \
         chosen; fix it with --fix {name}={value}, or bring runs that vary it"
    )]
    OneValue {
        /// The quantity.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// The law predicts something else than a loss.
    #[error("law `{law}` predicts `{response}`, which is not a loss to be made small")]
    NoLoss {
        /// The law.
        law: String,
        /// What it predicts.
        response: &'static str,
    },
    /// The law does not read a size that the budget pays for.
    #[error(
        "law `{law}` does not read `{name}`, so it cannot divide a budget: hold it, with --fix \
         {name}=VALUE"
    )]
    Unread {
        /// The law.
        law: String,
        /// The size.
        name: &'static str,
    },
    /// A bound is stated for something the law does not read.
    #[error("law `{law}` does not read `{name}`, so it cannot be fixed or bounded")]
    NotRead {
        /// The law.
        law: String,
        /// The quantity.
        name: String,
    },
}

/// Finds what to train for a budget.
///
/// # Errors
/// [`CannotAllocate`] when the question has no answer.
pub fn allocate(
    fitted: &Fitted,
    question: &AllocateQuestion<'_>,
) -> Result<AllocationReport, CannotAllocate> {
    let law = fitted.law.law();
    if law.response() != "loss" {
        return Err(CannotAllocate::NoLoss {
            law: law.name(),
            response: law.response(),
        });
    }
    let constants: Vec<(&str, f64)> = question
        .constants
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let surface = Surface::new(fitted.law.clone(), &constants)?;
    let domain = domain(fitted, &surface, question)?;
    let (cost, budget) = (question.cost, &question.budget);
    let found = optimum(&surface, cost, &domain, budget)?;
    let sure = (!fitted.draws.is_empty()).then(|| {
        region(
            &surface,
            &fitted.draws,
            cost,
            &domain,
            budget,
            &found,
            LEVEL,
        )
    });
    let points = frontier(
        &surface,
        &fitted.draws,
        cost,
        &domain,
        budget,
        &question.frontier,
        LEVEL,
    )?;
    let along = points.iter().map(|point| FrontierReport {
        optimum: BestSetting::of(&point.optimum),
        active_bounds: names(&point.optimum.active_bounds),
        region: point.region.as_ref().map(RegionReport::of),
        extrapolation: point.optimum.extrapolates(&fitted.ranges),
    });
    let parameters = law.parameters().into_iter().map(|parameter| parameter.name);
    let saving = question
        .dense
        .map(|dense| saved(dense, fitted, &surface, &domain, question))
        .transpose()?;
    let mut warnings = warnings(fitted, &found);
    let saving = saving.map(|(saving, remarks)| {
        warnings.extend(remarks);
        saving
    });
    Ok(AllocationReport {
        law: law.name(),
        parameters: parameters
            .zip(fitted.law.parameters().iter().copied())
            .collect(),
        cost: cost.convention().to_owned(),
        budget: *budget,
        domain,
        optimum: BestSetting::of(&found),
        active_bounds: names(&found.active_bounds),
        training_binds: found.training_binds,
        inference_binds: found.inference_binds,
        region: sure.as_ref().map(RegionReport::of),
        extrapolation: found.extrapolates(&fitted.ranges),
        saving,
        frontier: along.collect(),
        warnings,
        bounds_reached: found.active_bounds,
    })
}

fn names(bounds: &[ActiveBound]) -> Vec<String> {
    let name = |bound: &ActiveBound| bound.variable.name().to_owned();
    bounds.iter().map(name).collect()
}

/// The default box, widened to hold the data, with the stated bounds.
fn domain(
    fitted: &Fitted,
    surface: &Surface,
    question: &AllocateQuestion<'_>,
) -> Result<Domain, CannotAllocate> {
    let mut domain = Domain::default();
    let sizes = [Variable::Params, Variable::Tokens];
    for variable in Variable::ALL {
        let stated = question.bounds.iter().find(|(other, _)| *other == variable);
        if let Some((_, range)) = stated {
            if !surface.uses(variable) && !sizes.contains(&variable) {
                return Err(CannotAllocate::NotRead {
                    law: fitted.law.law().name(),
                    name: variable.name().to_owned(),
                });
            }
            domain = domain.with(variable, *range);
            continue;
        }
        if sizes.contains(&variable) && !surface.uses(variable) {
            return Err(CannotAllocate::Unread {
                law: fitted.law.law().name(),
                name: variable.name(),
            });
        }
        let data = fitted
            .ranges
            .iter()
            .find(|range| range.column == variable.name());
        let Some(data) = data.filter(|_| surface.uses(variable)) else {
            continue;
        };
        if data.lowest == data.highest {
            return Err(CannotAllocate::OneValue {
                name: variable.name(),
                value: data.lowest,
            });
        }
        domain = domain.with(variable, widened(domain.get(variable), variable, data));
    }
    Ok(domain)
}

/// Widens a range to hold the data, and sizes around them: small models are worth allocating too.
fn widened(range: Range, variable: Variable, data: &DataRange) -> Range {
    let room = match variable {
        Variable::Params | Variable::Tokens => 100.0,
        Variable::ConceptShare | Variable::CompressionRatio => 1.0,
    };
    Range::between(
        range.low.min(data.lowest / room),
        range.high.max(data.highest * room),
    )
}

fn saved(
    dense: &Fitted,
    fitted: &Fitted,
    surface: &Surface,
    domain: &Domain,
    question: &AllocateQuestion<'_>,
) -> Result<(SavingReport, Vec<Remark>), AllocationError> {
    let dense_surface = Surface::new(dense.law.clone(), &[])?;
    // The stated bounds are about the hierarchical model; N is the dense data's own.
    let params = Domain::default().params;
    let mut ranges = dense.ranges.iter();
    let data = ranges.find(|range| range.column == Variable::Params.name());
    let free = Domain {
        params: data.map_or(params, |data| widened(params, Variable::Params, data)),
        tokens: domain.tokens,
        ..*domain
    };
    let best = optimum(&dense_surface, question.cost, &free, &question.budget)?;
    let mut remarks = far_remarks(&best, &dense.ranges, "dense, ");
    remarks.extend(bound_remarks(&best, "dense: "));
    let baseline = Baseline {
        params: best.setting.params,
        tokens: best.setting.tokens,
    };
    let found = match saving(&dense_surface, surface, question.cost, domain, baseline)? {
        Ok(found) => found,
        Err(unreachable) => return Ok((SavingReport::OutOfReach(unreachable), remarks)),
    };
    let intervals = (!dense.draws.is_empty() && !fitted.draws.is_empty())
        .then(|| {
            saving_interval(
                &dense_surface,
                &dense.draws,
                surface,
                &fitted.draws,
                question.cost,
                domain,
                baseline,
                LEVEL,
            )
        })
        .transpose()?;
    let report = SavingReport::Saved {
        baseline,
        target_loss: found.target_loss,
        setting: found.setting,
        training: found.training,
        inference: found.inference,
        intervals,
    };
    Ok((report, remarks))
}

/// Marks what lies outside the data; `whose` stands before the mark.
fn far_remarks(best: &Optimum, ranges: &[DataRange], whose: &str) -> Vec<Remark> {
    let far = best.extrapolates(ranges).into_iter();
    far.map(|far| Remark::new("extrapolation", format!("{whose}extrapolated: {far}")))
        .collect()
}

/// Names what lies on a bound; `whose` stands before the name.
fn bound_remarks(best: &Optimum, whose: &str) -> Vec<Remark> {
    let remark = |bound: &ActiveBound| {
        Remark::new(
            "active_bound",
            format!(
                "{whose}{} lies on its bound, {}: better may lie beyond it",
                bound.variable.name(),
                bound.value
            ),
        )
    };
    best.active_bounds.iter().map(remark).collect()
}

fn warnings(fitted: &Fitted, found: &Optimum) -> Vec<Remark> {
    let mut remarks = far_remarks(found, &fitted.ranges, "");
    if fitted.ranges.is_empty() {
        remarks.push(Remark::new(
            "no_data",
            "the parameters were stated: nothing says where the data end or how sure this is",
        ));
    } else if fitted.draws.is_empty() {
        remarks.push(Remark::new("no_region", NO_RESAMPLES));
    }
    remarks.extend(bound_remarks(found, ""));
    remarks
}
