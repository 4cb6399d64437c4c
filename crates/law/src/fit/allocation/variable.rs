//! The quantities that can be chosen.

use serde::{Deserialize, Serialize};

/// A quantity that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    /// Non-embedding parameters N.
    Params,
    /// Training tokens D.
    Tokens,
    /// Share of the concept backbone P.
    ConceptShare,
    /// Tokens per concept R.
    CompressionRatio,
}

impl Variable {
    /// The variables in the order of [`Setting::values`](super::Setting::values).
    pub const ALL: [Self; 4] = [
        Self::Params,
        Self::Tokens,
        Self::ConceptShare,
        Self::CompressionRatio,
    ];

    /// Returns the name of the column that holds it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::Tokens => "tokens",
            Self::ConceptShare => "concept_share",
            Self::CompressionRatio => "compression_ratio",
        }
    }

    /// Returns the letter that the field gives it.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Params => "N",
            Self::Tokens => "D",
            Self::ConceptShare => "P",
            Self::CompressionRatio => "R",
        }
    }

    /// Returns the variable of a letter or a column, as people name it.
    pub fn of_name(name: &str) -> Option<Self> {
        let by_letter = Self::ALL.into_iter().find(|it| it.letter() == name);
        by_letter.or_else(|| Self::of_column(name))
    }

    /// Returns the variable held by a column.
    pub fn of_column(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|variable| variable.name() == name)
    }
}
