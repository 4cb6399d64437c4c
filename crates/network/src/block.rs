//! The Transformer block that the encoder, the backbone, the decoder and the dense baseline share.

use super::flop_count::FlopCount;
use super::init::Initializer;
use super::ops::{self, Heads, KeyValues};
use super::prefixes::Layout;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use experiment::architecture::{Stack, Window};

/// ε inside the root of every RMSNorm.
pub(crate) const NORM_EPSILON: f64 = 1e-6;

/// Size of what all blocks of a stack add at first. A half was better than 1 by 0.02 nats on
/// English bytes, and boundaries fell at the ends of words (docs/checks.md).
const RESIDUAL_GAIN: f64 = 0.5;

/// A pre-norm block: grouped-query attention with rotary positions, then SwiGLU.
#[derive(Module, Debug)]
pub struct Block {
    attention_norm: Param<Tensor<1>>,
    query: Param<Tensor<2>>,
    key: Param<Tensor<2>>,
    value: Param<Tensor<2>>,
    output: Param<Tensor<2>>,
    feed_forward_norm: Param<Tensor<1>>,
    gate: Param<Tensor<2>>,
    up: Param<Tensor<2>>,
    down: Param<Tensor<2>>,
    #[module(skip)]
    heads: Heads,
    #[module(skip)]
    window: Option<usize>,
}

impl Block {
    fn new(stack: &Stack, window: Window, residual_gain: f64, init: &mut Initializer) -> Self {
        let width = stack.width;
        let kv_width = stack.kv_heads * stack.head_size;
        Self {
            attention_norm: init.constant(width, 1.0),
            query: init.matrix(width, width, 1.0),
            key: init.matrix(width, kv_width, 1.0),
            value: init.matrix(width, kv_width, 1.0),
            output: init.matrix(width, width, residual_gain),
            feed_forward_norm: init.constant(width, 1.0),
            gate: init.matrix(width, stack.ffn, 1.0),
            up: init.matrix(width, stack.ffn, 1.0),
            down: init.matrix(stack.ffn, width, residual_gain),
            heads: Heads {
                query: stack.heads,
                key_value: stack.kv_heads,
                size: stack.head_size,
            },
            window: match window {
                Window::Local(w) => Some(w),
                Window::Full => None,
            },
        }
    }

    fn forward(&self, x: Tensor<3>, layout: &Layout) -> Tensor<3> {
        self.run(x, &FlopCount::default(), |q, k, v| {
            let [q, k, v] = [q, k, v].map(|x| layout.spread(x));
            layout.collect(ops::causal_attention(q, k, v, &self.heads, self.window))
        })
    }

    fn step(&self, x: Tensor<3>, before: &mut KeyValues, flops: &FlopCount) -> Tensor<3> {
        self.run(x, flops, |q, k, v| {
            let read = before.causal_attention(q, k, v);
            flops.add(before.flops());
            read
        })
    }

    /// Runs the block around its attention.
    fn run(
        &self,
        x: Tensor<3>,
        flops: &FlopCount,
        attention: impl FnOnce(Tensor<3>, Tensor<3>, Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        let normed = ops::rms_norm(x.clone(), self.attention_norm.val(), NORM_EPSILON);
        let attended = attention(
            flops.linear(normed.clone(), &self.query),
            flops.linear(normed.clone(), &self.key),
            flops.linear(normed, &self.value),
        );
        let x = x + flops.linear(attended, &self.output);
        let normed = ops::rms_norm(x.clone(), self.feed_forward_norm.val(), NORM_EPSILON);
        let hidden = ops::swiglu(
            flops.linear(normed.clone(), &self.gate),
            flops.linear(normed, &self.up),
        );
        x + flops.linear(hidden, &self.down)
    }
}

/// A stack of blocks and its final RMSNorm.
#[derive(Module, Debug)]
pub struct Blocks {
    blocks: Vec<Block>,
    norm: Param<Tensor<1>>,
}

impl Blocks {
    pub(crate) fn new(stack: &Stack, window: Window, init: &mut Initializer) -> Self {
        // Each block adds to the residual stream twice: the root keeps its variance the same at any
        // depth.
        let residual_gain = RESIDUAL_GAIN / (2.0 * stack.layers.max(1) as f64).sqrt();
        Self {
            blocks: (0..stack.layers)
                .map(|_| Block::new(stack, window, residual_gain, init))
                .collect(),
            norm: init.constant(stack.width, 1.0),
        }
    }

    /// Runs the blocks and the final norm; shows the residual stream before the norm.
    ///
    /// # Shapes
    /// [batch, positions, width], in and out, or as the layout says.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        layout: &Layout,
        observe: impl FnOnce(&Tensor<3>),
    ) -> Tensor<3> {
        let blocks = self.blocks.iter();
        let x = blocks.fold(x, |x, block| block.forward(x, layout));
        observe(&x);
        ops::rms_norm(x, self.norm.val(), NORM_EPSILON)
    }

    /// Makes what [`Self::step`] remembers, one a block.
    pub(crate) fn memory(&self) -> Vec<KeyValues> {
        self.blocks
            .iter()
            .map(|block| KeyValues::new(block.heads, block.window))
            .collect()
    }

    /// Runs the next position alone; `memory` holds those before it.
    ///
    /// # Shapes
    /// [1, 1, width], in and out.
    pub(crate) fn step(
        &self,
        x: Tensor<3>,
        memory: &mut [KeyValues],
        flops: &FlopCount,
    ) -> Tensor<3> {
        let blocks = self.blocks.iter().zip(memory);
        let x = blocks.fold(x, |x, (block, before)| block.step(x, before, flops));
        ops::rms_norm(x, self.norm.val(), NORM_EPSILON)
    }
}
