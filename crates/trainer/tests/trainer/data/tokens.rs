//! Token files of other writers, and files that hold no tokens.

use super::{Folder, accepted, case, ids, like_text, little, npy, tokens};
use experiment::run::{DataSpec, Paths, TokenWidth};
use std::collections::HashMap;

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
    // No model of single tokens is better than their entropy, and one that is trained is near it.
    for read in [&read, &narrow] {
        let found = entropy(&ids(&read.train));
        assert!((found - 4.605).abs() < 0.05, "{found} nats");
    }
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

/// Entropy of single tokens, nats.
fn entropy(ids: &[u32]) -> f64 {
    let mut counts = HashMap::new();
    for id in ids {
        *counts.entry(id).or_insert(0.0) += 1.0;
    }
    let shares = counts.values().map(|count| count / ids.len() as f64);
    -shares.map(|share| share * f64::ln(share)).sum::<f64>()
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
