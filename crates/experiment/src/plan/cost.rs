//! What training takes on a machine: measured for some kinds of step, estimated for all others.

use super::Planned;
use crate::architecture::{Architecture, ModelKind};
use crate::digest;
use crate::recipe::{BoundaryRecipe, Precision};
use crate::run::{RunId, RunSpec};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a run's process takes, whatever it learns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Seconds from the start of the process to its first step.
    pub start: f64,
    /// Seconds for each token that is trained on.
    pub training: f64,
    /// Seconds for each held-out token of an evaluation.
    pub evaluation: f64,
    /// Seconds for each held-out token of what the last evaluation measures besides.
    pub gains: f64,
    /// Peak memory on the device, bytes; `None` where it does not say.
    pub memory: Option<f64>,
}

impl Cost {
    /// Computes the seconds of a run's process.
    pub fn seconds(&self, run: &RunSpec) -> f64 {
        let recipe = &run.recipe;
        let tokens = run.own_tokens() as f64;
        // One at its end, whatever part of a training it is.
        let evaluations = (recipe.validations as f64 * tokens / recipe.tokens as f64).max(1.0);
        let held_out = recipe.validation_tokens as f64;
        self.start
            + self.training * tokens
            + held_out * (self.evaluation * evaluations + self.gains)
    }
}

/// What decides the cost of a step: runs that differ in data, seed, rates or length share it.
#[derive(Serialize)]
struct Workload<'a> {
    architecture: &'a Architecture,
    batch: usize,
    micro_batch: usize,
    precision: Precision,
    boundary: &'a BoundaryRecipe,
}

/// Names what decides the cost of a run's steps: 12 hexadecimal digits.
fn workload(run: &RunSpec) -> String {
    let workload = Workload {
        architecture: &run.architecture,
        batch: run.recipe.batch,
        micro_batch: run.execution.micro_batch,
        precision: run.recipe.precision,
        boundary: &run.recipe.boundary,
    };
    let text = serde_json::to_string(&workload)
        .unwrap_or_else(|error| unreachable!("a workload is plain data: {error}"));
    digest::name(&text)
}

/// Finds the workloads of a plan, each with a run that has it, in an order in which the first few
/// stand for all: of each kind of model the cheapest and the dearest, then always what halves a
/// gap.
pub fn workloads(planned: &[Planned]) -> Vec<(String, &Planned)> {
    let names: Vec<String> = planned.par_iter().map(|run| workload(&run.spec)).collect();
    let mut seen = HashSet::new();
    let found = names.into_iter().zip(planned);
    let found = found.filter(|(name, _)| seen.insert(name.clone()));
    let mut by_kind: BTreeMap<ModelKind, Vec<_>> = BTreeMap::new();
    for (name, run) in found {
        by_kind.entry(kind(run)).or_default().push((name, run));
    }
    let mut ordered: Vec<_> = by_kind.into_values().flat_map(outside_in).collect();
    ordered.sort_by_key(|(rank, _)| *rank);
    ordered.into_iter().map(|(_, workload)| workload).collect()
}

/// Ranks some workloads: the ends first, then what halves a gap.
fn outside_in(mut found: Vec<(String, &Planned)>) -> Vec<(usize, (String, &Planned))> {
    found.sort_by(|a, b| flops_per_token(a.1).total_cmp(&flops_per_token(b.1)));
    let last = found.len().saturating_sub(1);
    // The finest grid of halvings that a place lies on: the fewer zeros its number ends with.
    let rank = |place: usize| match place {
        0 => 0,
        place if place == last => 1,
        place => 2 + (last.next_power_of_two().ilog2() - place.trailing_zeros()) as usize,
    };
    (0..).map(rank).zip(found).collect()
}

fn kind(run: &Planned) -> ModelKind {
    run.spec.architecture.kind()
}

/// Training FLOPs of a token, convention `exact`.
fn flops_per_token(run: &Planned) -> f64 {
    run.flops / run.spec.own_tokens() as f64
}

/// What the runs of a plan cost.
#[derive(Clone, Debug, Default)]
pub struct Costs(HashMap<RunId, Cost>);

impl Costs {
    /// Derives the cost of each run of a plan from what was measured of its [`workloads`]; of none
    /// when nothing was.
    pub fn new(planned: &[Planned], measured: &BTreeMap<String, Cost>) -> Self {
        if measured.is_empty() {
            return Self::default();
        }
        let workloads = workloads(planned);
        let points = workloads.iter().filter_map(|(name, run)| {
            let cost = *measured.get(name)?;
            Some(Point {
                kind: kind(run),
                size: flops_per_token(run).ln(),
                cost,
                memory_ratio: cost.memory.map(|memory| memory / run.memory),
            })
        });
        let mut points: Vec<Point> = points.collect();
        points.sort_by(|a, b| a.size.total_cmp(&b.size));
        let cost = |run: &Planned| {
            let measured = measured.get(&workload(&run.spec)).copied();
            let cost = measured.or_else(|| between(&points, run))?;
            Some((run.id.clone(), cost))
        };
        Self(planned.par_iter().filter_map(cost).collect())
    }

    /// Gives a run's cost; `None` when nothing was measured.
    pub fn of(&self, run: &Planned) -> Option<Cost> {
        self.0.get(&run.id).copied()
    }

    /// Says what memory a run takes, bytes: measured where it was, or else as estimated.
    pub fn memory(&self, run: &Planned) -> f64 {
        let cost = self.of(run);
        cost.and_then(|cost| cost.memory).unwrap_or(run.memory)
    }

    /// Computes the seconds of a run's process; `None` when nothing was measured.
    pub fn seconds(&self, run: &Planned) -> Option<f64> {
        Some(self.of(run)?.seconds(&run.spec))
    }
}

/// A workload that was measured.
#[derive(Clone, Debug)]
struct Point {
    kind: ModelKind,
    /// ln of the training FLOPs a token takes.
    size: f64,
    cost: Cost,
    /// Measured memory by what was estimated.
    memory_ratio: Option<f64>,
}

/// Estimates the cost of a run that was not measured: between those of the next smaller and the next
/// larger model of its kind, or of any where none of its kind was; beyond the last, FLOP/s stay as
/// they are.
///
/// `points` are in order of size; `None` without any.
fn between(points: &[Point], run: &Planned) -> Option<Cost> {
    let alike: Vec<&Point> = points.iter().filter(|p| p.kind == kind(run)).collect();
    let points = if alike.is_empty() {
        points.iter().collect()
    } else {
        alike
    };
    let size = flops_per_token(run).ln();
    let at = points.partition_point(|point| point.size < size);
    let (high, low) = (
        points.get(at).or(points.last())?,
        points.get(at.saturating_sub(1))?,
    );
    let share = match high.size - low.size {
        span if span > 0.0 => ((size - low.size) / span).clamp(0.0, 1.0),
        _ => 0.0,
    };
    let mean = |a: f64, b: f64| a + share * (b - a);
    // Of the logarithm of seconds for a FLOP.
    let by_flops = |seconds: fn(&Cost) -> f64| {
        let log = |point: &Point| seconds(&point.cost).max(f64::MIN_POSITIVE).ln() - point.size;
        (mean(log(low), log(high)) + size).exp()
    };
    let ratio = low.memory_ratio.zip(high.memory_ratio);
    Some(Cost {
        start: mean(low.cost.start, high.cost.start),
        training: by_flops(|cost| cost.training),
        evaluation: by_flops(|cost| cost.evaluation),
        // Models without concepts have none: not a matter of powers.
        gains: mean(low.cost.gains, high.cost.gains),
        memory: ratio.map(|(low, high)| mean(low, high) * run.memory),
    })
}

#[cfg(test)]
mod tests {
    use super::super::example::planned;
    use super::*;

    const GRID: &str = "grid: {params: [0.1M, 0.2M, 0.4M, 0.8M, 1.6M], tokens: 1M, \
                        concept_share: 0.5, compression_ratio: 4, seed: [0, 1]}";

    fn cost(training: f64, memory: Option<f64>) -> Cost {
        Cost {
            start: 1.0,
            training,
            evaluation: training / 3.0,
            gains: training,
            memory,
        }
    }

    #[test]
    fn seeds_share_a_workload_and_the_first_few_stand_for_all() {
        let runs = planned(GRID);
        assert_eq!(runs.len(), 10);
        let chosen = workloads(&runs);
        let params = |run: &Planned| run.spec.architecture.params().non_embedding();
        let sizes: Vec<u64> = chosen.iter().map(|(_, run)| params(run)).collect();
        let mut sorted = sizes.clone();
        sorted.sort_unstable();
        assert_eq!(sizes.len(), 5);
        let [a, b, c, d, e] = sorted[..] else {
            panic!("five sizes: {sorted:?}")
        };
        assert_eq!(sizes, [a, e, c, b, d]);
        assert!(workloads(&[]).is_empty());
        assert_eq!(workloads(&runs[..1]).len(), 1);
    }

    #[test]
    fn what_was_measured_is_taken_and_what_was_not_lies_between() {
        let runs = planned(GRID);
        assert_eq!(Costs::default().of(&runs[0]), None);
        assert_eq!(Costs::default().memory(&runs[0]), runs[0].memory);
        let [smallest, largest] = [&runs[0], &runs[9]];
        let rate = |run: &Planned, rate: f64| flops_per_token(run) / rate;
        let measured = BTreeMap::from([
            (
                workload(&smallest.spec),
                cost(rate(smallest, 1e9), Some(2.0 * smallest.memory)),
            ),
            (
                workload(&largest.spec),
                cost(rate(largest, 4e9), Some(3.0 * largest.memory)),
            ),
        ]);
        let costs = Costs::new(&runs, &measured);
        for run in [smallest, largest] {
            assert_eq!(costs.of(run), measured.get(&workload(&run.spec)).copied());
        }
        let mut last = 0.0;
        for run in runs.iter().step_by(2) {
            let cost = costs.of(run).expect("measured");
            let reached = flops_per_token(run) / cost.training;
            assert!(
                reached > last && (1e9 - 1.0..4e9 + 1.0).contains(&reached),
                "{reached}"
            );
            last = reached;
            let ratio = costs.memory(run) / run.memory;
            assert!((2.0 - 1e-9..3.0 + 1e-9).contains(&ratio), "{ratio}");
            assert!((cost.start - 1.0).abs() < 1e-9);
        }
        // One point: the same FLOP/s for all.
        let one = BTreeMap::from([(workload(&smallest.spec), cost(rate(smallest, 1e9), None))]);
        let costs = Costs::new(&runs, &one);
        let cost = costs.of(largest).expect("measured");
        assert!((flops_per_token(largest) / cost.training / 1e9 - 1.0).abs() < 1e-9);
        assert_eq!(costs.memory(largest), largest.memory);
    }

    #[test]
    fn evaluations_and_the_start_take_time_too() {
        let run = &planned(GRID)[0];
        let recipe = &run.spec.recipe;
        let cost = Cost {
            start: 2.0,
            training: 1e-6,
            evaluation: 1e-7,
            gains: 3e-7,
            memory: None,
        };
        let held_out = recipe.validation_tokens as f64;
        let right = 2.0
            + 1e-6 * recipe.tokens as f64
            + held_out * (1e-7 * recipe.validations as f64 + 3e-7);
        assert!((cost.seconds(&run.spec) - right).abs() < 1e-9);
    }
}
