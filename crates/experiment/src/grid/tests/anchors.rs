//! What anchors, aliases and merge keys mean.

use super::{GRID, cells, parse, refused};

#[test]
fn merge_keys_stand_for_the_keys_they_name() {
    let shared = "base: &base\n  batch: 4\n  learning_rate: 2e-3\n";
    for training in [
        "training:\n  <<: *base\n  weight_decay: 0.01\n",
        "training: {weight_decay: 0.01, <<: [*base]}\n",
        // What is written beside them wins, whichever comes first.
        "own: &own {batch: 8, weight_decay: 0.01}\ntraining: {batch: 4, <<: [*own, *base]}\n",
        "own: &own {weight_decay: 0.01, <<: *base}\ntraining: *own\n",
    ] {
        let text = format!("{shared}{GRID}{training}");
        let [cell] = cells(&text)
            .try_into()
            .unwrap_or_else(|_| panic!("one cell: {text}"));
        let (recipe, rates) = (&cell.recipe, &cell.recipe.rates);
        assert_eq!(
            (recipe.batch, recipe.adamw.weight_decay),
            (4, 0.01),
            "{text}"
        );
        assert_eq!(
            (rates.token, rates.concept, rates.other),
            (2e-3, 2e-3, 2e-3)
        );
    }
    // Axes stand where the merge key does, and a later one of several wins nothing.
    let text = "a: &a {seed: [0, 1], params: 1M}\nb: &b {params: 2M}\n\
                grid: {tokens: [1M, 2M], <<: [*a, *b], compression_ratio: 4, concept_share: 0.5}\n";
    let seeds: Vec<u64> = cells(text).iter().map(|cell| cell.seed).collect();
    assert_eq!(seeds, [0, 1, 0, 1]);
}

#[test]
fn what_is_wrong_with_a_merged_key_is_shown_where_it_is_written() {
    insta::assert_snapshot!(
        refused(&format!("base: &base {{batch: 0}}\n{GRID}training: {{<<: *base}}\n")), @r#"
         × `training.batch` cannot be `0`
          ╭─[a.yaml:1:21]
        1 │ base: &base {batch: 0}
          ·                     ┬
          ·                     ╰── must be at least 1
        2 │ grid: {params: 0.2M, tokens: 1M, compression_ratio: 4, concept_share: 0.5}
          ╰────
         help: `training.batch` is a whole number from 1 to 1048576; the default is 16
        "#);
    insta::assert_snapshot!(refused(&format!("{GRID}training: {{<<: 3, batch: 4}}\n")), @r#"
         × `<<` cannot merge `3`
          ╭─[a.yaml:2:16]
        1 │ grid: {params: 0.2M, tokens: 1M, compression_ratio: 4, concept_share: 0.5}
        2 │ training: {<<: 3, batch: 4}
          ·                ─
          ╰────
         help: name a mapping by its anchor, as in `<<: *name`, or several: `<<: [*first, *second]`
        "#);
}

#[test]
fn only_what_is_shared_may_stand_under_a_name_of_its_own() {
    for (text, message) in [
        // An anchor that nothing names, and no anchor.
        ("base: &base {batch: 4}", "unknown key `base`"),
        ("base: {batch: 4}", "unknown key `base`"),
        // A slip of a section's name would lose what is under it.
        (
            "trainng: &t {batch: 4}\nbaselines: {training: *t}",
            "unknown key `trainng`",
        ),
        (
            "trainng: *t\nbaselines: {training: &t {batch: 4}}",
            "not valid YAML: unknown anchor",
        ),
        (
            "baselines: {training: &t {batch: 4}}\nother: *t",
            "unknown key `other`",
        ),
        ("training: {\"<<\": {batch: 4}}", "unknown key `<<`"),
        (
            "training: {<<: {batch: 4}, <<: {clip: 2}}",
            "the key `<<` is given twice",
        ),
        ("training: {<<: [[{batch: 4}]]}", "`<<` cannot merge a list"),
    ] {
        let error = parse("a.yaml", &format!("{GRID}{text}\n")).expect_err(text);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn merging_makes_nothing_grow_without_bound() {
    // Each level merges the one before ten times under names of its own.
    let levels: String = (1..9)
        .map(|i| {
            let keys: Vec<String> = (0..10)
                .map(|k| format!("k{k}: {{<<: *a{}}}", i - 1))
                .collect();
            format!("x{i}: &a{i} {{{}}}\n", keys.join(", "))
        })
        .collect();
    let error =
        parse("a.yaml", &format!("x0: &a0 {{a: 1}}\n{levels}{GRID}")).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "not valid YAML: repetition limit exceeded"
    );
}
