//! Segmentation: boundary probabilities, decisions, and the segments they make.
//!
//! # Source
//! DLCM, arXiv 2512.24617, Eq. 5–6; W_q and W_k start as the identity, as in H-Net.

use super::block::linear;
use super::init::Initializer;
use super::ops::{self, Segments};
use crate::recipe::BoundaryGradient;
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The boundary predictor.
#[derive(Module, Debug)]
pub struct BoundaryPredictor {
    query: Param<Tensor<2>>,
    key: Param<Tensor<2>>,
}

impl BoundaryPredictor {
    pub(crate) fn new(width: usize, init: &Initializer) -> Self {
        Self { query: init.identity(width), key: init.identity(width) }
    }

    /// Computes p_t, the probability that token t starts a concept.
    ///
    /// # Shapes
    /// `h` [batch, seq_len, d_token] → [batch, seq_len]; the first column is 1.
    pub(crate) fn forward(&self, h: Tensor<3>, gradient: BoundaryGradient) -> Tensor<2> {
        let h = match gradient {
            BoundaryGradient::Detached => h.detach(),
            BoundaryGradient::Encoder => h,
        };
        ops::boundary_probability(linear(h.clone(), &self.query), linear(h, &self.key))
    }
}

/// How boundaries are decided.
#[derive(Clone, Debug)]
pub enum Decision {
    /// b_t ~ Bernoulli(sharpen(p_t)): a boundary where the uniform number is below it. Training.
    Sample {
        /// One uniform number a token, [batch · seq_len] row by row.
        uniforms: Vec<f32>,
        /// τ of the sharpening.
        temperature: f64,
    },
    /// b_t = [p_t ≥ θ]. Evaluation.
    Threshold(f64),
    /// A boundary where the uniform number is below the rate, whatever p says.
    Random {
        /// One uniform number a token, [batch · seq_len] row by row.
        uniforms: Vec<f32>,
        /// Share of tokens that start a concept.
        rate: f64,
    },
    /// No boundary but the first: every token sees only the start vector.
    NoConcepts,
}

impl Decision {
    /// Decides for each token whether it starts a concept; the first of a sequence always does.
    pub fn decide(&self, probabilities: &[f32], seq_len: usize) -> Vec<bool> {
        let decide = |index: usize, p: f32| match self {
            Decision::Sample { uniforms, temperature } => {
                f64::from(uniforms[index]) < sharpen(f64::from(p), *temperature)
            }
            Decision::Threshold(threshold) => f64::from(p) >= *threshold,
            Decision::Random { uniforms, rate } => f64::from(uniforms[index]) < *rate,
            Decision::NoConcepts => false,
        };
        probabilities
            .iter()
            .enumerate()
            .map(|(index, &p)| index % seq_len == 0 || decide(index, p))
            .collect()
    }
}

/// Sharpens a probability: p^(1/τ) / (p^(1/τ) + (1−p)^(1/τ)).
pub fn sharpen(p: f64, temperature: f64) -> f64 {
    let p = p.clamp(0.0, 1.0);
    let yes = p.powf(1.0 / temperature);
    let no = (1.0 - p).powf(1.0 / temperature);
    yes / (yes + no)
}

/// Numbers the segments that boundaries make.
pub(crate) fn segments(boundaries: &[bool], seq_len: usize, device: &Device) -> Segments {
    let batch = boundaries.len() / seq_len;
    let mut index = Vec::with_capacity(boundaries.len());
    let mut concepts = 0;
    for row in boundaries.chunks_exact(seq_len) {
        let mut segment = 0i32;
        for (position, &boundary) in row.iter().enumerate() {
            segment += i32::from(boundary && position > 0);
            index.push(segment);
        }
        concepts = concepts.max(segment as usize + 1);
    }
    let index = Tensor::<2, Int>::from_data(TensorData::new(index, [batch, seq_len]), device);
    Segments { index, concepts }
}

/// A running estimate of the threshold with which a share 1/R of tokens start a concept.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ThresholdEstimate {
    weighted: f64,
    weight: f64,
}

/// Weight that the running estimate keeps at each step.
const ESTIMATE_DECAY: f64 = 0.95;

impl ThresholdEstimate {
    /// Takes in one step's probabilities.
    pub fn update(&mut self, probabilities: &[f32], compression_ratio: f64) {
        let mut sorted = probabilities.to_vec();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let boundaries = (sorted.len() as f64 / compression_ratio).round() as usize;
        let boundaries = boundaries.clamp(1, sorted.len());
        // Halfway to the next lower value: either side of it decides the same.
        let least = f64::from(sorted[boundaries - 1]);
        let quantile = sorted.get(boundaries).map_or(least, |&next| 0.5 * (least + f64::from(next)));
        self.weighted = ESTIMATE_DECAY * self.weighted + (1.0 - ESTIMATE_DECAY) * quantile;
        self.weight = ESTIMATE_DECAY * self.weight + (1.0 - ESTIMATE_DECAY);
    }

    /// Reads the estimate; `None` before the first update.
    pub fn value(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.weighted / self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sharpening_keeps_the_ends_and_the_middle() {
        assert_eq!(sharpen(0.0, 0.5), 0.0);
        assert_eq!(sharpen(1.0, 0.5), 1.0);
        assert_eq!(sharpen(0.5, 0.5), 0.5);
        assert!(sharpen(0.7, 0.5) > 0.7);
    }

    #[test]
    fn the_first_token_always_starts_a_concept() {
        let p = [0.0; 6];
        let boundaries = Decision::Threshold(0.5).decide(&p, 3);
        assert_eq!(boundaries, [true, false, false, true, false, false]);
        let segments = segments(&[true, false, true, true, false, false], 3, &Device::flex());
        assert_eq!(segments.concepts, 2);
        let index: Vec<i32> = segments.index.into_data().iter::<i32>().collect();
        assert_eq!(index, [0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn the_estimate_finds_the_rate() {
        let mut estimate = ThresholdEstimate::default();
        assert_eq!(estimate.value(), None);
        let p: Vec<f32> = (0..1000).map(|i| i as f32 / 1000.0).collect();
        for _ in 0..10 {
            estimate.update(&p, 4.0);
        }
        let threshold = estimate.value().expect("updated");
        let rate = p.iter().filter(|&&p| f64::from(p) >= threshold).count();
        assert_eq!(rate, 250);
    }
}
