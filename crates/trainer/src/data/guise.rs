//! What the bytes of a token file without a header look like, whatever it is said to be.
//!
//! A file of another width or byte order is read without an error, and trains to a loss that is
//! wrong: of 4-byte ids read as 2-byte ones every second is 0, which any model predicts. Bytes tell:
//! those that would be the higher ones of an id vary less than the lower ones.

use experiment::run::TokenWidth;
use std::collections::HashSet;
use std::fmt;

/// Bytes that are looked at, in blocks spread over the file.
const LOOKED_AT: usize = 1 << 22;
const BLOCKS: usize = 64;

/// So many ids that contradict a reading make it improbable: chance alone would give them once in 2^16.
const ENOUGH: usize = 16;

/// Vocabularies in use are below this; who declares one of 2^15 or more may have the wrong one.
const LARGEST_VOCAB: u64 = 1 << 18;

/// How an integer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    width: TokenWidth,
    big_endian: bool,
}

impl Layout {
    const fn new(width: TokenWidth, big_endian: bool) -> Self {
        Self { width, big_endian }
    }

    fn read(self, bytes: &[u8]) -> u64 {
        let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if self.big_endian {
            bytes.iter().fold(0, join)
        } else {
            bytes.iter().rev().fold(0, join)
        }
    }

    fn ids(self, bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
        let ids = bytes.chunks_exact(self.width.bytes());
        ids.map(move |id| self.read(id))
    }

    /// Says what to do with a file of this layout.
    pub(super) fn advice(self) -> String {
        let name = self.width.name();
        if !self.big_endian {
            return format!("write `width: {name}`");
        }
        let kind = if name.starts_with('i') { "i" } else { "u" };
        let bytes = self.width.bytes();
        format!(
            "turn its bytes round, with NumPy: `np.fromfile(file, '>{kind}{bytes}')\
             .astype('<{kind}{bytes}').tofile(other)`, and write `width: {name}`"
        )
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = if self.big_endian { "big-endian " } else { "" };
        write!(f, "{order}{}-byte tokens", self.width.bytes())
    }
}

/// Takes blocks of whole 8-byte units, spread evenly.
fn sample(bytes: &[u8]) -> Vec<u8> {
    let units = bytes.len() / 8 * 8;
    if units <= LOOKED_AT {
        return bytes[..units].to_vec();
    }
    let size = LOOKED_AT / BLOCKS;
    let step = (units - size) / (BLOCKS - 1) / 8 * 8;
    let blocks = (0..BLOCKS).flat_map(|block| &bytes[block * step..block * step + size]);
    blocks.copied().collect()
}

/// Says what a file looks like where that is not what it is read as, and what to do.
pub(super) fn doubt(bytes: &[u8], width: TokenWidth, vocab: usize) -> Option<(String, String)> {
    let bytes = sample(bytes);
    if width != TokenWidth::U8 && is_text(&bytes) {
        let looks = "looks like text, not like tokens".to_owned();
        return Some((looks, "name it under `data.text`".into()));
    }
    let layout = wider(&bytes, width, vocab)
        .or_else(|| swapped(&bytes, width, vocab))
        .or_else(|| narrower(&bytes, width, vocab))?;
    let looks = format!("looks like {layout}, read as {}-byte ones", width.bytes());
    Some((looks, layout.advice()))
}

/// Finds a layout in which all ids are inside the vocabulary, for a file that has others in its own.
pub(super) fn fitting(bytes: &[u8], width: TokenWidth, vocab: usize) -> Option<Layout> {
    let bytes = sample(bytes);
    if let Some(layout) = narrower(&bytes, width, vocab) {
        return Some(layout);
    }
    let candidates = [false, true].into_iter().flat_map(|big_endian| {
        let widths = [TokenWidth::U16, TokenWidth::U32, TokenWidth::I64];
        widths.map(|width| Layout::new(width, big_endian))
    });
    let others = candidates.filter(|layout| *layout != Layout::new(width, false));
    let mut fit = others.filter(|layout| layout.ids(&bytes).all(|id| id < vocab as u64));
    fit.next()
}

/// Says whether bytes are text: UTF-8 with hardly a control character.
fn is_text(bytes: &[u8]) -> bool {
    let block = &bytes[..bytes.len().min(LOOKED_AT / BLOCKS)];
    let text = match std::str::from_utf8(block) {
        Ok(text) => text,
        // The last character may be cut.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&block[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let odd = |c: &char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    text.len() >= 4 * ENOUGH && text.chars().filter(odd).count() * 100 <= text.len()
}

/// Finds a wider layout, of which every second id, or three of four, would be the empty upper half.
fn wider(bytes: &[u8], width: TokenWidth, vocab: usize) -> Option<Layout> {
    let mut bound = vocab as u64;
    if bound >= 1 << 15 {
        bound = bound.max(LARGEST_VOCAB);
    }
    let bits = 8 * width.bytes() as u32;
    // Above what fits into the declared width; ids of the file itself are at least this.
    let cut = bound.checked_shr(bits).unwrap_or(0).max(1);
    let layouts = [TokenWidth::I64, TokenWidth::U32, TokenWidth::U16]
        .into_iter()
        .filter(|wide| wide.bytes() > width.bytes())
        .flat_map(|wide| [false, true].map(|big_endian| Layout::new(wide, big_endian)));
    let fits = |layout: &Layout| {
        let mut contradict = 0;
        let all = layout.ids(bytes).all(|id| {
            contradict += usize::from(id & ((1 << bits) - 1) >= cut);
            id < bound && id >> bits < cut
        });
        all && contradict >= ENOUGH
    };
    let mut found = layouts.into_iter().filter(fits);
    found.next()
}

/// Finds the other byte order, in which the higher byte varies less than the lower.
fn swapped(bytes: &[u8], width: TokenWidth, vocab: usize) -> Option<Layout> {
    const CLEARLY: f64 = 0.5;
    const IMPROBABLE: f64 = 1e-6;
    let layout = Layout::new(width, true);
    let size = width.bytes();
    if size == 1 || bytes.len() / size < 4 * ENOUGH {
        return None;
    }
    if layout.ids(bytes).any(|id| id >= vocab as u64) {
        return None;
    }
    let [first, last] = [0, size - 1].map(|place| histogram(bytes, place, size));
    if entropy(&last) > entropy(&first) + CLEARLY {
        return Some(layout);
    }
    // Different ids have all kinds of lower bytes; higher ones end where the vocabulary does.
    let largest = |shares: &[f64; 256]| shares.iter().rposition(|share| *share > 0.0).unwrap_or(0);
    let (first, last) = (largest(&first), largest(&last));
    let ids: HashSet<u64> = layout.ids(bytes).collect();
    let chance = ((first + 1) as f64 / 256.0).powi(ids.len().min(1 << 16) as i32);
    (last > first && chance < IMPROBABLE).then_some(layout)
}

/// Finds a narrower layout, of which an id's lower and higher bytes would be alike.
fn narrower(bytes: &[u8], width: TokenWidth, vocab: usize) -> Option<Layout> {
    // Random bytes are alike whatever they are.
    const RANDOM: f64 = 7.5;
    let size = width.bytes();
    let widths = [TokenWidth::U8, TokenWidth::U16, TokenWidth::U32];
    let mut narrow = widths.into_iter().filter(|narrow| narrow.bytes() < size);
    let count = bytes.len() / size;
    if count < 128 * ENOUGH {
        return None;
    }
    // Beyond what two samples of the same bytes differ by.
    let alike = 0.05 + (256.0 / (std::f64::consts::PI * count as f64)).sqrt();
    let phases: Vec<[f64; 256]> = (0..size)
        .map(|place| histogram(bytes, place, size))
        .collect();
    let found = narrow.find(|narrow| {
        let step = narrow.bytes();
        let is_alike = |place: usize| distance(&phases[place], &phases[place - step]) < alike;
        let varies: Vec<f64> = phases[..step].iter().map(entropy).collect();
        let is_random = varies.iter().all(|bits| *bits > RANDOM);
        (step..size).all(is_alike) && !is_random && varies.iter().any(|bits| *bits > 0.0)
    });
    let layout = |width| swapped(bytes, width, vocab).unwrap_or(Layout::new(width, false));
    found.map(layout)
}

/// Shares of each byte at one place of units of `size` bytes.
fn histogram(bytes: &[u8], place: usize, size: usize) -> [f64; 256] {
    let mut shares = [0.0; 256];
    let each = bytes.iter().skip(place).step_by(size);
    each.for_each(|byte| shares[usize::from(*byte)] += 1.0);
    let total: f64 = shares.iter().sum::<f64>().max(1.0);
    shares.map(|count| count / total)
}

/// Entropy in bits.
fn entropy(shares: &[f64; 256]) -> f64 {
    let terms = shares.iter().filter(|share| **share > 0.0);
    -terms.map(|share| share * share.log2()).sum::<f64>()
}

/// Total variation distance: 0 for the same shares, 1 where nothing is shared.
fn distance(a: &[f64; 256], b: &[f64; 256]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const WIDTHS: [TokenWidth; 3] = [TokenWidth::U16, TokenWidth::U32, TokenWidth::I64];

    /// Ids as a tokenizer gives them: by Zipf's law, frequent ones small or anywhere.
    fn ids(vocab: u64, count: usize, scattered: bool, seed: u64) -> Vec<u64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..count)
            .map(|_| {
                let rank = ((vocab as f64).powf(random.random::<f64>()) as u64).min(vocab - 1);
                if scattered {
                    rank * 40_503 % vocab
                } else {
                    rank
                }
            })
            .collect()
    }

    fn written(ids: &[u64], layout: Layout) -> Vec<u8> {
        let size = layout.width.bytes();
        let write = |id: &u64| match layout.big_endian {
            true => id.to_be_bytes()[8 - size..].to_vec(),
            false => id.to_le_bytes()[..size].to_vec(),
        };
        ids.iter().flat_map(write).collect()
    }

    #[test]
    fn every_other_width_and_order_is_recognised() {
        for (vocab, scattered) in [(400, false), (400, true), (32_000, false), (50_257, true)] {
            let ids = ids(vocab, 20_000, scattered, vocab);
            for real in WIDTHS
                .into_iter()
                .flat_map(|w| [false, true].map(|b| Layout::new(w, b)))
            {
                let bytes = written(&ids, real);
                for read in WIDTHS {
                    // A wide id read as it is not is outside of any vocabulary.
                    let inside = |id| id < vocab;
                    let silent = Layout::new(read, false).ids(&bytes).all(inside);
                    let found = doubt(&bytes, read, vocab as usize);
                    if real == Layout::new(read, false) {
                        assert_eq!(found, None, "{vocab} {real}");
                    } else if silent {
                        let (looks, _) =
                            found.unwrap_or_else(|| panic!("{vocab}: {real} as {read:?}"));
                        assert!(looks.starts_with(&format!("looks like {real},")), "{looks}");
                    } else {
                        let fit = found.map(|found| found.0).or_else(|| {
                            Some(format!(
                                "looks like {},",
                                fitting(&bytes, read, vocab as usize)?
                            ))
                        });
                        let fit = fit.unwrap_or_else(|| panic!("{vocab}: {real} as {read:?}"));
                        assert!(
                            fit.starts_with(&format!("looks like {real},")),
                            "{real}: {fit}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_vocabulary_that_is_wrong_too_hides_nothing() {
        // 128,256 ids of Llama 3 in four bytes, read as two with all ids allowed.
        let bytes = written(
            &ids(128_256, 20_000, true, 1),
            Layout::new(TokenWidth::U32, false),
        );
        let (looks, right) = doubt(&bytes, TokenWidth::U16, 1 << 16).unwrap();
        assert!(looks.starts_with("looks like 4-byte tokens"), "{looks}");
        assert_eq!(right, "write `width: u32`");
    }

    #[test]
    fn text_and_single_bytes_are_no_wider_tokens() {
        let text = "Once upon a time there was a file with text in it. ".repeat(200);
        let (looks, _) = doubt(text.as_bytes(), TokenWidth::U16, 50_257).unwrap();
        assert!(looks.contains("text"), "{looks}");
        assert_eq!(doubt(text.as_bytes(), TokenWidth::U8, 256), None);
        let bytes = written(
            &ids(256, 40_000, true, 3),
            Layout::new(TokenWidth::U8, false),
        );
        let (looks, _) = doubt(&bytes, TokenWidth::U16, 1 << 16).unwrap();
        assert!(looks.starts_with("looks like 1-byte tokens"), "{looks}");
    }

    #[test]
    fn a_large_file_is_looked_at_in_blocks() {
        let layout = Layout::new(TokenWidth::U32, false);
        let bytes = written(&ids(400, 3 << 20, false, 4), layout);
        assert!(doubt(&bytes, TokenWidth::U16, 400).is_some());
        assert_eq!(doubt(&bytes, TokenWidth::U32, 400), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_read_as_it_is_raises_no_doubt(
            vocab in 2u64..60_000,
            count in 1usize..4000,
            scattered: bool,
            seed: u64,
        ) {
            let ids = ids(vocab, count, scattered, seed);
            for width in WIDTHS {
                let bytes = written(&ids, Layout::new(width, false));
                prop_assert_eq!(doubt(&bytes, width, vocab as usize), None);
            }
        }
    }
}
