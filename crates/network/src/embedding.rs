//! Token embedding and unembedding, both outside N.

use super::flop_count::FlopCount;
use super::init::Initializer;
use burn::module::{Module, Param};
use burn::tensor::{DType, Int, Tensor};
use experiment::recipe::Precision;

/// Standard deviation of initial embeddings; it does not change with width (decoupled muP).
///
/// Small against what the blocks add, so that the states whose neighbours are compared for
/// boundaries say what the context is and not which token it was: with 1 boundaries fell at
/// certain letters, with this at the ends of words (docs/checks.md).
const EMBEDDING_DEVIATION: f64 = 0.1;

/// A table from token ids to vectors.
#[derive(Module, Debug)]
pub struct Embedding {
    table: Param<Tensor<2>>,
    /// What the layers after it compute in: each goes on in the type of its input.
    #[module(skip)]
    compute: DType,
}

impl Embedding {
    pub(crate) fn new(vocab: usize, width: usize, init: &mut Initializer) -> Self {
        Self {
            table: init.table(vocab, width, EMBEDDING_DEVIATION),
            compute: DType::F32,
        }
    }

    /// Chooses what the layers after it compute in.
    pub(crate) fn set_precision(&mut self, precision: Precision) {
        self.compute = compute_type(precision);
    }

    /// Looks tokens up.
    ///
    /// # Shapes
    /// [batch, seq_len] → [batch, seq_len, width].
    pub(crate) fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [batch, seq_len] = tokens.dims();
        let table = self.table.val();
        let width = table.dims()[1];
        table
            .select(0, tokens.reshape([batch * seq_len]))
            .reshape([batch, seq_len, width])
            .cast(self.compute)
    }
}

/// The type of activations in a precision.
pub fn compute_type(precision: Precision) -> DType {
    match precision {
        Precision::F32 | Precision::Tf32 => DType::F32,
        Precision::Bf16 => DType::BF16,
    }
}

/// The matrix from hidden states to logits.
#[derive(Module, Debug)]
pub struct Unembedding {
    matrix: Param<Tensor<2>>,
}

impl Unembedding {
    pub(crate) fn new(vocab: usize, width: usize, init: &mut Initializer) -> Self {
        Self {
            matrix: init.matrix(width, vocab, 1.0),
        }
    }

    /// Computes logits before the output multiplier of Eq. 21.
    ///
    /// # Shapes
    /// [batch, seq_len, width] → [batch · seq_len, vocab].
    pub(crate) fn forward(&self, x: Tensor<3>, flops: &FlopCount) -> Tensor<2> {
        let [batch, seq_len, width] = x.dims();
        // The loss is in single precision, whatever the layers compute in.
        flops
            .linear(x.reshape([batch * seq_len, width]), &self.matrix)
            .cast(DType::F32)
    }
}
