//! A formula as a tree of sums, products and powers.

use experiment::expression::{Arithmetic, Expression, Wrong};

/// A name in a formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Name {
    /// A column, by its place among those that are read.
    Column(usize),
    /// A parameter, by its place among those that are named.
    Parameter(usize),
}

/// Arithmetic in which signs and divisions are kept with what they apply to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Number(f64),
    Name(Name),
    /// Parts, and whether each is taken off.
    Sum(Vec<(bool, Tree)>),
    /// Factors, and whether each divides.
    Product(Vec<(bool, Tree)>),
    Power(Box<Tree>, Box<Tree>),
    Call(Function, Vec<Tree>),
}

/// A function that has a slope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Function {
    Sqrt,
    Log,
    Exp,
    Sigmoid,
    Min,
    Max,
}

impl Function {
    const ALL: [(&'static str, Self); 6] = [
        ("sqrt", Self::Sqrt),
        ("log", Self::Log),
        ("exp", Self::Exp),
        ("sigmoid", Self::Sigmoid),
        ("min", Self::Min),
        ("max", Self::Max),
    ];

    /// Of one number, or of two at a time.
    pub(super) fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Sqrt => a.sqrt(),
            Self::Log => a.ln(),
            Self::Exp => a.exp(),
            Self::Sigmoid => 1.0 / (1.0 + (-a).exp()),
            // A number that is none stays one: Rust's own minimum would pass over it.
            Self::Min | Self::Max if a.is_nan() || b.is_nan() => f64::NAN,
            Self::Min => a.min(b),
            Self::Max => a.max(b),
        }
    }
}

impl Tree {
    /// Reads an expression, with numbers in place of the parameters that are given.
    ///
    /// # Errors
    /// What has no slope.
    pub(super) fn of(
        expression: &Expression<Name>,
        given: &impl Fn(usize) -> Option<f64>,
    ) -> Result<Self, Wrong> {
        let of = |expression| Self::of(expression, given);
        let tree = match expression.arithmetic() {
            Arithmetic::Number(number) => Self::Number(number),
            Arithmetic::Name(&Name::Parameter(at)) => match given(at) {
                Some(number) => Self::Number(number),
                None => Self::Name(Name::Parameter(at)),
            },
            Arithmetic::Name(name) => Self::Name(*name),
            Arithmetic::Negative(inner) => Self::Sum(vec![(true, of(inner)?)]),
            Arithmetic::Binary(left, '^', right) => Self::power(of(left)?, of(right)?),
            Arithmetic::Binary(left, operator, right) => {
                let (left, right) = (of(left)?, of(right)?);
                let is_inverse = matches!(operator, '-' | '/');
                match operator {
                    '+' | '-' => Self::sum([(false, left), (is_inverse, right)]),
                    _ => Self::product([(false, left), (is_inverse, right)]),
                }
            }
            Arithmetic::Call(name, arguments) => {
                let Some((_, function)) = Function::ALL.iter().find(|(known, _)| *known == name)
                else {
                    let known = Function::ALL.map(|(name, _)| name).join(", ");
                    return Err(Wrong {
                        span: expression.span(),
                        why: format!("`{name}` has no slope that a fit could follow"),
                        help: format!("functions of a law are {known}"),
                    });
                };
                Self::Call(
                    *function,
                    arguments.iter().map(of).collect::<Result<_, _>>()?,
                )
            }
            Arithmetic::None => {
                return Err(Wrong {
                    span: expression.span(),
                    why: "a law computes a number: words, comparisons and conditions have no slope"
                        .to_owned(),
                    help: String::new(),
                });
            }
        };
        // What is of numbers alone is a number.
        Ok(if tree.names().is_empty() {
            Self::Number(tree.value(&|_| f64::NAN))
        } else {
            tree
        })
    }

    /// Adds parts up; what is a sum itself is added part by part.
    fn sum(parts: [(bool, Self); 2]) -> Self {
        let parts = parts.into_iter().flat_map(|(is_taken, part)| match part {
            Self::Sum(inner) => inner
                .into_iter()
                .map(|(sign, part)| (sign != is_taken, part))
                .collect(),
            part => vec![(is_taken, part)],
        });
        Self::Sum(parts.collect())
    }

    /// Multiplies factors; what is a product itself is multiplied factor by factor, and signs stand before all.
    fn product(parts: [(bool, Self); 2]) -> Self {
        let mut is_negative = false;
        let mut factors = Vec::new();
        for (divides, part) in parts {
            let part = match part {
                Self::Sum(mut inner) if inner.len() == 1 => {
                    let (sign, inner) = inner.remove(0);
                    is_negative ^= sign;
                    inner
                }
                part => part,
            };
            match part {
                Self::Product(inner) => factors.extend(
                    inner
                        .into_iter()
                        .map(|(sign, part)| (sign != divides, part)),
                ),
                part => factors.push((divides, part)),
            }
        }
        let product = Self::Product(factors);
        if is_negative {
            Self::Sum(vec![(true, product)])
        } else {
            product
        }
    }

    /// `(size · other)^e` is `size^e · other^e`, so that the size is a power by itself.
    fn power(base: Self, exponent: Self) -> Self {
        let power = |base| Self::Power(Box::new(base), Box::new(exponent.clone()));
        match base {
            // A long exponent would be copied again and again.
            Self::Product(factors)
                if exponent.has_parameters()
                    && exponent.names().len() <= 4
                    && factors.iter().any(|(_, factor)| factor.is_size())
                    && factors.iter().any(|(_, factor)| factor.has_parameters())
                    && !factors
                        .iter()
                        .any(|(_, factor)| matches!(factor, Self::Name(Name::Parameter(_)))) =>
            {
                Self::Product(
                    factors
                        .into_iter()
                        .map(|(divides, factor)| (divides, power(factor)))
                        .collect(),
                )
            }
            base => power(base),
        }
    }

    /// Lists the names in it, each as often as it stands there.
    pub(super) fn names(&self) -> Vec<Name> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Name(name) => vec![*name],
            Self::Sum(parts) | Self::Product(parts) => {
                parts.iter().flat_map(|(_, part)| part.names()).collect()
            }
            Self::Power(base, exponent) => [base.names(), exponent.names()].concat(),
            Self::Call(_, parts) => parts.iter().flat_map(Self::names).collect(),
        }
    }

    /// Says whether it reads columns.
    pub(super) fn has_columns(&self) -> bool {
        self.names()
            .iter()
            .any(|name| matches!(name, Name::Column(_)))
    }

    /// Says whether it has parameters.
    pub(super) fn has_parameters(&self) -> bool {
        self.names()
            .iter()
            .any(|name| matches!(name, Name::Parameter(_)))
    }

    /// Says whether it is of columns and numbers alone.
    pub(super) fn is_size(&self) -> bool {
        self.has_columns() && !self.has_parameters()
    }

    /// Says whether it is above 0 wherever it has a value, whatever its columns are.
    pub(super) fn is_positive(&self) -> bool {
        match self {
            Self::Number(number) => *number > 0.0,
            Self::Name(_) => false,
            Self::Sum(parts) => parts
                .iter()
                .all(|(is_taken, part)| !is_taken && part.is_positive()),
            Self::Product(parts) => parts.iter().all(|(_, part)| part.is_positive()),
            // Only what is positive has all powers.
            Self::Power(base, exponent) => exponent.has_parameters() || base.is_positive(),
            Self::Call(function, parts) => match function {
                Function::Exp | Function::Sqrt | Function::Sigmoid => true,
                Function::Log => false,
                Function::Min | Function::Max => parts.iter().all(Self::is_positive),
            },
        }
    }

    /// Says whether a power in it has a parameter in its exponent.
    pub(super) fn has_free_power(&self) -> bool {
        match self {
            Self::Number(_) | Self::Name(_) => false,
            Self::Sum(parts) | Self::Product(parts) => {
                parts.iter().any(|(_, part)| part.has_free_power())
            }
            Self::Power(base, exponent) => exponent.has_parameters() || base.has_free_power(),
            Self::Call(_, parts) => parts.iter().any(Self::has_free_power),
        }
    }

    /// Computes it.
    pub(super) fn value(&self, get: &impl Fn(Name) -> f64) -> f64 {
        let folded = |parts: &[(bool, Tree)],
                      start: f64,
                      with: fn(f64, f64) -> f64,
                      without: fn(f64, f64) -> f64| {
            parts.iter().fold(start, |all, (is_inverse, part)| {
                let part = part.value(get);
                if *is_inverse {
                    without(all, part)
                } else {
                    with(all, part)
                }
            })
        };
        match self {
            Self::Number(number) => *number,
            Self::Name(name) => get(*name),
            Self::Sum(parts) => folded(parts, 0.0, |a, b| a + b, |a, b| a - b),
            Self::Product(parts) => folded(parts, 1.0, |a, b| a * b, |a, b| a / b),
            Self::Power(base, exponent) => base.value(get).powf(exponent.value(get)),
            Self::Call(function, parts) => {
                let mut values = parts.iter().map(|part| part.value(get));
                let first = values.next().unwrap_or(f64::NAN);
                match values.next() {
                    None => function.apply(first, first),
                    Some(second) => {
                        values.fold(function.apply(first, second), |a, b| function.apply(a, b))
                    }
                }
            }
        }
    }
}
