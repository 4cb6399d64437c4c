//! Parquet files → a table.
//!
//! A damaged file is an error, but for damage inside of pages that no checksum finds: polars may then ask
//! for more memory than there is, which ends the process.

use super::{Places, RowsError, Table};
use experiment::parquet::undamaged;
use polars::prelude::*;
use std::borrow::Cow;
use std::io::Cursor;

pub(super) fn read(name: String, file: &[u8]) -> Result<Table, RowsError> {
    let refused = |why: String| RowsError::Parquet {
        name: name.clone(),
        why,
    };
    let (columns, unread) = undamaged(file, || columns(file)).map_err(refused)?;
    let rows = columns.first().map_or(0, |(_, cells)| cells.len());
    if columns.iter().any(|(_, cells)| cells.len() != rows) {
        return Err(refused("its columns differ in length".into()));
    }
    let cells = (0..rows).flat_map(|row| {
        columns
            .iter()
            .map(move |(_, cells)| Cow::Borrowed(cells[row].as_str()))
    });
    let header = columns.iter().map(|(column, _)| column.clone()).collect();
    let table = Table::of_cells(name, header, cells, Places::Numbers)?;
    Ok(Table { unread, ..table })
}

/// The cells of columns, and the types of those that are not read.
type Columns = (Vec<(String, Vec<String>)>, Vec<(String, String)>);

fn columns(file: &[u8]) -> PolarsResult<Columns> {
    let reader = || ParquetReader::new(Cursor::new(file)).read_parallel(ParallelStrategy::None);
    let schema = reader().schema()?;
    let (mut columns, mut unread) = (Vec::new(), Vec::new());
    // One by one: a column that cannot be read takes no other with it.
    for (at, (column, field)) in schema.iter().enumerate() {
        let (column, kind) = (column.to_string(), field.dtype());
        if !is_readable(kind) {
            unread.push((column, format!("{kind:?}")));
            continue;
        }
        let frame = reader().with_projection(Some(vec![at])).finish();
        let cells = frame.and_then(|frame| match frame.columns() {
            [cells] => written(cells),
            _ => polars_bail!(ComputeError: "it is not there"),
        });
        match cells {
            Ok(cells) => columns.push((column, cells)),
            Err(why) => unread.push((column, format!("{kind:?} ({why})"))),
        }
    }
    Ok((columns, unread))
}

/// Says whether a column holds what cells are: numbers, words, or true and false.
///
/// The others are not read at all: polars panics at some of them without features that nobody needs.
fn is_readable(kind: &ArrowDataType) -> bool {
    match kind {
        ArrowDataType::Dictionary(_, values, _) => is_readable(values),
        ArrowDataType::Utf8 | ArrowDataType::LargeUtf8 | ArrowDataType::Utf8View => true,
        ArrowDataType::Boolean | ArrowDataType::Float32 | ArrowDataType::Float64 => true,
        ArrowDataType::Int8
        | ArrowDataType::Int16
        | ArrowDataType::Int32
        | ArrowDataType::Int64
        | ArrowDataType::UInt8
        | ArrowDataType::UInt16
        | ArrowDataType::UInt32
        | ArrowDataType::UInt64 => true,
        _ => false,
    }
}

/// Writes a column's values so that reading them gives them back; null is empty.
fn written(column: &Column) -> Result<Vec<String>, PolarsError> {
    if column.dtype().is_primitive_numeric() || column.dtype() == &DataType::Boolean {
        let values = column.cast(&DataType::Float64)?;
        let write = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
        return Ok(values.f64()?.iter().map(write).collect());
    }
    let values = column.cast(&DataType::String)?;
    let write = |value: Option<&str>| value.unwrap_or("").to_owned();
    Ok(values.str()?.iter().map(write).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let columns = vec![
            Column::new("loss".into(), [Some(2.1), None]),
            Column::new("params".into(), [1_000_000_007_u64, 3]),
            Column::new("run".into(), ["a", "b"]),
        ];
        let (mut frame, mut bytes) = (DataFrame::new(2, columns).expect("a table"), Vec::new());
        let writer = ParquetWriter::new(&mut bytes);
        writer.finish(&mut frame).expect("written");
        bytes
    }

    #[test]
    fn numbers_and_words_come_back() {
        let read = super::read("t.parquet".into(), &file()).expect("read");
        assert_eq!(read.header(), ["loss", "params", "run"]);
        let rows: Vec<[&str; 3]> = (0..2)
            .map(|row| [0, 1, 2].map(|column| read.cell(row, column)))
            .collect();
        assert_eq!(rows, [["2.1", "1000000007", "a"], ["", "3", "b"]]);
        assert_eq!(read.place(1), "row 2");
    }

    #[test]
    fn a_file_that_is_cut_is_told() {
        let file = file();
        for end in [4, 8, 100, file.len() - 1] {
            assert!(
                super::read("t.parquet".into(), &file[..end]).is_err(),
                "{end}"
            );
        }
    }
}
