//! The operations in double precision, written from their definitions with plain loops.

use crate::ops::{Heads, NORM_FLOOR, ROTARY_BASE};

pub(super) fn linear(x: &[f64], weight: &[f64], inputs: usize, outputs: usize) -> Vec<f64> {
    let mut out = Vec::new();
    for row in x.chunks(inputs) {
        for o in 0..outputs {
            out.push((0..inputs).map(|i| row[i] * weight[i * outputs + o]).sum());
        }
    }
    out
}

pub(super) fn rms_norm(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let width = weight.len();
    let mut out = Vec::new();
    for row in x.chunks(width) {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / width as f64;
        out.extend(
            row.iter()
                .zip(weight)
                .map(|(x, w)| x / (mean + eps).sqrt() * w),
        );
    }
    out
}

pub(super) fn swiglu(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter()
        .zip(up)
        .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
        .collect()
}

/// Turns one head's vector to its position.
fn turn(x: &[f64], position: usize) -> Vec<f64> {
    let half = x.len() / 2;
    let mut out = vec![0.0; x.len()];
    for i in 0..half {
        let angle = position as f64 * ROTARY_BASE.powf(-2.0 * i as f64 / x.len() as f64);
        let (sin, cos) = angle.sin_cos();
        out[i] = x[i] * cos - x[i + half] * sin;
        out[i + half] = x[i + half] * cos + x[i] * sin;
    }
    out
}

/// Attention with a bias for each (batch row, query, key); `None` hides the key.
fn attention(
    [q, k, v]: [&[f64]; 3],
    heads: &Heads,
    [batch, queries, keys]: [usize; 3],
    turn: impl Fn(&[f64], usize) -> Vec<f64>,
    bias: impl Fn(usize, usize, usize) -> Option<f64>,
) -> Vec<f64> {
    let Heads {
        query,
        key_value,
        size,
    } = *heads;
    let mut out = vec![0.0; q.len()];
    for b in 0..batch {
        for head in 0..query {
            let shared = head / (query / key_value);
            for t in 0..queries {
                let start = ((b * queries + t) * query + head) * size;
                let query_row = turn(&q[start..start + size], t);
                let mut weights = Vec::new();
                for s in 0..keys {
                    let Some(bias) = bias(b, t, s) else { continue };
                    let row = ((b * keys + s) * key_value + shared) * size;
                    let key_row = turn(&k[row..row + size], s);
                    let dot: f64 = query_row.iter().zip(&key_row).map(|(a, b)| a * b).sum();
                    weights.push((row, (dot / (size as f64).sqrt() + bias).exp()));
                }
                let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
                for (row, weight) in weights {
                    for i in 0..size {
                        out[start + i] += weight / total * v[row + i];
                    }
                }
            }
        }
    }
    out
}

pub(super) fn causal_attention(
    operands: [&[f64]; 3],
    heads: &Heads,
    batch: usize,
    length: usize,
    window: Option<usize>,
) -> Vec<f64> {
    attention(operands, heads, [batch, length, length], turn, |_, t, s| {
        (s <= t && window.is_none_or(|window| s + window > t)).then_some(0.0)
    })
}

pub(super) fn cross_attention(
    operands: [&[f64]; 3],
    heads: &Heads,
    [batch, length, concepts]: [usize; 3],
    index: &[usize],
) -> Vec<f64> {
    attention(
        operands,
        heads,
        [batch, length, concepts],
        |x, _| x.to_vec(),
        |b, t, m| {
            let row = &index[b * length..][..t + 1];
            let count = row.iter().filter(|&&segment| segment == m).count();
            (count > 0).then(|| (count as f64).ln())
        },
    )
}

/// The L×L form: every slot repeated over its tokens, and ordinary causal attention.
pub(super) fn replicated_cross_attention(
    [q, k, v]: [&[f64]; 3],
    heads: &Heads,
    [batch, length, concepts]: [usize; 3],
    index: &[usize],
) -> Vec<f64> {
    let width = heads.key_value * heads.size;
    let repeat = |x: &[f64]| -> Vec<f64> {
        let token = |i: usize| {
            let row = i / length * concepts + index[i];
            x[row * width..][..width].to_vec()
        };
        (0..batch * length).flat_map(token).collect()
    };
    let operands = [q, &repeat(k), &repeat(v)];
    attention(
        operands,
        heads,
        [batch, length, length],
        |x, _| x.to_vec(),
        |_, t, s| (s <= t).then_some(0.0),
    )
}

pub(super) fn segment_mean(
    h: &[f64],
    [batch, length, concepts]: [usize; 3],
    index: &[usize],
) -> Vec<f64> {
    let width = h.len() / batch / length;
    let mut out = vec![0.0; batch * concepts * width];
    for b in 0..batch {
        let row = &index[b * length..][..length];
        for m in 0..concepts {
            let tokens: Vec<usize> = (0..length).filter(|&t| row[t] == m).collect();
            for i in 0..width {
                let sum: f64 = tokens.iter().map(|t| h[(b * length + t) * width + i]).sum();
                out[(b * concepts + m) * width + i] = sum / tokens.len().max(1) as f64;
            }
        }
    }
    out
}

pub(super) fn cross_entropy(logits: &[f64], scale: f64, targets: &[usize]) -> Vec<f64> {
    let vocabulary = logits.len() / targets.len();
    let rows = logits.chunks(vocabulary).zip(targets);
    rows.map(|(row, &target)| {
        let total: f64 = row
            .iter()
            .map(|x| (x * scale - row[target] * scale).exp())
            .sum();
        total.ln()
    })
    .collect()
}

pub(super) fn boundary_probability(q: &[f64], k: &[f64], length: usize, width: usize) -> Vec<f64> {
    let rows = q.len() / width;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let norm = |x: &[f64]| dot(x, x).sqrt().max(NORM_FLOOR);
    (0..rows)
        .map(|i| {
            if i % length == 0 {
                return 1.0;
            }
            let (q, k) = (&q[(i - 1) * width..][..width], &k[i * width..][..width]);
            (1.0 - dot(q, k) / norm(q) / norm(k)) / 2.0
        })
        .collect()
}
