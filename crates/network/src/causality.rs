//! The check that no token knows what comes after it.
//!
//! A leak makes every loss worthless, so this is tested as a property and run again before
//! each training.

use super::{Boundaries, Decision, Network, Placement};
use burn::tensor::{Device, Int, Tensor, TensorData};
use experiment::recipe::BoundaryGradient;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Largest difference, relative to the largest logit, that rounding explains.
const TOLERANCE: f32 = 1e-5;

/// A token that was seen to know its future.
#[derive(Clone, Debug, PartialEq)]
pub struct Leak {
    /// Tokens after this one were changed.
    pub after: usize,
    /// The token whose boundary or logits changed with them.
    pub token: usize,
    /// Largest change of a logit, relative to the largest logit; `None` when a boundary changed.
    pub change: Option<f32>,
}

/// Changes the tokens after several positions and looks for a token before that notices.
///
/// The network must be without autodiff; `placement` decides boundaries.
pub fn find_leak(
    network: &Network,
    vocab: usize,
    seq_len: usize,
    placement: Placement,
    seed: u64,
    device: &Device,
) -> Option<Leak> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let tokens: Vec<i32> = (0..seq_len)
        .map(|_| random.random_range(0..vocab as i32))
        .collect();
    let decision = placement.decision(0..1, seq_len);
    let (logits, boundaries) = forward(network, &tokens, &decision, device);
    let scale = logits
        .iter()
        .fold(1e-6f32, |most, logit| most.max(logit.abs()));
    for share in [0.0, 0.3, 0.5, 0.8, 0.95] {
        let after = (share * (seq_len - 1) as f64) as usize;
        let mut changed = tokens.clone();
        for token in &mut changed[after + 1..] {
            *token = random.random_range(0..vocab as i32);
        }
        let (other, others) = forward(network, &changed, &decision, device);
        for token in 0..=after {
            let row = token * vocab..(token + 1) * vocab;
            let changes = || {
                let pairs = logits[row.clone()].iter().zip(&other[row.clone()]);
                pairs.map(|(a, b)| (a - b).abs())
            };
            let largest = changes().fold(0f32, f32::max);
            // `f32::max` passes over a NaN, and a NaN is a leak too.
            let noticed = largest > TOLERANCE * scale || changes().any(f32::is_nan);
            if boundaries.get(token) != others.get(token) {
                return Some(Leak {
                    after,
                    token,
                    change: None,
                });
            }
            if noticed {
                return Some(Leak {
                    after,
                    token,
                    change: Some(largest / scale),
                });
            }
        }
    }
    None
}

fn forward(
    network: &Network,
    tokens: &[i32],
    decision: &Decision,
    device: &Device,
) -> (Vec<f32>, Vec<bool>) {
    let tokens =
        Tensor::<2, Int>::from_data(TensorData::new(tokens.to_vec(), [1, tokens.len()]), device);
    let (logits, boundaries) = network.forward(tokens, decision, BoundaryGradient::Detached);
    let decided = boundaries
        .map(|Boundaries { decided, .. }| decided)
        .unwrap_or_default();
    (logits.into_data().iter::<f32>().collect(), decided)
}
