//! Runs and measurements as tables, for CSV and Parquet. What is missing is null, never 0.

use super::{ReportError, write_whole};
use crate::event::Measurement;
use crate::run::RunId;
use crate::store::RunRecord;
use polars::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Makes the table of runs, in plan order.
///
/// # Units
/// Columns: `id`; `kind` (dlcm or dense); `state`; `outcome`; `params` (N, non-embedding, as built);
/// `tokens` (D); `concept_share` (P, as built; 0 when dense); `compression_ratio` (declared R, tokens
/// per concept; 1 when dense); `realised_ratio` (in evaluation) and `realised_sampled` (in training);
/// `seed`; `loss` (held-out, nats per token); `bits_per_byte`; `flops` (training, `exact`, spent) and
/// `planned_flops`, a branch's with its trunk's; `concept_gain` and `boundary_gain` (nats per token);
/// `part` (of a training: whole, trunk or branch); `start_run` (the run it goes on from); then
/// `axis.NAME` for every axis of the experiment, as written.
///
/// # Errors
/// When the table library refuses.
pub fn runs(runs: &[RunRecord]) -> Result<DataFrame, ReportError> {
    let text = |name: &str, value: fn(&RunRecord) -> Option<String>| {
        Column::new(name.into(), runs.iter().map(value).collect::<Vec<_>>())
    };
    let count = |name: &str, value: fn(&RunRecord) -> u64| {
        Column::new(name.into(), runs.iter().map(value).collect::<Vec<_>>())
    };
    let number = |name: &str, value: fn(&RunRecord) -> Option<f64>| {
        Column::new(name.into(), runs.iter().map(value).collect::<Vec<_>>())
    };
    let mut columns = vec![
        text("id", |run| Some(run.id.0.clone())),
        text("kind", |run| Some(run.kind.clone())),
        text("state", |run| Some(run.state.name().to_owned())),
        text("outcome", |run| {
            run.outcome.map(|outcome| outcome.name().to_owned())
        }),
        count("params", |run| run.params),
        count("tokens", |run| run.tokens),
        number("concept_share", |run| Some(run.concept_share)),
        number("compression_ratio", |run| Some(run.compression_ratio)),
        number("realised_ratio", |run| run.realised_ratio),
        number("realised_sampled", |run| run.realised_sampled),
        count("seed", |run| run.seed),
        number("loss", |run| run.loss),
        number("bits_per_byte", |run| run.bits_per_byte),
        number("flops", |run| run.flops),
        number("planned_flops", |run| Some(run.planned_flops)),
        number("concept_gain", |run| run.concept_gain),
        number("boundary_gain", |run| run.boundary_gain),
        text("part", |run| Some(run.part.name().to_owned())),
        text("start_run", |run| {
            run.start_run.as_ref().map(|run| run.0.clone())
        }),
    ];
    let axes: BTreeSet<&String> = runs.iter().flat_map(|run| run.axes.keys()).collect();
    for axis in axes {
        let values: Vec<Option<&str>> = runs
            .iter()
            .map(|run| run.axes.get(axis).map(String::as_str))
            .collect();
        columns.push(Column::new(format!("axis.{axis}").into(), values));
    }
    table("runs", runs.len(), columns)
}

/// Makes the table of measurements, by run and step.
///
/// # Units
/// Columns: `run`; `step`; `tokens` (seen); `flops` (training, `exact`, so far); `loss` (of the
/// step's batch) and `validation_loss`, nats per token; `bits_per_byte`; `realised_sampled` and
/// `realised_thresholded` (tokens per concept); `concept_gain` and `boundary_gain` (nats per token);
/// `auxiliary_loss` (not weighted); `gradient_norm` (before clipping); `rate_share` (of the base
/// rates); `tokens_per_second`.
///
/// # Errors
/// When the table library refuses.
pub fn measurements(
    measurements: &BTreeMap<RunId, Vec<Measurement>>,
) -> Result<DataFrame, ReportError> {
    let rows: Vec<(&RunId, &Measurement)> = measurements
        .iter()
        .flat_map(|(run, rows)| rows.iter().map(move |row| (run, row)))
        .collect();
    let count = |name: &str, value: fn(&Measurement) -> u64| {
        Column::new(
            name.into(),
            rows.iter().map(|(_, row)| value(row)).collect::<Vec<_>>(),
        )
    };
    let number = |name: &str, value: fn(&Measurement) -> Option<f64>| {
        Column::new(
            name.into(),
            rows.iter().map(|(_, row)| value(row)).collect::<Vec<_>>(),
        )
    };
    let ids: Vec<&str> = rows.iter().map(|(run, _)| run.0.as_str()).collect();
    let columns = vec![
        Column::new("run".into(), ids),
        count("step", |row| row.step),
        count("tokens", |row| row.tokens),
        number("flops", |row| Some(row.flops)),
        number("loss", |row| row.loss),
        number("validation_loss", |row| row.validation_loss),
        number("bits_per_byte", |row| row.bits_per_byte),
        number("realised_sampled", |row| row.realised_sampled),
        number("realised_thresholded", |row| row.realised_thresholded),
        number("concept_gain", |row| row.concept_gain),
        number("boundary_gain", |row| row.boundary_gain),
        number("auxiliary_loss", |row| row.auxiliary_loss),
        number("gradient_norm", |row| row.gradient_norm),
        number("rate_share", |row| row.rate_share),
        number("tokens_per_second", |row| row.tokens_per_second),
    ];
    table("measurements", rows.len(), columns)
}

fn table(name: &str, rows: usize, columns: Vec<Column>) -> Result<DataFrame, ReportError> {
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

/// Writes a table as Parquet.
///
/// # Errors
/// When the file cannot be written.
pub fn write_parquet(table: &mut DataFrame, path: &Path) -> Result<(), ReportError> {
    write_whole(path, &parquet(table)?)
}

fn refused(path: &Path, source: PolarsError) -> ReportError {
    ReportError::Table {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::simulated;

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
        assert!(text.starts_with("id,kind,state,outcome,params,"));
        assert_eq!(text.lines().count(), records.len() + 1);
        write_parquet(&mut table, &folder.path().join("runs.parquet")).expect("written");
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("listed").collect();
        assert_eq!(left.len(), 2, "no temporary file is left");
    }

    #[test]
    fn no_runs_are_an_empty_table() {
        assert_eq!(runs(&[]).expect("a table").height(), 0);
        assert_eq!(measurements(&BTreeMap::new()).expect("a table").height(), 0);
    }
}
