//! A cell while it is being put together: all values, defaults where nothing was said.

use super::{Analysis, ExecutionSettings};
use crate::architecture::solver::ShapeSettings;
use crate::quantity::{Params, TokenBudget};
use crate::recipe::Recipe;
use crate::run::{DataSpec, SyntheticSpec, TokenWidth, TokenizerSpec};
use std::path::PathBuf;

/// Every value that a file can set.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) params: Option<Params>,
    pub(super) tokens: Option<TokenBudget>,
    pub(super) flops: Option<f64>,
    pub(super) compression_ratio: Option<f64>,
    pub(super) concept_share: Option<f64>,
    pub(super) seed: u64,
    pub(super) branches: bool,
    pub(super) shape: ShapeSettings,
    pub(super) data: DataDraft,
    pub(super) recipe: Recipe,
    pub(super) analysis: Analysis,
    pub(super) execution: ExecutionSettings,
}

/// Which of the kinds of data is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataKind {
    Synthetic,
    Text,
    Tokens,
}

/// The settings of every kind of data, of which one is used.
#[derive(Clone)]
pub(super) struct DataDraft {
    pub(super) kind: DataKind,
    pub(super) synthetic: SyntheticSpec,
    pub(super) text: Vec<String>,
    pub(super) tokenizer: TokenizerSpec,
    pub(super) validation: f64,
    pub(super) train: PathBuf,
    pub(super) held_out: Option<PathBuf>,
    pub(super) width: TokenWidth,
    pub(super) vocab: Option<u64>,
}

impl DataDraft {
    /// The data meant.
    pub(super) fn spec(&self) -> DataSpec {
        match self.kind {
            DataKind::Synthetic => DataSpec::Synthetic(self.synthetic.clone()),
            DataKind::Text => DataSpec::Text {
                text: self.text.clone(),
                tokenizer: self.tokenizer.clone(),
                validation: self.validation,
            },
            DataKind::Tokens => DataSpec::Tokens {
                train: self.train.clone(),
                validation: self.held_out.clone(),
                width: self.width,
                vocab: self.vocab.unwrap_or(0) as usize,
                validation_share: self.validation,
            },
        }
    }
}

impl Default for Draft {
    /// The synthetic language, and the recipe it was first trained with.
    fn default() -> Self {
        Self {
            params: None,
            tokens: None,
            flops: None,
            compression_ratio: None,
            concept_share: None,
            seed: 0,
            branches: false,
            shape: ShapeSettings::default(),
            data: DataDraft {
                kind: DataKind::Synthetic,
                synthetic: SyntheticSpec {
                    letters: 24,
                    words: 64,
                    min_word: 2,
                    max_word: 6,
                    document_words: 12,
                    document_tokens: 256,
                    noise: 0.05,
                    train_tokens: 4_194_304,
                    validation_tokens: 65_536,
                    seed: 0,
                },
                text: Vec::new(),
                tokenizer: TokenizerSpec::Bytes,
                validation: 0.1,
                train: PathBuf::new(),
                held_out: None,
                width: TokenWidth::U16,
                vocab: None,
            },
            recipe: Recipe::default(),
            analysis: Analysis::default(),
            execution: ExecutionSettings::default(),
        }
    }
}
