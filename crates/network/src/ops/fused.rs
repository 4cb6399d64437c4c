//! Where an operation goes: to a fused kernel, or to ordinary tensor operations.
//!
//! An operation is a small struct of its constants. A backend that has a kernel for it implements
//! [`Op`] for that struct; [`FusedOps`] carries the call from a tensor to its backend, and through
//! [`Autodiff`] to the same kernels with their gradients. A further backend is one file beside
//! `flex.rs`, a name in `#[backend_extension(..)]` and a line in [`has_kernels`].

#![cfg_attr(
    feature = "tch",
    allow(deprecated, reason = "burn will drop libtorch; see `libtorch/mod.rs`")
)]

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, DispatchDevice, backend_extension};
use burn::tensor::{DType, Device, Tensor};

use super::Heads;

/// A fused operation on backend `B` with `N` differentiable inputs.
pub(crate) trait Op<B: Backend, const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass needs.
    type Saved: Clone + Debug + Send + 'static;

    /// Computes the output.
    fn forward(&self, inputs: [FloatTensor<B>; N]) -> (FloatTensor<B>, Self::Saved);

    /// Computes the gradients of the inputs from that of the output.
    ///
    /// One that is not wanted may hold anything.
    fn backward(
        self,
        saved: Self::Saved,
        grad: FloatTensor<B>,
        wanted: [bool; N],
    ) -> [FloatTensor<B>; N];
}

/// Multiplies the last axis by a matrix: inputs x, weight.
#[derive(Clone, Debug)]
pub(crate) struct Linear;

/// RMSNorm of stretches as wide as the weight: inputs x, weight.
#[derive(Clone, Debug)]
pub(crate) struct RmsNorm {
    pub(crate) eps: f64,
}

/// silu(gate) * up: inputs gate, up.
#[derive(Clone, Debug)]
pub(crate) struct SwiGlu;

/// Rotary causal attention: inputs q, k, v.
#[derive(Clone, Debug)]
pub(crate) struct CausalAttention {
    pub(crate) heads: Heads,
    pub(crate) window: Option<usize>,
}

/// Segment means: input h.
#[derive(Clone, Debug)]
pub(crate) struct SegmentMean<I> {
    pub(crate) index: I,
    pub(crate) concepts: usize,
}

/// Attention to concepts with count biases: inputs q, k, v.
#[derive(Clone, Debug)]
pub(crate) struct CrossAttention<I> {
    pub(crate) heads: Heads,
    pub(crate) index: I,
}

/// Cross-entropy of scaled logits: input logits.
#[derive(Clone, Debug)]
pub(crate) struct CrossEntropy<I> {
    pub(crate) scale: f64,
    pub(crate) targets: I,
}

/// Boundary probabilities: inputs q, k.
#[derive(Clone, Debug)]
pub(crate) struct BoundaryProbability;

/// The fused operations, callable on dispatched tensors.
#[cfg_attr(feature = "tch", backend_extension(Flex, LibTorch, Autodiff))]
#[cfg_attr(not(feature = "tch"), backend_extension(Flex, Autodiff))]
pub(crate) trait FusedOps: Backend {
    /// See [`Linear`].
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`RmsNorm`].
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;

    /// See [`SwiGlu`].
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`CausalAttention`].
    fn causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        heads: Heads,
        window: Option<usize>,
    ) -> FloatTensor<Self>;

    /// See [`SegmentMean`].
    fn segment_mean(
        h: FloatTensor<Self>,
        index: IntTensor<Self>,
        concepts: usize,
    ) -> FloatTensor<Self>;

    /// See [`CrossAttention`].
    fn cross_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        index: IntTensor<Self>,
        heads: Heads,
    ) -> FloatTensor<Self>;

    /// See [`CrossEntropy`].
    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self>;

    /// See [`BoundaryProbability`].
    fn boundary_probability(q: FloatTensor<Self>, k: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Whose kernels a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernels {
    /// Those of this program, on burn's CPU backend.
    Flex,
    /// Those of libtorch.
    #[cfg(feature = "tch")]
    LibTorch,
}

/// Tells whether a tensor lives where there are fused kernels, in a type they take.
pub(super) fn supported<const D: usize>(tensor: &Tensor<D>) -> bool {
    match has_kernels(&tensor.device()) {
        Some(Kernels::Flex) => tensor.dtype() == DType::F32,
        #[cfg(feature = "tch")]
        Some(Kernels::LibTorch) => matches!(tensor.dtype(), DType::F32 | DType::BF16),
        None => false,
    }
}

/// Finds the kernels for a tensor outside autodiff.
pub(super) fn kernels<const D: usize>(tensor: &Tensor<D>) -> Option<Kernels> {
    let device = tensor.device();
    (supported(tensor) && !device.is_autodiff())
        .then(|| has_kernels(&device))
        .flatten()
}

/// Finds the kernels for a device.
pub(super) fn has_kernels(device: &Device) -> Option<Kernels> {
    match device.clone().inner().as_dispatch() {
        DispatchDevice::Flex(_) => Some(Kernels::Flex),
        #[cfg(feature = "tch")]
        DispatchDevice::LibTorch(_) => Some(Kernels::LibTorch),
        #[allow(
            unreachable_patterns,
            reason = "a binary with one backend has no other"
        )]
        _ => None,
    }
}

/// Runs an operation on differentiable tensors and records it.
fn record<B: Backend, C: CheckpointStrategy, O: Op<B, N>, const N: usize>(
    op: O,
    inputs: [FloatTensor<Autodiff<B, C>>; N],
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = inputs.each_ref().map(|input| input.node());
    let inputs = inputs.map(|input| input.into_primitive());
    match Recorded(op.clone())
        .prepare::<C>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let (output, saved) = op.forward(inputs);
            prep.finish(saved, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(op.forward(inputs).0),
    }
}

/// An operation as a step of the backward pass.
#[derive(Debug)]
struct Recorded<O>(O);

impl<B: Backend, O: Op<B, N>, const N: usize> Backward<B, N> for Recorded<O> {
    type State = O::Saved;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let input_grads = self.0.backward(ops.state, grad, wanted);
        for (parent, grad) in ops.parents.into_iter().zip(input_grads) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

/// Implements [`FusedOps`] by handing every operation to a function.
macro_rules! fused_ops {
    ($run:expr) => {
        fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
            $run(Linear, [x, weight])
        }

        fn rms_norm(
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            eps: f64,
        ) -> FloatTensor<Self> {
            $run(RmsNorm { eps }, [x, weight])
        }

        fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
            $run(SwiGlu, [gate, up])
        }

        fn causal_attention(
            q: FloatTensor<Self>,
            k: FloatTensor<Self>,
            v: FloatTensor<Self>,
            heads: Heads,
            window: Option<usize>,
        ) -> FloatTensor<Self> {
            $run(CausalAttention { heads, window }, [q, k, v])
        }

        fn segment_mean(
            h: FloatTensor<Self>,
            index: IntTensor<Self>,
            concepts: usize,
        ) -> FloatTensor<Self> {
            $run(SegmentMean { index, concepts }, [h])
        }

        fn cross_attention(
            q: FloatTensor<Self>,
            k: FloatTensor<Self>,
            v: FloatTensor<Self>,
            index: IntTensor<Self>,
            heads: Heads,
        ) -> FloatTensor<Self> {
            $run(CrossAttention { heads, index }, [q, k, v])
        }

        fn cross_entropy(
            logits: FloatTensor<Self>,
            targets: IntTensor<Self>,
            scale: f64,
        ) -> FloatTensor<Self> {
            $run(CrossEntropy { scale, targets }, [logits])
        }

        fn boundary_probability(q: FloatTensor<Self>, k: FloatTensor<Self>) -> FloatTensor<Self> {
            $run(BoundaryProbability, [q, k])
        }
    };
}
pub(super) use fused_ops;

impl<B, C: CheckpointStrategy> FusedOps for Autodiff<B, C>
where
    B: FusedOps,
    Linear: Op<B, 2>,
    RmsNorm: Op<B, 2>,
    SwiGlu: Op<B, 2>,
    CausalAttention: Op<B, 3>,
    SegmentMean<IntTensor<B>>: Op<B, 1>,
    CrossAttention<IntTensor<B>>: Op<B, 3>,
    CrossEntropy<IntTensor<B>>: Op<B, 1>,
    BoundaryProbability: Op<B, 2>,
{
    fused_ops!(record::<B, C, _, _>);
}
