//! What can be wrong with data, said so that a person can put it right.

use std::io;
use std::path::PathBuf;

/// Why data could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// No file lies at the path.
    #[error("`{}` does not exist; give the path of a file", path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// The path is a folder where a file is needed.
    #[error("`{0}` is a directory; name its files, for example `{0}/*.txt`", path.display())]
    Directory {
        /// The path as given.
        path: PathBuf,
    },
    /// The operating system refused to read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A glob pattern is malformed.
    #[error("`{pattern}` is not a glob pattern: {reason} at character {position}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Where in it.
        position: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A glob pattern matches no file, or a folder holds none of the kind.
    #[error("`{pattern}` matches no data file; check the path, relative to the current folder")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// There is no file to train on.
    #[error("no files to train on are named; give at least one path or glob")]
    NoFiles,
    /// The file holds nothing.
    #[error("`{}` is empty; leave it out or fill it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is not UTF-8.
    #[error(
        "`{}` is not UTF-8: byte 0x{byte:02x} at offset {offset} (line {line}) begins no valid \
         character; convert the file to UTF-8, for example with `iconv`",
        path.display()
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Offset of the first wrong byte.
        offset: usize,
        /// Its line, from 1.
        line: usize,
        /// The byte.
        byte: u8,
    },
    /// The file is of a form that is not read.
    #[error("`{}` is {what}, which cannot be read as text: {right}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What would be right.
        right: String,
    },
    /// The file is not whole.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No document of a file has a text where it is looked for.
    #[error(
        "no document of `{}` has its text under `{field}`: they have {found}; name the field with \
         `text_field` under `data`",
        path.display()
    )]
    NoText {
        /// The file.
        path: PathBuf,
        /// The field or column.
        field: String,
        /// What documents have instead.
        found: String,
    },
    /// The held-out share leaves one side without a token.
    #[error(
        "a held-out share of {share} leaves no {split} tokens; it must lie between 0 and 1 and \
         leave something on both sides"
    )]
    Share {
        /// The share as given.
        share: f64,
        /// The side that would be empty.
        split: &'static str,
    },
    /// A split holds less than one sequence.
    #[error(
        "the {split} data hold {tokens} tokens, and one sequence of {seq_len} needs {}; shorten \
         `seq_len` or give more data",
        seq_len + 1
    )]
    TooShort {
        /// The split.
        split: &'static str,
        /// What it holds.
        tokens: u64,
        /// What one sequence predicts.
        seq_len: usize,
    },
    /// A parameter of the synthetic language is out of its range.
    #[error("synthetic `{field}` is {value}; {rule}")]
    Synthetic {
        /// The parameter.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        rule: String,
    },
    /// A vocabulary size that cannot be.
    #[error("a vocabulary of {vocab} cannot be used; {rule}")]
    Vocab {
        /// The size.
        vocab: usize,
        /// What would be right.
        rule: &'static str,
    },
    /// A `tokenizer.json` that cannot be used.
    #[error("`{}` is not a usable tokenizer: {reason}", path.display())]
    TokenizerFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer failed on text.
    #[error("the tokenizer failed {action}: {reason}")]
    Tokenizer {
        /// What it was doing.
        action: &'static str,
        /// What it said.
        reason: String,
    },
    /// The data have no text, only numbers.
    #[error("these data have no tokenizer: their tokens do not stand for text")]
    OnlyNumbers,
    /// The language gives no such tasks.
    #[error("no tasks can be made: {0}")]
    Tasks(String),
    /// A character is no letter of the synthetic language.
    #[error("{letter:?} is no letter of the synthetic language; its letters are `a` to `{last}`")]
    Letter {
        /// The character.
        letter: char,
        /// The last letter.
        last: String,
    },
    /// A token file's length or header contradicts itself.
    #[error("`{}` is not a token file of the declared form: {reason}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What contradicts what.
        reason: String,
    },
    /// A token file holds an id outside the vocabulary.
    #[error(
        "`{}` holds token {token} at position {position} (byte offset {offset}), outside the \
         declared vocabulary of {vocab}; {advice}",
        path.display()
    )]
    OutOfVocab {
        /// The file.
        path: PathBuf,
        /// The id, as it is stored.
        token: i64,
        /// Its position in tokens, from 0, the header not counted.
        position: u64,
        /// Its position in bytes.
        offset: u64,
        /// The declared size.
        vocab: usize,
        /// What would be right.
        advice: String,
    },
    /// A file is to be trained on and held out.
    #[error("`{}` is named under both `train` and `validation`; keep one of them", path.display())]
    BothSides {
        /// The file.
        path: PathBuf,
    },
    /// The data look like something else than what they are read as.
    #[error(
        "`{}` {looks}; {right}, or write `doubtful: accept` under `data` if it is right as it is",
        path.display()
    )]
    Doubtful {
        /// The file.
        path: PathBuf,
        /// What it looks like, and why.
        looks: String,
        /// What would be right.
        right: String,
    },
    /// The cache folder cannot be used.
    #[error("the cache `{}` cannot be written: {source}; give a writable folder", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl DataError {
    /// Says which fields documents have instead of the one with their text.
    pub(super) fn no_text(path: &std::path::Path, field: &str, found: &[String]) -> Self {
        Self::NoText {
            path: path.into(),
            field: field.to_owned(),
            found: match found {
                [] => "nothing but empty texts".to_owned(),
                found => found.join(", "),
            },
        }
    }

    /// Names a form of file that is not read.
    pub(super) fn foreign(path: &std::path::Path, what: &str, right: &str) -> Self {
        Self::Foreign {
            path: path.into(),
            what: what.to_owned(),
            right: right.to_owned(),
        }
    }

    /// Names a file that could not be opened or read by the cause that its owner can act on.
    pub(super) fn reading(path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::IsADirectory => Self::Directory { path },
            _ => Self::Read { path, source },
        }
    }
}
