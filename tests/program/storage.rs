//! What is on disk when a command has ended, whoever else works there, and what can be read of it.

use crate::fitting::desk::{SIZES, TOKENS, chinchilla};
use crate::serve::server::Serving;
use crate::support::{Desk, TINY};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs of which the laws of both kinds can be fitted, in two seconds.
const WIDE: &str = "
name: tiny
grid: {params: [50000, 80000], tokens: [4096, 8192], concept_share: [0.3, 0.5], compression_ratio: [2, 4]}
model: {seq_len: 64, token_window: 8}
data: {synthetic: {language: cycles, document_tokens: 64, document_words: 6}}
training: {batch: 8, validations: 1, validation_tokens: 512}
";

/// Runs of other people, 600 of them.
fn imported() -> Desk {
    let sizes: Vec<f64> = (0..30).map(|k| 1e7 * 1.25_f64.powi(k)).collect();
    let tokens: Vec<f64> = (0..20).map(|k| 1e9 * 1.4_f64.powi(k)).collect();
    let desk = Desk::new().with("theirs.csv", chinchilla(&sizes, &tokens));
    desk.done(&["import", "theirs.csv", "--experiment", "tiny"]);
    desk
}

#[test]
fn the_database_alone_holds_everything_after_a_command() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    let results = desk.path().join("results/tiny");
    std::fs::create_dir_all(&results).expect("made");
    // Who watches has it open, too.
    let server = Serving::start(desk.path(), &[]);
    desk.command(&["run", "tiny.yaml", "--max-runs", "1"])
        .output()
        .expect("ran");
    assert_eq!(server.get("/api/experiments/tiny/tiny").status, 200);
    desk.done(&["run", "tiny.yaml"]);
    std::fs::create_dir(desk.path().join("copy")).expect("made");
    let copy = |name: &str| {
        let to = desk.path().join("copy").join(name);
        std::fs::copy(results.join(name), to).expect("copied");
    };
    copy("orchestrator.db");
    let there = desk.json(&["status", "results/tiny", "--json"]);
    assert_eq!(desk.json(&["status", "copy", "--json"]), there);
    assert_eq!(there["runs"].as_array().map(Vec::len), Some(3));
    drop(server);

    desk.done(&["status", "tiny.yaml"]);
    desk.done(&["fit", "tiny.yaml"]);
    let names = std::fs::read_dir(&results).expect("read").flatten();
    let names: Vec<String> = names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("orchestrator.db"))
        .collect();
    assert_eq!(names, ["orchestrator.db"]);

    let export = ["export", "tiny.yaml", "--database", "taken/copy.db"];
    std::fs::create_dir(desk.path().join("taken")).expect("made");
    assert_eq!(desk.done(&export), "taken/copy.db\n");
    let said = desk.refused(&export);
    assert!(said.contains("--force"), "{said}");
    desk.done(&[&export[..], &["--force"]].concat());
    let taken = desk.path().join("taken/copy.db");
    std::fs::rename(taken, desk.path().join("taken/orchestrator.db")).expect("renamed");
    assert_eq!(desk.json(&["status", "taken", "--json"]), there);
}

#[test]
fn experiments_that_share_a_folder_and_tables_of_one_name_write_over_nothing() {
    let table = |factor: f64| chinchilla(&SIZES.map(|n| n * factor), &TOKENS);
    let desk = Desk::new()
        .with("a.csv", table(1.0))
        .with("b.csv", table(3.0));
    for name in ["a", "b"] {
        let file = format!("{name}.csv");
        let shared = ["--results", "shared"];
        desk.done(&[&["import", &file, "--experiment", name], &shared[..]].concat());
        let fit = ["fit", name, "--bootstrap", "0"];
        desk.done(&[&fit[..], &shared[..]].concat());
        desk.done(&[&["report", name], &shared[..]].concat());
    }
    let read = |path: &str| std::fs::read_to_string(desk.path().join(path)).expect(path);
    let (first, second) = (
        read("shared/fits.csv"),
        read("shared/experiments/b/fits.csv"),
    );
    assert_ne!(first, second);
    for path in ["shared/report.html", "shared/experiments/b/report.html"] {
        assert!(!read(path).is_empty());
    }

    for (folder, name) in [("one", "a.csv"), ("two", "b.csv")] {
        let folder = desk.path().join(folder);
        std::fs::create_dir(&folder).expect("made");
        std::fs::copy(desk.path().join(name), folder.join("runs.csv")).expect("copied");
    }
    for table in ["one/runs.csv", "two/runs.csv", "one/runs.csv"] {
        desk.done(&["fit", "--csv", table, "--bootstrap", "0"]);
    }
    let lines = |path: &str| read(path).lines().count();
    let (one, two) = (
        lines("results/runs/fits.csv"),
        lines("results/runs/experiments/runs~2/fits.csv"),
    );
    assert_eq!(one - 1, 2 * (two - 1), "two fits and one");
}

#[test]
fn a_rebuild_that_fails_leaves_the_database_that_was_there() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    desk.done(&["run", "tiny.yaml"]);
    let before = desk.status();
    let id = before[0]["id"].as_str().expect("an id");
    let journal = desk
        .path()
        .join("results/tiny/runs")
        .join(id)
        .join("events.jsonl");
    let aside = journal.with_extension("aside");
    std::fs::rename(&journal, &aside).expect("renamed");
    // It is there and cannot be read.
    std::fs::create_dir(&journal).expect("made");
    let rebuilt = desk
        .command(&["rebuild", "results/tiny"])
        .output()
        .expect("ran");
    assert_eq!(rebuilt.status.code(), Some(1));
    assert_eq!(desk.status(), before);
    std::fs::remove_dir(&journal).expect("removed");
    std::fs::rename(&aside, &journal).expect("renamed");
    desk.done(&["rebuild", "results/tiny"]);
    let names = std::fs::read_dir(desk.path().join("results/tiny")).expect("read");
    let mut names: Vec<String> = names
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("orchestrator") || name.contains("rebuild"))
        .collect();
    names.sort();
    assert_eq!(names, ["orchestrator.db", "orchestrator.db.old"]);
}

fn interrupt(pid: u32) {
    kill(Pid::from_raw(pid as i32), Signal::SIGINT).expect("signalled");
}

#[test]
fn ctrl_c_during_a_fit_gives_it_up() {
    // More resamples than anybody waits for.
    let file = format!("{WIDE}analysis: {{bootstrap: 100000}}\n");
    let desk = Desk::new().with("tiny.yaml", file);
    let mut child = Command::new(assert_cmd::cargo::cargo_bin("orchestrator"))
        .args(["run", "tiny.yaml"])
        .current_dir(desk.path())
        .env("ORCHESTRATOR_CACHE", desk.path().join("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut said = BufReader::new(child.stderr.take().expect("its words"));
    let mut line = String::new();
    while !line.contains("0 left") {
        line.clear();
        assert!(said.read_line(&mut line).expect("words") > 0, "it ended");
    }
    // The fit begins.
    std::thread::sleep(Duration::from_millis(500));
    interrupt(child.id());
    assert_eq!(child.wait().expect("ended").code(), Some(1));
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("words");
    assert!(rest.contains("`orchestrator fit tiny.yaml`"), "{rest}");
    assert!(!desk.path().join("results/tiny/fits.csv").exists());
}

/// Asks a server for a fit; whoever drops the connection does not wait for it.
fn ask(server: &Serving, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
    write!(
        stream,
        "POST /api/experiments/tiny/tiny/fit HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        server.port,
        body.len()
    )
    .expect("sent");
    stream
}

/// Asks a server for a fit and does not wait for it.
fn abandon(server: &Serving, body: &str) {
    let _stream = ask(server, body);
    std::thread::sleep(Duration::from_millis(30));
}

#[test]
fn fits_that_nobody_waits_for_end_and_so_does_the_server() {
    let desk = imported();
    let mut server = Serving::start(desk.path(), &[]);
    let threads = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.child.id()));
        tasks.expect("it runs").count()
    };
    let quick = r#"{"law": "all", "draws": 0}"#;
    let answer = server.post("/api/experiments/tiny/tiny/fit", quick, "");
    assert_eq!(answer.status, 200);
    let before = threads();
    let long = r#"{"law": "all", "draws": 2000}"#;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut most = 0;
    for _ in 0..40 {
        abandon(&server, long);
        most = most.max(threads());
    }
    // One fit has a thread for itself and those that it computes on.
    assert!(
        most <= before + 2 * cores + 4,
        "{most} threads, {before} before"
    );
    let answer = server.post("/api/experiments/tiny/tiny/fit", quick, "");
    assert_eq!(answer.status, 200, "its turn comes");
    // One that is waited for ends with the server.
    let _stream = ask(&server, long);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(server.interrupt(), Some(0));
}

#[test]
fn pages_that_follow_are_bounded() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path().join("results")).expect("made");
    let server = Serving::start(desk.path(), &[]);
    let host = format!("Host: 127.0.0.1:{}\r\n", server.port);
    let follow = || {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
        write!(stream, "GET /api/events HTTP/1.1\r\n{host}\r\n").expect("sent");
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("an answer");
        (stream, String::from_utf8_lossy(&head).into_owned())
    };
    let followers: Vec<_> = (0..64).map(|_| follow()).collect();
    assert!(followers.iter().all(|(_, head)| head.ends_with("200")));
    let refused = server.get("/api/events");
    assert_eq!(refused.status, 503);
    assert!(refused.error().contains("too many pages"));
    drop(followers);
    let began = Instant::now();
    while follow().1.ends_with("503") {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "places are not freed"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
