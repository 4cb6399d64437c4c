//! Segmentation: boundary probabilities, decisions, and the segments they make.
//!
//! # Source
//! DLCM, arXiv 2512.24617, Eq. 5–6; W_q and W_k start as the identity, as in H-Net.

use super::decode::FlopCount;
use super::init::Initializer;
use super::ops::{self, Segments};
use crate::recipe::BoundaryGradient;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use std::ops::Range;

/// The boundary predictor.
#[derive(Module, Debug)]
pub struct BoundaryPredictor {
    query: Param<Tensor<2>>,
    key: Param<Tensor<2>>,
}

impl BoundaryPredictor {
    pub(crate) fn new(width: usize, init: &Initializer) -> Self {
        Self {
            query: init.identity(width),
            key: init.identity(width),
        }
    }

    /// Computes p_t, the probability that token t starts a concept.
    ///
    /// # Shapes
    /// `h` [batch, seq_len, d_token] → [batch, seq_len]; the first column is 1.
    pub(crate) fn forward(&self, h: Tensor<3>, gradient: BoundaryGradient) -> Tensor<2> {
        let h = match gradient {
            BoundaryGradient::Detached => h.detach(),
            BoundaryGradient::Encoder | BoundaryGradient::LanguageModel => h,
        };
        probability(
            ops::linear(h.clone(), self.query.val()),
            ops::linear(h, self.key.val()),
        )
    }

    /// Computes p of the next token alone; `query` is that of the token before and is replaced.
    ///
    /// # Shapes
    /// `h` and `query` [1, 1, d_token].
    pub(crate) fn step(
        &self,
        h: Tensor<3>,
        query: &mut Option<Tensor<3>>,
        flops: &FlopCount,
    ) -> f32 {
        let own = flops.linear(h.clone(), &self.query);
        let Some(before) = query.replace(own.clone()) else {
            return 1.0;
        };
        let key = flops.linear(h, &self.key);
        // A dot product and two lengths.
        flops.add(6 * key.shape().num_elements() as u64);
        let pair = |first, second| Tensor::cat(vec![first, second], 1);
        let p = probability(pair(before, own), pair(key.clone(), key));
        p.narrow(1, 1, 1).into_scalar::<f32>()
    }
}

/// Computes p. Close calls are decided in single precision, whatever the layers compute in.
fn probability(query: Tensor<3>, key: Tensor<3>) -> Tensor<2> {
    ops::boundary_probability(query.cast(DType::F32), key.cast(DType::F32))
}

/// How boundaries are decided.
#[derive(Clone, Debug)]
pub enum Decision {
    /// A boundary where p_t is above the token's own bound, [batch · seq_len] row by row: drawn
    /// before p is known. Training.
    Drawn(Vec<f32>),
    /// b_t = [p_t ≥ θ]. Evaluation.
    Threshold(f64),
    /// No boundary but the first: every token sees only the start vector.
    NoConcepts,
}

impl Decision {
    /// Draws b_t ~ Bernoulli(sharpen(p_t)) by one uniform number u in [0, 1) a token: a boundary
    /// where u < sharpen(p).
    ///
    /// The bound is the largest p that is none, about sharpen(u, 1/τ), the inverse: what takes powers
    /// is done before p is known.
    pub fn sample(uniforms: &[f32], temperature: f64) -> Self {
        let bound = |&u: &f32| {
            let u = f64::from(u);
            let starts = |p: f32| u < sharpen(f64::from(p), temperature);
            let about = sharpen(u, 1.0 / temperature) as f32;
            match (starts(about), starts(about.next_up())) {
                (true, _) => about.next_down(),
                (false, true) => about,
                (false, false) => about.next_up(),
            }
        };
        Self::Drawn(uniforms.iter().map(bound).collect())
    }

    /// Draws boundaries at a rate, whatever p says, by one uniform number a token.
    pub fn random(uniforms: &[f32], rate: f64) -> Self {
        let bound = |&u: &f32| match f64::from(u) < rate {
            true => f32::NEG_INFINITY,
            false => f32::INFINITY,
        };
        Self::Drawn(uniforms.iter().map(bound).collect())
    }

    /// The decision on some of the tokens.
    pub fn of(&self, tokens: Range<usize>) -> Self {
        match self {
            Self::Drawn(bounds) => Self::Drawn(bounds[tokens].to_vec()),
            Self::Threshold(_) | Self::NoConcepts => self.clone(),
        }
    }

    /// Decides for each token whether it starts a concept; the first of a sequence always does.
    pub fn decide(&self, probabilities: &[f32], seq_len: usize) -> Vec<bool> {
        let decide = |index: usize, p: f32| match self {
            Self::Drawn(bounds) => p > bounds[index],
            Self::Threshold(threshold) => f64::from(p) >= *threshold,
            Self::NoConcepts => false,
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

/// Concepts come in multiples of this where kernels and memory are kept by shape: on GPUs. The absent
/// ones are read by nobody.
const BUCKET: usize = 32;

/// Which segment every token is in, and where segments start, on a device.
#[derive(Clone, Debug)]
pub struct Segmentation {
    pub(crate) segments: Segments,
    /// The first token of every segment, [batch, concepts]; 0 for a segment that a row does not
    /// have. Only where the cross-entropy's gradient reaches boundaries.
    pub(crate) starts: Option<Tensor<2, Int>>,
}

impl Segmentation {
    /// Copies the segments that boundaries make to a device.
    pub fn new(
        boundaries: &[bool],
        seq_len: usize,
        gradient: BoundaryGradient,
        device: &Device,
    ) -> Self {
        let (index, concepts) = number(boundaries, seq_len, device);
        let shape = [boundaries.len() / seq_len, seq_len];
        let index = Tensor::from_data(TensorData::new(index, shape), device);
        let starts = (gradient == BoundaryGradient::LanguageModel).then(|| {
            let starts = starts(boundaries, seq_len, concepts);
            Tensor::from_data(TensorData::new(starts, [shape[0], concepts]), device)
        });
        Self {
            segments: Segments { index, concepts },
            starts,
        }
    }
}

/// Numbers the segments that boundaries make, from 0 in each row; and says for how many a device has
/// room, which is the most of any row or a little more.
pub(crate) fn number(boundaries: &[bool], seq_len: usize, device: &Device) -> (Vec<i32>, usize) {
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
    if !ops::is_fused(device) && concepts > 1 {
        // The backbone runs on all but the last.
        let read = (concepts - 1).next_multiple_of(BUCKET);
        concepts = (read + 1).min(seq_len);
    }
    (index, concepts)
}

/// Finds the first token of every segment; 0 for a segment that a row does not have.
pub(crate) fn starts(boundaries: &[bool], seq_len: usize, concepts: usize) -> Vec<i32> {
    let rows = boundaries.chunks_exact(seq_len);
    let mut starts = vec![0i32; rows.len() * concepts];
    for (row, starts) in rows.zip(starts.chunks_exact_mut(concepts)) {
        let found = (0..seq_len).filter(|&t| t == 0 || row[t]);
        for (start, position) in starts.iter_mut().zip(found) {
            *start = position as i32;
        }
    }
    starts
}

/// The most recent probabilities of training: where the threshold comes from when there is too
/// little held-out text to calibrate it on.
///
/// The threshold is their quantile that gives rate 1/R. A mean of every step's quantile would
/// not do: where few probabilities lie between two clusters it falls between them, and the rate
/// of neither side is 1/R.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecentProbabilities {
    values: Vec<f32>,
    next: usize,
}

/// Probabilities that are kept: the rate's sampling error at R = 8 is then 1%.
const KEPT: usize = 1 << 16;

impl RecentProbabilities {
    /// Takes in one step's probabilities.
    pub fn extend(&mut self, probabilities: &[f32]) {
        for &probability in probabilities {
            if self.values.len() < KEPT {
                self.values.push(probability);
            } else {
                self.values[self.next] = probability;
                self.next = (self.next + 1) % KEPT;
            }
        }
    }

    /// Finds the threshold with which a share 1/R of them start a concept; `None` when there are
    /// none.
    pub fn threshold(&self, compression_ratio: f64) -> Option<f64> {
        threshold(self.values.clone(), compression_ratio)
    }

    /// Lists them from the oldest, for a checkpoint.
    pub fn to_vec(&self) -> Vec<f32> {
        [&self.values[self.next..], &self.values[..self.next]].concat()
    }
}

/// Finds the threshold at which a share 1/R of some probabilities start a concept; `None` when
/// there are none.
pub fn threshold(mut probabilities: Vec<f32>, compression_ratio: f64) -> Option<f64> {
    probabilities.sort_unstable_by(|a, b| b.total_cmp(a));
    let boundaries = (probabilities.len() as f64 / compression_ratio).round() as usize;
    let least = f64::from(*probabilities.get(boundaries.max(1) - 1)?);
    // Halfway to the next lower value: either side of it decides the same.
    let next = probabilities.get(boundaries);
    Some(next.map_or(least, |&next| 0.5 * (least + f64::from(next))))
}

impl From<Vec<f32>> for RecentProbabilities {
    fn from(values: Vec<f32>) -> Self {
        let mut recent = Self::default();
        recent.extend(&values);
        recent
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
    fn boundaries_are_drawn_where_the_sharpened_probability_is_above() {
        let last = 1.0f32.next_down();
        let uniforms = (0..20_000).map(|i| i as f32 / 20_000.0).chain([last]);
        let uniforms: Vec<f32> = uniforms.collect();
        for temperature in [0.25, 0.5, 1.0, 2.0] {
            let decision = Decision::sample(&uniforms, temperature);
            let Decision::Drawn(bounds) = &decision else {
                unreachable!("drawn");
            };
            // Everywhere, and where it is closest.
            let below = bounds.iter().map(|bound| bound.next_down().max(0.0));
            let above = bounds.iter().map(|bound| bound.next_up().min(1.0));
            let everywhere = (0..=20_000).map(|i| (i * 7919 % 20_001) as f32 / 20_000.0);
            let probabilities: [Vec<f32>; 5] = [
                below.collect(),
                bounds.clone(),
                above.collect(),
                everywhere.collect(),
                vec![1.0; uniforms.len()],
            ];
            for probabilities in probabilities {
                let decided = decision.decide(&probabilities, uniforms.len());
                for (i, (p, u)) in probabilities.into_iter().zip(&uniforms).enumerate().skip(1) {
                    let drawn = f64::from(*u) < sharpen(f64::from(p), temperature);
                    assert_eq!(decided[i], drawn, "{p} and {u} at {temperature}");
                }
            }
        }
        let never = Decision::sample(&[0.0; 3], 0.5).decide(&[0.0; 3], 3);
        assert_eq!(never, [true, false, false]);
        let random = Decision::random(&[0.9, 0.2, 0.25], 0.25).decide(&[0.0; 3], 3);
        assert_eq!(random, [true, true, false]);
    }

    #[test]
    fn the_first_token_always_starts_a_concept() {
        let p = [0.0; 6];
        let boundaries = Decision::Threshold(0.5).decide(&p, 3);
        assert_eq!(boundaries, [true, false, false, true, false, false]);
        let device = crate::model::device::for_tests();
        let (index, concepts) = number(&[true, false, true, true, false, false], 3, &device);
        // Of a whole bucket, no more than there are tokens.
        assert_eq!(concepts, if ops::is_fused(&device) { 2 } else { 3 });
        assert_eq!(index, [0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn the_threshold_gives_the_rate() {
        let mut recent = RecentProbabilities::default();
        assert_eq!(recent.threshold(4.0), None);
        let p: Vec<f32> = (0..1000).map(|i| i as f32 / 1000.0).collect();
        for ratio in [1.01, 2.0, 4.0, 64.0, 2000.0] {
            recent.extend(&p);
            let threshold = recent.threshold(ratio).expect("filled");
            let rate = p.iter().filter(|&&p| f64::from(p) >= threshold).count() as f64;
            assert!((rate - 1000.0 / ratio).abs() <= 1.0, "{ratio}: {rate}");
        }
    }

    #[test]
    fn only_the_most_recent_count_and_their_order_is_kept() {
        let mut recent = RecentProbabilities::default();
        recent.extend(&vec![0.9; KEPT]);
        recent.extend(&vec![0.1; KEPT - 1]);
        let listed = recent.to_vec();
        assert_eq!((listed[0], listed[1], listed.len()), (0.9, 0.1, KEPT));
        let mut again = RecentProbabilities::from(listed);
        for recent in [&mut recent, &mut again] {
            recent.extend(&[0.2, 0.3]);
        }
        assert_eq!(recent.to_vec(), again.to_vec());
    }
}
