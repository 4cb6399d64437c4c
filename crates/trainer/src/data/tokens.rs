//! Token files as nanoGPT and llm.c write them, mapped into memory and never copied.
//!
//! # Source
//! nanoGPT's `data/*/prepare.py` writes raw little-endian integers. llm.c's
//! `dev/data/data_common.py` puts 256 int32 before them: a magic number, a version, and the number
//! of tokens.

use super::cache::Entry;
use super::stream::{TokenStream, bytes, map_file};
use super::{DataError, Dataset, fingerprint};
use experiment::digest;
use experiment::run::{DataFacts, TokenWidth};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Bytes of llm.c's header.
const HEADER: usize = 256 * 4;

/// llm.c's magic number, version and width, for each form it writes.
const LLM_C: [(u32, u32, TokenWidth); 2] = [
    (20_240_520, 1, TokenWidth::U16),
    (20_240_801, 7, TokenWidth::U32),
];

/// A token file: the stream, and what its errors have to name.
struct TokenFile {
    path: PathBuf,
    map: Arc<memmap2::Mmap>,
    /// Bytes before the first token.
    offset: usize,
    width: TokenWidth,
    len: u64,
}

/// Opens and checks token files; the scan of their ids is done once and cached.
pub(super) fn prepare(
    train: &Path,
    validation: Option<&Path>,
    width: TokenWidth,
    vocab: usize,
    share: f64,
    cache: &Path,
) -> Result<Dataset, DataError> {
    if vocab < 2 {
        return Err(DataError::Vocab {
            vocab,
            rule: "give the number of ids the file may hold",
        });
    }
    let file = TokenFile::open(train, width)?;
    let (train, validation) = match validation {
        Some(path) => {
            let held_out = TokenFile::open(path, width)?;
            (
                file.part(0, file.len, vocab, cache)?,
                held_out.part(0, held_out.len, vocab, cache)?,
            )
        }
        None => {
            let cut = (file.len as f64 * (1.0 - share)) as u64;
            if cut >= file.len {
                return Err(DataError::Share {
                    share,
                    split: "held-out",
                });
            }
            if cut == 0 {
                return Err(DataError::Share {
                    share,
                    split: "training",
                });
            }
            (
                file.part(0, cut, vocab, cache)?,
                file.part(cut, file.len, vocab, cache)?,
            )
        }
    };
    let facts = DataFacts {
        fingerprint: fingerprint(vocab, &train.1, &validation.1),
        vocab,
        train_tokens: train.0.len(),
        validation_tokens: validation.0.len(),
        bytes_per_token: None,
        entropy_floor: None,
    };
    Ok(Dataset::new(facts, train.0, validation.0))
}

impl TokenFile {
    fn open(path: &Path, width: TokenWidth) -> Result<Self, DataError> {
        let wrong = |reason: String| DataError::TokenFile {
            path: path.into(),
            reason,
        };
        let map = map_file(path)?;
        let word = |index: usize| -> Option<u32> {
            let bytes = map.get(4 * index..4 * index + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let token = bytes(width);
        let form = word(0).and_then(|magic| LLM_C.into_iter().find(|form| form.0 == magic));
        let offset = match form {
            None => 0,
            Some((magic, version, stored)) => {
                if map.len() < HEADER {
                    return Err(wrong(format!(
                        "its first number {magic} is llm.c's, whose header takes {HEADER} bytes, \
                         but the file has {}",
                        map.len()
                    )));
                }
                let found = word(1).unwrap_or_default();
                if found != version {
                    return Err(wrong(format!(
                        "its llm.c header has version {found}; {version} can be read"
                    )));
                }
                if stored != width {
                    return Err(wrong(format!(
                        "its llm.c header says {}-byte tokens, the declared width is {token} bytes",
                        bytes(stored)
                    )));
                }
                let declared = word(2).unwrap_or_default() as usize;
                if declared.checked_mul(token) != Some(map.len() - HEADER) {
                    return Err(wrong(format!(
                        "its llm.c header promises {declared} tokens of {token} bytes, {} bytes \
                         follow; it may be cut off",
                        map.len() - HEADER
                    )));
                }
                HEADER
            }
        };
        let payload = map.len() - offset;
        if payload == 0 {
            return Err(DataError::Empty { path: path.into() });
        }
        if !payload.is_multiple_of(token) {
            return Err(wrong(format!(
                "{payload} bytes are no whole number of {token}-byte tokens; check `width`"
            )));
        }
        let len = (payload / token) as u64;
        Ok(Self {
            path: path.into(),
            map: Arc::new(map),
            offset,
            width,
            len,
        })
    }

    /// Views tokens `start..end` and returns their digest, once all ids are known to be inside
    /// the vocabulary.
    fn part(
        &self,
        start: u64,
        end: u64,
        vocab: usize,
        cache: &Path,
    ) -> Result<(TokenStream, [u8; 32]), DataError> {
        let offset = self.offset + start as usize * bytes(self.width);
        let stream = TokenStream::mapped(self.map.clone(), offset, self.width, end - start);
        let entry = cache.join(format!("scan-{}", self.scan_key(start, end, vocab)?));
        let known = Entry::open(&entry).and_then(|entry| entry.body().try_into().ok());
        if let Some(digest) = known {
            return Ok((stream, digest));
        }
        if let Some((position, token)) = stream.first_outside(vocab) {
            let position = start + position;
            let offset = self.offset as u64 + position * bytes(self.width) as u64;
            let path = self.path.clone();
            return Err(DataError::OutOfVocab {
                path,
                token,
                position,
                offset,
                vocab,
            });
        }
        let digest = stream.digest();
        Entry::write(&entry, &digest)?;
        Ok((stream, digest))
    }

    /// Names a scan by the file's place, length and time of change, so that a file of many
    /// gigabytes is read through once, not once a process.
    fn scan_key(&self, start: u64, end: u64, vocab: usize) -> Result<String, DataError> {
        let failed = |source| DataError::reading(&self.path, source);
        let place = self.path.canonicalize().map_err(failed)?;
        let changed = fs::metadata(&place)
            .and_then(|meta| meta.modified())
            .map_err(failed)?;
        let changed = changed
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        let mut key = Sha256::new_with_prefix(place.as_os_str().as_encoded_bytes());
        key.update(format!(
            "|{}|{changed}|{}|{start}|{end}|{vocab}",
            self.map.len(),
            bytes(self.width)
        ));
        Ok(digest::hex(&key.finalize())[..32].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, name: &str, content: &[u8]) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, content).unwrap();
            path
        }

        fn prepare(
            &self,
            train: &Path,
            width: TokenWidth,
            vocab: usize,
        ) -> Result<Dataset, DataError> {
            prepare(
                train,
                None,
                width,
                vocab,
                0.25,
                &self.0.path().join("cache"),
            )
        }
    }

    fn raw(ids: impl IntoIterator<Item = u32>, width: TokenWidth) -> Vec<u8> {
        ids.into_iter()
            .flat_map(|id| id.to_le_bytes().into_iter().take(bytes(width)))
            .collect()
    }

    fn llm_c(header: [u32; 3], payload: &[u8]) -> Vec<u8> {
        let mut file = raw(header, TokenWidth::U32);
        file.resize(HEADER, 0);
        file.extend(payload);
        file
    }

    fn ids(stream: &TokenStream) -> Vec<u32> {
        let mut ids = vec![0; stream.len() as usize];
        stream.copy_range(0, &mut ids);
        ids
    }

    #[test]
    fn the_tail_of_a_raw_file_is_held_out() {
        let folder = Folder::new();
        let path = folder.file("a.bin", &raw(0..100, TokenWidth::U16));
        let data = folder.prepare(&path, TokenWidth::U16, 100).unwrap();
        assert_eq!(ids(&data.train), (0..75).collect::<Vec<_>>());
        assert_eq!(ids(&data.validation), (75..100).collect::<Vec<_>>());
        assert_eq!(
            (data.facts.train_tokens, data.facts.validation_tokens),
            (75, 25)
        );
        assert!(data.facts.bytes_per_token.is_none() && data.bytes(&[1]).is_none());
        assert!(matches!(data.encode("text"), Err(DataError::NoText)));
    }

    #[test]
    fn both_llm_c_forms_are_recognised_and_equal_the_raw_file() {
        let folder = Folder::new();
        let raw_file = folder.file("raw.bin", &raw(0..100, TokenWidth::U16));
        let raw_data = folder.prepare(&raw_file, TokenWidth::U16, 100).unwrap();
        for (magic, version, width) in LLM_C {
            let content = llm_c([magic, version, 100], &raw(0..100, width));
            let path = folder.file("llm.bin", &content);
            let data = folder.prepare(&path, width, 100).unwrap();
            assert_eq!(ids(&data.validation), ids(&raw_data.validation));
            assert_eq!(data.facts, raw_data.facts);
        }
    }

    #[test]
    fn a_validation_file_is_used_whole() {
        let folder = Folder::new();
        let train = folder.file("train.bin", &raw(0..50, TokenWidth::U16));
        let validation = folder.file("val.bin", &raw(50..60, TokenWidth::U16));
        let cache = folder.0.path().join("cache");
        let data = prepare(&train, Some(&validation), TokenWidth::U16, 60, 0.0, &cache).unwrap();
        assert_eq!(
            (data.train.len(), ids(&data.validation)),
            (50, (50..60).collect())
        );
    }

    #[test]
    fn a_token_outside_the_vocabulary_is_placed() {
        let folder = Folder::new();
        let (magic, version, width) = LLM_C[1];
        let content = llm_c([magic, version, 100], &raw(0..100, width));
        let path = folder.file("llm.bin", &content);
        // Twice: a failed scan must not be taken from the cache as a passed one.
        for _ in 0..2 {
            let error = folder.prepare(&path, width, 80).unwrap_err();
            assert!(matches!(
                error,
                DataError::OutOfVocab {
                    token: 80,
                    position: 80,
                    offset: 1344,
                    vocab: 80,
                    ..
                }
            ));
            assert!(
                error
                    .to_string()
                    .contains("llm.bin` holds token 80 at position 80")
            );
        }
    }

    #[test]
    fn the_scan_is_cached_until_the_file_changes() {
        let folder = Folder::new();
        let path = folder.file("a.bin", &raw(0..100, TokenWidth::U16));
        let first = folder.prepare(&path, TokenWidth::U16, 200).unwrap().facts;
        assert_eq!(
            fs::read_dir(folder.0.path().join("cache")).unwrap().count(),
            2
        );
        assert_eq!(
            folder.prepare(&path, TokenWidth::U16, 200).unwrap().facts,
            first
        );
        fs::write(&path, raw(1..102, TokenWidth::U16)).unwrap();
        assert_ne!(
            folder.prepare(&path, TokenWidth::U16, 200).unwrap().facts,
            first
        );
    }

    #[test]
    fn contradicting_files_are_refused_with_the_reason() {
        let folder = Folder::new();
        let (magic, version, width) = LLM_C[0];
        let payload = raw(0..100, width);
        let cases: [(&str, Vec<u8>, TokenWidth, &str); 6] = [
            (
                "odd.bin",
                vec![0; 7],
                TokenWidth::U16,
                "7 bytes are no whole number of 2-byte",
            ),
            (
                "stub.bin",
                raw([magic], TokenWidth::U32),
                width,
                "whose header takes 1024 bytes",
            ),
            (
                "old.bin",
                llm_c([magic, 9, 100], &payload),
                width,
                "has version 9; 1 can be read",
            ),
            (
                "wide.bin",
                llm_c([magic, version, 100], &payload),
                TokenWidth::U32,
                "says 2-byte tokens, the declared width is 4 bytes",
            ),
            (
                "cut.bin",
                llm_c([magic, version, 101], &payload),
                width,
                "promises 101 tokens of 2 bytes, 200 bytes follow",
            ),
            (
                "head.bin",
                llm_c([magic, version, 0], &[]),
                width,
                "is empty",
            ),
        ];
        for (name, content, width, reason) in cases {
            let path = folder.file(name, &content);
            let error = folder
                .prepare(&path, width, 1 << 16)
                .unwrap_err()
                .to_string();
            assert!(error.contains(name) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn missing_and_unfit_paths_and_numbers_are_refused() {
        let folder = Folder::new();
        let prepared = |path: &Path| folder.prepare(path, TokenWidth::U16, 100).unwrap_err();
        assert!(matches!(
            prepared(Path::new("none.bin")),
            DataError::Missing { .. }
        ));
        assert!(matches!(
            prepared(folder.0.path()),
            DataError::Directory { .. }
        ));
        let empty = folder.file("empty.bin", b"");
        assert!(matches!(prepared(&empty), DataError::Empty { .. }));

        let path = folder.file("a.bin", &raw(0..100, TokenWidth::U16));
        let cache = folder.0.path().join("cache");
        for share in [0.0, -1.0, 1.0, 1.5, f64::NAN] {
            let error = prepare(&path, None, TokenWidth::U16, 100, share, &cache).unwrap_err();
            assert!(matches!(error, DataError::Share { .. }), "{share}: {error}");
        }
        let error = folder.prepare(&path, TokenWidth::U16, 0).unwrap_err();
        assert!(matches!(error, DataError::Vocab { vocab: 0, .. }));
    }
}
