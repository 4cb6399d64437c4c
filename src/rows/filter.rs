//! `--where`: which rows are kept.

use super::{RowsError, Table, is_missing, number};
use experiment::expression::{Expression, Names, Value, Wrong, truth};
use experiment::spelling::nearest;
use std::cell::Cell;
use std::collections::BTreeSet;

/// A column as an expression sees it.
pub(super) struct Column {
    index: usize,
    kind: Kind,
}

/// What all cells of a column are where something stands in them.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Numbers,
    /// True or false, which are 1 and 0.
    Truths,
    Words,
}

/// The columns of a table as names.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) table: &'a Table,
    pub(super) header: &'a [String],
}

impl Cells<'_> {
    /// What stands in a cell; nothing where it is missing.
    fn value(&self, row: usize, column: &Column) -> Value {
        let cell = self.table.cell(row, column.index);
        let number = match column.kind {
            // `none` may be a word among words.
            Kind::Words if !cell.is_empty() => return Value::Word(cell.to_owned()),
            Kind::Numbers => number(cell).filter(|value| !value.is_nan()),
            Kind::Truths => truth(cell),
            Kind::Words => None,
        };
        number.map_or(Value::Missing, Value::Number)
    }

    fn kind(&self, index: usize) -> Kind {
        let cells = (0..self.table.len()).map(|row| self.table.cell(row, index));
        let cells = cells.filter(|cell| !is_missing(cell));
        let all = |is: fn(&str) -> bool| cells.clone().all(is);
        if all(|cell| number(cell).is_some()) {
            Kind::Numbers
        } else if all(|cell| truth(cell).is_some()) {
            Kind::Truths
        } else {
            Kind::Words
        }
    }
}

impl Names for Cells<'_> {
    type Name = Column;

    fn find(&self, name: &str) -> Result<Column, String> {
        let names = || self.header.iter().map(String::as_str);
        let unread = self.table.unread.iter().any(|(column, _)| column == name);
        if unread || names().any(|column| column == name) {
            let found = self.table.position(self.header, name, "");
            let index = found.map_err(|why| why.to_string())?;
            return Ok(Column {
                index,
                kind: self.kind(index),
            });
        }
        // An axis of the grid may be meant by its own name.
        let axis = format!("axis.{name}");
        if names().any(|column| column == axis) {
            return self.find(&axis);
        }
        // `eval/loss` without its quotes is read as a division.
        let begins = |column: &&str| !name.is_empty() && column.starts_with(name);
        let quoted = names().find(begins).filter(|column| !is_plain(column));
        Err(match (quoted, nearest(name, names())) {
            (Some(column), _) => {
                format!("write `{column}` between backticks: its name is no plain word")
            }
            (None, Some(meant)) => format!("did you mean `{meant}`?"),
            (None, None) => format!(
                "columns are {}; a word to compare with stands on the right, as in split=train",
                self.header.join(", ")
            ),
        })
    }

    fn bare_words(&self) -> bool {
        true
    }
}

fn is_plain(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_alphanumeric() || c == '_' || c == '.')
}

/// Which rows an expression keeps, and what its columns lack.
pub(super) struct Kept {
    /// Whether it holds, for every row.
    pub(super) rows: Vec<bool>,
    /// Rows in which nothing stands in a column that it reads.
    pub(super) missing: usize,
}

/// Finds the rows for which an expression over the columns holds. What is missing is unequal to
/// everything, and neither more nor less than anything.
pub(super) fn keep(table: &Table, header: &[String], text: &str) -> Result<Kept, RowsError> {
    let wrong = |wrong: Wrong| {
        let written: String = text
            .get(wrong.span.0..wrong.span.1)
            .unwrap_or("")
            .to_owned();
        let at = if written.is_empty() || wrong.why.contains(&written) || written == text {
            String::new()
        } else {
            format!(" (at `{written}`)")
        };
        RowsError::Argument {
            argument: format!("--where {text}"),
            problem: format!("{}{at}", wrong.why),
            help: match wrong.help.as_str() {
                "" => "write it like --where 'used=true' or --where 'params < 1e9 and split=train'"
                    .to_owned(),
                help => help.to_owned(),
            },
        }
    };
    let cells = Cells { table, header };
    let expression = Expression::parse(text, &cells).map_err(wrong)?;
    let missing = Cell::new(0);
    let truth_of = |row: usize| -> Result<bool, RowsError> {
        let lacks = Cell::new(false);
        let value = |column: &Column| {
            let value = cells.value(row, column);
            lacks.set(lacks.get() || matches!(value, Value::Missing));
            Ok(value)
        };
        let holds = expression.truth(&value).map_err(wrong)?;
        missing.set(missing.get() + usize::from(lacks.get()));
        Ok(holds)
    };
    let rows = (0..table.len()).map(truth_of).collect::<Result<_, _>>()?;
    Ok(Kept {
        rows,
        missing: missing.get(),
    })
}

/// Finds for every row whether an expression holds.
pub(super) fn truths(cells: &Cells<'_>, text: &str) -> Result<Vec<bool>, Wrong> {
    let expression = Expression::parse(text, cells)?;
    let rows = 0..cells.table.len();
    rows.map(|row| expression.truth(&|column| Ok(cells.value(row, column))))
        .collect()
}

/// Computes an expression for every row; not a number where something is missing.
pub(super) fn numbers(cells: &Cells<'_>, text: &str) -> Result<Vec<f64>, Wrong> {
    let expression = Expression::parse(text, cells)?;
    let rows = 0..cells.table.len();
    rows.map(|row| expression.number(&|column| Ok(cells.value(row, column))))
        .collect()
}

/// Lists the columns that an expression names.
pub(super) fn named(cells: &Cells<'_>, text: &str) -> Result<BTreeSet<String>, Wrong> {
    let expression = Expression::parse(text, cells)?;
    let names = expression.names();
    Ok(names
        .map(|column| cells.header[column.index].clone())
        .collect())
}
