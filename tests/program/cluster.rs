//! Workers on one results folder: the same runs as on one machine, whoever dies.

use crate::support::{Desk, TINY};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::process::Child;
use std::time::{Duration, Instant};

/// A desk with more runs than workers, and a profile of workers that are started by hand.
fn desk() -> Desk {
    let grid = TINY.replace("[0.3, 0.5]", "[0.3, 0.5], seed: [0, 1]");
    let execution = "execution: {stall_limit: 2s, checkpoint_every: 0.05}\n";
    Desk::new()
        .with("tiny.yaml", format!("{grid}{execution}"))
        .with("clusters.yaml", "hand: {by_hand: {patience: 1}}\n")
}

fn worker(desk: &Desk) -> Child {
    desk.start(&["worker", "results/tiny", "--device", "cpu", "--idle", "3"])
}

/// Losses by run, of the results in a folder.
fn losses(desk: &Desk, results: &str) -> Vec<(Value, Value)> {
    let status = desk.json(&["status", "tiny.yaml", "--results", results, "--json"]);
    let runs = status["runs"].as_array().expect("runs").iter();
    runs.map(|run| {
        assert_eq!(run["outcome"], "finished", "{run}");
        assert_eq!(run["retries"], 0, "a worker that ends spends none: {run}");
        (run["id"].clone(), run["loss"].clone())
    })
    .collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn files(desk: &Desk, folder: &str) -> usize {
    let folder = desk.path().join("results/tiny/cluster").join(folder);
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).expect("there");
}

#[test]
fn workers_train_what_one_machine_would() {
    let desk = desk();
    desk.done(&["run", "tiny.yaml", "--quiet", "--results", "alone"]);
    let right = losses(&desk, "alone");
    let mut leader = desk.start(&["run", "tiny.yaml", "--on", "hand"]);
    wait_until("nothing is offered", || files(&desk, "offers") > 0);
    let workers = [worker(&desk), worker(&desk)];
    let status = leader.wait().expect("ended");
    assert!(status.success(), "{status}");
    assert_eq!(losses(&desk, "results/tiny"), right);
    for mut worker in workers {
        assert!(worker.wait().expect("ended").success());
    }
    assert_eq!(
        ["offers", "claims", "exits", "stops", "workers"].map(|f| files(&desk, f)),
        [0; 5]
    );
    // Nothing is left to offer.
    desk.done(&["run", "tiny.yaml", "--quiet", "--on", "hand"]);
}

#[test]
fn runs_go_on_without_their_leader_and_without_their_worker() {
    let desk = desk();
    desk.done(&["run", "tiny.yaml", "--quiet", "--results", "alone"]);
    let mut leader = desk.start(&["run", "tiny.yaml", "--on", "hand"]);
    wait_until("nothing is offered", || files(&desk, "offers") > 2);
    let mut first = worker(&desk);
    wait_until("nothing is claimed", || files(&desk, "claims") > 0);
    signal(&leader, Signal::SIGKILL);
    leader.wait().expect("ended");
    let mut second = worker(&desk);
    wait_until("no run goes on", || files(&desk, "exits") > 0);
    // The worker dies with its claim; what it trained ends with it, and another takes the run.
    signal(&first, Signal::SIGKILL);
    first.wait().expect("ended");
    let mut leader = desk.start(&["run", "tiny.yaml", "--on", "hand"]);
    let mut third = worker(&desk);
    let mut workers = vec![];
    wait_until("the leader does not end", || {
        // As a batch system would bring up others.
        if workers.len() < 3 && files(&desk, "workers") == 0 {
            workers.push(worker(&desk));
        }
        leader.try_wait().expect("watched").is_some()
    });
    assert_eq!(losses(&desk, "results/tiny"), losses(&desk, "alone"));
    for worker in workers.iter_mut().chain([&mut second, &mut third]) {
        worker.wait().expect("ended");
    }
}

#[test]
fn ctrl_c_leaves_the_workers_at_work() {
    let desk = desk();
    let mut leader = desk.start(&["run", "tiny.yaml", "--on", "hand"]);
    wait_until("nothing is offered", || files(&desk, "offers") > 2);
    let mut worker = worker(&desk);
    wait_until("nothing is claimed", || files(&desk, "claims") > 0);
    signal(&leader, Signal::SIGINT);
    assert_eq!(leader.wait().expect("ended").code(), Some(1));
    let said = desk.refused(&["run", "tiny.yaml"]);
    assert!(said.contains("workers have this folder"), "{said}");
    wait_until("the worker does not go on", || files(&desk, "offers") == 0);
    worker.wait().expect("ended");
    // Nobody is left: what was done is taken in.
    desk.done(&["run", "tiny.yaml", "--quiet", "--on", "hand"]);
    let losses = losses(&desk, "results/tiny");
    assert!(!losses.is_empty());
    // And now this machine may go on alone.
    desk.done(&["run", "tiny.yaml", "--quiet"]);
}

#[test]
fn a_run_that_is_cancelled_while_it_is_offered_is_not_trained() {
    let desk = desk();
    let mut leader = desk.start(&["run", "tiny.yaml", "--on", "hand"]);
    wait_until("nothing is offered", || files(&desk, "offers") > 2);
    let offers = std::fs::read_dir(desk.path().join("results/tiny/cluster/offers")).expect("there");
    let offer = offers.flatten().map(|offer| offer.file_name());
    let offer = offer.max().expect("an offer");
    let offer = offer.to_str().expect("plain");
    let (_, run) = offer.split_once('-').expect("a run's");
    desk.done(&["cancel", run, "--results", "results/tiny"]);
    // Others may still be offered meanwhile: their number says nothing.
    let offered = desk.path().join("results/tiny/cluster/offers").join(offer);
    wait_until("it stays offered", || !offered.exists());
    worker(&desk).wait().expect("ended");
    assert_eq!(leader.wait().expect("ended").code(), Some(1));
    let status = desk.json(&["status", "tiny.yaml", "--json"]);
    for stored in status["runs"].as_array().expect("runs") {
        let is_it = stored["id"] == run;
        let outcome = if is_it { "cancelled" } else { "finished" };
        assert_eq!(stored["outcome"], outcome, "{stored}");
    }
}

#[test]
fn a_run_that_is_cancelled_is_not_trained_by_who_comes_after_its_leader() {
    let desk = desk();
    let mut leader = desk.start(&["run", "tiny.yaml", "--on", "hand"]);
    wait_until("nothing is offered", || files(&desk, "offers") > 2);
    let mut first = worker(&desk);
    let running = || {
        let status = desk.json(&["status", "tiny.yaml", "--json"]);
        let runs = status["runs"].as_array().expect("runs").clone();
        let mut running = runs.into_iter().filter(|run| run["state"] == "running");
        running
            .next()
            .map(|run| run["id"].as_str().expect("an id").to_owned())
    };
    let mut run = None;
    wait_until("none is trained", || {
        run = running();
        run.is_some()
    });
    let run = run.expect("one");
    // Its worker dies, and the leader leaves as soon as it has answered.
    signal(&first, Signal::SIGKILL);
    first.wait().expect("ended");
    desk.done(&["cancel", &run, "--results", "results/tiny"]);
    let outcome = || {
        let status = desk.json(&["status", "tiny.yaml", "--json"]);
        let runs = status["runs"].as_array().expect("runs").clone();
        let run = runs.into_iter().find(|stored| stored["id"] == *run);
        run.expect("planned")["outcome"].clone()
    };
    wait_until("it is not cancelled", || outcome() == "cancelled");
    signal(&leader, Signal::SIGINT);
    leader.wait().expect("ended");
    let mut leader = desk.start(&["run", "tiny.yaml", "--on", "hand"]);
    let mut second = worker(&desk);
    assert_eq!(leader.wait().expect("ended").code(), Some(1));
    second.wait().expect("ended");
    assert_eq!(outcome(), "cancelled");
}

#[test]
fn a_profile_that_is_not_there_is_named() {
    let desk = desk();
    let said = desk.refused(&["run", "tiny.yaml", "--on", "jean"]);
    assert!(said.contains("no profile `jean`: it has hand"), "{said}");
    let desk = desk.with("clusters.yaml", "hand: {slurm: {worker: 2}}");
    let said = desk.refused(&["run", "tiny.yaml", "--on", "hand"]);
    assert!(
        said.contains("unknown field `worker`") && said.contains("line 1"),
        "{said}"
    );
    let said = desk.refused(&["worker", "results/nothing"]);
    assert!(said.contains("nothing is offered here"), "{said}");
    let said = desk.refused(&["worker", "results/nothing", "--device", "gpu9"]);
    assert!(said.contains("`gpu9` is no device"), "{said}");
    desk.refused(&["worker", "results/nothing", "--per-device", "0"]);
}
