//! Small dense symmetric matrices: the few lines of linear algebra a fit needs.
//!
//! Owns Cholesky solves, Jacobi eigenvalues and non-negative least squares for at most a few dozen
//! unknowns. Refuses anything large: there, a linear-algebra library would be right.

// Triangular loops read as the textbook formulas only with indices.
#![allow(clippy::needless_range_loop)]

/// A symmetric matrix, stored whole in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Symmetric {
    n: usize,
    cells: Vec<f64>,
}

impl Symmetric {
    /// Returns the zero matrix of size `n`.
    pub(crate) fn zeros(n: usize) -> Self {
        Self {
            n,
            cells: vec![0.0; n * n],
        }
    }

    /// Returns `M v`.
    pub(crate) fn times(&self, v: &[f64]) -> Vec<f64> {
        (0..self.n)
            .map(|i| (0..self.n).map(|j| self.at(i, j) * v[j]).sum())
            .collect()
    }

    /// Returns one cell.
    pub(crate) fn at(&self, i: usize, j: usize) -> f64 {
        self.cells[i * self.n + j]
    }

    /// Sets a cell and its mirror image.
    pub(crate) fn set(&mut self, i: usize, j: usize, value: f64) {
        self.cells[i * self.n + j] = value;
        self.cells[j * self.n + i] = value;
    }

    /// Adds `weight · v vᵀ` to the lower triangle; [`Symmetric::mirror`] completes it.
    #[inline]
    pub(crate) fn add_outer_lower(&mut self, weight: f64, v: &[f64]) {
        for (i, vi) in v.iter().enumerate() {
            let scaled = weight * vi;
            let row = &mut self.cells[i * self.n..i * self.n + i + 1];
            for (cell, vj) in row.iter_mut().zip(v) {
                *cell += scaled * vj;
            }
        }
    }

    /// Adds another matrix of the same size.
    pub(crate) fn add(&mut self, other: &Self) {
        for (a, b) in self.cells.iter_mut().zip(&other.cells) {
            *a += b;
        }
    }

    /// Copies the lower triangle onto the upper one.
    pub(crate) fn mirror(&mut self) {
        for i in 0..self.n {
            for j in 0..i {
                self.cells[j * self.n + i] = self.cells[i * self.n + j];
            }
        }
    }

    /// Returns the rows and columns listed in `keep`.
    pub(crate) fn submatrix(&self, keep: &[usize]) -> Self {
        let mut out = Self::zeros(keep.len());
        for (a, &i) in keep.iter().enumerate() {
            for (b, &j) in keep.iter().enumerate() {
                out.cells[a * keep.len() + b] = self.at(i, j);
            }
        }
        out
    }

    /// Returns `vᵀ M v`.
    pub(crate) fn quadratic(&self, v: &[f64]) -> f64 {
        self.times(v).iter().zip(v).map(|(a, b)| a * b).sum()
    }

    /// Solves `M x = b` by Cholesky, or returns `None` when M is not positive definite.
    pub(crate) fn solve(&self, b: &[f64]) -> Option<Vec<f64>> {
        let n = self.n;
        let mut l = self.cells.clone();
        for j in 0..n {
            let mut pivot = l[j * n + j];
            for k in 0..j {
                pivot -= l[j * n + k] * l[j * n + k];
            }
            // A pivot that lost all its digits is as good as zero.
            if pivot.is_nan() || pivot <= 1e-15 * self.at(j, j).abs() {
                return None;
            }
            let root = pivot.sqrt();
            l[j * n + j] = root;
            for i in j + 1..n {
                let mut s = l[i * n + j];
                for k in 0..j {
                    s -= l[i * n + k] * l[j * n + k];
                }
                l[i * n + j] = s / root;
            }
        }
        let mut x = b.to_vec();
        for i in 0..n {
            for k in 0..i {
                x[i] -= l[i * n + k] * x[k];
            }
            x[i] /= l[i * n + i];
        }
        for i in (0..n).rev() {
            for k in i + 1..n {
                x[i] -= l[k * n + i] * x[k];
            }
            x[i] /= l[i * n + i];
        }
        x.iter().all(|v| v.is_finite()).then_some(x)
    }

    /// Returns eigenvalues and the matching eigenvectors, by cyclic Jacobi rotations.
    pub(crate) fn eigen(&self) -> (Vec<f64>, Vec<Vec<f64>>) {
        let n = self.n;
        let mut a = self.cells.clone();
        let mut v = vec![0.0; n * n];
        for i in 0..n {
            v[i * n + i] = 1.0;
        }
        // What is left below rounding would be rotated for ever.
        let size: f64 = a.iter().map(|v| v * v).sum();
        for _ in 0..60 {
            let off: f64 = (0..n)
                .flat_map(|i| (0..i).map(move |j| (i, j)))
                .map(|(i, j)| a[i * n + j] * a[i * n + j])
                .sum();
            if off <= 1e-36 * size {
                break;
            }
            for p in 0..n {
                for q in p + 1..n {
                    let apq = a[p * n + q];
                    if apq.abs() < 1e-300 {
                        continue;
                    }
                    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
                    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                    let t = if theta == 0.0 { 1.0 } else { t };
                    let c = 1.0 / t.hypot(1.0);
                    let s = t * c;
                    for k in 0..n {
                        let (x, y) = (a[k * n + p], a[k * n + q]);
                        a[k * n + p] = c * x - s * y;
                        a[k * n + q] = s * x + c * y;
                    }
                    for k in 0..n {
                        let (x, y) = (a[p * n + k], a[q * n + k]);
                        a[p * n + k] = c * x - s * y;
                        a[q * n + k] = s * x + c * y;
                    }
                    for k in 0..n {
                        let (x, y) = (v[k * n + p], v[k * n + q]);
                        v[k * n + p] = c * x - s * y;
                        v[k * n + q] = s * x + c * y;
                    }
                }
            }
        }
        let values = (0..n).map(|i| a[i * n + i]).collect();
        let vectors = (0..n)
            .map(|i| (0..n).map(|k| v[k * n + i]).collect())
            .collect();
        (values, vectors)
    }

    /// Minimises `½ xᵀMx − bᵀx` over `x ≥ lower` by coordinate descent.
    ///
    /// It serves starting points, so a nearly collinear M may be left before the last digit.
    pub(crate) fn at_least(&self, b: &[f64], lower: &[f64]) -> Vec<f64> {
        let n = self.n;
        let mut x = vec![0.0; n];
        for _ in 0..200 {
            let mut moved = 0.0_f64;
            for i in 0..n {
                let diagonal = self.at(i, i);
                if diagonal <= 0.0 {
                    continue;
                }
                let rest: f64 = (0..n).map(|j| self.at(i, j) * x[j]).sum();
                let next = (x[i] + (b[i] - rest) / diagonal).max(lower[i]);
                moved = moved.max((next - x[i]).abs());
                x[i] = next;
            }
            if moved < 1e-9 {
                break;
            }
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Symmetric {
        let mut m = Symmetric::zeros(3);
        for (i, j, v) in [
            (0, 0, 4.0),
            (1, 1, 3.0),
            (2, 2, 2.0),
            (0, 1, 1.0),
            (1, 2, 0.5),
        ] {
            m.set(i, j, v);
        }
        m
    }

    #[test]
    fn cholesky_solves() {
        let m = sample();
        let x = m.solve(&[1.0, 2.0, 3.0]).expect("positive definite");
        for i in 0..3 {
            let b: f64 = (0..3).map(|j| m.at(i, j) * x[j]).sum();
            assert!((b - [1.0, 2.0, 3.0][i]).abs() < 1e-14);
        }
    }

    #[test]
    fn an_indefinite_matrix_is_refused() {
        let mut m = sample();
        m.set(0, 0, -1.0);
        assert!(m.solve(&[1.0, 1.0, 1.0]).is_none());
    }

    #[test]
    fn eigenvectors_reproduce_the_matrix() {
        let m = sample();
        let (values, vectors) = m.eigen();
        for i in 0..3 {
            for j in 0..3 {
                let cell: f64 = (0..3)
                    .map(|k| values[k] * vectors[k][i] * vectors[k][j])
                    .sum();
                assert!((cell - m.at(i, j)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn non_negative_least_squares_stays_non_negative() {
        let x = sample().at_least(&[4.0, -5.0, 2.0], &[0.0; 3]);
        assert_eq!(x[1], 0.0);
        let free = sample().at_least(&[4.0, -5.0, 2.0], &[0.0, f64::NEG_INFINITY, 0.0]);
        let exact = sample()
            .solve(&[4.0, -5.0, 2.0])
            .expect("positive definite");
        assert!(free.iter().zip(exact).all(|(a, b)| (a - b).abs() < 1e-8));
        assert!((x[0] - 1.0).abs() < 1e-9 && (x[2] - 1.0).abs() < 1e-9);
    }
}
