//! What a setting costs in floating-point operations.

use serde::{Deserialize, Serialize};

/// A model's shape as far as its cost is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Non-embedding parameters N.
    pub params: f64,
    /// Share of the concept backbone P; 0 for a dense model.
    pub concept_share: f64,
    /// Tokens per concept R; 1 for a dense model.
    pub compression_ratio: f64,
}

/// Floating-point operations of a shape.
///
/// A cost must grow with `params` and must not grow with `compression_ratio`; steps (real layer
/// counts) are fine.
///
/// # Units
/// A multiply–add counts as 2.
pub trait Cost: Sync {
    /// Returns the name of the counting convention.
    fn convention(&self) -> &str;

    /// Returns FLOPs per training token, forward and backward.
    fn training_per_token(&self, shape: &Shape) -> f64;

    /// Returns FLOPs per generated token.
    fn inference_per_token(&self, shape: &Shape) -> f64;
}

/// The conventions that need no architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Convention {
    /// `6N` per training token and `2N` per generated one, whatever P and R.
    #[serde(rename = "6N")]
    SixN,
    /// `6(N(1−P) + N·P/R)` per training token, a third of it per generated one.
    #[serde(rename = "6N_active")]
    SixNActive,
}

impl Convention {
    fn active(self, shape: &Shape) -> f64 {
        match self {
            Self::SixN => shape.params,
            Self::SixNActive => {
                let share = shape.concept_share;
                shape.params * (1.0 - share + share / shape.compression_ratio)
            }
        }
    }
}

impl Cost for Convention {
    fn convention(&self) -> &str {
        match self {
            Self::SixN => "6N",
            Self::SixNActive => "6N_active",
        }
    }

    fn training_per_token(&self, shape: &Shape) -> f64 {
        6.0 * self.active(shape)
    }

    fn inference_per_token(&self, shape: &Shape) -> f64 {
        2.0 * self.active(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concepts_cost_a_share_of_a_token() {
        let shape = Shape {
            params: 1e9,
            concept_share: 0.6,
            compression_ratio: 4.0,
        };
        assert!((Convention::SixNActive.training_per_token(&shape) - 6.0 * 0.55e9).abs() < 1.0);
        assert!((Convention::SixN.inference_per_token(&shape) - 2e9).abs() < 1.0);
    }
}
