//! Units that were missed, what is no noise, and laws that describe nothing.

use crate::fitting::desk::{SIZES, TOKENS, chinchilla, close, kinds, number};
use crate::fitting::tables::{MILLIONS, arguments, is_truth};
use crate::support::{Desk, shared};
use serde_json::Value;
use std::fmt::Write as _;

fn fit(desk: &Desk, csv: &str, more: &[&str]) -> Value {
    desk.json(&arguments(csv, more))
}

/// Changes the cells of every row.
fn changed(text: &str, change: impl Fn(&[f64]) -> String) -> String {
    let rows = text.lines().skip(1).map(|line| {
        let cells = line.split(',').map(|cell| cell.parse().expect("a number"));
        change(&cells.collect::<Vec<f64>>())
    });
    rows.collect()
}

#[test]
fn sizes_that_no_model_has_are_told_and_scaled() {
    let csv = chinchilla(&SIZES, &TOKENS);
    let small = changed(&csv, |row| {
        format!("{},{},{}\n", row[0] / 1e6, row[1] / 1e9, row[2])
    });
    let logs = changed(&csv, |row| {
        format!("{},{},{}\n", row[0].log10(), row[1].log10(), row[2])
    });
    let header = "params,tokens,loss\n";
    let desk = Desk::new()
        .with("t.csv", &csv)
        .with("small.csv", format!("{header}{small}"))
        .with("logs.csv", format!("{header}{logs}"));
    let truth = fit(&desk, "t.csv", &[]);
    assert!(!kinds(&truth).contains(&"no_model".to_owned()));
    for (name, scales) in [
        ("small.csv", ["params=1e6", "tokens=1e9"]),
        ("logs.csv", ["params=log10", "tokens=log10"]),
    ] {
        assert!(
            kinds(&fit(&desk, name, &[])).contains(&"no_model".to_owned()),
            "{name}"
        );
        let scaled = fit(&desk, name, &["--scale", scales[0], "--scale", scales[1]]);
        assert!(!kinds(&scaled).contains(&"no_model".to_owned()), "{name}");
        for parameter in ["E", "alpha", "beta"] {
            let found = number(&scaled["parameters"][parameter]);
            close(
                found,
                number(&truth["parameters"][parameter]),
                1e-4,
                parameter,
            );
        }
    }
    // Every command that answers says so, and first those that a decision hangs on.
    let args = [
        "allocate",
        "--csv",
        "small.csv",
        "--law",
        "chinchilla",
        "--flops",
        "1e22",
    ];
    let said = desk.done(&[&args[..], &["--bootstrap", "0"]].concat());
    assert!(
        said.contains("language models are not that small"),
        "{said}"
    );
    let said = desk.done(&["isoflop", "--csv", "small.csv"]);
    assert!(
        said.contains("language models are not that small"),
        "{said}"
    );
    if let Some(path) = shared("cases/c26-millions-billions.csv") {
        let args = [
            "allocate",
            "--csv",
            &path,
            "--law",
            "chinchilla",
            "--flops",
            "1e22",
            "--cost",
            "6n",
            "--bootstrap",
            "0",
            "--json",
        ];
        let best = &desk.json(&[&args[..], &MILLIONS].concat())["optimum"];
        close(number(&best["params"]), 8.84e9, 5e-3, "N*");
        close(number(&best["tokens"]), 1.89e11, 5e-3, "D*");
        close(number(&best["loss"]), 2.1372, 1e-3, "loss");
    }
}

#[test]
fn flops_in_another_unit_are_told_with_their_factor() {
    let csv = chinchilla(&SIZES, &TOKENS);
    let flops = |per: f64| {
        let rows = changed(&csv, |row| {
            format!(
                "{},{},{},{}\n",
                row[0],
                row[1],
                row[2],
                6.3 * row[0] * row[1] / per
            )
        });
        format!("params,tokens,loss,flops\n{rows}")
    };
    let desk = Desk::new()
        .with("t.csv", flops(1.0))
        .with("peta.csv", flops(1e15));
    assert!(!kinds(&fit(&desk, "t.csv", &[])).contains(&"flops_unit".to_owned()));
    let said = desk.done(&["isoflop", "--csv", "peta.csv"]);
    assert!(said.contains("--scale flops=1e15"), "{said}");
    assert!(kinds(&fit(&desk, "peta.csv", &[])).contains(&"flops_unit".to_owned()));
    let Some(path) = shared("cases/flops-in-gflops.csv") else {
        return;
    };
    let parabolas = [
        "isoflop",
        "--csv",
        &path,
        "--column",
        "flops=gflops",
        "--approach",
        "2",
    ];
    let said = desk.done(&parabolas);
    assert!(said.contains("--scale flops=1e9"), "{said}");
    let scaled = desk.json(&[&parabolas[..], &["--scale", "gflops=1e9", "--json"]].concat());
    let power = &scaled["approaches"][0]["params"];
    close(number(&power["coefficient"]), 0.13, 0.05, "coefficient");
    close(number(&power["exponent"]), 0.5, 0.02, "exponent");
    assert!(!kinds(&scaled).contains(&"flops_unit".to_owned()));
}

#[test]
fn rates_are_no_seeds_and_the_best_of_them_is_kept() {
    let csv = chinchilla(&SIZES, &TOKENS);
    // Five rates in each setting, two seeds each; the third is the best. Wall time is measured.
    let mut text = "params,tokens,loss,peak_lr,warm,seed,minutes\n".to_owned();
    for (at, line) in csv.lines().skip(1).enumerate() {
        let cells: Vec<f64> = line
            .split(',')
            .map(|cell| cell.parse().expect("a number"))
            .collect();
        for rate in 0..5_u8 {
            for seed in 0..2_u8 {
                let loss = cells[2]
                    * (1.0 + 0.01 * (f64::from(rate) - 2.0).powi(2) + 1e-3 * f64::from(seed));
                let minutes = 10.0 + at as f64 + 0.37 * f64::from(rate) + 0.011 * f64::from(seed);
                writeln!(
                    text,
                    "{},{},{loss},{},{},{seed},{minutes}",
                    cells[0],
                    cells[1],
                    1e-3 * 2f64.powi(rate.into()),
                    rate % 2
                )
                .expect("written");
            }
        }
    }
    let desk = Desk::new().with("t.csv", text);
    let swept = fit(&desk, "t.csv", &[]);
    let varying = |fit: &Value| -> Vec<String> {
        let warnings = fit["warnings"].as_array().expect("warnings");
        let axes = warnings
            .iter()
            .filter(|warning| warning["kind"] == "other_axis");
        let mut axes: Vec<String> = axes.map(|warning| warning["axis"].to_string()).collect();
        axes.sort_unstable();
        axes
    };
    assert_eq!(varying(&swept), ["\"peak_lr\"", "\"warm\""]);
    // Seeds of one rate are replicates, rates are none.
    let noise = number(&swept["seed_noise"]["log"]);
    close(noise, 7.07e-4, 0.05, "seed noise");
    let best = fit(
        &desk,
        "t.csv",
        &["--best-of", "peak_lr", "--best-of", "warm"],
    );
    assert_eq!(best["n_rows"], 50);
    assert_eq!(varying(&best), Vec::<String>::new());
    let Some(path) = shared("cases/rates-swept.csv") else {
        return;
    };
    let swept = fit(&desk, &path, &[]);
    assert!(swept["seed_noise"].is_null(), "{}", swept["seed_noise"]);
    assert_eq!(varying(&swept), ["\"lr\""]);
    let truth = [
        ("E", 1.8),
        ("A", 400.0),
        ("alpha", 0.34),
        ("B", 900.0),
        ("beta", 0.33),
    ];
    is_truth(
        &fit(&desk, &path, &["--best-of", "lr"]),
        &truth,
        "rates-swept",
    );
}

#[test]
fn a_law_that_describes_nothing_says_so_first() {
    let mut text = "params,tokens,loss\n".to_owned();
    let mut stretch = "params,tokens,loss\n".to_owned();
    for (at, n) in SIZES.iter().enumerate() {
        for (k, d) in TOKENS.iter().enumerate() {
            // Larger is worse; or better, but for one stretch.
            let loss = 3.0 + 0.1 * at as f64 + 0.07 * k as f64;
            writeln!(text, "{n},{d},{loss}").expect("written");
            let rise = if at == 2 { 1.3 } else { 1.0 };
            let loss = rise * (1.8 + 480.0 / n.powf(0.35) + 2100.0 / d.powf(0.37));
            writeln!(stretch, "{n},{d},{loss}").expect("written");
        }
    }
    let desk = Desk::new()
        .with("noise.csv", text)
        .with("stretch.csv", stretch);
    let fit_noise = [
        "fit",
        "--csv",
        "noise.csv",
        "--law",
        "chinchilla",
        "--bootstrap",
        "0",
    ];
    let stretched = fit(&desk, "stretch.csv", &[]);
    assert!(
        kinds(&stretched).contains(&"rises_along".to_owned()),
        "{:?}",
        kinds(&stretched)
    );
    assert!(!kinds(&stretched).contains(&"describes_nothing".to_owned()));
    let said = desk.done(&fit_noise);
    assert!(
        said.starts_with("! ") && said.contains("does not describe these rows"),
        "{said}"
    );
    let Some(path) = shared("cases/c06-double-descent.csv") else {
        return;
    };
    let args = [
        "--csv",
        &path,
        "--column",
        "params=N",
        "--column",
        "tokens=D",
        "--column",
        "loss=excess",
        "--law",
        "power:params",
        "--bootstrap",
        "0",
    ];
    let said = desk.done(&[&["fit"], &args[..]].concat());
    assert!(
        said.starts_with("! ") && said.contains("does not describe these rows"),
        "{said}"
    );
    let first = said
        .split("power:params on")
        .next()
        .expect("what is said first");
    assert!(first.contains("no power law does that"), "{said}");
    let predict = [&["predict"], &args[..], &["--at", "params=1e6"]].concat();
    assert!(desk.done(&predict).starts_with("! "));
}
