//! Stories of runs that fail, stop and are given up, told through the program itself.

use crate::support::{Desk, TINY};
use experiment::folder::CHECKPOINT;
use experiment::lock::Lock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

/// TINY, long enough to be disturbed, and with little patience.
fn long() -> String {
    TINY.replace("8192", "32768")
        + "execution: {stall_limit: 4s, back_off: 0.1s, retries: 20, parallel: 3}\n"
}

impl Desk {
    fn results(&self) -> PathBuf {
        self.path().join("results/tiny")
    }

    /// The processes that train now, with their runs.
    fn training(&self) -> Vec<(String, Pid)> {
        let entries = std::fs::read_dir(self.results().join("runs"));
        let folders = entries.into_iter().flatten().flatten();
        let holders = folders.filter_map(|folder| {
            let holder = Lock::holder(&folder.path()).ok()??;
            let run = folder.file_name().to_string_lossy().into_owned();
            Some((run, Pid::from_raw(holder.pid)))
        });
        holders.collect()
    }

    fn attempts(&self, run: &str) -> Vec<Value> {
        let shown = self.done(&["show", run, "--json"]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        shown["attempts"].as_array().expect("attempts").clone()
    }
}

/// Waits until something is so; a minute is more than enough.
fn wait_until<T>(what: &str, find: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `count` runs train.
fn wait_for(desk: &Desk, count: usize) -> Vec<(String, Pid)> {
    wait_until("runs start", || {
        let training = desk.training();
        (training.len() >= count).then_some(training)
    })
}

fn ended(mut child: Child) -> Option<i32> {
    child.wait().expect("ended").code()
}

#[test]
fn killed_and_stopped_processes_are_tried_again_to_the_same_losses() {
    let whole = Desk::new().with("tiny.yaml", long());
    whole.done(&["run", "tiny.yaml"]);
    let desk = Desk::new().with("tiny.yaml", long());
    let orchestrator = desk.start(&["run", "tiny.yaml"]);
    let training = wait_for(&desk, 3);
    let (killed, stopped) = (&training[0], &training[1]);
    kill(killed.1, Signal::SIGKILL).expect("signalled");
    kill(stopped.1, Signal::SIGSTOP).expect("signalled");
    assert_eq!(ended(orchestrator), Some(0));
    assert_eq!(desk.losses(), whole.losses());
    for (run, expected) in [(killed, "crashed"), (stopped, "stalled")] {
        let attempts = desk.attempts(&run.0);
        assert_eq!(attempts[0]["outcome"], expected, "{attempts:?}");
        assert_eq!(attempts[0]["signal"], 9);
        assert_eq!(attempts.last().expect("some")["outcome"], "finished");
    }
}

#[test]
fn a_killed_orchestrator_leaves_nothing_that_its_successor_does_not_finish() {
    let whole = Desk::new().with("tiny.yaml", long());
    whole.done(&["run", "tiny.yaml"]);
    let desk = Desk::new().with("tiny.yaml", long());
    let mut orchestrator = desk.start(&["run", "tiny.yaml"]);
    let training = wait_for(&desk, 3);
    // One process does not notice that it is an orphan: it has to be made to end.
    kill(training[0].1, Signal::SIGSTOP).expect("signalled");

    // A second one is told who is there.
    let second = desk.command(&["run", "tiny.yaml"]).output().expect("ran");
    let said = String::from_utf8_lossy(&second.stderr).replace("\n  │ ", " ");
    assert_eq!(second.status.code(), Some(1), "{said}");
    let holder = format!("process {} on", orchestrator.id());
    assert!(said.contains(&holder) && said.contains("for "), "{said}");

    orchestrator.kill().expect("killed");
    orchestrator.wait().expect("ended");
    let orphaned = Instant::now();
    wait_until("orphans stop", || {
        (desk.training().len() <= 1).then_some(())
    });
    assert!(orphaned.elapsed() < Duration::from_secs(60));
    desk.done(&["run", "tiny.yaml"]);
    assert_eq!(desk.losses(), whole.losses());
    assert!(desk.training().is_empty());
    for run in desk.status() {
        let id = run["id"].as_str().expect("an id");
        let journal = desk.results().join("runs").join(id).join("events.jsonl");
        let text = std::fs::read_to_string(journal).expect("a journal");
        let mut seqs: Vec<u64> = text
            .lines()
            .filter_map(|line| experiment::event::Line::decode(line).ok())
            .map(|line| line.seq)
            .collect();
        let count = seqs.len();
        seqs.sort_unstable();
        seqs.dedup();
        assert_eq!(seqs.len(), count, "two processes wrote one journal");
    }
}

#[test]
fn a_run_is_cancelled_while_it_trains_and_taken_up_again() {
    let desk = Desk::new().with("tiny.yaml", long());
    let orchestrator = desk.start(&["run", "tiny.yaml"]);
    let training = wait_for(&desk, 3);
    let run = &training[0].0;
    let asked = desk.json(&["cancel", &run[..8], "--json"]);
    assert_eq!(
        (&asked["request"], &asked["runs"][0]),
        (&"cancel".into(), &run.as_str().into())
    );
    assert!(
        asked["asked"]
            .as_str()
            .is_some_and(|who| who.starts_with("process ")),
        "{asked}"
    );
    assert_eq!(ended(orchestrator), Some(1));
    let status = |run: &str| {
        let runs = desk.status();
        let found = runs.into_iter().find(|status| status["id"] == run);
        found.expect("stored")["outcome"].clone()
    };
    assert_eq!(status(run), "cancelled");
    let folder = desk.results().join("runs").join(run);
    assert!(folder.join(CHECKPOINT).exists());
    assert!(desk.refused(&["cancel", run]).contains("has ended already"));
    let again = desk.command(&["run", "tiny.yaml"]).output().expect("ran");
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("0 failed, 1 cancelled, 0 left"), "{said}");
    assert!(said.contains("orchestrator retry tiny.yaml"), "{said}");
    let again = desk.json(&["retry", "tiny.yaml", "--json"]);
    let done = serde_json::json!({"request": "retry", "runs": [run], "asked": null});
    assert_eq!(again, done);
    let said = desk.done(&["retry", "tiny.yaml"]);
    assert_eq!(said, "no run has failed or was cancelled\n");
    desk.done(&["run", "tiny.yaml"]);
    assert_eq!(status(run), "finished");
    assert_eq!(desk.attempts(run).len(), 2);
    assert!(
        desk.refused(&["retry", "tiny.yaml", run])
            .contains("finished")
    );
}

#[test]
fn a_lost_database_is_recreated_from_the_journals() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    desk.done(&["run", "tiny.yaml"]);
    let before = desk.status();
    let measurements = || {
        let database = desk.results();
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(async {
                let store = campaign::store::Store::open(&database).await.expect("open");
                let mut all = Vec::new();
                for run in &before {
                    let id = experiment::run::RunId(run["id"].as_str().expect("an id").into());
                    all.push(store.measurements(&id).await.expect("read"));
                }
                all
            })
    };
    let measured = measurements();
    assert!(measured.iter().all(|rows| rows.len() > 10));
    let said = desk.refused(&["rebuild", "nowhere"]);
    assert!(said.contains("holds no runs"), "{said}");
    assert!(
        desk.done(&["rebuild", "results/tiny"])
            .contains("3 runs recorded")
    );
    assert!(desk.results().join("orchestrator.db.old").exists());
    assert_eq!(measurements(), measured);
    let said = desk.command(&["run", "tiny.yaml"]).output().expect("ran");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("0 finished, 3 finished before"), "{said}");
    assert_eq!(desk.status(), before, "to the last figure");
    // A run of which only the beginning is known goes on.
    for end in ["", ".old"] {
        for more in ["", "-wal", "-shm"] {
            let path = desk.results().join(format!("orchestrator.db{end}{more}"));
            let _ = std::fs::remove_file(path);
        }
    }
    let said = desk.command(&["run", "tiny.yaml"]).output().expect("ran");
    assert_eq!(said.status.code(), Some(0));
    assert_eq!(measurements(), measured, "what has ended is only taken in");
}

#[test]
fn what_is_known_of_a_run_is_shown_and_what_is_not_needed_is_removed() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    desk.done(&["run", "tiny.yaml"]);
    let runs = desk.status();
    let id = runs[0]["id"].as_str().expect("an id");

    let shown = desk.done(&["show", &id[..8]]);
    for part in [
        "attempt 1",
        "finished",
        "lock file",
        "git commit",
        "micro-batch 8",
        "log.1.txt",
    ] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    let shown: Value = serde_json::from_str(&desk.done(&["show", id, "--json"])).expect("JSON");
    assert_eq!(shown["spec"]["recipe"]["batch"], 8);
    assert_eq!(
        shown["attempts"][0]["lock_hash"]
            .as_str()
            .expect("known")
            .len(),
        64
    );
    assert_eq!(
        shown["experiments"],
        serde_json::json!([{"name": "tiny", "wanted": true}])
    );
    assert!(
        desk.refused(&["show", "nothing"])
            .contains("begins with `nothing`")
    );

    let logs = desk.done(&["logs", id]);
    assert!(
        logs.contains("started: process") && logs.contains("held-out loss"),
        "{logs}"
    );
    assert!(logs.trim_end().ends_with("finished"), "{logs}");
    assert_eq!(desk.done(&["logs", id, "--follow"]), logs, "it has ended");
    let watched = desk.done(&["status", "tiny.yaml", "--watch"]);
    assert!(watched.contains("3 finished"), "{watched}");

    let folder = desk.results().join("runs").join(id);
    for name in [CHECKPOINT, "checkpoint.unusable", "weights.safetensors.tmp"] {
        std::fs::write(folder.join(name), "left over").expect("written");
    }
    let listed = desk.done(&["prune", "tiny.yaml"]);
    assert!(listed.contains("3 to remove, 27B"), "{listed}");
    for place in ["tiny", "results/tiny"] {
        assert_eq!(desk.done(&["prune", place]), listed);
    }
    assert!(
        folder.join(CHECKPOINT).exists(),
        "nothing is removed unasked"
    );
    desk.done(&["prune", "tiny.yaml", "--yes"]);
    assert!(!folder.join(CHECKPOINT).exists());
    assert!(folder.join("weights.safetensors").exists());
    desk.done(&[
        "prune",
        "tiny.yaml",
        "--yes",
        "--set",
        "execution.keep_weights=false",
    ]);
    assert!(!folder.join("weights.safetensors").exists());
    let less = ["--set", "grid.concept_share=0.5"];
    desk.done(&[&["run", "tiny.yaml"], &less[..]].concat());
    let removed = desk.done(&[&["prune", "tiny.yaml", "--removed", "--yes"], &less[..]].concat());
    assert!(removed.contains("1 removed"), "{removed}");
    assert!(!folder.exists(), "its numbers are in the database");
    let status = desk.done(&["status", "tiny.yaml", "--all"]);
    assert!(status.contains(id), "{status}");
    // Without weights nothing is trained again.
    let again = desk.command(&["run", "tiny.yaml"]).output().expect("ran");
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("0 finished, 3 finished before"), "{said}");
}

#[test]
fn caps_and_priorities_are_kept() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    let plan = desk.done(&["plan", "tiny.yaml", "--no-time", "--json"]);
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let last = plan["runs"][2]["id"].as_str().expect("an id");
    let run = |args: &[&str]| {
        let output = desk
            .command(&[&["run", "tiny.yaml"], args].concat())
            .output()
            .expect("ran");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = run(&["--max-runs", "1", "--first", &last[..6]]);
    assert!(
        said.contains("1 finished") && said.contains("2 left"),
        "{said}"
    );
    let finished: Vec<Value> = desk
        .status()
        .into_iter()
        .filter(|run| run["outcome"] == "finished")
        .collect();
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0]["id"], last);
    assert!(said.contains("`--max-runs` allows"), "{said}");
    for (limit, named) in [
        ("execution.max_time=0", "`execution.max_time` has passed"),
        (
            "execution.max_flops=1e6",
            "`execution.max_flops` (1e6): raise it",
        ),
    ] {
        let said = run(&["--set", limit]);
        for part in ["0 finished", "2 left", named] {
            assert!(said.contains(part), "{part} is missing in\n{said}");
        }
    }
    let said = desk.refused(&["run", "tiny.yaml", "--first", "xyz"]);
    assert!(said.contains("`xyz`"), "{said}");
    let said = desk.refused(&["run", "tiny.yaml", "--set", "execution.stall_limit=soon"]);
    assert!(said.contains("10min"), "{said}");
}

#[test]
fn of_a_large_experiment_only_what_is_remarkable_is_shown() {
    let seeds: Vec<String> = (0..1100).map(|seed| seed.to_string()).collect();
    let grid = TINY.replace(
        "compression_ratio: 4",
        &format!("compression_ratio: 4, seed: [{}]", seeds.join(", ")),
    );
    let desk = Desk::new().with("tiny.yaml", grid);
    let run = desk
        .command(&["run", "tiny.yaml", "--max-runs", "1"])
        .output();
    assert_eq!(run.expect("ran").status.code(), Some(1), "runs are left");
    let id = desk.status()[1]["id"].as_str().expect("an id").to_owned();
    desk.done(&["cancel", &id]);
    let brief = desk.done(&["status", "tiny.yaml"]);
    let lines: Vec<&str> = brief.lines().collect();
    assert_eq!(lines.len(), 5, "{brief}");
    assert!(
        lines[1].starts_with(&id) && lines[1].ends_with("cancelled"),
        "{brief}"
    );
    assert_eq!(lines[4], "1 cancelled, 1 finished, 3298 pending");
    let all = desk.done(&["status", "tiny.yaml", "--all"]);
    let best = all.lines().last().expect("a line");
    assert!(best.starts_with("lowest loss at D ="), "{best}");
    assert_eq!(all.lines().count(), 1 + 3300 + 3);
}

#[test]
fn what_a_program_reads_is_json() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    let said = desk.done(&["run", "tiny.yaml", "--json"]);
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let [came, fit] = &lines[..] else {
        panic!("two lines: {said}")
    };
    let runs = desk.status();
    assert_eq!(came["finished"], runs.len());
    assert_eq!(came["left"], 0);
    assert_eq!(fit["runs"].as_array().map(Vec::len), Some(runs.len()));

    let listed = desk.json(&["plot", "tiny.yaml", "--list", "--json"]);
    let something = listed.as_array().expect("figures").iter();
    let something = something
        .filter(|figure| figure["nothing"].is_null())
        .count();
    let drawn = desk.json(&["plot", "tiny.yaml", "--format", "svg", "--json"]);
    assert_eq!(drawn["files"].as_array().map(Vec::len), Some(something));

    let id = runs[0]["id"].as_str().expect("an id");
    let logged = desk.done(&["logs", id, "--json"]);
    let journal = desk.journal(&runs[0]);
    assert_eq!(
        logged.as_bytes(),
        journal,
        "the journal's lines as they are"
    );

    let rebuilt = desk.json(&["rebuild", "results/tiny", "--json"]);
    assert_eq!(rebuilt["runs"], runs.len());
    assert_eq!(rebuilt["left_out"], Value::Array(Vec::new()));
}

#[test]
fn what_runs_take_is_measured_once_and_kept() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    let plan = |more: &[&str]| {
        let args = [&["plan", "tiny.yaml", "--json"], more].concat();
        let output = desk.command(&args).output().expect("ran");
        assert!(output.status.success(), "{output:?}");
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (json["runs"].as_array().expect("runs").clone(), said)
    };
    let (rough, said) = plan(&["--no-time"]);
    assert!(said.is_empty(), "{said}");
    assert!(rough.iter().all(|run| run["seconds"].is_null()));

    let (measured, said) = plan(&[]);
    assert!(said.contains("3 models"), "{said}");
    for (run, rough) in measured.iter().zip(&rough) {
        assert!(run["seconds"].as_f64().expect("seconds") > 0.0);
        let memory = |run: &Value| run["memory_bytes"].as_f64().expect("bytes");
        assert!(memory(run) > 1e7 && memory(run) != memory(rough), "{run}");
    }
    let (again, said) = plan(&[]);
    assert!(said.is_empty(), "{said}");
    assert_eq!(again, measured);
    let (again, said) = plan(&["--measure-again"]);
    assert!(said.contains("3 models"), "{said}");
    assert_eq!(again.len(), measured.len());
}

#[test]
fn a_measuring_process_refuses_what_it_does_not_know() {
    let desk = Desk::new();
    let args = ["measure", "--data-cache", "cache", "--started", "0"];
    for input in ["", "{}\n"] {
        let output = desk.command(&args).write_stdin(input).output();
        let output = output.expect("ran");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("specification"), "{said}");
    }
}
