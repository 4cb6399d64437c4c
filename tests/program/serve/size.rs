//! Results made through the store: of strange names, and of many runs.

use crate::serve::browser::Page;
use crate::serve::server::Serving;
use crate::support::Desk;
use campaign::store::{Ended, ExperimentRecord, PlannedRun, StartedAttempt, Store};
use experiment::architecture::solver::ShapeSettings;
use experiment::event::{Event, Line, Measurement};
use experiment::run::{DataFacts, DataSpec, Execution, RunOutcome, RunSpec, TokenizerSpec};
use std::collections::BTreeMap;
use std::path::Path;

/// What a run is that was never trained.
fn specification() -> RunSpec {
    let yaml = "grid: {params: 0.2M, tokens: 1M, concept_share: 0.5, compression_ratio: 4}";
    let experiment = experiment::grid::parse("t.yaml", yaml).expect("valid");
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
        recipe: experiment.cells[0].recipe.clone(),
        seed: 0,
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

fn planned(spec: &RunSpec, seed: u64, axes: &[(&str, String)]) -> PlannedRun {
    let spec = RunSpec {
        seed,
        ..spec.clone()
    };
    let axes = axes.iter();
    PlannedRun {
        id: spec.id(),
        work: spec.into(),
        trial: false,
        flops: Some(1e12),
        axes: axes
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    }
}

/// Makes the start of an attempt.
pub(crate) fn attempt(log: &str) -> StartedAttempt {
    StartedAttempt {
        host: "h".into(),
        device: "cpu".into(),
        hardware: None,
        threads: 1,
        micro_batch: None,
        program_version: "0".into(),
        git_commit: None,
        lock_hash: None,
        started_at: 1.0,
        log_path: log.into(),
    }
}

/// Stores runs; of many, a thousand have ended.
fn store(results: &Path, name: &str, runs: &[PlannedRun], message: Option<&str>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Store::create(results).await.expect("made");
        let experiment = ExperimentRecord {
            name: name.to_owned(),
            config: String::new(),
            config_hash: String::new(),
            program_version: "0".into(),
            git_commit: None,
        };
        store.plan(&experiment, runs, 1.0).await.expect("planned");
        for (i, run) in runs.iter().enumerate().step_by(runs.len().div_ceil(1000)) {
            let attempt = attempt("log.1.txt");
            let number = store.start_attempt(&run.id, &attempt).await.expect("begun");
            let row = Measurement {
                step: 10,
                tokens: Some(40_960),
                flops: Some(1e12),
                loss: Some(3.0),
                validation_loss: Some(3.0 + (i as f64).sin()),
                ..Measurement::default()
            };
            let line = Line::new(0, 2.0, Event::Measured(row));
            store.ingest(&run.id, &[line]).await.expect("taken in");
            let ended = Ended {
                at: 3.0,
                outcome: match message {
                    Some(_) => RunOutcome::Crashed,
                    None => RunOutcome::Finished,
                },
                exit_code: Some(1),
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
    });
}

impl Desk {
    /// Adds results whose experiment, axis and message are this text.
    pub(crate) fn with_results(&self, text: &str) {
        let run = planned(&specification(), 0, &[(text, text.to_owned())]);
        let results = self.path().join("results/nasty");
        store(&results, text, &[run], Some(text));
    }
}

/// A table of a thousand runs that follow a law but for noise.
fn thousand() -> String {
    let mut text = "params,tokens,concept_share,compression_ratio,loss,seed\n".to_owned();
    for i in 0..1000_u32 {
        let params = 2e7 * 2_f64.powi((i % 5) as i32);
        let tokens = 4e8 * 3_f64.powi((i / 5 % 4) as i32);
        let noise = 1.0 + 0.004 * f64::from(i).sin();
        let data = 400.0 / tokens.powf(0.3);
        let (share, ratio, size): (f64, f64, f64) = if i % 10 == 9 {
            (0.0, 1.0, 90.0 / params.powf(0.3))
        } else {
            let share: f64 = [0.3, 0.5, 0.7][(i / 20 % 3) as usize];
            let ratio: f64 = [2.0, 4.0, 8.0][(i / 60 % 3) as usize];
            let token = 60.0 / (params * (1.0 - share)).powf(0.3);
            let concept = 30.0 * ratio.powf(0.15) / (params * share).powf(0.28);
            (share, ratio, token + concept)
        };
        let loss = (1.7 + size + data) * noise;
        let seed = i / 180;
        text += &format!("{params},{tokens},{share},{ratio},{loss:.5},{seed}\n");
    }
    text
}

/// Milliseconds from the request to the first paint, and until the stored fit of a thousand runs is shown.
///
/// `cargo test --release --test program -- --ignored --nocapture a_stored_fit_of_a_thousand`
#[test]
#[ignore = "fits a thousand runs"]
fn a_stored_fit_of_a_thousand_runs_is_shown_at_once() {
    let desk = Desk::new().with("rows.csv", thousand());
    desk.done(&["import", "rows.csv", "--experiment", "thousand"]);
    desk.done(&["fit", "thousand", "--bootstrap", "200"]);
    let server = Serving::start(desk.path(), &[]);
    let Some(page) = Page::open(&format!("{}#/x/thousand/thousand/fit", server.url)) else {
        return;
    };
    page.until("performance.getEntriesByName('fit').length");
    let first = page.value("performance.getEntriesByName('first-contentful-paint')[0].startTime");
    let shown = page.value("performance.getEntriesByName('fit')[0].startTime");
    assert!(
        page.text().contains("The stored fit, made"),
        "{}",
        page.text()
    );
    assert_eq!(page.mistakes(), [""; 0]);
    eprintln!("ms until the first paint: {first}, until the stored fit is shown: {shown}");
}

/// Milliseconds from the request to the first paint, and until all is drawn.
///
/// `cargo test --release --test program -- --ignored --nocapture ten_thousand`
#[test]
#[ignore = "makes ten thousand runs"]
fn ten_thousand_runs_are_drawn_at_once() {
    let desk = Desk::new();
    let spec = specification();
    let runs: Vec<PlannedRun> = (0..10_000)
        .map(|i| {
            let axes = [
                ("params", format!("{}M", i % 10 + 1)),
                ("concept_share", format!("0.{}", i / 10 % 10)),
                ("learning_rate", format!("{}e-3", i / 100 % 10)),
                ("seed", format!("{}", i / 1000)),
            ];
            planned(&spec, i, &axes)
        })
        .collect();
    store(&desk.path().join("results/many"), "many", &runs, None);
    let server = Serving::start(desk.path(), &[]);
    let mut figures = BTreeMap::new();
    for tab in ["grid", "runs"] {
        let Some(page) = Page::open(&format!("{}#/x/many/many/{tab}", server.url)) else {
            return;
        };
        page.until("performance.getEntriesByName('drawn').length");
        let first =
            page.value("performance.getEntriesByName('first-contentful-paint')[0].startTime");
        let drawn = page.value("performance.getEntriesByName('drawn')[0].startTime");
        figures.insert(tab, (first, drawn));
        assert_eq!(page.mistakes(), [""; 0]);
    }
    eprintln!("ms until the first paint and until all is drawn: {figures:?}");
}
