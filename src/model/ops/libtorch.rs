//! The fused operations on libtorch: ATen's kernels, on NVIDIA GPUs and on the CPU.
//!
//! Attention is `scaled_dot_product_attention`, which chooses flash, memory-efficient or plain
//! kernels; libtorch differentiates it, within the operation. The gradients of the others are
//! written out. Sums, norms and losses are computed in single precision whatever the inputs are.

#![allow(
    deprecated,
    reason = "burn will drop libtorch; those who asked for it by name still get it"
)]

use std::sync::{Mutex, PoisonError};

use burn::backend::LibTorch;
use burn::backend::libtorch::TchTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::Tensor;
use tch::{Kind, no_grad};

use super::fused::{
    BoundaryProbability, CausalAttention, CrossAttention, CrossEntropy, FusedOps, Linear, Op,
    RmsNorm, SegmentMean, SwiGlu, fused_ops,
};
use super::{AdamWStep, Heads, NORM_FLOOR, ROTARY_BASE};

impl FusedOps for LibTorch {
    fused_ops!(run);
}

/// Runs an operation where no gradient is wanted.
fn run<O: Op<LibTorch, N>, const N: usize>(op: O, inputs: [TchTensor; N]) -> TchTensor {
    no_grad(|| op.forward(inputs).0)
}

/// A result that libtorch can differentiate.
#[derive(Clone, Debug)]
pub(crate) struct Graph<const N: usize> {
    /// What it is differentiated by.
    leaves: [TchTensor; N],
    out: TchTensor,
    /// The same memory as burn knows it: it overwrites what nobody else holds.
    inputs: [TchTensor; N],
    _output: TchTensor,
}

impl<const N: usize> Graph<N> {
    /// Computes a result of some inputs and records how.
    fn record(
        inputs: [TchTensor; N],
        compute: impl FnOnce([&tch::Tensor; N]) -> tch::Tensor,
    ) -> (TchTensor, Self) {
        let leaves = inputs
            .each_ref()
            .map(|input| TchTensor::new(input.tensor.detach().set_requires_grad(true)));
        let out = TchTensor::new(compute(leaves.each_ref().map(|leaf| &leaf.tensor)));
        let shared = TchTensor::new(out.tensor.detach());
        let graph = Self {
            leaves,
            out,
            inputs,
            _output: shared.clone(),
        };
        (shared, graph)
    }

    /// Computes the gradients of the inputs that are wanted from that of the result.
    fn backward(self, grad: &TchTensor, wanted: [bool; N]) -> [TchTensor; N] {
        // libtorch differentiates numbers only: this one has the gradient asked for.
        let total = (&self.out.tensor * &grad.tensor).sum(self.out.tensor.kind());
        let leaves = self.leaves.iter().zip(wanted);
        let leaves: Vec<_> = leaves
            .filter_map(|(leaf, wanted)| wanted.then_some(&leaf.tensor))
            .collect();
        let mut grads = tch::Tensor::run_backward(&[&total], &leaves, false, false).into_iter();
        let unwanted = self.inputs;
        let mut wanted = wanted.into_iter();
        unwanted.map(|input| match wanted.next() {
            Some(true) => grads.next().map_or(input, TchTensor::new),
            _ => input,
        })
    }
}

/// The sizes of a tensor.
fn size<const D: usize>(tensor: &tch::Tensor) -> [i64; D] {
    let size = tensor.size();
    std::array::from_fn(|i| size[i])
}

/// `[.., width]` to `[rows, width]`.
fn rows(tensor: &tch::Tensor, width: i64) -> tch::Tensor {
    tensor.reshape([-1, width])
}

impl Op<LibTorch, 2> for Linear {
    type Saved = [TchTensor; 2];

    fn forward(&self, inputs: [TchTensor; 2]) -> (TchTensor, Self::Saved) {
        let [x, weight] = inputs.each_ref().map(|input| &input.tensor);
        (TchTensor::new(x.matmul(weight)), inputs)
    }

    fn backward(
        self,
        inputs: Self::Saved,
        grad: TchTensor,
        [x_wanted, weight_wanted]: [bool; 2],
    ) -> [TchTensor; 2] {
        let [x, weight] = inputs.each_ref().map(|input| &input.tensor);
        let [width, outputs] = size(weight);
        let grad = grad.tensor;
        // One product over all rows.
        let x_grad = x_wanted.then(|| grad.matmul(&weight.tr()));
        let weight_grad = weight_wanted.then(|| rows(x, width).tr().matmul(&rows(&grad, outputs)));
        let [x, weight] = inputs;
        [
            x_grad.map_or(x, TchTensor::new),
            weight_grad.map_or(weight, TchTensor::new),
        ]
    }
}

impl Op<LibTorch, 2> for RmsNorm {
    type Saved = Graph<2>;

    fn forward(&self, inputs: [TchTensor; 2]) -> (TchTensor, Self::Saved) {
        Graph::record(inputs, |[x, weight]| {
            let [width] = size(weight);
            rows(x, width)
                .rms_norm([width], Some(weight), self.eps)
                .view_as(x)
        })
    }

    fn backward(self, graph: Self::Saved, grad: TchTensor, wanted: [bool; 2]) -> [TchTensor; 2] {
        graph.backward(&grad, wanted)
    }
}

impl Op<LibTorch, 2> for SwiGlu {
    type Saved = [TchTensor; 2];

    fn forward(&self, inputs: [TchTensor; 2]) -> (TchTensor, Self::Saved) {
        let [gate, up] = inputs.each_ref().map(|input| &input.tensor);
        (TchTensor::new(gate.silu() * up), inputs)
    }

    fn backward(self, inputs: Self::Saved, grad: TchTensor, _: [bool; 2]) -> [TchTensor; 2] {
        let [gate, up] = inputs.each_ref().map(|input| &input.tensor);
        let gate_grad = gate.silu_backward(&(&grad.tensor * up));
        let up_grad = gate.silu() * grad.tensor;
        [gate_grad, up_grad].map(TchTensor::new)
    }
}

/// `[batch, length, heads * size]` to `[batch, heads, length, size]`.
fn split(x: &tch::Tensor, head: usize) -> tch::Tensor {
    let [batch, length, _] = size(x);
    x.reshape([batch, length, -1, head as i64]).transpose(1, 2)
}

/// The inverse of [`split`].
fn merge(x: &tch::Tensor) -> tch::Tensor {
    let [batch, _, length, _] = size(x);
    x.transpose(1, 2).reshape([batch, length, -1])
}

/// One key or value head for each query head.
fn spread(x: &tch::Tensor, heads: Heads) -> tch::Tensor {
    let group = (heads.query / heads.key_value) as i64;
    if group == 1 {
        return x.shallow_clone();
    }
    let [batch, _, length, _] = size(x);
    x.unsqueeze(2)
        .expand([-1, -1, group, -1, -1], false)
        .reshape([batch, heads.query as i64, length, heads.size as i64])
}

/// Cosines and sines of rotary angles, both halves of a head: `[length, size]`, twice.
struct Rotary {
    of: (usize, tch::Device, Kind),
    tables: [TchTensor; 2],
}

/// The longest tables made so far, one pair for each head size, device and type.
static ROTARY: Mutex<Vec<Rotary>> = Mutex::new(Vec::new());

/// Reads the rotary tables of a head size, for `length` positions.
fn rotary(head: usize, length: i64, device: tch::Device, kind: Kind) -> [tch::Tensor; 2] {
    let mut made = ROTARY.lock().unwrap_or_else(PoisonError::into_inner);
    let of = (head, device, kind);
    let long_enough =
        |rotary: &&Rotary| rotary.of == of && rotary.tables[0].tensor.size()[0] >= length;
    if made.iter().find(long_enough).is_none() {
        let options = (Kind::Double, device);
        let longest = (length as u64).next_power_of_two() as i64;
        let exponents = tch::Tensor::arange(head as i64 / 2, options) * (-2.0 / head as f64);
        let frequencies = (exponents * ROTARY_BASE.ln()).exp();
        let angles = tch::Tensor::arange(longest, options).outer(&frequencies);
        let angles = tch::Tensor::cat(&[&angles, &angles], 1);
        let tables = [angles.cos(), angles.sin()].map(|x| TchTensor::new(x.to_kind(kind)));
        made.retain(|rotary| rotary.of != of);
        made.push(Rotary { of, tables });
    }
    let found = made.iter().find(long_enough).expect("just made");
    found
        .tables
        .each_ref()
        .map(|table| table.tensor.narrow(0, 0, length))
}

/// Turns `[batch, heads, length, size]` by rotary positions, halves paired; backwards undoes it.
fn turn(x: &tch::Tensor, backwards: bool) -> tch::Tensor {
    let [_, _, length, head] = size(x);
    let [cos, sin] = rotary(head as usize, length, x.device(), x.kind());
    let half = head / 2;
    let (left, right) = (x.narrow(3, 0, half), x.narrow(3, half, half));
    let swapped = match backwards {
        false => [right.neg(), left],
        true => [right, left.neg()],
    };
    x * cos + tch::Tensor::cat(&swapped, 3) * sin
}

/// Attends with libtorch's kernels: `[batch, heads, length, size]`, as many key heads as its.
fn attend([q, k, v]: [&tch::Tensor; 3], heads: Heads, mask: Option<&tch::Tensor>) -> tch::Tensor {
    tch::Tensor::scaled_dot_product_attention(
        q,
        &spread(k, heads),
        &spread(v, heads),
        mask,
        0.0,
        mask.is_none(),
        None,
        false,
    )
}

impl CausalAttention {
    /// What a window leaves visible, `[length, length]`; `None` without one that matters.
    fn mask(&self, length: i64, device: tch::Device) -> Option<tch::Tensor> {
        let window = self.window? as i64;
        (window < length).then(|| {
            tch::Tensor::ones([length, length], (Kind::Bool, device))
                .tril(0)
                .triu(1 - window)
        })
    }
}

impl Op<LibTorch, 3> for CausalAttention {
    type Saved = Graph<3>;

    fn forward(&self, inputs: [TchTensor; 3]) -> (TchTensor, Self::Saved) {
        let [q, k, v] = inputs.map(|input| split(&input.tensor, self.heads.size));
        let mask = self.mask(q.size()[2], q.device());
        let turned = [turn(&q, false), turn(&k, false), v].map(TchTensor::new);
        Graph::record(turned, |qkv| merge(&attend(qkv, self.heads, mask.as_ref())))
    }

    fn backward(self, graph: Self::Saved, grad: TchTensor, _: [bool; 3]) -> [TchTensor; 3] {
        let [q, k, v] = graph.backward(&grad, [true; 3]).map(|grad| grad.tensor);
        [turn(&q, true), turn(&k, true), v].map(|grad| TchTensor::new(merge(&grad)))
    }
}

/// Which segment each token is in, as 0 and 1: `[batch, concepts, length]`.
fn membership(index: &tch::Tensor, concepts: i64, kind: Kind) -> tch::Tensor {
    let slots = tch::Tensor::arange(concepts, (index.kind(), index.device()));
    index
        .unsqueeze(1)
        .eq_tensor(&slots.reshape([1, concepts, 1]))
        .to_kind(kind)
}

impl Op<LibTorch, 3> for CrossAttention<TchTensor> {
    type Saved = Graph<3>;

    fn forward(&self, inputs: [TchTensor; 3]) -> (TchTensor, Self::Saved) {
        let kind = inputs[0].tensor.kind();
        let [_, concepts, _] = size(&inputs[1].tensor);
        // ln 0 hides what a token does not see.
        let bias = membership(&self.index.tensor, concepts, Kind::Float)
            .cumsum(2, Kind::Float)
            .log_()
            .to_kind(kind)
            .transpose(1, 2)
            .contiguous()
            .unsqueeze(1);
        Graph::record(inputs, |qkv| {
            let [q, k, v] = qkv.map(|x| split(x, self.heads.size));
            merge(&attend([&q, &k, &v], self.heads, Some(&bias)))
        })
    }

    fn backward(self, graph: Self::Saved, grad: TchTensor, wanted: [bool; 3]) -> [TchTensor; 3] {
        graph.backward(&grad, wanted)
    }
}

impl Op<LibTorch, 1> for SegmentMean<TchTensor> {
    /// Membership, and how many tokens each segment has.
    type Saved = [TchTensor; 2];

    fn forward(&self, [h]: [TchTensor; 1]) -> (TchTensor, Self::Saved) {
        // A product with zeros and ones: unlike a scatter, it adds in the same order every time.
        let member = membership(&self.index.tensor, self.concepts as i64, h.tensor.kind());
        let counts = member
            .sum_dim_intlist([2i64].as_slice(), true, Kind::Float)
            .clamp_min(1.0);
        let mean = (member.matmul(&h.tensor) / &counts).to_kind(h.tensor.kind());
        (TchTensor::new(mean), [member, counts].map(TchTensor::new))
    }

    fn backward(self, saved: Self::Saved, grad: TchTensor, _: [bool; 1]) -> [TchTensor; 1] {
        let [member, counts] = saved.map(|saved| saved.tensor);
        let share = (grad.tensor / counts).to_kind(member.kind());
        [TchTensor::new(member.transpose(1, 2).matmul(&share))]
    }
}

impl Op<LibTorch, 1> for CrossEntropy<TchTensor> {
    /// Logarithms of the probabilities in single precision, and the targets as a column.
    type Saved = ([TchTensor; 2], Kind);

    fn forward(&self, [logits]: [TchTensor; 1]) -> (TchTensor, Self::Saved) {
        let kind = logits.tensor.kind();
        let scaled = logits.tensor * self.scale;
        let log_p = scaled.log_softmax(1, Kind::Float);
        let targets = self.targets.tensor.to_kind(Kind::Int64).unsqueeze(1);
        let loss = log_p.gather(1, &targets, false).squeeze_dim(1).neg();
        let saved = [log_p, targets].map(TchTensor::new);
        (TchTensor::new(loss.to_kind(kind)), (saved, kind))
    }

    fn backward(self, saved: Self::Saved, grad: TchTensor, _: [bool; 1]) -> [TchTensor; 1] {
        let ([log_p, targets], kind) = saved;
        let grad = (grad.tensor.to_kind(Kind::Float) * self.scale).unsqueeze(1);
        let mut logits = log_p.tensor.exp() * &grad;
        let _ = logits.scatter_add_(1, &targets.tensor, &grad.neg());
        [TchTensor::new(logits.to_kind(kind))]
    }
}

impl Op<LibTorch, 2> for BoundaryProbability {
    type Saved = Graph<2>;

    fn forward(&self, inputs: [TchTensor; 2]) -> (TchTensor, Self::Saved) {
        Graph::record(inputs, |[q, k]| {
            let [batch, length, _] = size(q);
            let kind = q.kind();
            let first = tch::Tensor::ones([batch, 1], (kind, q.device()));
            let (q, k) = (q.narrow(1, 0, length - 1), k.narrow(1, 1, length - 1));
            let (q, k) = (q.to_kind(Kind::Float), k.to_kind(Kind::Float));
            let sum = |x: tch::Tensor| x.sum_dim_intlist([2i64].as_slice(), false, Kind::Float);
            let norm = |x: &tch::Tensor| sum(x.square()).clamp_min(NORM_FLOOR * NORM_FLOOR).sqrt();
            let cosine = sum(&q * &k) / norm(&q) / norm(&k);
            let rest = (cosine * -0.5 + 0.5).clamp(0.0, 1.0).to_kind(kind);
            tch::Tensor::cat(&[first, rest], 1)
        })
    }

    fn backward(self, graph: Self::Saved, grad: TchTensor, wanted: [bool; 2]) -> [TchTensor; 2] {
        graph.backward(&grad, wanted)
    }
}

/// Takes an AdamW step, in place where nobody else holds the tensors.
pub(super) fn adamw<const D: usize>(
    tensors: [Tensor<D>; 4],
    step: &AdamWStep,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (correction1, correction2) = step.corrections();
    let [param, grad, m, v] = tensors.map(primitive);
    let [mut param, mut m, mut v] = [param, m, v].map(|tensor| match tensor.can_mut() {
        true => tensor.tensor,
        false => tensor.tensor.copy(),
    });
    let grad = grad.tensor * step.gradient_scale;
    let _ = m.lerp_(&grad, 1.0 - step.beta1);
    let _ = v.lerp_(&grad.square(), 1.0 - step.beta2);
    let mut denominator = (&v / correction2).sqrt_();
    let _ = denominator.g_add_scalar_(step.epsilon);
    let _ = param.g_mul_scalar_(1.0 - step.rate * step.weight_decay);
    param -= (&m / denominator) * (step.rate / correction1);
    let wrap = |tensor| Tensor::from_primitive::<LibTorch>(TchTensor::new(tensor));
    (wrap(param), wrap(m), wrap(v))
}

/// Sums the squares of all tensors in double precision; the device is waited for once.
pub(super) fn sum_of_squares(tensors: Vec<Tensor<1>>) -> f64 {
    let sums: Vec<_> = tensors
        .into_iter()
        .map(|tensor| primitive(tensor).tensor)
        .map(|tensor| tensor.to_kind(Kind::Double).square().sum(Kind::Double))
        .collect();
    if sums.is_empty() {
        return 0.0;
    }
    tch::Tensor::stack(&sums, 0)
        .sum(Kind::Double)
        .double_value(&[])
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> TchTensor {
    tensor
        .try_into_primitive::<LibTorch>()
        .expect("a tensor on libtorch outside autodiff")
}
