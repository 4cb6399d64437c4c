//! Small matrix products on packed operands, for the blocks of attention.
//!
//! The right operand lies in *panels*: [`LANES`] columns wide, one row after the other. Six rows of
//! the left operand against one panel keep their sums in registers.

use super::vector::LANES;
use crate::ops::buffers::Scratch;

/// Rows of the left operand taken together: 6 × 16 sums fill twelve of AVX2's sixteen registers.
pub(crate) const ROWS: usize = 6;

/// A matrix in panels.
pub(crate) struct Panels {
    data: Scratch,
    depth: usize,
}

impl Panels {
    /// Makes a matrix of zeros, `depth` rows by at least `columns` columns.
    pub(crate) fn zeros(depth: usize, columns: usize) -> Self {
        Self {
            data: Scratch::zeros(columns.next_multiple_of(LANES) * depth),
            depth,
        }
    }

    /// Returns rows of one panel.
    #[inline(always)]
    pub(crate) fn rows(&self, panel: usize, rows: std::ops::Range<usize>) -> &[[f32; LANES]] {
        &self.data.as_chunks().0[panel * self.depth..][..self.depth][rows]
    }

    /// Returns one whole panel.
    #[inline(always)]
    pub(crate) fn panel(&self, panel: usize) -> &[[f32; LANES]] {
        self.rows(panel, 0..self.depth)
    }

    /// Overwrites a row.
    #[inline(always)]
    pub(crate) fn set_row(&mut self, row: usize, values: &[f32]) {
        for (panel, values) in values.chunks(LANES).enumerate() {
            let start = (panel * self.depth + row) * LANES;
            self.data[start..][..values.len()].copy_from_slice(values);
        }
    }

    /// Overwrites a column.
    #[inline(always)]
    pub(crate) fn set_column(&mut self, column: usize, values: &[f32]) {
        let start = column / LANES * self.depth * LANES;
        let (panel, _) = self.data[start..].as_chunks_mut::<LANES>();
        for (row, value) in panel.iter_mut().zip(values) {
            row[column % LANES] = *value;
        }
    }
}

/// A row-major matrix inside a slice: its elements, and from one row to the next.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) count: usize,
}

/// Runs a block for six rows at a time, and once for what is left.
macro_rules! by_rows {
    ($count:expr, $block:ident($($arg:expr),*)) => {{
        let mut first = 0;
        while first + ROWS <= $count {
            $block::<ROWS>(first, $($arg),*);
            first += ROWS;
        }
        match $count - first {
            1 => $block::<1>(first, $($arg),*),
            2 => $block::<2>(first, $($arg),*),
            3 => $block::<3>(first, $($arg),*),
            4 => $block::<4>(first, $($arg),*),
            5 => $block::<5>(first, $($arg),*),
            _ => {}
        }
    }};
}

/// Writes a · panel into the first [`LANES`] columns of c.
#[inline(always)]
pub(crate) fn multiply(a: Rows<'_>, panel: &[[f32; LANES]], c: &mut [f32], c_stride: usize) {
    by_rows!(a.count, multiply_block(a, panel, c, c_stride));
}

#[inline(always)]
fn multiply_block<const R: usize>(
    first: usize,
    a: Rows<'_>,
    panel: &[[f32; LANES]],
    c: &mut [f32],
    c_stride: usize,
) {
    // A plain loop: `array::from_fn` is not always inlined, and then the compiler no longer knows
    // that every row is as long as the panel.
    let mut rows: [&[f32]; R] = [&[]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &a.data[(first + r) * a.stride..][..panel.len()];
    }
    let mut sums = [[0.0f32; LANES]; R];
    for (p, &b) in panel.iter().enumerate() {
        for r in 0..R {
            let x = rows[r][p];
            for i in 0..LANES {
                sums[r][i] = x.mul_add(b[i], sums[r][i]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        c[(first + r) * c_stride..][..LANES].copy_from_slice(sums);
    }
}

/// Adds aᵀ · panel to the first [`LANES`] columns of c; `a.count` counts rows of aᵀ.
#[inline(always)]
pub(crate) fn multiply_transposed(
    a: Rows<'_>,
    panel: &[[f32; LANES]],
    c: &mut [f32],
    c_stride: usize,
) {
    by_rows!(a.count, multiply_transposed_block(a, panel, c, c_stride));
}

#[inline(always)]
fn multiply_transposed_block<const R: usize>(
    first: usize,
    a: Rows<'_>,
    panel: &[[f32; LANES]],
    c: &mut [f32],
    c_stride: usize,
) {
    let mut sums = [[0.0f32; LANES]; R];
    for (a, &b) in a.data.chunks(a.stride).zip(panel) {
        let a = &a[first..first + R];
        for r in 0..R {
            for i in 0..LANES {
                sums[r][i] = a[r].mul_add(b[i], sums[r][i]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (c, sum) in c[(first + r) * c_stride..][..LANES].iter_mut().zip(sums) {
            *c += sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_agree_with_the_definition() {
        let (rows, depth, columns) = (11, 7, 32);
        let a: Vec<f32> = (0..rows * depth).map(|i| (i % 13) as f32 - 6.0).collect();
        let b: Vec<f32> = (0..depth * columns)
            .map(|i| (i % 17) as f32 - 8.0)
            .collect();
        let mut panels = Panels::zeros(depth, columns);
        for (p, row) in b.chunks(columns).enumerate() {
            panels.set_row(p, row);
        }
        let transposed: Vec<f32> = (0..depth * rows)
            .map(|i| a[i % rows * depth + i / rows])
            .collect();
        let mut plain = vec![0.0; rows * columns];
        let mut turned = vec![1.0; rows * columns];
        for panel in 0..2 {
            let left = Rows {
                data: &a,
                stride: depth,
                count: rows,
            };
            multiply(
                left,
                panels.panel(panel),
                &mut plain[panel * LANES..],
                columns,
            );
            let left = Rows {
                data: &transposed,
                stride: rows,
                count: rows,
            };
            multiply_transposed(
                left,
                panels.panel(panel),
                &mut turned[panel * LANES..],
                columns,
            );
        }
        for i in 0..rows * columns {
            let (r, c) = (i / columns, i % columns);
            let exact: f32 = (0..depth)
                .map(|p| a[r * depth + p] * b[p * columns + c])
                .sum();
            assert_eq!(plain[i], exact);
            assert_eq!(turned[i], exact + 1.0);
        }
    }
}
