//! Which values of axes stand together: a product or a zip.

use super::source::{Location, Problem};

/// Larger grids are refused: a unit or an axis is wrong.
const MOST_CELLS: usize = 1_000_000;

/// An axis as far as combining it needs it.
pub(super) struct Length<'a> {
    pub(super) name: &'a str,
    pub(super) values: usize,
    /// Where its last value stands.
    pub(super) last: Option<&'a Location>,
}

/// The combinations of axes: a product with the last axis fastest, or a zip. Each is the place of a value
/// in every axis.
pub(super) struct Combinations {
    lengths: Vec<usize>,
    zip: bool,
    next: usize,
    count: usize,
}

impl Combinations {
    pub(super) fn new(axes: &[Length], zip: bool, place: &Location) -> Result<Self, Problem> {
        let lengths: Vec<usize> = axes.iter().map(|axis| axis.values).collect();
        let count = if zip {
            let longest = lengths.iter().copied().max().unwrap_or(1);
            let uneven = axes.iter().find(|a| ![1, longest].contains(&a.values));
            if let Some(uneven) = uneven {
                return Err(unequal(axes, uneven, longest));
            }
            Some(longest)
        } else {
            lengths
                .iter()
                .copied()
                .try_fold(1_usize, usize::checked_mul)
        };
        match count {
            Some(count) if count <= MOST_CELLS => Ok(Self {
                lengths,
                zip,
                next: 0,
                count,
            }),
            _ => Err(
                Problem::new(format!("the axes make more than {MOST_CELLS} cells"))
                    .label(place, "")
                    .help("shorten an axis; `combine: zip` pairs axes instead of crossing them"),
            ),
        }
    }
}

/// Says which axes cannot be zipped.
fn unequal(axes: &[Length], uneven: &Length, longest: usize) -> Problem {
    let long = axes.iter().find(|axis| axis.values == longest);
    let both: Vec<&Length> = long.into_iter().chain([uneven]).collect();
    let counted = |axis: &&Length| format!("`{}` has {}", axis.name, axis.values);
    let mut problem = Problem::new(format!(
        "axes of unequal length cannot be zipped: {}",
        both.iter().map(counted).collect::<Vec<_>>().join(", ")
    ));
    for axis in both {
        if let Some(last) = axis.last {
            problem = problem.label(last, format!("the last of {}", axis.values));
        }
    }
    problem.help(
        "give them as many values each, or one value; `combine: product` crosses them, `points` \
         lists cells",
    )
}

impl Iterator for Combinations {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        if self.next >= self.count {
            return None;
        }
        let mut rest = self.next;
        self.next += 1;
        let mut places: Vec<usize> = Vec::with_capacity(self.lengths.len());
        for &length in self.lengths.iter().rev() {
            let length = length.max(1);
            places.push(rest % length);
            if !self.zip {
                rest /= length;
            }
        }
        places.reverse();
        Some(places)
    }
}
