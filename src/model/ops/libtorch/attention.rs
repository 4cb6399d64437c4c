//! Attention at both levels, by `scaled_dot_product_attention`.

use burn::backend::LibTorch;
use burn::backend::libtorch::TchTensor;
use tch::{Kind, Tensor};

use super::tables::{Table, tables};
use super::{Graph, aten, membership, size};
use crate::model::ops::Heads;
use crate::model::ops::fused::{CausalAttention, CrossAttention, Op};

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

/// Attends: `[batch, length, heads, size]`, as many key heads as query heads; causal without a mask.
fn attend([q, k, v]: [&Tensor; 3], mask: Option<&Tensor>) -> Tensor {
    let [q, k, v] = [q, k, v].map(|x| x.transpose(1, 2));
    let causal = mask.is_none();
    Tensor::scaled_dot_product_attention(&q, &k, &v, mask, 0.0, causal, None, false).transpose(1, 2)
}

/// Attends within a window, block by block: what a window hides is not computed.
fn attend_in_blocks([q, k, v]: [&Tensor; 3], window: i64, block: i64) -> Tensor {
    let [batch, length, heads, head] = size(q);
    let blocks = (length + block - 1) / block;
    let cut = |x: &Tensor| {
        let padded = match blocks * block - length {
            0 => x.shallow_clone(),
            missing => x.constant_pad_nd([0, 0, 0, 0, 0, missing]),
        };
        padded.reshape([batch, blocks, block, heads, head])
    };
    let with_window = |x: &Tensor| {
        let x = cut(x);
        let ends = x.narrow(1, 0, blocks - 1).narrow(2, block - window, window);
        let before = ends.constant_pad_nd([0, 0, 0, 0, 0, 0, 1, 0]);
        Tensor::cat(&[before, x], 2).flatten(0, 1)
    };
    let of = Table::Blocks {
        window,
        block,
        batch,
        blocks,
    };
    let mask = &tables(of, q.kind(), q.device())[0];
    let [q, k, v] = [cut(q).flatten(0, 1), with_window(k), with_window(v)];
    let out = attend([&q, &k, &v], Some(mask));
    let out = out.reshape([batch, blocks * block, heads, head]);
    match blocks * block == length {
        true => out,
        false => out.narrow(1, 0, length),
    }
}

impl CausalAttention {
    /// Attends to what is before a token, and in its window.
    fn attend(&self, [q, k, v]: [&Tensor; 3]) -> Tensor {
        let [_, length, _, _] = size(q);
        let (k, v) = (spread(k, self.heads), spread(v, self.heads));
        match self.window.map(|window| window as i64) {
            Some(window) if window < length => {
                let block = window.max(BLOCK);
                if 2 * block < length {
                    return attend_in_blocks([q, &k, &v], window, block);
                }
                let of = Table::Window { window, length };
                let mask = &tables(of, q.kind(), q.device())[0];
                attend([q, &k, &v], Some(mask))
            }
            _ => attend([q, &k, &v], None),
        }
    }
}

impl Op<LibTorch, 3> for CausalAttention {
    type Saved = Graph<3>;

    fn forward(&self, inputs: [TchTensor; 3]) -> (TchTensor, Self::Saved) {
        let [q, k, v] = inputs.map(|input| split(&input.tensor, self.heads.size));
        let turned = [turn(&q, false), turn(&k, false), v].map(TchTensor::new);
        let _same_bits = aten::SameBits::new();
        Graph::record(turned, |qkv| merge(&self.attend(qkv)))
    }

    fn backward(self, graph: Self::Saved, grad: TchTensor, _: [bool; 3]) -> [TchTensor; 3] {
        let _same_bits = aten::SameBits::new();
        let [q, k, v] = graph.backward(&grad, [true; 3]).map(|grad| grad.tensor);
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
