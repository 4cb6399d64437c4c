//! Weights written for other programs: the file, and that it gives the stored loss.

use burn::tensor::Device;
use experiment::architecture::Architecture;
use experiment::event::{Event, Line};
use experiment::recipe::Threshold;
use experiment::run::{RunOutcome, RunSpec};
use network::device;
use network::{HostTensor, HostTensors, Network};
use safetensors::tensor::SafeTensors;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use trainer::data::{self, Batches};
use trainer::train::evaluate::Evaluator;
use trainer::train::session::{Place, ask_nothing, train};
use trainer::train::step::Sequences;

/// The device that tests run on.
fn device() -> Device {
    device::open(&device::named()).expect("a device")
}

const TINY: &str = "
name: tiny
grid: {params: 60000, tokens: 8192, concept_share: [0.3, 0.5], compression_ratio: 4}
baselines: {params: 50000, tokens: 8192}
model: {seq_len: 64, token_window: 8}
data: {synthetic: {language: cycles, document_tokens: 64, document_words: 6}}
training: {batch: 8, validations: 2, validation_tokens: 512, threshold: 0.5}
analysis: {bootstrap: 20}
";

/// Runs the program in a folder; returns its exit status and what it said.
fn program(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = crate::support::command(folder, args).output().expect("ran");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(said).expect("UTF-8"),
    )
}

fn export(folder: &Path, run: &str, file: &str, more: &[&str]) -> (Option<i32>, String) {
    let args = ["export", run, "--safetensors", file];
    program(folder, &[&args, more].concat())
}

/// The folders of the runs in a results folder.
fn runs(results: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(results.join("runs")).expect("runs");
    folders.flatten().map(|entry| entry.path()).collect()
}

fn spec(run: &Path) -> RunSpec {
    let text = std::fs::read(run.join("run.json")).expect("a specification");
    serde_json::from_slice(&text).expect("readable")
}

fn id(run: &Path) -> String {
    let name = run.file_name().expect("a name");
    name.to_string_lossy().into_owned()
}

fn open(path: &Path) -> (HostTensors, HashMap<String, String>) {
    let bytes = std::fs::read(path).expect("readable");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
    let file = SafeTensors::deserialize(&bytes).expect("tensors");
    let weights = file.tensors().into_iter().map(|(name, view)| {
        let weight = HostTensor::from_bytes(view.shape().to_vec(), view.data().to_vec());
        (name, weight)
    });
    (weights.collect(), header.metadata().clone().expect("some"))
}

/// The held-out loss of exported weights, from the file and the data alone.
fn loss(file: &Path, spec: &RunSpec, data_cache: &Path) -> f64 {
    let (weights, metadata) = open(file);
    let architecture: Architecture =
        serde_json::from_str(&metadata["architecture"]).expect("a shape");
    let device = device();
    let network = Network::new(&architecture, 0, &device)
        .with_weights(&weights)
        .expect("all weights");
    let number = |key: &str| metadata[key].parse::<f64>().expect("a number");
    let seq_len = architecture.seq_len();
    let dataset = data::prepare(&spec.data, data_cache).expect("data");
    let batches = Batches::new(&dataset, seq_len, spec.seed).expect("long enough");
    let mut sequences = Sequences::new(seq_len);
    for row in batches.validation(spec.recipe.validation_tokens / seq_len as u64) {
        sequences.push(&row);
    }
    let beats = std::cell::Cell::new(0);
    let evaluator = Evaluator {
        architecture: &architecture,
        seed: spec.seed,
        sequences: &sequences,
        output_multiplier: number("output_multiplier"),
        micro_batch: spec.execution.micro_batch,
        device: &device,
        alive: &|| beats.set(beats.get() + 1),
    };
    let threshold = match &architecture {
        Architecture::Dense(_) | Architecture::TokenOnly(_) => 0.5,
        Architecture::Dlcm(_) => number("threshold"),
    };
    let evaluation = evaluator.evaluate(&network, Threshold::Fixed(threshold), || threshold);
    assert!(beats.get() > 0, "an evaluation says nothing while it works");
    evaluation.loss
}

/// The last held-out loss in a run's journal.
fn stored_loss(run: &Path) -> f64 {
    let text = std::fs::read_to_string(run.join("events.jsonl")).expect("a journal");
    let mut losses = text.lines().filter_map(|line| match Line::decode(line) {
        Ok(line) => match line.event {
            Event::Measured(row) => row.validation_loss,
            _ => None,
        },
        Err(_) => None,
    });
    losses.next_back().expect("a validation")
}

#[test]
fn exported_weights_give_the_stored_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::write(folder.join("tiny.yaml"), TINY).expect("written");
    let (status, said) = program(folder, &["run", "tiny.yaml"]);
    assert_eq!(status, Some(0), "{said}");
    let runs = runs(&folder.join("results/tiny"));
    assert_eq!(runs.len(), 3);
    for run in &runs {
        let (status, said) = export(folder, &id(run)[..8], "model.safetensors", &["--force"]);
        assert_eq!(status, Some(0), "{said}");
        assert!(
            said.contains(&id(run)) && !said.contains("warning"),
            "{said}"
        );
        let spec = spec(run);
        let file = folder.join("model.safetensors");
        let (weights, metadata) = open(&file);
        let elements = weights.values().map(|weight| weight.values().len() as u64);
        let counts = spec.architecture.params();
        assert_eq!(elements.sum::<u64>(), counts.total());
        assert_eq!(metadata["run"], id(run));
        assert_eq!(metadata["format_version"], "1");
        assert_eq!(metadata["tokens"], "8192");
        assert_eq!(
            metadata.contains_key("threshold"),
            spec.architecture.has_concepts()
        );
        let recipe: serde_json::Value =
            serde_json::from_str(&metadata["recipe"]).expect("a recipe");
        assert_eq!(recipe["batch"], 8);
        // The same numbers through the same operations: the same loss to the last bit.
        assert_eq!(
            loss(&file, &spec, &folder.join("cache/data")),
            stored_loss(run)
        );
    }
    // Nothing is replaced, and nothing but the file is left, unless asked.
    let before = std::fs::read(folder.join("model.safetensors")).expect("a file");
    let (status, said) = export(folder, &id(&runs[0]), "model.safetensors", &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("--force"), "{said}");
    let after = std::fs::read(folder.join("model.safetensors")).expect("a file");
    assert_eq!(before, after);
    assert!(!folder.join("model.safetensors.tmp").exists());
    // A run's folder names it too; so does its place.
    let path = runs[0].display().to_string();
    assert_eq!(export(folder, &path, "by-path.safetensors", &[]).0, Some(0));
    let place = ["--results", "results/tiny"];
    let (status, said) = export(folder, &id(&runs[0]), "by-place.safetensors", &place);
    assert_eq!(status, Some(0), "{said}");

    for (run, file, more, expected) in [
        ("nothing", "new", &[][..], "begins with `nothing`"),
        ("no/such", "new", &[], "`no/such` is no run"),
        (&id(&runs[0]), ".", &[], "is a folder"),
        (&id(&runs[0]), "no/such/new", &[], "no/such/new"),
        (
            &id(&runs[0]),
            "new",
            &["--results", "elsewhere"],
            "elsewhere",
        ),
    ] {
        let (status, said) = export(folder, run, file, more);
        assert_eq!(status, Some(2), "{run} {file}: {said}");
        assert!(said.replace("\n  │ ", "").contains(expected), "{said}");
    }
    assert!(!folder.join("new").exists());
}

#[test]
fn a_run_before_its_end_gives_its_newest_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::write(folder.join("tiny.yaml"), TINY).expect("written");
    let (status, said) = program(folder, &["run", "tiny.yaml"]);
    assert_eq!(status, Some(0), "{said}");
    let finished = runs(&folder.join("results/tiny"));
    let finished = finished
        .iter()
        .find(|run| spec(run).architecture.has_concepts());
    let finished = finished.expect("a hierarchical run");

    let run = folder.join("interrupted");
    std::fs::create_dir(&run).expect("made");
    std::fs::copy(finished.join("run.json"), run.join("run.json")).expect("copied");
    let (status, said) = export(folder, "./interrupted", "model.safetensors", &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("holds no weights"), "{said}");

    // Stopped before the first validation, which would have chosen a threshold.
    let steps = std::cell::Cell::new(0);
    let place = Place {
        folder: &run,
        data_cache: &folder.join("cache/data"),
        device: device::named().leak(),
        should_stop: &|| {
            steps.set(steps.get() + 1);
            steps.get() > 3
        },
        claim: None,
        at_end: &ask_nothing,
    };
    let outcome = train(&spec(&run), &place).expect("training");
    assert_eq!(outcome, RunOutcome::Interrupted);
    let (status, said) = export(folder, "./interrupted", "model.safetensors", &[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("after 3 of 16 steps"), "{said}");
    let (_, metadata) = open(&folder.join("model.safetensors"));
    assert_eq!((&*metadata["step"], &*metadata["tokens"]), ("3", "1536"));
    let threshold: f64 = metadata["threshold"].parse().expect("a number");
    assert!((0.0..1.0).contains(&threshold), "{threshold}");
}
