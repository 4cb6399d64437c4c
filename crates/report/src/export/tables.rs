//! CSV and Parquet: a file a table.

use super::{ExportError, Source};
use crate::tables::{
    ATTEMPTS, Attempted, MEASUREMENTS, Measured, SCORES, Scored, fits, refused, runs, table,
};
use crate::{ReportError, WholeFile};
use polars::io::csv::write::BatchedWriter as CsvBatches;
use polars::io::parquet::write::BatchedWriter as ParquetBatches;
use polars::prelude::*;
use std::path::{Path, PathBuf};

/// Rows that are collected before they are written: a row group of Parquet.
const BATCH: usize = 1 << 16;

/// The form of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Text with a header; what is missing is empty.
    Csv,
    /// Apache Parquet; what is missing is null.
    Parquet,
}

impl TableFormat {
    fn path(self, folder: &Path, name: &str) -> PathBuf {
        folder.join(match self {
            Self::Csv => format!("{name}.csv"),
            Self::Parquet => format!("{name}.parquet"),
        })
    }
}

pub(super) async fn write(
    source: &Source<'_>,
    format: TableFormat,
    folder: &Path,
) -> Result<Vec<PathBuf>, ExportError> {
    let store = source.store;
    let mut written = vec![write_one(runs(&source.runs)?, format, folder, "runs")?];

    let path = format.path(folder, "measurements");
    let mut file = WholeFile::create(&path)?;
    let mut rows: Vec<Measured> = Vec::new();
    let mut batches = Batches::new(
        format,
        &path,
        &mut file,
        table("measurements", MEASUREMENTS, &rows)?.schema(),
    )?;
    for run in &source.runs {
        let measurements = store.measurements(&run.id).await?.into_iter();
        rows.extend(measurements.map(|measurement| Measured {
            run: run.id.clone(),
            measurement,
        }));
        if rows.len() >= BATCH {
            batches.write(&table("measurements", MEASUREMENTS, &rows)?)?;
            rows.clear();
        }
    }
    if !rows.is_empty() {
        batches.write(&table("measurements", MEASUREMENTS, &rows)?)?;
    }
    batches.finish()?;
    written.push(file.finish()?);

    let mut attempts = Vec::new();
    for run in &source.runs {
        let history = store.history(&run.id).await?.into_iter();
        attempts.extend(history.map(|attempt| Attempted {
            run: run.id.clone(),
            attempt,
        }));
    }
    let attempts = table("attempts", ATTEMPTS, &attempts)?;
    written.push(write_one(attempts, format, folder, "attempts")?);

    let scores = store.scores(source.experiment).await?;
    let scores = scores
        .iter()
        .flat_map(|(run, scores)| Scored::of_run(run, scores));
    let scores = table("scores", SCORES, &scores.collect::<Vec<_>>())?;
    written.push(write_one(scores, format, folder, "scores")?);

    let fits = fits(&store.fits(source.experiment).await?)?;
    written.push(write_one(fits, format, folder, "fits")?);
    Ok(written)
}

fn write_one(
    table: DataFrame,
    format: TableFormat,
    folder: &Path,
    name: &str,
) -> Result<PathBuf, ReportError> {
    let path = format.path(folder, name);
    let mut file = WholeFile::create(&path)?;
    let mut batches = Batches::new(format, &path, &mut file, table.schema())?;
    batches.write(&table)?;
    batches.finish()?;
    file.finish()
}

/// A table that is written piece by piece.
struct Batches<'a> {
    path: &'a Path,
    form: Form<'a>,
}

enum Form<'a> {
    Csv(CsvBatches<&'a mut WholeFile>),
    Parquet(Box<ParquetBatches<&'a mut WholeFile>>),
}

impl<'a> Batches<'a> {
    fn new(
        format: TableFormat,
        path: &'a Path,
        file: &'a mut WholeFile,
        schema: &Schema,
    ) -> Result<Self, ReportError> {
        let form = match format {
            TableFormat::Csv => CsvWriter::new(file).batched(schema).map(Form::Csv),
            TableFormat::Parquet => ParquetWriter::new(file)
                .with_compression(ParquetCompression::Uncompressed)
                .batched(schema)
                .map(|batches| Form::Parquet(Box::new(batches))),
        };
        let form = form.map_err(|source| refused(path, source))?;
        Ok(Self { path, form })
    }

    fn write(&mut self, rows: &DataFrame) -> Result<(), ReportError> {
        match &mut self.form {
            Form::Csv(batches) => batches.write_batch(rows),
            Form::Parquet(batches) => batches.write_batch(rows),
        }
        .map_err(|source| refused(self.path, source))
    }

    fn finish(mut self) -> Result<(), ReportError> {
        match &mut self.form {
            Form::Csv(batches) => batches.finish(),
            Form::Parquet(batches) => batches.finish().map(drop),
        }
        .map_err(|source| refused(self.path, source))
    }
}
