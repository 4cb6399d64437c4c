//! Depths and feed-forward widths at given widths, and the widths that reach an N and a P.

use super::proportions::{ENCODER_SHARE, USUAL_FEED_FORWARD};
use super::{PARAMS_TOLERANCE, SHARE_TOLERANCE, ShapeError, ShapeSettings};
use crate::architecture::{Dlcm, MOST_LAYERS, Stack};
use std::borrow::Cow;

/// Smallest and largest feed-forward width over width that are built at all.
const FEED_FORWARD: (f64, f64) = (0.25, 8.0);

/// Smallest feed-forward ratio with which the widths of an N serve a P by choice.
const FEED_FORWARD_BY_CHOICE: f64 = 0.5;

/// The P that the widths of an N must serve, the widest range that some widths do.
const SERVED: [[f64; 2]; 4] = [[0.15, 0.8], [0.2, 0.75], [0.3, 0.7], [0.5, 0.5]];

/// Splits token-level blocks: those before segmentation, at least one on either side.
pub(super) fn encoder_layers(layers: usize) -> usize {
    ((layers as f64 * ENCODER_SHARE).round() as usize).clamp(1, layers.saturating_sub(1).max(1))
}

/// A depth, before its feed-forward width makes up for it being whole.
#[derive(Clone, Copy, Debug)]
struct Depth {
    layers: usize,
    /// Logarithm, without its sign, of the feed-forward ratio that it needs over 8/3.
    strays: f64,
}

/// The blocks of one level at a given width.
struct Blocks {
    width: f64,
    /// Parameters of a block without its feed-forward network.
    attention: f64,
    /// Parameters of a block for one more hidden unit.
    per_unit: f64,
}

impl Blocks {
    fn like(stack: &Stack) -> Self {
        let bare = Stack {
            ffn: 0,
            ..stack.clone()
        };
        Self {
            width: stack.width as f64,
            attention: bare.block_params() as f64,
            per_unit: 3.0 * stack.width as f64,
        }
    }

    /// Computes the feed-forward width with which `layers` blocks have `target` parameters, within
    /// the limits of what is built.
    fn feed_forward(&self, target: f64, layers: usize) -> f64 {
        let exact = (target / layers as f64 - self.attention) / self.per_unit;
        exact.clamp(FEED_FORWARD.0 * self.width, FEED_FORWARD.1 * self.width)
    }

    /// Lists depths for `target` parameters: the fixed one, or those next to what usual blocks
    /// would take, at least `least`.
    fn depths(
        &self,
        target: f64,
        fixed: Option<usize>,
        least: usize,
    ) -> impl Iterator<Item = Depth> {
        let usual = target / (self.attention + self.per_unit * USUAL_FEED_FORWARD * self.width);
        let below = usual.max(0.0) as usize;
        let depths = match fixed {
            Some(layers) => layers.max(1)..=layers.max(1),
            // One more than the two nearest: whole hidden units may miss the target with either.
            None => {
                let below = below.min(MOST_LAYERS as usize - 1);
                below.saturating_sub(1).max(least)..=(below + 1).max(least)
            }
        };
        depths.map(move |layers| {
            let ratio = self.feed_forward(target, layers) / self.width;
            Depth {
                layers,
                strays: (ratio / USUAL_FEED_FORWARD).ln().abs(),
            }
        })
    }

    /// Rounds the feed-forward width of `layers` blocks to the largest multiple up to 8 that hits
    /// `target` within `tolerance`, else to a whole number.
    fn rounded(&self, target: f64, layers: usize, tolerance: f64) -> usize {
        let exact = self.feed_forward(target, layers);
        let rounded = |multiple: usize| {
            let whole = (exact / multiple as f64).round() as usize * multiple;
            whole.max(1)
        };
        let off = |ffn: usize| (ffn as f64 - exact).abs() * self.per_unit * layers as f64;
        [8, 4, 2]
            .into_iter()
            .map(rounded)
            .find(|&ffn| off(ffn) <= tolerance)
            .unwrap_or_else(|| rounded(1))
    }
}

/// The best there is at given widths: nearest to the usual proportions within the tolerances, or
/// nearest to the tolerances.
#[derive(Clone, Debug)]
struct Found<T> {
    reached: bool,
    /// Straying of its levels, or how far off the targets it is. The levels are compared one after
    /// the other, so that neither's depth moves for the sake of the other's.
    distance: [f64; 2],
    params: u64,
    share: f64,
    shape: T,
}

impl<T> Found<T> {
    /// What anything is better than.
    fn nothing(shape: T) -> Self {
        Self {
            reached: false,
            distance: [f64::INFINITY; 2],
            params: 0,
            share: 0.0,
            shape,
        }
    }

    fn or_better(self, other: Self) -> Self {
        if (!other.reached, other.distance) < (!self.reached, self.distance) {
            other
        } else {
            self
        }
    }

    fn finish(self, params: u64, share: f64) -> Result<T, ShapeError> {
        if self.reached {
            Ok(self.shape)
        } else {
            Err(ShapeError::OutOfReach {
                params,
                share,
                closest_params: self.params,
                closest_share: self.share,
            })
        }
    }
}

/// Finds the stack whose width is nearest to a value in ratio, the first of several.
fn nearest(stacks: &[Stack], to: f64) -> &Stack {
    let off = |stack: &Stack| (stack.width as f64 / to).ln().abs();
    let mut best = &stacks[0];
    for stack in stacks {
        if off(stack) < off(best) {
            best = stack;
        }
    }
    best
}

/// Lists the stacks whose width is off that of `aim` by at most `most` in logarithm, with how far.
fn near<'a>(stacks: &'a [Stack], aim: &Stack, most: f64) -> Vec<(&'a Stack, f64)> {
    let off = |stack: &Stack| (stack.width as f64 / aim.width as f64).ln().abs();
    let all = stacks.iter().map(|stack| (stack, off(stack)));
    all.filter(|(_, off)| *off <= most).collect()
}

/// The search for a DLCM of one N.
pub(super) struct Levels<'a> {
    settings: &'a ShapeSettings,
    params: u64,
    /// Stacks without blocks of the widths to choose from, ascending: how a width is cut into heads
    /// is found once.
    token: Vec<Stack>,
    concept: Vec<Stack>,
}

/// Stacks without blocks of a token and a concept width.
type Pair<'a> = (&'a Stack, Cow<'a, Stack>);

impl<'a> Levels<'a> {
    /// Prepares the search.
    ///
    /// # Errors
    /// When a fixed width is no multiple of the head size.
    pub(super) fn new(settings: &'a ShapeSettings, params: u64) -> Result<Self, ShapeError> {
        // Even the attention of one wider block is more than N.
        let most = (params as f64).sqrt() as usize;
        let stacks = |name, fixed: Option<usize>, most| {
            let widths = settings.widths(name, fixed, params, most)?.into_iter();
            let stack = |width| settings.empty_stack(width, params, fixed.is_some());
            Ok::<Vec<Stack>, ShapeError>(widths.map(stack).collect())
        };
        // As wide as any token width, so that there is something to name as the closest.
        let widest = most.max(settings.d_token.unwrap_or(0));
        Ok(Self {
            token: stacks("d_token", settings.d_token, most)?,
            concept: stacks("d_concept", settings.d_concept, widest)?,
            settings,
            params,
        })
    }

    fn concept_stack(&self, width: usize) -> Stack {
        let is_fixed = self.settings.d_concept.is_some();
        self.settings.empty_stack(width, self.params, is_fixed)
    }

    /// Finds the shape of concept share `share`.
    ///
    /// # Errors
    /// When no shape comes within the tolerances.
    pub(super) fn solve(&self, share: f64) -> Result<Dlcm, ShapeError> {
        let aim = self.widths();
        let mut best = self.fill(share, &aim);
        if best.reached {
            return Ok(best.shape);
        }
        for pair in self.by_straying(&aim, f64::INFINITY) {
            let found = self.fill(share, &pair);
            if found.reached {
                return Ok(found.shape);
            }
            best = best.or_better(found);
        }
        best.finish(self.params, share)
    }

    /// Finds the widths of this N: those nearest to the smooth ones that serve a wide range of P.
    fn widths(&self) -> Pair<'_> {
        let smooth = self.settings.smooth_widths(self.params as f64);
        let token = nearest(&self.token, smooth.token);
        let concept = if smooth.tied {
            self.settings.width_ratio(self.params as f64) * token.width as f64
        } else {
            smooth.concept
        };
        let concept = nearest(&self.concept, concept);
        // Concepts are as wide as tokens at least, though that be no width to choose from.
        let concept = if concept.width < token.width {
            Cow::Owned(self.concept_stack(token.width))
        } else {
            Cow::Borrowed(concept)
        };
        let aim = (token, concept);
        // Beyond twice or half the width another range of P is better.
        let near = || self.by_straying(&aim, std::f64::consts::LN_2);
        SERVED
            .iter()
            .find_map(|shares| {
                let serves = |pair: &Pair| shares.iter().all(|share| self.serves(*share, pair));
                if serves(&aim) {
                    Some(aim.clone())
                } else {
                    near().into_iter().find(serves)
                }
            })
            .unwrap_or(aim)
    }

    /// Lists pairs of widths by how far they are from `aim`, no width by more than `most` in
    /// logarithm.
    fn by_straying(&self, aim: &Pair, most: f64) -> Vec<Pair<'_>> {
        let concepts = near(&self.concept, &aim.1, most);
        let mut pairs: Vec<(f64, Pair)> = near(&self.token, aim.0, most)
            .into_iter()
            .flat_map(|(token, off)| {
                concepts
                    .iter()
                    .filter(|(concept, _)| concept.width >= token.width)
                    .map(move |&(concept, more)| (off + more, (token, Cow::Borrowed(concept))))
            })
            .collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        pairs.into_iter().map(|(_, pair)| pair).collect()
    }

    /// Says whether widths reach a P with feed-forward networks that are worth their name.
    fn serves(&self, share: f64, pair: &Pair) -> bool {
        let found = self.fill(share, pair);
        let wide = |stack: &Stack| stack.ffn as f64 >= FEED_FORWARD_BY_CHOICE * stack.width as f64;
        found.reached && wide(&found.shape.encoder) && wide(&found.shape.backbone)
    }

    /// Fills given widths with blocks.
    fn fill(&self, share: f64, (token, concept): &Pair) -> Found<Dlcm> {
        let settings = self.settings;
        let n = self.params as f64;
        let mut shape = Dlcm {
            vocab: 0,
            seq_len: settings.seq_len,
            token_window: settings.token_window,
            compression_ratio: 1.0,
            encoder: (*token).clone(),
            backbone: concept.clone().into_owned(),
            decoder: (*token).clone(),
            boundaries: settings.boundaries,
            pooling: settings.pooling,
            causal: settings.causal,
        };
        let fixed_tokens = match (settings.encoder_layers, settings.decoder_layers) {
            (Some(encoder), Some(decoder)) => Some(encoder + decoder),
            _ => None,
        };
        // One block on the side that is not fixed.
        let least = 1 + settings
            .encoder_layers
            .or(settings.decoder_layers)
            .unwrap_or(1);
        let mut best = Found::nothing(shape.clone());
        let [of_tokens, of_concepts] = [&shape.encoder, &shape.backbone].map(Blocks::like);
        // Depths follow from P itself, not from what the other level's rounding leaves.
        let beside = shape.params().non_embedding() as f64;
        let targets = [n * (1.0 - share) - beside, n * share];
        for backbone in of_concepts.depths(targets[1], settings.backbone_layers, 1) {
            let tolerance = 0.4 * SHARE_TOLERANCE * n;
            shape.backbone.layers = backbone.layers;
            shape.backbone.ffn = of_concepts.rounded(targets[1], backbone.layers, tolerance);
            let left = n - beside - shape.backbone.params() as f64;
            for tokens in of_tokens.depths(targets[0], fixed_tokens, least) {
                let tolerance = 0.5 * PARAMS_TOLERANCE * n;
                let ffn = of_tokens.rounded(left, tokens.layers, tolerance);
                let encoder = match (settings.encoder_layers, settings.decoder_layers) {
                    (Some(encoder), _) => encoder,
                    (None, Some(decoder)) => tokens.layers - decoder,
                    (None, None) => encoder_layers(tokens.layers),
                };
                (shape.encoder.layers, shape.encoder.ffn) = (encoder, ffn);
                (shape.decoder.layers, shape.decoder.ffn) = (tokens.layers - encoder, ffn);
                let counts = shape.params();
                let (params, at) = (counts.non_embedding(), counts.concept_share());
                let off = [(params as f64 / n - 1.0).abs(), (at - share).abs()];
                let reached = off[0] <= PARAMS_TOLERANCE && off[1] <= SHARE_TOLERANCE;
                best = best.or_better(Found {
                    reached,
                    distance: if reached {
                        [backbone.strays, tokens.strays]
                    } else {
                        [off[0] + off[1], 0.0]
                    },
                    params,
                    share: at,
                    shape: shape.clone(),
                });
            }
        }
        best
    }
}

/// The search for a model of one stack, of one N.
pub(super) struct Single<'a> {
    settings: &'a ShapeSettings,
    params: u64,
    /// Vectors of its width outside the blocks.
    outside: usize,
    /// Fewest blocks.
    least: usize,
    /// Widths to choose from.
    widths: Vec<usize>,
}

impl<'a> Single<'a> {
    /// Prepares the search for a stack of at least `least` blocks beside which stand `outside`
    /// vectors of its width.
    ///
    /// # Errors
    /// When a fixed width is no multiple of the head size.
    pub(super) fn new(
        settings: &'a ShapeSettings,
        params: u64,
        outside: usize,
        least: usize,
    ) -> Result<Self, ShapeError> {
        let most = (params as f64).sqrt() as usize;
        Ok(Self {
            settings,
            params,
            outside,
            least,
            widths: settings.widths("dense_width", settings.dense_width, params, most)?,
        })
    }

    /// Finds the stack.
    ///
    /// # Errors
    /// When none comes within the tolerance of N.
    pub(super) fn solve(&self) -> Result<Stack, ShapeError> {
        let smooth = self.settings.smooth_dense_width(self.params as f64);
        let off = |width: usize| (width as f64 / smooth).ln().abs();
        let mut widths = self.widths.clone();
        widths.sort_by(|a, b| off(*a).total_cmp(&off(*b)));
        let mut best = Found::nothing(self.stack(widths[0]));
        for width in widths {
            best = best.or_better(self.fill(width));
            if best.reached {
                break;
            }
        }
        best.finish(self.params, 0.0)
    }

    fn stack(&self, width: usize) -> Stack {
        let is_fixed = self.settings.dense_width.is_some();
        self.settings.empty_stack(width, self.params, is_fixed)
    }

    /// Fills a given width with blocks.
    fn fill(&self, width: usize) -> Found<Stack> {
        let mut stack = self.stack(width);
        let n = self.params as f64;
        let left = n - (self.outside * width) as f64;
        let blocks = Blocks::like(&stack);
        let mut best = Found::nothing(stack.clone());
        for depth in blocks.depths(left, self.settings.dense_layers, self.least) {
            stack.layers = depth.layers;
            stack.ffn = blocks.rounded(left, depth.layers, 0.5 * PARAMS_TOLERANCE * n);
            let params = stack.params() + (self.outside * width) as u64;
            let off = (params as f64 / n - 1.0).abs();
            let reached = off <= PARAMS_TOLERANCE;
            best = best.or_better(Found {
                reached,
                distance: [if reached { depth.strays } else { off }, 0.0],
                params,
                share: 0.0,
                shape: stack.clone(),
            });
        }
        best
    }
}
