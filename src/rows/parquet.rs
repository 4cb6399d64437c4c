//! Parquet files → a table.

use super::{Places, RowsError, Table};
use experiment::parquet::{Holds, Parquet};
use std::borrow::Cow;

pub(super) fn read(name: String, file: Vec<u8>) -> Result<Table, RowsError> {
    let refused = |why: String| RowsError::Parquet {
        name: name.clone(),
        why,
    };
    let file = Parquet::open(file).map_err(refused)?;
    let (mut header, mut columns, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    // One by one: a column that cannot be read takes no other with it.
    for column in file.columns() {
        let holds = column.holds.words();
        if let Holds::Other(_) | Holds::Bytes = column.holds {
            unread.push((column.name.clone(), holds.to_owned()));
            continue;
        }
        match file.cells(column) {
            Ok(cells) => {
                header.push(column.name.clone());
                columns.push(cells);
            }
            Err(why) => unread.push((column.name.clone(), format!("{holds} ({why})"))),
        }
    }
    let cells = (0..file.rows()).flat_map(|row| {
        let cells = columns.iter().map(move |cells| cells[row].as_deref());
        cells.map(|cell| Cow::Borrowed(cell.unwrap_or("")))
    });
    let table = Table::of_cells(name, header, cells, Places::Numbers)?;
    Ok(Table { unread, ..table })
}

#[cfg(test)]
mod tests {
    use polars::prelude::*;

    fn file() -> Vec<u8> {
        let columns = vec![
            Column::new("loss".into(), [Some(2.1), None]),
            Column::new("params".into(), [1_000_000_007_u64, u64::MAX]),
            Column::new("run".into(), ["a", "b"]),
        ];
        let (mut frame, mut bytes) = (DataFrame::new(2, columns).expect("a table"), Vec::new());
        let writer = ParquetWriter::new(&mut bytes);
        writer.finish(&mut frame).expect("written");
        bytes
    }

    #[test]
    fn numbers_and_words_come_back() {
        let read = super::read("t.parquet".into(), file()).expect("read");
        assert_eq!(read.header(), ["loss", "params", "run"]);
        let rows: Vec<[&str; 3]> = (0..2)
            .map(|row| [0, 1, 2].map(|column| read.cell(row, column)))
            .collect();
        let most = u64::MAX.to_string();
        assert_eq!(rows, [["2.1", "1000000007", "a"], ["", &most, "b"]]);
        assert_eq!(read.place(1), "row 2");
    }

    #[test]
    fn a_file_that_is_cut_is_told() {
        let file = file();
        for end in [4, 8, 100, file.len() - 1] {
            let cut = file[..end].to_vec();
            assert!(super::read("t.parquet".into(), cut).is_err(), "{end}");
        }
    }
}
