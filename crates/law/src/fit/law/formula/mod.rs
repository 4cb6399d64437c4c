//! A law from a formula: any columns, and a parameter for every name that is none.
//!
//! A formula is fitted in the coordinates of the laws that are written by hand: a parameter that multiplies powers of
//! sizes is, internally, what their product is at the centre of the data; `t` in `(size + t)^e` is `1/(1 + t/centre)`;
//! and parameters in which the prediction is linear are solved for. So a formula of such a law is that law.

mod compile;
mod expand;
mod groups;
mod read;
mod steps;
mod tape;
mod tree;

use super::{Frame, Input, Law, LawError, Parameter, Term};
use compile::{Coordinate, Form, Scale, Slot};
pub(crate) use expand::replaced as renamed;
pub use expand::{called, unsaid_words, with_words};
use groups::Grouped;
use read::Read;
pub use read::is_formula;
use std::sync::Arc;
use tape::Tape;
use tree::{Name, Tree};

/// A law from a formula.
///
/// # Units
/// The columns' own; loss in nats per token.
#[derive(Clone, Debug)]
struct Formula {
    name: String,
    columns: Vec<String>,
    slots: Vec<Slot>,
    tape: Tape,
    parameters: Vec<Parameter>,
    coordinates: Vec<Coordinate>,
    terms: Option<(usize, Vec<Term>)>,
}

/// Reads a formula: `[loss =] EXPRESSION [where NAME = NUMBER, NAME in LOW..HIGH, NAME = EXPRESSION, …]`.
///
/// `table` are the columns that a table has beside the usual ones; `N`, `D`, `P` and `R` are the usual ones' letters.
/// `A[optimizer]` is a parameter for each of the words that `where optimizer in (WORD, WORD, …)` names.
///
/// # Errors
/// [`LawError::Formula`] with what is wrong and where.
pub(super) fn of_formula(text: &str, table: &[String]) -> Result<Arc<dyn Law>, LawError> {
    let read = read::read(text, table)?;
    let (name, columns) = (read.name.clone(), read.by.clone());
    let by: Vec<Option<usize>> = read.parameters.iter().map(|named| named.by).collect();
    let formula = Formula::of(read)?;
    if columns.is_empty() {
        return Ok(Arc::new(formula));
    }
    let grouped = Grouped::new(formula, columns, &by);
    Ok(Arc::new(
        grouped.map_err(|wrong| read::refused(&name, wrong))?,
    ))
}

impl Formula {
    fn of(read: Read) -> Result<Self, LawError> {
        let Read {
            name,
            tree,
            columns,
            parameters,
            ..
        } = read;
        let compiled = compile::compile(&tree, &parameters);
        let compiled = compiled.map_err(|wrong| read::refused(&name, wrong))?;
        Ok(Self {
            name,
            columns,
            slots: compiled.slots,
            tape: compiled.tape,
            parameters: compiled.parameters,
            coordinates: compiled.coordinates,
            terms: compiled.terms,
        })
    }
}

impl Scale {
    /// By what the parameter's product differs from its coordinate: the powers of the references, with an offset's
    /// `reference/s` in their place.
    fn shift(&self, natural: &[f64], s: &[f64], frame: &Frame) -> f64 {
        let powers = self.powers.iter().map(|power| {
            let reference = frame.sizes[power.slot];
            let reference = power.offset.map_or(reference, |at| reference / s[at]);
            reference.powf(of(&power.exponent, natural))
        });
        let shift: f64 = powers.product();
        if self.divides { 1.0 / shift } else { shift }
    }

    /// The unit of the coordinate, and the power in its logarithm.
    fn unit(&self, natural: &[f64], frame: &Frame) -> (f64, f64) {
        let response = if self.is_linear { frame.response } else { 1.0 };
        let raised = self.raised.as_ref();
        (response, raised.map_or(1.0, |raised| of(raised, natural)))
    }

    /// The parameter of a coordinate; `natural` are those that stand in exponents.
    fn natural(&self, internal: f64, natural: &[f64], s: &[f64], frame: &Frame) -> f64 {
        let (response, power) = self.unit(natural, frame);
        let scale = if self.is_log {
            (internal / power).exp()
        } else {
            internal
        };
        scale / self.shift(natural, s, frame) * response
    }

    /// The coordinate of a parameter.
    fn internal(&self, own: f64, natural: &[f64], s: &[f64], frame: &Frame) -> f64 {
        let (response, power) = self.unit(natural, frame);
        let scale = own * self.shift(natural, s, frame) / response;
        if self.is_log {
            scale.ln() * power
        } else {
            scale
        }
    }
}

impl Law for Formula {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn equation(&self) -> String {
        format!("loss = {}", self.name.replace('`', "").replace('*', "·"))
    }

    fn source(&self) -> &'static str {
        "a formula, as it was given"
    }

    fn inputs(&self) -> Vec<Input> {
        let input = |name: &String| Input {
            above: f64::NEG_INFINITY,
            ..Input::factor(name, "the column's own")
        };
        self.columns.iter().map(input).collect()
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.parameters.clone()
    }

    fn terms(&self) -> Option<(usize, Vec<Term>)> {
        self.terms.clone()
    }

    fn n_sizes(&self) -> usize {
        self.slots.len() + 1
    }

    /// The last one stands for the response.
    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]) {
        let get = |name| match name {
            Name::Column(at) => inputs[at],
            Name::Parameter(_) => f64::NAN,
        };
        for (size, slot) in sizes.iter_mut().zip(&self.slots) {
            *size = slot.tree.value(&get);
        }
        sizes[self.slots.len()] = 1.0;
    }

    fn features(&self, sizes: &mut [f64], frame: &Frame) {
        for ((size, slot), reference) in sizes.iter_mut().zip(&self.slots).zip(&frame.sizes) {
            *size = match slot.form {
                Form::Raw => *size,
                Form::Log => size.ln(),
                Form::Scaled => *size / reference,
                Form::LogScaled => (*size / reference).ln(),
            };
        }
        sizes[self.slots.len()] = 1.0 / frame.response;
    }

    fn value(&self, internal: &[f64], features: &[f64], gradient: &mut [f64]) -> f64 {
        self.tape.value(internal, features, gradient)
    }

    fn natural(&self, internal: &[f64], frame: &Frame) -> Vec<f64> {
        let mut natural = internal.to_vec();
        for (at, coordinate) in self.coordinates.iter().enumerate() {
            match coordinate {
                Coordinate::Offset { slot } => {
                    natural[at] = frame.sizes[*slot] * (1.0 / internal[at] - 1.0);
                }
                Coordinate::Level { scales } => natural[at] -= level(scales, internal),
                Coordinate::Natural | Coordinate::Scale(_) => {}
            }
        }
        let known = natural.clone();
        for (at, coordinate) in self.coordinates.iter().enumerate() {
            if let Coordinate::Scale(scale) = coordinate {
                natural[at] = scale.natural(internal[at], &known, internal, frame);
            }
        }
        natural
    }

    fn internal(&self, natural: &[f64], frame: &Frame) -> Vec<f64> {
        let mut internal = natural.to_vec();
        for (at, coordinate) in self.coordinates.iter().enumerate() {
            if let Coordinate::Offset { slot } = coordinate {
                internal[at] = 1.0 / (1.0 + natural[at] / frame.sizes[*slot]);
            }
        }
        let offsets = internal.clone();
        for (at, coordinate) in self.coordinates.iter().enumerate() {
            if let Coordinate::Scale(scale) = coordinate {
                internal[at] = scale.internal(natural[at], natural, &offsets, frame);
            }
        }
        for (at, coordinate) in self.coordinates.iter().enumerate() {
            if let Coordinate::Level { scales } = coordinate {
                internal[at] += level(scales, &internal);
            }
        }
        internal
    }
}

/// What is added to a level at the centre.
fn level(scales: &[(bool, usize)], internal: &[f64]) -> f64 {
    let scales = scales.iter().map(|(is_taken, at)| match is_taken {
        true => -internal[*at],
        false => internal[*at],
    });
    scales.sum()
}

/// The value of what is of parameters alone.
fn of(tree: &Tree, natural: &[f64]) -> f64 {
    tree.value(&|name| match name {
        Name::Parameter(at) => natural[at],
        Name::Column(_) => f64::NAN,
    })
}

#[cfg(test)]
mod tests;
