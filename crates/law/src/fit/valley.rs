//! Steps along the curved valley of a floor plus decreasing powers.
//!
//! In `E + Σ T (1 + s(x − 1))^−e` the data fix the level, the slope and the bend at their centre
//! long before they fix E, T, e and s: a valley that curves in these coordinates, in which Newton
//! steps are short. It is nearly straight in
//!
//! * level `E + Σ T`, in place of E,
//! * slope `T·e·s`, in place of T,
//! * bend `(1 + e)·s`, in place of s,
//! * and e itself.
//!
//! So a step is computed in those coordinates and mapped back, while bounds stay boxes in the
//! original ones. A frozen coordinate drops its own replacement; when E itself is frozen (at 0), the
//! largest free term keeps the level in its place: its T, e and s follow from level, slope and bend.

use super::law::{Law, Term};
use super::matrix::Symmetric;

/// Exponents below this leave a term to ordinary steps: its slope says nothing about T.
const SMALL: f64 = 1e-3;

/// The form of a law that has a floor and decreasing powers, or nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Valley {
    form: Option<(usize, Vec<Term>)>,
}

/// The values of one term.
struct Values {
    t: f64,
    e: f64,
    s: f64,
}

impl Valley {
    /// Reads the form of a law.
    pub(crate) fn of(law: &dyn Law) -> Self {
        Self { form: law.terms() }
    }

    /// Returns whether two coordinates belong to one term.
    pub(crate) fn same_term(&self, i: usize, j: usize) -> bool {
        let terms = self.form.as_ref().map_or(&[][..], |(_, terms)| terms);
        terms.iter().any(|term| term.has(i) && term.has(j))
    }

    /// Returns where a step leads: straight in level, slope and bend.
    pub(crate) fn follow(&self, u: &[f64], step: &[f64], free: &[usize]) -> Vec<f64> {
        let plain: Vec<f64> = u.iter().zip(step).map(|(v, s)| v + s).collect();
        let Some((floor, terms)) = &self.form else {
            return plain;
        };
        let mut next = plain.clone();
        let keeper = keeper(*floor, terms, u, free);
        let mut surplus = 0.0;
        for term in terms.iter().filter(|term| keeper != Some(**term)) {
            let Some((slope, bend)) = moved(term, u, step, free) else {
                continue;
            };
            let e = plain[term.exponent];
            let s = bend.map_or(values(term, u).s, |bend| bend / (1.0 + e));
            if e < SMALL || s <= 0.0 {
                continue;
            }
            if let (Some(offset), Some(_)) = (term.offset, bend) {
                next[offset] = s;
            }
            next[term.amplitude] = slope / (e * s);
            surplus += next[term.amplitude] - plain[term.amplitude];
        }
        match keeper {
            None if free.contains(floor) => next[*floor] -= surplus,
            None => {}
            Some(term) => {
                let t = plain[term.amplitude] - surplus;
                let Some((slope, bend)) = moved(&term, u, step, free) else {
                    return next;
                };
                let product = slope / t;
                let s = bend.map_or(values(&term, u).s, |bend| bend - product);
                let e = product / s;
                if t <= 0.0 || s <= 0.0 || e < SMALL {
                    return plain;
                }
                if let (Some(offset), Some(_)) = (term.offset, bend) {
                    next[offset] = s;
                }
                next[term.amplitude] = t;
                next[term.exponent] = e;
            }
        }
        next
    }

    /// Subtracts from a Hessian the part that is only the curvature of the coordinates.
    pub(crate) fn flatten(
        &self,
        u: &[f64],
        gradient: &[f64],
        free: &[usize],
        hessian: &mut Symmetric,
    ) {
        let Some((floor, terms)) = &self.form else {
            return;
        };
        let mut subtract = |i: usize, j: usize, value: f64| {
            hessian.set(i, j, hessian.at(i, j) - value);
        };
        let keeper = keeper(*floor, terms, u, free);
        let mut level = if free.contains(floor) {
            gradient[*floor]
        } else {
            0.0
        };
        // The keeper comes first: its amplitude's gradient is what the level's is.
        let others = terms.iter().filter(|term| keeper != Some(**term));
        for term in keeper.iter().chain(others) {
            let Values { t, e, s } = values(term, u);
            if !free.contains(&term.amplitude) || e < SMALL {
                continue;
            }
            let offset = term.offset.filter(|j| free.contains(j));
            let (slope, bend);
            if keeper == Some(*term) {
                let by_exponent = gradient[term.exponent] / s;
                slope = match offset {
                    Some(j) => ((1.0 + e) * by_exponent - gradient[j]) / t,
                    None => by_exponent / t,
                };
                bend = by_exponent - slope * t;
                level = gradient[term.amplitude] - slope * e * s;
            } else {
                slope = (gradient[term.amplitude] - level) / (e * s);
                bend = offset.map_or(0.0, |j| (gradient[j] - slope * t * e) / (1.0 + e));
            }
            subtract(term.amplitude, term.exponent, slope * s);
            if let Some(offset) = offset {
                subtract(term.amplitude, offset, slope * e);
                subtract(term.exponent, offset, slope * t + bend);
            }
        }
    }
}

/// Returns the term that keeps the level when the floor is frozen: the largest that is free.
fn keeper(floor: usize, terms: &[Term], u: &[f64], free: &[usize]) -> Option<Term> {
    if free.contains(&floor) {
        return None;
    }
    terms
        .iter()
        .filter(|term| free.contains(&term.amplitude) && free.contains(&term.exponent))
        .filter(|term| u[term.exponent] >= SMALL && u[term.amplitude] > 0.0)
        .max_by(|a, b| u[a.amplitude].total_cmp(&u[b.amplitude]))
        .copied()
}

/// Slope and, where the offset is free, bend of a term after a step; `None` for a term that is left
/// to ordinary steps.
fn moved(term: &Term, u: &[f64], step: &[f64], free: &[usize]) -> Option<(f64, Option<f64>)> {
    let Values { t, e, s } = values(term, u);
    if !free.contains(&term.amplitude) || e < SMALL {
        return None;
    }
    let offset = term.offset.filter(|j| free.contains(j));
    let (t_step, e_step) = (step[term.amplitude], step[term.exponent]);
    let s_step = offset.map_or(0.0, |j| step[j]);
    let slope = t * e * s + e * s * t_step + t * s * e_step + t * e * s_step;
    let bend = offset.map(|_| (1.0 + e) * (s + s_step) + s * e_step);
    Some((slope, bend))
}

fn values(term: &Term, u: &[f64]) -> Values {
    Values {
        t: u[term.amplitude],
        e: u[term.exponent],
        s: term.offset.map_or(1.0, |j| u[j]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::law::{Dlcm, Law};
    use super::*;

    fn level(u: &[f64]) -> f64 {
        u[0] + u[1] + u[4] + u[8]
    }

    #[test]
    fn a_step_keeps_what_it_does_not_change() {
        let valley = Valley::of(&Dlcm);
        let u = [0.6, 0.2, 0.9, 0.3, 0.1, 0.1, 0.8, 0.3, 0.1, 0.9, 0.3];
        let free: Vec<usize> = (0..11).collect();
        // Only the exponent moves, with what keeps level, slope and bend to first order.
        let mut step = [0.0; 11];
        step[3] = 0.05;
        step[2] = -u[2] * step[3] / (1.0 + u[3]);
        step[1] = -u[1] * (step[3] / u[3] + step[2] / u[2]);
        step[0] = -step[1];
        let next = valley.follow(&u, &step, &free);
        let slope = |u: &[f64]| u[1] * u[2] * u[3];
        let bend = |u: &[f64]| (1.0 + u[3]) * u[2];
        assert!((level(&next) - level(&u)).abs() < 1e-12);
        assert!((slope(&next) - slope(&u)).abs() < 1e-12);
        assert!((bend(&next) - bend(&u)).abs() < 1e-12);
        assert_eq!(Dlcm.parameters().len(), next.len());
    }

    #[test]
    fn the_level_is_kept_without_a_free_floor() {
        let valley = Valley::of(&Dlcm);
        let u = [0.0, 0.5, 0.9, 0.3, 0.3, 0.1, 0.8, 0.3, 0.2, 0.9, 0.3];
        let free: Vec<usize> = (1..11).collect();
        let mut step = [0.0; 11];
        // The concept term gives level to the token term, at constant slopes to first order.
        step[7] = 0.03;
        step[4] = -u[4] * step[7] / u[7];
        step[1] = -step[4];
        step[3] = -u[3] * step[1] / u[1];
        let next = valley.follow(&u, &step, &free);
        assert!((level(&next) - level(&u)).abs() < 1e-12, "{next:?}");
        assert!((next[1] - u[1] - step[1]).abs() > 1e-4, "a curved path");
    }

    #[test]
    fn small_steps_are_plain_steps() {
        let valley = Valley::of(&Dlcm);
        let u = [0.6, 0.2, 0.9, 0.3, 0.1, 0.1, 0.8, 0.3, 0.1, 0.9, 0.3];
        let free: Vec<usize> = (0..11).collect();
        let step = [1e-6; 11];
        for free in [&free[..], &free[1..]] {
            for (next, now) in valley.follow(&u, &step, free).iter().zip(u) {
                assert!((next - now - 1e-6).abs() < 1e-10);
            }
        }
    }
}
