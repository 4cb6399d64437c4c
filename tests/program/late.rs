//! Workers on a filesystem that shows late what other machines do, for which `late.c` stands in.

use crate::support::{Desk, TINY};
use experiment::run_claim::RunClaim;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// A filesystem that several machines share.
struct Late {
    /// Holds the library, its marks, and below `results` what is shared.
    folder: PathBuf,
    /// How late others see what a machine does.
    seconds: f64,
}

impl Late {
    /// Builds it in a folder, or loudly nothing.
    fn new(folder: &Path, seconds: f64) -> Option<Self> {
        if !cfg!(all(
            target_os = "linux",
            target_env = "gnu",
            target_pointer_width = "64"
        )) {
            eprintln!(
                "SKIPPED: late.c knows 64-bit Linux with glibc alone, so no file was seen late"
            );
            return None;
        }
        // As the system names it, without symbolic links.
        let folder = folder.canonicalize().expect("there");
        let late = Self { folder, seconds };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/late.c");
        std::fs::create_dir(late.folder.join("marks")).expect("made");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
        compiler.arg(late.library()).arg(source).arg("-ldl");
        match compiler.output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("SKIPPED: there is no `cc`, so no file was seen late");
                None
            }
            built => {
                let built = built.expect("ran");
                let said = String::from_utf8_lossy(&built.stderr);
                assert!(built.status.success(), "{said}");
                Some(late)
            }
        }
    }

    fn library(&self) -> PathBuf {
        self.folder.join("late.so")
    }

    /// Starts a program on a machine; what it starts is on the same.
    fn start(&self, host: &str, command: &mut Command) -> Child {
        command
            .current_dir(&self.folder)
            .env("ORCHESTRATOR_CACHE", self.folder.join("cache"))
            .env("LD_PRELOAD", self.library())
            .env("LATE_HOST", host)
            .env("LATE_SECONDS", self.seconds.to_string())
            .env("LATE_UNDER", self.folder.join("results"))
            .env("LATE_STATE", self.folder.join("marks"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started")
    }

    /// Starts a command of ours on a machine.
    fn ours(&self, host: &str, args: &str) -> Child {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("orchestrator"));
        self.start(host, command.args(args.split(' ')))
    }

    fn worker(&self, host: &str) -> Child {
        // Longer than a dead worker's run takes to be offered again: stall_limit, patience and lateness.
        let args = "worker results/tiny --device cpu --per-device 1 --idle 60";
        self.ours(host, args)
    }
}

/// Claims that two machines race for.
const RACES: usize = 1000;
/// What tells the racer where the claims are, where its answer goes, and when it starts.
const RACE: [&str; 3] = ["RACE_CLAIMS", "RACE_ANSWER", "RACE_START"];

fn seconds_since_epoch() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs_f64()
}

/// One of the two, in a process of its own: tells which claims it won, and which files of the others it saw.
#[test]
#[ignore = "the race starts it, twice"]
fn racer() {
    let [claims, answer, start] = RACE.map(std::env::var);
    let (Ok(claims), Ok(answer), Ok(start)) = (claims, answer, start) else {
        return;
    };
    let start: f64 = start.parse().expect("a time");
    let claim = RunClaim {
        token: answer.clone(),
        host: answer.clone(),
        job: None,
        device: "cpu".into(),
        attempt: 1,
        since: start,
    };
    let race = |race: usize| {
        let path = Path::new(&claims).join(race.to_string());
        // Both are ready for each before it begins.
        while seconds_since_epoch() < start + race as f64 * 1e-3 {
            std::hint::spin_loop();
        }
        let won = claim.take(&path).expect("written");
        let seen = RunClaim::read(&path).expect("read").is_some();
        (won, seen)
    };
    let told: Vec<(bool, bool)> = (0..RACES).map(race).collect();
    let told = serde_json::to_vec(&told).expect("plain");
    std::fs::write(answer, told).expect("written");
}

#[test]
fn of_two_machines_that_race_one_wins_though_files_show_late() {
    let desk = Desk::new();
    let Some(late) = Late::new(desk.path(), 600.0) else {
        return;
    };
    let claims = late.folder.join("results/claims");
    std::fs::create_dir_all(&claims).expect("made");
    let start = seconds_since_epoch() + 1.0;
    let this = std::env::current_exe().expect("this program");
    let racer = |host: &str| {
        let mut command = Command::new(&this);
        command.args(["late::racer", "--exact", "--ignored", "--nocapture"]);
        command.env(RACE[0], &claims);
        command.env(RACE[1], late.folder.join(host));
        command.env(RACE[2], start.to_string());
        late.start(host, &mut command)
    };
    let hosts = ["n1", "n2"];
    let racers = hosts.map(racer);
    for mut racer in racers {
        assert!(racer.wait().expect("ended").success());
    }
    let [one, other] = hosts.map(|host| -> Vec<(bool, bool)> {
        let told = std::fs::read(late.folder.join(host)).expect("told");
        serde_json::from_slice(&told).expect("plain")
    });
    assert_eq!([one.len(), other.len()], [RACES; 2]);
    for (race, (one, other)) in one.iter().zip(&other).enumerate() {
        assert!(one.0 != other.0, "race {race}: {one:?} {other:?}");
        // Whoever lost did so to a file that it does not see.
        assert_eq!(one.0, one.1, "race {race}");
        assert_eq!(other.0, other.1, "race {race}");
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).expect("there");
}

/// Files of the cluster, as their own machines see them.
fn files(late: &Late, folder: &str) -> BTreeSet<String> {
    let folder = late.folder.join("results/tiny/cluster").join(folder);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Runs and their losses, of the results in a folder.
fn runs(desk: &Desk, results: &str) -> Vec<(String, Value)> {
    let status = desk.json(&["status", "tiny.yaml", "--results", results, "--json"]);
    let runs = status["runs"].as_array().expect("runs").iter();
    runs.map(|run| {
        assert_eq!(run["outcome"], "finished", "{run}");
        let id = run["id"].as_str().expect("an id").to_owned();
        (id, run["loss"].clone())
    })
    .collect()
}

/// Checks that the attempts at a run followed one another, and that none went over what another had done;
/// counts them.
fn attempts(desk: &Desk, run: &str) -> usize {
    let shown = desk.json(&["show", run, "--results", "results/tiny", "--json"]);
    let attempts = shown["attempts"].as_array().expect("attempts");
    let numbers: Vec<_> = attempts.iter().map(|one| one["number"].as_u64()).collect();
    let right: Vec<_> = (1..=attempts.len() as u64).map(Some).collect();
    assert_eq!(numbers, right, "{run}");
    let journal = desk.path().join("results/tiny/runs").join(run);
    let journal = std::fs::read_to_string(journal.join("events.jsonl")).expect("a journal");
    let lines = journal.lines().map(serde_json::from_str::<Value>);
    let mut step = 0;
    let mut events = Vec::new();
    for (place, line) in lines.enumerate() {
        let line = line.expect("a whole line");
        // Two that write at the same time count the same lines.
        assert_eq!(line["seq"], place, "{journal}");
        let event = line["event"].as_str().expect("an event").to_owned();
        match event.as_str() {
            "started" => step = line["resumed_step"].as_u64().expect("a step"),
            "measured" => {
                let at = line["step"].as_u64().expect("a step");
                assert!(at > step, "{journal}");
                step = at;
            }
            _ => {}
        }
        events.push(event);
    }
    let count = |name: &str| events.iter().filter(|event| *event == name).count();
    assert_eq!(count("finished"), 1, "{journal}");
    assert_eq!(events.last().map(String::as_str), Some("finished"));
    // One that was killed may not have come to its first line.
    assert!(count("started") <= attempts.len(), "{journal}");
    attempts.len()
}

#[test]
fn a_grid_on_machines_that_see_files_late_has_the_bits_of_one_machine() {
    let grid = TINY.replace("[0.3, 0.5]", "[0.3, 0.5], seed: [0, 1]");
    // What is left of a run whose worker died takes longer than the leader's patience: it must not lose it again.
    let grid = grid.replace("8192", "131072");
    let execution = "execution: {stall_limit: 4s, checkpoint_every: 0.05}\n";
    let desk = Desk::new()
        .with("tiny.yaml", format!("{grid}{execution}"))
        .with("clusters.yaml", "hand: {by_hand: {patience: 4}}\n");
    let Some(late) = Late::new(desk.path(), 1.0) else {
        return;
    };
    desk.done(&["run", "tiny.yaml", "--quiet", "--results", "alone"]);
    let mut leader = late.ours("login", "run tiny.yaml --on hand");
    wait_until("nothing is offered", || files(&late, "offers").len() > 2);
    let mut first = late.worker("n1");
    wait_until("nothing is claimed", || !files(&late, "claims").is_empty());
    let lost = files(&late, "claims").pop_first().expect("claimed");
    let others = ["n2", "n3"].map(|host| late.worker(host));
    let journal = late.folder.join("results/tiny/runs").join(&lost);
    wait_until("it does not begin", || {
        journal.join("events.jsonl").is_file()
    });
    // It dies with its claim, and the leader takes that from it.
    signal(&first, Signal::SIGKILL);
    first.wait().expect("ended");
    assert!(files(&late, "claims").contains(&lost), "it has ended");
    assert!(leader.wait().expect("ended").success());
    for mut worker in others {
        signal(&worker, Signal::SIGTERM);
        worker.wait().expect("ended");
    }
    let found = runs(&desk, "results/tiny");
    assert_eq!(found, runs(&desk, "alone"));
    for (run, _) in &found {
        let right = if *run == lost { 2 } else { 1 };
        assert_eq!(attempts(&desk, run), right, "{run}");
    }
    for folder in ["offers", "claims", "exits", "stops"] {
        assert_eq!(files(&late, folder), BTreeSet::new(), "{folder}");
    }
}
