//! From stored runs to what a law may be fitted on.
//!
//! Every run is either used or left out for a stated reason; nothing is dropped silently.

use super::suspicion::suspicions;
use super::warning::Warning;
use crate::architecture::ModelKind;
use crate::run::{Part, RunId, RunOutcome, RunSpec, RunState};
use crate::store::RunRecord;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// A run as the laws see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The run.
    pub id: RunId,
    /// What kind of model it is; written with `dense`, which is all that earlier versions stored.
    #[serde(flatten, with = "stored_kind")]
    pub kind: ModelKind,
    /// Non-embedding parameters N that were reached.
    pub params: f64,
    /// Training tokens D.
    pub tokens: f64,
    /// Concept share P that was reached; 0 without concepts.
    pub share: f64,
    /// Declared tokens per concept; 1 without concepts.
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
    /// Says whether there is a concept level.
    pub(crate) fn has_concepts(&self) -> bool {
        self.kind == ModelKind::Dlcm
    }

    /// Names what varies by itself: the run, or the trunk that branches share.
    pub(crate) fn cluster(&self) -> &str {
        &self.trunk.as_ref().unwrap_or(&self.id).0
    }
}

/// The kind of a run's model as it is stored.
mod stored_kind {
    use crate::architecture::ModelKind;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Stored {
        kind: Option<ModelKind>,
        #[serde(default)]
        dense: bool,
    }

    pub(super) fn serialize<S: Serializer>(kind: &ModelKind, to: S) -> Result<S::Ok, S::Error> {
        let stored = Stored {
            kind: Some(*kind),
            dense: *kind == ModelKind::Dense,
        };
        stored.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ModelKind, D::Error> {
        let Stored { kind, dense } = Stored::deserialize(from)?;
        let before = if dense {
            ModelKind::Dense
        } else {
            ModelKind::Dlcm
        };
        Ok(kind.unwrap_or(before))
    }
}

/// Finds the runs of a kind of model.
pub(super) fn of_kind(runs: &[Observed], kind: ModelKind) -> Vec<&Observed> {
    runs.iter().filter(|run| run.kind == kind).collect()
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
    // A trunk or a trial was never meant to be fitted.
    let aside = [Part::Trunk, Part::Trial];
    let of = runs.iter().filter(|run| !aside.contains(&run.part)).count();
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
    if run.part == Part::Trial {
        return Err("it is a trial: it was to find a learning rate".to_owned());
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
    let kind = run.spec.architecture.kind();
    let (share, ratio) = match (kind, run.realised_ratio) {
        (ModelKind::Dense | ModelKind::TokenOnly, _) => (0.0, 1.0),
        (ModelKind::Dlcm, Some(ratio)) if ratio.is_finite() && ratio >= 1.0 => {
            (run.concept_share, ratio)
        }
        (ModelKind::Dlcm, Some(ratio)) => return Err(format!("its realised R is {ratio}")),
        (ModelKind::Dlcm, None) => return Err("it has no realised R".to_owned()),
    };
    Ok(Observed {
        id: run.id.clone(),
        kind,
        params: run.params as f64,
        tokens: run.tokens as f64,
        share,
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
