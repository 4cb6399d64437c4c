//! The operations a layer is made of, each with its gradient.
//!
//! Owns the numerics between the model's matrices: normalisation, gating, attention at both
//! levels, pooling, the loss, and the optimizer's arithmetic. Refuses parameters, layers and
//! files. Every function takes and returns ordinary tensors and is differentiable when they are.

mod buffers;
mod cached;
mod flex;
mod fused;
mod kernels;
#[cfg(feature = "tch")]
mod libtorch;
mod plain;

use burn::backend::Dispatch;
use burn::tensor::{DType, Device, Int, Tensor};

pub use cached::KeyValues;
use fused::{FusedOps, Kernels, kernels, supported};
#[cfg(feature = "tch")]
pub use libtorch::{Recording, address, copy_all, overwrite, overwrite_ints};
#[cfg(feature = "tch")]
pub(crate) use libtorch::{choose_deterministic_kernels, peak_memory};

/// Base of the rotary frequencies.
pub const ROTARY_BASE: f64 = 10_000.0;

/// Shortest vector whose direction [`boundary_probability`] still takes at face value.
///
/// A shorter one is divided by this length instead of its own, so that the cosine of a zero
/// vector is 0 and its gradient is finite.
pub const NORM_FLOOR: f64 = 1e-4;

/// The head layout of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Number of query heads, a multiple of `key_value`.
    pub query: usize,
    /// Number of key and value heads.
    pub key_value: usize,
    /// Width of one head; even where rotary positions are used.
    pub size: usize,
}

impl Heads {
    /// Panics unless the operands of attention are as wide as the heads say.
    fn assert_fit(&self, q: &Tensor<3>, k: &Tensor<3>, v: &Tensor<3>) {
        let Self {
            query,
            key_value,
            size,
        } = *self;
        assert!(
            query.is_multiple_of(key_value),
            "{query} query heads cannot share {key_value} key-value heads"
        );
        let widths = [q, k, v].map(|x| x.dims()[2]);
        let right = [query * size, key_value * size, key_value * size];
        assert_eq!(widths, right, "widths of q, k and v for {self:?}");
    }
}

/// Where every token belongs.
#[derive(Clone, Debug)]
pub struct Segments {
    /// Segment of each token, `[batch, seq_len]`: starts at 0 and never falls; one step at most.
    pub index: Tensor<2, Int>,
    /// M, the most segments of any row.
    pub concepts: usize,
}

/// The numbers of one AdamW step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Learning rate.
    pub rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the corrected second moment.
    pub epsilon: f64,
    /// Decoupled decay: the parameter shrinks by `rate * weight_decay`.
    pub weight_decay: f64,
    /// Which step this is, counted from 1.
    pub step: u64,
}

impl AdamWStep {
    /// Returns the bias corrections 1 - beta^step of both moments.
    fn corrections(&self) -> (f64, f64) {
        let power = |beta: f64| 1.0 - beta.powf(self.step as f64);
        (power(self.beta1), power(self.beta2))
    }
}

/// Multiplies the last axis by a matrix.
///
/// One product over all rows, where a product of batches would build the weight's gradient once for
/// each batch row and add the copies up; nothing is computed for an operand without a gradient. The
/// weight is read in the type of x, as are those of the norms.
///
/// # Shapes
/// x `[.., inputs]`, weight `[inputs, outputs]` to `[.., outputs]`.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>) -> Tensor<D> {
    let weight = weight.cast(x.dtype());
    if supported(&x) {
        return Tensor::from_dispatch(<Dispatch as FusedOps>::linear(
            x.into_dispatch(),
            weight.into_dispatch(),
        ));
    }
    plain::linear(x, weight)
}

/// Divides the last axis by its root mean square and multiplies it by a weight.
///
/// x / sqrt(mean(x²) + eps) * weight.
///
/// # Shapes
/// x `[.., width]`, weight `[width]` to `[.., width]`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let weight = weight.cast(x.dtype());
    if supported(&x) {
        return Tensor::from_dispatch(<Dispatch as FusedOps>::rms_norm(
            x.into_dispatch(),
            weight.into_dispatch(),
            eps,
        ));
    }
    plain::rms_norm(x, weight, eps)
}

/// Gates one branch of a feed-forward layer with the other: silu(gate) * up.
///
/// # Shapes
/// `[batch, seq_len, width]`, all three.
pub fn swiglu(gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    if supported(&gate) {
        return Tensor::from_dispatch(<Dispatch as FusedOps>::swiglu(
            gate.into_dispatch(),
            up.into_dispatch(),
        ));
    }
    plain::swiglu(gate, up)
}

/// Attends from every token to itself and the tokens before it, with rotary positions.
///
/// Queries and keys are turned by rotary positions (base [`ROTARY_BASE`], *half-split*: element i
/// is paired with element i + size/2), then token t attends to the tokens in (t - window, t], or
/// to all up to t without a window. Scores are scaled by 1/sqrt(size). Query head i reads the key
/// and value head i / (query / key_value).
///
/// # Shapes
/// q `[batch, seq_len, query * size]`, k and v `[batch, seq_len, key_value * size]` to
/// `[batch, seq_len, query * size]`.
///
/// # Source
/// DLCM (arXiv 2512.24617) section 3.1; the local window is ours.
pub fn causal_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    heads: &Heads,
    window: Option<usize>,
) -> Tensor<3> {
    heads.assert_fit(&q, &k, &v);
    assert_ne!(window, Some(0), "a token sees itself at least");
    if supported(&q) {
        return Tensor::from_dispatch(<Dispatch as FusedOps>::causal_attention(
            q.into_dispatch(),
            k.into_dispatch(),
            v.into_dispatch(),
            *heads,
            window,
        ));
    }
    plain::causal_attention(q, k, v, heads, window)
}

/// Averages the tokens of each segment.
///
/// # Shapes
/// h `[batch, seq_len, width]` to `[batch, concepts, width]`; rows of absent segments are zeros.
///
/// # Source
/// DLCM Eq. 7, before the up-projection.
pub fn segment_mean(h: Tensor<3>, segments: &Segments) -> Tensor<3> {
    if supported(&h) {
        return Tensor::from_dispatch(<Dispatch as FusedOps>::segment_mean(
            h.into_dispatch(),
            segments.index.clone().into_dispatch(),
            segments.concepts,
        ));
    }
    plain::segment_mean(h, segments)
}

/// Attends from tokens to the concepts before their own.
///
/// Keys and values come already shifted by one: slot 0 is the start vector, slot m holds concept
/// m - 1. Token t of segment j sees slots 0..=j, and ln(number of tokens s <= t in segment m) is
/// added to the score of slot m: repeating a key n times adds exactly ln n to its score, so this
/// equals causal attention over concepts replicated to their tokens, with fewer scores.
///
/// # Shapes
/// q `[batch, seq_len, query * size]`, k and v `[batch, concepts, key_value * size]` to
/// `[batch, seq_len, query * size]`.
///
/// # Source
/// DLCM Eq. 12–17; the shift, which makes it strictly causal, and the compact form are ours.
pub fn cross_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    heads: &Heads,
    segments: &Segments,
) -> Tensor<3> {
    heads.assert_fit(&q, &k, &v);
    if supported(&q) {
        return Tensor::from_dispatch(<Dispatch as FusedOps>::cross_attention(
            q.into_dispatch(),
            k.into_dispatch(),
            v.into_dispatch(),
            segments.index.clone().into_dispatch(),
            *heads,
        ));
    }
    plain::cross_attention(q, k, v, heads, segments)
}

/// Normalises every head by itself, as [`rms_norm`] does a row.
///
/// # Shapes
/// x `[batch, seq_len, heads * size]`, weight `[size]`, to the shape of x.
pub fn head_norm(x: Tensor<3>, weight: Tensor<1>, eps: f64) -> Tensor<3> {
    let [_, _, width] = x.dims();
    let [size] = weight.dims();
    let weight = weight.cast(x.dtype());
    assert!(
        width.is_multiple_of(size),
        "{width} columns are no whole heads of {size}"
    );
    if supported(&x) {
        return Tensor::from_dispatch(<Dispatch as FusedOps>::rms_norm(
            x.into_dispatch(),
            weight.into_dispatch(),
            eps,
        ));
    }
    plain::head_norm(x, weight, eps)
}

/// Returns the cross-entropy of scaled logits, one number per row.
///
/// # Shapes
/// logits `[rows, vocabulary]`, targets `[rows]` to `[rows]`.
///
/// # Units
/// Nats.
pub fn cross_entropy(logits: Tensor<2>, scale: f64, targets: Tensor<1, Int>) -> Tensor<1> {
    if supported(&logits) {
        return Tensor::from_dispatch(<Dispatch as FusedOps>::cross_entropy(
            logits.into_dispatch(),
            targets.into_dispatch(),
            scale,
        ));
    }
    plain::cross_entropy(logits, scale, targets)
}

/// Returns how likely a segment starts at each token.
///
/// p_t = (1 - cos(q_{t-1}, k_t)) / 2, kept within 0 and 1 against rounding; p_0 = 1. Finite, with
/// finite gradients, for zero vectors: see [`NORM_FLOOR`].
///
/// # Shapes
/// q, k `[batch, seq_len, width]` to `[batch, seq_len]`.
///
/// # Source
/// DLCM Eq. 5.
pub fn boundary_probability(q: Tensor<3>, k: Tensor<3>) -> Tensor<2> {
    if supported(&q) {
        return Tensor::from_dispatch(<Dispatch as FusedOps>::boundary_probability(
            q.into_dispatch(),
            k.into_dispatch(),
        ));
    }
    plain::boundary_probability(q, k)
}

/// The Euclidean norm over some tensors.
#[derive(Debug)]
pub enum Norm {
    /// Computed.
    Known(f64),
    /// A number of an asynchronous device, in double precision.
    #[cfg(feature = "tch")]
    OnDevice(tch::Tensor),
}

impl Norm {
    /// Reads the number; synchronises with an asynchronous device.
    pub fn read(&self) -> f64 {
        match self {
            Self::Known(norm) => *norm,
            #[cfg(feature = "tch")]
            Self::OnDevice(norm) => norm.double_value(&[]),
        }
    }
}

/// Computes the norm over all tensors, accumulated in double precision in a fixed order.
///
/// Outside autodiff.
pub fn norm(tensors: Vec<Tensor<1>>) -> Norm {
    let sum: f64 = match tensors.first().and_then(kernels) {
        Some(Kernels::Flex) => tensors.into_iter().map(flex::sum_of_squares).sum(),
        #[cfg(feature = "tch")]
        Some(Kernels::LibTorch) => return Norm::OnDevice(libtorch::norm(tensors)),
        None => plain::sum_of_squares(tensors),
    };
    Norm::Known(sum.sqrt())
}

/// An AdamW step of many weights, taken together on an asynchronous device.
#[derive(Debug)]
pub struct AdamW {
    /// What gradients are multiplied with first, where the host knows it; `None` where nothing is to
    /// change.
    scale: Option<f64>,
    #[cfg(feature = "tch")]
    pending: libtorch::Pending,
}

impl AdamW {
    /// A step with the gradients scaled so that their norm is at most `bound`.
    ///
    /// Where the norm is not finite nothing changes. It does not synchronise with an asynchronous device,
    /// which may scale gradients where they are in memory.
    pub fn clipped(norm: &Norm, bound: f64) -> Self {
        match norm {
            Norm::Known(norm) => Self {
                scale: norm.is_finite().then(|| (bound / norm).min(1.0)),
                #[cfg(feature = "tch")]
                pending: libtorch::Pending::default(),
            },
            #[cfg(feature = "tch")]
            Norm::OnDevice(norm) => Self {
                scale: Some(1.0),
                pending: libtorch::Pending::clipped(norm, bound),
            },
        }
    }

    /// Returns the parameter and both moments, which have their new values after [`Self::finish`].
    ///
    /// Outside autodiff. Reuses the memory of its arguments where nobody else holds it.
    pub fn update<const D: usize>(
        &mut self,
        param: Tensor<D>,
        grad: Tensor<D>,
        m: Tensor<D>,
        v: Tensor<D>,
        step: &AdamWStep,
    ) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
        let Some(scale) = self.scale else {
            return (param, m, v);
        };
        match kernels(&param) {
            Some(Kernels::Flex) => flex::adamw([param, grad, m, v], step, scale),
            #[cfg(feature = "tch")]
            Some(Kernels::LibTorch) => self.pending.push([param, grad, m, v], step),
            None => plain::adamw(param, grad, m, v, step, scale),
        }
    }

    /// Takes the steps that were not taken yet.
    pub fn finish(self) {
        #[cfg(feature = "tch")]
        self.pending.run();
    }
}

impl Default for AdamW {
    /// A step with the gradients as they are.
    fn default() -> Self {
        Self {
            scale: Some(1.0),
            #[cfg(feature = "tch")]
            pending: libtorch::Pending::default(),
        }
    }
}

/// Takes one AdamW step of one weight and returns the parameter and both moments.
pub fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    m: Tensor<D>,
    v: Tensor<D>,
    step: &AdamWStep,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let mut adamw = AdamW::default();
    let updated = adamw.update(param, grad, m, v, step);
    adamw.finish();
    updated
}

/// Adds a tensor to another, in its memory where nobody else holds it.
///
/// Outside autodiff.
pub fn add_to<const D: usize>(sum: Tensor<D>, other: Tensor<D>) -> Tensor<D> {
    match kernels(&sum) {
        Some(Kernels::Flex) => flex::add_to(sum, other),
        _ => sum + other,
    }
}

/// Casts tensors, all at once on an asynchronous device.
///
/// Outside autodiff.
pub fn cast_all(tensors: Vec<Tensor<1>>, dtype: DType) -> Vec<Tensor<1>> {
    match tensors.first().and_then(kernels) {
        #[cfg(feature = "tch")]
        Some(Kernels::LibTorch) => libtorch::cast_all(&tensors, dtype),
        _ => tensors.into_iter().map(|x| x.cast(dtype)).collect(),
    }
}

/// Tells whether a device is the CPU with the kernels of this program, where a batch is computed
/// in shards and shapes need not repeat.
pub fn is_fused(device: &Device) -> bool {
    fused::has_kernels(device) == Some(Kernels::Flex)
}

#[cfg(test)]
mod tests;
