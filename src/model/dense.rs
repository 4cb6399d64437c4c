//! The dense baseline: a LLaMA-style decoder (P = 0, R = 1).

use super::block::Blocks;
use super::embedding::{Embedding, Unembedding};
use super::init::Initializer;
use crate::architecture::{Dense, Window};
use burn::module::Module;
use burn::tensor::{Int, Tensor};

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

    /// Computes logits before the output multiplier.
    ///
    /// # Shapes
    /// `tokens` [batch, seq_len] → [batch · seq_len, vocab].
    pub(crate) fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let x = self.embedding.forward(tokens);
        self.unembedding.forward(self.decoder.forward(x))
    }
}
