//! From a declared size (N, P) to integer layers and head-sized widths.
//!
//! The search runs over widths and depths; for each the feed-forward widths follow from the
//! parameters that are left. Among the shapes that reach N within 1% and P within 0.01, the one
//! nearest to the usual proportions wins: a feed-forward width of 8/3, the declared ratio of
//! concept to token width, and depths that grow with width as in the paper's Table 3.

use super::{Architecture, Dense, Dlcm, Stack, Window};
use serde::{Deserialize, Serialize};

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
    /// Width of a head; 16 below 0.5M parameters, then 32, 64 from 20M and 128 from 1B.
    pub head_size: Option<usize>,
    /// Query heads per key/value head.
    pub query_group: usize,
    /// Preferred ratio of concept width to token width.
    pub concept_width_ratio: f64,
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

impl Default for ShapeSettings {
    fn default() -> Self {
        Self {
            seq_len: 256,
            token_window: Window::Local(32),
            head_size: None,
            query_group: 2,
            concept_width_ratio: 2.0,
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
    /// Nothing could be built at all.
    #[error("no shape at all has N = {params} with P = {share:.3}: {why}")]
    Nothing {
        /// Declared N.
        params: u64,
        /// Declared P.
        share: f64,
        /// The reason.
        why: String,
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

/// The best shape so far, and the nearest miss.
struct Best<T> {
    found: Option<(f64, T)>,
    miss: Option<(f64, u64, f64)>,
}

impl<T> Best<T> {
    fn new() -> Self {
        Self {
            found: None,
            miss: None,
        }
    }

    fn offer(&mut self, penalty: f64, shape: T) {
        if self.found.as_ref().is_none_or(|(best, _)| penalty < *best) {
            self.found = Some((penalty, shape));
        }
    }

    fn offer_miss(&mut self, distance: f64, params: u64, share: f64) {
        if self.miss.is_none_or(|(best, ..)| distance < best) {
            self.miss = Some((distance, params, share));
        }
    }

    fn finish(self, params: u64, share: f64) -> Result<T, ShapeError> {
        match (self.found, self.miss) {
            (Some((_, shape)), _) => Ok(shape),
            (None, Some((_, closest_params, closest_share))) => Err(ShapeError::OutOfReach {
                params,
                share,
                closest_params,
                closest_share,
            }),
            (None, None) => Err(ShapeError::Nothing {
                params,
                share,
                why: "even the narrowest blocks are too large; set a smaller `head_size`".into(),
            }),
        }
    }
}

impl ShapeSettings {
    fn head_size_for(&self, params: u64) -> usize {
        self.head_size.unwrap_or(match params {
            0..500_000 => 16,
            500_000..20_000_000 => 32,
            20_000_000..1_000_000_000 => 64,
            _ => 128,
        })
    }

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

    /// Finds the widths to try: the fixed one, or every multiple of the head size up to `most`.
    fn widths(
        &self,
        name: &'static str,
        fixed: Option<usize>,
        head_size: usize,
        most: usize,
    ) -> Result<Vec<usize>, ShapeError> {
        match fixed {
            Some(width) if width == 0 || !width.is_multiple_of(head_size) => {
                Err(ShapeError::WidthNotHeads {
                    name,
                    width,
                    head_size,
                })
            }
            Some(width) => Ok(vec![width]),
            None => Ok((1..=most / head_size)
                .map(|heads| heads * head_size)
                .collect()),
        }
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
        let head_size = self.head_size_for(params);
        let n = params as f64;
        let most_token = ((n * (1.0 - share) / 6.0).sqrt() as usize).max(head_size);
        let most_concept = ((n * share / 3.0).sqrt() as usize).max(head_size);
        let token_widths = self.widths("d_token", self.d_token, head_size, most_token)?;
        let concept_widths = self.widths("d_concept", self.d_concept, head_size, most_concept)?;
        let mut best = Best::new();
        for &d_concept in &concept_widths {
            let depths = depths(
                self.backbone_layers,
                4.0 * (d_concept as f64 / 128.0).powf(0.44),
            );
            for (layers, depth_penalty) in depths {
                let template = self.stack(layers, d_concept, head_size, 0);
                let Some((ffn, ffn_penalty)) =
                    feed_forward(&template, n * share, 0.4 * SHARE_TOLERANCE * n)
                else {
                    continue;
                };
                let backbone = Stack { ffn, ..template };
                for &d_token in token_widths.iter().filter(|&&width| width <= d_concept) {
                    let ratio = d_concept as f64 / d_token as f64;
                    let ratio_penalty = (ratio / self.concept_width_ratio).ln().abs();
                    let penalty = depth_penalty + ffn_penalty + ratio_penalty;
                    if best
                        .found
                        .as_ref()
                        .is_some_and(|(found, _)| *found <= penalty)
                    {
                        continue;
                    }
                    let fixed = Dlcm {
                        vocab,
                        seq_len: self.seq_len,
                        token_window: self.token_window,
                        compression_ratio,
                        encoder: self.stack(0, d_token, head_size, 0),
                        backbone: backbone.clone(),
                        decoder: self.stack(0, d_token, head_size, 0),
                    };
                    self.offer_token_side(&mut best, fixed, (params, share), penalty);
                }
            }
        }
        best.finish(params, share).map(Architecture::Dlcm)
    }

    /// Tries the depths of encoder and decoder around a chosen backbone and token width.
    fn offer_token_side(
        &self,
        best: &mut Best<Dlcm>,
        fixed: Dlcm,
        (params, share): (u64, f64),
        penalty: f64,
    ) {
        let n = params as f64;
        let left = n - fixed.params().non_embedding() as f64;
        let preferred = 4.0 * (fixed.encoder.width as f64 / 64.0).powf(0.44);
        let total = match (self.encoder_layers, self.decoder_layers) {
            (Some(encoder), Some(decoder)) => Some(encoder + decoder),
            _ => None,
        };
        for (layers, depth_penalty) in depths(total, preferred) {
            let encoder_layers = match (self.encoder_layers, self.decoder_layers) {
                (Some(encoder), _) => encoder,
                (None, Some(decoder)) => layers.saturating_sub(decoder),
                // The paper's Table 3 has 10 blocks before segmentation and 6 after.
                (None, None) => (layers as f64 * 0.625).round() as usize,
            };
            if encoder_layers == 0 || encoder_layers >= layers {
                continue;
            }
            let template = Stack {
                layers,
                ..fixed.encoder.clone()
            };
            let Some((ffn, ffn_penalty)) =
                feed_forward(&template, left, 0.5 * PARAMS_TOLERANCE * n)
            else {
                let smallest = Stack { ffn: 8, ..template };
                let reached = fixed.params().non_embedding() + smallest.params();
                let reached_share = fixed.backbone.params() as f64 / reached as f64;
                let distance = (reached as f64 / n).ln().abs() + (reached_share - share).abs();
                best.offer_miss(distance, reached, reached_share);
                continue;
            };
            let shape = Dlcm {
                encoder: Stack {
                    layers: encoder_layers,
                    ffn,
                    ..fixed.encoder.clone()
                },
                decoder: Stack {
                    layers: layers - encoder_layers,
                    ffn,
                    ..fixed.decoder.clone()
                },
                ..fixed.clone()
            };
            let reached = shape.params();
            let params_error = (reached.non_embedding() as f64 / n - 1.0).abs();
            let share_error = (reached.concept_share() - share).abs();
            if params_error <= PARAMS_TOLERANCE && share_error <= SHARE_TOLERANCE {
                best.offer(penalty + depth_penalty + ffn_penalty, shape);
            } else {
                let distance = params_error + share_error;
                best.offer_miss(distance, reached.non_embedding(), reached.concept_share());
            }
        }
    }

    /// Solves for a dense baseline of `params` non-embedding parameters.
    ///
    /// # Errors
    /// When no shape comes within 1% of N.
    pub fn solve_dense(&self, params: u64, vocab: usize) -> Result<Architecture, ShapeError> {
        let head_size = self.head_size_for(params);
        let n = params as f64;
        let most = ((n / 3.0).sqrt() as usize).max(head_size);
        let mut best = Best::new();
        for width in self.widths("dense_width", self.dense_width, head_size, most)? {
            let preferred = 8.0 * (width as f64 / 64.0).powf(0.4);
            for (layers, depth_penalty) in depths(self.dense_layers, preferred) {
                let template = self.stack(layers, width, head_size, 0);
                let left = n - width as f64;
                let Some((ffn, ffn_penalty)) =
                    feed_forward(&template, left, 0.9 * PARAMS_TOLERANCE * n)
                else {
                    let smallest = Stack { ffn: 8, ..template };
                    let reached = smallest.params() + width as u64;
                    best.offer_miss((reached as f64 / n).ln().abs(), reached, 0.0);
                    continue;
                };
                let stack = Stack { ffn, ..template };
                best.offer(
                    depth_penalty + ffn_penalty,
                    Dense {
                        vocab,
                        seq_len: self.seq_len,
                        stack,
                    },
                );
            }
        }
        best.finish(params, 0.0).map(Architecture::Dense)
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
        self.widths("d_token", Some(d_token), head_size, d_token)?;
        self.widths("d_concept", Some(d_concept), head_size, d_concept)?;
        let stack = |layers, width| self.stack(layers, width, head_size, usual_feed_forward(width));
        Ok(Architecture::Dlcm(Dlcm {
            vocab,
            seq_len: self.seq_len,
            token_window: self.token_window,
            compression_ratio,
            encoder: stack(encoder, d_token),
            backbone: stack(backbone, d_concept),
            decoder: stack(decoder, d_token),
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
        self.widths("dense_width", Some(width), head_size, width)?;
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

/// Lists depths to try with a penalty for straying from `preferred`.
fn depths(fixed: Option<usize>, preferred: f64) -> Vec<(usize, f64)> {
    match fixed {
        Some(layers) => vec![(layers, 0.0)],
        None => (1..=(3.0 * preferred).ceil() as usize)
            .map(|layers| (layers, 0.5 * (layers as f64 / preferred).ln().abs()))
            .collect(),
    }
}

/// Finds the feed-forward width with which `stack` has `target` parameters within `tolerance`,
/// and a penalty for straying from 8/3 and from multiples of 8.
fn feed_forward(stack: &Stack, target: f64, tolerance: f64) -> Option<(usize, f64)> {
    if stack.layers == 0 {
        return None;
    }
    let without = stack.params() as f64;
    let per_unit = (3 * stack.width * stack.layers) as f64;
    let exact = (target - without) / per_unit;
    if !(exact >= stack.width as f64 / 4.0 && exact <= 8.0 * stack.width as f64) {
        return None;
    }
    let (ffn, granularity_penalty) = [(8, 0.0), (4, 0.1), (2, 0.2), (1, 0.3)]
        .into_iter()
        .map(|(multiple, penalty)| {
            (
                ((exact / multiple as f64).round() as usize * multiple).max(multiple),
                penalty,
            )
        })
        .find(|&(ffn, _)| (ffn as f64 - exact).abs() * per_unit <= tolerance)?;
    let ratio = ffn as f64 / stack.width as f64;
    Some((ffn, (ratio / (8.0 / 3.0)).ln().abs() + granularity_penalty))
}

#[cfg(test)]
mod tests;
