//! Runs of this program → a table, and a table's rows → the database.

use super::own::{self, Cells};
use super::{Places, RowsError, Selection, Table, Wanted, number, tokens_of};
use campaign::store::{FittedRows, ImportedRun};
use experiment::digest;
use experiment::record::RunRecord;
use experiment::run::RunId;
use scaling_law::analysis::Estimate;
use scaling_law::row::{Row, each};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write;

/// Column that says where a run comes from: [`TRAINED`], or the file that was imported.
pub(super) const SOURCE: &str = "source";

/// Source of the runs that were trained here.
pub(super) const TRAINED: &str = "trained";

/// Cells of a row by their column's name.
type Named = BTreeMap<String, String>;

/// Makes the table of an experiment's runs: those trained here, then those imported.
///
/// `run` is what varies by itself: the run, or the trunk that branches share. `compression_ratio` is
/// the realised one, as laws take it; `source` is `trained`, or the file that was imported. Runs
/// that cannot be fitted are left out with their reason.
///
/// # Errors
/// When the table is too large, or an imported row of an own table is damaged.
pub fn stored(
    name: String,
    runs: &[RunRecord],
    imported: &[ImportedRun],
) -> Result<Table, RowsError> {
    let mut all = Vec::new();
    let mut unknown = Vec::new();
    for (record, row) in runs.iter().zip(each(runs)) {
        if row.is_none() {
            unknown.push(all.len());
        }
        let written = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
        let more = [
            (SOURCE, TRAINED.to_owned()),
            ("flops", written(record.flops)),
        ];
        let more = more.map(|(name, cell)| (name.to_owned(), cell));
        all.push((format!("run {}", record.id), BTreeMap::from(more), row));
    }
    for run in imported {
        let place = format!("{}, line {}", run.source, run.line);
        let mut cells = run.cells.clone();
        cells.insert(SOURCE.to_owned(), run.source.clone());
        cells
            .entry("run".to_owned())
            .or_insert_with(|| format!("{}:{}", run.source, run.line));
        let row = if own::is_own(|column| cells.contains_key(column) || column == OPTIONAL) {
            Some(read(&run.source, &place, &cells)?)
        } else {
            None
        };
        all.push((place, cells, row));
    }
    let sets = all.iter().filter_map(|(_, cells, row)| match row {
        Some(row) => row.unusable().is_none().then(|| row.data.clone())?,
        None => cells.get(SOURCE).cloned(),
    });
    let sets: BTreeSet<String> = sets.collect();
    let mut remarks = Vec::new();
    if sets.len() > 1 {
        remarks.push(format!(
            "the runs come from {} data sets: if they were not measured on the same tokens, their \
             losses cannot be compared (--where source=trained keeps one)",
            sets.len()
        ));
    }
    let mut table = of_rows(name, all)?;
    let why = "nobody has said its N and its D: neither its file nor its trainer's reports";
    let unknown = unknown.into_iter().map(|at| (at, why.to_owned()));
    table.left_out.extend(unknown);
    Ok(Table { remarks, ..table })
}

/// Numbers of a run, by their columns' names.
type Numbers = Vec<(String, Option<f64>)>;

/// Makes a table of the runs that were trained here with more of their numbers.
///
/// # Errors
/// When the table is too large.
pub(super) fn with_numbers(
    name: String,
    runs: &[RunRecord],
    more: &dyn Fn(&RunRecord) -> Numbers,
) -> Result<Table, RowsError> {
    let known = runs.iter().zip(each(runs));
    let known = known.filter_map(|(record, row)| Some((record, row?)));
    let rows = known.map(|(record, row)| {
        let numbers = more(record).into_iter();
        let written = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
        let cells = numbers.map(|(name, value)| (name, written(value)));
        (format!("run {}", record.id), cells.collect(), Some(row))
    });
    of_rows(name, rows.collect())
}

/// A column that an imported row lacks where its cell is empty.
const OPTIONAL: &str = "realised_ratio";

fn read(table: &str, place: &str, cells: &Named) -> Result<Row, RowsError> {
    let axes = cells.iter().filter_map(|(name, cell)| {
        let axis = name.strip_prefix("axis.").filter(|_| !cell.is_empty())?;
        Some((axis.to_owned(), cell.clone()))
    });
    let get = |column: &str| cells.get(column).map(String::as_str);
    Cells { table, place, get }.row(axes.collect())
}

/// Takes a table that was read for what it is: an own one is known run by run.
///
/// # Errors
/// When it is one that an older version wrote, or a cell is not as this program wrote it.
pub(super) fn recognised(table: Table) -> Result<Table, RowsError> {
    let has = |column: &str| table.header.iter().any(|name| name == column);
    if own::is_older(has) {
        return Err(RowsError::Older {
            name: table.name.clone(),
        });
    }
    if !own::is_own(has) {
        return Ok(table);
    }
    let mut all = Vec::new();
    for at in 0..table.len() {
        let cells = table.header.iter().enumerate();
        let cells: Named = cells
            .map(|(column, name)| (name.clone(), table.cell(at, column).to_owned()))
            .filter(|(_, cell)| !cell.is_empty())
            .collect();
        let place = table.place(at);
        let row = read(&table.name, &place, &cells)?;
        all.push((place, cells, Some(row)));
    }
    let made = of_rows(table.name, all)?;
    Ok(Table {
        places: table.places,
        remarks: table.remarks,
        unread: table.unread,
        ..made
    })
}

/// Makes a table of rows: where they stand, what is written there, and the run that it is.
fn of_rows(name: String, mut all: Vec<(String, Named, Option<Row>)>) -> Result<Table, RowsError> {
    let mut left_out = Vec::new();
    for (at, (_, cells, row)) in all.iter_mut().enumerate() {
        let Some(row) = row else { continue };
        if let Some(why) = row.unusable() {
            left_out.push((at, why));
        }
        cells.extend(as_laws_read(row));
    }
    let header: BTreeSet<&String> = all.iter().flat_map(|(_, cells, _)| cells.keys()).collect();
    let cells = all.iter().flat_map(|(_, row, _)| {
        let header = header.iter();
        header.map(move |name| Cow::Borrowed(row.get(*name).map_or("", String::as_str)))
    });
    let header = header.iter().map(|name| (*name).clone()).collect();
    let places = all.iter().map(|(place, _, _)| place.clone()).collect();
    let table = Table::of_cells(name, header, cells, Places::Named(places))?;
    Ok(Table {
        left_out,
        known: all.into_iter().map(|(_, _, row)| row).collect(),
        ..table
    })
}

/// Writes a run under the names that laws and expressions know.
fn as_laws_read(row: &Row) -> impl Iterator<Item = (String, String)> {
    let number = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
    let usable = row.unusable().is_none();
    let ratio = row.realised_ratio.unwrap_or(1.0);
    let unique = row.data_tokens.map(|there| there.min(row.tokens));
    let cells = [
        ("id", row.id.0.clone()),
        ("run", row.cluster.clone()),
        ("kind", row.kind.name().to_owned()),
        ("part", row.part.name().to_owned()),
        ("params", row.params.to_string()),
        ("tokens", row.tokens.to_string()),
        ("loss", number(row.loss)),
        ("compression_ratio", number(usable.then_some(ratio))),
        ("declared_ratio", row.declared_ratio.to_string()),
        ("concept_share", row.concept_share.to_string()),
        ("seed", row.seed.to_string()),
        ("unique_tokens", number(unique)),
        ("learning_rate", number(row.learning_rate)),
        ("stable_loss", number(row.stable_loss)),
        (
            "decay_gain",
            number(row.decay_gain().filter(|gain| *gain > 0.0)),
        ),
        ("data", row.data.clone().unwrap_or_default()),
        (
            "reads_ahead",
            if row.reads_ahead { "true" } else { "" }.to_owned(),
        ),
    ];
    let cells: Vec<(String, String)> = cells
        .into_iter()
        .map(|(name, cell)| (name.to_owned(), cell))
        .collect();
    let axes = row.axes.iter();
    let axes: Vec<(String, String)> = axes
        .map(|(axis, value)| (format!("axis.{axis}"), value.clone()))
        .collect();
    cells.into_iter().chain(axes)
}

impl Table {
    /// Says whether its rows are an experiment's own runs.
    pub fn is_of_experiment(&self) -> bool {
        self.header.iter().any(|column| column == SOURCE)
    }

    /// Lists the runs that were trained here.
    pub fn trained(&self) -> HashSet<RunId> {
        let source = self.header.iter().position(|column| column == SOURCE);
        let is_trained = |at: usize| source.is_some_and(|source| self.cell(at, source) == TRAINED);
        let rows = self.known.iter().enumerate();
        rows.filter(|(at, _)| is_trained(*at))
            .filter_map(|(_, row)| Some(row.as_ref()?.id.clone()))
            .collect()
    }

    /// Makes the runs that an import stores: cells as written, under the names that laws read, and
    /// losses in nats. Of an own table those that were never to be fitted are taken in too, since they
    /// tell how others were trained.
    ///
    /// # Errors
    /// When a column is missing, or a loss is no number above 0.
    pub fn to_import(&self, selection: &Selection) -> Result<ToImport, RowsError> {
        let names = self.names(selection)?;
        let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
        let kept: BTreeSet<usize> = if self.known.is_empty() {
            let by = "every import";
            let mut wanted = vec![Wanted::positive("loss", "nats per token", by)];
            if selection.tokens_from_flops {
                wanted.push(Wanted::positive("tokens", "tokens", by));
            }
            // Models of all kinds: what each is fitted with is not asked yet.
            let chosen = self.selected(&wanted, selection, false)?;
            for group in chosen
                .excluded
                .iter()
                .filter(|group| !group.lines.is_empty())
            {
                left_out.insert(group.reason.clone(), group.lines.len());
            }
            chosen.observations.source_rows().iter().copied().collect()
        } else {
            self.kept(&names, selection, &mut left_out)?
                .into_iter()
                .collect()
        };
        let mut to_import = ToImport::default();
        for (row, run) in self.importable(&names, selection) {
            if let Some(run) = &run {
                to_import.whole.insert(run.id.clone());
            }
            match run.filter(|_| kept.contains(&row)) {
                Some(run) => to_import.runs.push(run),
                None if kept.contains(&row) => {
                    *left_out.entry("it has no loss".to_owned()).or_default() += 1;
                }
                None => {}
            }
        }
        to_import.left_out = left_out.into_iter().collect();
        Ok(to_import)
    }

    /// Makes imported runs of all rows; `None` of those without a loss.
    fn importable(
        &self,
        names: &[String],
        selection: &Selection,
    ) -> impl Iterator<Item = (usize, Option<ImportedRun>)> {
        let at = |name: &str| names.iter().position(|column| column == name);
        let (loss, tokens, flops, params) = (at("loss"), at("tokens"), at("flops"), at("params"));
        let own = !self.known.is_empty();
        let read = move |row: usize, at: Option<usize>| {
            at.and_then(|at| number(self.cell(row, at)))
                .filter(|value| value.is_finite())
        };
        let mut seen: HashMap<String, usize> = HashMap::new();
        let run = move |row: usize| {
            let loss = read(row, loss)?
                * if own {
                    1.0
                } else {
                    selection.loss_unit.factor()
                };
            let named = names
                .iter()
                .enumerate()
                .filter(|(_, name)| !name.is_empty());
            let mut cells: Named = named
                .map(|(column, name)| (name.clone(), self.cell(row, column).to_owned()))
                .filter(|(_, cell)| !cell.is_empty())
                .collect();
            if !own {
                cells.insert("loss".to_owned(), loss.to_string());
                if selection.tokens_from_flops && tokens.is_none() {
                    let tokens = read(row, flops).zip(read(row, params));
                    let tokens = tokens.map(|(flops, params)| tokens_of(flops, params));
                    cells.extend(tokens.map(|tokens| ("tokens".to_owned(), tokens.to_string())));
                }
            }
            if let Some(group) = &selection.group
                && let Some(cell) = cells.get(group).cloned()
            {
                cells.insert("run".to_owned(), cell);
            }
            let mut text = String::new();
            for (name, cell) in &cells {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{name}={cell}");
            }
            let hash = digest::sha256(&text);
            // Of all rows, so that a filter changes nobody's identity.
            let times = seen.entry(hash.clone()).or_default();
            *times += 1;
            Some(ImportedRun {
                id: format!("{}-{times}", &hash[..16]),
                source: self.name.clone(),
                line: self.line(row) as u32,
                loss,
                cells,
            })
        };
        let mut run = run;
        (0..self.len()).map(move |row| (row, run(row)))
    }
}

/// What an import takes in.
#[derive(Debug, Default)]
pub struct ToImport {
    /// The runs.
    pub runs: Vec<ImportedRun>,
    /// Identities of all runs that the file holds, those included that are not meant now.
    pub whole: BTreeSet<String>,
    /// Rows that are not taken in, by reason.
    pub left_out: Vec<(String, usize)>,
}

/// Writes the rows that a law took as they are stored with its fit.
pub fn fitted_rows(estimate: &Estimate) -> FittedRows {
    let quoted = |text: &str| {
        if text.contains([',', '"', '\n']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let data = &estimate.data;
    let columns: Vec<(&str, &[f64])> = data
        .names()
        .filter_map(|name| Some((name, data.column(name)?)))
        .collect();
    let mut content = "place,run,weight".to_owned();
    for (name, _) in &columns {
        content.push(',');
        content.push_str(&quoted(name));
    }
    content.push('\n');
    for (i, row) in estimate.report.predicted.iter().enumerate() {
        let weight = data.weights().map_or(1.0, |weights| weights[i]);
        let run = data.cluster_name(data.clusters()[i]);
        // Writing to a string cannot fail.
        let _ = write!(content, "{},{},{weight}", quoted(&row.run.0), quoted(run));
        for (_, values) in &columns {
            let _ = write!(content, ",{}", values[i]);
        }
        content.push('\n');
    }
    FittedRows {
        hash: digest::sha256(&content),
        n_rows: data.len(),
        content,
    }
}

#[cfg(test)]
mod tests;
