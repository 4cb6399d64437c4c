//! Rows that begin alike, as choices after one context do: what they share is computed once.
//!
//! Tokens of all rows lie behind each other, shared ones once, and so do concepts. Whatever treats
//! positions by themselves runs on them as they lie; what mixes the positions of a row (attention,
//! boundaries, pooling, smoothing) runs on rows laid out in full. What is shared must not depend on what
//! comes later: models with the paper's mask have no prefixes.

use burn::tensor::{Device, Int, Tensor};
use std::collections::HashMap;

/// Rows of tokens, those that begin alike with their beginning kept once.
#[derive(Clone, Debug)]
pub struct Prefixes {
    tokens: Vec<u32>,
    /// Where the token of each place of each row lies among `tokens`.
    rows: Vec<Vec<usize>>,
}

impl Prefixes {
    /// Keeps what a row and the one before it begin with alike once: similar rows stand together.
    pub fn new(rows: &[&[u32]]) -> Self {
        let mut tokens = Vec::new();
        let mut kept: Vec<Vec<usize>> = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let before = at.checked_sub(1).map_or(&[][..], |before| rows[before]);
            let shared = common(before, row);
            let mut places = kept.last().map_or(Vec::new(), |row| row[..shared].to_vec());
            places.extend(tokens.len()..tokens.len() + row.len() - shared);
            tokens.extend(&row[shared..]);
            kept.push(places);
        }
        Self { tokens, rows: kept }
    }

    /// Finds where the logits after a place of a row lie among those of all tokens.
    pub fn at(&self, row: usize, place: usize) -> usize {
        self.rows[row][place]
    }

    /// Counts the tokens that are computed.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Counts the rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Finds the length of the longest row.
    pub fn length(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// # Shapes
    /// [1, tokens].
    pub(crate) fn to_device(&self, device: &Device) -> Tensor<2, Int> {
        let tokens: Vec<usize> = self.tokens.iter().map(|&id| id as usize).collect();
        ints(&tokens, device).unsqueeze()
    }

    pub(crate) fn layout(&self, device: &Device) -> Layout {
        Layout::Packed(Box::new(Packing::new(&self.rows, self.length(), device)))
    }

    /// Lets no concept start in what a row does not have.
    pub(crate) fn end_rows(&self, decided: &mut [bool]) {
        for (row, decided) in self
            .rows
            .iter()
            .zip(decided.chunks_exact_mut(self.length()))
        {
            decided[row.len()..].fill(false);
        }
    }

    /// Lays out the concepts that boundaries make of these rows, `room` of them in each. A concept is
    /// known by the token that makes it one: its first or, where it is the mean of its tokens, its
    /// last; one that has not ended is then read by nobody.
    pub(crate) fn concepts(
        &self,
        decided: &[bool],
        by_first: bool,
        room: usize,
        device: &Device,
    ) -> Layout {
        if room == 0 {
            return Layout::Rows;
        }
        let mut known = HashMap::new();
        let concepts = |(row, decided): (&Vec<usize>, &[bool])| {
            let starts = (0..row.len()).filter(|&place| decided[place]);
            let makers = starts.filter_map(|start| {
                if by_first {
                    Some(start)
                } else {
                    start.checked_sub(1)
                }
            });
            let ids = makers.map(|place| {
                let next = known.len();
                *known.entry(row[place]).or_insert(next)
            });
            ids.collect()
        };
        let decided = decided.chunks_exact(self.length());
        let rows: Vec<Vec<usize>> = self.rows.iter().zip(decided).map(concepts).collect();
        Layout::Packed(Box::new(Packing::new(&rows, room, device)))
    }
}

/// Counts the tokens that two rows begin with alike.
pub fn common(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// Copies places to a device.
pub(crate) fn ints(places: &[usize], device: &Device) -> Tensor<1, Int> {
    let places: Vec<i32> = places.iter().map(|&place| place as i32).collect();
    Tensor::from_data(places.as_slice(), device)
}

/// How the positions of a batch lie.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// As rows, [batch, length, width].
    Rows,
    /// Behind each other, [1, positions, width].
    Packed(Box<Packing>),
}

/// Where packed positions belong.
#[derive(Clone, Debug)]
pub(crate) struct Packing {
    /// The packed position of each place of the rows; the first for a place that a row does not have.
    spread: Tensor<1, Int>,
    /// One place of the rows for each packed position.
    places: Tensor<1, Int>,
    rows: usize,
    length: usize,
}

impl Packing {
    fn new(rows: &[Vec<usize>], length: usize, device: &Device) -> Self {
        let positions = rows.iter().flatten().max().map_or(0, |last| last + 1);
        let mut spread = vec![0; rows.len() * length];
        let mut places = vec![0; positions];
        for (row, (ids, spread)) in rows.iter().zip(spread.chunks_exact_mut(length)).enumerate() {
            for (place, &id) in ids.iter().enumerate() {
                spread[place] = id;
                places[id] = row * length + place;
            }
        }
        Self {
            spread: ints(&spread, device),
            places: ints(&places, device),
            rows: rows.len(),
            length,
        }
    }
}

impl Layout {
    /// Says how many rows of what length positions belong to.
    pub(crate) fn rows(&self, x: &Tensor<3>) -> [usize; 2] {
        match self {
            Self::Rows => [x.dims()[0], x.dims()[1]],
            Self::Packed(packing) => [packing.rows, packing.length],
        }
    }

    /// Lays positions out as rows, [batch, length, width].
    pub(crate) fn spread(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Rows => x,
            Self::Packed(packing) => {
                let width = x.dims()[2];
                x.select(1, packing.spread.clone())
                    .reshape([packing.rows, packing.length, width])
            }
        }
    }

    /// Takes rows back to how the positions lie: undoes [`Self::spread`].
    pub(crate) fn collect(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Rows => x,
            Self::Packed(packing) => {
                let [rows, length, width] = x.dims();
                x.reshape([1, rows * length, width])
                    .select(1, packing.places.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Network, Placement};
    use experiment::architecture::solver::ShapeSettings;
    use experiment::architecture::{Architecture, BoundaryRule, Dlcm, Pooling};
    use experiment::recipe::BoundaryGradient;

    #[test]
    fn what_rows_begin_with_alike_is_kept_once() {
        let rows: [&[u32]; 4] = [&[5, 6, 7], &[5, 6, 8, 9], &[5, 6, 8], &[4, 6]];
        let prefixes = Prefixes::new(&rows);
        assert_eq!(prefixes.tokens, [5, 6, 7, 8, 9, 4, 6]);
        assert_eq!((prefixes.rows(), prefixes.length()), (4, 4));
        for (row, ids) in rows.iter().enumerate() {
            for (place, &id) in ids.iter().enumerate() {
                assert_eq!(prefixes.tokens[prefixes.at(row, place)], id);
            }
        }
    }

    #[test]
    fn rows_that_share_beginnings_answer_as_each_alone() {
        let settings = ShapeSettings::default();
        let solved = settings.solve_dlcm(100_000, 0.5, 3.0, 32);
        let Architecture::Dlcm(learned) = solved.expect("solvable") else {
            unreachable!("a DLCM was asked for")
        };
        let of_first_tokens = Dlcm {
            boundaries: BoundaryRule::Fixed,
            pooling: Pooling::Boundary,
            ..learned.clone()
        };
        let dense = settings.solve_dense(100_000, 32).expect("solvable");
        let architectures = [
            Architecture::TokenOnly(learned.token_level()),
            Architecture::Dlcm(learned),
            Architecture::Dlcm(of_first_tokens),
            dense,
        ];
        let random = |salt: u32| (0..40).map(move |i: u32| (i * i * 7 + salt * i + 3) % 32);
        let context: Vec<u32> = random(1).take(25).collect();
        let ends = [(30, 2), (31, 9), (4, 1), (25, 12), (0, 3)].map(|(salt, count)| {
            let end: Vec<u32> = random(salt).skip(5).take(count).collect();
            [&context[..25 - salt as usize % 4], &end].concat()
        });
        let rows: Vec<&[u32]> = ends.iter().map(Vec::as_slice).collect();
        let device = crate::device::for_tests();
        for architecture in architectures {
            let network = Network::new(&architecture, 3, &device);
            let placement = Placement::of(&architecture, 0.2, 0);
            let prefixes = Prefixes::new(&rows);
            assert!(prefixes.tokens() < 80);
            let decision = placement.decision(0..5, prefixes.length());
            let all: Vec<usize> = (0..prefixes.tokens()).collect();
            let shared = network.forward_sharing(&prefixes, &decision, &all, &device);
            let shared: Vec<f32> = shared.into_data().iter::<f32>().collect();
            for (at, row) in rows.iter().enumerate() {
                let ids: Vec<i32> = row.iter().map(|&id| id as i32).collect();
                let tokens = Tensor::<1, Int>::from_data(ids.as_slice(), &device).unsqueeze();
                let decision = placement.decision(0..1, row.len());
                let gradient = BoundaryGradient::Detached;
                let (alone, boundaries) = network.forward(tokens, &decision, gradient);
                if let Some(boundaries) = boundaries {
                    assert!(
                        (2..row.len()).contains(&boundaries.concepts()),
                        "{boundaries:?}"
                    );
                }
                let alone: Vec<f32> = alone.into_data().iter::<f32>().collect();
                for (place, alone) in alone.chunks_exact(32).enumerate() {
                    let shared = &shared[prefixes.at(at, place) * 32..][..32];
                    for (a, b) in alone.iter().zip(shared) {
                        assert!(
                            (a - b).abs() < 1e-4,
                            "{:?}: row {at}, place {place}: {a} {b}",
                            architecture.kind()
                        );
                    }
                }
            }
        }
    }
}
