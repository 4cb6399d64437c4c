//! Claims: statements with a test, written down before there are runs.
//!
//! Owns what a claim says and how it is to be tested; what the runs say of it is judged where laws are fitted.

use crate::digest;
use serde::{Deserialize, Serialize};

/// A statement and its test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Its name in the file.
    pub name: String,
    /// The statement, in words.
    pub says: String,
    /// Who makes it, as a paper and its figure; `None` where the file does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What decides it.
    pub test: Test,
}

/// What decides a claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "test", rename_all = "snake_case")]
pub enum Test {
    /// A quantity is lowest between the ends of an axis, and not at one of them.
    OptimumInside(Along),
    /// A quantity rises along an axis.
    Rises(Along),
    /// A quantity falls along an axis.
    Falls(Along),
    /// A quantity of some runs is larger than that of others.
    Differs {
        /// Which runs: expressions over columns, the larger first.
        between: [String; 2],
        /// The quantity, an expression over columns.
        of: String,
        /// By how much it is larger at least, in the quantity's unit.
        at_least: f64,
        /// Which runs are looked at: an expression over columns; all where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        among: Option<String>,
    },
    /// The mean of a quantity over runs is within a bound.
    Mean {
        /// The quantity, an expression over columns.
        of: String,
        /// The bound, in the quantity's unit.
        bound: Bound,
        /// Which runs are looked at: an expression over columns; all where there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        among: Option<String>,
    },
    /// The value of an axis that is best at the lowest level of another is nowhere worse than the best by more than an
    /// amount.
    Transfers {
        /// Along which axis a best value is looked for, and of what.
        #[serde(flatten)]
        along: Along,
        /// The axis over which it is carried.
        over: String,
        /// By how much it may be worse, in the quantity's unit.
        within: f64,
    },
    /// A number of a fitted law is within a bound.
    Law {
        /// Which law.
        law: Fitted,
        /// `r_squared`, `held_out` (mean |ln(predicted/observed)| of the runs of most compute) or a parameter.
        number: String,
        /// The bound.
        bound: Bound,
    },
}

/// A quantity along an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Along {
    /// The axis.
    pub along: String,
    /// The quantity, an expression over columns.
    pub of: String,
    /// Which runs are looked at: an expression over columns; all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub among: Option<String>,
}

/// A law that is fitted to a family of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fitted {
    /// That of models with concepts, Eq. 22.
    Dlcm,
    /// That of dense baselines.
    Dense,
    /// That of token levels alone.
    TokenOnly,
    /// That of what decays take off the loss, Eq. 23.
    Decay,
}

/// A bound on a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// It is not below this.
    AtLeast(f64),
    /// It is not above this.
    AtMost(f64),
}

impl Bound {
    /// The number, and whether it is the least.
    pub fn limit(self) -> (f64, bool) {
        match self {
            Self::AtLeast(limit) => (limit, true),
            Self::AtMost(limit) => (limit, false),
        }
    }
}

impl Claim {
    /// A hash of what is claimed and how it is decided: another claim has another.
    pub fn digest(&self) -> String {
        digest::name(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// The columns of a run that expressions of claims may name, beside the grid's axes and the scores of tasks and texts
/// (`TASK.bits_per_byte`).
pub const COLUMNS: [(&str, &str); 19] = [
    ("kind", "`dlcm`, `dense` or `token_only`"),
    ("loss", "held-out loss, nats per token"),
    ("bits_per_byte", "held-out loss, bits per byte"),
    ("params", "N, non-embedding parameters"),
    ("tokens", "D, training tokens"),
    ("concept_share", "P; 0 without concepts"),
    (
        "compression_ratio",
        "realised R in evaluation; 1 without concepts",
    ),
    ("declared_ratio", "declared R"),
    ("realised_training", "realised R over the whole training"),
    (
        "concept_gain",
        "loss with concepts taken away minus loss, nats per token",
    ),
    (
        "boundary_gain",
        "loss with every R-th token a boundary minus loss, nats per token",
    ),
    ("flops", "training FLOPs"),
    ("seed", "the seed"),
    ("learning_rate", "base learning rate of the token level"),
    (
        "stable_loss",
        "held-out loss where a branch left its trunk, nats per token",
    ),
    (
        "decay_gain",
        "what the decay took off the loss, nats per token",
    ),
    (
        "unique_tokens",
        "tokens of the data that were trained on, each once",
    ),
    ("data", "a hash of the data"),
    (
        "reads_ahead",
        "`true` where tokens read what comes after them; such runs are looked at only where this is named",
    ),
];

/// The columns in which a task, a text or a position inside concepts (`position_0`) is scored, after its name and a dot.
pub const SCORES: [&str; 7] = [
    "bits_per_byte",
    "loss",
    "accuracy",
    "accuracy_per_byte",
    "share",
    "realised_ratio",
    "gain",
];
