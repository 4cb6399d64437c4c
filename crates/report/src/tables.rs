//! What is stored as tables, for CSV and Parquet. What is missing is null, never 0.

mod columns;
mod fitted;

pub use columns::{
    ATTEMPTS, Attempted, FITS, Listed, MEASUREMENTS, Measured, RUNS, SCORES, Scored,
};
pub use fitted::FittedParameter;

use super::{ReportError, write_whole};
use campaign::store::{RunRecord, StoredFit};
use fitted::fitted_parameters;
use polars::prelude::*;
use scaling_law::analysis::worth_by_run;
use scaling_law::row::rows;
use std::collections::BTreeSet;
use std::path::Path;

/// A column: what it is called, what it holds, and where a row has it.
pub struct TableColumn<R> {
    /// Its name.
    pub name: &'static str,
    /// The unit of its values; empty where they have none.
    pub unit: &'static str,
    /// What they say.
    pub meaning: &'static str,
    pub(super) cell: Cell<R>,
}

/// The type of a column, and how a row's value is found; `None` is null.
pub(super) enum Cell<R> {
    Text(fn(&R) -> Option<String>),
    Count(fn(&R) -> Option<u64>),
    Number(fn(&R) -> Option<f64>),
    Flag(fn(&R) -> Option<bool>),
}

impl<R> TableColumn<R> {
    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self.cell {
            Cell::Text(_) => "text",
            Cell::Count(_) => "count",
            Cell::Number(_) => "number",
            Cell::Flag(_) => "flag",
        }
    }

    /// Collects the rows' values.
    fn of(&self, rows: &[R]) -> Column {
        let name = self.name.into();
        match self.cell {
            Cell::Text(get) => Column::new(name, rows.iter().map(get).collect::<Vec<_>>()),
            Cell::Count(get) => Column::new(name, rows.iter().map(get).collect::<Vec<_>>()),
            Cell::Number(get) => Column::new(name, rows.iter().map(get).collect::<Vec<_>>()),
            Cell::Flag(get) => Column::new(name, rows.iter().map(get).collect::<Vec<_>>()),
        }
    }
}

/// Makes a table of rows.
///
/// # Errors
/// When the table library refuses.
pub fn table<R>(
    name: &str,
    columns: &[TableColumn<R>],
    rows: &[R],
) -> Result<DataFrame, ReportError> {
    let columns = columns.iter().map(|column| column.of(rows)).collect();
    framed(name, rows.len(), columns)
}

/// Makes the table of runs, in plan order: the columns of [`RUNS`], then `axis.NAME` for every axis
/// of the experiment, as written.
///
/// # Errors
/// When the table library refuses.
pub fn runs(runs: &[RunRecord]) -> Result<DataFrame, ReportError> {
    let rows = rows(runs);
    let worth = worth_by_run(&rows);
    let listed = runs.iter().zip(rows).map(|(run, row)| Listed {
        record: run.clone(),
        row,
        concept_worth: worth.get(&run.id).copied(),
    });
    let listed: Vec<Listed> = listed.collect();
    let mut columns: Vec<Column> = RUNS.iter().map(|column| column.of(&listed)).collect();
    let axes: BTreeSet<&String> = runs.iter().flat_map(|run| run.axes.keys()).collect();
    for axis in axes {
        let values: Vec<Option<&str>> = runs
            .iter()
            .map(|run| run.axes.get(axis).map(String::as_str))
            .collect();
        columns.push(Column::new(format!("axis.{axis}").into(), values));
    }
    framed("runs", runs.len(), columns)
}

/// Makes the table of fits: a row a parameter of every law, in the order of the fits.
///
/// # Errors
/// When the table library refuses.
pub fn fits(stored: &[StoredFit]) -> Result<DataFrame, ReportError> {
    let parameters: Vec<FittedParameter> = stored.iter().flat_map(fitted_parameters).collect();
    table("fits", FITS, &parameters)
}

fn framed(name: &str, rows: usize, columns: Vec<Column>) -> Result<DataFrame, ReportError> {
    DataFrame::new(rows, columns).map_err(|source| refused(Path::new(name), source))
}

/// Makes the CSV of a table, with a header; missing values are empty.
///
/// # Errors
/// When the table library refuses.
pub fn csv(table: &mut DataFrame) -> Result<Vec<u8>, ReportError> {
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes)
        .finish(table)
        .map_err(|source| refused(Path::new("CSV"), source))?;
    Ok(bytes)
}

/// Makes the Parquet file of a table.
///
/// # Errors
/// When the table library refuses.
pub fn parquet(table: &mut DataFrame) -> Result<Vec<u8>, ReportError> {
    let mut bytes = Vec::new();
    let uncompressed = ParquetCompression::Uncompressed;
    ParquetWriter::new(&mut bytes)
        .with_compression(uncompressed)
        .finish(table)
        .map_err(|source| refused(Path::new("Parquet"), source))?;
    Ok(bytes)
}

/// Writes a table as CSV, with a header; missing values are empty.
///
/// # Errors
/// When the file cannot be written.
pub fn write_csv(table: &mut DataFrame, path: &Path) -> Result<(), ReportError> {
    write_whole(path, &csv(table)?)
}

pub(super) fn refused(path: &Path, source: PolarsError) -> ReportError {
    ReportError::Table {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaling_law::analysis::simulated;

    #[test]
    fn missing_is_null_and_files_are_whole() {
        let mut records = simulated::QUICK.runs();
        records[0].loss = None;
        records[0].outcome = None;
        let mut table = runs(&records).expect("a table");
        assert_eq!(table.height(), records.len());
        let nulls = |name: &str| table.column(name).expect("a column").null_count();
        assert_eq!(
            (nulls("loss"), nulls("outcome"), nulls("params")),
            (1, 1, 0)
        );
        // The dense runs have no realised R and no such axis.
        assert_eq!(
            (nulls("realised_ratio"), nulls("axis.compression_ratio")),
            (2, 2)
        );
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/runs.csv");
        write_csv(&mut table, &path).expect("written");
        let text = std::fs::read_to_string(&path).expect("readable");
        assert!(text.starts_with("id,run,kind,state,outcome,params,"));
        assert_eq!(text.lines().count(), records.len() + 1);
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("listed").collect();
        assert_eq!(left.len(), 1, "no temporary file is left");
    }

    #[test]
    fn no_runs_are_an_empty_table() {
        assert_eq!(runs(&[]).expect("a table").height(), 0);
        let empty = table("measurements", MEASUREMENTS, &[]).expect("a table");
        assert_eq!((empty.height(), empty.width()), (0, MEASUREMENTS.len()));
    }
}
