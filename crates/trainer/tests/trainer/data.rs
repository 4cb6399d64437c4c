//! Data as others prepare them: what is read, what is refused, and what is said.

use experiment::run::{DataSpec, Paths, TextForm, TokenWidth, TokenizerSpec};
use flate2::Compression;
use flate2::write::GzEncoder;
use polars::prelude::{Column, DataFrame, ParquetWriter};
use std::io::Write;
use std::path::{Path, PathBuf};
use trainer::data::{self, DataError, Dataset, TokenStream};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> String {
        self.0.path().to_str().expect("UTF-8").to_owned()
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn prepare(&self, spec: &DataSpec) -> Result<Dataset, DataError> {
        data::prepare(spec, &self.0.path().join("cache"))
    }

    fn refused(&self, spec: &DataSpec) -> String {
        self.prepare(spec).expect_err("refused").to_string()
    }
}

/// A file handed over with the project, or loudly nothing.
fn case(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/cases")
        .join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: {} is not there, so nothing was read of it",
        path.display()
    );
    None
}

fn tokens(train: &str, width: Option<TokenWidth>, vocab: usize) -> DataSpec {
    DataSpec::Tokens {
        train: Paths::One(train.to_owned()),
        validation: None,
        width,
        vocab,
        validation_share: 0.1,
        accept_doubtful: false,
    }
}

fn text(path: &str) -> DataSpec {
    DataSpec::text(vec![path.to_owned()], TokenizerSpec::Bytes, 0.1)
}

fn accepted(mut spec: DataSpec) -> DataSpec {
    match &mut spec {
        DataSpec::Text {
            accept_doubtful, ..
        }
        | DataSpec::Tokens {
            accept_doubtful, ..
        } => *accept_doubtful = true,
        DataSpec::Synthetic(_) => {}
    }
    spec
}

fn ids(stream: &TokenStream) -> Vec<u32> {
    let mut ids = vec![0; stream.len() as usize];
    stream.copy_range(0, &mut ids);
    ids
}

/// All the text of a dataset, the held-out part after the other.
fn whole(data: &Dataset) -> String {
    let all = [ids(&data.train), ids(&data.validation)].concat();
    data.vocabulary.decode(&all).expect("text")
}

/// Ids as a tokenizer gives them: frequent and rare ones, all over the vocabulary.
fn like_text(vocab: u32, count: u32) -> Vec<u32> {
    let scattered = |i: u32| i.wrapping_mul(2_654_435_761) >> 8;
    (0..count)
        .map(|i| {
            let rank = (f64::from(vocab)).powf(f64::from(scattered(i) % 9973) / 9973.0) as u32;
            rank.wrapping_mul(40_503) % vocab
        })
        .collect()
}

fn little(ids: &[u32], width: usize) -> Vec<u8> {
    let wide = ids.iter().map(|id| u64::from(*id).to_le_bytes());
    wide.flat_map(|id| id.into_iter().take(width)).collect()
}

fn npy(kind: &str, count: usize, payload: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({count},), }}");
    let header = format!("{header:<117}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(payload);
    file
}

#[test]
fn tokens_of_another_width_are_no_tokens() {
    let (Some(wide), Some(right)) = (case("c10-u32-small-ids.bin"), case("c10-nanogpt-u16.bin"))
    else {
        return;
    };
    let (folder, wide) = (Folder::new(), wide.to_str().expect("UTF-8").to_owned());
    for vocab in [400, 512, 50_257, 65_536] {
        let said = folder.refused(&tokens(&wide, None, vocab));
        assert!(
            said.contains("looks like 4-byte tokens, read as 2-byte ones"),
            "{said}"
        );
        assert!(said.contains("write `width: u32`"), "{said}");
    }
    let read = folder.prepare(&tokens(&wide, Some(TokenWidth::U32), 400));
    let read = read.expect("as it is");
    let narrow = tokens(right.to_str().expect("UTF-8"), None, 400);
    let narrow = folder.prepare(&narrow).expect("right");
    assert_eq!(read.facts.train_tokens, 10_800);
    assert_eq!(narrow.facts.train_tokens, 10_800);
    assert!(narrow.summary.warnings.is_empty(), "{:?}", narrow.summary);
    // Whoever insists gets what was asked for, with a word.
    let insisted = folder
        .prepare(&accepted(tokens(&wide, None, 400)))
        .expect("insisted");
    assert_eq!(insisted.facts.train_tokens, 21_600);
    assert!(
        insisted.summary.warnings[0].contains("looks like 4-byte"),
        "{:?}",
        insisted.summary
    );
}

#[test]
fn other_writers_of_tokens_are_recognised() {
    let folder = Folder::new();
    let some = like_text(50_257, 20_000);
    let raw = folder.file("raw.bin", little(&some, 2));
    let expected = folder
        .prepare(&tokens(&raw, None, 50_257))
        .expect("right")
        .facts;
    // PyTorch's and NumPy's default integers.
    let long = folder.file("long.bin", little(&some, 8));
    let said = folder.refused(&tokens(&long, None, 50_257));
    assert!(
        said.contains("looks like 8-byte tokens") && said.contains("`width: i64`"),
        "{said}"
    );
    let read = folder
        .prepare(&tokens(&long, Some(TokenWidth::I64), 50_257))
        .expect("said");
    assert_eq!(read.facts, expected);
    for (kind, width) in [("<u2", 2), ("<u4", 4), ("<i4", 4), ("<i8", 8), ("<u8", 8)] {
        let file = folder.file("array.npy", npy(kind, some.len(), &little(&some, width)));
        assert_eq!(
            folder
                .prepare(&tokens(&file, None, 50_257))
                .expect(kind)
                .facts,
            expected
        );
    }
    let wrong = folder.file("array.npy", npy("<i8", some.len(), &little(&some, 8)));
    let said = folder.refused(&tokens(&wrong, Some(TokenWidth::U16), 50_257));
    assert!(said.contains("NumPy header says 8-byte tokens"), "{said}");
    // A network's byte order: ids up to 50,256 whose bytes are turned round.
    let big: Vec<u8> = some
        .iter()
        .flat_map(|id| (*id as u16).to_be_bytes())
        .collect();
    let big = folder.file("big.bin", big);
    for vocab in [50_257, 65_536] {
        let said = folder.refused(&tokens(&big, None, vocab));
        assert!(
            said.contains("looks like big-endian 2-byte tokens"),
            "{said}"
        );
        assert!(said.contains("np.fromfile(file, '>u2')"), "{said}");
    }
    // An id that was -1 to mark padding.
    let mut padded = little(&some, 8);
    padded.extend([0xff; 8]);
    let padded = folder.file("padded.npy", npy("<i8", some.len() + 1, &padded));
    let said = folder.refused(&tokens(&padded, None, 50_257));
    assert!(said.contains("holds token -1 at position 20000"), "{said}");
    let said = folder.refused(&tokens(&raw, None, 128_256));
    assert!(
        said.contains("2-byte tokens, which hold ids up to 65535"),
        "{said}"
    );
}

#[test]
fn files_that_hold_no_tokens_are_named_for_what_they_are() {
    let folder = Folder::new();
    let mut checkpoint = little(&[20_240_326, 3], 4);
    checkpoint.resize(4096, 0);
    let unwritten = [little(&like_text(400, 20_000), 2), vec![0; 20_000]].concat();
    for (name, content, said) in [
        (
            "corpus.bin",
            b"Once upon a time there was a text. ".repeat(99),
            "looks like text",
        ),
        (
            "gpt2_124M.bin",
            checkpoint,
            "20240326 is not the mark of its tokens",
        ),
        (
            "x.idx",
            b"MMIDIDX\0\0\x01\0\0\0\0\0\0\0\x08".repeat(8),
            "the index of a Megatron data set",
        ),
        ("a.npz", b"PK\x03\x04\x14\0\0\0".repeat(8), "a ZIP archive"),
        ("t.bin", unwritten, "ends in 10000 zeros of 30000 tokens"),
        (
            "bytes.bin",
            little(&like_text(256, 60_000), 1),
            "looks like 1-byte tokens",
        ),
    ] {
        let path = folder.file(name, content);
        let refused = folder.refused(&tokens(&path, None, 1 << 16));
        assert!(refused.contains(said), "{name}: {refused}");
        assert!(refused.contains(name), "{refused}");
    }
}

#[test]
fn held_out_shards_are_not_trained_on() {
    let folder = Folder::new();
    let shard = |name: &str, first: u32| {
        let tokens: Vec<u32> = (first..first + 500).collect();
        let header = [20_240_520, 1, 500]
            .into_iter()
            .chain([0; 253])
            .collect::<Vec<u32>>();
        folder.file(name, [little(&header, 4), little(&tokens, 2)].concat())
    };
    shard("fineweb_train_000002.bin", 1000);
    shard("fineweb_train_000001.bin", 0);
    let held_out = shard("fineweb_val_000000.bin", 2000);
    for pattern in [folder.path(), format!("{}/fineweb_*.bin", folder.path())] {
        let read = folder
            .prepare(&tokens(&pattern, None, 50_257))
            .expect("shards");
        assert_eq!(ids(&read.validation), (2000..2500).collect::<Vec<_>>());
        let trained: Vec<u32> = (0..500).chain(1000..1500).collect();
        assert_eq!(ids(&read.train), trained);
        assert!(
            read.summary.remarks[0].contains("fineweb_val_000000.bin"),
            "{:?}",
            read.summary
        );
    }
    // Both ways of naming them are one.
    let mut both = tokens(&folder.path(), None, 50_257);
    if let DataSpec::Tokens { validation, .. } = &mut both {
        *validation = Some(Paths::One(held_out.clone()));
    }
    assert_eq!(
        folder.prepare(&both).expect("named").facts.train_tokens,
        1000
    );
    if let DataSpec::Tokens { train, .. } = &mut both {
        *train = Paths::One(held_out.clone());
    }
    let said = folder.refused(&both);
    assert!(
        said.contains("under both `train` and `validation`"),
        "{said}"
    );
    // Named by itself it was meant.
    let alone = folder
        .prepare(&tokens(&held_out, None, 50_257))
        .expect("meant");
    assert_eq!(alone.facts.train_tokens, 450);
    assert!(alone.summary.warnings[0].contains("named as a validation set"));
}

const STORIES: [&str; 4] = [
    "One day.",
    "Two days,\nand a night.",
    "Été \"three\"",
    "Four 猫.",
];

/// The stories as JSON lines, with fields of their own.
fn json_lines() -> String {
    let line = |(index, story): (usize, &&str)| {
        serde_json::json!({"id": index, "text": story, "meta": {"text": "no"}}).to_string() + "\n"
    };
    STORIES.iter().enumerate().map(line).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).expect("packed");
    packed.finish().expect("packed")
}

fn parquet(column: &str, texts: &[Option<&str>]) -> Vec<u8> {
    let count = texts.len();
    let columns = vec![
        Column::new("id".into(), (0..count as u64).collect::<Vec<_>>()),
        Column::new(column.into(), texts),
        Column::new("score".into(), vec![Some(0.5); count]),
    ];
    let mut frame = DataFrame::new(count, columns).expect("a table");
    let mut file = Vec::new();
    ParquetWriter::new(&mut file)
        .finish(&mut frame)
        .expect("written");
    file
}

#[test]
fn documents_are_trained_on_by_their_text_alone() {
    let folder = Folder::new();
    let expected: String = STORIES.iter().map(|story| format!("{story}\n\n")).collect();
    let (lines, all) = (json_lines(), STORIES.map(Some));
    let array = format!("[{}]", lines.trim_end().replace('\n', ",\n "));
    for (name, content, form) in [
        ("a.jsonl", lines.clone().into_bytes(), "JSON lines, `text`"),
        ("a.txt", lines.clone().into_bytes(), "JSON lines, `text`"),
        (
            "bom.json",
            format!("\u{feff}{lines}").into_bytes(),
            "JSON lines, `text`",
        ),
        ("a.json", array.into_bytes(), "JSON array, `text`"),
        (
            "a.jsonl.gz",
            gzip(lines.as_bytes()),
            "JSON lines, `text`, gzip",
        ),
        (
            "gz-by-content",
            gzip(lines.as_bytes()),
            "JSON lines, `text`, gzip",
        ),
        (
            "a.jsonl.zst",
            zstd::encode_all(lines.as_bytes(), 3).expect("packed"),
            "JSON lines, `text`, zstd",
        ),
        ("a.parquet", parquet("text", &all), "Parquet, `text`"),
    ] {
        let read = folder
            .prepare(&text(&folder.file(name, content)))
            .expect(name);
        assert_eq!(whole(&read), expected, "{name}");
        assert_eq!(read.summary.form, form);
        assert_eq!(read.summary.documents, Some(4));
        // The last document is held out, whole.
        assert_eq!(read.facts.validation_tokens, "Four 猫.\n\n".len() as u64);
    }
    let plain = "Just text.\n".repeat(9);
    let packed = folder.file("a.txt.gz", gzip(plain.as_bytes()));
    let read = folder.prepare(&text(&packed)).expect("packed");
    assert_eq!((whole(&read), read.summary.documents), (plain, None));
}

#[test]
fn documents_without_a_text_are_counted_or_refused() {
    let folder = Folder::new();
    let some = "{\"text\": \"one\"}\n{\"url\": \"x\"}\n\n{\"text\": null}\n{\"text\": 3}\n{\"text\": \"two\"}\n";
    let some = folder
        .prepare(&text(&folder.file("some.jsonl", some)))
        .expect("some");
    assert_eq!(
        (whole(&some), some.summary.documents),
        ("one\n\ntwo\n\n".into(), Some(2))
    );
    assert!(
        some.summary.warnings[0].starts_with("3 of 5 documents of"),
        "{:?}",
        some.summary
    );
    let holes = folder.file(
        "h.parquet",
        parquet("text", &[Some("one"), None, Some("two")]),
    );
    let holes = folder.prepare(&text(&holes)).expect("holes");
    assert!(
        holes.summary.warnings[0].starts_with("1 of 3 documents of"),
        "{:?}",
        holes.summary
    );

    let other = json_lines().replace("\"text\"", "\"content\"");
    let other = folder.file("other.jsonl", other);
    let said = folder.refused(&text(&other));
    assert!(
        said.contains("`content`, `id`, `meta`") && said.contains("`text_field`"),
        "{said}"
    );
    let mut named = text(&other);
    if let DataSpec::Text { text_field, .. } = &mut named {
        *text_field = "content".to_owned();
    }
    assert_eq!(
        folder.prepare(&named).expect("named").summary.documents,
        Some(4)
    );
    let column = folder.file("c.parquet", parquet("content", &[Some("one")]));
    let said = folder.refused(&text(&column));
    assert!(said.contains("it has `id`, `content`, `score`"), "{said}");
    let broken = folder.file("b.jsonl", json_lines().replace("\"id\":2", "\"id\":"));
    let said = folder.refused(&text(&broken));
    assert!(said.contains("line 3 is no JSON"), "{said}");

    // As it is, for whoever wants the braces.
    let mut plain = text(&other);
    if let DataSpec::Text { text_form, .. } = &mut plain {
        *text_form = TextForm::Plain;
    }
    assert!(whole(&folder.prepare(&plain).expect("plain")).starts_with('{'));
}

#[test]
fn what_is_no_text_is_named_for_what_it_is() {
    let folder = Folder::new();
    let utf16 = |text: &str| {
        text.encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    for (name, content, said) in [
        (
            "w.txt",
            [b"\xff\xfe".to_vec(), utf16("words")].concat(),
            "UTF-16LE text",
        ),
        ("v.txt", utf16(&"many words ".repeat(20)), "zero bytes"),
        ("a.tar.gz", gzip(&tar), "a tar archive"),
        ("a.bz2", b"BZh91AY&SY".repeat(4), "compressed with bzip2"),
        ("t.csv", b"id,text\n1,words\n".repeat(4), "is a table"),
        (
            "o.json",
            b"{\n \"data\": {\"text\": \"words\"}\n}\n".to_vec(),
            "is one JSON document",
        ),
        (
            "cut.gz",
            gzip(&b"many words ".repeat(99))[..40].to_vec(),
            "cannot be unpacked",
        ),
        (
            "train.bin",
            little(&like_text(50_257, 5000), 4),
            "a binary file",
        ),
        ("n.npy", npy("<u2", 2, &[1, 0, 2, 0]), "a NumPy array"),
        ("a.arrow", b"ARROW1\0\0".repeat(4), "write it as Parquet"),
    ] {
        let refused = folder.refused(&text(&folder.file(name, content)));
        assert!(refused.contains(said), "{name}: {refused}");
        assert!(
            !refused.contains("begins no valid character"),
            "{name}: {refused}"
        );
    }
}

#[test]
fn json_lines_are_trained_on_without_their_braces() {
    let Some(corpus) = case("c29-corpus.jsonl") else {
        return;
    };
    let folder = Folder::new();
    let read = folder
        .prepare(&text(corpus.to_str().expect("UTF-8")))
        .expect("read");
    assert_eq!(read.summary.documents, Some(300));
    let whole = whole(&read);
    assert!(
        whole.starts_with("Key market spring waited nobody"),
        "{whole:.80}"
    );
    assert!(!whole.contains(['{', '}', '"']));
    assert!(whole.len() < 25_000);
}

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
