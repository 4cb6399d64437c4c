//! Tokenizers that lose the text, and those that only change its looks.

use super::{Folder, accepted, case, whole};
use experiment::run::{DataSpec, TokenizerSpec};
use std::path::PathBuf;

fn with_tokenizer(folder: &Folder, corpus: &str, tokenizer: &str) -> DataSpec {
    let path = PathBuf::from(folder.file("tokenizer.json", tokenizer));
    let corpus = folder.file("corpus.txt", corpus);
    DataSpec::text(vec![corpus], TokenizerSpec::File { path }, 0.2)
}

#[test]
fn a_tokenizer_that_drops_the_text_is_refused() {
    let (Some(tokenizer), Some(corpus)) = (case("c11-bpe-no-unk.json"), case("c11-greek.txt"))
    else {
        return;
    };
    let folder = Folder::new();
    let corpus = corpus.to_str().expect("UTF-8").to_owned();
    let spec = DataSpec::text(vec![corpus], TokenizerSpec::File { path: tokenizer }, 0.1);
    let said = folder.refused(&spec);
    assert!(said.contains("c11-bpe-no-unk.json` loses 9"), "{said}");
    assert!(said.contains("doubtful: accept"), "{said}");
    let insisted = folder.prepare(&accepted(spec)).expect("insisted");
    assert_eq!(insisted.facts.bytes_per_token, None);
    assert!(
        insisted.summary.warnings[0].contains("do not come back"),
        "{:?}",
        insisted.summary
    );
}

/// A `tokenizer.json` with a normalizer, a pre-tokenizer, a decoder and a model.
fn tokenizer_json(normalizer: &str, cutter: &str, decoder: &str, model: &str) -> String {
    format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":{normalizer},
        "pre_tokenizer":{cutter},"post_processor":null,"decoder":{decoder},"model":{model}}}"#
    )
}

fn pieces(words: &[&str]) -> String {
    let entries = words
        .iter()
        .enumerate()
        .map(|(id, word)| format!("\"{word}\":{id}"));
    entries.collect::<Vec<_>>().join(",")
}

#[test]
fn lower_case_is_no_loss_and_unknown_words_are() {
    let folder = Folder::new();
    let words = pieces(&["[UNK]", "the", "ship", "sail", "##s", "home", ".", "eleve"]);
    let model = format!(
        r###"{{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",
        "max_input_chars_per_word":100,"vocab":{{{words}}}}}"###
    );
    let normalizer = r#"{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,
        "strip_accents":null,"lowercase":true}"#;
    let cutter = r#"{"type":"BertPreTokenizer"}"#;
    let file = tokenizer_json(normalizer, cutter, "null", &model);
    let known = "The ship sails HOME.  Élève!"
        .replace('!', ".\n")
        .repeat(40);
    let read = folder
        .prepare(&with_tokenizer(&folder, &known, &file))
        .expect("kept");
    assert!(read.facts.bytes_per_token.is_some_and(|bytes| bytes > 2.0));
    assert!(read.summary.warnings.is_empty(), "{:?}", read.summary);

    let foreign = "the ship sails; der Kahn schwimmt davon, und niemand weiss wohin\n".repeat(40);
    let spec = with_tokenizer(&folder, &foreign, &file);
    let said = folder.refused(&spec);
    assert!(said.contains("tokenizer.json` loses 7"), "{said}");
    let insisted = folder.prepare(&accepted(spec)).expect("insisted");
    assert_eq!(insisted.facts.bytes_per_token, None);

    // A word in two hundred is said, and costs the bits per byte.
    let rare = format!("{}wohin. ", "the ship sails home. ".repeat(50)).repeat(8);
    let read = folder
        .prepare(&with_tokenizer(&folder, &rare, &file))
        .expect("little");
    assert_eq!(read.facts.bytes_per_token, None);
    assert!(
        read.summary.warnings[0].contains("loses 0."),
        "{:?}",
        read.summary
    );
}

#[test]
fn normalisers_and_models_without_an_unknown_token_are_seen_through() {
    let folder = Folder::new();
    let letters: Vec<String> = ('a'..='z')
        .chain(" .?▁".chars())
        .map(String::from)
        .collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    let bpe = format!(
        r#"{{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
        "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"vocab":{{{}}},"merges":[]}}"#,
        pieces(&letters)
    );
    let greek = "το πλοίο ταξιδεύει μακριά ".repeat(40);
    // What is no letter becomes a question mark, which comes back as one.
    let mask = r#"{"type":"Replace","pattern":{"Regex":"[^a-z .]"},"content":"?"}"#;
    let masked = tokenizer_json(mask, "null", r#"{"type":"Fuse"}"#, &bpe);
    let said = folder.refused(&with_tokenizer(&folder, &greek, &masked));
    assert!(said.contains("loses 100.0% of the text"), "{said}");
    // Metaspace without a decoder of its own still gives the text back.
    let space = r#"{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}"#;
    let file = tokenizer_json("null", space, "null", &bpe);
    let english = "the ship sails far beyond and home. ".repeat(40);
    let read = folder
        .prepare(&with_tokenizer(&folder, &english, &file))
        .expect("kept");
    assert_eq!(read.summary.warnings, [""; 0]);
    assert!(whole(&read).contains("the ship sails far"));
    // Unigram, whose unknown piece is known by its number.
    let unigram = r#"{"type":"Unigram","unk_id":0,"byte_fallback":false,"vocab":[["<unk>",0.0],["the",-1.0],
        ["▁",-2.0],["ship",-2.0]]}"#;
    let file = tokenizer_json("null", space, "null", unigram);
    let said = folder.refused(&with_tokenizer(&folder, &english, &file));
    assert!(
        said.contains("loses 7") || said.contains("loses 6"),
        "{said}"
    );
}

#[test]
fn an_id_that_no_model_has_a_row_for_is_named() {
    let folder = Folder::new();
    let model = r#"{"type":"WordLevel","unk_token":"?","vocab":{"?":0,"ab":1,"far":2147483648}}"#;
    let file = tokenizer_json("null", r#"{"type":"WhitespaceSplit"}"#, "null", model);
    let said = folder.refused(&with_tokenizer(&folder, "ab ab ab", &file));
    assert!(
        said.contains("its entry `far` has the id 2147483648"),
        "{said}"
    );
}
