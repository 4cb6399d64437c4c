//! The text of a formula with everything written out: families of columns, and names that stand for expressions.

use experiment::expression::{Span, Wrong};
use experiment::quantity::parse_number;
use std::collections::BTreeSet;

/// The longest formula.
pub(super) const MOST: usize = 4000;

pub(super) fn wrong(span: Span, why: impl Into<String>, help: impl Into<String>) -> Wrong {
    Wrong {
        span,
        why: why.into(),
        help: help.into(),
    }
}

/// Says whether a letter may stand in a name.
pub(super) fn is_inside(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

/// What of a column's name may stand in a parameter's: that of `w_a-b` is `t_a_b`.
pub(super) fn plain(name: &str) -> String {
    name.replace(|c| !is_inside(c), "_")
}

/// The names in a text.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_inside(c))
        .filter(|word| !word.is_empty())
}

/// Where what is said of parameters begins: at `where`, outside of backticks.
pub(super) fn conditions_at(text: &str) -> Option<usize> {
    let starts = text.match_indices("where").map(|(at, _)| at);
    let is_blank = |c: Option<char>| c.is_some_and(char::is_whitespace);
    starts.into_iter().find(|at| {
        let (before, after) = (&text[..*at], &text[at + "where".len()..]);
        is_blank(before.chars().next_back())
            && is_blank(after.chars().next())
            && before.matches('`').count() % 2 == 0
    })
}

/// The conditions in a text that begins with them, each with where it stands: commas part them, but those in parentheses.
pub(super) fn parts(text: &str) -> Vec<(Span, &str)> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(((start, at), &text[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(((start, text.len()), &text[start..]));
    parts
}

/// What sentences call a law: of a formula what is computed, without what is said of its parameters.
pub fn called(name: &str) -> String {
    let end = conditions_at(name).unwrap_or(name.len());
    name[..end].trim_end().replace('`', "")
}

/// Begins a name with brackets while it is read: what somebody put between backticks is a column.
const MARK: char = '\u{1}';

/// Puts names with brackets between backticks, marked: `A[optimizer]` is a name.
pub(super) fn bracketed(text: &str) -> String {
    let (mut written, mut rest, mut is_quoted) = (String::new(), text, false);
    while let Some(c) = rest.chars().next() {
        if !is_inside(c) {
            is_quoted ^= c == '`';
            written.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(rest.find(|c| !is_inside(c)).unwrap_or(rest.len()));
        let column = after.strip_prefix('[').filter(|_| !is_quoted);
        match column.and_then(|after| after.split_once(']')) {
            Some((column, after)) => {
                let column = column.trim().trim_matches('`');
                written += &format!("`{MARK}{word}[{column}]`");
                rest = after;
            }
            None => {
                written += word;
                rest = after;
            }
        }
    }
    written
}

/// Writes names with brackets as they were, and moves a place in the text with them.
pub(super) fn unbracketed(text: &str, span: Span) -> (String, Span) {
    let (mut written, mut rest) = (String::new(), text);
    let mut gone = Vec::new();
    let quoted = format!("`{MARK}");
    while let Some((before, after)) = rest.split_once(&quoted) {
        let at = text.len() - after.len();
        let (name, after) = after.split_once('`').unwrap_or((after, ""));
        // Two letters before the name, and one after it.
        gone.extend([at - 2, at - 1, at + name.len()]);
        written += before;
        written += name;
        rest = after;
    }
    written += rest;
    let moved = |place: usize| place - gone.iter().filter(|gone| **gone < place).count();
    (written, (moved(span.0), moved(span.1)))
}

/// The parameter that a marked name is, without its mark.
pub(super) fn marked(name: &str) -> Option<&str> {
    name.strip_prefix(MARK)
}

/// The column in the brackets of a name.
pub(super) fn column_of(name: &str) -> Option<&str> {
    let (_, column) = name.strip_suffix(']')?.split_once('[')?;
    Some(column)
}

/// Reads `COLUMN in (WORD, WORD, …)`.
pub(super) fn words_of(condition: &str) -> Option<(&str, Vec<String>)> {
    let (column, words) = condition.split_once(" in (")?;
    let words = words.trim_end().strip_suffix(')')?;
    let words = words.split(',').map(|word| word.trim().to_owned());
    Some((column.trim().trim_matches('`'), words.collect()))
}

/// The columns in brackets of which nothing says what their words are.
pub fn unsaid_words(text: &str) -> Vec<String> {
    // What is longer is refused when it is read.
    if text.len() > MOST {
        return Vec::new();
    }
    let text = bracketed(text);
    let end = conditions_at(&text).unwrap_or(text.len());
    let conditions = text.get(end + "where".len()..).map_or_else(Vec::new, parts);
    let said = |column: &str| {
        let mut said = conditions.iter().filter_map(|(_, part)| words_of(part));
        said.any(|(known, _)| known == column)
    };
    let names = text.split('`').skip(1).step_by(2).filter_map(marked);
    let columns = names.filter_map(column_of);
    let unsaid: BTreeSet<&str> = columns.filter(|column| !said(column)).collect();
    unsaid.into_iter().map(str::to_owned).collect()
}

/// Adds to a formula what the words of a column are.
pub fn with_words(text: &str, column: &str, words: &[String]) -> String {
    let joint = match conditions_at(text) {
        Some(_) => ",",
        None => " where",
    };
    format!("{text}{joint} {column} in ({})", words.join(", "))
}

/// Writes the expressions of `where NAME = EXPRESSION` in the places of their names, which are those of no column.
pub(super) fn written_out(text: &str, is_column: &impl Fn(&str) -> bool) -> Result<String, Wrong> {
    let Some(end) = conditions_at(text) else {
        return Ok(text.to_owned());
    };
    let start = end + "where".len();
    // A word alone is no number that was meant, or a misspelt column.
    let is_expression = |body: &str| {
        let body = body.trim();
        number(body).is_none() && (is_column(body) || !body.chars().all(is_inside))
    };
    let mut formula = text[..end].to_owned();
    let (mut definitions, mut conditions) = (Vec::new(), Vec::new());
    for ((from, to), part) in parts(&text[start..]) {
        match part.split_once('=').filter(|_| words_of(part).is_none()) {
            Some((name, body)) if is_expression(body) => {
                definitions.push((
                    (start + from, start + to),
                    name.trim().to_owned(),
                    body.trim().to_owned(),
                ));
            }
            _ => conditions.push(part.trim()),
        }
    }
    if definitions.is_empty() {
        return Ok(text.to_owned());
    }
    for at in 0..definitions.len() {
        let (span, name, body) = definitions[at].clone();
        if !name.chars().all(is_inside)
            || name.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            || definitions[..at].iter().any(|(_, known, _)| *known == name)
        {
            let why =
                format!("`{name}` is no name that an expression could have, or has one already");
            return Err(wrong(span, why, ""));
        }
        if is_column(&name) {
            return Err(wrong(
                span,
                format!("`{name}` is a column"),
                "give the expression another name",
            ));
        }
        if replaced(&body, &name, "") != body {
            let why = format!("`{name}` would stand for itself");
            return Err(wrong(span, why, ""));
        }
        let stands_in = |text: &str| replaced(text, &name, "") != text;
        let later = definitions[at + 1..].iter();
        if !stands_in(&formula) && !later.clone().any(|(_, _, body)| stands_in(body)) {
            let why = format!("nothing in the formula is called `{name}`");
            return Err(wrong(span, why, ""));
        }
        let body = format!("({body})");
        formula = replaced(&formula, &name, &body);
        for (_, _, other) in &mut definitions[at + 1..] {
            *other = replaced(other, &name, &body);
        }
        let longest = definitions.iter().map(|(_, _, body)| body.len());
        if longest.chain([formula.len()]).any(|length| length > MOST) {
            let why = format!("with it written out the formula has more than {MOST} letters");
            return Err(wrong(span, why, ""));
        }
    }
    if conditions.is_empty() {
        return Ok(formula.trim_end().to_owned());
    }
    Ok(format!("{formula}where {}", conditions.join(", ")))
}

/// Puts something in the places of a name, but for those between backticks.
pub(crate) fn replaced(text: &str, name: &str, by: &str) -> String {
    let (mut written, mut rest, mut is_quoted) = (String::new(), text, false);
    while let Some(c) = rest.chars().next() {
        let length = if is_inside(c) {
            rest.find(|c| !is_inside(c)).unwrap_or(rest.len())
        } else {
            is_quoted ^= c == '`';
            c.len_utf8()
        };
        let (word, after) = rest.split_at(length);
        written += if word == name && !is_quoted { by } else { word };
        rest = after;
    }
    written
}

/// A number, of either sign or without limit.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let negative = text.strip_prefix('-');
    let size = match negative.unwrap_or(text).trim() {
        "inf" => f64::INFINITY,
        zero if zero.parse() == Ok(0.0) => 0.0,
        text => parse_number(text).ok()?,
    };
    Some(if negative.is_some() { -size } else { size })
}

/// Writes sums over families out: `sum(t_* * w_*)` is `t_` and `w_` for each column that begins with `w_`.
pub(super) fn families(text: &str, table: &[String]) -> Result<String, Wrong> {
    let Some(start) = text.find("sum(") else {
        return Ok(text.to_owned());
    };
    let inside = start + "sum(".len();
    let mut depth = 1;
    let end = text[inside..].char_indices().find_map(|(at, c)| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        (depth == 0).then_some(inside + at)
    });
    let Some(end) = end else {
        return Err(wrong((start, inside), "this parenthesis is not closed", ""));
    };
    let body = &text[inside..end];
    let span = (start, end + 1);
    let prefixes = prefixes(body);
    let suffixes = |prefix: &str| -> BTreeSet<&str> {
        let with = |column| str::strip_prefix(column, prefix).filter(|rest| !rest.is_empty());
        table.iter().filter_map(|column| with(column)).collect()
    };
    let sets = prefixes
        .iter()
        .map(|prefix| suffixes(prefix))
        .filter(|set| !set.is_empty());
    let common = sets.reduce(|a, b| a.intersection(&b).copied().collect());
    let Some(common) = common.filter(|common| !common.is_empty()) else {
        return Err(wrong(
            span,
            "no column is of this family",
            "`sum(w_*)` adds up the columns that begin with `w_`, and `sum(t_* * w_*)` gives each a parameter",
        ));
    };
    let distinct: BTreeSet<String> = common.iter().map(|suffix| plain(suffix)).collect();
    if distinct.len() < common.len() {
        return Err(wrong(
            span,
            "two columns of this family would have parameters of one name",
            "columns are told apart by letters, digits, `_` and `.`: write the sum out",
        ));
    }
    let terms = common.iter().map(|suffix| {
        let mut term = body.to_owned();
        for prefix in &prefixes {
            let name = format!("{prefix}{suffix}");
            let is_column = table.contains(&name);
            let written = if is_column {
                format!("`{name}`")
            } else {
                format!("{prefix}{}", plain(suffix))
            };
            term = term.replace(&format!("{prefix}*"), &written);
        }
        format!("({term})")
    });
    let sum = terms.collect::<Vec<_>>().join(" + ");
    let rest = families(&text[end + 1..], table)?;
    Ok(format!("{}({sum}){rest}", &text[..start]))
}

/// The beginnings of families in a text: words that end in `_` before a `*`.
fn prefixes(text: &str) -> Vec<String> {
    let stars = text.match_indices("_*").map(|(at, _)| at + 1);
    let mut prefixes: Vec<String> = stars
        .map(|star| {
            let before = &text[..star];
            let start = before.rfind(|c| !is_inside(c)).map_or(0, |at| {
                at + before[at..].chars().next().map_or(1, char::len_utf8)
            });
            before[start..].to_owned()
        })
        .collect();
    prefixes.sort();
    prefixes.dedup();
    // The longest first, so that none is taken for the end of another.
    prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
    prefixes
}
