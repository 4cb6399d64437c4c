//! Expressions that say which cells of a grid, or rows of a table, are kept, and what quantities of an
//! external trainer's models are.
//!
//! Comparisons (chained ones too: `0.3 <= concept_share < 0.7`; `=` and `==` are one), arithmetic with
//! `+ - * / ^`, functions (`sqrt`, `log`, `exp`, `sigmoid`, `min`, `max`, `round`, `floor`, `ceil`,
//! `if(condition, value, otherwise)`), `and`, `or`, `not`, parentheses, numbers with suffixes, words in quotes and names between backticks. True and false
//! are 1 and 0 where they meet a number. What a name stands for is the caller's: [`Names`] when it is
//! read, a function when it is evaluated.

mod parser;

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 64;

/// The names an expression may use.
pub trait Names {
    /// What a name stands for.
    type Name;

    /// Finds what a name stands for.
    ///
    /// # Errors
    /// A hint at what was meant.
    fn find(&self, name: &str) -> Result<Self::Name, String>;

    /// Says whether an unknown name after `==` or `!=` is a word without quotes.
    fn bare_words(&self) -> bool {
        false
    }
}

/// Where a part of an expression starts and ends in its text.
pub type Span = (usize, usize);

/// An expression over names of type `N`.
pub struct Expression<N> {
    span: Span,
    node: Operation<N>,
}

enum Operation<N> {
    Number(f64),
    Word(String),
    Name(N),
    Negative(Box<Expression<N>>),
    Arithmetic(Box<Expression<N>>, char, Box<Expression<N>>),
    Call(&'static Known, Vec<Expression<N>>),
    /// `if(condition, value, otherwise)`.
    If(Box<[Expression<N>; 3]>),
    /// `first op second op third …`: all neighbours must compare so.
    Compare(Box<Expression<N>>, Vec<(Comparison, Expression<N>)>),
    Not(Box<Expression<N>>),
    All(Vec<Expression<N>>),
    Any(Vec<Expression<N>>),
}

/// A function and its name.
type Known = (&'static str, Function);

/// A function of numbers.
#[derive(Clone, Copy)]
enum Function {
    /// Of one number.
    One(fn(f64) -> f64),
    /// Of one or more, two at a time.
    Many(fn(f64, f64) -> f64),
    /// Of one number, or of it and what it is rounded to a multiple of.
    Rounding(fn(f64) -> f64),
}

impl Function {
    const ALL: [Known; 9] = [
        ("sqrt", Function::One(f64::sqrt)),
        ("log", Function::One(f64::ln)),
        ("exp", Function::One(f64::exp)),
        ("sigmoid", Function::One(|x| 1.0 / (1.0 + (-x).exp()))),
        ("min", Function::Many(f64::min)),
        ("max", Function::Many(f64::max)),
        ("round", Function::Rounding(f64::round)),
        ("floor", Function::Rounding(f64::floor)),
        ("ceil", Function::Rounding(f64::ceil)),
    ];

    fn of(name: &str) -> Option<&'static Known> {
        const { &Self::ALL }
            .iter()
            .find(|(known, _)| *known == name)
    }

    fn names() -> String {
        let names = Self::ALL.iter().map(|(name, _)| *name);
        names.chain(["if"]).collect::<Vec<_>>().join(", ")
    }

    fn takes(self, arguments: usize) -> bool {
        match self {
            Self::One(_) => arguments == 1,
            Self::Many(_) => arguments >= 1,
            Self::Rounding(_) => (1..=2).contains(&arguments),
        }
    }

    fn of_numbers(self, numbers: &[f64]) -> f64 {
        match (self, numbers) {
            (Self::Rounding(round), [x, multiple]) => round(x / multiple) * multiple,
            (Self::One(function) | Self::Rounding(function), [x, ..]) => function(*x),
            // A number that is none stays one: Rust's own minimum would pass over it.
            (Self::Many(_), numbers) if numbers.iter().any(|x| x.is_nan()) => f64::NAN,
            (Self::Many(function), [first, rest @ ..]) => {
                rest.iter().fold(*first, |a, b| function(a, *b))
            }
            _ => f64::NAN,
        }
    }
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

/// An expression as arithmetic, for who computes with it in another way than by its values.
pub enum Arithmetic<'a, N> {
    /// A number.
    Number(f64),
    /// A name.
    Name(&'a N),
    /// What is negated.
    Negative(&'a Expression<N>),
    /// Two parts around `+`, `-`, `*`, `/` or `^`.
    Binary(&'a Expression<N>, char, &'a Expression<N>),
    /// A function by its name, and its arguments, at least one.
    Call(&'static str, &'a [Expression<N>]),
    /// A word, a comparison or a condition.
    None,
}

/// The value of an expression.
pub enum Value {
    /// A number.
    Number(f64),
    /// A word.
    Word(String),
    /// Nothing: unequal to everything, and neither more nor less than anything.
    Missing,
    /// The outcome of a comparison.
    Truth(bool),
}

/// What is wrong, and where in the expression.
#[derive(Debug)]
pub struct Wrong {
    /// Where.
    pub span: Span,
    /// What.
    pub why: String,
    /// What would be right; may be empty.
    pub help: String,
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
}

/// Why a name has no value, and what would be right.
pub struct NoValue {
    /// Why.
    pub why: String,
    /// What would be right.
    pub help: String,
}

impl<N> Expression<N> {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse<L: Names<Name = N>>(text: &str, names: &L) -> Result<Self, Wrong> {
        parser::Parser::new(text, names).and_then(parser::Parser::parse)
    }

    /// Where it stands in its text.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Shows it as arithmetic.
    pub fn arithmetic(&self) -> Arithmetic<'_, N> {
        match &self.node {
            Operation::Number(number) => Arithmetic::Number(*number),
            Operation::Name(name) => Arithmetic::Name(name),
            Operation::Negative(inner) => Arithmetic::Negative(inner),
            Operation::Arithmetic(left, operator, right) => {
                Arithmetic::Binary(left, *operator, right)
            }
            Operation::Call((name, _), arguments) => Arithmetic::Call(name, arguments),
            _ => Arithmetic::None,
        }
    }

    /// Lists the names in it, in the order in which they stand.
    pub fn names(&self) -> impl Iterator<Item = &N> {
        let mut names = Vec::new();
        self.collect_names(&mut names);
        names.into_iter()
    }

    fn collect_names<'a>(&'a self, names: &mut Vec<&'a N>) {
        match &self.node {
            Operation::Number(_) | Operation::Word(_) => {}
            Operation::Name(name) => names.push(name),
            Operation::Negative(inner) | Operation::Not(inner) => inner.collect_names(names),
            Operation::Arithmetic(left, _, right) => {
                left.collect_names(names);
                right.collect_names(names);
            }
            Operation::Call(_, parts) | Operation::All(parts) | Operation::Any(parts) => {
                parts.iter().for_each(|part| part.collect_names(names));
            }
            Operation::If(parts) => parts.iter().for_each(|part| part.collect_names(names)),
            Operation::Compare(first, rest) => {
                first.collect_names(names);
                rest.iter().for_each(|(_, part)| part.collect_names(names));
            }
        }
    }

    /// Says whether it holds for what `get` makes of its names.
    ///
    /// # Errors
    /// What cannot be compared or computed.
    pub fn truth(&self, get: &impl Fn(&N) -> Result<Value, NoValue>) -> Result<bool, Wrong> {
        match self.value(get)? {
            Value::Truth(truth) => Ok(truth),
            _ => Err(Wrong::new(
                self.span,
                "a value stands where a comparison is needed",
            )),
        }
    }

    /// Computes the number that it is; not a number where a name stands for nothing.
    ///
    /// # Errors
    /// What cannot be computed.
    pub fn number(&self, get: &impl Fn(&N) -> Result<Value, NoValue>) -> Result<f64, Wrong> {
        match self.value(get)? {
            Value::Number(number) => Ok(number),
            Value::Missing => Ok(f64::NAN),
            _ => Err(Wrong::new(self.span, "this is not a number")),
        }
    }

    /// Computes its value.
    ///
    /// # Errors
    /// What cannot be compared or computed.
    pub fn value(&self, get: &impl Fn(&N) -> Result<Value, NoValue>) -> Result<Value, Wrong> {
        Ok(match &self.node {
            Operation::Number(number) => Value::Number(*number),
            Operation::Word(word) => Value::Word(word.clone()),
            Operation::Name(name) => get(name)
                .map_err(|missing| Wrong::new(self.span, missing.why).help(missing.help))?,
            Operation::Negative(inner) => Value::Number(-inner.number(get)?),
            Operation::Arithmetic(left, operator, right) => {
                let (left, right) = (left.number(get)?, right.number(get)?);
                Value::Number(match operator {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    '^' => left.powf(right),
                    _ => left / right,
                })
            }
            Operation::Call((_, function), arguments) => {
                let numbers = arguments.iter().map(|argument| argument.number(get));
                let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
                Value::Number(function.of_numbers(&numbers))
            }
            Operation::If(parts) => {
                let [condition, value, otherwise] = parts.as_ref();
                if condition.truth(get)? {
                    value.value(get)?
                } else {
                    otherwise.value(get)?
                }
            }
            Operation::Compare(first, rest) => {
                let mut left = first.value(get)?;
                let mut holds = true;
                for (comparison, expression) in rest {
                    let right = expression.value(get)?;
                    holds &= comparison
                        .holds(&left, &right)
                        .ok_or_else(|| Wrong::new(self.span, "these cannot be compared"))?;
                    left = right;
                }
                Value::Truth(holds)
            }
            Operation::Not(inner) => Value::Truth(!inner.truth(get)?),
            // No short circuit: a mistake on the right is found in the first cell.
            Operation::All(parts) => parts
                .iter()
                .try_fold(true, |all, part| Ok(part.truth(get)? && all))
                .map(Value::Truth)?,
            Operation::Any(parts) => parts
                .iter()
                .try_fold(false, |any, part| Ok(part.truth(get)? || any))
                .map(Value::Truth)?,
        })
    }
}

impl Comparison {
    const SYMBOLS: [(&'static str, Comparison); 7] = [
        ("<=", Comparison::AtMost),
        (">=", Comparison::AtLeast),
        ("==", Comparison::Equal),
        ("!=", Comparison::Unequal),
        ("<", Comparison::Less),
        (">", Comparison::More),
        ("=", Comparison::Equal),
    ];

    fn holds(self, left: &Value, right: &Value) -> Option<bool> {
        let (equal, less) = match (left, right) {
            // Nothing can be said of a number that is none.
            (Value::Number(a), Value::Number(b)) if a.is_nan() || b.is_nan() => {
                return Some(self == Self::Unequal);
            }
            (Value::Number(_), Value::Word(word)) => {
                return self.holds(left, &Value::Number(truth(word)?));
            }
            (Value::Word(word), Value::Number(_)) => {
                return self.holds(&Value::Number(truth(word)?), right);
            }
            // `0.3M` is 299999.99999999994 in binary: what is written equal is equal.
            (Value::Number(a), Value::Number(b)) => {
                let close = (a - b).abs() <= 1e-12 * a.abs().max(b.abs());
                (a == b || close && a.is_finite() && b.is_finite(), a < b)
            }
            (Value::Word(a), Value::Word(b)) if matches!(self, Self::Equal | Self::Unequal) => {
                (a == b, false)
            }
            (Value::Missing, _) | (_, Value::Missing) => return Some(self == Self::Unequal),
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

/// Reads `true` and `false`, in whatever case programs write them, as 1 and 0.
pub fn truth(word: &str) -> Option<f64> {
    if word.eq_ignore_ascii_case("true") {
        Some(1.0)
    } else if word.eq_ignore_ascii_case("false") {
        Some(0.0)
    } else {
        None
    }
}
