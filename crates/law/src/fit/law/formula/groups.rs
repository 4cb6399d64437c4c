//! Parameters that differ by the words of a column: `A[optimizer]` has a value for each of them.
//!
//! A formula with such parameters is, for the rows of each combination of words, the formula with those words' values;
//! what is in no brackets is shared. So coordinates, slopes and scales are those of the formula itself.

use super::super::{Frame, Input, Law, MAX_PARAMETERS, MAX_SIZES, Parameter};
use super::Formula;
use super::compile::Coordinate;
use super::tree::{Name, Tree};
use experiment::expression::Wrong;

/// The most combinations of words.
const MOST: usize = 1000;

/// A column whose words tell parameters apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its words, in the order of their values.
    pub(super) words: Vec<String>,
}

/// A formula with parameters that differ by the words of columns.
#[derive(Clone, Debug)]
pub(super) struct Grouped {
    formula: Formula,
    columns: Vec<Column>,
    parameters: Vec<Parameter>,
    /// For each combination of words, which parameter stands where the formula has its own.
    places: Vec<Vec<usize>>,
}

impl Grouped {
    /// `by` says of each parameter of the formula by which column it differs, if by any.
    pub(super) fn new(
        formula: Formula,
        columns: Vec<Column>,
        by: &[Option<usize>],
    ) -> Result<Self, Wrong> {
        let refused = |why: String, help: &str| Wrong {
            span: (0, 0),
            why,
            help: help.to_owned(),
        };
        let combinations = columns.iter().try_fold(1_usize, |all, column| {
            all.checked_mul(column.words.len())
                .filter(|all| *all <= MOST)
        });
        let Some(combinations) = combinations else {
            let why = format!("its columns have more than {MOST} combinations of words");
            return Err(refused(why, ""));
        };
        let own = formula.parameters();
        for (at, coordinate) in formula.coordinates.iter().enumerate() {
            for other in others(coordinate) {
                let Some(column) = by[other].filter(|_| by[at] != by[other]) else {
                    continue;
                };
                let (name, column) = (&own[at].name, &columns[column].name);
                return Err(refused(
                    format!(
                        "`{name}` cannot be told from `{}` beside it, which differs by `{column}`",
                        own[other].name
                    ),
                    &format!("let it differ too: `{}[{column}]`", base(name)),
                ));
            }
        }
        let (mut parameters, mut firsts) = (Vec::new(), Vec::new());
        for (parameter, by) in own.iter().zip(by) {
            firsts.push(parameters.len());
            match by {
                None => parameters.push(parameter.clone()),
                Some(column) => {
                    parameters.extend(columns[*column].words.iter().map(|word| Parameter {
                        name: format!("{}[{word}]", base(&parameter.name)),
                        ..parameter.clone()
                    }))
                }
            }
        }
        if parameters.len() > MAX_PARAMETERS {
            let why = format!(
                "it has {} parameters, and at most {MAX_PARAMETERS} are fitted",
                parameters.len()
            );
            return Err(refused(why, ""));
        }
        let mut names: Vec<&str> = parameters.iter().map(|p| &*p.name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let why = format!("two parameters would be called `{}`", twice[0]);
            return Err(refused(why, "give one of them another name"));
        }
        if formula.n_sizes() >= MAX_SIZES {
            let why = format!("it reads more than {} quantities of columns", MAX_SIZES - 2);
            return Err(refused(why, ""));
        }
        let place = |combination: usize| {
            let words = split(combination, &columns);
            let at = firsts.iter().zip(by);
            at.map(|(first, by)| first + by.map_or(0, |column| words[column]))
                .collect()
        };
        Ok(Self {
            places: (0..combinations).map(place).collect(),
            formula,
            columns,
            parameters,
        })
    }

    fn frame(&self, frame: &Frame) -> Frame {
        Frame {
            sizes: frame.sizes[..self.formula.n_sizes()].to_vec(),
            response: frame.response,
        }
    }

    /// Turns the parameters of every combination into others.
    fn each(&self, values: &[f64], turn: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
        let mut all = values.to_vec();
        for places in &self.places {
            let own: Vec<f64> = places.iter().map(|at| values[*at]).collect();
            for (at, turned) in places.iter().zip(turn(&own)) {
                all[*at] = turned;
            }
        }
        all
    }
}

/// The words of a combination, by their numbers.
fn split(mut combination: usize, columns: &[Column]) -> Vec<usize> {
    let digit = |column: &Column| {
        let word = combination % column.words.len();
        combination /= column.words.len();
        word
    };
    columns.iter().map(digit).collect()
}

/// A parameter's name without its column.
fn base(name: &str) -> &str {
    name.split_once('[').map_or(name, |(base, _)| base)
}

/// The other parameters by which a coordinate is made.
fn others(coordinate: &Coordinate) -> Vec<usize> {
    let of = |tree: &Tree| {
        let names = tree.names().into_iter();
        names.filter_map(|name| match name {
            Name::Parameter(at) => Some(at),
            Name::Column(_) => None,
        })
    };
    match coordinate {
        Coordinate::Natural | Coordinate::Offset { .. } => Vec::new(),
        Coordinate::Level { scales } => scales.iter().map(|(_, at)| *at).collect(),
        Coordinate::Scale(scale) => {
            let powers = scale.powers.iter();
            let powers = powers.flat_map(|power| of(&power.exponent).chain(power.offset));
            powers.chain(scale.raised.iter().flat_map(of)).collect()
        }
    }
}

impl Law for Grouped {
    fn name(&self) -> String {
        self.formula.name()
    }

    fn equation(&self) -> String {
        self.formula.equation()
    }

    fn source(&self) -> &'static str {
        self.formula.source()
    }

    fn inputs(&self) -> Vec<Input> {
        let words = self.columns.iter().map(|column| Input {
            above: -1.0,
            below: column.words.len() as f64,
            words: column.words.clone(),
            ..Input::factor(&column.name, "its words, by number")
        });
        self.formula.inputs().into_iter().chain(words).collect()
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.parameters.clone()
    }

    /// The last one is the combination of words, counted from 1.
    fn n_sizes(&self) -> usize {
        self.formula.n_sizes() + 1
    }

    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]) {
        let (columns, own) = (inputs.len() - self.columns.len(), self.formula.n_sizes());
        self.formula.sizes(&inputs[..columns], &mut sizes[..own]);
        let (mut combination, mut unit) = (0.0, 1.0);
        for (column, word) in self.columns.iter().zip(&inputs[columns..]) {
            combination += unit * word;
            unit *= column.words.len() as f64;
        }
        sizes[own] = combination + 1.0;
    }

    fn features(&self, sizes: &mut [f64], frame: &Frame) {
        let own = self.formula.n_sizes();
        self.formula.features(&mut sizes[..own], &self.frame(frame));
    }

    fn value(&self, internal: &[f64], features: &[f64], gradient: &mut [f64]) -> f64 {
        let own = self.formula.n_sizes();
        let Some(places) = self.places.get(features[own] as usize - 1) else {
            return f64::NAN;
        };
        let (mut values, mut slopes) = ([0.0; MAX_PARAMETERS], [0.0; MAX_PARAMETERS]);
        let (values, slopes) = (&mut values[..places.len()], &mut slopes[..places.len()]);
        for (value, at) in values.iter_mut().zip(places) {
            *value = internal[*at];
        }
        let result = self.formula.value(values, &features[..own], slopes);
        gradient.fill(0.0);
        for (slope, at) in slopes.iter().zip(places) {
            gradient[*at] = *slope;
        }
        result
    }

    fn natural(&self, internal: &[f64], frame: &Frame) -> Vec<f64> {
        let frame = self.frame(frame);
        self.each(internal, |own| self.formula.natural(own, &frame))
    }

    fn internal(&self, natural: &[f64], frame: &Frame) -> Vec<f64> {
        let frame = self.frame(frame);
        self.each(natural, |own| self.formula.internal(own, &frame))
    }
}
