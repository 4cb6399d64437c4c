//! A report of a thousand runs.

use super::*;
use campaign::store::{Ended, PlannedRun, StartedAttempt, Store};
use experiment::event::{Event, Line};
use experiment::quantity::{Draws, human};
use scaling_law::analysis::simulated::{Controls, Grid};
use std::time::Instant;

/// 900 DLCMs and 100 dense baselines.
const THOUSAND: Grid<'static> = Grid {
    sizes: &[200_000, 400_000, 800_000, 1_600_000, 3_200_000],
    shares: &[0.3, 0.5, 0.7],
    ratios: &[2.0, 4.0, 8.0],
    tokens: &[2_000_000, 6_000_000, 20_000_000, 60_000_000],
    dense_sizes: &[200_000, 400_000, 800_000, 1_600_000, 3_200_000],
    controls: Controls::None,
    seeds: 5,
    noise: 0.005,
    noise_seed: 2,
};

const FILE: &str = "name: thousand
grid: {params: [0.2M, 0.4M, 0.8M, 1.6M, 3.2M], tokens: [2M, 6M, 20M, 60M],
       concept_share: [0.3, 0.5, 0.7], compression_ratio: [2, 4, 8], seed: [0, 1, 2, 3, 4]}
baselines: {params: [0.2M, 0.4M, 0.8M, 1.6M, 3.2M], tokens: [2M, 6M, 20M, 60M],
            seed: [0, 1, 2, 3, 4]}
";

async fn filled(store: &Store) -> i64 {
    let runs = THOUSAND.runs();
    let record = ExperimentRecord {
        config: FILE.into(),
        ..experiment("thousand")
    };
    let planned: Vec<PlannedRun> = runs
        .iter()
        .map(|run| PlannedRun {
            id: run.id.clone(),
            work: run.spec.clone(),
            trial: false,
            flops: run.planned_flops,
            axes: BTreeMap::from_iter(run.axes.clone().into_iter().chain([
                (
                    "tokens".to_owned(),
                    human(run.tokens.expect("known") as f64),
                ),
                ("seed".to_owned(), run.seed.to_string()),
            ])),
        })
        .collect();
    let id = store.plan(&record, &planned, 1.0).await.expect("planned");
    for (k, run) in runs.iter().enumerate() {
        let start = StartedAttempt {
            host: "a host".into(),
            device: "cpu".into(),
            hardware: Some("a processor, 16 threads".into()),
            threads: 1,
            micro_batch: Some(16),
            program_version: "0.1.0".into(),
            git_commit: None,
            lock_hash: None,
            started_at: 1.0,
            log_path: "log".into(),
        };
        let number = store.start_attempt(&run.id, &start).await.expect("started");
        let lines: Vec<Line> = simulated::measurements(run)
            .into_iter()
            .zip(0..)
            .map(|(row, seq)| Line::new(seq, 1.0, Event::Measured(row)))
            .collect();
        store.ingest(&run.id, &lines).await.expect("taken in");
        let (outcome, message) = match k % 97 {
            13 => (RunOutcome::Diverged, Some("the loss is NaN at step 57")),
            47 => (
                RunOutcome::Crashed,
                Some("first\n  thread 'main' panicked: no memory"),
            ),
            _ => (RunOutcome::Finished, None),
        };
        let ended = Ended {
            at: 60.0 + k as f64,
            outcome,
            exit_code: Some(0),
            signal: None,
            message: message.map(str::to_owned),
            tried_again: false,
            micro_batch: None,
        };
        store
            .end_attempt(&run.id, number, &ended)
            .await
            .expect("ended");
    }
    id
}

/// `REPORT=folder cargo test --release -- --ignored a_thousand_runs` makes a database of a thousand
/// runs in a folder, and beside it says in report.txt how long its report takes and how large it is.
#[tokio::test]
#[ignore = "for looking at, and to be timed"]
async fn a_thousand_runs() {
    let Some(folder) = std::env::var_os("REPORT") else {
        return;
    };
    let folder = Path::new(&folder);
    let store = Store::create(folder).await.expect("a database");
    let id = match store.experiment("thousand").await.expect("read") {
        Some(id) => id,
        None => filled(&store).await,
    };
    std::fs::write(folder.join("thousand.yaml"), FILE).expect("written");
    let start = Instant::now();
    let runs = store.runs(id).await.expect("read");
    let mut measurements = BTreeMap::new();
    for run in &runs {
        let rows = store.measurements(&run.id).await.expect("read");
        measurements.insert(run.id.clone(), rows);
    }
    let record = store.experiment_record(id).await.expect("read");
    let machines = store.machines(id).await.expect("read");
    let read = start.elapsed();
    let settings = Analysis {
        bootstrap: Draws::from(100),
        ..Analysis::default()
    };
    let result = simulated::analysed(&runs, &settings);
    let start = Instant::now();
    let stored = Stored {
        experiment: &record,
        runs: &runs,
        blocked: &blocked_by(&runs),
        measurements: &measurements,
        readings: &[],
        answers: &Answers::default(),
        result: &result,
        analysed_at: 0.0,
        claims: None,
        since: Since::default(),
        machines: &machines,
        written_at: 1.0,
    };
    let page = page(&stored).expect("a page");
    let mut said = format!(
        "{} runs read in {read:?}, written in {:?}: {} bytes\n",
        runs.len(),
        start.elapsed(),
        page.len()
    );
    for part in page.split("<figure ").skip(1) {
        let name = part.split('"').nth(1).unwrap_or("");
        let end = part.find("</figure>").unwrap_or(0);
        said += &format!("  {name}: {end} bytes\n");
    }
    std::fs::write(folder.join("report.txt"), said).expect("written");
    std::fs::write(folder.join("report.html"), &page).expect("written");
    assert!(page.len() < 5_000_000);
    text_of(&page);
}
