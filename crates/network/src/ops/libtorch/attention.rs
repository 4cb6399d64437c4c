//! Attention at both levels, by `scaled_dot_product_attention`.

use burn::backend::LibTorch;
use burn::backend::libtorch::TchTensor;
use tch::{Kind, Tensor};

use super::tables::{Table, tables};
use super::{Graph, aten, membership, size};
use crate::ops::Heads;
use crate::ops::fused::{CausalAttention, CrossAttention, Op};

/// Fewest tokens of a block that attends by itself: a tile of the kernels.
const BLOCK: i64 = 64;

/// `[batch, length, heads * size]` to `[batch, length, heads, size]`.
fn split(x: &Tensor, head: usize) -> Tensor {
    let [batch, length, _] = size(x);
    x.reshape([batch, length, -1, head as i64])
}

/// The inverse of [`split`].
fn merge(x: &Tensor) -> Tensor {
    let [batch, length, _, _] = size(x);
    x.reshape([batch, length, -1])
}

/// Turns `[batch, length, heads, size]` by rotary positions, halves paired; backwards undoes it.
fn turn(x: &Tensor, backwards: bool) -> Tensor {
    let [_, length, _, head] = size(x);
    let of = Table::Rotary {
        head: head as usize,
        length,
    };
    let tables = tables(of, x.kind(), x.device());
    let [cos, sin] = [0, 1 + usize::from(backwards)].map(|i| tables[i].narrow(0, 0, length));
    let half = head / 2;
    let swapped = Tensor::cat(&[x.narrow(3, half, half), x.narrow(3, 0, half)], 3);
    (x * cos).addcmul_(&swapped, &sin)
}

/// One key or value head for each query head, of `[batch, length, heads, size]`.
fn spread(x: &Tensor, heads: Heads) -> Tensor {
    let group = (heads.query / heads.key_value) as i64;
    if group == 1 {
        return x.shallow_clone();
    }
    let [batch, length, _, _] = size(x);
    x.unsqueeze(3)
        .expand([-1, -1, -1, group, -1], false)
        .reshape([batch, length, heads.query as i64, heads.size as i64])
}

/// The gradient of what [`spread`] takes, from that of what it gives.
fn gather(grad: &Tensor, heads: Heads) -> Tensor {
    if heads.query == heads.key_value {
        return grad.shallow_clone();
    }
    let [batch, length, _, _] = size(grad);
    let shape = [batch, length, heads.key_value as i64, -1, heads.size as i64];
    grad.reshape(shape)
        .sum_dim_intlist([3i64].as_slice(), false, grad.kind())
}

/// Attends: `[batch, length, heads, size]`, as many key heads as query heads; causal without a mask.
fn attend([q, k, v]: [&Tensor; 3], mask: Option<&Tensor>) -> Tensor {
    let [q, k, v] = [q, k, v].map(|x| x.transpose(1, 2));
    let causal = mask.is_none();
    Tensor::scaled_dot_product_attention(&q, &k, &v, mask, 0.0, causal, None, false).transpose(1, 2)
}

/// Blocks of tokens that attend by themselves, each with the keys of a window before it: what a
/// window hides is not computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    batch: i64,
    length: i64,
    window: i64,
    /// Tokens of a block.
    block: i64,
    /// Blocks of a row; the last is filled up with zeros.
    blocks: i64,
}

impl Blocks {
    /// Finds them; `None` where rows are too short for more than two.
    fn new(batch: i64, length: i64, window: i64) -> Option<Self> {
        let block = window.max(BLOCK);
        (2 * block < length).then(|| Self {
            batch,
            length,
            window,
            block,
            blocks: (length + block - 1) / block,
        })
    }

    /// `[batch, length, heads, size]` to `[batch, blocks, block, heads, size]`.
    fn cut(&self, x: &Tensor) -> Tensor {
        let [_, _, heads, head] = size(x);
        let padded = match self.blocks * self.block - self.length {
            0 => x.shallow_clone(),
            missing => x.constant_pad_nd([0, 0, 0, 0, 0, missing]),
        };
        padded.reshape([self.batch, self.blocks, self.block, heads, head])
    }

    /// The inverse of [`Self::cut`].
    fn join(&self, x: &Tensor) -> Tensor {
        let shape = x.size();
        let [heads, head] = [shape[shape.len() - 2], shape[shape.len() - 1]];
        let x = x.reshape([self.batch, self.blocks * self.block, heads, head]);
        if self.blocks * self.block == self.length {
            x
        } else {
            x.narrow(1, 0, self.length)
        }
    }

    /// The part of `[batch, blocks, block, ..]` that the blocks after see in their windows.
    fn ends(&self, x: &Tensor) -> Tensor {
        let (window, block) = (self.window, self.block);
        x.narrow(1, 0, self.blocks - 1)
            .narrow(2, block - window, window)
    }

    /// `[batch, length, heads, size]` to `[batch * blocks, window + block, heads, size]`.
    fn with_windows(&self, x: &Tensor) -> Tensor {
        let x = self.cut(x);
        let before = self.ends(&x).constant_pad_nd([0, 0, 0, 0, 0, 0, 1, 0]);
        Tensor::cat(&[before, x], 2).flatten(0, 1)
    }

    /// The gradient of what [`Self::with_windows`] takes, from that of what it gives.
    fn without_windows(&self, grad: &Tensor) -> Tensor {
        let (window, block) = (self.window, self.block);
        let [_, _, heads, head] = size(grad);
        let grad = grad.reshape([self.batch, self.blocks, window + block, heads, head]);
        // Part of longer rows, so this copies.
        let own = grad.narrow(2, window, block).contiguous();
        let seen = grad.narrow(1, 1, self.blocks - 1).narrow(2, 0, window);
        let _ = self.ends(&own).g_add_(&seen);
        self.join(&own)
    }
}

impl CausalAttention {
    /// The blocks of a tensor `[batch, length, ..]`, where its tokens attend in such.
    fn blocks(&self, x: &Tensor) -> Option<Blocks> {
        let (batch, length) = (x.size()[0], x.size()[1]);
        Blocks::new(batch, length, self.window? as i64)
    }

    /// What hides keys from tokens besides causality; `None` where nothing does.
    fn mask(&self, q: &Tensor, blocks: Option<Blocks>) -> Option<Tensor> {
        let length = q.size()[1];
        let of = match (blocks, self.window.map(|window| window as i64)) {
            (Some(blocks), _) => Table::Blocks {
                window: blocks.window,
                block: blocks.block,
                batch: blocks.batch,
                blocks: blocks.blocks,
            },
            (None, Some(window)) if window < length => Table::Window { window, length },
            _ => return None,
        };
        Some(tables(of, q.kind(), q.device())[0].shallow_clone())
    }
}

impl Op<LibTorch, 3> for CausalAttention {
    type Saved = (Graph<3>, Option<Blocks>);

    fn forward(&self, inputs: [TchTensor; 3]) -> (TchTensor, Self::Saved) {
        let [q, k, v] = inputs.map(|input| split(&input.tensor, self.heads.size));
        let (q, k) = (turn(&q, false), turn(&k, false));
        let (k, v) = (spread(&k, self.heads), spread(&v, self.heads));
        let blocks = self.blocks(&q);
        let mask = self.mask(&q, blocks);
        let qkv = match &blocks {
            None => [q, k, v],
            Some(blocks) => [
                blocks.cut(&q).flatten(0, 1),
                blocks.with_windows(&k),
                blocks.with_windows(&v),
            ],
        };
        let _same_bits = aten::SameBits::new();
        let (out, graph) = Graph::record(qkv.map(TchTensor::new), |qkv| {
            let out = attend(qkv, mask.as_ref());
            match &blocks {
                None => merge(&out),
                Some(blocks) => merge(&blocks.join(&out)),
            }
        });
        (out, (graph, blocks))
    }

    fn backward(self, saved: Self::Saved, grad: TchTensor, _: [bool; 3]) -> [TchTensor; 3] {
        let _same_bits = aten::SameBits::new();
        let (graph, blocks) = saved;
        let [q, k, v] = graph.backward(&grad, [true; 3]).map(|grad| grad.tensor);
        let [q, k, v] = match blocks {
            None => [q, k, v],
            Some(blocks) => [
                blocks.join(&q),
                blocks.without_windows(&k),
                blocks.without_windows(&v),
            ],
        };
        let (k, v) = (gather(&k, self.heads), gather(&v, self.heads));
        [turn(&q, true), turn(&k, true), v].map(|grad| TchTensor::new(merge(&grad)))
    }
}

impl Op<LibTorch, 3> for CrossAttention<TchTensor> {
    type Saved = Graph<3>;

    fn forward(&self, inputs: [TchTensor; 3]) -> (TchTensor, Self::Saved) {
        let kind = inputs[0].tensor.kind();
        let [_, concepts, _] = size(&inputs[1].tensor);
        // Whole numbers are added in any order; and ln 0 hides what a token does not see.
        let bias = membership(&self.index.tensor, concepts, Kind::Int)
            .cumsum(2, Kind::Int)
            .to_kind(Kind::Float)
            .log_()
            .to_kind(kind)
            .transpose(1, 2)
            .contiguous()
            .unsqueeze(1);
        let _same_bits = aten::SameBits::new();
        Graph::record(inputs, |qkv| {
            let [q, k, v] = qkv.map(|x| split(x, self.heads.size));
            let (k, v) = (spread(&k, self.heads), spread(&v, self.heads));
            merge(&attend([&q, &k, &v], Some(&bias)))
        })
    }

    fn backward(self, graph: Self::Saved, grad: TchTensor, wanted: [bool; 3]) -> [TchTensor; 3] {
        let _same_bits = aten::SameBits::new();
        graph.backward(&grad, wanted)
    }
}
