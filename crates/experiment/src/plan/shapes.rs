//! The shapes of a plan by N: what P does to them, and where they stray.

use super::Planned;
use crate::architecture::ModelKind;
use crate::architecture::solver::{Level, LevelStraying, levels};
use serde::Serialize;
use std::collections::BTreeMap;

/// Shapes reach N within 1% on either side.
const SAME_SIZE: f64 = 1.025;

/// The shapes of the models of one N, hierarchical or dense.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shapes {
    /// N of the smallest.
    pub params: u64,
    /// P, from the smallest to the largest; none of dense models.
    pub share: Option<[f64; 2]>,
    /// The token level: encoder and decoder, or all blocks of a dense model.
    pub token: LevelRange,
    /// The concept level.
    pub concept: Option<LevelRange>,
    /// The widths at those P that the usual ones of this N do not serve.
    pub exceptions: Vec<Exception>,
}

/// What the levels of several models have in common, and how far they differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LevelRange {
    /// Width of most of them.
    pub width: usize,
    /// Fewest and most blocks.
    pub layers: [usize; 2],
    /// Smallest and largest width over number of blocks.
    pub aspect: [f64; 2],
    /// Smallest and largest feed-forward width over width.
    pub feed_forward: [f64; 2],
    /// The farthest from the smooth proportions of their N, as logarithms.
    pub farthest: LevelStraying,
}

/// Widths that are not those of their N.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Exception {
    /// P where they are.
    pub share: f64,
    /// Token width.
    pub token: usize,
    /// Concept width.
    pub concept: Option<usize>,
}

/// One model's shape.
#[derive(Clone, Copy)]
struct Seen {
    params: u64,
    share: f64,
    token: (Level, LevelStraying),
    concept: Option<(Level, LevelStraying)>,
}

impl Seen {
    fn widths(&self) -> (usize, Option<usize>) {
        (
            self.token.0.width,
            self.concept.map(|(level, _)| level.width),
        )
    }
}

/// Sums up the shapes of planned runs by kind and N, hierarchical models first. Controls are left
/// out: their shapes are those of the token levels that they are.
pub fn shapes(planned: &[Planned]) -> Vec<Shapes> {
    let mut seen: Vec<Seen> = planned
        .iter()
        .filter(|run| run.spec.architecture.kind() != ModelKind::TokenOnly)
        .map(|run| {
            let params = run.spec.architecture.params();
            let (token, concept) = levels(&run.spec.architecture);
            Seen {
                params: params.non_embedding(),
                share: params.concept_share(),
                token: (token, run.straying.token),
                concept: concept.zip(run.straying.concept),
            }
        })
        .collect();
    seen.sort_by_key(|seen| (seen.concept.is_none(), seen.params));
    let same = |a: &Seen, b: &Seen| {
        a.concept.is_none() == b.concept.is_none() && b.params as f64 <= SAME_SIZE * a.params as f64
    };
    let mut groups: Vec<Vec<Seen>> = Vec::new();
    for one in seen {
        match groups.last_mut() {
            Some(group) if same(&group[0], &one) => group.push(one),
            _ => groups.push(vec![one]),
        }
    }
    groups.iter().filter_map(|group| sum_up(group)).collect()
}

fn sum_up(group: &[Seen]) -> Option<Shapes> {
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for seen in group {
        *counts.entry(seen.widths()).or_default() += 1;
    }
    let (&usual, _) = counts.iter().max_by_key(|(_, count)| **count)?;
    let levels = |of: fn(&Seen) -> Option<(Level, LevelStraying)>| -> Vec<_> {
        group.iter().filter_map(of).collect()
    };
    let mut exceptions: Vec<Exception> = group
        .iter()
        .filter(|seen| seen.widths() != usual)
        .map(|seen| Exception {
            share: seen.share,
            token: seen.widths().0,
            concept: seen.widths().1,
        })
        .collect();
    exceptions.sort_by(|a, b| a.share.total_cmp(&b.share));
    exceptions.dedup();
    Some(Shapes {
        params: group[0].params,
        share: usual.1.map(|_| ends(group.iter().map(|seen| seen.share))),
        token: range(usual.0, &levels(|seen| Some(seen.token))),
        concept: usual
            .1
            .map(|width| range(width, &levels(|seen| seen.concept))),
        exceptions,
    })
}

fn range(width: usize, levels: &[(Level, LevelStraying)]) -> LevelRange {
    let layers = levels.iter().map(|(level, _)| level.layers);
    let farthest = |of: fn(&LevelStraying) -> f64| {
        let all = levels.iter().map(|(_, straying)| of(straying));
        all.max_by(|a, b| a.abs().total_cmp(&b.abs()))
            .unwrap_or_default()
    };
    LevelRange {
        width,
        layers: [
            layers.clone().min().unwrap_or_default(),
            layers.max().unwrap_or_default(),
        ],
        aspect: ends(levels.iter().map(|(level, _)| level.aspect())),
        feed_forward: ends(levels.iter().map(|(level, _)| level.feed_forward())),
        farthest: LevelStraying {
            width: farthest(|straying| straying.width),
            feed_forward: farthest(|straying| straying.feed_forward),
        },
    }
}

/// Finds the smallest and the largest value.
fn ends(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
        [low.min(value), high.max(value)]
    })
}

#[cfg(test)]
mod tests {
    use super::super::example::planned;
    use super::*;

    #[test]
    fn shapes_are_summed_up_by_n_and_exceptions_named() {
        let plan = planned(
            "grid: {params: [50K, 200K], tokens: 1M, concept_share: [0.05, 0.3, 0.6], \
             compression_ratio: [2, 4]}\nbaselines: {params: [50K, 200K]}",
        );
        let all = shapes(&plan);
        assert_eq!(all.len(), 4);
        let first = &all[0];
        let concept = first.concept.expect("hierarchical models first");
        assert_eq!((first.token.width, concept.width), (24, 32));
        assert_eq!(first.exceptions.len(), 1, "{first:?}");
        assert!(first.exceptions[0].concept < Some(32));
        assert!(
            first
                .share
                .is_some_and(|[low, high]| low < 0.06 && high > 0.59)
        );
        assert!(first.token.layers[0] < first.token.layers[1]);
        assert!(first.token.aspect[0] < first.token.aspect[1]);
        let least = (first.token.feed_forward[0] / (8.0 / 3.0)).ln();
        assert!(first.token.farthest.feed_forward.abs() >= least.abs());
        for dense in &all[2..] {
            assert!(dense.concept.is_none() && dense.share.is_none());
            assert!(dense.exceptions.is_empty());
        }
    }
}
