//! Minimisation: damped Gauss–Newton from many starts, finished by exact Newton steps.
//!
//! A start descends in two stages. Far from the minimum, Levenberg–Marquardt steps on the
//! reweighted normal equations (always positive, so always downhill). Near it, Newton steps on the
//! exact Hessian: the rows in the quadratic part of the objective plus the law's own curvature.
//! The second stage matters: with a narrow Huber width most rows are in the linear part, where
//! reweighting and L-BFGS crawl and stop short.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::design::{Design, Sums};
use super::interrupt;
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

/// Rows on which starting points are judged, if there are more.
const JUDGED_ROWS: usize = 256;

/// Rows up to which other minima are looked for around the best one; with L1, always.
const KINKED_ROWS: usize = 400;

/// Rows that are looked at altogether in one round of looking.
const HOPPED_ROWS: usize = 2400;

/// Rounds, as long as the last one found something lower.
const HOP_ROUNDS: u64 = 4;

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
    let failed = points.len() - ends.len();
    let by_objective = |a: &Solution, b: &Solution| a.objective.total_cmp(&b.objective);
    ends.sort_by(by_objective);
    for round in 0..HOP_ROUNDS {
        let lowest = ends.first()?.objective;
        let hops = around(design, objective, &ends.first()?.u, round);
        ends.extend(hops);
        ends.sort_by(by_objective);
        if ends.first()?.objective >= lowest * (1.0 - SAME_MINIMUM) - exact_floor(design) {
            break;
        }
    }
    let starts = failed + ends.len();
    let best = finished(design, objective, ends.first()?);
    let limit = best.objective + SAME_MINIMUM * best.objective.abs() + exact_floor(design);
    let at_minimum = ends.iter().filter(|end| end.objective <= limit).count();
    let at_minimum = at_minimum.max(1);
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
        starts,
        at_minimum,
        alternates,
    })
}

/// Looks for lower minima around one: the minimum of the same rows with random weights, and from
/// there downhill on the rows as they are.
///
/// Few rows make an objective with kinks, or nearly so, that has several minima in one valley; starts
/// from far away all tend to end in the same one.
fn around(design: &Design<'_>, objective: Objective, u: &[f64], round: u64) -> Vec<Solution> {
    if design.rows() > KINKED_ROWS && objective != Objective::L1 {
        return Vec::new();
    }
    (0..(HOPPED_ROWS / design.rows()).clamp(8, 64) as u64)
        .into_par_iter()
        .map(|hop| {
            let mut random = ChaCha8Rng::seed_from_u64(round);
            random.set_stream(hop);
            let weights: Vec<f64> = (0..design.rows())
                .map(|_| -(1.0 - random.random::<f64>()).ln())
                .collect();
            let there = descend(&design.resampled(&weights), objective, u);
            descend(design, objective, &there.u)
        })
        .filter(|end| end.objective.is_finite())
        .collect()
}

/// Goes on from a point that was left before the minimum.
fn finished(design: &Design<'_>, objective: Objective, end: &Solution) -> Solution {
    if end.outcome == Outcome::Converged {
        return end.clone();
    }
    let mut at = State::new(design, end.u.clone(), objective.width());
    let outcome = newton(design, &mut at, 1000, SETTLED);
    let (u, _) = design.pinned(&at.u);
    Solution {
        u,
        objective: at.sums.objective,
        outcome,
    }
}

/// Searches on some of the rows, then finishes the distinct ends on all of them.
fn search_large(
    design: &Design<'_>,
    objective: Objective,
    starts: usize,
    extra: &[Vec<f64>],
) -> Option<Search> {
    let small = search(&design.thinned(SCREEN_ROWS / 2), objective, starts, extra)?;
    let mut ends: Vec<Solution> = std::iter::once(&small.best.u)
        .chain(small.alternates.iter().take(1))
        .map(|u| descend(design, objective, u))
        .collect();
    ends.sort_by(|a, b| a.objective.total_cmp(&b.objective));
    Some(Search {
        best: finished(design, objective, ends.first()?),
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
    let few = design.thinned(JUDGED_ROWS);
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
            few.project_linear(&mut u);
            let residuals = few.residuals(&u);
            let score: f64 = residuals
                .iter()
                .zip(&few.weight)
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

    /// How much of the objective may be rounding: every residual in the quadratic part is a difference
    /// of logarithms.
    fn rounding(&self, design: &Design<'_>) -> f64 {
        let weight: f64 = design.weight.iter().sum();
        let outside = match self.delta {
            f64::INFINITY => 0.0,
            delta => (weight - self.sums.count_inside) * delta * delta,
        };
        let inside = (self.sums.squared_influence - outside).max(0.0);
        (2.0 * f64::EPSILON * (weight * inside).sqrt()).max(1e-14 * self.sums.objective)
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

    /// Returns where a step first meets a bound, on that bound.
    fn up_to_bound(&self, design: &Design<'_>, full: &[f64], free: &[usize]) -> Vec<f64> {
        let at = |share: f64| {
            let part: Vec<f64> = full.iter().map(|s| s * share).collect();
            design.valley.follow(&self.u, &part, free)
        };
        let leaves = |next: &[f64]| {
            free.iter().any(|&j| {
                let (low, high) = (design.lower[j], design.upper[j]);
                next[j] < low && self.u[j] > low || next[j] > high && self.u[j] < high
            })
        };
        let (mut inside, mut outside) = (0.0, 1.0);
        for _ in 0..30 {
            let middle = 0.5 * (inside + outside);
            if leaves(&at(middle)) {
                outside = middle
            } else {
                inside = middle
            }
        }
        let mut next = at(outside);
        design.clip(&mut next);
        next
    }

    /// Tries damped steps on `hessian` until one lowers the objective.
    ///
    /// Returns the relative decrease the model promised for the undamped or least damped step
    /// tried, and whether a step was taken.
    fn step(&mut self, design: &Design<'_>, hessian: &Symmetric, free: &[usize]) -> (f64, bool) {
        interrupt::check();
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
                let cut = design.clip(&mut u);
                let mut sums = design.sums(&u, self.delta);
                // A step clipped in one coordinate no longer fits in the others: the same step up
                // to the bound does, and the next one goes on along it.
                if cut && sums.objective > self.sums.objective - 0.25 * decrease {
                    let short = self.up_to_bound(design, &full, free);
                    let short_sums = design.sums(&short, self.delta);
                    if short_sums.objective < sums.objective || sums.objective.is_nan() {
                        (u, sums) = (short, short_sums);
                    }
                }
                // At rounding level the objective cannot tell better from worse: trust the model.
                let rounding = self.rounding(design);
                let blind = promised * floor < rounding.max(1e-13 * floor);
                let tolerance = if blind { rounding } else { 0.0 };
                if sums.objective < self.sums.objective + tolerance {
                    let gain = (self.sums.objective - sums.objective) / decrease.max(1e-300);
                    self.damping *= match gain {
                        _ if blind || promised < 1e-12 => 0.1,
                        gain if gain > 0.75 => 0.1,
                        gain => 0.5_f64.max(1.0 - gain),
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
        let rounding = at.rounding(design) / at.sums.objective;
        let (promised, moved) = at.step(design, &hessian, &free);
        // Residuals at rounding level: a few more Gauss-Newton steps settle the last digits.
        exact_steps += usize::from(exact);
        // Steps converge quadratically: what such a step leaves is far below rounding.
        let settled = promised < tolerance.max(rounding) && moved && before < 1e-3;
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
