//! A file's text, whatever form it has: plain, or documents as JSON lines, a JSON array or Parquet;
//! packed with gzip or zstd or not.

use super::DataError;
use super::doubt::Doubts;
use super::magic::{self, Magic};
use experiment::parquet::{Holds, Parquet};
use experiment::run::TextForm;
use rayon::prelude::*;
use serde_json::{Map, Value};
use std::fs;
use std::io::Read;
use std::path::Path;

/// What follows each document: an empty line.
pub const SEPARATOR: &str = "\n\n";

/// How files are read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    /// The field or column that holds a document's text.
    pub(super) field: &'a str,
    pub(super) form: TextForm,
}

/// The text of a file.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) text: String,
    /// Where each document ends; empty where the file is one long text.
    pub(super) ends: Vec<usize>,
    /// Bytes of the file on the disk.
    pub(super) bytes: u64,
    /// Its form, in words.
    pub(super) form: String,
    /// Documents without a text, which are left out.
    pub(super) without: u64,
}

/// A document's text, or `None` where it has none.
type Document = Option<String>;

/// Reads a file.
///
/// # Errors
/// If it is missing, a directory, empty, unreadable or damaged, not UTF-8, of a form that is not read,
/// or if no document in it has a text.
pub(super) fn read(path: &Path, how: Reading, doubts: &mut Doubts) -> Result<Text, DataError> {
    let packed = fs::read(path).map_err(|source| DataError::reading(path, source))?;
    let on_disk = packed.len() as u64;
    if packed.is_empty() {
        return Err(DataError::Empty { path: path.into() });
    }
    let (bytes, packing) = unpack(path, packed)?;
    let known = magic::recognise(&bytes);
    let mut read = match known {
        Some(Magic::Parquet) => documents(path, how, "Parquet", parquet(path, bytes, how.field)?)?,
        Some(Magic::Foreign(what, right)) => return Err(DataError::foreign(path, what, right)),
        Some(Magic::Numpy) => {
            let right = "name token files under `data.tokens`";
            return Err(DataError::foreign(path, "a NumPy array", right));
        }
        // Packed twice.
        Some(Magic::Gzip | Magic::Zstd) => {
            return Err(DataError::foreign(path, "packed twice", "unpack it once"));
        }
        None => in_words(path, utf8(path, bytes)?, how, doubts)?,
    };
    read.bytes = on_disk;
    read.form += packing;
    Ok(read)
}

/// Unpacks what is packed, and says how it was.
fn unpack(path: &Path, bytes: Vec<u8>) -> Result<(Vec<u8>, &'static str), DataError> {
    let mut unpacked = Vec::new();
    let (result, packing) = match magic::recognise(&bytes) {
        Some(Magic::Gzip) => {
            let mut reader = flate2::read::MultiGzDecoder::new(&bytes[..]);
            (reader.read_to_end(&mut unpacked), ", gzip")
        }
        Some(Magic::Zstd) => {
            let reader = zstd::stream::read::Decoder::with_buffer(&bytes[..]);
            (
                reader.and_then(|mut it| it.read_to_end(&mut unpacked)),
                ", zstd",
            )
        }
        _ => return Ok((bytes, "")),
    };
    match result {
        Ok(0) => Err(DataError::Empty { path: path.into() }),
        Ok(_) => Ok((unpacked, packing)),
        Err(source) => Err(DataError::Damaged {
            path: path.into(),
            reason: format!("it cannot be unpacked: {source}"),
        }),
    }
}

/// Checks that bytes are text.
fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String, DataError> {
    for (mark, name) in [(b"\xff\xfe", "UTF-16LE"), (b"\xfe\xff", "UTF-16BE")] {
        if bytes.starts_with(mark) {
            let right = format!("convert it, for example with `iconv -f {name} -t UTF-8`");
            return Err(DataError::foreign(path, &format!("{name} text"), &right));
        }
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        if bytes.iter().filter(|byte| **byte == 0).count() * 100 > bytes.len() {
            let right = "name token files under `data.tokens`";
            return DataError::foreign(path, "a binary file", right);
        }
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

/// Finds the documents in text, or takes it as it is.
fn in_words(
    path: &Path,
    text: String,
    how: Reading,
    doubts: &mut Doubts,
) -> Result<Text, DataError> {
    let zeros = text.bytes().filter(|byte| *byte == 0).count();
    if zeros * 20 > text.len() {
        let looks = format!(
            "holds {zeros} zero bytes of {}, as token files and UTF-16 do, and text does not",
            text.len()
        );
        let right = "name token files under `data.tokens`, or convert it with `iconv`";
        doubts.raise(path, looks, right.into())?;
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    let plain = |text| Text {
        text,
        form: "plain text".to_owned(),
        ..Text::default()
    };
    if how.form == TextForm::Plain {
        return Ok(plain(text));
    }
    let content = text.trim_start_matches('\u{feff}');
    if is_lines(content) || name.ends_with(".jsonl") || name.ends_with(".ndjson") {
        let found = lines(path, content, how.field)?;
        return documents(path, how, "JSON lines", found);
    }
    let begins = content.trim_start();
    if begins.starts_with('[') && begins[1..].trim_start().starts_with('{') {
        if let Ok(values) = serde_json::from_str::<Vec<Value>>(begins) {
            let found = values.into_iter().map(|value| document(value, how.field));
            return documents(path, how, "JSON array", Found::of(found.collect()));
        }
    } else if begins.starts_with('{') && serde_json::from_str::<Map<_, _>>(begins).is_ok() {
        let looks = "is one JSON document, which would be trained on with its braces".to_owned();
        let right = "write its texts as JSON lines, or `text_form: plain` to train on it as it is";
        doubts.raise(path, looks, right.into())?;
    }
    if name.ends_with(".csv") || name.ends_with(".tsv") {
        let looks = "is a table, which would be trained on with its separators".to_owned();
        let right = "write its texts as JSON lines or Parquet, or `text_form: plain` to train on it as it is";
        doubts.raise(path, looks, right.into())?;
    }
    Ok(plain(text))
}

/// Says whether the first lines are JSON objects.
fn is_lines(text: &str) -> bool {
    const LOOKED_AT: usize = 8;
    if !text.trim_start().starts_with('{') {
        return false;
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let is_object = |line: &str| serde_json::from_str::<Map<String, Value>>(line).is_ok();
    lines.take(LOOKED_AT).all(is_object)
}

/// What documents hold, and what those without a text have instead.
struct Found {
    texts: Vec<Document>,
    fields: Vec<String>,
}

impl Found {
    fn of(documents: Vec<Result<String, Vec<String>>>) -> Self {
        /// More would not be read.
        const LISTED: usize = 12;
        let mut fields: Vec<String> = Vec::new();
        for field in documents
            .iter()
            .filter_map(|it| it.as_ref().err())
            .flatten()
        {
            if fields.len() < LISTED && !fields.contains(field) {
                fields.push(field.clone());
            }
        }
        let texts = documents.into_iter().map(Result::ok).collect();
        Self { texts, fields }
    }
}

/// Takes the text of a JSON document; what it has instead is the error.
fn document(value: Value, field: &str) -> Result<String, Vec<String>> {
    match value {
        Value::Object(mut fields) => match fields.remove(field) {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Null) => Err(vec![format!("`{field}`, which is null")]),
            Some(_) => Err(vec![format!("`{field}`, which is no string")]),
            None => Err(fields.keys().map(|key| format!("`{key}`")).collect()),
        },
        // A line that is a string alone can only be the text.
        Value::String(text) => Ok(text),
        _ => Err(Vec::new()),
    }
}

fn lines(path: &Path, text: &str, field: &str) -> Result<Found, DataError> {
    let lines: Vec<(usize, &str)> = (text.lines().enumerate())
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();
    let read = lines.into_par_iter().map(|(index, line)| {
        let value = serde_json::from_str(line).map_err(|error| DataError::Damaged {
            path: path.into(),
            reason: format!(
                "line {} is no JSON ({error}), and the others are; mend it, or write `text_form: plain` \
                 to train on all as it is",
                index + 1
            ),
        })?;
        Ok(document(value, field))
    });
    Ok(Found::of(read.collect::<Result<_, DataError>>()?))
}

/// Reads the one column of a Parquet file that is asked for.
fn parquet(path: &Path, bytes: Vec<u8>, field: &str) -> Result<Found, DataError> {
    let damaged = |why| DataError::Damaged {
        path: path.into(),
        reason: format!("its Parquet cannot be read: {why}"),
    };
    let file = Parquet::open(bytes).map_err(damaged)?;
    let names = file.columns().iter().map(|it| format!("`{}`", it.name));
    let fields: Vec<String> = names.collect();
    let Some(column) = file.columns().iter().find(|it| it.name == field) else {
        return Err(DataError::no_text(path, field, &fields));
    };
    if !matches!(column.holds, Holds::Text | Holds::Bytes) {
        let holds = format!("`{field}`, which holds {}", column.holds.words());
        return Err(DataError::no_text(path, field, &[holds]));
    }
    let texts = file.cells(column).map_err(damaged)?;
    Ok(Found { texts, fields })
}

/// Puts documents one after the other, each followed by an empty line.
fn documents(path: &Path, how: Reading, form: &str, found: Found) -> Result<Text, DataError> {
    let mut read = Text {
        form: format!("{form}, `{}`", how.field),
        ..Text::default()
    };
    for text in found.texts {
        match text.filter(|text| !text.trim().is_empty()) {
            Some(text) => {
                read.text += text.trim_end_matches('\n');
                read.text += SEPARATOR;
                read.ends.push(read.text.len());
            }
            None => read.without += 1,
        }
    }
    if read.ends.is_empty() {
        return Err(DataError::no_text(path, how.field, &found.fields));
    }
    Ok(read)
}
