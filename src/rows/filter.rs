//! `--where`: which rows are kept.

use super::{RowsError, Table, number};
use experiment::expression::{Expression, Names, NoValue, Value, Wrong};
use experiment::spelling::nearest;

/// A column as an expression sees it.
struct Column {
    index: usize,
    /// Whether all its cells are numbers, or empty.
    numeric: bool,
}

/// The columns of a table as names.
struct Columns<'a> {
    table: &'a Table,
    header: &'a [String],
}

impl Names for Columns<'_> {
    type Name = Column;

    fn find(&self, name: &str) -> Result<Column, String> {
        let names = || self.header.iter().map(String::as_str);
        if let Some(index) = names().position(|column| column == name) {
            let numeric = (0..self.table.len()).all(|row| {
                let cell = self.table.cell(row, index);
                cell.is_empty() || number(cell).is_some()
            });
            return Ok(Column { index, numeric });
        }
        Err(match nearest(name, names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!(
                "columns are {}; a word to compare with stands on the right, as in split=train",
                self.header.join(", ")
            ),
        })
    }

    fn bare_words(&self) -> bool {
        true
    }
}

/// Returns, for every row, whether an expression over the columns holds.
pub(super) fn keep(table: &Table, header: &[String], text: &str) -> Result<Vec<bool>, RowsError> {
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
                "" => "write it like --where 'used=1' or --where 'params < 1e9 and split=train'"
                    .to_owned(),
                help => help.to_owned(),
            },
        }
    };
    let expression = Expression::parse(text, &Columns { table, header }).map_err(wrong)?;
    let value = |row: usize, column: &Column| -> Result<Value, NoValue> {
        let cell = table.cell(row, column.index);
        Ok(match (cell.is_empty(), column.numeric) {
            (true, _) => Value::Missing,
            (false, true) => number(cell).map_or(Value::Missing, Value::Number),
            (false, false) => Value::Word(cell.to_owned()),
        })
    };
    (0..table.len())
        .map(|row| {
            expression
                .truth(&|column| value(row, column))
                .map_err(wrong)
        })
        .collect()
}
