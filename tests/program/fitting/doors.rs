//! One question has one answer, whichever door it is asked through: the same runs stored, as CSV, as
//! Parquet and imported, fitted whole and law by law, allocated, predicted and asked of the page.

use crate::fitting::desk::number;
use crate::serve::server::Serving;
use crate::support::Desk;
use campaign::orchestrate;
use campaign::store::{ExperimentRecord, PlannedRun, Store};
use experiment::architecture::{Architecture, ModelKind};
use experiment::clock::now;
use experiment::event::{Event, Line, Measurement};
use experiment::folder::{JOURNAL, ResultsFolder, SPECIFICATION};
use experiment::plan::example::planned;
use experiment::plan::{Planned, Run};
use experiment::run::Part;
use serde_json::Value;
use std::path::Path;

/// Noise of the k-th run, between −1 and 1.
fn wander(k: usize) -> f64 {
    (k as f64 * 2.399).sin()
}

/// The loss of a run by laws that are known, with a little noise.
fn loss(run: &Planned, k: usize) -> f64 {
    let params = run.spec.architecture.params();
    let (n, d) = (params.non_embedding() as f64, run.spec.recipe.tokens as f64);
    let data = 1.1 + 300.0 / d.powf(0.42);
    let loss = match &run.spec.architecture {
        Architecture::Dlcm(dlcm) => {
            let (p, r) = (params.concept_share(), dlcm.compression_ratio);
            let token = 14.0 / (n * (1.0 - p)).powf(0.28);
            data + token + 9.0 * r.powf(0.12) / (n * p).powf(0.3)
        }
        Architecture::Dense(_) => data + 29.0 / n.powf(0.285),
        Architecture::TokenOnly(_) => data + 26.0 / n.powf(0.28),
    };
    let stable = match run.spec.execution.part(run.trial) {
        Part::Trunk => 0.1 + 0.01 * wander(3 * k),
        _ => 0.0,
    };
    loss * (0.004 * wander(k)).exp() + stable
}

/// Lays the results of an experiment on the desk, as if all of it had been trained.
fn trained(desk: &Desk, name: &str, text: &str) {
    trained_with(desk, name, text, 0.3);
}

/// The same with so much gain from concepts.
fn trained_with(desk: &Desk, name: &str, text: &str, gain: f64) {
    let runs = planned(text);
    let results = desk.path().join("results").join(name);
    for (k, run) in runs.iter().enumerate() {
        let folder = ResultsFolder(&results).run(&run.id);
        std::fs::create_dir_all(&folder).expect("made");
        let spec = serde_json::to_string(&run.spec).expect("JSON");
        std::fs::write(folder.join(SPECIFICATION), spec).expect("written");
        let concepts = run.spec.architecture.kind() == ModelKind::Dlcm;
        let ratio = run.spec.architecture.compression_ratio();
        let ratio = concepts.then(|| ratio * (1.0 + 0.01 * wander(7 * k)));
        let loss = loss(run, k);
        let last = Measurement {
            step: run.spec.recipe.steps(run.spec.architecture.seq_len()),
            tokens: Some(run.spec.recipe.tokens),
            flops: Some(run.flops),
            loss: Some(loss),
            validation_loss: Some(loss),
            realised_training: ratio,
            realised_thresholded: ratio,
            concept_gain: concepts.then_some(gain),
            ..Measurement::default()
        };
        let started = Event::Started {
            run: run.id.clone(),
            pid: 1,
            host: "desk".into(),
            device: "cpu".into(),
            version: "0".into(),
            resumed_step: 0,
        };
        let events = [started, Event::Measured(last), Event::Finished];
        let lines = (0..).zip(events);
        let lines = lines.map(|(at, event)| Line::new(at, now(), event).encode() + "\n");
        std::fs::write(folder.join(JOURNAL), lines.collect::<String>()).expect("written");
    }
    let record = ExperimentRecord {
        name: name.to_owned(),
        config: text.to_owned(),
        config_hash: String::new(),
        program_version: "0".into(),
        git_commit: None,
    };
    let runs: Vec<PlannedRun> = runs
        .iter()
        .map(|run| PlannedRun::from(&Run::from(run)))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let store = Store::create(&results).await.expect("a database");
        let rebuilt = orchestrate::rebuild(&results, &store).await;
        assert_eq!(rebuilt.expect("rebuilt").runs, runs.len());
        let planned = store.plan(&record, &runs, now()).await;
        planned.expect("recorded");
    });
}

/// What of an analysis is an answer: not when and from where it was made.
const ANSWERS: [&str; 14] = [
    "cost",
    "runs",
    "seed_noise",
    "dlcm",
    "dense",
    "control",
    "shapes",
    "decay",
    "isoflop",
    "allocation",
    "concept_worth",
    "savings",
    "control_savings",
    "attribution",
];

fn same(a: &Value, b: &Value, what: &str) {
    for key in ANSWERS.iter().chain(&["curves", "tuning", "warnings"]) {
        assert_eq!(a[key], b[key], "{what}: {key}");
    }
}

/// Fits all laws to the results through every door that has the rows, and returns the one answer.
fn whole(desk: &Desk, name: &str, draws: &str) -> Value {
    let results = format!("results/{name}");
    let stored = desk.json(&["fit", &results, "--json"]);
    let csv = format!("{results}/runs.csv");
    desk.done(&["export", &results, "--format", "parquet", "--output", "out"]);
    let parquet = find(&desk.path().join("out"), "runs.parquet");
    desk.done(&["import", &csv, "--experiment", "theirs"]);
    for (what, source) in [
        ("CSV", vec!["--csv", &csv]),
        ("Parquet", vec!["--csv", &parquet]),
        ("imported", vec!["results/theirs"]),
    ] {
        let args = [
            &["fit"],
            &source[..],
            &["--json", "--bootstrap", draws, "--results", "results/other"],
        ]
        .concat();
        let args = match what {
            "imported" => args[..args.len() - 2].to_vec(),
            _ => args,
        };
        same(&stored, &desk.json(&args), what);
    }
    std::fs::remove_dir_all(desk.path().join("results/theirs")).expect("removed");
    stored
}

fn find(folder: &Path, name: &str) -> String {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == name {
                return entry.path().display().to_string();
            }
        }
    }
    panic!("there is no {name}");
}

/// Asks about single laws what the whole answer says, through every door.
fn law_by_law(desk: &Desk, name: &str, whole: &Value) {
    let results = format!("results/{name}");
    let csv = format!("{results}/runs.csv");
    let draws = whole["settings"]["bootstrap"].to_string();
    let sources = [
        vec![results.as_str()],
        vec!["--csv", &csv, "--bootstrap", &draws],
    ];
    for (law, key) in [("dlcm", "dlcm"), ("chinchilla", "dense")] {
        let report = &whole[key];
        if report["status"] != "fitted" {
            continue;
        }
        for source in &sources {
            let args = [&["fit"], &source[..], &["--law", law, "--json"]].concat();
            let fit = desk.json(&args);
            for parameter in report["parameters"].as_array().expect("parameters") {
                let named = parameter["name"].as_str().expect("a name");
                assert_eq!(
                    fit["parameters"][named], parameter["value"],
                    "{law} {named}"
                );
                let interval = &fit["intervals"][named];
                let ends = &parameter["interval"];
                assert!(
                    interval == ends || (ends.is_null() && interval[0].is_null()),
                    "{law} {named}: {interval} {ends}"
                );
            }
            assert_eq!(fit["uncertainty"], report["uncertainty"], "{law}");
            let title = match law {
                "dlcm" => "DLCM law",
                _ => "dense law",
            };
            let warnings = |answer: &Value| -> Vec<String> {
                let all = answer["warnings"].as_array().expect("warnings").iter();
                let about = all.filter(|warning| warning["law"] == title);
                about
                    .map(|warning| warning["message"].to_string())
                    .collect()
            };
            assert_eq!(warnings(&fit), warnings(whole), "{law}");
        }
    }
    let allocation = &whole["allocation"]["known"];
    let (best, budget) = (&allocation["best"], allocation["budget"].to_string());
    for source in &sources {
        let args = [
            &["allocate"],
            &source[..],
            &["--law", "dlcm", "--flops", &budget, "--json"],
        ];
        let answer = desk.json(&args.concat());
        for quantity in ["params", "tokens", "concept_share", "compression_ratio"] {
            assert_eq!(answer["optimum"][quantity], best["setting"][quantity]);
        }
        assert_eq!(answer["optimum"]["loss"], best["loss"]);
        assert_eq!(answer["region"]["intervals"], best["intervals"]);
        assert_eq!(answer["saving"]["dense"], whole["savings"]);
        assert_eq!(answer["saving"]["attribution"], whole["attribution"]);
        assert_eq!(answer["cost"], allocation["convention"]);
    }
    let setting = &best["setting"];
    let at = ["params", "tokens", "concept_share", "compression_ratio"]
        .map(|quantity| format!("{quantity}={}", number(&setting[quantity])))
        .join(",");
    let args = ["predict", &results, "--law", "dlcm", "--at", &at, "--json"];
    let predicted = desk.json(&args);
    let loss = number(&predicted["predictions"][0]["prediction"]);
    assert!((loss / number(&best["loss"]) - 1.0).abs() < 1e-12, "{loss}");
    let args = [
        "suggest", &results, "--law", "dlcm", "--flops", &budget, "--json",
    ];
    let suggested = desk.json(&args);
    assert_eq!(suggested["optimum"]["loss"], best["loss"]);

    let server = Serving::start(desk.path(), &[]);
    let ask = |law: &str| {
        let question = format!(r#"{{"law": "{law}", "draws": {draws}}}"#);
        let path = format!("/api/experiments/{name}/{name}/fit");
        server.post(&path, &question, "").json()
    };
    let (all, dlcm) = (ask("all"), ask("dlcm"));
    // The page says in words what the report says.
    let report = server.get(&format!("/api/experiments/{name}/{name}/report.html"));
    let report = String::from_utf8(report.body).expect("text");
    let markup = |value: &Value| value.as_str().expect("markup").to_owned();
    assert!(report.contains(&markup(&all["answer"])), "{all}");
    for law in all["laws"].as_array().expect("laws") {
        assert!(report.contains(&markup(&law["about"])), "{law}");
    }
    assert_eq!(dlcm["laws"][0]["about"], all["laws"][0]["about"]);
    // Of one law there is no optimum at each declared R.
    let free = |answer: &Value| {
        let answer = markup(&answer["answer"]);
        let (_, table) = answer
            .split_once("aria-label=\"Optimum\"")
            .expect("a table");
        let (_, row) = table.split_once("<tbody><tr>").expect("a row");
        row.split("</tr>").next().unwrap_or_default().to_owned()
    };
    assert_eq!(free(&dlcm), free(&all));
    let saving = |answer: &Value| {
        let answer = markup(&answer["answer"]);
        let (_, saving) = answer
            .split_once("training FLOPs</h3>")
            .expect("an optimum");
        let (_, saving) = saving.split_once("<h3>").expect("a saving");
        let end = saving
            .find("<h4>Against the token level")
            .unwrap_or(saving.len());
        saving[..end].to_owned()
    };
    assert_eq!(saving(&all), saving(&dlcm));
}

const MODEL: &str = "model: {seq_len: 64, token_window: 8}\n\
                     analysis: {bootstrap: 30, flops_convention: 6N_active}\n";

#[test]
fn a_grid_with_baselines_and_controls_has_one_answer() {
    let text = format!(
        "name: grid\ngrid: {{params: [50K, 100K, 200K], tokens: 2M, concept_share: [0.3, 0.5, 0.7], \
         compression_ratio: [2, 4]}}\nbaselines: {{params: [50K, 100K, 200K, 400K]}}\n\
         controls: tokens\n{MODEL}"
    );
    let desk = Desk::new();
    trained(&desk, "grid", &text);
    let answer = whole(&desk, "grid", "30");
    assert!(answer["savings"]["known"].is_object(), "{answer}");
    assert!(answer["concept_worth"]["known"].is_object(), "{answer}");
    law_by_law(&desk, "grid", &answer);
}

#[test]
fn a_grid_with_several_seeds_has_one_answer() {
    let text = format!(
        "name: seeds\ngrid: {{params: [50K, 100K, 200K], tokens: 2M, concept_share: [0.3, 0.6], \
         compression_ratio: 4, seed: [0, 1, 2]}}\nbaselines: {{params: [100K, 200K]}}\n{MODEL}"
    );
    let desk = Desk::new();
    // Concepts are unused: nothing that is saved is theirs, whoever asks.
    trained_with(&desk, "seeds", &text, 1e-4);
    let answer = whole(&desk, "seeds", "30");
    assert_eq!(answer["seed_noise"]["runs"], 24, "{}", answer["seed_noise"]);
    assert_eq!(answer["attribution"]["verdict"], "not_concepts");
    law_by_law(&desk, "seeds", &answer);
}

#[test]
fn a_grid_of_branches_has_one_answer() {
    let text = format!(
        "name: branches\ngrid: {{params: [50K, 100K, 200K], tokens: [1M, 2M, 4M], concept_share: \
         [0.3, 0.6], compression_ratio: [2, 4]}}\nbaselines: {{params: [50K, 100K, 200K]}}\n\
         training: {{branches: true}}\n{MODEL}"
    );
    let desk = Desk::new();
    trained(&desk, "branches", &text);
    let answer = whole(&desk, "branches", "30");
    let decay = &answer["decay"]["law"];
    assert!(decay["known"].is_object(), "{decay}");
    law_by_law(&desk, "branches", &answer);
    // The law of decays is one that can be asked for.
    let args = ["fit", "results/branches", "--law", "dlcm_decay", "--json"];
    let fit = desk.json(&args);
    for parameter in decay["known"]["parameters"].as_array().expect("parameters") {
        let named = parameter["name"].as_str().expect("a name");
        assert_eq!(fit["parameters"][named], parameter["value"], "{named}");
    }
}
