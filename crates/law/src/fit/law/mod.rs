//! Scaling laws: one file per law, and the registry that names them.
//!
//! A law file holds the equation, its exact gradient, its names, units and bounds, and the ranges
//! from which starting points are drawn. Adding a law is one file and one line in the registry below.
//!
//! A law is fitted in *internal* coordinates chosen so that the normal equations are well
//! conditioned: sizes are divided by their geometric mean over the rows, losses by theirs
//! ([`Frame`]), amplitudes are the value of their term at the centre of the data, and an offset
//! `t` is `s = 1/(1 + t/reference)` in (0, 1]. Reports use the natural parameters only.

mod chinchilla;
mod data_constrained;
mod dlcm;
mod dlcm_decay;
mod dlcm_form;
mod fitted;
mod formula;
mod gamma;
mod kaplan;
mod power;

pub use chinchilla::Chinchilla;
pub use data_constrained::DataConstrained;
pub use dlcm::Dlcm;
pub use dlcm_decay::DlcmDecay;
pub use dlcm_form::DlcmForm;
use dlcm_form::PartialDlcm;
pub use fitted::FittedLaw;
use formula::of_formula;
pub(crate) use formula::renamed;
pub use formula::{called, is_formula, unsaid_words, with_words};
pub use gamma::Gamma;
pub use kaplan::Kaplan;
pub use power::Power;

use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The most sizes (and so features) a law may have.
pub const MAX_SIZES: usize = 40;

/// The most parameters a law may have.
pub const MAX_PARAMETERS: usize = 40;

/// A column a law reads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Input {
    /// Name of the column.
    pub name: String,
    /// Unit of the column.
    pub unit: &'static str,
    /// Smallest value at which the law can be fitted (exclusive).
    pub above: f64,
    /// Largest value at which the law can be fitted (exclusive).
    pub below: f64,
    /// Whether more of it should lower the loss; `None` when the law takes no side.
    pub helps: Option<bool>,
    /// Where it is words: those, of which the value is the number, counted from 0.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
}

impl Input {
    /// Describes a positive quantity of which more lowers the loss.
    pub fn resource(name: impl Into<String>, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            unit,
            above: 0.0,
            below: f64::INFINITY,
            helps: Some(true),
            words: Vec::new(),
        }
    }

    /// Describes a positive quantity whose effect the law does not presuppose.
    pub fn factor(name: impl Into<String>, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            unit,
            above: 0.0,
            below: f64::INFINITY,
            helps: None,
            words: Vec::new(),
        }
    }

    /// Describes a share, strictly between 0 and 1.
    pub fn share(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            unit: "1",
            above: 0.0,
            below: 1.0,
            helps: None,
            words: Vec::new(),
        }
    }
}

/// What the internal coordinate of a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A factor in which the prediction is linear (solved by projection).
    Linear,
    /// `1/(1 + t/reference)` of an offset `t`.
    Offset,
    /// Anything else.
    Nonlinear,
}

/// A parameter of a law, with what the solver needs to know about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameter {
    /// Name, as the literature writes it.
    pub name: String,
    /// Unit of the natural value.
    pub unit: &'static str,
    /// What the internal coordinate is.
    pub role: Role,
    /// Lower and upper bound of the internal coordinate.
    pub bounds: (f64, f64),
    /// Range of the internal coordinate from which starting points are drawn.
    pub start: (f64, f64),
}

impl Parameter {
    /// Describes an amplitude: non-negative, and linear in the prediction.
    pub fn amplitude(name: impl Into<String>, unit: &'static str) -> Self {
        let bounds = (0.0, f64::INFINITY);
        Self {
            name: name.into(),
            unit,
            role: Role::Linear,
            bounds,
            start: (0.0, 1.0),
        }
    }

    /// Describes the exponent of a decreasing power.
    pub fn exponent(name: impl Into<String>) -> Self {
        Self::nonlinear(name, "1", (0.0, 8.0), (0.08, 1.2))
    }

    /// Describes an offset `t` added to a size, kept internally as `s = 1/(1 + t/reference)`.
    pub fn offset(name: impl Into<String>, unit: &'static str) -> Self {
        let name = name.into();
        Self {
            name,
            unit,
            role: Role::Offset,
            bounds: (1e-4, 1.0),
            start: (0.4, 1.0),
        }
    }

    /// Describes any other parameter by its internal bounds and the range of its starts.
    pub fn nonlinear(
        name: impl Into<String>,
        unit: &'static str,
        bounds: (f64, f64),
        start: (f64, f64),
    ) -> Self {
        Self {
            name: name.into(),
            unit,
            role: Role::Nonlinear,
            bounds,
            start,
        }
    }
}

/// Where the parameters of one decreasing power `T · (1 + s(x − 1))^−e` stand.
///
/// The solver uses it to step along the curved valley in which floor, amplitude, exponent and
/// offset trade off against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Position of the amplitude.
    pub amplitude: usize,
    /// Position of the exponent.
    pub exponent: usize,
    /// Position of the offset, if the term has one.
    pub offset: Option<usize>,
}

impl Term {
    /// Returns whether a parameter's position is one of the term's.
    pub(crate) fn has(&self, position: usize) -> bool {
        [Some(self.amplitude), Some(self.exponent), self.offset].contains(&Some(position))
    }
}

/// The scales that make a data set's numbers of order one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Geometric mean of every size.
    pub sizes: Vec<f64>,
    /// Geometric mean of the response.
    pub response: f64,
}

impl Frame {
    /// Returns the frame in which nothing is rescaled.
    pub fn unit(sizes: usize) -> Self {
        Self {
            sizes: vec![1.0; sizes],
            response: 1.0,
        }
    }
}

/// A scaling law: an equation with its exact gradient.
///
/// All slices have the lengths the law itself states: `inputs().len()`, `n_sizes()`,
/// `parameters().len()`.
pub trait Law: Debug + Send + Sync {
    /// Returns the name under which [`by_name`] finds the law.
    fn name(&self) -> String;

    /// Returns the equation in plain text, with the parameters' names.
    fn equation(&self) -> String;

    /// Returns where the equation comes from.
    fn source(&self) -> &'static str;

    /// Returns the columns the law reads.
    fn inputs(&self) -> Vec<Input>;

    /// Returns the column the law predicts.
    fn response(&self) -> &'static str {
        "loss"
    }

    /// Returns the parameters in the order of every parameter slice.
    fn parameters(&self) -> Vec<Parameter>;

    /// Returns the position of the irreducible loss and the powers added to it, for laws of that
    /// form: the parameters of one power may not change another.
    fn terms(&self) -> Option<(usize, Vec<Term>)> {
        None
    }

    /// Returns the number of sizes.
    fn n_sizes(&self) -> usize;

    /// Writes the sizes: the non-negative quantities that the law raises to powers.
    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]);

    /// Turns sizes into features in place; by default `ln(size / reference)`.
    fn features(&self, sizes: &mut [f64], frame: &Frame) {
        for (size, reference) in sizes.iter_mut().zip(&frame.sizes) {
            *size = (*size / reference).ln();
        }
    }

    /// Returns the response in units of `frame.response` and writes its gradient with respect to
    /// the internal parameters.
    fn value(&self, internal: &[f64], features: &[f64], gradient: &mut [f64]) -> f64;

    /// Returns the natural parameters of internal ones.
    fn natural(&self, internal: &[f64], frame: &Frame) -> Vec<f64>;

    /// Returns the internal parameters of natural ones.
    fn internal(&self, natural: &[f64], frame: &Frame) -> Vec<f64>;
}

/// The laws that can be asked for by name: name, and how to make it from what follows a colon.
const REGISTRY: &[(&str, Maker)] = &[
    ("dlcm", |_| Ok(Arc::new(Dlcm))),
    ("dlcm_decay", |_| Ok(Arc::new(DlcmDecay))),
    ("chinchilla", |_| Ok(Arc::new(Chinchilla))),
    ("kaplan", |_| Ok(Arc::new(Kaplan))),
    ("power", |columns| Ok(Arc::new(Power::parse(columns)?))),
    ("gamma", |_| Ok(Arc::new(Gamma))),
    ("data_constrained", |_| Ok(Arc::new(DataConstrained))),
];

type Maker = fn(Option<&str>) -> Result<Arc<dyn Law>, LawError>;

/// What is wrong with the name or the parameters of a law.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LawError {
    /// No law has this name.
    #[error("no law is called `{name}`; known laws: {}", known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: Vec<&'static str>,
    },
    /// The part after the colon cannot be read.
    #[error("law `{law}`: {problem}")]
    Arguments {
        /// The law.
        law: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A formula cannot be read.
    #[error("{}", pointed(text, *span, why, help))]
    Formula {
        /// The formula.
        text: String,
        /// Where it is wrong, in bytes.
        span: (usize, usize),
        /// What is wrong.
        why: String,
        /// What would be right; may be empty.
        help: String,
    },
    /// A law was given the wrong parameters.
    #[error("law `{law}` needs the parameters {}: {problem}", expected.join(", "))]
    Parameters {
        /// The law.
        law: String,
        /// The parameters it has.
        expected: Vec<String>,
        /// What is wrong.
        problem: String,
    },
}

/// Shows a place in a text from below.
fn pointed(text: &str, (start, end): (usize, usize), why: &str, help: &str) -> String {
    let mut said = format!("the law's formula cannot be used: {why}");
    if let (Some(before), Some(inside)) = (text.get(..start), text.get(start..end)) {
        let marks = "^".repeat(inside.chars().count().max(1));
        said += &format!(
            "\n  {text}\n  {}{marks}",
            " ".repeat(before.chars().count())
        );
    }
    if !help.is_empty() {
        said += &format!("\n{help}");
    }
    said
}

/// Returns the names of all laws.
pub fn names() -> Vec<&'static str> {
    REGISTRY.iter().map(|(name, _)| *name).collect()
}

/// Returns the law called `name`, such as `dlcm` or `power:width,depth,tokens`; a part of Eq. 22 is
/// called after what it leaves out, such as `dlcm_without_offsets`; and a formula is its own name.
///
/// # Errors
/// [`LawError`] when there is no such law, or when what follows the colon cannot be read.
pub fn by_name(name: &str) -> Result<Arc<dyn Law>, LawError> {
    by_name_over(name, &[])
}

/// Returns the law called `name`; the names in a formula may be `columns` beside the usual ones.
///
/// # Errors
/// As [`by_name`].
pub fn by_name_over(name: &str, columns: &[String]) -> Result<Arc<dyn Law>, LawError> {
    let (head, arguments) = match name.split_once(':') {
        Some((head, rest)) => (head, Some(rest)),
        None => (name, None),
    };
    if let Some(form) = DlcmForm::named(name).filter(|form| *form != DlcmForm::WHOLE) {
        return Ok(Arc::new(PartialDlcm::new(form)));
    }
    match REGISTRY.iter().find(|(known, _)| *known == head.trim()) {
        Some((_, make)) => make(arguments),
        None if is_formula(name) => of_formula(name, columns),
        None => Err(LawError::Unknown {
            name: name.to_owned(),
            known: names(),
        }),
    }
}

/// Evaluates `exp(extra) · (1 + s(x − 1))^−e`, that is `((x + τ)/(1 + τ))^−e` with `s = 1/(1 + τ)`.
///
/// Returns the value and the derivatives of its logarithm with respect to `s` and `e`.
#[inline]
pub(crate) fn offset_power(x: f64, s: f64, e: f64, extra: f64) -> (f64, f64, f64) {
    let base = 1.0 + s * (x - 1.0);
    let ln_base = base.ln();
    ((extra - e * ln_base).exp(), -e * (x - 1.0) / base, -ln_base)
}

/// Natural amplitude and offset of a term `T · (1 + s(x − 1))^−e` in units of `response`.
pub(crate) fn offset_power_natural(
    t: f64,
    s: f64,
    e: f64,
    reference: f64,
    response: f64,
) -> (f64, f64) {
    (
        t * response * (reference / s).powf(e),
        reference * (1.0 / s - 1.0),
    )
}

/// Internal amplitude and `s` of a term `A/(size + t)^e`; the inverse of [`offset_power_natural`].
pub(crate) fn offset_power_internal(
    a: f64,
    t: f64,
    e: f64,
    reference: f64,
    response: f64,
) -> (f64, f64) {
    let s = 1.0 / (1.0 + t / reference);
    (a / response * (reference / s).powf(-e), s)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod checks {
    //! What every law must satisfy, for the law files' own tests.
    use super::*;

    /// Checks gradient against central differences and natural/internal as inverses.
    pub(crate) fn law_is_consistent(law: &dyn Law, natural: &[f64], rows: &[Vec<f64>]) {
        let mut frame = Frame::unit(law.n_sizes());
        let mut sizes = vec![0.0; law.n_sizes()];
        law.sizes(&rows[0], &mut sizes);
        frame.sizes.clone_from(&sizes);
        frame.response = 2.5;
        let u = law.internal(natural, &frame);
        for (a, b) in law.natural(&u, &frame).iter().zip(natural) {
            assert!(
                (a - b).abs() <= 1e-9 * b.abs().max(1e-12),
                "{}: {a} is not {b}",
                law.name()
            );
        }
        let fitted =
            FittedLaw::from_parts(by_name(&law.name()).unwrap(), natural.to_vec()).unwrap();
        let k = u.len();
        for row in rows {
            let mut x = vec![0.0; law.n_sizes()];
            law.sizes(row, &mut x);
            law.features(&mut x, &frame);
            let mut gradient = vec![0.0; k];
            let mut unused = vec![0.0; k];
            let value = law.value(&u, &x, &mut gradient);
            let direct = fitted.predict(row);
            assert!(
                (value * frame.response - direct).abs() < 1e-10 * direct,
                "{}: the frame changes the prediction: {} and {direct}",
                law.name(),
                value * frame.response
            );
            for j in 0..k {
                let h = 1e-5 * u[j].abs().max(1e-2);
                let mut at = |shift: f64| {
                    let mut v = u.clone();
                    v[j] += shift;
                    law.value(&v, &x, &mut unused)
                };
                let slope = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
                assert!(
                    (slope - gradient[j]).abs() < 1e-7 * (1.0 + slope.abs()),
                    "{}: gradient {j} is {} and differences give {slope}",
                    law.name(),
                    gradient[j]
                );
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_registered_name_finds_its_law() {
        for name in names() {
            let spec = if name == "power" {
                "power:params,tokens"
            } else {
                name
            };
            let law = by_name(spec).unwrap();
            assert_eq!(law.name(), spec);
            assert!(law.n_sizes() <= MAX_SIZES && law.parameters().len() <= MAX_PARAMETERS);
        }
    }

    #[test]
    fn an_unknown_law_is_named_with_the_known_ones() {
        let message = by_name("chinchila").unwrap_err().to_string();
        assert!(
            message.contains("chinchila") && message.contains("dlcm"),
            "{message}"
        );
    }
}
