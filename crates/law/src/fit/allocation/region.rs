//! How sure an allocation is: optima of resampled fits, and what choosing wrongly costs.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::budget::{Budget, Domain, Setting};
use super::cost::Cost;
use super::error::AllocationError;
use super::optimum::{Optimum, best, optimum};
use super::surface::Surface;
use super::variable::Variable;
use crate::fit::bootstrap::{interval, quantile};
use crate::fit::law::FittedLaw;

/// Where the optimum lies in resampled fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Coverage of the intervals.
    pub level: f64,
    /// Percentile intervals of `params`, `tokens`, `concept_share`, `compression_ratio` and `loss`.
    pub intervals: BTreeMap<String, [f64; 2]>,
    /// The optimum of every resample: the region itself.
    pub settings: Vec<Setting>,
    /// Mean over resamples of the loss at the reported optimum minus the loss at the resample's own
    /// optimum: what not knowing the law better costs, in nats per token.
    pub expected_regret: f64,
    /// The 95th percentile of that regret.
    pub regret_95: f64,
    /// Resamples without an optimum.
    pub failed: usize,
}

/// Finds the optimum of every resampled law and compares it with the reported one.
pub fn region(
    surface: &Surface,
    draws: &[FittedLaw],
    cost: &dyn Cost,
    domain: &Domain,
    budget: &Budget,
    reported: &Optimum,
    level: f64,
) -> Region {
    let optima: Vec<(Setting, f64, f64)> = draws
        .par_iter()
        .filter_map(|law| {
            let drawn = surface.with_law(law.clone());
            let hint = Some(&reported.setting);
            let found = best(&drawn, cost, domain, budget, 5, hint).ok()?;
            let regret = (drawn.loss(&reported.setting) - found.loss).max(0.0);
            (found.loss.is_finite() && regret.is_finite()).then_some((
                found.setting,
                found.loss,
                regret,
            ))
        })
        .collect();
    let mut intervals = BTreeMap::new();
    let mut keep = |name: &str, values: Vec<f64>| {
        if let Some(ends) = interval(&values, level) {
            intervals.insert(name.to_owned(), ends);
        }
    };
    for variable in Variable::ALL {
        keep(
            variable.name(),
            optima.iter().map(|(s, _, _)| s.get(variable)).collect(),
        );
    }
    keep("loss", optima.iter().map(|(_, loss, _)| *loss).collect());
    let mut regrets: Vec<f64> = optima.iter().map(|(_, _, regret)| *regret).collect();
    regrets.sort_by(f64::total_cmp);
    Region {
        level,
        intervals,
        expected_regret: regrets.iter().sum::<f64>() / regrets.len() as f64,
        regret_95: quantile(&regrets, 0.95).unwrap_or(f64::NAN),
        failed: draws.len() - optima.len(),
        settings: optima.into_iter().map(|(setting, _, _)| setting).collect(),
    }
}

/// The optimum at one budget of a range, with its region when resamples were given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrontierPoint {
    /// Training budget in FLOPs.
    pub flops: f64,
    /// The optimum.
    pub optimum: Optimum,
    /// Its region; `None` without resamples.
    pub region: Option<Region>,
}

/// Follows the optimum N*(C), D*(C), P*(C), R*(C) along training budgets.
///
/// # Errors
/// The first [`AllocationError`] of any budget.
pub fn frontier(
    surface: &Surface,
    draws: &[FittedLaw],
    cost: &dyn Cost,
    domain: &Domain,
    budget: &Budget,
    flops: &[f64],
    level: f64,
) -> Result<Vec<FrontierPoint>, AllocationError> {
    flops
        .par_iter()
        .map(|&flops| {
            let budget = Budget {
                training: Some(flops),
                ..*budget
            };
            let found = optimum(surface, cost, domain, &budget)?;
            let region = (!draws.is_empty())
                .then(|| region(surface, draws, cost, domain, &budget, &found, level));
            Ok(FrontierPoint {
                flops,
                optimum: found,
                region,
            })
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Convention;
    use super::*;
    use crate::fit::law::by_name;

    fn law(alpha: f64) -> FittedLaw {
        let p = vec![1.8, 480.0 * 1e9_f64.powf(alpha - 0.35), 2100.0, alpha, 0.37];
        FittedLaw::from_parts(by_name("chinchilla").unwrap(), p).unwrap()
    }

    #[test]
    fn a_region_holds_its_optima_and_regret_is_what_ignorance_costs() {
        let surface = Surface::new(law(0.35), &[]).unwrap();
        let draws: Vec<FittedLaw> = (0..=20).map(|i| law(0.30 + 0.005 * f64::from(i))).collect();
        let (cost, domain, budget) = (Convention::SixN, Domain::default(), Budget::training(1e22));
        let found = optimum(&surface, &cost, &domain, &budget).unwrap();
        let region = region(&surface, &draws, &cost, &domain, &budget, &found, 0.9);
        let [low, high] = region.intervals["params"];
        assert!(low < found.setting.params && found.setting.params < high);
        assert!(region.expected_regret > 0.0 && region.regret_95 >= region.expected_regret);
        assert_eq!((region.failed, region.settings.len()), (0, 21));
        let certain = super::region(
            &surface,
            &draws[10..11],
            &cost,
            &domain,
            &budget,
            &found,
            0.9,
        );
        assert!(certain.expected_regret < 1e-9);
    }

    #[test]
    fn a_frontier_follows_the_budget() {
        let surface = Surface::new(law(0.35), &[]).unwrap();
        let budgets = [1e20, 1e21, 1e22];
        let budget = Budget::training(1.0);
        let points = frontier(
            &surface,
            &[],
            &Convention::SixN,
            &Domain::default(),
            &budget,
            &budgets,
            0.9,
        )
        .unwrap();
        let exponent =
            (points[2].optimum.setting.params / points[0].optimum.setting.params).log10() / 2.0;
        assert!((exponent - 0.37 / 0.72).abs() < 1e-6, "{exponent}");
    }
}
