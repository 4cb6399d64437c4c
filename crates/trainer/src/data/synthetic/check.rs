//! What parameters make a language.

use super::DataError;
use experiment::run::{LanguageKind, SyntheticSpec};

/// The most letters, words or dialects: numbers of letters and words must fit two bytes.
const MOST: usize = 1 << 16;

/// The most successors stored, over all dialects.
const MOST_ENTRIES: usize = 1 << 22;

/// The steepest of Zipf's laws: beyond it there is but one dialect.
const MOST_SKEW: f64 = 16.0;

/// Refuses parameters that make no language.
pub(super) fn check(spec: &SyntheticSpec) -> Result<(), DataError> {
    let require = |right: bool, field, value: String, rule: String| {
        if right {
            Ok(())
        } else {
            Err(DataError::Synthetic { field, value, rule })
        }
    };
    let within = |field, value: usize, low: usize, high: usize, why: &str| {
        let rule = format!("it must lie between {low} and {high}{why}");
        require(
            (low..=high).contains(&value),
            field,
            value.to_string(),
            rule,
        )
    };
    within("letters", spec.letters, 2, MOST, "")?;
    let pairs = spec.letters * spec.letters;
    let why = format!(
        ": words differ in their first two letters, and {} letters make {pairs} pairs",
        spec.letters
    );
    within("words", spec.words, 2, pairs.min(MOST), &why)?;
    within(
        "min_word",
        spec.min_word,
        2,
        256,
        ": two letters tell a word",
    )?;
    within(
        "max_word",
        spec.max_word,
        spec.min_word,
        256,
        ", and not below `min_word`",
    )?;
    match spec.language {
        LanguageKind::Cycles => {
            let why = ": they are drawn from `words` without repetition";
            within("document_words", spec.document_words, 2, spec.words, why)?;
        }
        LanguageKind::Dialects => {
            within("dialects", spec.dialects, 1, MOST, "")?;
            let why = ": so many of the `words` may follow a word";
            within("choices", spec.choices, 1, spec.words, why)?;
            let entries = spec.dialects * spec.words;
            let rule = format!(
                "every dialect has an entry for each of the {} words, and {MOST_ENTRIES} entries \
                 in all are the most",
                spec.words
            );
            require(
                entries <= MOST_ENTRIES,
                "dialects",
                spec.dialects.to_string(),
                rule,
            )?;
            require(
                (0.0..=MOST_SKEW).contains(&spec.skew),
                "skew",
                spec.skew.to_string(),
                format!("it must lie between 0 and {MOST_SKEW}"),
            )?;
        }
    }
    within("document_tokens", spec.document_tokens, 1, 1 << 30, "")?;
    require(
        (0.0..=1.0).contains(&spec.noise),
        "noise",
        spec.noise.to_string(),
        "it is a probability and must lie between 0 and 1".into(),
    )?;
    // Held-out documents are all gone through for the floor; training ones only as they are used.
    for (field, tokens, exponent) in [
        ("train_tokens", spec.train_tokens, 18),
        ("validation_tokens", spec.validation_tokens, 9),
    ] {
        let right = (1..=10u64.pow(exponent)).contains(&tokens);
        let rule = format!("it must lie between 1 and 10^{exponent}");
        require(right, field, tokens.to_string(), rule)?;
    }
    Ok(())
}
