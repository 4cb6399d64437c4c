//! Minimisation over the unit box: grid, compass, then Newton steps.

// Difference formulas read as in a textbook only with indices.
#![allow(clippy::needless_range_loop)]

use crate::fit::interrupt;
use crate::fit::matrix::Symmetric;

/// Spacing of the differences that stand for derivatives.
const H: f64 = 1e-4;

/// Minimises `f` over the unit box from a grid and from `hints`.
///
/// `f` may return infinity where a point is not allowed. Returns the best point and its value, or
/// `None` when no grid point is allowed. Smooth minima come out to about 1e-7 in every coordinate;
/// where `f` has steps, to the compass's last stride.
pub(crate) fn minimise(
    f: &dyn Fn(&[f64]) -> f64,
    dimensions: usize,
    side: usize,
    hints: &[Vec<f64>],
) -> Option<(Vec<f64>, f64)> {
    let mut points: Vec<(f64, Vec<f64>)> = hints.iter().map(|x| (f(x), x.clone())).collect();
    for index in 0..side.pow(dimensions as u32) {
        let mut rest = index;
        let point: Vec<f64> = (0..dimensions)
            .map(|_| {
                let step = rest % side;
                rest /= side;
                step as f64 / (side - 1) as f64
            })
            .collect();
        points.push((f(&point), point));
    }
    points.retain(|(value, _)| value.is_finite());
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Two starts: the best point and the best one that is not its neighbour.
    let near = 1.5 / (side - 1) as f64;
    let first = points.first()?.1.clone();
    let far = |x: &Vec<f64>| x.iter().zip(&first).any(|(a, b)| (a - b).abs() > near);
    let second = points.iter().map(|(_, x)| x).find(|x| far(x)).cloned();
    std::iter::once(first)
        .chain(second)
        .map(|mut x| {
            let mut value = f(&x);
            for _ in 0..3 {
                interrupt::check();
                let before = value;
                value = compass(f, &mut x, value, 0.25 * near, 1e-3);
                value = newton(f, &mut x, value);
                if value >= before {
                    break;
                }
            }
            value = compass(f, &mut x, value, 1e-5, 1e-8);
            (x, value)
        })
        .min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Moves along the axes while that helps, halving the stride down to `last`.
fn compass(f: &dyn Fn(&[f64]) -> f64, x: &mut [f64], mut value: f64, first: f64, last: f64) -> f64 {
    let mut stride = first;
    while stride > last {
        let mut moved = false;
        for j in 0..x.len() {
            for direction in [stride, -stride] {
                let old = x[j];
                x[j] = (old + direction).clamp(0.0, 1.0);
                let next = if x[j] == old { value } else { f(x) };
                if next < value - 1e-15 * value.abs() {
                    value = next;
                    moved = true;
                } else {
                    x[j] = old;
                }
            }
        }
        if !moved {
            stride *= 0.5;
        }
    }
    value
}

/// Takes Newton steps on central differences, freezing coordinates pushed against the box.
fn newton(f: &dyn Fn(&[f64]) -> f64, x: &mut Vec<f64>, mut value: f64) -> f64 {
    for _ in 0..20 {
        let Some((gradient, hessian)) = derivatives(f, x) else {
            return value;
        };
        let free: Vec<usize> = (0..x.len())
            .filter(|&j| !(x[j] <= 0.0 && gradient[j] >= 0.0 || x[j] >= 1.0 && gradient[j] <= 0.0))
            .collect();
        let mut matrix = hessian.submatrix(&free);
        let downhill: Vec<f64> = free.iter().map(|&j| -gradient[j]).collect();
        let size = (0..free.len())
            .map(|a| matrix.at(a, a).abs())
            .fold(1e-12, f64::max);
        let mut damping = 0.0;
        let mut moved = 0.0_f64;
        for _ in 0..12 {
            if let Some(step) = matrix.solve(&downhill) {
                let mut next = x.clone();
                free.iter()
                    .zip(&step)
                    .for_each(|(&j, s)| next[j] = (x[j] + s).clamp(0.0, 1.0));
                let at = f(&next);
                if at <= value + 1e-15 * value.abs() {
                    moved = x
                        .iter()
                        .zip(&next)
                        .map(|(a, b)| (a - b).abs())
                        .fold(0.0, f64::max);
                    *x = next;
                    value = at;
                    break;
                }
            }
            let more = if damping == 0.0 {
                1e-4 * size
            } else {
                3.0 * damping
            };
            (0..free.len()).for_each(|a| matrix.set(a, a, matrix.at(a, a) + more));
            damping += more;
        }
        if moved < 1e-10 {
            break;
        }
    }
    value
}

/// Gradient and Hessian by central differences around the nearest point that has room for them.
fn derivatives(f: &dyn Fn(&[f64]) -> f64, x: &[f64]) -> Option<(Vec<f64>, Symmetric)> {
    let n = x.len();
    let mut c: Vec<f64> = x.iter().map(|v| v.clamp(H, 1.0 - H)).collect();
    let center = f(&c);
    let mut gradient = vec![0.0; n];
    let mut hessian = Symmetric::zeros(n);
    let mut at = |shifts: &[(usize, f64)]| {
        shifts.iter().for_each(|(j, h)| c[*j] += h);
        let value = f(&c);
        shifts.iter().for_each(|(j, h)| c[*j] -= h);
        value
    };
    for i in 0..n {
        let (up, down) = (at(&[(i, H)]), at(&[(i, -H)]));
        gradient[i] = (up - down) / (2.0 * H);
        hessian.set(i, i, (up - 2.0 * center + down) / (H * H));
        for j in 0..i {
            let same = at(&[(i, H), (j, H)]) + at(&[(i, -H), (j, -H)]);
            let other = at(&[(i, H), (j, -H)]) + at(&[(i, -H), (j, H)]);
            hessian.set(i, j, (same - other) / (4.0 * H * H));
        }
    }
    for (i, g) in gradient.iter_mut().enumerate() {
        *g += (0..n)
            .map(|j| hessian.at(i, j) * (x[j] - x[j].clamp(H, 1.0 - H)))
            .sum::<f64>();
    }
    let finite = gradient.iter().all(|g| g.is_finite())
        && (0..n).all(|i| (0..n).all(|j| hessian.at(i, j).is_finite()));
    finite.then_some((gradient, hessian))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_an_interior_and_a_bound_minimum() {
        let f = |x: &[f64]| (x[0] - 0.3).powi(2) + (x[1] - 1.7).powi(2) + x[0] * x[1] * 0.1 + 1.0;
        let (x, _) = minimise(&f, 2, 5, &[]).expect("a minimum");
        assert!((x[0] - 0.25).abs() < 1e-7 && x[1] == 1.0, "{x:?}");
    }

    #[test]
    fn steps_do_not_stop_it() {
        let f = |x: &[f64]| ((x[0] - 0.62) * 50.0).round().abs();
        let (x, value) = minimise(&f, 1, 7, &[]).expect("a minimum");
        assert!(value == 0.0 && (x[0] - 0.62).abs() < 0.011);
    }

    #[test]
    fn nothing_allowed_is_nothing_found() {
        assert!(minimise(&|_| f64::INFINITY, 2, 4, &[]).is_none());
    }
}
