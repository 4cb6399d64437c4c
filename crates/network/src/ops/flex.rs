//! The fused operations on burn's CPU backend: tensors in, slices to the kernels, tensors out.

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{Bytes, DType, Shape, Tensor};

use super::buffers::{recycle, room};
use super::fused::{
    BoundaryProbability, CausalAttention, CrossAttention, CrossEntropy, FusedOps, Linear, Op,
    RmsNorm, SegmentMean, SwiGlu, fused_ops,
};
use super::kernels::attention::Attention;
use super::kernels::rotary::Rotary;
use super::kernels::visible::{Counts, Visible};
use super::kernels::{adam, boundary, linear, loss, norm, pooling, swiglu};
use super::{AdamWStep, Heads};

impl FusedOps for Flex {
    fused_ops!(run);
}

/// Runs an operation where no gradient is wanted.
fn run<O: Op<Flex, N>, const N: usize>(op: O, inputs: [FlexTensor; N]) -> FlexTensor {
    op.forward(inputs).0
}

/// A row-major tensor without gaps, copied only where it was not one.
fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The elements of a contiguous tensor.
fn elements(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice()
        .expect("a contiguous tensor in single precision")
}

/// A tensor whose storage is its elements, so that a kernel may overwrite it.
fn exact(tensor: FlexTensor) -> FlexTensor {
    // The borrowed tensor goes before anything is written: a buffer nobody else holds is written
    // in place, not copied.
    tensor.to_contiguous()
}

/// A tensor of new elements.
fn tensor(elements: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(elements),
        Layout::contiguous(shape.into()),
        DType::F32,
    )
}

fn shape(tensor: &FlexTensor) -> Shape {
    tensor.layout().shape().clone()
}

fn dims<const D: usize>(tensor: &FlexTensor) -> [usize; D] {
    std::array::from_fn(|i| tensor.layout().shape()[i])
}

/// Room for as many elements as another tensor has.
fn room_like(tensor: &FlexTensor) -> Vec<f32> {
    room(tensor.layout().num_elements())
}

/// The elements of an integer tensor.
fn indices(tensor: &FlexTensor) -> Vec<usize> {
    let tensor = contiguous(tensor.clone());
    let index = |i: i64| usize::try_from(i).expect("an index that is not negative");
    match tensor.dtype() {
        DType::I64 => tensor
            .as_slice::<i64>()
            .map(|x| x.iter().map(|&i| index(i)).collect()),
        DType::I32 => tensor
            .as_slice::<i32>()
            .map(|x| x.iter().map(|&i| index(i64::from(i))).collect()),
        DType::U32 => tensor
            .as_slice::<u32>()
            .map(|x| x.iter().map(|&i| i as usize).collect()),
        other => panic!("indices are 32- or 64-bit integers here, not {other:?}"),
    }
    .expect("a contiguous tensor of its own type")
}

impl Op<Flex, 2> for Linear {
    type Saved = [FlexTensor; 2];

    fn forward(&self, inputs: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        let inputs = inputs.map(contiguous);
        let [x, weight] = inputs.each_ref().map(elements);
        let [width, outputs] = dims(&inputs[1]);
        let mut out = room(x.len() / width * outputs);
        linear::forward(x, weight, outputs, &mut out);
        let mut out_shape = shape(&inputs[0]).to_vec();
        out_shape.pop();
        out_shape.push(outputs);
        (tensor(out, out_shape), inputs)
    }

    fn backward(
        self,
        inputs: Self::Saved,
        grad: FlexTensor,
        [x_wanted, weight_wanted]: [bool; 2],
    ) -> [FlexTensor; 2] {
        let grad = contiguous(grad);
        let [x, weight] = inputs.each_ref().map(elements);
        let [_, outputs] = dims(&inputs[1]);
        let [mut x_grad, mut weight_grad] = inputs.each_ref().map(room_like);
        if x_wanted {
            linear::backward_x(weight, outputs, elements(&grad), &mut x_grad);
        }
        if weight_wanted {
            linear::backward_weight(x, outputs, elements(&grad), &mut weight_grad);
        }
        let [x_shape, weight_shape] = inputs.each_ref().map(shape);
        let [x, _] = inputs;
        recycle(x);
        recycle(grad);
        [tensor(x_grad, x_shape), tensor(weight_grad, weight_shape)]
    }
}

impl Op<Flex, 2> for RmsNorm {
    /// x, weight, and the inverse root mean squares.
    type Saved = ([FlexTensor; 2], Vec<f32>);

    fn forward(&self, inputs: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        let inputs = inputs.map(contiguous);
        let [x, weight] = inputs.each_ref().map(elements);
        let (mut out, mut inverse) = (room_like(&inputs[0]), room(x.len() / weight.len()));
        norm::forward(x, weight, self.eps, &mut out, &mut inverse);
        (tensor(out, shape(&inputs[0])), (inputs, inverse))
    }

    fn backward(self, saved: Self::Saved, grad: FlexTensor, _: [bool; 2]) -> [FlexTensor; 2] {
        let (inputs, inverse) = saved;
        let [x, weight] = inputs.each_ref().map(elements);
        let mut grad = exact(grad);
        let weight_grad = norm::backward(x, weight, &inverse, grad.storage_mut());
        let weight_grad = tensor(weight_grad, shape(&inputs[1]));
        inputs.into_iter().for_each(recycle);
        [grad, weight_grad]
    }
}

impl Op<Flex, 2> for SwiGlu {
    type Saved = [FlexTensor; 2];

    fn forward(&self, inputs: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        let inputs = inputs.map(contiguous);
        let [gate, up] = inputs.each_ref().map(elements);
        let mut out = room_like(&inputs[0]);
        swiglu::forward(gate, up, &mut out);
        (tensor(out, shape(&inputs[0])), inputs)
    }

    fn backward(self, inputs: Self::Saved, grad: FlexTensor, _: [bool; 2]) -> [FlexTensor; 2] {
        let [gate, up] = inputs.each_ref().map(elements);
        let mut grad = exact(grad);
        let mut up_grad = room_like(&inputs[1]);
        swiglu::backward(gate, up, grad.storage_mut(), &mut up_grad);
        let up_grad = tensor(up_grad, shape(&inputs[1]));
        inputs.into_iter().for_each(recycle);
        [grad, up_grad]
    }
}

/// The operands of attention, its output and log-sum-exp.
#[derive(Clone, Debug)]
pub(crate) struct Attended {
    inputs: [FlexTensor; 3],
    out: FlexTensor,
    lse: Vec<f32>,
}

/// Runs attention, causal or to segments.
fn attend(
    inputs: [FlexTensor; 3],
    heads: Heads,
    rotary: Option<&Rotary>,
    visible: Visible<'_>,
) -> (FlexTensor, Attended) {
    let inputs = inputs.map(contiguous);
    let [batch, queries, _] = dims(&inputs[0]);
    let (mut out, mut lse) = (room_like(&inputs[0]), room(batch * heads.query * queries));
    attention(&inputs, heads, rotary, visible).forward(&mut out, &mut lse);
    let out = tensor(out, shape(&inputs[0]));
    (out.clone(), Attended { inputs, out, lse })
}

/// Runs the backward pass of [`attend`].
fn attend_backward(
    saved: Attended,
    heads: Heads,
    rotary: Option<&Rotary>,
    visible: Visible<'_>,
    grad: FlexTensor,
) -> [FlexTensor; 3] {
    let Attended { inputs, out, lse } = saved;
    let grad = contiguous(grad);
    let [mut q, mut k, mut v] = inputs.each_ref().map(room_like);
    attention(&inputs, heads, rotary, visible).backward(
        elements(&out),
        &lse,
        elements(&grad),
        [&mut q, &mut k, &mut v],
    );
    let [q_shape, k_shape, v_shape] = inputs.each_ref().map(shape);
    inputs.into_iter().for_each(recycle);
    recycle(out);
    recycle(grad);
    [tensor(q, q_shape), tensor(k, k_shape), tensor(v, v_shape)]
}

fn attention<'a>(
    inputs: &'a [FlexTensor; 3],
    heads: Heads,
    rotary: Option<&'a Rotary>,
    visible: Visible<'a>,
) -> Attention<'a> {
    let [_, queries, _] = dims(&inputs[0]);
    let [_, keys, _] = dims(&inputs[1]);
    let [q, k, v] = inputs.each_ref().map(elements);
    Attention {
        q,
        k,
        v,
        heads,
        queries,
        keys,
        rotary,
        visible,
    }
}

impl CausalAttention {
    fn visible<'a>(&self, length: usize) -> Visible<'a> {
        Visible::Causal {
            window: self.window.unwrap_or(length),
        }
    }
}

impl Op<Flex, 3> for CausalAttention {
    type Saved = Attended;

    fn forward(&self, inputs: [FlexTensor; 3]) -> (FlexTensor, Attended) {
        let [_, length, _] = dims(&inputs[0]);
        let rotary = Rotary::table(self.heads.size, length);
        attend(inputs, self.heads, Some(&rotary), self.visible(length))
    }

    fn backward(self, saved: Attended, grad: FlexTensor, _: [bool; 3]) -> [FlexTensor; 3] {
        let [_, length, _] = dims(&grad);
        let rotary = Rotary::table(self.heads.size, length);
        attend_backward(saved, self.heads, Some(&rotary), self.visible(length), grad)
    }
}

impl Op<Flex, 3> for CrossAttention<IntTensor<Flex>> {
    type Saved = (Attended, Counts);

    fn forward(&self, inputs: [FlexTensor; 3]) -> (FlexTensor, Self::Saved) {
        let [_, length, _] = dims(&inputs[0]);
        let [_, concepts, _] = dims(&inputs[1]);
        let counts = Counts::new(indices(&self.index), length, concepts);
        let (out, saved) = attend(inputs, self.heads, None, Visible::Segments(&counts));
        (out, (saved, counts))
    }

    fn backward(
        self,
        (saved, counts): Self::Saved,
        grad: FlexTensor,
        _: [bool; 3],
    ) -> [FlexTensor; 3] {
        attend_backward(saved, self.heads, None, Visible::Segments(&counts), grad)
    }
}

impl Op<Flex, 1> for SegmentMean<IntTensor<Flex>> {
    type Saved = Vec<usize>;

    fn forward(&self, [h]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        let h = contiguous(h);
        let [batch, length, width] = dims(&h);
        let index = indices(&self.index);
        let mut out = room(batch * self.concepts * width);
        pooling::forward(elements(&h), &index, length, self.concepts, &mut out);
        (tensor(out, [batch, self.concepts, width]), index)
    }

    fn backward(self, index: Self::Saved, grad: FlexTensor, _: [bool; 1]) -> [FlexTensor; 1] {
        let grad = contiguous(grad);
        let [batch, _, width] = dims(&grad);
        let length = index.len() / batch.max(1);
        let mut h_grad = room(index.len() * width);
        pooling::backward(elements(&grad), &index, length, self.concepts, &mut h_grad);
        recycle(grad);
        [tensor(h_grad, [batch, length, width])]
    }
}

impl Op<Flex, 1> for CrossEntropy<IntTensor<Flex>> {
    /// Logits, targets, log-sum-exp.
    type Saved = (FlexTensor, Vec<usize>, Vec<f32>);

    fn forward(&self, [logits]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
        let logits = contiguous(logits);
        let targets = indices(&self.targets);
        let rows = targets.len();
        let (mut losses, mut lse) = (room(rows), room(rows));
        loss::forward(
            elements(&logits),
            self.scale,
            &targets,
            &mut losses,
            &mut lse,
        );
        (tensor(losses, [rows]), (logits, targets, lse))
    }

    fn backward(self, saved: Self::Saved, grad: FlexTensor, _: [bool; 1]) -> [FlexTensor; 1] {
        let (logits, targets, lse) = saved;
        let grad = contiguous(grad);
        // Usually nobody else holds the logits any more, and their memory becomes the gradient's.
        let mut logits = exact(logits);
        loss::backward(
            logits.storage_mut(),
            self.scale,
            &targets,
            &lse,
            elements(&grad),
        );
        [logits]
    }
}

impl Op<Flex, 2> for BoundaryProbability {
    type Saved = [FlexTensor; 2];

    fn forward(&self, inputs: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        let inputs = inputs.map(contiguous);
        let [batch, length, width] = dims(&inputs[0]);
        let [q, k] = inputs.each_ref().map(elements);
        let mut out = room(batch * length);
        boundary::forward(q, k, width, length, &mut out);
        (tensor(out, [batch, length]), inputs)
    }

    fn backward(self, inputs: Self::Saved, grad: FlexTensor, _: [bool; 2]) -> [FlexTensor; 2] {
        let grad = contiguous(grad);
        let [_, length, width] = dims(&inputs[0]);
        let [q, k] = inputs.each_ref().map(elements);
        let [mut q_grad, mut k_grad] = inputs.each_ref().map(room_like);
        let grads = [&mut q_grad[..], &mut k_grad];
        boundary::backward([q, k], width, length, elements(&grad), grads);
        let [q_shape, k_shape] = inputs.each_ref().map(shape);
        inputs.into_iter().for_each(recycle);
        [tensor(q_grad, q_shape), tensor(k_grad, k_shape)]
    }
}

/// Takes an AdamW step, in place where nobody else holds the tensors.
pub(super) fn adamw<const D: usize>(
    tensors: [Tensor<D>; 4],
    step: &AdamWStep,
    scale: f64,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let [mut param, grad, mut m, mut v] = tensors.map(|tensor| exact(primitive(tensor)));
    adam::step(
        param.storage_mut(),
        elements(&grad),
        m.storage_mut(),
        v.storage_mut(),
        step,
        scale,
    );
    recycle(grad);
    let wrap = |tensor| Tensor::from_primitive::<Flex>(tensor);
    (wrap(param), wrap(m), wrap(v))
}

/// Adds a tensor to another, in place where nobody else holds it.
pub(super) fn add_to<const D: usize>(sum: Tensor<D>, other: Tensor<D>) -> Tensor<D> {
    let mut sum = exact(primitive(sum));
    let other = contiguous(primitive(other));
    adam::add(sum.storage_mut(), elements(&other));
    recycle(other);
    Tensor::from_primitive::<Flex>(sum)
}

/// Sums squares.
pub(super) fn sum_of_squares<const D: usize>(x: Tensor<D>) -> f64 {
    adam::sum_of_squares(elements(&contiguous(primitive(x))))
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FloatTensor<Flex> {
    tensor
        .try_into_primitive::<Flex>()
        .expect("a tensor on flex outside autodiff")
}
