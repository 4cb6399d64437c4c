//! The cells that a fit reads, of the rows that are kept.

use super::left_out::LeftOut;
use super::models::Models;
use super::{LOSS_UNIT, Selection, Wanted};
use crate::rows::{BadCell, RUN, RowsError, Table, number, tokens_of};
use experiment::architecture::ModelKind;

/// Reads columns of the rows that are kept; the others are NaN.
pub(super) struct Reader<'a> {
    pub(super) table: &'a Table,
    pub(super) names: &'a [String],
    pub(super) selection: &'a Selection,
    pub(super) left_out: &'a LeftOut,
}

impl Reader<'_> {
    pub(super) fn column(
        &self,
        want: &Wanted,
        remarks: &mut Vec<String>,
    ) -> Result<Vec<f64>, RowsError> {
        let known = |name: &str| self.names.iter().any(|column| column == name);
        if !known(&want.name) {
            let formula = match want.name.as_str() {
                "tokens" if self.selection.tokens_from_flops => Some(["flops", "params"]),
                "flops" => Some(["params", "tokens"]),
                _ => None,
            };
            if let Some([a, b]) = formula.filter(|[a, b]| known(a) && known(b)) {
                let a_values = self.column(&Wanted::positive(a, "", &want.by), remarks)?;
                let b_values = self.column(&Wanted::positive(b, "", &want.by), remarks)?;
                let tokens = want.name == "tokens";
                remarks.push(if tokens {
                    "tokens are not in the table: computed as flops/(6·params)".to_owned()
                } else {
                    "flops are not in the table: computed as 6·params·tokens".to_owned()
                });
                let compute = |(a, b): (&f64, &f64)| {
                    if tokens {
                        tokens_of(*a, *b)
                    } else {
                        6.0 * a * b
                    }
                };
                return Ok(a_values.iter().zip(&b_values).map(compute).collect());
            }
        }
        let mut why = format!(", which {} reads", want.by);
        if want.name == "tokens" && known("flops") && known("params") {
            why.push_str(" (--tokens-from-flops computes it as flops/(6·params))");
        }
        let at = self.table.position(self.names, &want.name, &why)?;
        let factor = match want.unit {
            LOSS_UNIT => self.selection.loss_unit.factor(),
            _ => 1.0,
        };
        let mut values = vec![f64::NAN; self.table.len()];
        let mut bad: Option<usize> = None;
        let mut count = 0;
        for row in self.left_out.kept() {
            match want.read(self.table.cell(row, at)) {
                Some(value) => values[row] = value * factor,
                None => {
                    bad.get_or_insert(row);
                    count += 1;
                }
            }
        }
        match bad {
            None => Ok(values),
            Some(row) => Err(self.bad_cell(want, at, row, count)),
        }
    }

    pub(super) fn bad_cell(&self, want: &Wanted, at: usize, row: usize, count: usize) -> RowsError {
        let found = match self.table.cell(row, at) {
            "" => "empty".to_owned(),
            cell => format!("`{cell}`"),
        };
        let comma = if found.contains(',') {
            ", with a point for decimals and nothing between thousands"
        } else {
            ""
        };
        let others = match count - 1 {
            0 => String::new(),
            1 => "; one more row is like it".to_owned(),
            others => format!("; {others} more rows are like it"),
        };
        let theirs = &self.table.header[at];
        let column = if theirs == &want.name {
            format!("`{theirs}`")
        } else {
            format!("`{theirs}` ({})", want.name)
        };
        BadCell {
            name: self.table.name.clone(),
            place: self.table.place(row),
            column,
            found,
            expected: format!("{}{comma}", want.expected(self.selection.loss_unit)),
            more: format!(
                "{others}; correct it, or leave such rows out, as with --where '{} {}'",
                want.name,
                if let [first, ..] = want.words.as_slice() {
                    format!("= {first}")
                } else if want.above < 0.0 {
                    ">= 0".to_owned()
                } else {
                    format!("> {}", want.above)
                }
            ),
        }
        .into()
    }

    /// Reads a column that nobody has asked for; `None` unless it holds numbers throughout.
    pub(super) fn where_numeric(&self, name: &str) -> Option<Vec<f64>> {
        let at = self.names.iter().position(|column| column == name)?;
        let mut values = vec![f64::NAN; self.table.len()];
        for row in self.left_out.kept() {
            values[row] = number(self.table.cell(row, at)).filter(|value| value.is_finite())?;
        }
        Some(values)
    }

    /// Reads the columns that make rows of others runs of models; `None` where there is no N, D or loss.
    pub(super) fn models(&self) -> Option<Models> {
        let numbers = |name: &str| {
            let at = self.names.iter().position(|column| column == name)?;
            let read = |row: usize| number(self.table.cell(row, at)).unwrap_or(f64::NAN);
            Some((0..self.table.len()).map(read).collect::<Vec<f64>>())
        };
        let params = numbers("params")?;
        let tokens = numbers("tokens").or_else(|| {
            let flops = numbers("flops").filter(|_| self.selection.tokens_from_flops)?;
            let of = |(flops, params): (&f64, &f64)| tokens_of(*flops, *params);
            Some(flops.iter().zip(&params).map(of).collect())
        })?;
        let factor = self.selection.loss_unit.factor();
        let loss = numbers("loss")?.into_iter().map(|loss| loss * factor);
        let kind = self.names.iter().position(|column| column == "kind");
        let of_row = |row: usize| ModelKind::from_name(self.table.cell(row, kind?));
        Some(Models {
            params,
            tokens,
            loss: loss.collect(),
            share: numbers("concept_share"),
            realised: numbers("compression_ratio"),
            declared: numbers("declared_ratio"),
            seed: numbers("seed"),
            kinds: (0..self.table.len()).map(of_row).collect(),
        })
    }

    /// Reads the column that names the runs.
    pub(super) fn labels(&self) -> Result<Option<Vec<&str>>, RowsError> {
        let at = match &self.selection.group {
            Some(column) => self
                .table
                .position(self.names, column, ", by which to group")?,
            None => match self.names.iter().position(|name| name == RUN) {
                Some(at) => at,
                None => return Ok(None),
            },
        };
        let labels: Vec<&str> = (0..self.table.len())
            .map(|row| self.table.cell(row, at))
            .collect();
        match self.left_out.kept().find(|row| labels[*row].is_empty()) {
            None => Ok(Some(labels)),
            Some(row) => Err(BadCell {
                name: self.table.name.clone(),
                place: self.table.place(row),
                column: format!("`{}`", self.names[at]),
                found: "empty".into(),
                expected: "the name of the run that the row belongs to".into(),
                more: String::new(),
            }
            .into()),
        }
    }

    pub(super) fn weights(&self) -> Result<Option<Vec<f64>>, RowsError> {
        let Some(column) = &self.selection.weight else {
            return Ok(None);
        };
        // Zero is a weight.
        let want = Wanted {
            above: -f64::MIN_POSITIVE,
            ..Wanted::positive(column, "1", "the weighting")
        };
        let mut weights = self.column(&want, &mut Vec::new())?;
        // Rows that are left out need no weight of their own.
        weights
            .iter_mut()
            .filter(|w| w.is_nan())
            .for_each(|w| *w = 1.0);
        Ok(Some(weights))
    }
}
