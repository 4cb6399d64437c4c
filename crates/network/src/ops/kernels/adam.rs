//! The optimizer's arithmetic.

use super::parallel::{collect, each, rows_a_piece};
use super::vector::{LANES, vectorized};
use crate::ops::AdamWStep;

/// Elements whose squares one piece of the norm covers.
const NORM_PIECE: usize = 1 << 15;

/// Takes one AdamW step in place, with the gradient multiplied by `scale`.
pub(crate) fn step(
    param: &mut [f32],
    grad: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    step: &AdamWStep,
    scale: f64,
) {
    let piece = rows_a_piece(param.len(), 1);
    let elements = param.len();
    let items = (param.chunks_mut(piece).zip(grad.chunks(piece)))
        .zip(m.chunks_mut(piece).zip(v.chunks_mut(piece)));
    each(items, elements, |((param, grad), (m, v))| {
        step_piece(param, grad, m, v, step, scale)
    });
}

vectorized! {
    fn step_piece(
        param: &mut [f32],
        grad: &[f32],
        m: &mut [f32],
        v: &mut [f32],
        step: &AdamWStep,
        scale: f64,
    ) {
        let (correction1, correction2) = step.corrections();
        let scale = scale as f32;
        let (keep1, take1) = (step.beta1 as f32, (1.0 - step.beta1) as f32);
        let (keep2, take2) = (step.beta2 as f32, (1.0 - step.beta2) as f32);
        let shrink = (1.0 - step.rate * step.weight_decay) as f32;
        let rate = (step.rate / correction1) as f32;
        let inverse2 = (1.0 / correction2) as f32;
        let epsilon = step.epsilon as f32;
        let moments = m.iter_mut().zip(v);
        for ((param, grad), (m, v)) in param.iter_mut().zip(grad).zip(moments) {
            let grad = grad * scale;
            *m = keep1.mul_add(*m, take1 * grad);
            *v = keep2.mul_add(*v, take2 * grad * grad);
            let denominator = (*v * inverse2).sqrt() + epsilon;
            *param = param.mul_add(shrink, -rate * *m / denominator);
        }
    }
}

/// Adds a slice to another.
pub(crate) fn add(sum: &mut [f32], other: &[f32]) {
    let piece = rows_a_piece(sum.len(), 1);
    let elements = sum.len();
    let items = sum.chunks_mut(piece).zip(other.chunks(piece));
    each(items, elements, |(sum, other)| add_piece(sum, other));
}

vectorized! {
    fn add_piece(sum: &mut [f32], other: &[f32]) {
        for (sum, x) in sum.iter_mut().zip(other) {
            *sum += x;
        }
    }
}

/// Returns the sum of squares.
pub(crate) fn sum_of_squares(x: &[f32]) -> f64 {
    collect(x.chunks(NORM_PIECE), x.len(), sum_of_squares_piece)
        .into_iter()
        .sum()
}

vectorized! {
    fn sum_of_squares_piece(x: &[f32]) -> f64 {
        let mut lanes = [0.0f64; LANES];
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for i in 0..LANES {
                let x = f64::from(chunk[i]);
                lanes[i] = x.mul_add(x, lanes[i]);
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(x) * f64::from(x);
        }
        lanes.iter().sum()
    }
}
