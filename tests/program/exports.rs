//! An experiment's numbers in other programs' forms, read back by independent readers.

use crate::support::{Desk, TINY};
use assert_cmd::Command;
use polars::prelude::*;
use report::tables::{ATTEMPTS, FITS, MEASUREMENTS, RUNS, SCORES, TableColumn};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A desk with a trained experiment, whose first run has another fit too.
fn trained() -> Desk {
    let desk = Desk::new().with("tiny.yaml", TINY);
    desk.done(&["run", "tiny.yaml"]);
    desk
}

fn export(desk: &Desk, format: &str) -> PathBuf {
    desk.done(&["export", "tiny.yaml", "--format", format]);
    desk.path().join("results/tiny/export").join(format)
}

fn document(desk: &Desk) -> Value {
    let path = export(desk, "json").join("experiment.json");
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

/// A table of docs/exports.md as it must stand there.
fn documented<R>(columns: &[TableColumn<R>]) -> String {
    let mut text = "| column | type | unit | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for column in columns {
        let (name, kind) = (column.name, column.type_name());
        writeln!(
            text,
            "| `{name}` | {kind} | {} | {} |",
            column.unit, column.meaning
        )
        .expect("written");
    }
    text
}

/// The names and types of the columns that docs/exports.md lists for a table.
fn columns_in_docs(table: &str) -> Vec<(String, DataType)> {
    let docs = include_str!("../../docs/exports.md");
    let section = docs
        .split(&format!("### `{table}`"))
        .nth(1)
        .expect("a section");
    let section = section.split("\n#").next().expect("its text");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let kind = match cells[2] {
            "text" => DataType::String,
            "count" => DataType::UInt64,
            "number" => DataType::Float64,
            "flag" => DataType::Boolean,
            other => panic!("{other} is no type"),
        };
        (cells[1].trim_matches('`').to_owned(), kind)
    })
    .collect()
}

#[test]
fn the_columns_are_documented() {
    let docs = include_str!("../../docs/exports.md");
    for (name, expected) in [
        ("runs", documented(RUNS)),
        ("measurements", documented(MEASUREMENTS)),
        ("attempts", documented(ATTEMPTS)),
        ("scores", documented(SCORES)),
        ("fits", documented(FITS)),
    ] {
        assert!(
            docs.contains(&expected),
            "docs/exports.md must list the columns of `{name}`:\n{expected}"
        );
    }
}

#[test]
fn tables_are_what_the_documentation_says() {
    let desk = trained();
    let document = document(&desk);
    let runs = document["runs"].as_array().expect("runs");
    let axes = [
        "axis.compression_ratio",
        "axis.concept_share",
        "axis.params",
        "axis.tokens",
    ];
    let (csv, parquet) = (export(&desk, "csv"), export(&desk, "parquet"));
    for table in ["runs", "measurements", "attempts", "scores", "fits"] {
        let mut expected = columns_in_docs(table);
        if table == "runs" {
            expected.extend(axes.map(|axis| (axis.to_owned(), DataType::String)));
        }
        let file = std::fs::File::open(parquet.join(format!("{table}.parquet"))).expect("a file");
        let frame = ParquetReader::new(file).finish().expect("Parquet");
        let schema = frame.schema().iter();
        let found: Vec<(String, DataType)> = schema
            .map(|(name, kind)| (name.to_string(), kind.clone()))
            .collect();
        assert_eq!(found, expected, "{table}");

        let text = std::fs::read_to_string(csv.join(format!("{table}.csv"))).expect("a file");
        let names: Vec<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            text.lines().next(),
            Some(names.join(",").as_str()),
            "{table}"
        );
        let file = std::fs::File::open(csv.join(format!("{table}.csv"))).expect("a file");
        let read = CsvReader::new(file).finish().expect("CSV");
        assert_eq!(read.height(), frame.height(), "{table}");
        for name in &names {
            let nulls = |frame: &DataFrame| frame.column(name).expect("a column").null_count();
            assert_eq!(nulls(&read), nulls(&frame), "{table}: {name}");
        }
        let rows = match table {
            "runs" => runs.len(),
            "fits" => frame.height(),
            // Nobody asked them anything: the table is empty, and not missing.
            "scores" => {
                assert_eq!(frame.height(), 0);
                continue;
            }
            nested => runs
                .iter()
                .map(|run| run[nested].as_array().map_or(0, Vec::len))
                .sum(),
        };
        assert!(rows > 0);
        assert_eq!(frame.height(), rows, "{table}");
    }
    // A dense model has no R to find: missing, not 0.
    let file = std::fs::File::open(parquet.join("runs.parquet")).expect("a file");
    let frame = ParquetReader::new(file).finish().expect("Parquet");
    assert_eq!(
        frame
            .column("realised_ratio")
            .expect("a column")
            .null_count(),
        1
    );
    // The fit reads what is exported as if it were anybody's.
    let table = csv.join("runs.csv").display().to_string();
    let said = desk.refused(&["fit", "--csv", &table, "--law", "chinchilla"]);
    assert!(said.contains("different"), "{said}");
}

#[test]
fn the_document_holds_everything_and_says_its_version() {
    let desk = trained();
    let document = document(&desk);
    assert_eq!(document["format"], "orchestrator experiment");
    assert_eq!(document["format_version"], 1);
    assert_eq!(document["experiment"]["name"], "tiny");
    let keys: Vec<&String> = document.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "experiment",
            "fits",
            "format",
            "format_version",
            "imported",
            "runs"
        ]
    );
    assert_eq!(document["fits"][0]["law"], "analysis");
    let run = &document["runs"][0];
    let last = run["measurements"]
        .as_array()
        .and_then(|rows| rows.last())
        .expect("a row");
    assert_eq!(last["validation_loss"], run["loss"]);
    assert_eq!(run["attempts"][0]["outcome"], "finished");
    assert_eq!(run["spec"]["recipe"]["batch"], 8);
    assert_eq!(
        last["bits_per_byte"],
        Value::Null,
        "the language has no bytes"
    );
    // The results folder and the name stand for the experiment too.
    for subject in ["results/tiny", "tiny"] {
        desk.done(&[
            "export", subject, "--format", "json", "--output", subject, "--force",
        ]);
    }
}

#[test]
fn what_is_asked_wrongly_is_refused_and_nothing_is_replaced() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    for (args, expected) in [
        (&["export", "tiny.yaml"][..], "--format"),
        (&["export", "tiny.yaml", "--format", "xml"], "tensorboard"),
        (
            &[
                "export",
                "tiny.yaml",
                "--format",
                "csv",
                "--safetensors",
                "f",
            ],
            "cannot be used with",
        ),
        (
            &["export", "3f2a", "--safetensors", "f", "--output", "d"],
            "cannot be used with",
        ),
        (&["export", "tiny.yaml", "--safetensors", "f"], "--format"),
        (
            &["export", "tiny.yaml", "--format", "csv"],
            "run the experiment first",
        ),
        (
            &["export", "nothing", "--format", "csv"],
            "is the path right?",
        ),
    ] {
        let said = desk.refused(args);
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    let desk = desk.with("mine.csv", "1");
    // Runs are left, and the exit status says so.
    desk.command(&["run", "tiny.yaml", "--max-runs", "1"])
        .assert()
        .code(1);
    let said = desk.refused(&["export", "tiny", "--format", "csv", "--output", "."]);
    assert!(said.contains("--force"), "{said}");
    assert!(!desk.path().join("runs.csv").exists());
    desk.done(&[
        "export", "tiny", "--format", "csv", "--output", ".", "--force",
    ]);
    assert!(desk.path().join("runs.csv").exists());
    let said = desk.refused(&["export", "tiny", "--format", "csv", "--output", "mine.csv"]);
    assert!(said.contains("is a file"), "{said}");
}

/// A Python that has a package; `None`, said aloud, where there is none.
fn python_with(package: &str) -> Option<String> {
    let python = std::env::var("ORCHESTRATOR_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python)
        .args(["-c", &format!("import {package}")])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has {
        eprintln!(
            "SKIPPED: {python} has no `{package}`; set ORCHESTRATOR_PYTHON to a Python that has"
        );
    }
    has.then_some(python)
}

fn python(python: &str, folder: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(python)
        .args(["-c", program])
        .args(args)
        .current_dir(folder)
        .output()
        .expect("ran");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Reads event files as TensorBoard does; checksums that do not match are errors.
const READ_EVENTS: &str = "
import json, pathlib, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
runs = {}
for folder in pathlib.Path(sys.argv[1]).iterdir():
    events = EventAccumulator(str(folder), size_guidance={'scalars': 0})
    events.Reload()
    tags = {t: [[e.step, e.value, e.wall_time] for e in events.Scalars(t)] for t in events.Tags()['scalars']}
    content = lambda tag: events.SummaryMetadata(tag).plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content(metadata.SESSION_START_INFO_TAG))
    end = metadata.parse_session_end_info_plugin_data(content(metadata.SESSION_END_INFO_TAG))
    hparams = {k: v.number_value if v.HasField('number_value') else v.string_value for k, v in start.hparams.items()}
    runs[folder.name] = {'scalars': tags, 'hparams': hparams, 'status': end.status}
print(json.dumps(runs))
";

#[test]
fn tensorboard_reads_every_scalar() {
    let Some(python3) = python_with("tensorboard") else {
        return;
    };
    let desk = trained();
    let document = document(&desk);
    let folder = export(&desk, "tensorboard").display().to_string();
    let read: Value = serde_json::from_str(&python(&python3, desk.path(), READ_EVENTS, &[&folder]))
        .expect("JSON");
    let read = read.as_object().expect("runs");
    let runs = document["runs"].as_array().expect("runs");
    assert_eq!(read.len(), runs.len());
    for run in runs {
        let id = run["id"].as_str().expect("an id");
        let (name, found) = read
            .iter()
            .find(|(name, _)| name.ends_with(id))
            .expect("its folder");
        let kind = run["kind"].as_str().expect("a kind");
        assert!(name.starts_with(&format!("{kind}_N")), "{name}");
        assert_eq!(found["hparams"]["params"].as_f64(), run["params"].as_f64());
        assert_eq!(found["hparams"]["kind"], run["kind"]);
        assert_eq!(found["status"], 1);
        let measurements = run["measurements"].as_array().expect("rows");
        for tag in MEASUREMENTS.iter().map(|column| column.name) {
            if tag == "run" || tag == "step" {
                continue;
            }
            let expected: Vec<(i64, f32)> = measurements
                .iter()
                .filter_map(|row| Some((row["step"].as_i64()?, row[tag].as_f64()? as f32)))
                .collect();
            let rows = found["scalars"][tag]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let rows: Vec<(i64, f32)> = rows
                .iter()
                .filter_map(|row| Some((row[0].as_i64()?, row[1].as_f64()? as f32)))
                .collect();
            assert_eq!(rows, expected, "{name}: {tag}");
        }
        let losses = found["scalars"]["loss"].as_array().expect("rows");
        let times: Vec<f64> = losses.iter().filter_map(|row| row[2].as_f64()).collect();
        let started = run["attempts"][0]["started_at"].as_f64().expect("a time");
        assert!(times[0] >= started && times.is_sorted(), "{times:?}");
    }
}

#[test]
fn weights_and_biases_lines_hold_the_history() {
    let desk = trained();
    let document = document(&desk);
    let folder = export(&desk, "wandb");
    for run in document["runs"].as_array().expect("runs") {
        let id = run["id"].as_str().expect("an id");
        let mut files = std::fs::read_dir(&folder).expect("listed").flatten();
        let file = files.find(|file| file.file_name().to_string_lossy().contains(id));
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        let mut lines = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        let head: Value = lines.next().expect("a head");
        assert_eq!(head["format"], "orchestrator run");
        assert_eq!(head["summary"]["loss"], run["loss"]);
        assert_eq!(head["config"]["spec"], run["spec"]);
        let history: Vec<Value> = lines.collect();
        let mut expected = run["measurements"].as_array().expect("rows").clone();
        for row in &mut expected {
            row.as_object_mut()
                .expect("a row")
                .retain(|_, cell| !cell.is_null());
        }
        assert_eq!(history, expected);
    }
}

#[test]
fn weights_and_biases_takes_the_lines_in() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/wandb_import.py");
    let Some(python3) = python_with("wandb") else {
        return;
    };
    let desk = trained();
    let folder = export(&desk, "wandb").display().to_string();
    let output = Command::new(&python3)
        .args([script, &folder, "--project", "tiny"])
        .current_dir(desk.path())
        .env("WANDB_MODE", "offline")
        .env("WANDB_SILENT", "true")
        .output()
        .expect("ran");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let runs = std::fs::read_dir(desk.path().join("wandb"))
        .expect("offline runs")
        .flatten();
    let names = runs.map(|run| run.file_name().to_string_lossy().into_owned());
    let offline: Vec<String> = names
        .filter(|name| name.starts_with("offline-run-"))
        .collect();
    assert_eq!(offline.len(), 3, "{offline:?}");
    for run in desk.status() {
        let id = run["id"].as_str().expect("an id");
        assert!(
            offline.iter().any(|name| name.ends_with(id)),
            "{id}: {offline:?}"
        );
    }
}

#[test]
fn the_importer_is_python() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/wandb_import.py");
    let Some(python3) = python_with("ast") else {
        return;
    };
    let check = "import ast, sys; ast.parse(open(sys.argv[1]).read())";
    python(&python3, Path::new("."), check, &[script]);
}
