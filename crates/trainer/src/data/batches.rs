//! Which tokens make which sequence: the order of training and the windows of validation.
//!
//! A sequence is a window of `seq_len + 1` tokens: inputs are all but the last, targets all but the
//! first. Neighbouring windows share one token, a target of the one and an input of the other, so
//! every token is predicted once an epoch. Sequence i is computed from the seed and i alone, so a
//! run that resumes needs to know nothing but its step.

use super::{DataError, Dataset, Split, TokenStream};

/// The sequences of a dataset, by number.
#[derive(Clone, Debug)]
pub struct Batches {
    train: TokenStream,
    train_windows: Windows,
    validation: TokenStream,
    validation_windows: Windows,
    seq_len: usize,
    seed: u64,
}

impl Batches {
    /// Lays windows of `seq_len + 1` tokens over a dataset.
    ///
    /// # Errors
    /// If a split is shorter than one window.
    pub fn new(dataset: &Dataset, seq_len: usize, seed: u64) -> Result<Self, DataError> {
        dataset.check_length(seq_len)?;
        let windows = |stream: &TokenStream, split| match dataset.document() {
            // Inside a document of m sequences: m windows, aligned with it.
            Some(document) if document.is_multiple_of(seq_len as u64) => {
                Windows::aligned(stream.len(), seq_len as u64, document)
            }
            _ => Windows::contiguous(stream.len(), seq_len as u64, split),
        };
        Ok(Self {
            train: dataset.train.clone(),
            train_windows: windows(&dataset.train, Split::Train),
            validation: dataset.validation.clone(),
            validation_windows: windows(&dataset.validation, Split::Validation),
            seq_len,
            seed,
        })
    }

    /// Copies training sequence `index` into `out`, `seq_len + 1` tokens.
    ///
    /// Epoch e holds sequences `e * windows ..`; it visits each window once, in an order and with
    /// an offset of its own.
    ///
    /// # Panics
    /// If `out` does not hold `seq_len + 1` tokens.
    pub fn sequence(&self, index: u64, out: &mut [u32]) {
        assert_eq!(
            out.len(),
            self.seq_len + 1,
            "a sequence is its inputs and one more token"
        );
        let windows = &self.train_windows;
        let epoch = index / windows.count;
        let key = mix(self.seed ^ mix(epoch));
        let window = Permutation {
            count: windows.count,
            key,
        }
        .apply(index % windows.count);
        let offset = mix(key ^ 1) % (windows.slack + 1);
        self.train.copy_range(windows.start(window) + offset, out);
    }

    /// Returns the number of non-overlapping windows that validation can use.
    pub fn validation_sequences(&self) -> u64 {
        self.validation_windows.count
    }

    /// Gives `sequences` windows of the held-out tokens, or all if there are fewer: always the
    /// same ones, spread evenly over the split, so that a few stand for every file in it.
    pub fn validation(&self, sequences: u64) -> impl ExactSizeIterator<Item = Vec<u32>> + '_ {
        let all = self.validation_windows.count;
        let taken = sequences.min(all).min(u64::from(u32::MAX)) as u32;
        (0..taken).map(move |turn| {
            let window = (u128::from(turn) * u128::from(all) / u128::from(taken)) as u64;
            let mut tokens = vec![0; self.seq_len + 1];
            self.validation
                .copy_range(self.validation_windows.start(window), &mut tokens);
            tokens
        })
    }
}

/// Where the windows of a stream begin.
#[derive(Clone, Debug)]
struct Windows {
    /// Number of windows.
    count: u64,
    /// Predicted tokens in a window.
    seq_len: u64,
    /// Windows without a gap between them.
    per_document: u64,
    /// Tokens by which all may be moved together.
    slack: u64,
}

impl Windows {
    /// Windows that fill documents of so many predicted tokens, each stored with one in front.
    fn aligned(stored: u64, seq_len: u64, document: u64) -> Self {
        let per_document = document / seq_len;
        Self {
            count: stored / (document + 1) * per_document,
            seq_len,
            per_document,
            slack: 0,
        }
    }

    /// Windows over one long stream.
    ///
    /// Training gives one of them up, if it has two, so that an epoch can begin anywhere in the
    /// first `seq_len` tokens and meets the same text cut at other places.
    fn contiguous(stored: u64, seq_len: u64, split: Split) -> Self {
        let fit = (stored - 1) / seq_len;
        let count = match split {
            Split::Train => fit.saturating_sub(1).max(1),
            Split::Validation => fit,
        };
        Self {
            count,
            seq_len,
            per_document: u64::MAX,
            slack: stored - 1 - count * seq_len,
        }
    }

    fn start(&self, window: u64) -> u64 {
        // Each document before adds the token in front of it.
        window * self.seq_len + window / self.per_document
    }
}

/// A pseudo-random permutation of `0..count` in constant space: a Feistel network over the next
/// power of four, walked until it falls inside.
///
/// # Source
/// Black and Rogaway, *Ciphers with arbitrary finite domains* (CT-RSA 2002), cycle walking. Here
/// for order, not secrecy.
struct Permutation {
    count: u64,
    key: u64,
}

impl Permutation {
    const ROUNDS: u64 = 6;

    fn apply(&self, index: u64) -> u64 {
        let bits = u64::BITS - (self.count - 1).leading_zeros();
        let half = bits.div_ceil(2).max(1);
        let mask = (1 << half) - 1;
        let mut value = index;
        loop {
            let (mut left, mut right) = (value >> half, value & mask);
            for round in 0..Self::ROUNDS {
                let scrambled = mix(self.key ^ mix(right << 3 | round)) & mask;
                (left, right) = (right, left ^ scrambled);
            }
            value = left << half | right;
            // The network's square is less than four times the count, so few steps are needed.
            if value < self.count {
                return value;
            }
        }
    }
}

/// Scrambles 64 bits.
///
/// # Source
/// SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::prepare;
    use super::*;
    use experiment::run::{DataSpec, LanguageKind, Paths, SyntheticSpec, TokenWidth};
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// A dataset whose training tokens are 0, 1, 2, …
    fn counting(train: u32, validation: u32) -> Dataset {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.bin");
        let ids: Vec<u8> = (0..train + validation).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, ids).unwrap();
        let spec = DataSpec::Tokens {
            train: Paths::One(path.to_str().unwrap().to_owned()),
            validation: None,
            width: Some(TokenWidth::U32),
            vocab: 1 << 20,
            validation_share: f64::from(validation) / f64::from(train + validation),
            accept_doubtful: false,
        };
        // The mapping outlives the file.
        prepare(&spec, folder.path()).unwrap()
    }

    fn starts(batches: &Batches, epoch: u64) -> Vec<u32> {
        let mut window = vec![0; batches.seq_len + 1];
        let count = batches.train_windows.count;
        let mut start = |index| {
            batches.sequence(index, &mut window);
            assert!(window.windows(2).all(|pair| pair[1] == pair[0] + 1));
            window[0]
        };
        (epoch * count..(epoch + 1) * count)
            .map(&mut start)
            .collect()
    }

    #[test]
    fn an_epoch_visits_each_window_once_in_its_own_order_and_offset() {
        let batches = Batches::new(&counting(1000, 100), 16, 5).unwrap();
        assert_eq!(batches.train_windows.count, 61);
        let mut orders = HashSet::new();
        let mut offsets = HashSet::new();
        for epoch in 0..20 {
            let order = starts(&batches, epoch);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.windows(2).all(|pair| pair[1] == pair[0] + 16));
            assert!(*sorted.last().unwrap() + 16 < 1000);
            offsets.insert(sorted[0]);
            orders.insert(
                order
                    .iter()
                    .map(|start| start - sorted[0])
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(orders.len(), 20);
        assert!(offsets.len() > 5);
    }

    #[test]
    fn the_order_hangs_on_the_seed_and_on_nothing_else() {
        let data = counting(1000, 100);
        let order = |seed| starts(&Batches::new(&data, 16, seed).unwrap(), 3);
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn neighbours_in_order_are_not_neighbours_in_the_text() {
        let order = starts(&Batches::new(&counting(20_000, 100), 8, 0).unwrap(), 0);
        let close = order
            .windows(2)
            .filter(|pair| pair[0].abs_diff(pair[1]) <= 16)
            .count();
        assert!(close < 20, "{close} of {}", order.len());
    }

    #[test]
    fn the_shortest_corpus_gives_one_sequence() {
        let batches = Batches::new(&counting(17, 17), 16, 0).unwrap();
        assert_eq!(
            (batches.train_windows.count, batches.validation_sequences()),
            (1, 1)
        );
        assert_eq!(starts(&batches, 9), [0]);
    }

    #[test]
    fn a_split_below_one_sequence_is_named() {
        let error = Batches::new(&counting(100, 16), 16, 0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the held-out data hold 16 tokens, and one sequence of 16 needs 17; shorten `seq_len` \
             or give more data"
        );
        let error = Batches::new(&counting(16, 100), 16, 0).unwrap_err();
        assert!(matches!(
            error,
            DataError::TooShort {
                split: "training",
                ..
            }
        ));
    }

    #[test]
    fn validation_windows_do_not_overlap_and_reach_over_the_split() {
        let batches = Batches::new(&counting(100, 165), 16, 0).unwrap();
        let firsts = |k| {
            batches
                .validation(k)
                .map(|window| window[0] - 100)
                .collect::<Vec<_>>()
        };
        assert_eq!(batches.validation_sequences(), 10);
        assert_eq!(firsts(2), [0, 80]);
        assert_eq!(firsts(99), (0..10).map(|i| 16 * i).collect::<Vec<_>>());
        assert!(firsts(0).is_empty());
        assert!(batches.validation(99).all(|window| window.len() == 17));
    }

    fn synthetic(document_tokens: usize) -> Dataset {
        let spec = SyntheticSpec {
            document_tokens,
            train_tokens: 64 * 50,
            validation_tokens: 64 * 10,
            seed: 7,
            ..SyntheticSpec::of(LanguageKind::Cycles)
        };
        prepare(&DataSpec::Synthetic(spec), std::path::Path::new("unused")).unwrap()
    }

    #[test]
    fn sequences_lie_in_documents_where_they_fit() {
        let data = synthetic(64);
        let batches = Batches::new(&data, 32, 0).unwrap();
        assert_eq!(
            (batches.train_windows.count, batches.validation_sequences()),
            (100, 20)
        );
        // The second document is stored after 65 tokens; its halves share the token between them.
        let windows: Vec<_> = batches.validation(20).collect();
        let mut document = vec![0; 65];
        data.validation.copy_range(65, &mut document);
        assert_eq!(windows[2], document[..33]);
        assert_eq!(windows[3], document[32..]);
        let mut seen = HashSet::new();
        let mut window = vec![0; 33];
        for index in 0..100 {
            batches.sequence(index, &mut window);
            seen.insert(window.clone());
        }
        assert_eq!(seen.len(), 100);
    }

    #[test]
    fn sequences_of_another_length_run_over_documents() {
        let batches = Batches::new(&synthetic(64), 100, 0).unwrap();
        assert_eq!(batches.validation_sequences(), (65 * 10 - 1) / 100);
    }

    proptest! {
        #[test]
        fn a_permutation_meets_every_number_once(count in 1u64..3000, key: u64) {
            let permutation = Permutation { count, key };
            let images: HashSet<u64> = (0..count).map(|i| permutation.apply(i)).collect();
            prop_assert_eq!(images.len() as u64, count);
            prop_assert!(images.into_iter().all(|image| image < count));
        }

        #[test]
        fn a_permutation_stays_inside_large_domains(count in 1u64 << 40..u64::MAX / 2, key: u64) {
            let permutation = Permutation { count, key };
            prop_assert!(permutation.apply(count - 1) < count);
            prop_assert_ne!(permutation.apply(0), permutation.apply(1));
        }
    }
}
