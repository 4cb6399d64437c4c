//! The shipped examples: a trainer whose losses follow a stated law, and the helper for Python.

use super::{examples, has_python};
use crate::support::Desk;
use serde_json::Value;

/// A desk with the example's files, on a grid of its own.
fn law(grid: &str, execution: &str) -> Desk {
    let mut desk = Desk::new();
    for name in ["law.py", "orchestrator_report.py"] {
        desk = desk.with(name, std::fs::read(examples().join(name)).expect("shipped"));
    }
    let text = std::fs::read_to_string(examples().join("law.yaml")).expect("shipped");
    let (before, after) = text.split_once("grid:").expect("a grid");
    let (_, analysis) = after.split_once("analysis:").expect("an analysis");
    desk.with(
        "law.yaml",
        format!("{before}{grid}\nexecution: {execution}\nanalysis:{analysis}  bootstrap: 100\n"),
    )
}

fn runs(desk: &Desk) -> Vec<Value> {
    let status = desk.json(&["status", "law.yaml", "--json"]);
    status["runs"].as_array().expect("runs").clone()
}

#[test]
fn a_stated_law_is_found_again() {
    if !has_python() {
        return;
    }
    let grid = "grid:\n  params: [10M, 20M, 50M, 100M, 500M]\n  tokens: [200M, 500M, 2B, 5B]";
    let desk = law(grid, "{per_device: 4}");
    let answer = desk.done(&["run", "law.yaml", "--quiet"]);
    assert!(runs(&desk).iter().all(|run| run["outcome"] == "finished"));
    let fit = desk.json(&[
        "fit",
        "law.yaml",
        "--law",
        "chinchilla",
        "--whole",
        "--json",
    ]);
    for (name, truth) in [("E", 1.69), ("alpha", 0.34), ("beta", 0.28)] {
        let interval = &fit["intervals"][name];
        let [low, high] = [0, 1].map(|at| interval[at].as_f64().expect("a bound"));
        assert!(low <= truth && truth <= high, "{name}: {interval} {answer}");
    }
    let said = desk
        .command(&["run", "law.yaml", "--quiet"])
        .output()
        .expect("ran");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("0 finished, 20 finished before"), "{said}");
}

#[test]
fn trying_shows_what_is_understood_and_what_is_missing() {
    if !has_python() {
        return;
    }
    let desk = law("grid: {params: 10M, tokens: 200M}", "{per_device: 1}");
    let slow = |desk: Desk, more: &str| {
        let text = std::fs::read_to_string(desk.path().join("law.yaml")).expect("there");
        let slow = text.replace("\"{args}\"]", &format!("\"{{args}}\", --seconds=3{more}]"));
        desk.with("law.yaml", slow)
    };
    let desk = slow(desk, "");
    let tried = desk.json(&["try", "law.yaml", "--seconds", "20", "--json"]);
    assert_eq!(tried["missing"], serde_json::json!([]), "{tried}");
    assert_eq!(tried["resumed"]["difference"], 0.0, "{tried}");
    assert_eq!(tried["stopped"]["outcome"], "interrupted", "{tried}");
    assert_eq!(tried["ended"][0], "finished", "{tried}");
    assert!(
        !desk.path().join("results/law/orchestrator.db").exists(),
        "nothing is stored"
    );
    let said = desk.done(&["try", "law.yaml", "--seconds", "20"]);
    assert!(said.contains("nothing is missing"), "{said}");

    let broken = std::fs::read_to_string(desk.path().join("law.py")).expect("there");
    let desk = desk.with("law.py", broken.replace("final=True", "final=False"));
    let output = desk
        .command(&["try", "law.yaml", "--seconds", "20"])
        .output();
    let output = output.expect("ran");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("missing: it ended as finished_without_result"),
        "{said}"
    );
}

#[test]
fn one_group_is_measured_against_another() {
    let mut csv = String::from("params,tokens,loss,model\n");
    for (model, share) in [("dense", 1.0), ("moe", 0.5)] {
        for n in [1e7_f64, 3e7, 1e8, 3e8, 1e9] {
            for d in [1e9_f64, 3e9, 1e10, 3e10] {
                let wander = 1.0 + 0.001 * (n.ln() * 7.0 + d.ln() * 3.0).sin();
                let loss = 1.7 + 400.0 / (n / share).powf(0.34) + 410.0 / d.powf(0.28);
                csv += &format!("{n},{d},{},{model}\n", loss * wander);
            }
        }
    }
    let desk = Desk::new().with("both.csv", csv);
    let law = [
        "allocate",
        "--csv",
        "both.csv",
        "--law",
        "chinchilla",
        "--flops",
        "1e21",
    ];
    let groups = ["--where", "model=moe", "--against", "model=dense"];
    let said = desk.done(&[&law[..], &groups].concat());
    assert!(said.contains("saved against model=dense"), "{said}");
    // The law reads neither P nor R.
    assert!(!said.contains("compression_ratio"), "{said}");
    let json = desk.json(&[&law[..], &groups, &["--json"]].concat());
    let saved = json["saving"]["headline"]["training"]
        .as_f64()
        .expect("a saving");
    assert!(
        (saved - 0.5).abs() < 0.05,
        "half the parameters do: {saved}"
    );
    let said = desk.refused(&[&law[..], &["--against", "modle=dense"]].concat());
    assert!(said.contains("did you mean `model`?"), "{said}");
}

/// # Source
/// Python's own documentation of what `json` writes for numbers that are none.
#[test]
fn the_helper_reports_from_rank_0_and_does_nothing_alone() {
    if !has_python() {
        return;
    }
    let desk = Desk::new()
        .with(
            "orchestrator_report.py",
            std::fs::read(examples().join("orchestrator_report.py")).expect("shipped"),
        )
        .with(
            "use.py",
            "import os, signal\nfrom orchestrator_report import *\n\
             report(step=1, loss=float('nan'), mine=2)\n\
             report(step=2, tokens=10, validation_loss=1.5, final=True)\n\
             print(should_stop(), resume_step())\n\
             os.kill(os.getpid(), signal.SIGTERM)\nprint(should_stop(), checkpoint_folder().name)\n",
        );
    let python = |variables: &[(&str, &str)]| {
        let mut command = std::process::Command::new("python3");
        command.arg("use.py").current_dir(desk.path());
        command.env_remove("RANK").envs(variables.iter().copied());
        let output = command.output().expect("ran");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(python(&[]), "False None\nTrue checkpoints\n");
    let report = desk.path().join("report.jsonl");
    let path = report.to_str().expect("a path");
    let with = [
        ("ORCHESTRATOR_REPORT", path),
        ("ORCHESTRATOR_RESUME_STEP", "40"),
    ];
    python(&[with[0], ("RANK", "1")]);
    assert!(!report.exists(), "rank 1 says nothing");
    assert_eq!(python(&with), "False 40\nTrue checkpoints\n");
    assert_eq!(
        std::fs::read_to_string(&report).expect("a report"),
        "{\"step\": 1, \"loss\": NaN, \"mine\": 2}\n\
         {\"step\": 2, \"tokens\": 10, \"validation_loss\": 1.5, \"final\": true}\n"
    );
}
