//! A table's rows as runs of models.

use super::Selection;
use super::left_out::LeftOut;
use super::reader::Reader;
use crate::rows::{RUN, RowsError, Table, number};
use experiment::run::RunId;
use scaling_law::row::Row;
use std::collections::BTreeMap;

/// Rows as runs of models.
#[derive(Clone, Debug)]
pub struct Runs {
    /// The rows.
    pub rows: Vec<Row>,
    /// What a reader should know of them.
    pub remarks: Vec<String>,
}

impl Table {
    /// Reads the rows that the filters keep as runs of models, of every kind.
    ///
    /// Rows of others are runs of models where they have N, D and a loss: with concepts where their P
    /// is above 0, token levels alone where `kind` says so, and dense else. Where runs were trained
    /// here and others imported, those trained here are meant unless a filter chooses.
    ///
    /// # Errors
    /// When a column that is named is not there, or a filter cannot be used.
    pub fn runs(&self, selection: &Selection) -> Result<Runs, RowsError> {
        let names = self.names(selection)?;
        let mut left_out = LeftOut::of(self);
        let mut remarks = self.filter(&names, selection, &mut left_out)?;
        match self.leave_out_imported(&names, selection, &mut left_out) {
            0 => remarks.extend(self.remarks.iter().cloned()),
            imported => remarks.push(format!(
                "{imported} imported rows beside the runs trained here are left out: --where by \
                 `source` chooses others"
            )),
        }
        let reader = Reader {
            table: self,
            names: &names,
            selection,
            left_out: &left_out,
        };
        let position = |column: &Option<String>, why: &str| {
            let column = column.as_ref();
            column
                .map(|column| self.position(&names, column, why))
                .transpose()
        };
        let variants = self.variants(&names, &[], selection, &left_out);
        let group = position(&selection.group, ", by which to group")?;
        let weight = position(&selection.weight, ", the weights")?;
        let usual = names.iter().position(|name| name == RUN);
        let theirs = reader.models();
        let (mut rows, mut unusable) = (Vec::new(), BTreeMap::<String, usize>::new());
        for (_, why) in &self.set_aside {
            *unusable.entry(why.clone()).or_default() += 1;
        }
        for row in left_out.kept() {
            let known = self.known.get(row).and_then(Option::as_ref);
            let run = match (known, &theirs) {
                (Some(run), Some(theirs)) => theirs.renamed(run, row, &selection.columns),
                (Some(run), None) if selection.columns.is_empty() => Ok(run.clone()),
                (Some(_), None) => Err("its N, D or loss is named for another column".to_owned()),
                (None, Some(theirs)) => theirs.run(row, RunId(self.place(row)), variants.of(row)),
                (None, None) => continue,
            };
            let mut run = match run {
                Ok(run) => run,
                Err(why) => {
                    *unusable.entry(why).or_default() += 1;
                    continue;
                }
            };
            let named = group.or(usual.filter(|_| known.is_none()));
            let label = named.map(|at| self.cell(row, at));
            if let Some(label) = label.filter(|label| !label.is_empty()) {
                run.cluster = label.to_owned();
            }
            if let Some(at) = weight {
                match number(self.cell(row, at)).filter(|w| w.is_finite() && *w >= 0.0) {
                    Some(weight) => run.weight = weight,
                    None => {
                        let why = "its weight is no number of at least 0".to_owned();
                        *unusable.entry(why).or_default() += 1;
                        continue;
                    }
                }
            }
            if run.weight > 0.0 {
                rows.push(run);
            }
        }
        let told = unusable.iter();
        remarks.extend(told.map(|(why, rows)| format!("{rows} rows are left out: {why}")));
        Ok(Runs { rows, remarks })
    }
}
