//! The Transformer block that the encoder, the backbone, the decoder and the dense baseline share.

use super::init::Initializer;
use super::ops::{self, Heads};
use crate::architecture::{Stack, Window};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

/// ε inside the root of every RMSNorm.
pub(crate) const NORM_EPSILON: f64 = 1e-6;

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

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let normed = ops::rms_norm(x.clone(), self.attention_norm.val(), NORM_EPSILON);
        let attended = ops::causal_attention(
            ops::linear(normed.clone(), self.query.val()),
            ops::linear(normed.clone(), self.key.val()),
            ops::linear(normed, self.value.val()),
            &self.heads,
            self.window,
        );
        let x = x + ops::linear(attended, self.output.val());
        let normed = ops::rms_norm(x.clone(), self.feed_forward_norm.val(), NORM_EPSILON);
        let hidden = ops::swiglu(
            ops::linear(normed.clone(), self.gate.val()),
            ops::linear(normed, self.up.val()),
        );
        x + ops::linear(hidden, self.down.val())
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
        // Each block adds to the residual stream twice: this keeps its variance near 1 with depth.
        let residual_gain = 1.0 / (2.0 * stack.layers.max(1) as f64).sqrt();
        Self {
            blocks: (0..stack.layers)
                .map(|_| Block::new(stack, window, residual_gain, init))
                .collect(),
            norm: init.constant(stack.width, 1.0),
        }
    }

    /// Runs the blocks and the final norm.
    ///
    /// # Shapes
    /// [batch, positions, width], in and out.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        ops::rms_norm(x, self.norm.val(), NORM_EPSILON)
    }
}
