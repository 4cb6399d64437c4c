//! The best setting within a budget.

use serde::{Deserialize, Serialize};

use super::budget::{Budget, Domain, Setting};
use super::cost::Cost;
use super::error::AllocationError;
use super::feasible::Feasible;
use super::minimise::minimise;
use super::surface::Surface;
use super::variable::Variable;
use crate::fit::diagnostics::{self, Extrapolation, Side};

/// The best setting within a budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimum {
    /// The setting.
    #[serde(flatten)]
    pub setting: Setting,
    /// Its predicted loss in nats per token.
    pub loss: f64,
    /// FLOPs of training it.
    pub flops: f64,
    /// FLOPs per generated token.
    pub inference_flops: f64,
    /// Counting convention of the FLOPs.
    pub convention: String,
    /// Bounds of the domain on which it lies.
    pub active_bounds: Vec<ActiveBound>,
    /// Whether the training budget is used up; if not, a bound stands in the way.
    pub training_binds: bool,
    /// Whether the limit on FLOPs per generated token is met with equality.
    pub inference_binds: bool,
}

impl Optimum {
    /// Returns the sizes that lie more than 10× outside the data of a fit, and P and R outside them.
    pub fn extrapolates(&self, ranges: &[diagnostics::DataRange]) -> Vec<Extrapolation> {
        extrapolates(&self.setting, ranges)
    }
}

/// Returns the sizes of a setting that lie more than 10× outside the data of a fit, and P and R where
/// they lie outside them.
pub fn extrapolates(setting: &Setting, ranges: &[diagnostics::DataRange]) -> Vec<Extrapolation> {
    let far = |range: &diagnostics::DataRange| {
        range.extrapolation(setting.get(Variable::of_column(&range.column)?))
    };
    ranges.iter().filter_map(far).collect()
}

/// A bound of the domain on which an optimum lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveBound {
    /// The quantity.
    pub variable: Variable,
    /// Which end of its range.
    pub side: Side,
    /// The bound.
    pub value: f64,
}

/// Finds the setting with the lowest predicted loss within a budget.
///
/// # Errors
/// [`AllocationError`] when the domain or budget is unusable or affords nothing.
pub fn optimum(
    surface: &Surface,
    cost: &dyn Cost,
    domain: &Domain,
    budget: &Budget,
) -> Result<Optimum, AllocationError> {
    best(surface, cost, domain, budget, 9, None)
}

/// As [`optimum`], with a coarser grid and a hint, for resamples.
pub(crate) fn best(
    surface: &Surface,
    cost: &dyn Cost,
    domain: &Domain,
    budget: &Budget,
    side: usize,
    hint: Option<&Setting>,
) -> Result<Optimum, AllocationError> {
    domain.check()?;
    budget.check(domain)?;
    let domain = surface.restrict(*domain);
    let problem = Feasible {
        cost,
        domain,
        budget,
    };
    let axes = problem.axes();
    let objective = |x: &[f64]| {
        problem
            .setting(&axes, x)
            .map_or(f64::INFINITY, |s| surface.loss(&s))
    };
    let hints: Vec<Vec<f64>> = hint
        .map(|s| problem.coordinates(&axes, s))
        .into_iter()
        .collect();
    let found = minimise(&objective, axes.len(), side, &hints)
        .and_then(|(x, loss)| Some((problem.setting(&axes, &x)?, loss)));
    let Some((setting, loss)) = found else {
        return Err(problem.unaffordable());
    };
    let shape = setting.shape();
    let (flops, inference) = (
        setting.training_flops(cost),
        cost.inference_per_token(&shape),
    );
    let spent = flops + budget.served_tokens * inference;
    let reached = |limit: Option<f64>, spent: f64| limit.is_some_and(|l| spent > l * (1.0 - 1e-6));
    Ok(Optimum {
        setting,
        loss,
        flops,
        inference_flops: inference,
        convention: cost.convention().to_owned(),
        active_bounds: active_bounds(&domain, &setting),
        training_binds: reached(budget.training, spent),
        inference_binds: reached(budget.inference_per_token, inference),
    })
}

/// Names the bounds of a domain on which a setting lies.
pub fn active_bounds(domain: &Domain, setting: &Setting) -> Vec<ActiveBound> {
    let mut found = Vec::new();
    for variable in Variable::ALL {
        let range = domain.get(variable);
        let value = setting.get(variable);
        if range.is_fixed() {
            continue;
        }
        let close = |bound: f64| (value - bound).abs() <= 1e-7 * bound.abs();
        if close(range.low) {
            found.push(ActiveBound {
                variable,
                side: Side::Lower,
                value: range.low,
            });
        } else if close(range.high) {
            found.push(ActiveBound {
                variable,
                side: Side::Upper,
                value: range.high,
            });
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Convention, Cost, Range, Shape};
    use super::*;
    use crate::fit::law::{FittedLaw, by_name};

    fn dlcm() -> Surface {
        let p = vec![
            1.6, 110.0, 2e7, 0.3, 55.0, 0.15, 3e7, 0.28, 850.0, 1e9, 0.33,
        ];
        Surface::new(
            FittedLaw::from_parts(by_name("dlcm").unwrap(), p).unwrap(),
            &[],
        )
        .unwrap()
    }

    fn chinchilla() -> Surface {
        let p = vec![1.8, 480.0, 2100.0, 0.35, 0.37];
        Surface::new(
            FittedLaw::from_parts(by_name("chinchilla").unwrap(), p).unwrap(),
            &[],
        )
        .unwrap()
    }

    #[test]
    fn a_dense_law_has_its_closed_form() {
        let found = optimum(
            &chinchilla(),
            &Convention::SixN,
            &Domain::default(),
            &Budget::training(1e22),
        )
        .unwrap();
        let g = f64::powf(0.35 * 480.0 / (0.37 * 2100.0), 1.0 / 0.72);
        let params = g * (1e22_f64 / 6.0).powf(0.37 / 0.72);
        assert!(
            (found.setting.params / params - 1.0).abs() < 1e-6,
            "{found:?}"
        );
        assert!((found.setting.concept_share, found.setting.compression_ratio) == (0.0, 1.0));
        assert!(found.training_binds && found.active_bounds.is_empty());
    }

    #[test]
    fn active_bounds_are_named() {
        let budget = Budget::training(1e21);
        let found = optimum(
            &dlcm(),
            &Convention::SixNActive,
            &Domain::default(),
            &budget,
        )
        .unwrap();
        assert_eq!(
            found.active_bounds,
            [ActiveBound {
                variable: Variable::CompressionRatio,
                side: Side::Upper,
                value: 16.0
            }]
        );
    }

    #[test]
    fn an_inference_budget_binds() {
        let (surface, cost) = (dlcm(), Convention::SixNActive);
        let free = optimum(&surface, &cost, &Domain::default(), &Budget::training(1e21)).unwrap();
        let limit = 0.3 * free.inference_flops;
        let budget = Budget {
            inference_per_token: Some(limit),
            ..Budget::training(1e21)
        };
        let found = optimum(&surface, &cost, &Domain::default(), &budget).unwrap();
        assert!(found.inference_binds && found.training_binds, "{found:?}");
        assert!((found.inference_flops / limit - 1.0).abs() < 1e-6 && found.loss > free.loss);
        // The Lagrange condition in P at fixed cost per token: moving P along it gains nothing.
        for step in [-1e-3, 1e-3] {
            let mut moved = found.setting;
            moved.concept_share += step;
            let share = moved.concept_share;
            moved.params = limit / 2.0 / (1.0 - share + share / moved.compression_ratio);
            assert!(surface.loss(&moved) > found.loss);
        }
    }

    #[test]
    fn served_tokens_make_models_smaller() {
        let (surface, cost) = (chinchilla(), Convention::SixN);
        let at = |served: f64| {
            let budget = Budget {
                served_tokens: served,
                ..Budget::training(1e22)
            };
            optimum(&surface, &cost, &Domain::default(), &budget).unwrap()
        };
        let (none, many) = (at(0.0), at(1e12));
        assert!(many.setting.params < 0.7 * none.setting.params && many.loss > none.loss);
        let spent = many.flops + 1e12 * many.inference_flops;
        assert!((spent / 1e22 - 1.0).abs() < 1e-9, "{spent}");
    }

    #[test]
    fn only_inference_needs_fixed_tokens() {
        let (surface, cost) = (dlcm(), Convention::SixNActive);
        let budget = Budget {
            inference_per_token: Some(2e9),
            ..Budget::default()
        };
        assert!(optimum(&surface, &cost, &Domain::default(), &budget).is_err());
        let domain = Domain::default().with(Variable::Tokens, Range::fixed(1e11));
        let found = optimum(&surface, &cost, &domain, &budget).unwrap();
        assert!(found.inference_binds && found.setting.tokens == 1e11);
    }

    /// Layers come in whole numbers of 5M parameters.
    struct WholeLayers;

    impl WholeLayers {
        fn params(shape: &Shape) -> f64 {
            5e6 * (shape.params / 5e6).ceil()
        }
    }

    impl Cost for WholeLayers {
        fn convention(&self) -> &str {
            "exact"
        }

        fn training_per_token(&self, shape: &Shape) -> f64 {
            6.0 * Self::params(shape)
        }

        fn inference_per_token(&self, shape: &Shape) -> f64 {
            2.0 * Self::params(shape)
        }
    }

    #[test]
    fn stepped_costs_are_searched_too() {
        let cost = WholeLayers;
        let domain = Domain::default().with(Variable::Params, Range::between(1e7, 1e9));
        let stepped = optimum(&chinchilla(), &cost, &domain, &Budget::training(1e19)).unwrap();
        let smooth = optimum(
            &chinchilla(),
            &Convention::SixN,
            &domain,
            &Budget::training(1e19),
        )
        .unwrap();
        assert!(
            stepped.loss >= smooth.loss && stepped.loss < smooth.loss * 1.002,
            "{stepped:?}"
        );
        assert!(stepped.flops <= 1e19 * (1.0 + 1e-9));
    }

    #[test]
    fn what_cannot_be_afforded_is_an_error_with_numbers() {
        let budget = Budget::training(1e9);
        let error = optimum(
            &dlcm(),
            &Convention::SixNActive,
            &Domain::default(),
            &budget,
        );
        assert!(error.unwrap_err().to_string().contains("affords nothing"));
        let domain = Domain::default().with(Variable::ConceptShare, Range::between(0.2, 1.0));
        let error = optimum(
            &dlcm(),
            &Convention::SixNActive,
            &domain,
            &Budget::training(1e21),
        );
        assert!(error.unwrap_err().to_string().contains("concept_share"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn no_affordable_setting_is_better(
            exponent in 18.0_f64..23.0, n in 0.0_f64..1.0, p in 0.05_f64..0.95, r in 1.0_f64..16.0,
        ) {
            let (surface, cost) = (dlcm(), Convention::SixNActive);
            let flops = 10_f64.powf(exponent);
            let best =
                optimum(&surface, &cost, &Domain::default(), &Budget::training(flops)).unwrap();
            let shape = Shape {
                params: 1e7 * 1e4_f64.powf(n), concept_share: p, compression_ratio: r,
            };
            let tokens = (flops / cost.training_per_token(&shape)).min(1e16);
            prop_assume!(tokens >= 1e6);
            let other = Setting {
                params: shape.params, tokens, concept_share: p, compression_ratio: r,
            };
            prop_assert!(surface.loss(&other) >= best.loss * (1.0 - 1e-12));
        }

        #[test]
        fn more_compute_is_never_worse(exponent in 18.0_f64..23.0, more in 0.0_f64..1.0) {
            let at = |exponent: f64| {
                let budget = Budget::training(10_f64.powf(exponent));
                optimum(&dlcm(), &Convention::SixNActive, &Domain::default(), &budget).unwrap().loss
            };
            prop_assert!(at(exponent + more) <= at(exponent) * (1.0 + 1e-12));
        }
    }
}
