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
//! original ones. A frozen coordinate drops its own replacement.

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

    /// Returns where a step leads: straight in level, slope and bend.
    pub(crate) fn follow(&self, u: &[f64], step: &[f64], free: &[usize]) -> Vec<f64> {
        let mut next: Vec<f64> = u.iter().zip(step).map(|(v, s)| v + s).collect();
        let Some((floor, terms)) = &self.form else {
            return next;
        };
        let is_free = |j: usize| free.contains(&j);
        let mut surplus = 0.0;
        for term in terms {
            let Values { t, e, s } = values(term, u);
            let Term {
                amplitude,
                exponent,
                offset,
            } = *term;
            let e_next = next[exponent];
            if !is_free(amplitude) || e < SMALL || e_next < SMALL {
                continue;
            }
            let mut s_next = s;
            let mut s_step = 0.0;
            if let Some(offset) = offset.filter(|j| is_free(*j)) {
                s_step = step[offset];
                let bend = (1.0 + e) * s + (1.0 + e) * s_step + s * step[exponent];
                s_next = bend / (1.0 + e_next);
                next[offset] = s_next;
                if s_next <= 0.0 {
                    continue;
                }
            }
            let slope =
                t * e * s + e * s * step[amplitude] + t * s * step[exponent] + t * e * s_step;
            let t_next = slope / (e_next * s_next);
            surplus += t_next - (t + step[amplitude]);
            next[amplitude] = t_next;
        }
        if is_free(*floor) {
            next[*floor] -= surplus;
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
        let is_free = |j: usize| free.contains(&j);
        let level = if is_free(*floor) {
            gradient[*floor]
        } else {
            0.0
        };
        let mut subtract = |i: usize, j: usize, value: f64| {
            hessian.set(i, j, hessian.at(i, j) - value);
        };
        for term in terms {
            let Values { t, e, s } = values(term, u);
            let Term {
                amplitude,
                exponent,
                offset,
            } = *term;
            if !is_free(amplitude) || e < SMALL {
                continue;
            }
            let slope = (gradient[amplitude] - level) / (e * s);
            subtract(amplitude, exponent, slope * s);
            if let Some(offset) = offset.filter(|j| is_free(*j)) {
                let bend = (gradient[offset] - slope * t * e) / (1.0 + e);
                subtract(amplitude, offset, slope * e);
                subtract(exponent, offset, slope * t + bend);
            }
        }
    }
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
    fn small_steps_are_plain_steps() {
        let valley = Valley::of(&Dlcm);
        let u = [0.6, 0.2, 0.9, 0.3, 0.1, 0.1, 0.8, 0.3, 0.1, 0.9, 0.3];
        let free: Vec<usize> = (0..11).collect();
        let step = [1e-6; 11];
        for (next, now) in valley.follow(&u, &step, &free).iter().zip(u) {
            assert!((next - now - 1e-6).abs() < 1e-10);
        }
    }
}
