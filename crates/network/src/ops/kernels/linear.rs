//! Products of a tall matrix and a weight, and their gradients.

use gemm::{Parallelism, gemm};

/// Multiply-adds from which a product is shared among threads.
const WORTHWHILE: usize = 1 << 20;

/// A matrix of any layout.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    /// From one row to the next, and from one column to the next.
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    fn new(data: &'a [f32], columns: usize) -> Self {
        let rows = data.len() / columns.max(1);
        Self {
            data,
            rows,
            columns,
            strides: [columns, 1],
        }
    }

    fn transposed(self) -> Self {
        let Self {
            data,
            rows,
            columns,
            strides: [row, column],
        } = self;
        Self {
            data,
            rows: columns,
            columns: rows,
            strides: [column, row],
        }
    }

    /// Writes self · other, row-major.
    fn times(self, other: Matrix<'_>, out: &mut [f32]) {
        let (m, n, k) = (self.rows, other.columns, self.columns);
        assert_eq!(k, other.rows, "inner sizes of a product");
        assert_eq!(out.len(), m * n, "size of a product");
        for matrix in [&self, &other] {
            assert_eq!(matrix.data.len(), matrix.rows * matrix.columns);
        }
        let threads = m * n * k >= WORTHWHILE && rayon::current_num_threads() > 1;
        let threads = if threads {
            Parallelism::Rayon(0)
        } else {
            Parallelism::None
        };
        let [left_row, left_column] = self.strides.map(|stride| stride as isize);
        let [right_row, right_column] = other.strides.map(|stride| stride as isize);
        // SAFETY: each operand is exactly as long as its rows and columns say, its strides are
        // those of a row-major matrix or of its transpose, and `out` is m × n and borrowed alone.
        #[allow(unsafe_code)]
        unsafe {
            gemm(
                m,
                n,
                k,
                out.as_mut_ptr(),
                1,
                n as isize,
                false,
                self.data.as_ptr(),
                left_column,
                left_row,
                other.data.as_ptr(),
                right_column,
                right_row,
                0.0,
                1.0,
                false,
                false,
                false,
                threads,
            );
        }
    }
}

/// Writes x · weight.
///
/// # Shapes
/// x `[rows, inputs]`, weight `[inputs, outputs]`, out `[rows, outputs]`.
pub(crate) fn forward(x: &[f32], weight: &[f32], outputs: usize, out: &mut [f32]) {
    let weight = Matrix::new(weight, outputs);
    Matrix::new(x, weight.rows).times(weight, out);
}

/// Writes the gradient of x.
pub(crate) fn backward_x(weight: &[f32], outputs: usize, grad: &[f32], x_grad: &mut [f32]) {
    let weight = Matrix::new(weight, outputs);
    Matrix::new(grad, outputs).times(weight.transposed(), x_grad);
}

/// Writes the gradient of the weight.
pub(crate) fn backward_weight(x: &[f32], outputs: usize, grad: &[f32], weight_grad: &mut [f32]) {
    let inputs = weight_grad.len() / outputs.max(1);
    Matrix::new(x, inputs)
        .transposed()
        .times(Matrix::new(grad, outputs), weight_grad);
}
