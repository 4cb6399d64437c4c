//! A grid of which the program itself chooses what to train, and laws that a file names.

use crate::support::{Desk, TINY};
use serde_json::Value;

/// A grid of 24 tiny runs.
fn grid() -> String {
    TINY.replace(
        "{params: 60000, tokens: 8192, concept_share: [0.3, 0.5], compression_ratio: 4}",
        "{params: [50000, 80000], tokens: [2048, 4096, 8192], concept_share: [0.3, 0.5], compression_ratio: [2, 4]}",
    )
}

fn finished(desk: &Desk) -> Vec<Value> {
    let mut runs = desk.status();
    runs.retain(|run| run["outcome"] == "finished");
    runs
}

#[test]
fn a_grid_is_trained_until_something_is_known() {
    let desk = Desk::new().with("tiny.yaml", grid());
    let wide = ["run", "tiny.yaml", "--until", "interval(params) < 1000"];
    desk.done(&wide);
    // Twelve for a first law, and one more round, since one interval may be narrow by luck.
    let runs = finished(&desk);
    assert!((13..24).contains(&runs.len()), "{} runs", runs.len());
    assert!(runs.iter().all(|run| run["kind"] == "dlcm"));
    for run in &runs {
        let id = run["id"].as_str().expect("an id");
        let shown: Value = serde_json::from_str(&desk.done(&["show", id, "--json"])).expect("JSON");
        let choice = &shown["choices"][0];
        assert_eq!(choice["goal"], "interval(params) < 1000");
        assert!(
            choice["reason"].as_str().expect("words").len() > 20,
            "{choice}"
        );
    }
    // What is known stays known, and a budget that is spent buys nothing.
    desk.done(&wide);
    assert_eq!(finished(&desk).len(), runs.len());
    let narrow = [
        "run",
        "tiny.yaml",
        "--until",
        "interval(P) < 1e-9",
        "--budget",
        "1e6",
    ];
    desk.done(&narrow);
    assert_eq!(finished(&desk).len(), runs.len());
    assert!(desk.done(&["fit", "tiny.yaml"]).contains("law"));
    // What was trained before stays asked for.
    let ids = |desk: &Desk| -> Vec<String> {
        let runs = finished(desk).into_iter();
        runs.map(|run| run["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    let before = ids(&desk);
    let two = desk
        .command(&["run", "tiny.yaml", "--max-runs", "2"])
        .output();
    assert!(two.is_ok());
    assert_eq!(ids(&desk).len(), before.len() + 2);
    desk.done(&narrow);
    let after = ids(&desk);
    assert!(before.iter().all(|id| after.contains(id)) && after.len() == before.len() + 2);
}

#[test]
fn what_a_file_or_a_command_asks_for_is_read_before_anything_is_trained() {
    let desk = Desk::new()
        .with("tiny.yaml", TINY)
        .with(
            "law.yaml",
            TINY.replace("bootstrap: 20", "law: E + A/parms^a"),
        )
        .with(
            "until.yaml",
            TINY.replace("bootstrap: 20", "until: interval(width) < 1"),
        )
        .with(
            "branches.yaml",
            TINY.replace("batch: 8,", "batch: 8, branches: true,"),
        );
    for (args, says) in [
        (
            &["run", "law.yaml"][..],
            "did you mean the column `params`?",
        ),
        (&["run", "until.yaml"], "no such quantity"),
        (&["run", "tiny.yaml", "--until", "P < 0.1"], "write it like"),
        (&["run", "tiny.yaml", "--budget", "1e12"], "--until"),
        (
            &["run", "tiny.yaml", "--until", "interval(R) < 0.1"],
            "one compression_ratio only",
        ),
        (
            &["run", "tiny.yaml", "--until", "interval(P) < 0.5"],
            "ask for less than",
        ),
        (
            &[
                "run",
                "tiny.yaml",
                "--until",
                "interval(P) < 0.1",
                "--max-runs",
                "1",
            ],
            "goes with neither",
        ),
        (
            &["run", "branches.yaml", "--until", "interval(P) < 0.1"],
            "share trunks",
        ),
    ] {
        let said = desk.refused(args);
        assert!(said.contains(says), "{said}");
    }
    assert!(!desk.path().join("results/tiny/runs").exists());
}

#[test]
fn the_law_of_a_file_is_asked_where_none_is_named() {
    let file = grid().replace("bootstrap: 20", "bootstrap: 20, law: E + A/N^a + c*P");
    let small = file.replace("compression_ratio: [2, 4]", "compression_ratio: 4");
    let desk = Desk::new().with("tiny.yaml", small);
    desk.done(&["run", "tiny.yaml"]);
    let told = desk.json(&["predict", "tiny.yaml", "--at", "N=1e5,P=0.4", "--json"]);
    assert_eq!(told["law"], "E + A/`params`^a + c*`concept_share`");
    let named = ["--law", "E + A/N^a", "--at", "N=1e5", "--json"];
    let told = desk.json(
        &[
            &["predict", "tiny.yaml", "--where", "kind = dlcm"],
            &named[..],
        ]
        .concat(),
    );
    assert_eq!(told["law"], "E + A/`params`^a");
}
