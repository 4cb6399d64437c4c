//! Weights that were exported, and perhaps trained on elsewhere.

use super::{InferenceError, Trained};
use crate::data::{Tokenizer, Vocabulary};
use crate::train::{TrainError, checkpoint};
use burn::module::Module;
use experiment::architecture::Architecture;
use experiment::folder::TOKENIZER;
use experiment::recipe::Recipe;
use experiment::run::{DataFacts, DataSpec, Execution, RunSpec, TokenizerSpec};
use network::{HostTensors, Network, device};
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::path::Path;

/// The ending of such files.
pub const ENDING: &str = "safetensors";

/// The vocabulary of bytes.
const BYTES: usize = 256;

impl Trained {
    /// Loads a file that `orchestrator export --safetensors` wrote, or another program in its form: docs/weights.md.
    ///
    /// The tokenizer lies beside it as `tokenizer.json`; without one 256 tokens are bytes, and up to 26 the letters of
    /// the synthetic language.
    ///
    /// # Errors
    /// When there is no such device, or the file is damaged or of another form.
    pub fn of_exported(path: &Path, device: &str) -> Result<Self, InferenceError> {
        let wrong = |why: String| InferenceError::Exported {
            path: path.to_owned(),
            why,
        };
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let (weights, metadata) = read(&bytes).map_err(wrong)?;
        let said = |key: &str| {
            let value = metadata.get(key);
            value.ok_or_else(|| wrong(format!("its metadata has no `{key}`")))
        };
        let number = |key: &str| -> Result<Option<f64>, InferenceError> {
            let value = metadata.get(key).map(|text| text.parse());
            let value = value.transpose();
            value.map_err(|_| wrong(format!("`{key}` in its metadata is no number")))
        };
        fn parsed<T: serde::de::DeserializeOwned>(key: &str, text: &str) -> Result<T, String> {
            serde_json::from_str(text).map_err(|error| format!("`{key}` in its metadata: {error}"))
        }
        let architecture: Architecture =
            parsed("architecture", said("architecture")?).map_err(wrong)?;
        if architecture.reads_ahead() {
            return Err(wrong(
                "its tokens read what comes after them (`model.causal: paper`), so it cannot say what does".into(),
            ));
        }
        let recipe: Recipe = parsed("recipe", said("recipe")?).map_err(wrong)?;
        let device = device::open(device).map_err(TrainError::from)?;
        let network = Network::new(&architecture, 0, &device).with_precision(recipe.precision);
        let network = network.with_weights(&weights).map_err(wrong)?;
        let vocab = architecture.vocab();
        let tokenizer = path.with_file_name(TOKENIZER);
        let (vocabulary, spec) = if tokenizer.exists() {
            let vocabulary = Vocabulary::of_text(Tokenizer::open(&tokenizer)?, None);
            (vocabulary, TokenizerSpec::File { path: tokenizer })
        } else if vocab == BYTES {
            let bytes_per_token = Some(1.0);
            let vocabulary = Vocabulary::of_text(Tokenizer::bytes(), bytes_per_token);
            (vocabulary, TokenizerSpec::Bytes)
        } else {
            (Vocabulary::of_letters(vocab), TokenizerSpec::Bytes)
        };
        let spec = RunSpec {
            data: DataSpec::text(Vec::new(), spec, 0.0),
            facts: DataFacts {
                fingerprint: String::new(),
                vocab,
                train_tokens: 0,
                validation_tokens: 0,
                bytes_per_token: None,
                entropy_floor: None,
            },
            execution: Execution {
                micro_batch: recipe.batch,
                threads: 1,
                checkpoint_every: f64::from(Execution::CHECKPOINT_EVERY),
                start: None,
                keeps_end: false,
                evaluation: Default::default(),
            },
            architecture,
            recipe,
            seed: 0,
        };
        Ok(Self {
            name: path.display().to_string(),
            step: number("step")?.unwrap_or(0.0) as u64,
            threshold: number("threshold")?,
            network: network.valid(),
            vocabulary,
            device,
            spec,
        })
    }
}

/// Reads weights in single precision, and the metadata.
fn read(bytes: &[u8]) -> Result<(HostTensors, HashMap<String, String>), String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let metadata = header.metadata().clone().unwrap_or_default();
    if metadata.get("format").map(String::as_str) != Some("orchestrator weights") {
        return Err("it is not a file that `orchestrator export --safetensors` writes".to_owned());
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    Ok((checkpoint::tensors(&file)?, metadata))
}
