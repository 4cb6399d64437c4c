//! `where`: expressions that say which cells of a grid are kept.
//!
//! Comparisons (chained ones too: `0.3 <= concept_share < 0.7`), arithmetic, `and`, `or`, `not`,
//! parentheses, numbers with suffixes and words in quotes; names are those of the keys.

use super::document::{Content, Node};
use super::draft::Draft;
use super::key::{Key, Shown};
use super::settings::{self, AXES};
use super::source::{Location, Problem};
use super::spelling::nearest;
use crate::quantity;
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
                ((a - b).abs() <= 1e-12 * a.abs().max(b.abs()), a < b)
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

#[derive(Clone, PartialEq)]
enum Token {
    Number(f64),
    Word(String),
    Name(String),
    Compare(Comparison),
    Symbol(char),
}

/// A recursive-descent parser: `or` binds loosest, then `and`, `not`, comparisons, sums, products.
struct Parser {
    tokens: Vec<(Token, Span)>,
    next: usize,
    depth: usize,
    end: usize,
}

impl Parser {
    fn new(text: &str) -> Result<Self, Wrong> {
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            let (token, length) = if c.is_whitespace() {
                at += c.len_utf8();
                continue;
            } else if let Some((symbol, comparison)) = Comparison::SYMBOLS
                .into_iter()
                .find(|(symbol, _)| rest.starts_with(symbol))
            {
                (Token::Compare(comparison), symbol.len())
            } else if c.is_ascii_digit() || c == '.' {
                let length = number_length(rest);
                (number(&rest[..length], (at, at + length))?, length)
            } else if c.is_alphabetic() || c == '_' {
                let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
                let length = rest.find(|c| !inside(c)).unwrap_or(rest.len());
                (Token::Name(rest[..length].to_owned()), length)
            } else if c == '\'' || c == '"' {
                let Some(length) = rest[1..].find(c) else {
                    return Err(Wrong::new((at, text.len()), "a quote is not closed"));
                };
                (Token::Word(rest[1..=length].to_owned()), length + 2)
            } else if "+-*/()".contains(c) {
                (Token::Symbol(c), 1)
            } else {
                let wrong = Wrong::new((at, at + c.len_utf8()), format!("`{c}` means nothing"));
                return Err(match c {
                    '=' => wrong.help("equality is `==`"),
                    '&' | '|' | '!' => wrong.help("write `and`, `or`, `not`"),
                    _ => wrong,
                });
            };
            tokens.push((token, (at, at + length)));
            at += length;
        }
        Ok(Self {
            tokens,
            next: 0,
            depth: 0,
            end: text.len(),
        })
    }

    fn parse(mut self) -> Result<Expression, Wrong> {
        let expression = self.any()?;
        match self.tokens.get(self.next) {
            None => Ok(expression),
            Some((_, span)) => Err(Wrong::new(*span, "an operator is missing before this")),
        }
    }

    /// Takes the next token when `wanted` makes something of it.
    fn take<T>(&mut self, wanted: impl FnOnce(&Token) -> Option<T>) -> Option<T> {
        let taken = self
            .tokens
            .get(self.next)
            .and_then(|(token, _)| wanted(token))?;
        self.next += 1;
        Some(taken)
    }

    fn take_name(&mut self, name: &str) -> bool {
        self.take(|token| matches!(token, Token::Name(n) if n == name).then_some(()))
            .is_some()
    }

    fn take_symbol(&mut self, symbols: &str) -> Option<char> {
        self.take(|token| match token {
            Token::Symbol(c) if symbols.contains(*c) => Some(*c),
            _ => None,
        })
    }

    /// The place of the token before the next one, or of the end.
    fn here(&self) -> Span {
        self.tokens
            .get(self.next)
            .map_or((self.end, self.end), |&(_, span)| span)
    }

    fn any(&mut self) -> Result<Expression, Wrong> {
        self.joined("or", Self::all, Operation::Any)
    }

    fn all(&mut self) -> Result<Expression, Wrong> {
        self.joined("and", Self::not, Operation::All)
    }

    /// Reads `part (word part)*`.
    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Expression, Wrong>,
        join: fn(Vec<Expression>) -> Operation,
    ) -> Result<Expression, Wrong> {
        let first = part(self)?;
        let mut parts = vec![first];
        while self.take_name(word) {
            parts.push(part(self)?);
        }
        let span = cover(&parts);
        match parts.len() {
            1 => parts
                .pop()
                .ok_or_else(|| Wrong::new(span, "nothing stands here")),
            _ => Ok(Expression {
                span,
                node: join(parts),
            }),
        }
    }

    fn not(&mut self) -> Result<Expression, Wrong> {
        let start = self.here().0;
        if !self.take_name("not") {
            return self.comparison();
        }
        let inner = self.deeper(Self::not)?;
        let span = (start, inner.span.1);
        Ok(Expression {
            span,
            node: Operation::Not(Box::new(inner)),
        })
    }

    fn comparison(&mut self) -> Result<Expression, Wrong> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.take(|token| match token {
            Token::Compare(comparison) => Some(*comparison),
            _ => None,
        }) {
            rest.push((comparison, self.sum()?));
        }
        let Some((_, last)) = rest.last() else {
            return Ok(first);
        };
        let span = (first.span.0, last.span.1);
        Ok(Expression {
            span,
            node: Operation::Compare(Box::new(first), rest),
        })
    }

    fn sum(&mut self) -> Result<Expression, Wrong> {
        self.chain("+-", Self::product)
    }

    fn product(&mut self) -> Result<Expression, Wrong> {
        self.chain("*/", Self::atom)
    }

    /// Reads `part (operator part)*`, from left to right.
    fn chain(
        &mut self,
        operators: &str,
        part: fn(&mut Self) -> Result<Expression, Wrong>,
    ) -> Result<Expression, Wrong> {
        let mut left = part(self)?;
        let mut links = 0;
        while let Some(operator) = self.take_symbol(operators) {
            // The tree grows to the left: its depth is the number of links.
            links += 1;
            if links > MAX_DEPTH {
                return Err(Wrong::new(self.here(), "it is too long"));
            }
            let right = part(self)?;
            let span = (left.span.0, right.span.1);
            let node = Operation::Arithmetic(Box::new(left), operator, Box::new(right));
            left = Expression { span, node };
        }
        Ok(left)
    }

    fn atom(&mut self) -> Result<Expression, Wrong> {
        let span = self.here();
        if self.take_symbol("-").is_some() {
            let inner = self.deeper(Self::atom)?;
            let span = (span.0, inner.span.1);
            return Ok(Expression {
                span,
                node: Operation::Negative(Box::new(inner)),
            });
        }
        if self.take_symbol("(").is_some() {
            let inner = self.deeper(Self::any)?;
            return match self.take_symbol(")") {
                Some(_) => Ok(inner),
                None => Err(Wrong::new(span, "this parenthesis is not closed")),
            };
        }
        let node = match self.take(|token| Some(token.clone())) {
            Some(Token::Number(number)) => Operation::Number(number),
            Some(Token::Word(word)) => Operation::Word(word),
            Some(Token::Name(name)) => Operation::Name(find(&name, span)?),
            _ => return Err(Wrong::new(span, "a name or a number is missing here")),
        };
        Ok(Expression { span, node })
    }

    fn deeper(
        &mut self,
        part: fn(&mut Self) -> Result<Expression, Wrong>,
    ) -> Result<Expression, Wrong> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Wrong::new(self.here(), "it is nested too deeply"));
        }
        let expression = part(self);
        self.depth -= 1;
        expression
    }
}

fn cover(parts: &[Expression]) -> Span {
    (
        parts.first().map_or(0, |e| e.span.0),
        parts.last().map_or(0, |e| e.span.1),
    )
}

/// Measures a number with exponent and suffix.
fn number_length(text: &str) -> usize {
    let mut previous = ' ';
    text.find(|c: char| {
        let sign = (c == '+' || c == '-') && matches!(previous, 'e' | 'E');
        let inside = c.is_alphanumeric() || c == '.' || c == '_' || sign;
        previous = c;
        !inside
    })
    .unwrap_or(text.len())
}

fn number(text: &str, span: Span) -> Result<Token, Wrong> {
    // Quantities are above zero; a comparison with zero is fine.
    if text.parse() == Ok(0.0) {
        return Ok(Token::Number(0.0));
    }
    quantity::parse_number(text)
        .map(Token::Number)
        .map_err(|error| Wrong::new(span, error.to_string()))
}

fn find(name: &str, span: Span) -> Result<&'static Key, Wrong> {
    if let Some(key) = settings::find(name) {
        return Ok(key);
    }
    let names = || AXES.iter().chain(settings::settings()).map(|key| key.path);
    let suffix = format!(".{name}");
    let meant = names()
        .find(|path| path.ends_with(&suffix))
        .or_else(|| nearest(name, names()));
    let wrong = Wrong::new(span, format!("there is no `{name}`"));
    Err(match meant {
        Some(meant) => wrong.help(format!("did you mean `{meant}`? words stand in quotes")),
        None => wrong.help(format!(
            "names are {}, and paths such as training.batch; words stand in quotes",
            AXES.iter()
                .map(|key| key.path)
                .collect::<Vec<_>>()
                .join(", ")
        )),
    })
}
