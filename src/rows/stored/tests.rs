//! Tests of the rows of stored and imported runs.

use super::*;
use experiment::architecture::ModelKind;
use scaling_law::analysis::{Policy, simulated};
use scaling_law::study::Checks;

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
    let imported = theirs().to_import(&selection()).expect("usable").runs;
    let ids: BTreeSet<&String> = imported.iter().map(|run| &run.id).collect();
    assert_eq!((imported.len(), ids.len()), (3, 3), "equal rows are two");
    assert_eq!(
        imported,
        theirs().to_import(&selection()).expect("usable").runs
    );
    assert!((imported[0].loss - 4.0 * std::f64::consts::LN_2).abs() < 1e-12);
    let runs = simulated::QUICK.runs();
    let table = stored("both".into(), &runs, &imported).expect("a table");
    assert_eq!(table.len(), runs.len() + 3);
    assert_eq!(table.place(runs.len() + 2), "theirs.csv, line 4");
    let law = scaling_law::fit::law::by_name("chinchilla").expect("a law");
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
        let law = scaling_law::fit::law::by_name(law).expect("a law");
        let only = Selection {
            filters: filters.iter().map(ToString::to_string).collect(),
            ..Selection::default()
        };
        let wanted = Wanted::of_law(law.as_ref());
        let rows = table.select(&wanted, &only).expect("rows");
        rows.observations.len()
    };
    assert_eq!(count("chinchilla", &[]), 2);
    assert_eq!(count("dlcm", &[]), 8);
    // Asked for by name they are what is meant.
    let alone = runs
        .iter()
        .filter(|run| run.kind == ModelKind::TokenOnly)
        .count();
    assert_eq!(count("chinchilla", &["kind = token_only"]), alone);
}

#[test]
fn named_columns_take_the_place_of_a_runs_own() {
    use crate::rows::LossUnit::{self, Bits, Nats};
    let runs = simulated::QUICK.runs();
    let table = stored("runs".into(), &runs, &[]).expect("a table");
    let read = |standard: &str, theirs: &str, loss_unit: LossUnit| {
        let only = Selection {
            columns: vec![(standard.to_owned(), theirs.to_owned())],
            loss_unit,
            ..Selection::default()
        };
        table.runs(&only).expect("runs")
    };
    let own = table.runs(&Selection::default()).expect("runs").rows;
    let nats = read("loss", "flops", Nats).rows;
    let bits = read("loss", "flops", Bits).rows;
    assert_eq!((nats.len(), nats.is_empty()), (own.len(), false));
    for ((nats, bits), own) in nats.iter().zip(&bits).zip(&own) {
        let flops = nats.loss.expect("a loss");
        assert!(flops > 1e3 && bits.loss == Some(flops * std::f64::consts::LN_2));
        assert_eq!((nats.tokens, nats.params), (own.tokens, own.params));
    }
    let none = read("params", "kind", Nats);
    let said = format!(
        "{} rows are left out: `params` is no number above 0",
        own.len()
    );
    assert!(none.rows.is_empty());
    assert!(none.remarks.contains(&said), "{:?}", none.remarks);
}

#[test]
fn a_file_without_a_column_is_left_out_and_one_with_a_gap_is_refused() {
    let imported = theirs().to_import(&selection()).expect("usable").runs;
    let runs = simulated::QUICK.runs();
    let law = scaling_law::fit::law::by_name("dlcm").expect("a law");
    let wanted = Wanted::of_law(law.as_ref());
    let table = stored("both".into(), &runs, &imported).expect("a table");
    let both = Selection {
        filters: vec!["source != nobody".into()],
        ..Selection::default()
    };
    let rows = table.select(&wanted, &both).expect("rows");
    let trained = stored("alone".into(), &runs, &[]).expect("a table");
    let alone = trained
        .select(&wanted, &Selection::default())
        .expect("rows");
    assert_eq!(rows.observations.len(), alone.observations.len());
    let reasons = &rows.excluded;
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
    let unasked = table.select(&wanted, &Selection::default()).expect("rows");
    let reason = &unasked.excluded[0].reason;
    assert!(
        reason.contains("beside runs that were trained here"),
        "{reason}"
    );
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
    let said = table.select(&wanted, &both).expect_err("a gap");
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
    let law = scaling_law::fit::law::by_name("chinchilla").expect("a law");
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
    let law = scaling_law::fit::law::by_name("data_constrained").expect("a law");
    let rows = table
        .select(&Wanted::of_law(law.as_ref()), &Selection::default())
        .expect("rows");
    let unique = rows.observations.column("unique_tokens").expect("there");
    let facts = &runs[0].spec.model().expect("a model").facts;
    let there = facts.train_tokens.min(runs[0].tokens.expect("known"));
    assert!(unique.iter().all(|unique| *unique == there as f64));
}

/// The table of an experiment as it is written, and read again.
fn written(runs: &[RunRecord], name: &str) -> Table {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    let mut table = report::tables::runs(runs).expect("a table");
    if name.ends_with("csv") {
        report::tables::write_csv(&mut table, &path).expect("written");
    } else {
        let bytes = report::tables::parquet(&mut table).expect("made");
        std::fs::write(&path, bytes).expect("written");
    }
    Table::read(&path).expect("read")
}

#[test]
fn own_tables_come_back_run_by_run() {
    let grid = simulated::Grid {
        controls: simulated::Controls::Worse,
        seeds: 2,
        ..simulated::QUICK
    };
    let mut runs = simulated::with_trunks(grid.runs());
    runs[3].loss = None;
    runs[3].outcome = Some(experiment::run::RunOutcome::Diverged);
    runs[5].state = experiment::run::RunState::Pending;
    runs[5].outcome = None;
    runs[7].part = experiment::run::Part::Trial;
    let truth = scaling_law::row::rows(&runs);
    for name in ["runs.csv", "runs.parquet"] {
        let table = written(&runs, name);
        let read = table.runs(&Selection::default()).expect("runs").rows;
        assert_eq!(read, truth, "{name}");
    }
    let all = written(&runs, "runs.csv");
    let imported = all.to_import(&Selection::default()).expect("usable");
    assert_eq!(imported.runs.len(), runs.len() - 1);
    assert_eq!(imported.left_out, [("it has no loss".to_owned(), 1)]);
    let table = stored("theirs".into(), &[], &imported.runs).expect("a table");
    let read = table.runs(&Selection::default()).expect("runs").rows;
    let with_loss: Vec<Row> = truth.into_iter().filter(|row| row.loss.is_some()).collect();
    assert_eq!(read, with_loss);
}

#[test]
fn an_older_versions_table_is_refused_with_the_way_out() {
    let text = "id,kind,params,tokens,compression_ratio,realised_ratio,loss,planned_flops\n";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.csv");
    std::fs::write(&path, text).expect("written");
    let said = Table::read(&path).expect_err("refused").to_string();
    assert!(
        said.contains("older version") && said.contains("orchestrator fit"),
        "{said}"
    );
}

#[test]
fn fitted_rows_hold_what_the_law_took() {
    let text = "N,tokens,loss,note\n1e9,2e10,4,a\n1e9,4e10,3.8,a\n2e9,2e10,3.5,\"b, c\"\n\
                4e9,2e10,3,d\n9e9,2e10,3,d\n";
    let table = super::super::csv::parse("theirs.csv".into(), text.into()).expect("a table");
    let only = Selection {
        columns: vec![("params".into(), "N".into())],
        filters: vec!["params < 9e9".into()],
        group: Some("note".into()),
        ..Selection::default()
    };
    let name = "power:params";
    let law = scaling_law::fit::law::by_name(name).expect("a law");
    let wanted = Wanted::of_law(law.as_ref());
    let rows = table.select(&wanted, &only).expect("rows");
    let policy = Policy::default();
    let fitted = scaling_law::study::fit(name, &rows, &policy, Checks::NONE).expect("fitted");
    let stored = fitted_rows(&fitted.estimate);
    let lines: Vec<&str> = stored.content.lines().collect();
    assert_eq!(lines[0], "place,run,weight,params,loss,tokens");
    assert_eq!(lines[1], "line 2,a,1,1000000000,4,20000000000");
    assert_eq!(lines[3], "line 4,\"b, c\",1,2000000000,3.5,20000000000");
    assert_eq!((stored.n_rows, stored.hash.len()), (4, 64));
}
