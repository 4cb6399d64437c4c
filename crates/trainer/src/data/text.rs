//! Text: found, read, split and turned into tokens.

use super::cache::{BODY, Entry};
use super::documents::{self, Reading, Text};
use super::doubt::Doubts;
use super::fidelity::Lost;
use super::files::{Found, Purpose, find};
use super::stream::{Part, TokenStream};
use super::summary::Summary;
use super::tokenizer::Tokenizer;
use super::vocabulary::Vocabulary;
use super::{DataError, Dataset, fingerprint};
use experiment::digest;
use experiment::run::{DataFacts, DataSpec, TEXT_FIELD, TextForm, TokenWidth, TokenizerSpec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Changes whenever a cached stream would be laid out or cut otherwise, or said less of.
const FORMAT: &str = "token streams 2";

/// How far beyond the share's place a line end is looked for, in bytes.
const LINE_REACH: usize = 4096;

/// What is asked of text.
pub(super) struct Asked<'a> {
    pub(super) patterns: &'a [String],
    pub(super) reading: Reading<'a>,
    pub(super) tokenizer: &'a TokenizerSpec,
    /// Held out, from the tail of each file.
    pub(super) share: f64,
    pub(super) accept_doubtful: bool,
}

/// A file's text and where its held-out tail begins.
struct Source {
    read: Text,
    cut: usize,
}

impl Source {
    fn train(&self) -> &str {
        &self.read.text[..self.cut]
    }

    fn validation(&self) -> &str {
        &self.read.text[self.cut..]
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
    /// What the tokenizer lost of the training and of the held-out text.
    lost: [Lost; 2],
}

/// Reads, splits and tokenises files, or takes the result from the cache.
pub(super) fn prepare(asked: &Asked, cache: &Path) -> Result<Dataset, DataError> {
    let share = asked.share;
    if !(share > 0.0 && share < 1.0) {
        let split = if share >= 1.0 { "training" } else { "held-out" };
        return Err(DataError::Share { share, split });
    }
    let mut doubts = Doubts::new(asked.accept_doubtful);
    let files = find(asked.patterns, &[])?;
    let sources: Vec<Source> = files
        .iter()
        .map(|file| read(&file.path, asked, &mut doubts))
        .collect::<Result<_, _>>()?;
    let mut summary = summary(&files, &sources);
    let train: Vec<&str> = sources.iter().map(Source::train).collect();
    let validation: Vec<&str> = sources.iter().map(Source::validation).collect();
    for (texts, split) in [(&train, "training"), (&validation, "held-out")] {
        if texts.iter().all(|text| text.is_empty()) {
            return Err(DataError::Share { share, split });
        }
    }

    let tokenizer = match asked.tokenizer {
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
    let (dataset, lost) = match cached {
        Some(loaded) => loaded,
        None => {
            let entry = Entry::write(&path, &tokenise(&tokenizer, &train, &validation)?)?;
            load(&entry, &tokenizer).ok_or_else(|| DataError::Cache {
                path,
                source: std::io::Error::other("what was written could not be read back"),
            })?
        }
    };
    if let TokenizerSpec::File { path } = asked.tokenizer {
        doubt_tokenizer(path, lost, &mut doubts)?;
    }
    summary.warnings.extend(doubts.warnings);
    Ok(Dataset { summary, ..dataset })
}

/// Refuses a tokenizer that loses much of the text, and says what any loses.
fn doubt_tokenizer(path: &Path, lost: [Lost; 2], doubts: &mut Doubts) -> Result<(), DataError> {
    let all: Lost = lost.into_iter().sum();
    let looks = format!(
        "loses {} of the text: {} of {} bytes do not come back from its tokens",
        percent(all.share()),
        all.bytes,
        all.of
    );
    if all.share() > Lost::MOST {
        let right = "take a tokenizer that was made for this text, such as `tokenizer: {bpe: {vocab: 4096}}`";
        return doubts.raise(path, looks, right.into());
    }
    if !lost.iter().all(|lost| lost.is_negligible()) {
        doubts
            .warnings
            .push(format!("`{}` {looks}", path.display()));
    }
    Ok(())
}

/// Writes a share so that a small one is not 0.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        10.0.. => format!("{percent:.1}%"),
        _ => format!("{percent:.2}%"),
    }
}

/// Sums up what was read.
fn summary(files: &[Found], sources: &[Source]) -> Summary {
    let reads = || sources.iter().map(|source| &source.read);
    let mut forms: Vec<&str> = Vec::new();
    for read in reads() {
        if !forms.contains(&read.form.as_str()) {
            forms.push(&read.form);
        }
    }
    let documents: u64 = reads().map(|read| read.ends.len() as u64).sum();
    let mut warnings = Vec::new();
    for file in files {
        if let Some(purpose) = Purpose::of(&file.path) {
            warnings.push(format!(
                "`{}` is named as a {} set, and is trained on as all others are, but for its tail",
                file.path.display(),
                purpose.name()
            ));
        }
    }
    for (file, read) in files
        .iter()
        .zip(reads())
        .filter(|(_, read)| read.without > 0)
    {
        warnings.push(format!(
            "{} of {} documents of `{}` have no text and are left out",
            read.without,
            read.without + read.ends.len() as u64,
            file.path.display()
        ));
    }
    Summary {
        files: files.len(),
        bytes: reads().map(|read| read.bytes).sum(),
        documents: (documents > 0).then_some(documents),
        form: forms.join("; "),
        held_out: "the tail of each file".to_owned(),
        remarks: Vec::new(),
        warnings,
    }
}

/// Reads the text of a file as a run's data are read, as `inspect` is given one.
///
/// # Errors
/// If it is missing, a directory, empty, unreadable, not UTF-8 or without a text.
pub fn read_text(path: &Path, data: &DataSpec) -> Result<String, DataError> {
    let reading = match data {
        DataSpec::Text {
            text_field,
            text_form,
            ..
        } => Reading {
            field: text_field,
            form: *text_form,
        },
        DataSpec::Synthetic(_) | DataSpec::Tokens { .. } => Reading {
            field: TEXT_FIELD,
            form: TextForm::Plain,
        },
    };
    Ok(documents::read(path, reading, &mut Doubts::new(true))?.text)
}

/// Reads the text of all files that patterns name, as a run's data are read: one after the other.
///
/// # Errors
/// As [`read_text`], and if a pattern names nothing.
pub fn read_texts(patterns: &[String], data: &DataSpec) -> Result<String, DataError> {
    let files = find(patterns, &[])?;
    let texts = files.iter().map(|file| read_text(&file.path, data));
    texts.collect()
}

/// Reads a file and finds where its tail of the given share begins: where a document does, else after
/// a line end near the place, else at the next character.
fn read(path: &Path, asked: &Asked, doubts: &mut Doubts) -> Result<Source, DataError> {
    let read = documents::read(path, asked.reading, doubts)?;
    let cut = cut(&read.text, &read.ends, asked.share);
    Ok(Source { read, cut })
}

fn cut(text: &str, ends: &[usize], share: f64) -> usize {
    let place = text.ceil_char_boundary((text.len() as f64 * (1.0 - share)) as usize);
    if let [inner @ .., _] = ends
        && let Some(last) = inner.last()
    {
        return *inner.iter().find(|end| **end >= place).unwrap_or(last);
    }
    let reach = text.floor_char_boundary((place + LINE_REACH).min(text.len()));
    match text[place..reach].find('\n') {
        Some(line) if place + line + 1 < text.len() => place + line + 1,
        _ => place,
    }
}

/// Turns texts into the body of a cache entry: header line, training tokens, held-out tokens.
fn tokenise(
    tokenizer: &Tokenizer,
    train: &[&str],
    validation: &[&str],
) -> Result<Vec<u8>, DataError> {
    let encode = |texts: &[&str]| -> Result<(Vec<u32>, Lost), DataError> {
        let parts: Vec<_> = texts
            .iter()
            .map(|text| tokenizer.encode_counting(text))
            .collect::<Result<_, _>>()?;
        let (ids, lost): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        Ok((ids.concat(), lost.into_iter().sum()))
    };
    let (train_ids, train_lost) = encode(train)?;
    let (validation_ids, validation_lost) = encode(validation)?;
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
        lost: [train_lost, validation_lost],
    };
    let width = header.width.bytes();
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
fn load(entry: &Entry, tokenizer: &Tokenizer) -> Option<(Dataset, [Lost; 2])> {
    let line = entry.body().iter().position(|&byte| byte == b'\n')?;
    let header: Header = serde_json::from_slice(&entry.body()[..line]).ok()?;
    let width = header.width.bytes();
    let first = BODY + line + 1;
    let second = first + header.train_tokens as usize * width;
    if second + header.validation_tokens as usize * width != entry.map.len() {
        return None;
    }
    let view = |offset, len| {
        TokenStream::mapped(vec![Part {
            map: entry.map.clone(),
            offset,
            width: header.width,
            len,
        }])
    };
    let train = view(first, header.train_tokens);
    let validation = view(second, header.validation_tokens);
    let [_, lost] = header.lost;
    // Of text that was lost there are no bits per byte.
    let is_known = !validation.is_empty() && lost.is_negligible();
    let bytes_per_token =
        is_known.then(|| header.validation_bytes as f64 / validation.len() as f64);
    let facts = DataFacts {
        fingerprint: fingerprint(header.vocab, &train.digest(), &validation.digest()),
        vocab: header.vocab,
        train_tokens: train.len(),
        validation_tokens: validation.len(),
        bytes_per_token,
        entropy_floor: None,
    };
    let vocabulary = Vocabulary::of_text(tokenizer.clone(), bytes_per_token);
    let dataset = Dataset::new(facts, train, validation, vocabulary);
    Some((dataset, header.lost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::path::PathBuf;

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
            self.share(patterns, tokenizer, 0.2)
        }

        fn share(
            &self,
            patterns: &[String],
            tokenizer: TokenizerSpec,
            share: f64,
        ) -> Result<Dataset, DataError> {
            let asked = Asked {
                patterns,
                reading: Reading {
                    field: TEXT_FIELD,
                    form: TextForm::Auto,
                },
                tokenizer: &tokenizer,
                share,
                accept_doubtful: false,
            };
            prepare(&asked, &self.0.path().join("cache"))
        }

        fn error(&self, pattern: String) -> DataError {
            self.prepare(&[pattern], TokenizerSpec::Bytes).unwrap_err()
        }
    }

    fn text(stream: &TokenStream, data: &Dataset) -> String {
        let mut ids = vec![0; stream.len() as usize];
        stream.copy_range(0, &mut ids);
        data.vocabulary.decode(&ids).unwrap()
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
        let learnt = &data.vocabulary;
        assert!((0..data.facts.vocab as u32).all(|id| !learnt.token_text(id).contains("zy")));
        // A letter a token, but for the space that begins a word.
        assert!(data.facts.bytes_per_token.unwrap() < 1.3);
        let mut ids = vec![0; data.validation.len() as usize];
        data.validation.copy_range(0, &mut ids);
        assert_eq!(data.vocabulary.bytes(&ids), Some(held_out.len() as f64));
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
            let error = folder
                .share(&path, TokenizerSpec::Bytes, share)
                .unwrap_err();
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
            let plainly = DataSpec::text(Vec::new(), TokenizerSpec::Bytes, share);
            let whole = read_text(Path::new(&path), &plainly).unwrap();
            prop_assert_eq!(&whole, &text);
            let (train, validation) = whole.split_at(cut(&whole, &[], share));
            prop_assert_eq!(format!("{train}{validation}"), text);
        }
    }
}
