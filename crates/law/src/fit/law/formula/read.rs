//! The text of a formula → its tree, its columns, and what is said of its parameters.
//!
//! `[loss =] EXPRESSION [where NAME = NUMBER, NAME in LOW..HIGH, NAME = EXPRESSION, …]`. In the text that a law goes by
//! its columns stand between backticks, and expressions in the place of the names that stand for them, so that it can be
//! read again where no table is at hand.

use super::super::{LawError, MAX_PARAMETERS};
use super::expand::{
    MOST, bracketed, column_of, conditions_at, families, marked, number, parts, plain, unbracketed,
    words, words_of, written_out, wrong,
};
use super::groups::Column;
use super::tree::{Name, Tree};
use experiment::expression::{Expression, Names, Span, Wrong};
use experiment::spelling::nearest;
use std::cell::RefCell;
use std::collections::BTreeSet;

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
    /// Columns by whose words parameters differ.
    pub(super) by: Vec<Column>,
}

/// A parameter that is to be found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    pub(super) name: String,
    /// Between what it is looked for, where that is said.
    pub(super) between: Option<(f64, f64)>,
    /// By which column it differs, if by any.
    pub(super) by: Option<usize>,
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
    let plain = |text: &str| unbracketed(text, (0, 0)).0;
    let (text, span) = unbracketed(text, wrong.span);
    LawError::Formula {
        text,
        span,
        why: plain(&wrong.why),
        help: plain(&wrong.help),
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
        self.quoted.contains(name) || is_known(name, self.table)
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

/// Says whether a table has a column, or any has.
fn is_known(name: &str, table: &[String]) -> bool {
    let mut table = table.iter().map(String::as_str);
    table.any(|column| column == name) || USUAL.contains(&name)
}

/// The column that a letter stands for.
fn letter(name: &str) -> Option<&'static str> {
    let known = LETTERS.iter().find(|(letter, _)| *letter == name);
    known.map(|(_, column)| *column)
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
        if let Some(own) = marked(name) {
            return Ok(if is_known(own, self.table) {
                Name::Column(place(&self.columns, own))
            } else {
                Name::Parameter(place(&self.parameters, own))
            });
        }
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
    let text = bracketed(text);
    let text = families(text.trim(), table).map_err(|wrong| refused(text.trim(), wrong))?;
    let text = written_out(&text, &|name| {
        is_known(name, table) || letter(name).is_some()
    })
    .map_err(|wrong| refused(&text, wrong))?;
    let read = of_text(&text, table).map_err(|wrong| refused(&text, wrong))?;
    // It is read again by its name.
    if read.name.len() > MOST {
        let why = format!(
            "written out it has {} letters: at most {MOST} are read",
            read.name.len()
        );
        return Err(refused("", wrong((0, 0), why, "")));
    }
    Ok(read)
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
    let in_brackets = parameters.iter().filter_map(|name| column_of(name));
    let mut by: Vec<Column> = Vec::new();
    for name in in_brackets {
        if by.iter().all(|column| column.name != name) {
            by.push(Column {
                name: name.to_owned(),
                words: Vec::new(),
            });
        }
    }
    if end < text.len() {
        let start = end + "where".len();
        conditions(text, start, &parameters, &mut said, &mut by)?;
    }
    check_words(text, &by, &columns)?;
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
        by: column_of(&parameters[*at]).and_then(|name| by.iter().position(|c| c.name == name)),
    };
    Ok(Read {
        name: unbracketed(
            &(quoted(formula, &expression, &columns) + &text[end..]),
            (0, 0),
        )
        .0,
        tree: renumbered(tree, &kept),
        parameters: kept.iter().map(named).collect(),
        columns,
        by,
    })
}

/// Says what is wrong with the columns in brackets.
fn check_words(text: &str, by: &[Column], columns: &[String]) -> Result<(), Wrong> {
    for column in by {
        let name = &column.name;
        let at = text.find(&format!("[{name}]")).unwrap_or_default();
        let refused = |why: String, help: String| Err(wrong((at, at + name.len() + 2), why, help));
        if columns.contains(name) {
            let why = format!("`{name}` is read as a number and as words");
            return refused(why, String::new());
        }
        let example = format!("say which there are, as in `where {name} in (adam, muon)`");
        if column.words.len() < 2 {
            let why = format!("`{name}` needs at least two words that tell parameters apart");
            return refused(why, example);
        }
        let is_odd = |word: &&String| word.is_empty() || word.contains(['(', ')', '`', '[', ']']);
        if let Some(word) = column.words.iter().find(is_odd) {
            let why = format!("`{word}` cannot be a word of `{name}`");
            let help = "words have no parentheses, brackets, commas or backticks".to_owned();
            return refused(why, help);
        }
        let distinct: BTreeSet<&String> = column.words.iter().collect();
        if distinct.len() < column.words.len() {
            let why = format!("a word of `{name}` stands there twice");
            return refused(why, String::new());
        }
    }
    Ok(())
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
    by: &mut [Column],
) -> Result<(), Wrong> {
    for ((from, to), part) in parts(&text[start..]) {
        let span = (start + from, start + to);
        let example = "write it like `where E = 1.69, alpha in 0.1..1`";
        let number = |text: &str| {
            number(text)
                .ok_or_else(|| wrong(span, format!("`{}` is no number", text.trim()), example))
        };
        if let Some((name, words)) = words_of(part) {
            let Some(column) = by.iter_mut().find(|column| column.name == name) else {
                return Err(wrong(
                    span,
                    format!("no parameter differs by `{name}`"),
                    format!("one that does is written like `A[{name}]`"),
                ));
            };
            column.words = words;
            continue;
        }
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
        let name = name.trim().trim_matches('`');
        let name = marked(name).unwrap_or(name);
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
