//! Data that look wrong though nothing in them is: refused, unless they are to be taken as they are.

use super::DataError;
use std::path::Path;

/// Whoever is asked whether doubtful data are refused; keeps what was accepted, to be said.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    accept: bool,
    /// What looked wrong and was accepted, and what is less than a doubt.
    pub(super) warnings: Vec<String>,
}

impl Doubts {
    pub(super) fn new(accept: bool) -> Self {
        Self {
            accept,
            warnings: Vec::new(),
        }
    }

    /// Refuses what looks wrong, or keeps it as a warning.
    ///
    /// `looks` is said of the file, `right` says what to do.
    pub(super) fn raise(
        &mut self,
        path: &Path,
        looks: String,
        right: String,
    ) -> Result<(), DataError> {
        if self.accept {
            self.warnings
                .push(format!("`{}` {looks}; {right}", path.display()));
            return Ok(());
        }
        Err(DataError::Doubtful {
            path: path.to_owned(),
            looks,
            right,
        })
    }
}
