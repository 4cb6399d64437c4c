//! The keys of `model`.

use super::{LAYERS, SEQUENCE, WIDTH, count, key, optional, word};
use crate::architecture::{BoundaryRule, Causality, Pooling, Window};
use crate::grid::key::{Form, Key, Range, Role};

pub(super) static KEYS: &[Key] = &[
    key(
        "model.seq_len",
        Role::Every,
        "L: tokens in a sequence.",
        "tokens",
        "512",
        &[Form::Count(2, SEQUENCE, |d, n| {
            d.shape.seq_len = n as usize
        })],
        |d| count(d.shape.seq_len),
    ),
    key(
        "model.token_window",
        Role::Dlcm,
        "How many tokens back token-level attention sees, the token itself included. With `full` \
         the concepts tend to be ignored.",
        "tokens",
        "8",
        &[
            Form::Count(1, SEQUENCE, |d, n| {
                d.shape.token_window = Window::Local(n as usize)
            }),
            Form::Word("full", |d| d.shape.token_window = Window::Full),
        ],
        |d| match d.shape.token_window {
            Window::Local(n) => count(n),
            Window::Full => word("full"),
        },
    ),
    key(
        "model.boundaries",
        Role::Dlcm,
        "Where boundaries come from, in training as in evaluation: learned by a predictor, random at \
         the rate 1/R, or at every R-th token. The last two are controls.",
        "",
        "[learned, fixed]",
        &[
            Form::Word("learned", |d| d.shape.boundaries = BoundaryRule::Learned),
            Form::Word("random", |d| d.shape.boundaries = BoundaryRule::Random),
            Form::Word("fixed", |d| d.shape.boundaries = BoundaryRule::Fixed),
        ],
        |d| {
            word(match d.shape.boundaries {
                BoundaryRule::Learned => "learned",
                BoundaryRule::Random => "random",
                BoundaryRule::Fixed => "fixed",
            })
        },
    ),
    key(
        "model.pooling",
        Role::Dlcm,
        "What a concept is made of: the mean of its tokens, or the state of its first one alone, with \
         which a token reads its own concept too.",
        "",
        "[mean, boundary]",
        &[
            Form::Word("mean", |d| d.shape.pooling = Pooling::Mean),
            Form::Word("boundary", |d| d.shape.pooling = Pooling::Boundary),
        ],
        |d| {
            word(match d.shape.pooling {
                Pooling::Mean => "mean",
                Pooling::Boundary => "boundary",
            })
        },
    ),
    key(
        "model.causal",
        Role::Dlcm,
        "Whether a token may read what comes after it. `paper` is the mask of arXiv 2512.24617, with which it reads \
         its own concept, the mean of tokens of which some come later: such losses are no language model's, no law \
         takes them, and they serve to tell how large the leak is.",
        "",
        "[strict, paper]",
        &[
            Form::Word("strict", |d| d.shape.causal = Causality::Strict),
            Form::Word("paper", |d| d.shape.causal = Causality::Paper),
        ],
        |d| {
            word(match d.shape.causal {
                Causality::Strict => "strict",
                Causality::Paper => "paper",
            })
        },
    ),
    key(
        "model.head_size",
        Role::Every,
        "Width of an attention head, of which widths are multiples; without it an even divisor of \
         the width near 16 below 0.5M parameters, then 32, 64 from 20M, 128 from 1B.",
        "elements",
        "32",
        &[Form::Count(2, WIDTH, |d, n| {
            d.shape.head_size = Some(n as usize)
        })],
        |d| optional(d.shape.head_size),
    ),
    key(
        "model.query_group",
        Role::Every,
        "Query heads per key/value head.",
        "query heads",
        "4",
        &[Form::Count(1, WIDTH, |d, n| {
            d.shape.query_group = n as usize
        })],
        |d| count(d.shape.query_group),
    ),
    key(
        "model.concept_width_ratio",
        Role::Dlcm,
        "Ratio of concept width to token width, where P can be reached with it; without it from 1.25 at \
         50K parameters to 2 from 100M on.",
        "",
        "1.5",
        &[Form::Number(
            Range {
                low: 1.0,
                high: 64.0,
                closed_low: true,
                closed_high: true,
            },
            |d, x| d.shape.concept_width_ratio = Some(x),
        )],
        |d| d.shape.concept_width_ratio.into(),
    ),
    key(
        "model.d_token",
        Role::Dlcm,
        "Token width, a multiple of the head size.",
        "elements",
        "64",
        &[Form::Count(1, WIDTH, |d, n| {
            d.shape.d_token = Some(n as usize)
        })],
        |d| optional(d.shape.d_token),
    ),
    key(
        "model.d_concept",
        Role::Dlcm,
        "Concept width, a multiple of the head size and at least the token width.",
        "elements",
        "128",
        &[Form::Count(1, WIDTH, |d, n| {
            d.shape.d_concept = Some(n as usize)
        })],
        |d| optional(d.shape.d_concept),
    ),
    key(
        "model.encoder_layers",
        Role::Dlcm,
        "Blocks before segmentation.",
        "blocks",
        "2",
        &[Form::Count(1, LAYERS, |d, n| {
            d.shape.encoder_layers = Some(n as usize)
        })],
        |d| optional(d.shape.encoder_layers),
    ),
    key(
        "model.backbone_layers",
        Role::Dlcm,
        "Blocks of the concept backbone.",
        "blocks",
        "8",
        &[Form::Count(1, LAYERS, |d, n| {
            d.shape.backbone_layers = Some(n as usize)
        })],
        |d| optional(d.shape.backbone_layers),
    ),
    key(
        "model.decoder_layers",
        Role::Dlcm,
        "Blocks after cross-attention.",
        "blocks",
        "4",
        &[Form::Count(1, LAYERS, |d, n| {
            d.shape.decoder_layers = Some(n as usize)
        })],
        |d| optional(d.shape.decoder_layers),
    ),
    key(
        "model.dense_layers",
        Role::Dense,
        "Blocks of a dense baseline.",
        "blocks",
        "8",
        &[Form::Count(1, LAYERS, |d, n| {
            d.shape.dense_layers = Some(n as usize)
        })],
        |d| optional(d.shape.dense_layers),
    ),
    key(
        "model.dense_width",
        Role::Dense,
        "Width of a dense baseline, a multiple of the head size.",
        "elements",
        "64",
        &[Form::Count(1, WIDTH, |d, n| {
            d.shape.dense_width = Some(n as usize)
        })],
        |d| optional(d.shape.dense_width),
    ),
];
