//! What training a run takes on this machine, found by taking some of its steps.

use super::TrainError;
use super::evaluate::Evaluator;
use super::session::{check_causality, widths};
use super::step::Sequences;
use super::timing::{Untrained, median, random_batch};
use crate::data;
use experiment::clock::now;
use experiment::plan::Cost;
use experiment::run::RunSpec;
use network::device;
use std::path::Path;
use std::time::Instant;

/// Where and for how long a run's costs are measured.
pub struct Measuring<'a> {
    /// Where prepared data are kept.
    pub data_cache: &'a Path,
    /// Name of the device.
    pub device: &'a str,
    /// When this process was started, in seconds since the Unix epoch.
    pub started: f64,
    /// Steps are taken until so many seconds have passed.
    pub seconds: f64,
}

/// How far the rate of boundaries goes beyond the declared one early in a run, as a factor.
///
/// Of the quickstart's runs at R of 2 and 4 none went further.
const OVERSHOOT: f64 = 1.6;

/// Does what a run's process does up to its first step, calls `ready`, and when that returns takes
/// steps and evaluates.
///
/// # Errors
/// When data or device fail.
pub fn measure(
    spec: &RunSpec,
    measuring: &Measuring,
    ready: impl FnOnce(),
) -> Result<Cost, TrainError> {
    // Steps before those that are timed, and the fewest that are: a GPU is fast once its steps are
    // recorded.
    let (warm_up, fewest) = if device::is_cpu(measuring.device) {
        (1, 1)
    } else {
        (8, 5)
    };
    let device = device::open(measuring.device)?.autodiff();
    // Read, or generated, as every run's process does.
    let _dataset = data::prepare(&spec.data, measuring.data_cache)?;
    let micro_batch = spec.execution.micro_batch;
    let mut model = Untrained::new(&spec.architecture, &spec.recipe, micro_batch, &device);
    check_causality(spec, model.network(), &device)?;
    // A predictor on its way to the declared rate goes beyond it, and more concepts take more memory.
    let rate = 1.0 / spec.architecture.compression_ratio();
    for _ in 0..warm_up {
        model.step((OVERSHOOT * rate).min(1.0));
    }
    let warm = now() - measuring.started;
    ready();

    let begun = Instant::now();
    let mut steps = Vec::new();
    while steps.len() < fewest || begun.elapsed().as_secs_f64() < measuring.seconds {
        steps.push(model.step(rate).0);
    }
    let step = median(&steps);
    let tokens = (spec.recipe.batch * spec.architecture.seq_len()) as f64;

    // A micro-batch of each fold.
    let rows = (spec.recipe.validation_tokens as usize / spec.architecture.seq_len())
        .min(2 * micro_batch)
        .max(1);
    let (sequences, _) = random_batch(&spec.architecture, rows, 0, rate);
    let (evaluation, gains) = time_evaluation(&model, spec, &sequences);
    Ok(Cost {
        start: (warm - f64::from(warm_up) * step).max(0.0),
        training: step / tokens,
        evaluation,
        gains,
        memory: device::peak_memory(measuring.device),
    })
}

/// Times an evaluation and what the last one measures besides, in seconds for a held-out token.
fn time_evaluation(model: &Untrained, spec: &RunSpec, sequences: &Sequences) -> (f64, f64) {
    let device = model.device().clone().inner();
    let evaluator = Evaluator {
        architecture: &spec.architecture,
        seed: spec.seed,
        sequences,
        output_multiplier: spec
            .recipe
            .output_multiplier(widths(&spec.architecture).token),
        micro_batch: spec.execution.micro_batch,
        device: &device,
        alive: &|| {},
    };
    let threshold = spec.recipe.boundary.threshold;
    let evaluate = || evaluator.evaluate(model.network(), threshold, || 0.5);
    // What is made once is made before.
    evaluate();
    let start = Instant::now();
    let plain = evaluate();
    let evaluated = Instant::now();
    // A model without concepts has none, and that takes no time.
    let _ = evaluator.gains(model.network(), plain);
    let tokens = sequences.inputs.len() as f64;
    (
        (evaluated - start).as_secs_f64() / tokens,
        evaluated.elapsed().as_secs_f64() / tokens,
    )
}
