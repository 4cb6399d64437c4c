//! The numbers people write and read: N, D and C with their units.
//!
//! Owns parsing (`0.5M`, `200B`, `1e18`, `20 per param`) and printing; refuses everything else.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of parameters (N), non-embedding unless a name says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Params(pub u64);

/// A number of tokens (D).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tokens(pub u64);

/// More tokens than were ever written: beyond it a unit is wrong.
pub const MOST_TOKENS: u64 = 1_000_000_000_000_000_000;

/// A number of floating-point operations (C); a multiply-add is two.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Flops(pub f64);

/// A length of time, from nothing to a century: clocks and sums of times hold every one.
///
/// # Units
/// Seconds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Seconds(f64);

impl Seconds {
    /// The longest time: beyond it a unit is wrong.
    pub const MOST: f64 = 36_500.0 * 86_400.0;

    /// Returns the number of seconds.
    pub fn get(self) -> f64 {
        self.0
    }

    /// Returns the time as the clock counts it.
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }
}

impl From<u16> for Seconds {
    fn from(seconds: u16) -> Self {
        Self(f64::from(seconds))
    }
}

impl From<Seconds> for f64 {
    fn from(time: Seconds) -> Self {
        time.0
    }
}

impl TryFrom<f64> for Seconds {
    type Error = QuantityError;

    fn try_from(seconds: f64) -> Result<Self, QuantityError> {
        if (0.0..=Self::MOST).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(QuantityError::NoTime(format!("{seconds:?}")))
        }
    }
}

/// A number of resamples; 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Draws(u32);

impl Draws {
    /// The largest number: intervals stand still long before, and all draws are kept in memory.
    pub const MOST: u32 = 1_000_000;

    /// Returns the number.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

impl From<u16> for Draws {
    fn from(draws: u16) -> Self {
        Self(u32::from(draws))
    }
}

impl From<Draws> for u64 {
    fn from(draws: Draws) -> Self {
        u64::from(draws.0)
    }
}

impl TryFrom<u64> for Draws {
    type Error = QuantityError;

    fn try_from(draws: u64) -> Result<Self, QuantityError> {
        match u32::try_from(draws) {
            Ok(draws) if draws <= Self::MOST => Ok(Self(draws)),
            _ => Err(QuantityError::TooManyDraws(draws)),
        }
    }
}

impl FromStr for Draws {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        match text.trim() {
            "0" => Ok(Self(0)),
            text => parse_count(text)?.try_into(),
        }
    }
}

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
    /// Larger than what can be counted.
    #[error("`{0}` is too large")]
    TooLarge(String),
    /// Some readers of YAML take such a number for an octal one.
    #[error("`{0}` begins with a zero, which may mean an octal number; write it without")]
    LeadingZero(String),
    /// Not a time that anybody waits.
    #[error("{0} seconds are no time from 0 to 36500 days")]
    NoTime(String),
    /// More resamples than anybody needs.
    #[error("{0} resamples are too many: at most {most}, of which 1000 are usual", most = Draws::MOST)]
    TooManyDraws(u64),
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
    let digits = number.trim_start_matches(['+', '-']).as_bytes();
    if digits.first() == Some(&b'0')
        && digits
            .get(1)
            .is_some_and(|c| c.is_ascii_digit() || *c == b'_')
    {
        return Err(QuantityError::LeadingZero(text.to_owned()));
    }
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
    if value == f64::INFINITY {
        return Err(QuantityError::TooLarge(text.to_owned()));
    }
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
    // Every digit of a seed counts, also where a float has none for it.
    if let Ok(exact) = text.trim().replace('_', "").parse() {
        return Ok(exact);
    }
    let rounded = value.round();
    // `0.3M` is 299999.99999999994 in binary: a whole number as the writer meant it.
    if (value - rounded).abs() > 4.0 * f64::EPSILON * value || rounded < 1.0 {
        return Err(QuantityError::NotWhole(text.to_owned()));
    }
    if rounded >= u64::MAX as f64 {
        return Err(QuantityError::TooLarge(text.to_owned()));
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

/// Writes a value, or a dash where nobody has said it.
pub fn or_dash<T: fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Counts things: `1 run`, `2 runs`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
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
            ("9007199254740993", 9_007_199_254_740_993),
            ("18446744073709551615", u64::MAX),
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
        for large in ["1e400", "1e30", "18446744073709551616"] {
            assert!(matches!(
                parse_count(large),
                Err(QuantityError::TooLarge(_))
            ));
        }
        for octal in ["012", "0_1", "-007M"] {
            assert!(matches!(
                parse_count(octal),
                Err(QuantityError::LeadingZero(_))
            ));
        }
        assert_eq!(parse_number("0.5"), Ok(0.5));
        for uneven in ["1500000.4", "1.2345678901M"] {
            assert!(matches!(
                parse_count(uneven),
                Err(QuantityError::NotWhole(_))
            ));
        }
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
    fn times_and_resamples_are_those_that_somebody_waits_for() {
        for time in [0.0, 0.015, 5.0, Seconds::MOST] {
            assert_eq!(Seconds::try_from(time).map(Seconds::get), Ok(time));
        }
        for no_time in [-1.0, 1e300, f64::INFINITY, f64::NAN] {
            assert!(Seconds::try_from(no_time).is_err(), "{no_time}");
        }
        let read = |text: &str| serde_json::from_str::<Seconds>(text).map(Seconds::get);
        assert_eq!(read("90.5").ok(), Some(90.5));
        assert!(read("1e300").is_err());
        assert_eq!("1_000".parse::<Draws>().map(Draws::get), Ok(1000));
        assert_eq!("0".parse::<Draws>().map(Draws::get), Ok(0));
        for wrong in ["99999999999", "-1", "1.5", "many", ""] {
            assert!(wrong.parse::<Draws>().is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Draws>("1000001").is_err());
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
