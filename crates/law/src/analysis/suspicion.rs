//! What is suspicious about runs before any fit.

use super::observe::SeedNoise;
use super::same_size;
use super::units::units;
use super::warning::Warning;
use crate::row::Row;
use experiment::architecture::ModelKind;
use std::collections::{BTreeMap, BTreeSet};

/// Axes whose effect the laws describe; any other makes runs incomparable in a way they cannot see.
const KNOWN_AXES: [&str; 6] = [
    "params",
    "tokens",
    "flops",
    "compression_ratio",
    "concept_share",
    "seed",
];

/// Declared and realised R may differ by this much before it is worth saying.
const RATIO_TOLERANCE: f64 = 0.02;

/// The same of the mean R over a training: it moves a run's own FLOPs, and no loss.
const TRAINING_TOLERANCE: f64 = 0.05;

/// Noise of a loss in a short run where nothing better is known, nats per token.
///
/// # Source
/// Replicates of small DLCM runs (about 0.4M parameters, 400 steps): about 0.03.
pub(super) const USUAL_NOISE: f64 = 0.03;

/// Lists what limits what runs can show.
pub(super) fn suspicions(runs: &[&Row], noise: Option<SeedNoise>) -> Vec<Warning> {
    // Runs that were trained here say what they are: their sizes are in no other unit.
    let others: Vec<&&Row> = runs.iter().filter(|run| run.setting.is_none()).collect();
    let mut warnings = units(|column| match column {
        _ if others.is_empty() => None,
        "params" => Some(others.iter().map(|run| run.params).collect()),
        "tokens" => Some(others.iter().map(|run| run.tokens).collect()),
        _ => None,
    });
    let fingerprints: BTreeSet<&str> = runs.iter().filter_map(|run| run.data.as_deref()).collect();
    if fingerprints.len() > 1 {
        warnings.push(Warning::SeveralDataSets {
            sets: fingerprints.len(),
        });
    }
    warnings.extend(other_axes(runs));
    let below = runs.iter().filter_map(|run| {
        let (loss, floor) = (run.loss?, run.entropy_floor?);
        (loss < floor).then(|| Warning::BelowFloor {
            run: run.id.clone(),
            loss,
            floor,
        })
    });
    warnings.extend(below);
    let dlcm: Vec<&&Row> = runs
        .iter()
        .filter(|run| run.kind == ModelKind::Dlcm)
        .collect();
    warnings.extend(unused_concepts(&dlcm, noise));
    let in_evaluation = worst_ratio(&dlcm, RATIO_TOLERANCE, |run| run.realised_ratio);
    warnings.extend(in_evaluation.map(|off| Warning::RatioOff {
        runs: off.runs,
        of: dlcm.len(),
        declared: off.declared,
        realised: off.realised,
    }));
    let in_training = worst_ratio(&dlcm, TRAINING_TOLERANCE, |run| run.realised_training);
    warnings.extend(in_training.map(|off| Warning::TrainingRatioOff {
        runs: off.runs,
        of: dlcm.len(),
        declared: off.declared,
        realised: off.realised,
    }));
    let epochs = runs
        .iter()
        .filter_map(|run| Some(run.tokens / run.data_tokens?.max(1.0)))
        .fold(0.0, f64::max);
    if epochs > 1.0 {
        warnings.push(Warning::Repeats { epochs });
    }
    warnings
}

/// Finds the axes that are varied within one kind of model and that no law knows of. Kinds may differ
/// from each other: each is compared at its own best values. An axis that has one value for each N and D,
/// as a depth has that makes N, is no other.
fn other_axes(runs: &[&Row]) -> Vec<Warning> {
    let mut values: BTreeMap<(&str, ModelKind), BTreeSet<&str>> = BTreeMap::new();
    let mut alone: BTreeMap<(&str, ModelKind, [i64; 2]), BTreeSet<&str>> = BTreeMap::new();
    let sizes = [|run: &Row| run.params, |run: &Row| run.tokens].map(|size| ranks(runs, size));
    for (at, run) in runs.iter().enumerate() {
        let kind = run.kind;
        let size = [sizes[0][at], sizes[1][at]];
        for (axis, value) in &run.axes {
            values.entry((axis, kind)).or_default().insert(value);
            alone.entry((axis, kind, size)).or_default().insert(value);
        }
    }
    let beside: BTreeSet<&str> = alone
        .iter()
        .filter(|(_, values)| values.len() > 1)
        .map(|((axis, ..), _)| *axis)
        .collect();
    let mut most: BTreeMap<&str, usize> = BTreeMap::new();
    for ((axis, _), values) in values {
        if beside.contains(axis) {
            let most = most.entry(axis).or_default();
            *most = values.len().max(*most);
        }
    }
    let varied = most
        .into_iter()
        .filter(|(axis, values)| *values > 1 && !KNOWN_AXES.contains(axis));
    varied
        .map(|(axis, values)| Warning::OtherAxis {
            axis: axis.to_owned(),
            values,
        })
        .collect()
}

/// Numbers the sizes of runs: those that count as one have one number.
fn ranks(runs: &[&Row], size: impl Fn(&Row) -> f64) -> Vec<i64> {
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_by(|a, b| size(runs[*a]).total_cmp(&size(runs[*b])));
    let mut ranks = vec![0; runs.len()];
    let (mut rank, mut first) = (0, f64::NAN);
    for at in order {
        let here = size(runs[at]);
        if !same_size(here, first) {
            (rank, first) = (rank + 1, here);
        }
        ranks[at] = rank;
    }
    ranks
}

/// How many runs are off the declared R, and the worst.
struct RatioOff {
    runs: usize,
    declared: f64,
    realised: f64,
}

fn worst_ratio(
    dlcm: &[&&Row],
    tolerance: f64,
    realised: fn(&Row) -> Option<f64>,
) -> Option<RatioOff> {
    let off = |declared: f64, realised: f64| (realised / declared - 1.0).abs();
    let ratios = dlcm
        .iter()
        .filter_map(|run| Some((run.declared_ratio, realised(run)?)));
    let beyond: Vec<(f64, f64)> = ratios
        .filter(|(declared, realised)| off(*declared, *realised) > tolerance)
        .collect();
    let (declared, realised) = *beyond
        .iter()
        .max_by(|a, b| off(a.0, a.1).total_cmp(&off(b.0, b.1)))?;
    Some(RatioOff {
        runs: beyond.len(),
        declared,
        realised,
    })
}

/// Says loudly when removing the concepts changes the loss by no more than noise.
fn unused_concepts(dlcm: &[&&Row], noise: Option<SeedNoise>) -> Option<Warning> {
    let mut gains: Vec<f64> = dlcm
        .iter()
        .filter_map(|run| run.concept_gain)
        .filter(|gain| gain.is_finite())
        .collect();
    gains.sort_by(f64::total_cmp);
    let median = *gains.get(gains.len() / 2)?;
    let noise = noise.map_or(USUAL_NOISE, |noise| noise.nats);
    let unused = gains.iter().filter(|gain| **gain < 2.0 * noise).count();
    (unused > 0).then_some(Warning::UnusedConcepts {
        runs: unused,
        of: gains.len(),
        median,
        noise,
    })
}
