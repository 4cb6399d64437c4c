//! Softmax attention of rows to a sliding range of keys, with rotary positions or count biases.
//!
//! One task is one key-value head of one batch row with all query heads that share it, so nothing
//! is written by two tasks and no sum depends on the number of threads. Within a task, blocks of
//! query rows meet only the keys that some row of the block sees; the forward pass keeps the
//! log-sum-exp of each row and the backward pass computes the probabilities again from it.

use std::ops::Range;

use super::parallel::{deal, each};
use super::rotary::Rotary;
use super::tile::{Panels, Rows, multiply, multiply_transposed};
use super::vector::{LANES, dot, exp, largest, sum_lanes, vectorized};
use super::visible::Visible;
use crate::ops::Heads;
use crate::ops::buffers::Scratch;

/// The operands of attention, and how they lie.
///
/// # Shapes
/// q `[batch, queries, query * size]`, k and v `[batch, keys, key_value * size]`.
pub(crate) struct Attention<'a> {
    pub(crate) q: &'a [f32],
    pub(crate) k: &'a [f32],
    pub(crate) v: &'a [f32],
    pub(crate) heads: Heads,
    pub(crate) queries: usize,
    pub(crate) keys: usize,
    pub(crate) rotary: Option<&'a Rotary>,
    pub(crate) visible: Visible<'a>,
}

/// Sizes that follow from the operands.
struct Geometry {
    queries: usize,
    keys: usize,
    size: usize,
    /// Head size in whole lanes.
    wide: usize,
    /// Query heads a key-value head serves.
    group: usize,
    /// Width of a row of q.
    q_width: usize,
    /// Width of a row of k.
    k_width: usize,
    /// Query rows of one block.
    rows: usize,
    /// From one row of scores to the next: the most keys a block meets, in whole lanes.
    stride: usize,
    scale: f32,
}

impl Attention<'_> {
    fn geometry(&self) -> Geometry {
        let Heads {
            query,
            key_value,
            size,
        } = self.heads;
        let window = match self.visible {
            Visible::Causal { window } => window.min(self.keys),
            Visible::Segments(_) => self.keys,
        };
        // Long rows in small blocks and short ones in large: scores stay in the cache, and a
        // narrow window is not met with many keys that only other rows see.
        let rows = match window {
            0..48 => 12,
            48..2048 => 48,
            _ => 12,
        };
        let stride = (window + rows + LANES)
            .min(self.keys)
            .next_multiple_of(LANES);
        Geometry {
            queries: self.queries,
            keys: self.keys,
            size,
            wide: size.next_multiple_of(LANES),
            group: query / key_value,
            q_width: query * size,
            k_width: key_value * size,
            rows,
            stride,
            scale: 1.0 / (size as f32).sqrt(),
        }
    }

    /// Number of scores, to tell whether threads are worth while.
    fn work(&self) -> usize {
        self.q.len() * self.geometry().stride
    }

    /// Writes the output, and the log-sum-exp of each row for the backward pass.
    ///
    /// # Shapes
    /// out as q, lse `[batch, query, queries]`.
    pub(crate) fn forward(&self, out: &mut [f32], lse: &mut [f32]) {
        let Geometry {
            group,
            q_width,
            queries,
            ..
        } = self.geometry();
        let dealt = deal(out, queries, q_width, self.heads.key_value);
        let items = dealt
            .into_iter()
            .zip(lse.chunks_exact_mut(group * queries))
            .enumerate();
        each(items, self.work(), |(task, (mut out, lse))| {
            forward_task(self, task, &mut out, lse)
        });
    }

    /// Writes the gradients of q, k and v.
    pub(crate) fn backward(&self, out: &[f32], lse: &[f32], grad: &[f32], grads: [&mut [f32]; 3]) {
        let Geometry {
            q_width,
            k_width,
            queries,
            keys,
            ..
        } = self.geometry();
        let [q_grad, k_grad, v_grad] = grads;
        let hands = self.heads.key_value;
        let items = (deal(q_grad, queries, q_width, hands).into_iter())
            .zip(deal(k_grad, keys, k_width, hands))
            .zip(deal(v_grad, keys, k_width, hands))
            .enumerate();
        each(
            items,
            self.work(),
            |(task, ((mut q_grad, mut k_grad), mut v_grad))| {
                let known = Known { out, lse, grad };
                backward_task(self, task, &known, &mut q_grad, &mut k_grad, &mut v_grad);
            },
        );
    }

    /// Copies a head's row, turned to its position.
    #[inline(always)]
    fn load(&self, x: &[f32], start: usize, position: usize, row: &mut [f32]) {
        row.copy_from_slice(&x[start..][..row.len()]);
        if let Some(rotary) = self.rotary {
            rotary.turn(position, 1.0, row);
        }
    }

    /// Copies the scaled and turned queries of one head, row-major and `wide`.
    #[inline(always)]
    fn load_queries(&self, geometry: &Geometry, batch: usize, head: usize, rows: &mut [f32]) {
        let Geometry {
            queries,
            size,
            wide,
            q_width,
            scale,
            ..
        } = *geometry;
        for (t, row) in rows.chunks_exact_mut(wide).enumerate() {
            let row = &mut row[..size];
            self.load(
                self.q,
                (batch * queries + t) * q_width + head * size,
                t,
                row,
            );
            for x in row {
                *x *= scale;
            }
        }
    }
}

/// A block of query rows and the keys that any of them sees, in whole lanes.
struct Block {
    rows: Range<usize>,
    panels: Range<usize>,
}

impl Block {
    #[inline(always)]
    fn new(attention: &Attention<'_>, geometry: &Geometry, batch: usize, first: usize) -> Self {
        let rows = first..(first + geometry.rows).min(geometry.queries);
        let low = attention
            .visible
            .range(batch, rows.start, geometry.queries)
            .start;
        let high = attention
            .visible
            .range(batch, rows.end - 1, geometry.queries)
            .end;
        Self {
            rows,
            panels: low / LANES..high.div_ceil(LANES),
        }
    }

    /// Keys of the block.
    #[inline(always)]
    fn keys(&self) -> Range<usize> {
        self.panels.start * LANES..self.panels.end * LANES
    }

    /// Writes left · keysᵀ for every key of the block.
    #[inline(always)]
    fn against_keys(&self, left: Rows<'_>, keys: &Panels, scores: &mut [f32], stride: usize) {
        for (i, panel) in self.panels.clone().enumerate() {
            multiply(left, keys.panel(panel), &mut scores[i * LANES..], stride);
        }
    }

    /// Writes weights · values, `wide` columns.
    #[inline(always)]
    fn against_values(&self, weights: Rows<'_>, values: &Panels, out: &mut [f32], wide: usize) {
        for panel in 0..wide / LANES {
            let panel_rows = values.rows(panel, self.keys());
            multiply(weights, panel_rows, &mut out[panel * LANES..], wide);
        }
    }

    /// Adds weightsᵀ · rows to the block's keys' sums.
    #[inline(always)]
    fn add_to_keys(
        &self,
        weights: &[f32],
        stride: usize,
        rows: &Panels,
        sums: &mut [f32],
        wide: usize,
    ) {
        let keys = self.keys();
        let left = Rows {
            data: weights,
            stride,
            count: keys.len(),
        };
        for panel in 0..wide / LANES {
            let rows = rows.rows(panel, 0..self.rows.len());
            multiply_transposed(
                left,
                rows,
                &mut sums[keys.start * wide + panel * LANES..],
                wide,
            );
        }
    }

    /// Returns, relative to the block, the keys a row sees and the same in whole lanes.
    #[inline(always)]
    fn relative(&self, seen: Range<usize>) -> (Range<usize>, Range<usize>) {
        let seen = seen.start - self.keys().start..seen.end - self.keys().start;
        let lanes = seen.start / LANES * LANES..seen.end.next_multiple_of(LANES);
        (seen, lanes)
    }
}

vectorized! {
    fn forward_task(
        attention: &Attention<'_>,
        task: usize,
        out: &mut [&mut [f32]],
        lse: &mut [f32],
    ) {
        let geometry = &attention.geometry();
        let sizes = [geometry.queries, geometry.keys];
        let Geometry { queries, size, wide, group, stride, .. } = *geometry;
        let (batch, shared) = (task / attention.heads.key_value, task % attention.heads.key_value);
        let Packed { keys, values, .. } = Packed::forward(attention, geometry, batch, shared);
        let mut query_rows = Scratch::zeros(queries * wide);
        let mut scores = Scratch::zeros(geometry.rows * stride);
        let mut mixed = Scratch::zeros(geometry.rows * wide);
        let mut shares = vec![0.0; geometry.rows];
        for member in 0..group {
            let lse = &mut lse[member * queries..][..queries];
            attention.load_queries(geometry, batch, shared * group + member, &mut query_rows);
            let mut first = 0;
            while first < queries {
                let block = Block::new(attention, geometry, batch, first);
                let count = block.rows.len();
                let left = Rows { data: &query_rows[first * wide..], stride: wide, count };
                block.against_keys(left, &keys, &mut scores, stride);
                for (row, t) in scores.chunks_exact_mut(stride).zip(block.rows.clone()) {
                    let row = &mut row[..block.keys().len()];
                    let (seen, lanes) = block.relative(attention.visible.range(batch, t, queries));
                    attention.visible.add_bias(batch, t, sizes, &mut row[seen.clone()]);
                    row[lanes.start..seen.start].fill(f32::NEG_INFINITY);
                    row[seen.end..lanes.end].fill(f32::NEG_INFINITY);
                    let top = largest(&row[lanes.clone()]);
                    let sum = exponentials(&mut row[lanes], top);
                    row[..seen.start].fill(0.0);
                    row[seen.end..].fill(0.0);
                    lse[t] = top + sum.ln();
                    shares[t - first] = 1.0 / sum;
                }
                let weights = Rows { data: &scores, stride, count };
                block.against_values(weights, &values, &mut mixed, wide);
                let rows = mixed.chunks_exact(wide).zip(&shares).zip(block.rows.clone());
                for ((mixed, share), t) in rows {
                    for (out, x) in out[t][member * size..][..size].iter_mut().zip(mixed) {
                        *out = x * share;
                    }
                }
                first = block.rows.end;
            }
        }
    }
}

/// What the backward pass knows besides the operands.
struct Known<'a> {
    out: &'a [f32],
    lse: &'a [f32],
    grad: &'a [f32],
}

vectorized! {
    fn backward_task(
        attention: &Attention<'_>,
        task: usize,
        known: &Known<'_>,
        q_grad: &mut [&mut [f32]],
        k_grad: &mut [&mut [f32]],
        v_grad: &mut [&mut [f32]],
    ) {
        let geometry = &attention.geometry();
        let sizes = [geometry.queries, geometry.keys];
        let Geometry { queries, size, wide, group, stride, q_width, scale, .. } = *geometry;
        let (batch, shared) = (task / attention.heads.key_value, task % attention.heads.key_value);
        let Packed { keys, key_rows, values } =
            Packed::backward(attention, geometry, batch, shared);
        let mut query_rows = Scratch::zeros(queries * wide);
        // Probabilities, and the gradients of the scores.
        let mut weights = Scratch::zeros(geometry.rows * stride);
        let mut slopes = Scratch::zeros(geometry.rows * stride);
        let mut mixed = Scratch::zeros(geometry.rows * wide);
        let mut query_panels = Panels::zeros(geometry.rows, size);
        let mut grad_panels = Panels::zeros(geometry.rows, size);
        let sums = geometry.keys.next_multiple_of(LANES) * wide;
        let (mut k_sums, mut v_sums) = (Scratch::zeros(sums), Scratch::zeros(sums));
        for member in 0..group {
            let head = shared * group + member;
            let lse = &known.lse[(task * group + member) * queries..][..queries];
            attention.load_queries(geometry, batch, head, &mut query_rows);
            let mut first = 0;
            while first < queries {
                let block = Block::new(attention, geometry, batch, first);
                let count = block.rows.len();
                let start = (batch * queries + first) * q_width + head * size;
                let left = Rows { data: &query_rows[first * wide..], stride: wide, count };
                block.against_keys(left, &keys, &mut weights, stride);
                let left = Rows { data: &known.grad[start..], stride: q_width, count };
                block.against_keys(left, &values, &mut slopes, stride);
                for (i, t) in block.rows.clone().enumerate() {
                    let weights = &mut weights[i * stride..][..block.keys().len()];
                    let slopes = &mut slopes[i * stride..][..block.keys().len()];
                    let grad = &known.grad[start + i * q_width..][..size];
                    let along = dot(grad, &known.out[start + i * q_width..][..size]);
                    let (seen, lanes) = block.relative(attention.visible.range(batch, t, queries));
                    attention.visible.add_bias(batch, t, sizes, &mut weights[seen.clone()]);
                    for (weight, slope) in
                        weights[lanes.clone()].iter_mut().zip(&mut slopes[lanes])
                    {
                        *weight = exp(*weight - lse[t]);
                        *slope = *weight * (*slope - along);
                    }
                    for row in [weights, slopes] {
                        row[..seen.start].fill(0.0);
                        row[seen.end..].fill(0.0);
                    }
                    grad_panels.set_row(i, grad);
                    query_panels.set_row(i, &query_rows[t * wide..][..size]);
                }
                block.add_to_keys(&weights, stride, &grad_panels, &mut v_sums, wide);
                block.add_to_keys(&slopes, stride, &query_panels, &mut k_sums, wide);
                let left = Rows { data: &slopes, stride, count };
                block.against_values(left, &key_rows, &mut mixed, wide);
                for (mixed, t) in mixed.chunks_exact(wide).zip(block.rows.clone()) {
                    let row = &mut q_grad[t][member * size..][..size];
                    for (row, x) in row.iter_mut().zip(mixed) {
                        *row = x * scale;
                    }
                    turn_back(attention, t, row);
                }
                first = block.rows.end;
            }
        }
        let sums = k_sums.chunks_exact(wide).zip(v_sums.chunks_exact(wide));
        for (t, (k_sum, v_sum)) in sums.take(geometry.keys).enumerate() {
            k_grad[t].copy_from_slice(&k_sum[..size]);
            turn_back(attention, t, k_grad[t]);
            v_grad[t].copy_from_slice(&v_sum[..size]);
        }
    }
}

/// Keys and values of one head, laid out for the products they meet.
struct Packed {
    /// Keys as columns.
    keys: Panels,
    /// Keys as rows; empty in the forward pass.
    key_rows: Panels,
    /// Values: as rows in the forward pass, as columns in the backward pass.
    values: Panels,
}

impl Packed {
    #[inline(always)]
    fn forward(
        attention: &Attention<'_>,
        geometry: &Geometry,
        batch: usize,
        shared: usize,
    ) -> Self {
        let Geometry {
            keys: count,
            size,
            k_width,
            ..
        } = *geometry;
        let mut packed = Self {
            keys: Panels::zeros(size, count),
            key_rows: Panels::zeros(0, 0),
            values: Panels::zeros(count.next_multiple_of(LANES), size),
        };
        let mut row = vec![0.0; size];
        for t in 0..count {
            let start = (batch * count + t) * k_width + shared * size;
            attention.load(attention.k, start, t, &mut row);
            packed.keys.set_column(t, &row);
            packed.values.set_row(t, &attention.v[start..][..size]);
        }
        packed
    }

    #[inline(always)]
    fn backward(
        attention: &Attention<'_>,
        geometry: &Geometry,
        batch: usize,
        shared: usize,
    ) -> Self {
        let Geometry {
            keys: count,
            size,
            k_width,
            ..
        } = *geometry;
        let mut packed = Self {
            keys: Panels::zeros(size, count),
            key_rows: Panels::zeros(count.next_multiple_of(LANES), size),
            values: Panels::zeros(size, count),
        };
        let mut row = vec![0.0; size];
        for t in 0..count {
            let start = (batch * count + t) * k_width + shared * size;
            attention.load(attention.k, start, t, &mut row);
            packed.keys.set_column(t, &row);
            packed.key_rows.set_row(t, &row);
            packed.values.set_column(t, &attention.v[start..][..size]);
        }
        packed
    }
}

/// Undoes the rotation of a gradient.
#[inline(always)]
fn turn_back(attention: &Attention<'_>, position: usize, row: &mut [f32]) {
    if let Some(rotary) = attention.rotary {
        rotary.turn(position, -1.0, row);
    }
}

/// Replaces scores by e^(score - top) and returns the sum.
#[inline(always)]
fn exponentials(row: &mut [f32], top: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for chunk in row.as_chunks_mut::<LANES>().0 {
        for i in 0..LANES {
            chunk[i] = exp(chunk[i] - top);
            lanes[i] += chunk[i];
        }
    }
    sum_lanes(lanes)
}
