//! Why there is no allocation.

use super::variable::Variable;

/// Why there is no allocation.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AllocationError {
    /// The law reads a column that is neither N, D, P, R nor given as a constant.
    #[error("law `{law}` needs `{column}`, for which a constant must be given")]
    Column {
        /// The law.
        law: String,
        /// The column.
        column: String,
    },
    /// A range is empty or outside what the quantity can be.
    #[error("`{}` cannot range from {low} to {high}", variable.name())]
    Domain {
        /// The quantity.
        variable: Variable,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// The budget is not usable.
    #[error("{0}")]
    Budget(String),
    /// Nothing in the domain can be afforded.
    #[error(
        "the budget affords nothing in the domain: its cheapest setting takes {cheapest:.4e} FLOPs \
         to train (and serve) and {per_token:.4e} FLOPs per generated token"
    )]
    Unaffordable {
        /// FLOPs of the cheapest setting.
        cheapest: f64,
        /// FLOPs per generated token of that setting.
        per_token: f64,
    },
}
