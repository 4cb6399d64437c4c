//! What a `tokenizer.json` says of itself, and what it leaves to be found.

use std::collections::HashMap;
use tokenizers::decoders::bpe::BPEDecoder;
use tokenizers::decoders::wordpiece;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{DecoderWrapper, ModelWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

/// Finds the token that a model gives for text without one.
pub(super) fn unknown(json: &[u8], tokenizer: &tokenizers::Tokenizer) -> Option<u32> {
    #[derive(serde::Deserialize)]
    struct File {
        model: Model,
    }
    #[derive(serde::Deserialize)]
    struct Model {
        #[serde(default)]
        unk_token: Option<String>,
        #[serde(default)]
        unk_id: Option<u32>,
    }
    let File { model } = serde_json::from_slice(json).ok()?;
    let by_name = model
        .unk_token
        .and_then(|name| tokenizer.token_to_id(&name));
    by_name.or(model.unk_id)
}

/// The parts of which a tokenizer cuts text, one after the other.
fn cutters(tokenizer: &tokenizers::Tokenizer) -> &[PreTokenizerWrapper] {
    match tokenizer.get_pre_tokenizer() {
        Some(PreTokenizerWrapper::Sequence(sequence)) => sequence.as_ref(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    }
}

/// Says whether a vocabulary writes every byte as a character of its own and none is left out, added
/// or changed before.
pub(super) fn is_byte_level(tokenizer: &tokenizers::Tokenizer) -> bool {
    let keeps_all = |cutter: &PreTokenizerWrapper| match cutter {
        PreTokenizerWrapper::ByteLevel(level) => !level.add_prefix_space,
        PreTokenizerWrapper::Split(split) => split.behavior != SplitDelimiterBehavior::Removed,
        PreTokenizerWrapper::Digits(_) => true,
        _ => false,
    };
    let cutters = cutters(tokenizer);
    let is_level =
        |cutter: &PreTokenizerWrapper| matches!(cutter, PreTokenizerWrapper::ByteLevel(_));
    let mut alphabet = ByteLevel::alphabet().into_iter();
    matches!(tokenizer.get_model(), ModelWrapper::BPE(_))
        && tokenizer.get_normalizer().is_none()
        && cutters.iter().any(is_level)
        && cutters.iter().all(keeps_all)
        && alphabet.all(|byte| {
            tokenizer
                .token_to_id(byte.encode_utf8(&mut [0; 4]))
                .is_some()
        })
}

/// The decoder that undoes what a tokenizer does to text, for one whose file names none.
pub(super) fn own_decoder(tokenizer: &tokenizers::Tokenizer) -> Option<DecoderWrapper> {
    for cutter in cutters(tokenizer) {
        match cutter {
            PreTokenizerWrapper::ByteLevel(level) => return Some((*level).into()),
            PreTokenizerWrapper::Metaspace(space) => return Some(space.clone().into()),
            _ => {}
        }
    }
    match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => {
            let prefix = model.continuing_subword_prefix.clone();
            Some(wordpiece::WordPiece::new(prefix, true).into())
        }
        ModelWrapper::BPE(model) => {
            let suffix = model.end_of_word_suffix.clone();
            suffix.map(|suffix| BPEDecoder::new(suffix).into())
        }
        _ => None,
    }
}

/// Finds the smallest id of several entries, with two of them.
pub(super) fn shared_id(entries: &HashMap<String, u32>) -> Option<(u32, [&str; 2])> {
    let mut sorted: Vec<(u32, &str)> = entries
        .iter()
        .map(|(entry, id)| (*id, entry.as_str()))
        .collect();
    sorted.sort_unstable();
    let pair = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0)?;
    Some((pair[0].0, [pair[0].1, pair[1].1]))
}

/// Added tokens are words or marks: reading a longer one can take minutes.
const MOST_ADDED: usize = 1024;

/// Returns the length of the longest added token, where it is too long.
pub(super) fn longest_added(json: &[u8]) -> Option<usize> {
    let json: serde_json::Value = serde_json::from_slice(json).ok()?;
    let added = json.get("added_tokens")?.as_array()?.iter();
    let lengths = added.filter_map(|token| Some(token.get("content")?.as_str()?.len()));
    lengths.max().filter(|length| *length > MOST_ADDED)
}
