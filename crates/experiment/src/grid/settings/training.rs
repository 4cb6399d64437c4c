//! The keys of `training`.

use super::{MANY, WIDTH, count, key, word};
use crate::grid::key::{Form, Key, Range, Role, Shown};
use crate::recipe::{BoundaryGradient, MOST_BATCH, Precision, Regularisation, Threshold};

pub(super) static KEYS: &[Key] = &[
    key(
        "training.batch",
        Role::Every,
        "Sequences in an optimizer step.",
        "sequences",
        "32",
        &[Form::Count(1, MOST_BATCH, |d, n| {
            d.recipe.batch = n as usize
        })],
        |d| count(d.recipe.batch),
    ),
    key(
        "training.learning_rate",
        Role::Every,
        "Base learning rate: one number for all groups, or a mapping.",
        "per step",
        "[2e-3, 4e-3]",
        &[Form::Number(Range::ABOVE_ZERO, |d, rate| {
            let rates = &mut d.recipe.rates;
            (rates.token, rates.concept, rates.other) = (rate, rate, rate);
        })],
        |d| Shown::Number(d.recipe.rates.token),
    ),
    key(
        "training.learning_rate.token",
        Role::Every,
        "η_token, of token-width matrices, at the base width; it falls as 1/width.",
        "per step",
        "3e-3",
        &[Form::Number(Range::ABOVE_ZERO, |d, x| {
            d.recipe.rates.token = x
        })],
        |d| Shown::Number(d.recipe.rates.token),
    ),
    key(
        "training.learning_rate.concept",
        Role::Dlcm,
        "η_concept, of concept-width matrices, at the base width; it falls as 1/width.",
        "per step",
        "1e-3",
        &[Form::Number(Range::ABOVE_ZERO, |d, x| {
            d.recipe.rates.concept = x
        })],
        |d| Shown::Number(d.recipe.rates.concept),
    ),
    key(
        "training.learning_rate.other",
        Role::Every,
        "η_other, of embeddings, norms and other vectors, at every width.",
        "per step",
        "1e-3",
        &[Form::Number(Range::ABOVE_ZERO, |d, x| {
            d.recipe.rates.other = x
        })],
        |d| Shown::Number(d.recipe.rates.other),
    ),
    key(
        "training.learning_rate.base_width",
        Role::Every,
        "d_base: the width at which the rates hold.",
        "elements",
        "128",
        &[Form::Count(1, WIDTH, |d, n| {
            d.recipe.rates.base_width = n as usize
        })],
        |d| count(d.recipe.rates.base_width),
    ),
    key(
        "training.warmup",
        Role::Every,
        "Share of steps over which the rate rises from 0; with `branches`, of the shortest run's.",
        "share of the steps",
        "0.1",
        &[Form::Number(Range::BELOW_ONE, |d, x| {
            d.recipe.schedule.warmup = x
        })],
        |d| Shown::Number(d.recipe.schedule.warmup),
    ),
    key(
        "training.decay",
        Role::Every,
        "Share of steps at the end over which the rate falls.",
        "share of the steps",
        "0.1",
        &[Form::Number(Range::ZERO_TO_ONE, |d, x| {
            d.recipe.schedule.decay = x
        })],
        |d| Shown::Number(d.recipe.schedule.decay),
    ),
    key(
        "training.final_rate",
        Role::Every,
        "Rate at the very end, as a share of the stable rate.",
        "share of the rate",
        "0.1",
        &[Form::Number(Range::ZERO_TO_ONE, |d, x| {
            d.recipe.schedule.final_share = x
        })],
        |d| Shown::Number(d.recipe.schedule.final_share),
    ),
    key(
        "training.branches",
        Role::Experiment,
        "Whether runs that differ only in tokens and decay share one stable phase: it is trained \
         once, and each run is a branch that decays from it.",
        "",
        "true",
        &[Form::Flag(|d, on| d.branches = on)],
        |d| Shown::Flag(d.branches),
    ),
    key(
        "training.weight_decay",
        Role::Every,
        "Decoupled weight decay, of matrices only.",
        "",
        "0.01",
        &[Form::Number(Range::FROM_ZERO, |d, x| {
            d.recipe.adamw.weight_decay = x
        })],
        |d| Shown::Number(d.recipe.adamw.weight_decay),
    ),
    key(
        "training.beta1",
        Role::Every,
        "AdamW's decay of the first moment.",
        "",
        "0.95",
        &[Form::Number(Range::BELOW_ONE, |d, x| {
            d.recipe.adamw.beta1 = x
        })],
        |d| Shown::Number(d.recipe.adamw.beta1),
    ),
    key(
        "training.beta2",
        Role::Every,
        "AdamW's decay of the second moment.",
        "",
        "0.99",
        &[Form::Number(Range::BELOW_ONE, |d, x| {
            d.recipe.adamw.beta2 = x
        })],
        |d| Shown::Number(d.recipe.adamw.beta2),
    ),
    key(
        "training.epsilon",
        Role::Every,
        "AdamW's ε at the base width.",
        "",
        "1e-9",
        &[Form::Number(Range::ABOVE_ZERO, |d, x| {
            d.recipe.adamw.epsilon = x
        })],
        |d| Shown::Number(d.recipe.adamw.epsilon),
    ),
    key(
        "training.clip",
        Role::Every,
        "Bound on the global gradient norm.",
        "",
        "0.5",
        &[Form::Number(Range::ABOVE_ZERO, |d, x| {
            d.recipe.adamw.clip = x
        })],
        |d| Shown::Number(d.recipe.adamw.clip),
    ),
    key(
        "training.aux_weight",
        Role::Dlcm,
        "λ: weight of the auxiliary loss that holds the compression ratio.",
        "",
        "0.1",
        &[Form::Number(Range::FROM_ZERO, |d, x| {
            d.recipe.boundary.aux_weight = x
        })],
        |d| Shown::Number(d.recipe.boundary.aux_weight),
    ),
    key(
        "training.temperature",
        Role::Dlcm,
        "τ: sharpens the boundary probability before sampling.",
        "",
        "1",
        &[Form::Number(Range::ABOVE_ZERO, |d, x| {
            d.recipe.boundary.temperature = x
        })],
        |d| Shown::Number(d.recipe.boundary.temperature),
    ),
    key(
        "training.threshold",
        Role::Dlcm,
        "Boundary threshold of evaluation: calibrated to the declared ratio, or a constant.",
        "probability",
        "0.5",
        &[
            Form::Word("calibrated", |d| {
                d.recipe.boundary.threshold = Threshold::Calibrated
            }),
            Form::Number(Range::open(0.0, 1.0), |d, x| {
                d.recipe.boundary.threshold = Threshold::Fixed(x);
            }),
        ],
        |d| match d.recipe.boundary.threshold {
            Threshold::Calibrated => word("calibrated"),
            Threshold::Fixed(x) => Shown::Number(x),
        },
    ),
    key(
        "training.boundary_gradient",
        Role::Dlcm,
        "What the boundary predictor learns from: the auxiliary loss alone, detached from the encoder \
         or reaching it, or the language model's loss too (the paper's Fig. 8).",
        "",
        "language_model",
        &[
            Form::Word("detached", |d| {
                d.recipe.boundary.gradient = BoundaryGradient::Detached
            }),
            Form::Word("encoder", |d| {
                d.recipe.boundary.gradient = BoundaryGradient::Encoder
            }),
            Form::Word("language_model", |d| {
                d.recipe.boundary.gradient = BoundaryGradient::LanguageModel;
            }),
        ],
        |d| match d.recipe.boundary.gradient {
            BoundaryGradient::Detached => word("detached"),
            BoundaryGradient::Encoder => word("encoder"),
            BoundaryGradient::LanguageModel => word("language_model"),
        },
    ),
    key(
        "training.regularisation",
        Role::Dlcm,
        "Over what the auxiliary loss takes its means: the whole batch, or each sequence.",
        "",
        "per_sequence",
        &[
            Form::Word("global", |d| {
                d.recipe.boundary.regularisation = Regularisation::Global
            }),
            Form::Word("per_sequence", |d| {
                d.recipe.boundary.regularisation = Regularisation::PerSequence;
            }),
        ],
        |d| match d.recipe.boundary.regularisation {
            Regularisation::Global => word("global"),
            Regularisation::PerSequence => word("per_sequence"),
        },
    ),
    key(
        "training.hold_ratio",
        Role::Dlcm,
        "Whether the sampling of boundaries is shifted so that training's R is the declared one from \
         the first steps on. The auxiliary loss, which sees what the predictor would do by itself, \
         takes long to get there.",
        "",
        "false",
        &[Form::Flag(|d, on| d.recipe.boundary.hold_ratio = on)],
        |d| Shown::Flag(d.recipe.boundary.hold_ratio),
    ),
    key(
        "training.validations",
        Role::Every,
        "Validations, evenly spaced; the last is at the end.",
        "validations",
        "10",
        &[Form::Count(1, 1 << 20, |d, n| {
            d.recipe.validations = n as usize
        })],
        |d| count(d.recipe.validations),
    ),
    key(
        "training.validation_tokens",
        Role::Every,
        "Held-out tokens in a validation.",
        "tokens",
        "40K",
        &[Form::Count(1, MANY, |d, n| d.recipe.validation_tokens = n)],
        |d| Shown::Number(d.recipe.validation_tokens as f64),
    ),
    key(
        "training.divergence_loss",
        Role::Every,
        "A loss above this, in nats per token, ends the run as diverged.",
        "nats per token",
        "12",
        &[Form::Number(Range::ABOVE_ZERO, |d, x| {
            d.recipe.divergence_loss = x
        })],
        |d| Shown::Number(d.recipe.divergence_loss),
    ),
    key(
        "training.precision",
        Role::Every,
        "What layers compute in: single precision; the same with matrix products in TF32, which a GPU \
         does faster; or bfloat16. Weights, optimizer and loss are in single precision always.",
        "",
        "bf16",
        &[
            Form::Word("f32", |d| d.recipe.precision = Precision::F32),
            Form::Word("tf32", |d| d.recipe.precision = Precision::Tf32),
            Form::Word("bf16", |d| d.recipe.precision = Precision::Bf16),
        ],
        |d| word(d.recipe.precision.name()),
    ),
];
