//! Stories told through the program itself, in a temporary folder.

use crate::support::{Desk, TINY};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

#[test]
fn an_experiment_runs_from_declaration_to_figures_and_only_once() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    assert!(desk.done(&["check", "tiny.yaml"]).contains("3 runs"));
    assert!(
        desk.done(&["plan", "tiny.yaml", "--no-time"])
            .contains("3 runs, 0 done, 3 to do")
    );
    desk.done(&["run", "tiny.yaml"]);
    let runs = desk.status();
    assert_eq!(runs.len(), 3);
    for run in &runs {
        for key in [
            "id",
            "state",
            "kind",
            "params",
            "tokens",
            "concept_share",
            "compression_ratio",
            "realised_ratio",
            "seed",
            "loss",
            "flops",
            "outcome",
        ] {
            assert!(run.get(key).is_some(), "{key} is missing in {run}");
        }
        assert_eq!(
            (&run["state"], &run["outcome"]),
            (&"ended".into(), &"finished".into())
        );
        assert!(run["loss"].as_f64().expect("a loss") > 0.0);
        assert_eq!(run["realised_ratio"].is_null(), run["kind"] == "dense");
    }
    assert!(
        desk.done(&["plan", "tiny.yaml", "--no-time"])
            .contains("3 runs, 3 done, 0 to do")
    );
    let journals = || -> Vec<_> {
        runs.iter()
            .map(|run| {
                let id = run["id"].as_str().expect("an id");
                desk.path()
                    .join("results/tiny/runs")
                    .join(id)
                    .join("events.jsonl")
            })
            .map(|path| std::fs::read(path).expect("a journal"))
            .collect()
    };
    let before = journals();
    desk.done(&["run", "tiny.yaml"]);
    assert_eq!(journals(), before, "a finished run was trained again");
    // A new value of an axis runs only the new cell.
    desk.done(&[
        "run",
        "tiny.yaml",
        "--set",
        "grid.concept_share=[0.3, 0.5, 0.6]",
    ]);
    assert_eq!(journals(), before);
    let text = desk.done(&[
        "status",
        "tiny.yaml",
        "--json",
        "--set",
        "grid.concept_share=[0.3, 0.5, 0.6]",
    ]);
    assert_eq!(text.matches("\"finished\"").count(), 4);
    // What was taken out stays, marked.
    desk.done(&["run", "tiny.yaml", "--set", "grid.concept_share=0.5"]);
    assert_eq!(journals(), before);
    assert_eq!(desk.status().len(), 2);
    let status = desk.done(&["status", "tiny.yaml", "--all"]);
    assert!(status.contains("2 no longer asked for"), "{status}");
    desk.done(&["run", "tiny.yaml"]);
    // What a run made of a text is kept beside it.
    std::fs::write(desk.path().join("a.txt"), "abcdefg".repeat(40)).expect("written");
    let dlcm = runs.iter().find(|run| run["kind"] == "dlcm").expect("one");
    let id = dlcm["id"].as_str().expect("an id");
    desk.done(&[
        "inspect",
        id,
        "--file",
        "letters=a.txt",
        "--by-position",
        "--keep",
    ]);
    // Figures come from the database alone.
    std::fs::remove_dir_all(desk.path().join("results/tiny/figures")).expect("figures");
    std::fs::remove_dir_all(desk.path().join("results/tiny/runs")).expect("runs");
    desk.done(&["plot", "tiny.yaml"]);
    assert!(
        desk.path()
            .join("results/tiny/figures/training.svg")
            .exists()
    );
    let listed = desk.done(&["plot", "tiny.yaml", "--list"]);
    assert!(listed.contains("allocation "), "{listed}");
    assert!(
        listed.contains("nothing to draw: no run branches off a trunk"),
        "{listed}"
    );
    let asked = [
        "plot",
        "tiny.yaml",
        "content",
        "position",
        "--format",
        "svg",
        "--size",
        "column",
    ];
    let said = desk.done(&asked);
    assert!(said.contains("2 figure files"), "{said}");
    let content = desk.path().join("results/tiny/figures/content-column.svg");
    let content = std::fs::read_to_string(content).expect("drawn");
    assert!(
        content.contains("width=\"237.6pt\"") && content.contains("letters"),
        "{content}"
    );
    let said = desk.refused(&["plot", "tiny.yaml", "alocation"]);
    assert!(said.contains("allocation, savings"), "{said}");
    let output = desk
        .command(&["plot", "tiny.yaml", "decay"])
        .output()
        .expect("ran");
    assert_eq!(
        output.status.code(),
        Some(1),
        "asked for by name and not drawn"
    );
}

/// Starts a grid and signals it when the first run trains; its signal handlers are in place by then.
fn stop(desk: &Desk, signal: Signal) -> ExitStatus {
    let mut child = desk.start(&["run", "tiny.yaml"]);
    let started = || {
        std::fs::read_dir(desk.path().join("results/tiny/runs")).is_ok_and(|runs| {
            runs.flatten()
                .any(|run| run.path().join("events.jsonl").exists())
        })
    };
    let patience = Instant::now();
    while !started() && patience.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(Pid::from_raw(child.id() as i32), signal).expect("signalled");
    child.wait().expect("ended")
}

#[test]
fn an_interrupted_grid_goes_on_to_the_same_losses() {
    // Long enough to be interrupted.
    let long = TINY.replace("8192", "65536");
    let whole = Desk::new().with("tiny.yaml", &long);
    whole.done(&["run", "tiny.yaml"]);

    let desk = Desk::new().with("tiny.yaml", &long);
    let status = stop(&desk, Signal::SIGINT);
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    desk.done(&["run", "tiny.yaml"]);
    assert_eq!(desk.losses(), whole.losses());
}

#[test]
fn runs_of_a_killed_orchestrator_are_said_to_be_cut_off() {
    let desk = Desk::new().with("tiny.yaml", TINY.replace("8192", "65536"));
    let status = stop(&desk, Signal::SIGKILL);
    assert_eq!(status.code(), None, "{status}");
    // It would not end while somebody were at work.
    let said = desk.done(&["status", "tiny.yaml", "--watch"]);
    assert!(said.contains("no orchestrator is at work"), "{said}");
    desk.done(&["run", "tiny.yaml"]);
    let said = desk.done(&["status", "tiny.yaml"]);
    assert!(!said.contains("no orchestrator is at work"), "{said}");
}

#[test]
fn what_can_go_is_found_and_removed_on_a_full_disk() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    desk.done(&["run", "tiny.yaml"]);
    let full = |args: &[&str]| {
        // No file may be written beyond 8 KiB, and the index that processes share has 32.
        let script = r#"trap "" XFSZ; ulimit -f 8; exec "$0" "$@""#;
        let output = std::process::Command::new("bash")
            .args(["-c", script])
            .arg(assert_cmd::cargo::cargo_bin("orchestrator"))
            .args(args)
            .current_dir(desk.path())
            .env("ORCHESTRATOR_CACHE", desk.path().join("cache"))
            .output()
            .expect("ran");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (code, said) = full(&["run", "tiny.yaml"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is the disk full"), "{said}");
    let (code, said) = full(&["status", "tiny.yaml"]);
    assert!(code == Some(0) && said.contains("3 finished"), "{said}");
    let (code, said) = full(&["prune", "tiny.yaml", "--weights", "--yes"]);
    assert!(code == Some(0) && said.contains("3 removed"), "{said}");
    assert!(desk.done(&["status", "tiny.yaml"]).contains("3 finished"));
}

#[test]
fn a_grid_goes_on_where_nobody_can_read_what_it_says() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("a full disk")
    };
    let run = |output: std::process::Stdio| {
        std::process::Command::new(assert_cmd::cargo::cargo_bin("orchestrator"))
            .args(["run", "tiny.yaml"])
            .current_dir(desk.path())
            .env("ORCHESTRATOR_CACHE", desk.path().join("cache"))
            .stdout(output)
            .stderr(full())
            .status()
            .expect("ran")
    };
    assert_eq!(run(std::process::Stdio::null()).code(), Some(0));
    assert_eq!(desk.losses().len(), 3);
    // A result that cannot be printed is a failure, and no panic.
    assert_eq!(run(full().into()).code(), Some(1));
}

#[test]
fn bad_files_are_refused_and_nothing_is_written() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("empty", b"", "empty"),
        ("garbage", &[0xff, 0xfe, 0x00, 0x80, 0x01], "UTF-8"),
        ("control", b"\x00\x01\x02: [", ""),
        ("unknown key", b"grid: {params: 1M, tokns: 1M}", "tokens"),
        (
            "no tokens",
            b"grid: {params: 1M, tokens: 0, concept_share: 0.5, compression_ratio: 4}",
            "above zero",
        ),
        (
            "P = 1",
            b"grid: {params: 1M, tokens: 1M, concept_share: 1, compression_ratio: 4}",
            "concept_share",
        ),
        (
            "R < 1",
            b"grid: {params: 1M, tokens: 1M, concept_share: 0.5, compression_ratio: 0.5}",
            "compression_ratio",
        ),
    ];
    for (name, content, expected) in cases {
        let desk = Desk::new().with("bad.yaml", content);
        for command in ["check", "plan", "run"] {
            let said = desk.refused(&[command, "bad.yaml"]);
            assert!(said.contains(expected), "{name}: {said}");
            assert_eq!(desk.files(), ["bad.yaml"], "{name} wrote something");
        }
    }
    let desk = Desk::new();
    assert!(desk.refused(&["run", "."]).contains("directory"));
    assert!(
        desk.refused(&["run", "missing.yaml"])
            .contains("missing.yaml")
    );
}

#[test]
fn bad_text_is_refused() {
    let text = TINY.replace(
        "{synthetic: {language: cycles, document_tokens: 64, document_words: 6}}",
        "{text: corpus.txt, tokenizer: bytes}",
    );
    for (content, expected) in [
        (&b"good \xff\xfe bad"[..], "UTF-8"),
        (&b"too short"[..], "sequence"),
        (&b""[..], "empty"),
    ] {
        let desk = Desk::new()
            .with("tiny.yaml", &text)
            .with("corpus.txt", content);
        let said = desk.refused(&["run", "tiny.yaml"]);
        assert!(said.contains(expected), "{said}");
    }
    let desk = Desk::new().with("tiny.yaml", &text);
    assert!(desk.refused(&["run", "tiny.yaml"]).contains("corpus.txt"));
}

#[test]
fn bad_places_are_refused() {
    let desk = Desk::new().with("tiny.yaml", TINY).with("file", "");
    let said = desk.refused(&["run", "tiny.yaml", "--results", "file/below"]);
    assert!(said.contains("file/below"), "{said}");
    let said = desk.refused(&["status", "tiny.yaml"]);
    assert!(said.contains("run the experiment first"), "{said}");
    let said = desk.refused(&["run", "tiny.yaml", "--device", "abacus"]);
    assert!(said.contains("abacus") && said.contains("cpu"), "{said}");
    let said = desk.refused(&["run", "tiny.yaml", "--set", "training.batch"]);
    assert!(said.contains("no value"), "{said}");
}

#[test]
fn the_schema_is_json_and_knows_the_axes() {
    let schema: Value = serde_json::from_str(&Desk::new().done(&["schema"])).expect("JSON");
    assert!(schema.to_string().contains("concept_share"));
}

/// TINY as branches of trunks: 16, 32 and 64 steps, which leave the trunk after 13, 26 and 51.
fn branched() -> String {
    TINY.replace("[0.3, 0.5]", "0.4")
        .replace(
            "params: 60000, tokens: 8192",
            "params: 60000, tokens: [8192, 16384, 32768]",
        )
        .replace("{params: 50000, tokens: 8192}", "{params: 50000}")
        .replace("training: {", "training: {branches: true, ")
}

fn parts<'a>(runs: &'a [Value], kind: &'a str, part: &'a str) -> Vec<&'a Value> {
    let of = |run: &&Value| run["kind"] == kind && run["part"] == part;
    runs.iter().filter(of).collect()
}

#[test]
fn branches_share_a_trunk_that_is_trained_once() {
    let desk = Desk::new().with("tiny.yaml", branched());
    let plan = desk.done(&["plan", "tiny.yaml", "--no-time"]);
    assert!(plan.contains("12 runs, 0 done, 12 to do"), "{plan}");
    assert!(
        plan.contains("dlcm trunk") && plan.contains("dense branch"),
        "{plan}"
    );
    let json: Value =
        serde_json::from_str(&desk.done(&["plan", "tiny.yaml", "--no-time", "--json"]))
            .expect("JSON");
    let planned = json["runs"].as_array().expect("runs");
    let sum = |pick: fn(&Value) -> &Value| -> f64 {
        let dense = planned.iter().filter(|run| run["concept_share"] == 0.0);
        dense.map(|run| pick(run).as_f64().expect("a number")).sum()
    };
    // The trunk's 51 steps once, and the decays.
    let steps = sum(|run| &run["own_tokens"]) / 512.0;
    assert_eq!(steps, 51.0 + 3.0 + 6.0 + 13.0);
    let a_step = planned.iter().rev().map(|run| {
        let own = run["own_tokens"].as_f64().expect("tokens") / 512.0;
        run["training_flops"]["exact"].as_f64().expect("FLOPs") / own
    });
    let a_step = a_step.into_iter().next().expect("a dense run");
    let flops = sum(|run| &run["training_flops"]["exact"]);
    assert!((flops / (a_step * steps) - 1.0).abs() < 1e-9);

    desk.done(&["run", "tiny.yaml"]);
    let runs = desk.status();
    assert_eq!(runs.len(), 12);
    assert!(runs.iter().all(|run| run["outcome"] == "finished"));
    for kind in ["dlcm", "dense"] {
        assert_eq!(parts(&runs, kind, "trunk").len(), 3);
        assert_eq!(parts(&runs, kind, "branch").len(), 3);
    }
    for branch in runs.iter().filter(|run| run["part"] == "branch") {
        let trunk = runs.iter().find(|run| run["id"] == branch["start_run"]);
        let flops = |run: &Value| run["flops"].as_f64().expect("FLOPs");
        assert!(flops(trunk.expect("its trunk")) < flops(branch));
    }
    assert!(desk.done(&["status", "tiny.yaml"]).contains("dlcm branch"));

    // The laws see the branches alone, and miss nothing.
    let fitted = tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(async {
            let results = desk.path().join("results/tiny");
            let store = campaign::store::Store::open(&results).await.expect("open");
            let experiment = store
                .experiment("tiny")
                .await
                .expect("read")
                .expect("known");
            let fit = store
                .newest_fit(experiment, "analysis")
                .await
                .expect("read");
            fit.expect("a fit")
        });
    let mut fitted_runs: Vec<&str> = fitted.runs.iter().map(|run| run.0.as_str()).collect();
    let branches = runs.iter().filter(|run| run["part"] == "branch");
    let mut branches: Vec<&str> = branches.filter_map(|run| run["id"].as_str()).collect();
    fitted_runs.sort_unstable();
    branches.sort_unstable();
    assert_eq!(fitted_runs, branches);
    assert!(!fitted.result["warnings"].to_string().contains("left_out"));

    let journals =
        |runs: &[Value]| -> Vec<_> { runs.iter().map(|run| desk.journal(run)).collect() };
    let before = journals(&runs);
    desk.done(&["run", "tiny.yaml"]);
    assert_eq!(journals(&runs), before, "a finished run was trained again");

    // A D in between, after all states were lost: its piece is trained from the first step, in the
    // pieces that lead there, and nothing else is.
    for run in runs.iter().filter(|run| run["part"] == "trunk") {
        let id = run["id"].as_str().expect("an id");
        let folder = desk.path().join("results/tiny/runs").join(id);
        std::fs::remove_file(folder.join("end.safetensors")).expect("a kept state");
    }
    let tokens = "grid.tokens=[8192, 16384, 24576, 32768]";
    desk.done(&["run", "tiny.yaml", "--set", tokens]);
    let after = journals(&runs);
    for ((run, before), after) in runs.iter().zip(&before).zip(&after) {
        let leads_there = run["part"] == "trunk" && run["tokens"].as_u64() <= Some(26 * 512);
        assert_eq!(before != after, leads_there, "{run}");
    }
    let status = desk.done(&["status", "tiny.yaml", "--json", "--set", tokens]);
    assert_eq!(status.matches("\"finished\"").count(), 16);
}

#[test]
fn branches_of_a_failed_trunk_wait_and_say_so() {
    let text = branched() + "execution: {retries: 0}\n";
    let desk = Desk::new().with("tiny.yaml", text);
    let plan = desk.done(&["plan", "tiny.yaml", "--no-time", "--json"]);
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let trunk = plan["runs"][0]["id"].as_str().expect("an id");
    let runs = desk.path().join("results/tiny/runs");
    std::fs::create_dir_all(&runs).expect("made");
    let in_the_way = runs.join(trunk);
    std::fs::write(&in_the_way, "no folder").expect("written");
    let output = desk.command(&["run", "tiny.yaml"]).output().expect("ran");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("it goes on from run {trunk}")),
        "{said}"
    );
    assert!(
        said.contains("6 finished"),
        "the baselines do not depend on it: {said}"
    );
    assert!(
        said.contains("1 failed, 5 waiting for a failed trunk, 0 left"),
        "{said}"
    );

    let status = desk.done(&["status", "tiny.yaml"]);
    assert!(
        status.contains(&format!("waits for {trunk}: crashed")),
        "{status}"
    );
    assert!(status.contains("5 waiting for a failed run"), "{status}");

    std::fs::remove_file(&in_the_way).expect("removed");
    assert!(desk.done(&["retry", "tiny.yaml"]).contains(trunk));
    desk.done(&["run", "tiny.yaml"]);
    assert!(desk.status().iter().all(|run| run["outcome"] == "finished"));
}

#[test]
fn branches_of_a_diverged_trunk_have_diverged() {
    let text = branched().replace("branches: true", "branches: true, learning_rate: 1e9");
    let desk = Desk::new().with("tiny.yaml", text);
    desk.done(&["run", "tiny.yaml"]);
    let runs = desk.status();
    assert_eq!(runs.len(), 12);
    assert!(
        runs.iter().all(|run| run["outcome"] == "diverged"),
        "{runs:?}"
    );
    let again = desk.command(&["run", "tiny.yaml"]).output().expect("ran");
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(
        said.contains("0 finished, 0 finished before, 12 diverged"),
        "{said}"
    );
}
