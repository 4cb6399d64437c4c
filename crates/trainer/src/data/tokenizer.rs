//! Text to token ids and back: bytes, a trained byte-level BPE, or an existing `tokenizer.json`.

use super::DataError;
use super::bpe::{TRAINER, train};
use super::cache::Entry;
use super::fidelity::Lost;
use super::tokenizer_json::{is_byte_level, longest_added, own_decoder, shared_id, unknown};
use experiment::digest;
use experiment::quietly::quietly;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes of text handed to a tokenizer at a time; fixed, so that ids do not depend on threads.
pub(super) const PIECE: usize = 1 << 18;

/// A model has a row for every id up to the largest; beyond this an id is a mistake.
const MOST_ENTRIES: usize = 1 << 24;

/// Turns text into token ids and back; cloning is cheap.
#[derive(Clone)]
pub struct Tokenizer {
    kind: Kind,
    vocab: usize,
}

#[derive(Clone)]
enum Kind {
    Bytes,
    Model {
        tokenizer: Arc<tokenizers::Tokenizer>,
        id: String,
        /// The file it was read from.
        json: Arc<[u8]>,
        /// What stands for text without a token.
        unknown: Option<u32>,
        /// Whether every byte of a text is a byte of its tokens.
        byte_level: bool,
    },
}

impl Tokenizer {
    /// Takes each byte as a token.
    pub fn bytes() -> Self {
        Self {
            kind: Kind::Bytes,
            vocab: 256,
        }
    }

    /// Trains a byte-level BPE of at most `vocab` entries on texts, or takes it from the cache.
    ///
    /// Every byte is an entry, so any text can be encoded and decodes to itself. Texts too short
    /// for the merges asked for give fewer entries, with a warning.
    ///
    /// # Errors
    /// If `vocab` has no room for a merge, or the cache cannot be written.
    pub fn bpe(vocab: usize, texts: &[&str], cache: &Path) -> Result<Self, DataError> {
        if !(257..=1 << 24).contains(&vocab) {
            let rule = "BPE needs 257 entries or more: 256 bytes and a merge; `bytes` takes none";
            return Err(DataError::Vocab { vocab, rule });
        }
        let mut key = Sha256::new_with_prefix(TRAINER);
        key.update((vocab as u64).to_le_bytes());
        texts
            .iter()
            .for_each(|text| key.update(Sha256::digest(text)));
        let path = cache.join(format!("bpe-{}.json", &digest::hex(&key.finalize())[..32]));
        let entry = match Entry::open(&path) {
            Some(entry) => entry,
            None => Entry::write(&path, train(vocab, texts)?.as_bytes())?,
        };
        let tokenizer = Self::from_json(entry.body(), &path)?;
        if tokenizer.vocab < vocab {
            tracing::warn!(
                "the text has merges for {} of {vocab} entries",
                tokenizer.vocab
            );
        }
        Ok(tokenizer)
    }

    /// Reads an existing `tokenizer.json`.
    ///
    /// Its truncation and padding are switched off and no special tokens are added: a corpus is one
    /// long text.
    ///
    /// # Errors
    /// If the file cannot be read, is not a tokenizer, or draws at random (BPE dropout).
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let json = std::fs::read(path).map_err(|source| DataError::reading(path, source))?;
        Self::from_json(&json, path)
    }

    fn from_json(json: &[u8], path: &Path) -> Result<Self, DataError> {
        let unusable = |reason: String| DataError::TokenizerFile {
            path: path.into(),
            reason,
        };
        let not_one = |error: String| {
            let right = "give a `tokenizer.json` as the tokenizers library saves it";
            unusable(format!("{error}; {right}"))
        };
        if let Some(length) = longest_added(json) {
            return Err(unusable(format!(
                "one of its added tokens is {length} bytes long, and every text is searched for it"
            )));
        }
        let mut tokenizer = quietly(|| tokenizers::Tokenizer::from_bytes(json))
            .map_err(|panicked| not_one(panicked.to_string()))?
            .map_err(|error| not_one(error.to_string()))?;
        if let tokenizers::ModelWrapper::BPE(bpe) = tokenizer.get_model()
            && bpe.dropout.is_some_and(|dropout| dropout > 0.0)
        {
            let reason = "its BPE dropout gives other tokens each time; set `dropout` to null";
            return Err(unusable(reason.into()));
        }
        tokenizer
            .with_truncation(None)
            .map_err(|error| unusable(error.to_string()))?;
        tokenizer.with_padding(None);
        // Ids may have gaps; a model's tables must reach the largest.
        let entries = tokenizer.get_vocab(true);
        let Some((entry, largest)) = entries.iter().max_by_key(|(_, id)| **id) else {
            return Err(unusable("it has no entries".into()));
        };
        let vocab = *largest as usize + 1;
        if vocab > MOST_ENTRIES {
            return Err(unusable(format!(
                "its entry `{entry}` has the id {largest}, and a model has a row for every id up to it: \
                 number the {} entries from 0",
                entries.len()
            )));
        }
        if let Some((id, [one, other])) = shared_id(&entries) {
            return Err(unusable(format!(
                "its entries `{one}` and `{other}` have one id, {id}: what a token stands for cannot be \
                 told; give each an id of its own"
            )));
        }
        if tokenizer.get_decoder().is_none() {
            let decoder = own_decoder(&tokenizer);
            tokenizer.with_decoder(decoder);
        }
        Ok(Self {
            kind: Kind::Model {
                unknown: unknown(json, &tokenizer),
                byte_level: is_byte_level(&tokenizer),
                tokenizer: Arc::new(tokenizer),
                id: digest::sha256(json),
                json: json.into(),
            },
            vocab,
        })
    }

    /// Returns the number of entries: one more than the largest id.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Returns a text that is equal for tokenizers that give equal ids.
    pub(super) fn identity(&self) -> &str {
        match &self.kind {
            Kind::Bytes => "bytes",
            Kind::Model { id, .. } => id,
        }
    }

    /// Returns the `tokenizer.json` that gives the same ids; `None` where a byte is a token.
    pub fn json(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Bytes => None,
            Kind::Model { json, .. } => Some(json),
        }
    }

    /// Returns the token that stands for text without one.
    pub(super) fn unknown(&self) -> Option<u32> {
        match &self.kind {
            Kind::Bytes => None,
            Kind::Model { unknown, .. } => *unknown,
        }
    }

    /// Says whether any text comes back from its tokens byte by byte.
    pub(super) fn is_lossless(&self) -> bool {
        match &self.kind {
            Kind::Bytes => true,
            Kind::Model { byte_level, .. } => *byte_level,
        }
    }

    /// Turns text into token ids.
    ///
    /// Long text is encoded in pieces of about 256 KiB, in parallel. Pieces end before white space
    /// that follows something else, where byte-level BPE never joins, so the ids are those of the
    /// whole text; a tokenizer that puts something before a text does so at each piece.
    ///
    /// # Errors
    /// If the tokenizer has no token for a part of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        self.encode_pieces(text, |_, _| ()).map(|(ids, _)| ids)
    }

    /// Turns text into token ids, and counts what is lost of it.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub(super) fn encode_counting(&self, text: &str) -> Result<(Vec<u32>, Lost), DataError> {
        let (ids, lost) = self.encode_pieces(text, |piece, ids| self.lost(piece, ids))?;
        Ok((ids, lost.into_iter().sum()))
    }

    /// Encodes text piece by piece, and finds something about each.
    fn encode_pieces<T: Send>(
        &self,
        text: &str,
        find: impl Fn(&str, &[u32]) -> T + Sync,
    ) -> Result<(Vec<u32>, Vec<T>), DataError> {
        let Kind::Model { tokenizer, .. } = &self.kind else {
            let ids: Vec<u32> = text.bytes().map(u32::from).collect();
            let found = find(text, &ids);
            return Ok((ids, vec![found]));
        };
        let progress = Progress::new(text.len());
        let pieces: Vec<(Vec<u32>, T)> = pieces(text, PIECE)
            .into_par_iter()
            .map(|piece| {
                let ids = tokenizer.encode_fast(piece, false)?.get_ids().to_vec();
                let found = find(piece, &ids);
                progress.add(piece.len());
                Ok((ids, found))
            })
            .collect::<tokenizers::Result<_>>()
            .map_err(|error| DataError::Tokenizer {
                action: "to encode",
                reason: error.to_string(),
            })?;
        let (ids, found): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        Ok((ids.concat(), found))
    }

    /// Turns token ids into text; bytes that are no UTF-8 become replacement characters.
    ///
    /// # Errors
    /// If the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        match &self.kind {
            Kind::Bytes => {
                let bytes: Vec<u8> = ids.iter().map(|&id| id as u8).collect();
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Kind::Model { tokenizer, .. } => {
                tokenizer
                    .decode(ids, false)
                    .map_err(|error| DataError::Tokenizer {
                        action: "to decode",
                        reason: error.to_string(),
                    })
            }
        }
    }

    /// Returns the text of one token, to show it: part of a character is shown by the
    /// vocabulary's own name for it.
    pub fn token_text(&self, id: u32) -> String {
        match &self.kind {
            Kind::Bytes => match u8::try_from(id) {
                Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
                _ => format!("\\x{id:02x}"),
            },
            Kind::Model { tokenizer, .. } => match tokenizer.decode(&[id], false) {
                Ok(text) if !text.is_empty() && !text.contains('\u{fffd}') => text,
                _ => tokenizer
                    .id_to_token(id)
                    .unwrap_or_else(|| format!("<{id}>")),
            },
        }
    }

    /// Returns the bytes each id stands for; `None` where that depends on the text.
    pub(super) fn byte_lengths(&self) -> Option<Vec<u32>> {
        let tokenizer = match &self.kind {
            Kind::Bytes => return Some(vec![1; 256]),
            Kind::Model { byte_level, .. } if !byte_level => return None,
            Kind::Model { tokenizer, .. } => tokenizer,
        };
        let added = tokenizer.get_added_tokens_decoder();
        let length = |id: u32| match added.get(&id) {
            Some(token) => token.content.len(),
            // A byte-level vocabulary writes each byte as one character.
            None => tokenizer
                .id_to_token(id)
                .map_or(0, |text| text.chars().count()),
        };
        Some((0..self.vocab as u32).map(|id| length(id) as u32).collect())
    }
}

/// Says how far the encoding of a long text is.
struct Progress {
    start: Instant,
    bytes: usize,
    done: AtomicU64,
    /// Seconds after the start at which it was last said.
    said: AtomicU64,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(5);

    fn new(bytes: usize) -> Self {
        Self {
            start: Instant::now(),
            bytes,
            done: AtomicU64::new(0),
            said: AtomicU64::new(0),
        }
    }

    fn add(&self, bytes: usize) {
        let done = self.done.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let now = self.start.elapsed().as_secs();
        let said = self.said.load(Ordering::Relaxed);
        let is_due = now >= said + Self::EVERY.as_secs();
        let (own, other) = (Ordering::Relaxed, Ordering::Relaxed);
        if is_due && self.said.compare_exchange(said, now, own, other).is_ok() {
            let percent = 100 * done / self.bytes.max(1) as u64;
            tracing::info!(target: "progress", "tokenising {} bytes: {percent}%", self.bytes);
        }
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab", &self.vocab)
            .finish_non_exhaustive()
    }
}

/// Cuts text into pieces of about `size` bytes, each but the first beginning with the first of a
/// run of white space if there is one in reach.
pub(super) fn pieces(text: &str, size: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > size {
        let from = rest.ceil_char_boundary(size);
        let to = rest.ceil_char_boundary(2 * size);
        let mut black = false;
        let cut = rest[from..to].find(|c: char| {
            let begins = c.is_whitespace() && black;
            black = !c.is_whitespace();
            begins
        });
        let (piece, later) = rest.split_at(cut.map_or(from, |cut| from + cut));
        pieces.push(piece);
        rest = later;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "the cat sat on the mat, the dog sat on the log; \
        a rat that ate the malt\n\n  the cat, 的猫 的猫 的猫 ate the rat that ate the malt\r\n";

    fn bpe(vocab: usize, text: &str) -> Tokenizer {
        let cache = tempfile::tempdir().unwrap();
        Tokenizer::bpe(vocab, &[text], cache.path()).unwrap()
    }

    #[test]
    fn bytes_are_their_own_ids() {
        let bytes = Tokenizer::bytes();
        assert_eq!(bytes.encode("aé").unwrap(), [0x61, 0xc3, 0xa9]);
        assert_eq!(bytes.decode(&[0x61, 0xc3, 0xa9]).unwrap(), "aé");
        assert_eq!(
            (bytes.token_text(0x61), bytes.token_text(0xc3)),
            ("a".into(), "\\xc3".into())
        );
    }

    #[test]
    fn bpe_compresses_what_it_was_trained_on() {
        let bpe = bpe(300, TEXT);
        assert!(bpe.vocab() > 270 && bpe.vocab() <= 300);
        let ids = bpe.encode(TEXT).unwrap();
        assert!(ids.len() * 2 < TEXT.len());
        assert_eq!(bpe.decode(&ids).unwrap(), TEXT);
        assert_eq!(
            ids.iter().map(|&id| bpe.token_text(id)).collect::<String>(),
            TEXT
        );
        let lengths = bpe.byte_lengths().unwrap();
        assert_eq!(
            ids.iter().map(|&id| lengths[id as usize]).sum::<u32>(),
            TEXT.len() as u32
        );
    }

    #[test]
    fn training_again_gives_the_same_file() {
        // Few letters make many equal counts, where hash order could show.
        let text: String = (0u32..20_000)
            .map(|i| ['a', 'b', 'c', ' '][(i.wrapping_mul(2_654_435_761) >> 13) as usize % 4])
            .collect();
        for text in [TEXT, &text] {
            let first = train(600, &[text, TEXT]).unwrap();
            assert!((0..8).all(|_| train(600, &[text, TEXT]).unwrap() == first));
            let one_thread = rayon::ThreadPoolBuilder::new()
                .num_threads(1)
                .build()
                .unwrap();
            assert_eq!(
                one_thread.install(|| train(600, &[text, TEXT]).unwrap()),
                first
            );
        }
    }

    #[test]
    fn training_is_taken_from_the_cache() {
        let cache = tempfile::tempdir().unwrap();
        Tokenizer::bpe(280, &[TEXT], cache.path()).unwrap();
        let file = std::fs::read_dir(cache.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        // A sound entry with other content shows whether it is used.
        let fewer = train(260, &[TEXT]).unwrap();
        Entry::write(&file, fewer.as_bytes()).unwrap();
        assert_eq!(
            Tokenizer::bpe(280, &[TEXT], cache.path()).unwrap().vocab(),
            260
        );
        std::fs::write(&file, "damaged").unwrap();
        assert_eq!(
            Tokenizer::bpe(280, &[TEXT], cache.path()).unwrap().vocab(),
            280
        );
    }

    #[test]
    fn a_vocabulary_without_room_for_a_merge_is_refused() {
        let cache = tempfile::tempdir().unwrap();
        let error = Tokenizer::bpe(256, &[TEXT], cache.path()).unwrap_err();
        assert!(error.to_string().contains("257 entries or more"), "{error}");
    }

    #[test]
    fn an_existing_file_is_read_without_its_truncation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let json = train(280, &[TEXT]).unwrap();
        let truncating = json.replace(
            "\"truncation\":null",
            "\"truncation\":{\"direction\":\"Right\",\"max_length\":4,\
             \"strategy\":\"LongestFirst\",\"stride\":0}",
        );
        assert_ne!(json, truncating);
        std::fs::write(&path, truncating).unwrap();
        let tokenizer = Tokenizer::open(&path).unwrap();
        assert_eq!(
            tokenizer.decode(&tokenizer.encode(TEXT).unwrap()).unwrap(),
            TEXT
        );
        assert_eq!(tokenizer.vocab(), 280);
    }

    #[test]
    fn files_that_are_no_fixed_tokenizer_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        assert!(matches!(
            Tokenizer::open(&path),
            Err(DataError::Missing { .. })
        ));
        assert!(matches!(
            Tokenizer::open(folder.path()),
            Err(DataError::Directory { .. })
        ));
        let random = train(280, &[TEXT])
            .unwrap()
            .replace("\"dropout\":null", "\"dropout\":0.1");
        let long = format!(
            r#"{{"added_tokens": [{{"content": "{}"}}]}}"#,
            "? ".repeat(1000)
        );
        let shared = r#"{"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel",
            "vocab": {"a": 0, "b": 0}, "unk_token": "a"}}"#;
        let panics = shared.replace("\"added", "\"decoder\": 7, \"added");
        for (content, reason) in [
            ("{}", "as the tokenizers library saves it"),
            (&random, "dropout"),
            (&long, "2000 bytes long"),
            (shared, "`a` and `b` have one id, 0"),
            (&panics, "as the tokenizers library saves it"),
        ] {
            std::fs::write(&path, content).unwrap();
            let error = Tokenizer::open(&path).unwrap_err();
            assert!(matches!(error, DataError::TokenizerFile { .. }));
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_comes_back(text in ".{0,200}") {
            thread_local!(static BPE: Tokenizer = bpe(300, TEXT));
            let back = BPE.with(|bpe| bpe.decode(&bpe.encode(&text).unwrap()).unwrap());
            prop_assert_eq!(back, text);
        }

        #[test]
        fn pieces_give_the_ids_of_the_whole(
            text in "[a-d'的 \n\t.0-3]{0,400}",
            size in 20usize..60,
        ) {
            thread_local!(static BPE: Tokenizer = bpe(300, TEXT));
            let cut = pieces(&text, size);
            prop_assert_eq!(cut.concat(), text.clone());
            // A stretch without white space has to be cut somewhere.
            let clean = cut[1..].iter().all(|piece| piece.starts_with(char::is_whitespace));
            if clean {
                let (parts, whole) = BPE.with(|bpe| {
                    let parts: Vec<_> = cut.iter().map(|p| bpe.encode(p).unwrap()).collect();
                    (parts.concat(), bpe.encode(&text).unwrap())
                });
                prop_assert_eq!(parts, whole);
            }
        }
    }
}
