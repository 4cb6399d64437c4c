//! A token file as nanoGPT, llm.c or NumPy writes it: where its tokens lie, and whether it is one.
//!
//! # Source
//! nanoGPT's `data/*/prepare.py` writes raw little-endian integers. llm.c's
//! `dev/data/data_common.py` puts 256 int32 before them: a magic number, a version, and the number
//! of tokens; modded-nanogpt's files are of the same form.

use super::doubt::Doubts;
use super::magic::{self, Magic};
use super::stream::{Part, map_file};
use super::tokens::Asked;
use super::{DataError, guise, npy};
use experiment::run::TokenWidth;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Bytes of llm.c's header.
pub(super) const HEADER: usize = 256 * 4;

/// llm.c's magic number, version and width, for each form it writes tokens in.
pub(super) const LLM_C: [(u32, u32, TokenWidth); 2] = [
    (20_240_520, 1, TokenWidth::U16),
    (20_240_801, 7, TokenWidth::U32),
];

/// llm.c's magic numbers are dates; those of its other files, and of what is made after it, lie here.
const DATES: std::ops::Range<u32> = 20_230_000..20_400_000;

/// A token file: its tokens, and what its errors have to name.
pub(super) struct TokenFile {
    pub(super) path: PathBuf,
    pub(super) part: Part,
    /// Tokens of the file before the part.
    pub(super) before: u64,
    pub(super) form: &'static str,
}

impl TokenFile {
    pub(super) fn open(path: &Path, asked: &Asked, doubts: &mut Doubts) -> Result<Self, DataError> {
        let wrong = |reason: String| DataError::TokenFile {
            path: path.into(),
            reason,
        };
        let map = map_file(path)?;
        let known = magic::recognise(&map);
        let header = match (llm_c(&map).map_err(wrong)?, known) {
            (Some((offset, width)), _) => Some(("llm.c", offset, width)),
            (None, Some(Magic::Numpy)) => {
                let array = npy::read(&map).map_err(wrong)?;
                Some(("NumPy", array.offset, array.width))
            }
            (None, _) => None,
        };
        let (form, offset, width) = match (header, asked.width) {
            (Some((form, _, stored)), Some(declared)) if stored != declared => {
                return Err(wrong(format!(
                    "its {form} header says {}-byte tokens, the declared width is {} bytes; leave \
                     `width` out",
                    stored.bytes(),
                    declared.bytes()
                )));
            }
            (Some(header), _) => header,
            (None, width) => ("raw", 0, width.unwrap_or(TokenWidth::U16)),
        };
        let payload = &map[offset..];
        if payload.is_empty() {
            return Err(DataError::Empty { path: path.into() });
        }
        let token = width.bytes();
        if header.is_none() {
            look(path, known, payload, width, asked.vocab, doubts)?;
        }
        if !payload.len().is_multiple_of(token) {
            return Err(wrong(format!(
                "{} bytes are no whole number of {token}-byte tokens; check `width`",
                payload.len()
            )));
        }
        if asked.vocab as u64 > 1 << (8 * token).min(63) {
            let ids = (1u64 << (8 * token)) - 1;
            let looks = format!(
                "has {token}-byte tokens, which hold ids up to {ids}, and `vocab` is {}",
                asked.vocab
            );
            let right = match header {
                None => "check `width`: larger vocabularies are stored as `u32`",
                Some(_) => "its ids were cut off if they are of that vocabulary: write it again",
            };
            doubts.raise(path, looks, right.into())?;
        }
        unwritten(path, payload, token, doubts)?;
        let len = (payload.len() / token) as u64;
        let part = Part {
            map: Arc::new(map),
            offset,
            width,
            len,
        };
        let path = path.into();
        Ok(Self {
            path,
            part,
            before: 0,
            form,
        })
    }

    /// Names what a scan of this part would find: by the file's place, length and time of change, so
    /// that a file of many gigabytes is read through once, not once a process.
    pub(super) fn scan_key(&self) -> Result<Vec<u8>, DataError> {
        let failed = |source| DataError::reading(&self.path, source);
        let place = self.path.canonicalize().map_err(failed)?;
        let changed = fs::metadata(&place)
            .and_then(|meta| meta.modified())
            .map_err(failed)?;
        let changed = changed
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let part = &self.part;
        let (size, width) = (part.map.len(), part.width.bytes());
        let rest = format!("|{size}|{changed}|{width}|{}|{}|", part.offset, part.len);
        Ok([place.as_os_str().as_encoded_bytes(), rest.as_bytes()].concat())
    }

    /// Places an id outside the vocabulary, and says in which form of file there would be none.
    pub(super) fn outside(&self, position: u64, vocab: usize) -> DataError {
        let Part {
            map, offset, width, ..
        } = &self.part;
        let at = offset + position as usize * width.bytes();
        let bytes = &map[at..at + width.bytes()];
        let token = match width {
            TokenWidth::I64 => bytes.try_into().map_or(i64::MAX, i64::from_le_bytes),
            _ => bytes
                .iter()
                .rev()
                .fold(0, |id, byte| id << 8 | i64::from(*byte)),
        };
        let fitting = guise::fitting(&map[*offset..], *width, vocab).filter(|_| self.form == "raw");
        DataError::OutOfVocab {
            path: self.path.clone(),
            token,
            position: self.before + position,
            offset: at as u64,
            vocab,
            advice: match fitting {
                Some(layout) => format!("it looks like {layout}: {}", layout.advice()),
                None => "give the tokenizer's real `vocab` or check `width`".into(),
            },
        }
    }
}

/// Reads llm.c's header: where tokens begin, and their width; `None` where there is none.
fn llm_c(bytes: &[u8]) -> Result<Option<(usize, TokenWidth)>, String> {
    let word = |index: usize| -> Option<u32> {
        let bytes = bytes.get(4 * index..4 * index + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let Some(magic) = word(0) else {
        return Ok(None);
    };
    if LLM_C.iter().any(|form| form.0 == magic.swap_bytes()) {
        return Err("its llm.c header is big-endian; write the file again, little-endian".into());
    }
    let Some((_, version, width)) = LLM_C.into_iter().find(|form| form.0 == magic) else {
        // Most of the 256 numbers are not used.
        let empty = (64..256).all(|index| word(index) == Some(0));
        return if empty && DATES.contains(&magic) {
            Err(format!(
                "it begins with a header of {HEADER} bytes as llm.c's files do, but {magic} is not the \
                 mark of its tokens"
            ))
        } else {
            Ok(None)
        };
    };
    if bytes.len() < HEADER {
        return Err(format!(
            "its first number {magic} is llm.c's, whose header takes {HEADER} bytes, but the file has {}",
            bytes.len()
        ));
    }
    let found = word(1).unwrap_or_default();
    if found != version {
        return Err(format!(
            "its llm.c header has version {found}; {version} can be read"
        ));
    }
    let declared = word(2).unwrap_or_default() as usize;
    let (token, payload) = (width.bytes(), bytes.len() - HEADER);
    if declared.checked_mul(token) != Some(payload) {
        return Err(format!(
            "its llm.c header promises {declared} tokens of {token} bytes, {payload} bytes follow; it \
             may be cut off"
        ));
    }
    Ok(Some((HEADER, width)))
}

/// Doubts a file without a header whose bytes look like something else.
fn look(
    path: &Path,
    known: Option<Magic>,
    payload: &[u8],
    width: TokenWidth,
    vocab: usize,
    doubts: &mut Doubts,
) -> Result<(), DataError> {
    let packed = "unpack it: token files are mapped into memory";
    let other = match known {
        Some(Magic::Foreign(what, right)) => Some((what, right)),
        Some(Magic::Gzip) => Some(("compressed with gzip", packed)),
        Some(Magic::Zstd) => Some(("compressed with zstd", packed)),
        Some(Magic::Parquet) => Some((
            "a Parquet file",
            "name it under `data.text`, or save its ids with `np.save`",
        )),
        Some(Magic::Numpy) | None => None,
    };
    let found = match other {
        Some((what, right)) => Some((format!("is {what}"), right.to_owned())),
        None => guise::doubt(payload, width, vocab),
    };
    found.map_or(Ok(()), |(looks, right)| doubts.raise(path, looks, right))
}

/// Doubts a file that ends in many zeros: it was laid out, and not written to its end.
fn unwritten(
    path: &Path,
    payload: &[u8],
    token: usize,
    doubts: &mut Doubts,
) -> Result<(), DataError> {
    /// A last block may be padded.
    const PADDING: usize = 4096;
    let zeros = payload.iter().rev().take_while(|byte| **byte == 0).count() / token;
    let tokens = payload.len() / token;
    if zeros <= PADDING || zeros * 100 <= tokens {
        return Ok(());
    }
    let looks = format!(
        "ends in {zeros} zeros of {tokens} tokens, as a file that was not written to its end"
    );
    doubts.raise(path, looks, "write it again".into())
}
