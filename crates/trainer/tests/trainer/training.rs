//! Training as a whole: it learns, it resumes to the same numbers, accumulation changes nothing.

use experiment::architecture::solver::ShapeSettings;
use experiment::architecture::{Architecture, Window};
use experiment::event::{Event, Line, Measurement};
use experiment::recipe::{BoundaryGradient, LearningRates, Recipe, Regularisation};
use experiment::run::{
    DataSpec, Execution, LanguageKind, Paths, RunOutcome, RunSpec, SyntheticSpec,
};
use network::device;
use std::cell::Cell;
use std::path::Path;
use trainer::data;
use trainer::train::session::{Place, ask_nothing, train};

fn recipe(steps: u64) -> Recipe {
    Recipe {
        tokens: steps * 8 * 64,
        batch: 8,
        validations: 3,
        validation_tokens: 1024,
        ..Recipe::default()
    }
}

fn synthetic() -> DataSpec {
    DataSpec::Synthetic(SyntheticSpec {
        document_words: 6,
        document_tokens: 64,
        train_tokens: 1 << 20,
        validation_tokens: 8192,
        seed: 1,
        ..SyntheticSpec::of(LanguageKind::Cycles)
    })
}

fn spec(architecture: impl FnOnce(usize) -> Architecture, recipe: Recipe) -> RunSpec {
    let folder = tempfile::tempdir().expect("a folder");
    let facts = data::prepare(&synthetic(), folder.path())
        .expect("synthetic data")
        .facts;
    RunSpec {
        architecture: architecture(facts.vocab),
        data: synthetic(),
        facts,
        recipe,
        seed: 3,
        execution: Execution {
            micro_batch: 8,
            threads: 1,
            checkpoint_every: f64::from(Execution::CHECKPOINT_EVERY),
            start: None,
            keeps_end: false,
            evaluation: Default::default(),
        },
    }
}

fn settings() -> ShapeSettings {
    ShapeSettings {
        seq_len: 64,
        token_window: Window::Local(8),
        ..ShapeSettings::default()
    }
}

fn dlcm(vocab: usize) -> Architecture {
    settings()
        .solve_dlcm(60_000, 0.4, 4.0, vocab)
        .expect("a shape")
}

fn dense(vocab: usize) -> Architecture {
    settings().solve_dense(50_000, vocab).expect("a shape")
}

fn place<'a>(folder: &'a Path, should_stop: &'a dyn Fn() -> bool) -> Place<'a> {
    Place {
        folder,
        data_cache: folder,
        device: device::named().leak(),
        should_stop,
        claim: None,
        at_end: &ask_nothing,
    }
}

/// Says whether tests run with the program's own kernels, which alone promise the same bits however
/// a batch is divided.
fn has_own_kernels() -> bool {
    let own = device::named() == "cpu";
    if !own {
        eprintln!("SKIPPED: a property of the program's own kernels");
    }
    own
}

fn rows(folder: &Path) -> Vec<Measurement> {
    let text = std::fs::read_to_string(folder.join("events.jsonl")).expect("a journal");
    let rows = text
        .lines()
        .filter_map(|line| match Line::decode(line).expect("a line").event {
            // Speed is the one thing that may differ.
            Event::Measured(row) => Some(Measurement {
                tokens_per_second: None,
                ..row
            }),
            _ => None,
        });
    rows.collect()
}

fn run(spec: &RunSpec) -> Vec<Measurement> {
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = train(spec, &place(folder.path(), &|| false)).expect("training");
    assert_eq!(outcome, RunOutcome::Finished);
    rows(folder.path())
}

#[test]
fn both_kinds_learn_and_measure_everything() {
    let start = (24f64).ln();
    let hierarchical = spec(dlcm, recipe(150));
    let floor = hierarchical.facts.entropy_floor.expect("known");
    let last = run(&hierarchical).pop().expect("rows");
    let loss = last.validation_loss.expect("measured");
    assert!(
        loss > floor && loss < 0.75 * start,
        "{loss} is not between {floor} and {start}"
    );
    assert_eq!(last.tokens, Some(150 * 8 * 64));
    assert!(last.flops.expect("counted") > 0.0);
    let realised = last.realised_thresholded.expect("measured");
    assert!((2.5..6.0).contains(&realised), "{realised}");
    assert!(last.realised_sampled.is_some() && last.auxiliary_loss.is_some());
    assert!(last.concept_gain.is_some() && last.boundary_gain.is_some());
    assert_eq!(
        last.bits_per_byte.is_some(),
        hierarchical.facts.bytes_per_token.is_some()
    );

    let last = run(&spec(dense, recipe(150))).pop().expect("rows");
    let loss = last.validation_loss.expect("measured");
    assert!(loss > floor && loss < 0.75 * start, "{loss}");
    assert_eq!((last.realised_thresholded, last.concept_gain), (None, None));
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_numbers() {
    let spec = spec(dlcm, recipe(24));
    let whole = run(&spec);
    let folder = tempfile::tempdir().expect("a folder");
    for stop_after in [5, 9, u64::MAX] {
        let steps = Cell::new(0);
        let stop = || {
            steps.set(steps.get() + 1);
            steps.get() > stop_after
        };
        let outcome = train(&spec, &place(folder.path(), &stop)).expect("training");
        let expected = match stop_after {
            u64::MAX => RunOutcome::Finished,
            _ => RunOutcome::Interrupted,
        };
        assert_eq!(outcome, expected);
    }
    assert_eq!(rows(folder.path()), whole);
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let spec = spec(dlcm, recipe(16));
    let whole = run(&spec);
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        let steps = Cell::new(0);
        let stop = || {
            steps.set(steps.get() + 1);
            steps.get() > 4
        };
        train(&spec, &place(folder.path(), &stop)).expect("training");
    }
    let newest = folder.path().join("checkpoint.safetensors");
    let mut bytes = std::fs::read(&newest).expect("a checkpoint");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).expect("damaged");
    train(&spec, &place(folder.path(), &|| false)).expect("training");
    assert_eq!(rows(folder.path()).last(), whole.last());
}

/// Trains in `folder` until `stop_after` steps were taken.
fn stopped(spec: &RunSpec, folder: &Path, stop_after: u64) {
    let steps = Cell::new(0);
    let stop = || {
        steps.set(steps.get() + 1);
        steps.get() > stop_after
    };
    let outcome = train(spec, &place(folder, &stop)).expect("training");
    assert_eq!(outcome, RunOutcome::Interrupted);
}

#[test]
fn a_run_whose_checkpoints_are_all_damaged_begins_again() {
    let spec = spec(dense, recipe(12));
    let folder = tempfile::tempdir().expect("a folder");
    stopped(&spec, folder.path(), 3);
    let newest = folder.path().join("checkpoint.safetensors");
    let bytes = std::fs::read(&newest).expect("a checkpoint");
    std::fs::write(&newest, &bytes[..bytes.len() / 2]).expect("truncated");
    stopped(&spec, folder.path(), 5);
    assert!(
        folder.path().join("checkpoint.unusable").exists(),
        "it is set aside"
    );
    train(&spec, &place(folder.path(), &|| false)).expect("training");
    assert_eq!(rows(folder.path()).last(), run(&spec).last());
}

#[test]
fn a_run_killed_before_it_could_say_that_it_has_finished_is_not_repeated() {
    let spec = spec(dlcm, recipe(8));
    let folder = tempfile::tempdir().expect("a folder");
    let again = || {
        let outcome = train(&spec, &place(folder.path(), &|| false)).expect("training");
        assert_eq!(outcome, RunOutcome::Finished);
        rows(folder.path())
    };
    let once = again();
    let journal = folder.path().join("events.jsonl");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    let cut = text.trim_end().rfind('\n').expect("lines") + 1;
    assert!(text[cut..].contains("finished"));
    std::fs::write(&journal, &text[..cut]).expect("cut");
    assert_eq!(again(), once, "nothing was trained again");
    // Without the last measurement it is: to the same numbers.
    let cut = text[..cut - 1].rfind('\n').expect("lines") + 1;
    std::fs::write(&journal, &text[..cut + 20]).expect("torn");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    assert!(text.lines().count() < once.len() + 2);
    train(&spec, &place(folder.path(), &|| false)).expect("training");
    let text = std::fs::read_to_string(&journal).expect("a journal");
    let lines = text.lines().filter_map(|line| Line::decode(line).ok());
    let mut last = lines.filter_map(|line| match line.event {
        Event::Measured(row) => row.validation_loss,
        _ => None,
    });
    let expected = once.last().expect("rows").validation_loss;
    assert_eq!(last.next_back(), expected);
}

#[test]
fn two_processes_never_train_one_run() {
    let spec = spec(dense, recipe(4));
    let folder = tempfile::tempdir().expect("a folder");
    let lock = experiment::lock::Lock::take(folder.path(), "training process").expect("free");
    let refused = train(&spec, &place(folder.path(), &|| false)).expect_err("held");
    let said = refused.to_string();
    assert!(said.contains("another training process"), "{said}");
    assert!(
        !folder.path().join("events.jsonl").exists(),
        "nothing was written"
    );
    drop(lock);
    train(&spec, &place(folder.path(), &|| false)).expect("free again");
}

/// Trains in a folder of its own in `runs`, stopped after so many steps and continued.
fn train_in(runs: &Path, spec: &RunSpec, stops: &[u64]) -> Vec<Measurement> {
    let folder = runs.join(&spec.id().0);
    std::fs::create_dir_all(&folder).expect("made");
    for &stop_after in stops.iter().chain(&[u64::MAX]) {
        let steps = Cell::new(0);
        let stop = || {
            steps.set(steps.get() + 1);
            steps.get() > stop_after
        };
        let place = Place {
            data_cache: runs,
            ..place(&folder, &stop)
        };
        let outcome = train(spec, &place).expect("training");
        let ends = stop_after == u64::MAX;
        assert_eq!(outcome == RunOutcome::Finished, ends, "{outcome:?}");
    }
    rows(&folder)
}

/// The first `steps` of a run as a piece of trunk, which goes on from another.
fn piece(alone: &RunSpec, steps: u64, after: Option<&RunSpec>) -> RunSpec {
    let mut piece = alone.clone();
    piece.recipe.tokens = steps * 8 * 64;
    piece.recipe.schedule.warmup = 1.0 / steps as f64;
    piece.recipe.schedule.decay = 0.0;
    piece.execution.keeps_end = true;
    piece.execution.start = after.map(end_of);
    piece
}

fn end_of(run: &RunSpec) -> experiment::run::Start {
    experiment::run::Start {
        run: run.id(),
        step: run.recipe.steps(64),
    }
}

#[test]
fn a_branch_is_to_the_last_bit_the_run_it_is_alone() {
    // One step of warmup, and five of decay after 19.
    let alone = spec(dlcm, recipe(24));
    let expected = run(&alone);
    let first = piece(&alone, 10, None);
    let second = piece(&alone, 19, Some(&first));
    let mut branch = alone.clone();
    branch.execution.start = Some(end_of(&second));
    assert_eq!(branch.id(), alone.id());
    for stops in [&[][..], &[3, 1]] {
        let runs = tempfile::tempdir().expect("a folder");
        let mut trunk = train_in(runs.path(), &first, stops);
        trunk.extend(train_in(runs.path(), &second, stops));
        let decayed = train_in(runs.path(), &branch, stops);
        assert_eq!(decayed, expected[19..]);
        // The trunk validates at other steps; it trains on the same.
        let trained = |row: &Measurement| {
            let numbers = (row.loss, row.auxiliary_loss, row.gradient_norm);
            (row.step, row.tokens, row.flops, numbers, row.rate_share)
        };
        let trunk: Vec<_> = trunk.iter().map(trained).collect();
        let begun: Vec<_> = expected[..19].iter().map(trained).collect();
        assert_eq!(trunk, begun);
        let stable = rows(&runs.path().join(&second.id().0)).pop().expect("rows");
        assert!(stable.validation_loss.is_some() && stable.concept_gain.is_some());
    }
}

#[test]
fn a_trunk_whose_end_is_damaged_or_lost_is_asked_for_again() {
    let alone = spec(dense, recipe(8));
    let trunk = piece(&alone, 6, None);
    let mut branch = alone.clone();
    branch.execution.start = Some(end_of(&trunk));
    let runs = tempfile::tempdir().expect("a folder");
    train_in(runs.path(), &trunk, &[]);
    let folder = runs.path().join(&branch.id().0);
    std::fs::create_dir_all(&folder).expect("made");
    let fails = || {
        let place = Place {
            data_cache: runs.path(),
            ..place(&folder, &|| false)
        };
        train(&branch, &place).expect_err("no start").to_string()
    };
    let end = runs.path().join(&trunk.id().0).join("end.safetensors");
    let mut bytes = std::fs::read(&end).expect("a state");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&end, bytes).expect("damaged");
    let said = fails();
    assert!(
        said.contains("checksum") && said.contains(&trunk.id().0),
        "{said}"
    );
    assert!(!end.exists(), "it is set aside");
    let said = fails();
    assert!(
        said.contains("end.safetensors") && said.contains("run again"),
        "{said}"
    );
    train_in(runs.path(), &trunk, &[]);
    assert_eq!(
        train_in(runs.path(), &branch, &[]).last(),
        run(&alone).last()
    );
}

#[test]
fn accumulated_steps_equal_whole_ones() {
    for regularisation in [Regularisation::Global, Regularisation::PerSequence] {
        let mut whole = spec(dlcm, recipe(6));
        whole.recipe.boundary.regularisation = regularisation;
        whole.recipe.boundary.gradient = BoundaryGradient::Encoder;
        let mut parts = whole.clone();
        parts.execution.micro_batch = 3;
        assert_eq!(
            whole.id(),
            parts.id(),
            "how a run is carried out is not what it is"
        );
        for (whole, parts) in run(&whole).iter().zip(run(&parts)) {
            let close = |a: Option<f64>, b: Option<f64>| {
                let (a, b) = (a.expect("measured"), b.expect("measured"));
                assert!((a - b).abs() <= 2e-4 * a.abs().max(1e-2), "{a} {b}");
            };
            close(whole.loss, parts.loss);
            close(whole.auxiliary_loss, parts.auxiliary_loss);
            close(whole.gradient_norm, parts.gradient_norm);
        }
    }
}

#[test]
fn a_batch_in_its_two_halves_is_to_the_last_bit_the_whole() {
    if !has_own_kernels() {
        return;
    }
    for shape in [dlcm as fn(usize) -> Architecture, dense] {
        let whole = spec(shape, recipe(12));
        let mut halves = whole.clone();
        halves.execution.micro_batch = 4;
        assert_eq!(run(&whole), run(&halves));
    }
}

#[test]
fn losses_do_not_depend_on_the_number_of_threads() {
    if !has_own_kernels() {
        return;
    }
    let spec = spec(dlcm, recipe(12));
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(|| run(&spec))
    };
    let one = on(1);
    assert_eq!(one, on(2));
    assert_eq!(one, on(3));
}

#[test]
fn a_huge_rate_is_an_outcome() {
    let mut spec = spec(dlcm, recipe(40));
    spec.recipe.rates = LearningRates {
        token: 1e9,
        concept: 1e9,
        other: 1e9,
        base_width: 64,
    };
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = train(&spec, &place(folder.path(), &|| false)).expect("training");
    assert_eq!(outcome, RunOutcome::Diverged);
    assert!(
        rows(folder.path())
            .iter()
            .all(|row| row.loss.is_none_or(f64::is_finite))
    );
}

/// Trains and expects an end by itself, with nothing but finite numbers on the way.
fn ends_well(spec: &RunSpec) -> RunOutcome {
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = train(spec, &place(folder.path(), &|| false)).expect("training");
    let finite = |value: Option<f64>| value.is_none_or(f64::is_finite);
    for row in rows(folder.path()) {
        let values = [
            row.loss,
            row.validation_loss,
            row.auxiliary_loss,
            row.gradient_norm,
            row.realised_sampled,
            row.realised_thresholded,
            row.concept_gain,
            row.boundary_gain,
        ];
        assert!(values.into_iter().all(finite), "{row:?}");
    }
    outcome
}

#[test]
fn extreme_ratios_train() {
    for ratio in [1.01, 64.0, 1000.0] {
        let shape = |vocab| {
            settings()
                .solve_dlcm(60_000, 0.4, ratio, vocab)
                .expect("a shape")
        };
        let outcome = ends_well(&spec(shape, recipe(6)));
        assert_eq!(outcome, RunOutcome::Finished, "{ratio}");
    }
}

#[test]
fn tokens_that_are_all_equal_train() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.bin");
    std::fs::write(&path, [7u8, 0].repeat(4000)).expect("written");
    let data = DataSpec::Tokens {
        train: Paths::One(path.to_str().expect("UTF-8").to_owned()),
        validation: None,
        width: None,
        vocab: 24,
        validation_share: 0.3,
        accept_doubtful: false,
    };
    let mut spec = spec(dlcm, recipe(6));
    spec.facts = data::prepare(&data, folder.path()).expect("tokens").facts;
    spec.data = data;
    assert_eq!(ends_well(&spec), RunOutcome::Finished);
}

#[test]
fn evaluation_meets_the_declared_ratio() {
    for ratio in [2.0, 4.0, 8.0] {
        let shape = |vocab| {
            settings()
                .solve_dlcm(60_000, 0.4, ratio, vocab)
                .expect("a shape")
        };
        let mut spec = spec(shape, recipe(30));
        spec.recipe.validation_tokens = 8192;
        let last = run(&spec).pop().expect("measured");
        let found = last.realised_thresholded.expect("a ratio");
        assert!((found / ratio - 1.0).abs() < 0.02, "{ratio}: {found}");
    }
}
