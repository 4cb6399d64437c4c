//! Token files as nanoGPT, llm.c and NumPy write them, mapped into memory and never copied.
//!
//! # Source
//! nanoGPT's `data/*/prepare.py` writes raw little-endian integers. llm.c's
//! `dev/data/data_common.py` puts 256 int32 before them: a magic number, a version, and the number
//! of tokens; modded-nanogpt's files are of the same form.

use super::cache::Entry;
use super::doubt::Doubts;
use super::files::{Found, Purpose, find, listed, place};
use super::magic::{self, Magic};
use super::stream::{Part, TokenStream, map_file};
use super::summary::Summary;
use super::vocabulary::Vocabulary;
use super::{DataError, Dataset, fingerprint, guise, npy};
use experiment::digest;
use experiment::run::{DataFacts, Paths, TokenWidth};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Bytes of llm.c's header.
const HEADER: usize = 256 * 4;

/// llm.c's magic number, version and width, for each form it writes tokens in.
const LLM_C: [(u32, u32, TokenWidth); 2] = [
    (20_240_520, 1, TokenWidth::U16),
    (20_240_801, 7, TokenWidth::U32),
];

/// llm.c's magic numbers are dates; those of its other files, and of what is made after it, lie here.
const DATES: std::ops::Range<u32> = 20_230_000..20_400_000;

/// Endings of the files that a folder of tokens stands for.
const ENDINGS: [&str; 2] = [".bin", ".npy"];

/// What is asked of token files.
pub(super) struct Asked<'a> {
    pub(super) train: &'a Paths,
    pub(super) validation: Option<&'a Paths>,
    /// `None` takes what a file says, or else two bytes.
    pub(super) width: Option<TokenWidth>,
    pub(super) vocab: usize,
    /// Held out where no files are.
    pub(super) share: f64,
    pub(super) accept_doubtful: bool,
}

/// A token file: its tokens, and what its errors have to name.
struct TokenFile {
    path: PathBuf,
    part: Part,
    /// Tokens of the file before the part.
    before: u64,
    form: &'static str,
}

/// Files on each side, and what was decided about them.
struct Sides {
    train: Vec<PathBuf>,
    validation: Vec<PathBuf>,
    remarks: Vec<String>,
}

/// Opens and checks token files; the scan of their ids is done once and cached.
pub(super) fn prepare(asked: &Asked, cache: &Path) -> Result<Dataset, DataError> {
    let vocab = asked.vocab;
    if vocab < 2 {
        return Err(DataError::Vocab {
            vocab,
            rule: "give the number of ids the file may hold",
        });
    }
    let mut doubts = Doubts::new(asked.accept_doubtful);
    let sides = sides(asked, &mut doubts)?;
    let mut open = |paths: &[PathBuf]| {
        let files = paths
            .iter()
            .map(|path| TokenFile::open(path, asked, &mut doubts));
        files.collect::<Result<Vec<TokenFile>, _>>()
    };
    let (train, validation) = (open(&sides.train)?, open(&sides.validation)?);
    let bytes = |files: &[TokenFile]| {
        files
            .iter()
            .map(|file| file.part.map.len() as u64)
            .sum::<u64>()
    };
    let mut summary = Summary {
        files: train.len() + validation.len(),
        bytes: bytes(&train) + bytes(&validation),
        form: forms(train.iter().chain(&validation)),
        held_out: match validation.len() {
            0 => "the tail of each file".to_owned(),
            _ => listed(sides.validation.iter().map(PathBuf::as_path)),
        },
        remarks: sides.remarks,
        ..Summary::default()
    };
    let (train, validation) = if validation.is_empty() {
        split(train, asked.share)?
    } else {
        (train, validation)
    };
    let (train, train_scan) = scan(&train, vocab, cache)?;
    let (validation, validation_scan) = scan(&validation, vocab, cache)?;
    summary.warnings = doubts.warnings;
    let (tokens, largest) = (train.len(), train_scan.largest as usize);
    if tokens > 10 * vocab as u64 && (largest + 1) * 2 < vocab {
        summary.warnings.push(format!(
            "none of {tokens} training tokens is above {largest}, and `vocab` is {vocab}: is that the \
             tokenizer's size?"
        ));
    }
    let facts = DataFacts {
        fingerprint: fingerprint(vocab, &train_scan.digest, &validation_scan.digest),
        vocab,
        train_tokens: train.len(),
        validation_tokens: validation.len(),
        bytes_per_token: None,
        entropy_floor: None,
    };
    Ok(Dataset {
        summary,
        ..Dataset::new(facts, train, validation, Vocabulary::of_numbers(vocab))
    })
}

/// Finds the files of each side: nothing that is held out is trained on.
fn sides(asked: &Asked, doubts: &mut Doubts) -> Result<Sides, DataError> {
    let mut train = find(asked.train.as_slice(), &ENDINGS)?;
    let mut remarks = Vec::new();
    let mut validation: Vec<PathBuf> = Vec::new();
    if let Some(patterns) = asked.validation {
        let found = find(patterns.as_slice(), &ENDINGS)?;
        let places: HashSet<PathBuf> = found.iter().map(|file| place(&file.path)).collect();
        let both = |file: &Found| places.contains(&place(&file.path));
        if let Some(file) = train.iter().find(|file| file.by_name && both(file)) {
            let path = file.path.clone();
            return Err(DataError::BothSides { path });
        }
        train.retain(|file| !both(file));
        validation = found.into_iter().map(|file| file.path).collect();
    }
    // What a pattern brought in may be there by accident; a file named by itself was meant.
    let purpose = |file: &Found| Purpose::of(&file.path).filter(|_| !file.by_name);
    let named = |files: &[Found], wanted: Purpose| -> Vec<PathBuf> {
        let of = files.iter().filter(|file| purpose(file) == Some(wanted));
        of.map(|file| file.path.clone()).collect()
    };
    if train.iter().any(|file| purpose(file).is_none()) {
        for wanted in [Purpose::Validation, Purpose::Test] {
            let files = named(&train, wanted);
            train.retain(|file| purpose(file) != Some(wanted));
            if files.is_empty() {
                continue;
            }
            let all = listed(files.iter().map(PathBuf::as_path));
            if asked.validation.is_none() && wanted == Purpose::Validation {
                remarks.push(format!("named as validation sets and held out: {all}"));
                validation = files;
            } else {
                let name = wanted.name();
                remarks.push(format!("named as {name} sets and left out: {all}"));
            }
        }
    }
    for file in &train {
        if let Some(purpose) = Purpose::of(&file.path) {
            let (path, name) = (file.path.display(), purpose.name());
            let said = format!("`{path}` is named as a {name} set, and is trained on");
            doubts.warnings.push(said);
        }
    }
    if train.is_empty() {
        return Err(DataError::NoFiles);
    }
    Ok(Sides {
        train: train.into_iter().map(|file| file.path).collect(),
        validation,
        remarks,
    })
}

/// Says in which forms files are, each once.
fn forms<'a>(files: impl Iterator<Item = &'a TokenFile>) -> String {
    let mut forms: Vec<String> = Vec::new();
    for file in files {
        let form = format!("{} {}", file.form, file.part.width.name());
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms.join(", ")
}

/// Holds out the tail of each file.
fn split(files: Vec<TokenFile>, share: f64) -> Result<(Vec<TokenFile>, Vec<TokenFile>), DataError> {
    let (mut heads, mut tails) = (Vec::new(), Vec::new());
    for file in files {
        let len = file.part.len;
        let cut = ((len as f64 * (1.0 - share)) as u64).min(len);
        let piece = |start: u64, len: u64| TokenFile {
            path: file.path.clone(),
            part: Part {
                offset: file.part.offset + start as usize * file.part.width.bytes(),
                len,
                ..file.part.clone()
            },
            before: start,
            form: file.form,
        };
        heads.push(piece(0, cut));
        tails.push(piece(cut, len - cut));
    }
    for (files, split) in [(&mut heads, "training"), (&mut tails, "held-out")] {
        files.retain(|file| file.part.len > 0);
        if files.is_empty() {
            return Err(DataError::Share { share, split });
        }
    }
    Ok((heads, tails))
}

impl TokenFile {
    fn open(path: &Path, asked: &Asked, doubts: &mut Doubts) -> Result<Self, DataError> {
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
    fn scan_key(&self) -> Result<Vec<u8>, DataError> {
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
    fn outside(&self, position: u64, vocab: usize) -> DataError {
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

/// What reading all tokens of a side gave.
struct Scan {
    digest: [u8; 32],
    largest: u32,
}

/// Views files one after the other, once all ids are known to be inside the vocabulary.
fn scan(files: &[TokenFile], vocab: usize, cache: &Path) -> Result<(TokenStream, Scan), DataError> {
    let stream = TokenStream::mapped(files.iter().map(|file| file.part.clone()).collect());
    let mut key = Sha256::new_with_prefix(format!("scan 2|{vocab}|"));
    for file in files {
        key.update(file.scan_key()?);
    }
    let entry = cache.join(format!("scan-{}", &digest::hex(&key.finalize())[..32]));
    let known = Entry::open(&entry).and_then(|entry| {
        let (digest, largest) = entry.body().split_at_checked(32)?;
        Some(Scan {
            digest: digest.try_into().ok()?,
            largest: u32::from_le_bytes(largest.try_into().ok()?),
        })
    });
    if let Some(scan) = known {
        return Ok((stream, scan));
    }
    if let Some(mut position) = stream.first_outside(vocab) {
        for file in files {
            if position < file.part.len {
                return Err(file.outside(position, vocab));
            }
            position -= file.part.len;
        }
    }
    let scan = Scan {
        digest: stream.digest(),
        largest: stream.largest(),
    };
    let body = [&scan.digest[..], &scan.largest.to_le_bytes()].concat();
    Entry::write(&entry, &body)?;
    Ok((stream, scan))
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

        /// What is asked of a file where nothing is said but its vocabulary.
        fn prepare(&self, train: &Path, vocab: usize) -> Result<Dataset, DataError> {
            self.width(train, None, vocab)
        }

        fn width(
            &self,
            train: &Path,
            width: Option<TokenWidth>,
            vocab: usize,
        ) -> Result<Dataset, DataError> {
            let train = paths([train]);
            self.asked(&Asked {
                width,
                ..plainly(&train, vocab)
            })
        }

        fn asked(&self, asked: &Asked) -> Result<Dataset, DataError> {
            prepare(asked, &self.0.path().join("cache"))
        }
    }

    fn paths<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Paths {
        let paths = paths
            .into_iter()
            .map(|path| path.to_str().unwrap().to_owned());
        Paths::from(paths.collect::<Vec<_>>().as_slice())
    }

    fn plainly(train: &Paths, vocab: usize) -> Asked<'_> {
        Asked {
            train,
            validation: None,
            width: None,
            vocab,
            share: 0.25,
            accept_doubtful: false,
        }
    }

    fn raw(ids: impl IntoIterator<Item = u32>, width: TokenWidth) -> Vec<u8> {
        ids.into_iter()
            .flat_map(|id| id.to_le_bytes().into_iter().take(width.bytes()))
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
        let data = folder.prepare(&path, 100).unwrap();
        assert_eq!(ids(&data.train), (0..75).collect::<Vec<_>>());
        assert_eq!(ids(&data.validation), (75..100).collect::<Vec<_>>());
        assert_eq!(
            (data.facts.train_tokens, data.facts.validation_tokens),
            (75, 25)
        );
        assert!(data.facts.bytes_per_token.is_none() && data.vocabulary.bytes(&[1]).is_none());
        let encoded = data.vocabulary.encode("text");
        assert!(matches!(encoded, Err(DataError::OnlyNumbers)));
    }

    #[test]
    fn both_llm_c_forms_are_recognised_and_equal_the_raw_file() {
        let folder = Folder::new();
        let raw_file = folder.file("raw.bin", &raw(0..100, TokenWidth::U16));
        let raw_data = folder.prepare(&raw_file, 100).unwrap();
        for (magic, version, width) in LLM_C {
            let content = llm_c([magic, version, 100], &raw(0..100, width));
            let path = folder.file("llm.bin", &content);
            // What a header says needs no saying.
            for width in [None, Some(width)] {
                let data = folder.width(&path, width, 100).unwrap();
                assert_eq!(ids(&data.validation), ids(&raw_data.validation));
                assert_eq!(data.facts, raw_data.facts);
            }
        }
    }

    #[test]
    fn a_validation_file_is_used_whole() {
        let folder = Folder::new();
        let train = folder.file("train.bin", &raw(0..50, TokenWidth::U16));
        let validation = folder.file("val.bin", &raw(50..60, TokenWidth::U16));
        let (train, validation) = (paths([&*train]), paths([&*validation]));
        let data = folder
            .asked(&Asked {
                validation: Some(&validation),
                share: 0.0,
                ..plainly(&train, 60)
            })
            .unwrap();
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
            let error = folder.prepare(&path, 80).unwrap_err();
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
        let first = folder.prepare(&path, 200).unwrap().facts;
        assert_eq!(
            fs::read_dir(folder.0.path().join("cache")).unwrap().count(),
            2
        );
        assert_eq!(folder.prepare(&path, 200).unwrap().facts, first);
        fs::write(&path, raw(1..102, TokenWidth::U16)).unwrap();
        assert_ne!(folder.prepare(&path, 200).unwrap().facts, first);
    }

    #[test]
    fn contradicting_files_are_refused_with_the_reason() {
        let folder = Folder::new();
        let (magic, version, width) = LLM_C[0];
        let payload = raw(0..100, width);
        let cases: [(&str, Vec<u8>, Option<TokenWidth>, &str); 6] = [
            (
                "odd.bin",
                vec![0; 7],
                Some(TokenWidth::U16),
                "7 bytes are no whole number of 2-byte",
            ),
            (
                "stub.bin",
                raw([magic], TokenWidth::U32),
                None,
                "whose header takes 1024 bytes",
            ),
            (
                "old.bin",
                llm_c([magic, 9, 100], &payload),
                None,
                "has version 9; 1 can be read",
            ),
            (
                "wide.bin",
                llm_c([magic, version, 100], &payload),
                Some(TokenWidth::U32),
                "says 2-byte tokens, the declared width is 4 bytes",
            ),
            (
                "cut.bin",
                llm_c([magic, version, 101], &payload),
                None,
                "promises 101 tokens of 2 bytes, 200 bytes follow",
            ),
            (
                "head.bin",
                llm_c([magic, version, 0], &[]),
                None,
                "is empty",
            ),
        ];
        for (name, content, width, reason) in cases {
            let path = folder.file(name, &content);
            let error = folder.width(&path, width, 1 << 16).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn missing_and_unfit_paths_and_numbers_are_refused() {
        let folder = Folder::new();
        let prepared = |path: &Path| folder.prepare(path, 100).unwrap_err();
        assert!(matches!(
            prepared(Path::new("none.bin")),
            DataError::Missing { .. }
        ));
        assert!(matches!(
            prepared(folder.0.path()),
            DataError::NoMatch { .. }
        ));
        let empty = folder.file("empty.bin", b"");
        assert!(matches!(prepared(&empty), DataError::Empty { .. }));

        let path = folder.file("a.bin", &raw(0..100, TokenWidth::U16));
        let train = paths([&*path]);
        for share in [0.0, -1.0, 1.0, 1.5, f64::NAN] {
            let asked = Asked {
                share,
                ..plainly(&train, 100)
            };
            let error = folder.asked(&asked).unwrap_err();
            assert!(matches!(error, DataError::Share { .. }), "{share}: {error}");
        }
        let error = folder.prepare(&path, 0).unwrap_err();
        assert!(matches!(error, DataError::Vocab { vocab: 0, .. }));
    }
}
