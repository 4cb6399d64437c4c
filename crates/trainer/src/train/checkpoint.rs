//! Checkpoints: everything a run needs to go on to the same numbers.
//!
//! A checkpoint is one safetensors file: weights as `weights.<name>`, moments as
//! `moments.first.<name>` and `moments.second.<name>`, the recent boundary probabilities as
//! `probabilities`, the rest as JSON in its metadata with a checksum over all tensor bytes. It is
//! written under a temporary name, synced and renamed; the one before it is kept until then, and is
//! used when the newest turns out damaged. At its end a run keeps its weights alone, or, when others
//! go on from it, all of this.

use super::TrainError;
use super::optimizer::{Moments, Optimizer};
use burn::tensor::Device;
use experiment::architecture::Architecture;
use experiment::digest;
use experiment::folder::{
    CHECKPOINT as NEWEST, END, PREVIOUS_CHECKPOINT as PREVIOUS, WEIGHTS as FINAL,
};
use experiment::recipe::Threshold;
use experiment::run::RunSpec;
use network::{HostTensor, HostTensors, Network, RecentProbabilities};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The part of a run's state that is not a tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps taken.
    pub step: u64,
    /// Training FLOPs spent.
    pub flops: f64,
    /// Concepts of all steps; `None` where they were not counted from the first on.
    #[serde(default)]
    pub concepts: Option<u64>,
    /// Threshold that the last evaluation used; `None` for a dense model.
    pub threshold: Option<f64>,
}

/// Everything beside the weights that a run goes on with.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// AdamW's moments.
    pub optimizer: Optimizer,
    /// Where the threshold of evaluation comes from.
    pub probabilities: RecentProbabilities,
    /// How far the run is.
    pub progress: Progress,
}

impl State {
    /// Finds the threshold of evaluation: that of the last one, or before any the one it would
    /// have; `None` where boundaries are not learned.
    pub fn threshold(&self, spec: &RunSpec) -> Option<f64> {
        let shape = match &spec.architecture {
            Architecture::Dlcm(shape) if shape.boundaries.is_learned() => shape,
            _ => return None,
        };
        let next = || match spec.recipe.boundary.threshold {
            Threshold::Fixed(threshold) => Some(threshold),
            Threshold::Calibrated => self.probabilities.threshold(shape.compression_ratio),
        };
        self.progress.threshold.or_else(next)
    }
}

const WEIGHTS: &str = "weights.";
const PROBABILITIES: &str = "probabilities";
const STATE_KEY: &str = "progress";
const CHECK_KEY: &str = "sha256";

/// Collects a network's weights under `weights.<name>`.
fn weights(network: &Network) -> HostTensors {
    let weights = network.weights().into_iter();
    weights
        .map(|(name, weight)| (format!("{WEIGHTS}{name}"), weight))
        .collect()
}

/// Writes a checkpoint into a run's folder and keeps the one before it.
///
/// # Errors
/// When the file cannot be written; the checkpoints before it are then as they were.
pub fn save(folder: &Path, network: &Network, state: &State) -> Result<(), TrainError> {
    let newest = folder.join(NEWEST);
    let written = write_state(&newest, &everything(network, state), &state.progress)?;
    if newest.exists() {
        let previous = folder.join(PREVIOUS);
        fs::rename(&newest, &previous).map_err(TrainError::io("replace", &previous))?;
    }
    publish(&written, &newest)
}

/// Collects what a run goes on with, under the names of a checkpoint.
fn everything(network: &Network, state: &State) -> HostTensors {
    let mut tensors = weights(network);
    let probabilities = state.probabilities.to_vec();
    let stored = HostTensor::new(vec![probabilities.len()], probabilities);
    tensors.insert(PROBABILITIES.to_owned(), stored);
    for (name, moments) in &state.optimizer.moments {
        tensors.insert(
            format!("moments.first.{name}"),
            HostTensor::take(moments.first.clone()),
        );
        tensors.insert(
            format!("moments.second.{name}"),
            HostTensor::take(moments.second.clone()),
        );
    }
    tensors
}

/// Writes the final weights, without moments.
///
/// # Errors
/// When the file cannot be written.
pub fn save_final(folder: &Path, network: &Network, progress: &Progress) -> Result<(), TrainError> {
    let path = folder.join(FINAL);
    let written = write_state(&path, &weights(network), progress)?;
    publish(&written, &path)
}

/// Writes the whole state at the end of a run, for others to go on from.
///
/// # Errors
/// When the file cannot be written.
pub fn save_end(folder: &Path, network: &Network, state: &State) -> Result<(), TrainError> {
    let path = folder.join(END);
    let written = write_state(&path, &everything(network, state), &state.progress)?;
    publish(&written, &path)
}

/// Says whether a run's folder holds what it keeps at its end, undamaged and after `step` steps.
pub fn holds_end(folder: &Path, keeps_end: bool, step: u64) -> bool {
    let name = if keeps_end { END } else { FINAL };
    read(&folder.join(name)).is_ok_and(|(_, progress)| progress.step == step)
}

/// Removes a run's checkpoints.
///
/// # Errors
/// When one is there and cannot be removed.
pub fn drop_checkpoints(folder: &Path) -> Result<(), TrainError> {
    for name in [NEWEST, PREVIOUS] {
        let path = folder.join(name);
        if path.exists() {
            fs::remove_file(&path).map_err(TrainError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Restores the newest undamaged checkpoint of a run's folder; `None` when there is none.
///
/// Damaged ones are set aside, so that none takes the place of a good one.
///
/// # Errors
/// When a checkpoint cannot be read or is another model's.
pub fn resume(
    folder: &Path,
    network: Network,
    device: &Device,
) -> Result<(Network, Option<State>), TrainError> {
    let (found, damaged) = newest(folder)?;
    for (path, why) in damaged {
        tracing::warn!(path = %path.display(), why, "checkpoint not usable");
        set_aside(&path).map_err(TrainError::io("set aside", &path))?;
    }
    load(folder, found, network, device)
}

/// Loads the newest undamaged checkpoint of a run's folder; `None` when there is none.
///
/// # Errors
/// When there are checkpoints but none can be used.
fn restore(
    folder: &Path,
    network: Network,
    device: &Device,
) -> Result<(Network, Option<State>), TrainError> {
    let (found, damaged) = newest(folder)?;
    if found.is_none() && !damaged.is_empty() {
        let why: Vec<String> = damaged
            .iter()
            .map(|(path, why)| format!("{}: {why}", path.display()))
            .collect();
        return Err(TrainError::Checkpoint {
            path: folder.to_owned(),
            why: why.join("; "),
        });
    }
    load(folder, found, network, device)
}

type Found = Option<(HostTensors, Progress)>;

/// Finds the newest undamaged checkpoint, and the damaged ones that are newer.
fn newest(folder: &Path) -> Result<(Found, Vec<(PathBuf, String)>), TrainError> {
    let mut damaged = Vec::new();
    for path in [NEWEST, PREVIOUS].map(|name| folder.join(name)) {
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            bytes => bytes.map_err(TrainError::io("read", &path))?,
        };
        match decode(&bytes) {
            Ok(found) => return Ok((Some(found), damaged)),
            Err(why) => damaged.push((path, why)),
        }
    }
    Ok((None, damaged))
}

fn load(
    folder: &Path,
    found: Found,
    network: Network,
    device: &Device,
) -> Result<(Network, Option<State>), TrainError> {
    let Some((tensors, progress)) = found else {
        return Ok((network, None));
    };
    let state = state(&tensors, progress, device);
    let network = apply(network, &tensors).map_err(|why| TrainError::Checkpoint {
        path: folder.to_owned(),
        why,
    })?;
    Ok((network, Some(state)))
}

fn set_aside(path: &Path) -> std::io::Result<()> {
    fs::rename(path, path.with_extension("unusable"))
}

/// Restores the state that another run kept at its end, after `step` steps.
///
/// One that cannot be used is set aside, so that the other run is trained again.
///
/// # Errors
/// When there is none that can be used.
pub fn restore_end(
    folder: &Path,
    step: u64,
    network: Network,
    device: &Device,
) -> Result<(Network, State), TrainError> {
    let path = folder.join(END);
    let restored = read(&path).and_then(|(tensors, progress)| {
        if progress.step != step {
            return Err(format!("it holds step {}, not {step}", progress.step));
        }
        let state = state(&tensors, progress, device);
        Ok((apply(network, &tensors)?, state))
    });
    restored.map_err(|why| {
        // Gone already is as good.
        let _ = set_aside(&path);
        TrainError::Checkpoint {
            path: folder.to_owned(),
            why: format!("{END}: {why}; run again to train that run again"),
        }
    })
}

fn state(tensors: &HostTensors, progress: Progress, device: &Device) -> State {
    State {
        optimizer: Optimizer {
            moments: moments(tensors, &device.clone().inner()),
        },
        probabilities: tensors
            .get(PROBABILITIES)
            .map(|stored| stored.values())
            .unwrap_or_default()
            .into(),
        progress,
    }
}

/// Loads the weights that a run ended with, or else the newest checkpoint's; `None` when there are
/// neither.
///
/// # Errors
/// When what there is cannot be used.
pub fn load_newest(
    folder: &Path,
    network: Network,
    device: &Device,
) -> Result<(Network, Option<State>), TrainError> {
    let ends = [FINAL, END].map(|name| folder.join(name));
    let Some(path) = ends.iter().find(|path| path.exists()) else {
        return restore(folder, network, device);
    };
    let loaded = read(path).and_then(|(tensors, progress)| {
        let state = state(&tensors, progress, device);
        Ok((apply(network, &tensors)?, Some(state)))
    });
    loaded.map_err(|why| TrainError::Checkpoint {
        path: folder.to_owned(),
        why,
    })
}

fn apply(network: Network, tensors: &HostTensors) -> Result<Network, String> {
    let weights = tensors
        .iter()
        .filter_map(|(name, weight)| Some((name.strip_prefix(WEIGHTS)?.to_owned(), weight.clone())))
        .collect();
    network.with_weights(&weights)
}

fn moments(tensors: &HostTensors, device: &Device) -> BTreeMap<String, Moments> {
    let firsts = tensors.iter().filter_map(|(name, first)| {
        let name = name.strip_prefix("moments.first.")?;
        let second = tensors.get(&format!("moments.second.{name}"))?;
        let moments = Moments {
            first: first.tensor(device),
            second: second.tensor(device),
        };
        Some((name.to_owned(), moments))
    });
    firsts.collect()
}

fn checksum(tensors: &HostTensors, state: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(state.as_bytes());
    for (name, stored) in tensors {
        digest.update(name.as_bytes());
        digest.update(stored.bytes());
    }
    digest::hex(&digest.finalize())
}

/// Writes tensors with how far the run was, and what proves that nothing is damaged.
fn write_state(
    path: &Path,
    tensors: &HostTensors,
    progress: &Progress,
) -> Result<PathBuf, TrainError> {
    let state = serde_json::to_string(progress).expect("progress is plain data");
    let metadata = BTreeMap::from([
        (CHECK_KEY.to_owned(), checksum(tensors, &state)),
        (STATE_KEY.to_owned(), state),
    ]);
    write_temporary(path, tensors, metadata)
}

/// Writes and syncs the file under a temporary name beside `path`, and returns that name.
pub(super) fn write_temporary(
    path: &Path,
    tensors: &HostTensors,
    metadata: BTreeMap<String, String>,
) -> Result<PathBuf, TrainError> {
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .map(|(name, stored)| {
            TensorView::new(Dtype::F32, stored.shape().to_vec(), stored.bytes())
                .map(|view| (name.clone(), view))
        })
        .collect();
    let bytes = views
        .and_then(|views| safetensors::serialize(views, Some(metadata.into_iter().collect())))
        .map_err(|error| TrainError::io("write", path)(std::io::Error::other(error)))?;
    write_temporary_bytes(path, &bytes)
}

/// Writes and syncs bytes under a temporary name beside `path`, and returns that name.
fn write_temporary_bytes(path: &Path, bytes: &[u8]) -> Result<PathBuf, TrainError> {
    let temporary = path.with_added_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    match written {
        Ok(()) => Ok(temporary),
        Err(error) => {
            // On a full disk the half of it would take the place of what matters more.
            let _ = fs::remove_file(&temporary);
            Err(TrainError::io("write", &temporary)(error))
        }
    }
}

/// Writes a file whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    publish(&write_temporary_bytes(path, bytes)?, path)
}

/// Gives a written file its name, safe from a crash.
pub(super) fn publish(written: &Path, path: &Path) -> Result<(), TrainError> {
    fs::rename(written, path).map_err(TrainError::io("rename to", path))?;
    // A bare name's parent is the empty path, not none.
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // The rename itself is only safe once the folder is.
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(TrainError::io("sync", folder))
}

fn read(path: &Path) -> Result<(HostTensors, Progress), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    decode(&bytes)
}

/// Reads the tensors of a file, all in single precision.
pub(crate) fn tensors(file: &SafeTensors) -> Result<HostTensors, String> {
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        if view.dtype() != Dtype::F32 {
            return Err(format!("`{name}` is not in single precision"));
        }
        let tensor = HostTensor::from_bytes(view.shape().to_vec(), view.data().to_vec());
        Ok((name, tensor))
    });
    tensors.collect()
}

/// Reads a state and checks that it is whole.
fn decode(bytes: &[u8]) -> Result<(HostTensors, Progress), String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensors = tensors(&file)?;
    let state = metadata
        .get(STATE_KEY)
        .ok_or("it does not say how far the run was")?;
    if metadata.get(CHECK_KEY) != Some(&checksum(&tensors, state)) {
        return Err("its checksum does not match: it was damaged".into());
    }
    let progress = serde_json::from_str(state).map_err(|error| error.to_string())?;
    Ok((tensors, progress))
}
