//! Rows of runs, whoever trained them: tables (CSV, JSON, Parquet) and stored experiments → observations.
//!
//! ```text
//! file or database ─► Table ─► Selection ─► Rows (observations, what was left out and why, notes)
//! ```
//!
//! Owns what a table's columns are called, which rows are kept, and every message about a cell: it
//! names the file, the line as an editor counts, and the column. Refuses to guess: a bad cell is an
//! error unless its row is left out, and then the reason is on record. Refuses fitting and printing.

mod claims;
mod csv;
mod error;
mod filter;
mod json;
mod own;
mod parquet;
mod read;
mod scale;
mod select;
mod stored;

pub use claims::ClaimedRuns;
pub use error::{BadCell, RowsError};
pub use scale::{Scale, ScaleError};
pub use select::{LossUnit, Runs, Selection, Wanted};
pub use stored::{ToImport, fitted_rows, stored};

use experiment::quantity;
use scaling_law::row::Row;
use std::collections::BTreeSet;
use std::path::Path;

/// Column by which rows are grouped where nothing else is said.
const RUN: &str = "run";

/// A table of cells as they are written.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What messages call it: the file as the user gave it, or the experiment.
    name: String,
    header: Vec<String>,
    /// All text; cells are parts of it.
    text: String,
    /// Start and end of every cell in the text, row by row.
    cells: Vec<(u32, u32)>,
    places: Places,
    /// Rows that were never meant to be fitted, with the reason.
    left_out: Vec<(usize, String)>,
    /// What a reader should know of the whole table.
    remarks: Vec<String>,
    /// Rows that are not meant, whatever is asked, with the reason.
    set_aside: Vec<(usize, String)>,
    /// The rows as runs, where this program wrote them; empty, or one for every row.
    known: Vec<Option<Row>>,
    /// Columns of types that are not read, with their types.
    unread: Vec<(String, String)>,
}

/// What a row is called in messages.
#[derive(Clone, Debug, Default)]
enum Places {
    /// Lines of a text file, counted from 1.
    Lines(Vec<u32>),
    /// Rows of a table without lines, counted from 1.
    #[default]
    Numbers,
    /// Files with their lines or rows.
    Files(Vec<String>),
    /// Runs of an experiment, and where imported ones come from.
    Named(Vec<String>),
}

impl Table {
    /// Reads a table of runs: CSV, JSON (lines of objects, or an array) or Parquet, told by content,
    /// compressed by gzip or zstd or not; `-` is standard input, and a pattern names one file a run.
    ///
    /// # Errors
    /// When it cannot be read, with the line and what would be right; when it is a table that an older
    /// version of this program wrote, which cannot be told apart from others' where it matters.
    pub fn read(path: &Path) -> Result<Self, RowsError> {
        stored::recognised(read::read(path)?)
    }

    /// Makes a table of cells that are no text file.
    fn of_cells<'a>(
        name: String,
        header: Vec<String>,
        cells: impl Iterator<Item = std::borrow::Cow<'a, str>>,
        places: Places,
    ) -> Result<Self, RowsError> {
        let (mut text, mut spans) = (String::new(), Vec::new());
        for cell in cells {
            let start = text.len() as u32;
            text.push_str(&cell);
            spans.push((start, text.len() as u32));
        }
        if text.len() > u32::MAX as usize {
            return Err(RowsError::TooLarge { name });
        }
        Ok(Self {
            name,
            header,
            text,
            cells: spans,
            places,
            ..Self::default()
        })
    }

    /// Leaves out the rows of these runs, whatever is asked.
    ///
    /// # Errors
    /// When one of them is no row of the table.
    pub fn leave_out(&mut self, runs: &BTreeSet<String>, why: &str) -> Result<(), RowsError> {
        let known = self.known.iter().enumerate();
        let known = known.filter_map(|(row, run)| Some((row, run.as_ref()?.id.0.as_str())));
        let known: Vec<(usize, &str)> = known.collect();
        if let Some(run) = runs
            .iter()
            .find(|run| known.iter().all(|(_, id)| id != run))
        {
            return Err(RowsError::Argument {
                argument: run.clone(),
                problem: format!("{} has no such run, so it cannot be left out", self.name),
                help: "name runs by their identity, as `orchestrator status` shows them".into(),
            });
        }
        let meant = known.into_iter().filter(|(_, id)| runs.contains(*id));
        let meant = meant
            .map(|(row, _)| (row, why.to_owned()))
            .collect::<Vec<_>>();
        self.set_aside.extend(meant);
        Ok(())
    }

    /// Returns what messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the names of its columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.cells.len() / self.header.len().max(1)
    }

    /// Returns whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Returns a cell without the white space around it; empty where nothing is written.
    pub fn cell(&self, row: usize, column: usize) -> &str {
        let (start, end) = self.cells[row * self.header.len() + column];
        self.text[start as usize..end as usize].trim()
    }

    /// Says where a row stands: `line 17`, `row 16` or `run 3f2a`.
    pub fn place(&self, row: usize) -> String {
        match &self.places {
            Places::Lines(lines) => format!("line {}", lines[row]),
            Places::Numbers => format!("row {}", row + 1),
            Places::Files(names) | Places::Named(names) => names[row].clone(),
        }
    }

    /// Returns the line of a row in a text file, or its number counted from 1.
    pub fn line(&self, row: usize) -> usize {
        match &self.places {
            Places::Lines(lines) => lines[row] as usize,
            Places::Numbers | Places::Files(_) | Places::Named(_) => row + 1,
        }
    }
}

/// Reads a cell as a number, with a suffix too, as in `0.5M`; `None` when it is something else.
fn number(cell: &str) -> Option<f64> {
    // `inf` and `nan` are numbers to Rust too, and are refused by range where they matter.
    let plain = cell.parse().ok();
    plain.or_else(|| quantity::parse_number(cell).ok())
}

/// Computes D from C = 6·N·D.
fn tokens_of(flops: f64, params: f64) -> f64 {
    flops / (6.0 * params)
}

/// Says whether nothing stands in a cell, by what programs write for it.
fn is_missing(cell: &str) -> bool {
    const WORDS: [&str; 7] = ["", "na", "n/a", "nan", "null", "none", "-"];
    WORDS.iter().any(|word| cell.eq_ignore_ascii_case(word))
}
