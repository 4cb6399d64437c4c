//! What a fit minimises: a sum over rows of a function of the log residual.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The function of the residual `ln(predicted) − ln(observed)` that is summed over rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Quadratic up to `delta`, linear beyond: `r²/2` or `δ(|r| − δ/2)`.
    Huber {
        /// Where the quadratic part ends, in units of the log residual.
        delta: f64,
    },
    /// The same, of which rows above the law count a part: runs whose recipe was not tuned lie there, and none lies far
    /// below what the best recipe reaches.
    Asymmetric {
        /// Where the quadratic part ends, in units of the log residual.
        delta: f64,
        /// How much a row above the law counts, above 0 and at most 1.
        above: f64,
    },
    /// The absolute residual `|r|`.
    L1,
    /// Half the squared residual `r²/2`.
    L2,
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Huber { delta } => write!(f, "Huber, δ = {delta:e}"),
            Self::Asymmetric { delta, above } => {
                write!(
                    f,
                    "Huber, δ = {delta:e}, rows above the law counting {above}"
                )
            }
            Self::L1 => f.write_str("L1"),
            Self::L2 => f.write_str("L2"),
        }
    }
}

impl Default for Objective {
    /// Returns Huber with δ = 1e-3, the field's standard.
    fn default() -> Self {
        Self::Huber { delta: 1e-3 }
    }
}

impl Objective {
    /// Returns the contribution of one residual.
    #[inline]
    pub fn value(self, residual: f64) -> f64 {
        match self {
            Self::Huber { delta } => huber(residual, delta),
            Self::Asymmetric { delta, .. } => self.share(residual) * huber(residual, delta),
            Self::L1 => residual.abs(),
            Self::L2 => 0.5 * residual * residual,
        }
    }

    /// Returns how much a row with this residual counts: one above the law is predicted too low.
    #[inline]
    fn share(self, residual: f64) -> f64 {
        if residual < 0.0 { self.above() } else { 1.0 }
    }

    /// Returns how much a row above the law counts.
    pub(crate) fn above(self) -> f64 {
        match self {
            Self::Asymmetric { above, .. } => above,
            Self::Huber { .. } | Self::L1 | Self::L2 => 1.0,
        }
    }

    /// Returns the sum over residuals, each with weight 1.
    pub fn sum(self, residuals: &[f64]) -> f64 {
        residuals.iter().map(|r| self.value(*r)).sum()
    }

    /// Returns whether the objective can be minimised: δ must be positive and finite.
    pub fn is_valid(self) -> bool {
        match self {
            Self::Huber { delta } => delta > 0.0 && delta.is_finite(),
            Self::Asymmetric { delta, above } => {
                delta > 0.0 && delta.is_finite() && above > 0.0 && above <= 1.0
            }
            Self::L1 | Self::L2 => true,
        }
    }

    /// Returns the Huber widths to solve in turn, widest first; the last one is the objective.
    ///
    /// A width far below the residuals makes the objective almost kinked, and L1 is the limit; both
    /// are reached through wider, smoother problems. `spread` is the scale of the residuals.
    pub(crate) fn ladder(self, spread: f64) -> Vec<f64> {
        let last = match self {
            Self::Huber { delta } | Self::Asymmetric { delta, .. } => delta,
            Self::L1 => 1e-12,
            Self::L2 => return vec![f64::INFINITY],
        };
        let mut widths = vec![last];
        let mut width = last;
        while width * 5.0 < spread {
            width *= 5.0;
            widths.push(width);
        }
        widths.reverse();
        widths
    }

    /// Returns the width of the final problem of [`Objective::ladder`].
    pub(crate) fn width(self) -> f64 {
        match self {
            Self::Huber { delta } | Self::Asymmetric { delta, .. } => delta,
            Self::L1 => 1e-12,
            Self::L2 => f64::INFINITY,
        }
    }
}

/// Returns the Huber function; with infinite `delta` it is `r²/2`.
#[inline]
pub(crate) fn huber(residual: f64, delta: f64) -> f64 {
    let size = residual.abs();
    if size <= delta {
        0.5 * size * size
    } else {
        delta * (size - 0.5 * delta)
    }
}

/// Returns the derivative of the Huber function.
#[inline]
pub(crate) fn influence(residual: f64, delta: f64) -> f64 {
    residual.clamp(-delta, delta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huber_joins_smoothly() {
        let huber = Objective::Huber { delta: 0.1 };
        assert!((huber.value(0.1) - 0.005).abs() < 1e-15);
        assert!((huber.value(-0.3) - 0.1 * 0.25).abs() < 1e-15);
        assert!((influence(0.1 - 1e-12, 0.1) - influence(0.1 + 1e-12, 0.1)).abs() < 1e-11);
    }

    #[test]
    fn rows_above_the_law_count_a_part() {
        let above = 0.2;
        let part = Objective::Asymmetric { delta: 0.1, above };
        let whole = Objective::Huber { delta: 0.1 };
        assert_eq!(part.value(0.3), whole.value(0.3));
        assert_eq!(part.value(-0.3), above * whole.value(-0.3));
        assert!(
            part.is_valid()
                && !Objective::Asymmetric {
                    delta: 0.1,
                    above: 0.0
                }
                .is_valid()
        );
    }

    #[test]
    fn the_ladder_ends_at_the_objective() {
        let ladder = Objective::Huber { delta: 1e-4 }.ladder(1e-2);
        assert_eq!(ladder.last(), Some(&1e-4));
        assert!(ladder.windows(2).all(|w| w[0] > w[1]));
        assert_eq!(Objective::Huber { delta: 1.0 }.ladder(1e-2), [1.0]);
    }
}
