//! The parts of a formula, each as steps.

use super::super::Parameter;
use super::compile::{
    ANY, Compiler, Coordinate, EXPONENT, Form, LOG, Place, Power, Scale, Scaled, UNIT, factors,
    single,
};
use super::tree::{Function, Name, Tree};

impl Compiler {
    /// A product, with its own scale where it has one.
    pub(super) fn term(&mut self, tree: &Tree, place: Place) -> usize {
        let factors = factors(tree);
        match self.amplitude(&factors) {
            Some(amplitude) => self.product(&factors, Some(amplitude), place),
            None if factors.len() == 1 => self.node_at(tree, place),
            None => self.product(&factors, None, place),
        }
    }

    pub(super) fn product(
        &mut self,
        factors: &[(bool, Tree)],
        amplitude: Option<usize>,
        place: Place,
    ) -> usize {
        self.raised_product(factors, amplitude, place, None)
    }

    /// A product to a power of parameters.
    fn raised_product(
        &mut self,
        factors: &[(bool, Tree)],
        amplitude: Option<usize>,
        place: Place,
        raised: Option<&Tree>,
    ) -> usize {
        let is_linear = place == Place::Top;
        let is_log = place == Place::Positive || amplitude.is_some_and(|at| factors[at].0);
        let raise = |compiler: &mut Self, node: usize| match raised {
            None => node,
            Some(raised) => {
                let raised = compiler.node(raised);
                compiler.tape.power(node, raised)
            }
        };
        let mut product = self.tape.number(1.0);
        let mut powers = Vec::new();
        for (at, (divides, factor)) in factors.iter().enumerate() {
            let power = self.power(*divides, factor).filter(|_| amplitude.is_some());
            let (node, divides) = match (power, factor) {
                (Some(power), _) => {
                    let (node, scaled) = self.scaled(&power);
                    powers.push(scaled);
                    (raise(self, node), false)
                }
                (None, Tree::Name(Name::Parameter(parameter))) if amplitude == Some(at) => {
                    let parameter = self.tape.parameter(*parameter);
                    let node = if is_log {
                        self.tape.apply(Function::Exp, parameter, parameter)
                    } else {
                        parameter
                    };
                    (node, *divides)
                }
                // What divides by a power has its exponent negated: more of it is less of the whole.
                (None, Tree::Power(base, exponent)) if *divides && exponent.has_parameters() => {
                    let exponent = Box::new(Tree::Sum(vec![(true, (**exponent).clone())]));
                    let node = self.node(&Tree::Power(base.clone(), exponent));
                    (raise(self, node), false)
                }
                _ => {
                    let node = self.node_at(factor, place.below());
                    (raise(self, node), *divides)
                }
            };
            product = if divides {
                self.tape.divide(product, node)
            } else {
                self.tape.multiply(product, node)
            };
        }
        if let Some((divides, Tree::Name(Name::Parameter(at)))) = amplitude.map(|at| &factors[at]) {
            if !is_linear {
                let own = &mut self.parameters[*at];
                (own.bounds, own.start) = if is_log {
                    (LOG, (-3.0, 2.0))
                } else {
                    (ANY, (-2.0, 2.0))
                };
            }
            self.coordinates[*at] = Coordinate::Scale(Scale {
                is_linear,
                is_log,
                raised: raised.cloned(),
                divides: *divides,
                powers,
            });
        }
        product
    }

    /// A scaled product that is raised to a power of parameters alone.
    fn raised(&self, base: &Tree, exponent: &Tree) -> Option<(Vec<(bool, Tree)>, usize)> {
        let factors = factors(base);
        let at = self.amplitude(&factors)?;
        let is_power = exponent.has_parameters() && !exponent.has_columns();
        is_power.then_some((factors, at))
    }

    /// A sum below the whole. A parameter that is added to terms that have scales of their own is the level at the centre
    /// of the data, where each of them is its scale: near an exponent of 0 they would make up for each other.
    fn level(&mut self, parts: &[(bool, Tree)]) -> Option<usize> {
        let is_bare =
            |part: &Tree| matches!(part, Tree::Name(Name::Parameter(at)) if self.is_free(*at));
        let (bare, others): (Vec<_>, Vec<_>) = parts.iter().partition(|(_, part)| is_bare(part));
        let [(false, Tree::Name(Name::Parameter(level)))] = bare.as_slice() else {
            return None;
        };
        let mut scales = Vec::new();
        for (is_taken, part) in &others {
            let factors = factors(part);
            let at = self.amplitude(&factors).filter(|at| !factors[*at].0)?;
            let (_, Tree::Name(Name::Parameter(scale))) = &factors[at] else {
                return None;
            };
            let is_scaled = |(other, (divides, factor)): (usize, &(bool, Tree))| {
                other == at
                    || self
                        .power(*divides, factor)
                        .is_some_and(|power| power.offset.is_none())
            };
            if factors.len() < 2 || !factors.iter().enumerate().all(is_scaled) {
                return None;
            }
            scales.push((*is_taken, *scale));
        }
        if scales.is_empty() {
            return None;
        }
        let mut sum = self.tape.parameter(*level);
        for ((is_taken, part), (_, scale)) in others.iter().zip(&scales) {
            let term = self.term(part, Place::Anywhere);
            let scale = self.tape.parameter(*scale);
            let above = self.tape.subtract(term, scale);
            sum = if *is_taken {
                self.tape.subtract(sum, above)
            } else {
                self.tape.add(sum, above)
            };
        }
        let own = &mut self.parameters[*level];
        (own.bounds, own.start) = (ANY, (-2.0, 2.0));
        self.coordinates[*level] = Coordinate::Level { scales };
        Some(sum)
    }

    /// A power of a size in units of the size's own at the centre.
    fn scaled(&mut self, power: &Power<'_>) -> (usize, Scaled) {
        let exponent = power.exponent.cloned().unwrap_or(Tree::Number(1.0));
        let exponent = if power.divides {
            Tree::Sum(vec![(true, exponent)])
        } else {
            exponent
        };
        let (node, slot) = match power.offset {
            None if !exponent.has_parameters() => {
                let slot = self.slot(&power.size, Form::Scaled);
                let (size, exponent) = (self.tape.feature(slot), self.node(&exponent));
                (self.tape.power(size, exponent), slot)
            }
            None => {
                let slot = self.slot(&power.size, Form::LogScaled);
                let log = self.tape.feature(slot);
                let exponent = self.exponent(&exponent);
                (self.tape.exp_of_product(exponent, log), slot)
            }
            Some(offset) => {
                let slot = self.slot(&power.size, Form::Scaled);
                self.coordinates[offset] = Coordinate::Offset { slot };
                let name = self.parameters[offset].name.clone();
                self.parameters[offset] = Parameter::offset(name, UNIT);
                // 1 + s(x − 1)
                let (one, size, s) = (
                    self.tape.number(1.0),
                    self.tape.feature(slot),
                    self.tape.parameter(offset),
                );
                let above = self.tape.subtract(size, one);
                let above = self.tape.multiply(s, above);
                let base = self.tape.add(one, above);
                let log = self.tape.apply(Function::Log, base, base);
                let exponent = self.exponent(&exponent);
                (self.tape.exp_of_product(exponent, log), slot)
            }
        };
        let scaled = Scaled {
            slot,
            offset: power.offset,
            exponent,
        };
        (node, scaled)
    }

    /// An exponent; a parameter that stands there alone is given an exponent's bounds.
    fn exponent(&mut self, exponent: &Tree) -> usize {
        if let Some((at, falls)) = single(exponent)
            && !self.is_bounded[at]
        {
            let own = &mut self.parameters[at];
            let always_falls = falls && self.falls[at].unwrap_or(true);
            self.falls[at] = Some(always_falls);
            *own = if always_falls {
                Parameter::exponent(own.name.clone())
            } else {
                Parameter::nonlinear(own.name.clone(), "1", EXPONENT, (-1.2, 1.2))
            };
        }
        self.node(exponent)
    }

    /// Anything, by its parts.
    pub(super) fn node(&mut self, tree: &Tree) -> usize {
        self.node_at(tree, Place::Anywhere)
    }

    fn node_at(&mut self, tree: &Tree, place: Place) -> usize {
        if self.tape.is_full() {
            return self.tape.number(f64::NAN);
        }
        if tree.is_size() {
            return self.feature(tree, Form::Raw);
        }
        match tree {
            Tree::Number(number) => self.tape.number(*number),
            Tree::Name(Name::Parameter(at)) => self.tape.parameter(*at),
            Tree::Name(Name::Column(_)) => self.feature(tree, Form::Raw),
            Tree::Sum(parts) => {
                let level = (place == Place::Anywhere).then(|| self.level(parts));
                if let Some(level) = level.flatten() {
                    return level;
                }
                let has_powers = tree.has_free_power();
                let mut sum = self.tape.number(0.0);
                for (is_taken, part) in parts {
                    // Each term of a sum of power laws is positive; of other sums only the whole must be.
                    let place = if *is_taken || !has_powers {
                        Place::Anywhere
                    } else {
                        place
                    };
                    let part = self.term(part, place);
                    sum = if *is_taken {
                        self.tape.subtract(sum, part)
                    } else {
                        self.tape.add(sum, part)
                    };
                }
                sum
            }
            Tree::Product(_) => self.term(tree, place),
            Tree::Power(base, exponent) if base.is_size() && exponent.has_parameters() => {
                let exponent = self.exponent(exponent);
                let log = self.feature(base, Form::Log);
                self.tape.exp_of_product(exponent, log)
            }
            Tree::Power(base, exponent) => {
                if let Some((factors, at)) = self.raised(base, exponent) {
                    self.exponent(exponent);
                    return self.raised_product(
                        &factors,
                        Some(at),
                        Place::Positive,
                        Some(exponent),
                    );
                }
                // Only what is positive has all powers.
                let place = if exponent.has_parameters() {
                    Place::Positive
                } else {
                    place
                };
                let (base, exponent) = (self.term(base, place), self.exponent(exponent));
                self.tape.power(base, exponent)
            }
            Tree::Call(function, parts) => {
                let place = match function {
                    Function::Log | Function::Sqrt => Place::Positive,
                    Function::Min | Function::Max => place,
                    Function::Exp | Function::Sigmoid => Place::Anywhere,
                };
                let nodes: Vec<usize> = parts.iter().map(|part| self.term(part, place)).collect();
                match nodes.as_slice() {
                    [first, second, rest @ ..] => {
                        let mut node = self.tape.apply(*function, *first, *second);
                        for next in rest {
                            node = self.tape.apply(*function, node, *next);
                        }
                        node
                    }
                    [first] if matches!(function, Function::Min | Function::Max) => *first,
                    [first] => self.tape.apply(*function, *first, *first),
                    [] => self.tape.number(f64::NAN),
                }
            }
        }
    }
}
