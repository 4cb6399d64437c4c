//! Parquet files → a table.

use super::{Places, RowsError, Table};
use polars::prelude::*;
use std::borrow::Cow;
use std::path::Path;

pub(super) fn read(path: &Path) -> Result<Table, RowsError> {
    let file = std::fs::File::open(path).map_err(|source| RowsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let refused = |error: PolarsError| RowsError::Parquet {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let frame = ParquetReader::new(file).finish().map_err(refused)?;
    let header: Vec<String> = frame
        .get_column_names()
        .into_iter()
        .map(ToString::to_string)
        .collect();
    let columns = frame
        .columns()
        .iter()
        .map(written)
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    let cells = (0..frame.height()).flat_map(|row| {
        columns
            .iter()
            .map(move |column| Cow::Borrowed(column[row].as_str()))
    });
    Table::of_cells(path.display().to_string(), header, cells, Places::Numbers)
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

    #[test]
    fn numbers_and_words_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.parquet");
        let columns = vec![
            Column::new("loss".into(), [Some(2.1), None]),
            Column::new("params".into(), [1_000_000_007_u64, 3]),
            Column::new("run".into(), ["a", "b"]),
        ];
        let mut frame = DataFrame::new(2, columns).expect("a table");
        let file = std::fs::File::create(&path).expect("made");
        ParquetWriter::new(file)
            .finish(&mut frame)
            .expect("written");
        let read = Table::read(&path).expect("read");
        assert_eq!(read.header(), ["loss", "params", "run"]);
        let rows: Vec<[&str; 3]> = (0..2)
            .map(|row| [0, 1, 2].map(|column| read.cell(row, column)))
            .collect();
        assert_eq!(rows, [["2.1", "1000000007", "a"], ["", "3", "b"]]);
        assert_eq!(read.place(1), "row 2");
    }
}
