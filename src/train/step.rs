//! One optimizer step's forward and backward passes, and the loss they differentiate.
//!
//! The auxiliary loss is over the global batch. Its gradient reaches the weights through G alone,
//! so for a given F it is linear in p: each token's p is multiplied by a coefficient that depends
//! on F. With gradient accumulation F is found first, by encoding every micro-batch once without
//! gradients, and the step equals the un-accumulated one.

use crate::data::batches::Batches;
use crate::model::{Boundaries, Decision, Network, ops};
use crate::recipe::{Recipe, Regularisation};
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Streams of random numbers that one seed gives: sequence i of training uses stream i.
const BOUNDARY_SALT: u64 = 0x0b0d_a125_5a3b_1e00;

/// Inputs and targets of some sequences.
#[derive(Clone, Debug)]
pub struct Sequences {
    /// Input tokens, row by row.
    pub inputs: Vec<i32>,
    /// The token after each.
    pub targets: Vec<i32>,
    /// Tokens in a row.
    pub seq_len: usize,
}

impl Sequences {
    /// Makes room for rows of `seq_len` tokens.
    pub fn new(seq_len: usize) -> Self {
        Self {
            inputs: Vec::new(),
            targets: Vec::new(),
            seq_len,
        }
    }

    /// Adds a row of `seq_len` + 1 tokens.
    pub fn push(&mut self, row: &[u32]) {
        self.inputs
            .extend(row[..self.seq_len].iter().map(|&token| token as i32));
        self.targets
            .extend(row[1..=self.seq_len].iter().map(|&token| token as i32));
    }

    /// Counts the rows.
    pub fn rows(&self) -> usize {
        self.inputs.len() / self.seq_len
    }

    /// Copies rows `from..to` to a device: inputs [rows, seq_len] and targets [rows · seq_len].
    pub fn tensors(
        &self,
        from: usize,
        to: usize,
        device: &Device,
    ) -> (Tensor<2, Int>, Tensor<1, Int>) {
        let range = from * self.seq_len..to * self.seq_len;
        let inputs = self.inputs[range.clone()].to_vec();
        let targets = self.targets[range.clone()].to_vec();
        (
            Tensor::from_data(TensorData::new(inputs, [to - from, self.seq_len]), device),
            Tensor::from_data(TensorData::new(targets, [range.len()]), device),
        )
    }
}

/// Draws one uniform number a token for some sequences, the same whatever they are batched with.
pub fn uniforms(seed: u64, sequences: std::ops::Range<u64>, seq_len: usize) -> Vec<f32> {
    let mut numbers = Vec::with_capacity((sequences.end - sequences.start) as usize * seq_len);
    for sequence in sequences {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ BOUNDARY_SALT);
        random.set_stream(sequence);
        numbers.extend((0..seq_len).map(|_| random.random::<f32>()));
    }
    numbers
}

/// Fetches the sequences of a step.
pub fn batch(batches: &Batches, step: u64, rows: usize, seq_len: usize) -> Sequences {
    let mut sequences = Sequences::new(seq_len);
    let mut row = vec![0u32; seq_len + 1];
    for index in 0..rows as u64 {
        batches.sequence(step * rows as u64 + index, &mut row);
        sequences.push(&row);
    }
    sequences
}

/// What one step's passes gave.
pub struct Passes {
    /// Gradients of the total loss.
    pub gradients: GradientsParams,
    /// Mean cross-entropy, nats per token.
    pub loss: f64,
    /// Auxiliary loss, not weighted; `None` for a dense model.
    pub auxiliary_loss: Option<f64>,
    /// Tokens per concept with the sampled boundaries; `None` for a dense model.
    pub realised_ratio: Option<f64>,
    /// p of every token; empty for a dense model.
    pub probabilities: Vec<f32>,
}

/// The settings of a step's passes.
pub struct Settings<'a> {
    /// How the model is trained.
    pub recipe: &'a Recipe,
    /// Multiplier 1/s of the logits.
    pub output_multiplier: f64,
    /// Declared tokens per concept.
    pub compression_ratio: f64,
    /// Sequences in one forward pass.
    pub micro_batch: usize,
    /// Where tensors live.
    pub device: &'a Device,
}

impl Settings<'_> {
    /// Runs the forward and backward passes of one step.
    ///
    /// `uniforms` holds a number a token for the boundary samples.
    pub fn run(&self, network: &Network, sequences: &Sequences, uniforms: &[f32]) -> Passes {
        let rows = sequences.rows();
        let seq_len = sequences.seq_len;
        let tokens = (rows * seq_len) as f64;
        let micro = self.micro_batch.min(rows);
        let accumulates = micro < rows;
        let known = (accumulates && self.recipe.boundary.regularisation == Regularisation::Global)
            .then(|| self.boundary_rate(network, sequences, uniforms))
            .flatten();

        let mut accumulator = GradientsAccumulator::new();
        let mut single = None;
        let (mut loss, mut concepts, mut auxiliary) = (0.0, 0usize, 0.0);
        let mut probabilities = Vec::new();
        for from in (0..rows).step_by(micro) {
            let to = (from + micro).min(rows);
            let (inputs, targets) = sequences.tensors(from, to, self.device);
            let decision = self.sample(&uniforms[from * seq_len..to * seq_len]);
            let gradient = self.recipe.boundary.gradient;
            let (logits, boundaries) = network.forward(inputs, &decision, gradient);
            let cross_entropy =
                ops::cross_entropy(logits, self.output_multiplier, targets).sum() / tokens;
            loss += cross_entropy.clone().into_scalar::<f64>();
            let total = match boundaries {
                None => cross_entropy,
                Some(boundaries) => {
                    let coefficients = self.coefficients(&boundaries, seq_len, known);
                    concepts += boundaries.concepts();
                    auxiliary += auxiliary_sum(&boundaries, &coefficients, seq_len) / tokens;
                    let weights: Vec<f32> = coefficients
                        .iter()
                        .map(|&(slope, _)| {
                            (self.recipe.boundary.aux_weight * slope / tokens) as f32
                        })
                        .collect();
                    let weights = Tensor::<2>::from_data(
                        TensorData::new(weights, [to - from, 1]),
                        self.device,
                    );
                    probabilities.extend_from_slice(&boundaries.probabilities);
                    cross_entropy + (boundaries.probability * weights).sum()
                }
            };
            let gradients = GradientsParams::from_grads(total.backward(), network);
            if accumulates {
                accumulator.accumulate(network, gradients);
            } else {
                single = Some(gradients);
            }
        }
        Passes {
            gradients: single.unwrap_or_else(|| accumulator.grads()),
            loss,
            auxiliary_loss: (concepts > 0).then_some(auxiliary),
            realised_ratio: (concepts > 0).then(|| tokens / concepts as f64),
            probabilities,
        }
    }

    fn sample(&self, uniforms: &[f32]) -> Decision {
        Decision::Sample {
            uniforms: uniforms.to_vec(),
            temperature: self.recipe.boundary.temperature,
        }
    }

    /// Finds F over the whole batch without gradients; `None` for a dense model.
    fn boundary_rate(
        &self,
        network: &Network,
        sequences: &Sequences,
        uniforms: &[f32],
    ) -> Option<f64> {
        let network = network.valid();
        let device = self.device.clone().inner();
        let rows = sequences.rows();
        let seq_len = sequences.seq_len;
        let mut concepts = 0;
        for from in (0..rows).step_by(self.micro_batch) {
            let to = (from + self.micro_batch).min(rows);
            let (inputs, _) = sequences.tensors(from, to, &device);
            let decision = self.sample(&uniforms[from * seq_len..to * seq_len]);
            let gradient = self.recipe.boundary.gradient;
            concepts += network.segment(inputs, &decision, gradient)?.concepts();
        }
        Some(concepts as f64 / (rows * seq_len) as f64)
    }

    /// Computes, for each row, slope and intercept of the auxiliary loss as a function of mean p.
    ///
    /// # Source
    /// Eq. 8–10: R/(R−1) · [(R−1)·F·G + (1−F)(1−G)] − 1.
    fn coefficients(
        &self,
        boundaries: &Boundaries,
        seq_len: usize,
        known: Option<f64>,
    ) -> Vec<(f64, f64)> {
        let r = self.compression_ratio;
        let line = |f: f64| {
            let scale = r / (r - 1.0);
            (scale * ((r - 1.0) * f - (1.0 - f)), scale * (1.0 - f) - 1.0)
        };
        let rate = |row: &[bool]| {
            row.iter().filter(|&&boundary| boundary).count() as f64 / row.len() as f64
        };
        let rows = boundaries.decided.chunks_exact(seq_len);
        match self.recipe.boundary.regularisation {
            Regularisation::PerSequence => rows.map(|row| line(rate(row))).collect(),
            Regularisation::Global => {
                let f = known.unwrap_or_else(|| rate(&boundaries.decided));
                vec![line(f); rows.len()]
            }
        }
    }
}

/// Sums the auxiliary loss over the tokens of some rows.
fn auxiliary_sum(boundaries: &Boundaries, coefficients: &[(f64, f64)], seq_len: usize) -> f64 {
    boundaries
        .probabilities
        .chunks_exact(seq_len)
        .zip(coefficients)
        .map(|(row, &(slope, intercept))| {
            let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
            slope * sum + intercept * seq_len as f64
        })
        .sum()
}
