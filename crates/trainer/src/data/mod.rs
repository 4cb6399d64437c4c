//! Where tokens come from: read, split, turned into ids, and laid out as sequences.
//!
//! Owns the synthetic language ([`synthetic`]), text files and their tokenizers ([`tokenizer`]),
//! token files, the cache of what was tokenised, and the order of sequences ([`batches`]). Refuses
//! tensors, and knows nothing of models or runs beyond [`DataSpec`] and [`DataFacts`].
//!
//! [`prepare`] is called by the orchestrator, for the facts, and by every training process; the
//! cache folder makes all calls but the first cheap, and any number of processes may share it.

pub mod batches;
mod bpe;
mod cache;
mod documents;
mod doubt;
mod error;
mod fidelity;
mod files;
mod guise;
mod magic;
mod npy;
mod stream;
mod summary;
pub mod synthetic;
mod text;
mod token_file;
pub mod tokenizer;
mod tokenizer_json;
mod tokens;
mod vocabulary;

pub use batches::Batches;
pub use documents::SEPARATOR;
pub use error::DataError;
pub use fidelity::Lost;
pub use stream::TokenStream;
pub use summary::{Described, Summary};
pub use text::{read_text, read_texts};
pub use tokenizer::Tokenizer;
pub use vocabulary::Vocabulary;

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
    /// What ids stand for.
    pub vocabulary: Vocabulary,
    /// What was found, for people.
    pub summary: Summary,
    /// Predicted tokens in a document, where documents have one length.
    document: Option<u64>,
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
            text_field,
            text_form,
            tokenizer,
            validation,
            accept_doubtful,
        } => {
            let asked = text::Asked {
                patterns: text,
                reading: documents::Reading {
                    field: text_field,
                    form: *text_form,
                },
                tokenizer,
                share: *validation,
                accept_doubtful: *accept_doubtful,
            };
            text::prepare(&asked, cache)
        }
        DataSpec::Tokens {
            train,
            validation,
            width,
            vocab,
            validation_share,
            accept_doubtful,
        } => {
            let asked = tokens::Asked {
                train,
                validation: validation.as_ref(),
                width: *width,
                vocab: *vocab,
                share: *validation_share,
                accept_doubtful: *accept_doubtful,
            };
            tokens::prepare(&asked, cache)
        }
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
    let vocabulary = Vocabulary::of_letters(spec.letters);
    Ok(Dataset {
        document: Some(document),
        summary: Summary {
            form: format!("a synthetic language of {}", spec.language.name()),
            documents: Some(
                language.documents(Split::Train) + language.documents(Split::Validation),
            ),
            held_out: "documents of its own".to_owned(),
            ..Summary::default()
        },
        ..Dataset::new(facts, train, validation, vocabulary)
    })
}

impl Dataset {
    fn new(
        facts: DataFacts,
        train: TokenStream,
        validation: TokenStream,
        vocabulary: Vocabulary,
    ) -> Self {
        Self {
            facts,
            train,
            validation,
            vocabulary,
            summary: Summary::default(),
            document: None,
        }
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
        assert_eq!(data.vocabulary.token_text(2), "c");
        assert_eq!(data.vocabulary.encode("cax").unwrap(), [2, 0, 23]);
        for wrong in ["cay", "a b", "A", "a\n"] {
            let error = data.vocabulary.encode(wrong).unwrap_err();
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
            let text = vec![path.to_str().unwrap().into()];
            let spec = DataSpec::text(text, TokenizerSpec::Bytes, validation);
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
        let text = vec![text.to_str().unwrap().into()];
        let spec = DataSpec::text(text, TokenizerSpec::File { path }, 0.6);
        let data = prepare(&spec, folder.path()).unwrap();
        assert_eq!((data.facts.vocab, data.facts.validation_tokens), (6, 5));
        assert_eq!(data.facts.bytes_per_token, Some(14.0 / 5.0));
        assert_eq!(data.vocabulary.bytes(&[1, 5]), Some(2.8 * 2.0));
        assert_eq!(data.vocabulary.encode("c nothing").unwrap(), [5, 0]);
        // Of a text that is lost there are no bits per byte.
        assert_eq!(data.vocabulary.bytes_of("c ab", &[5, 1]), Some(4.0));
        assert_eq!(data.vocabulary.bytes_of("c nothing", &[5, 0]), None);
    }

    #[test]
    fn reading_beyond_the_end_is_a_mistake_of_the_caller() {
        let data = prepare(&DataSpec::Synthetic(synthetic()), Path::new("unused")).unwrap();
        let beyond = || data.train.copy_range(data.train.len() - 1, &mut [0, 0]);
        assert!(std::panic::catch_unwind(beyond).is_err());
    }
}
