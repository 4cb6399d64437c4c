//! Tables as programs write them: what is read of them, and what is refused with the way out.

use crate::fitting::desk::{SIZES, TOKENS, chinchilla, close, number};
use crate::support::{Desk, shared};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;

/// The law behind the shared tables: E, A, α, B, β.
const TRUTH: [(&str, f64); 5] = [
    ("E", 1.8),
    ("A", 400.0),
    ("alpha", 0.34),
    ("B", 900.0),
    ("beta", 0.33),
];

/// What the table with N in millions and D in billions needs; a column has either of its names.
pub(super) const MILLIONS: [&str; 8] = [
    "--column",
    "params=params (M)",
    "--column",
    "tokens=tokens (B)",
    "--scale",
    "params=1e6",
    "--scale",
    "tokens (B)=1e9",
];

/// Compares a fit of Chinchilla's law with the one that made the rows, whose cells are rounded.
pub(super) fn is_truth(fit: &Value, truth: &[(&str, f64)], what: &str) {
    for (name, value) in truth {
        // A and B are steep: exponents off by 1e-4 move them by 2e-3.
        let tolerance = if *value > 100.0 { 5e-3 } else { 1e-3 };
        close(
            number(&fit["parameters"][name]),
            *value,
            tolerance,
            &format!("{what}: {name}"),
        );
    }
}

/// Arguments that fit Chinchilla's law to a table.
pub(super) fn arguments<'a>(csv: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let first = [
        "fit",
        "--csv",
        csv,
        "--law",
        "chinchilla",
        "--bootstrap",
        "0",
        "--json",
    ];
    [&first, more].concat()
}

#[test]
fn tables_that_were_answered_badly() {
    let columns: [(&str, &[&str]); 6] = [
        ("c08-bool-category-date.parquet", &["--where", "used=true"]),
        (
            "c19-suffixes.csv",
            &[
                "--column",
                "params=model_size",
                "--column",
                "tokens=train_tokens",
            ],
        ),
        ("c18-excel-sep-line.csv", &[]),
        ("c07-duplicate-headers.csv", &[]),
        ("c28-plain.csv.gz", &[]),
        ("c26-millions-billions.csv", &MILLIONS),
    ];
    for (name, more) in columns {
        let Some(path) = shared(&format!("cases/{name}")) else {
            continue;
        };
        let told = Desk::new().json(&arguments(&path, more));
        is_truth(&told, &TRUTH, name);
    }
}

#[test]
fn json_lines_are_a_table() {
    let Some(path) = shared("cases/c03-isoflops.jsonl") else {
        return;
    };
    let more = [
        "--column",
        "params=parameters",
        "--column",
        "flops=compute_budget",
        "--column",
        "loss=final_loss",
        "--tokens-from-flops",
    ];
    let told = Desk::new().json(&arguments(&path, &more));
    let truth = [
        ("E", 2.690),
        ("A", 1606.5),
        ("B", 3210.0),
        ("alpha", 0.34),
        ("beta", 0.36),
    ];
    is_truth(&told, &truth, "c03");
}

#[test]
fn a_comparison_with_what_is_no_number_is_false() {
    let text = "params,tokens,loss,eval/loss,used\n1e6,2e7,4.1,4.2,True\n1e6,4e7,3.9,,False\n\
                1e6,8e7,NaN,4.0,True\n2e6,2e7,3.8,3.9,true\n";
    let desk = Desk::new().with("t.csv", text);
    let kept = |filter: &str| -> String {
        let said = desk.json(&["isoflop", "--csv", "t.csv", "--where", filter, "--json"]);
        let warnings = said["warnings"].as_array().expect("warnings");
        let words = warnings
            .iter()
            .filter_map(|warning| warning["message"].as_str());
        let words: Vec<&str> = words.filter(|words| words.starts_with("--where")).collect();
        words.join(" ")
    };
    assert_eq!(
        kept("loss > 0"),
        "--where 'loss > 0' keeps 3 of 4 rows (in 1 nothing stands in a column that it reads)"
    );
    assert!(kept("loss > 0 and used=true").contains("keeps 2 of 4"));
    assert!(kept("loss > 0 and used=1").contains("keeps 2 of 4"));
    assert!(kept("loss > 0 and `eval/loss` < 4.1").contains("keeps 1 of 4"));
    let said = desk.refused(&["isoflop", "--csv", "t.csv", "--where", "eval/loss > 1"]);
    assert!(said.contains("between backticks"), "{said}");
    let Some(path) = shared("cases/c23-nan-small.csv") else {
        return;
    };
    let said = desk.done(&["isoflop", "--csv", &path, "--where", "loss > 0"]);
    assert!(said.contains("keeps 8 of 9 rows"), "{said}");
}

#[test]
fn any_form_of_a_table_gives_one_answer() {
    let csv = chinchilla(&SIZES, &TOKENS);
    let rows: Vec<Vec<&str>> = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    let mut lines = String::new();
    let mut array = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let nested = format!(
            "{{\"config\": {{\"params\": {}}}, \"tokens\": {}, \"loss\": {}, \"bad\": NaN, \"at\": {at}}}",
            row[0], row[1], row[2]
        );
        writeln!(lines, "{nested}").expect("written");
        array.push(nested.replace("\"bad\": NaN", "\"bad\": [1, 2]"));
    }
    let desk = Desk::new().with("t.csv", &csv);
    let truth = desk.json(&arguments("t.csv", &[]));
    let packed = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(lines.as_bytes()).expect("packed");
        encoder.finish().expect("packed")
    };
    let zst = zstd::encode_all(csv.as_bytes(), 1).expect("packed");
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(csv.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    std::fs::create_dir(desk.path().join("runs")).expect("made");
    for (at, row) in rows.iter().enumerate() {
        let file = desk.path().join(format!("runs/r{at:02}.csv"));
        std::fs::write(file, format!("params,tokens,loss\n{}\n", row.join(","))).expect("written");
    }
    let desk = desk
        .with("t.jsonl", &lines)
        .with("t.json", format!("[{}]", array.join(",\n")))
        .with("t.jsonl.gz", packed)
        .with("t.csv.zst", zst)
        .with("wide.csv", utf16)
        .with("mac.csv", csv.replace('\n', "\r"))
        .with("tail.csv", csv.replace('\n', ",\n"))
        .with("typed.csv", format!("#TYPE Rows\n{csv}"));
    let nested = ["--column", "params=config.params"];
    for (name, more) in [
        ("t.jsonl", &nested[..]),
        ("t.json", &nested),
        ("t.jsonl.gz", &nested),
        ("t.csv.zst", &[]),
        ("wide.csv", &[]),
        ("mac.csv", &[]),
        ("tail.csv", &[]),
        ("typed.csv", &[]),
        ("runs/*.csv", &[]),
    ] {
        let told = desk.json(&arguments(name, more));
        assert_eq!(told["parameters"], truth["parameters"], "{name}");
        assert_eq!(told["n_rows"], 25, "{name}");
    }
    let mut piped = desk.command(&arguments("-", &[]));
    let output = piped.write_stdin(csv).output().expect("ran");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["parameters"], truth["parameters"]);
}

#[test]
fn what_is_no_table_or_no_column_is_told() {
    let two = "params,tokens,loss,lr,lr\n1e6,2e7,4,1,2\n2e6,2e7,3,1,1\n";
    let desk = Desk::new()
        .with("two.csv", two)
        .with("book.csv", b"PK\x03\x04rest")
        .with("bad.jsonl", "{\"params\": 1}\n{\"params\": }\n")
        .with("columns.json", "{\"params\": [1, 2], \"loss\": [3, 4]}")
        .with("cut.csv.gz", [0x1f, 0x8b, 8, 0, 1]);
    for (csv, more, why) in [
        (
            "two.csv",
            vec!["--where", "lr < 2"],
            "2 columns are called `lr`, and differ",
        ),
        (
            "two.csv",
            vec!["--group", "lr"],
            "2 columns are called `lr`",
        ),
        (
            "book.csv",
            vec![],
            "an Excel workbook: save its sheet as CSV",
        ),
        ("bad.jsonl", vec![], "line 2: this is no JSON"),
        ("columns.json", vec![], "one object that holds columns"),
        ("cut.csv.gz", vec![], "cannot read cut.csv.gz"),
        ("none/*.csv", vec![], "no file is called so"),
        ("two.csv", vec!["--scale", "params=-1"], "no number above 0"),
        (
            "two.csv",
            vec!["--scale", "parms=1e6"],
            "did you mean `params`?",
        ),
        ("two.csv", vec!["--best-of", "rate"], "has no column `rate`"),
    ] {
        let said = desk.refused(&arguments(csv, &more));
        assert!(said.contains(why), "{csv} {more:?}: {said}");
    }
}

/// `types.parquet` has a column of each of Arrow's types beside `params`, `tokens` and `loss`, which are
/// exactly of the law of [`TRUTH`]; PyArrow 26 wrote it.
#[test]
fn columns_of_types_that_are_not_read_stand_in_nobodys_way() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/program/fitting/types.parquet"
    );
    let desk = Desk::new();
    let all = "`i8` > -999 and `u16` > -1 and `price` > 0 and `cfg.lr` > 0";
    for filter in ["split=train or split=test", "big=a", "params > 0", all] {
        let told = desk.json(&arguments(file, &["--where", filter]));
        assert_eq!(told["n_rows"], 16, "{filter}");
        is_truth(&told, &TRUTH, filter);
    }
    for column in ["when", "day", "clock", "list", "map", "bytes"] {
        let said = desk.refused(&arguments(file, &["--where", &format!("{column} > 1")]));
        let told = format!("column `{column}` holds");
        assert!(
            said.contains(&told) && said.contains("which are not read"),
            "{said}"
        );
    }
}

#[test]
fn an_import_takes_in_what_it_reads_and_counts_the_rest() {
    let csv = chinchilla(&SIZES, &TOKENS);
    let desk = Desk::new().with("t.csv", &csv);
    let import = |more: &[&str]| {
        let first = ["import", "t.csv", "--experiment", "ex", "--json"];
        desk.json(&[&first, more].concat())
    };
    let part = import(&["--where", "params < 1e9"]);
    assert_eq!((&part["added"], &part["removed"]), (&15.into(), &0.into()));
    assert_eq!(part["left_out"]["not params < 1e9"], 10);
    let rest = import(&["--where", "params >= 1e9"]);
    assert_eq!(
        (&rest["added"], &rest["removed"]),
        (&10.into(), &0.into()),
        "{rest}"
    );
    let all = import(&[]);
    assert_eq!(
        (&all["added"], &all["known"], &all["removed"]),
        (&0.into(), &25.into(), &0.into())
    );
    // A file that was corrected takes the place of what it was.
    let corrected = csv.replacen("30000000,", "31000000,", 1);
    std::fs::write(desk.path().join("t.csv"), corrected).expect("written");
    let again = import(&["--where", "params >= 1e9"]);
    assert_eq!(
        (&again["added"], &again["removed"]),
        (&0.into(), &1.into()),
        "{again}"
    );
}
