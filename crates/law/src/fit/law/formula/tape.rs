//! A computation as a list of steps, with exact slopes by going through it backwards.

use super::tree::Function;
use std::cell::RefCell;
use std::collections::HashMap;

/// The most steps of a law.
const MOST: usize = 2000;

/// A step: what is computed from the results of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Number(f64),
    Feature(usize),
    Parameter(usize),
    Add(usize, usize),
    Subtract(usize, usize),
    Multiply(usize, usize),
    Divide(usize, usize),
    /// To a number.
    Power(usize, f64),
    Apply(Function, usize, usize),
}

/// Steps, each computed once.
#[derive(Clone, Debug, Default)]
pub(super) struct Tape {
    steps: Vec<Step>,
    known: HashMap<[u64; 4], usize>,
    /// The step whose result is that of all.
    root: usize,
}

thread_local! {
    /// Results of steps, and the slopes of the last one by them.
    static SCRATCH: RefCell<(Vec<f64>, Vec<f64>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Tape {
    /// The last feature, of which it is not known yet how many are before it.
    pub(super) fn last_feature(&mut self) -> usize {
        self.feature(usize::MAX)
    }

    /// Ends with the result of a step, when it is known how many features there are before the last.
    pub(super) fn end(mut self, root: usize, features: usize) -> Self {
        for step in &mut self.steps {
            if let Step::Feature(at) = step {
                *at = (*at).min(features);
            }
        }
        self.root = root;
        self.known.clear();
        self
    }

    /// Says whether it has become too long.
    pub(super) fn is_full(&self) -> bool {
        self.steps.len() > MOST
    }

    fn push(&mut self, step: Step) -> usize {
        let (kind, a, b, c) = match step {
            Step::Number(number) => (0, number.to_bits(), 0, 0),
            Step::Feature(at) => (1, at as u64, 0, 0),
            Step::Parameter(at) => (2, at as u64, 0, 0),
            Step::Add(a, b) => (3, a as u64, b as u64, 0),
            Step::Subtract(a, b) => (4, a as u64, b as u64, 0),
            Step::Multiply(a, b) => (5, a as u64, b as u64, 0),
            Step::Divide(a, b) => (6, a as u64, b as u64, 0),
            Step::Power(a, exponent) => (7, a as u64, exponent.to_bits(), 0),
            Step::Apply(function, a, b) => (8, a as u64, b as u64, function as u64),
        };
        let next = self.steps.len();
        let at = *self.known.entry([kind, a, b, c]).or_insert(next);
        if at == next {
            self.steps.push(step);
        }
        at
    }

    fn number_at(&self, at: usize) -> Option<f64> {
        match self.steps[at] {
            Step::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn number(&mut self, number: f64) -> usize {
        self.push(Step::Number(number))
    }

    pub(super) fn feature(&mut self, at: usize) -> usize {
        self.push(Step::Feature(at))
    }

    pub(super) fn parameter(&mut self, at: usize) -> usize {
        self.push(Step::Parameter(at))
    }

    pub(super) fn add(&mut self, a: usize, b: usize) -> usize {
        match (self.number_at(a), self.number_at(b)) {
            (Some(a), Some(b)) => self.number(a + b),
            (Some(0.0), None) => b,
            (None, Some(0.0)) => a,
            _ => self.push(Step::Add(a, b)),
        }
    }

    pub(super) fn subtract(&mut self, a: usize, b: usize) -> usize {
        match (self.number_at(a), self.number_at(b)) {
            (Some(a), Some(b)) => self.number(a - b),
            _ => self.push(Step::Subtract(a, b)),
        }
    }

    pub(super) fn multiply(&mut self, a: usize, b: usize) -> usize {
        match (self.number_at(a), self.number_at(b)) {
            (Some(a), Some(b)) => self.number(a * b),
            (Some(1.0), None) => b,
            (None, Some(1.0)) => a,
            _ => self.push(Step::Multiply(a, b)),
        }
    }

    pub(super) fn divide(&mut self, a: usize, b: usize) -> usize {
        match (self.number_at(a), self.number_at(b)) {
            (Some(a), Some(b)) => self.number(a / b),
            (None, Some(1.0)) => a,
            _ => self.push(Step::Divide(a, b)),
        }
    }

    pub(super) fn apply(&mut self, function: Function, a: usize, b: usize) -> usize {
        match (self.number_at(a), self.number_at(b)) {
            (Some(a), Some(b)) => self.number(function.apply(a, b)),
            _ => self.push(Step::Apply(function, a, b)),
        }
    }

    /// `base ^ exponent`: of a base whose sign may change, with an exponent that is a number.
    pub(super) fn power(&mut self, base: usize, exponent: usize) -> usize {
        match (self.number_at(base), self.number_at(exponent)) {
            (Some(base), Some(exponent)) => self.number(base.powf(exponent)),
            (None, Some(1.0)) => base,
            (None, Some(exponent)) => self.push(Step::Power(base, exponent)),
            _ => {
                let log = self.apply(Function::Log, base, base);
                self.exp_of_product(exponent, log)
            }
        }
    }

    pub(super) fn exp_of_product(&mut self, a: usize, b: usize) -> usize {
        let product = self.multiply(a, b);
        self.apply(Function::Exp, product, product)
    }

    /// Computes the result and writes its slopes by the parameters.
    pub(super) fn value(&self, parameters: &[f64], features: &[f64], gradient: &mut [f64]) -> f64 {
        SCRATCH.with_borrow_mut(|(results, slopes)| {
            results.clear();
            for step in &self.steps {
                results.push(match *step {
                    Step::Number(number) => number,
                    Step::Feature(at) => features[at],
                    Step::Parameter(at) => parameters[at],
                    Step::Add(a, b) => results[a] + results[b],
                    Step::Subtract(a, b) => results[a] - results[b],
                    Step::Multiply(a, b) => results[a] * results[b],
                    Step::Divide(a, b) => results[a] / results[b],
                    Step::Power(a, exponent) => results[a].powf(exponent),
                    Step::Apply(function, a, b) => function.apply(results[a], results[b]),
                });
            }
            gradient.fill(0.0);
            slopes.clear();
            slopes.resize(self.steps.len(), 0.0);
            slopes[self.root] = 1.0;
            for (at, step) in self.steps.iter().enumerate().take(self.root + 1).rev() {
                let slope = slopes[at];
                // What nothing depends on may be infinite.
                if slope == 0.0 {
                    continue;
                }
                match *step {
                    Step::Number(_) | Step::Feature(_) => {}
                    Step::Parameter(at) => gradient[at] += slope,
                    Step::Add(a, b) => {
                        slopes[a] += slope;
                        slopes[b] += slope;
                    }
                    Step::Subtract(a, b) => {
                        slopes[a] += slope;
                        slopes[b] -= slope;
                    }
                    Step::Multiply(a, b) => {
                        slopes[a] += slope * results[b];
                        slopes[b] += slope * results[a];
                    }
                    Step::Divide(a, b) => {
                        slopes[a] += slope / results[b];
                        slopes[b] -= slope * results[at] / results[b];
                    }
                    Step::Power(a, exponent) => {
                        slopes[a] += slope * exponent * results[a].powf(exponent - 1.0);
                    }
                    Step::Apply(function, a, b) => {
                        let (result, of) = (results[at], results[a]);
                        match function {
                            Function::Sqrt => slopes[a] += slope * 0.5 / result,
                            Function::Log => slopes[a] += slope / of,
                            Function::Exp => slopes[a] += slope * result,
                            Function::Sigmoid => slopes[a] += slope * result * (1.0 - result),
                            Function::Min | Function::Max => {
                                slopes[if result == of { a } else { b }] += slope;
                            }
                        }
                    }
                }
            }
            results[self.root]
        })
    }
}
