//! What a finished grid holds, and whether that is what it must hold.

use super::desk::{Desk, RUNS};
use campaign::store::Store;
use experiment::event::Line;
use experiment::folder::JOURNAL;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// What stays in a run's folder; logs aside.
const FILES: &[&str] = &[
    ".lock",
    "end.safetensors",
    "events.jsonl",
    "heartbeat",
    "items.parquet",
    "run.json",
    "weights.safetensors",
];

/// The results of a grid: all that must not depend on what happened on the way.
#[derive(Debug, PartialEq)]
pub(super) struct Taken {
    /// Of each run its measurements, as JSON that tells every bit.
    rows: BTreeMap<String, Vec<String>>,
    /// Of each run its loss, likewise.
    losses: BTreeMap<String, String>,
    /// What each run answers, as JSON.
    scores: String,
}

struct Attempt {
    run: String,
    number: i64,
    outcome: Option<String>,
}

impl Taken {
    /// Says whether the final losses are the same bits.
    pub(super) fn same_losses(&self, other: &Taken) -> bool {
        self.losses == other.losses
    }
}

/// Reads the results of a desk, with everything that is wrong with them.
pub(super) fn take(desk: &Desk) -> (Taken, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut wrong = Vec::new();
    let (taken, attempts) = runtime.block_on(read(&desk.results(), &mut wrong));
    check_attempts(&attempts, &mut wrong);
    for folder in desk.runs() {
        let run = folder.file_name().expect("a name").to_string_lossy();
        let tried = attempts.iter().filter(|attempt| attempt.run == run).count();
        check_journal(&folder, tried, &mut wrong);
        check_files(&folder, &mut wrong);
    }
    if desk.said().contains("panicked at") {
        wrong.push("something panicked".into());
    }
    (taken, wrong)
}

async fn read(results: &Path, wrong: &mut Vec<String>) -> (Taken, Vec<Attempt>) {
    let store = Store::open(results).await.expect("a database");
    let experiment = store.experiment("grid").await.expect("readable");
    let experiment = experiment.expect("known");
    let runs = store.runs(experiment).await.expect("readable");
    let scores = store.scores(experiment).await.expect("readable");
    if scores.len() != RUNS / 2 {
        wrong.push(format!("{} branches have answered", scores.len()));
    }
    let scores = serde_json::to_string(&scores).expect("plain data");
    if runs.len() != RUNS {
        wrong.push(format!("{} runs instead of {RUNS}", runs.len()));
    }
    let (mut rows, mut losses) = (BTreeMap::new(), BTreeMap::new());
    for run in runs {
        let outcome = run.outcome.map(|outcome| outcome.name());
        if outcome != Some("finished") || run.state.name() != "ended" {
            wrong.push(format!("run {} is {} as {outcome:?}", run.id, run.state));
        }
        let measurements = store.measurements(&run.id).await.expect("readable");
        let measured = measurements.into_iter().map(|mut row| {
            // The only one that time decides.
            row.tokens_per_second = None;
            serde_json::to_string(&row).expect("plain data")
        });
        rows.insert(run.id.0.clone(), measured.collect());
        losses.insert(run.id.0, format!("{:?}", run.loss));
    }
    let path = results.join(experiment::folder::DATABASE);
    let url = format!("sqlite://{}", path.display());
    let pool = sqlx::SqlitePool::connect(&url).await.expect("open");
    let attempts: Vec<(String, i64, Option<String>)> =
        sqlx::query_as("SELECT run_id, number, outcome FROM attempts ORDER BY run_id, number")
            .fetch_all(&pool)
            .await
            .expect("readable");
    let sound: (String,) = sqlx::query_as("PRAGMA integrity_check")
        .fetch_one(&pool)
        .await
        .expect("readable");
    if sound.0 != "ok" {
        wrong.push(format!("the database is damaged: {}", sound.0));
    }
    let attempt = |(run, number, outcome)| Attempt {
        run,
        number,
        outcome,
    };
    let attempts = attempts.into_iter().map(attempt).collect();
    let taken = Taken {
        rows,
        losses,
        scores,
    };
    (taken, attempts)
}

/// Attempts are counted from 1 without gaps; all have ended, and the last one well.
fn check_attempts(attempts: &[Attempt], wrong: &mut Vec<String>) {
    let mut last: HashMap<&str, &Attempt> = HashMap::new();
    for attempt in attempts {
        let before = last.insert(&attempt.run, attempt);
        let place = before.map_or(1, |before| before.number + 1);
        if attempt.number != place || attempt.outcome.is_none() {
            wrong.push(format!(
                "attempt {} at {} is the {place}th and ended as {:?}",
                attempt.number, attempt.run, attempt.outcome
            ));
        }
    }
    for attempt in last.values() {
        if attempt.outcome.as_deref() != Some("finished") {
            wrong.push(format!(
                "the last attempt at {} ended as {:?}",
                attempt.run, attempt.outcome
            ));
        }
    }
}

/// No two writers: no two different lines have one place, and each process was known.
fn check_journal(folder: &Path, attempts: usize, wrong: &mut Vec<String>) {
    let bytes = std::fs::read(folder.join(JOURNAL)).expect("a journal");
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().filter_map(|text| Line::decode(text).ok());
    let mut places: HashMap<u64, Line> = HashMap::new();
    let mut processes = BTreeSet::new();
    for line in lines {
        if let experiment::event::Event::Started { pid, .. } = line.event {
            processes.insert(pid);
        }
        if let Some(other) = places.insert(line.seq, line.clone())
            && other != line
        {
            wrong.push(format!(
                "two lines are number {} of {}",
                line.seq,
                folder.display()
            ));
        }
    }
    if processes.len() > attempts {
        wrong.push(format!(
            "{} processes but {attempts} attempts at {}",
            processes.len(),
            folder.display()
        ));
    }
}

/// Nothing stays on the disk but what is kept.
fn check_files(folder: &Path, wrong: &mut Vec<String>) {
    for file in std::fs::read_dir(folder).expect("readable").flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let set_aside = name.ends_with(".unusable");
        if !FILES.contains(&&*name) && !name.starts_with("log.") && !set_aside {
            wrong.push(format!("{} stayed", file.path().display()));
        }
    }
}
