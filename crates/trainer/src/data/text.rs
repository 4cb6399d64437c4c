//! UTF-8 files: found, read, split and turned into tokens.

use super::cache::{BODY, Entry};
use super::stream::{TokenStream, bytes};
use super::tokenizer::Tokenizer;
use super::{DataError, Dataset, fingerprint};
use experiment::digest;
use experiment::run::{DataFacts, TokenWidth, TokenizerSpec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Changes whenever a cached stream would be laid out or cut otherwise.
const FORMAT: &str = "token streams 1";

/// How far beyond the share's place a line end is looked for, in bytes.
const LINE_REACH: usize = 4096;

/// A file's text and where its held-out tail begins.
struct Source {
    text: String,
    cut: usize,
}

impl Source {
    fn train(&self) -> &str {
        &self.text[..self.cut]
    }

    fn validation(&self) -> &str {
        &self.text[self.cut..]
    }
}

/// What a cached pair of streams is; one JSON line before the tokens.
#[derive(Serialize, Deserialize)]
struct Header {
    width: TokenWidth,
    vocab: usize,
    train_tokens: u64,
    validation_tokens: u64,
    validation_bytes: u64,
}

/// Reads, splits and tokenises files, or takes the result from the cache.
pub(super) fn prepare(
    patterns: &[String],
    tokenizer: &TokenizerSpec,
    share: f64,
    cache: &Path,
) -> Result<Dataset, DataError> {
    if !(share > 0.0 && share < 1.0) {
        let split = if share >= 1.0 { "training" } else { "held-out" };
        return Err(DataError::Share { share, split });
    }
    let sources: Vec<Source> = find(patterns)?
        .iter()
        .map(|path| read(path, share))
        .collect::<Result<_, _>>()?;
    let train: Vec<&str> = sources.iter().map(Source::train).collect();
    let validation: Vec<&str> = sources.iter().map(Source::validation).collect();
    for (texts, split) in [(&train, "training"), (&validation, "held-out")] {
        if texts.iter().all(|text| text.is_empty()) {
            return Err(DataError::Share { share, split });
        }
    }

    let tokenizer = match tokenizer {
        TokenizerSpec::Bytes => Tokenizer::bytes(),
        TokenizerSpec::Bpe { vocab } => Tokenizer::bpe(*vocab, &train, cache)?,
        TokenizerSpec::File { path } => Tokenizer::open(path)?,
    };
    let mut key = Sha256::new_with_prefix(FORMAT);
    key.update(tokenizer.identity());
    train
        .iter()
        .chain(&validation)
        .for_each(|text| key.update(Sha256::digest(text)));
    let path = cache.join(format!(
        "text-{}.tokens",
        &digest::hex(&key.finalize())[..32]
    ));
    let cached = Entry::open(&path).and_then(|entry| load(&entry, &tokenizer));
    match cached {
        Some(dataset) => Ok(dataset),
        None => {
            let entry = Entry::write(&path, &tokenise(&tokenizer, &train, &validation)?)?;
            load(&entry, &tokenizer).ok_or_else(|| DataError::Cache {
                path,
                source: std::io::Error::other("what was written could not be read back"),
            })
        }
    }
}

/// Lists the files that patterns name, in order, each once.
fn find(patterns: &[String]) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for pattern in patterns {
        // A file may have a bracket in its name; what exists is not taken for a pattern.
        if Path::new(pattern).exists() || !pattern.contains(['*', '?', '[']) {
            files.push(PathBuf::from(pattern));
            continue;
        }
        let matches = glob::glob(pattern).map_err(|error| DataError::Pattern {
            pattern: pattern.clone(),
            position: error.pos,
            reason: error.msg.into(),
        })?;
        let before = files.len();
        for path in matches {
            let path = path.map_err(|error| DataError::Read {
                path: error.path().into(),
                source: error.into(),
            })?;
            if !path.is_dir() {
                files.push(path);
            }
        }
        if files.len() == before {
            return Err(DataError::NoMatch {
                pattern: pattern.clone(),
            });
        }
    }
    if files.is_empty() {
        return Err(DataError::NoFiles);
    }
    // Two patterns may name one file; read twice it would be trained on twice.
    let mut seen = HashSet::new();
    files.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
    Ok(files)
}

/// Reads a text file whole.
///
/// # Errors
/// If it is missing, a directory, empty, unreadable or not UTF-8.
pub fn read_text(path: &Path) -> Result<String, DataError> {
    let bytes = fs::read(path).map_err(|source| DataError::reading(path, source))?;
    if bytes.is_empty() {
        return Err(DataError::Empty { path: path.into() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = 1 + bytes[..offset]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        DataError::NotUtf8 {
            path: path.into(),
            offset,
            line,
            byte: bytes[offset],
        }
    })
}

/// Reads a file and finds where its tail of the given share begins: after a line end near the
/// place, else at the next character.
fn read(path: &Path, share: f64) -> Result<Source, DataError> {
    let text = read_text(path)?;
    let place = text.ceil_char_boundary((text.len() as f64 * (1.0 - share)) as usize);
    let reach = text.floor_char_boundary((place + LINE_REACH).min(text.len()));
    let cut = match text[place..reach].find('\n') {
        Some(line) if place + line + 1 < text.len() => place + line + 1,
        _ => place,
    };
    Ok(Source { text, cut })
}

/// Turns texts into the body of a cache entry: header line, training tokens, held-out tokens.
fn tokenise(
    tokenizer: &Tokenizer,
    train: &[&str],
    validation: &[&str],
) -> Result<Vec<u8>, DataError> {
    let encode = |texts: &[&str]| -> Result<Vec<u32>, DataError> {
        let parts: Vec<_> = texts
            .iter()
            .map(|t| tokenizer.encode(t))
            .collect::<Result<_, _>>()?;
        Ok(parts.concat())
    };
    let (train_ids, validation_ids) = (encode(train)?, encode(validation)?);
    let vocab = tokenizer.vocab();
    let header = Header {
        width: if vocab <= 1 << 16 {
            TokenWidth::U16
        } else {
            TokenWidth::U32
        },
        vocab,
        train_tokens: train_ids.len() as u64,
        validation_tokens: validation_ids.len() as u64,
        validation_bytes: validation.iter().map(|text| text.len() as u64).sum(),
    };
    let width = bytes(header.width);
    let mut body = serde_json::to_vec(&header)
        .unwrap_or_else(|error| unreachable!("a header is plain data: {error}"));
    body.push(b'\n');
    body.extend(
        train_ids
            .iter()
            .chain(&validation_ids)
            .flat_map(|id| id.to_le_bytes().into_iter().take(width)),
    );
    Ok(body)
}

/// Views a cache entry as a dataset; `None` if it is not of the expected form.
fn load(entry: &Entry, tokenizer: &Tokenizer) -> Option<Dataset> {
    let line = entry.body().iter().position(|&byte| byte == b'\n')?;
    let header: Header = serde_json::from_slice(&entry.body()[..line]).ok()?;
    let width = bytes(header.width);
    let first = BODY + line + 1;
    let second = first + header.train_tokens as usize * width;
    if second + header.validation_tokens as usize * width != entry.map.len() {
        return None;
    }
    let view = |offset, len| TokenStream::mapped(entry.map.clone(), offset, header.width, len);
    let train = view(first, header.train_tokens);
    let validation = view(second, header.validation_tokens);
    let facts = DataFacts {
        fingerprint: fingerprint(header.vocab, &train.digest(), &validation.digest()),
        vocab: header.vocab,
        train_tokens: train.len(),
        validation_tokens: validation.len(),
        bytes_per_token: Some(header.validation_bytes as f64 / validation.len() as f64),
        entropy_floor: None,
    };
    let mut dataset = Dataset::new(facts, train, validation);
    dataset.speak(tokenizer.clone(), header.validation_bytes);
    Some(dataset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> String {
            self.0.path().join(name).to_str().unwrap().to_owned()
        }

        fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
            fs::write(self.path(name), content).unwrap();
            self.path(name)
        }

        fn prepare(
            &self,
            patterns: &[String],
            tokenizer: TokenizerSpec,
        ) -> Result<Dataset, DataError> {
            prepare(patterns, &tokenizer, 0.2, &self.0.path().join("cache"))
        }

        fn error(&self, pattern: String) -> DataError {
            self.prepare(&[pattern], TokenizerSpec::Bytes).unwrap_err()
        }
    }

    fn text(stream: &TokenStream, data: &Dataset) -> String {
        let mut ids = vec![0; stream.len() as usize];
        stream.copy_range(0, &mut ids);
        data.tokenizer().unwrap().decode(&ids).unwrap()
    }

    #[test]
    fn the_tail_of_each_file_is_held_out_at_a_line() {
        let folder = Folder::new();
        let one = folder.file(
            "one.txt",
            "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\n",
        );
        let two = folder.file("two.txt", "aaaaaaaaaa");
        let data = folder.prepare(&[one, two], TokenizerSpec::Bytes).unwrap();
        assert_eq!(
            text(&data.train, &data),
            "line 1\nline 2\nline 3\nline 4\nline 5\naaaaaaaa"
        );
        assert_eq!(text(&data.validation, &data), "line 6\naa");
        assert_eq!(
            (data.facts.vocab, data.facts.bytes_per_token),
            (256, Some(1.0))
        );
    }

    #[test]
    fn bpe_learns_from_the_training_part_alone() {
        let folder = Folder::new();
        let train = "low lower lowest newer newest wider\n".repeat(40);
        let held_out = "zyzzyva ".repeat(45);
        let path = folder.file("a.txt", format!("{train}{held_out}"));
        let data = folder
            .prepare(&[path], TokenizerSpec::Bpe { vocab: 280 })
            .unwrap();
        assert_eq!(text(&data.train, &data), train);
        assert_eq!(text(&data.validation, &data), held_out);
        let learnt = data.tokenizer().unwrap();
        assert!((0..data.facts.vocab as u32).all(|id| !learnt.token_text(id).contains("zy")));
        // A letter a token, but for the space that begins a word.
        assert!(data.facts.bytes_per_token.unwrap() < 1.3);
        let mut ids = vec![0; data.validation.len() as usize];
        data.validation.copy_range(0, &mut ids);
        assert_eq!(data.bytes(&ids), Some(held_out.len() as f64));
    }

    #[test]
    fn globs_add_files_in_order_and_no_file_twice() {
        let folder = Folder::new();
        folder.file("b.txt", "bbbbb");
        folder.file("a.txt", "aaaaa");
        fs::create_dir(folder.path("c.txt")).unwrap();
        let patterns = [folder.path("b.txt"), folder.path("*.txt")];
        let data = folder.prepare(&patterns, TokenizerSpec::Bytes).unwrap();
        assert_eq!(text(&data.train, &data), "bbbbaaaa");
    }

    #[test]
    fn a_file_with_a_bracket_in_its_name_is_a_file() {
        let folder = Folder::new();
        let path = folder.file("a[1].txt", "aaaaa");
        assert!(folder.prepare(&[path], TokenizerSpec::Bytes).is_ok());
    }

    #[test]
    fn wrong_paths_are_named() {
        let folder = Folder::new();
        assert!(matches!(
            folder.error(folder.path("no.txt")),
            DataError::Missing { .. }
        ));
        assert!(matches!(
            folder.error(folder.path("*.txt")),
            DataError::NoMatch { .. }
        ));
        assert!(matches!(
            folder.error(folder.path("a***")),
            DataError::Pattern { .. }
        ));
        assert!(matches!(
            folder.error(folder.path("")),
            DataError::Directory { .. }
        ));
        assert!(matches!(
            folder.error(folder.file("e.txt", "")),
            DataError::Empty { .. }
        ));
        let none = folder.prepare(&[], TokenizerSpec::Bytes).unwrap_err();
        assert!(matches!(none, DataError::NoFiles));
    }

    #[test]
    fn a_wrong_byte_is_placed() {
        let folder = Folder::new();
        let path = folder.file("latin.txt", b"one\ntwo caf\xe9 three");
        assert_eq!(
            folder.error(path.clone()).to_string(),
            format!(
                "`{path}` is not UTF-8: byte 0xe9 at offset 11 (line 2) begins no valid \
                 character; convert the file to UTF-8, for example with `iconv`"
            )
        );
    }

    #[test]
    fn a_share_that_leaves_nothing_is_refused() {
        let folder = Folder::new();
        let path = [folder.file("a.txt", "some text")];
        for share in [0.0, 1.0, -0.1, f64::NAN, 0.999] {
            let cache = folder.0.path().join("cache");
            let error = prepare(&path, &TokenizerSpec::Bytes, share, &cache).unwrap_err();
            assert!(matches!(error, DataError::Share { .. }), "{share}: {error}");
        }
    }

    #[test]
    fn the_cache_is_used_and_made_again_when_damaged() {
        let folder = Folder::new();
        let path = [folder.file("a.txt", "so much text, ".repeat(99))];
        let spec = TokenizerSpec::Bpe { vocab: 270 };
        let first = folder.prepare(&path, spec.clone()).unwrap();
        let entries = || -> Vec<PathBuf> {
            let entries = fs::read_dir(folder.path("cache")).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        let written: Vec<_> = entries().iter().map(|p| fs::read(p).unwrap()).collect();
        assert_eq!(written.len(), 2);
        for entry in entries() {
            fs::remove_file(&entry).unwrap();
            fs::write(&entry, "damaged").unwrap();
        }
        let second = folder.prepare(&path, spec).unwrap();
        assert_eq!(first.facts, second.facts);
        assert_eq!(text(&second.train, &second), text(&first.train, &first));
        let again: Vec<_> = entries().iter().map(|p| fs::read(p).unwrap()).collect();
        assert_eq!(written, again);
    }

    #[test]
    fn processes_that_begin_together_agree() {
        let folder = Folder::new();
        let path = [folder.file("a.txt", "so much text, and more of it; ".repeat(99))];
        let spec = TokenizerSpec::Bpe { vocab: 290 };
        let facts: Vec<_> = std::thread::scope(|scope| {
            let start = || folder.prepare(&path, spec.clone()).unwrap().facts;
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(start)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(facts.windows(2).all(|pair| pair[0] == pair[1]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn head_and_tail_are_the_file(text in "[a的\n]{2,60}", share in 0.01f64..0.99) {
            let folder = Folder::new();
            let path = folder.file("a.txt", &text);
            let source = read(Path::new(&path), share).unwrap();
            prop_assert_eq!(format!("{}{}", source.train(), source.validation()), text);
        }
    }
}
