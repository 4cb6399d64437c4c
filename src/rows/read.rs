//! Where tables come from: files, compressed or not, standard input, and one file a run.
//!
//! What a file holds is told by its content; its name is not asked.

use super::{Places, RowsError, Table, csv, json, parquet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Column that names the file of a row, where a pattern names several.
const FILE: &str = "file";

/// Name of standard input in messages.
const STANDARD_INPUT: &str = "standard input";

/// Reads a table by its name: a file, `-` for standard input, or a pattern that names one file a run.
pub(super) fn read(path: &Path) -> Result<Table, RowsError> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|source| failed(Path::new(STANDARD_INPUT), source))?;
        return of_bytes(STANDARD_INPUT.to_owned(), bytes);
    }
    let pattern = path.to_string_lossy();
    if pattern.contains(['*', '?', '[']) && !path.exists() {
        return one_file_a_run(&pattern);
    }
    of_file(path)
}

fn failed(path: &Path, source: std::io::Error) -> RowsError {
    RowsError::Read {
        path: path.to_owned(),
        source,
    }
}

fn of_file(path: &Path) -> Result<Table, RowsError> {
    let bytes = std::fs::read(path).map_err(|source| failed(path, source))?;
    of_bytes(path.display().to_string(), bytes)
}

/// Reads what a file holds.
fn of_bytes(name: String, bytes: Vec<u8>) -> Result<Table, RowsError> {
    let bytes = unpacked(&name, bytes)?;
    if bytes.len() > u32::MAX as usize {
        return Err(RowsError::TooLarge { name });
    }
    if bytes.starts_with(b"PAR1") {
        return parquet::read(name, bytes);
    }
    if let Some(what) = no_table(&bytes) {
        return Err(RowsError::NoTable { name, what });
    }
    let text = text(&name, bytes)?;
    if text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with(['{', '['])
    {
        json::parse(name, &text)
    } else {
        csv::parse(name, text)
    }
}

/// Unpacks gzip and zstd.
fn unpacked(name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, RowsError> {
    let limit = u64::from(u32::MAX) + 1;
    let mut out = Vec::new();
    let read = if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes.as_slice())
            .take(limit)
            .read_to_end(&mut out)
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        zstd::stream::read::Decoder::new(bytes.as_slice())
            .and_then(|decoder| decoder.take(limit).read_to_end(&mut out))
    } else {
        return Ok(bytes);
    };
    read.map_err(|source| failed(Path::new(name), source))?;
    Ok(out)
}

/// Recognises files that are no table, and says what they are and what would be right.
fn no_table(bytes: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 5] = [
        (
            b"PK\x03\x04",
            "a ZIP archive or an Excel workbook: save its sheet as CSV",
        ),
        (
            b"SQLite format 3\0",
            "a database: name the experiment, as in `orchestrator fit NAME`",
        ),
        (b"ARROW1", "an Arrow or Feather file: save it as Parquet"),
        (b"\x89HDF", "an HDF5 file: save it as Parquet or CSV"),
        (b"\x93NUMPY", "a NumPy array: save it as CSV with a header"),
    ];
    let known = KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic));
    known.map(|(_, what)| *what)
}

/// Reads text: UTF-8, or UTF-16 with its mark, as Excel writes it.
fn text(name: &str, bytes: Vec<u8>) -> Result<String, RowsError> {
    let wide = |of: fn([u8; 2]) -> u16| {
        let pairs = bytes[2..].chunks_exact(2);
        let units: Vec<u16> = pairs.map(|pair| of([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map_err(|_| RowsError::Format {
            name: name.to_owned(),
            line: 1,
            problem: "it begins like UTF-16 and is none".into(),
            help: "save the table as CSV in UTF-8".into(),
        })
    };
    match bytes.get(..2) {
        Some([0xff, 0xfe]) => return wide(u16::from_le_bytes),
        Some([0xfe, 0xff]) => return wide(u16::from_be_bytes),
        _ => {}
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        RowsError::Format {
            name: name.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            problem: "there is a byte that is not UTF-8".into(),
            help: "save the table as CSV or JSON lines in UTF-8, or as Parquet".into(),
        }
    })
}

/// Reads the files of a pattern as one table. Rows of a file without a column `run` are of one run,
/// which is named after the file.
fn one_file_a_run(pattern: &str) -> Result<Table, RowsError> {
    let refused = |problem: String| RowsError::Argument {
        argument: pattern.to_owned(),
        problem,
        help: "write a pattern in quotes, as in 'runs/*.csv'".into(),
    };
    let paths = glob::glob(pattern).map_err(|error| refused(error.to_string()))?;
    let mut paths: Vec<PathBuf> = paths
        .collect::<Result<_, _>>()
        .map_err(|error| refused(error.to_string()))?;
    paths.retain(|path| path.is_file());
    if paths.is_empty() {
        return Err(refused("no file is called so".into()));
    }
    let mut files: Vec<(String, Table)> = Vec::new();
    for path in &paths {
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        files.push((stem, of_file(path)?));
    }
    let mut header: Vec<String> = vec![FILE.to_owned(), super::RUN.to_owned()];
    for name in files.iter().flat_map(|(_, table)| &table.header) {
        if !header.contains(name) {
            header.push(name.clone());
        }
    }
    let (mut cells, mut places) = (Vec::new(), Vec::new());
    for (stem, table) in &files {
        let columns: Vec<Option<usize>> = header
            .iter()
            .map(|name| table.header.iter().position(|own| own == name))
            .collect();
        for row in 0..table.len() {
            places.push(format!("{}, {}", table.name, table.place(row)));
            cells.extend(header.iter().zip(&columns).map(|(name, at)| match at {
                Some(at) => table.cell(row, *at),
                None if name == FILE => table.name.as_str(),
                None if name == super::RUN => stem.as_str(),
                None => "",
            }));
        }
    }
    let cells = cells.into_iter().map(std::borrow::Cow::Borrowed);
    let mut table = Table::of_cells(pattern.to_owned(), header, cells, Places::Files(places))?;
    let remarks = files.iter().flat_map(|(_, file)| {
        let of = |remark: &String| format!("{}: {remark}", file.name);
        file.remarks.iter().map(of)
    });
    table.remarks = remarks.collect();
    table
        .remarks
        .push(format!("{} files are read, one a run", files.len()));
    table.unread = files
        .into_iter()
        .flat_map(|(_, file)| file.unread)
        .collect();
    Ok(table)
}
