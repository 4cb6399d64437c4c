//! The text of an expression → its tree.

use super::{Comparison, Expression, Function, MAX_DEPTH, Names, Operation, Span, Wrong};
use crate::quantity;

#[derive(Clone, PartialEq)]
enum Token {
    Number(f64),
    Word(String),
    Name(String),
    Compare(Comparison),
    Symbol(char),
}

/// What makes one operation of several parts.
type Join<N> = fn(Vec<Expression<N>>) -> Operation<N>;

/// A recursive-descent parser: `or` binds loosest, then `and`, `not`, comparisons, sums, products, signs,
/// powers.
pub(super) struct Parser<'a, L> {
    names: &'a L,
    tokens: Vec<(Token, Span)>,
    next: usize,
    depth: usize,
    end: usize,
}

impl<'a, L: Names> Parser<'a, L> {
    pub(super) fn new(text: &str, names: &'a L) -> Result<Self, Wrong> {
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
            } else if c == '`' {
                let Some(length) = rest[1..].find(c) else {
                    return Err(Wrong::new((at, text.len()), "a backtick is not closed"));
                };
                (Token::Name(rest[1..=length].to_owned()), length + 2)
            } else if "+-*/^(),".contains(c) {
                (Token::Symbol(c), 1)
            } else {
                let wrong = Wrong::new((at, at + c.len_utf8()), format!("`{c}` means nothing"));
                return Err(match c {
                    '&' | '|' | '!' => wrong.help("write `and`, `or`, `not`"),
                    _ => wrong,
                });
            };
            tokens.push((token, (at, at + length)));
            at += length;
        }
        Ok(Self {
            names,
            tokens,
            next: 0,
            depth: 0,
            end: text.len(),
        })
    }

    pub(super) fn parse(mut self) -> Result<Expression<L::Name>, Wrong> {
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

    /// Says whether a parenthesis opens next.
    fn opens(&self) -> bool {
        matches!(self.tokens.get(self.next), Some((Token::Symbol('('), _)))
    }

    /// The place of the token before the next one, or of the end.
    fn here(&self) -> Span {
        self.tokens
            .get(self.next)
            .map_or((self.end, self.end), |&(_, span)| span)
    }

    fn any(&mut self) -> Result<Expression<L::Name>, Wrong> {
        self.joined("or", Self::all, Operation::Any)
    }

    fn all(&mut self) -> Result<Expression<L::Name>, Wrong> {
        self.joined("and", Self::not, Operation::All)
    }

    /// Reads `part (word part)*`.
    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Expression<L::Name>, Wrong>,
        join: Join<L::Name>,
    ) -> Result<Expression<L::Name>, Wrong> {
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

    fn not(&mut self) -> Result<Expression<L::Name>, Wrong> {
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

    fn comparison(&mut self) -> Result<Expression<L::Name>, Wrong> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.take(|token| match token {
            Token::Compare(comparison) => Some(*comparison),
            _ => None,
        }) {
            let equality = matches!(comparison, Comparison::Equal | Comparison::Unequal);
            let right = match equality.then(|| self.bare_word()).flatten() {
                Some(word) => word,
                None => self.sum()?,
            };
            rest.push((comparison, right));
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

    /// Takes an unknown name as a word, where the names allow that.
    fn bare_word(&mut self) -> Option<Expression<L::Name>> {
        let (span, names) = (self.here(), self.names);
        let word = self.take(|token| match token {
            Token::Name(name) if names.bare_words() && names.find(name).is_err() => {
                Some(name.clone())
            }
            _ => None,
        })?;
        let node = Operation::Word(word);
        Some(Expression { span, node })
    }

    fn sum(&mut self) -> Result<Expression<L::Name>, Wrong> {
        self.chain("+-", Self::product)
    }

    fn product(&mut self) -> Result<Expression<L::Name>, Wrong> {
        self.chain("*/", Self::signed)
    }

    /// Reads `part (operator part)*`, from left to right.
    fn chain(
        &mut self,
        operators: &str,
        part: fn(&mut Self) -> Result<Expression<L::Name>, Wrong>,
    ) -> Result<Expression<L::Name>, Wrong> {
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

    /// Reads a sign: as in mathematics, `-2^2` is −4.
    fn signed(&mut self) -> Result<Expression<L::Name>, Wrong> {
        let span = self.here();
        if self.take_symbol("-").is_none() {
            return self.power();
        }
        let inner = self.deeper(Self::signed)?;
        let span = (span.0, inner.span.1);
        Ok(Expression {
            span,
            node: Operation::Negative(Box::new(inner)),
        })
    }

    /// Reads `base ^ exponent`, from right to left: `2^3^2` is 2⁹.
    fn power(&mut self) -> Result<Expression<L::Name>, Wrong> {
        let base = self.atom()?;
        if self.take_symbol("^").is_none() {
            return Ok(base);
        }
        let exponent = self.deeper(Self::signed)?;
        let span = (base.span.0, exponent.span.1);
        let node = Operation::Arithmetic(Box::new(base), '^', Box::new(exponent));
        Ok(Expression { span, node })
    }

    /// Reads the arguments of a function whose name has been taken.
    fn call(&mut self, name: &str, span: Span) -> Result<Expression<L::Name>, Wrong> {
        let function = Function::of(name);
        if function.is_none() && name != "if" {
            return Err(Wrong::new(span, format!("there is no function `{name}`"))
                .help(format!("functions are {}", Function::names())));
        }
        self.next += 1;
        let mut arguments = vec![self.deeper(Self::any)?];
        while self.take_symbol(",").is_some() {
            arguments.push(self.deeper(Self::any)?);
        }
        let end = self.here().1;
        if self.take_symbol(")").is_none() {
            return Err(Wrong::new(span, "this parenthesis is not closed"));
        }
        let span = (span.0, end);
        let given = arguments.len();
        let node = match function {
            Some(known) if known.1.takes(given) => Operation::Call(known, arguments),
            None if given == 3 => match <[_; 3]>::try_from(arguments) {
                Ok(parts) => Operation::If(Box::new(parts)),
                Err(_) => unreachable!("there are three"),
            },
            _ => {
                let why = format!("`{name}` does not take {given} values");
                return Err(Wrong::new(span, why));
            }
        };
        Ok(Expression { span, node })
    }

    fn atom(&mut self) -> Result<Expression<L::Name>, Wrong> {
        let span = self.here();
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
            Some(Token::Name(name)) if self.opens() => return self.call(&name, span),
            Some(Token::Name(name)) => Operation::Name(
                self.names
                    .find(&name)
                    .map_err(|hint| Wrong::new(span, format!("there is no `{name}`")).help(hint))?,
            ),
            _ => return Err(Wrong::new(span, "a name or a number is missing here")),
        };
        Ok(Expression { span, node })
    }

    fn deeper(
        &mut self,
        part: fn(&mut Self) -> Result<Expression<L::Name>, Wrong>,
    ) -> Result<Expression<L::Name>, Wrong> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Wrong::new(self.here(), "it is nested too deeply"));
        }
        let expression = part(self);
        self.depth -= 1;
        expression
    }
}

fn cover<N>(parts: &[Expression<N>]) -> Span {
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
