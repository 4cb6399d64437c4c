//! A look at the activations on the way through a network.

use burn::tensor::Tensor;

/// A place in a network where its activations can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// The residual stream after the encoder's blocks, before its norm.
    Encoder,
    /// The residual stream after the backbone's blocks, before its norm.
    Backbone,
    /// What the tokens read from the concepts.
    CrossAttention,
    /// The residual stream after the decoder's blocks, or a dense model's, before its norm.
    Decoder,
    /// The logits with their multiplier.
    Logits,
}

impl Site {
    /// Every site, in the order of the computation.
    pub const ALL: [Self; 5] = [
        Self::Encoder,
        Self::Backbone,
        Self::CrossAttention,
        Self::Decoder,
        Self::Logits,
    ];

    /// Its name in a figure.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Backbone => "backbone",
            Self::CrossAttention => "cross-attention",
            Self::Decoder => "decoder",
            Self::Logits => "logits",
        }
    }
}

/// What is shown the activations, [batch, positions, width].
pub(crate) type Observer<'a> = dyn FnMut(Site, &Tensor<3>) + 'a;
