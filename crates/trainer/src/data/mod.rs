//! Where tokens come from: read, split, turned into ids, and laid out as sequences.
//!
//! Owns the synthetic language ([`synthetic`]), text files and their tokenizers ([`tokenizer`]),
//! token files, the cache of what was tokenised, and the order of sequences ([`batches`]). Refuses
//! tensors, and knows nothing of models or runs beyond [`DataSpec`] and [`DataFacts`].
//!
//! [`prepare`] is called by the orchestrator, for the facts, and by every training process; the
//! cache folder makes all calls but the first cheap, and any number of processes may share it.

pub mod batches;
mod cache;
mod error;
mod stream;
pub mod synthetic;
mod text;
pub mod tokenizer;
mod tokens;

pub use batches::Batches;
pub use error::DataError;
pub use stream::TokenStream;
pub use text::read_text;
pub use tokenizer::Tokenizer;

use experiment::digest;
use experiment::run::{DataFacts, DataSpec, SyntheticSpec};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use synthetic::{Documents, Language};

/// The two sides of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What is trained on.
    Train,
    /// What is held out.
    Validation,
}

/// Tokens to train on and tokens held out, with what is known of them; cloning is cheap.
#[derive(Clone)]
pub struct Dataset {
    /// What planning must know.
    pub facts: DataFacts,
    /// What is trained on.
    pub train: TokenStream,
    /// What is held out.
    pub validation: TokenStream,
    /// Predicted tokens in a document, where documents have one length.
    document: Option<u64>,
    tokenizer: Option<Tokenizer>,
    /// Bytes of each token, where they are known exactly.
    byte_lengths: Option<Arc<[u32]>>,
}

/// Reads, checks and tokenises what a specification names.
///
/// `cache` is made if it is missing. It may be deleted at any time between runs.
///
/// # Errors
/// If the input is wrong, or the cache cannot be written; the message says what would be right.
pub fn prepare(spec: &DataSpec, cache: &Path) -> Result<Dataset, DataError> {
    match spec {
        DataSpec::Synthetic(spec) => generate(spec),
        DataSpec::Text {
            text,
            tokenizer,
            validation,
        } => text::prepare(text, tokenizer, *validation, cache),
        DataSpec::Tokens {
            train,
            validation,
            width,
            vocab,
            validation_share,
        } => tokens::prepare(
            train,
            validation.as_deref(),
            *width,
            *vocab,
            *validation_share,
            cache,
        ),
    }
}

/// Sets up a synthetic language; its documents are generated as they are read.
fn generate(spec: &SyntheticSpec) -> Result<Dataset, DataError> {
    let language = Arc::new(Language::new(spec)?);
    let train = TokenStream::generated(Documents::new(language.clone(), Split::Train));
    let validation = TokenStream::generated(Documents::new(language.clone(), Split::Validation));
    let document = spec.document_tokens as u64;
    let facts = DataFacts {
        fingerprint: synthetic_fingerprint(spec, &train, &validation),
        vocab: spec.letters,
        train_tokens: language.documents(Split::Train) * document,
        validation_tokens: language.documents(Split::Validation) * document,
        bytes_per_token: None,
        entropy_floor: Some(language.entropy_floor(Split::Validation)),
    };
    let mut dataset = Dataset::new(facts, train, validation);
    dataset.document = Some(document);
    Ok(dataset)
}

impl Dataset {
    fn new(facts: DataFacts, train: TokenStream, validation: TokenStream) -> Self {
        let (document, tokenizer, byte_lengths) = (None, None, None);
        Self {
            facts,
            train,
            validation,
            document,
            tokenizer,
            byte_lengths,
        }
    }

    /// Gives the dataset the tokenizer its ids come from.
    ///
    /// The lengths that a byte-level vocabulary gives its tokens are kept only if they add up to
    /// the held-out part's real length: other tokenizers normalise, drop or add.
    fn speak(&mut self, tokenizer: Tokenizer, validation_bytes: u64) {
        let lengths = tokenizer.byte_lengths();
        let mut ids = vec![0; 1 << 16];
        let mut sum = 0;
        let mut start = 0;
        while start < self.validation.len() {
            let ids = &mut ids[..(self.validation.len() - start).min(1 << 16) as usize];
            self.validation.copy_range(start, ids);
            sum += ids
                .iter()
                .map(|&id| u64::from(lengths[id as usize]))
                .sum::<u64>();
            start += ids.len() as u64;
        }
        self.byte_lengths = (sum == validation_bytes).then(|| lengths.into());
        self.tokenizer = Some(tokenizer);
    }

    /// Checks that both splits hold at least one sequence of `seq_len` predicted tokens.
    ///
    /// # Errors
    /// Names the split that is too short, what it holds and what is needed.
    pub fn check_length(&self, seq_len: usize) -> Result<(), DataError> {
        for (stream, split) in [(&self.train, "training"), (&self.validation, "held-out")] {
            if stream.len() <= seq_len as u64 {
                return Err(DataError::TooShort {
                    split,
                    tokens: stream.len(),
                    seq_len,
                });
            }
        }
        Ok(())
    }

    /// Returns the predicted tokens of a document, where all have one length: a `seq_len` that
    /// divides it gives sequences that never cross from one document to another.
    pub fn document(&self) -> Option<u64> {
        self.document
    }

    /// Returns the tokenizer, where ids stand for text.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// Turns text into token ids; letters of the synthetic language are written as
    /// [`Self::token_text`] shows them.
    ///
    /// # Errors
    /// If the tokens have no text, or there is no token for a part of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match &self.tokenizer {
            Some(tokenizer) => tokenizer.encode(text),
            None if self.has_letters() => text.chars().map(|letter| self.letter(letter)).collect(),
            None => Err(DataError::NoText),
        }
    }

    /// Says whether tokens are shown as the letters of the synthetic language.
    fn has_letters(&self) -> bool {
        self.document.is_some() && self.facts.vocab <= 26
    }

    /// Finds a letter of the synthetic language.
    fn letter(&self, letter: char) -> Result<u32, DataError> {
        let known = u32::from(letter).checked_sub(u32::from(b'a'));
        known
            .filter(|&id| (id as usize) < self.facts.vocab)
            .ok_or_else(|| DataError::Letter {
                letter,
                last: self.token_text(self.facts.vocab as u32 - 1),
            })
    }

    /// Returns the text of one token, to show it: a letter of the synthetic language is `a` to
    /// `z` where that is enough, a number where tokens have no text.
    pub fn token_text(&self, id: u32) -> String {
        match (&self.tokenizer, u8::try_from(id)) {
            (Some(tokenizer), _) => tokenizer.token_text(id),
            (None, Ok(letter)) if self.has_letters() => char::from(b'a' + letter % 26).to_string(),
            _ => format!("<{id}>"),
        }
    }

    /// Returns the UTF-8 bytes that tokens stand for: exact for bytes and byte-level BPE, at the
    /// held-out part's mean for other tokenizers, `None` where tokens have no text.
    ///
    /// A mean loss over exactly these tokens, in nats per token, is
    /// `loss * tokens.len() / (bytes * LN_2)` bits per byte.
    pub fn bytes(&self, tokens: &[u32]) -> Option<f64> {
        match &self.byte_lengths {
            Some(lengths) => {
                let length = |&id: &u32| u64::from(lengths.get(id as usize).copied().unwrap_or(0));
                Some(tokens.iter().map(length).sum::<u64>() as f64)
            }
            None => self
                .facts
                .bytes_per_token
                .map(|mean| mean * tokens.len() as f64),
        }
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// Names a dataset by its vocabulary and the digests of its two streams: 16 hexadecimal digits.
fn fingerprint(vocab: usize, train: &[u8; 32], validation: &[u8; 32]) -> String {
    let mut hash = Sha256::new_with_prefix((vocab as u64).to_le_bytes());
    hash.update(train);
    hash.update(validation);
    digest::hex(&hash.finalize())[..16].to_owned()
}

/// Names a synthetic dataset by its specification and the beginnings of both streams.
///
/// The specification determines every token, so the streams, which may be far longer than any
/// memory, need not be generated in full; their beginnings tell should the generator ever change.
fn synthetic_fingerprint(
    spec: &SyntheticSpec,
    train: &TokenStream,
    validation: &TokenStream,
) -> String {
    // A `Value` keeps its keys sorted, so the order of fields in the source does not matter.
    let canonical = serde_json::to_value(spec)
        .map(|value| value.to_string())
        .unwrap_or_else(|error| unreachable!("a specification is plain data: {error}"));
    let digest = |stream: &TokenStream| -> [u8; 32] {
        let mut beginning = vec![0; stream.len().min(1 << 16) as usize];
        stream.copy_range(0, &mut beginning);
        let mut hash = Sha256::new_with_prefix(&canonical);
        beginning
            .iter()
            .for_each(|id| hash.update(id.to_le_bytes()));
        hash.finalize().into()
    };
    fingerprint(spec.letters, &digest(train), &digest(validation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiment::run::{LanguageKind, TokenizerSpec};
    use std::fs;

    fn synthetic() -> SyntheticSpec {
        SyntheticSpec {
            document_tokens: 100,
            train_tokens: 12_345,
            validation_tokens: 1_000,
            seed: 7,
            ..SyntheticSpec::of(LanguageKind::Cycles)
        }
    }

    #[test]
    fn synthetic_facts_count_whole_documents_and_write_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let data = prepare(&DataSpec::Synthetic(synthetic()), &cache).unwrap();
        assert_eq!(
            (data.facts.train_tokens, data.facts.validation_tokens),
            (12_400, 1_000)
        );
        assert_eq!(data.train.len(), 124 * 101);
        assert_eq!((data.facts.vocab, data.document()), (24, Some(100)));
        assert!((0.0..0.3).contains(&data.facts.entropy_floor.unwrap()));
        assert_eq!(data.token_text(2), "c");
        assert_eq!(data.encode("cax").unwrap(), [2, 0, 23]);
        for wrong in ["cay", "a b", "A", "a\n"] {
            let error = data.encode(wrong).unwrap_err();
            assert!(error.to_string().contains("`a` to `x`"), "{error}");
        }
        assert!(!cache.exists());
    }

    /// What was written of a language before there were two kinds still names the same data.
    #[test]
    fn old_specifications_keep_their_identity() {
        let written = r#"{"letters":24,"words":64,"min_word":2,"max_word":6,"document_words":6,
            "document_tokens":64,"noise":0.05,"train_tokens":4194304,"validation_tokens":65536,
            "seed":0}"#;
        let spec: SyntheticSpec = serde_json::from_str(written).unwrap();
        assert_eq!(spec.language, LanguageKind::Cycles);
        let value: serde_json::Value = serde_json::from_str(written).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap(), value);
        let facts = prepare(&DataSpec::Synthetic(spec), Path::new("unused"))
            .unwrap()
            .facts;
        assert_eq!(facts.fingerprint, "f53310325a1daaa4");
        assert_eq!(facts.entropy_floor, Some(0.062_408_490_236_272_94));
        let dialects = SyntheticSpec::of(LanguageKind::Dialects);
        let value = serde_json::to_value(&dialects).unwrap();
        assert_eq!(
            (&value["language"], value.get("document_words")),
            (&"dialects".into(), None)
        );
        assert_eq!(
            serde_json::from_value::<SyntheticSpec>(value).unwrap(),
            dialects
        );
    }

    #[test]
    fn every_synthetic_parameter_is_part_of_the_fingerprint() {
        let fingerprint = |spec: SyntheticSpec| {
            let spec = DataSpec::Synthetic(spec);
            prepare(&spec, Path::new("unused"))
                .unwrap()
                .facts
                .fingerprint
        };
        let base = synthetic();
        let mut all = vec![fingerprint(base.clone())];
        assert_eq!(fingerprint(base.clone()), all[0]);
        all.push(fingerprint(SyntheticSpec {
            seed: 8,
            ..base.clone()
        }));
        all.push(fingerprint(SyntheticSpec {
            noise: 0.06,
            ..base.clone()
        }));
        all.push(fingerprint(SyntheticSpec {
            train_tokens: 99_999,
            ..base.clone()
        }));
        all.push(fingerprint(SyntheticSpec {
            letters: 25,
            ..base
        }));
        assert!(all.iter().all(|name| name.len() == 16));
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_fingerprint_follows_content_not_paths() {
        let folder = tempfile::tempdir().unwrap();
        let fingerprint = |name: &str, content: &str, validation: f64| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            let spec = DataSpec::Text {
                text: vec![path.to_str().unwrap().into()],
                tokenizer: TokenizerSpec::Bytes,
                validation,
            };
            prepare(&spec, folder.path()).unwrap().facts.fingerprint
        };
        let first = fingerprint("a.txt", "a text of some length", 0.5);
        assert_eq!(first, fingerprint("b.txt", "a text of some length", 0.5));
        assert_ne!(first, fingerprint("a.txt", "a text of some width.", 0.5));
        assert_ne!(first, fingerprint("a.txt", "a text of some length", 0.2));
    }

    #[test]
    fn bytes_of_an_inexact_tokenizer_are_counted_at_the_mean() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.json");
        // Words without the white space between them: lengths do not add up to the text's.
        let json = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],
            "normalizer":null,"pre_tokenizer":{"type":"WhitespaceSplit"},"post_processor":null,
            "decoder":null,"model":{"type":"WordLevel","vocab":{"?":0,"ab":1,"c":5},
            "unk_token":"?"}}"#;
        fs::write(&path, json).unwrap();
        let text = folder.path().join("a.txt");
        fs::write(&text, "ab c\nab c\nab ab ab ab c\n").unwrap();
        let spec = DataSpec::Text {
            text: vec![text.to_str().unwrap().into()],
            tokenizer: TokenizerSpec::File { path },
            validation: 0.6,
        };
        let data = prepare(&spec, folder.path()).unwrap();
        assert_eq!((data.facts.vocab, data.facts.validation_tokens), (6, 5));
        assert_eq!(data.facts.bytes_per_token, Some(14.0 / 5.0));
        assert_eq!(data.bytes(&[1, 5]), Some(2.8 * 2.0));
        assert_eq!(data.encode("c nothing").unwrap(), [5, 0]);
    }

    #[test]
    fn reading_beyond_the_end_is_a_mistake_of_the_caller() {
        let data = prepare(&DataSpec::Synthetic(synthetic()), Path::new("unused")).unwrap();
        let beyond = || data.train.copy_range(data.train.len() - 1, &mut [0, 0]);
        assert!(std::panic::catch_unwind(beyond).is_err());
    }
}
