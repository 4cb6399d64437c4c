//! Held-out loss, realised ratio, and what concepts and learned boundaries are worth.

use super::step::{Sequences, uniforms};
use crate::model::{Decision, Network, ops};
use crate::recipe::BoundaryGradient;
use burn::module::Module;
use burn::tensor::Device;

/// What an evaluation gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy, nats per token.
    pub loss: f64,
    /// Tokens per concept; `None` for a dense model.
    pub realised_ratio: Option<f64>,
}

/// What concepts and learned boundaries are worth, in nats per token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gains {
    /// Loss without concepts (only the start vector) minus with.
    pub concept: f64,
    /// Loss with random boundaries at the same rate minus with learned ones.
    pub boundary: f64,
}

/// An evaluation's settings.
pub struct Evaluator<'a> {
    /// The held-out sequences.
    pub sequences: &'a Sequences,
    /// Multiplier 1/s of the logits.
    pub output_multiplier: f64,
    /// Sequences in one forward pass.
    pub micro_batch: usize,
    /// Where tensors live, without autodiff.
    pub device: &'a Device,
}

impl Evaluator<'_> {
    /// Measures the held-out loss with boundaries where p ≥ `threshold`.
    pub fn evaluate(&self, network: &Network, threshold: f64) -> Evaluation {
        self.with(network, |_| Decision::Threshold(threshold))
    }

    /// Measures what concepts and learned boundaries are worth, given the plain evaluation;
    /// `None` for a dense model.
    pub fn gains(&self, network: &Network, plain: Evaluation, seed: u64) -> Option<Gains> {
        let rate = 1.0 / plain.realised_ratio?;
        let seq_len = self.sequences.seq_len;
        let without = self.with(network, |_| Decision::NoConcepts);
        let random = self.with(network, |rows| Decision::Random {
            uniforms: uniforms(!seed, rows.start as u64..rows.end as u64, seq_len),
            // The first token of a sequence is a boundary whatever is drawn.
            rate: ((rate * seq_len as f64 - 1.0) / (seq_len as f64 - 1.0)).max(0.0),
        });
        Some(Gains {
            concept: without.loss - plain.loss,
            boundary: random.loss - plain.loss,
        })
    }

    fn with(
        &self,
        network: &Network,
        decision: impl Fn(std::ops::Range<usize>) -> Decision,
    ) -> Evaluation {
        let network = network.valid();
        let rows = self.sequences.rows();
        let tokens = (rows * self.sequences.seq_len) as f64;
        let (mut loss, mut concepts) = (0.0, 0usize);
        for from in (0..rows).step_by(self.micro_batch) {
            let to = (from + self.micro_batch).min(rows);
            let (inputs, targets) = self.sequences.tensors(from, to, self.device);
            let (logits, boundaries) =
                network.forward(inputs, &decision(from..to), BoundaryGradient::Detached);
            let losses = ops::cross_entropy(logits, self.output_multiplier, targets);
            // Summed in f64 in a fixed order.
            loss += losses.into_data().iter::<f32>().map(f64::from).sum::<f64>();
            concepts += boundaries.map_or(0, |boundaries| boundaries.concepts());
        }
        Evaluation {
            loss: loss / tokens,
            realised_ratio: (concepts > 0).then(|| tokens / concepts as f64),
        }
    }
}
