//! Weights for other programs: one safetensors file that says what it holds.
//!
//! docs/weights.md describes the file and the computation that its weights are for.

use super::TrainError;
use super::checkpoint::{self, Progress};
use super::session::widths;
use experiment::folder::TOKENIZER;
use experiment::run::RunSpec;
use network::{Network, device};
use std::collections::BTreeMap;
use std::path::Path;

/// Bumped when a reader of older files would misread new ones.
const FORMAT_VERSION: u32 = 1;

/// Writes a run's final weights, or else those of its newest checkpoint, under their plain names.
///
/// Its tokenizer, where it has one, comes to lie beside them as `tokenizer.json`. Returns how far the
/// run was, or `None` when it has no weights yet.
///
/// # Errors
/// When its weights cannot be used or the file cannot be written; a file of that name is then as
/// it was.
pub fn export(folder: &Path, spec: &RunSpec, path: &Path) -> Result<Option<Progress>, TrainError> {
    let device = device::open("cpu")?;
    let network = Network::new(&spec.architecture, spec.seed, &device);
    let (network, state) = checkpoint::load_newest(folder, network, &device)?;
    let Some(state) = state else {
        return Ok(None);
    };
    let progress = Progress {
        threshold: state.threshold(spec),
        ..state.progress
    };
    let written = checkpoint::write_temporary(path, &network.weights(), metadata(spec, &progress))?;
    if let Some(tokenizer) = tokenizer(folder) {
        checkpoint::write_whole(&path.with_file_name(TOKENIZER), &tokenizer)?;
    }
    checkpoint::publish(&written, path)?;
    Ok(Some(progress))
}

/// Reads the tokenizer that a run keeps; `None` where its tokens are bytes or no text, or where it was
/// trained by a version that kept none.
pub fn tokenizer(folder: &Path) -> Option<Vec<u8>> {
    std::fs::read(folder.join(TOKENIZER)).ok()
}

/// Says what the weights are; a dense model has no threshold.
fn metadata(spec: &RunSpec, progress: &Progress) -> BTreeMap<String, String> {
    let multiplier = spec
        .recipe
        .output_multiplier(widths(&spec.architecture).token);
    let tokens = progress.step * (spec.recipe.batch * spec.architecture.seq_len()) as u64;
    let entries = [
        ("format", Some("orchestrator weights".to_owned())),
        ("format_version", Some(FORMAT_VERSION.to_string())),
        ("architecture", Some(json(&spec.architecture))),
        ("recipe", Some(json(&spec.recipe))),
        ("run", Some(spec.id().to_string())),
        ("output_multiplier", Some(multiplier.to_string())),
        ("threshold", progress.threshold.map(|it| it.to_string())),
        ("step", Some(progress.step.to_string())),
        ("tokens", Some(tokens.to_string())),
    ];
    let entries = entries.into_iter();
    entries
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("a specification is plain data")
}
