//! The table of keys: the one place that parsing, messages, the JSON Schema and the reference read.

pub(super) mod claims;
mod data;
mod experiment;
mod model;
pub(super) mod trainer;
mod training;

use super::draft::{DataKind, Draft};
use super::key::{Form, Key, Range, Role, Shown};
use crate::architecture::{
    MOST_LAYERS as LAYERS, MOST_SEQUENCE as SEQUENCE, MOST_VOCAB as VOCAB, MOST_WIDTH as WIDTH,
};
use crate::quantity::{Params, TokenBudget};

/// More tokens than one text has; beyond it a unit is wrong.
const MANY: u64 = 1 << 40;

/// The mappings of a file that hold keys, and what they are for.
pub(super) const GROUPS: &[(&str, &str)] = &[
    (
        "trainer",
        "Another trainer, in place of this program's own models: how it is started, what it is told, and \
         where its reports are read from. See [trainers](trainers.md).",
    ),
    (
        "grid",
        "The hierarchical (DLCM) models to train: axes, explicit points and constraints.",
    ),
    (
        "baselines",
        "The dense models they are measured against. What is not given of the size and the seed \
         is taken from `grid`.",
    ),
    (
        "controls",
        "Token levels alone, which tell what local attention gives without concepts: `tokens`, or a \
         mapping.",
    ),
    (
        "model",
        "What is fixed of the shape; the rest is solved from N and P.",
    ),
    (
        "data",
        "Where tokens come from: one of `synthetic`, `text` and `tokens`.",
    ),
    (
        "data.synthetic",
        "A generated language: words predictable inside, in an order that must be read from far back \
         in the document.",
    ),
    (
        "data.tokenizer",
        "How text becomes tokens: `bytes`, or `{bpe: {vocab: N}}`, trained on the text.",
    ),
    (
        "data.tokenizer.bpe",
        "A byte-level BPE trained on the training part of the text.",
    ),
    (
        "data.tokens",
        "Token files as nanoGPT, llm.c and NumPy write them.",
    ),
    ("training", "How every model is trained."),
    (
        "training.learning_rate",
        "Base learning rates of the three groups of decoupled muP.",
    ),
    (
        "tune",
        "How the learning rate of each family of models (those of the grid, dense ones, controls) is \
         found before the others are trained: at its smallest width, with the middle R, P and N and the \
         most tokens. muP carries it to other widths. A family with a rate of its own keeps that.",
    ),
    (
        "evaluation",
        "What each run is asked when it has been trained. See [evaluation](evaluation.md).",
    ),
    (
        "claims",
        "Statements that the runs are to decide, by name, each with a test that is fixed before them: reproduced, \
         contradicted or not determined. See [claims](claims.md).",
    ),
    (
        "analysis",
        "How the laws are fitted and what they are asked.",
    ),
    (
        "execution",
        "How runs are carried out here; results do not depend on it.",
    ),
];

/// What the key `name` means.
pub(super) const NAME: &str = "Name of the experiment and its results; the file's name by default.";

/// The keys of `grid` and `baselines` that hold no value of a model: what they mean, and an example.
pub(super) const RULES: [(&str, &str, &str); 3] = [
    (
        "combine",
        "`product` crosses all axes; `zip` pairs their values in order.",
        "zip",
    ),
    (
        "points",
        "Explicit points, beside or instead of the product; the axes that a point does not give \
         complete it.",
        "[{params: 1M, concept_share: 0.5}]",
    ),
    (
        "where",
        "Constraints that all cells fulfil, such as `concept_share <= 0.5 or params > 0.3M`.",
        "concept_share <= 0.5 or params > 0.3M",
    ),
];

/// The keys of `controls`: what they mean, and an example.
pub(super) const CONTROLS: [(&str, &str, &str); 2] = [
    (
        "tokens",
        "`level`: the token level of each model of the grid, without its backbone (the default); \
         `params`: a token level of each N; or a list of both.",
        "[level, params]",
    ),
    OWN_TRAINING,
];

/// The key of `baselines` and `controls` that holds values of `training` for them alone.
pub(super) const OWN_TRAINING: (&str, &str, &str) = (
    "training",
    "Values of `training` that hold for these models alone: each family needs its own best rate.",
    "{learning_rate: 2e-3}",
);

const HALF_OPEN_HINT: &str = "P is above 0 and below 1: P = 1 would leave no parameters to the \
    token level (0.7 is a large share), and P = 0 is a dense model: declare it under `baselines`";
const RATIO_HINT: &str = "R is the number of tokens per concept, above 1, such as 4: at R = 1 every \
    token is a concept; for a model without concepts use `baselines`";

const fn key(
    path: &'static str,
    role: Role,
    doc: &'static str,
    unit: &'static str,
    example: &'static str,
    forms: &'static [Form],
    get: fn(&Draft) -> Shown,
) -> Key {
    Key {
        path,
        doc,
        unit,
        example,
        hint: "",
        forms,
        get,
        role,
    }
}

const fn hinted(key: Key, hint: &'static str) -> Key {
    Key { hint, ..key }
}

fn count(n: usize) -> Shown {
    Shown::Number(n as f64)
}

fn optional(n: Option<usize>) -> Shown {
    n.map_or(Shown::Nothing, count)
}

fn word(word: &str) -> Shown {
    Shown::Word(word.to_owned())
}

/// The axes of `grid` and `baselines`.
pub(super) static AXES: &[Key] = &[
    key(
        "params",
        Role::Every,
        "N: non-embedding parameters.",
        "parameters",
        "[0.2M, 0.4M]",
        &[Form::Count(1_000, 10_000_000_000_000, |d, n| {
            d.params = Some(Params(n))
        })],
        |d| d.params.map(|n| n.0 as f64).into(),
    ),
    key(
        "tokens",
        Role::Every,
        "D: training tokens, as a number or in proportion to N.",
        "tokens",
        "20 per param",
        &[Form::Budget(|d, budget| d.tokens = Some(budget))],
        |d| match (d.tokens, d.params) {
            (Some(TokenBudget::Absolute(tokens)), _) => Shown::Number(tokens.0 as f64),
            (Some(budget), Some(params)) => Shown::Number(budget.resolve(params).0 as f64),
            _ => Shown::Nothing,
        },
    ),
    key(
        "flops",
        Role::Every,
        "C: training FLOPs, counted as `analysis.flops_convention` says.",
        "FLOPs",
        "1e15",
        &[Form::Number(Range::open(0.0, 1e30), |d, flops| {
            d.flops = Some(flops)
        })],
        |d| d.flops.into(),
    ),
    hinted(
        key(
            "compression_ratio",
            Role::Dlcm,
            "R: target number of tokens per concept.",
            "tokens per concept",
            "[2, 4, 8]",
            &[Form::Number(Range::open(1.0, 1e6), |d, ratio| {
                d.compression_ratio = Some(ratio)
            })],
            |d| d.compression_ratio.into(),
        ),
        RATIO_HINT,
    ),
    hinted(
        key(
            "concept_share",
            Role::Dlcm,
            "P: share of N that lies in the concept backbone.",
            "share of N",
            "[0.3, 0.5, 0.7]",
            &[Form::Number(Range::open(0.0, 1.0), |d, share| {
                d.concept_share = Some(share)
            })],
            |d| d.concept_share.into(),
        ),
        HALF_OPEN_HINT,
    ),
    key(
        "seed",
        Role::Every,
        "Seed of initial weights, order of batches and boundary sampling.",
        "",
        "[0, 1, 2]",
        &[Form::Count(0, u64::MAX, |d, seed| d.seed = seed)],
        |d| Shown::Number(d.seed as f64),
    ),
];

/// Lists the keys of `model`, `data`, `training`, `analysis` and `execution`.
pub(super) fn settings() -> impl Iterator<Item = &'static Key> {
    [model::KEYS, data::KEYS, training::KEYS, experiment::KEYS]
        .into_iter()
        .flatten()
}

/// Finds the key of a value by its path, or by its name in `grid` or `baselines`.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    AXES.iter().chain(settings()).find(|key| key.path == path)
}

/// The kind of data that a key under `data` chooses.
pub(super) fn data_kind(key: &str) -> Option<DataKind> {
    match key {
        "synthetic" => Some(DataKind::Synthetic),
        "text" => Some(DataKind::Text),
        "tokens" => Some(DataKind::Tokens),
        _ => None,
    }
}
