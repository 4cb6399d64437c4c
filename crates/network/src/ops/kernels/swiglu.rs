//! The gated activation of feed-forward layers.

use super::parallel::{each, rows_a_piece};
use super::vector::{sigmoid, vectorized};

/// Writes silu(gate) * up.
pub(crate) fn forward(gate: &[f32], up: &[f32], out: &mut [f32]) {
    let piece = rows_a_piece(out.len(), 1);
    let items = gate
        .chunks(piece)
        .zip(up.chunks(piece))
        .zip(out.chunks_mut(piece));
    each(items, gate.len(), |((gate, up), out)| {
        forward_piece(gate, up, out)
    });
}

vectorized! {
    fn forward_piece(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((out, &gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate * sigmoid(gate) * up;
        }
    }
}

/// Turns the gradient of the output into that of `gate`, in place, and writes that of `up`.
pub(crate) fn backward(gate: &[f32], up: &[f32], grad: &mut [f32], up_grad: &mut [f32]) {
    let piece = rows_a_piece(grad.len(), 1);
    let items = (gate.chunks(piece).zip(up.chunks(piece)))
        .zip(grad.chunks_mut(piece).zip(up_grad.chunks_mut(piece)));
    each(items, gate.len(), |((gate, up), (grad, up_grad))| {
        backward_piece(gate, up, grad, up_grad);
    });
}

vectorized! {
    fn backward_piece(gate: &[f32], up: &[f32], grad: &mut [f32], up_grad: &mut [f32]) {
        let inputs = gate.iter().zip(up);
        for ((&gate, up), (grad, up_grad)) in inputs.zip(grad.iter_mut().zip(up_grad)) {
            let share = sigmoid(gate);
            let silu = gate * share;
            *up_grad = *grad * silu;
            // silu' = s + silu (1 - s)
            *grad = *grad * up * silu.mul_add(1.0 - share, share);
        }
    }
}
