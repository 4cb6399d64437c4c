//! Boundary probabilities from the cosine of neighbouring states.

use super::parallel::each;
use super::vector::{dot, vectorized};
use crate::ops::NORM_FLOOR;

/// Writes p of every token.
///
/// # Shapes
/// q and k `[batch, length, width]`, out `[batch, length]`.
pub(crate) fn forward(q: &[f32], k: &[f32], width: usize, length: usize, out: &mut [f32]) {
    let row = length * width;
    let items = q
        .chunks_exact(row)
        .zip(k.chunks_exact(row))
        .zip(out.chunks_exact_mut(length));
    each(items, q.len(), |((q, k), out)| {
        forward_row(q, k, width, out)
    });
}

vectorized! {
    fn forward_row(q: &[f32], k: &[f32], width: usize, out: &mut [f32]) {
        let Some((first, rest)) = out.split_first_mut() else { return };
        *first = 1.0;
        let pairs = q.chunks_exact(width).zip(k.chunks_exact(width).skip(1));
        for ((q, k), out) in pairs.zip(rest) {
            let (cosine, _, _) = cosine(q, k);
            let p = 0.5 - 0.5 * cosine;
            // Comparisons let NaN through.
            let p = if p < 0.0 { 0.0 } else { p };
            *out = if p > 1.0 { 1.0 } else { p };
        }
    }
}

/// Returns the cosine and the lengths it was taken with, each at least [`NORM_FLOOR`].
#[inline(always)]
fn cosine(q: &[f32], k: &[f32]) -> (f32, f32, f32) {
    let floor = NORM_FLOOR as f32;
    let length = |x: &[f32]| {
        let length = dot(x, x).sqrt();
        if length < floor { floor } else { length }
    };
    let (q_length, k_length) = (length(q), length(k));
    (dot(q, k) / q_length / k_length, q_length, k_length)
}

/// Writes the gradients of q and k.
pub(crate) fn backward(
    [q, k]: [&[f32]; 2],
    width: usize,
    length: usize,
    grad: &[f32],
    [q_grad, k_grad]: [&mut [f32]; 2],
) {
    let row = length * width;
    let items = (q.chunks_exact(row).zip(k.chunks_exact(row)))
        .zip(
            q_grad
                .chunks_exact_mut(row)
                .zip(k_grad.chunks_exact_mut(row)),
        )
        .zip(grad.chunks_exact(length));
    each(items, q.len(), |(((q, k), (q_grad, k_grad)), grad)| {
        backward_row(q, k, width, grad, q_grad, k_grad);
    });
}

vectorized! {
    fn backward_row(
        q: &[f32],
        k: &[f32],
        width: usize,
        grad: &[f32],
        q_grad: &mut [f32],
        k_grad: &mut [f32],
    ) {
        let floor = NORM_FLOOR as f32;
        // The last query and the first key meet nobody.
        q_grad[q.len() - width..].fill(0.0);
        k_grad[..width].fill(0.0);
        let inputs = q.chunks_exact(width).zip(k.chunks_exact(width).skip(1));
        let outputs =
            q_grad.chunks_exact_mut(width).zip(k_grad.chunks_exact_mut(width).skip(1));
        for (((q, k), (q_grad, k_grad)), grad) in inputs.zip(outputs).zip(&grad[1..]) {
            let (cosine, q_length, k_length) = cosine(q, k);
            let cross = -0.5 * grad / q_length / k_length;
            // A length held at the floor is a constant: the part along the vector is not there.
            let along = |length: f32| {
                if length > floor { 0.5 * grad * cosine / (length * length) } else { 0.0 }
            };
            let (q_along, k_along) = (along(q_length), along(k_length));
            for (((q_grad, k_grad), q), k) in q_grad.iter_mut().zip(k_grad).zip(q).zip(k) {
                *q_grad = cross.mul_add(*k, q_along * q);
                *k_grad = cross.mul_add(*q, k_along * k);
            }
        }
    }
}
