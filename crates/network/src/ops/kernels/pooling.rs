//! Segment means, and where tokens stand in their segments.

use super::parallel::each;
use super::vector::vectorized;

/// Writes the mean of each segment's tokens, and zeros for absent segments.
///
/// # Shapes
/// h `[batch, length, width]`, index `[batch, length]`, out `[batch, concepts, width]`.
pub(crate) fn forward(h: &[f32], index: &[usize], length: usize, concepts: usize, out: &mut [f32]) {
    let width = h.len() / index.len().max(1);
    let items = (h
        .chunks_exact(length * width)
        .zip(index.chunks_exact(length)))
    .zip(out.chunks_exact_mut(concepts * width));
    each(items, h.len(), |((h, index), out)| {
        out.fill(0.0);
        forward_row(h, index, &counts(index, concepts), out);
    });
}

vectorized! {
    fn forward_row(h: &[f32], index: &[usize], counts: &[usize], out: &mut [f32]) {
        let width = h.len() / index.len();
        for (h, &segment) in h.chunks_exact(width).zip(index) {
            let mean = &mut out[segment * width..(segment + 1) * width];
            for (sum, x) in mean.iter_mut().zip(h) {
                *sum += x;
            }
        }
        for (mean, &count) in out.chunks_exact_mut(width).zip(counts) {
            let share = 1.0 / count.max(1) as f32;
            for sum in mean {
                *sum *= share;
            }
        }
    }
}

/// Writes the gradient of h: every token gets its share of its segment's.
pub(crate) fn backward(
    grad: &[f32],
    index: &[usize],
    length: usize,
    concepts: usize,
    h_grad: &mut [f32],
) {
    let width = h_grad.len() / index.len().max(1);
    let elements = h_grad.len();
    let items = (grad
        .chunks_exact(concepts * width)
        .zip(index.chunks_exact(length)))
    .zip(h_grad.chunks_exact_mut(length * width));
    each(items, elements, |((grad, index), h_grad)| {
        backward_row(grad, index, &counts(index, concepts), h_grad);
    });
}

vectorized! {
    fn backward_row(grad: &[f32], index: &[usize], counts: &[usize], h_grad: &mut [f32]) {
        let width = h_grad.len() / index.len();
        for (h_grad, &segment) in h_grad.chunks_exact_mut(width).zip(index) {
            let share = 1.0 / counts[segment] as f32;
            let grad = &grad[segment * width..(segment + 1) * width];
            for (h_grad, x) in h_grad.iter_mut().zip(grad) {
                *h_grad = x * share;
            }
        }
    }
}

/// Returns how many tokens each segment of one row has.
pub(crate) fn counts(index: &[usize], concepts: usize) -> Vec<usize> {
    let mut counts = vec![0; concepts];
    for &segment in index {
        counts[segment] += 1;
    }
    counts
}
