//! How work is divided: into pieces whose number does not depend on the threads.
//!
//! Sums over pieces are taken in the order of the pieces, so results are the same bits at any
//! number of threads.

use rayon::prelude::*;

/// Fewest elements that are worth waking another thread for.
const WORTHWHILE: usize = 1 << 14;

/// Most pieces that rows are divided into.
const PIECES: usize = 32;

/// Returns how many rows of a given width make one piece.
pub(crate) fn rows_a_piece(rows: usize, width: usize) -> usize {
    let enough = (WORTHWHILE / 4).div_ceil(width.max(1));
    rows.div_ceil(PIECES).max(enough).max(1)
}

/// Runs every item, on all threads if there is enough to do, and collects in the items' order.
pub(crate) fn collect<T: Send, R: Send>(
    items: impl IntoIterator<Item = T>,
    elements: usize,
    run: impl Fn(T) -> R + Sync + Send,
) -> Vec<R> {
    let items: Vec<T> = items.into_iter().collect();
    if elements < WORTHWHILE || items.len() < 2 {
        items.into_iter().map(run).collect()
    } else {
        items.into_par_iter().map(run).collect()
    }
}

/// Runs every item, on all threads if there is enough to do.
pub(crate) fn each<T: Send>(
    items: impl IntoIterator<Item = T>,
    elements: usize,
    run: impl Fn(T) + Sync + Send,
) {
    let items: Vec<T> = items.into_iter().collect();
    if elements < WORTHWHILE || items.len() < 2 {
        items.into_iter().for_each(run);
    } else {
        items.into_par_iter().for_each(run);
    }
}

/// Adds rows of equal width, first to last.
pub(crate) fn add_up(parts: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    for part in parts {
        for (sum, x) in total.iter_mut().zip(&part) {
            *sum += x;
        }
    }
    total
}

/// Deals every row's columns out to `hands` owners: owner i of batch row b gets the i-th stretch of
/// each of its `length` rows.
///
/// This is how threads write different heads of one tensor without sharing anything.
pub(crate) fn deal(
    data: &mut [f32],
    length: usize,
    width: usize,
    hands: usize,
) -> Vec<Vec<&mut [f32]>> {
    let batch = data.len() / (length * width).max(1);
    let mut dealt: Vec<Vec<&mut [f32]>> = (0..batch * hands)
        .map(|_| Vec::with_capacity(length))
        .collect();
    for (row, columns) in data.chunks_exact_mut(width).enumerate() {
        let first = row / length * hands;
        for (hand, stretch) in columns.chunks_exact_mut(width / hands).enumerate() {
            dealt[first + hand].push(stretch);
        }
    }
    dealt
}
