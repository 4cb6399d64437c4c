//! Seeded languages whose words are predictable inside and whose word order must be read from
//! the document's own long-range context.
//!
//! A lexicon of words is drawn once from the seed; no two share their first two letters, so a word
//! is known after two. Each document has a hidden `Chain`: some words, and for each of them its
//! successor. After a word comes its successor, or, with probability `noise`, a uniform draw from
//! the document's words. There are two kinds of language, which differ in where chains come from:
//!
//! - **Cycles** (`cycles`). Each document draws some of the words and puts them on a random
//!   cycle. Which word follows which can only be learned from the same document, at a distance of a
//!   whole turn of the cycle: nothing is worth storing but the lexicon.
//! - **Dialects** (`dialects`). A few words may follow each word; which of them does is the
//!   document's dialect's, one of many, drawn once with the language. The token level has the lexicon
//!   and what may follow to store; which dialect a document is written in must be gathered from
//!   many of its words, and what each dialect says is to be stored too.
//!
//! # Documents and sequences
//! A document of `document_tokens` **predicted** tokens is stored with one more: its first token is
//! given, never predicted. A sequence of `seq_len` inputs and `seq_len` targets then lies in one
//! document whenever `seq_len` divides `document_tokens`, no target belongs to an unrelated
//! document, and the loss is comparable with [`Language::entropy_floor`] token by token.
//!
//! Nothing is stored: document i is generated from the seed and i alone, by a counter-based
//! generator, in any order and on any thread.

mod check;
mod cycles;
mod dialects;
pub mod tasks;

use super::{DataError, Split};
use dialects::Dialects;
use experiment::run::{LanguageKind, SyntheticSpec};
use rand::Rng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

/// The generator's stream that draws the lexicon and the dialects; documents use the others.
const LEXICON_STREAM: u64 = 0;

/// A language: its lexicon and the rule that makes documents.
#[derive(Clone, Debug)]
pub struct Language {
    spec: SyntheticSpec,
    lexicon: Vec<Vec<u32>>,
    /// None in a language of cycles.
    dialects: Option<Dialects>,
}

/// What a document's words are and which follows which.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    /// The words, by their numbers in the lexicon: their places in the chain.
    words: Vec<usize>,
    /// Place of each word's successor; every place is the successor of one.
    successors: Vec<usize>,
}

impl Language {
    /// Draws the lexicon, and the dialects if there are any.
    ///
    /// # Errors
    /// If a parameter is out of range; the message says what would be right.
    pub fn new(spec: &SyntheticSpec) -> Result<Self, DataError> {
        check::check(spec)?;
        let mut rng = stream(spec.seed, LEXICON_STREAM);
        let letters = spec.letters as u32;
        // Distinct numbers below letters² are distinct pairs of first letters.
        let lexicon = index::sample(&mut rng, spec.letters * spec.letters, spec.words)
            .into_iter()
            .map(|pair| {
                let length = rng.random_range(spec.min_word as u32..=spec.max_word as u32);
                let mut word = vec![(pair / spec.letters) as u32, (pair % spec.letters) as u32];
                word.extend((2..length).map(|_| rng.random_range(0..letters)));
                word
            })
            .collect();
        let dialects = match spec.language {
            LanguageKind::Cycles => None,
            LanguageKind::Dialects => Some(Dialects::new(spec, &mut rng)),
        };
        Ok(Self {
            spec: spec.clone(),
            lexicon,
            dialects,
        })
    }

    /// Returns the number of documents in a split: as many as hold the tokens asked for.
    pub fn documents(&self, split: Split) -> u64 {
        let tokens = match split {
            Split::Train => self.spec.train_tokens,
            Split::Validation => self.spec.validation_tokens,
        };
        tokens.div_ceil(self.spec.document_tokens as u64)
    }

    /// Returns the words of the lexicon as token ids.
    pub fn lexicon(&self) -> &[Vec<u32>] {
        &self.lexicon
    }

    /// Starts document `index` of a split.
    fn walk(&self, split: Split, index: u64) -> Walk<'_> {
        let which = match split {
            Split::Train => 1,
            Split::Validation => 2,
        };
        let mut rng = stream(self.spec.seed, LEXICON_STREAM + which + 2 * index);
        let chain = match &self.dialects {
            None => Cow::Owned(cycles::draw(&self.spec, &mut rng)),
            Some(dialects) => Cow::Borrowed(dialects.draw(&mut rng)),
        };
        Walk {
            language: self,
            rng,
            chain,
            current: None,
        }
    }

    /// Computes the expected cross-entropy, summed over a document's predicted tokens, of a
    /// predictor that knows the lexicon, the document's chain, and where it stands.
    ///
    /// Exact: the probability that a word starts at each position is carried forward from the
    /// document's start. A word costs the entropy of its choice, paid over its first two letters;
    /// of the first word only the second letter's part is paid, because the first token is given,
    /// and of a word cut after one letter only the first letter's part.
    ///
    /// # Units
    /// Nats.
    fn document_entropy(&self, chain: &Chain) -> f64 {
        let spelled: Vec<&[u32]> = chain
            .words
            .iter()
            .map(|&w| self.lexicon[w].as_slice())
            .collect();
        let words = spelled.len();
        let jump = self.spec.noise / words as f64;
        let follow = 1.0 - self.spec.noise;

        let same_first = |word: usize| {
            spelled
                .iter()
                .filter(|other| other[0] == spelled[word][0])
                .count() as f64
        };
        let first_letter: Vec<f64> = (0..words).map(same_first).collect();
        // Σ over distinct letters, written as Σ over words of a letter's share each.
        let over_letters = |part: &dyn Fn(f64) -> f64| -> f64 {
            first_letter.iter().map(|&same| part(same) / same).sum()
        };
        let first_letter_of_start = -over_letters(&|same| plogp(same / words as f64));
        let first_letter_of_jumps = over_letters(&|same| plogp(jump * same));
        let choice = -plogp(follow + jump) - (words - 1) as f64 * plogp(jump);

        let last = self.spec.document_tokens;
        // Starts of words at positions t, t + 1, … as far as one word reaches: as a successor, for
        // each word, and by a jump, alike for all words.
        let reach = self.spec.max_word + 1;
        let mut followed = vec![vec![0.0; words]; reach];
        let mut jumped = vec![0.0; reach];
        jumped[0] = 1.0 / words as f64;
        let mut entropy = (words as f64).ln() - first_letter_of_start;
        for t in 0..=last {
            let here = t % reach;
            let by_jump = std::mem::take(&mut jumped[here]);
            for word in 0..words {
                let start = std::mem::take(&mut followed[here][word]) + by_jump;
                let next = t + spelled[word].len();
                if start == 0.0 || next > last {
                    continue;
                }
                let successor = chain.successors[word];
                followed[next % reach][successor] += follow * start;
                jumped[next % reach] += jump * start;
                entropy += start
                    * if next < last {
                        choice
                    } else {
                        let same = jump * first_letter[successor];
                        plogp(same) - plogp(same + follow) - first_letter_of_jumps
                    };
            }
        }
        entropy
    }

    /// Computes the floor of a split's loss: the mean over its documents of the exact expected
    /// cross-entropy of a predictor that is told everything hidden.
    ///
    /// It is told the lexicon, each document's chain, and the place in the current word;
    /// it does not know the draws to come. A model knows only the tokens before, which tell less,
    /// so its expected loss cannot be lower; it is higher by what the chain costs while it is
    /// learned, so only long documents come near. The expectation is over the draws, with the
    /// split's own documents' chains; on the finite split a loss moves about its
    /// expectation by chance, for model and floor alike. The first token of a document is given,
    /// so it costs nothing here and must not be a target there.
    ///
    /// # Units
    /// Nats per predicted token.
    pub fn entropy_floor(&self, split: Split) -> f64 {
        let entropies: Vec<f64> = (0..self.documents(split))
            .into_par_iter()
            .map(|index| self.document_entropy(&self.walk(split, index).chain))
            .collect();
        // Summed in order: the same value on any number of threads.
        let documents = entropies.len() as f64;
        entropies.iter().sum::<f64>() / documents / self.spec.document_tokens as f64
    }
}

/// The documents of one split, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Documents {
    language: Arc<Language>,
    split: Split,
}

impl Documents {
    pub(super) fn new(language: Arc<Language>, split: Split) -> Self {
        Self { language, split }
    }

    /// Returns the tokens a document takes: the given first and the predicted ones.
    pub(super) fn stride(&self) -> u64 {
        self.language.spec.document_tokens as u64 + 1
    }

    pub(super) fn stored_tokens(&self) -> u64 {
        self.language.documents(self.split) * self.stride()
    }

    pub(super) fn copy_range(&self, start: u64, mut out: &mut [u32]) {
        let mut document = start / self.stride();
        let mut skip = (start % self.stride()) as usize;
        while !out.is_empty() {
            let take = out.len().min(self.stride() as usize - skip);
            let (now, later) = out.split_at_mut(take);
            let tokens = self
                .language
                .walk(self.split, document)
                .flatten()
                .skip(skip);
            now.iter_mut()
                .zip(tokens)
                .for_each(|(slot, &token)| *slot = token);
            (out, document, skip) = (later, document + 1, 0);
        }
    }
}

/// The endless sequence of a document's words.
struct Walk<'a> {
    language: &'a Language,
    rng: ChaCha8Rng,
    chain: Cow<'a, Chain>,
    /// Place in the chain of the word just given.
    current: Option<usize>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a [u32];

    fn next(&mut self) -> Option<&'a [u32]> {
        let words = self.chain.words.len();
        let place = match self.current {
            Some(place) if self.rng.random::<f64>() >= self.language.spec.noise => {
                self.chain.successors[place]
            }
            _ => self.rng.random_range(0..words as u32) as usize,
        };
        self.current = Some(place);
        Some(&self.language.lexicon[self.chain.words[place]])
    }
}

/// Opens one of a seed's independent streams of random numbers.
fn stream(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// Computes p ln p, with 0 ln 0 = 0.
fn plogp(p: f64) -> f64 {
    if p > 0.0 { p * p.ln() } else { 0.0 }
}

#[cfg(test)]
mod tests;
