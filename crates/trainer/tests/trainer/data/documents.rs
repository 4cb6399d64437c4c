//! Text in documents, packed and not, and files that are no text.

use super::{Folder, case, like_text, little, npy, text, whole};
use experiment::run::{DataSpec, TextForm};
use flate2::Compression;
use flate2::write::GzEncoder;
use polars::prelude::{Column, DataFrame, ParquetWriter};
use std::io::Write;

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
    assert!(
        said.contains("they have `id`, `content`, `score`"),
        "{said}"
    );
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
