//! What concepts are worth: the loss of a trained control minus that of the model with concepts.

use super::noise::noise;
use super::observe::{Observed, SeedNoise, levels};
use super::suspicion::USUAL_NOISE;
use super::{LEVEL, Maybe, interval};
use crate::row::Row;
use experiment::architecture::ModelKind;
use experiment::run::RunId;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Why there is none where no controls were trained.
pub(super) const NO_CONTROLS: &str = "no controls were trained: add `controls: tokens`";

/// What concepts are worth over a grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConceptWorth {
    /// Every DLCM run that has a control, in the order of the runs.
    pub runs: Vec<RunWorth>,
    /// Standard deviation of a loss between seeds behind the intervals, nats per token.
    pub noise: f64,
    /// Whether that is assumed, since no setting was run with two seeds.
    pub noise_is_assumed: bool,
    /// Runs whose interval lies above 0.
    pub above_noise: usize,
    /// Median over the runs, nats per token.
    pub median: f64,
    /// Its 95% interval under the noise of the losses, which runs with one control share.
    pub interval: [f64; 2],
    /// The same by N and P.
    pub levels: Vec<WorthLevel>,
}

/// What concepts are worth in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunWorth {
    /// The run.
    pub run: RunId,
    /// Its control: one of its own seed, or all where none is.
    pub controls: Vec<RunId>,
    /// N of the run.
    pub params: f64,
    /// P of the run.
    pub share: f64,
    /// Loss of its control, nats per token.
    pub control_loss: f64,
    /// Loss of its control minus its own, nats per token.
    pub worth: f64,
    /// 95% interval of `worth`.
    pub interval: [f64; 2],
}

/// What concepts are worth at one N and P.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorthLevel {
    /// Mean N.
    pub params: f64,
    /// Mean P.
    pub share: f64,
    /// Runs.
    pub runs: usize,
    /// Runs whose interval lies above 0.
    pub above_noise: usize,
    /// Median, nats per token.
    pub median: f64,
}

impl ConceptWorth {
    /// Says whether the interval of the median lies above 0.
    pub fn is_above_noise(&self) -> bool {
        self.interval[0] > 0.0
    }

    /// Finds what concepts are worth in a run.
    pub fn of_run(&self, run: &RunId) -> Option<&RunWorth> {
        self.runs.iter().find(|worth| worth.run == *run)
    }
}

/// Standard deviations on either side of a 95% interval.
const DEVIATIONS: f64 = 1.96;

/// Draws of noise behind the interval of the median.
const DRAWS: usize = 1000;

/// Compares every DLCM run with the control of its token level, data and D.
pub(super) fn worth(
    runs: &[Row],
    used: &[Observed],
    noise: Option<SeedNoise>,
    seed: u64,
) -> Maybe<ConceptWorth> {
    let pairs = pairs(runs, used);
    if pairs.is_empty() {
        let why = if used.iter().any(|run| run.kind == ModelKind::TokenOnly) {
            "no control has the token level, the data and the D of a DLCM run"
        } else {
            NO_CONTROLS
        };
        return Maybe::Unknown(why.to_owned());
    }
    let deviation = noise.map_or(USUAL_NOISE, |noise| noise.nats);
    let runs: Vec<RunWorth> = pairs.iter().map(|pair| pair.worth(deviation)).collect();
    let above = |run: &&RunWorth| run.interval[0] > 0.0;
    let worths: Vec<f64> = runs.iter().map(|run| run.worth).collect();
    let median = median(worths);
    Maybe::Known(ConceptWorth {
        above_noise: runs.iter().filter(above).count(),
        median,
        interval: median_interval(&pairs, deviation, seed).unwrap_or([median; 2]),
        levels: by_level(&runs),
        runs,
        noise: deviation,
        noise_is_assumed: noise.is_none(),
    })
}

/// Finds what concepts are worth in each of some runs, nats per token.
pub fn worth_by_run(runs: &[Row]) -> HashMap<RunId, f64> {
    let used = super::observe::sort(runs).used;
    let pairs = pairs(runs, &used);
    let worths = pairs.iter().map(|pair| (pair.run.id.clone(), pair.value()));
    worths.collect()
}

/// A DLCM run with its control.
struct Pair<'a> {
    run: &'a Observed,
    controls: Vec<&'a Observed>,
}

impl Pair<'_> {
    fn control_loss(&self) -> f64 {
        let losses = self.controls.iter().map(|control| control.loss);
        losses.sum::<f64>() / self.controls.len() as f64
    }

    fn value(&self) -> f64 {
        self.control_loss() - self.run.loss
    }

    fn worth(&self, noise: f64) -> RunWorth {
        let worth = self.value();
        let of_mean = 1.0 / self.controls.len() as f64;
        let reach = DEVIATIONS * noise * (1.0 + of_mean).sqrt();
        RunWorth {
            run: self.run.id.clone(),
            controls: self
                .controls
                .iter()
                .map(|control| control.id.clone())
                .collect(),
            params: self.run.params,
            share: self.run.share,
            control_loss: self.control_loss(),
            worth,
            interval: [worth - reach, worth + reach],
        }
    }
}

/// What a run and its control share: the token level, the data and D.
type Shared<'a> = (&'a str, Option<&'a str>, u64);

fn pairs<'a>(rows: &[Row], used: &'a [Observed]) -> Vec<Pair<'a>> {
    let rows: HashMap<&RunId, &Row> = rows.iter().map(|row| (&row.id, row)).collect();
    let mut controls: HashMap<Shared, BTreeMap<&str, Vec<&Observed>>> = HashMap::new();
    let mut models: Vec<(Shared, &Observed)> = Vec::new();
    for run in used {
        let Some(row) = rows.get(&run.id) else {
            continue;
        };
        let Some(level) = row.token_level.as_deref() else {
            continue;
        };
        let shared = (level, row.data.as_deref(), row.tokens.to_bits());
        match row.kind {
            ModelKind::Dlcm => models.push((shared, run)),
            ModelKind::TokenOnly => controls
                .entry(shared)
                .or_default()
                .entry(row.setting.as_deref().unwrap_or(&row.id.0))
                .or_default()
                .push(run),
            ModelKind::Dense => {}
        }
    }
    let pair = |(shared, run): (Shared, &'a Observed)| {
        // Where a control was trained in several ways, the best of them is what locality gives.
        let mean =
            |all: &[&Observed]| all.iter().map(|run| run.loss).sum::<f64>() / all.len() as f64;
        let best = controls
            .get(&shared)?
            .values()
            .min_by(|a, b| mean(a).total_cmp(&mean(b)))?;
        let own = best.iter().find(|control| control.seed == run.seed);
        Some(Pair {
            run,
            controls: own.map_or_else(|| best.clone(), |own| vec![*own]),
        })
    };
    models.into_iter().filter_map(pair).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        0 => 0.5 * (values[half - 1] + values[half]),
        _ => values[half],
    }
}

/// The interval of the median when every loss has fresh noise, controls that are shared included.
fn median_interval(pairs: &[Pair<'_>], deviation: f64, seed: u64) -> Option<[f64; 2]> {
    let mut losses: BTreeMap<&RunId, &Observed> = BTreeMap::new();
    for pair in pairs {
        for run in pair.controls.iter().chain([&pair.run]) {
            losses.insert(&run.id, run);
        }
    }
    let clusters: Vec<&str> = losses.values().map(|run| run.cluster()).collect();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let drawn = (0..DRAWS).map(|_| {
        let off: HashMap<&RunId, f64> = losses
            .keys()
            .copied()
            .zip(noise(&clusters, &mut random))
            .collect();
        let moved = pairs.iter().map(|pair| {
            let controls = pair.controls.iter().map(|control| off[&control.id]);
            let control = controls.sum::<f64>() / pair.controls.len() as f64;
            pair.value() + deviation * (control - off[&pair.run.id])
        });
        median(moved.collect())
    });
    interval(&drawn.collect::<Vec<_>>(), LEVEL)
}

/// Runs within this relative distance in N, or in 1 + P, are of one level.
const SAME: f64 = 0.05;

fn by_level(runs: &[RunWorth]) -> Vec<WorthLevel> {
    let mut found = Vec::new();
    for params in levels(runs.iter().map(|run| run.params), SAME) {
        let of_size = |run: &&RunWorth| (run.params / params).ln().abs() < SAME;
        let here: Vec<&RunWorth> = runs.iter().filter(of_size).collect();
        for share in levels(here.iter().map(|run| 1.0 + run.share), 0.02) {
            let of_share = |run: &&&RunWorth| ((1.0 + run.share) / share).ln().abs() < 0.02;
            let here: Vec<&RunWorth> = here.iter().filter(of_share).copied().collect();
            if here.is_empty() {
                continue;
            }
            let mean = |value: fn(&RunWorth) -> f64| {
                here.iter().map(|run| value(run)).sum::<f64>() / here.len() as f64
            };
            found.push(WorthLevel {
                params: mean(|run| run.params),
                share: mean(|run| run.share),
                runs: here.len(),
                above_noise: here.iter().filter(|run| run.interval[0] > 0.0).count(),
                median: median(here.iter().map(|run| run.worth).collect()),
            });
        }
    }
    found
}
