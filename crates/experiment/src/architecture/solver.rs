//! From a declared size (N, P) to integer layers and widths.
//!
//! A law is fitted on how the loss moves with N and P, so shapes must move with them and with
//! nothing else: the widths follow from N (and from what the settings fix) alone, smoothly
//! (`proportions`); P is taken up by the depths, each the nearest to what its share of N pays for
//! in blocks of the usual feed-forward width, 8/3 of the width, and the feed-forward widths take up
//! the remainder. Only a P so small or so large that a single block of these widths is too large
//! gets other widths, the nearest that reach it. [`Straying`] says what is left of the jumps.

mod proportions;
mod search;

use super::{
    Architecture, BoundaryRule, Causality, Dense, Dlcm, Pooling, Stack, TokenOnly, Window,
};
use search::{Levels, Single};
use serde::{Deserialize, Serialize};

pub use proportions::{Level, LevelStraying, Straying, USUAL_FEED_FORWARD, levels};

/// Relative tolerance on N.
pub const PARAMS_TOLERANCE: f64 = 0.01;
/// Absolute tolerance on P.
pub const SHARE_TOLERANCE: f64 = 0.01;

/// What a user fixes of the shape; `None` leaves it to the solver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShapeSettings {
    /// Tokens in a sequence (L).
    pub seq_len: usize,
    /// Reach of token-level attention in a DLCM; the dense baseline always sees everything.
    pub token_window: Window,
    /// Where a DLCM's boundaries come from.
    #[serde(default)]
    pub boundaries: BoundaryRule,
    /// What a DLCM's concepts are made of.
    #[serde(default)]
    pub pooling: Pooling,
    /// Whether a DLCM's tokens may read what comes after them.
    #[serde(default)]
    pub causal: Causality,
    /// Width of a head, of which widths are then multiples; without it an even divisor of the
    /// width near 16 below 0.5M parameters, then 32, 64 from 20M and 128 from 1B.
    pub head_size: Option<usize>,
    /// Query heads per key/value head.
    pub query_group: usize,
    /// Ratio of concept width to token width, where P can be reached with it.
    pub concept_width_ratio: Option<f64>,
    /// Token width.
    pub d_token: Option<usize>,
    /// Concept width.
    pub d_concept: Option<usize>,
    /// Encoder blocks.
    pub encoder_layers: Option<usize>,
    /// Concept backbone blocks.
    pub backbone_layers: Option<usize>,
    /// Decoder blocks.
    pub decoder_layers: Option<usize>,
    /// Blocks of a dense baseline.
    pub dense_layers: Option<usize>,
    /// Width of a dense baseline.
    pub dense_width: Option<usize>,
}

/// What shape settings are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SettingsKey(
    (usize, Window, BoundaryRule, Pooling, Causality),
    usize,
    Option<u64>,
    [Option<usize>; 4],
    [Option<usize>; 4],
);

impl ShapeSettings {
    /// Returns what they are told apart by, to look them up.
    pub(crate) fn key(&self) -> SettingsKey {
        let Self {
            seq_len,
            token_window,
            boundaries,
            pooling,
            causal,
            head_size,
            query_group,
            concept_width_ratio,
            d_token,
            d_concept,
            encoder_layers,
            backbone_layers,
            decoder_layers,
            dense_layers,
            dense_width,
        } = *self;
        let ratio = concept_width_ratio.map(f64::to_bits);
        let rules = (seq_len, token_window, boundaries, pooling, causal);
        let layers = [
            encoder_layers,
            backbone_layers,
            decoder_layers,
            dense_layers,
        ];
        let widths = [head_size, d_token, d_concept, dense_width];
        SettingsKey(rules, query_group, ratio, layers, widths)
    }
}

impl Default for ShapeSettings {
    fn default() -> Self {
        Self {
            seq_len: 256,
            token_window: Window::Local(32),
            boundaries: BoundaryRule::default(),
            pooling: Pooling::default(),
            causal: Causality::default(),
            head_size: None,
            query_group: 2,
            concept_width_ratio: None,
            d_token: None,
            d_concept: None,
            encoder_layers: None,
            backbone_layers: None,
            decoder_layers: None,
            dense_layers: None,
            dense_width: None,
        }
    }
}

/// Why no shape was found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ShapeError {
    /// No shape comes near enough.
    #[error(
        "no shape reaches N = {params} with P = {share:.3}: the closest has N = {closest_params} \
         and P = {closest_share:.3}; change N or P, set a smaller `head_size`, or free a fixed \
         width or depth"
    )]
    OutOfReach {
        /// Declared N.
        params: u64,
        /// Declared P.
        share: f64,
        /// N of the closest shape.
        closest_params: u64,
        /// P of the closest shape.
        closest_share: f64,
    },
    /// A fixed width is no multiple of the head size.
    #[error("`{name}` = {width} is not a multiple of the head size {head_size}")]
    WidthNotHeads {
        /// The setting.
        name: &'static str,
        /// Its value.
        width: usize,
        /// The head size.
        head_size: usize,
    },
    /// Without N every width and depth must be given.
    #[error("without `params` the shape must be explicit: give {missing}")]
    Incomplete {
        /// What is missing.
        missing: String,
    },
}

impl ShapeSettings {
    fn stack(&self, layers: usize, width: usize, head_size: usize, ffn: usize) -> Stack {
        let heads = width / head_size;
        let wanted = (heads / self.query_group).max(1);
        let kv_heads = (1..=wanted)
            .rev()
            .find(|kv| heads.is_multiple_of(*kv))
            .unwrap_or(1);
        Stack {
            layers,
            width,
            heads,
            kv_heads,
            head_size,
            ffn,
        }
    }

    /// Makes a stack without blocks of a width in a model of `params` parameters.
    fn empty_stack(&self, width: usize, params: u64, is_fixed: bool) -> Stack {
        let head_size = self.head_size(width, self.usual_head_size(params), is_fixed);
        self.stack(0, width, head_size, 0)
    }

    /// Solves for a DLCM of `params` non-embedding parameters with concept share `share`.
    ///
    /// # Errors
    /// When no shape comes within 1% of N and 0.01 of P.
    pub fn solve_dlcm(
        &self,
        params: u64,
        share: f64,
        compression_ratio: f64,
        vocab: usize,
    ) -> Result<Architecture, ShapeError> {
        let shape = Levels::new(self, params)?.solve(share)?;
        Ok(Architecture::Dlcm(Dlcm {
            vocab,
            compression_ratio,
            ..shape
        }))
    }

    /// Solves for a dense baseline of `params` non-embedding parameters.
    ///
    /// # Errors
    /// When no shape comes within 1% of N.
    pub fn solve_dense(&self, params: u64, vocab: usize) -> Result<Architecture, ShapeError> {
        // One final norm stands outside the blocks.
        let (outside, least) = (1, 1);
        let stack = Single::new(self, params, outside, least)?.solve()?;
        Ok(Architecture::Dense(Dense {
            vocab,
            seq_len: self.seq_len,
            stack,
        }))
    }

    /// Solves for the encoder and the decoder of a model without concepts: together they are as
    /// wide and as deep as a dense baseline of `params` non-embedding parameters, three vectors of
    /// their width among these.
    ///
    /// # Errors
    /// When no shape comes within 1% of N.
    pub fn solve_tokens(&self, params: u64) -> Result<(Stack, Stack), ShapeError> {
        let (outside, least) = (3, 2);
        let stack = Single::new(self, params, outside, least)?.solve()?;
        let encoder = search::encoder_layers(stack.layers);
        let part = |layers| Stack {
            layers,
            ..stack.clone()
        };
        Ok((part(encoder), part(stack.layers - encoder)))
    }

    /// Solves for a token level alone of `params` non-embedding parameters.
    ///
    /// # Errors
    /// When no shape comes within 1% of N.
    pub fn solve_token_only(&self, params: u64, vocab: usize) -> Result<Architecture, ShapeError> {
        let (encoder, decoder) = self.solve_tokens(params)?;
        Ok(Architecture::TokenOnly(TokenOnly {
            vocab,
            seq_len: self.seq_len,
            token_window: self.token_window,
            encoder,
            decoder,
        }))
    }

    /// Builds the DLCM that the settings spell out, with feed-forward widths of 8/3.
    ///
    /// # Errors
    /// When a width or depth is missing, or a width is no multiple of the head size.
    pub fn explicit_dlcm(
        &self,
        compression_ratio: f64,
        vocab: usize,
    ) -> Result<Architecture, ShapeError> {
        let (Some(d_token), Some(d_concept), Some(encoder), Some(backbone), Some(decoder)) = (
            self.d_token,
            self.d_concept,
            self.encoder_layers,
            self.backbone_layers,
            self.decoder_layers,
        ) else {
            return Err(ShapeError::Incomplete {
                missing: "`d_token`, `d_concept`, `encoder_layers`, `backbone_layers` and \
                          `decoder_layers`"
                    .into(),
            });
        };
        let head_size = self.head_size.unwrap_or(32);
        whole_heads("d_token", d_token, head_size)?;
        whole_heads("d_concept", d_concept, head_size)?;
        let stack = |layers, width| self.stack(layers, width, head_size, usual_feed_forward(width));
        Ok(Architecture::Dlcm(Dlcm {
            vocab,
            seq_len: self.seq_len,
            token_window: self.token_window,
            compression_ratio,
            encoder: stack(encoder, d_token),
            backbone: stack(backbone, d_concept),
            decoder: stack(decoder, d_token),
            boundaries: self.boundaries,
            pooling: self.pooling,
            causal: self.causal,
        }))
    }

    /// Builds the dense baseline that the settings spell out, with a feed-forward width of 8/3.
    ///
    /// # Errors
    /// When the width or depth is missing, or the width is no multiple of the head size.
    pub fn explicit_dense(&self, vocab: usize) -> Result<Architecture, ShapeError> {
        let (Some(width), Some(layers)) = (self.dense_width, self.dense_layers) else {
            return Err(ShapeError::Incomplete {
                missing: "`dense_width` and `dense_layers`".into(),
            });
        };
        let head_size = self.head_size.unwrap_or(32);
        whole_heads("dense_width", width, head_size)?;
        let stack = self.stack(layers, width, head_size, usual_feed_forward(width));
        Ok(Architecture::Dense(Dense {
            vocab,
            seq_len: self.seq_len,
            stack,
        }))
    }
}

/// Finds the feed-forward width nearest to 8/3 of `width`, in multiples of 8.
fn usual_feed_forward(width: usize) -> usize {
    (width as f64 * 8.0 / 3.0 / 8.0).round() as usize * 8
}

/// Refuses a width that its heads do not fill.
fn whole_heads(name: &'static str, width: usize, head_size: usize) -> Result<(), ShapeError> {
    if width > 0 && width.is_multiple_of(head_size) {
        Ok(())
    } else {
        Err(ShapeError::WidthNotHeads {
            name,
            width,
            head_size,
        })
    }
}

#[cfg(test)]
mod tests;
