//! Another trainer's grid under kills at random: of the trainer, of what watches over it, of the orchestrator.

use super::desk::Desk;
use super::machine::{self, Process};
use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Sixty runs of a third of a second, whose losses follow the law of `experiments/trainers/law.py`.
const GRID: &str = "
name: grid
trainer:
  command: [python3, law.py, \"{args}\", --seconds=0.3]
  code: [law.py, orchestrator_report.py]
grid:
  params: [10M, 20M, 50M, 100M, 200M, 500M]
  tokens: [200M, 500M, 1B, 2B, 5B]
  seed: [0, 1]
analysis: {bootstrap: 200, flops_convention: 6N}
execution: {parallel: 2, retries: 100, back_off: 0.05s}
";

/// Whom a kill meets, by a part of its command.
const TARGETS: [(&str, &str); 3] = [
    ("trainer", "law.py"),
    ("watcher", "train --folder"),
    ("orchestrator", "run grid.yaml"),
];

fn desk() -> Desk {
    let desk = Desk::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/trainers");
    for name in ["law.py", "orchestrator_report.py"] {
        std::fs::copy(examples.join(name), desk.path().join(name)).expect("shipped");
    }
    std::fs::write(desk.path().join("grid.yaml"), GRID).expect("written");
    desk
}

/// What is asked of the program in a desk's folder, as JSON.
fn asked(desk: &Desk, arguments: &[&str]) -> Value {
    let output = std::process::Command::new(assert_cmd::cargo::cargo_bin("orchestrator"))
        .args(arguments)
        .current_dir(desk.path())
        .env("ORCHESTRATOR_CACHE", desk.path().join("cache"))
        .output()
        .expect("ran");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Losses by run.
fn losses(desk: &Desk) -> BTreeMap<String, Value> {
    let status = asked(desk, &["status", "grid.yaml", "--json"]);
    let runs = status["runs"].as_array().expect("runs").iter();
    runs.map(|run| {
        let id = run["id"].as_str().expect("an id").to_owned();
        assert_eq!(run["outcome"], "finished", "{run}");
        (id, run["loss"].clone())
    })
    .collect()
}

/// Kills so many at random moments, then lets the grid end; returns how many of each kind were killed.
fn disturb(desk: &Desk, kills: usize, seed: u64) -> [usize; 3] {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut killed = [0; 3];
    let mut running = desk.start(&["run", "grid.yaml"]);
    for _ in 0..kills * 20 {
        if killed.iter().sum::<usize>() == kills {
            break;
        }
        std::thread::sleep(Duration::from_secs_f64(rng.random_range(0.02..0.25)));
        if !running.is_running() {
            running = desk.start(&["run", "grid.yaml"]);
            continue;
        }
        let kind = rng.random_range(0..TARGETS.len());
        let mut there: Vec<Process> = machine::processes_in(desk.path());
        there.retain(|process| process.arguments.contains(TARGETS[kind].1));
        if !there.is_empty() {
            let met = rng.random_range(0..there.len());
            machine::signal(there[met].pid, Signal::SIGKILL);
            killed[kind] += 1;
        }
    }
    running.wait(Duration::from_secs(120));
    desk.finish().expect("done in the end");
    killed
}

fn survives(kills: usize, seed: u64) {
    let python = std::process::Command::new("python3")
        .arg("--version")
        .output();
    if !python.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: there is no python3 for the trainer");
        return;
    }
    let undisturbed = desk();
    undisturbed.finish().expect("nothing is in the way");
    let right = losses(&undisturbed);
    assert_eq!(right.len(), 60);
    let desk = desk();
    let killed = disturb(&desk, kills, seed);
    assert_eq!(losses(&desk), right, "{killed:?} killed");
    assert_eq!(desk.orphans(), []);
    for (kind, killed) in TARGETS.iter().zip(killed) {
        println!("{killed} of the {} killed", kind.0);
    }
    // The stated law is found again.
    let law = [
        "fit",
        "grid.yaml",
        "--law",
        "chinchilla",
        "--whole",
        "--json",
    ];
    let fit = asked(&desk, &law);
    for (name, truth) in [
        ("E", 1.69),
        ("A", 406.4),
        ("B", 410.7),
        ("alpha", 0.34),
        ("beta", 0.28),
    ] {
        let interval = &fit["intervals"][name];
        let [low, high] = [0, 1].map(|at| interval[at].as_f64().expect("a bound"));
        println!(
            "{name} = {truth}: {} [{low:.4}, {high:.4}]",
            fit["parameters"][name]
        );
        assert!(low <= truth && truth <= high, "{name}: {interval}");
    }
    // Run again it trains nothing.
    let before = journals(&desk);
    desk.finish().expect("done");
    assert_eq!(journals(&desk), before);
}

/// The length of every run's journal.
fn journals(desk: &Desk) -> Vec<u64> {
    let runs = desk.runs().into_iter();
    runs.map(|run| {
        run.join("events.jsonl")
            .metadata()
            .expect("a journal")
            .len()
    })
    .collect()
}

#[test]
fn another_trainers_grid_survives_kills() {
    survives(25, 1);
}

#[test]
#[ignore = "takes minutes: `just faults`"]
fn another_trainers_grid_survives_many_kills() {
    for seed in 2..7 {
        survives(60, seed);
    }
}
