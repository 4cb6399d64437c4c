//! Laws from formulas, through the program: those of the literature that `docs/laws.md` has.

use crate::fitting::desk::{SIZES, TOKENS, chinchilla, number};
use crate::support::Desk;
use serde_json::Value;

const DOCS: &str = include_str!("../../../docs/laws.md");

/// The formula by which the documents fit a table.
fn documented(table: &str) -> &'static str {
    let line = DOCS
        .lines()
        .find(|line| line.contains(&format!("--csv {table}.csv")));
    let law = line.and_then(|line| line.split_once("--law '"));
    law.expect("documented").1.trim_end_matches('\'')
}

/// Number `k` of a sequence that fills 0 to 1 evenly, in one of several directions.
fn even(k: usize, direction: usize) -> f64 {
    ((k + 1) as f64 * [0.754_877_666, 0.569_840_291, 0.430_159_709][direction]).fract()
}

/// A size between two, even in its logarithm.
fn size(low: f64, high: f64, share: f64) -> f64 {
    low * (high / low).powf(share)
}

/// A table of runs at even places, with the losses of a law.
fn table(
    columns: &[&str],
    rows: usize,
    place: impl Fn(usize) -> Vec<f64>,
    loss: impl Fn(&[f64]) -> f64,
) -> String {
    let mut text = format!("{},loss\n", columns.join(","));
    for k in 0..rows {
        let at = place(k);
        let cells: Vec<String> = at.iter().map(|value| format!("{value:.17e}")).collect();
        text += &format!("{},{:.17e}\n", cells.join(","), loss(&at));
    }
    text
}

/// Fits what the documents say to a table, and finds the truth.
fn recovers(name: &str, text: String, truth: &[(&str, f64)]) {
    let desk = Desk::new().with(&format!("{name}.csv"), text);
    let file = format!("{name}.csv");
    let args = [
        "fit",
        "--csv",
        &file,
        "--law",
        documented(name),
        "--bootstrap",
        "0",
        "--json",
    ];
    let fit: Value = desk.json(&args);
    assert_eq!(fit["converged"], true, "{name}: {fit}");
    for (parameter, value) in truth {
        let found = number(&fit["parameters"][*parameter]);
        assert!(
            (found / value - 1.0).abs() < 1e-3,
            "{name}: {parameter} is {found}, not {value}; objective {}",
            fit["objective"]
        );
    }
}

#[test]
fn sparsity_of_experts() {
    let place = |k| {
        vec![
            size(3e8, 3e10, even(k, 0)),
            size(2e9, 2e11, even(k, 1)),
            0.98 * even(k, 2),
        ]
    };
    let loss = |at: &[f64]| {
        let (n, d, active) = (at[0], at[1], 1.0 - at[2]);
        0.94 + 16612.5 / n.powf(0.5962)
            + 5455.67 / d.powf(0.3954)
            + 0.4598 * active.powf(0.1666)
            + 17.26 / (active.powf(0.1603) * n.powf(0.1595))
    };
    recovers(
        "moe",
        table(&["params", "tokens", "sparsity"], 120, place, loss),
        &[
            ("e", 0.94),
            ("alpha", 0.5962),
            ("beta", 0.3954),
            ("lambda", 0.1666),
            ("delta", 0.1603),
            ("gamma", 0.1595),
            ("d", 17.26),
        ],
    );
}

#[test]
fn vocabularies() {
    let place = |k| {
        vec![
            size(3e7, 3e9, even(k, 0)),
            size(2e6, 2e8, even(k, 1)),
            size(1e9, 5e11, even(k, 2)),
        ]
    };
    let loss = |at: &[f64]| {
        280.0 / at[0].powf(0.32) + 260.0 / at[1].powf(0.41) + 900.0 / at[2].powf(0.31) - 0.05
    };
    recovers(
        "vocabulary",
        table(&["n_inner", "n_vocab", "chars"], 80, place, loss),
        &[
            ("a1", 0.32),
            ("a2", 0.41),
            ("beta", 0.31),
            ("E", 0.05),
            ("A1", 280.0),
        ],
    );
}

#[test]
fn mixtures_of_data() {
    let place = |k| {
        let parts = [0.1 + even(k, 0), 0.1 + even(k, 1), 0.1 + even(k, 2)];
        let sum: f64 = parts.iter().sum();
        // The last share follows from the others.
        parts[..2].iter().map(|part| part / sum).collect()
    };
    let loss = |at: &[f64]| 1.6 + 0.9 * (-1.7 * at[0] - 0.4 * at[1]).exp();
    recovers(
        "mixture",
        table(&["w_code", "w_web"], 60, place, loss),
        &[("c", 1.6), ("k", 0.9), ("t_code", -1.7), ("t_web", -0.4)],
    );
}

#[test]
fn precision() {
    let place = |k| {
        vec![
            size(3e7, 2e9, even(k, 0)),
            size(1e9, 3e10, even(k, 1)),
            3.0 + (10.0 * even(k, 2)).floor(),
        ]
    };
    let loss = |at: &[f64]| {
        let effective = at[0] * (1.0 - (-at[2] / 2.67).exp());
        1.94 + 4299.0 / effective.powf(0.4965) + 18063.0 / at[1].powf(0.4604)
    };
    recovers(
        "precision",
        table(&["params", "tokens", "weight_bits"], 90, place, loss),
        &[
            ("E", 1.94),
            ("alpha", 0.4965),
            ("beta", 0.4604),
            ("g", 2.67),
            ("A", 4299.0),
        ],
    );
}

#[test]
fn farseer() {
    let place = |k| vec![size(2e8, 6e9, even(k, 0)), size(2e9, 2e11, even(k, 1))];
    let loss = |at: &[f64]| {
        let (n, d) = (at[0], at[1]);
        let power = (-0.124 * n.powf(0.123) + 0.424).exp();
        (-0.021 * n.powf(0.169) + 0.091).exp()
            + (88.01 * n.powf(-0.1) - 6.287).exp() * d.powf(-power)
    };
    recovers(
        "farseer",
        table(&["params", "tokens"], 200, place, loss),
        &[
            ("gamma", 0.169),
            ("beta", -0.1),
            ("alpha", 0.123),
            ("a2", 88.01),
            ("b1", 0.424),
        ],
    );
}

#[test]
fn a_formula_is_asked_as_any_law_is() {
    let desk = Desk::new().with("runs.csv", chinchilla(&SIZES, &TOKENS));
    let formula = "E + A/N^alpha + B/D^beta";
    let by_name = desk.json(&[
        "fit",
        "--csv",
        "runs.csv",
        "--law",
        "power:params,tokens",
        "--bootstrap",
        "40",
        "--json",
    ]);
    let fit = desk.json(&[
        "fit",
        "--csv",
        "runs.csv",
        "--law",
        formula,
        "--bootstrap",
        "40",
        "--json",
    ]);
    let close = |a: &Value, b: &Value| (number(a) / number(b) - 1.0).abs() < 1e-9;
    assert!(close(&fit["objective"], &by_name["objective"]));
    assert!(close(
        &fit["parameters"]["alpha"],
        &by_name["parameters"]["e_params"]
    ));
    assert_eq!(fit["law"], "E + A/`params`^alpha + B/`tokens`^beta");
    // It is read back, predicts, is compared and allocates.
    let desk = desk.with("fit.json", fit.to_string());
    let there = ["--at", "N=1e9,D=2e10", "--json"];
    let stored = desk.json(&[&["predict", "--fit", "fit.json"], &there[..]].concat());
    let again = desk.json(
        &[
            &["predict", "--csv", "runs.csv", "--law", formula],
            &there[..],
        ]
        .concat(),
    );
    let loss = |told: &Value| told["predictions"][0]["prediction"].clone();
    assert!(close(&loss(&stored), &loss(&again)), "{stored} {again}");
    let compared = desk.done(&[
        "compare",
        "--csv",
        "runs.csv",
        "--law",
        formula,
        "--law",
        "chinchilla",
    ]);
    assert!(
        compared.contains("alpha") || compared.contains("params"),
        "{compared}"
    );
    let best = desk.json(&[
        "allocate", "--csv", "runs.csv", "--law", formula, "--flops", "1e21", "--json",
    ]);
    let known = desk.json(&[
        "allocate",
        "--csv",
        "runs.csv",
        "--law",
        "power:params,tokens",
        "--flops",
        "1e21",
        "--json",
    ]);
    assert!(close(
        &best["optimum"]["params"],
        &known["optimum"]["params"]
    ));
    // What is wrong is pointed at, before anything is fitted.
    let said = desk.refused(&["fit", "--csv", "runs.csv", "--law", "E + A/parms^alpha"]);
    assert!(
        said.contains("did you mean the column `params`?") && said.contains("^^^^^"),
        "{said}"
    );
    // What the data cannot tell apart is named.
    let said = desk.json(&[
        "fit",
        "--csv",
        "runs.csv",
        "--law",
        "E + F + A/N^alpha",
        "--bootstrap",
        "0",
        "--json",
    ]);
    let unknown = said["unidentified"].as_array().expect("a list");
    assert!(
        unknown.iter().any(|name| name == "E") && unknown.iter().any(|name| name == "F"),
        "{said}"
    );
}

#[test]
fn signs_are_the_data_s_where_no_power_asks_for_one() {
    let column = |k: usize| vec![2.0 * even(k, 0) - 1.0, 1e8 * (1.0 + even(k, 1))];
    let find = |law: &str, loss: fn(&[f64]) -> f64, truth: &[(&str, f64)]| {
        let desk = Desk::new().with("x.csv", table(&["x", "params"], 60, column, loss));
        let fit = desk.json(&[
            "fit",
            "--csv",
            "x.csv",
            "--law",
            law,
            "--bootstrap",
            "0",
            "--json",
        ]);
        for (parameter, value) in truth {
            let found = number(&fit["parameters"][*parameter]);
            assert!(
                (found / value - 1.0).abs() < 1e-3,
                "{law}: {parameter} is {found}, not {value}"
            );
        }
    };
    find(
        "E + A*(t - x)^2",
        |at| 2.0 + 3.0 * (0.5 - at[0]).powi(2),
        &[("A", 3.0), ("t", 0.5), ("E", 2.0)],
    );
    find("E + A*x", |at| 2.0 - 0.3 * at[0], &[("A", -0.3)]);
    find(
        "sqrt(a + b*x)",
        |at| (3.0 - 2.0 * at[0]).sqrt(),
        &[("a", 3.0), ("b", -2.0)],
    );
    find(
        "(1 + b*x)^-2",
        |at| (1.0 - 0.5 * at[0]).powi(-2),
        &[("b", -0.5)],
    );
}

/// A table of runs of two optimizers, of which one needs two thirds of the other's tokens.
fn optimizers() -> Desk {
    let mut text = "optimizer,params,tokens,loss\n".to_owned();
    let factors = [("adamw", 900.0 * 1.5_f64.powf(0.4)), ("muon", 900.0)];
    for (k, (word, factor)) in factors.into_iter().enumerate() {
        for place in 0..25 {
            let params = 1e7 * 4_f64.powi(place / 5);
            let tokens = 2e8 * 4_f64.powi(place % 5);
            let noise = 1.0 + 1e-3 * (even(25 * k + place as usize, 1) - 0.5);
            let loss = (1.7 + 400.0 / params.powf(0.34) + factor / tokens.powf(0.4)) * noise;
            text += &format!("{word},{params},{tokens},{loss}\n");
        }
    }
    Desk::new().with("optimizers.csv", text)
}

#[test]
fn a_parameter_may_differ_by_the_words_of_a_column() {
    let desk = optimizers();
    let law = [
        "--csv",
        "optimizers.csv",
        "--law",
        "E + A/N^a + B[optimizer]/D^b",
    ];
    let ask = |command: &'static str, more: &[&'static str]| [&[command], &law[..], more].concat();
    let fit = desk.json(&ask("fit", &["--bootstrap", "100", "--json"]));
    let parameter = |name: &str| number(&fit["parameters"][name]);
    let ratio = parameter("B[adamw]") / parameter("B[muon]");
    let speedup = ratio.powf(1.0 / parameter("b"));
    assert!((speedup - 1.5).abs() < 0.02, "{fit}");
    assert_eq!(fit["parameters"].as_object().expect("named").len(), 6);
    // It says its words, so that it is read again where no table is.
    assert_eq!(
        fit["law"],
        "E + A/`params`^a + B[optimizer]/`tokens`^b where optimizer in (adamw, muon)"
    );
    let there = ["--at", "optimizer=muon,N=1e8,D=1e10", "--json"];
    let own = desk.json(&ask("predict", &there));
    let desk = desk.with("fit.json", fit.to_string());
    let stored = desk.json(&[&["predict", "--fit", "fit.json"], &there[..]].concat());
    let loss = |told: &Value| number(&told["predictions"][0]["prediction"]);
    assert!((loss(&own) / loss(&stored) - 1.0).abs() < 1e-9);
    assert_eq!(own["predictions"][0]["words"]["optimizer"], "muon");
    assert!(own["predictions"][0]["at"].get("optimizer").is_none());
    // The effective speedup, with its interval.
    let speedup = ["--at", "N=1e8,D=1e10", "--speedup", "optimizer=muon:adamw"];
    let told = desk.json(&ask("predict", &[&speedup[..], &["--json"]].concat()));
    let found = &told["speedups"][0];
    assert!((number(&found["factor"]) - 1.5).abs() < 0.02, "{found}");
    assert!(number(&found["interval"][0]) < 1.5 && number(&found["interval"][1]) > 1.48);
    let said = desk.done(&ask("predict", &speedup));
    assert!(
        said.contains("the tokens") && said.contains("with adamw"),
        "{said}"
    );
    // What is held of it is a word.
    let best = ["--flops", "1e19", "--fix", "optimizer=muon", "--json"];
    let best = desk.json(&ask("allocate", &best));
    assert!(number(&best["optimum"]["params"]) > 0.0);
    for (command, more, says) in [
        (
            "predict",
            ["--at", "optimizer=lion,N=1e8,D=1e10"],
            "one of adamw, muon",
        ),
        (
            "predict",
            ["--at", "N=1e8,D=1e10"],
            "`optimizer` is missing",
        ),
        ("allocate", ["--flops", "1e19"], "optimizer"),
        // Rows of which only one word is left tell nothing apart.
        ("fit", ["--where", "optimizer = muon"], "at least two words"),
    ] {
        let said = desk.refused(&ask(command, &more));
        assert!(said.contains(says), "{said}");
    }
    let wrong = "E + A[optimiser]/N^a";
    let said = desk.refused(&["fit", "--csv", "optimizers.csv", "--law", wrong]);
    assert!(
        said.contains("^^^^") && said.contains("optimiser"),
        "{said}"
    );
}

#[test]
fn a_second_step_follows_what_a_law_predicts() {
    let law = |at: &[f64]| 1.8 + 480.0 / at[0].powf(0.35) + 2100.0 / at[1].powf(0.37);
    let error = |loss: f64| 0.9 - 1.8 * (-0.8 * loss).exp();
    let mut text = "params,tokens,loss,error\n".to_owned();
    for k in 0..40 {
        let at = [size(1e7, 1e9, even(k, 0)), size(1e9, 1e11, even(k, 1))];
        let loss = law(&at);
        text += &format!("{},{},{loss},{}\n", at[0], at[1], error(loss));
    }
    let desk = Desk::new().with("runs.csv", text);
    let ask = |then: &'static str| {
        let at = ["--law", "chinchilla", "--at", "N=3e9,D=3e11"];
        let args = [&["predict", "--csv", "runs.csv"], &at[..]].concat();
        [&args[..], &["--bootstrap", "50", "--then", then]].concat()
    };
    let then = "error = e - k*exp(-g*loss) where e in 0..1, k in 0..10, g in 0..5";
    let told = desk.json(&[&ask(then)[..], &["--json"]].concat());
    let score = &told["scores"][0];
    let expected = error(law(&[3e9, 3e11]));
    assert!((number(&score["score"]) - expected).abs() < 1e-4, "{told}");
    assert!(number(&score["interval"][0]) <= expected + 1e-4);
    assert!((number(&told["second_step"]["parameters"]["g"]) - 0.8).abs() < 1e-3);
    let said = desk.done(&ask(then));
    assert!(
        said.contains("then error = e - k·exp(-g·predicted_loss)"),
        "{said}"
    );
    for (then, says) in [
        ("errors = e - k*loss", "with a column of its table before"),
        ("error = e - k*N", "reads `params`"),
        ("error = e - los*3", "no column"),
    ] {
        let said = desk.refused(&ask(then));
        assert!(said.contains(says), "{then}: {said}");
    }
}
