//! RMSNorm.

use super::parallel::{add_up, collect, each, rows_a_piece};
use super::vector::{dot, vectorized};

/// Normalises rows.
///
/// # Shapes
/// x and out `[rows, width]`, weight `[width]`, inverse `[rows]`: 1 / root mean square of each row,
/// kept for the backward pass.
pub(crate) fn forward(x: &[f32], weight: &[f32], eps: f64, out: &mut [f32], inverse: &mut [f32]) {
    let width = weight.len();
    let piece = rows_a_piece(inverse.len(), width);
    let items = (x.chunks(piece * width))
        .zip(out.chunks_mut(piece * width))
        .zip(inverse.chunks_mut(piece));
    each(items, x.len(), |((x, out), inverse)| {
        forward_rows(x, weight, eps as f32, out, inverse);
    });
}

vectorized! {
    fn forward_rows(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32], inverse: &mut [f32]) {
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(inverse);
        for ((x, out), inverse) in rows {
            let scale = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
            *inverse = scale;
            for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                *out = x * scale * weight;
            }
        }
    }
}

/// Turns the gradient of the output into that of x, in place, and returns the weight's.
pub(crate) fn backward(x: &[f32], weight: &[f32], inverse: &[f32], grad: &mut [f32]) -> Vec<f32> {
    let width = weight.len();
    let piece = rows_a_piece(inverse.len(), width);
    let items = (x.chunks(piece * width))
        .zip(grad.chunks_mut(piece * width))
        .zip(inverse.chunks(piece));
    let elements = x.len();
    let parts = collect(items, elements, |((x, grad), inverse)| {
        let mut weight_grad = vec![0.0; width];
        backward_rows(x, weight, inverse, grad, &mut weight_grad);
        weight_grad
    });
    add_up(parts, width)
}

vectorized! {
    fn backward_rows(
        x: &[f32],
        weight: &[f32],
        inverse: &[f32],
        grad: &mut [f32],
        weight_grad: &mut [f32],
    ) {
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(grad.chunks_exact_mut(width)).zip(inverse);
        for ((x, grad), &scale) in rows {
            for (((grad, x), weight), sum) in
                grad.iter_mut().zip(x).zip(weight).zip(weight_grad.iter_mut())
            {
                *sum = (*grad * scale).mul_add(*x, *sum);
                *grad *= weight;
            }
            // The part of the gradient along x is what the normalisation takes away.
            let along = dot(grad, x) * scale * scale / width as f32;
            for (grad, x) in grad.iter_mut().zip(x) {
                *grad = (*grad - x * along) * scale;
            }
        }
    }
}
