//! What follows from a fit: allocations, predictions, comparisons, suggestions, imports.

use crate::fitting::desk::{SIZES, TOKENS, chinchilla, close, dlcm, kinds, number};
use crate::support::Desk;

/// The law from which the synthetic data sets are drawn.
const DLCM: [&str; 24] = [
    "--law",
    "dlcm",
    "--parameter",
    "E0=1.6",
    "--parameter",
    "A_token=110",
    "--parameter",
    "t_token=2e7",
    "--parameter",
    "delta1=0.3",
    "--parameter",
    "A_concept=55",
    "--parameter",
    "gamma=0.15",
    "--parameter",
    "t_concept=3e7",
    "--parameter",
    "delta2=0.28",
    "--parameter",
    "A_data=850",
    "--parameter",
    "t_data=1e9",
    "--parameter",
    "alpha=0.33",
];

#[test]
fn allocations_of_a_stated_law_are_exact() {
    let desk = Desk::new();
    let cases: [(&[&str], [f64; 5]); 3] = [
        (
            &["--flops", "1e21"],
            [2.27881e10, 4.78807e10, 0.903733, 16.0, 2.133157536],
        ),
        (
            &["--flops", "1e21", "--fix", "compression_ratio=4"],
            [8.63139e9, 4.26227e10, 0.729293, 4.0, 2.153723052],
        ),
        (
            &["--flops", "1e20", "--fix", "params=833M"],
            [8.33e8, 2.82463e10, 0.546032, 2.146591, 2.416396839],
        ),
    ];
    for (question, [params, tokens, share, ratio, loss]) in cases {
        let report = desk.json(&[&["allocate"], &DLCM[..], question, &["--json"]].concat());
        let optimum = &report["optimum"];
        for (name, expected) in [
            ("params", params),
            ("tokens", tokens),
            ("concept_share", share),
            ("compression_ratio", ratio),
        ] {
            // The published coordinates have six digits.
            close(number(&optimum[name]), expected, 1e-5, name);
        }
        close(number(&optimum["loss"]), loss, 1e-9, "loss");
        let flops: f64 = question[1].parse().expect("a number");
        close(number(&optimum["flops"]), flops, 1e-9, "flops");
        let bounds = report["active_bounds"].as_array().expect("a list");
        assert_eq!(bounds.contains(&"compression_ratio".into()), ratio == 16.0);
        assert!(
            report["region"].is_null()
                && kinds(&report)
                    .iter()
                    .any(|kind| kind == "stated_parameters")
        );
    }
}

/// The rows of `runs.csv` for Eq. 22, without resamples.
const ROWS: [&str; 6] = ["--csv", "runs.csv", "--law", "dlcm", "--bootstrap", "0"];

#[test]
fn small_models_are_compared_with_small_dense_ones() {
    let baseline = |scale: f64| {
        let desk = Desk::new().with("runs.csv", dlcm(scale));
        let flops = (1e20 * scale * scale).to_string();
        let args = ["allocate", "--json", "--flops", &flops];
        let report = desk.json(&[&args, &ROWS[..]].concat());
        number(&report["saving"]["headline"]["baseline"])
    };
    let (large, small) = (baseline(1.0), baseline(1e-3));
    assert!(
        (small / large / 1e-3 - 1.0).abs() < 0.05,
        "{small} and {large}"
    );
    assert!(small < 1e7);
}

#[test]
fn concepts_that_were_not_trained_are_marked() {
    let desk = Desk::new().with("runs.csv", dlcm(1.0));
    let args = [
        "allocate",
        "--flops",
        "1e21",
        "--fix",
        "compression_ratio=12",
    ];
    let said = desk.done(&[&args, &ROWS[..]].concat());
    assert!(
        said.contains("compression_ratio lies 1.5× outside the data"),
        "{said}"
    );
}

#[test]
fn an_allocation_of_rows_has_a_region_a_saving_and_a_frontier() {
    let desk = Desk::new().with("runs.csv", dlcm(1.0));
    let source = [
        "--csv",
        "runs.csv",
        "--law",
        "dlcm",
        "--bootstrap",
        "30",
        "--flops",
        "1e21",
    ];
    let report = desk.json(
        &[
            &["allocate"],
            &source[..],
            &[
                "--fix",
                "compression_ratio=4",
                "--frontier",
                "1e20..1e23",
                "--json",
            ],
        ]
        .concat(),
    );
    let region = &report["region"];
    let share = number(&report["optimum"]["concept_share"]);
    let interval = &region["intervals"]["concept_share"];
    assert!(
        number(&interval[0]) <= share && share <= number(&interval[1]),
        "{interval}"
    );
    assert!(number(&region["expected_regret"]) >= 0.0 && region["draws"] == 30);
    let saved = &report["saving"]["headline"];
    assert!(
        saved["training"].is_number() && saved["interval"][0].is_number(),
        "{report}"
    );
    let attribution = &report["saving"]["attribution"]["words"];
    assert!(
        attribution.to_string().contains("no controls were trained"),
        "{attribution}"
    );
    let frontier = report["frontier"].as_array().expect("points");
    assert_eq!(frontier.len(), 7);
    let losses: Vec<f64> = frontier
        .iter()
        .map(|point| number(&point["loss"]))
        .collect();
    assert!(
        losses.windows(2).all(|pair| pair[1] < pair[0]),
        "{losses:?}"
    );
    assert!(
        !frontier[6]["extrapolation"]
            .as_array()
            .expect("marks")
            .is_empty()
    );
    let text = desk.done(&[&["allocate"], &source[..]].concat());
    for part in [
        "R*",
        "on its bound",
        "95% region from 30 resamples",
        "saved against dense",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    // Both budgets, and both counts of FLOPs.
    let free = number(
        &desk.json(&[&["allocate"], &source[..], &["--json"]].concat())["optimum"]["inference_flops"],
    );
    let limit = (0.5 * free).to_string();
    let bound = desk.json(
        &[
            &["allocate"],
            &source[..],
            &["--inference-flops", &limit, "--json"],
        ]
        .concat(),
    );
    assert_eq!(bound["inference_binds"], true);
    let exact = desk.json(&[&["allocate"], &source[..], &["--cost", "exact", "--json"]].concat());
    assert_eq!(exact["cost"], "exact");
    let assumed = exact["warnings"].to_string();
    assert!(
        assumed.contains("the vocabulary has 32768 tokens"),
        "{assumed}"
    );
    for (more, said) in [
        (
            &["--fix", "width=4"][..],
            "reads params, tokens, compression_ratio, concept_share",
        ),
        (
            &["--bound", "concept_share=0.9..0.1"],
            "write the lower end first",
        ),
        (
            &["--bound", "concept_share=0.5"],
            "write a range like `--bound concept_share=0.05..0.95`",
        ),
        (&["--fix", "params=1e30"], "affords nothing"),
    ] {
        let text = desk.refused(&[&["allocate"], &source[..], more].concat());
        assert!(text.contains(said), "{said} is not in {text}");
    }
}

#[test]
fn what_one_size_cannot_tell_is_not_allocated() {
    let desk = Desk::new().with(
        "one.csv",
        chinchilla(&[1e9], &[1e9, 2e9, 4e9, 8e9, 1.6e10, 3e10]),
    );
    let source = ["--csv", "one.csv", "--law", "chinchilla", "--flops", "1e21"];
    let said = desk.refused(&[&["allocate"], &source[..]].concat());
    assert!(said.contains("every run has params = 1000000000"), "{said}");
    let args = ["predict", "--csv", "one.csv", "--law", "chinchilla", "--at"];
    let far = desk.json(&[&args[..], &["params=2e9,tokens=4e9", "--json"]].concat());
    assert_eq!(
        far["predictions"][0]["extrapolation"][0]["column"],
        "params"
    );
}

#[test]
fn a_law_that_does_not_know_a_size_does_not_divide_a_budget() {
    let desk = Desk::new().with("runs.csv", chinchilla(&SIZES, &TOKENS));
    let source = [
        "--csv",
        "runs.csv",
        "--bootstrap",
        "0",
        "--flops",
        "1e21",
        "--law",
    ];
    let said = desk.refused(&[&["allocate"], &source[..], &["power:params"]].concat());
    assert!(said.contains("does not read `tokens`"), "{said}");
    let parameters = ["k=0.01", "a=1.8", "b=-0.1", "c=0.06"];
    let mut args = vec!["allocate", "--law", "dlcm_decay", "--flops", "1e21"];
    parameters
        .iter()
        .for_each(|parameter| args.extend(["--parameter", parameter]));
    let said = desk.refused(&args);
    assert!(
        said.contains("predicts `decay_gain`, which is not a loss"),
        "{said}"
    );
}

#[test]
fn a_stored_fit_answers_as_its_rows_do() {
    let places = "params,tokens\n1e9,2e10\n1e12,2e13\n";
    let desk = Desk::new()
        .with("runs.csv", chinchilla(&SIZES, &TOKENS))
        .with("few.csv", chinchilla(&SIZES[..3], &TOKENS[..3]))
        .with("places.csv", places);
    let source = [
        "--csv",
        "runs.csv",
        "--law",
        "chinchilla",
        "--bootstrap",
        "100",
    ];
    let fit = desk.done(&[&["fit"], &source[..], &["--json"]].concat());
    std::fs::write(desk.path().join("fit.json"), &fit).expect("written");
    let stored = ["--fit", "fit.json"];
    let at = [
        "--at",
        "params=1B,tokens=20B",
        "--at-csv",
        "places.csv",
        "--json",
    ];
    let from_rows = desk.json(&[&["predict"], &source[..], &at].concat());
    let from_fit = desk.json(&[&["predict"], &stored[..], &at].concat());
    let predictions = from_fit["predictions"].as_array().expect("a list");
    assert_eq!(from_rows["predictions"], from_fit["predictions"]);
    assert_eq!((predictions.len(), &predictions[0]), (3, &predictions[1]));
    let (loss, interval) = (&predictions[0]["prediction"], &predictions[0]["interval"]);
    let truth = 1.8 + 480.0 / 1e9_f64.powf(0.35) + 2100.0 / 2e10_f64.powf(0.37);
    close(number(loss), truth, 2e-3, "prediction");
    assert!(number(&interval[0]) < number(loss) && number(loss) < number(&interval[1]));
    assert_eq!(
        predictions[2]["extrapolation"]
            .as_array()
            .expect("marks")
            .len(),
        2
    );
    // Earlier versions named less, and otherwise.
    let mut earlier: serde_json::Value = serde_json::from_str(&fit).expect("JSON");
    let fields = earlier.as_object_mut().expect("an object");
    for name in [
        "at_tokens",
        "reduced",
        "ratios",
        "intervals_from",
        "failed_draws",
    ] {
        fields.remove(name);
    }
    fields["warnings"] = serde_json::json!([{"code": "trend", "message": "it rises"}]);
    std::fs::write(desk.path().join("earlier.json"), earlier.to_string()).expect("written");
    let from_earlier = desk.json(&[&["predict", "--fit", "earlier.json"], &at[..]].concat());
    assert_eq!(from_rows["predictions"], from_earlier["predictions"]);
    let warnings = from_earlier["warnings"].as_array().expect("a list");
    assert!(
        warnings
            .iter()
            .any(|warning| warning["message"] == "it rises")
    );
    // What limits the fit is said with it.
    let few = ["--csv", "few.csv", "--law", "chinchilla"];
    let fit = desk.done(&[&["fit"], &few[..], &["--json"]].concat());
    std::fs::write(desk.path().join("few.json"), fit).expect("written");
    let from_few_rows = desk.json(&[&["predict"], &few[..], &at].concat());
    let from_few_fit = desk.json(&[&["predict", "--fit", "few.json"], &at[..]].concat());
    let warnings =
        |answer: &serde_json::Value| answer["warnings"].as_array().expect("a list").clone();
    let (of_rows, of_fit) = (warnings(&from_few_rows), warnings(&from_few_fit));
    assert!(of_rows.iter().any(|warning| warning["kind"] == "stretched"));
    // `fit` looks at more than `predict` does.
    assert!(of_rows.iter().all(|warning| of_fit.contains(warning)));
    let allocate = ["--flops", "1e21", "--json"];
    let from_rows = desk.json(&[&["allocate"], &source[..], &allocate].concat());
    let from_fit = desk.json(&[&["allocate"], &stored[..], &allocate].concat());
    assert_eq!(
        (&from_rows["optimum"], &from_rows["region"]),
        (&from_fit["optimum"], &from_fit["region"])
    );
    for (at, said) in [
        ("params=1e9", "`tokens` is missing"),
        ("params=1e9,tokens=2e10,width=3", "does not read `width`"),
        ("params=-1,tokens=2e10", "must lie between 0"),
        ("params", "write it like --at params=1e9"),
    ] {
        let text = desk.refused(&[&["predict"], &stored[..], &["--at", at]].concat());
        assert!(text.contains(said), "{said} is not in {text}");
    }
    let said = desk.refused(&[
        "predict",
        "--fit",
        "places.csv",
        "--at",
        "params=1,tokens=1",
    ]);
    assert!(said.contains("this is not the JSON of a fit"), "{said}");
}

#[test]
fn laws_compete_runs_are_suggested_and_isoflops_read() {
    let desk = Desk::new().with("runs.csv", chinchilla(&SIZES, &TOKENS));
    let compared = desk.json(&["compare", "--csv", "runs.csv", "--json"]);
    let laws = compared["laws"].as_array().expect("laws");
    let names: Vec<&str> = laws
        .iter()
        .map(|law| law["law"].as_str().expect("a name"))
        .collect();
    assert_eq!((names.len(), names[2]), (3, "kaplan"), "{names:?}");
    for law in laws {
        assert!(law["aicc"].is_number() && law["score"].is_number(), "{law}");
        assert_eq!(law["held_out"].as_array().expect("tests").len(), 3);
    }
    let text = desk.done(&[
        "compare",
        "--csv",
        "runs.csv",
        "--law",
        "chinchilla",
        "--law",
        "kaplan",
    ]);
    assert!(
        text.contains("largest tokens") && text.contains("AICc"),
        "{text}"
    );

    let args = [
        "suggest",
        "--csv",
        "runs.csv",
        "--law",
        "chinchilla",
        "--flops",
        "1e22",
    ];
    let suggested = desk.json(&[&args[..], &["-k", "2", "--bootstrap", "100", "--json"]].concat());
    let runs = suggested["suggestions"].as_array().expect("runs");
    assert_eq!(runs.len(), 2);
    assert!(number(&runs[1]["remaining"]) < number(&runs[0]["remaining"]));
    assert!(number(&runs[0]["remaining"]) < 1.0 && number(&runs[0]["flops"]) > 0.0);
    let said = desk.refused(&[&args[..], &["--bootstrap", "0"]].concat());
    assert!(said.contains("--bootstrap 1000"), "{said}");

    let budgets = (0..4).flat_map(|b| (-3..=3).map(move |s| (1e19 * 10_f64.powi(b), s)));
    let rows = budgets.map(|(c, step)| {
        let n = (c / 6.0).sqrt() * 0.5 * (0.4 * f64::from(step)).exp();
        let d = c / (6.0 * n);
        let loss = 1.8 + 400.0 / n.powf(0.35) + 400.0 / d.powf(0.35);
        format!("{n},{d},{loss}\n")
    });
    let text = "params,tokens,loss\n".to_owned() + &rows.collect::<String>();
    let desk = desk.with("isoflop.csv", text);
    let found = desk.json(&[
        "isoflop",
        "--csv",
        "isoflop.csv",
        "--approach",
        "2",
        "--json",
    ]);
    let exponent = number(&found["approaches"][0]["params"]["exponent"]);
    assert!((exponent - 0.5).abs() < 0.01, "{exponent}");
    let text = desk.done(&["isoflop", "--csv", "isoflop.csv"]);
    for part in [
        "Approach 1",
        "Known biases",
        "lucky seeds",
        "computed as 6·params·tokens",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn imported_runs_are_fitted_like_those_trained_here_and_fits_keep_their_rows() {
    let rows = chinchilla(&SIZES, &TOKENS).replace("params", "n_params");
    let desk = Desk::new().with("theirs.csv", &rows);
    let import = [
        "import",
        "theirs.csv",
        "--experiment",
        "theirs",
        "--column",
        "params=n_params",
    ];
    assert!(desk.done(&import).contains("25 rows taken in, 0 known"));
    assert!(desk.done(&import).contains("0 rows taken in, 25 known"));
    assert_eq!(desk.done(&["status", "theirs"]), "25 imported\n");
    let args = ["--law", "chinchilla", "--bootstrap", "0", "--json"];
    let stored = desk.json(&[&["fit", "theirs"], &args[..]].concat());
    let column = ["--csv", "theirs.csv", "--column", "params=n_params"];
    let direct = desk.json(&[&["fit"], &column[..], &args].concat());
    assert_eq!(
        (&stored["n_rows"], &stored["n_runs"]),
        (&25.into(), &25.into())
    );
    assert_eq!(stored["parameters"], direct["parameters"]);
    let folder = desk.json(&[&["fit", "results/theirs"], &args[..]].concat());
    assert_eq!(stored["parameters"], folder["parameters"]);
    assert!(desk.path().join("results/theirs/orchestrator.db").is_file());

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let rows = runtime.expect("a runtime").block_on(async {
        let store = campaign::store::Store::open(&desk.path().join("results/theirs")).await;
        let store = store.expect("a database");
        let experiment = store
            .experiment("theirs")
            .await
            .expect("read")
            .expect("known");
        let fit = store
            .newest_fit(experiment, "chinchilla")
            .await
            .expect("read")
            .expect("one");
        assert_eq!(fit.result["n_rows"], 25);
        store
            .newest_rows(experiment, "chinchilla")
            .await
            .expect("read")
            .expect("rows")
    });
    assert_eq!(rows.lines().count(), 26, "{rows}");
    assert!(rows.contains("theirs.csv, line 26"), "{rows}");

    let desk = desk.with("bad.csv", "params,tokens,loss\n1e9,1e9,\n");
    let out = [&import[..], &["--remove"]].concat();
    let said = desk.done(&out);
    assert!(said.contains("25 of an earlier import taken out"), "{said}");
    let said = desk.refused(&out);
    assert!(said.contains("nothing was imported into it"), "{said}");
    desk.done(&import);
    let said = desk.refused(&["import", "others.csv", "--experiment", "theirs", "--remove"]);
    assert!(said.contains("it holds rows of theirs.csv"), "{said}");
    let said = desk.refused(&["import", "bad.csv", "--experiment", "theirs"]);
    assert!(said.contains("bad.csv, line 2: `loss` is empty"), "{said}");
    let said = desk.refused(&["import", "theirs.csv", "--experiment", "../up"]);
    assert!(said.contains("a name holds letters"), "{said}");
    let said = desk.refused(&["fit", "nobody", "--law", "chinchilla"]);
    assert!(said.contains("`nobody` is no experiment file"), "{said}");
    let said = desk.refused(&["fit"]);
    assert!(said.contains("--law"), "{said}");
}

#[test]
fn imported_runs_get_all_that_own_runs_get() {
    let desk = Desk::new().with("theirs.csv", dlcm(1.0));
    desk.done(&["import", "theirs.csv", "--experiment", "theirs"]);
    let said = desk.done(&["fit", "theirs", "--bootstrap", "30", "--verbose"]);
    for part in [
        "DLCM law: loss = E0",
        "Dense law: loss = E",
        "Optimum for",
        "6N_active",
        "against dense N =",
        "Written to results/theirs: report.html, ",
    ] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    let figures = |name: &str| {
        desk.path()
            .join("results/theirs/figures")
            .join(name)
            .is_file()
    };
    for name in [
        "loss_by_share.png",
        "allocation.png",
        "savings.png",
        "predicted.png",
        "frontier.png",
    ] {
        assert!(figures(name), "{name} is missing in\n{said}");
    }
    let page = std::fs::read_to_string(desk.path().join("results/theirs/report.html"));
    let page = page.expect("a report");
    assert!(
        page.contains("What is best") || page.contains("P*"),
        "no answer in the report"
    );
    let drawn = desk.done(&["plot", "theirs", "savings"]);
    assert!(drawn.contains("2 figure files"), "{drawn}");
    let flops = ["--flops", "1e21", "--json"];
    let stored = desk.json(
        &[
            &["allocate", "theirs", "--law", "dlcm", "--bootstrap", "30"],
            &flops[..],
        ]
        .concat(),
    );
    let csv = [
        "allocate",
        "--csv",
        "theirs.csv",
        "--law",
        "dlcm",
        "--bootstrap",
        "30",
    ];
    let table = desk.json(&[&csv, &flops[..]].concat());
    for key in ["optimum", "region", "saving", "domain"] {
        assert_eq!(stored[key], table[key], "{key}");
    }
    let args = [
        "suggest", "theirs", "--law", "dlcm", "--flops", "1e21", "--json",
    ];
    assert!(
        !desk.json(&args)["suggestions"]
            .as_array()
            .expect("runs")
            .is_empty()
    );
}
