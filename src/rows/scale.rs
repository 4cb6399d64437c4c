//! `--scale`: columns in other units than laws read.

use super::{RowsError, Selection, Table, number};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// How the numbers of a column become what laws read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Times a number, such as 1e6 for a column in millions.
    Times(f64),
    /// They are decimal logarithms.
    Log10,
    /// They are natural logarithms.
    Ln,
}

/// A scale must be a number above 0 or a logarithm.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no number above 0, nor `log10` or `ln`")]
pub struct ScaleError(String);

impl FromStr for Scale {
    type Err = ScaleError;

    fn from_str(text: &str) -> Result<Self, ScaleError> {
        match text {
            "log10" => Ok(Self::Log10),
            "ln" => Ok(Self::Ln),
            text => number(text)
                .filter(|factor| *factor > 0.0 && factor.is_finite())
                .map(Self::Times)
                .ok_or_else(|| ScaleError(text.to_owned())),
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(factor) => write!(f, "multiplied by {factor:e}"),
            Self::Log10 => f.write_str("read as decimal logarithms"),
            Self::Ln => f.write_str("read as natural logarithms"),
        }
    }
}

impl Scale {
    fn apply(self, value: f64) -> f64 {
        match self {
            Self::Times(factor) => value * factor,
            Self::Log10 => 10f64.powf(value),
            Self::Ln => value.exp(),
        }
    }
}

impl Table {
    /// Takes the columns whose scales are stated in the units that laws read.
    ///
    /// # Errors
    /// When a column is not there, or the table's units are known.
    pub fn scaled(self, selection: &Selection) -> Result<Self, RowsError> {
        if selection.scales.is_empty() {
            return Ok(self);
        }
        let names = self.names(selection)?;
        let mut scales = vec![None; self.header.len()];
        let mut remarks = self.remarks.clone();
        for (column, scale) in &selection.scales {
            let refused = |problem: &str, help: &str| RowsError::Argument {
                argument: format!("--scale {column}"),
                problem: problem.to_owned(),
                help: help.to_owned(),
            };
            if self.known.iter().any(Option::is_some) {
                return Err(refused(
                    "these are runs of this program, whose units are known",
                    "leave --scale out",
                ));
            }
            // Either name is meant: the law's, or the table's own.
            let own = self.header.iter().position(|name| name == column);
            let at = match names.iter().position(|name| name == column).or(own) {
                Some(at) => at,
                None => self.position(&names, column, "")?,
            };
            if scales[at].replace(*scale).is_some() {
                return Err(refused("the column is scaled twice", "state one scale"));
            }
            remarks.push(format!("`{column}` is {scale}"));
        }
        let cells = (0..self.cells.len()).map(|at| {
            let (row, column) = (at / self.header.len(), at % self.header.len());
            let cell = self.cell(row, column);
            match scales[column].zip(number(cell)) {
                Some((scale, value)) => Cow::Owned(scale.apply(value).to_string()),
                None => Cow::Borrowed(cell),
            }
        });
        let made = Self::of_cells(
            self.name.clone(),
            self.header.clone(),
            cells,
            self.places.clone(),
        )?;
        Ok(Self {
            text: made.text,
            cells: made.cells,
            remarks,
            ..self
        })
    }
}
