//! Chains that documents share: the dialects of a language.
//!
//! All words are put on one random cycle, and into groups of `choices`. A dialect is a shuffle
//! of the words within each group: a word's successor is what comes on the cycle after the word
//! that takes its place. So `choices` different words may follow a word (as many as its group has),
//! each in as many dialects by expectation; a dialect's successors are a permutation, without words
//! into which all chains run; and what one word tells of the dialect is at most ln `choices`, so
//! that many words of a document must be put together to know which of the dialects it is in.

use super::Chain;
use experiment::run::SyntheticSpec;
use rand::Rng;
use rand::seq::SliceRandom;

/// The dialects of a language, and how often each is drawn.
#[derive(Clone, Debug)]
pub(super) struct Dialects {
    chains: Vec<Chain>,
    /// Probability of a dialect or one before it.
    cumulative: Vec<f64>,
}

impl Dialects {
    /// Draws all dialects.
    pub(super) fn new(spec: &SyntheticSpec, rng: &mut impl Rng) -> Self {
        let words: Vec<usize> = (0..spec.words).collect();
        let mut cycle = words.clone();
        cycle.shuffle(rng);
        let mut after = vec![0; words.len()];
        for (place, &word) in cycle.iter().enumerate() {
            after[word] = cycle[(place + 1) % cycle.len()];
        }
        let mut groups = words.clone();
        groups.shuffle(rng);
        let chains = (0..spec.dialects)
            .map(|_| {
                let mut shuffled = groups.clone();
                let mut successors = vec![0; words.len()];
                for (group, taken) in groups
                    .chunks(spec.choices)
                    .zip(shuffled.chunks_mut(spec.choices))
                {
                    taken.shuffle(rng);
                    for (&word, &taken) in group.iter().zip(taken.iter()) {
                        successors[word] = after[taken];
                    }
                }
                Chain {
                    words: words.clone(),
                    successors,
                }
            })
            .collect();
        let mut sum = 0.0;
        let cumulative: Vec<f64> = (1..=spec.dialects)
            .map(|rank| {
                sum += (rank as f64).powf(-spec.skew);
                sum
            })
            .collect();
        Self {
            chains,
            cumulative: cumulative.into_iter().map(|part| part / sum).collect(),
        }
    }

    /// Lists the probability of each dialect, and each word's successor in it.
    pub(super) fn weighted(&self) -> impl Iterator<Item = (f64, &[usize])> {
        let before = std::iter::once(0.0).chain(self.cumulative.iter().copied());
        let weights = self
            .cumulative
            .iter()
            .zip(before)
            .map(|(to, from)| to - from);
        weights.zip(self.chains.iter().map(|chain| chain.successors.as_slice()))
    }

    /// Draws a document's dialect.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> &Chain {
        let point: f64 = rng.random();
        // Rounding may leave the last sum below a point.
        let last = self.chains.len() - 1;
        &self.chains[self
            .cumulative
            .partition_point(|&sum| sum <= point)
            .min(last)]
    }
}
