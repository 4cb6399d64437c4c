//! One optimizer step's forward and backward passes, and the loss they differentiate.
//!
//! The auxiliary loss is over the global batch. Its gradient reaches the weights through G alone,
//! so for a given F it is linear in p: each token's p is multiplied by a coefficient that depends
//! on F. With gradient accumulation F is found first, by encoding every micro-batch once without
//! gradients, and the step equals the un-accumulated one.

use super::replay::Replays;
use crate::data::batches::Batches;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use experiment::architecture::Architecture;
use experiment::recipe::{Recipe, Regularisation};
use network::compute::in_single_precision;
use network::decision::sharpen;
use network::{Boundaries, Decision, Network, compute_type, ops};
use rayon::prelude::*;
use std::ops::Range;

/// Most shards of a batch that are computed side by side on a CPU.
const SHARDS: usize = 2;

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
    /// Mean cross-entropy.
    pub loss: Loss,
    /// Auxiliary loss, not weighted; `None` where boundaries are not learned.
    pub auxiliary_loss: Option<f64>,
    /// Tokens per concept with training's boundaries; `None` for a model without concepts.
    pub realised_ratio: Option<f64>,
    /// p of every token; empty where boundaries are not learned.
    pub probabilities: Vec<f32>,
}

/// A step's mean cross-entropy, which stays on the device until it is read: each shard's share.
pub struct Loss(pub(super) Vec<Tensor<1>>);

impl Loss {
    /// Reads it, in nats per token. Synchronises with an asynchronous device. To be read before
    /// the next step, which may overwrite it.
    pub fn read(self) -> f64 {
        self.0.into_iter().map(Tensor::into_scalar::<f64>).sum()
    }
}

/// The settings of a step's passes.
pub struct Settings<'a> {
    /// How the model is trained.
    pub recipe: &'a Recipe,
    /// Multiplier 1/s of the logits.
    pub output_multiplier: f64,
    /// The model.
    pub architecture: &'a Architecture,
    /// Sequences in one forward pass.
    pub micro_batch: usize,
    /// Where tensors live.
    pub device: &'a Device,
}

/// One shard's forward pass, on its way to the backward pass.
struct Forward {
    /// The network with leaves of its own.
    network: Network,
    /// The share of the batch's mean cross-entropy.
    cross_entropy: Tensor<1>,
    /// `None` for a model without concepts.
    boundaries: Option<Boundaries>,
}

/// The auxiliary loss of some rows.
pub(super) struct Auxiliary {
    /// Their share of it.
    pub(super) loss: f64,
    /// What each row's p is multiplied by, its weight included.
    pub(super) slopes: Vec<f32>,
}

/// What one shard gave.
struct Shard {
    gradients: GradientsParams,
    loss: Tensor<1>,
    auxiliary: f64,
    boundaries: Option<Boundaries>,
}

impl Settings<'_> {
    /// Runs the forward and backward passes of one step; `replays` holds those of the network's
    /// steps before.
    pub fn run(
        &self,
        network: &Network,
        sequences: &Sequences,
        decision: &Decision,
        replays: &mut Replays,
    ) -> Passes {
        replays
            .run(self, network, sequences, decision)
            .unwrap_or_else(|| self.compute(network, sequences, decision))
    }

    /// Does what [`Self::run`] does, operation by operation.
    fn compute(&self, network: &Network, sequences: &Sequences, decision: &Decision) -> Passes {
        let rows = sequences.rows();
        let seq_len = sequences.seq_len;
        let tokens = (rows * seq_len) as f64;
        let micro = self.micro_batch.min(rows);
        let is_global = self.recipe.boundary.regularisation == Regularisation::Global;
        let known = (micro < rows && is_global && self.learns_boundaries())
            .then(|| self.boundary_rate(network, sequences, decision))
            .flatten();

        let mut gradients = None;
        let mut losses = Vec::new();
        let (mut concepts, mut auxiliary) = (0usize, 0.0);
        let mut probabilities = Vec::new();
        for from in (0..rows).step_by(micro) {
            let rows = from..(from + micro).min(rows);
            let shards: Vec<_> = shards(rows, sequences.rows(), self.device)
                .map(|rows| (rows, self.leaves(network)))
                .collect();
            let forwards: Vec<Forward> = shards
                .into_par_iter()
                .map(|(rows, network)| self.forward(network, sequences, rows, decision))
                .collect();
            let rate = known.unwrap_or_else(|| self.rate_of(&forwards));
            let shards: Vec<Shard> = forwards
                .into_par_iter()
                .map(|forward| self.backward(forward, rate, seq_len, tokens))
                .collect();
            // In the shards' order, whatever the order they were ready in.
            for shard in shards {
                losses.push(shard.loss);
                auxiliary += shard.auxiliary;
                if let Some(boundaries) = shard.boundaries {
                    concepts += boundaries.concepts();
                    if self.learns_boundaries() {
                        probabilities.extend_from_slice(&boundaries.probabilities);
                    }
                }
                gradients = Some(match gradients {
                    None => shard.gradients,
                    Some(sum) => add_gradients(network, sum, shard.gradients),
                });
            }
        }
        Passes {
            gradients: gradients.unwrap_or_default(),
            loss: Loss(losses),
            auxiliary_loss: self.learns_boundaries().then_some(auxiliary),
            realised_ratio: (concepts > 0).then(|| tokens / concepts as f64),
            probabilities,
        }
    }

    /// Says whether there is an auxiliary loss.
    pub(super) fn learns_boundaries(&self) -> bool {
        matches!(self.architecture, Architecture::Dlcm(shape) if shape.boundaries.is_learned())
    }

    /// Makes leaves of a network's weights, cast for its layers.
    fn leaves(&self, network: &Network) -> Network {
        let network = network.clone().fork(self.device);
        network.cast_for_layers(self.dtype())
    }

    /// What layers compute in.
    pub(super) fn dtype(&self) -> DType {
        compute_type(self.recipe.precision)
    }

    fn forward(
        &self,
        network: Network,
        sequences: &Sequences,
        rows: Range<usize>,
        decision: &Decision,
    ) -> Forward {
        let seq_len = sequences.seq_len;
        let tokens = (sequences.rows() * seq_len) as f64;
        let (inputs, targets) = sequences.tensors(rows.start, rows.end, self.device);
        let decision = decision.of(rows.start * seq_len..rows.end * seq_len);
        let gradient = self.recipe.boundary.gradient;
        let (logits, boundaries) = network.forward(inputs, &decision, gradient);
        let cross_entropy = self.cross_entropy(logits, targets, tokens);
        Forward {
            network,
            cross_entropy,
            boundaries,
        }
    }

    /// Differentiates a shard's share of the total loss; `rate` is F over the whole batch.
    fn backward(&self, forward: Forward, rate: f64, seq_len: usize, tokens: f64) -> Shard {
        let Forward {
            network,
            cross_entropy,
            boundaries,
        } = forward;
        let loss = cross_entropy.clone().inner();
        let mut auxiliary = 0.0;
        let total = match &boundaries {
            Some(boundaries) if self.learns_boundaries() => {
                let terms = self.auxiliary(boundaries, rate, seq_len, tokens);
                auxiliary = terms.loss;
                let shape = [terms.slopes.len(), 1];
                let slopes = TensorData::new(terms.slopes, shape);
                let slopes = Tensor::<2>::from_data(slopes, self.device);
                with_auxiliary(cross_entropy, boundaries.probability.clone(), slopes)
            }
            _ => cross_entropy,
        };
        let gradients = GradientsParams::from_grads(total.backward(), &network);
        Shard {
            gradients: in_single_precision(&network, gradients, self.dtype()),
            loss,
            auxiliary,
            boundaries,
        }
    }

    /// Computes some rows' share of the mean cross-entropy over so many tokens.
    pub(super) fn cross_entropy(
        &self,
        logits: Tensor<2>,
        targets: Tensor<1, Int>,
        tokens: f64,
    ) -> Tensor<1> {
        ops::cross_entropy(logits, self.output_multiplier, targets).sum() / tokens
    }

    /// Computes a shard's share of the auxiliary loss, and what p is multiplied by for its gradient;
    /// `rate` is F over the whole batch of so many tokens.
    pub(super) fn auxiliary(
        &self,
        boundaries: &Boundaries,
        rate: f64,
        seq_len: usize,
        tokens: f64,
    ) -> Auxiliary {
        let coefficients = self.coefficients(boundaries, seq_len, rate);
        let weight = self.recipe.boundary.aux_weight;
        let slopes = coefficients.iter();
        Auxiliary {
            loss: auxiliary_sum(boundaries, &coefficients, seq_len) / tokens,
            slopes: slopes
                .map(|&(slope, _)| (weight * slope / tokens) as f32)
                .collect(),
        }
    }

    /// Finds F over the whole batch without gradients; `None` for a model without concepts.
    fn boundary_rate(
        &self,
        network: &Network,
        sequences: &Sequences,
        decision: &Decision,
    ) -> Option<f64> {
        let network = network.valid();
        let device = self.device.clone().inner();
        let rows = sequences.rows();
        let seq_len = sequences.seq_len;
        let mut starts = 0.0;
        for from in (0..rows).step_by(self.micro_batch) {
            let to = (from + self.micro_batch).min(rows);
            let (inputs, _) = sequences.tensors(from, to, &device);
            let decision = decision.of(from * seq_len..to * seq_len);
            let gradient = self.recipe.boundary.gradient;
            starts += self.starts(&network.segment(inputs, &decision, gradient)?);
        }
        Some(starts / (rows * seq_len) as f64)
    }

    /// Counts the concepts that the predictor starts by itself: those that were sampled, or where
    /// sampling was shifted those that it would have without, on average.
    pub(super) fn starts(&self, boundaries: &Boundaries) -> f64 {
        self.expected_starts(&boundaries.probabilities, &boundaries.decided)
    }

    fn expected_starts(&self, probabilities: &[f32], decided: &[bool]) -> f64 {
        let recipe = &self.recipe.boundary;
        if recipe.hold_ratio {
            probabilities
                .iter()
                .map(|&p| sharpen(f64::from(p), recipe.temperature))
                .sum()
        } else {
            decided.iter().filter(|&&boundary| boundary).count() as f64
        }
    }

    /// Computes F over all shards of a batch; 1 for a model without concepts.
    fn rate_of(&self, forwards: &[Forward]) -> f64 {
        let found = || {
            forwards
                .iter()
                .filter_map(|forward| forward.boundaries.as_ref())
        };
        let tokens: usize = found().map(|boundaries| boundaries.decided.len()).sum();
        let starts: f64 = found().map(|boundaries| self.starts(boundaries)).sum();
        match tokens {
            0 => 1.0,
            tokens => starts / tokens as f64,
        }
    }

    /// Computes, for each row, slope and intercept of the auxiliary loss as a function of mean p.
    ///
    /// # Source
    /// Eq. 8–10: R/(R−1) · [(R−1)·F·G + (1−F)(1−G)] − 1.
    fn coefficients(
        &self,
        boundaries: &Boundaries,
        seq_len: usize,
        global_rate: f64,
    ) -> Vec<(f64, f64)> {
        let r = self.architecture.compression_ratio();
        let line = |f: f64| {
            let scale = r / (r - 1.0);
            (scale * ((r - 1.0) * f - (1.0 - f)), scale * (1.0 - f) - 1.0)
        };
        let decided = boundaries.decided.chunks_exact(seq_len);
        let rows = boundaries.probabilities.chunks_exact(seq_len).zip(decided);
        match self.recipe.boundary.regularisation {
            Regularisation::PerSequence => rows
                .map(|(p, decided)| line(self.expected_starts(p, decided) / seq_len as f64))
                .collect(),
            Regularisation::Global => vec![line(global_rate); rows.len()],
        }
    }
}

/// Adds what has the gradient of the auxiliary loss: p, each row multiplied by its slope.
pub(super) fn with_auxiliary(
    cross_entropy: Tensor<1>,
    probability: Tensor<2>,
    slopes: Tensor<2>,
) -> Tensor<1> {
    cross_entropy + (probability * slopes).sum()
}

/// Divides rows into the shards that are computed side by side.
///
/// On a CPU an operation is too short to be shared well among threads; half a batch is not. The
/// division does not depend on the number of threads, so neither do the results, nor on whether the
/// two halves of a batch are computed side by side or, with a micro-batch of half its rows, one
/// after the other. Other devices take the rows whole.
fn shards(rows: Range<usize>, batch: usize, device: &Device) -> impl Iterator<Item = Range<usize>> {
    let most = if ops::is_fused(device) { SHARDS } else { 1 };
    let whole = batch.div_ceil(most);
    let size = if rows.len() < whole {
        rows.len().div_ceil(most)
    } else {
        whole
    };
    rows.clone()
        .step_by(size.max(1))
        .map(move |from| from..(from + size).min(rows.end))
}

/// Adds up the gradients of two shards.
fn add_gradients(
    network: &Network,
    sum: GradientsParams,
    other: GradientsParams,
) -> GradientsParams {
    struct Add {
        sum: GradientsParams,
        other: GradientsParams,
    }
    impl ModuleVisitor for Add {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(other) = self.other.remove::<D>(param.id) else {
                return;
            };
            let total = match self.sum.remove::<D>(param.id) {
                Some(sum) => ops::add_to(sum, other),
                None => other,
            };
            self.sum.register(param.id, total);
        }
    }
    let mut add = Add { sum, other };
    network.visit(&mut add);
    add.sum
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
