//! Mutants: good inputs with one thing wrong.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// An input made from a good one.
pub(super) struct Mutant {
    pub(super) bytes: Vec<u8>,
    /// How it was made.
    pub(super) class: &'static str,
    /// What was put in place of what, where it is a value that an answer should depend on.
    pub(super) edit: Option<String>,
}

/// Values that no one should give, and some that mean something else to other readers.
pub(super) const EXTREMES: &[&str] = &[
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "3",
    "7",
    "1e300",
    "-1e300",
    "1e-300",
    "1e400",
    "NaN",
    ".nan",
    "inf",
    ".inf",
    "-.inf",
    "\"\"",
    "~",
    "null",
    "99999999999999999999",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "4294967296",
    "65536",
    "65537",
    "1e18",
    "1e15",
    "1e30",
    "0x10",
    "0o17",
    "012",
    "1_000",
    "1e6",
    "'1e6'",
    "0.1",
    "0.5",
    "0.999999",
    "1.000001",
    "2.5",
    "300M",
    "1T",
    "1e300s",
    "0s",
    "1d",
    "20 per param",
    "1e300 per param",
    "true",
    "no",
    "[]",
    "{}",
    "[1]",
    "[1, 2]",
    "{a: 1}",
    "\"\\e[2J\"",
    "é",
    "*x",
    "!!int 1",
    "a/b",
    "../x",
    "full",
    "fixed",
];

/// Words that mean something in one of the inputs.
const WORDS: &[&str] = &[
    "grid",
    "params",
    "tokens",
    "flops",
    "seed",
    "training",
    "batch",
    "model",
    "data",
    "<<",
    "loss",
    "run",
    "concept_share",
    "compression_ratio",
    "width",
    "layers",
    "null",
    "event",
    "check",
    "vocab",
    "x",
    "",
];

type Operator = fn(&[u8], &[Vec<u8>], &mut ChaCha8Rng) -> (Vec<u8>, Option<String>);

/// What is done to texts.
const OF_TEXT: &[(&str, Operator)] = &[
    ("value replaced", replace_value),
    ("value replaced", replace_value),
    ("value replaced", replace_value),
    ("key renamed", rename_key),
    ("line dropped", drop_line),
    ("line doubled", double_line),
    ("lines swapped", swap_lines),
    ("character changed", change_character),
    ("part repeated", repeat),
    ("nested", nest),
    ("encoding", encode),
    ("truncated", truncate),
    ("spliced", splice),
    ("bits flipped", flip),
];

/// What is done to anything else.
const OF_BYTES: &[(&str, Operator)] = &[
    ("bits flipped", flip),
    ("bits flipped", flip),
    ("number replaced", replace_number),
    ("number replaced", replace_number),
    ("truncated", truncate),
    ("block blanked", blank),
    ("block moved", move_block),
    ("part repeated", repeat),
    ("spliced", splice),
];

/// Makes a mutant of one of these seeds, by one operator or now and then two.
pub(super) fn mutate(seeds: &[Vec<u8>], at: usize, is_text: bool, rng: &mut ChaCha8Rng) -> Mutant {
    let operators = if is_text { OF_TEXT } else { OF_BYTES };
    let (class, operator) = operators.choose(rng).expect("an operator");
    let (mut bytes, edit) = operator(&seeds[at], seeds, rng);
    if rng.random_ratio(1, 5) {
        let (_, again) = operators.choose(rng).expect("an operator");
        return Mutant {
            bytes: again(&bytes, seeds, rng).0,
            class: "twice",
            edit: None,
        };
    }
    bytes.truncate(MOST_BYTES);
    Mutant { bytes, class, edit }
}

/// Larger inputs take time for a reason.
const MOST_BYTES: usize = 1 << 20;

/// A place in a text that is not inside a comment.
struct Word {
    place: Range<usize>,
    is_key: bool,
}

/// Finds keys and values: whatever stands between spaces, commas, brackets and colons.
fn words(bytes: &[u8]) -> Vec<Word> {
    let (mut found, mut start, mut comment) = (Vec::new(), None, false);
    for (at, &byte) in bytes.iter().chain(b"\n").enumerate() {
        comment = byte != b'\n' && (comment || byte == b'#');
        let inside = !comment
            && (byte.is_ascii_alphanumeric() || b"_.+-<'%".contains(&byte) || byte >= 0x80);
        match (inside, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                let quoted = byte == b'"' && bytes.get(at + 1) == Some(&b':');
                found.push(Word {
                    place: from..at,
                    is_key: byte == b':' || quoted,
                });
                start = None;
            }
            _ => {}
        }
    }
    found
}

fn put(bytes: &[u8], place: Range<usize>, new: &[u8]) -> Vec<u8> {
    [&bytes[..place.start], new, &bytes[place.end..]].concat()
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn replace_value(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    let words = words(bytes);
    let values: Vec<usize> = (0..words.len())
        .filter(|&word| !words[word].is_key)
        .collect();
    let Some(&at) = values.choose(rng) else {
        return (bytes.to_vec(), None);
    };
    let place = words[at].place.clone();
    let new = EXTREMES.choose(rng).expect("a value");
    let key = words[..at].iter().rev().find(|word| word.is_key);
    let key = key.map_or_else(String::new, |key| shown(&bytes[key.place.clone()]));
    let edit = format!("{key}: {} → {new}", shown(&bytes[place.clone()]));
    (put(bytes, place, new.as_bytes()), Some(edit))
}

fn rename_key(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    let mut words = words(bytes);
    words.retain(|word| word.is_key);
    let Some(key) = words.choose(rng) else {
        return (bytes.to_vec(), None);
    };
    let old = &bytes[key.place.clone()];
    let new = match rng.random_range(0..3) {
        0 => WORDS.choose(rng).expect("a word").as_bytes().to_vec(),
        1 => bytes[words.choose(rng).expect("a key").place.clone()].to_vec(),
        _ => [old, b"s"].concat(),
    };
    let edit = format!("{} → {}", shown(old), shown(&new));
    (
        put(bytes, key.place.clone(), &new),
        (old != new).then_some(edit),
    )
}

/// Lists where lines begin, and where the last one ends.
fn lines(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut start = 0;
    let line = |line: &[u8]| {
        let place = start..start + line.len();
        start = place.end;
        place
    };
    bytes
        .split_inclusive(|&byte| byte == b'\n')
        .map(line)
        .collect()
}

fn drop_line(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    match lines(bytes).choose(rng) {
        Some(line) => (put(bytes, line.clone(), b""), None),
        None => (Vec::new(), None),
    }
}

fn double_line(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    match lines(bytes).choose(rng) {
        Some(line) => (put(bytes, line.end..line.end, &bytes[line.clone()]), None),
        None => (Vec::new(), None),
    }
}

fn swap_lines(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    let mut lines = lines(bytes);
    if lines.len() > 1 {
        let (a, b) = (
            rng.random_range(0..lines.len()),
            rng.random_range(0..lines.len()),
        );
        lines.swap(a, b);
    }
    let parts: Vec<&[u8]> = lines.into_iter().map(|line| &bytes[line]).collect();
    (parts.concat(), None)
}

fn change_character(
    bytes: &[u8],
    _: &[Vec<u8>],
    rng: &mut ChaCha8Rng,
) -> (Vec<u8>, Option<String>) {
    const CHARACTERS: &[&str] = &[
        "\t",
        " ",
        ":",
        ",",
        "[",
        "]",
        "{",
        "}",
        "'",
        "\"",
        "&a ",
        "*a",
        "!",
        "|",
        ">",
        "%",
        "@",
        "#",
        "\n",
        "\r",
        "\0",
        "\u{1b}[2J",
        "\u{feff}",
        "\u{202e}",
        "\u{2028}",
        "é",
        "=",
        "-",
        "\\",
        ";",
        "\u{85}",
        "1",
    ];
    let at = rng.random_range(0..=bytes.len());
    let end = (at + rng.random_range(0..2)).min(bytes.len());
    let new = CHARACTERS.choose(rng).expect("a character");
    (put(bytes, at..end, new.as_bytes()), None)
}

/// A stretch of at most so many bytes.
fn stretch(bytes: &[u8], most: usize, rng: &mut ChaCha8Rng) -> Range<usize> {
    let start = rng.random_range(0..=bytes.len());
    let end = start + rng.random_range(0..=most.min(bytes.len() - start));
    start..end
}

fn repeat(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    let part = stretch(bytes, 64, rng);
    let times = 10_usize.pow(rng.random_range(1..4));
    (put(bytes, part.clone(), &bytes[part].repeat(times)), None)
}

fn nest(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    let words = words(bytes);
    let at = words.choose(rng).map_or(0..0, |word| word.place.clone());
    let times = 10_usize.pow(rng.random_range(0..6));
    let (open, close) = *[
        ("[", "]"),
        ("{a: ", "}"),
        ("(", ")"),
        ("- ", ""),
        ("{\"a\":", "}"),
        ("? ", ""),
    ]
    .choose(rng)
    .expect("brackets");
    let inner = [
        open.repeat(times).as_bytes(),
        &bytes[at.clone()],
        close.repeat(times).as_bytes(),
    ]
    .concat();
    (put(bytes, at, &inner), None)
}

fn encode(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    let text = String::from_utf8_lossy(bytes);
    let encoded = match rng.random_range(0..6) {
        0 => [b"\xef\xbb\xbf", bytes].concat(),
        1 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        2 => [0xff, 0xfe]
            .into_iter()
            .chain(text.encode_utf16().flat_map(u16::to_le_bytes))
            .collect(),
        3 => text.replace('\n', "\r\n").into_bytes(),
        4 => text.replace('\n', "\r").into_bytes(),
        _ => [bytes, b"\xe9\xff"].concat(),
    };
    (encoded, None)
}

fn truncate(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    let at = rng.random_range(0..=bytes.len());
    let kept = if rng.random_ratio(1, 4) {
        &bytes[at..]
    } else {
        &bytes[..at]
    };
    (kept.to_vec(), None)
}

fn splice(bytes: &[u8], seeds: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    let other = seeds.choose(rng).expect("a seed");
    let part = stretch(other, 400, rng);
    let at = stretch(bytes, 40, rng);
    (put(bytes, at, &other[part]), None)
}

fn flip(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.random_range(1..=8) {
        if !bytes.is_empty() {
            let at = rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
        }
    }
    (bytes, None)
}

fn replace_number(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    const NUMBERS: &[u64] = &[
        0,
        1,
        0x7f,
        0xff,
        0x7fff,
        0xffff,
        0x7fff_ffff,
        0xffff_ffff,
        u64::MAX >> 1,
        u64::MAX,
    ];
    let mut number = NUMBERS.choose(rng).expect("a number").to_le_bytes();
    if rng.random() {
        number.reverse();
    }
    let size = 1 << rng.random_range(0..4);
    // Headers, which say how large the rest is, are a small part of a file.
    let near = if rng.random() {
        bytes.len()
    } else {
        bytes.len().min(128)
    };
    let at = rng.random_range(0..=near.saturating_sub(size));
    let end = (at + size).min(bytes.len());
    (put(bytes, at..end, &number[..end - at]), None)
}

fn blank(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    let part = stretch(bytes, 4096, rng);
    let blank = vec![if rng.random() { 0 } else { 0xff }; part.len()];
    (put(bytes, part, &blank), None)
}

fn move_block(bytes: &[u8], _: &[Vec<u8>], rng: &mut ChaCha8Rng) -> (Vec<u8>, Option<String>) {
    let part = stretch(bytes, 4096, rng);
    let block = bytes[part.clone()].to_vec();
    let rest = put(bytes, part, b"");
    let at = rng.random_range(0..=rest.len());
    (put(&rest, at..at, &block), None)
}
