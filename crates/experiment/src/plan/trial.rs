//! Trials: the runs that find the learning rate of each family of models.
//!
//! A family is a kind of model: those of the grid, dense ones, controls. Its trials are one of its
//! own runs at each rate, at the smallest token width, where they cost least: muP carries a rate to
//! other widths. The same at the next larger width shows whether it does.

use super::Planned;
use crate::architecture::ModelKind;
use crate::architecture::solver::levels;
use crate::grid::Experiment;
use crate::recipe::LearningRates;
use crate::run::Part;
use std::collections::{BTreeMap, BTreeSet};

/// Base learning rates by kind of model, where they were looked for and found.
pub type Rates = BTreeMap<ModelKind, f64>;

/// The axis that a rate is written under.
const RATE: &str = "training.learning_rate";

/// Plans the trials that an experiment asks for; none where it looks for no rates. `planned` are its
/// other runs, at any rate.
///
/// A trial may be one of those runs: then it has the same identity.
pub fn trials(experiment: &Experiment, planned: &[Planned]) -> Vec<Planned> {
    let tune = &experiment.tune;
    let mut found = Vec::new();
    for kind in ModelKind::ALL {
        let own_rate = |run: &Planned| run.axes.keys().any(|axis| axis.starts_with(RATE));
        let family: Vec<&Planned> = planned
            .iter()
            .filter(|run| run.spec.architecture.kind() == kind && run.part() != Part::Trunk)
            .filter(|run| !own_rate(run))
            .collect();
        // A rate that serves reading ahead is no other's.
        let is_honest = |run: &&Planned| !run.spec.architecture.reads_ahead();
        let family: Vec<&Planned> = if family.iter().any(is_honest) {
            family.into_iter().filter(is_honest).collect()
        } else {
            family
        };
        let widths: BTreeSet<usize> = family.iter().map(|run| width(run)).collect();
        let tried = if tune.check { 2 } else { 1 };
        for wanted in widths.into_iter().take(tried) {
            let as_wide = family.iter().copied().filter(|run| width(run) == wanted);
            if let Some(run) = representative(as_wide.collect()) {
                found.extend(tune.learning_rate.iter().map(|&rate| trial(run, rate)));
            }
        }
    }
    found
}

fn width(run: &Planned) -> usize {
    levels(&run.spec.architecture).0.width
}

/// Picks the run of most tokens, and of those the one in the middle of R, P and N, with the first
/// seed.
fn representative(mut family: Vec<&Planned>) -> Option<&Planned> {
    let most = family.iter().map(|run| run.spec.recipe.tokens).max()?;
    family.retain(|run| run.spec.recipe.tokens == most);
    let first = family.iter().map(|run| run.spec.seed).min()?;
    family.retain(|run| run.spec.seed == first);
    let params = |run: &Planned| run.spec.architecture.params();
    let in_the_middle: [&dyn Fn(&Planned) -> f64; 3] = [
        &|run| run.spec.architecture.compression_ratio(),
        &|run| params(run).concept_share(),
        &|run| params(run).non_embedding() as f64,
    ];
    for value in in_the_middle {
        let wanted = middle(family.iter().map(|run| value(run)))?;
        family.retain(|run| value(run) == wanted);
    }
    family.into_iter().next()
}

/// Returns the middle one of the values that occur, the upper of two.
fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values.get(values.len() / 2).copied()
}

/// Makes a run at another rate, all of it by itself.
fn trial(run: &Planned, rate: f64) -> Planned {
    let mut spec = run.spec.clone();
    set_rate(&mut spec.recipe.rates, rate);
    (spec.execution.start, spec.execution.keeps_end) = (None, false);
    let mut axes = run.axes.clone();
    axes.insert(RATE.to_owned(), rate.to_string());
    Planned {
        trial: true,
        ..Planned::new(spec, axes, run.asked.clone(), run.straying)
    }
}

fn set_rate(rates: &mut LearningRates, rate: f64) {
    (rates.token, rates.concept, rates.other) = (rate, rate, rate);
}

impl Experiment {
    /// Gives each family the rate that was found for it, but those that have one of their own.
    #[must_use]
    pub fn with_rates(mut self, rates: &Rates) -> Self {
        for cell in &mut self.cells {
            let own = cell.axes.iter().any(|(axis, _)| axis.starts_with(RATE));
            if let (Some(&rate), false) = (rates.get(&cell.kind.model()), own) {
                set_rate(&mut cell.recipe.rates, rate);
            }
        }
        self
    }
}
