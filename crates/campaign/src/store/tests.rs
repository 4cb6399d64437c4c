mod opening;
mod versions;

use super::*;
use experiment::architecture::solver::ShapeSettings;
use experiment::event::{Event, Line};
use experiment::run::{
    DataFacts, DataSpec, Execution, Part, RunOutcome, RunSpec, RunState, Start, TokenizerSpec,
};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

fn spec(seed: u64) -> RunSpec {
    let recipe = experiment::grid::parse(
        "t.yaml",
        "grid: {params: 0.2M, tokens: 1M, concept_share: 0.5, compression_ratio: 4}",
    )
    .expect("valid")
    .cells[0]
        .recipe
        .clone();
    RunSpec {
        architecture: ShapeSettings::default()
            .solve_dlcm(200_000, 0.5, 4.0, 256)
            .expect("a shape"),
        data: DataSpec::text(vec!["a.txt".into()], TokenizerSpec::Bytes, 0.1),
        facts: DataFacts {
            fingerprint: "f".into(),
            vocab: 256,
            train_tokens: 1000,
            validation_tokens: 100,
            bytes_per_token: Some(1.0),
            entropy_floor: None,
        },
        recipe: experiment::recipe::Recipe {
            tokens: 4096,
            ..recipe
        },
        seed,
        execution: Execution {
            micro_batch: 16,
            threads: 1,
            checkpoint_every: f64::from(Execution::CHECKPOINT_EVERY),
            start: None,
            keeps_end: false,
            evaluation: Default::default(),
        },
    }
}

pub(crate) fn planned(seed: u64) -> PlannedRun {
    let spec = spec(seed);
    PlannedRun {
        id: spec.id(),
        work: spec.into(),
        trial: false,
        flops: Some(1e12),
        axes: BTreeMap::from([("seed".to_owned(), seed.to_string())]),
    }
}

pub(crate) fn experiment() -> ExperimentRecord {
    ExperimentRecord {
        name: "e".into(),
        config: "grid: {}".into(),
        config_hash: "h".into(),
        program_version: "0".into(),
        git_commit: None,
    }
}

pub(crate) fn attempt() -> StartedAttempt {
    StartedAttempt {
        host: "h".into(),
        device: "cpu".into(),
        hardware: Some("a processor".into()),
        threads: 1,
        micro_batch: Some(16),
        program_version: "0".into(),
        git_commit: None,
        lock_hash: Some("l".into()),
        started_at: 1.0,
        log_path: "log".into(),
    }
}

pub(crate) fn ended(outcome: RunOutcome) -> Ended {
    Ended {
        at: 4.0,
        outcome,
        exit_code: Some(0),
        signal: None,
        message: None,
        tried_again: false,
        micro_batch: None,
    }
}

fn row(step: u64, validation_loss: Option<f64>) -> Measurement {
    Measurement {
        step,
        tokens: Some(step * 10),
        flops: Some(step as f64),
        loss: Some(3.0),
        validation_loss,
        realised_sampled: Some(3.9),
        realised_thresholded: validation_loss.map(|_| 4.1),
        ..Measurement::default()
    }
}

#[tokio::test]
async fn who_reads_and_then_writes_waits_for_another_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path()).await.expect("a database");
    let run = planned(0);
    let experiment = store
        .plan(&experiment(), std::slice::from_ref(&run), 1.0)
        .await;
    let experiment = experiment.expect("planned");
    let other = Store::open(folder.path()).await.expect("open");
    let write = async {
        let mut writing = other.begin().await.expect("begun");
        sqlx::query("UPDATE experiments SET updated_at = 2")
            .execute(&mut *writing)
            .await
            .expect("written");
        tokio::time::sleep(Duration::from_millis(300)).await;
        writing.commit().await.expect("kept");
    };
    let lines = [Line::new(0, 1.0, Event::Measured(row(10, Some(2.5))))];
    let take_in = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        store.ingest(&run.id, &lines).await.expect("waits");
        store
            .import(experiment, "a.csv", &[], &Default::default(), 1.0)
            .await
            .expect("waits");
    };
    tokio::join!(write, take_in);
    assert_eq!(store.measurements(&run.id).await.expect("read").len(), 1);
}

#[tokio::test]
async fn a_run_goes_through_its_life() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path()).await.expect("a database");
    let run = planned(0);
    let id = store
        .plan(&experiment(), std::slice::from_ref(&run), 1.0)
        .await
        .expect("planned");
    assert_eq!(store.experiment("e").await.expect("known"), Some(id));
    assert_eq!(store.experiment("other").await.expect("unknown"), None);
    assert_eq!(store.experiments().await.expect("listed"), ["e"]);

    let number = store
        .start_attempt(&run.id, &attempt())
        .await
        .expect("started");
    assert_eq!(number, 1);
    let lines = [
        Line::new(0, 1.0, Event::Measured(row(1, None))),
        Line::new(1, 2.0, Event::Measured(row(2, Some(2.5)))),
        Line::new(2, 3.0, Event::Measured(row(3, None))),
    ];
    for _ in 0..2 {
        store.ingest(&run.id, &lines).await.expect("taken in");
    }
    let measured = store.measurements(&run.id).await.expect("read");
    assert_eq!(measured, [row(1, None), row(2, Some(2.5)), row(3, None)]);
    let record = store.runs(id).await.expect("read").pop().expect("one");
    assert_eq!(record.state, RunState::Running);
    assert_eq!((record.loss, record.realised_ratio), (Some(2.5), Some(4.1)));
    assert_eq!((record.flops, record.concept_gain), (Some(3.0), None));
    assert_eq!(record.spec, run.work);
    assert_eq!(record.axes, run.axes);

    store
        .end_attempt(&run.id, number, &ended(RunOutcome::Finished))
        .await
        .expect("ended");
    let record = store.runs(id).await.expect("read").pop().expect("one");
    assert_eq!(
        (record.state, record.outcome),
        (RunState::Ended, Some(RunOutcome::Finished))
    );
    assert_eq!(store.attempts(&run.id).await.expect("counted"), 1);

    let seen: (String, Option<String>, i64, f64, f64, String) = sqlx::query_as(
        "SELECT run, nominal_params, params, loss, realised_ratio, outcome FROM results",
    )
    .fetch_one(&store.pool)
    .await
    .expect("a view of the runs");
    let params = run
        .work
        .model()
        .expect("a model")
        .architecture
        .params()
        .non_embedding() as i64;
    let expected = (
        run.id.0.clone(),
        None,
        params,
        2.5,
        4.1,
        "finished".to_owned(),
    );
    assert_eq!(seen, expected);

    let fit = FitRecord {
        law: "dlcm".into(),
        result: serde_json::json!({"E0": 1.5}),
        runs: vec![run.id.clone()],
        created_at: 5.0,
    };
    store.save_fit(id, &fit, None).await.expect("saved");
    let read = store
        .newest_fit(id, "dlcm")
        .await
        .expect("read")
        .expect("one");
    assert_eq!((read.result, read.runs), (fit.result, fit.runs));
    assert!(
        store
            .newest_fit(id, "kaplan")
            .await
            .expect("read")
            .is_none()
    );
}

#[tokio::test]
async fn a_step_measured_again_replaces_its_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path()).await.expect("a database");
    let run = planned(0);
    store
        .plan(&experiment(), std::slice::from_ref(&run), 1.0)
        .await
        .expect("planned");
    let first = Line::new(0, 1.0, Event::Measured(row(5, Some(2.0))));
    let again = Line::new(7, 2.0, Event::Measured(row(5, Some(1.9))));
    store.ingest(&run.id, &[first]).await.expect("taken in");
    store.ingest(&run.id, &[again]).await.expect("taken in");
    let measured = store.measurements(&run.id).await.expect("read");
    assert_eq!(measured, [row(5, Some(1.9))]);
}

#[tokio::test]
async fn trunks_and_branches_are_known_to_each_experiment() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path()).await.expect("a database");
    let mut trunk = planned(0);
    trunk.work.model_mut().expect("a model").execution.keeps_end = true;
    let mut branch = planned(1);
    let model = branch.work.model_mut().expect("a model");
    model.execution.start = Some(Start {
        run: trunk.id.clone(),
        step: 1,
    });
    assert_eq!(branch.id, planned(1).id);
    let parts = async |id| -> Vec<_> {
        let runs = store.runs(id).await.expect("read");
        let parts = runs.into_iter().map(|run| (run.part, run.start_run));
        parts.collect()
    };
    let both = [trunk.clone(), branch];
    let id = store
        .plan(&experiment(), &both, 1.0)
        .await
        .expect("planned");
    let expected = [(Part::Trunk, None), (Part::Branch, Some(trunk.id))];
    assert_eq!(parts(id).await, expected);
    // The same runs, each from its first step on.
    let alone = ExperimentRecord {
        name: "alone".into(),
        ..experiment()
    };
    let runs = [planned(0), planned(1)];
    let other = store.plan(&alone, &runs, 2.0).await.expect("planned");
    assert_eq!(
        parts(other).await,
        [(Part::Whole, None), (Part::Whole, None)]
    );
    assert_eq!(parts(id).await, expected);
}

#[tokio::test]
async fn what_a_file_no_longer_asks_for_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path()).await.expect("a database");
    let both = [planned(0), planned(1)];
    let id = store
        .plan(&experiment(), &both, 1.0)
        .await
        .expect("planned");
    assert_eq!(store.runs(id).await.expect("read").len(), 2);
    store
        .plan(&experiment(), &both[1..], 2.0)
        .await
        .expect("planned");
    assert_eq!(store.runs(id).await.expect("read").len(), 1);
    store
        .plan(&experiment(), &both, 3.0)
        .await
        .expect("planned");
    assert_eq!(store.runs(id).await.expect("read").len(), 2);
}

#[tokio::test]
async fn attempts_left_open_are_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path()).await.expect("a database");
    let run = planned(0);
    let id = store
        .plan(&experiment(), std::slice::from_ref(&run), 1.0)
        .await
        .expect("planned");
    store
        .start_attempt(&run.id, &attempt())
        .await
        .expect("started");
    assert_eq!(
        store
            .close_abandoned(9.0, &HashSet::new())
            .await
            .expect("closed"),
        1
    );
    assert_eq!(
        store
            .close_abandoned(9.0, &HashSet::new())
            .await
            .expect("closed"),
        0
    );
    let record = store.runs(id).await.expect("read").pop().expect("one");
    assert_eq!(record.state, RunState::Pending);
    assert_eq!(
        store
            .start_attempt(&run.id, &attempt())
            .await
            .expect("started"),
        2
    );
}

#[tokio::test]
async fn what_became_of_a_run_is_told_by_its_attempts() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path()).await.expect("a database");
    let run = planned(0);
    let id = store
        .plan(&experiment(), std::slice::from_ref(&run), 1.0)
        .await
        .expect("planned");
    let record = async || store.runs(id).await.expect("read").remove(0);
    // Every outcome can be stored, and every one but an interruption ends the run.
    for outcome in [
        RunOutcome::Finished,
        RunOutcome::Diverged,
        RunOutcome::OutOfMemory,
        RunOutcome::Crashed,
        RunOutcome::Interrupted,
        RunOutcome::TimedOut,
        RunOutcome::Stalled,
        RunOutcome::Cancelled,
    ] {
        let number = store.start_attempt(&run.id, &attempt()).await;
        let open = store.open_attempts().await.expect("read");
        let number = number.expect("started");
        assert_eq!(open, [(run.id.clone(), number)]);
        let stored = store.end_attempt(&run.id, number, &ended(outcome)).await;
        stored.expect("ended");
        let expected = match outcome {
            RunOutcome::Interrupted => RunState::Pending,
            _ => RunState::Ended,
        };
        let now = record().await;
        assert_eq!((now.state, now.outcome), (expected, Some(outcome)));
    }
    let again = |micro_batch| Ended {
        tried_again: true,
        micro_batch,
        message: Some("boom".into()),
        ..ended(RunOutcome::Crashed)
    };
    for micro_batch in [None, Some(8)] {
        let number = store.start_attempt(&run.id, &attempt()).await;
        store
            .end_attempt(&run.id, number.expect("started"), &again(micro_batch))
            .await
            .expect("ended");
    }
    let tried = record().await;
    assert_eq!(tried.state, RunState::Pending);
    assert_eq!((tried.retries, tried.micro_batch), (1, Some(8)));
    assert_eq!(tried.message.as_deref(), Some("boom"));
    let history = store.history(&run.id).await.expect("read");
    assert_eq!(history.len(), 10);
    assert_eq!(history[0].start, attempt());
    assert_eq!(history[9].message.as_deref(), Some("boom"));

    store
        .end_run(&run.id, RunOutcome::Cancelled, "cancelled", 9.0)
        .await
        .expect("ended");
    assert_eq!(record().await.outcome, Some(RunOutcome::Cancelled));
    store.make_eligible(&run.id).await.expect("eligible");
    let eligible = record().await;
    assert_eq!((eligible.state, eligible.retries), (RunState::Pending, 0));
    assert_eq!(
        eligible.micro_batch,
        Some(8),
        "memory is as small as it was"
    );

    let found = store.runs_beginning_with(&run.id.0[..5]).await;
    assert_eq!(found.expect("read"), [run.id]);
    let none = store.runs_beginning_with("%").await.expect("read");
    assert_eq!(none, []);
}

#[tokio::test]
async fn lines_after_lost_ones_are_new() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path()).await.expect("a database");
    let run = planned(0);
    store
        .plan(&experiment(), std::slice::from_ref(&run), 1.0)
        .await
        .expect("planned");
    let measured = |seq, step, loss| Line::new(seq, 1.0, Event::Measured(row(step, loss)));
    let lines = [measured(0, 1, None), measured(1, 2, Some(2.0))];
    store.ingest(&run.id, &lines).await.expect("taken in");
    assert!(store.is_validated(&run.id, Some(2)).await.expect("read"));
    assert!(!store.is_validated(&run.id, Some(1)).await.expect("read"));
    // The journal lost its last line, and its number is used again.
    let next = [measured(1, 3, Some(1.5))];
    store.ingest(&run.id, &next).await.expect("taken in");
    assert!(!store.is_validated(&run.id, Some(3)).await.expect("read"));
    store.journal_ends(&run.id, Some(0)).await.expect("noted");
    store.ingest(&run.id, &next).await.expect("taken in");
    assert!(store.is_validated(&run.id, Some(3)).await.expect("read"));
    // One that has lost nothing changes nothing.
    store.journal_ends(&run.id, Some(7)).await.expect("noted");
    store
        .ingest(&run.id, &[measured(1, 4, Some(1.0))])
        .await
        .expect("taken in");
    assert!(!store.is_validated(&run.id, Some(4)).await.expect("read"));
    store.journal_ends(&run.id, None).await.expect("noted");
    store.ingest(&run.id, &lines).await.expect("taken in");
}

/// One results folder of each earlier version is kept for ever.
#[tokio::test]
async fn many_lines_at_once_are_stored_like_few() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path()).await.expect("a database");
    let run = planned(0);
    let id = store
        .plan(&experiment(), std::slice::from_ref(&run), 1.0)
        .await
        .expect("planned");
    // More than a statement takes, and the last step twice.
    let mut rows: Vec<Measurement> = (1..=300).map(|step| row(step, Some(2.0))).collect();
    rows.push(row(300, Some(1.9)));
    let lines: Vec<Line> = (0..)
        .zip(&rows)
        .map(|(seq, row)| Line::new(seq, 1.0, Event::Measured(row.clone())))
        .collect();
    store.ingest(&run.id, &lines).await.expect("taken in");
    rows.remove(299);
    assert_eq!(store.measurements(&run.id).await.expect("read"), rows);
    let brief = store
        .runs_in_brief(id, Selection::Wanted)
        .await
        .expect("read");
    assert_eq!(brief[0].loss, Some(1.9));
    assert!(
        store
            .runs_in_brief(id, Selection::Removed)
            .await
            .expect("read")
            .is_empty()
    );
}

#[tokio::test]
async fn the_newest_reading_of_a_run_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path()).await.expect("a database");
    let run = planned(0);
    let id = store
        .plan(&experiment(), std::slice::from_ref(&run), 1.0)
        .await
        .expect("planned");
    assert!(store.readings(id).await.expect("read").is_empty());
    let reading = |label: &str| ReadingRecord {
        run: run.id.clone(),
        against: Some(RunId("0".into())),
        contents: vec![ReadContent {
            label: label.into(),
            tokens: 10,
            tokens_per_concept: Some(4.0),
            loss: None,
        }],
        positions: vec![ReadPosition {
            position: 0,
            tokens: 3,
            loss: Some(1.5),
            gain: None,
        }],
    };
    for label in ["first", "second"] {
        let saved = store.save_reading(&reading(label), 1.0).await;
        saved.expect("kept");
    }
    assert_eq!(store.readings(id).await.expect("read"), [reading("second")]);
    let stranger = ReadingRecord {
        run: RunId("unknown".into()),
        ..reading("x")
    };
    assert!(store.save_reading(&stranger, 1.0).await.is_err());
}

#[tokio::test]
async fn where_numbers_come_from_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(folder.path()).await.expect("a database");
    let runs = [planned(0), planned(1)];
    let id = store
        .plan(&experiment(), &runs, 1.0)
        .await
        .expect("planned");
    let record = store.experiment_record(id).await.expect("read");
    assert_eq!(record, experiment());
    assert!(store.experiment_record(id + 1).await.is_err());
    assert_eq!(store.machines(id).await.expect("read"), []);
    for run in &runs {
        let number = store
            .start_attempt(&run.id, &attempt())
            .await
            .expect("started");
        let finished = ended(RunOutcome::Finished);
        store
            .end_attempt(&run.id, number, &finished)
            .await
            .expect("ended");
    }
    let machines = store.machines(id).await.expect("read");
    assert_eq!(machines.len(), 1);
    assert_eq!((machines[0].host.as_str(), machines[0].attempts), ("h", 2));
    let taken = store.seconds_taken(id).await.expect("read");
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().all(|(_, seconds)| *seconds == 3.0));
}
