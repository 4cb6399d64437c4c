//! A table → observations: names, filters, units, and every cell that a fit reads.

mod left_out;
mod models;
mod reader;
mod runs;
mod variants;

use super::stored::{SOURCE, TRAINED};
use super::{Places, RUN, RowsError, Scale, Table, filter, number};
use experiment::architecture::ModelKind;
use experiment::run::RunId;
use experiment::spelling::nearest;
use left_out::LeftOut;
use reader::Reader;
pub use runs::Runs;
use scaling_law::fit::law::Law;
use scaling_law::fit::{Exclusion, Observations, VARIANT};
use scaling_law::study::{LeftOutRows, Rows};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Columns that are kept beside those a law reads, where they hold numbers.
const STANDARD: [&str; 7] = [
    "params",
    "tokens",
    "flops",
    "compression_ratio",
    "concept_share",
    "declared_ratio",
    "unique_tokens",
];

/// Unit of what laws predict.
const LOSS_UNIT: &str = "nats per token";

/// What losses are counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossUnit {
    /// Natural logarithms.
    #[default]
    Nats,
    /// Logarithms to base 2: multiplied by ln 2 when they are read.
    Bits,
}

impl LossUnit {
    /// Returns by what losses are multiplied to be nats.
    pub(super) fn factor(self) -> f64 {
        match self {
            Self::Nats => 1.0,
            Self::Bits => std::f64::consts::LN_2,
        }
    }
}

/// Which rows and columns of a table are meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// A name that laws know, and the table's name for it.
    pub columns: Vec<(String, String)>,
    /// Expressions that must all hold.
    pub filters: Vec<String>,
    /// Column whose values name the runs; `run` where there is one.
    pub group: Option<String>,
    /// Column of weights.
    pub weight: Option<String>,
    /// Unit of the losses.
    pub loss_unit: LossUnit,
    /// Whether missing tokens are computed as `flops/(6·params)`.
    pub tokens_from_flops: bool,
    /// Columns in other units, by their name or the laws'.
    #[serde(default)]
    pub scales: Vec<(String, Scale)>,
    /// What is taken in place of the loss: a score by its name, as in `TASK.bits_per_byte`, or a table's column.
    #[serde(default)]
    pub target: Option<String>,
    /// Columns of which, in every setting, only the rows with the best value are kept.
    #[serde(default)]
    pub best_of: Vec<String>,
}

/// A column that must be there, and what its cells must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    name: String,
    above: f64,
    below: f64,
    unit: &'static str,
    /// Where cells are words: those, which are read as their numbers.
    words: Vec<String>,
    /// Who reads it.
    by: String,
}

impl Wanted {
    /// Describes a positive quantity.
    pub fn positive(name: &str, unit: &'static str, by: &str) -> Self {
        Self {
            name: name.to_owned(),
            above: 0.0,
            below: f64::INFINITY,
            unit,
            words: Vec::new(),
            by: by.to_owned(),
        }
    }

    /// Describes the columns a law reads: its inputs, then its response.
    pub fn of_law(law: &dyn Law) -> Vec<Self> {
        let by = format!("law `{}`", law.name());
        let inputs = law.inputs().into_iter().map(|input| Self {
            name: input.name,
            above: input.above,
            below: input.below,
            unit: input.unit,
            words: input.words,
            by: by.clone(),
        });
        let response = Self::positive(law.response(), LOSS_UNIT, &by);
        inputs.chain([response]).collect()
    }

    /// Describes the columns a law of a score reads, which may be 0 and is in no unit of losses.
    pub fn of_score(law: &dyn Law) -> Vec<Self> {
        let mut wanted = Self::of_law(law);
        for want in wanted.iter_mut().filter(|want| want.name == law.response()) {
            (want.above, want.unit) = (f64::NEG_INFINITY, "");
        }
        wanted
    }

    /// Returns the column's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn takes(&self, value: f64) -> bool {
        value.is_finite() && value > self.above && value < self.below
    }

    /// Reads a cell.
    fn read(&self, cell: &str) -> Option<f64> {
        if self.words.is_empty() {
            return number(cell).filter(|value| self.takes(*value));
        }
        let word = self.words.iter().position(|word| word == cell.trim());
        word.map(|word| word as f64)
    }

    fn expected(&self, unit: LossUnit) -> String {
        if !self.words.is_empty() {
            return format!("one of {}", self.words.join(", "));
        }
        let unit = match (self.unit, unit) {
            ("1" | "the column's own", _) => String::new(),
            (LOSS_UNIT, LossUnit::Bits) => " (bits per token)".to_owned(),
            (unit, _) => format!(" ({unit})"),
        };
        if self.above == f64::NEG_INFINITY {
            "a number".to_owned()
        } else if self.above < 0.0 {
            "a number of at least 0".to_owned()
        } else if self.below.is_finite() {
            format!("a number between {} and {}{unit}", self.above, self.below)
        } else {
            format!("a number above {}{unit}", self.above)
        }
    }
}

impl Table {
    /// Returns the columns by the names that laws know.
    ///
    /// # Errors
    /// When a column that is renamed is not there.
    pub fn names(&self, selection: &Selection) -> Result<Vec<String>, RowsError> {
        let mut names = self.header.clone();
        for (standard, theirs) in &selection.columns {
            let at = self.position(&self.header, theirs, "")?;
            // A column that had the name is hidden behind the one that was asked for.
            for (i, name) in names.iter_mut().enumerate() {
                if name == standard && i != at {
                    name.clear();
                }
            }
            names[at].clone_from(standard);
        }
        // What is read where it is there must be one column.
        let read = ["loss", "kind", "seed", "weight", RUN];
        for name in STANDARD.iter().chain(&read) {
            if names.iter().any(|column| column == name) {
                self.position(&names, name, "")?;
            }
        }
        Ok(names)
    }

    pub(super) fn position(
        &self,
        names: &[String],
        column: &str,
        why: &str,
    ) -> Result<usize, RowsError> {
        let mut found = (0..names.len()).filter(|at| names[*at] == column);
        if let Some(at) = found.next() {
            // Columns that agree are one, however often they stand there.
            let agree = |other: usize| {
                (0..self.len()).all(|row| self.cell(row, at) == self.cell(row, other))
            };
            if found.clone().all(agree) {
                return Ok(at);
            }
            return Err(RowsError::Ambiguous {
                name: self.name.clone(),
                column: column.to_owned(),
                columns: 1 + found.count(),
            });
        }
        if let Some((_, kind)) = self.unread.iter().find(|(name, _)| name == column) {
            return Err(RowsError::Unread {
                name: self.name.clone(),
                column: column.to_owned(),
                kind: kind.clone(),
            });
        }
        let all = || names.iter().map(String::as_str);
        let alike = |name: &&str| {
            let (name, column) = (name.to_lowercase(), column.to_lowercase());
            name.len() > 1 && (name.contains(&column) || column.contains(&name))
        };
        let help = match nearest(column, all()).or_else(|| all().find(alike)) {
            Some(meant) if why.is_empty() => format!("; did you mean `{meant}`?"),
            Some(meant) => format!("; if it is `{meant}`, say --column {column}={meant}"),
            None if why.is_empty() => String::new(),
            None => format!("; say which one it is with --column {column}=THEIRS"),
        };
        Err(RowsError::MissingColumn {
            name: self.name.clone(),
            column: column.to_owned(),
            why: why.to_owned(),
            available: all()
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            help,
        })
    }

    /// Chooses the rows that are meant and reads their cells.
    ///
    /// # Errors
    /// A missing column, a filter that cannot be used, no row left, or the first bad cell of a row
    /// that is kept.
    pub fn select(&self, wanted: &[Wanted], selection: &Selection) -> Result<Rows, RowsError> {
        self.selected(wanted, selection, true)
    }

    /// The same; `separate` says whether models of one kind are meant, as by a law.
    pub(super) fn selected(
        &self,
        wanted: &[Wanted],
        selection: &Selection,
        separate: bool,
    ) -> Result<Rows, RowsError> {
        let names = self.names(selection)?;
        if self.is_empty() {
            return Err(RowsError::Empty {
                name: self.name.clone(),
                what: "it has no rows",
            });
        }
        let mut left_out = LeftOut::new(self);
        self.filter(&names, selection, &mut left_out)?;
        let runs = self.runs(selection)?;
        self.leave_out_imported(&names, selection, &mut left_out);
        let mut remarks = runs.remarks;
        let mut unread = Vec::new();
        if separate {
            self.separate_controls(&names, &mut left_out);
            unread = self.separate_dense(&names, wanted, &mut left_out);
        }
        self.leave_out_without_gain(&names, wanted, &mut left_out);
        self.leave_out_sources_without(&names, wanted, &mut left_out);
        left_out.check(self)?;
        let reader = Reader {
            table: self,
            names: &names,
            selection,
            left_out: &left_out,
        };
        remarks.extend(unread);
        let mut columns: Vec<(String, Vec<f64>)> = Vec::new();
        for want in wanted {
            if columns.iter().all(|(name, _)| *name != want.name) {
                columns.push((want.name.clone(), reader.column(want, &mut remarks)?));
            }
        }
        for name in STANDARD {
            if columns.iter().all(|(known, _)| known != name)
                && let Some(values) = reader.where_numeric(name)
            {
                columns.push((name.to_owned(), values));
            }
        }
        let inputs = wanted.iter().filter(|want| want.unit != LOSS_UNIT);
        let inputs: Vec<&str> = inputs.map(Wanted::name).collect();
        let variants = self.variants(&names, &inputs, selection, &left_out);
        // Rows of one setting in all that laws read are no replicates where something else differs.
        columns.extend(
            variants
                .numbers()
                .map(|numbers| (VARIANT.to_owned(), numbers)),
        );
        let mut observations = Observations::new(columns)?;
        if let Some(labels) = reader.labels()? {
            observations = observations.with_clusters(&labels)?;
        }
        let weights = reader.weights()?;
        if let Some(weights) = &weights {
            observations = observations.with_weights(weights.clone())?;
            // Nothing that is said of the data is said of them.
            left_out.add("of weight 0", |row| weights[row] == 0.0);
            left_out.check(self)?;
        }
        let observations = left_out.apply(observations);
        let place = |row: &usize| match self.known.get(*row) {
            Some(Some(run)) => run.id.clone(),
            _ => RunId(self.place(*row)),
        };
        Ok(Rows {
            name: self.name.clone(),
            places: observations.source_rows().iter().map(place).collect(),
            excluded: self.by_reason(observations.exclusions()),
            observations,
            runs: runs.rows,
            varying: variants.columns,
            remarks,
        })
    }

    /// Lists the different words of a column in the rows that are meant, in alphabetical order.
    ///
    /// # Errors
    /// When there is no such column, or a filter cannot be used.
    pub fn words(&self, column: &str, selection: &Selection) -> Result<Vec<String>, RowsError> {
        let names = self.names(selection)?;
        let at = self.position(&names, column, "")?;
        let kept = self.kept(&names, selection, &mut BTreeMap::new())?;
        let words: BTreeSet<&str> = kept.iter().map(|row| self.cell(*row, at).trim()).collect();
        // Where nothing stands is said when the cells are read.
        let words = words.into_iter().filter(|word| !word.is_empty());
        Ok(words.map(str::to_owned).collect())
    }

    /// Applies the filters; returns what is to be said of them.
    fn filter(
        &self,
        names: &[String],
        selection: &Selection,
        left_out: &mut LeftOut,
    ) -> Result<Vec<String>, RowsError> {
        let mut remarks = Vec::new();
        for text in &selection.filters {
            let filter::Kept { rows, missing } = filter::keep(self, names, text)?;
            let kept = rows.iter().filter(|keep| **keep).count();
            let lacks = match missing {
                0 => String::new(),
                missing => format!(" (in {missing} nothing stands in a column that it reads)"),
            };
            remarks.push(if kept == rows.len() {
                format!("--where '{text}' leaves out nothing{lacks}")
            } else {
                format!(
                    "--where '{text}' keeps {kept} of {} rows{lacks}",
                    rows.len()
                )
            });
            left_out.add(&format!("not {text}"), |row| !rows[row]);
        }
        if !selection.best_of.is_empty() {
            remarks.extend(self.keep_best(names, selection, left_out)?);
        }
        Ok(remarks)
    }

    /// Leaves out imported rows beside runs that were trained here, unless a filter chooses by where
    /// rows come from; says how many.
    fn leave_out_imported(
        &self,
        names: &[String],
        selection: &Selection,
        left_out: &mut LeftOut,
    ) -> usize {
        let at = names.iter().position(|name| name == SOURCE);
        let chosen = selection.filters.iter().any(|text| text.contains(SOURCE));
        let (Some(at), false, Places::Named(_)) = (at, chosen, &self.places) else {
            return 0;
        };
        let is_trained = |row: usize| self.cell(row, at) == TRAINED;
        if !left_out.kept().any(is_trained) {
            return 0;
        }
        let imported = left_out.kept().filter(|row| !is_trained(*row)).count();
        let why = "imported, beside runs that were trained here (--where by `source` chooses)";
        left_out.add(why, |row| !is_trained(row));
        imported
    }

    /// Lists the rows that the filters keep, those included that no law is fitted to; counts the others
    /// by reason.
    pub(super) fn kept(
        &self,
        names: &[String],
        selection: &Selection,
        counted: &mut BTreeMap<String, usize>,
    ) -> Result<Vec<usize>, RowsError> {
        let mut left_out = LeftOut::of(self);
        self.filter(names, selection, &mut left_out)?;
        counted.extend(left_out.counted().map(|(why, rows)| (why.to_owned(), rows)));
        Ok(left_out.kept().collect())
    }

    /// Leaves out token levels alone, which are controls, unless nothing else is meant: they have no
    /// concepts, and are not dense.
    fn separate_controls(&self, names: &[String], left_out: &mut LeftOut) {
        let Some(at) = names.iter().position(|name| name == "kind") else {
            return;
        };
        let is_control = |row: usize| self.cell(row, at) == ModelKind::TokenOnly.name();
        if left_out.kept().any(|row| !is_control(row)) {
            left_out.add("a token level alone, which is a control", is_control);
        }
    }

    /// Leaves out own runs that a law of decays cannot be about.
    fn leave_out_without_gain(&self, names: &[String], wanted: &[Wanted], left_out: &mut LeftOut) {
        const GAIN: &str = "decay_gain";
        let at = names.iter().position(|name| name == GAIN);
        if let Some(at) = at.filter(|_| wanted.iter().any(|want| want.name == GAIN)) {
            left_out.add("it is no branch, or its decay gained nothing", |row| {
                self.known.get(row).is_some_and(Option::is_some) && self.cell(row, at).is_empty()
            });
        }
    }

    /// Leaves out dense rows where the law is about concepts, and hierarchical ones where it is not
    /// and there are both.
    fn separate_dense(
        &self,
        names: &[String],
        wanted: &[Wanted],
        left_out: &mut LeftOut,
    ) -> Vec<String> {
        let reads = |column: &str| wanted.iter().any(|want| want.name == column);
        let by = wanted.first().map_or("", |want| want.by.as_str());
        if let Some(at) = names.iter().position(|name| name == "concept_share") {
            let share = |row: usize| number(self.cell(row, at));
            let is_dense = |row: usize| share(row) == Some(0.0);
            if reads("concept_share") || reads("compression_ratio") {
                left_out.add(&format!("dense, which {by} is not about"), is_dense);
            } else if left_out.kept().any(is_dense) {
                left_out.add(
                    &format!("it has concepts, which {by} is not about"),
                    |row| share(row).is_some_and(|share| share > 0.0),
                );
            }
        }
        let varies = |column: &&str| {
            let Some(at) = names.iter().position(|name| name == column) else {
                return false;
            };
            let written = left_out.kept().map(|row| self.cell(row, at));
            let mut values = written.filter(|cell| !cell.is_empty());
            let first = values.next();
            !reads(column) && values.any(|value| Some(value) != first)
        };
        let unread = ["compression_ratio", "concept_share"]
            .into_iter()
            .filter(varies)
            .map(|column| {
                format!("`{column}` varies, and {by} does not read it: its effect counts as noise")
            });
        unread.collect()
    }

    /// Leaves out the imported files that have nothing in a column that is wanted: they are about
    /// something else. A file with some of its cells empty is damaged instead, and refused.
    fn leave_out_sources_without(
        &self,
        names: &[String],
        wanted: &[Wanted],
        left_out: &mut LeftOut,
    ) {
        let at = |column: &str| names.iter().position(|name| name == column);
        let (Places::Named(_), Some(source)) = (&self.places, at(SOURCE)) else {
            return;
        };
        for want in wanted {
            let Some(column) = at(&want.name) else {
                continue;
            };
            let has = left_out
                .kept()
                .filter(|row| !self.cell(*row, column).is_empty());
            let with: HashSet<&str> = has.map(|row| self.cell(row, source)).collect();
            let kept = left_out.kept().map(|row| self.cell(row, source));
            let without = |source: &&str| *source != TRAINED && !with.contains(source);
            let without: BTreeSet<&str> = kept.filter(without).collect();
            for file in without {
                let reason = format!("of {file}, which has no `{}` for {}", want.name, want.by);
                left_out.add(&reason, |row| self.cell(row, source) == file);
            }
        }
    }

    /// Groups the rows left out by reason, with their lines.
    fn by_reason(&self, exclusions: &[Exclusion]) -> Vec<LeftOutRows> {
        let mut groups: Vec<LeftOutRows> = Vec::new();
        for exclusion in exclusions {
            let line = self.line(exclusion.row);
            match groups
                .iter_mut()
                .find(|group| group.reason == exclusion.reason)
            {
                Some(group) => group.lines.push(line),
                None => groups.push(LeftOutRows {
                    reason: exclusion.reason.clone(),
                    lines: vec![line],
                }),
            }
        }
        groups
    }
}
