//! Good inputs of every kind.

use experiment::folder::{DATABASE, JOURNAL, SPECIFICATION};
use polars::prelude::{Column, DataFrame, ParquetWriter};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

pub(super) fn experiments() -> Vec<Vec<u8>> {
    let shipped = ["quickstart", "branches", "text"].map(|name| {
        let path = format!("{}/experiments/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).expect("an experiment")
    });
    shipped
        .into_iter()
        .chain([BASE.as_bytes().to_vec(), POINTS.as_bytes().to_vec()])
        .collect()
}

/// Every section, in short.
pub(super) const BASE: &str = "\
name: base
shared: &shared {batch: 4, learning_rate: 2e-3}
grid: {params: [20K, 40K], tokens: 20 per param, concept_share: [0.3, 0.5], compression_ratio: 2, seed: [0, 1]}
baselines: {params: 20K, training: {learning_rate: 1e-3}}
controls: {tokens: [level, params], training: {weight_decay: 0.05}}
model: {seq_len: 32, token_window: 8, boundaries: learned, pooling: mean, query_group: 1}
data: {synthetic: {language: cycles, document_tokens: 32, document_words: 6, noise: 0.1}}
training: {<<: *shared, warmup: 0.1, decay: 0.2, validations: 2, validation_tokens: 256, threshold: 0.5}
analysis: {budget: 1e12, flops_convention: exact, huber_delta: 1e-2, bootstrap: 20, seed: 3}
execution: {micro_batch: 2, checkpoint_every: 5min, order: file, retries: 1, back_off: 1s, time_limit: 2h,
  stall_limit: 1h, max_flops: 1e17, max_time: 1d, parallel: 2, threads: 1, per_device: 2, keep_weights: false}
";

/// Points, constraints, pairs and budgets.
const POINTS: &str = "\
grid:
  combine: zip
  params: [20K, 40K]
  flops: [1e11, 4e11]
  compression_ratio: 2
  points:
  - {params: 50K, tokens: 1M, concept_share: 0.4}
  - {tokens: 1M, flops: 3e11, concept_share: 0.5, training.batch: 8}
  where: ['concept_share < 0.9', 'params >= 20K or tokens / 2 > 0.1M']
baselines: {points: [{params: 20K, flops: 1e11}]}
data:
  tokens: {train: a.bin, width: u16, vocab: 300}
  validation: 0.2
training:
  batch: 4
";

/// Runs of a law, as columns.
fn runs() -> [Vec<f64>; 3] {
    let mut columns = [const { Vec::new() }; 3];
    for params in [1e8, 2e8, 4e8, 8e8] {
        for tokens in [2e9, 8e9, 3.2e10] {
            let loss = 1.8 + 400.0 / f64::powf(params, 0.34) + 900.0 / f64::powf(tokens, 0.33);
            columns
                .iter_mut()
                .zip([params, tokens, loss])
                .for_each(|(column, x)| column.push(x));
        }
    }
    columns
}

/// Writes the runs line by line.
fn lines(head: &str, line: impl Fn(f64, f64, f64) -> String) -> Vec<u8> {
    let [params, tokens, losses] = runs();
    let rows = params.iter().zip(&tokens).zip(&losses);
    let lines: Vec<String> = rows.map(|((n, d), loss)| line(*n, *d, *loss)).collect();
    (head.to_owned() + &lines.concat()).into_bytes()
}

pub(super) fn csv_tables() -> Vec<Vec<u8>> {
    vec![
        lines("params,tokens,loss\n", |n, d, loss| {
            format!("{n},{d},{loss}\n")
        }),
        lines("run;params;tokens;loss;\"what; for\"\r\n", |n, d, loss| {
            format!("\"r {n}\";{n:e};{d};{loss};\"a \"\"b\"\"\"\r\n")
        }),
        lines("params\tflops\ttokens\tloss\n", |n, d, loss| {
            format!("{n}\t{}\t{d}\t{loss}\n", 6.0 * n * d)
        }),
    ]
}

pub(super) fn json_tables() -> Vec<Vec<u8>> {
    vec![lines("", |n, d, loss| {
        format!("{{\"params\": {n}, \"tokens\": {d}, \"loss\": {loss}, \"run\": \"a\"}}\n")
    })]
}

pub(super) fn parquet_tables() -> Vec<Vec<u8>> {
    let columns = ["params", "tokens", "loss"].into_iter().zip(runs());
    let mut columns: Vec<Column> = columns
        .map(|(name, values)| Column::new(name.into(), values))
        .collect();
    columns.push(Column::new("seed".into(), vec![1_i64; 12]));
    columns.push(Column::new("run".into(), vec!["a"; 12]));
    let mut frame = DataFrame::new(12, columns).expect("columns of one length");
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .finish(&mut frame)
        .expect("written");
    vec![bytes]
}

pub(super) const PROSE: &str =
    "It was there that the first of them read what stood in the last letter.\nÄpfel und Öl.\n\n";

pub(super) fn texts() -> Vec<Vec<u8>> {
    vec![PROSE.repeat(12).into_bytes()]
}

pub(super) fn json_texts() -> Vec<Vec<u8>> {
    vec![
        format!("{}\n", serde_json::json!({"id": 1, "text": PROSE}))
            .repeat(12)
            .into_bytes(),
    ]
}

pub(super) fn tokenizers() -> Vec<Vec<u8>> {
    // Every letter once: entries with one id would stand for each other.
    let letters: BTreeSet<String> = PROSE.chars().map(String::from).collect();
    let entries = letters
        .into_iter()
        .chain(["<unk>", "th", "the"].map(str::to_owned));
    let vocab: serde_json::Map<String, Value> = entries
        .zip(0..)
        .map(|(entry, id)| (entry, Value::from(id)))
        .collect();
    let model = serde_json::json!({
        "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab,
        "merges": ["t h", "th e"],
    });
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": vocab.len(), "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "normalizer": {"type": "NFC"}, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\s|\\w+"},
            "behavior": "Isolated", "invert": false},
        "post_processor": null, "decoder": null, "model": model,
    });
    vec![
        serde_json::to_string_pretty(&tokenizer)
            .expect("JSON")
            .into_bytes(),
    ]
}

pub(super) fn token_files() -> Vec<Vec<u8>> {
    let ids = (0..1000_u32).map(|i| (i * i % 293) as u16);
    let plain: Vec<u8> = ids.flat_map(u16::to_le_bytes).collect();
    // As llm.c writes them: a header of 256 numbers, of which the third is how many tokens follow.
    let mut header = vec![0; 1024];
    for (place, number) in [20_240_520_u32, 1, 1000].into_iter().enumerate() {
        header[4 * place..][..4].copy_from_slice(&number.to_le_bytes());
    }
    vec![plain.clone(), [header, plain].concat()]
}

/// A results folder of an older version of this program, with one run.
const RESULTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/crates/campaign/tests/formats/0002"
);
pub(super) const RUN: &str = "84a9348d4555";

pub(super) fn of_run(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(RESULTS).join("runs").join(RUN).join(name)).expect("a file of a run")
}

pub(super) fn specifications() -> Vec<Vec<u8>> {
    vec![of_run(SPECIFICATION)]
}

pub(super) fn journals() -> Vec<Vec<u8>> {
    vec![of_run(JOURNAL)]
}

pub(super) fn databases() -> Vec<Vec<u8>> {
    vec![std::fs::read(Path::new(RESULTS).join(DATABASE)).expect("a database")]
}
