//! Runs as claims see them: the quantity, where it lies on an axis, and what else the runs have in common.

use super::filter::{self, Cells};
use super::{RowsError, Table, number, stored};
use campaign::store::ReadingRecord;
use experiment::claims::Test;
use experiment::record::RunRecord;
use experiment::run::{Part, RunId, RunState};
use experiment::tasks::Scores;
use scaling_law::claims::{Sample, Samples};
use scaling_law::row::Row;
use std::collections::{BTreeMap, BTreeSet};

/// The runs of an experiment with all that claims may name.
pub struct ClaimedRuns {
    table: Table,
}

/// Columns by which runs are told apart, whatever a claim is about.
const AXIS: &str = "axis.";

/// Columns that tell runs whose tokens read ahead from others.
const AHEAD: [&str; 2] = ["model.causal", "reads_ahead"];

/// The column that tells kinds of models apart.
const KIND: &str = "kind";

impl ClaimedRuns {
    /// Takes stored runs, with what they answered and what they made of texts.
    ///
    /// # Errors
    /// When the table is too large.
    pub fn new(
        runs: &[RunRecord],
        scores: &BTreeMap<RunId, Scores>,
        readings: &[ReadingRecord],
    ) -> Result<Self, RowsError> {
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
            let readings = readings.iter().filter(|reading| reading.run == run.id);
            let asked = scores.chain(readings.flat_map(ReadingRecord::numbers));
            let asked = asked.map(|(name, value)| (name, Some(value)));
            numbers.into_iter().chain(asked).collect()
        };
        Ok(Self {
            table: stored::with_numbers("the runs".to_owned(), runs, &more)?,
        })
    }

    /// Reads the runs that a claim is about.
    ///
    /// # Errors
    /// Why the claim cannot be asked of these runs, in words.
    pub fn samples(&self, test: &Test) -> Result<Samples, String> {
        let Some(view) = View::of(test) else {
            return Ok(Samples::default());
        };
        if self.table.is_empty() {
            return Err("no run has finished".to_owned());
        }
        let cells = Cells {
            table: &self.table,
            header: &self.table.header,
        };
        let ended = self.ended(&cells, &view)?;
        let values = cells.numbers(view.of)?;
        let mut placed = Vec::new();
        let mut lost = 0;
        let places = self.places(&cells, &view, &ended)?;
        for (row, place) in ended.into_iter().zip(places) {
            let Some((along, over)) = place else { continue };
            let is_measured = self.run(row).is_some_and(|run| run.unmeasured().is_none());
            if is_measured && values[row].is_finite() {
                placed.push((row, along, over));
            } else {
                lost += 1;
            }
        }
        let rows: Vec<usize> = placed.iter().map(|(row, ..)| *row).collect();
        let blocks = match view.place {
            Along::Nothing => self.clusters(&rows),
            _ => self.blocks(&rows, &view.compared(&cells)?),
        };
        let runs = placed.into_iter().zip(blocks);
        let runs = runs.map(|((row, along, over), block)| Sample {
            block,
            along,
            over,
            value: values[row],
            flops: self.flops(row),
        });
        Ok(Samples {
            runs: runs.collect(),
            lost,
        })
    }

    fn run(&self, row: usize) -> Option<&Row> {
        self.table.known[row].as_ref()
    }

    /// The runs that have ended and that the claim looks at: no trunks and trials, and those whose tokens read ahead only
    /// where it names what tells them apart.
    fn ended(&self, cells: &Cells<'_>, view: &View<'_>) -> Result<Vec<usize>, String> {
        let mut named = view.compared(cells)?;
        named.extend(names(cells, view.among.into_iter())?);
        let takes_all = AHEAD.iter().any(|name| named.contains(*name));
        let is_meant = |row: &usize| {
            self.run(*row).is_some_and(|run| {
                let is_whole = matches!(run.part, Part::Whole | Part::Branch);
                is_whole && run.state == RunState::Ended && (takes_all || !run.reads_ahead)
            })
        };
        let ended = (0..self.table.len()).filter(is_meant);
        let Some(among) = view.among else {
            return Ok(ended.collect());
        };
        let holds = cells.truths(among)?;
        Ok(ended.filter(|row| holds[*row]).collect())
    }

    /// Where runs lie on the axes of the claim, or in which group; `None` of those that are on neither.
    fn places(
        &self,
        cells: &Cells<'_>,
        view: &View<'_>,
        rows: &[usize],
    ) -> Result<Vec<Option<(f64, f64)>>, String> {
        match view.place {
            Along::Axis(axis, over) => {
                let along = self.levels(axis, rows)?;
                let over = match over {
                    Some(over) => self.levels(over, rows)?,
                    None => vec![Some(0.0); rows.len()],
                };
                Ok(along.into_iter().zip(over).map(|(a, b)| a.zip(b)).collect())
            }
            Along::Nothing => Ok(vec![Some((0.0, 0.0)); rows.len()]),
            Along::Groups([first, second]) => {
                let [first, second] = [cells.truths(first)?, cells.truths(second)?];
                let group = |row: &usize| match (first[*row], second[*row]) {
                    (true, true) => {
                        Err("a run belongs to both groups, which must not overlap".to_owned())
                    }
                    (false, false) => Ok(None),
                    (is_first, _) => Ok(Some((f64::from(is_first), 0.0))),
                };
                rows.iter().map(group).collect()
            }
        }
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.table.header.iter().position(|column| column == name)
    }

    fn flops(&self, row: usize) -> f64 {
        let column = self.column("flops");
        let flops = column.and_then(|column| number(self.table.cell(row, column)));
        flops.unwrap_or(0.0)
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

    /// Names what varies by itself: each run, or the trunk that branches share.
    fn clusters(&self, rows: &[usize]) -> Vec<String> {
        let cluster = |row: &usize| self.run(*row).map(|run| run.cluster.clone());
        rows.iter()
            .map(|row| cluster(row).unwrap_or_default())
            .collect()
    }

    /// Names what each run has in common with those that it may be compared with: its kind and all axes that all these
    /// runs have, but those that the claim compares.
    fn blocks(&self, rows: &[usize], compared: &BTreeSet<String>) -> Vec<String> {
        let is_compared = |name: &str| {
            let last = name.rsplit('.').next().unwrap_or(name);
            compared.contains(name) || compared.contains(last)
        };
        let columns = self.table.header.iter().enumerate();
        let columns = columns.filter(|(column, name)| {
            let axis = name.strip_prefix(AXIS).or((*name == KIND).then_some(KIND));
            let is_of_all = || {
                rows.iter()
                    .all(|row| !self.table.cell(*row, *column).is_empty())
            };
            axis.is_some_and(|axis| !is_compared(axis)) && is_of_all()
        });
        let columns: Vec<usize> = columns.map(|(column, _)| column).collect();
        // `0.8M` and `800K` are one.
        let written = |cell: &str| number(cell).map_or(cell.to_owned(), |value| value.to_string());
        let block = |row: &usize| {
            let cells = columns
                .iter()
                .map(|column| written(self.table.cell(*row, *column)));
            cells.collect::<Vec<_>>().join("\u{1f}")
        };
        rows.iter().map(block).collect()
    }
}

/// What a claim about runs looks at.
struct View<'a> {
    of: &'a str,
    among: Option<&'a String>,
    place: Along<'a>,
}

/// What a claim compares: levels of an axis, perhaps over those of another, two groups, or nothing.
enum Along<'a> {
    Axis(&'a str, Option<&'a str>),
    Groups(&'a [String; 2]),
    Nothing,
}

impl<'a> View<'a> {
    fn of(test: &'a Test) -> Option<Self> {
        let (of, among, place) = match test {
            Test::OptimumInside(along) | Test::Rises(along) | Test::Falls(along) => {
                (&along.of, &along.among, Along::Axis(&along.along, None))
            }
            Test::Transfers { along, over, .. } => (
                &along.of,
                &along.among,
                Along::Axis(&along.along, Some(over)),
            ),
            Test::Differs {
                between, of, among, ..
            } => (of, among, Along::Groups(between)),
            Test::Mean { of, among, .. } => (of, among, Along::Nothing),
            Test::Law { .. } => return None,
        };
        Some(Self {
            of,
            among: among.as_ref(),
            place,
        })
    }

    /// The columns that are compared: the axis, or those that groups are told apart by; axes by their own names.
    fn compared(&self, cells: &Cells<'_>) -> Result<BTreeSet<String>, String> {
        let mut compared = match self.place {
            Along::Axis(axis, _) => [axis.to_owned()].into(),
            Along::Groups(groups) => names(cells, groups.iter())?,
            Along::Nothing => BTreeSet::new(),
        };
        // The axis of R goes by another name than its column.
        if compared.contains("declared_ratio") {
            compared.insert("compression_ratio".to_owned());
        }
        Ok(compared)
    }
}

/// The columns that expressions name; axes by their own names.
fn names<'a>(
    cells: &Cells<'_>,
    texts: impl Iterator<Item = &'a String>,
) -> Result<BTreeSet<String>, String> {
    let mut all = BTreeSet::new();
    for text in texts {
        let named = filter::named(cells, text).map_err(|wrong| wrong.why)?;
        let own = |name: &String| name.strip_prefix(AXIS).unwrap_or(name).to_owned();
        all.extend(named.iter().map(own));
    }
    Ok(all)
}

impl Cells<'_> {
    fn truths(&self, text: &str) -> Result<Vec<bool>, String> {
        filter::truths(self, text).map_err(|wrong| wrong.why)
    }

    fn numbers(&self, text: &str) -> Result<Vec<f64>, String> {
        filter::numbers(self, text).map_err(|wrong| wrong.why)
    }
}
