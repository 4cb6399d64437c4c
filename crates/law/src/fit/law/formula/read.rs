//! The text of a formula → its tree, its columns, and what is said of its parameters.
//!
//! `[loss =] EXPRESSION [where NAME = NUMBER, NAME in LOW..HIGH, …]`. In the text that a law goes by its columns stand
//! between backticks, so that it can be read again where no table is at hand.

use super::super::{LawError, MAX_PARAMETERS};
use super::tree::{Name, Tree};
use experiment::expression::{Expression, Names, Span, Wrong};
use experiment::quantity::parse_number;
use experiment::spelling::nearest;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// The longest formula.
const MOST: usize = 4000;

/// Columns that are there without a table.
const USUAL: [&str; 8] = [
    "params",
    "tokens",
    "concept_share",
    "compression_ratio",
    "declared_ratio",
    "flops",
    "unique_tokens",
    "stable_loss",
];

/// Letters that the field has for columns.
const LETTERS: [(&str, &str); 4] = [
    ("N", "params"),
    ("D", "tokens"),
    ("P", "concept_share"),
    ("R", "compression_ratio"),
];

/// A formula that was read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    /// What it goes by: all families written out, columns between backticks.
    pub(super) name: String,
    pub(super) tree: Tree,
    pub(super) columns: Vec<String>,
    pub(super) parameters: Vec<Named>,
}

/// A parameter that is to be found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    pub(super) name: String,
    /// Between what it is looked for, where that is said.
    pub(super) between: Option<(f64, f64)>,
}

/// What is said of a parameter.
#[derive(Clone, Copy)]
enum Said {
    Pinned(f64),
    Between(f64, f64),
}

/// Says whether the name of a law is a formula.
pub fn is_formula(text: &str) -> bool {
    text.contains(['+', '*', '/', '^', '(', '=', '`']) || text.contains(" - ")
}

/// What is wrong with a formula, shown where it stands.
pub(super) fn refused(text: &str, wrong: Wrong) -> LawError {
    LawError::Formula {
        text: text.to_owned(),
        span: wrong.span,
        why: wrong.why,
        help: wrong.help,
    }
}

fn wrong(span: Span, why: impl Into<String>, help: impl Into<String>) -> Wrong {
    Wrong {
        span,
        why: why.into(),
        help: help.into(),
    }
}

/// The names of a formula, as they are met.
struct Met<'a> {
    table: &'a [String],
    /// Names between backticks.
    quoted: BTreeSet<String>,
    /// Names of which something is said: they are parameters.
    conditions: BTreeSet<&'a str>,
    /// The words of the formula, and the columns for which letters stand in it.
    words: BTreeSet<&'a str>,
    columns: RefCell<Vec<String>>,
    parameters: RefCell<Vec<String>>,
}

impl Met<'_> {
    fn is_column(&self, name: &str) -> bool {
        let mut table = self.table.iter().map(String::as_str);
        self.quoted.contains(name) || table.any(|column| column == name) || USUAL.contains(&name)
    }

    /// The column that a name is a misspelling of; `A_params` and `t_web` beside `w_web` are none.
    fn meant(&self, name: &str) -> Option<&str> {
        // `a` and `E` are near to many a word.
        if name.len() <= 4 {
            return None;
        }
        let table = self.table.iter().map(String::as_str);
        let meant = nearest(name, USUAL.into_iter().chain(table))?;
        let rest = |name| str::split_once(name, '_').map(|(_, rest)| plain(rest));
        let is_of_it = (self.words.contains(meant) || self.quoted.contains(meant))
            && rest(name).is_some_and(|own| own == meant || Some(own) == rest(meant));
        (!is_of_it).then_some(meant)
    }
}

/// The column that a letter stands for.
fn letter(name: &str) -> Option<&'static str> {
    let known = LETTERS.iter().find(|(letter, _)| *letter == name);
    known.map(|(_, column)| *column)
}

/// Says whether a letter may stand in a name.
fn is_inside(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

/// What of a column's name may stand in a parameter's: that of `w_a-b` is `t_a_b`.
fn plain(name: &str) -> String {
    name.replace(|c| !is_inside(c), "_")
}

/// The names in a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_inside(c))
        .filter(|word| !word.is_empty())
}

/// Where what is said of parameters begins: at `where`, outside of backticks.
fn conditions_at(text: &str) -> Option<usize> {
    let starts = text.match_indices("where").map(|(at, _)| at);
    let is_blank = |c: Option<char>| c.is_some_and(char::is_whitespace);
    starts.into_iter().find(|at| {
        let (before, after) = (&text[..*at], &text[at + "where".len()..]);
        is_blank(before.chars().next_back())
            && is_blank(after.chars().next())
            && before.matches('`').count() % 2 == 0
    })
}

fn place(names: &RefCell<Vec<String>>, name: &str) -> usize {
    let mut names = names.borrow_mut();
    let known = names.iter().position(|known| known == name);
    known.unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

impl Names for Met<'_> {
    type Name = Name;

    fn find(&self, name: &str) -> Result<Name, String> {
        let column = if self.is_column(name) {
            Some(name)
        } else {
            letter(name)
        };
        if column == Some("loss") || name == "loss" {
            return Err("the loss is what the law predicts".to_owned());
        }
        if let Some(column) = column {
            return Ok(Name::Column(place(&self.columns, column)));
        }
        if !self.conditions.contains(name)
            && let Some(meant) = self.meant(name)
        {
            return Err(format!(
                "did you mean the column `{meant}`? A parameter of such a name is said to be one: `where {name} in -inf..inf`"
            ));
        }
        Ok(Name::Parameter(place(&self.parameters, name)))
    }
}

/// Reads a formula; `table` are the columns beside the usual ones.
pub(super) fn read(text: &str, table: &[String]) -> Result<Read, LawError> {
    if text.len() > MOST {
        let why = format!(
            "a formula of {} letters: at most {MOST} are read",
            text.len()
        );
        return Err(refused("", wrong((0, 0), why, "")));
    }
    let text = match text.split_once('=') {
        Some((left, right)) if left.trim() == "loss" => right,
        _ => text,
    };
    let text = families(text.trim(), table).map_err(|wrong| refused(text.trim(), wrong))?;
    of_text(&text, table).map_err(|wrong| refused(&text, wrong))
}

fn of_text(text: &str, table: &[String]) -> Result<Read, Wrong> {
    let end = conditions_at(text).unwrap_or(text.len());
    let formula = &text[..end];
    let met = Met {
        table,
        quoted: formula
            .split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect(),
        conditions: words(&text[end..]).collect(),
        words: words(formula)
            .flat_map(|word| [word].into_iter().chain(letter(word)))
            .collect(),
        columns: RefCell::default(),
        parameters: RefCell::default(),
    };
    let expression = Expression::parse(formula, &met)?;
    let parameters = met.parameters.into_inner();
    let columns = met.columns.into_inner();
    let mut said = vec![None; parameters.len()];
    if end < text.len() {
        let start = end + "where".len();
        conditions(text, start, &parameters, &mut said)?;
    }
    let pinned = |at: usize| match said[at] {
        Some(Said::Pinned(value)) => Some(value),
        _ => None,
    };
    let tree = Tree::of(&expression, &pinned)?;
    let whole = (0, formula.len());
    // Parameters that are pinned are none any more.
    let kept: Vec<usize> = (0..parameters.len())
        .filter(|at| pinned(*at).is_none())
        .collect();
    if columns.is_empty() {
        let help = format!("columns are {}", known(table));
        return Err(wrong(whole, "it reads no column", help));
    }
    if kept.is_empty() {
        return Err(wrong(
            whole,
            "it has no parameter to fit",
            "every name that is no column is a parameter",
        ));
    }
    if kept.len() > MAX_PARAMETERS {
        return Err(wrong(
            whole,
            format!(
                "it has {} parameters, and at most {MAX_PARAMETERS} are fitted",
                kept.len()
            ),
            "",
        ));
    }
    let named = |at: &usize| Named {
        name: parameters[*at].clone(),
        between: match said[*at] {
            Some(Said::Between(low, high)) => Some((low, high)),
            _ => None,
        },
    };
    Ok(Read {
        name: quoted(formula, &expression, &columns) + &text[end..],
        tree: renumbered(tree, &kept),
        parameters: kept.iter().map(named).collect(),
        columns,
    })
}

fn known(table: &[String]) -> String {
    let names = USUAL.into_iter().chain(table.iter().map(String::as_str));
    names
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join(", ")
}

fn renumbered(tree: Tree, kept: &[usize]) -> Tree {
    let inner = |tree| renumbered(tree, kept);
    let all = |parts: Vec<(bool, Tree)>| {
        parts
            .into_iter()
            .map(|(sign, part)| (sign, inner(part)))
            .collect()
    };
    match tree {
        Tree::Name(Name::Parameter(at)) => Tree::Name(Name::Parameter(
            kept.iter().position(|kept| *kept == at).unwrap_or(at),
        )),
        Tree::Sum(parts) => Tree::Sum(all(parts)),
        Tree::Product(parts) => Tree::Product(all(parts)),
        Tree::Power(base, exponent) => {
            Tree::Power(Box::new(inner(*base)), Box::new(inner(*exponent)))
        }
        Tree::Call(function, parts) => Tree::Call(function, parts.into_iter().map(inner).collect()),
        tree => tree,
    }
}

/// Reads `NAME = NUMBER, NAME in LOW..HIGH, …`.
fn conditions(
    text: &str,
    start: usize,
    parameters: &[String],
    said: &mut [Option<Said>],
) -> Result<(), Wrong> {
    let mut at = start;
    for part in text[start..].split(',') {
        let span = (at, at + part.len());
        at = span.1 + 1;
        let example = "write it like `where E = 1.69, alpha in 0.1..1`";
        let number = |text: &str| {
            let text = text.trim();
            let negative = text.strip_prefix('-');
            let size = match negative.unwrap_or(text).trim() {
                "inf" => Some(f64::INFINITY),
                zero if zero.parse() == Ok(0.0) => Some(0.0),
                text => parse_number(text).ok(),
            };
            let size =
                size.ok_or_else(|| wrong(span, format!("`{text}` is no number"), example))?;
            Ok(if negative.is_some() { -size } else { size })
        };
        let (name, condition) = if let Some((name, value)) = part.split_once('=') {
            let value: f64 = number(value)?;
            if !value.is_finite() {
                return Err(wrong(
                    span,
                    "a parameter is pinned to a finite number",
                    example,
                ));
            }
            (name, Said::Pinned(value))
        } else if let Some((name, range)) = part.split_once(" in ") {
            let Some((low, high)) = range.split_once("..") else {
                return Err(wrong(span, "bounds are missing", example));
            };
            let (low, high) = (number(low)?, number(high)?);
            if low >= high {
                return Err(wrong(
                    span,
                    "the lower bound is not below the upper one",
                    example,
                ));
            }
            (name, Said::Between(low, high))
        } else {
            return Err(wrong(span, "this is no condition", example));
        };
        let name = name.trim();
        let Some(place) = parameters.iter().position(|known| known == name) else {
            let help = format!("its parameters are {}", parameters.join(", "));
            return Err(wrong(
                span,
                format!("the formula has no parameter `{name}`"),
                help,
            ));
        };
        if said[place].is_some() {
            return Err(wrong(span, format!("`{name}` has a condition already"), ""));
        }
        said[place] = Some(condition);
    }
    Ok(())
}

/// Writes a formula with its columns between backticks, by their own names.
fn quoted(text: &str, expression: &Expression<Name>, columns: &[String]) -> String {
    let mut places = Vec::new();
    column_places(expression, &mut places);
    places.sort_unstable();
    let (mut written, mut at) = (String::new(), 0);
    for ((start, end), column) in places {
        written += &format!("{}`{}`", &text[at..start], columns[column]);
        at = end;
    }
    written + &text[at..]
}

fn column_places(expression: &Expression<Name>, places: &mut Vec<(Span, usize)>) {
    use experiment::expression::Arithmetic;
    match expression.arithmetic() {
        Arithmetic::Name(Name::Column(column)) => places.push((expression.span(), *column)),
        Arithmetic::Negative(inner) => column_places(inner, places),
        Arithmetic::Binary(left, _, right) => {
            column_places(left, places);
            column_places(right, places);
        }
        Arithmetic::Call(_, parts) => parts.iter().for_each(|part| column_places(part, places)),
        _ => {}
    }
}

/// Writes sums over families out: `sum(t_* * w_*)` is `t_` and `w_` for each column that begins with `w_`.
fn families(text: &str, table: &[String]) -> Result<String, Wrong> {
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
