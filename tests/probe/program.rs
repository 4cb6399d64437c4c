//! The program itself, given mutants of files and arguments.

use super::kinds::{Answer, Kind, acts_on_terminal};
use super::mutant::{EXTREMES, Mutant};
use super::seeds::{RUN, csv_tables, experiments, specifications};
use experiment::folder::SPECIFICATION;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// The time after which a command hangs, with that of its worker on top.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const CHECK: Kind = Kind {
    name: "orchestrator check",
    ending: ".yaml",
    is_text: true,
    seeds: experiments,
    mutate: None,
    judge: check,
    once: true,
    patience: PATIENCE,
    few: 10,
};

pub(super) const TRAIN: Kind = Kind {
    name: "orchestrator train",
    ending: ".json",
    is_text: true,
    seeds: specifications,
    mutate: None,
    judge: train,
    once: true,
    patience: PATIENCE,
    few: 10,
};

pub(super) const ARGUMENTS: Kind = Kind {
    name: "arguments",
    ending: ".txt",
    is_text: true,
    seeds: commands,
    mutate: Some(argument),
    judge: run,
    once: true,
    patience: PATIENCE,
    few: 10,
};

/// Runs a command; after `most` it is asked to stop.
fn output(folder: &Path, arguments: &[&str], most: Duration) -> Result<Output, String> {
    let child = Command::new(assert_cmd::cargo::cargo_bin("orchestrator"))
        .args(arguments)
        .current_dir(folder)
        .env("ORCHESTRATOR_CACHE", folder.join("cache"))
        .env("NO_COLOR", "1")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    let (ended, waiting) = mpsc::channel::<()>();
    let watcher = std::thread::spawn(move || {
        if waiting.recv_timeout(most) == Err(RecvTimeoutError::Timeout) {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
    });
    // Read as it is written: whoever fills a pipe waits.
    let output = child.wait_with_output();
    drop(ended);
    watcher
        .join()
        .map_err(|_| "the watcher panicked".to_owned())?;
    output.map_err(|error| error.to_string())
}

/// Judges how a command ended, and what it said.
fn judged(output: Result<Output, String>) -> Answer {
    let output = match output {
        Ok(output) => output,
        Err(why) => return Answer::Wrong(why),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let status = output.status;
    match status.code() {
        _ if said.contains("panicked") => Answer::Wrong(said),
        _ if acts_on_terminal(&said) => Answer::Wrong(format!("a terminal acts on {said:?}")),
        Some(0) => Answer::Accepted(String::from_utf8_lossy(&output.stdout).into_owned()),
        Some(1..=4) if !said.trim().is_empty() => Answer::Refused(said),
        // Stopped, as it was asked to.
        Some(3 | 4) => Answer::Accepted("stopped".into()),
        _ => Answer::Wrong(format!("{status}: {said}")),
    }
}

fn check(folder: &Path, bytes: &[u8]) -> Answer {
    std::fs::write(folder.join("probe.yaml"), bytes).expect("written");
    judged(output(folder, &["check", "probe.yaml"], PATIENCE))
}

fn train(folder: &Path, bytes: &[u8]) -> Answer {
    let run = folder.join(RUN);
    std::fs::create_dir_all(&run).expect("a folder");
    std::fs::write(run.join(SPECIFICATION), bytes).expect("written");
    // What trains for longer is well.
    let most = Duration::from_secs(3);
    judged(output(
        folder,
        &["train", "--folder", RUN, "--data-cache", "cache"],
        most,
    ))
}

/// Commands whose last argument is a number.
const COMMANDS: &[&str] = &[
    "fit --csv runs.csv --law chinchilla --bootstrap",
    "fit --csv runs.csv --law chinchilla --bootstrap 4 --delta",
    "fit --csv runs.csv --law chinchilla --bootstrap 4 --seed",
    "allocate --csv runs.csv --law chinchilla --bootstrap 4 --flops",
    "predict --csv runs.csv --law chinchilla --bootstrap 4 --at tokens=1e9,params",
    "suggest --csv runs.csv --law chinchilla --bootstrap 20 --flops 1e22 -k",
    "suggest --csv runs.csv --law chinchilla --bootstrap 20 --flops",
    "suggest --csv runs.csv --law chinchilla --bootstrap 20 --flops 1e22 --most-flops",
    "isoflop --csv runs.csv --per-decade",
    "isoflop --csv runs.csv --tolerance",
    "compare --csv runs.csv --law chinchilla --law kaplan --delta",
    "bench tiny --model dlcm --steps 1 --warmup 0 --batch 1 --compression-ratio",
    "bench tiny --model dlcm --steps 1 --warmup 0 --batch 1 --threads",
    "bench tiny --model dlcm --steps 1 --warmup 0 --batch",
    "coordinates --steps 1 --widths",
    "coordinates --steps 1 --widths 32 --learning-rate",
    "plan base.yaml --no-time --set execution.parallel",
    "plan base.yaml --no-time --set grid.params",
    "plan base.yaml --no-time --set grid.tokens",
    "status base.yaml --set name",
    "run base.yaml --max-runs 0 --set execution.threads",
];

fn commands() -> Vec<Vec<u8>> {
    COMMANDS
        .iter()
        .map(|command| command.as_bytes().to_vec())
        .collect()
}

fn argument(rng: &mut ChaCha8Rng) -> Mutant {
    let command = COMMANDS.choose(rng).expect("a command");
    let value = EXTREMES.choose(rng).expect("a value");
    let last = command.rsplit(' ').next().unwrap_or_default();
    // A key and its value are one argument.
    let joined = if last.starts_with('-') { '\n' } else { '=' };
    Mutant {
        bytes: format!("{}{joined}{value}", command.replace(' ', "\n")).into_bytes(),
        class: "value replaced",
        edit: None,
    }
}

fn run(folder: &Path, bytes: &[u8]) -> Answer {
    std::fs::write(folder.join("runs.csv"), &csv_tables()[0]).expect("written");
    std::fs::write(folder.join("base.yaml"), &experiments()[3]).expect("written");
    let text = String::from_utf8_lossy(bytes);
    let arguments: Vec<&str> = text.split('\n').collect();
    judged(output(folder, &arguments, PATIENCE))
}
