//! Which rows are left out, and why.

use crate::rows::{RowsError, Table};
use scaling_law::fit::Observations;

/// Which rows are left out, and why.
pub(super) struct LeftOut {
    pub(super) reasons: Vec<String>,
    /// Position of a row's reason.
    pub(super) of_row: Vec<Option<usize>>,
}

impl LeftOut {
    /// Leaves out the rows that are not meant whatever is asked.
    pub(super) fn of(table: &Table) -> Self {
        let mut left_out = Self {
            reasons: Vec::new(),
            of_row: vec![None; table.len()],
        };
        for (row, reason) in &table.set_aside {
            left_out.add(reason, |other| other == *row);
        }
        left_out
    }

    /// Leaves out those too that no law is fitted to.
    pub(super) fn new(table: &Table) -> Self {
        let mut left_out = Self::of(table);
        for (row, reason) in &table.left_out {
            left_out.add(reason, |other| other == *row);
        }
        left_out
    }

    pub(super) fn kept(&self) -> impl Iterator<Item = usize> {
        let rows = self.of_row.iter().enumerate();
        rows.filter(|(_, reason)| reason.is_none())
            .map(|(row, _)| row)
    }

    pub(super) fn add(&mut self, reason: &str, leaves_out: impl Fn(usize) -> bool) {
        let rows: Vec<usize> = self.kept().filter(|row| leaves_out(*row)).collect();
        let id = match self.reasons.iter().position(|known| known == reason) {
            Some(id) => id,
            None => {
                self.reasons.push(reason.to_owned());
                self.reasons.len() - 1
            }
        };
        rows.into_iter().for_each(|row| self.of_row[row] = Some(id));
    }

    /// Counts the rows left out, by reason.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&str, usize)> {
        self.reasons.iter().enumerate().map(|(id, reason)| {
            let rows = self.of_row.iter().filter(|of| **of == Some(id));
            (reason.as_str(), rows.count())
        })
    }

    pub(super) fn check(&self, table: &Table) -> Result<(), RowsError> {
        if self.kept().next().is_some() {
            return Ok(());
        }
        let counted = self
            .counted()
            .map(|(reason, rows)| format!("{rows} {reason}"));
        Err(RowsError::NoneLeft {
            name: table.name.clone(),
            rows: table.len(),
            reasons: counted.collect::<Vec<_>>().join("; "),
        })
    }

    pub(super) fn apply(&self, mut observations: Observations) -> Observations {
        for (id, reason) in self.reasons.iter().enumerate() {
            let keep: Vec<bool> = observations
                .source_rows()
                .iter()
                .map(|row| self.of_row[*row] != Some(id))
                .collect();
            observations = observations.keep(&keep, reason);
        }
        observations
    }
}
