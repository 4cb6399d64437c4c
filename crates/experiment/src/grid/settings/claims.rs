//! The keys of a claim.

use super::trainer::{Takes, TrainerKey as ClaimKey};

/// The tests that decide claims, and what they mean.
pub(in crate::grid) const TESTS: [&str; 7] = [
    "optimum_inside",
    "rises",
    "falls",
    "differs",
    "transfers",
    "mean",
    "law",
];

/// The laws that claims may be about.
pub(in crate::grid) const LAWS: [&str; 4] = ["dlcm", "dense", "token_only", "decay"];

const fn key(
    name: &'static str,
    takes: Takes,
    example: &'static str,
    doc: &'static str,
) -> ClaimKey {
    ClaimKey {
        name,
        doc,
        example,
        takes,
    }
}

/// The keys of each claim under `claims`.
pub(in crate::grid) const KEYS: &[ClaimKey] = &[
    key(
        "says",
        Takes::Text,
        "\"there is a best P inside the range\"",
        "The statement, in words.",
    ),
    key(
        "source",
        Takes::Text,
        "\"arXiv 2512.24617, Fig. 6a\"",
        "Who makes it, where it is not this file's own.",
    ),
    key(
        "test",
        Takes::Words(&TESTS),
        "optimum_inside",
        "What decides it: a quantity is lowest between the ends of an axis (`optimum_inside`), it `rises` or `falls` \
         along one, it `differs` between two groups of runs, the best value of an axis `transfers` over another, the \
         `mean` of a quantity or a number of a fitted `law` is within a bound.",
    ),
    key(
        "along",
        Takes::Text,
        "concept_share",
        "The axis along which `optimum_inside`, `rises`, `falls` and `transfers` look; numbers.",
    ),
    key(
        "over",
        Takes::Text,
        "params",
        "`transfers`: the axis over which the best value is carried, from its lowest level to all others.",
    ),
    key(
        "of",
        Takes::Expression,
        "bits_per_byte",
        "The quantity, an expression over columns: `loss` by default.",
    ),
    key(
        "among",
        Takes::Text,
        "\"kind = dlcm and params > 50K\"",
        "Which runs are looked at, an expression over columns; all finished runs by default.",
    ),
    key(
        "between",
        Takes::Texts,
        "[\"kind = token_only\", \"kind = dlcm\"]",
        "`differs`: the two groups, expressions over columns; the one that is claimed to be larger comes first.",
    ),
    key(
        "at_least",
        Takes::AnyNumber,
        "0.01",
        "`differs`: by how much the first group is larger at least (0 by default); `mean` and `law`: the bound.",
    ),
    key(
        "at_most",
        Takes::AnyNumber,
        "0.02",
        "`mean` and `law`: the bound.",
    ),
    key(
        "within",
        Takes::Number,
        "0.02",
        "`transfers`: by how much the carried value may be worse than the best there.",
    ),
    key("law", Takes::Words(&LAWS), "dlcm", "`law`: which one."),
    key(
        "number",
        Takes::Text,
        "r_squared",
        "`law`: `r_squared`, `held_out` (mean |ln(predicted/observed)| of the runs of most compute) or a parameter.",
    ),
];
