//! `where`: expressions that say which cells of a grid are kept.
//!
//! Comparisons (chained ones too: `0.3 <= concept_share < 0.7`), arithmetic, `and`, `or`, `not`,
//! parentheses, numbers with suffixes and words in quotes; names are those of the keys.

mod parser;

use super::document::{Content, Node};
use super::draft::Draft;
use super::key::{Key, Shown};
use super::source::{Location, Problem};
use parser::Parser;
use serde_yaml::Value as Yaml;

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 64;

/// A constraint, checked as far as it can be without values.
pub(super) struct Constraint {
    expression: Expression,
    place: Place,
}

/// Where the text of an expression lies in the file.
struct Place {
    whole: Location,
    /// Offset of the expression in `whole`; `None` when it is escaped or folded.
    inside: Option<usize>,
}

impl Place {
    fn at(&self, (start, end): (usize, usize)) -> Location {
        match self.inside {
            Some(inside) => self.whole.part(inside + start, inside + end),
            None => self.whole.clone(),
        }
    }
}

type Span = (usize, usize);

struct Expression {
    span: Span,
    node: Operation,
}

enum Operation {
    Number(f64),
    Word(String),
    Name(&'static Key),
    Negative(Box<Expression>),
    Arithmetic(Box<Expression>, char, Box<Expression>),
    /// `first op second op third …`: all neighbours must compare so.
    Compare(Box<Expression>, Vec<(Comparison, Expression)>),
    Not(Box<Expression>),
    All(Vec<Expression>),
    Any(Vec<Expression>),
}

#[derive(Clone, Copy, PartialEq)]
enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
    Unequal,
}

/// The value of an expression.
enum Value {
    Number(f64),
    Word(String),
    Truth(bool),
}

/// What is wrong, and where in the expression.
struct Wrong {
    span: Span,
    why: String,
    help: String,
}

impl Wrong {
    fn new(span: Span, why: impl Into<String>) -> Self {
        Self {
            span,
            why: why.into(),
            help: String::new(),
        }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: help.into(),
            ..self
        }
    }

    fn problem(self, place: &Place) -> Problem {
        Problem::new(format!("this constraint cannot be used: {}", self.why))
            .label(&place.at(self.span), "")
            .help(match self.help.as_str() {
                "" => "write it like `concept_share <= 0.5 or params > 0.3M`",
                help => help,
            })
    }
}

impl Constraint {
    /// Reads a constraint.
    pub(super) fn read(node: &Node) -> Result<Self, Problem> {
        let Content::Scalar {
            value: Yaml::String(text),
            ..
        } = &node.content
        else {
            return Err(
                Problem::new(format!("`where` cannot be {}", node.describe()))
                    .label(&node.location, "")
                    .help(
                        "write an expression such as \"concept_share <= 0.5\", or a list of them",
                    ),
            );
        };
        let whole = node.location.clone();
        let place = Place {
            inside: whole.written().find(text.as_str()),
            whole,
        };
        match Parser::new(text).and_then(Parser::parse) {
            Ok(expression) => Ok(Self { expression, place }),
            Err(wrong) => Err(wrong.problem(&place)),
        }
    }

    /// Where it stands.
    pub(super) fn location(&self) -> &Location {
        &self.place.whole
    }

    /// Says whether a cell is kept.
    pub(super) fn holds(&self, draft: &Draft) -> Result<bool, Problem> {
        self.expression
            .truth(draft)
            .map_err(|wrong| wrong.problem(&self.place))
    }
}

impl Expression {
    fn truth(&self, draft: &Draft) -> Result<bool, Wrong> {
        match self.value(draft)? {
            Value::Truth(truth) => Ok(truth),
            _ => Err(Wrong::new(
                self.span,
                "a value stands where a comparison is needed",
            )),
        }
    }

    fn number(&self, draft: &Draft) -> Result<f64, Wrong> {
        match self.value(draft)? {
            Value::Number(number) => Ok(number),
            _ => Err(Wrong::new(self.span, "this is not a number")),
        }
    }

    fn value(&self, draft: &Draft) -> Result<Value, Wrong> {
        Ok(match &self.node {
            Operation::Number(number) => Value::Number(*number),
            Operation::Word(word) => Value::Word(word.clone()),
            Operation::Name(key) => match (key.get)(draft) {
                Shown::Number(number) => Value::Number(number),
                Shown::Word(word) => Value::Word(word),
                Shown::Flag(on) => Value::Word(on.to_string()),
                Shown::Nothing => {
                    return Err(
                        Wrong::new(self.span, format!("`{}` has no value here", key.path)).help(
                            "use what the cells themselves declare; what is solved comes later",
                        ),
                    );
                }
            },
            Operation::Negative(inner) => Value::Number(-inner.number(draft)?),
            Operation::Arithmetic(left, operator, right) => {
                let (left, right) = (left.number(draft)?, right.number(draft)?);
                Value::Number(match operator {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ => left / right,
                })
            }
            Operation::Compare(first, rest) => {
                let mut left = first.value(draft)?;
                let mut holds = true;
                for (comparison, expression) in rest {
                    let right = expression.value(draft)?;
                    holds &= comparison
                        .holds(&left, &right)
                        .ok_or_else(|| Wrong::new(self.span, "these cannot be compared"))?;
                    left = right;
                }
                Value::Truth(holds)
            }
            Operation::Not(inner) => Value::Truth(!inner.truth(draft)?),
            // No short circuit: a mistake on the right is found in the first cell.
            Operation::All(parts) => parts
                .iter()
                .try_fold(true, |all, part| Ok(part.truth(draft)? && all))
                .map(Value::Truth)?,
            Operation::Any(parts) => parts
                .iter()
                .try_fold(false, |any, part| Ok(part.truth(draft)? || any))
                .map(Value::Truth)?,
        })
    }
}

impl Comparison {
    const SYMBOLS: [(&'static str, Comparison); 6] = [
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("==", Comparison::Equal),
        ("!=", Comparison::Unequal),
        ("<", Comparison::Less),
        (">", Comparison::More),
    ];

    fn holds(self, left: &Value, right: &Value) -> Option<bool> {
        let (equal, less) = match (left, right) {
            // `0.3M` is 299999.99999999994 in binary: what is written equal is equal.
            (Value::Number(a), Value::Number(b)) => {
                let close = (a - b).abs() <= 1e-12 * a.abs().max(b.abs());
                (a == b || close && a.is_finite() && b.is_finite(), a < b)
            }
            (Value::Word(a), Value::Word(b)) if matches!(self, Self::Equal | Self::Unequal) => {
                (a == b, false)
            }
            _ => return None,
        };
        Some(match self {
            Comparison::Less => less && !equal,
            Comparison::AtMost => less || equal,
            Comparison::More => !less && !equal,
            Comparison::AtLeast => !less || equal,
            Comparison::Equal => equal,
            Comparison::Unequal => !equal,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::{Params, TokenBudget};
    use proptest::prelude::*;

    /// Evaluates an expression over N = 0.3M, D = 20 per param, P = 0.5, R = 4.
    fn holds(text: &str) -> Result<bool, String> {
        let draft = Draft {
            params: Some(Params(300_000)),
            tokens: Some(TokenBudget::PerParam(20.0)),
            concept_share: Some(0.5),
            compression_ratio: Some(4.0),
            ..Draft::default()
        };
        Parser::new(text)
            .and_then(Parser::parse)
            .and_then(|expression| expression.truth(&draft))
            .map_err(|wrong| wrong.why)
    }

    #[test]
    fn expressions_mean_what_they_mean_in_mathematics() {
        for (text, truth) in [
            ("concept_share <= 0.5 or params > 0.3M", true),
            (
                "params == 0.3M and params == 3e5 and params == 300_000",
                true,
            ),
            ("params < 0.3M or params > 0.3M", false),
            ("0.3 <= concept_share < 0.5", false),
            ("0.3 < concept_share <= 0.5 < compression_ratio", true),
            (
                "1 + 2 * 3 == 7 and (1 + 2) * 3 == 9 and 8 / 4 / 2 == 1 and 5 - 2 - 1 == 2",
                true,
            ),
            ("not concept_share > 0.6 and not (params > 1M)", true),
            ("not concept_share < 0.6 or compression_ratio != 4", false),
            ("tokens / params == 20", true),
            ("-concept_share + 1 >= 0", true),
            (
                "training.batch >= 16 and training.threshold == 'calibrated'",
                true,
            ),
            ("training.threshold != \"calibrated\"", false),
            ("1 / 0 > 5", true),
            ("0 / 0 == 0 or 0 / 0 < 1", false),
        ] {
            assert_eq!(holds(text), Ok(truth), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("", "a name or a number is missing here"),
            ("params >", "a name or a number is missing here"),
            ("params 3", "an operator is missing before this"),
            ("params", "a value stands where a comparison is needed"),
            ("params = 3", "`=` means nothing"),
            ("(params > 3", "this parenthesis is not closed"),
            ("prams > 3", "there is no `prams`"),
            ("params > 'x'", "these cannot be compared"),
            ("training.threshold > 'a'", "these cannot be compared"),
            ("params + 'x' > 1", "this is not a number"),
            (
                "params > 1X",
                "`X` in `1X` is not a known suffix; use K (10^3), M (10^6), B (10^9) or T (10^12)",
            ),
            ("params > 'x", "a quote is not closed"),
            ("flops > 1", "`flops` has no value here"),
            (
                "params > 1 and 3",
                "a value stands where a comparison is needed",
            ),
        ] {
            assert_eq!(holds(text), Err(why.to_owned()), "{text}");
        }
        assert_eq!(
            holds(&"(".repeat(5000)),
            Err("it is nested too deeply".into())
        );
        assert_eq!(
            holds(&"not ".repeat(5000)),
            Err("it is nested too deeply".into())
        );
        assert_eq!(holds(&"1 + ".repeat(5000)), Err("it is too long".into()));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = holds(&text);
        }

        #[test]
        fn nothing_like_an_expression_panics(
            text in "(params|seed|1M|0|'é'|[-+*/()<>=!., ]|and |or |not |\\PC){0,40}"
        ) {
            let _ = holds(&text);
        }
    }
}
