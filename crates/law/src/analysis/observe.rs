//! From rows to what a law may be fitted on.
//!
//! Every run is either used or left out for a stated reason; nothing is dropped silently.

use super::report::LeftOut;
use super::suspicion::suspicions;
use super::warning::Warning;
use crate::fit::Observations;
use crate::row::Row;
use experiment::architecture::ModelKind;
use experiment::run::{Part, RunId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// How much it counts.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f64,
    /// The first piece of the trunk it branches off: branches of one trunk vary together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<RunId>,
}

impl Observed {
    /// Says whether there is a concept level.
    pub fn has_concepts(&self) -> bool {
        self.kind == ModelKind::Dlcm
    }

    /// Names what varies by itself: the run, or the trunk that branches share.
    pub fn cluster(&self) -> &str {
        &self.trunk.as_ref().unwrap_or(&self.id).0
    }
}

fn one() -> f64 {
    1.0
}

fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

/// The kind of a run's model as it is stored.
mod stored_kind {
    use experiment::architecture::ModelKind;
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

impl SeedNoise {
    /// Returns the difference of two single runs below which it is within the noise (95%).
    pub fn floor(&self) -> f64 {
        1.96 * std::f64::consts::SQRT_2 * self.nats
    }
}

/// The usable runs, the others with reasons, and what is suspicious about them.
pub(super) struct Sorted {
    pub(super) used: Vec<Observed>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) noise: Option<SeedNoise>,
    pub(super) warnings: Vec<Warning>,
}

/// Sorts rows into those that are fitted and those that are not.
pub(super) fn sort(rows: &[Row]) -> Sorted {
    let mut used = Vec::new();
    let mut left_out = Vec::new();
    let mut kept: Vec<&Row> = Vec::new();
    for row in rows {
        match row.unusable() {
            None => {
                used.push(observed(row));
                kept.push(row);
            }
            Some(why) => left_out.push(LeftOut {
                id: row.id.clone(),
                why,
            }),
        }
    }
    let noise = noise_of_runs(&kept);
    let mut warnings = suspicions(&kept, noise);
    // A trunk or a trial was never meant to be fitted.
    let aside = [Part::Trunk, Part::Trial];
    let of = rows.iter().filter(|row| !aside.contains(&row.part)).count();
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

fn observed(row: &Row) -> Observed {
    let (share, ratio) = match (row.kind, row.realised_ratio) {
        (ModelKind::Dlcm, Some(ratio)) => (row.concept_share, ratio),
        _ => (0.0, 1.0),
    };
    Observed {
        id: row.id.clone(),
        kind: row.kind,
        params: row.params,
        tokens: row.tokens,
        share,
        declared_ratio: row.declared_ratio,
        ratio,
        loss: row.loss.unwrap_or(f64::NAN),
        seed: row.seed,
        weight: row.weight,
        trunk: (row.cluster != row.id.0).then(|| RunId(row.cluster.clone())),
    }
}

/// Pools the spread of the loss over runs that differ in nothing but their seed; `None` without any.
///
/// Rows that do not say what they are but for their seed agree where N, D, P, the declared R and their
/// axes do.
fn noise_of_runs(rows: &[&Row]) -> Option<SeedNoise> {
    let key = |row: &Row| {
        let numbers = [
            row.params,
            row.tokens,
            row.concept_share,
            row.declared_ratio,
        ];
        let setting = row.setting.clone();
        setting.unwrap_or_else(|| format!("{} {numbers:?} {:?}", row.kind.name(), row.axes))
    };
    pooled(
        rows.iter()
            .filter_map(|row| Some((key(row), row.cluster.as_str(), row.loss?))),
    )
}

/// The same over observations that agree in all of `columns`.
pub(crate) fn seed_noise(
    data: &Observations,
    columns: &[String],
    response: &str,
) -> Option<SeedNoise> {
    let values = data.column(response)?;
    let keys: Vec<&[f64]> = columns.iter().filter_map(|c| data.column(c)).collect();
    let key = |row: usize| keys.iter().map(|c| c[row].to_bits()).collect::<Vec<_>>();
    let clusters = data.clusters();
    pooled((0..data.len()).map(|row| (key(row), clusters[row], values[row])))
}

/// Pools the spread of values of one key; of those of one run the last counts.
fn pooled<K: Ord, C: Ord>(values: impl Iterator<Item = (K, C, f64)>) -> Option<SeedNoise> {
    let mut groups: BTreeMap<K, BTreeMap<C, f64>> = BTreeMap::new();
    for (key, run, value) in values {
        groups.entry(key).or_default().insert(run, value);
    }
    groups.retain(|_, runs| runs.len() > 1);
    let runs: usize = groups.values().map(BTreeMap::len).sum();
    let freedom = runs - groups.len();
    if freedom == 0 {
        return None;
    }
    let deviation = |measure: fn(f64) -> f64| {
        let squares = groups.values().map(|runs| {
            let values: Vec<f64> = runs.values().map(|&value| measure(value)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            values
                .iter()
                .map(|value| (value - mean).powi(2))
                .sum::<f64>()
        });
        (squares.sum::<f64>() / freedom as f64).sqrt()
    };
    Some(SeedNoise {
        log: deviation(f64::ln),
        nats: deviation(|loss| loss),
        settings: groups.len(),
        runs,
    })
}

/// Groups values that differ by no more than a relative tolerance, and returns the groups' means.
pub fn levels(values: impl Iterator<Item = f64>, tolerance: f64) -> Vec<f64> {
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
