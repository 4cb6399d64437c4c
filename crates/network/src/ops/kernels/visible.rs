//! Which keys a query row of attention sees.

use std::ops::Range;

/// Which keys a query row sees, and what is added to their scores.
pub(crate) enum Visible<'a> {
    /// The last `window` keys up to the row itself.
    Causal {
        /// At least 1; the number of keys or more for all of them.
        window: usize,
    },
    /// The slots up to the row's own segment, each weighted by its tokens so far.
    Segments(&'a Counts),
}

/// What the count bias is made of.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// Segment of each token, `[batch, length]`.
    index: Vec<usize>,
    /// ln of each segment's number of tokens, `[batch, concepts]`.
    log_size: Vec<f32>,
    /// ln of each token's place in its segment, counted from 1, `[batch, length]`.
    log_place: Vec<f32>,
}

impl Counts {
    /// Counts tokens.
    pub(crate) fn new(index: Vec<usize>, length: usize, concepts: usize) -> Self {
        let mut log_size = Vec::with_capacity(index.len() / length.max(1) * concepts);
        let mut log_place = Vec::with_capacity(index.len());
        for row in index.chunks_exact(length) {
            let mut counts = vec![0usize; concepts];
            for &segment in row {
                counts[segment] += 1;
                log_place.push((counts[segment] as f32).ln());
            }
            // Absent segments are seen by nobody; 1 stands in for their 0.
            log_size.extend(counts.iter().map(|&count| (count.max(1) as f32).ln()));
        }
        Self {
            index,
            log_size,
            log_place,
        }
    }
}

impl Visible<'_> {
    /// Returns the keys that a row sees: both ends never fall from row to row.
    #[inline(always)]
    pub(crate) fn range(&self, batch: usize, row: usize, queries: usize) -> Range<usize> {
        match self {
            Self::Causal { window } => (row + 1).saturating_sub(*window)..row + 1,
            Self::Segments(counts) => 0..counts.index[batch * queries + row] + 1,
        }
    }

    /// Adds the bias to the scores of the keys that a row sees.
    #[inline(always)]
    pub(crate) fn add_bias(
        &self,
        batch: usize,
        row: usize,
        [queries, keys]: [usize; 2],
        scores: &mut [f32],
    ) {
        if let Self::Segments(counts) = self
            && let Some((own, earlier)) = scores.split_last_mut()
        {
            let log_size = &counts.log_size[batch * keys..];
            for (score, bias) in earlier.iter_mut().zip(log_size) {
                *score += bias;
            }
            *own += counts.log_place[batch * queries + row];
        }
    }
}
