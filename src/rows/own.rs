//! This program's own table of runs → rows, without loss: the `runs.csv` of a results folder, its
//! Parquet form, and what was imported from either.

use super::{BadCell, RowsError};
use experiment::architecture::ModelKind;
use experiment::architecture::solver::Level;
use experiment::expression::truth;
use experiment::run::{Part, RunId, RunOutcome, RunState};
use scaling_law::row::Row;
use std::collections::BTreeMap;
use std::str::FromStr;

/// Columns by which an own table is known.
const KNOWN_BY: [&str; 5] = ["id", "run", "part", "declared_ratio", "realised_ratio"];

/// Says whether a header is that of an own table.
pub(super) fn is_own(has: impl Fn(&str) -> bool) -> bool {
    KNOWN_BY.into_iter().all(has)
}

/// Says whether a header is that of the table that versions wrote which did not tell the declared from
/// the realised R, nor a run from its trunk.
pub(super) fn is_older(has: impl Fn(&str) -> bool) -> bool {
    let columns = ["id", "compression_ratio", "realised_ratio", "planned_flops"];
    columns.into_iter().all(&has) && !has("declared_ratio")
}

/// Cells of a row by their column's name.
pub(super) struct Cells<'a, F> {
    /// The table, for messages.
    pub(super) table: &'a str,
    /// Where the row stands, for messages.
    pub(super) place: &'a str,
    /// Finds a cell; `None` where there is no such column.
    pub(super) get: F,
}

impl<'a, F: Fn(&str) -> Option<&'a str>> Cells<'a, F> {
    fn text(&self, column: &str) -> Option<&'a str> {
        (self.get)(column)
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
    }

    fn wrong(&self, column: &str, expected: &str) -> RowsError {
        let found = self.text(column);
        BadCell {
            name: self.table.to_owned(),
            place: self.place.to_owned(),
            column: format!("`{column}`"),
            found: found.map_or_else(|| "empty".to_owned(), |cell| format!("`{cell}`")),
            expected: expected.to_owned(),
            more: String::new(),
        }
        .into()
    }

    fn optional<T: FromStr>(&self, column: &str) -> Result<Option<T>, RowsError> {
        let parsed = self.text(column).map(str::parse);
        let parsed = parsed.transpose();
        parsed.map_err(|_| self.wrong(column, "a number, or empty where there is none"))
    }

    fn number<T: FromStr>(&self, column: &str) -> Result<T, RowsError> {
        self.optional(column)?
            .ok_or_else(|| self.wrong(column, "a number"))
    }

    fn named<T>(&self, column: &str, names: fn(&str) -> Option<T>) -> Result<T, RowsError> {
        let found = self.text(column).and_then(names);
        found.ok_or_else(|| self.wrong(column, "as this program wrote it"))
    }

    /// Reads true or false in whatever way programs write them; nothing is false.
    fn flag(&self, column: &str) -> Result<bool, RowsError> {
        let Some(cell) = self.text(column) else {
            return Ok(false);
        };
        let number = cell.parse().ok().or_else(|| truth(cell));
        match number {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            _ => Err(self.wrong(column, "true or false, or empty for false")),
        }
    }

    fn level(&self, of: &str) -> Result<Option<Level>, RowsError> {
        let part = |what: &str| self.optional::<f64>(&format!("{of}_{what}"));
        let (layers, width, ffn) = (part("layers")?, part("width")?, part("ffn")?);
        let whole = |value: f64| value as usize;
        Ok(match (layers, width, ffn) {
            (Some(layers), Some(width), Some(ffn)) => Some(Level {
                layers: whole(layers),
                width: whole(width),
                ffn: whole(ffn),
            }),
            _ => None,
        })
    }

    /// Reads the row.
    ///
    /// # Errors
    /// The first cell that this program has not written so.
    pub(super) fn row(&self, axes: BTreeMap<String, String>) -> Result<Row, RowsError> {
        let text = |column: &str| self.text(column).map(str::to_owned);
        let id = text("id").ok_or_else(|| self.wrong("id", "the run's identity"))?;
        let outcome = match self.text("outcome") {
            None => None,
            Some(_) => Some(self.named("outcome", RunOutcome::from_name)?),
        };
        let token = self.level("token")?;
        let seed: f64 = self.number("seed")?;
        Ok(Row {
            cluster: text("run").unwrap_or_else(|| id.clone()),
            id: RunId(id),
            part: self.named("part", Part::from_name)?,
            state: self.named("state", RunState::from_name)?,
            outcome,
            kind: self.named("kind", ModelKind::from_name)?,
            params: self.number("params")?,
            tokens: self.number("tokens")?,
            concept_share: self.number("concept_share")?,
            declared_ratio: self.number("declared_ratio")?,
            realised_ratio: self.optional("realised_ratio")?,
            realised_training: self.optional("realised_training")?,
            reads_ahead: self.flag("reads_ahead")?,
            loss: self.optional("loss")?,
            weight: 1.0,
            seed: seed as u64,
            concept_gain: self.optional("concept_gain")?,
            stable_loss: self.optional("stable_loss")?,
            setting: text("setting"),
            family: text("family"),
            learning_rate: self.optional("learning_rate")?,
            token_level: text("token_level"),
            levels: match token {
                Some(token) => Some((token, self.level("concept")?)),
                None => None,
            },
            data: text("data"),
            data_tokens: self.optional("data_tokens")?,
            entropy_floor: self.optional("entropy_floor")?,
            axes,
        })
    }
}
