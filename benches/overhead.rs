//! What the program costs beside the training that it starts.
//!
//! `cargo bench --bench overhead` measures everything, `… -- runs workers plan ingest status real` some of
//! it. Everything it needs it makes, in a temporary folder.

use campaign::cluster::leader::Cluster;
use campaign::cluster::pool::ByHand;
use campaign::cluster::worker::{Worker, work};
use campaign::launch::Launcher;
use campaign::launch::local::{Device, Local};
use campaign::orchestrate::{self, Mode, Notice, Observer, Provenance, Setting};
use campaign::store::{ExperimentRecord, PlannedRun, Store};
use experiment::clock::now;
use experiment::event::{Event, Line, Measurement};
use experiment::folder::JOURNAL;
use experiment::folder::SPECIFICATION;
use experiment::grid::{self, ExecutionSettings};
use experiment::plan::{Run, plan};
use experiment::run::{DataFacts, RunSpec};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};
use trainer::train::journal::Journal;

/// A hundred thousand cells.
const LARGE: &str = "
name: large
grid:
  params: [1M, 2M, 4M, 8M, 16M, 32M, 64M, 128M, 256M, 512M]
  tokens: [100M, 200M, 400M, 800M, 1600M]
  concept_share: [0.2, 0.3, 0.4, 0.5, 0.6]
  compression_ratio: [2, 3, 4, 6, 8]
  seed: [SEEDS]
";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "train") {
        return do_nothing(Path::new(&arguments[2]));
    }
    let wanted: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let wants = |name| wanted.is_empty() || wanted.contains(&name);
    if wants("runs") {
        run_nothing(1000);
    }
    if wants("workers") {
        // Side by side: the machine may be busier at one time than at another.
        for _ in 0..3 {
            run_nothing(1000);
            run_nothing_on_workers(1000, 8);
        }
    }
    if wants("plan") {
        plan_large();
    }
    if wants("ingest") {
        ingest(1_000, 1_000);
    }
    if wants("status") {
        ask_status();
    }
    if wants("real") {
        watch_real_runs();
    }
}

fn facts() -> DataFacts {
    DataFacts {
        fingerprint: "f".into(),
        vocab: 512,
        train_tokens: 1_000_000,
        validation_tokens: 50_000,
        bytes_per_token: None,
        entropy_floor: None,
    }
}

fn planned(text: &str) -> Vec<Run> {
    let experiment = grid::parse("bench.yaml", text).expect("valid");
    let planned = plan(&experiment, &|_| Some(facts())).expect("plannable");
    planned.iter().map(Run::from).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A training process that does nothing but say so.
fn do_nothing(folder: &Path) {
    let text = std::fs::read(folder.join(SPECIFICATION)).expect("a specification");
    let spec: RunSpec = serde_json::from_slice(&text).expect("a specification");
    let mut journal = Journal::open(folder).expect("a journal");
    let started = Event::Started {
        run: spec.id(),
        pid: std::process::id(),
        host: "bench".into(),
        device: "cpu".into(),
        version: "0".into(),
        resumed_step: 0,
    };
    let steps = spec.recipe.steps(spec.architecture.seq_len());
    let last = Measurement {
        validation_loss: Some(3.1),
        ..row(steps)
    };
    for event in [started, Event::Measured(last), Event::Finished] {
        journal.append(event).expect("appended");
    }
    journal.sync().expect("synced");
}

fn row(step: u64) -> Measurement {
    let noise = 1.0 / (step as f64 + 0.37);
    Measurement {
        step,
        tokens: Some(4096 * step),
        flops: Some(1.2345e9 * step as f64),
        loss: Some(3.0 + noise),
        validation_loss: step.is_multiple_of(100).then_some(3.1 + noise),
        bits_per_byte: None,
        realised_sampled: Some(4.0 + noise),
        realised_training: Some(4.0 + noise),
        realised_thresholded: step.is_multiple_of(100).then_some(4.1 + noise),
        concept_gain: None,
        boundary_gain: None,
        auxiliary_loss: Some(1.0 + noise),
        gradient_norm: Some(0.5 + noise),
        rate_share: Some(1.0 - noise),
        tokens_per_second: Some(1e5 * (1.0 + noise)),
        metrics: BTreeMap::new(),
    }
}

struct Silent;

impl Observer for Silent {
    fn notice(&mut self, _: Notice) {}
}

async fn record(store: &Store, name: &str, planned: &[Run]) -> i64 {
    let experiment = ExperimentRecord {
        name: name.into(),
        config: String::new(),
        config_hash: String::new(),
        program_version: "0".into(),
        git_commit: None,
    };
    let runs: Vec<PlannedRun> = planned.iter().map(PlannedRun::from).collect();
    let recorded = store.plan(&experiment, &runs, now()).await;
    recorded.expect("recorded")
}

/// On this machine, two at once.
fn run_nothing(runs: usize) {
    let program = std::env::current_exe().expect("this program");
    nothing(runs, "runs", |_| {
        let device = Device {
            name: "cpu".into(),
            slots: 2,
            memory: None,
            overhead: 0.0,
        };
        Box::new(Local::new(program, vec![device]))
    });
}

/// The same, offered to workers that train one at a time.
fn run_nothing_on_workers(runs: usize, workers: usize) {
    nothing(runs, "workers", |results| {
        let pool = ByHand {
            patience: Duration::from_secs(60),
        };
        let cluster = Cluster::new(results, Box::new(pool)).expect("a folder");
        for number in 0..workers {
            let results = results.to_owned();
            // It ends by itself when nothing is offered any more.
            std::thread::spawn(move || begin_worker(results, number));
        }
        Box::new(cluster)
    });
}

fn begin_worker(results: PathBuf, number: usize) {
    let worker = Worker {
        token: format!("w{number}"),
        host: format!("n{number}"),
        job: None,
        data_cache: results.join("cache"),
        results,
        together: 1,
        threads: 1,
        runs: usize::MAX,
        idle: Duration::from_secs(1),
        until: None,
    };
    let device = Device {
        name: "cpu".into(),
        slots: 1,
        memory: None,
        overhead: 0.0,
    };
    let program = std::env::current_exe().expect("this program");
    let mut launcher = Local::new(program, vec![device]);
    let over = work(&worker, &mut launcher, &AtomicUsize::new(0), &|_| {});
    // The folder goes with the leader, under the last of them too.
    drop(over);
}

/// Runs that do nothing, through the real loop, a launcher, journals and database.
fn nothing(runs: usize, name: &str, launcher: impl FnOnce(&Path) -> Box<dyn Launcher>) {
    let seeds: Vec<usize> = (0..runs).collect();
    let planned = planned(&format!(
        "grid: {{params: 0.2M, tokens: 1M, concept_share: 0.5, compression_ratio: 4, seed: {seeds:?}}}"
    ));
    let folder = tempfile::tempdir().expect("a folder");
    let setting = Setting {
        results: folder.path().to_owned(),
        data_cache: folder.path().join("cache"),
        execution: ExecutionSettings::default(),
        max_runs: None,
        first: Vec::new(),
        mode: Mode::Train,
        provenance: Provenance::default(),
    };
    let start = Instant::now();
    let summary = runtime().block_on(async {
        let store = Store::create(folder.path()).await.expect("a database");
        let experiment = record(&store, "nothing", &planned).await;
        let mut launcher = launcher(folder.path());
        let stop = AtomicUsize::new(0);
        orchestrate::run(
            &store,
            experiment,
            &planned,
            &setting,
            &mut *launcher,
            &mut Silent,
            &stop,
        )
        .await
        .expect("run")
    });
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(summary.finished, runs);
    println!(
        "{name}: {runs} runs that do nothing in {seconds:.2} s: {:.0} runs/s",
        runs as f64 / seconds
    );
}

fn large() -> String {
    let seeds: Vec<String> = (0..80).map(|seed| seed.to_string()).collect();
    LARGE.replace("SEEDS", &seeds.join(", "))
}

fn plan_large() {
    let text = large();
    let start = Instant::now();
    let experiment = grid::parse("bench.yaml", &text).expect("valid");
    let parsed = start.elapsed().as_secs_f64();
    let planned = plan(&experiment, &|_| Some(facts())).expect("plannable");
    let all = start.elapsed().as_secs_f64();
    println!(
        "plan: {} runs in {all:.2} s, {parsed:.2} s of it reading the file",
        planned.len()
    );
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("large.yaml"), text).expect("written");
    time_command(folder.path(), &["plan", "large.yaml", "--no-time"]);
}

/// Runs the program with its output thrown away.
fn time_command(folder: &Path, arguments: &[&str]) {
    let start = Instant::now();
    let status = Command::new(program())
        .args(arguments)
        .current_dir(folder)
        .env("ORCHESTRATOR_CACHE", folder.join("cache"))
        .stdout(Stdio::null())
        .status()
        .expect("started");
    assert!(status.success(), "{arguments:?}");
    println!(
        "`orchestrator {}`: {:.2} s",
        arguments.join(" "),
        start.elapsed().as_secs_f64()
    );
}

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_orchestrator").into()
}

fn journal(rows: u64) -> Vec<String> {
    let lines = (1..=rows).map(|step| Line::new(step - 1, now(), Event::Measured(row(step))));
    lines.map(|line| line.encode()).collect()
}

/// Journals of several runs: taken in from their files, and each part of that by itself.
fn ingest(runs: usize, rows: u64) {
    let seeds: Vec<usize> = (0..runs).collect();
    let planned = planned(&format!(
        "grid: {{params: 0.2M, tokens: 1M, concept_share: 0.5, compression_ratio: 4, seed: {seeds:?}}}"
    ));
    let text = journal(rows);
    let folder = tempfile::tempdir().expect("a folder");
    for run in &planned {
        let folder = folder.path().join("runs").join(&run.id.0);
        std::fs::create_dir_all(&folder).expect("made");
        let spec = serde_json::to_string(&run.work).expect("JSON");
        std::fs::write(folder.join(SPECIFICATION), spec).expect("written");
        std::fs::write(folder.join(JOURNAL), text.join("\n") + "\n").expect("written");
    }
    let rate = |what: &str, seconds: f64| {
        let rows = (runs as u64 * rows) as f64;
        println!(
            "ingest: {what} {rows} rows in {seconds:.2} s: {:.0} rows/s",
            rows / seconds
        );
    };
    runtime().block_on(async {
        let store = Store::create(folder.path()).await.expect("a database");
        let start = Instant::now();
        let rebuilt = orchestrate::rebuild(folder.path(), &store).await;
        assert_eq!(rebuilt.expect("rebuilt").runs, runs);
        rate("files to database", start.elapsed().as_secs_f64());

        let other = tempfile::tempdir().expect("a folder");
        let store = Store::create(other.path()).await.expect("a database");
        record(&store, "ingest", &planned).await;
        let (mut decoding, mut storing) = (Duration::ZERO, Duration::ZERO);
        for run in &planned {
            let start = Instant::now();
            let lines: Vec<Line> = text
                .iter()
                .map(|line| Line::decode(line).expect("sound"))
                .collect();
            decoding += start.elapsed();
            let start = Instant::now();
            store.ingest(&run.id, &lines).await.expect("stored");
            storing += start.elapsed();
        }
        rate("decoding on one thread", decoding.as_secs_f64());
        rate("storing a run at a time", storing.as_secs_f64());
    });
}

/// 100,000 runs with 10 million measurements.
fn ask_status() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("large.yaml"), large()).expect("written");
    let planned = planned(&large());
    let lines: Vec<Line> = journal(100)
        .iter()
        .map(|line| Line::decode(line).expect("sound"))
        .collect();
    runtime().block_on(async {
        let results = folder.path().join("results/large");
        let store = Store::create(&results).await.expect("a database");
        let start = Instant::now();
        record(&store, "large", &planned).await;
        println!(
            "recording a plan of {}: {:.2} s",
            planned.len(),
            start.elapsed().as_secs_f64()
        );
        for run in &planned {
            store.ingest(&run.id, &lines).await.expect("stored");
        }
    });
    for _ in 0..3 {
        time_command(folder.path(), &["status", "large.yaml"]);
        time_command(folder.path(), &["status", "large.yaml", "--json"]);
    }
}

/// Watches what the orchestrator itself takes while it runs a small grid.
fn watch_real_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "name: real\ngrid: {params: 0.4M, tokens: 0.5M, concept_share: [0.3, 0.5], \
                compression_ratio: [2, 4]}\ndata: {synthetic: {}}\nanalysis: {bootstrap: 0}\n";
    std::fs::write(folder.path().join("real.yaml"), text).expect("written");
    let start = Instant::now();
    let mut child = Command::new(program())
        .args(["run", "real.yaml"])
        .current_dir(folder.path())
        .env("ORCHESTRATOR_CACHE", folder.path().join("cache"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let (mut seconds, mut megabytes) = (0.0, 0.0);
    while child.try_wait().expect("watched").is_none() {
        if let Some((cpu, memory)) = usage(child.id()) {
            (seconds, megabytes) = (cpu, memory);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let wall = start.elapsed().as_secs_f64();
    println!(
        "real runs: {wall:.1} s, of which the orchestrator's own CPU time {seconds:.2} s ({:.2}%); \
         its peak memory {megabytes:.0} MB",
        100.0 * seconds / wall
    );
}

/// A process's own CPU seconds and peak memory in MB.
fn usage(pid: u32) -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: f64 = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    // Linux counts 100 ticks a second.
    Some((ticks / 100.0, kilobytes / 1000.0))
}
