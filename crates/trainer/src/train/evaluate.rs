//! Held-out loss, realised ratio, and what concepts and learned boundaries are worth.
//!
//! The threshold is calibrated on held-out text, since text that was trained on gives other
//! probabilities (up to 12% of the rate at R = 8), and in two folds: each half is evaluated at the
//! threshold of the other. No sequence takes part in its own threshold, and the errors of the two
//! rates cancel.

use super::step::Sequences;
use burn::module::Module;
use burn::tensor::Device;
use experiment::architecture::{Architecture, BoundaryRule};
use experiment::recipe::{BoundaryGradient, Threshold};
use network::decision::{rate_after_first, uniforms};
use network::{Decision, Network, Placement, boundary, ops};
use std::ops::Range;

/// What an evaluation gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy, nats per token.
    pub loss: f64,
    /// Tokens per concept; `None` for a model without concepts.
    pub realised_ratio: Option<f64>,
    /// Mean of the folds' thresholds; `None` where boundaries are not learned.
    pub threshold: Option<f64>,
}

/// What concepts and learned boundaries are worth, in nats per token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gains {
    /// Loss without concepts (only the start vector) minus with.
    pub concept: f64,
    /// Loss with random boundaries at the same rate minus with its own; `None` where its own are
    /// random.
    pub boundary: Option<f64>,
}

/// An evaluation's settings.
pub struct Evaluator<'a> {
    /// The model.
    pub architecture: &'a Architecture,
    /// The run's seed: random boundaries are drawn from it.
    pub seed: u64,
    /// The held-out sequences: first those of one fold, then those of the other.
    pub sequences: &'a Sequences,
    /// Multiplier 1/s of the logits.
    pub output_multiplier: f64,
    /// Sequences in one forward pass.
    pub micro_batch: usize,
    /// Where tensors live, without autodiff.
    pub device: &'a Device,
    /// Is called before each batch: an evaluation may take longer than anybody waits for a word.
    pub alive: &'a dyn Fn(),
}

impl Evaluator<'_> {
    /// Measures the held-out loss with thresholded boundaries.
    ///
    /// `fallback` is the threshold where there is no second sequence to calibrate on.
    pub fn evaluate(
        &self,
        network: &Network,
        threshold: Threshold,
        fallback: impl FnOnce() -> f64,
    ) -> Evaluation {
        let seq_len = self.sequences.seq_len;
        let shape = match self.architecture {
            Architecture::Dlcm(shape) => shape,
            // Nothing is decided.
            Architecture::Dense(_) | Architecture::TokenOnly(_) => {
                return self.with(network, |_| Decision::NoConcepts);
            }
        };
        if !shape.boundaries.is_learned() {
            let placement = Placement::new(shape, 0.0, self.seed);
            return self.with(network, |rows| {
                placement.decision(rows.start as u64..rows.end as u64, seq_len)
            });
        }
        let thresholds = match threshold {
            Threshold::Fixed(threshold) => [threshold; 2],
            Threshold::Calibrated => self
                .calibrate(network, shape.compression_ratio)
                .unwrap_or_else(|| [fallback(); 2]),
        };
        let half = self.half();
        let mut evaluation = self.with(network, |rows| {
            Decision::Threshold(thresholds[usize::from(rows.start >= half)])
        });
        evaluation.threshold = Some(0.5 * (thresholds[0] + thresholds[1]));
        evaluation
    }

    /// Finds each fold's threshold from the other's probabilities; `None` without two folds.
    fn calibrate(&self, network: &Network, compression_ratio: f64) -> Option<[f64; 2]> {
        let network = network.valid();
        let mut folds = [Vec::new(), Vec::new()];
        for rows in self.batches() {
            (self.alive)();
            let fold = usize::from(rows.start >= self.half());
            let (inputs, _) = self.sequences.tensors(rows.start, rows.end, self.device);
            let decision = Decision::NoConcepts;
            let boundaries = network.segment(inputs, &decision, BoundaryGradient::Detached)?;
            folds[fold].extend(boundaries.probabilities);
        }
        let [first, second] = folds;
        Some([
            boundary::threshold(second, compression_ratio)?,
            boundary::threshold(first, compression_ratio)?,
        ])
    }

    /// The first sequence of the second fold.
    fn half(&self) -> usize {
        self.sequences.rows().div_ceil(2)
    }

    /// Divides the sequences into batches of one fold each.
    fn batches(&self) -> impl Iterator<Item = Range<usize>> {
        let micro_batch = self.micro_batch;
        let (half, rows) = (self.half(), self.sequences.rows());
        [0..half, half..rows].into_iter().flat_map(move |fold| {
            let end = fold.end;
            fold.step_by(micro_batch)
                .map(move |from| from..(from + micro_batch).min(end))
        })
    }

    /// Measures what concepts and their boundaries are worth, given the plain evaluation; `None` for
    /// a model without concepts.
    pub fn gains(&self, network: &Network, plain: Evaluation) -> Option<Gains> {
        let Architecture::Dlcm(shape) = self.architecture else {
            return None;
        };
        let rate = 1.0 / plain.realised_ratio?;
        let seq_len = self.sequences.seq_len;
        let without = self.with(network, |_| Decision::NoConcepts);
        let rate = rate_after_first(rate, seq_len);
        let random = || {
            self.with(network, |rows| {
                let uniforms = uniforms(!self.seed, rows.start as u64..rows.end as u64, seq_len);
                Decision::random(&uniforms, rate)
            })
        };
        Some(Gains {
            concept: without.loss - plain.loss,
            boundary: (shape.boundaries != BoundaryRule::Random)
                .then(|| random().loss - plain.loss),
        })
    }

    fn with(&self, network: &Network, decision: impl Fn(Range<usize>) -> Decision) -> Evaluation {
        let network = network.valid();
        let tokens = self.sequences.inputs.len() as f64;
        let (mut loss, mut concepts) = (0.0, 0usize);
        for rows in self.batches() {
            (self.alive)();
            let (inputs, targets) = self.sequences.tensors(rows.start, rows.end, self.device);
            let (logits, boundaries) =
                network.forward(inputs, &decision(rows), BoundaryGradient::Detached);
            let losses = ops::cross_entropy(logits, self.output_multiplier, targets);
            // Token by token: the same sum whatever the batches are.
            loss = losses
                .into_data()
                .iter::<f32>()
                .fold(loss, |sum, loss| sum + f64::from(loss));
            concepts += boundaries.map_or(0, |boundaries| boundaries.concepts());
        }
        Evaluation {
            loss: loss / tokens,
            realised_ratio: (concepts > 0).then(|| tokens / concepts as f64),
            threshold: None,
        }
    }
}
