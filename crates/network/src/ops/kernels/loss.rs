//! Cross-entropy of scaled logits.

use super::parallel::{each, rows_a_piece};
use super::vector::{LANES, exp, largest, sum_lanes, vectorized};

/// Elements whose exponentials are added in single precision before going on in double.
const BLOCK: usize = 32 * LANES;

/// Writes each row's loss, and its log-sum-exp for the backward pass.
///
/// # Shapes
/// logits `[rows, vocabulary]`, targets, losses and lse `[rows]`.
pub(crate) fn forward(
    logits: &[f32],
    scale: f64,
    targets: &[usize],
    losses: &mut [f32],
    lse: &mut [f32],
) {
    let vocabulary = logits.len() / targets.len().max(1);
    let piece = rows_a_piece(targets.len(), vocabulary);
    let items = (logits.chunks(piece * vocabulary).zip(targets.chunks(piece)))
        .zip(losses.chunks_mut(piece).zip(lse.chunks_mut(piece)));
    each(items, logits.len(), |((logits, targets), (losses, lse))| {
        forward_rows(logits, scale as f32, targets, losses, lse);
    });
}

vectorized! {
    fn forward_rows(
        logits: &[f32],
        scale: f32,
        targets: &[usize],
        losses: &mut [f32],
        lse: &mut [f32],
    ) {
        let vocabulary = logits.len() / targets.len();
        let rows = logits.chunks_exact(vocabulary).zip(targets);
        for ((row, &target), (loss, lse)) in rows.zip(losses.iter_mut().zip(lse)) {
            // The scale is positive: the largest logit is the largest score.
            let top = largest(row) * scale;
            let mut sum = 0.0f64;
            for block in row.chunks(BLOCK) {
                let mut lanes = [0.0; LANES];
                let (chunks, rest) = block.as_chunks::<LANES>();
                for chunk in chunks {
                    for i in 0..LANES {
                        lanes[i] += exp(chunk[i].mul_add(scale, -top));
                    }
                }
                for (lane, x) in lanes.iter_mut().zip(rest) {
                    *lane += exp(x.mul_add(scale, -top));
                }
                sum += f64::from(sum_lanes(lanes));
            }
            let log = sum.ln();
            *lse = (f64::from(top) + log) as f32;
            // From the difference of scores, not from the rounded log-sum-exp: a small loss keeps
            // its digits.
            *loss = (f64::from(top - row[target] * scale) + log) as f32;
        }
    }
}

/// Turns logits into their gradient, in place.
pub(crate) fn backward(
    logits: &mut [f32],
    scale: f64,
    targets: &[usize],
    lse: &[f32],
    grad: &[f32],
) {
    let vocabulary = logits.len() / targets.len().max(1);
    let piece = rows_a_piece(targets.len(), vocabulary);
    let elements = logits.len();
    let items = (logits
        .chunks_mut(piece * vocabulary)
        .zip(targets.chunks(piece)))
    .zip(lse.chunks(piece).zip(grad.chunks(piece)));
    each(items, elements, |((logits, targets), (lse, grad))| {
        backward_rows(logits, scale as f32, targets, lse, grad);
    });
}

vectorized! {
    fn backward_rows(
        logits: &mut [f32],
        scale: f32,
        targets: &[usize],
        lse: &[f32],
        grad: &[f32],
    ) {
        let vocabulary = logits.len() / targets.len();
        let rows = logits.chunks_exact_mut(vocabulary).zip(targets);
        for ((row, &target), (&lse, &grad)) in rows.zip(lse.iter().zip(grad)) {
            let weight = grad * scale;
            for x in row.iter_mut() {
                *x = weight * exp(x.mul_add(scale, -lse));
            }
            row[target] -= weight;
        }
    }
}
