//! A formula's tree → steps in well-conditioned coordinates.

use super::super::{MAX_SIZES, Parameter, Role, Term};
use super::read::Named;
use super::tape::Tape;
use super::tree::{Name, Tree};
use experiment::expression::Wrong;

/// A size of a law: what is of columns alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    pub(super) tree: Tree,
    pub(super) form: Form,
}

/// How a size is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Raw,
    /// Its logarithm.
    Log,
    /// In units of its value at the centre of the data.
    Scaled,
    /// The logarithm of that.
    LogScaled,
}

/// What the internal coordinate of a parameter is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Coordinate {
    /// The parameter.
    Natural,
    /// That of what scales a product.
    Scale(Scale),
    /// `1/(1 + t/size)` at the centre.
    Offset { slot: usize },
    /// The parameter and what is added to it at the centre: other parameters' internal coordinates, and whether each is
    /// taken off.
    Level { scales: Vec<(bool, usize)> },
}

/// A parameter times (or, where it divides, over) the powers that it multiplies, at the centre of the data.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// In units of the response, since the prediction is linear in it.
    pub(super) is_linear: bool,
    /// Its logarithm, since it can only be positive.
    pub(super) is_log: bool,
    /// The power to which the whole product is raised: its logarithm times that.
    pub(super) raised: Option<Tree>,
    pub(super) divides: bool,
    pub(super) powers: Vec<Scaled>,
}

/// A power of a size.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scaled {
    pub(super) slot: usize,
    /// The parameter that is added to the size.
    pub(super) offset: Option<usize>,
    /// Of numbers and parameters.
    pub(super) exponent: Tree,
}

/// A formula that can be computed.
pub(super) struct Compiled {
    pub(super) slots: Vec<Slot>,
    pub(super) tape: Tape,
    pub(super) parameters: Vec<Parameter>,
    pub(super) coordinates: Vec<Coordinate>,
    pub(super) terms: Option<(usize, Vec<Term>)>,
}

/// Exponents that are written to make more of a size lower the loss; those of unknown sign; and all else.
pub(super) const EXPONENT: (f64, f64) = (-8.0, 8.0);
pub(super) const ANY: (f64, f64) = (-1e12, 1e12);
/// Logarithms of what can only be positive.
pub(super) const LOG: (f64, f64) = (-700.0, 700.0);
pub(super) const UNIT: &str = "of its formula";

/// Compiles a formula.
pub(super) fn compile(tree: &Tree, named: &[Named]) -> Result<Compiled, Wrong> {
    let names = tree.names();
    let count = |at| {
        names
            .iter()
            .filter(|name| **name == Name::Parameter(at))
            .count()
    };
    let mut compiler = Compiler {
        slots: Vec::new(),
        tape: Tape::default(),
        parameters: named.iter().map(general).collect(),
        coordinates: vec![Coordinate::Natural; named.len()],
        is_bounded: named.iter().map(|named| named.between.is_some()).collect(),
        count: (0..named.len()).map(count).collect(),
        in_exponent: vec![false; named.len()],
        falls: vec![None; named.len()],
    };
    compiler.mark(tree);
    let parts = match tree {
        Tree::Sum(parts) => parts.clone(),
        tree => vec![(false, tree.clone())],
    };
    let mut sum = compiler.tape.number(0.0);
    let mut terms = Some((None, Vec::new()));
    for (is_taken, part) in &parts {
        let (term, is_response) = compiler.top(part);
        let term = if is_response {
            term
        } else {
            let response = compiler.tape.last_feature();
            compiler.tape.multiply(term, response)
        };
        sum = if *is_taken {
            compiler.tape.subtract(sum, term)
        } else {
            compiler.tape.add(sum, term)
        };
        terms = terms.and_then(|terms| compiler.form(part, *is_taken, terms));
    }
    if compiler.slots.len() >= MAX_SIZES || compiler.tape.is_full() {
        return Err(Wrong {
            span: (0, 0),
            why: format!(
                "it is too large: at most {} different quantities of columns alone are read",
                MAX_SIZES - 1
            ),
            help: String::new(),
        });
    }
    let terms = terms.and_then(|(floor, terms)| Some((floor?, terms)));
    Ok(Compiled {
        tape: compiler.tape.end(sum, compiler.slots.len()),
        slots: compiler.slots,
        parameters: compiler.parameters,
        coordinates: compiler.coordinates,
        terms: terms.filter(|(_, terms)| !terms.is_empty()),
    })
}

/// A parameter of which nothing is known but what is said.
fn general(named: &Named) -> Parameter {
    let (bounds, start) = match named.between {
        None => (ANY, (-2.0, 2.0)),
        Some((low, high)) => {
            let start = match (low.is_finite(), high.is_finite()) {
                (true, true) => (low, high),
                (true, false) => (low, low + low.abs().max(1.0)),
                (false, true) => (high - high.abs().max(1.0), high),
                (false, false) => (-2.0, 2.0),
            };
            ((low, high), start)
        }
    };
    Parameter::nonlinear(&*named.name, UNIT, bounds, start)
}

pub(super) struct Compiler {
    pub(super) slots: Vec<Slot>,
    pub(super) tape: Tape,
    pub(super) parameters: Vec<Parameter>,
    pub(super) coordinates: Vec<Coordinate>,
    pub(super) is_bounded: Vec<bool>,
    /// How often each parameter stands in the formula.
    pub(super) count: Vec<usize>,
    /// Whether it stands in an exponent, whose value must be known before that of what it scales.
    pub(super) in_exponent: Vec<bool>,
    /// Whether more of what has it as its exponent is always less of the whole; nothing where it was not met.
    pub(super) falls: Vec<Option<bool>>,
}

/// Where in a formula something stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is added up to the whole.
    Top,
    /// It must be positive for the formula to have a value.
    Positive,
    Anywhere,
}

impl Place {
    /// Where its factors stand.
    pub(super) fn below(self) -> Self {
        match self {
            Self::Top => Self::Anywhere,
            place => place,
        }
    }
}

/// A factor that is a power of a size.
pub(super) struct Power<'a> {
    pub(super) size: Tree,
    pub(super) offset: Option<usize>,
    /// The exponent, `None` where it is 1.
    pub(super) exponent: Option<&'a Tree>,
    pub(super) divides: bool,
}

impl Compiler {
    pub(super) fn slot(&mut self, tree: &Tree, form: Form) -> usize {
        let slot = Slot {
            tree: tree.clone(),
            form,
        };
        let known = self.slots.iter().position(|known| *known == slot);
        known.unwrap_or_else(|| {
            self.slots.push(slot);
            self.slots.len() - 1
        })
    }

    pub(super) fn feature(&mut self, tree: &Tree, form: Form) -> usize {
        let slot = self.slot(tree, form);
        self.tape.feature(slot)
    }

    /// Marks parameters that stand in exponents.
    fn mark(&mut self, tree: &Tree) {
        match tree {
            Tree::Number(_) | Tree::Name(_) => {}
            Tree::Sum(parts) | Tree::Product(parts) => {
                parts.iter().for_each(|(_, part)| self.mark(part));
            }
            Tree::Power(base, exponent) => {
                self.mark(base);
                if exponent.has_columns() {
                    return self.mark(exponent);
                }
                for name in exponent.names() {
                    if let Name::Parameter(at) = name {
                        self.in_exponent[at] = true;
                    }
                }
            }
            Tree::Call(_, parts) => parts.iter().for_each(|part| self.mark(part)),
        }
    }

    /// Says whether a parameter may have another coordinate than itself.
    pub(super) fn is_free(&self, at: usize) -> bool {
        self.count[at] == 1 && !self.is_bounded[at] && !self.in_exponent[at]
    }

    /// Finds the parameter that scales a product.
    pub(super) fn amplitude(&self, factors: &[(bool, Tree)]) -> Option<usize> {
        let free = |divides: bool| {
            factors.iter().position(|(is_divisor, factor)| {
                matches!(factor, Tree::Name(Name::Parameter(at)) if self.is_free(*at))
                    && *is_divisor == divides
            })
        };
        free(false).or_else(|| free(true))
    }

    /// Reads a factor as a power of a size.
    pub(super) fn power<'a>(&self, divides: bool, factor: &'a Tree) -> Option<Power<'a>> {
        if factor.is_size() {
            return Some(Power {
                size: factor.clone(),
                offset: None,
                exponent: None,
                divides,
            });
        }
        let Tree::Power(base, exponent) = factor else {
            return None;
        };
        if exponent.has_columns() {
            return None;
        }
        let power = |size, offset| Power {
            size,
            offset,
            exponent: Some(exponent),
            divides,
        };
        if base.is_size() {
            return Some(power((**base).clone(), None));
        }
        let Tree::Sum(parts) = base.as_ref() else {
            return None;
        };
        let (of_columns, others): (Vec<_>, Vec<_>) = parts
            .iter()
            .cloned()
            .partition(|(_, part)| !part.has_parameters());
        let [(false, Tree::Name(Name::Parameter(offset)))] = others.as_slice() else {
            return None;
        };
        // A square is one of what is negative too.
        let has_root = match exponent.as_ref() {
            Tree::Number(exponent) => exponent.fract() != 0.0,
            _ => true,
        };
        if !has_root || of_columns.iter().any(|(is_taken, _)| *is_taken) {
            return None;
        }
        let size = match of_columns.as_slice() {
            [(_, one)] => one.clone(),
            _ => Tree::Sum(of_columns),
        };
        (self.is_free(*offset) && size.is_size()).then(|| power(size, Some(*offset)))
    }

    /// A term of the whole formula, and whether it is in units of the response already.
    fn top(&mut self, part: &Tree) -> (usize, bool) {
        let factors = factors(part);
        let linear = factors.iter().position(|(divides, factor)| {
            let is_parameter = |at: &usize| self.count[*at] == 1 && !self.in_exponent[*at];
            matches!(factor, Tree::Name(Name::Parameter(at)) if is_parameter(at)) && !divides
        });
        let scaled = self.amplitude(&factors).filter(|at| !factors[*at].0);
        let Some(at) = scaled.or(linear) else {
            return (self.node(part), false);
        };
        let Tree::Name(Name::Parameter(parameter)) = factors[at].1 else {
            return (self.node(part), false);
        };
        let is_positive = || {
            factors
                .iter()
                .enumerate()
                .all(|(other, (_, factor))| other == at || factor.is_positive())
        };
        let own = &mut self.parameters[parameter];
        own.role = Role::Linear;
        if !self.is_bounded[parameter] {
            own.bounds = if is_positive() {
                (0.0, f64::INFINITY)
            } else {
                (f64::NEG_INFINITY, f64::INFINITY)
            };
            own.start = (0.0, 1.0);
        }
        (self.product(&factors, scaled, Place::Top), scaled.is_some())
    }

    /// Reads a term as a floor or a decreasing power; `None` where the formula is no floor with decreasing powers.
    fn form(
        &self,
        part: &Tree,
        is_taken: bool,
        (floor, mut terms): (Option<usize>, Vec<Term>),
    ) -> Option<(Option<usize>, Vec<Term>)> {
        let factors = factors(part);
        let amplitude = factors.iter().find_map(|(_, factor)| match factor {
            Tree::Name(Name::Parameter(at)) => match &self.coordinates[*at] {
                Coordinate::Scale(scale) if scale.is_linear => Some((*at, &scale.powers)),
                _ => None,
            },
            _ => None,
        });
        let (amplitude, powers) = amplitude.filter(|_| !is_taken)?;
        if self.parameters[amplitude].bounds.0 < 0.0 {
            return None;
        }
        if factors.len() == 1 {
            return floor.is_none().then_some((Some(amplitude), terms));
        }
        let falling = powers
            .iter()
            .filter_map(|power| match single(&power.exponent) {
                Some((exponent, true)) if self.count[exponent] == 1 => Some(Term {
                    amplitude,
                    exponent,
                    offset: power.offset,
                }),
                _ => None,
            });
        let falling: Vec<Term> = falling.collect();
        let [term] = falling.as_slice() else {
            return None;
        };
        terms.push(*term);
        Some((floor, terms))
    }
}

pub(super) fn factors(part: &Tree) -> Vec<(bool, Tree)> {
    match part {
        Tree::Product(factors) => factors.clone(),
        part => vec![(false, part.clone())],
    }
}

/// A parameter that stands alone, and whether it is negated.
pub(super) fn single(tree: &Tree) -> Option<(usize, bool)> {
    match tree {
        Tree::Name(Name::Parameter(at)) => Some((*at, false)),
        Tree::Sum(parts) => match parts.as_slice() {
            [(is_taken, inner)] => single(inner).map(|(at, falls)| (at, falls != *is_taken)),
            _ => None,
        },
        _ => None,
    }
}
