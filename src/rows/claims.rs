//! Runs as claims see them: the quantity, where it lies on an axis, and what else the runs have in common.

use super::filter::{self, Cells};
use super::{RowsError, Table, number, stored};
use experiment::claims::{Along, Test};
use experiment::record::RunRecord;
use experiment::run::RunId;
use experiment::tasks::Scores;
use scaling_law::claims::Sample;
use std::collections::{BTreeMap, BTreeSet};

/// The runs of an experiment with all that claims may name.
pub struct ClaimedRuns {
    table: Table,
}

/// Columns by which runs are told apart, whatever a claim is about.
const AXIS: &str = "axis.";

/// Columns that tell runs whose tokens read ahead from others.
const AHEAD: [&str; 2] = ["axis.model.causal", "reads_ahead"];

impl ClaimedRuns {
    /// Takes stored runs, with what they answered.
    ///
    /// # Errors
    /// When the table is too large.
    pub fn new(runs: &[RunRecord], scores: &BTreeMap<RunId, Scores>) -> Result<Self, RowsError> {
        let more = |run: &RunRecord| {
            let numbers = [
                ("flops", run.flops),
                ("bits_per_byte", run.bits_per_byte),
                ("concept_gain", run.concept_gain),
                ("boundary_gain", run.boundary_gain),
                ("realised_training", run.realised_training),
            ];
            let numbers = numbers.map(|(name, value)| (name.to_owned(), value));
            let scores = scores.get(&run.id).into_iter().flat_map(Scores::numbers);
            let scores = scores.map(|(name, value)| (name, Some(value)));
            numbers.into_iter().chain(scores).collect()
        };
        Ok(Self {
            table: stored::with_numbers("the runs".to_owned(), runs, &more)?,
        })
    }

    /// Reads the runs that a claim is about; those of which its quantity is not known are left out.
    ///
    /// # Errors
    /// Why the claim cannot be asked of these runs, in words.
    pub fn samples(&self, test: &Test) -> Result<Vec<Sample>, String> {
        let cells = self.cells()?;
        let rows = self.rows(&cells, test)?;
        match test {
            Test::OptimumInside(along) | Test::Rises(along) | Test::Falls(along) => {
                self.along(&cells, &rows, along, None)
            }
            Test::Transfers { along, over, .. } => self.along(&cells, &rows, along, Some(over)),
            Test::Differs { between, of, .. } => self.groups(&cells, &rows, between, of),
            Test::Law { .. } => Ok(Vec::new()),
        }
    }

    fn cells(&self) -> Result<Cells<'_>, String> {
        if self.table.is_empty() {
            return Err("no run has finished".to_owned());
        }
        Ok(Cells {
            table: &self.table,
            header: &self.table.header,
        })
    }

    /// The finished runs that the claim looks at; those whose tokens read ahead only where it names what tells them
    /// apart.
    fn rows(&self, cells: &Cells<'_>, test: &Test) -> Result<Vec<usize>, String> {
        let (among, groups) = match test {
            Test::OptimumInside(along) | Test::Rises(along) | Test::Falls(along) => {
                (&along.among, None)
            }
            Test::Transfers { along, .. } => (&along.among, None),
            Test::Differs { among, between, .. } => (among, Some(between)),
            Test::Law { .. } => (&None, None),
        };
        let mut named = BTreeSet::new();
        for text in among.iter().chain(groups.into_iter().flatten()) {
            named.extend(cells.named(text)?);
        }
        let takes_all = named.iter().any(|name| AHEAD.contains(&name.as_str()));
        let is_measured = |row: &usize| {
            let run = self.table.known[*row].as_ref();
            run.is_some_and(|run| run.unmeasured().is_none() && (takes_all || !run.reads_ahead))
        };
        let finished = (0..self.table.len()).filter(is_measured);
        let Some(among) = among else {
            return Ok(finished.collect());
        };
        let holds = cells.truths(among)?;
        Ok(finished.filter(|row| holds[*row]).collect())
    }

    fn along(
        &self,
        cells: &Cells<'_>,
        rows: &[usize],
        along: &Along,
        over: Option<&String>,
    ) -> Result<Vec<Sample>, String> {
        let values = cells.numbers(&along.of)?;
        let place = self.levels(&along.along, rows)?;
        let carried = over.map(|over| self.levels(over, rows)).transpose()?;
        let named: BTreeSet<&str> = [along.along.as_str()].into();
        let block = self.blocks(rows, &named);
        let samples = rows.iter().enumerate().filter_map(|(at, &row)| {
            let value = Some(values[row]).filter(|value| value.is_finite())?;
            Some(Sample {
                block: block[at].clone(),
                along: place[at]?,
                over: match &carried {
                    Some(carried) => carried[at]?,
                    None => 0.0,
                },
                value,
                flops: self.flops(row),
            })
        });
        Ok(samples.collect())
    }

    fn groups(
        &self,
        cells: &Cells<'_>,
        rows: &[usize],
        between: &[String; 2],
        of: &str,
    ) -> Result<Vec<Sample>, String> {
        let values = cells.numbers(of)?;
        let [first, second] = [cells.truths(&between[0])?, cells.truths(&between[1])?];
        if rows.iter().any(|row| first[*row] && second[*row]) {
            return Err("a run belongs to both groups, which must not overlap".to_owned());
        }
        let rows: Vec<usize> = rows
            .iter()
            .copied()
            .filter(|row| first[*row] || second[*row])
            .collect();
        let mut named = BTreeSet::new();
        for group in between {
            named.extend(cells.named(group)?);
        }
        let named = named
            .iter()
            .map(|name| name.strip_prefix(AXIS).unwrap_or(name));
        let named = named.collect();
        let block = self.blocks(&rows, &named);
        let samples = rows.iter().zip(block).filter_map(|(&row, block)| {
            Some(Sample {
                block,
                along: f64::from(first[row]),
                over: 0.0,
                value: Some(values[row]).filter(|value| value.is_finite())?,
                flops: self.flops(row),
            })
        });
        Ok(samples.collect())
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.table.header.iter().position(|column| column == name)
    }

    fn flops(&self, row: usize) -> f64 {
        let column = self.column("flops");
        column
            .and_then(|column| number(self.table.cell(row, column)))
            .unwrap_or(0.0)
    }

    /// Where runs lie on an axis: as its file writes it, since what was reached differs a little from run to run.
    fn levels(&self, name: &str, rows: &[usize]) -> Result<Vec<Option<f64>>, String> {
        let axis = self.column(&format!("{AXIS}{name}"));
        let column = axis.or_else(|| self.column(name));
        let column = column.ok_or_else(|| format!("no run has `{name}`"))?;
        let level = |row: &usize| {
            let cell = self.table.cell(*row, column);
            match (cell.is_empty(), number(cell)) {
                (true, _) => Ok(None),
                (false, Some(level)) => Ok(Some(level)),
                (false, None) => Err(format!(
                    "`{name}` is `{cell}` in a run, and a claim looks along numbers"
                )),
            }
        };
        rows.iter().map(level).collect()
    }

    /// Names what each run has in common with those that it may be compared with: all axes that all these runs have,
    /// but those that the claim names.
    fn blocks(&self, rows: &[usize], named: &BTreeSet<&str>) -> Vec<String> {
        let is_named = |axis: &str| {
            named.contains(axis)
                || axis
                    .rsplit('.')
                    .next()
                    .is_some_and(|last| named.contains(last))
        };
        let columns = self
            .table
            .header
            .iter()
            .enumerate()
            .filter(|(column, name)| {
                let axis = name.strip_prefix(AXIS);
                let is_of_all = || {
                    rows.iter()
                        .all(|row| !self.table.cell(*row, *column).is_empty())
                };
                axis.is_some_and(|axis| !is_named(axis)) && is_of_all()
            });
        let columns: Vec<usize> = columns.map(|(column, _)| column).collect();
        let block = |row: &usize| {
            let cells = columns.iter().map(|column| self.table.cell(*row, *column));
            cells.collect::<Vec<_>>().join("\u{1f}")
        };
        rows.iter().map(block).collect()
    }
}

impl Cells<'_> {
    fn truths(&self, text: &str) -> Result<Vec<bool>, String> {
        filter::truths(self, text).map_err(|wrong| wrong.why)
    }

    fn numbers(&self, text: &str) -> Result<Vec<f64>, String> {
        filter::numbers(self, text).map_err(|wrong| wrong.why)
    }

    /// The columns that an expression names.
    fn named(&self, text: &str) -> Result<BTreeSet<String>, String> {
        filter::named(self, text).map_err(|wrong| wrong.why)
    }
}
