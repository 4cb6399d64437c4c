//! A chain of its own for every document: some of the words, on a random cycle.

use super::Chain;
use experiment::run::SyntheticSpec;
use rand::Rng;
use rand::seq::index;

/// Draws a document's words and their cycle.
pub(super) fn draw(spec: &SyntheticSpec, rng: &mut impl Rng) -> Chain {
    // A sample comes in random order, which is the cycle.
    let words = index::sample(rng, spec.words, spec.document_words).into_vec();
    let successors = (0..words.len())
        .map(|place| (place + 1) % words.len())
        .collect();
    Chain { words, successors }
}
