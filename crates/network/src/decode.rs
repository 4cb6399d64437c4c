//! Incremental decoding: one token in, the logits after it out, with memories at both levels.
//!
//! Token-level attention remembers its window and no more. The concept backbone runs once a
//! concept, at the token that starts the next one; until then its answer is read by nobody.

use super::decision::Placement;
use super::flop_count::FlopCount;
use super::ops::KeyValues;
use super::{DenseModel, DlcmModel, Network, TokenOnlyModel, dlcm, token_only};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// What was decided about one token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boundary {
    /// p, the probability that it starts a concept.
    pub probability: f32,
    /// Whether it does.
    pub decided: bool,
}

/// What one token led to.
#[derive(Clone, Debug)]
pub struct Step {
    /// Logits of the next token before the output multiplier, one a vocabulary entry.
    pub logits: Vec<f32>,
    /// The token's own boundary; `None` in a model without concepts.
    pub boundary: Option<Boundary>,
}

/// Decodes one sequence token by token, to the numbers of the network's whole forward pass in
/// evaluation mode.
///
/// Positions count on without end: what lies beyond the trained sequence length is computed the
/// same way, but the model has never seen such positions.
#[derive(Debug)]
pub struct Decoder<'a> {
    model: Model<'a>,
    placement: Placement,
    seq_len: usize,
    device: &'a Device,
    flops: FlopCount,
}

#[derive(Debug)]
// A process holds one: its size in place does not matter.
#[allow(clippy::large_enum_variant)]
enum Model<'a> {
    Dense(&'a DenseModel, Vec<KeyValues>),
    Dlcm(&'a DlcmModel, dlcm::Memory),
    TokenOnly(&'a TokenOnlyModel, token_only::Memory),
}

impl<'a> Decoder<'a> {
    /// Starts a sequence like those of `seq_len` tokens that the network was trained on; a model
    /// without concepts has no use for `placement`.
    ///
    /// The network must be without autodiff, on `device`.
    pub fn new(
        network: &'a Network,
        placement: Placement,
        seq_len: usize,
        device: &'a Device,
    ) -> Self {
        let model = match network {
            Network::Dense(model) => Model::Dense(model, model.memory()),
            Network::Dlcm(model) => Model::Dlcm(model, model.memory()),
            Network::TokenOnly(model) => Model::TokenOnly(model, model.memory()),
        };
        Self {
            model,
            placement,
            seq_len,
            device,
            flops: FlopCount::default(),
        }
    }

    /// Takes in the next token.
    pub fn step(&mut self, token: u32) -> Step {
        let token = TensorData::new(vec![token as i32], [1, 1]);
        let token = Tensor::<2, Int>::from_data(token, self.device);
        let (logits, boundary) = match &mut self.model {
            Model::Dense(model, memory) => (model.step(token, memory, &self.flops), None),
            Model::Dlcm(model, memory) => {
                let placement = (&self.placement, self.seq_len);
                let (logits, boundary) = model.step(token, placement, memory, &self.flops);
                (logits, Some(boundary))
            }
            Model::TokenOnly(model, memory) => (model.step(token, memory, &self.flops), None),
        };
        Step {
            logits: logits.into_data().iter::<f32>().collect(),
            boundary,
        }
    }

    /// Counts the FLOPs executed so far.
    ///
    /// # Units
    /// Multiply-adds, times two, of matrix products, attention and the boundary predictor's
    /// cosine; elementwise work is not counted, as in [`experiment::flops`].
    pub fn flops(&self) -> u64 {
        self.flops.total()
    }
}
