//! The proportions that shapes keep as N grows, and how far a shape strays from them.

use super::{ShapeError, ShapeSettings, whole_heads};
use crate::architecture::{Architecture, Stack};
use serde::Serialize;

/// Usual ratio of a SwiGLU network's hidden width to the width of its block.
pub const USUAL_FEED_FORWARD: f64 = 8.0 / 3.0;

/// P at which widths are proportioned: their depths are then balanced between small and large P.
const REFERENCE_SHARE: f64 = 0.5;

/// Share of the token-level blocks that stand before segmentation: 10 of 16 in the paper's Table 3.
pub(super) const ENCODER_SHARE: f64 = 0.625;

/// N of the paper's largest model: 10 + 6 blocks of width 1536 around 16 of width 3072.
const TABLE_3_PARAMS: f64 = 2.095e9;

/// Backbone blocks of width 3072 that hold half of that N.
const TABLE_3_DEPTH: f64 = 10.1;

/// How the depth grows with N: with it a backbone of half of 50K parameters is 2.2 blocks deep, so
/// that a single block of that width can be a share of 0.15.
const DEPTH_GROWTH: f64 = 0.143;

/// Ratios of concept to token width, and the N up to and from which they hold; between them the ratio
/// grows with ln N. Small models need their token width: below some 24 concepts stay idle.
const WIDTH_RATIOS: [(f64, f64); 2] = [(5e4, 1.25), (1e8, 2.0)];

/// Blocks of a dense model of width 64, and how they grow with the width: 32 at width 2000.
const DENSE_DEPTH: (f64, f64) = (8.0, 0.4);

/// Widths before they are made whole heads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SmoothWidths {
    pub(super) token: f64,
    pub(super) concept: f64,
    /// Whether the concept width is the token width times the declared ratio.
    pub(super) tied: bool,
}

impl ShapeSettings {
    /// Parameters of a usual block over the square of its width.
    fn usual_block(&self) -> f64 {
        2.0 + 2.0 / self.query_group as f64 + 3.0 * USUAL_FEED_FORWARD
    }

    /// The token-level blocks that the settings fix, or would with the usual split.
    fn fixed_token_layers(&self) -> Option<f64> {
        match (self.encoder_layers, self.decoder_layers) {
            (Some(encoder), Some(decoder)) => Some((encoder + decoder) as f64),
            (Some(encoder), None) => Some(encoder as f64 / ENCODER_SHARE),
            (None, Some(decoder)) => Some(decoder as f64 / (1.0 - ENCODER_SHARE)),
            (None, None) => None,
        }
    }

    /// Computes the ratio of concept to token width of a model of `params` parameters.
    pub(super) fn width_ratio(&self, params: f64) -> f64 {
        let [(few, low), (many, high)] = WIDTH_RATIOS;
        let share = (params / few).ln() / (many / few).ln();
        (self.concept_width_ratio).unwrap_or(low + (high - low) * share.clamp(0.0, 1.0))
    }

    /// Computes the widths of a DLCM of `params` parameters: a function of N and of what the
    /// settings fix, so that no cell of a grid changes with the cells beside it.
    pub(super) fn smooth_widths(&self, params: f64) -> SmoothWidths {
        let ratio = self.width_ratio(params);
        let usual = self.usual_block();
        let backbone = REFERENCE_SHARE * params;
        let deep = |layers: f64| (backbone / (usual * layers)).sqrt();
        // Boundary predictor, W_up and cross-attention of a token width of 1.
        let beside = 4.0 + ratio * (1.0 + 2.0 / self.query_group as f64);
        let fixed_token = self.d_token.map(|width| width as f64).or_else(|| {
            let layers = self.fixed_token_layers()?;
            let tokens = (1.0 - REFERENCE_SHARE) * params;
            Some((tokens / (usual * layers + beside)).sqrt())
        });
        let fixed_concept = match (self.d_concept, self.backbone_layers) {
            (Some(width), _) => Some(width as f64),
            (None, Some(layers)) => Some(deep(layers.max(1) as f64)),
            (None, None) => None,
        };
        let depth = TABLE_3_DEPTH * (params / TABLE_3_PARAMS).powf(DEPTH_GROWTH);
        let concept = match (fixed_concept, fixed_token) {
            (Some(concept), _) => concept,
            (None, Some(token)) => ratio * token,
            // What a declared ratio differs by is shared between the two widths.
            (None, None) => {
                let own = Self {
                    concept_width_ratio: None,
                    ..self.clone()
                };
                deep(depth) * (ratio / own.width_ratio(params)).sqrt()
            }
        };
        let token = fixed_token.unwrap_or(concept / ratio).min(concept);
        SmoothWidths {
            token,
            concept,
            tied: fixed_concept.is_none(),
        }
    }

    /// Computes the width of a dense model of `params` parameters.
    pub(super) fn smooth_dense_width(&self, params: f64) -> f64 {
        let usual = self.usual_block();
        match (self.dense_width, self.dense_layers) {
            (Some(width), _) => width as f64,
            (None, Some(layers)) => (params / (usual * layers.max(1) as f64)).sqrt(),
            (None, None) => {
                let (depth, growth) = DENSE_DEPTH;
                let at_64 = usual * depth / 64f64.powf(growth);
                (params / at_64).powf(1.0 / (2.0 + growth))
            }
        }
    }

    /// Finds the head size that a width should be near.
    pub(super) fn usual_head_size(&self, params: u64) -> usize {
        self.head_size.unwrap_or(match params {
            0..500_000 => 16,
            500_000..20_000_000 => 32,
            20_000_000..1_000_000_000 => 64,
            _ => 128,
        })
    }

    /// Lists the widths to choose from, ascending: the fixed one, or up to sixteen an octave, each
    /// whole heads.
    pub(super) fn widths(
        &self,
        name: &'static str,
        fixed: Option<usize>,
        params: u64,
        most: usize,
    ) -> Result<Vec<usize>, ShapeError> {
        if let Some(width) = fixed {
            whole_heads(name, width, self.usual_head_size(params))?;
            return Ok(vec![width]);
        }
        // Two heads of an even size are the least that grouped queries make sense with.
        let (unit, first) = self.head_size.map_or((4, 8), |size| (size, size));
        let next = |&width: &usize| {
            let octaves = (width / (16 * unit)).checked_ilog2().unwrap_or(0);
            let next = width + (unit << octaves);
            (next <= most).then_some(next)
        };
        Ok(std::iter::successors(Some(first), next).collect())
    }

    /// Chooses the head size of a width: the usual one of a fixed width, else the even divisor
    /// nearest to it, of those that whole groups of queries and multiples of 8 make better.
    pub(super) fn head_size(&self, width: usize, usual: usize, is_fixed: bool) -> usize {
        if is_fixed || self.head_size.is_some() {
            return usual;
        }
        let penalty = |&size: &usize| {
            let groups = (width / size).is_multiple_of(self.query_group);
            (size as f64 / usual as f64).ln().abs()
                + if groups { 0.0 } else { 1.0 }
                + if size.is_multiple_of(8) { 0.0 } else { 0.2 }
        };
        (1..=(width / 2).min(usual))
            .map(|half| 2 * half)
            .filter(|size| width.is_multiple_of(*size))
            .min_by(|a, b| penalty(a).total_cmp(&penalty(b)))
            .unwrap_or(width)
    }

    /// Says how far a shape strays from the smooth proportions of its N; a model without concepts,
    /// from those of a dense one.
    pub fn straying(&self, shape: &Architecture) -> Straying {
        let params = shape.params().non_embedding() as f64;
        let (token, concept) = levels(shape);
        let stray = |level: Level, width: f64| LevelStraying {
            width: (level.width as f64 / width).ln(),
            feed_forward: (level.feed_forward() / USUAL_FEED_FORWARD).ln(),
        };
        match concept {
            None => Straying {
                token: stray(token, self.smooth_dense_width(params)),
                concept: None,
            },
            Some(concept) => {
                let smooth = self.smooth_widths(params);
                Straying {
                    token: stray(token, smooth.token),
                    concept: Some(stray(concept, smooth.concept)),
                }
            }
        }
    }
}

/// The blocks of one level of a model: of all its tokens, or of its concepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Number of blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Hidden width of the feed-forward network.
    pub ffn: usize,
}

impl Level {
    fn of(stack: &Stack, layers: usize) -> Self {
        Self {
            layers,
            width: stack.width,
            ffn: stack.ffn,
        }
    }

    /// Computes the aspect ratio: the width over the number of blocks.
    pub fn aspect(&self) -> f64 {
        self.width as f64 / self.layers as f64
    }

    /// Computes the feed-forward width over the width; 8/3 is usual.
    pub fn feed_forward(&self) -> f64 {
        self.ffn as f64 / self.width as f64
    }
}

/// Reads a shape as its token level (encoder and decoder, or all of a dense model) and its concept
/// level, which models without concepts lack.
pub fn levels(shape: &Architecture) -> (Level, Option<Level>) {
    match shape {
        Architecture::Dense(dense) => (Level::of(&dense.stack, dense.stack.layers), None),
        Architecture::Dlcm(dlcm) => (
            Level::of(&dlcm.encoder, dlcm.encoder.layers + dlcm.decoder.layers),
            Some(Level::of(&dlcm.backbone, dlcm.backbone.layers)),
        ),
        Architecture::TokenOnly(control) => {
            let layers = control.encoder.layers + control.decoder.layers;
            (Level::of(&control.encoder, layers), None)
        }
    }
}

/// How far the levels of a shape stray from the smooth proportions of its N.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Straying {
    /// Of the token level.
    pub token: LevelStraying,
    /// Of the concept level; none in a dense model.
    pub concept: Option<LevelStraying>,
}

/// How far a level strays, as logarithms of what is over what would be.
///
/// The depth is not listed: at a given width and number of parameters it is off by as much as the
/// feed-forward width makes up for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LevelStraying {
    /// Of the width from the smooth one of this N.
    pub width: f64,
    /// Of the feed-forward ratio from 8/3.
    pub feed_forward: f64,
}
