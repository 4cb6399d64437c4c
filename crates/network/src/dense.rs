//! The dense baseline: a LLaMA-style decoder (P = 0, R = 1).

use super::block::Blocks;
use super::embedding::{Embedding, Unembedding};
use super::flop_count::FlopCount;
use super::init::Initializer;
use super::observe::{Observer, Site};
use super::ops::KeyValues;
use super::prefixes::Layout;
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use experiment::architecture::{Dense, Window};
use experiment::recipe::Precision;

/// A dense decoder.
#[derive(Module, Debug)]
pub struct DenseModel {
    embedding: Embedding,
    decoder: Blocks,
    unembedding: Unembedding,
}

impl DenseModel {
    pub(crate) fn new(shape: &Dense, init: &mut Initializer) -> Self {
        let width = shape.stack.width;
        Self {
            embedding: Embedding::new(shape.vocab, width, init),
            decoder: Blocks::new(&shape.stack, Window::Full, init),
            unembedding: Unembedding::new(shape.vocab, width, init),
        }
    }

    pub(crate) fn set_precision(&mut self, precision: Precision) {
        self.embedding.set_precision(precision);
    }

    /// Looks tokens up.
    ///
    /// # Shapes
    /// `tokens` [batch, seq_len] → [batch, seq_len, width].
    pub(crate) fn encode(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.embedding.forward(tokens)
    }

    /// Computes what logits are made from, and shows the residual stream on the way.
    ///
    /// # Shapes
    /// [batch, seq_len, width], or as the layout says, in and out.
    pub(crate) fn decode(
        &self,
        x: Tensor<3>,
        layout: &Layout,
        observe: &mut Observer<'_>,
    ) -> Tensor<3> {
        (self.decoder).forward(x, layout, |x| observe(Site::Decoder, x))
    }

    pub(crate) fn unembedding(&self) -> &Unembedding {
        &self.unembedding
    }

    /// Makes what [`Self::step`] remembers.
    pub(crate) fn memory(&self) -> Vec<KeyValues> {
        self.decoder.memory()
    }

    /// Computes the logits after the next token alone; `memory` holds those before it.
    ///
    /// # Shapes
    /// `token` [1, 1] → [1, vocab].
    pub(crate) fn step(
        &self,
        token: Tensor<2, Int>,
        memory: &mut [KeyValues],
        flops: &FlopCount,
    ) -> Tensor<2> {
        let x = self.embedding.forward(token);
        let h = self.decoder.step(x, memory, flops);
        self.unembedding.forward(h, flops)
    }
}
