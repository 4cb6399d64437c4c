//! Stored numbers → files: tables, figures, exports and the report.
//!
//! Every figure is drawn from stored runs, measurements and an
//! [`AnalysisResult`](scaling_law::analysis::AnalysisResult) alone. Refuses training and fitting.

pub mod comparison;
pub mod export;
pub mod html;
pub mod plots;
pub mod tables;
mod whole_file;

use std::path::{Path, PathBuf};
use whole_file::WholeFile;

/// What can go wrong when a report is written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A figure cannot be drawn.
    #[error("cannot draw `{figure}`: {message}")]
    Draw {
        /// The figure.
        figure: String,
        /// What the drawing library said.
        message: String,
    },
    /// A figure cannot have what was to replace its own words and limits.
    #[error("`{figure}`: {message}")]
    Override {
        /// The figure.
        figure: String,
        /// Why.
        message: String,
    },
    /// Something stored cannot be written as JSON.
    #[error("cannot write as JSON: {source}")]
    Json {
        /// Why.
        source: serde_json::Error,
    },
    /// A table cannot be made or written.
    #[error("cannot write the table {}: {source}", path.display())]
    Table {
        /// The file, or the table's name before it has one.
        path: PathBuf,
        /// Why.
        source: polars::error::PolarsError,
    },
}

/// Writes a file under a temporary name and renames it, so that nobody sees half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let mut file = WholeFile::create(path)?;
    file.put(bytes)?;
    file.finish().map(drop)
}
