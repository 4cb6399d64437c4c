//! Minimisation: damped Gauss–Newton from many starts, finished by exact Newton steps.
//!
//! A start descends in two stages. Far from the minimum, Levenberg–Marquardt steps on the
//! reweighted normal equations (always positive, so always downhill). Near it, Newton steps on the
//! exact Hessian: the rows in the quadratic part of the objective plus the law's own curvature.
//! The second stage matters: with a narrow Huber width most rows are in the linear part, where
//! reweighting and L-BFGS crawl and stop short.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::design::{Design, Sums};
use super::matrix::Symmetric;
use super::objective::Objective;

/// How a minimisation ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The Newton decrement is at rounding level: this is a stationary minimum.
    Converged,
    /// No step lowers the objective any more, but the decrement (relative to the objective) is
    /// above the tolerance.
    Stalled {
        /// Estimated relative distance of the objective from its local minimum.
        decrement: f64,
    },
    /// The iteration limit was reached.
    IterationLimit,
}

/// A relative decrement at which the objective's ninth digit is safe and more.
const STALL_TOLERANCE: f64 = 1e-11;

/// A Newton step that promises less than this (relative to the objective) is the last one.
const SETTLED: f64 = 1e-15;

/// Starts whose objective is this close (relative) to the best one have reached the minimum.
const SAME_MINIMUM: f64 = 1e-7;

/// A coordinate whose mean squared effect on the log residuals is below this has none.
pub(crate) const SILENT: f64 = 1e-24;

/// Rows above which starts are tried on a subsample and only the best are finished on all rows.
const SCREEN_ROWS: usize = 4096;

/// A point where a minimisation ended.
#[derive(Clone, Debug)]
pub(crate) struct Solution {
    pub(crate) u: Vec<f64>,
    /// Sum of Huber values at the final width.
    pub(crate) objective: f64,
    pub(crate) outcome: Outcome,
}

/// The result of minimising from many starts.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) best: Solution,
    pub(crate) starts: usize,
    pub(crate) at_minimum: usize,
    /// Other places where starts ended, best first.
    pub(crate) alternates: Vec<Vec<f64>>,
}

/// Minimises from `starts` data-scaled points, the best of many that were screened.
pub(crate) fn search(
    design: &Design<'_>,
    objective: Objective,
    starts: usize,
    extra: &[Vec<f64>],
) -> Option<Search> {
    if design.rows() > SCREEN_ROWS {
        return search_large(design, objective, starts, extra);
    }
    let mut points = extra.to_vec();
    points.extend(screened(design, objective, starts));
    let mut ends: Vec<Solution> = points
        .par_iter()
        .map(|point| descend(design, objective, point))
        .filter(|end| end.objective.is_finite())
        .collect();
    ends.sort_by(|a, b| a.objective.total_cmp(&b.objective));
    let best = ends.first()?.clone();
    let limit = best.objective + SAME_MINIMUM * best.objective.abs() + exact_floor(design);
    let at_minimum = ends.iter().filter(|end| end.objective <= limit).count();
    let mut alternates: Vec<Vec<f64>> = Vec::new();
    for end in ends[at_minimum..].iter() {
        let near = |u: &Vec<f64>| u.iter().zip(&end.u).all(|(a, b)| (a - b).abs() < 0.02);
        if !alternates.iter().any(near) {
            alternates.push(end.u.clone());
        }
        if alternates.len() == 3 {
            break;
        }
    }
    Some(Search {
        best,
        starts: points.len(),
        at_minimum,
        alternates,
    })
}

/// Searches on evenly strided rows, then finishes the distinct ends on all of them.
fn search_large(
    design: &Design<'_>,
    objective: Objective,
    starts: usize,
    extra: &[Vec<f64>],
) -> Option<Search> {
    let stride = design.rows() as f64 / (SCREEN_ROWS as f64 / 2.0);
    let mut counts = vec![0.0; design.rows()];
    let mut position = 0.0;
    while (position as usize) < counts.len() {
        counts[position as usize] = 1.0;
        position += stride;
    }
    let small = search(&design.resampled(&counts), objective, starts, extra)?;
    let mut ends: Vec<Solution> = std::iter::once(&small.best.u)
        .chain(small.alternates.iter().take(1))
        .map(|u| descend(design, objective, u))
        .collect();
    ends.sort_by(|a, b| a.objective.total_cmp(&b.objective));
    Some(Search {
        best: ends.into_iter().next()?,
        ..small
    })
}

/// An objective below which residuals are only rounding.
fn exact_floor(design: &Design<'_>) -> f64 {
    design.rows() as f64 * 1e-22
}

/// Draws points from the law's start ranges by an additive recurrence, solves their linear
/// coordinates, and returns the most promising ones.
fn screened(design: &Design<'_>, objective: Objective, keep: usize) -> Vec<Vec<f64>> {
    let nonlinear: Vec<usize> = (0..design.k())
        .filter(|j| !design.linear.contains(j))
        .collect();
    let steps = recurrence_steps(nonlinear.len());
    // The spread of the losses is the coarsest scale a residual can have.
    let width = objective.width().max(spread(&design.target));
    let mut scored: Vec<(f64, Vec<f64>)> = (0..keep * 8)
        .into_par_iter()
        .map(|index| {
            let mut u: Vec<f64> = design
                .start
                .iter()
                .map(|(lo, hi)| 0.5 * (lo + hi))
                .collect();
            for (j, step) in nonlinear.iter().zip(&steps) {
                let (lo, hi) = design.start[*j];
                u[*j] = lo + (hi - lo) * (0.5 + step * (index + 1) as f64).fract();
            }
            design.project_linear(&mut u);
            let residuals = design.residuals(&u);
            let score: f64 = residuals
                .iter()
                .zip(&design.weight)
                .map(|(r, w)| w * super::objective::huber(*r, 0.2 * width))
                .sum();
            (if score.is_nan() { f64::INFINITY } else { score }, u)
        })
        .collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Half of the places go to the best, half are spread over the rest: a promising start may
    // belong to the wrong valley.
    let best = keep.div_ceil(2);
    let rest = scored.split_off(best.min(scored.len()));
    let stride = (rest.len() / (keep - best).max(1)).max(1);
    let others = rest.into_iter().step_by(stride).take(keep - best);
    scored.into_iter().chain(others).map(|(_, u)| u).collect()
}

/// Steps of the R_d sequence: powers of the inverse of the root of `x^(d+1) = x + 1`.
fn recurrence_steps(d: usize) -> Vec<f64> {
    let mut root = 2.0_f64;
    for _ in 0..50 {
        root = (1.0 + root).powf(1.0 / (d as f64 + 1.0));
    }
    (1..=d).map(|j| root.powi(-(j as i32)).fract()).collect()
}

/// Returns a robust scale: 1.4826 times the median absolute deviation.
pub(crate) fn spread(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    let middle = median(&mut sorted);
    let mut deviations: Vec<f64> = values.iter().map(|v| (v - middle).abs()).collect();
    1.4826 * median(&mut deviations)
}

/// Returns the median and leaves the values in another order.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// Minimises from one point, through wider objectives where the final one is almost kinked.
pub(crate) fn descend(design: &Design<'_>, objective: Objective, start: &[f64]) -> Solution {
    let mut u = start.to_vec();
    design.clip(&mut u);
    let ladder = objective.ladder(spread(&design.residuals(&u)));
    let mut at = State::new(design, u, ladder[0]);
    approach(design, &mut at, 40);
    // The residuals are known better now: rungs above their scale would be wasted.
    let scale = spread(&design.residuals(&at.u));
    let last = ladder.len() - 1;
    let mut outcome = Outcome::IterationLimit;
    for (rung, &delta) in ladder.iter().enumerate() {
        if rung < last && delta > 2.0 * scale {
            continue;
        }
        if delta != at.delta {
            at = State::new(design, at.u, delta);
        }
        outcome = match rung == last {
            true => newton(design, &mut at, 100, SETTLED),
            // Far below the residuals' scale an objective is all kinks: each rung must be solved
            // for the next one to start in reach.
            false if delta * 100.0 < scale => newton(design, &mut at, 100, 1e-10),
            false => newton(design, &mut at, 15, 1e-5),
        };
    }
    let (u, _) = design.pinned(&at.u);
    Solution {
        u,
        objective: at.sums.objective,
        outcome,
    }
}

/// A point with its sums.
struct State {
    u: Vec<f64>,
    delta: f64,
    sums: Sums,
    damping: f64,
}

impl State {
    fn new(design: &Design<'_>, u: Vec<f64>, delta: f64) -> Self {
        let sums = design.sums(&u, delta);
        Self {
            u,
            delta,
            sums,
            damping: 1e-3,
        }
    }

    /// Coordinates that may move: not pinned, not pushed against a bound, and with an effect (a
    /// coordinate that changes nothing but rounding stays where it is).
    fn free(&self, design: &Design<'_>) -> Vec<usize> {
        let silent = SILENT * design.rows() as f64;
        (0..self.u.len())
            .filter(|&j| self.sums.majorant.at(j, j) > silent)
            .filter(|&j| {
                let g = self.sums.gradient[j];
                let low = self.u[j] <= design.lower[j] && g >= 0.0;
                let high = self.u[j] >= design.upper[j] && g <= 0.0;
                !(low || high || design.pin.is_some_and(|pin| pin.index == j))
            })
            .collect()
    }

    /// Coordinates on a bound that the next step would move out of the box.
    fn pushed_out(&self, design: &Design<'_>, hessian: &Symmetric, free: &[usize]) -> Vec<usize> {
        let on_bound = |j: &usize| self.u[*j] <= design.lower[*j] || self.u[*j] >= design.upper[*j];
        if !free.iter().any(on_bound) {
            return Vec::new();
        }
        let mut matrix = hessian.submatrix(free);
        for (a, &j) in free.iter().enumerate() {
            let damping = self.damping * self.sums.majorant.at(j, j);
            matrix.set(a, a, matrix.at(a, a) + damping);
        }
        let downhill: Vec<f64> = free.iter().map(|&j| -self.sums.gradient[j]).collect();
        let Some(step) = matrix.solve(&downhill) else {
            return Vec::new();
        };
        let mut full = vec![0.0; self.u.len()];
        free.iter().zip(&step).for_each(|(&j, s)| full[j] = *s);
        let next = design.valley.follow(&self.u, &full, free);
        let outside = |j: &usize| next[*j] < design.lower[*j] || next[*j] > design.upper[*j];
        free.iter()
            .copied()
            .filter(|j| on_bound(j) && outside(j))
            .collect()
    }

    /// Tries damped steps on `hessian` until one lowers the objective.
    ///
    /// Returns the relative decrease the model promised for the undamped or least damped step
    /// tried, and whether a step was taken.
    fn step(&mut self, design: &Design<'_>, hessian: &Symmetric, free: &[usize]) -> (f64, bool) {
        let mut matrix = hessian.submatrix(free);
        let scales: Vec<f64> = free
            .iter()
            .map(|&j| self.sums.majorant.at(j, j))
            .map(|d| if d > 0.0 { d } else { 1e-12 })
            .collect();
        let gradient: Vec<f64> = free.iter().map(|&j| self.sums.gradient[j]).collect();
        let downhill: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let floor = self.sums.objective.abs().max(f64::MIN_POSITIVE);
        let mut promised = f64::INFINITY;
        let mut growth = 4.0;
        let mut applied = 0.0;
        for _ in 0..24 {
            for (a, scale) in scales.iter().enumerate() {
                matrix.set(a, a, matrix.at(a, a) + (self.damping - applied) * scale);
            }
            applied = self.damping;
            if let Some(step) = matrix.solve(&downhill) {
                let linear: f64 = gradient.iter().zip(&step).map(|(g, s)| g * s).sum();
                let undamped: f64 = step.iter().zip(&scales).map(|(s, d)| s * s * d).sum();
                let curved = matrix.quadratic(&step) - applied * undamped;
                let decrease = -(linear + 0.5 * curved);
                if promised.is_infinite() {
                    promised = decrease / floor;
                }
                let mut full = vec![0.0; self.u.len()];
                free.iter().zip(&step).for_each(|(&j, s)| full[j] = *s);
                let mut u = design.valley.follow(&self.u, &full, free);
                design.clip(&mut u);
                let sums = design.sums(&u, self.delta);
                // At rounding level the objective cannot tell better from worse: trust the model.
                let tolerance = if promised < 1e-13 { 1e-14 * floor } else { 0.0 };
                if sums.objective < self.sums.objective + tolerance {
                    let gain = (self.sums.objective - sums.objective) / decrease.max(1e-300);
                    let trusted = gain > 0.75 || promised < 1e-12;
                    self.damping *= if trusted {
                        0.1
                    } else {
                        0.5_f64.max(1.0 - gain)
                    };
                    self.damping = self.damping.max(1e-14);
                    self.u = u;
                    self.sums = sums;
                    return (promised, true);
                }
            }
            self.damping = (self.damping * growth).max(1e-6);
            growth *= 2.0;
        }
        (promised, false)
    }
}

/// Descends on the reweighted normal equations until they gain little.
fn approach(design: &Design<'_>, at: &mut State, limit: usize) {
    for _ in 0..limit {
        let before = at.sums.objective;
        if !before.is_finite() || before <= exact_floor(design) {
            return;
        }
        let hessian = at.sums.majorant.clone();
        let free = at.free(design);
        let (_, moved) = at.step(design, &hessian, &free);
        if !moved || at.sums.objective > before * (1.0 - 3e-3) {
            return;
        }
    }
}

/// Descends with the exact Hessian until a step promises a relative decrease under `tolerance`.
fn newton(design: &Design<'_>, at: &mut State, limit: usize, tolerance: f64) -> Outcome {
    if !at.sums.objective.is_finite() {
        return Outcome::Stalled {
            decrement: f64::INFINITY,
        };
    }
    at.damping = 1e-8;
    let floor = exact_floor(design);
    let mut exact_steps = 0;
    for _ in 0..limit {
        let mut free = at.free(design);
        let mut hessian = at.sums.hessian.clone();
        let exact = at.sums.objective <= floor;
        if !exact {
            design.add_curvature(&at.u, &at.sums, &free, &mut hessian);
            // A coordinate on a bound may be pulled inside by its own gradient and pushed out by
            // the others' steps; released in vain, it would be clipped back again and again.
            loop {
                let mut flat = hessian.clone();
                design
                    .valley
                    .flatten(&at.u, &at.sums.gradient, &free, &mut flat);
                let out = at.pushed_out(design, &flat, &free);
                if out.is_empty() {
                    hessian = flat;
                    break;
                }
                free.retain(|j| !out.contains(j));
            }
        }
        let before = at.damping;
        let (promised, moved) = at.step(design, &hessian, &free);
        // Residuals at rounding level: a few more Gauss-Newton steps settle the last digits.
        exact_steps += usize::from(exact);
        // Steps converge quadratically: what such a step leaves is far below rounding.
        let settled = promised < tolerance && before < 1e-3;
        if settled || exact_steps > 3 || (exact && !moved) {
            return Outcome::Converged;
        }
        if !moved {
            return match promised {
                decrement if decrement < STALL_TOLERANCE => Outcome::Converged,
                decrement => Outcome::Stalled { decrement },
            };
        }
    }
    Outcome::IterationLimit
}
