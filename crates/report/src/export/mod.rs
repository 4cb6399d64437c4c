//! An experiment's stored numbers → files for other programs.
//!
//! docs/exports.md describes them. Measurements are read and written run by run: memory does not
//! grow with the grid. Every file is written whole or not at all.

mod json;
mod name;
mod tables;
mod tensorboard;
mod wandb;

pub use tables::TableFormat;

use super::ReportError;
use campaign::store::{RunRecord, Store, StoreError};
use std::path::{Path, PathBuf};

/// What files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Tables: runs, measurements, attempts, scores and fits.
    Table(TableFormat),
    /// One document of everything.
    Json,
    /// Event files, a folder a run.
    Tensorboard,
    /// JSON lines, a file a run, for `scripts/wandb_import.py`.
    Wandb,
}

/// What can go wrong in an export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The numbers cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The files cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// Writes an experiment's runs, and what was measured, tried and fitted, to files in a folder;
/// returns the files.
///
/// Runs that the experiment's file no longer asks for are left out.
///
/// # Errors
/// When the numbers cannot be read or the files not written.
pub async fn export(
    store: &Store,
    experiment: i64,
    format: Format,
    folder: &Path,
) -> Result<Vec<PathBuf>, ExportError> {
    let source = Source {
        store,
        experiment,
        runs: store.runs(experiment).await?,
    };
    match format {
        Format::Table(format) => tables::write(&source, format, folder).await,
        Format::Json => json::write(&source, folder).await,
        Format::Tensorboard => tensorboard::write(&source, folder).await,
        Format::Wandb => wandb::write(&source, folder).await,
    }
}

/// What is exported.
struct Source<'a> {
    store: &'a Store,
    experiment: i64,
    /// In plan order.
    runs: Vec<RunRecord>,
}
