//! A DLCM's token level alone: the control for what local attention gives by itself.

use super::block::Blocks;
use super::cross_attention::INITIAL_GAIN;
use super::embedding::{Embedding, Unembedding};
use super::flop_count::FlopCount;
use super::init::Initializer;
use super::observe::{Observer, Site};
use super::ops::KeyValues;
use super::prefixes::Layout;
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};
use experiment::architecture::TokenOnly;
use experiment::recipe::Precision;

/// The encoder and decoder of a DLCM without what lies between them.
#[derive(Module, Debug)]
pub struct TokenOnlyModel {
    embedding: Embedding,
    encoder: Blocks,
    /// What cross-attention to the start vector alone adds: the same at every token.
    start: Param<Tensor<1>>,
    decoder: Blocks,
    unembedding: Unembedding,
}

/// What it remembers of the tokens before, one sequence's.
#[derive(Debug)]
pub(crate) struct Memory {
    encoder: Vec<KeyValues>,
    decoder: Vec<KeyValues>,
}

impl TokenOnlyModel {
    pub(crate) fn new(shape: &TokenOnly, init: &mut Initializer) -> Self {
        let width = shape.encoder.width;
        Self {
            embedding: Embedding::new(shape.vocab, width, init),
            encoder: Blocks::new(&shape.encoder, shape.token_window, init),
            start: init.vector(width, INITIAL_GAIN),
            decoder: Blocks::new(&shape.decoder, shape.token_window, init),
            unembedding: Unembedding::new(shape.vocab, width, init),
        }
    }

    pub(crate) fn set_precision(&mut self, precision: Precision) {
        self.embedding.set_precision(precision);
    }

    /// Runs the encoder.
    ///
    /// # Shapes
    /// `tokens` [batch, seq_len] → [batch, seq_len, width], or both as the layout says.
    pub(crate) fn encode(
        &self,
        tokens: Tensor<2, Int>,
        layout: &Layout,
        observe: &mut Observer<'_>,
    ) -> Tensor<3> {
        let x = self.embedding.forward(tokens);
        (self.encoder).forward(x, layout, |x| observe(Site::Encoder, x))
    }

    /// Computes what logits are made from out of what [`Self::encode`] gave.
    ///
    /// # Shapes
    /// [batch, seq_len, width], or as the layout says, in and out.
    pub(crate) fn decode(
        &self,
        h: Tensor<3>,
        layout: &Layout,
        observe: &mut Observer<'_>,
    ) -> Tensor<3> {
        let h = self.with_start(h);
        (self.decoder).forward(h, layout, |x| observe(Site::Decoder, x))
    }

    pub(crate) fn unembedding(&self) -> &Unembedding {
        &self.unembedding
    }

    fn with_start(&self, h: Tensor<3>) -> Tensor<3> {
        let start = self.start.val().unsqueeze::<3>().cast(h.dtype());
        h + start
    }

    /// Makes what [`Self::step`] remembers.
    pub(crate) fn memory(&self) -> Memory {
        Memory {
            encoder: self.encoder.memory(),
            decoder: self.decoder.memory(),
        }
    }

    /// Computes the logits after the next token alone; `memory` holds those before it.
    ///
    /// # Shapes
    /// `token` [1, 1] → [1, vocab].
    pub(crate) fn step(
        &self,
        token: Tensor<2, Int>,
        memory: &mut Memory,
        flops: &FlopCount,
    ) -> Tensor<2> {
        let x = self.embedding.forward(token);
        let h = self.encoder.step(x, &mut memory.encoder, flops);
        let h = self
            .decoder
            .step(self.with_start(h), &mut memory.decoder, flops);
        self.unembedding.forward(h, flops)
    }
}
