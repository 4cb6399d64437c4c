//! Which parameters the data determine, and which sit on a bound.

use std::collections::BTreeMap;

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
    /// Its standard error exceeds its value.
    Imprecise {
        /// Standard error divided by the absolute value.
        relative_error: f64,
    },
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
        found.push(AtBound { parameter: parameter.name, side, value: natural[j] });
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
    let (mut unidentified, mut standard_errors) = (Vec::new(), BTreeMap::new());
    // A parameter on a bound has no curvature of its own; the others are judged given it.
    let inside = |j: &usize| u[*j] > design.lower[*j] && u[*j] < design.upper[*j];
    let (active, silent): (Vec<usize>, Vec<usize>) =
        (0..k).filter(inside).partition(|&j| information.at(j, j) > 1e-24 * design.rows() as f64);
    let single = single_valued(law, data);
    for j in silent {
        let why = match single.is_empty() {
            true => Why::NoEffect,
            false => Why::Degenerate { single_valued: single.clone() },
        };
        unidentified.push((j, why));
    }

    let scale: Vec<f64> = active.iter().map(|&j| information.at(j, j).sqrt()).collect();
    let mut scaled = Symmetric::zeros(active.len());
    for (a, &i) in active.iter().enumerate() {
        for (b, &j) in active[..=a].iter().enumerate() {
            scaled.set(a, b, information.at(i, j) / (scale[a] * scale[b]));
        }
    }
    let (values, vectors) = scaled.eigen();
    let largest = values.iter().copied().fold(0.0, f64::max);
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let null = |value: f64| value < NULL * largest;

    let slopes = natural_slopes(law, design, u);
    let natural = law.natural(u, &design.frame);
    let noise = noise_scale(design, u, objective);
    for (j, name) in names.iter().enumerate() {
        // How the natural parameter moves along every eigenvector.
        let along = |vector: &[f64]| -> f64 {
            active.iter().zip(vector).zip(&scale).map(|((&i, v), s)| slopes[j][i] * v / s).sum()
        };
        let mut variance = 0.0;
        let mut degenerate = false;
        for (value, vector) in values.iter().zip(&vectors) {
            if null(*value) {
                let own = active.iter().position(|&i| i == j).map_or(0.0, |a| vector[a]);
                degenerate |= own.abs() > 1e-3;
            } else {
                variance += along(vector).powi(2) / value;
            }
        }
        let error = noise * variance.sqrt();
        let infinite = degenerate || unidentified.iter().any(|(i, _)| *i == j);
        standard_errors.insert(name.clone(), StandardError((!infinite).then_some(error)));
        if degenerate {
            unidentified.push((j, Why::Degenerate { single_valued: single.clone() }));
        } else if !infinite && inside(&j) && error > IMPRECISE * natural[j].abs() {
            let relative_error = error / natural[j].abs();
            unidentified.push((j, Why::Imprecise { relative_error }));
        }
    }
    unidentified.sort_by_key(|(j, _)| *j);
    let condition = (largest / smallest).sqrt();
    let singular = active.is_empty() || null(smallest) || !condition.is_finite();
    let identification =
        Identification { condition_number: (!singular).then_some(condition), standard_errors };
    let named = unidentified
        .into_iter()
        .map(|(j, why)| Unidentified { parameter: names[j].clone(), why })
        .collect();
    (identification, named)
}

/// Names the law's columns that have one value only.
fn single_valued(law: &dyn Law, data: &Observations) -> Vec<String> {
    law.inputs()
        .into_iter()
        .filter(|input| {
            data.column(&input.name).is_some_and(|v| v.windows(2).all(|pair| pair[0] == pair[1]))
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
/// For L1 the density at 0 is not at hand; the median absolute residual stands in.
fn noise_scale(design: &Design<'_>, u: &[f64], objective: Objective) -> f64 {
    let residuals = design.residuals(u);
    let mut sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
    let robust = 1.4826 * crate::fit::solve::median(&mut sizes);
    // A width under the residuals' scale leaves few rows to estimate the density from.
    let delta = objective.width().max(robust);
    let sums = design.sums(u, delta);
    let n: f64 = design.weight.iter().sum();
    let freedom = (n - u.len() as f64).max(1.0);
    let slope = sums.count_inside / n;
    if slope > 0.0 { (sums.squared_influence / freedom).sqrt() / slope } else { robust }
}
