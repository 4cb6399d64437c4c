//! Segmentation: boundary probabilities, and the segments that decided boundaries make.
//!
//! # Source
//! DLCM, arXiv 2512.24617, Eq. 5–6; W_q and W_k start as the identity, as in H-Net.

use super::flop_count::FlopCount;
use super::init::Initializer;
use super::ops::{self, Segments};
use super::prefixes::Layout;
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use experiment::architecture::Pooling;
use experiment::recipe::BoundaryGradient;

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
    /// `h` [batch, seq_len, d_token], or as the layout says → [batch, seq_len]; the first column is 1.
    pub(crate) fn forward(
        &self,
        h: Tensor<3>,
        layout: &Layout,
        gradient: BoundaryGradient,
    ) -> Tensor<2> {
        let h = match gradient {
            BoundaryGradient::Detached => h.detach(),
            BoundaryGradient::Encoder | BoundaryGradient::LanguageModel => h,
        };
        probability(
            layout.spread(ops::linear(h.clone(), self.query.val())),
            layout.spread(ops::linear(h, self.key.val())),
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

/// Concepts come in multiples of this where kernels and memory are kept by shape: on GPUs. The absent
/// ones are read by nobody.
const BUCKET: usize = 32;

/// Which segment every token is in, and where segments start, on a device.
#[derive(Clone, Debug)]
pub struct Segmentation {
    /// Which segment every token is in.
    pub segments: Segments,
    /// The first token of every segment, [batch, concepts]; 0 for a segment that a row does not
    /// have. Only where they are read: [`Network::needs_starts`](crate::Network::needs_starts).
    pub starts: Option<Tensor<2, Int>>,
}

/// Says whether the first tokens of segments are read by themselves: where concepts are made of them,
/// or the cross-entropy's gradient reaches boundaries.
pub(crate) fn needs_starts(pooling: Pooling, gradient: BoundaryGradient) -> bool {
    pooling == Pooling::Boundary || gradient == BoundaryGradient::LanguageModel
}

impl Segmentation {
    /// Copies the segments that boundaries make to a device, with their first tokens where those are
    /// read.
    pub fn new(boundaries: &[bool], seq_len: usize, with_starts: bool, device: &Device) -> Self {
        let (index, concepts) = number(boundaries, seq_len, device);
        let shape = [boundaries.len() / seq_len, seq_len];
        let index = Tensor::from_data(TensorData::new(index, shape), device);
        let starts = with_starts.then(|| {
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
pub fn number(boundaries: &[bool], seq_len: usize, device: &Device) -> (Vec<i32>, usize) {
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
pub fn starts(boundaries: &[bool], seq_len: usize, concepts: usize) -> Vec<i32> {
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

/// Probabilities that a shift is found from: their rate's sampling error is then about 1%, and they
/// are at most a few steps old.
const SHIFT_FROM: usize = 1 << 12;

/// Largest shift either way.
const LARGEST_SHIFT: f64 = 20.0;

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

    /// Finds what to add to the logits of p so that a share 1/R of the tokens start a concept, as far
    /// as the newest probabilities tell; 0 when there are none.
    ///
    /// # Source
    /// Ours; after the balancing of experts by a bias instead of a loss (arXiv 2408.15664).
    pub fn shift(&self, compression_ratio: f64, temperature: f64) -> f64 {
        let newest = (0..self.values.len().min(SHIFT_FROM)).map(|age| {
            let at = (self.next + self.values.len() - 1 - age) % self.values.len();
            f64::from(self.values[at])
        });
        let odds: Vec<f64> = newest.map(|p| p / (1.0 - p)).collect();
        if odds.is_empty() {
            return 0.0;
        }
        let rate = |shift: f64| {
            let shares = odds.iter().map(|odds| {
                let odds = (odds * shift.exp()).powf(1.0 / temperature);
                // A certain boundary has infinite odds.
                if odds.is_finite() {
                    odds / (1.0 + odds)
                } else {
                    1.0
                }
            });
            shares.sum::<f64>() / odds.len() as f64
        };
        let (mut low, mut high) = (-LARGEST_SHIFT, LARGEST_SHIFT);
        // Halvings until the shift is known to 0.001.
        for _ in 0..16 {
            let middle = 0.5 * (low + high);
            if rate(middle) < 1.0 / compression_ratio {
                low = middle
            } else {
                high = middle
            }
        }
        0.5 * (low + high)
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
    use crate::Decision;

    #[test]
    fn the_first_token_always_starts_a_concept() {
        let p = [0.0; 6];
        let boundaries = Decision::Threshold(0.5).decide(&p, 3);
        assert_eq!(boundaries, [true, false, false, true, false, false]);
        let device = crate::device::for_tests();
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
    fn a_shift_gives_the_rate_whatever_the_probabilities() {
        assert_eq!(RecentProbabilities::default().shift(4.0, 0.5), 0.0);
        for centre in [0.05, 0.3, 0.5, 0.9] {
            let mut recent = RecentProbabilities::from(vec![0.01; 100]);
            // One token in 64 is a sequence's first.
            let p = |i: usize| {
                if i.is_multiple_of(64) {
                    1.0
                } else {
                    centre + 0.09 * ((i % 7) as f32 / 7.0)
                }
            };
            let values: Vec<f32> = (0..SHIFT_FROM).map(p).collect();
            recent.extend(&values);
            for (ratio, temperature) in [(2.0, 0.5), (4.0, 0.5), (8.0, 1.0)] {
                let shift = recent.shift(ratio, temperature);
                let uniforms: Vec<f32> = (0..SHIFT_FROM)
                    .map(|i| (i * 1597 % SHIFT_FROM) as f32 / SHIFT_FROM as f32)
                    .collect();
                let decided = Decision::sample(&uniforms, temperature, shift).decide(&values, 64);
                let rate = decided.iter().filter(|&&b| b).count() as f64 / SHIFT_FROM as f64;
                assert!(
                    (rate * ratio - 1.0).abs() < 0.03,
                    "{centre} {ratio}: {rate}"
                );
            }
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
