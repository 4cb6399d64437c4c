//! The fused operations on libtorch: ATen's kernels, on NVIDIA GPUs and on the CPU.
//!
//! Attention is `scaled_dot_product_attention`, which chooses flash, memory-efficient or plain
//! kernels; libtorch differentiates it, within the operation. The gradients of the others are
//! written out. Sums, norms and losses are computed in single precision whatever the inputs are.

#![allow(
    deprecated,
    reason = "burn will drop libtorch; those who asked for it by name still get it"
)]

mod aten;
mod attention;
mod recording;
mod tables;

use burn::backend::LibTorch;
use burn::backend::libtorch::TchTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::kind::Autodiff;
use burn::tensor::{BackendPrimitive, DType, Tensor};
use tch::{Kind, Reduction, no_grad};

pub(crate) use aten::{choose_deterministic_kernels, peak_memory};
pub use recording::{Recording, address, copy_all, overwrite, overwrite_ints};

use super::fused::{
    BoundaryProbability, CausalAttention, CrossAttention, CrossEntropy, FusedOps, Linear, Op,
    RmsNorm, SegmentMean, SwiGlu, fused_ops,
};
use super::{AdamWStep, Heads, NORM_FLOOR};

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
        let leaves = self.leaves.iter().zip(wanted);
        let leaves: Vec<_> = leaves
            .filter_map(|(leaf, wanted)| wanted.then_some(&leaf.tensor))
            .collect();
        let grads = aten::gradients(&self.out.tensor, &grad.tensor, &leaves);
        let mut grads = grads.into_iter();
        let unwanted = self.inputs;
        let mut wanted = wanted.into_iter();
        unwanted.map(|input| match wanted.next() {
            Some(true) => grads.next().map_or(input, TchTensor::new),
            _ => input,
        })
    }
}

/// A target that no vocabulary has: every row counts.
const NO_TARGET: i64 = -100;

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

/// Which segment each token is in, as 0 and 1: `[batch, concepts, length]`.
fn membership(index: &tch::Tensor, concepts: i64, kind: Kind) -> tch::Tensor {
    let slots = tch::Tensor::arange(concepts, (index.kind(), index.device()));
    index
        .unsqueeze(1)
        .eq_tensor(&slots.reshape([1, concepts, 1]))
        .to_kind(kind)
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
    /// Logarithms of the probabilities in single precision, and the targets.
    type Saved = ([TchTensor; 2], Kind);

    fn forward(&self, [logits]: [TchTensor; 1]) -> (TchTensor, Self::Saved) {
        let kind = logits.tensor.kind();
        let scaled = logits.tensor * self.scale;
        let log_p = scaled.log_softmax(1, Kind::Float);
        let targets = self.targets.tensor.to_kind(Kind::Int64);
        let loss = log_p.g_nll_loss::<tch::Tensor>(&targets, None, Reduction::None, NO_TARGET);
        let saved = [log_p, targets].map(TchTensor::new);
        (TchTensor::new(loss.to_kind(kind)), (saved, kind))
    }

    fn backward(self, saved: Self::Saved, grad: TchTensor, _: [bool; 1]) -> [TchTensor; 1] {
        let ([log_p, targets], kind) = saved;
        let (log_p, targets) = (log_p.tensor, targets.tensor);
        let grad = grad.tensor.to_kind(Kind::Float) * self.scale;
        // Of a sum without weights, which is not divided by their total.
        let total = tch::Tensor::zeros([0; 0], (Kind::Float, grad.device()));
        let log_p_grad = log_p.nll_loss_backward::<tch::Tensor>(
            &grad,
            &targets,
            None,
            Reduction::None,
            NO_TARGET,
            &total,
        );
        let logits =
            tch::Tensor::internal_log_softmax_backward_data(&log_p_grad, &log_p, 1, Kind::Float);
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

/// AdamW steps that are taken together.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Parameters, gradients and both moments of each kind of step.
    steps: Vec<(AdamWStep, [Vec<tch::Tensor>; 4])>,
    clip: Option<Clip>,
}

/// How gradients are clipped, decided on their device.
#[derive(Debug)]
struct Clip {
    /// What they are divided by, at least 1.
    divisor: tch::Tensor,
    /// 1 where their norm is not finite and nothing is to change, or else 0.
    skipped: tch::Tensor,
}

impl Pending {
    /// Steps with gradients of some norm scaled so that it is at most `bound`.
    pub(super) fn clipped(norm: &tch::Tensor, bound: f64) -> Self {
        // What is not finite is not 0 times 0 either.
        let clip = no_grad(|| Clip {
            divisor: (norm / bound).clamp_min(1.0).to_kind(Kind::Float),
            skipped: (norm * 0.0).not_equal(0.0).to_kind(Kind::Float),
        });
        Self {
            steps: Vec::new(),
            clip: Some(clip),
        }
    }

    /// Returns the parameter and both moments, which have their new values once the steps are taken:
    /// in place where nobody else holds the memory.
    pub(super) fn push<const D: usize>(
        &mut self,
        tensors: [Tensor<D>; 4],
        step: &AdamWStep,
    ) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
        let own = |tensor: Tensor<D>| {
            let tensor = primitive(tensor);
            if tensor.can_mut() {
                tensor.tensor
            } else {
                tensor.tensor.copy()
            }
        };
        let [param, grad, m, v] = tensors;
        let updated = [param, m, v].map(own);
        let [param, m, v] = updated.each_ref().map(tch::Tensor::shallow_clone);
        let of_step = match self.steps.iter().position(|(pending, _)| pending == step) {
            Some(index) => index,
            None => {
                self.steps.push((*step, Default::default()));
                self.steps.len() - 1
            }
        };
        let lists = &mut self.steps[of_step].1;
        for (list, tensor) in lists.iter_mut().zip([param, primitive(grad).tensor, m, v]) {
            list.push(tensor);
        }
        let [param, m, v] =
            updated.map(|tensor| Tensor::from_primitive::<LibTorch>(TchTensor::new(tensor)));
        (param, m, v)
    }

    /// Takes the steps.
    pub(super) fn run(self) {
        no_grad(|| {
            let clip = self.clip.as_ref();
            let clip = clip.map(|Clip { divisor, skipped }| [divisor, skipped]);
            for (step, tensors) in &self.steps {
                aten::adamw(tensors, step, clip);
            }
        });
    }
}

/// Computes the norm over all tensors, of which there are some, without waiting for it.
pub(super) fn norm(tensors: Vec<Tensor<1>>) -> tch::Tensor {
    let tensors: Vec<_> = tensors.into_iter().map(|x| primitive(x).tensor).collect();
    no_grad(|| aten::norm(&tensors))
}

/// Casts tensors.
pub(super) fn cast_all(tensors: &[Tensor<1>], dtype: DType) -> Vec<Tensor<1>> {
    let cast: Vec<Tensor<1>> = tensors
        .iter()
        .map(|x| Tensor::empty(x.shape(), (&x.device(), dtype)))
        .collect();
    copy_all(&cast, tensors);
    cast
}

/// The memory of a tensor, with or without autodiff.
pub(super) fn memory<const D: usize, K>(tensor: &Tensor<D, K>) -> tch::Tensor
where
    K: Autodiff + BackendPrimitive<LibTorch, Primitive = TchTensor>,
{
    let tensor = tensor.clone().inner().try_into_primitive::<LibTorch>();
    tensor.expect("a tensor on libtorch").tensor
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> TchTensor {
    tensor
        .try_into_primitive::<LibTorch>()
        .expect("a tensor on libtorch outside autodiff")
}
