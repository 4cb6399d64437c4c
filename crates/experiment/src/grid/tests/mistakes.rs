//! What is said for each kind of mistake.

use super::{GRID, decode, parse, refused, shown};

#[test]
fn unknown_keys_are_recognised() {
    insta::assert_snapshot!(refused("gird:\n  params: 1M\n"), @r#"
         × unknown key `gird`
          ╭─[a.yaml:1:1]
        1 │ gird:
          · ──┬─
          ·   ╰── not a key of an experiment
        2 │   params: 1M
          ╰────
         help: did you mean `grid`?
        "#);
    insta::assert_snapshot!(
        refused("grid:\n  seeds: 3\n  seq_len: 9\nbaselines: {concept_share: 0.5}\n"), @r#"
          × unknown key `seeds`
           ╭─[a.yaml:2:3]
         1 │ grid:
         2 │   seeds: 3
           ·   ──┬──
           ·     ╰── not a key of `grid`
         3 │   seq_len: 9
           ╰────
          help: did you mean `seed`?

        Error: 
          × unknown key `seq_len`
           ╭─[a.yaml:3:3]
         2 │   seeds: 3
         3 │   seq_len: 9
           ·   ───┬───
           ·      ╰── not a key of `grid`
         4 │ baselines: {concept_share: 0.5}
           ╰────
          help: `seq_len` belongs under `model`

        Error: 
          × baselines are dense models: they have no `concept_share`
           ╭─[a.yaml:4:13]
         3 │   seq_len: 9
         4 │ baselines: {concept_share: 0.5}
           ·             ─────────────
           ╰────
          help: their P is 0 and their R is 1; declare it under `grid`
        "#
    );
}

#[test]
fn a_head_that_cannot_be_rotated_is_refused_where_it_is_written() {
    let said = refused(&format!("{GRID}\nmodel: {{head_size: 25}}\n"));
    for part in ["odd size", "head_size: 25", "give an even `head_size`"] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
}

#[test]
fn values_out_of_range_say_what_would_be_right() {
    insta::assert_snapshot!(
        refused(
            "grid:\n  params: [0.2M, 1X]\n  tokens: 0\n  compression_ratio: 0.5\n  \
             concept_share: [0.5, 1]\n"
        ),
        @r#"
          × `params` cannot be `1X`
           ╭─[a.yaml:2:18]
         1 │ grid:
         2 │   params: [0.2M, 1X]
           ·                  ─┬
           ·                   ╰── `X` in `1X` is not a known suffix; use K (10^3), M (10^6), B (10^9) or T (10^12)
         3 │   tokens: 0
           ╰────
          help: `params` is a whole number from 1000 to 1e13

        Error: 
          × `tokens` cannot be `0`
           ╭─[a.yaml:3:11]
         2 │   params: [0.2M, 1X]
         3 │   tokens: 0
           ·           ┬
           ·           ╰── must be above zero
         4 │   compression_ratio: 0.5
           ╰────
          help: `tokens` is a number of tokens such as 0.5M, or `20 per param`

        Error: 
          × `compression_ratio` cannot be `0.5`
           ╭─[a.yaml:4:22]
         3 │   tokens: 0
         4 │   compression_ratio: 0.5
           ·                      ─┬─
           ·                       ╰── must be above 1 and below 1e6
         5 │   concept_share: [0.5, 1]
           ╰────
          help: R is the number of tokens per concept, above 1, such as 4: at R = 1 every token is a
                concept; for a model without concepts use `baselines`

        Error: 
          × `concept_share` cannot be `1`
           ╭─[a.yaml:5:24]
         4 │   compression_ratio: 0.5
         5 │   concept_share: [0.5, 1]
           ·                        ┬
           ·                        ╰── must be above 0 and below 1
           ╰────
          help: P is above 0 and below 1: P = 1 would leave no parameters to the token level (0.7 is a
                large share), and P = 0 is a dense model: declare it under `baselines`
        "#
    );
    insta::assert_snapshot!(
        refused(&format!(
            "{GRID}training: {{threshold: calibrate, clip: true, warmup: }}\n\
             model: {{seq_len: 1}}\ndata: {{tokenizer: byte}}\n"
        )),
        @r#"
          × `training.threshold` cannot be `calibrate`
           ╭─[a.yaml:2:23]
         1 │ grid: {params: 0.2M, tokens: 1M, compression_ratio: 4, concept_share: 0.5}
         2 │ training: {threshold: calibrate, clip: true, warmup: }
           ·                       ────┬────
           ·                           ╰── did you mean `calibrated`?
         3 │ model: {seq_len: 1}
           ╰────
          help: `training.threshold` is `calibrated` or a number above 0 and below 1; the default is
                calibrated

        Error: 
          × `training.clip` cannot be `true`
           ╭─[a.yaml:2:40]
         1 │ grid: {params: 0.2M, tokens: 1M, compression_ratio: 4, concept_share: 0.5}
         2 │ training: {threshold: calibrate, clip: true, warmup: }
           ·                                        ──┬─
           ·                                          ╰── `true` is a truth value, not a number
         3 │ model: {seq_len: 1}
           ╰────
          help: `training.clip` is a number above 0; the default is 1

        Error: 
          × `training.warmup` has no value
           ╭─[a.yaml:2:52]
         1 │ grid: {params: 0.2M, tokens: 1M, compression_ratio: 4, concept_share: 0.5}
         2 │ training: {threshold: calibrate, clip: true, warmup: }
           ·                                                    ▲
           ·                                                    ╰── nothing stands here
         3 │ model: {seq_len: 1}
           ╰────
          help: `training.warmup` is a number from 0 and below 1; the default is 0.05

        Error: 
          × `model.seq_len` cannot be `1`
           ╭─[a.yaml:3:18]
         2 │ training: {threshold: calibrate, clip: true, warmup: }
         3 │ model: {seq_len: 1}
           ·                  ┬
           ·                  ╰── must be at least 2
         4 │ data: {tokenizer: byte}
           ╰────
          help: `model.seq_len` is a whole number from 2 to 16777216; the default is 256

        Error: 
          × `tokenizer` has no meaning for these data
           ╭─[a.yaml:4:8]
         3 │ model: {seq_len: 1}
         4 │ data: {tokenizer: byte}
           ·        ─────────
           ╰────
          help: it belongs to `data.text`

        Error: 
          × `data.tokenizer` cannot be `byte`
           ╭─[a.yaml:4:19]
         3 │ model: {seq_len: 1}
         4 │ data: {tokenizer: byte}
           ·                   ──┬─
           ·                     ╰── did you mean `bytes`?
           ╰────
          help: `data.tokenizer` is `bytes` or the path of a .json file; the default is bytes
        "#
    );
}

#[test]
fn sizes_are_two_of_three() {
    insta::assert_snapshot!(refused("grid: {params: 1M}\n"), @r#"
         × the size is open: `params` is given
          ╭─[a.yaml:1:16]
        1 │ grid: {params: 1M}
          ·                ──
          ╰────
         help: give two of `params`, `tokens` and `flops`: the third follows (or every width and depth
               under `model`, and `tokens` or `flops`)
        "#);
    insta::assert_snapshot!(refused("grid: {params: 1M, tokens: 1M, flops: 1e12}\n"), @r#"
         × the size is given twice: `params`, `tokens`, `flops` are given
          ╭─[a.yaml:1:16]
        1 │ grid: {params: 1M, tokens: 1M, flops: 1e12}
          ·                ──          ──         ────
          ╰────
         help: give two of `params`, `tokens` and `flops`: the third follows
        "#);
}

#[test]
fn axes_have_values_and_lengths_that_fit() {
    insta::assert_snapshot!(refused(&format!("{GRID}training: {{batch: []}}\n")), @r#"
         × `training.batch` is an empty axis
          ╭─[a.yaml:2:19]
        1 │ grid: {params: 0.2M, tokens: 1M, compression_ratio: 4, concept_share: 0.5}
        2 │ training: {batch: []}
          ·                   ─┬
          ·                    ╰── no values
          ╰────
         help: give at least one value: `training.batch` is a whole number from 1 to 1048576; the default
               is 16
        "#);
    insta::assert_snapshot!(
        refused("grid: {params: [1M, 2M], tokens: [1M, 2M, 3M], combine: zip}\n"), @r#"
         × axes of unequal length cannot be zipped: `tokens` has 3, `params` has 2
          ╭─[a.yaml:1:21]
        1 │ grid: {params: [1M, 2M], tokens: [1M, 2M, 3M], combine: zip}
          ·                     ─┬                    ─┬
          ·                      │                     ╰── the last of 3
          ·                      ╰── the last of 2
          ╰────
         help: give them as many values each, or one value; `combine: product` crosses them, `points`
               lists cells
        "#
    );
}

#[test]
fn constraints_that_exclude_everything_or_mean_nothing() {
    let grid = |rule: &str| GRID.replace('}', &format!(", where: {rule}}}"));
    insta::assert_snapshot!(refused(&grid("concept_share > 0.6")), @r#"
         × `where` leaves no cell: it excludes all 1
          ╭─[a.yaml:1:83]
        1 │ grid: {params: 0.2M, tokens: 1M, compression_ratio: 4, concept_share: 0.5, where: concept_share > 0.6}
          ·                                                                                   ───────────────────
          ╰────
         help: loosen it; several constraints must all hold, `or` joins alternatives
        "#);
    insta::assert_snapshot!(refused(&grid("'conceptshare > 0.6'")), @r#"
         × this constraint cannot be used: there is no `conceptshare`
          ╭─[a.yaml:1:84]
        1 │ grid: {params: 0.2M, tokens: 1M, compression_ratio: 4, concept_share: 0.5, where: 'conceptshare > 0.6'}
          ·                                                                                    ────────────
          ╰────
         help: did you mean `concept_share`? words stand in quotes
        "#);
}

#[test]
fn impossible_shapes_are_shown_where_they_were_declared() {
    insta::assert_snapshot!(
        refused(&format!("{GRID}model: {{d_token: 128}}\n")), @r#"
         × no shape reaches N = 200000 with P = 0.500: the closest has N = 322464 and P = 0.310; change N
         │ or P, set a smaller `head_size`, or free a fixed width or depth
          ╭─[a.yaml:1:16]
        1 │ grid: {params: 0.2M, tokens: 1M, compression_ratio: 4, concept_share: 0.5}
          ·                ────                                                   ───
        2 │ model: {d_token: 128}
          ·                  ───
          ╰────
         help: shapes come within 1% of N and 0.01 of P, with whole heads and layers; `orchestrator plan`
               shows what was reached
        "#
    );
}

#[test]
fn settings_fit_each_other() {
    insta::assert_snapshot!(
        refused(&format!("{GRID}training: {{batch: 16}}\nexecution: {{micro_batch: 5}}\n")), @r#"
         × `micro_batch` 5 does not divide `batch` 16
          ╭─[a.yaml:2:19]
        1 │ grid: {params: 0.2M, tokens: 1M, compression_ratio: 4, concept_share: 0.5}
        2 │ training: {batch: 16}
          ·                   ──
        3 │ execution: {micro_batch: 5}
          ·                          ─
          ╰────
         help: for a batch of 16 it can be 16, 8, 4, 2, 1
        "#
    );
    for (text, message) in [
        (
            "training: {warmup: 0.9}",
            "warmup and decay take more than all steps",
        ),
        (
            "training: {branches: true, decay: 0}",
            "a branch is a decay, and there is none",
        ),
        (
            "training: {branches: yes please}",
            "`training.branches` cannot be `yes please`",
        ),
        (
            "training: {branches: [true, false]}",
            "`training.branches` takes one value, not a list",
        ),
        (
            "model: {seq_len: 3}",
            "a sequence of 3 tokens holds no concept of 4 tokens",
        ),
        (
            "data: {synthetic: {document_words: 4}}",
            "`document_words` has no meaning in a language of dialects",
        ),
        (
            "data: {synthetic: {skew: 0.5, language: cycles}}",
            "`skew` has no meaning in a language of cycles",
        ),
        (
            "data: {synthetic: {choices: 33}}",
            "of 32 words, 33 cannot follow one",
        ),
        (
            "data: {synthetic: {letters: 4}}",
            "4 letters begin only 16 different words",
        ),
        (
            "data: {text: a, synthetic: {}}",
            "`data` has both `text` and `synthetic`",
        ),
        (
            "data: {tokens: {train: a.bin}}",
            "`data.tokens` lacks `vocab`",
        ),
        (
            "data: {tokenizer: bytes}",
            "`tokenizer` has no meaning for these data",
        ),
        (
            "analysis: {bootstrap: [1]}",
            "`analysis.bootstrap` takes one value, not a list",
        ),
        ("baselines:", "`baselines` is empty"),
        ("name: a/b", "`name` cannot be `a/b`"),
        ("training: 3", "`training` cannot be `3`"),
    ] {
        let error = parse("a.yaml", &format!("{GRID}{text}\n")).expect_err(text);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn files_that_are_no_experiments() {
    insta::assert_snapshot!(refused(""), @r#"
        × a.yaml is empty: it declares nothing
        help: an experiment has the key `grid`; `experiments/quickstart.yaml` is one
        "#);
    insta::assert_snapshot!(refused("- a\n"), @r#"
         × an experiment cannot be a list
          ╭─[a.yaml:1:1]
        1 │ - a
          · ───
          ╰────
         help: an experiment is a mapping with the key `grid`; `experiments/quickstart.yaml` is one
        "#);
    insta::assert_snapshot!(refused("grid:\n\tparams: 1\n"), @r#"
         × not valid YAML: found character that cannot start any token
          ╭─[a.yaml:2:1]
        1 │ grid:
        2 │     params: 1
          · ──┬─
          ·   ╰── while scanning for the next token
          ╰────
         help: indent with spaces: YAML does not allow tabs there
        "#);
    insta::assert_snapshot!(refused("\u{7f}ELF\u{1}"), @r#"
        × a.yaml:1:1: the control character U+007F stands here: this is not a YAML text file
        help: give the experiment's YAML file; `experiments/quickstart.yaml` is one
        "#);
    insta::assert_snapshot!(refused("name: a\n"), @r#"
        × a.yaml trains nothing: it has neither `grid` nor `baselines`
        help: add `grid:` with `params`, `tokens`, `compression_ratio`, `concept_share`
        "#);
    insta::assert_snapshot!(shown(&parse("λ.yaml", GRID).expect_err("no name")), @r#"
        × no name for results can be made of `λ.yaml`
        help: add `name: NAME` in letters a to z, digits, `.`, `_` and `-`
        "#);
    assert!(parse("λ.yaml", &format!("name: lambda\n{GRID}")).is_ok());
    let error = decode("a.yaml", vec![b'a', 0xff]).expect_err("not UTF-8");
    insta::assert_snapshot!(shown(&error), @r#"
        × a.yaml: byte 1 is not UTF-8: this is not a YAML text file
        help: an experiment is a text file in UTF-8, such as `experiments/quickstart.yaml`
        "#);
}
