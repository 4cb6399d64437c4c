//! What token ids stand for: text, letters of the synthetic language, or nothing but themselves.

use super::{DataError, Tokenizer};
use experiment::folder::TOKENIZER;
use experiment::run::{DataSpec, RunSpec, TokenizerSpec};
use std::path::Path;
use std::sync::Arc;

/// What the ids of a dataset stand for; cloning is cheap.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    size: usize,
    kind: Kind,
    /// UTF-8 bytes a token stands for, on the mean over held-out text.
    bytes_per_token: Option<f64>,
}

#[derive(Clone, Debug)]
enum Kind {
    Text {
        tokenizer: Tokenizer,
        /// Bytes of each token, where they are known exactly.
        byte_lengths: Option<Arc<[u32]>>,
    },
    /// Of the synthetic language, shown as `a` to `z`.
    Letters,
    Numbers,
}

impl Vocabulary {
    /// Makes the vocabulary of text; `bytes_per_token` is `None` where text was lost.
    pub(crate) fn of_text(tokenizer: Tokenizer, bytes_per_token: Option<f64>) -> Self {
        let byte_lengths = tokenizer.byte_lengths().map(Arc::from);
        Self {
            size: tokenizer.vocab(),
            kind: Kind::Text {
                tokenizer,
                byte_lengths,
            },
            bytes_per_token,
        }
    }

    /// Makes the vocabulary of a synthetic language.
    pub(crate) fn of_letters(size: usize) -> Self {
        let kind = if size <= 26 {
            Kind::Letters
        } else {
            Kind::Numbers
        };
        Self {
            size,
            kind,
            bytes_per_token: None,
        }
    }

    /// Makes a vocabulary of ids that stand for nothing known.
    pub(super) fn of_numbers(size: usize) -> Self {
        Self {
            size,
            kind: Kind::Numbers,
            bytes_per_token: None,
        }
    }

    /// Finds the vocabulary of a run without its data: what text needs lies in its folder; `None` for
    /// runs of versions that did not keep it.
    ///
    /// # Errors
    /// If what lies there cannot be read, or is not the run's.
    pub fn of_run(spec: &RunSpec, folder: &Path) -> Result<Option<Self>, DataError> {
        let vocab = spec.facts.vocab;
        let tokenizer = match &spec.data {
            DataSpec::Synthetic(_) => return Ok(Some(Self::of_letters(vocab))),
            DataSpec::Tokens { .. } => return Ok(Some(Self::of_numbers(vocab))),
            DataSpec::Text {
                tokenizer: TokenizerSpec::Bytes,
                ..
            } => Tokenizer::bytes(),
            DataSpec::Text { .. } => {
                let path = folder.join(TOKENIZER);
                if !path.exists() {
                    return Ok(None);
                }
                let tokenizer = Tokenizer::open(&path)?;
                if tokenizer.vocab() != vocab {
                    return Err(DataError::TokenizerFile {
                        path,
                        reason: format!(
                            "it has {} entries, and the run was trained with {vocab}; put the run's own \
                             back",
                            tokenizer.vocab()
                        ),
                    });
                }
                tokenizer
            }
        };
        Ok(Some(Self::of_text(tokenizer, spec.facts.bytes_per_token)))
    }

    /// Returns the tokenizer, where ids stand for text.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        match &self.kind {
            Kind::Text { tokenizer, .. } => Some(tokenizer),
            Kind::Letters | Kind::Numbers => None,
        }
    }

    /// Turns text into token ids; letters of the synthetic language are written as
    /// [`Self::token_text`] shows them.
    ///
    /// # Errors
    /// If the tokens have no text, or there is no token for a part of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match &self.kind {
            Kind::Text { tokenizer, .. } => tokenizer.encode(text),
            Kind::Letters => text.chars().map(|letter| self.letter(letter)).collect(),
            Kind::Numbers => Err(DataError::OnlyNumbers),
        }
    }

    /// Finds a letter of the synthetic language.
    fn letter(&self, letter: char) -> Result<u32, DataError> {
        let known = u32::from(letter).checked_sub(u32::from(b'a'));
        known
            .filter(|&id| (id as usize) < self.size)
            .ok_or_else(|| DataError::Letter {
                letter,
                last: self.token_text(self.size as u32 - 1),
            })
    }

    /// Turns token ids into text; parts of characters become replacement characters.
    ///
    /// # Errors
    /// If the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        match self.tokenizer() {
            Some(tokenizer) => tokenizer.decode(ids),
            None => Ok(self.shown(ids)),
        }
    }

    /// Returns the text of one token, to show it: a letter of the synthetic language is `a` to
    /// `z` where that is enough, a number where tokens have no text.
    pub fn token_text(&self, id: u32) -> String {
        match (&self.kind, u8::try_from(id)) {
            (Kind::Text { tokenizer, .. }, _) => tokenizer.token_text(id),
            (Kind::Letters, Ok(letter)) => char::from(b'a' + letter % 26).to_string(),
            _ => format!("<{id}>"),
        }
    }

    /// Returns the text of some tokens, to show it: part of a character is shown as such.
    pub fn shown(&self, ids: &[u32]) -> String {
        let whole = self.tokenizer().map(|it| it.decode(ids));
        match whole {
            Some(Ok(text)) if !text.contains('\u{fffd}') => text,
            _ => ids.iter().map(|&id| self.token_text(id)).collect(),
        }
    }

    /// Returns the UTF-8 bytes that tokens stand for: exact for bytes and byte-level BPE, at the
    /// held-out part's mean for other tokenizers, `None` where tokens have no text or have lost some.
    ///
    /// A mean loss over exactly these tokens, in nats per token, is
    /// `loss * tokens.len() / (bytes * LN_2)` bits per byte.
    pub fn bytes(&self, ids: &[u32]) -> Option<f64> {
        match &self.kind {
            Kind::Text {
                byte_lengths: Some(lengths),
                ..
            } => {
                let length = |&id: &u32| u64::from(lengths.get(id as usize).copied().unwrap_or(0));
                Some(ids.iter().map(length).sum::<u64>() as f64)
            }
            _ => self.bytes_per_token.map(|mean| mean * ids.len() as f64),
        }
    }

    /// Returns the UTF-8 bytes of a text that these tokens stand for; `None` where tokens have no
    /// text, or much of this one was lost.
    pub fn bytes_of(&self, text: &str, ids: &[u32]) -> Option<f64> {
        let lost = self.tokenizer()?.lost(text, ids);
        lost.is_negligible().then_some(text.len() as f64)
    }
}
