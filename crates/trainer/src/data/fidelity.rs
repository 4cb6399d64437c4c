//! How much of a text comes back from its tokens.
//!
//! A tokenizer that has no token for a character drops it, or gives one that stands for anything. The
//! loss per token of what is left says nothing about the text, and bits per byte even less.
//! Lower case, accents, compatibility forms and white space are not counted: to leave them out is what
//! normalisers are for, and loses little.

use super::Tokenizer;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::{NormalizedString, Normalizer};

/// Bytes of a text that its tokens do not give back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// Bytes that are lost.
    pub bytes: u64,
    /// Bytes of all characters that count.
    pub of: u64,
}

impl Lost {
    /// Above this share of the text a tokenizer is not one of the text.
    pub(super) const MOST: f64 = 0.01;

    /// Returns the share of the text that is lost.
    pub fn share(self) -> f64 {
        match self.of {
            0 => 0.0,
            of => self.bytes as f64 / of as f64,
        }
    }

    /// Says whether so little is lost that bits per byte keep their third digit.
    pub fn is_negligible(self) -> bool {
        self.share() <= 1e-4
    }
}

impl std::iter::Sum for Lost {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, lost| Self {
            bytes: sum.bytes + lost.bytes,
            of: sum.of + lost.of,
        })
    }
}

impl Tokenizer {
    /// Finds how much of a text its tokens do not give back.
    pub fn lost(&self, text: &str, ids: &[u32]) -> Lost {
        if self.is_lossless() {
            return Lost {
                bytes: 0,
                of: text.len() as u64,
            };
        }
        let known: Vec<u32> = (ids.iter().copied())
            .filter(|id| Some(*id) != self.unknown())
            .collect();
        // What cannot be decoded has not come back.
        let back = self.decode(&known).unwrap_or_default();
        if known.len() == ids.len() && back == text {
            return Lost {
                bytes: 0,
                of: text.len() as u64,
            };
        }
        let found = counts(&back);
        let each = counts(text).into_iter().map(|(character, count)| {
            let size = character.len_utf8() as u64;
            let found = found.get(&character).copied().unwrap_or(0);
            Lost {
                bytes: count.saturating_sub(found) * size,
                of: count * size,
            }
        });
        each.sum()
    }
}

/// Counts characters, without case, accents, compatibility forms and white space.
fn counts(text: &str) -> HashMap<char, u64> {
    let mut folded = NormalizedString::from(text);
    folded.nfkd();
    let plain = BertNormalizer::new(true, false, Some(true), true);
    // It does not fail; unfolded text would only show more as lost.
    let _ = plain.normalize(&mut folded);
    let mut counts = HashMap::new();
    for character in folded.get().chars().filter(|c| !c.is_whitespace()) {
        *counts.entry(character).or_default() += 1;
    }
    counts
}
