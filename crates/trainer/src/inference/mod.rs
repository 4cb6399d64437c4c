//! Asking a trained run questions: what it makes of a text, and how it goes on.
//!
//! Owns the way from a run's folder to a network that answers, in evaluation mode. Refuses
//! training, and the terminal.

mod answers;
mod error;
pub mod evaluation;
pub mod exported;
pub mod generate;
pub mod items;
pub mod position;
pub mod reading;
mod scoring;

pub use error::InferenceError;
pub use evaluation::{Evaluated, EvaluationSet, Text};
pub use generate::{Generated, Sampling};
pub use reading::{Reading, Totals};
pub use scoring::Predicted;

use crate::data::{self, Vocabulary};
use crate::train::session::widths;
use crate::train::{TrainError, checkpoint};
use burn::module::Module;
use burn::tensor::Device;
use experiment::folder::SPECIFICATION;
use experiment::run::RunSpec;
use network::{Decoder, Network, Placement, device};
use std::path::Path;

/// A run's network, ready to answer.
#[derive(Debug)]
pub struct Trained {
    /// What it is called: the run's id, or the file it was exported to.
    pub name: String,
    /// What the run is.
    pub spec: RunSpec,
    /// Optimizer steps that its weights have seen.
    pub step: u64,
    /// Boundaries are where p ≥ this; `None` where they are not learned.
    pub threshold: Option<f64>,
    network: Network,
    vocabulary: Vocabulary,
    device: Device,
}

impl Trained {
    /// Loads a run from its folder: final weights, else those of its newest checkpoint.
    ///
    /// Its data are not needed, but for a run of a version that did not keep its tokenizer: then they
    /// are prepared, or taken from `data_cache`.
    ///
    /// # Errors
    /// When there is no such device, the folder holds no run or no weights, or data are needed and not those it was trained on.
    pub fn load(folder: &Path, data_cache: &Path, device: &str) -> Result<Self, InferenceError> {
        let spec = read_spec(folder)?;
        if spec.architecture.reads_ahead() {
            return Err(InferenceError::ReadsAhead(spec.id()));
        }
        let device = device::open(device).map_err(TrainError::from)?;
        let network = Network::new(&spec.architecture, spec.seed, &device)
            .with_precision(spec.recipe.precision);
        let (network, state) = checkpoint::load_newest(folder, network, &device)?;
        let state = state.ok_or_else(|| InferenceError::Untrained(folder.to_owned()))?;
        let vocabulary = match Vocabulary::of_run(&spec, folder)? {
            Some(vocabulary) => vocabulary,
            None => {
                let dataset = data::prepare(&spec.data, data_cache)?;
                if dataset.facts.fingerprint != spec.facts.fingerprint {
                    return Err(InferenceError::DataChanged(spec.id()));
                }
                dataset.vocabulary
            }
        };
        let threshold = state.threshold(&spec);
        Ok(Self {
            name: spec.id().0,
            network: network.valid(),
            step: state.progress.step,
            threshold,
            vocabulary,
            device,
            spec,
        })
    }

    /// Returns the steps of the whole training.
    pub fn steps(&self) -> u64 {
        self.spec.recipe.steps(self.spec.architecture.seq_len())
    }

    /// Turns text into token ids.
    ///
    /// # Errors
    /// When the text is empty, the run's data have no text, or a part of it has no token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, InferenceError> {
        let tokens = self.vocabulary.encode(text)?;
        self.check(&tokens)?;
        Ok(tokens)
    }

    /// Returns what its token ids stand for.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Refuses no tokens at all and tokens that the model does not have.
    ///
    /// # Errors
    /// When there are none, or one is outside the vocabulary.
    pub fn check(&self, tokens: &[u32]) -> Result<(), InferenceError> {
        let vocab = self.spec.architecture.vocab();
        if tokens.is_empty() {
            return Err(InferenceError::NoTokens);
        }
        match tokens.iter().find(|&&token| token as usize >= vocab) {
            Some(&token) => Err(InferenceError::OutsideVocab { token, vocab }),
            None => Ok(()),
        }
    }

    /// The multiplier 1/s of the logits.
    fn output_multiplier(&self) -> f64 {
        let width = widths(&self.spec.architecture).token;
        self.spec.recipe.output_multiplier(width)
    }

    /// Starts decoding a sequence.
    fn decoder(&self) -> Decoder<'_> {
        let seq_len = self.spec.architecture.seq_len();
        Decoder::new(&self.network, self.placement(), seq_len, &self.device)
    }

    /// Where boundaries are; a model without concepts has no use for it.
    fn placement(&self) -> Placement {
        let threshold = self.threshold.unwrap_or(0.5);
        Placement::of(&self.spec.architecture, threshold, self.spec.seed)
    }
}

/// Reads the specification in a run's folder.
///
/// # Errors
/// When there is none or it cannot be read.
pub fn read_spec(folder: &Path) -> Result<RunSpec, InferenceError> {
    let path = folder.join(SPECIFICATION);
    let wrong = |why: String| InferenceError::Spec {
        path: path.clone(),
        why,
    };
    let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
    RunSpec::read(&text).map_err(|error| wrong(error.to_string()))
}
