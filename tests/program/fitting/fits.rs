//! One law on a table: what is read, what is refused, and what is said.

use crate::fitting::desk::{SIZES, TOKENS, chinchilla, close, kinds, number};
use crate::support::{Desk, shared};
use serde_json::Value;
use std::fmt::Write as _;

/// A published data set, or loudly nothing.
fn published(name: &str) -> Option<String> {
    shared(&format!("fits/{name}"))
}

/// Changes the loss of every row.
fn with_losses(text: &str, change: impl Fn(f64, f64) -> f64) -> String {
    let rows = text.lines().skip(1).map(|line| {
        let cells: Vec<f64> = line
            .split(',')
            .map(|c| c.parse().expect("a number"))
            .collect();
        format!("{},{},{}\n", cells[0], cells[1], change(cells[2], cells[0]))
    });
    "params,tokens,loss\n".to_owned() + &rows.collect::<String>()
}

#[test]
fn a_published_fit_comes_out_as_published() {
    let Some(csv) = published("chinchilla_epoch.csv") else {
        return;
    };
    let args = [
        "fit",
        "--csv",
        &csv,
        "--law",
        "chinchilla",
        "--column",
        "params=n_params",
        "--column",
        "tokens=d_tokens",
        "--where",
        "used=1",
        "--bootstrap",
        "200",
        "--json",
    ];
    let fit = Desk::new().json(&args);
    close(
        number(&fit["objective"]),
        0.0010182740178,
        1e-9,
        "objective",
    );
    for (name, value) in [
        ("A", 477.825868),
        ("B", 2143.417363),
        ("E", 1.817218),
        ("alpha", 0.3473105),
        ("beta", 0.3671724),
    ] {
        close(number(&fit["parameters"][name]), value, 1e-5, name);
        let interval = &fit["intervals"][name];
        assert!(
            number(&interval[0]) < value && value < number(&interval[1]),
            "{interval}"
        );
    }
    assert_eq!(
        (&fit["n_rows"], &fit["converged"]),
        (&240.into(), &true.into())
    );
    assert_eq!(fit["starts"], fit["starts_at_minimum"]);
    assert_eq!(
        fit["excluded"][0]["lines"].as_array().expect("lines").len(),
        5
    );
    assert_eq!(
        fit["excluded"][0]["lines"][0], 2,
        "lines are those of an editor"
    );
    for key in ["at_bound", "unidentified"] {
        assert_eq!(fit[key], Value::Array(Vec::new()), "{key}");
    }
    for column in ["params", "tokens"] {
        let error = number(&fit["held_out"][column]["mean_error"]);
        assert!(error > 0.0 && error < 0.05, "{column}: {error}");
    }
    assert!(number(&fit["r2"]) > 0.97 && number(&fit["seconds"]) > 0.0);
}

#[test]
fn a_fit_reads_well_and_says_what_it_does_not_know() {
    let desk = Desk::new()
        .with("runs.csv", chinchilla(&SIZES, &TOKENS))
        .with(
            "one.csv",
            chinchilla(&[1e9], &[1e9, 2e9, 4e9, 8e9, 1.6e10, 3e10, 6e10]),
        );
    let text = desk.done(&[
        "fit",
        "--csv",
        "runs.csv",
        "--law",
        "chinchilla",
        "--bootstrap",
        "50",
        "--verbose",
    ]);
    for part in [
        "25 rows of 25 runs",
        "loss = E + A/params^alpha + B/tokens^beta",
        "95% interval",
        "50 refits with 0.2% noise",
        "held out    largest params",
        "held out    largest tokens",
        "seed noise  unknown",
        "(extrapolated)",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let one = desk.json(&["fit", "--csv", "one.csv", "--law", "chinchilla", "--json"]);
    let unidentified = one["unidentified"].as_array().expect("a list");
    assert!(unidentified.contains(&"alpha".into()) && unidentified.contains(&"A".into()));
    assert!(
        kinds(&one).iter().any(|kind| kind == "single_valued"),
        "{one}"
    );
    let text = desk.done(&["fit", "--csv", "one.csv", "--law", "chinchilla"]);
    assert!(
        text.contains("not identified: params has one value"),
        "{text}"
    );
}

#[test]
fn bad_cells_are_named_by_file_line_and_column() {
    let good = chinchilla(&SIZES, &TOKENS);
    let with_line = |line: usize, text: &str| {
        let mut lines: Vec<&str> = good.lines().collect();
        lines[line - 1] = text;
        lines.join("\n")
    };
    let desk = Desk::new();
    for (content, said) in [
        (with_line(7, "1e8,1e9,"), "line 7: `loss` is empty"),
        (with_line(7, "1e8,1e9,nan"), "line 7: `loss` is `nan`"),
        (with_line(7, "1e8,1e9,0"), "line 7: `loss` is `0`"),
        (
            with_line(7, "1e8,1e9,-2"),
            "which must be a number above 0 (nats per token)",
        ),
        (with_line(7, "1e8,1e9,n/a"), "line 7: `loss` is `n/a`"),
        (
            with_line(9, "\"1,000\",1e9,3"),
            "line 9: `params` is `1,000`",
        ),
        (
            with_line(9, "1e8,1e9,3,4"),
            "line 9: there are 4 cells where the header names 3",
        ),
        (
            with_line(1, "params,loss,loss"),
            "bad.csv: 2 columns are called `loss`, and differ",
        ),
        (
            with_line(1, "params,d_tokens,loss"),
            "if it is `d_tokens`, say --column tokens=d_tokens",
        ),
        (
            with_line(1, "params,tokens,ppl"),
            "has no column `loss`, which law `chinchilla` reads; it has params, tokens, ppl",
        ),
        ("params,tokens,loss\n".into(), "it has no rows"),
        (String::new(), "no header"),
        (
            chinchilla(&[1e8], &[1e9, 2e9, 4e9]),
            "3 different settings (3 rows) cannot determine the 5 parameters",
        ),
    ] {
        std::fs::write(desk.path().join("bad.csv"), content).expect("written");
        let text = desk.refused(&["fit", "--csv", "bad.csv", "--law", "chinchilla"]);
        assert!(text.contains(said), "{said} is not in {text}");
    }
    let said = desk.refused(&["fit", "--csv", "absent.csv", "--law", "chinchilla"]);
    assert!(said.contains("cannot read absent.csv"), "{said}");
    let said = desk.refused(&["fit", "--csv", "bad.csv", "--law", "chinchila"]);
    assert!(
        said.contains("chinchila") && said.contains("gamma"),
        "{said}"
    );
}

#[test]
fn one_bad_cell_in_a_million_rows_is_found() {
    let mut text = "run,params,tokens,loss\n".to_owned();
    for row in 0..1_000_000 {
        let loss = if row == 765_432 { "oops" } else { "2.5" };
        writeln!(
            text,
            "r{row},{},{},{loss}",
            1_000_000 + row,
            5_000_000 + row
        )
        .expect("written");
    }
    let desk = Desk::new().with("large.csv", text);
    let said = desk.refused(&["fit", "--csv", "large.csv", "--law", "chinchilla"]);
    assert!(
        said.contains("large.csv, line 765434: `loss` is `oops`"),
        "{said}"
    );
}

#[test]
fn suspicious_losses_are_pointed_out() {
    let good = chinchilla(&SIZES, &TOKENS);
    let twice = good.clone() + good.lines().nth(3).expect("a row") + "\n";
    let desk = Desk::new()
        .with("good.csv", &good)
        .with(
            "bits.csv",
            with_losses(&good, |loss, _| loss / std::f64::consts::LN_2),
        )
        .with("perplexity.csv", with_losses(&good, |loss, _| loss.exp()))
        .with(
            "rises.csv",
            with_losses(&good, |loss, n| loss + 0.01 * n.powf(0.25)),
        )
        .with("twice.csv", twice);
    let fit = |file: &str, more: &[&str]| {
        let args = [
            "fit",
            "--csv",
            file,
            "--law",
            "chinchilla",
            "--bootstrap",
            "0",
            "--json",
        ];
        desk.json(&[&args, more].concat())
    };
    let suspicions = [
        "looks_like_bits",
        "looks_like_perplexity",
        "rises",
        "duplicates",
    ];
    for (file, kind) in [
        ("bits.csv", "looks_like_bits"),
        ("perplexity.csv", "looks_like_perplexity"),
        ("rises.csv", "rises"),
        ("twice.csv", "duplicates"),
    ] {
        assert!(
            kinds(&fit(file, &[])).iter().any(|found| found == kind),
            "{file}"
        );
    }
    let plain = fit("good.csv", &[]);
    assert!(
        kinds(&plain)
            .iter()
            .all(|kind| !suspicions.contains(&kind.as_str())),
        "{plain}"
    );
    // Said to be bits, they are nats again.
    let bits = fit("bits.csv", &["--loss-unit", "bits"]);
    close(
        number(&bits["objective"]),
        number(&plain["objective"]),
        1e-6,
        "objective",
    );
    close(
        number(&bits["parameters"]["E"]),
        number(&plain["parameters"]["E"]),
        1e-6,
        "E",
    );
}

#[test]
fn rows_are_chosen_named_grouped_and_weighted() {
    let mut text = "n;D;nll;split;copies;seed\n".to_owned();
    for (i, line) in chinchilla(&SIZES, &TOKENS).lines().skip(1).enumerate() {
        let split = if i % 8 == 7 { "test" } else { "train" };
        writeln!(
            text,
            "{};{split};{};{}",
            line.replace(',', ";"),
            1 + i % 2,
            i / 5
        )
        .expect("written");
    }
    let desk = Desk::new().with("runs.csv", text);
    let columns = [
        "--column", "params=n", "--column", "tokens=D", "--column", "loss=nll",
    ];
    let fit = |more: &[&str]| {
        let args = [
            "fit",
            "--csv",
            "runs.csv",
            "--law",
            "chinchilla",
            "--bootstrap",
            "0",
            "--json",
        ];
        desk.json(&[&args, &columns[..], more].concat())
    };
    let train = fit(&["--where", "split=train and params < 2B", "--group", "seed"]);
    assert_eq!(
        (&train["n_rows"], &train["n_runs"]),
        (&18.into(), &4.into())
    );
    let excluded: usize = train["excluded"]
        .as_array()
        .expect("groups")
        .iter()
        .map(|group| group["lines"].as_array().expect("lines").len())
        .sum();
    assert_eq!(excluded, 7);
    let all = fit(&["--where", "split != nothing"]);
    let said = all["warnings"].to_string();
    assert!(said.contains("leaves out nothing"), "{said}");
    let weighted = fit(&["--weight", "copies"]);
    assert_ne!(
        weighted["parameters"]["alpha"],
        fit(&[])["parameters"]["alpha"]
    );
    let args = [
        &["fit", "--csv", "runs.csv", "--law", "chinchilla"],
        &columns[..],
    ]
    .concat();
    let said = desk.refused(&[&args[..], &["--weight", "split"]].concat());
    assert!(
        said.contains("line 2: `split` is `train`, which must be a number of at least 0"),
        "{said}"
    );
    for (expression, said) in [
        ("splt=train", "there is no `splt`; did you mean `split`?"),
        ("params >", "a name or a number is missing here"),
        ("split > 3", "these cannot be compared"),
        (
            "params > 1e30",
            "none of 25 rows is left to fit: 25 not params > 1e30",
        ),
    ] {
        let args = [
            "fit",
            "--csv",
            "runs.csv",
            "--law",
            "chinchilla",
            "--where",
            expression,
        ];
        let text = desk.refused(&[&args, &columns[..]].concat());
        assert!(text.contains(said), "{said} is not in {text}");
    }
}

#[test]
fn missing_tokens_are_computed_only_when_asked() {
    let rows = chinchilla(&SIZES, &TOKENS);
    let rows = rows.lines().skip(1).map(|line| {
        let cells: Vec<f64> = line
            .split(',')
            .map(|c| c.parse().expect("a number"))
            .collect();
        format!("{},{},{}\n", cells[0], 6.0 * cells[0] * cells[1], cells[2])
    });
    let text = "params,flops,loss\n".to_owned() + &rows.collect::<String>();
    let desk = Desk::new()
        .with("flops.csv", text)
        .with("tokens.csv", chinchilla(&SIZES, &TOKENS));
    let args = [
        "fit",
        "--csv",
        "flops.csv",
        "--law",
        "chinchilla",
        "--bootstrap",
        "0",
        "--json",
    ];
    let said = desk.refused(&args);
    assert!(
        said.contains("from-flops computes it as flops/(6·params)"),
        "{said}"
    );
    let asked = desk.json(&[&args[..], &["--tokens-from-flops"]].concat());
    assert!(
        kinds(&asked).iter().any(|kind| kind == "rows"),
        "it is said: {asked}"
    );
    let args = [
        "fit",
        "--csv",
        "tokens.csv",
        "--law",
        "chinchilla",
        "--bootstrap",
        "0",
        "--json",
    ];
    let plain = desk.json(&args);
    close(
        number(&asked["objective"]),
        number(&plain["objective"]),
        1e-9,
        "objective",
    );
}
