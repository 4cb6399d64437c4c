//! What varies beside what laws read: columns that tell settings apart, and the best of them.

use super::left_out::LeftOut;
use super::{STANDARD, Selection};
use crate::rows::{RowsError, Table, number};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Words in names of columns that are measured, or that name runs and seeds: rows that differ in them
/// may be replicates.
const MEASURED: [&str; 27] = [
    "acc",
    "accuracy",
    "bpb",
    "bpc",
    "date",
    "duration",
    "error",
    "file",
    "gain",
    "hash",
    "host",
    "hours",
    "id",
    "line",
    "loss",
    "name",
    "perplexity",
    "ppl",
    "rep",
    "replicate",
    "run",
    "score",
    "seconds",
    "seed",
    "source",
    "time",
    "timestamp",
];

/// Words in names of columns that make a setting, whatever their values.
const STATED: [&str; 16] = [
    "arch",
    "batch",
    "bs",
    "decay",
    "depth",
    "dropout",
    "heads",
    "layers",
    "lr",
    "optimizer",
    "rate",
    "schedule",
    "tokenizer",
    "warmup",
    "wd",
    "width",
];

/// A cell by which rows are grouped: a number's bits, or what else is written.
type Key<'a> = Result<u64, &'a str>;

/// How rows differ that agree in all that laws read.
pub(super) struct Variants {
    /// The columns in which they do, with how many values each takes.
    pub(super) columns: Vec<(String, usize)>,
    /// What stands in them, for every row; nothing where nothing varies.
    of_row: Vec<Vec<(String, String)>>,
}

impl Variants {
    /// Lists what stands in the columns for a row.
    pub(super) fn of(&self, row: usize) -> &[(String, String)] {
        self.of_row.get(row).map_or(&[], Vec::as_slice)
    }

    /// Numbers the rows by what stands in the columns, from 1; `None` where nothing varies.
    pub(super) fn numbers(&self) -> Option<Vec<f64>> {
        if self.columns.is_empty() {
            return None;
        }
        let mut known: HashMap<&[(String, String)], usize> = HashMap::new();
        let mut numbers = Vec::with_capacity(self.of_row.len());
        for row in &self.of_row {
            let next = known.len() + 1;
            numbers.push(*known.entry(row.as_slice()).or_insert(next) as f64);
        }
        Some(numbers)
    }
}

/// Splits the name of a column into its words.
fn words(name: &str) -> impl Iterator<Item = String> {
    let words = name.split(|c: char| !c.is_alphanumeric());
    words.map(str::to_lowercase)
}

impl Table {
    /// Finds the columns in which rows differ that agree in all that laws read.
    ///
    /// Their names are asked first; of the others those count whose values recur, as those of a grid do
    /// and measurements do not.
    pub(super) fn variants(
        &self,
        names: &[String],
        inputs: &[&str],
        selection: &Selection,
        left_out: &LeftOut,
    ) -> Variants {
        let groups = self.groups(names, inputs, left_out);
        let groups: Vec<&Vec<usize>> = groups.values().filter(|rows| rows.len() > 1).collect();
        let together: usize = groups.iter().map(|rows| rows.len()).sum();
        let is_named =
            |name: &String| [&selection.group, &selection.weight].contains(&&Some(name.clone()));
        let mut columns = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let has = |of: &[&str]| words(name).any(|word| of.contains(&word.as_str()));
            let read = inputs.contains(&name.as_str()) || STANDARD.contains(&name.as_str());
            if name.is_empty() || read || is_named(name) || has(&MEASURED) {
                continue;
            }
            let differ = |rows: &&&Vec<usize>| {
                let first = self.cell(rows[0], at);
                rows.iter().any(|row| self.cell(*row, at) != first)
            };
            if !groups.iter().any(|rows| differ(&rows)) {
                continue;
            }
            let rows = groups.iter().flat_map(|rows| rows.iter());
            let values: BTreeSet<&str> = rows.map(|row| self.cell(*row, at)).collect();
            if has(&STATED) || 2 * values.len() <= together {
                columns.push((at, values.len()));
            }
        }
        let cells = |row: usize| {
            let cell =
                |(at, _): &(usize, usize)| (names[*at].clone(), self.cell(row, *at).to_owned());
            columns.iter().map(cell).collect()
        };
        Variants {
            of_row: if columns.is_empty() {
                Vec::new()
            } else {
                (0..self.len()).map(cells).collect()
            },
            columns: columns
                .iter()
                .map(|(at, values)| (names[*at].clone(), *values))
                .collect(),
        }
    }

    /// Groups the rows that are kept by what laws read of them.
    fn groups(
        &self,
        names: &[String],
        inputs: &[&str],
        left_out: &LeftOut,
    ) -> BTreeMap<Vec<Key<'_>>, Vec<usize>> {
        let is_key = |name: &str| {
            name == "kind"
                || name != "flops" && (STANDARD.contains(&name) || inputs.contains(&name))
        };
        let keys: Vec<usize> = (0..names.len()).filter(|at| is_key(&names[*at])).collect();
        let key = |at: &usize, row: usize| {
            let cell = self.cell(row, *at);
            number(cell).map(f64::to_bits).ok_or(cell)
        };
        let mut groups: BTreeMap<Vec<Key<'_>>, Vec<usize>> = BTreeMap::new();
        for row in left_out.kept() {
            let key = keys.iter().map(|at| key(at, row)).collect();
            groups.entry(key).or_default().push(row);
        }
        groups
    }

    /// Keeps of every setting the rows with the best value of the columns that are named: that of the
    /// lowest mean loss, so that luck among seeds chooses nothing. Says how many are kept.
    pub(super) fn keep_best(
        &self,
        names: &[String],
        selection: &Selection,
        left_out: &mut LeftOut,
    ) -> Result<Vec<String>, RowsError> {
        let best_of = &selection.best_of;
        let columns: Vec<usize> = best_of
            .iter()
            .map(|column| self.position(names, column, ", of which to keep the best"))
            .collect::<Result<_, _>>()?;
        let loss = self.position(names, "loss", ", by which to choose the best")?;
        let mut worse: BTreeSet<usize> = BTreeSet::new();
        for rows in self.groups(names, &[], left_out).into_values() {
            let mut tried: BTreeMap<Vec<&str>, (f64, Vec<usize>)> = BTreeMap::new();
            for row in rows {
                let value = columns.iter().map(|at| self.cell(row, *at)).collect();
                // What is no number is the worst that there can be.
                let loss = number(self.cell(row, loss)).filter(|loss| !loss.is_nan());
                let (sum, rows) = tried.entry(value).or_default();
                *sum += loss.unwrap_or(f64::INFINITY);
                rows.push(row);
            }
            let mean = |(sum, rows): &(f64, Vec<usize>)| sum / rows.len() as f64;
            let best = tried.values().map(mean).fold(f64::INFINITY, f64::min);
            let mut taken = false;
            for tried in tried.into_values() {
                // One of several that are equal.
                if mean(&tried) > best || taken {
                    worse.extend(tried.1);
                } else {
                    taken = true;
                }
            }
        }
        let there = left_out.kept().count();
        let by = best_of.join(", ");
        left_out.add(&format!("not the best {by} of its setting"), |row| {
            worse.contains(&row)
        });
        let kept = there - worse.len();
        Ok(vec![format!("--best-of {by} keeps {kept} of {there} rows")])
    }
}
