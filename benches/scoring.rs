//! Scoring against validation: tokens per second of the same model on one CPU.
//!
//! `cargo bench --bench scoring`: the two alternate, and medians and their ratio are printed.

use experiment::architecture::Architecture;
use experiment::recipe::{Recipe, Threshold};
use experiment::run::{DataSpec, Execution, LanguageKind, RunSpec, SyntheticSpec};
use experiment::tasks::Candidate;
use network::{Network, device};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::time::Instant;
use trainer::data;
use trainer::inference::Trained;
use trainer::train::evaluate::Evaluator;
use trainer::train::session::{Place, ask_nothing, train};
use trainer::train::shapes::SHAPES;
use trainer::train::step::Sequences;

const ROUNDS: usize = 9;
const ROWS: usize = 64;

fn main() {
    for shape in &SHAPES[..2] {
        let dlcm = shape.dlcm(4.0).expect("a shape");
        let dense = shape.dense_of_equal_params(&dlcm).expect("a shape");
        for (kind, architecture) in [("dlcm", dlcm), ("dense", dense)] {
            compare(&format!("{} {kind}", shape.name), architecture);
        }
    }
}

/// Letters in the place of tokens, others for every text.
fn letters(text: usize, count: usize) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(text as u64);
    let letters = (0..count).map(|_| char::from(b'a' + random.random_range(0..16u8)));
    letters.collect()
}

fn compare(name: &str, architecture: Architecture) {
    let folder = tempfile::tempdir().expect("a folder");
    let seq_len = architecture.seq_len();
    let trained = trained(architecture, folder.path());
    let architecture = trained.spec.architecture.clone();
    let device = device::open("cpu").expect("a device");
    let network = Network::new(&architecture, 0, &device);
    let mut sequences = Sequences::new(seq_len);
    for row in 0..ROWS {
        let row: Vec<u32> = (row..=row + seq_len)
            .map(|at| (at * 7 % 16) as u32)
            .collect();
        sequences.push(&row);
    }
    let evaluator = Evaluator {
        architecture: &architecture,
        seed: 0,
        sequences: &sequences,
        output_multiplier: 1.0,
        micro_batch: 8,
        device: &device,
        alive: &|| {},
    };
    // Items that fill the sequence, short ones of different lengths, and choices after long contexts, of which four
    // share each: some tokens, or a single one.
    let whole = (0..ROWS).map(|k| candidate(k, seq_len - 8, 8));
    let short = (0..ROWS * 8).map(|k| candidate(k, 12 + k % 40, 4 + k % 5));
    let choices = (0..ROWS).map(|k| Candidate {
        context: letters(k / 4, seq_len / 2),
        continuation: letters(ROWS + k, 4 + k % 4),
    });
    let single = (0..ROWS).map(|k| Candidate {
        context: letters(k / 4, seq_len / 2),
        continuation: char::from(b'a' + (k % 4) as u8).to_string(),
    });
    let kinds: [(&str, Vec<Candidate>); 4] = [
        ("whole", whole.collect()),
        ("short", short.collect()),
        ("choices", choices.collect()),
        ("single tokens", single.collect()),
    ];
    for (kind, candidates) in kinds {
        let tokens: usize = candidates
            .iter()
            .map(|candidate| candidate.context.len() + candidate.continuation.len() - 1)
            .sum();
        let mut speeds = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let start = Instant::now();
            evaluator.evaluate(&network, Threshold::Calibrated, || 0.5);
            speeds[0].push((ROWS * seq_len) as f64 / start.elapsed().as_secs_f64());
            let start = Instant::now();
            trained.score(&candidates, &|_| true).expect("scored");
            speeds[1].push(tokens as f64 / start.elapsed().as_secs_f64());
        }
        let [validation, scoring] = speeds.map(|mut speeds| {
            speeds.sort_by(f64::total_cmp);
            speeds[ROUNDS / 2]
        });
        println!(
            "{name}, {kind}: validation {validation:.0} tokens/s, scoring {scoring:.0} tokens/s, ratio {:.2}",
            scoring / validation
        );
    }
}

fn candidate(text: usize, context: usize, continuation: usize) -> Candidate {
    let letters = letters(text, context + continuation);
    Candidate {
        context: letters[..context].to_owned(),
        continuation: letters[context..].to_owned(),
    }
}

/// Makes a run of one step, whose weights are as good as any here.
fn trained(architecture: Architecture, folder: &Path) -> Trained {
    let data = DataSpec::Synthetic(SyntheticSpec {
        train_tokens: 1 << 16,
        validation_tokens: 4096,
        ..SyntheticSpec::of(LanguageKind::Dialects)
    });
    let facts = data::prepare(&data, folder).expect("data").facts;
    let architecture = with_vocab(architecture, facts.vocab);
    let recipe = Recipe {
        batch: 2,
        tokens: 2 * architecture.seq_len() as u64,
        validations: 1,
        validation_tokens: 1024,
        ..Recipe::default()
    };
    let spec = RunSpec {
        execution: Execution {
            micro_batch: 2,
            threads: 1,
            checkpoint_every: 60.0,
            start: None,
            keeps_end: false,
            evaluation: Default::default(),
        },
        architecture,
        data,
        facts,
        recipe,
        seed: 0,
    };
    let run = folder.join("run");
    std::fs::create_dir_all(&run).expect("made");
    let text = serde_json::to_string(&spec).expect("plain data");
    std::fs::write(run.join("run.json"), text).expect("written");
    let place = Place {
        folder: &run,
        data_cache: folder,
        device: "cpu",
        should_stop: &|| false,
        claim: None,
        at_end: &ask_nothing,
    };
    train(&spec, &place).expect("trained");
    Trained::load(&run, folder, "cpu").expect("loaded")
}

/// The same shape with another vocabulary.
fn with_vocab(architecture: Architecture, vocab: usize) -> Architecture {
    match architecture {
        Architecture::Dlcm(shape) => {
            Architecture::Dlcm(experiment::architecture::Dlcm { vocab, ..shape })
        }
        Architecture::Dense(shape) => {
            Architecture::Dense(experiment::architecture::Dense { vocab, ..shape })
        }
        other => other,
    }
}
