//! Differences between groups of runs that are alike in all else: least squares within blocks, and Student's t.

use crate::fit::matrix::Symmetric;
use experiment::tasks::Mean;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A number with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    /// The number.
    pub(super) value: f64,
    /// Its standard error.
    pub(super) standard_error: f64,
    /// Degrees of freedom behind the standard error.
    pub(super) freedom: f64,
}

impl Estimate {
    /// The mean of values with what their scatter says of it; `None` of fewer than two, or of equal ones.
    pub(super) fn mean(values: &[f64]) -> Option<Self> {
        let freedom = values.len() as f64 - 1.0;
        let mean = Mean::of(values.iter().copied())?;
        let standard_error = mean.standard_error.filter(|error| *error > 0.0)?;
        Some(Self {
            value: mean.mean,
            standard_error,
            freedom,
        })
    }

    /// The probability of a number as high as this or higher, were it `bound`.
    pub(super) fn p_above(&self, bound: f64) -> f64 {
        let t = (self.value - bound) / self.standard_error;
        // Without noise that is known nothing can be said.
        if !t.is_finite() {
            return 0.5;
        }
        let students = StudentsT::new(0.0, 1.0, self.freedom);
        students.map_or(0.5, |students| students.sf(t))
    }

    /// The probability of a number as low as this or lower, were it `bound`.
    pub(super) fn p_below(&self, bound: f64) -> f64 {
        1.0 - self.p_above(bound)
    }

    /// The central interval of this coverage.
    pub(super) fn interval(&self, level: f64) -> [f64; 2] {
        let t = StudentsT::new(0.0, 1.0, self.freedom);
        let t = t.map_or(f64::INFINITY, |t| t.inverse_cdf(0.5 + level / 2.0));
        let half = t * self.standard_error;
        [self.value - half, self.value + half]
    }
}

/// The means of several groups of values, none of which is empty.
pub(super) fn means<'a>(groups: impl Iterator<Item = &'a Vec<f64>>) -> Vec<f64> {
    let mean = |group: &Vec<f64>| group.iter().sum::<f64>() / group.len() as f64;
    groups.map(mean).collect()
}

/// The share of a quantity's square that rounding leaves.
const ROUNDING: f64 = 1e-20;

/// Effects on a quantity within blocks: what a block has in common is taken off.
#[derive(Clone, Debug)]
pub(super) struct Effects {
    effects: Vec<f64>,
    /// (XᵀX)⁻¹ times the residual variance.
    covariance: Vec<Vec<f64>>,
    freedom: f64,
}

impl Effects {
    /// Fits `y` = block + x · effects. `None` where the runs do not determine the effects, or leave nothing over to tell
    /// their noise from.
    pub(super) fn fit(blocks: &[usize], x: &[Vec<f64>], y: &[f64]) -> Option<Self> {
        let count = blocks.iter().max()? + 1;
        let width = x.first()?.len();
        let mut members = vec![0.0; count];
        let mut sums = vec![vec![0.0; width + 1]; count];
        let rows = || blocks.iter().zip(x).zip(y);
        for ((&block, x), y) in rows() {
            members[block] += 1.0;
            for (sum, value) in sums[block].iter_mut().zip(x.iter().chain([y])) {
                *sum += value;
            }
        }
        let centred: Vec<Vec<f64>> = rows()
            .map(|((&block, x), y)| {
                let values = x.iter().chain([y]).zip(&sums[block]);
                values
                    .map(|(value, sum)| value - sum / members[block])
                    .collect()
            })
            .collect();
        let mut normal = Symmetric::zeros(width);
        let mut right = vec![0.0; width];
        for row in &centred {
            let (x, y) = (&row[..width], row[width]);
            normal.add_outer_lower(1.0, x);
            for (right, x) in right.iter_mut().zip(x) {
                *right += x * y;
            }
        }
        normal.mirror();
        let (values, _) = normal.eigen();
        let largest = values.iter().copied().fold(0.0, f64::max);
        let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let used = members.iter().filter(|count| **count > 0.0).count();
        let freedom = y.len().checked_sub(used + width).filter(|left| *left > 0)? as f64;
        if smallest.is_nan() || smallest <= 1e-10 * largest {
            return None;
        }
        let effects = normal.solve(&right)?;
        let residuals = centred.iter().map(|row| {
            let predicted: f64 = row[..width]
                .iter()
                .zip(&effects)
                .map(|(x, effect)| x * effect)
                .sum();
            row[width] - predicted
        });
        let variance = residuals.map(|residual| residual * residual).sum::<f64>() / freedom;
        // Of few items scores differ by the same steps again and again: that is no lack of noise.
        let size = y.iter().map(|y| y * y).sum::<f64>() / y.len() as f64;
        if !variance.is_finite() || variance <= ROUNDING * size {
            return None;
        }
        let unit = |at: usize| -> Vec<f64> { (0..width).map(|i| f64::from(i == at)).collect() };
        let columns = (0..width).map(|at| {
            let column = normal.solve(&unit(at))?;
            Some(column.into_iter().map(|cell| cell * variance).collect())
        });
        Some(Self {
            covariance: columns.collect::<Option<_>>()?,
            effects,
            freedom,
        })
    }

    /// A combination of effects.
    pub(super) fn combined(&self, weights: &[f64]) -> Estimate {
        let value = weights
            .iter()
            .zip(&self.effects)
            .map(|(weight, effect)| weight * effect);
        let variance = weights.iter().zip(&self.covariance).map(|(a, row)| {
            let row = row.iter().zip(weights).map(|(cell, b)| a * cell * b);
            row.sum::<f64>()
        });
        Estimate {
            value: value.sum(),
            standard_error: variance.sum::<f64>().max(0.0).sqrt(),
            freedom: self.freedom,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paired_differences_are_those_of_students_t() {
        // Student's own data, hours of sleep gained by ten patients on two drugs: t = 4.0621 on 9 degrees of freedom,
        // two-sided p = 0.002833, interval [0.7001142, 2.4598858].
        let first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let blocks: Vec<usize> = (0..10).chain(0..10).collect();
        let x: Vec<Vec<f64>> = (0..20).map(|at| vec![f64::from(at >= 10)]).collect();
        let y: Vec<f64> = first.into_iter().chain(second).collect();
        let effects = Effects::fit(&blocks, &x, &y).expect("determined");
        let difference = effects.combined(&[1.0]);
        assert!((difference.value - 1.58).abs() < 1e-12);
        assert!((2.0 * difference.p_above(0.0) - 0.002833).abs() < 1e-6);
        let [low, high] = difference.interval(0.95);
        assert!((low - 0.7001142).abs() < 1e-6 && (high - 2.4598858).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_determined_is_none() {
        let one = |x: f64| vec![x];
        // One run a block, and no run to spare.
        assert!(Effects::fit(&[0, 1], &[one(0.0), one(1.0)], &[1.0, 2.0]).is_none());
        assert!(Effects::fit(&[0, 0], &[one(0.0), one(1.0)], &[1.0, 2.0]).is_none());
        // All blocks on one level each.
        let x = [one(0.0), one(0.0), one(1.0), one(1.0)];
        assert!(Effects::fit(&[0, 0, 1, 1], &x, &[1.0, 2.0, 3.0, 5.0]).is_none());
        assert!(Effects::fit(&[], &[], &[]).is_none());
        // Twice the same difference, as of scores on few items; and what has overflown.
        let x = [one(0.0), one(1.0), one(0.0), one(1.0)];
        assert!(Effects::fit(&[0, 0, 1, 1], &x, &[0.55, 0.6, 0.5, 0.55]).is_none());
        assert!(Effects::fit(&[0, 0, 1, 1], &x, &[1.0, 1e300, 1.0, f64::INFINITY]).is_none());
    }
}
