//! A law applied to observations: validated, scaled, and ready to be summed over rows.

use std::collections::HashSet;

use rayon::prelude::*;

use super::law::{Frame, Law, MAX_PARAMETERS, Parameter, Role};
use super::matrix::Symmetric;
use super::objective::{Objective, huber, influence};
use super::observations::{ObservationError, Observations};
use super::valley::Valley;

/// Rows summed by one task; below it a sum is sequential, so results never depend on threads.
const CHUNK: usize = 8192;

/// A least-squares-like problem in a law's internal coordinates.
#[derive(Clone)]
pub(crate) struct Design<'a> {
    pub(crate) law: &'a dyn Law,
    pub(crate) frame: Frame,
    /// Features, one row after the other.
    features: Vec<f64>,
    /// Logarithm of the observed response in units of the frame's.
    pub(crate) target: Vec<f64>,
    pub(crate) weight: Vec<f64>,
    pub(crate) lower: Vec<f64>,
    pub(crate) upper: Vec<f64>,
    pub(crate) linear: Vec<usize>,
    pub(crate) start: Vec<(f64, f64)>,
    pub(crate) valley: Valley,
    /// Non-linear coordinates in groups of which no two meet in a second derivative.
    apart: Vec<Vec<usize>>,
    pub(crate) pin: Option<Pin>,
    /// How much rows above the law count.
    above: f64,
}

/// A natural parameter held at a value, by solving for its internal coordinate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pin {
    pub(crate) index: usize,
    pub(crate) value: f64,
}

/// Sums over rows at one point.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    pub(crate) objective: f64,
    pub(crate) gradient: Vec<f64>,
    /// `Σ w (ψ/r) J Jᵀ`: the curvature of a quadratic that touches the objective from above.
    pub(crate) majorant: Symmetric,
    /// `Σ w (ψ' − ψ) J Jᵀ`: the exact Hessian but for the second derivatives of the prediction.
    pub(crate) hessian: Symmetric,
    /// `w ψ / prediction` of every row.
    pulls: Vec<f64>,
    /// Weighted number of rows in the quadratic part of the objective.
    pub(crate) count_inside: f64,
    /// `Σ w ψ²`.
    pub(crate) squared_influence: f64,
}

impl Sums {
    fn zeros(k: usize) -> Self {
        Self {
            objective: 0.0,
            gradient: vec![0.0; k],
            majorant: Symmetric::zeros(k),
            hessian: Symmetric::zeros(k),
            pulls: Vec::new(),
            count_inside: 0.0,
            squared_influence: 0.0,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.objective += other.objective;
        self.gradient
            .iter_mut()
            .zip(&other.gradient)
            .for_each(|(a, b)| *a += b);
        self.majorant.add(&other.majorant);
        self.hessian.add(&other.hessian);
        self.pulls.extend_from_slice(&other.pulls);
        self.count_inside += other.count_inside;
        self.squared_influence += other.squared_influence;
    }
}

impl<'a> Design<'a> {
    /// Validates observations against a law and scales them.
    ///
    /// # Errors
    /// [`ObservationError`] for a missing column, a value outside the law's range, or fewer
    /// different rows than parameters.
    pub(crate) fn new(law: &'a dyn Law, data: &Observations) -> Result<Self, ObservationError> {
        let inputs = law.inputs();
        let columns: Vec<&[f64]> = inputs
            .iter()
            .map(|input| data.required(&input.name))
            .collect::<Result<_, _>>()?;
        for (input, values) in inputs.iter().zip(&columns) {
            let fine = |v: &f64| v.is_finite() && *v > input.above && *v < input.below;
            check(data, &input.name, values, fine, || {
                if input.below.is_finite() {
                    format!("between {} and {}, both excluded", input.above, input.below)
                } else {
                    format!("a finite number above {}", input.above)
                }
            })?;
        }
        let response = data.required(law.response())?;
        let fine = |v: &f64| v.is_finite() && *v > 0.0;
        check(data, law.response(), response, fine, || {
            "a finite number above 0".into()
        })?;
        let parameters = law.parameters();
        let rows = data.len();
        let weight = data
            .weights()
            .map_or_else(|| vec![1.0; rows], <[f64]>::to_vec);
        let distinct = distinct_rows(&columns, &weight, parameters.len());
        if distinct < parameters.len() {
            return Err(ObservationError::TooFew {
                law: law.name(),
                rows: data.len(),
                distinct,
                parameters: parameters.len(),
            });
        }

        let q = law.n_sizes();
        let mut features = vec![0.0; rows * q];
        let mut ln_sum = vec![0.0; q];
        let mut input = vec![0.0; inputs.len()];
        for (row, sizes) in features.chunks_exact_mut(q).enumerate() {
            input
                .iter_mut()
                .zip(&columns)
                .for_each(|(to, column)| *to = column[row]);
            law.sizes(&input, sizes);
            ln_sum
                .iter_mut()
                .zip(&*sizes)
                // A size that is not above 0 has no part in a scale.
                .for_each(|(sum, size)| *sum += if *size > 0.0 { size.ln() } else { 0.0 });
        }
        let n = rows as f64;
        let frame = Frame {
            sizes: ln_sum.iter().map(|sum| (sum / n).exp()).collect(),
            response: (response.iter().map(|v| v.ln()).sum::<f64>() / n).exp(),
        };
        features
            .chunks_exact_mut(q)
            .for_each(|sizes| law.features(sizes, &frame));
        let target = response.iter().map(|v| (v / frame.response).ln()).collect();
        Ok(Self {
            law,
            frame,
            features,
            target,
            weight,
            lower: parameters.iter().map(|p| p.bounds.0).collect(),
            upper: parameters.iter().map(|p| p.bounds.1).collect(),
            linear: (0..parameters.len())
                .filter(|j| parameters[*j].role == Role::Linear)
                .collect(),
            start: parameters.iter().map(|p| p.start).collect(),
            valley: Valley::of(law),
            apart: apart(law, &parameters),
            pin: None,
            above: 1.0,
        })
    }

    /// Lets rows above the law count as an objective has it.
    #[must_use]
    pub(crate) fn under(mut self, objective: Objective) -> Self {
        self.above = objective.above();
        self
    }

    /// Returns the number of parameters.
    pub(crate) fn k(&self) -> usize {
        self.lower.len()
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.target.len()
    }

    /// Returns the same problem over some rows, with weights multiplied by how often each occurs.
    pub(crate) fn resampled(&self, counts: &[f64]) -> Self {
        let q = self.frame.sizes.len();
        let chosen: Vec<usize> = (0..counts.len()).filter(|row| counts[*row] > 0.0).collect();
        let mut features = Vec::with_capacity(chosen.len() * q);
        for row in &chosen {
            features.extend_from_slice(&self.features[row * q..(row + 1) * q]);
        }
        Self {
            law: self.law,
            frame: self.frame.clone(),
            features,
            target: chosen.iter().map(|row| self.target[*row]).collect(),
            weight: chosen
                .iter()
                .map(|row| self.weight[*row] * counts[*row])
                .collect(),
            lower: self.lower.clone(),
            upper: self.upper.clone(),
            linear: self.linear.clone(),
            start: self.start.clone(),
            valley: self.valley.clone(),
            apart: self.apart.clone(),
            pin: self.pin,
            above: self.above,
        }
    }

    /// Returns the problem over about `rows` of its rows.
    pub(crate) fn thinned(&self, rows: usize) -> Self {
        let share = rows as f64 / self.rows() as f64;
        // Multiples of the golden ratio are even, and in step with no pattern of a grid.
        let golden = 0.5 * (5.0_f64.sqrt() - 1.0);
        let chosen = |row: usize| (golden * (row + 1) as f64).fract() < share;
        let counts: Vec<f64> = (0..self.rows())
            .map(|row| f64::from(u8::from(chosen(row))))
            .collect();
        self.resampled(&counts)
    }

    /// Clips a point into the bounds and returns whether it was outside.
    pub(crate) fn clip(&self, u: &mut [f64]) -> bool {
        let mut outside = false;
        for ((v, lo), hi) in u.iter_mut().zip(&self.lower).zip(&self.upper) {
            outside |= *v < *lo || *v > *hi;
            *v = v.clamp(*lo, *hi);
        }
        outside
    }

    /// Returns the point with a pinned parameter's coordinate solved for, and that coordinate's
    /// derivatives with respect to the others.
    pub(crate) fn pinned(&self, u: &[f64]) -> (Vec<f64>, Option<(usize, Vec<f64>)>) {
        let Some(Pin { index, value }) = self.pin else {
            return (u.to_vec(), None);
        };
        let solve = |v: &[f64]| {
            let mut natural = self.law.natural(v, &self.frame);
            natural[index] = value;
            self.law.internal(&natural, &self.frame)[index]
        };
        let mut full = u.to_vec();
        let mut slopes = vec![0.0; u.len()];
        for i in (0..u.len()).filter(|i| *i != index) {
            let h = 1e-6 * u[i].abs().max(0.1);
            full[i] = u[i] + h;
            let up = solve(&full);
            full[i] = u[i] - h;
            slopes[i] = (up - solve(&full)) / (2.0 * h);
            full[i] = u[i];
        }
        full[index] = solve(u);
        (full, Some((index, slopes)))
    }

    /// Folds over rows: `add` receives the row's number, prediction and the prediction's gradient.
    fn fold<T: Send>(
        &self,
        u: &[f64],
        zero: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, usize, f64, &mut [f64]) + Sync,
        merge: impl Fn(&mut T, T),
    ) -> T {
        let (q, k) = (self.frame.sizes.len(), self.k());
        let (u, slopes) = self.pinned(u);
        let sum = |rows: std::ops::Range<usize>| {
            let mut total = zero();
            let mut gradient = [0.0; MAX_PARAMETERS];
            let gradient = &mut gradient[..k];
            for row in rows {
                let x = &self.features[row * q..(row + 1) * q];
                let value = self.law.value(&u, x, gradient);
                if let Some((index, slopes)) = &slopes {
                    let through = gradient[*index];
                    gradient
                        .iter_mut()
                        .zip(slopes)
                        .for_each(|(g, s)| *g += through * s);
                    gradient[*index] = 0.0;
                }
                add(&mut total, row, value, gradient);
            }
            total
        };
        let rows = self.rows();
        if rows <= CHUNK {
            return sum(0..rows);
        }
        let parts: Vec<T> = (0..rows.div_ceil(CHUNK))
            .into_par_iter()
            .map(|c| sum(c * CHUNK..rows.min((c + 1) * CHUNK)))
            .collect();
        let mut total = zero();
        parts.into_iter().for_each(|part| merge(&mut total, part));
        total
    }

    /// Log residual of a prediction: NaN where it is not positive, which rejects a step.
    fn residual(&self, row: usize, value: f64) -> f64 {
        value.ln() - self.target[row]
    }

    /// Returns objective, gradient and curvature sums for the Huber width `delta`.
    pub(crate) fn sums(&self, u: &[f64], delta: f64) -> Sums {
        let k = self.k();
        let mut total = self.fold(
            u,
            || Sums::zeros(k),
            |sums, row, value, gradient| {
                let r = self.residual(row, value);
                let share = if r < 0.0 { self.above } else { 1.0 };
                let w = self.weight[row] * share;
                let psi = influence(r, delta);
                let scale = 1.0 / value;
                gradient.iter_mut().for_each(|g| *g *= scale);
                sums.objective += w * huber(r, delta);
                sums.squared_influence += w * share * psi * psi;
                sums.pulls.push(w * psi * scale);
                let pull = w * psi;
                sums.gradient
                    .iter_mut()
                    .zip(&*gradient)
                    .for_each(|(g, j)| *g += pull * j);
                let inside = r.abs() <= delta;
                sums.count_inside += if inside { w } else { 0.0 };
                let slope = if inside { w } else { 0.0 };
                let touching = if inside { w } else { w * delta / r.abs() };
                sums.majorant.add_outer_lower(touching, gradient);
                sums.hessian.add_outer_lower(slope - pull, gradient);
            },
            |a, b| a.merge(&b),
        );
        total.majorant.mirror();
        total.hessian.mirror();
        if total.objective.is_nan() {
            total.objective = f64::INFINITY;
        }
        total
    }

    /// Returns the sum of the predictions' gradients, each times its row's `pulls`.
    fn pulled_gradient(&self, u: &[f64], pulls: &[f64]) -> Vec<f64> {
        self.fold(
            u,
            || vec![0.0; self.k()],
            |sum, row, _, gradient| {
                let pull = pulls[row];
                sum.iter_mut()
                    .zip(gradient)
                    .for_each(|(s, g)| *s += pull * *g);
            },
            |a, b| a.iter_mut().zip(&b).for_each(|(x, y)| *x += y),
        )
    }

    /// Adds to `hessian` the part that comes from the law's curvature, `Σ w ψ ∇²prediction/prediction`,
    /// by differences of exact gradients with ψ held fixed (so the kinks of the objective do not
    /// enter).
    ///
    /// The prediction is linear in the linear coordinates, so only the others are shifted; and terms
    /// that are added do not meet in any second derivative, so one shift serves all of them.
    pub(crate) fn add_curvature(
        &self,
        u: &[f64],
        sums: &Sums,
        free: &[usize],
        hessian: &mut Symmetric,
    ) {
        let k = self.k();
        let mut second = vec![None; k * k];
        for group in self.apart.iter() {
            let shifts: Vec<(usize, f64)> = group
                .iter()
                .filter(|j| free.contains(j))
                .map(|&j| {
                    let h = 1e-6 * u[j].abs().max(0.1);
                    // Towards the inside of the box.
                    (j, if u[j] + h > self.upper[j] { -h } else { h })
                })
                .collect();
            if shifts.is_empty() {
                continue;
            }
            let mut shifted = u.to_vec();
            shifts.iter().for_each(|&(j, h)| shifted[j] = u[j] + h);
            let gradient = self.pulled_gradient(&shifted, &sums.pulls);
            for &(j, h) in &shifts {
                let alone = shifts.len() == 1;
                for i in (0..k).filter(|&i| alone || self.valley.same_term(i, j)) {
                    second[i * k + j] = Some((gradient[i] - sums.gradient[i]) / h);
                }
            }
        }
        for (a, &i) in free.iter().enumerate() {
            for &j in &free[..=a] {
                let change = match (second[i * k + j], second[j * k + i]) {
                    (Some(ij), Some(ji)) => 0.5 * (ij + ji),
                    (Some(one), None) | (None, Some(one)) => one,
                    (None, None) => continue,
                };
                hessian.set(i, j, hessian.at(i, j) + change);
            }
        }
    }

    /// Returns the log residuals.
    pub(crate) fn residuals(&self, u: &[f64]) -> Vec<f64> {
        self.fold(
            u,
            Vec::new,
            |all, row, value, _| all.push(self.residual(row, value)),
            |a: &mut Vec<f64>, b| a.extend_from_slice(&b),
        )
    }

    /// Returns the slopes of every row's log prediction.
    pub(crate) fn relative_slopes(&self, u: &[f64]) -> Vec<Vec<f64>> {
        self.fold(
            u,
            Vec::new,
            |all, _, value, gradient| {
                all.push(gradient.iter().map(|slope| slope / value).collect())
            },
            |a: &mut Vec<Vec<f64>>, b| a.extend(b),
        )
    }

    /// Returns `Σ w J Jᵀ` over all rows.
    pub(crate) fn information(&self, u: &[f64]) -> Symmetric {
        let mut total = self.fold(
            u,
            || Symmetric::zeros(self.k()),
            |sum, row, value, gradient| {
                sum.add_outer_lower(self.weight[row] / (value * value), gradient);
            },
            |a, b| a.add(&b),
        );
        total.mirror();
        total
    }

    /// Replaces the linear coordinates by the ones that best explain the data given the others
    /// (variable projection): least squares on relative residuals above their lower bounds.
    pub(crate) fn project_linear(&self, u: &mut [f64]) {
        if self.linear.is_empty() {
            return;
        }
        let m = self.linear.len();
        let q = self.frame.sizes.len();
        let mut normal = Symmetric::zeros(m);
        let mut right = vec![0.0; m];
        let mut gradient = [0.0; MAX_PARAMETERS];
        let mut basis = [0.0; MAX_PARAMETERS];
        for row in 0..self.rows() {
            let x = &self.features[row * q..(row + 1) * q];
            let value = self.law.value(u, x, &mut gradient[..u.len()]);
            // What the linear coordinates have no part in.
            let linear: f64 = self.linear.iter().map(|j| u[*j] * gradient[*j]).sum();
            let rest = if (value - linear).abs() > 1e-9 * value.abs() {
                value - linear
            } else {
                0.0
            };
            let (scale, w) = ((-self.target[row]).exp(), self.weight[row]);
            for (b, j) in basis.iter_mut().zip(&self.linear) {
                *b = gradient[*j] * scale;
            }
            normal.add_outer_lower(w, &basis[..m]);
            let wanted = w * (1.0 - rest * scale);
            right
                .iter_mut()
                .zip(&basis)
                .for_each(|(r, b)| *r += wanted * b);
        }
        normal.mirror();
        let lower: Vec<f64> = self.linear.iter().map(|j| self.lower[*j]).collect();
        for (value, j) in normal
            .at_least(&right, &lower)
            .into_iter()
            .zip(&self.linear)
        {
            u[*j] = value;
        }
    }
}

/// Groups the non-linear coordinates: exponents of different terms may be shifted together, and so
/// may their offsets; whatever is in no term is shifted alone.
fn apart(law: &dyn Law, parameters: &[Parameter]) -> Vec<Vec<usize>> {
    let terms = law.terms().map_or_else(Vec::new, |(_, terms)| terms);
    let exponents: Vec<usize> = terms.iter().map(|term| term.exponent).collect();
    let offsets: Vec<usize> = terms.iter().filter_map(|term| term.offset).collect();
    let alone = (0..parameters.len())
        .filter(|j| parameters[*j].role != Role::Linear)
        .filter(|j| !exponents.contains(j) && !offsets.contains(j))
        .map(|j| vec![j])
        .collect();
    [vec![exponents, offsets], alone].concat()
}

fn check(
    data: &Observations,
    column: &str,
    values: &[f64],
    fine: impl Fn(&f64) -> bool,
    expected: impl Fn() -> String,
) -> Result<(), ObservationError> {
    match values.iter().position(|v| !fine(v)) {
        None => Ok(()),
        Some(row) => Err(ObservationError::Value {
            row: data.source_rows()[row],
            column: column.to_owned(),
            value: values[row],
            expected: expected(),
        }),
    }
}

/// Counts rows with different inputs and some weight, stopping once there are `enough`.
fn distinct_rows(columns: &[&[f64]], weight: &[f64], enough: usize) -> usize {
    let mut seen = HashSet::new();
    for row in (0..weight.len()).filter(|row| weight[*row] > 0.0) {
        seen.insert(
            columns
                .iter()
                .map(|c| c[row].to_bits())
                .collect::<Vec<u64>>(),
        );
        if seen.len() >= enough {
            break;
        }
    }
    seen.len()
}
