//! The keys of `data`.

use super::{MANY, SEQUENCE, VOCAB, count, key, word};
use crate::grid::key::{Form, Key, Range, Role, Shown};
use crate::run::{LanguageKind, Paths, TextForm, TokenWidth, TokenizerSpec};

/// A parameter of one kind of language, which others do not have.
fn own(n: usize) -> Shown {
    match n {
        0 => Shown::Nothing,
        n => count(n),
    }
}

pub(super) static KEYS: &[Key] = &[
    key(
        "data.synthetic.language",
        Role::Every,
        "What says which word follows: one of many dialects, the same for a whole document \
         (`dialects`), or an order that each document draws for itself (`cycles`). The defaults of \
         the other keys are this language's own; those listed here are the dialects'.",
        "",
        "cycles",
        &[
            Form::Word("dialects", |d| {
                d.data.synthetic.language = Some(LanguageKind::Dialects)
            }),
            Form::Word("cycles", |d| {
                d.data.synthetic.language = Some(LanguageKind::Cycles)
            }),
        ],
        |d| word(d.data.synthetic.spec().language.name()),
    ),
    key(
        "data.synthetic.letters",
        Role::Every,
        "Letters of the alphabet: the vocabulary.",
        "tokens",
        "32",
        &[Form::Count(2, 65_536, |d, n| {
            d.data.synthetic.letters = Some(n as usize)
        })],
        |d| count(d.data.synthetic.spec().letters),
    ),
    key(
        "data.synthetic.words",
        Role::Every,
        "Words of the lexicon; they differ in their first two letters.",
        "words",
        "128",
        &[Form::Count(2, 1 << 20, |d, n| {
            d.data.synthetic.words = Some(n as usize)
        })],
        |d| count(d.data.synthetic.spec().words),
    ),
    key(
        "data.synthetic.min_word",
        Role::Every,
        "Letters of the shortest word.",
        "tokens",
        "2",
        &[Form::Count(2, 1024, |d, n| {
            d.data.synthetic.min_word = Some(n as usize)
        })],
        |d| count(d.data.synthetic.spec().min_word),
    ),
    key(
        "data.synthetic.max_word",
        Role::Every,
        "Letters of the longest word.",
        "tokens",
        "8",
        &[Form::Count(2, 1024, |d, n| {
            d.data.synthetic.max_word = Some(n as usize)
        })],
        |d| count(d.data.synthetic.spec().max_word),
    ),
    key(
        "data.synthetic.dialects",
        Role::Every,
        "How many dialects there are. Only with `language: dialects`.",
        "dialects",
        "128",
        &[Form::Count(1, 65_536, |d, n| {
            d.data.synthetic.dialects = Some(n as usize)
        })],
        |d| own(d.data.synthetic.spec().dialects),
    ),
    key(
        "data.synthetic.choices",
        Role::Every,
        "How many different words may follow a word, over all dialects. Only with `language: \
         dialects`.",
        "words",
        "8",
        &[Form::Count(1, 1 << 20, |d, n| {
            d.data.synthetic.choices = Some(n as usize)
        })],
        |d| own(d.data.synthetic.spec().choices),
    ),
    key(
        "data.synthetic.skew",
        Role::Every,
        "Exponent of Zipf's law by which documents draw their dialect; at 0 all dialects are as \
         frequent. Only with `language: dialects`.",
        "",
        "0.5",
        &[Form::Number(Range::FROM_ZERO, |d, x| {
            d.data.synthetic.skew = Some(x)
        })],
        |d| Shown::Number(d.data.synthetic.spec().skew),
    ),
    key(
        "data.synthetic.document_words",
        Role::Every,
        "Words that a document draws from the lexicon and puts into a hidden order; 12 where \
         nothing is said. Only with `language: cycles`.",
        "words",
        "16",
        &[Form::Count(1, 1 << 20, |d, n| {
            d.data.synthetic.document_words = Some(n as usize)
        })],
        |d| own(d.data.synthetic.spec().document_words),
    ),
    key(
        "data.synthetic.document_tokens",
        Role::Every,
        "Tokens of a document: how long its dialect or its order holds.",
        "tokens",
        "1024",
        &[Form::Count(2, SEQUENCE, |d, n| {
            d.data.synthetic.document_tokens = Some(n as usize)
        })],
        |d| count(d.data.synthetic.spec().document_tokens),
    ),
    key(
        "data.synthetic.noise",
        Role::Every,
        "Probability that a word is drawn at random instead of following the one before.",
        "probability",
        "0.1",
        &[Form::Number(Range::ZERO_TO_ONE, |d, x| {
            d.data.synthetic.noise = Some(x)
        })],
        |d| Shown::Number(d.data.synthetic.spec().noise),
    ),
    key(
        "data.synthetic.train_tokens",
        Role::Every,
        "Training tokens generated before they repeat.",
        "tokens",
        "4M",
        &[Form::Count(1, MANY, |d, n| {
            d.data.synthetic.train_tokens = Some(n)
        })],
        |d| Shown::Number(d.data.synthetic.spec().train_tokens as f64),
    ),
    key(
        "data.synthetic.validation_tokens",
        Role::Every,
        "Held-out tokens generated.",
        "tokens",
        "64K",
        &[Form::Count(1, MANY, |d, n| {
            d.data.synthetic.validation_tokens = Some(n)
        })],
        |d| Shown::Number(d.data.synthetic.spec().validation_tokens as f64),
    ),
    key(
        "data.synthetic.seed",
        Role::Every,
        "Seed of the language and its documents, apart from a run's seed.",
        "",
        "1",
        &[Form::Count(0, u64::MAX, |d, n| {
            d.data.synthetic.seed = Some(n)
        })],
        |d| Shown::Number(d.data.synthetic.spec().seed as f64),
    ),
    key(
        "data.text",
        Role::Experiment,
        "Files or globs, relative to the experiment's file: UTF-8 text, or documents as JSON lines, a \
         JSON array or Parquet; each may be compressed with gzip or zstd. Documents are separated by \
         an empty line.",
        "",
        "[corpus/*.txt, more.jsonl.gz]",
        &[Form::Paths(|d, paths| d.data.text = paths.to_vec())],
        |_| Shown::Nothing,
    ),
    key(
        "data.text_field",
        Role::Experiment,
        "The field of JSON documents, or the column of Parquet files, that holds the text.",
        "",
        "content",
        &[Form::Name(|d, name| d.data.text_field = name.to_owned())],
        |d| word(&d.data.text_field),
    ),
    key(
        "data.text_form",
        Role::Experiment,
        "How files are read: by what they hold (`auto`), or as plain text, braces and commas included \
         (`plain`).",
        "",
        "plain",
        &[
            Form::Word("auto", |d| d.data.text_form = TextForm::Auto),
            Form::Word("plain", |d| d.data.text_form = TextForm::Plain),
        ],
        |d| word(d.data.text_form.name()),
    ),
    key(
        "data.tokenizer",
        Role::Every,
        "How text becomes tokens: `bytes`, `bpe: {vocab: 1024}` trained on the text, or the path of \
         a tokenizer.json.",
        "",
        "tokenizer.json",
        &[
            Form::Word("bytes", |d| d.data.tokenizer = TokenizerSpec::Bytes),
            Form::Path(".json", |d, path| {
                d.data.tokenizer = TokenizerSpec::File { path: path.into() }
            }),
        ],
        |d| match &d.data.tokenizer {
            TokenizerSpec::Bytes => word("bytes"),
            TokenizerSpec::Bpe { .. } => word("bpe"),
            TokenizerSpec::File { path } => Shown::Word(path.display().to_string()),
        },
    ),
    key(
        "data.tokenizer.bpe.vocab",
        Role::Every,
        "Entries of the BPE vocabulary, the 256 bytes included.",
        "tokens",
        "4096",
        &[Form::Count(257, VOCAB, |d, n| {
            d.data.tokenizer = TokenizerSpec::Bpe { vocab: n as usize };
        })],
        |d| match d.data.tokenizer {
            TokenizerSpec::Bpe { vocab } => count(vocab),
            _ => Shown::Nothing,
        },
    ),
    key(
        "data.doubtful",
        Role::Experiment,
        "What is done with data that look wrong, such as token files of another width or a tokenizer \
         that loses much of the text: `refuse`, or `accept` where they are right as they are.",
        "",
        "accept",
        &[
            Form::Word("refuse", |d| d.data.accept_doubtful = false),
            Form::Word("accept", |d| d.data.accept_doubtful = true),
        ],
        |d| {
            word(if d.data.accept_doubtful {
                "accept"
            } else {
                "refuse"
            })
        },
    ),
    key(
        "data.validation",
        Role::Every,
        "Share of the tokens held out, from the tail of each file; unused where files are held out.",
        "share of the tokens",
        "0.05",
        &[Form::Number(Range::open(0.0, 1.0), |d, x| {
            d.data.validation = x
        })],
        |d| Shown::Number(d.data.validation),
    ),
    key(
        "data.evaluate",
        Role::Experiment,
        "Texts that are held out, by name, read like `data.text`: of each the bits per byte and the tokens per \
         concept of every trained run.",
        "",
        "{code: code/*.py, chinese: zh.jsonl.gz}",
        &[Form::NamedPaths(|d, name, paths| {
            d.evaluation
                .texts
                .insert(name.to_owned(), Paths::from(paths));
        })],
        |_| Shown::Nothing,
    ),
    key(
        "data.tokens.train",
        Role::Experiment,
        "Training tokens: .bin or .npy files, folders of them or globs, relative to the \
         experiment's file. Of a folder or glob, files named as validation sets are held out.",
        "",
        "fineweb10B",
        &[Form::Paths(|d, paths| d.data.train = paths.to_vec())],
        |_| Shown::Nothing,
    ),
    key(
        "data.tokens.validation",
        Role::Experiment,
        "Held-out tokens: files, folders or globs; without them files of `train` named as validation \
         sets, or else the tail of each file.",
        "",
        "val.bin",
        &[Form::Paths(|d, paths| {
            d.data.held_out = Some(paths.to_vec())
        })],
        |_| Shown::Nothing,
    ),
    key(
        "data.tokens.width",
        Role::Experiment,
        "Integer width of a token, little-endian. What a header says (llm.c, NumPy) needs no saying; \
         files without one are taken as `u16`.",
        "",
        "u32",
        &[
            Form::Word("u8", |d| d.data.width = Some(TokenWidth::U8)),
            Form::Word("u16", |d| d.data.width = Some(TokenWidth::U16)),
            Form::Word("u32", |d| d.data.width = Some(TokenWidth::U32)),
            Form::Word("i64", |d| d.data.width = Some(TokenWidth::I64)),
        ],
        |d| match d.data.width {
            Some(width) => word(width.name()),
            None => Shown::Nothing,
        },
    ),
    key(
        "data.tokens.vocab",
        Role::Experiment,
        "Vocabulary size: all tokens are below it.",
        "tokens",
        "50257",
        &[Form::Count(2, VOCAB, |d, n| d.data.vocab = Some(n))],
        |_| Shown::Nothing,
    ),
];
