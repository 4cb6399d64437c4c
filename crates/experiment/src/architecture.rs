//! A model's shape and its exact parameter counts.
//!
//! Owns the integers that define a network and what they add up to; the way from a declared (N, P)
//! to such integers is [`solver`]. Refuses tensors.

pub mod solver;

use serde::{Deserialize, Serialize};

// Bounds that no model passes; beyond them a unit is wrong, and counts would overflow.
/// The widest residual stream.
pub const MOST_WIDTH: u64 = 1 << 20;
/// The most blocks of a stack.
pub const MOST_LAYERS: u64 = 1 << 12;
/// The longest sequence, in tokens.
pub const MOST_SEQUENCE: u64 = 1 << 24;
/// The largest vocabulary.
pub const MOST_VOCAB: u64 = 1 << 24;

/// A stack of identical pre-norm Transformer blocks: grouped-query attention, then SwiGLU.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stack {
    /// Number of blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Query heads; `heads * head_size == width`.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_size: usize,
    /// Hidden width of the SwiGLU feed-forward network.
    pub ffn: usize,
}

impl Stack {
    /// Counts the parameters of one block: four attention matrices, three feed-forward matrices
    /// and two norm vectors.
    pub fn block_params(&self) -> u64 {
        let kv_width = self.kv_heads * self.head_size;
        let attention = 2 * self.width * (self.heads * self.head_size) + 2 * self.width * kv_width;
        (attention + 3 * self.width * self.ffn + 2 * self.width) as u64
    }

    /// Counts the parameters of all blocks.
    pub fn params(&self) -> u64 {
        self.layers as u64 * self.block_params()
    }
}

/// How far back token-level attention sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Token t sees (t − w, t].
    Local(usize),
    /// Token t sees every token up to itself.
    Full,
}

/// The shape of a dense LLaMA-style decoder, the baseline.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dense {
    /// Vocabulary size.
    pub vocab: usize,
    /// Tokens in a sequence (L).
    pub seq_len: usize,
    /// The blocks.
    pub stack: Stack,
}

/// Where a DLCM's boundaries come from, in training as in evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoundaryRule {
    /// A predictor learns them.
    #[default]
    Learned,
    /// Every R-th token starts a concept: a control.
    Fixed,
    /// Each token starts a concept with probability 1/R, whatever it is: a control.
    Random,
}

impl BoundaryRule {
    /// Says whether there is a predictor, and an auxiliary loss that teaches it.
    pub fn is_learned(&self) -> bool {
        *self == Self::Learned
    }
}

/// What a concept is made of, and which concepts a token may read for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean of its tokens (DLCM, Eq. 7); a token reads the concepts before its own.
    #[default]
    Mean,
    /// The state of its first token alone (ConceptMoE, H-Net). Nothing later is in it, so a token
    /// reads the concepts up to and including its own.
    Boundary,
}

impl Pooling {
    fn is_mean(&self) -> bool {
        *self == Self::Mean
    }
}

/// Whether a token may read what comes after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Causality {
    /// It may not: of concepts that are means, it reads those that ended before its own began.
    #[default]
    Strict,
    /// It reads its own concept, the mean of tokens of which some come later (DLCM, Eq. 12–17): a leak. Such a loss is
    /// no language model's; it serves to tell how large the leak is, and no law takes it.
    Paper,
}

impl Causality {
    /// Says whether no token reads what comes after it.
    pub fn is_strict(&self) -> bool {
        *self == Self::Strict
    }
}

/// The shape of a dynamic large concept model.
///
/// # Source
/// Dynamic Large Concept Models, arXiv 2512.24617, section 2; token-level attention is local here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dlcm {
    /// Vocabulary size.
    pub vocab: usize,
    /// Tokens in a sequence (L).
    pub seq_len: usize,
    /// Reach of token-level attention, in the encoder and the decoder.
    pub token_window: Window,
    /// Declared tokens per concept (R).
    pub compression_ratio: f64,
    /// Token-level blocks before segmentation.
    pub encoder: Stack,
    /// Concept-level blocks.
    pub backbone: Stack,
    /// Token-level blocks after cross-attention; same width as the encoder.
    pub decoder: Stack,
    /// Where boundaries come from. Left out of what is written where it is the default, as is
    /// `pooling` and `causal`, so that runs keep their identity.
    #[serde(default, skip_serializing_if = "BoundaryRule::is_learned")]
    pub boundaries: BoundaryRule,
    /// What a concept is made of.
    #[serde(default, skip_serializing_if = "Pooling::is_mean")]
    pub pooling: Pooling,
    /// Whether a token may read what comes after it.
    #[serde(default, skip_serializing_if = "Causality::is_strict")]
    pub causal: Causality,
}

impl Dlcm {
    /// Says whether a token without a concept before it reads a learned vector in its place: where it never reads its
    /// own.
    pub fn has_start(&self) -> bool {
        self.pooling.is_mean() && self.causal.is_strict()
    }
}

/// The shape of a DLCM's token level alone: a control for what local attention gives by itself.
///
/// Without concepts, cross-attention reads the start vector only: one slot, whose weight is 1. What
/// it adds is the same vector at every token, which is all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenOnly {
    /// Vocabulary size.
    pub vocab: usize,
    /// Tokens in a sequence (L).
    pub seq_len: usize,
    /// Reach of attention.
    pub token_window: Window,
    /// Blocks before the start vector is added.
    pub encoder: Stack,
    /// Blocks after; same width as the encoder.
    pub decoder: Stack,
}

/// The kinds of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// A hierarchical token/concept model.
    Dlcm,
    /// A dense baseline: P = 0, R = 1.
    Dense,
    /// A token level alone, the control: P = 0, R = 1.
    TokenOnly,
}

impl ModelKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Dlcm, Self::Dense, Self::TokenOnly];

    /// The name used in the database, in JSON and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dlcm => "dlcm",
            Self::Dense => "dense",
            Self::TokenOnly => "token_only",
        }
    }

    /// Finds the kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What it is called in sentences and figures.
    pub fn label(self) -> &'static str {
        match self {
            Self::Dlcm => "DLCM",
            Self::Dense => "dense",
            Self::TokenOnly => "token level alone",
        }
    }
}

/// The shape of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Architecture {
    /// A dense baseline: P = 0, R = 1.
    Dense(Dense),
    /// A hierarchical token/concept model.
    Dlcm(Dlcm),
    /// The token level of one alone.
    TokenOnly(TokenOnly),
}

/// Parameters per component.
///
/// # Units
/// Scalars. `embedding` and `unembedding` are outside N.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamCounts {
    /// Token embedding, outside N.
    pub embedding: u64,
    /// Encoder blocks and its final norm; for a dense model all blocks and the final norm.
    pub encoder: u64,
    /// W_q and W_k of the boundary predictor.
    pub boundary: u64,
    /// W_up from token to concept width.
    pub up_projection: u64,
    /// Concept backbone blocks: the numerator of P.
    pub backbone: u64,
    /// The backbone's final norm, the smoothing gate and the start vector.
    pub smoothing: u64,
    /// Decoder-side cross-attention with its head norms.
    pub cross_attention: u64,
    /// Decoder blocks and the final norm.
    pub decoder: u64,
    /// Unembedding, outside N.
    pub unembedding: u64,
}

impl ParamCounts {
    /// Counts N, the non-embedding parameters.
    pub fn non_embedding(&self) -> u64 {
        self.encoder
            + self.boundary
            + self.up_projection
            + self.backbone
            + self.smoothing
            + self.cross_attention
            + self.decoder
    }

    /// Counts every parameter.
    pub fn total(&self) -> u64 {
        self.non_embedding() + self.embedding + self.unembedding
    }

    /// Computes P, the concept backbone blocks' share of N.
    pub fn concept_share(&self) -> f64 {
        self.backbone as f64 / self.non_embedding() as f64
    }
}

impl Architecture {
    /// Tokens in a sequence.
    pub fn seq_len(&self) -> usize {
        match self {
            Architecture::Dense(dense) => dense.seq_len,
            Architecture::Dlcm(dlcm) => dlcm.seq_len,
            Architecture::TokenOnly(control) => control.seq_len,
        }
    }

    /// Vocabulary size.
    pub fn vocab(&self) -> usize {
        match self {
            Architecture::Dense(dense) => dense.vocab,
            Architecture::Dlcm(dlcm) => dlcm.vocab,
            Architecture::TokenOnly(control) => control.vocab,
        }
    }

    /// Declared tokens per concept; 1 for a model without concepts.
    pub fn compression_ratio(&self) -> f64 {
        match self {
            Architecture::Dense(_) | Architecture::TokenOnly(_) => 1.0,
            Architecture::Dlcm(dlcm) => dlcm.compression_ratio,
        }
    }

    /// Says which kind of model this is.
    pub fn kind(&self) -> ModelKind {
        match self {
            Architecture::Dense(_) => ModelKind::Dense,
            Architecture::Dlcm(_) => ModelKind::Dlcm,
            Architecture::TokenOnly(_) => ModelKind::TokenOnly,
        }
    }

    /// Says whether its tokens read what comes after them.
    pub fn reads_ahead(&self) -> bool {
        matches!(self, Self::Dlcm(shape) if !shape.causal.is_strict())
    }

    /// Says whether there is a concept level.
    pub fn has_concepts(&self) -> bool {
        self.kind() == ModelKind::Dlcm
    }

    /// Counts the parameters of every component.
    pub fn params(&self) -> ParamCounts {
        match self {
            Architecture::Dense(dense) => ParamCounts {
                embedding: (dense.vocab * dense.stack.width) as u64,
                encoder: dense.stack.params() + dense.stack.width as u64,
                unembedding: (dense.vocab * dense.stack.width) as u64,
                ..ParamCounts::default()
            },
            Architecture::Dlcm(dlcm) => dlcm.params(),
            Architecture::TokenOnly(control) => control.params(),
        }
    }
}

impl TokenOnly {
    fn params(&self) -> ParamCounts {
        let width = self.encoder.width;
        let table = (self.vocab * width) as u64;
        ParamCounts {
            embedding: table,
            encoder: self.encoder.params() + width as u64,
            // The vector that is left of cross-attention to the start vector.
            cross_attention: width as u64,
            decoder: self.decoder.params() + width as u64,
            unembedding: table,
            ..ParamCounts::default()
        }
    }
}

impl Dlcm {
    /// Returns the shape of its token level alone.
    pub fn token_level(&self) -> TokenOnly {
        TokenOnly {
            vocab: self.vocab,
            seq_len: self.seq_len,
            token_window: self.token_window,
            encoder: self.encoder.clone(),
            decoder: self.decoder.clone(),
        }
    }

    fn params(&self) -> ParamCounts {
        let token = self.encoder.width;
        let concept = self.backbone.width;
        let kv_width = self.decoder.kv_heads * self.decoder.head_size;
        ParamCounts {
            embedding: (self.vocab * token) as u64,
            encoder: self.encoder.params() + token as u64,
            boundary: if self.boundaries.is_learned() {
                (2 * token * token) as u64
            } else {
                0
            },
            up_projection: (token * concept) as u64,
            backbone: self.backbone.params(),
            // The final norm, the gate and the start vector, which is not read where a token reads
            // its own concept.
            smoothing: if self.has_start() { 3 } else { 2 } * concept as u64,
            cross_attention: (2 * token * token
                + 2 * concept * kv_width
                + 2 * self.decoder.head_size) as u64,
            decoder: self.decoder.params() + token as u64,
            unembedding: (self.vocab * token) as u64,
        }
    }
}
