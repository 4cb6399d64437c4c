//! The numbers people write and read: N, D and C with their units.
//!
//! Owns parsing (`0.5M`, `200B`, `1e18`, `20 per param`) and printing; refuses everything else.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A number of parameters (N), non-embedding unless a name says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Params(pub u64);

/// A number of tokens (D).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tokens(pub u64);

/// A number of floating-point operations (C); a multiply-add is two.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Flops(pub f64);

/// A training-token budget as written: absolute, or in proportion to the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum TokenBudget {
    /// So many tokens.
    Absolute(Tokens),
    /// So many tokens for each non-embedding parameter, as in `20 per param`.
    PerParam(f64),
}

impl TokenBudget {
    /// Resolves the budget for a model of `params` non-embedding parameters.
    pub fn resolve(self, params: Params) -> Tokens {
        match self {
            TokenBudget::Absolute(tokens) => tokens,
            TokenBudget::PerParam(ratio) => Tokens((ratio * params.0 as f64).round() as u64),
        }
    }
}

/// Why a written number was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text is not a number with an optional suffix.
    #[error("`{0}` is not a number; write it like 250000, 0.5M, 200B or 1e18")]
    NotANumber(String),
    /// The suffix is not one of the known multipliers.
    #[error(
        "`{suffix}` in `{text}` is not a known suffix; use K (10^3), M (10^6), B (10^9) or T (10^12)"
    )]
    UnknownSuffix {
        /// The whole text.
        text: String,
        /// The part that was not understood.
        suffix: String,
    },
    /// The number is not finite or not above zero.
    #[error("`{0}` must be above zero")]
    NotPositive(String),
    /// The unit is not one of time.
    #[error("`{0}` is not a duration; write it like 90s, 10min, 2h or 1.5d")]
    NotADuration(String),
    /// A count has to be a whole number.
    #[error("`{0}` is not a whole number")]
    NotWhole(String),
}

const MULTIPLIERS: [(&str, f64); 6] = [
    ("k", 1e3),
    ("K", 1e3),
    ("M", 1e6),
    ("B", 1e9),
    ("G", 1e9),
    ("T", 1e12),
];

/// Parses a positive number with an optional decimal suffix, such as `0.5M`, `1e18` or `12_000`.
///
/// # Errors
/// Says what is wrong with the text and how to write it.
pub fn parse_number(text: &str) -> Result<f64, QuantityError> {
    let trimmed = text.trim();
    let digits_end = trimmed
        .char_indices()
        .find(|&(i, c)| {
            let exponent_sign =
                (c == '+' || c == '-') && trimmed[..i].ends_with(['e', 'E']) && i > 0;
            let exponent = (c == 'e' || c == 'E')
                && trimmed[i + 1..].starts_with(|d: char| d.is_ascii_digit() || "+-".contains(d));
            !(c.is_ascii_digit()
                || c == '.'
                || c == '_'
                || exponent
                || exponent_sign
                || (i == 0 && (c == '-' || c == '+')))
        })
        .map_or(trimmed.len(), |(i, _)| i);
    let (number, suffix) = trimmed.split_at(digits_end);
    let value: f64 = number
        .replace('_', "")
        .parse()
        .map_err(|_| QuantityError::NotANumber(text.to_owned()))?;
    let suffix = suffix.trim();
    let multiplier = if suffix.is_empty() {
        1.0
    } else {
        MULTIPLIERS
            .iter()
            .find(|(name, _)| *name == suffix)
            .map(|&(_, m)| m)
            .ok_or_else(|| QuantityError::UnknownSuffix {
                text: text.to_owned(),
                suffix: suffix.to_owned(),
            })?
    };
    let value = value * multiplier;
    if !value.is_finite() || value <= 0.0 {
        return Err(QuantityError::NotPositive(text.to_owned()));
    }
    Ok(value)
}

/// Parses a positive whole count such as `0.5M`.
///
/// # Errors
/// As [`parse_number`], and when the result is not a whole number.
pub fn parse_count(text: &str) -> Result<u64, QuantityError> {
    let value = parse_number(text)?;
    let rounded = value.round();
    // `0.3M` is 299999.99999999994 in binary: a whole number as the writer meant it.
    if (value - rounded).abs() > 1e-6 * value.max(1.0) || rounded < 1.0 {
        return Err(QuantityError::NotWhole(text.to_owned()));
    }
    Ok(rounded as u64)
}

/// Parses a token budget: a count, or a ratio such as `20 per param`.
///
/// # Errors
/// As [`parse_count`] and [`parse_number`].
pub fn parse_token_budget(text: &str) -> Result<TokenBudget, QuantityError> {
    let trimmed = text.trim();
    match [
        "per param",
        "per parameter",
        "per-param",
        "/param",
        "x params",
    ]
    .iter()
    .find_map(|suffix| trimmed.strip_suffix(suffix))
    {
        Some(ratio) => parse_number(ratio).map(TokenBudget::PerParam),
        None => parse_count(trimmed).map(|n| TokenBudget::Absolute(Tokens(n))),
    }
}

/// Units of time, with their seconds.
const TIMES: [(&str, f64); 4] = [("min", 60.0), ("s", 1.0), ("h", 3600.0), ("d", 86_400.0)];

/// Parses a duration such as `90s`, `10min`, `2h` or `1.5d`.
///
/// # Units
/// Seconds.
///
/// # Errors
/// When it has no unit of time, or as [`parse_number`].
pub fn parse_duration(text: &str) -> Result<f64, QuantityError> {
    let trimmed = text.trim();
    let (number, seconds) = TIMES
        .iter()
        .find_map(|(unit, seconds)| Some((trimmed.strip_suffix(unit)?, seconds)))
        .ok_or_else(|| QuantityError::NotADuration(text.to_owned()))?;
    if number
        .trim_end()
        .ends_with(|last: char| last.is_ascii_digit())
    {
        Ok(parse_number(number)? * seconds)
    } else {
        Err(QuantityError::NotADuration(text.to_owned()))
    }
}

/// Prints a number with three significant digits and a decimal suffix, such as `0.500M`.
pub fn human(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs();
    let (scale, suffix) = match magnitude {
        m if m >= 1e15 => return format!("{value:.2e}"),
        m if m >= 999.5e9 => (1e12, "T"),
        m if m >= 999.5e6 => (1e9, "B"),
        m if m >= 999.5e3 => (1e6, "M"),
        m if m >= 999.5 => (1e3, "K"),
        _ => (1.0, ""),
    };
    let scaled = value / scale;
    let decimals = match scaled.abs() {
        s if s >= 99.95 => 0,
        s if s >= 9.995 => 1,
        _ => 2,
    };
    if suffix.is_empty() && value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    format!("{scaled:.decimals$}{suffix}")
}

/// Prints an amount of memory or storage, such as `25.3GB`.
pub fn human_bytes(bytes: f64) -> String {
    // Bytes come in giga, not in billions.
    format!("{}B", human(bytes).replace('B', "G"))
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&human(self.0 as f64))
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&human(self.0 as f64))
    }
}

impl fmt::Display for Flops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&human(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_counts_in_many_ways() {
        for (text, value) in [
            ("0.5M", 500_000),
            ("200B", 200_000_000_000),
            ("1e18", 1_000_000_000_000_000_000),
            ("12_000", 12_000),
            ("0.3M", 300_000),
            ("1.5 K", 1_500),
            ("2.5e3", 2_500),
            ("1e+3", 1_000),
        ] {
            assert_eq!(parse_count(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn wrong_numbers_say_why() {
        assert!(matches!(
            parse_count("5X"),
            Err(QuantityError::UnknownSuffix { .. })
        ));
        assert!(matches!(
            parse_count("five"),
            Err(QuantityError::NotANumber(_))
        ));
        assert!(matches!(
            parse_count("0"),
            Err(QuantityError::NotPositive(_))
        ));
        assert!(matches!(
            parse_count("-3M"),
            Err(QuantityError::NotPositive(_))
        ));
        assert!(matches!(
            parse_count("0.5"),
            Err(QuantityError::NotWhole(_))
        ));
        assert!(matches!(
            parse_count("1e400"),
            Err(QuantityError::NotPositive(_))
        ));
        assert!(matches!(parse_count(""), Err(QuantityError::NotANumber(_))));
        assert!(matches!(
            parse_count("é"),
            Err(QuantityError::NotANumber(_))
        ));
    }

    #[test]
    fn budgets_may_be_relative() {
        assert_eq!(
            parse_token_budget("20 per param"),
            Ok(TokenBudget::PerParam(20.0))
        );
        assert_eq!(
            TokenBudget::PerParam(20.0).resolve(Params(100)),
            Tokens(2000)
        );
        assert_eq!(
            parse_token_budget("1M"),
            Ok(TokenBudget::Absolute(Tokens(1_000_000)))
        );
    }

    #[test]
    fn printing_keeps_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (12.0, "12"),
            (0.25, "0.25"),
            (999.6, "1.00K"),
            (390_208.0, "390K"),
            (12_345_678.0, "12.3M"),
            (1e18, "1.00e18"),
        ] {
            assert_eq!(human(value), text);
        }
    }
}
