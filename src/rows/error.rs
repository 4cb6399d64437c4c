//! What can be wrong with a table of runs: where, what was found, and what would be right.

use scaling_law::fit::ObservationError;
use std::path::PathBuf;

/// Why rows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; is the path right?", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a table.
    #[error("{name}, line {line}: {problem}; {help}")]
    Format {
        /// The file.
        name: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
        /// What would be right.
        help: String,
    },
    /// The Parquet file cannot be read.
    #[error("cannot read {name} as Parquet: {why}")]
    Parquet {
        /// The file.
        name: String,
        /// Why.
        why: String,
    },
    /// The file is something else than a table.
    #[error("{name} is {what}")]
    NoTable {
        /// The file.
        name: String,
        /// What it is, and what would be right.
        what: &'static str,
    },
    /// An older version of this program wrote the table.
    #[error(
        "{name} was written by an older version of this program: it does not tell the declared R from \
         the realised one, nor a branch from its trunk, so laws fitted to it would be wrong; write it \
         again with `orchestrator fit EXPERIMENT` or `orchestrator export EXPERIMENT`, or fit the \
         experiment itself"
    )]
    Older {
        /// The table.
        name: String,
    },
    /// The table is larger than can be held.
    #[error("{name} holds more than 4 GiB of text; split it, or keep fewer columns")]
    TooLarge {
        /// The table.
        name: String,
    },
    /// There is nothing to use.
    #[error("{name}: there is nothing to fit: {what}")]
    Empty {
        /// The table.
        name: String,
        /// What is missing.
        what: &'static str,
    },
    /// No row is left.
    #[error("{name}: none of {rows} rows is left to fit: {reasons}")]
    NoneLeft {
        /// The table.
        name: String,
        /// Rows there are.
        rows: usize,
        /// Why they are left out, with their numbers.
        reasons: String,
    },
    /// A column is not there.
    #[error("{name} has no column `{column}`{why}; it has {}{help}", available.join(", "))]
    MissingColumn {
        /// The table.
        name: String,
        /// The missing column.
        column: String,
        /// Who needs it.
        why: String,
        /// The columns there are.
        available: Vec<String>,
        /// What may have been meant.
        help: String,
    },
    /// A column's type is none that is read.
    #[error(
        "{name}: column `{column}` holds {kind}, which are not read; write it as numbers or as text"
    )]
    Unread {
        /// The table.
        name: String,
        /// The column.
        column: String,
        /// Its type.
        kind: String,
    },
    /// Several columns have the name that is asked for, and differ.
    #[error("{name}: {columns} columns are called `{column}`, and differ; keep one of them")]
    Ambiguous {
        /// The table.
        name: String,
        /// The name.
        column: String,
        /// How many have it.
        columns: usize,
    },
    /// A cell cannot be used.
    #[error(transparent)]
    Cell(Box<BadCell>),
    /// An argument cannot be used.
    #[error("`{argument}`: {problem}; {help}")]
    Argument {
        /// The argument as given.
        argument: String,
        /// What is wrong.
        problem: String,
        /// What would be right.
        help: String,
    },
    /// The rows do not make observations.
    #[error(transparent)]
    Observations(#[from] ObservationError),
}

/// A cell that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}, {place}: {column} is {found}, which must be {expected}{more}")]
pub struct BadCell {
    /// The table.
    pub name: String,
    /// The line, row or run.
    pub place: String,
    /// The column, in quotes.
    pub column: String,
    /// What stands there.
    pub found: String,
    /// What would be right.
    pub expected: String,
    /// How many more there are, and what can be done.
    pub more: String,
}

impl From<BadCell> for RowsError {
    fn from(cell: BadCell) -> Self {
        Self::Cell(Box::new(cell))
    }
}
