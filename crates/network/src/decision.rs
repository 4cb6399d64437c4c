//! Where boundaries are decided: drawn in training, placed by threshold, count or chance elsewhere.

use experiment::architecture::{Architecture, BoundaryRule, Dlcm};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// Streams of random numbers that one seed gives: sequence i uses stream i.
const SALT: u64 = 0x0b0d_a125_5a3b_1e00;

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
    /// where u < sharpen(p), with `shift` added to the logit of p.
    ///
    /// The bound is the largest p that is none, about sharpen(u, 1/τ), the inverse: what takes powers
    /// is done before p is known.
    pub fn sample(uniforms: &[f32], temperature: f64, shift: f64) -> Self {
        let bound = |&u: &f32| {
            let u = f64::from(u);
            let starts = |p: f32| u < sharpen(shifted(f64::from(p), shift), temperature);
            let about = shifted(sharpen(u, 1.0 / temperature), -shift) as f32;
            match (starts(about), starts(about.next_up())) {
                (true, _) => about.next_down(),
                (false, true) => about,
                (false, false) => about.next_up(),
            }
        };
        Self::Drawn(uniforms.iter().map(bound).collect())
    }

    /// Draws or places the boundaries of some sequences in training; those that are learned are
    /// sampled at a temperature, with a shift.
    pub fn in_training(
        shape: &Dlcm,
        (temperature, shift): (f64, f64),
        seed: u64,
        sequences: Range<u64>,
    ) -> Self {
        let seq_len = shape.seq_len;
        match shape.boundaries {
            BoundaryRule::Learned => {
                Self::sample(&uniforms(seed, sequences, seq_len), temperature, shift)
            }
            BoundaryRule::Fixed | BoundaryRule::Random => {
                // Other draws than evaluation's, which are of the inverted seed.
                Placement::new(shape, 0.0, !seed).decision(sequences, seq_len)
            }
        }
    }

    /// Draws boundaries at a rate, whatever p says, by one uniform number a token.
    pub fn random(uniforms: &[f32], rate: f64) -> Self {
        Self::whatever_p(uniforms.iter().map(|&u| f64::from(u) < rate))
    }

    /// Places a boundary at every `ratio`-th token of `rows` sequences, whatever p says.
    pub fn fixed(rows: usize, seq_len: usize, ratio: f64) -> Self {
        let row = (0..seq_len).map(|position| starts_by_count(position, ratio));
        Self::whatever_p(std::iter::repeat_n(row, rows).flatten())
    }

    fn whatever_p(starts: impl Iterator<Item = bool>) -> Self {
        let bound = |starts| {
            if starts {
                f32::NEG_INFINITY
            } else {
                f32::INFINITY
            }
        };
        Self::Drawn(starts.map(bound).collect())
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

/// Says whether a token starts a concept where every `ratio`-th does: where its place divided by R
/// passes a whole number.
fn starts_by_count(position: usize, ratio: f64) -> bool {
    let concept = |position: usize| (position as f64 / ratio).floor();
    position == 0 || concept(position) > concept(position - 1)
}

/// Draws one uniform number a token for some sequences, the same whatever they are batched with.
pub fn uniforms(seed: u64, sequences: Range<u64>, seq_len: usize) -> Vec<f32> {
    let mut numbers = Vec::with_capacity((sequences.end - sequences.start) as usize * seq_len);
    for sequence in sequences {
        let mut random = stream(seed, sequence);
        numbers.extend((0..seq_len).map(|_| random.random::<f32>()));
    }
    numbers
}

fn stream(seed: u64, sequence: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ SALT);
    random.set_stream(sequence);
    random
}

/// Where a model's boundaries are outside of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Placement {
    /// Where p ≥ θ.
    Threshold(f64),
    /// At every R-th token.
    Fixed {
        /// R.
        ratio: f64,
    },
    /// Drawn at the rate 1/R from a seed, the sequence and the position, whatever the tokens are.
    Random {
        /// The seed.
        seed: u64,
        /// R.
        ratio: f64,
    },
}

impl Placement {
    /// Finds that of a model: `threshold` serves one whose boundaries are learned, the run's `seed`
    /// one whose are random.
    pub fn new(shape: &Dlcm, threshold: f64, seed: u64) -> Self {
        let ratio = shape.compression_ratio;
        match shape.boundaries {
            BoundaryRule::Learned => Self::Threshold(threshold),
            BoundaryRule::Fixed => Self::Fixed { ratio },
            BoundaryRule::Random => Self::Random { seed: !seed, ratio },
        }
    }

    /// Finds that of a model of any kind; one without concepts has no use for it.
    pub fn of(architecture: &Architecture, threshold: f64, seed: u64) -> Self {
        match architecture {
            Architecture::Dlcm(shape) => Self::new(shape, threshold, seed),
            Architecture::Dense(_) | Architecture::TokenOnly(_) => Self::Threshold(threshold),
        }
    }

    /// Decides for some sequences.
    pub fn decision(&self, sequences: Range<u64>, seq_len: usize) -> Decision {
        match *self {
            Self::Threshold(threshold) => Decision::Threshold(threshold),
            Self::Fixed { ratio } => {
                let rows = (sequences.end - sequences.start) as usize;
                Decision::fixed(rows, seq_len, ratio)
            }
            Self::Random { seed, ratio } => {
                let rate = rate_after_first(1.0 / ratio, seq_len);
                Decision::random(&uniforms(seed, sequences, seq_len), rate)
            }
        }
    }

    /// Decides for one token of a sequence of `seq_len` tokens, or of one that goes on beyond, as
    /// [`Self::decision`] does for the first sequence.
    pub fn starts(&self, position: usize, seq_len: usize, probability: f32) -> bool {
        match *self {
            _ if position == 0 => true,
            Self::Threshold(threshold) => f64::from(probability) >= threshold,
            Self::Fixed { ratio } => starts_by_count(position, ratio),
            Self::Random { seed, ratio } => {
                let mut random = stream(seed, 0);
                random.set_word_pos(position as u128);
                f64::from(random.random::<f32>()) < rate_after_first(1.0 / ratio, seq_len)
            }
        }
    }
}

/// Finds the rate at which the tokens after the first start concepts, so that all together do at
/// `rate`: the first always does.
pub fn rate_after_first(rate: f64, seq_len: usize) -> f64 {
    ((rate * seq_len as f64 - 1.0) / (seq_len as f64 - 1.0).max(1.0)).max(0.0)
}

/// Sharpens a probability: p^(1/τ) / (p^(1/τ) + (1−p)^(1/τ)).
pub fn sharpen(p: f64, temperature: f64) -> f64 {
    let p = p.clamp(0.0, 1.0);
    let yes = p.powf(1.0 / temperature);
    let no = (1.0 - p).powf(1.0 / temperature);
    yes / (yes + no)
}

/// Adds to the logit of a probability.
fn shifted(p: f64, shift: f64) -> f64 {
    // Exact where nothing is added.
    if shift == 0.0 {
        return p;
    }
    let odds = shift.exp();
    p * odds / (p * odds + (1.0 - p))
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
        let settings = [
            (0.25, 0.0),
            (0.5, 0.0),
            (1.0, 0.0),
            (2.0, 0.0),
            (0.5, -1.3),
            (1.0, 0.4),
        ];
        for (temperature, shift) in settings {
            let decision = Decision::sample(&uniforms, temperature, shift);
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
                    let drawn = f64::from(*u) < sharpen(shifted(f64::from(p), shift), temperature);
                    assert_eq!(decided[i], drawn, "{p} and {u} at {temperature}, {shift}");
                }
            }
        }
        let never = Decision::sample(&[0.0; 3], 0.5, 0.0).decide(&[0.0; 3], 3);
        assert_eq!(never, [true, false, false]);
        let random = Decision::random(&[0.9, 0.2, 0.25], 0.25).decide(&[0.0; 3], 3);
        assert_eq!(random, [true, true, false]);
    }

    #[test]
    fn boundaries_by_count_and_by_chance_keep_the_rate_and_the_decoder_agrees() {
        for ratio in [1.5, 4.0, 7.3] {
            for placement in [
                Placement::Fixed { ratio },
                Placement::Random { seed: 5, ratio },
            ] {
                let decided = placement
                    .decision(0..40, 256)
                    .decide(&vec![0.0; 40 * 256], 256);
                let rate = decided.iter().filter(|&&b| b).count() as f64 / decided.len() as f64;
                assert!((rate * ratio - 1.0).abs() < 0.04, "{placement:?}: {rate}");
                let step = |position| placement.starts(position, 256, 0.0);
                assert_eq!(decided[..256], (0..256).map(step).collect::<Vec<_>>());
            }
        }
        let every_fourth = Decision::fixed(2, 6, 4.0).decide(&[0.0; 12], 6);
        let row = [true, false, false, false, true, false];
        assert_eq!(every_fourth, [row, row].concat());
    }
}
