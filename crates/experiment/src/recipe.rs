//! How a model is trained: decoupled muP, the WSD schedule and the loss's settings.
//!
//! Owns the numbers and pure rules of training; refuses tensors.

use serde::{Deserialize, Serialize};

/// The most sequences of an optimizer step: beyond it a unit is wrong.
pub const MOST_BATCH: u64 = 1 << 20;

/// How the boundary threshold of evaluation is found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// The quantile of p that gives rate 1/R, found on held-out text.
    Calibrated,
    /// A constant; the paper uses 0.5.
    Fixed(f64),
}

/// What the boundary predictor learns from, and where its gradient stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoundaryGradient {
    /// From the auxiliary loss, whose gradient stops at the encoder's output: only W_q and W_k
    /// learn from it.
    Detached,
    /// From the auxiliary loss, and the encoder learns from it too.
    Encoder,
    /// From the auxiliary loss and from the cross-entropy, which reaches it through a
    /// straight-through estimate on each concept; the encoder learns from both. The paper's learned
    /// predictor, whose ratio drifts away (Fig. 8).
    LanguageModel,
}

/// Over what the auxiliary loss takes its means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Regularisation {
    /// All sequences of an optimizer step together.
    Global,
    /// Each sequence by itself, then averaged (the paper's Table 4).
    PerSequence,
}

/// Settings of the boundary predictor and its auxiliary loss; they do nothing in a dense model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundaryRecipe {
    /// Weight λ of the auxiliary loss.
    pub aux_weight: f64,
    /// Temperature τ that sharpens p before sampling.
    pub temperature: f64,
    /// The threshold of evaluation.
    pub threshold: Threshold,
    /// Where the auxiliary gradient stops.
    pub gradient: BoundaryGradient,
    /// Over what the auxiliary loss takes its means.
    pub regularisation: Regularisation,
    /// Whether sampling is shifted so that R is the declared one from the first steps on: the
    /// auxiliary loss alone takes long. Left out of what is written where it is not, so that runs
    /// from before it could be keep their identity.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold_ratio: bool,
}

/// AdamW's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// ε at the base width; each group scales it by 1/s.
    pub epsilon: f64,
    /// Decoupled weight decay, of matrices only.
    pub weight_decay: f64,
    /// Bound on the global gradient norm.
    pub clip: f64,
}

/// Base learning rates, at the base width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningRates {
    /// η_token, of token-width matrices.
    pub token: f64,
    /// η_concept, of concept-width matrices.
    pub concept: f64,
    /// η_other, of embeddings, norms and other vectors; it does not change with width.
    pub other: f64,
    /// d_base, the width at which the rates hold.
    pub base_width: usize,
}

/// The warmup–stable–decay schedule, in shares of all steps.
///
/// # Source
/// WSD: arXiv 2404.06395; branches from one trunk: Hägele et al., arXiv 2405.18392.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Share of steps over which the rate rises linearly from 0.
    pub warmup: f64,
    /// Share of steps at the end over which the rate falls linearly.
    pub decay: f64,
    /// Rate at the very end, as a share of the stable rate.
    pub final_share: f64,
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Training tokens (D), rounded up to whole steps when run.
    pub tokens: u64,
    /// Sequences in an optimizer step, over all micro-batches.
    pub batch: usize,
    /// Base learning rates.
    pub rates: LearningRates,
    /// The schedule.
    pub schedule: Schedule,
    /// The optimizer.
    pub adamw: AdamW,
    /// The boundary predictor.
    pub boundary: BoundaryRecipe,
    /// Validations, evenly spaced in tokens; the last is at the end.
    pub validations: usize,
    /// Held-out tokens in a validation.
    pub validation_tokens: u64,
    /// A loss above this, in nats per token, ends the run as diverged.
    pub divergence_loss: f64,
    /// What is computed in. Left out of what is written where it is the default, so that runs keep
    /// their identity.
    #[serde(default, skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
}

/// The numbers that layers compute in.
///
/// Weights, optimizer state, sums within an operation and the loss are in single precision always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Single precision, but matrix products round their factors to 10 bits on GPUs that can.
    Tf32,
    /// Activations, and weights as layers read them, are in bfloat16.
    Bf16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Tf32, Self::Bf16];

    /// The name used in experiment files and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Recipe {
    /// The recipe with which an independent implementation trained the language of cycles, at half
    /// its rate: at 4e-3 concepts stay unused in short runs of small models (docs/checks.md).
    /// `tokens` is for the caller to say.
    fn default() -> Self {
        let rate = 2e-3;
        Self {
            tokens: 0,
            batch: 16,
            rates: LearningRates {
                token: rate,
                concept: rate,
                other: rate,
                base_width: 64,
            },
            schedule: Schedule {
                warmup: 0.05,
                decay: 0.2,
                final_share: 0.0,
            },
            adamw: AdamW {
                beta1: 0.9,
                beta2: 0.95,
                epsilon: 1e-8,
                weight_decay: 0.1,
                clip: 1.0,
            },
            boundary: BoundaryRecipe {
                aux_weight: 0.05,
                // With more of sampling's noise concepts are used less (docs/checks.md).
                temperature: 0.1,
                threshold: Threshold::Calibrated,
                gradient: BoundaryGradient::Detached,
                regularisation: Regularisation::Global,
                hold_ratio: true,
            },
            validations: 5,
            validation_tokens: 16_384,
            divergence_loss: 20.0,
            precision: Precision::default(),
        }
    }
}

/// A parameter group of decoupled muP.
///
/// # Source
/// DLCM, arXiv 2512.24617, Eq. 18–21.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Group {
    /// Matrices that read a token-width vector.
    Token,
    /// Matrices that read a concept-width vector.
    Concept,
    /// Embeddings, norms and other vectors.
    Other,
}

/// What a group gets from muP at its width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupScale {
    /// Multiplies the schedule's value.
    pub learning_rate: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Recipe {
    /// Computes the learning rate, ε and decay of a group.
    ///
    /// # Source
    /// Eq. 18–20: rates and ε fall as 1/s with s = width / d_base.
    pub fn group_scale(&self, group: Group, d_token: usize, d_concept: usize) -> GroupScale {
        let base = self.rates.base_width as f64;
        let (rate, scale, weight_decay) = match group {
            Group::Token => (
                self.rates.token,
                d_token as f64 / base,
                self.adamw.weight_decay,
            ),
            Group::Concept => (
                self.rates.concept,
                d_concept as f64 / base,
                self.adamw.weight_decay,
            ),
            Group::Other => (self.rates.other, 1.0, 0.0),
        };
        GroupScale {
            learning_rate: rate / scale,
            epsilon: self.adamw.epsilon / scale,
            weight_decay,
        }
    }

    /// Computes the output multiplier 1/s_token of Eq. 21.
    pub fn output_multiplier(&self, d_token: usize) -> f64 {
        self.rates.base_width as f64 / d_token as f64
    }

    /// Counts the optimizer steps for sequences of `seq_len` tokens.
    pub fn steps(&self, seq_len: usize) -> u64 {
        self.tokens.div_ceil((self.batch * seq_len) as u64)
    }
}

impl Schedule {
    /// Counts the steps of the warmup, of `steps` in all.
    pub fn warmup_steps(&self, steps: u64) -> u64 {
        (self.warmup * steps as f64).round() as u64
    }

    /// Counts the steps of the decay, of `steps` in all.
    pub fn decay_steps(&self, steps: u64) -> u64 {
        (self.decay * steps as f64).round() as u64
    }

    /// Computes the share of the stable rate at a step, counted from 0, of `steps` in all.
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        let warmup = self.warmup_steps(steps) as f64;
        let decay = self.decay_steps(steps) as f64;
        let position = step as f64;
        if position < warmup {
            return (position + 1.0) / warmup;
        }
        let left = steps as f64 - position;
        if left <= decay {
            let share = left / (decay + 1.0);
            return self.final_share + (1.0 - self.final_share) * share;
        }
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wsd_rises_stays_and_falls() {
        let wsd = Schedule {
            warmup: 0.05,
            decay: 0.2,
            final_share: 0.0,
        };
        assert_eq!(wsd.at(0, 100), 0.2);
        assert_eq!(wsd.at(4, 100), 1.0);
        assert_eq!(wsd.at(50, 100), 1.0);
        assert_eq!(wsd.at(79, 100), 1.0);
        assert!((wsd.at(80, 100) - 20.0 / 21.0).abs() < 1e-12);
        assert!((wsd.at(99, 100) - 1.0 / 21.0).abs() < 1e-12);
        let rates: Vec<f64> = (0..100).map(|step| wsd.at(step, 100)).collect();
        assert!(rates.iter().all(|&rate| rate > 0.0 && rate <= 1.0));
    }

    #[test]
    fn a_schedule_without_warmup_or_decay_is_constant() {
        let constant = Schedule {
            warmup: 0.0,
            decay: 0.0,
            final_share: 0.0,
        };
        assert!((0..7).all(|step| constant.at(step, 7) == 1.0));
    }
}
