//! From stored runs to what a law may be fitted on.
//!
//! Every run is either used or left out for a stated reason; nothing is dropped silently.

use super::warning::Warning;
use crate::run::{Part, RunId, RunOutcome, RunSpec, RunState};
use crate::store::RunRecord;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A run as the laws see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The run.
    pub id: RunId,
    /// Whether it is a dense baseline.
    pub dense: bool,
    /// Non-embedding parameters N that were reached.
    pub params: f64,
    /// Training tokens D.
    pub tokens: f64,
    /// Concept share P that was reached; 0 for a dense model.
    pub share: f64,
    /// Declared tokens per concept; 1 for a dense model.
    pub declared_ratio: f64,
    /// Tokens per concept in evaluation: the R of the laws.
    pub ratio: f64,
    /// Held-out loss, nats per token.
    pub loss: f64,
    /// Seed.
    pub seed: u64,
    /// The first piece of the trunk it branches off: branches of one trunk vary together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<RunId>,
}

impl Observed {
    /// Names what varies by itself: the run, or the trunk that branches share.
    pub(crate) fn cluster(&self) -> &str {
        &self.trunk.as_ref().unwrap_or(&self.id).0
    }
}

/// A run that is not fitted, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The run.
    pub id: RunId,
    /// Why, in words.
    pub why: String,
}

/// How much the loss varies between seeds alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedNoise {
    /// Standard deviation of the logarithm of the loss.
    pub log: f64,
    /// Standard deviation of the loss, nats per token.
    pub nats: f64,
    /// Settings that were run with several seeds.
    pub settings: usize,
    /// Runs of those settings.
    pub runs: usize,
}

/// The usable runs, the others with reasons, and what is suspicious about them.
pub(super) struct Sorted {
    pub(super) used: Vec<Observed>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) noise: Option<SeedNoise>,
    pub(super) warnings: Vec<Warning>,
}

/// Sorts stored runs into those that are fitted and those that are not.
pub(super) fn sort(runs: &[RunRecord]) -> Sorted {
    let mut used = Vec::new();
    let mut left_out = Vec::new();
    let mut kept: Vec<&RunRecord> = Vec::new();
    let starts: HashMap<&RunId, &RunId> = runs
        .iter()
        .filter_map(|run| Some((&run.id, run.start_run.as_ref()?)))
        .collect();
    for run in runs {
        match observe(run) {
            Ok(observed) => {
                let pieces = std::iter::successors(run.start_run.as_ref(), |piece| {
                    starts.get(piece).copied()
                });
                used.push(Observed {
                    trunk: pieces.last().cloned(),
                    ..observed
                });
                kept.push(run);
            }
            Err(why) => left_out.push(LeftOut {
                id: run.id.clone(),
                why,
            }),
        }
    }
    let noise = seed_noise(&kept);
    let mut warnings = suspicions(&kept, noise);
    // A trunk was never meant to be fitted.
    let of = runs.iter().filter(|run| run.part != Part::Trunk).count();
    if used.len() < of {
        let runs = of - used.len();
        warnings.insert(0, Warning::LeftOut { runs, of });
    }
    Sorted {
        used,
        left_out,
        noise,
        warnings,
    }
}

fn observe(run: &RunRecord) -> Result<Observed, String> {
    if run.part == Part::Trunk {
        return Err("it is a trunk: its rate has not decayed".to_owned());
    }
    match (run.state, run.outcome) {
        (_, Some(RunOutcome::Finished)) => {}
        (RunState::Ended, Some(outcome)) => return Err(format!("it ended as {outcome}")),
        (state, _) => return Err(format!("it is {state}")),
    }
    let loss = run.loss.ok_or("it has no held-out loss")?;
    if !(loss.is_finite() && loss > 0.0) {
        return Err(format!("its held-out loss is {loss}"));
    }
    let dense = run.spec.architecture.is_dense();
    let ratio = match (dense, run.realised_ratio) {
        (true, _) => 1.0,
        (false, Some(ratio)) if ratio.is_finite() && ratio >= 1.0 => ratio,
        (false, Some(ratio)) => return Err(format!("its realised R is {ratio}")),
        (false, None) => return Err("it has no realised R".to_owned()),
    };
    Ok(Observed {
        id: run.id.clone(),
        dense,
        params: run.params as f64,
        tokens: run.tokens as f64,
        share: if dense { 0.0 } else { run.concept_share },
        declared_ratio: run.compression_ratio,
        ratio,
        loss,
        seed: run.seed,
        trunk: None,
    })
}

/// Groups runs that differ in nothing but their seed.
fn seed_noise(runs: &[&RunRecord]) -> Option<SeedNoise> {
    let mut groups: BTreeMap<RunId, Vec<f64>> = BTreeMap::new();
    for run in runs {
        let unseeded = RunSpec {
            seed: 0,
            ..run.spec.clone()
        };
        groups.entry(unseeded.id()).or_default().extend(run.loss);
    }
    groups.retain(|_, losses| losses.len() > 1);
    let freedom: usize = groups.values().map(|losses| losses.len() - 1).sum();
    if freedom == 0 {
        return None;
    }
    let pooled = |value: fn(f64) -> f64| {
        let squares: f64 = groups
            .values()
            .map(|losses| {
                let mean = losses.iter().map(|&l| value(l)).sum::<f64>() / losses.len() as f64;
                losses
                    .iter()
                    .map(|&l| (value(l) - mean).powi(2))
                    .sum::<f64>()
            })
            .sum();
        (squares / freedom as f64).sqrt()
    };
    Some(SeedNoise {
        log: pooled(f64::ln),
        nats: pooled(|loss| loss),
        settings: groups.len(),
        runs: groups.values().map(Vec::len).sum(),
    })
}

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

/// Noise of a loss in a short run where nothing better is known, nats per token.
///
/// # Source
/// Replicates of small DLCM runs (about 0.4M parameters, 400 steps): about 0.03.
const USUAL_NOISE: f64 = 0.03;

fn suspicions(runs: &[&RunRecord], noise: Option<SeedNoise>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let fingerprints: BTreeSet<&str> = runs
        .iter()
        .map(|run| run.spec.facts.fingerprint.as_str())
        .collect();
    if fingerprints.len() > 1 {
        warnings.push(Warning::SeveralDataSets {
            sets: fingerprints.len(),
        });
    }
    let mut axes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in runs.iter().flat_map(|run| &run.axes) {
        if !KNOWN_AXES.contains(&name.as_str()) {
            axes.entry(name).or_default().insert(value);
        }
    }
    for (axis, values) in axes.into_iter().filter(|(_, values)| values.len() > 1) {
        warnings.push(Warning::OtherAxis {
            axis: axis.to_owned(),
            values: values.len(),
        });
    }
    let below = runs.iter().filter_map(|run| {
        let (loss, floor) = (run.loss?, run.spec.facts.entropy_floor?);
        (loss < floor).then(|| Warning::BelowFloor {
            run: run.id.clone(),
            loss,
            floor,
        })
    });
    warnings.extend(below);
    let dlcm: Vec<&&RunRecord> = runs
        .iter()
        .filter(|run| !run.spec.architecture.is_dense())
        .collect();
    warnings.extend(unused_concepts(&dlcm, noise));
    let off: Vec<(f64, &&RunRecord)> = dlcm
        .iter()
        .filter_map(|run| {
            Some((
                (run.realised_ratio? / run.compression_ratio - 1.0).abs(),
                *run,
            ))
        })
        .filter(|(off, _)| *off > RATIO_TOLERANCE)
        .collect();
    if let Some((_, worst)) = off.iter().max_by(|a, b| a.0.total_cmp(&b.0)) {
        warnings.push(Warning::RatioOff {
            runs: off.len(),
            of: dlcm.len(),
            declared: worst.compression_ratio,
            realised: worst.realised_ratio.unwrap_or(worst.compression_ratio),
        });
    }
    let epochs = runs
        .iter()
        .map(|run| run.tokens as f64 / run.spec.facts.train_tokens.max(1) as f64)
        .fold(0.0, f64::max);
    if epochs > 1.0 {
        warnings.push(Warning::Repeats { epochs });
    }
    warnings
}

/// Says loudly when removing the concepts changes the loss by no more than noise.
fn unused_concepts(dlcm: &[&&RunRecord], noise: Option<SeedNoise>) -> Option<Warning> {
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

/// Groups values that differ by no more than a relative tolerance, and returns the groups' means.
pub(crate) fn levels(values: impl Iterator<Item = f64>, tolerance: f64) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let mut groups: Vec<Vec<f64>> = Vec::new();
    for value in sorted {
        match groups.last_mut() {
            Some(group) if value <= group[0] * (1.0 + tolerance) => group.push(value),
            _ => groups.push(vec![value]),
        }
    }
    groups
        .iter()
        .map(|group| group.iter().sum::<f64>() / group.len() as f64)
        .collect()
}
