//! The database's runs → a table, and a table's rows → the database.

use super::{Places, RowsError, Selection, Table, Wanted};
use crate::analysis::observed;
use crate::digest;
use crate::fit::Observations;
use crate::run::RunId;
use crate::store::{FittedRows, ImportedRun, RunRecord};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

/// Column that says where a run comes from: [`TRAINED`], or the file that was imported.
pub(super) const SOURCE: &str = "source";

/// Source of the runs that were trained here.
pub(super) const TRAINED: &str = "trained";

/// Makes the table of an experiment's runs: those trained here, then those imported.
///
/// `run` is what varies by itself: the run, or the trunk that branches share. `compression_ratio` is
/// the realised one, as laws take it; `source` is `trained`, or the file that was imported. Runs
/// that cannot be fitted are left out with their reason.
///
/// # Errors
/// When the table is too large.
pub fn stored(
    name: String,
    runs: &[RunRecord],
    imported: &[ImportedRun],
) -> Result<Table, RowsError> {
    let (used, unusable) = observed(runs);
    let (mut rows, mut places, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for run in runs {
        let observed = used.iter().find(|observed| observed.id == run.id);
        if let Some(why) = unusable.iter().find(|unusable| unusable.id == run.id) {
            left_out.push((rows.len(), why.why.clone()));
        }
        let written = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
        let cells = [
            ("id", run.id.0.clone()),
            (
                "run",
                observed.map_or_else(|| run.id.0.clone(), |o| o.cluster().to_owned()),
            ),
            (SOURCE, TRAINED.to_owned()),
            ("kind", run.kind.clone()),
            ("params", run.params.to_string()),
            ("tokens", run.tokens.to_string()),
            ("loss", written(run.loss)),
            ("flops", written(run.flops)),
            ("compression_ratio", written(observed.map(|o| o.ratio))),
            ("declared_ratio", run.compression_ratio.to_string()),
            ("concept_share", run.concept_share.to_string()),
            ("seed", run.seed.to_string()),
            (
                "unique_tokens",
                run.spec.facts.train_tokens.min(run.tokens).to_string(),
            ),
            ("data", run.spec.facts.fingerprint.clone()),
        ];
        rows.push(BTreeMap::from(
            cells.map(|(name, cell)| (name.to_owned(), cell)),
        ));
        places.push(format!("run {}", run.id));
    }
    for run in imported {
        let mut cells = run.cells.clone();
        cells.insert(SOURCE.to_owned(), run.source.clone());
        cells
            .entry("run".to_owned())
            .or_insert_with(|| format!("{}:{}", run.source, run.line));
        rows.push(cells);
        places.push(format!("{}, line {}", run.source, run.line));
    }
    let sets: BTreeSet<&str> = used
        .iter()
        .filter_map(|observed| runs.iter().find(|run| run.id == observed.id))
        .map(|run| run.spec.facts.fingerprint.as_str())
        .chain(imported.iter().map(|run| run.source.as_str()))
        .collect();
    let mut remarks = Vec::new();
    if sets.len() > 1 {
        remarks.push(format!(
            "the runs come from {} data sets: if they were not measured on the same tokens, their \
             losses cannot be compared (--where source=trained keeps one)",
            sets.len()
        ));
    }
    let header: BTreeSet<&String> = rows.iter().flat_map(BTreeMap::keys).collect();
    let cells = rows.iter().flat_map(|row| {
        header
            .iter()
            .map(move |name| Cow::Borrowed(row.get(*name).map_or("", String::as_str)))
    });
    let header = header.iter().map(|name| (*name).clone()).collect();
    let table = Table::of_cells(name, header, cells, Places::Named(places))?;
    Ok(Table {
        left_out,
        remarks,
        ..table
    })
}

impl Table {
    /// Makes the runs that an import stores: cells as written, under the names that laws read, and
    /// losses in nats.
    ///
    /// # Errors
    /// When a column is missing, or a loss is no number above 0.
    pub fn to_import(&self, selection: &Selection) -> Result<Vec<ImportedRun>, RowsError> {
        let by = "every import";
        let mut wanted = vec![Wanted::positive("loss", "nats per token", by)];
        if selection.tokens_from_flops {
            wanted.push(Wanted::positive("tokens", "tokens", by));
        }
        let data = self.select(&wanted, selection)?.observations;
        let names = self.names(selection)?;
        let mut seen: HashMap<String, usize> = HashMap::new();
        let run = |(i, &row): (usize, &usize)| {
            let named = names
                .iter()
                .enumerate()
                .filter(|(_, name)| !name.is_empty());
            let mut cells: BTreeMap<String, String> = named
                .map(|(column, name)| (name.clone(), self.cell(row, column).to_owned()))
                .filter(|(_, cell)| !cell.is_empty())
                .collect();
            for want in &wanted {
                if let Some(values) = data.column(want.name()) {
                    cells.insert(want.name().to_owned(), values[i].to_string());
                }
            }
            if let Some(group) = &selection.group
                && let Some(cell) = cells.get(group).cloned()
            {
                cells.insert("run".to_owned(), cell);
            }
            let mut text = String::new();
            for (name, cell) in &cells {
                let _ = writeln!(text, "{name}={cell}");
            }
            let hash = digest::sha256(&text);
            let times = seen.entry(hash.clone()).or_default();
            *times += 1;
            ImportedRun {
                id: format!("{}-{times}", &hash[..16]),
                source: self.name.clone(),
                line: self.line(row) as u32,
                loss: data.column("loss").map_or(f64::NAN, |losses| losses[i]),
                cells,
            }
        };
        Ok(data.source_rows().iter().enumerate().map(run).collect())
    }

    /// Lists the runs trained here among the rows that a law took.
    pub fn trained_runs(&self, data: &Observations) -> Vec<RunId> {
        let column = |name: &str| self.header.iter().position(|column| column == name);
        let (Places::Named(_), Some(id), Some(source)) =
            (&self.places, column("id"), column(SOURCE))
        else {
            return Vec::new();
        };
        let rows = data.source_rows().iter();
        rows.filter(|row| self.cell(**row, source) == TRAINED)
            .map(|row| RunId(self.cell(*row, id).to_owned()))
            .collect()
    }

    /// Writes the rows that a law took as they are stored with its fit.
    pub fn fitted_rows(&self, data: &Observations) -> FittedRows {
        let quoted = |text: &str| match text.contains([',', '"', '\n']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        };
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
        for (i, &row) in data.source_rows().iter().enumerate() {
            let weight = data.weights().map_or(1.0, |weights| weights[i]);
            let run = data.cluster_name(data.clusters()[i]);
            // Writing to a string cannot fail.
            let _ = write!(
                content,
                "{},{},{weight}",
                quoted(&self.place(row)),
                quoted(run)
            );
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::simulated;

    fn theirs() -> Table {
        let text = "N,tokens,loss,note\n1e9,2e10,4,a\n1e9,2e10,4,a\n2e9,2e10,3.5,\"b, c\"\n";
        super::super::csv::parse("theirs.csv".into(), text.into()).expect("a table")
    }

    fn selection() -> Selection {
        Selection {
            columns: vec![("params".into(), "N".into())],
            loss_unit: crate::rows::LossUnit::Bits,
            ..Selection::default()
        }
    }

    #[test]
    fn imported_runs_stand_beside_trained_ones() {
        let imported = theirs().to_import(&selection()).expect("usable");
        let ids: BTreeSet<&String> = imported.iter().map(|run| &run.id).collect();
        assert_eq!((imported.len(), ids.len()), (3, 3), "equal rows are two");
        assert_eq!(imported, theirs().to_import(&selection()).expect("usable"));
        assert!((imported[0].loss - 4.0 * std::f64::consts::LN_2).abs() < 1e-12);
        let runs = simulated::QUICK.runs();
        let table = stored("both".into(), &runs, &imported).expect("a table");
        assert_eq!(table.len(), runs.len() + 3);
        assert_eq!(table.place(runs.len() + 2), "theirs.csv, line 4");
        let law = crate::fit::law::by_name("chinchilla").expect("a law");
        let only = Selection {
            filters: vec!["source != trained".into()],
            ..Selection::default()
        };
        let rows = table
            .select(&Wanted::of_law(law.as_ref()), &only)
            .expect("rows");
        assert_eq!(
            rows.observations.column("params"),
            Some(&[1e9, 1e9, 2e9][..])
        );
        assert!(
            rows.remarks
                .iter()
                .any(|remark| remark.contains("data sets"))
        );
    }

    #[test]
    fn controls_are_rows_of_no_other_law() {
        let grid = simulated::Grid {
            controls: simulated::Controls::Worse,
            ..simulated::QUICK
        };
        let runs = grid.runs();
        let table = stored("runs".into(), &runs, &[]).expect("a table");
        let count = |law: &str, filters: &[&str]| {
            let law = crate::fit::law::by_name(law).expect("a law");
            let only = Selection {
                filters: filters.iter().map(ToString::to_string).collect(),
                ..Selection::default()
            };
            let wanted = Wanted::of_law(law.as_ref());
            let rows = table.select(&wanted, &only).expect("rows");
            (rows.observations.len(), rows.dense)
        };
        assert_eq!(count("chinchilla", &[]), (2, 0));
        assert_eq!(count("dlcm", &[]), (8, 2));
        // Asked for by name they are what is meant.
        let alone = runs.iter().filter(|run| run.kind == "token_only").count();
        assert_eq!(count("chinchilla", &["kind = token_only"]), (alone, 0));
    }

    #[test]
    fn a_file_without_a_column_is_left_out_and_one_with_a_gap_is_refused() {
        let imported = theirs().to_import(&selection()).expect("usable");
        let runs = simulated::QUICK.runs();
        let law = crate::fit::law::by_name("dlcm").expect("a law");
        let wanted = Wanted::of_law(law.as_ref());
        let table = stored("both".into(), &runs, &imported).expect("a table");
        let rows = table.select(&wanted, &Selection::default()).expect("rows");
        let trained = stored("alone".into(), &runs, &[]).expect("a table");
        let alone = trained
            .select(&wanted, &Selection::default())
            .expect("rows");
        assert_eq!(rows.observations.len(), alone.observations.len());
        let reasons = table.by_reason(rows.observations.exclusions());
        let theirs = reasons
            .iter()
            .find(|group| group.reason.contains("theirs.csv"));
        let theirs = theirs.expect("left out");
        assert!(
            theirs.reason.contains("no `compression_ratio`"),
            "{}",
            theirs.reason
        );
        assert_eq!(theirs.lines.len(), 3);
        let only = Selection {
            filters: vec!["source != trained".into()],
            ..Selection::default()
        };
        let said = table.select(&wanted, &only).expect_err("nothing is left");
        assert!(
            said.to_string().contains("3 of theirs.csv, which has no"),
            "{said}"
        );

        let mut gap = imported;
        for run in &mut gap[..2] {
            let cells = [("compression_ratio", "4"), ("concept_share", "0.5")];
            let cells = cells.map(|(name, cell)| (name.to_owned(), cell.to_owned()));
            run.cells.extend(cells);
        }
        let table = stored("both".into(), &runs, &gap).expect("a table");
        let said = table
            .select(&wanted, &Selection::default())
            .expect_err("a gap");
        assert!(said.to_string().contains("line 4"), "{said}");
    }

    #[test]
    fn rows_of_weight_zero_are_left_out() {
        let text = "params,tokens,loss,w\n1e9,2e10,4,1\n2e9,2e10,9,0\n3e9,2e10,3,2\n";
        let table = super::super::csv::parse("w.csv".into(), text.into()).expect("a table");
        let by_weight = Selection {
            weight: Some("w".into()),
            ..Selection::default()
        };
        let law = crate::fit::law::by_name("chinchilla").expect("a law");
        let rows = table
            .select(&Wanted::of_law(law.as_ref()), &by_weight)
            .expect("rows");
        assert_eq!(rows.observations.column("loss"), Some(&[4.0, 3.0][..]));
        assert_eq!(rows.observations.weights(), Some(&[1.0, 2.0][..]));
        assert_eq!(rows.observations.exclusions()[0].reason, "of weight 0");
    }

    #[test]
    fn runs_that_read_their_text_again_tell_how_much_there_is() {
        let runs = simulated::QUICK.runs();
        let table = stored("own".into(), &runs, &[]).expect("a table");
        let law = crate::fit::law::by_name("data_constrained").expect("a law");
        let rows = table
            .select(&Wanted::of_law(law.as_ref()), &Selection::default())
            .expect("rows");
        let unique = rows.observations.column("unique_tokens").expect("there");
        let there = runs[0].spec.facts.train_tokens.min(runs[0].tokens);
        assert!(unique.iter().all(|unique| *unique == there as f64));
    }

    #[test]
    fn fitted_rows_hold_what_the_law_took() {
        let wanted = [Wanted::positive("loss", "nats per token", "a test")];
        let only = Selection {
            filters: vec!["N < 2e9".into()],
            group: Some("note".into()),
            ..Selection::default()
        };
        let table = theirs();
        let rows = table.select(&wanted, &only).expect("rows");
        let stored = table.fitted_rows(&rows.observations);
        let lines: Vec<&str> = stored.content.lines().collect();
        assert_eq!(lines[0], "place,run,weight,loss,tokens");
        assert_eq!(
            lines[1..],
            ["line 2,a,1,4,20000000000", "line 3,a,1,4,20000000000"]
        );
        assert_eq!((stored.n_rows, stored.hash.len()), (2, 64));
    }
}
