//! A cell while it is being put together: all values, defaults where nothing was said.

use super::{Analysis, ExecutionSettings, Tune};
use crate::architecture::solver::ShapeSettings;
use crate::quantity::{Params, TokenBudget};
use crate::recipe::Recipe;
use crate::run::{
    DataSpec, Evaluation, LanguageKind, Paths, SyntheticSpec, TEXT_FIELD, TextForm, TokenWidth,
    TokenizerSpec,
};

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
    pub(super) tune: Tune,
    pub(super) shape: ShapeSettings,
    pub(super) data: DataDraft,
    pub(super) recipe: Recipe,
    pub(super) evaluation: Evaluation,
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
    pub(super) synthetic: SyntheticDraft,
    pub(super) text: Vec<String>,
    pub(super) text_field: String,
    pub(super) text_form: TextForm,
    pub(super) tokenizer: TokenizerSpec,
    pub(super) validation: f64,
    pub(super) train: Vec<String>,
    pub(super) held_out: Option<Vec<String>>,
    pub(super) width: Option<TokenWidth>,
    pub(super) vocab: Option<u64>,
    pub(super) accept_doubtful: bool,
}

/// What is said of the synthetic language; the rest is its kind's own default.
#[derive(Clone, Default)]
pub(super) struct SyntheticDraft {
    pub(super) language: Option<LanguageKind>,
    pub(super) letters: Option<usize>,
    pub(super) words: Option<usize>,
    pub(super) min_word: Option<usize>,
    pub(super) max_word: Option<usize>,
    pub(super) document_words: Option<usize>,
    pub(super) dialects: Option<usize>,
    pub(super) choices: Option<usize>,
    pub(super) skew: Option<f64>,
    pub(super) document_tokens: Option<usize>,
    pub(super) noise: Option<f64>,
    pub(super) train_tokens: Option<u64>,
    pub(super) validation_tokens: Option<u64>,
    pub(super) seed: Option<u64>,
}

impl SyntheticDraft {
    /// The language meant: of dialects where its kind is not said.
    pub(super) fn spec(&self) -> SyntheticSpec {
        let kind = self.language.unwrap_or(LanguageKind::Dialects);
        let default = SyntheticSpec::of(kind);
        SyntheticSpec {
            language: kind,
            letters: self.letters.unwrap_or(default.letters),
            words: self.words.unwrap_or(default.words),
            min_word: self.min_word.unwrap_or(default.min_word),
            max_word: self.max_word.unwrap_or(default.max_word),
            document_words: self.document_words.unwrap_or(default.document_words),
            dialects: self.dialects.unwrap_or(default.dialects),
            choices: self.choices.unwrap_or(default.choices),
            skew: self.skew.unwrap_or(default.skew),
            document_tokens: self.document_tokens.unwrap_or(default.document_tokens),
            noise: self.noise.unwrap_or(default.noise),
            train_tokens: self.train_tokens.unwrap_or(default.train_tokens),
            validation_tokens: self.validation_tokens.unwrap_or(default.validation_tokens),
            seed: self.seed.unwrap_or(default.seed),
        }
    }

    /// The keys given that only the other kind of language has, and that kind.
    pub(super) fn foreign(&self) -> Option<(&'static str, LanguageKind)> {
        use LanguageKind::{Cycles, Dialects};
        let own = [
            ("document_words", self.document_words.is_some(), Cycles),
            ("dialects", self.dialects.is_some(), Dialects),
            ("choices", self.choices.is_some(), Dialects),
            ("skew", self.skew.is_some(), Dialects),
        ];
        let kind = self.spec().language;
        own.into_iter()
            .find(|&(_, given, of)| given && of != kind)
            .map(|(key, _, of)| (key, of))
    }
}

impl DataDraft {
    /// The data meant.
    pub(super) fn spec(&self) -> DataSpec {
        match self.kind {
            DataKind::Synthetic => DataSpec::Synthetic(self.synthetic.spec()),
            DataKind::Text => DataSpec::Text {
                text: self.text.clone(),
                text_field: self.text_field.clone(),
                text_form: self.text_form,
                tokenizer: self.tokenizer.clone(),
                validation: self.validation,
                accept_doubtful: self.accept_doubtful,
            },
            DataKind::Tokens => DataSpec::Tokens {
                train: Paths::from(self.train.as_slice()),
                validation: self.held_out.as_deref().map(Paths::from),
                width: self.width,
                vocab: self.vocab.unwrap_or(0) as usize,
                validation_share: self.validation,
                accept_doubtful: self.accept_doubtful,
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
            tune: Tune::default(),
            shape: ShapeSettings::default(),
            data: DataDraft {
                kind: DataKind::Synthetic,
                synthetic: SyntheticDraft::default(),
                text: Vec::new(),
                text_field: TEXT_FIELD.to_owned(),
                text_form: TextForm::Auto,
                tokenizer: TokenizerSpec::Bytes,
                validation: 0.1,
                train: Vec::new(),
                held_out: None,
                width: None,
                vocab: None,
                accept_doubtful: false,
            },
            recipe: Recipe::default(),
            evaluation: Evaluation::default(),
            analysis: Analysis::default(),
            execution: ExecutionSettings::default(),
        }
    }
}
