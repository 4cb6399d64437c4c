//! Every operation from ordinary tensor operations.
//!
//! Correct on any backend and any float type, differentiated by burn: the fallback where no fused
//! kernel exists, and the second opinion in the tests of those that do.

use burn::tensor::activation::{log_softmax, silu, softmax};
use burn::tensor::{Bool, DType, Int, Tensor};

use super::{AdamWStep, Heads, NORM_FLOOR, ROTARY_BASE, Segments};

/// Multiplies the last axis by a matrix, as one product over all rows.
///
/// Flattening first matters: the weight's gradient is then one product too, where a batched
/// product would build one gradient per batch row and add them up.
pub(super) fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>) -> Tensor<D> {
    let mut shape = x.dims();
    let [inputs, outputs] = weight.dims();
    let rows = shape[..D - 1].iter().product::<usize>();
    shape[D - 1] = outputs;
    x.reshape([rows, inputs]).matmul(weight).reshape(shape)
}

/// RMSNorm over the last axis.
pub(super) fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let mean_square = x.clone().square().mean_dim(D - 1);
    x / (mean_square + eps).sqrt() * weight.unsqueeze::<D>()
}

/// silu(gate) * up.
pub(super) fn swiglu(gate: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    silu(gate) * up
}

/// Rotary positions, then causal grouped-query attention.
pub(super) fn causal_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    heads: &Heads,
    window: Option<usize>,
) -> Tensor<3> {
    let [_, length, _] = q.dims();
    let device = q.device();
    let row = Tensor::<1, Int>::arange(0..length as i64, &device).reshape([length, 1]);
    let column = Tensor::<1, Int>::arange(0..length as i64, &device).reshape([1, length]);
    let distance = row.repeat_dim(1, length) - column.repeat_dim(0, length);
    let mut hidden = distance.clone().lower_elem(0);
    if let Some(window) = window {
        hidden = hidden.bool_or(distance.greater_equal_elem(window as i64));
    }
    let q = rotate(split_heads(q, heads.query));
    let k = rotate(split_heads(k, heads.key_value));
    let v = split_heads(v, heads.key_value);
    merge_heads(attend(q, k, v, heads, None, hidden.unsqueeze::<4>()))
}

/// Mean of each segment's tokens.
pub(super) fn segment_mean(h: Tensor<3>, segments: &Segments) -> Tensor<3> {
    let member = membership(segments, h.dtype());
    let counts = member.clone().sum_dim(1).clamp_min(1.0).swap_dims(1, 2);
    member.swap_dims(1, 2).matmul(h) / counts
}

/// Attention of tokens to shifted concepts, with the logarithm of the visible count as bias.
pub(super) fn cross_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    heads: &Heads,
    segments: &Segments,
) -> Tensor<3> {
    let counts = membership(segments, q.dtype()).cumsum(1);
    let hidden = counts.clone().lower_elem(0.5).unsqueeze_dim::<4>(1);
    let bias = counts.clamp_min(1.0).log().unsqueeze_dim::<4>(1);
    let q = split_heads(q, heads.query);
    let k = split_heads(k, heads.key_value);
    let v = split_heads(v, heads.key_value);
    merge_heads(attend(q, k, v, heads, Some(bias), hidden))
}

/// RMSNorm of every head by itself.
pub(super) fn head_norm(x: Tensor<3>, weight: Tensor<1>, eps: f64) -> Tensor<3> {
    let [batch, length, width] = x.dims();
    let [size] = weight.dims();
    let heads = x.reshape([batch, length, width / size, size]);
    rms_norm(heads, weight, eps).reshape([batch, length, width])
}

/// Cross-entropy in nats of scaled logits.
pub(super) fn cross_entropy(logits: Tensor<2>, scale: f64, targets: Tensor<1, Int>) -> Tensor<1> {
    let rows = targets.dims()[0];
    log_softmax(logits * scale, 1)
        .gather(1, targets.reshape([rows, 1]))
        .neg()
        .reshape([rows])
}

/// Boundary probabilities from the cosine of neighbouring states.
pub(super) fn boundary_probability(q: Tensor<3>, k: Tensor<3>) -> Tensor<2> {
    let [batch, length, width] = q.dims();
    let first = Tensor::<2>::ones([batch, 1], (&q.device(), q.dtype()));
    if length == 1 {
        return first;
    }
    let q = q.slice([0..batch, 0..length - 1, 0..width]);
    let k = k.slice([0..batch, 1..length, 0..width]);
    // The floor under the squared norms, not a term added to them: exact for every vector that
    // is longer than the floor, and a finite gradient below it.
    let floor = NORM_FLOOR * NORM_FLOOR;
    let norm = |x: Tensor<3>| x.square().sum_dim(2).clamp_min(floor).sqrt();
    let dot = (q.clone() * k.clone()).sum_dim(2);
    let cosine = dot / norm(q) / norm(k);
    let rest = (cosine.neg() * 0.5 + 0.5)
        .clamp(0.0, 1.0)
        .reshape([batch, length - 1]);
    Tensor::cat(vec![first, rest], 1)
}

/// One AdamW step with the gradient multiplied by `scale`.
pub(super) fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    m: Tensor<D>,
    v: Tensor<D>,
    step: &AdamWStep,
    scale: f64,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (correction1, correction2) = step.corrections();
    let grad = grad * scale;
    let m = m * step.beta1 + grad.clone() * (1.0 - step.beta1);
    let v = v * step.beta2 + grad.square() * (1.0 - step.beta2);
    let denominator = (v.clone() / correction2).sqrt() + step.epsilon;
    let update = m.clone() / correction1 / denominator;
    let param = param * (1.0 - step.rate * step.weight_decay) - update * step.rate;
    (param, m, v)
}

/// Sum of squares over all tensors in double precision: one number a tensor is read, all at once.
pub(super) fn sum_of_squares(tensors: Vec<Tensor<1>>) -> f64 {
    if tensors.is_empty() {
        return 0.0;
    }
    let sums = tensors
        .into_iter()
        .map(|x| x.cast(DType::F64).square().sum())
        .collect();
    Tensor::cat(sums, 0).into_data().iter::<f64>().sum()
}

/// Which segment each token is in, as 0 and 1.
///
/// # Shapes
/// `[batch, seq_len, concepts]`.
fn membership(segments: &Segments, dtype: DType) -> Tensor<3> {
    let [batch, length] = segments.index.dims();
    let concepts = segments.concepts;
    let device = segments.index.device();
    let slots = Tensor::<1, Int>::arange(0..concepts as i64, &device)
        .reshape([1, 1, concepts])
        .repeat_dim(0, batch)
        .repeat_dim(1, length)
        .cast(segments.index.dtype());
    let index = segments
        .index
        .clone()
        .reshape([batch, length, 1])
        .repeat_dim(2, concepts);
    index.equal(slots).float().cast(dtype)
}

/// `[batch, length, heads * size]` to `[batch, heads, length, size]`.
fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, length, width] = x.dims();
    x.reshape([batch, length, heads, width / heads])
        .swap_dims(1, 2)
}

/// The inverse of [`split_heads`].
fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, length, size] = x.dims();
    x.swap_dims(1, 2).reshape([batch, length, heads * size])
}

/// Rotary positions on `[batch, heads, length, size]`, halves paired.
fn rotate(x: Tensor<4>) -> Tensor<4> {
    let [batch, heads, length, size] = x.dims();
    let half = size / 2;
    let device = x.device();
    let angle = |f: fn(f64) -> f64| {
        let table: Vec<f32> = (0..length * half)
            .map(|i| {
                let frequency = ROTARY_BASE.powf(-2.0 * (i % half) as f64 / size as f64);
                f((i / half) as f64 * frequency) as f32
            })
            .collect();
        Tensor::<1>::from_data(table.as_slice(), &device)
            .cast(x.dtype())
            .reshape([1, 1, length, half])
    };
    let (cos, sin) = (angle(f64::cos), angle(f64::sin));
    let left = x.clone().slice([0..batch, 0..heads, 0..length, 0..half]);
    let right = x.slice([0..batch, 0..heads, 0..length, half..size]);
    let turned_left = left.clone() * cos.clone() - right.clone() * sin.clone();
    let turned_right = right * cos + left * sin;
    Tensor::cat(vec![turned_left, turned_right], 3)
}

/// Softmax attention with an additive bias and a mask that broadcast over heads.
fn attend(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    heads: &Heads,
    bias: Option<Tensor<4>>,
    hidden: Tensor<4, Bool>,
) -> Tensor<4> {
    let [batch, query_heads, length, _] = q.dims();
    let keys = k.dims()[2];
    let group = heads.query / heads.key_value;
    let spread = |x: Tensor<4>| {
        x.unsqueeze_dim::<5>(2)
            .repeat_dim(2, group)
            .reshape([batch, query_heads, keys, heads.size])
    };
    let mut scores = q.matmul(spread(k).swap_dims(2, 3)) / (heads.size as f64).sqrt();
    if let Some(bias) = bias {
        scores = scores + bias;
    }
    let hidden = hidden.expand([batch, query_heads, length, keys]);
    let scores = scores.mask_fill(hidden, f32::NEG_INFINITY);
    softmax(scores, 3).matmul(spread(v))
}
