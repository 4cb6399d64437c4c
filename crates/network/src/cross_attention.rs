//! From concepts back to tokens (Eq. 12–14, 16–17), strictly causal.

use super::block::NORM_EPSILON;
use super::flop_count::FlopCount;
use super::init::Initializer;
use super::ops::{self, Heads, KeyValues, Segments};
use super::prefixes::Layout;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use experiment::architecture::Stack;

/// Gain of the initial output matrix: what concepts say is noise at first, and must not drown
/// the tokens.
pub(crate) const INITIAL_GAIN: f64 = 0.3;

/// Cross-attention with queries from tokens, keys and values from concepts.
#[derive(Module, Debug)]
pub struct CrossAttention {
    query: Param<Tensor<2>>,
    key: Param<Tensor<2>>,
    value: Param<Tensor<2>>,
    output: Param<Tensor<2>>,
    query_norm: Param<Tensor<1>>,
    key_norm: Param<Tensor<1>>,
    #[module(skip)]
    heads: Heads,
}

impl CrossAttention {
    pub(crate) fn new(decoder: &Stack, d_concept: usize, init: &mut Initializer) -> Self {
        let width = decoder.width;
        let kv_width = decoder.kv_heads * decoder.head_size;
        Self {
            query: init.matrix(width, width, 1.0),
            key: init.matrix(d_concept, kv_width, 1.0),
            value: init.matrix(d_concept, kv_width, 1.0),
            output: init.matrix(width, width, INITIAL_GAIN),
            query_norm: init.constant(decoder.head_size, 1.0),
            key_norm: init.constant(decoder.head_size, 1.0),
            heads: Heads {
                query: decoder.heads,
                key_value: decoder.kv_heads,
                size: decoder.head_size,
            },
        }
    }

    /// Lets each token read the concepts before its own.
    ///
    /// # Shapes
    /// `h` [batch, seq_len, d_token], or as the layout says; `slots` [batch, concepts, d_concept], shifted by one, the
    /// start vector first; result like `h`.
    pub(crate) fn forward(
        &self,
        h: Tensor<3>,
        layout: &Layout,
        slots: Tensor<3>,
        segments: &Segments,
    ) -> Tensor<3> {
        let flops = &FlopCount::default();
        let query = layout.spread(self.query(h, flops));
        let (key, value) = self.key_value(slots, flops);
        let read = ops::cross_attention(query, key, value, &self.heads, segments);
        ops::linear(layout.collect(read), self.output.val())
    }

    /// Makes what [`Self::step`] reads: no slots yet.
    pub(crate) fn memory(&self) -> KeyValues {
        KeyValues::new(self.heads, None)
    }

    /// Remembers the slot that a concept's first token is the first to read.
    ///
    /// # Shapes
    /// `slot` [1, 1, d_concept].
    pub(crate) fn push(&self, slot: Tensor<3>, slots: &mut KeyValues, flops: &FlopCount) {
        let (key, value) = self.key_value(slot, flops);
        slots.push(key, value);
    }

    /// Lets one token read the slots.
    ///
    /// # Shapes
    /// [1, 1, d_token], in and out.
    pub(crate) fn step(&self, h: Tensor<3>, slots: &KeyValues, flops: &FlopCount) -> Tensor<3> {
        let read = slots.attend(self.query(h, flops));
        flops.add(slots.flops());
        flops.linear(read, &self.output)
    }

    fn query(&self, h: Tensor<3>, flops: &FlopCount) -> Tensor<3> {
        ops::head_norm(
            flops.linear(h, &self.query),
            self.query_norm.val(),
            NORM_EPSILON,
        )
    }

    fn key_value(&self, slots: Tensor<3>, flops: &FlopCount) -> (Tensor<3>, Tensor<3>) {
        let key = ops::head_norm(
            flops.linear(slots.clone(), &self.key),
            self.key_norm.val(),
            NORM_EPSILON,
        );
        (key, flops.linear(slots, &self.value))
    }
}
