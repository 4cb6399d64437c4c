//! Which parameters the data determine, and which sit on a bound.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fit::design::Design;
use crate::fit::law::{Law, Role};
use crate::fit::matrix::Symmetric;
use crate::fit::objective::Objective;
use crate::fit::observations::Observations;

/// A parameter on the edge of its allowed range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtBound {
    /// The parameter.
    pub parameter: String,
    /// The side of its internal range.
    pub side: Side,
    /// Its natural value there.
    pub value: f64,
}

/// A side of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The lower end.
    Lower,
    /// The upper end.
    Upper,
}

/// A parameter that the data do not determine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unidentified {
    /// The parameter.
    pub parameter: String,
    /// What shows it.
    pub why: Why,
}

/// Why a parameter counts as not identified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The term it belongs to has amplitude 0, so it has no effect.
    NoEffect,
    /// Other values, together with other parameters, predict the same: a column it needs has one
    /// value, or two of its columns move together.
    Degenerate {
        /// Columns with a single value.
        single_valued: Vec<String>,
    },
    /// Its standard error exceeds its value, or there are no more rows than parameters, so that
    /// nothing is left to judge it by.
    Imprecise {
        /// Standard error divided by the absolute value; the largest number where it has no bound.
        relative_error: f64,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEffect => f.write_str("its term has amplitude 0"),
            Self::Degenerate { single_valued } if single_valued.is_empty() => {
                f.write_str("other values predict the same losses")
            }
            Self::Degenerate { single_valued } => {
                write!(f, "{} has one value", single_valued.join(" and "))
            }
            Self::Imprecise { relative_error } if relative_error.is_finite() => {
                write!(
                    f,
                    "its standard error is {relative_error:.1} times its value"
                )
            }
            Self::Imprecise { .. } => f.write_str("its standard error is above its value"),
        }
    }
}

/// Approximate precision of the parameters at the minimum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identification {
    /// Condition number of the scaled Jacobian; `None` when it is infinite.
    pub condition_number: Option<f64>,
    /// Standard errors from the curvature at the minimum, by parameter. They take rows as
    /// independent; the bootstrap over clusters is the honest interval.
    pub standard_errors: BTreeMap<String, StandardError>,
}

/// A standard error from curvature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StandardError(
    /// The standard error; `None` when it is infinite.
    pub Option<f64>,
);

/// Eigenvalues of the scaled information below this (relative) are zero.
const NULL: f64 = 1e-13;

/// A relative standard error above which a parameter is not identified.
const IMPRECISE: f64 = 1.0;

pub(crate) fn at_bounds(law: &dyn Law, design: &Design<'_>, u: &[f64]) -> Vec<AtBound> {
    let natural = law.natural(u, &design.frame);
    let mut found = Vec::new();
    for (j, parameter) in law.parameters().into_iter().enumerate() {
        let side = if u[j] <= design.lower[j] {
            Side::Lower
        } else if u[j] >= design.upper[j] {
            Side::Upper
        } else {
            continue;
        };
        // The offset's internal coordinate runs against its natural value.
        let reversed = parameter.role == Role::Offset;
        let side = match (side, reversed) {
            (Side::Lower, true) => Side::Upper,
            (Side::Upper, true) => Side::Lower,
            (side, false) => side,
        };
        found.push(AtBound {
            parameter: parameter.name,
            side,
            value: natural[j],
        });
    }
    found
}

pub(crate) fn identification(
    law: &dyn Law,
    data: &Observations,
    design: &Design<'_>,
    u: &[f64],
    objective: Objective,
) -> (Identification, Vec<Unidentified>) {
    let names: Vec<String> = law.parameters().into_iter().map(|p| p.name).collect();
    let k = names.len();
    let information = design.information(u);
    let natural = law.natural(u, &design.frame);
    let slopes = natural_slopes(law, design, u);
    let single_valued = single_valued(law, data);
    let silent =
        |j: usize| information.at(j, j) <= crate::fit::solve::SILENT * design.rows() as f64;
    let moves = |j: usize, by: f64| by.abs() > 1e-4 * natural[j].abs().max(f64::MIN_POSITIVE);

    // Directions in which nothing changes, bounds or not: whatever moves along one is arbitrary.
    let everything = Spectrum::of(&information, (0..k).filter(|j| !silent(*j)).collect());
    let arbitrary = |j: usize| {
        let by_silent = (0..k).filter(|i| silent(*i) && *i != j);
        by_silent.map(|i| slopes[j][i]).any(|by| moves(j, by))
            || everything
                .null()
                .any(|vector| moves(j, everything.along(vector, &slopes[j])))
    };

    // A parameter on a bound has no curvature of its own; errors of the others are given it.
    let inside = |j: usize| u[j] > design.lower[j] && u[j] < design.upper[j];
    let free = Spectrum::of(
        &information,
        (0..k).filter(|j| !silent(*j) && inside(*j)).collect(),
    );
    let noise = noise_scale(design, u, objective);
    let (mut unidentified, mut standard_errors) = (Vec::new(), BTreeMap::new());
    for (j, name) in names.iter().enumerate() {
        let error = match noise {
            f64::INFINITY => noise,
            noise => noise * free.variance(&slopes[j]).sqrt(),
        };
        let relative_error = (error / natural[j].abs()).min(f64::MAX);
        let why = if silent(j) && single_valued.is_empty() {
            Some(Why::NoEffect)
        } else if silent(j) || arbitrary(j) {
            Some(Why::Degenerate {
                single_valued: single_valued.clone(),
            })
        } else if inside(j) && relative_error > IMPRECISE {
            Some(Why::Imprecise { relative_error })
        } else {
            None
        };
        let infinite =
            matches!(why, Some(Why::NoEffect | Why::Degenerate { .. })) || error.is_infinite();
        standard_errors.insert(name.clone(), StandardError((!infinite).then_some(error)));
        unidentified.extend(why.map(|why| Unidentified {
            parameter: name.clone(),
            why,
        }));
    }
    (
        Identification {
            condition_number: free.condition(),
            standard_errors,
        },
        unidentified,
    )
}

/// Eigenvalues of the information in coordinates scaled to a unit diagonal.
struct Spectrum {
    /// The coordinates it is about.
    coordinates: Vec<usize>,
    /// Their scales.
    scales: Vec<f64>,
    values: Vec<f64>,
    vectors: Vec<Vec<f64>>,
}

impl Spectrum {
    fn of(information: &Symmetric, coordinates: Vec<usize>) -> Self {
        let scales: Vec<f64> = coordinates
            .iter()
            .map(|&j| information.at(j, j).sqrt())
            .collect();
        let mut scaled = Symmetric::zeros(coordinates.len());
        for (a, &i) in coordinates.iter().enumerate() {
            for (b, &j) in coordinates[..=a].iter().enumerate() {
                scaled.set(a, b, information.at(i, j) / (scales[a] * scales[b]));
            }
        }
        let (values, vectors) = scaled.eigen();
        Self {
            coordinates,
            scales,
            values,
            vectors,
        }
    }

    fn floor(&self) -> f64 {
        NULL * self.values.iter().copied().fold(0.0, f64::max)
    }

    /// Eigenvectors without information.
    fn null(&self) -> impl Iterator<Item = &Vec<f64>> {
        let floor = self.floor();
        let pairs = self.values.iter().zip(&self.vectors);
        pairs
            .filter(move |(value, _)| **value < floor)
            .map(|(_, vector)| vector)
    }

    /// How a quantity with these slopes moves along an eigenvector.
    fn along(&self, vector: &[f64], slopes: &[f64]) -> f64 {
        let steps = vector.iter().zip(&self.scales).map(|(v, scale)| v / scale);
        self.coordinates
            .iter()
            .zip(steps)
            .map(|(&i, step)| slopes[i] * step)
            .sum()
    }

    /// Variance of such a quantity for unit noise, leaving out directions without information.
    fn variance(&self, slopes: &[f64]) -> f64 {
        let floor = self.floor();
        let pairs = self
            .values
            .iter()
            .zip(&self.vectors)
            .filter(|(value, _)| **value >= floor);
        pairs
            .map(|(value, vector)| self.along(vector, slopes).powi(2) / value)
            .sum()
    }

    fn condition(&self) -> Option<f64> {
        let largest = self.values.iter().copied().fold(0.0, f64::max);
        let smallest = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let condition = (largest / smallest).sqrt();
        (largest > 0.0 && smallest >= self.floor() && condition.is_finite()).then_some(condition)
    }
}

/// Names the law's columns that have one value only.
fn single_valued(law: &dyn Law, data: &Observations) -> Vec<String> {
    law.inputs()
        .into_iter()
        .filter(|input| {
            data.column(&input.name)
                .is_some_and(|v| v.windows(2).all(|pair| pair[0] == pair[1]))
        })
        .map(|input| input.name)
        .collect()
}

/// Derivatives of every natural parameter with respect to every internal one.
fn natural_slopes(law: &dyn Law, design: &Design<'_>, u: &[f64]) -> Vec<Vec<f64>> {
    let k = u.len();
    let mut slopes = vec![vec![0.0; k]; k];
    let mut shifted = u.to_vec();
    for i in 0..k {
        let h = 1e-6 * u[i].abs().max(1e-3);
        shifted[i] = u[i] + h;
        let up = law.natural(&shifted, &design.frame);
        shifted[i] = u[i] - h;
        let down = law.natural(&shifted, &design.frame);
        shifted[i] = u[i];
        for j in 0..k {
            slopes[j][i] = (up[j] - down[j]) / (2.0 * h);
        }
    }
    slopes
}

/// The scale that turns inverse information into variance: `√(Σψ²/n) / (Σψ'/n)`.
///
/// Without more rows than parameters there is nothing to estimate it from: it is infinite. For L1
/// the density at 0 is not at hand; the median absolute residual stands in.
fn noise_scale(design: &Design<'_>, u: &[f64], objective: Objective) -> f64 {
    let residuals = design.residuals(u);
    let mut sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
    let robust = 1.4826 * crate::fit::solve::median(&mut sizes);
    // A width under the residuals' scale leaves few rows to estimate the density from.
    let delta = objective.width().max(robust);
    let sums = design.sums(u, delta);
    let n: f64 = design.weight.iter().sum();
    if design.weight.iter().filter(|w| **w > 0.0).count() <= u.len() {
        return f64::INFINITY;
    }
    let freedom = (n - u.len() as f64).max(1.0);
    let slope = sums.count_inside / n;
    if slope > 0.0 {
        (sums.squared_influence / freedom).sqrt() / slope
    } else {
        robust
    }
}
