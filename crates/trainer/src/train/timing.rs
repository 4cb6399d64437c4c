//! How long training steps take: whole steps, as a run takes them, of a model nobody trained.
//!
//! Tokens and boundaries are pseudo-random, by a rule that is a line in any language, so that another
//! implementation can be timed on the same work. Boundaries fall at the declared rate: an untrained
//! predictor's would not.

use super::TrainError;
use super::optimizer::Optimizer;
use super::replay::Replays;
use super::session::widths;
use super::step::{Sequences, Settings};
use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use experiment::architecture::Architecture;
use experiment::recipe::{Precision, Recipe};
use network::{Decision, Network, compute_type, device, ops};
use std::time::Instant;

/// What timed steps gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// Seconds of each timed step.
    pub seconds: Vec<f64>,
    /// Tokens in a step.
    pub tokens: usize,
    /// Tokens per concept over the timed steps; 1 for a dense model.
    pub realised_ratio: f64,
    /// Cross-entropy of the last step, nats per token.
    pub loss: f64,
}

impl Timing {
    /// Computes the tokens per second of the median step.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / median(&self.seconds)
    }
}

/// Finds the median of some numbers, the upper of two.
pub(super) fn median(numbers: &[f64]) -> f64 {
    let mut numbers = numbers.to_vec();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Times `steps` training steps after `warmup` others, on the threads this process has.
///
/// # Errors
/// When the device is not available.
pub fn time_steps(
    architecture: &Architecture,
    recipe: &Recipe,
    warmup: u64,
    steps: u64,
    device_name: &str,
) -> Result<Timing, TrainError> {
    let device = device::open(device_name)?.autodiff();
    let mut model = Untrained::new(architecture, recipe, recipe.batch, &device);
    let mut timing = Timing {
        seconds: Vec::with_capacity(steps as usize),
        tokens: recipe.batch * architecture.seq_len(),
        realised_ratio: 0.0,
        loss: 0.0,
    };
    let rate = 1.0 / architecture.compression_ratio();
    for _ in 0..warmup {
        model.step(rate);
    }
    for _ in 0..steps {
        let (seconds, passes) = model.step(rate);
        timing.seconds.push(seconds);
        timing.realised_ratio += passes.realised_ratio.unwrap_or(1.0) / steps as f64;
        timing.loss = passes.loss;
    }
    Ok(timing)
}

/// A model that nobody trained, for its steps to be timed.
pub(super) struct Untrained<'a> {
    architecture: &'a Architecture,
    recipe: &'a Recipe,
    micro_batch: usize,
    device: &'a Device,
    /// `None` while a step is taken: its weights are updated in place.
    network: Option<Network>,
    optimizer: Optimizer,
    replays: Replays,
    steps: u64,
}

/// What a timed step came to.
pub(super) struct Step {
    /// Tokens per concept; `None` for a dense model.
    pub(super) realised_ratio: Option<f64>,
    /// Cross-entropy, nats per token.
    pub(super) loss: f64,
}

impl<'a> Untrained<'a> {
    /// Builds it on a device with autodiff.
    pub(super) fn new(
        architecture: &'a Architecture,
        recipe: &'a Recipe,
        micro_batch: usize,
        device: &'a Device,
    ) -> Self {
        let network = Network::new(architecture, 0, device)
            .with_precision(recipe.precision)
            .train();
        Self {
            architecture,
            recipe,
            micro_batch,
            device,
            network: Some(network),
            optimizer: Optimizer::default(),
            replays: Replays::default(),
            steps: 0,
        }
    }

    pub(super) fn network(&self) -> &Network {
        let network = self.network.as_ref();
        network.unwrap_or_else(|| unreachable!("no step is being taken"))
    }

    pub(super) fn device(&self) -> &Device {
        self.device
    }

    /// Takes a step with boundaries at random at a rate, and says how many seconds it took.
    pub(super) fn step(&mut self, rate: f64) -> (f64, Step) {
        let Some(network) = self.network.take() else {
            unreachable!("no step is being taken");
        };
        let widths = widths(self.architecture);
        let settings = Settings {
            recipe: self.recipe,
            output_multiplier: self.recipe.output_multiplier(widths.token),
            architecture: self.architecture,
            micro_batch: self.micro_batch,
            device: self.device,
        };
        let rows = self.recipe.batch;
        let (sequences, decision) = random_batch(self.architecture, rows, self.steps, rate);
        self.steps += 1;
        let start = Instant::now();
        let passes = settings.run(&network, &sequences, &decision, &mut self.replays);
        let (recipe, gradients) = (self.recipe, passes.gradients);
        let (network, norm) = self
            .optimizer
            .step(network, gradients, recipe, widths, self.steps, 1e-3);
        norm.read();
        let loss = passes.loss.read();
        let seconds = start.elapsed().as_secs_f64();
        self.network = Some(network);
        let step = Step {
            realised_ratio: passes.realised_ratio,
            loss,
        };
        (seconds, step)
    }
}

/// Draws a step's tokens, and boundaries at a rate.
pub(super) fn random_batch(
    architecture: &Architecture,
    rows: usize,
    step: u64,
    rate: f64,
) -> (Sequences, Decision) {
    let (seq_len, vocab) = (architecture.seq_len(), architecture.vocab() as u32);
    let first = (step as u32).wrapping_mul(rows as u32).wrapping_add(1);
    let mut sequences = Sequences::new(seq_len);
    let mut uniforms = Vec::with_capacity(rows * seq_len);
    for index in (0..rows as u32).map(|row| first.wrapping_add(row)) {
        let tokens = Lcg::new(0x85eb_ca6b, index).take(seq_len + 1);
        sequences.push(&tokens.map(|x| (x >> 8) % vocab).collect::<Vec<_>>());
        let numbers = Lcg::new(0x9e37_79b9, index).take(seq_len);
        uniforms.extend(numbers.map(|x| (f64::from(x) / 4_294_967_296.0) as f32));
    }
    (sequences, Decision::random(&uniforms, rate))
}

/// A linear congruential generator modulo 2³²: weak, but a line in any language.
///
/// # Source
/// Constants of Numerical Recipes.
struct Lcg(u32);

impl Lcg {
    fn new(salt: u32, index: u32) -> Self {
        Self(salt.wrapping_mul(index))
    }
}

impl Iterator for Lcg {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(self.0)
    }
}

/// Sides of the square matrices whose product is timed: on the CPU, and on a GPU, which is not busy
/// with less.
const PEAK_SIDES: [usize; 2] = [1024, 8192];

/// Measures the FLOP/s of a large matrix product, the best of several.
///
/// # Errors
/// When the device is not available.
pub fn matmul_peak(device_name: &str, precision: Precision) -> Result<f64, TrainError> {
    let device = device::open(device_name)?;
    let side = PEAK_SIDES[usize::from(!device::is_cpu(device_name))];
    let matrix = || {
        Tensor::<2>::random([side; 2], Distribution::Uniform(-1.0, 1.0), &device)
            .cast(compute_type(precision))
    };
    let (a, b) = (matrix(), matrix());
    let product = || {
        let start = Instant::now();
        let out = ops::linear(a.clone(), b.clone());
        // Reading one element synchronises with an asynchronous device.
        let _ = out.slice([0..1, 0..1]).into_data();
        start.elapsed().as_secs_f64()
    };
    let best = (0..20).map(|_| product()).fold(f64::INFINITY, f64::min);
    Ok(2.0 * (side as f64).powi(3) / best)
}
