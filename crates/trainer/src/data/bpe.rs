//! A byte-level BPE, trained on text.

use super::DataError;
use super::tokenizer::{PIECE, pieces};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, OffsetReferential, OffsetType, PostProcessorWrapper,
    PreTokenizedString, PreTokenizer, PreTokenizerWrapper, TokenizerBuilder, Trainer,
};

/// Changes whenever training could give other merges, so that old caches are not taken for new.
pub(super) const TRAINER: &str = "byte-level bpe 2, tokenizers 0.22";

/// Bytes of the longest word that merges are learned from: the time for a merge grows with the square
/// of a word's length, and text without spaces is one word. Longer ones are cut.
const LONGEST_WORD: usize = 512;

/// Trains a byte-level BPE and returns its `tokenizer.json`.
///
/// The trainer orders merges by count and then by ids, both free of hash order and of threads:
/// the same texts give the same file (tested).
pub(super) fn train(vocab: usize, texts: &[&str]) -> Result<String, DataError> {
    let failed = |error: tokenizers::Error| DataError::Tokenizer {
        action: "to train",
        reason: error.to_string(),
    };
    let level = ByteLevel::default()
        .add_prefix_space(false)
        .trim_offsets(false);
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    tracing::info!(target: "progress", "training a BPE of {vocab} entries on {bytes} bytes of text");
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab)
        // A merge seen once stands for nothing that comes again.
        .min_frequency(2)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .show_progress(false)
        .build();
    let words = |text: &str| {
        let mut cut = PreTokenizedString::from(text);
        level.pre_tokenize(&mut cut)?;
        let words = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        Ok(words
            .into_iter()
            .flat_map(|(word, ..)| bounded(word))
            .collect())
    };
    let pieces = texts.iter().flat_map(|text| pieces(text, PIECE));
    trainer.feed(pieces, words).map_err(failed)?;
    let mut model = BPE::default();
    trainer.train(&mut model).map_err(failed)?;
    let tokenizer = TokenizerBuilder::<
        BPE,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >::new()
    .with_model(model)
    .with_pre_tokenizer(Some(level.into()))
    .with_decoder(Some(level.into()))
    .build()
    .map_err(failed)?;
    tokenizer.to_string(false).map_err(failed)
}

/// Cuts a word, a character of which is a byte, into words that are not too long.
fn bounded(word: &str) -> Vec<String> {
    // A character takes two bytes at most.
    if word.len() <= LONGEST_WORD {
        return vec![word.to_owned()];
    }
    let characters: Vec<char> = word.chars().collect();
    let parts = characters.chunks(LONGEST_WORD);
    parts.map(|part| part.iter().collect()).collect()
}
