//! Attention of one query row to remembered keys and values.

use super::vector::{dot, exp, largest, vectorized};
use crate::ops::Heads;

vectorized! {
    /// Writes what every query head reads; `scores` is room for one number a key.
    ///
    /// # Shapes
    /// q and out `[query * size]`, keys and values `[rows, key_value * size]`, bias and scores
    /// `[rows]`.
    pub(crate) fn forward(
        q: &[f32],
        keys: &[f32],
        values: &[f32],
        bias: &[f32],
        heads: Heads,
        scores: &mut [f32],
        out: &mut [f32],
    ) {
        let Heads { query, key_value, size } = heads;
        let width = key_value * size;
        let scale = 1.0 / (size as f32).sqrt();
        let rows = q.chunks_exact(size).zip(out.chunks_exact_mut(size));
        for (head, (q, out)) in rows.enumerate() {
            let column = head / (query / key_value) * size;
            let keyed = keys.chunks_exact(width).zip(bias);
            for (score, (key, bias)) in scores.iter_mut().zip(keyed) {
                *score = dot(q, &key[column..][..size]).mul_add(scale, *bias);
            }
            let top = largest(scores);
            let mut sum = 0.0;
            out.fill(0.0);
            for (score, value) in scores.iter().zip(values.chunks_exact(width)) {
                let weight = exp(score - top);
                sum += weight;
                for (out, x) in out.iter_mut().zip(&value[column..][..size]) {
                    *out = x.mul_add(weight, *out);
                }
            }
            for out in out {
                *out /= sum;
            }
        }
    }
}
