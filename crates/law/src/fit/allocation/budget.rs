//! What may be spent, and where an optimum may lie.

use serde::{Deserialize, Serialize};

use super::cost::{Cost, Shape};
use super::error::AllocationError;
use super::variable::Variable;

/// A choice of all four quantities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Non-embedding parameters N.
    pub params: f64,
    /// Training tokens D.
    pub tokens: f64,
    /// Share of the concept backbone P.
    pub concept_share: f64,
    /// Tokens per concept R.
    pub compression_ratio: f64,
}

impl Setting {
    /// Returns one quantity.
    pub fn get(&self, variable: Variable) -> f64 {
        match variable {
            Variable::Params => self.params,
            Variable::Tokens => self.tokens,
            Variable::ConceptShare => self.concept_share,
            Variable::CompressionRatio => self.compression_ratio,
        }
    }

    /// Returns all quantities in the order of [`Variable::ALL`].
    pub fn values(&self) -> [f64; 4] {
        Variable::ALL.map(|variable| self.get(variable))
    }

    /// Returns the part that has a cost per token.
    pub fn shape(&self) -> Shape {
        Shape {
            params: self.params,
            concept_share: self.concept_share,
            compression_ratio: self.compression_ratio,
        }
    }

    /// Returns the FLOPs of training it.
    pub fn training_flops(&self, cost: &dyn Cost) -> f64 {
        self.tokens * cost.training_per_token(&self.shape())
    }
}

/// A closed range; a fixed value is a range without width.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Range {
    /// Returns a range.
    pub fn between(low: f64, high: f64) -> Self {
        Self { low, high }
    }

    /// Returns a fixed value.
    pub fn fixed(value: f64) -> Self {
        Self {
            low: value,
            high: value,
        }
    }

    /// Returns whether the value is fixed.
    pub fn is_fixed(&self) -> bool {
        self.low == self.high
    }
}

/// The box in which an optimum is sought.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// Non-embedding parameters N.
    pub params: Range,
    /// Training tokens D.
    pub tokens: Range,
    /// Share of the concept backbone P.
    pub concept_share: Range,
    /// Tokens per concept R.
    pub compression_ratio: Range,
}

impl Default for Domain {
    /// Returns N in [1e7, 1e13], D in [1e6, 1e16], P in [0.05, 0.95], R in [1, 16].
    fn default() -> Self {
        Self {
            params: Range::between(1e7, 1e13),
            tokens: Range::between(1e6, 1e16),
            concept_share: Range::between(0.05, 0.95),
            compression_ratio: Range::between(1.0, 16.0),
        }
    }
}

impl Domain {
    /// Returns the range of one quantity.
    pub fn get(&self, variable: Variable) -> Range {
        match variable {
            Variable::Params => self.params,
            Variable::Tokens => self.tokens,
            Variable::ConceptShare => self.concept_share,
            Variable::CompressionRatio => self.compression_ratio,
        }
    }

    /// Returns the same domain with another range for one quantity.
    #[must_use]
    pub fn with(mut self, variable: Variable, range: Range) -> Self {
        match variable {
            Variable::Params => self.params = range,
            Variable::Tokens => self.tokens = range,
            Variable::ConceptShare => self.concept_share = range,
            Variable::CompressionRatio => self.compression_ratio = range,
        }
        self
    }

    pub(crate) fn check(&self) -> Result<(), AllocationError> {
        for variable in Variable::ALL {
            let Range { low, high } = self.get(variable);
            let lawful = match variable {
                Variable::Params | Variable::Tokens => low > 0.0,
                Variable::ConceptShare => low >= 0.0 && high < 1.0,
                Variable::CompressionRatio => low >= 1.0,
            };
            if !(low <= high && low.is_finite() && high.is_finite() && lawful) {
                return Err(AllocationError::Domain {
                    variable,
                    low,
                    high,
                });
            }
        }
        Ok(())
    }
}

/// What may be spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// FLOPs for training and, when `served_tokens` is above 0, for serving them too.
    pub training: Option<f64>,
    /// FLOPs per generated token.
    pub inference_per_token: Option<f64>,
    /// Tokens that will be generated and are paid from the same budget.
    pub served_tokens: f64,
}

impl Budget {
    /// Returns a training budget.
    pub fn training(flops: f64) -> Self {
        Self {
            training: Some(flops),
            ..Self::default()
        }
    }

    pub(crate) fn check(&self, domain: &Domain) -> Result<(), AllocationError> {
        let positive = |v: Option<f64>| v.is_none_or(|v| v > 0.0 && v.is_finite());
        let served = self.served_tokens >= 0.0 && self.served_tokens.is_finite();
        if !(positive(self.training) && positive(self.inference_per_token) && served) {
            return Err(AllocationError::Budget(
                "budgets must be positive and finite, served tokens at least 0".into(),
            ));
        }
        if self.training.is_none() && self.inference_per_token.is_none() {
            return Err(AllocationError::Budget(
                "neither training nor inference is limited".into(),
            ));
        }
        if self.training.is_none() && !domain.tokens.is_fixed() {
            return Err(AllocationError::Budget(
                "without a training budget the tokens must be fixed, or the best is always more"
                    .into(),
            ));
        }
        Ok(())
    }

    /// Returns the most tokens that can be trained on, or `None` when the inference limit is broken.
    pub(crate) fn most_tokens(&self, cost: &dyn Cost, shape: &Shape) -> Option<f64> {
        let served = match (self.inference_per_token, self.served_tokens > 0.0) {
            (None, false) => 0.0,
            (limit, _) => {
                let inference = cost.inference_per_token(shape);
                // A limit met to rounding is met.
                if limit.is_some_and(|limit| inference > limit * (1.0 + 1e-12)) {
                    return None;
                }
                inference * self.served_tokens
            }
        };
        let Some(training) = self.training else {
            return Some(f64::INFINITY);
        };
        Some((training - served) / cost.training_per_token(shape))
    }
}
