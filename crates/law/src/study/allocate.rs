//! What to train for a budget, how sure that is, and what it saves.

use crate::analysis::{
    AnalysisResult, Attribution, Choice, CostModel, DRAWS, Fitted, LEVEL, Maybe, SavingPoint,
    Savings, Search, Warning, in_words, savings_against, thin, untold,
};
use crate::fit::allocation::{
    ActiveBound, AllocationError, Budget, Cost, Domain, Optimum, Range, Region, Setting, Surface,
    Variable, active_bounds, extrapolates, frontier,
};
use crate::fit::diagnostics::Extrapolation;
use experiment::quantity::human;
use serde::Serialize;
use std::collections::BTreeMap;

/// What may be spent, on what, at which cost.
pub struct AllocateQuestion<'a> {
    /// What settings cost.
    pub cost: &'a dyn Cost,
    /// What limits the law: by unused concepts, say, it tells neither P nor R.
    pub limits: &'a [Warning],
    /// What may be spent.
    pub budget: Budget,
    /// Bounds that were stated; the others follow from the data.
    pub bounds: Vec<(Variable, Range)>,
    /// Values of columns that are neither N, D, P nor R.
    pub constants: Vec<(String, f64)>,
    /// Training budgets along which the optimum is followed.
    pub frontier: Vec<f64>,
    /// What is saved against models without concepts, where that is known.
    pub saving: Option<SavingReport>,
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
    /// The same as an analysis tells it.
    #[serde(skip)]
    pub choice: Choice,
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
    /// FLOPs saved against models without concepts; null where nothing is known of them.
    pub saving: Option<SavingReport>,
    /// The optimum along training budgets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frontier: Vec<FrontierReport>,
    /// What a reader must know.
    #[serde(serialize_with = "in_words")]
    pub warnings: Vec<Warning>,
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

/// FLOPs saved against models without concepts at equal loss and equal tokens.
#[derive(Clone, Debug, Serialize)]
pub struct SavingReport {
    /// Savings along the sizes of dense models, at every declared R.
    pub dense: Maybe<Savings>,
    /// The saving to name first.
    pub headline: Option<SavingPoint>,
    /// Whose it is, in a sentence.
    pub attribution: Option<Attribution>,
    /// What it is measured against, in words.
    pub against: String,
}

/// What savings are measured against where nothing else is asked for.
pub const DENSE: &str = "dense";

impl SavingReport {
    /// Works out what a law saves against another, both of known parameters: whose that is, no
    /// parameters say.
    pub fn against(fitted: &Fitted, other: &Fitted, cost: &CostModel, called: &str) -> Self {
        let savings = savings_against(fitted, other, cost);
        let headline = savings.known().and_then(|savings| savings.headline(None));
        Self {
            headline: headline.map(|(_, point)| point.clone()),
            dense: savings,
            attribution: None,
            against: called.to_owned(),
        }
    }

    /// Takes over what an analysis says of it.
    pub fn of(result: &AnalysisResult) -> Self {
        let known = result.savings.known();
        let headline = known.and_then(|savings| savings.headline(result.best_ratio()));
        Self {
            headline: headline.map(|(_, point)| point.clone()),
            dense: result.savings.clone(),
            attribution: Some(result.attribution()),
            against: DENSE.to_owned(),
        }
    }
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
    /// D is stated for a law that holds at one D.
    #[error(
        "law `{law}` holds at D = {} alone, the one D of its runs: it cannot say what another D does",
        human(*at)
    )]
    OtherTokens {
        /// The law.
        law: String,
        /// Its D.
        at: f64,
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
    let draws = thin(&fitted.draws, DRAWS);
    let search = Search {
        surface: &surface,
        draws: &draws,
        cost,
        ranges: &fitted.ranges,
    };
    let (mut best, region) = search.choice(&domain, budget, None)?;
    best.leave_open(&untold(question.limits, &domain));
    let points = frontier(
        &surface,
        &draws,
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
    // What the law does not read was not searched.
    let bounds_reached = active_bounds(&surface.restrict(domain), &best.setting);
    let extrapolation = extrapolates(&best.setting, &fitted.ranges);
    Ok(AllocationReport {
        law: law.name(),
        parameters: parameters
            .zip(fitted.law.parameters().iter().copied())
            .collect(),
        cost: cost.convention().to_owned(),
        budget: *budget,
        domain,
        active_bounds: names(&bounds_reached),
        training_binds: best.training_binds,
        inference_binds: best.inference_binds,
        region: (!draws.is_empty()).then(|| RegionReport::of(&region)),
        saving: question.saving.clone(),
        frontier: along.collect(),
        warnings: warnings(fitted, &best, &bounds_reached, &extrapolation),
        optimum: BestSetting {
            setting: best.setting,
            loss: best.loss,
            flops: best.flops,
            inference_flops: best.inference_flops,
        },
        choice: best,
        extrapolation,
        bounds_reached,
    })
}

fn names(bounds: &[ActiveBound]) -> Vec<String> {
    let name = |bound: &ActiveBound| bound.variable.name().to_owned();
    bounds.iter().map(name).collect()
}

/// The domain of the law, with the stated bounds.
fn domain(
    fitted: &Fitted,
    surface: &Surface,
    question: &AllocateQuestion<'_>,
) -> Result<Domain, CannotAllocate> {
    let mut domain = fitted.domain();
    let sizes = [Variable::Params, Variable::Tokens];
    for variable in Variable::ALL {
        let stated = question.bounds.iter().find(|(other, _)| *other == variable);
        let held = variable == Variable::Tokens && fitted.at_tokens.is_some();
        if let (Some((_, range)), Some(at)) = (stated, fitted.at_tokens)
            && variable == Variable::Tokens
            && !(range.is_fixed() && fitted.holds_at(range.low))
        {
            return Err(CannotAllocate::OtherTokens {
                law: fitted.law.law().name(),
                at,
            });
        }
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
        if sizes.contains(&variable) && !surface.uses(variable) && !held {
            return Err(CannotAllocate::Unread {
                law: fitted.law.law().name(),
                name: variable.name(),
            });
        }
        let data = fitted.extent(variable).filter(|_| surface.uses(variable));
        match data {
            Some([low, high]) if low == high && !domain.get(variable).is_fixed() => {
                return Err(CannotAllocate::OneValue {
                    name: variable.name(),
                    value: low,
                });
            }
            _ => {}
        }
    }
    Ok(domain)
}

fn warnings(
    fitted: &Fitted,
    best: &Choice,
    bounds: &[ActiveBound],
    far: &[Extrapolation],
) -> Vec<Warning> {
    let far = far.iter().map(|far| Warning::Extrapolated {
        whose: String::new(),
        far: far.clone(),
    });
    let mut warnings: Vec<Warning> = far.collect();
    if fitted.ranges.is_empty() {
        warnings.push(Warning::StatedParameters);
    } else if fitted.draws.is_empty() {
        warnings.push(Warning::NoResamples {
            law: fitted.law.law().name(),
        });
    }
    if !best.undetermined.is_empty() {
        warnings.push(Warning::Undetermined {
            variables: best.undetermined.clone(),
        });
    }
    if let Some(tokens) = fitted.at_tokens {
        warnings.push(Warning::HeldTokens { tokens });
    }
    warnings.extend(bounds.iter().map(|bound| Warning::ActiveBound {
        variable: bound.variable.name().to_owned(),
        value: bound.value,
    }));
    warnings
}
