//! Stories through [`parse`]: what a file means, and what is said when it means nothing.

mod anchors;
mod claims;
mod dialects;
mod mistakes;

use super::draft::Draft;
use super::key::Shown;
use super::settings::{AXES, settings};
use super::*;
use crate::recipe::Threshold;
use crate::run::TokenizerSpec;
use miette::{GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;
use std::collections::HashSet;

/// The smallest grid, to which a story adds what it is about.
const GRID: &str = "grid: {params: 0.2M, tokens: 1M, compression_ratio: 4, concept_share: 0.5}\n";

fn cells(text: &str) -> Vec<Cell> {
    parse("a.yaml", text)
        .unwrap_or_else(|error| panic!("{}", shown(&error)))
        .cells
}

fn shown(error: &GridError) -> String {
    let theme = GraphicalTheme::unicode_nocolor();
    let mut text = String::new();
    GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .render_report(&mut text, error)
        .expect("writing into a string");
    text
}

fn refused(text: &str) -> String {
    shown(&parse("a.yaml", text).expect_err("should be refused"))
}

/// Lists the cells' axes as `0.2M/4/…`.
fn axes(text: &str) -> Vec<String> {
    let written = |cell: &Cell| {
        cell.axes
            .iter()
            .map(|(_, v)| v.as_str())
            .collect::<Vec<_>>()
            .join("/")
    };
    cells(text).iter().map(written).collect()
}

#[test]
fn the_shipped_experiments_are_what_their_comments_say() {
    let quickstart = include_str!("../../../../experiments/quickstart.yaml");
    let experiment = parse("experiments/quickstart.yaml", quickstart).expect("valid");
    assert_eq!(experiment.name, "quickstart");
    let dense = |cell: &&Cell| cell.kind == CellKind::Dense;
    assert_eq!(experiment.cells.iter().filter(dense).count(), 4);
    let kinds: HashSet<_> = experiment
        .cells
        .iter()
        .map(|cell| cell.kind.model())
        .collect();
    assert_eq!(kinds.len(), 3);
    assert!(matches!(experiment.cells[0].data, DataSpec::Synthetic(_)));
    let text = include_str!("../../../../experiments/text.yaml");
    let beside = "{baselines: {params: 1M, tokens: 1M}, data: {text: [a.txt, /b.txt, ../c.txt]}}";
    let experiment = parse("my/own.yaml", beside).expect("valid");
    let DataSpec::Text { text: paths, .. } = &experiment.cells[0].data else {
        panic!("no text");
    };
    assert_eq!(paths, &["my/a.txt", "/b.txt", "my/../c.txt"]);
    let overrides = [("data.text".to_owned(), "other.txt".to_owned())];
    let experiment = parse_with_overrides("text.yaml", text, &overrides).expect("valid");
    assert_eq!(
        (experiment.name.as_str(), experiment.cells.len()),
        ("text", 97)
    );
    assert_eq!(
        experiment.cells[0].data,
        DataSpec::text(
            vec!["other.txt".into()],
            TokenizerSpec::Bpe { vocab: 1024 },
            0.1
        )
    );
}

#[test]
fn the_default_recipe_is_the_tried_one() {
    let cell = cells(GRID).remove(0);
    let recipe = &cell.recipe;
    assert_eq!(
        (recipe.tokens, recipe.batch, recipe.validations),
        (0, 16, 5)
    );
    assert_eq!((recipe.rates.token, recipe.rates.base_width), (2e-3, 64));
    assert_eq!((recipe.schedule.warmup, recipe.schedule.decay), (0.05, 0.2));
    assert_eq!(recipe.boundary.threshold, Threshold::Calibrated);
    assert_eq!(cell.size.params(), Some(Params(200_000)));
    assert_eq!(
        (cell.size.flops(), cell.size.is_explicit_shape()),
        (None, false)
    );
}

#[test]
fn a_product_runs_through_the_last_axis_first() {
    let text = "grid: {params: [0.2M, 0.4M], tokens: 1M, compression_ratio: [2, 4], \
                concept_share: 0.5}\ntraining: {batch: [8, 16]}\n";
    insta::assert_snapshot!(axes(text).join("\n"), @r#"
        0.2M/1M/2/0.5/8
        0.2M/1M/2/0.5/16
        0.2M/1M/4/0.5/8
        0.2M/1M/4/0.5/16
        0.4M/1M/2/0.5/8
        0.4M/1M/2/0.5/16
        0.4M/1M/4/0.5/8
        0.4M/1M/4/0.5/16
        "#);
    assert_eq!(cells(text)[1].recipe.batch, 16);
}

#[test]
fn a_zip_takes_values_side_by_side_and_repeats_single_ones() {
    let text = "grid: {params: [0.2M, 0.4M], tokens: [1M, 2M], compression_ratio: 4, \
                concept_share: [0.5], combine: zip}\n";
    assert_eq!(axes(text), ["0.2M/1M/4/0.5", "0.4M/2M/4/0.5"]);
}

#[test]
fn points_stand_beside_a_whole_grid_or_are_completed_by_a_partial_one() {
    let beside = format!("{GRID}\n").replace('}', ", points: [{params: 0.4M}, {seed: 3}]}");
    assert_eq!(
        axes(&beside),
        ["0.2M/1M/4/0.5", "1M/4/0.5/0.4M", "0.2M/1M/4/0.5/3"]
    );
    let partial = "grid: {tokens: 1M, compression_ratio: 4, seed: [0, 1], points: [{params: 0.2M, \
                   concept_share: 0.3}, {params: 0.4M, flops: 1e13, concept_share: 0.5, \
                   training.batch: 8}]}\n";
    insta::assert_snapshot!(axes(partial).join("\n"), @r#"
        1M/4/0/0.2M/0.3
        1M/4/1/0.2M/0.3
        4/0/0.4M/1e13/0.5/8
        4/1/0.4M/1e13/0.5/8
        "#);
    assert_eq!(
        cells(partial)[2].size,
        Size::ParamsFlops(Params(400_000), Flops(1e13))
    );
    assert_eq!(cells(partial)[2].recipe.batch, 8);
}

#[test]
fn constraints_choose_cells() {
    let text = "grid: {params: [0.2M, 0.4M], tokens: 1M, compression_ratio: 4, concept_share: \
                [0.3, 0.5], where: [concept_share < 0.4 or params > 0.3M, \"seed == 0\"]}\n";
    assert_eq!(
        axes(text),
        ["0.2M/1M/4/0.3", "0.4M/1M/4/0.3", "0.4M/1M/4/0.5"]
    );
}

#[test]
fn every_default_is_a_value_of_its_key() {
    let base = cells(GRID).remove(0);
    for key in settings() {
        let default = match (key.get)(&Draft::default()) {
            Shown::Number(x) => x.to_string(),
            Shown::Word(word) => word,
            Shown::Flag(on) => on.to_string(),
            Shown::Nothing => continue,
        };
        // These belong to other data than the default ones.
        if ["data.t", "data.v", "data.doubtful"]
            .iter()
            .any(|prefix| key.path.starts_with(prefix))
        {
            continue;
        }
        let experiment = parse_with_overrides("a.yaml", GRID, &[(key.path.into(), default)])
            .unwrap_or_else(|error| panic!("{}", shown(&error)));
        assert_eq!(
            experiment.cells,
            std::slice::from_ref(&base),
            "{}",
            key.path
        );
        assert_eq!(experiment.analysis, Analysis::default());
    }
}

#[test]
fn what_is_there_twice_is_trained_once() {
    let text = "grid: {params: [200K, 0.2M, 2e5], tokens: 1M, compression_ratio: 4, \
                concept_share: 0.5, points: [{seed: 0}, {training.batch: 16}]}\n";
    assert_eq!(cells(text).len(), 1);
}

#[test]
fn baselines_take_what_they_do_not_say_from_the_grid() {
    let of = |grid: &str, baselines: &str| {
        let text = format!(
            "grid: {{compression_ratio: 4, concept_share: 0.5, {grid}}}\nbaselines: {baselines}\n"
        );
        let dense = |cell: &Cell| cell.kind == CellKind::Dense;
        cells(&text)
            .into_iter()
            .filter(dense)
            .map(|c| (c.size, c.seed))
            .collect::<Vec<_>>()
    };
    let (params, tokens) = (Params(200_000), TokenBudget::PerParam(20.0));
    let size = Size::ParamsTokens(params, tokens);
    let two = of(
        "params: 1M, tokens: 20 per param, seed: [0, 1]",
        "{params: 0.2M}",
    );
    assert_eq!(two, [(size, 0), (size, 1)]);
    let iso = of(
        "tokens: 1M, flops: 1e13",
        "{params: 0.2M, flops: 2e12, seed: 7}",
    );
    assert_eq!(iso, [(Size::ParamsFlops(params, Flops(2e12)), 7)]);
    let point = of(
        "params: 1M, tokens: 1M",
        "{points: [{params: 0.2M, tokens: 20 per param}]}",
    );
    assert_eq!(point, [(size, 0)]);
}

#[test]
fn settings_of_the_other_kind_make_no_axis() {
    let text = format!(
        "{GRID}baselines: {{params: 0.2M}}\ntraining: {{aux_weight: [0.05, 0.1]}}\n\
         model: {{dense_layers: [4, 8]}}\n"
    );
    let dense = cells(&text)
        .iter()
        .filter(|cell| cell.kind == CellKind::Dense)
        .count();
    assert_eq!((dense, cells(&text).len()), (2, 4));
}

#[test]
fn an_explicit_shape_needs_no_params() {
    let text = "grid: {tokens: 1M, compression_ratio: 4}\nmodel: {d_token: 64, d_concept: 128, \
                encoder_layers: 3, backbone_layers: 2, decoder_layers: 2}\n";
    let cell = cells(text).remove(0);
    assert!(cell.size.is_explicit_shape());
    assert_eq!(
        cell.kind,
        CellKind::Dlcm {
            concept_share: None,
            compression_ratio: 4.0
        }
    );
}

#[test]
fn replacements_reach_every_key_and_are_shown_when_wrong() {
    let with = |path: &str, value: &str| {
        parse_with_overrides("a.yaml", GRID, &[(path.to_owned(), value.to_owned())])
    };
    assert_eq!(with("name", "b").expect("valid").name, "b");
    assert_eq!(
        with("grid.params", "[1M, 2M]").expect("valid").cells.len(),
        2
    );
    assert_eq!(
        with("execution.threads", "2")
            .expect("valid")
            .execution
            .threads,
        Some(2)
    );
    let error = with("training.batch", "[16, x]").expect_err("no number");
    insta::assert_snapshot!(shown(&error), @r#"
         × `training.batch` cannot be `x`
          ╭─[--set:1:21]
        1 │ training.batch=[16, x]
          ·                     ┬
          ·                     ╰── `x` is not a number; write it like 250000, 0.5M, 200B or 1e18
          ╰────
         help: `training.batch` is a whole number from 1 to 1048576; the default is 16
        "#);
}

#[test]
fn a_hundred_thousand_cells_expand_at_once() {
    let seeds: Vec<String> = (0..1000).map(|seed| seed.to_string()).collect();
    let text = format!(
        "grid: {{params: [0.2M, 0.4M], tokens: 1M, compression_ratio: [2, 3, 4, 6, 8], \
         concept_share: [0.3, 0.4, 0.5, 0.6, 0.7], seed: [{}]}}\ntraining: {{batch: [8, 16]}}\n",
        seeds.join(", ")
    );
    let started = std::time::Instant::now();
    assert_eq!(cells(&text).len(), 100_000);
    // Under a second when optimised; the bound leaves room for slow machines and debug builds.
    let bound = if cfg!(debug_assertions) { 60 } else { 5 };
    assert!(
        started.elapsed().as_secs() < bound,
        "{:?}",
        started.elapsed()
    );
}

/// Values at and beyond the bounds of every form.
const VALUES: [&str; 20] = [
    "0",
    "1",
    "2",
    "3",
    "16",
    "64",
    "4096",
    "1048576",
    "16777216",
    "1e18",
    "18446744073709551615",
    "0.5",
    "0.9999999",
    "1.0000001",
    "-1",
    "full",
    "[]",
    "[1, 2]",
    "1e-300",
    ".nan",
];

fn list(values: &[usize], unit: &str) -> String {
    let values: Vec<String> = values.iter().map(|v| format!("{v}{unit}")).collect();
    format!("[{}]", values.join(", "))
}

proptest! {
    #[test]
    fn a_product_has_every_combination_in_order(
        tokens in proptest::sample::subsequence((1..9).collect::<Vec<_>>(), 1..4),
        ratios in proptest::sample::subsequence((2..9).collect::<Vec<_>>(), 1..4),
        seeds in proptest::sample::subsequence((0..9).collect::<Vec<_>>(), 1..4),
    ) {
        let text = format!(
            "grid: {{params: 0.2M, concept_share: 0.5, tokens: {}, compression_ratio: {}, seed: {}}}",
            list(&tokens, "M"), list(&ratios, ""), list(&seeds, "")
        );
        let cells = cells(&text);
        prop_assert_eq!(cells.len(), tokens.len() * ratios.len() * seeds.len());
        let mut expected = Vec::new();
        for t in &tokens {
            for r in &ratios {
                for s in &seeds {
                    expected.push(format!("0.2M/0.5/{t}M/{r}/{s}"));
                }
            }
        }
        prop_assert_eq!(axes(&text), expected);
    }

    #[test]
    fn no_damaged_experiment_panics(
        cut in 0..2000_usize, length in 0..40_usize, patch in "\\PC{0,6}|[0-9eE.\\-]{1,20}|[\\[{:,]"
    ) {
        for text in [
            include_str!("../../../../experiments/text.yaml"),
            "grid: {params: [1e5, 0.2M], tokens: 3 per param, compression_ratio: 4, concept_share: 0.5, \
             where: params > 1, points: [{seed: 3, training.batch: 4}]}\nmodel: {head_size: 16, d_token: \
             32, d_concept: 64, query_group: 2, encoder_layers: 1}\nbaselines: {params: 1M}\n",
        ] {
            let characters: Vec<char> = text.chars().collect();
            let cut = cut.min(characters.len());
            let end = (cut + length).min(characters.len());
            let damaged: String = characters[..cut]
                .iter()
                .copied()
                .chain(patch.chars())
                .chain(characters[end..].iter().copied())
                .collect();
            if let Err(error) = parse("a.yaml", &damaged) {
                prop_assert!(error.problems().count() > 0);
                shown(&error);
            }
        }
    }

    #[test]
    fn no_value_of_any_key_panics(
        sizes in proptest::collection::vec((0..AXES.len(), 0..VALUES.len()), 0..2),
        chosen in proptest::collection::vec((0..settings().count(), 0..VALUES.len()), 1..6),
    ) {
        let sizes = sizes.iter().map(|&(key, value)| {
            (format!("grid.{}", AXES[key].path), VALUES[value].to_owned())
        });
        let settings = chosen.iter().filter_map(|&(key, value)| {
            Some((settings().nth(key)?.path.to_owned(), VALUES[value].to_owned()))
        });
        let overrides: Vec<(String, String)> = sizes.chain(settings).collect();
        let text = format!("{GRID}baselines: {{params: 0.3M}}\n");
        if let Err(error) = parse_with_overrides("a.yaml", &text, &overrides) {
            prop_assert!(error.problems().count() > 0);
            shown(&error);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
        if let Ok(text) = decode("a.yaml", bytes) {
            let _ = parse("a.yaml", &text);
        }
    }
}

#[test]
fn controls_are_the_token_levels_of_the_grid_with_values_of_their_own() {
    let text = "grid: {params: [0.2M, 0.4M], tokens: 1M, compression_ratio: [2, 4], \
                concept_share: [0.3, 0.5], seed: [0, 1], where: params < 0.3M or concept_share > 0.4}\n\
                training: {learning_rate: 1e-3, aux_weight: [0.05, 0.1]}\n\
                controls: {tokens: [level, params], training: {learning_rate: [2e-3, 3e-3]}}\n\
                baselines: {params: 0.2M, training: {learning_rate: 5e-4, batch: 8}}\n";
    let experiment = parse("t.yaml", text).expect("valid");
    let of = |kind: ModelKind| -> Vec<&Cell> {
        let cells = experiment.cells.iter();
        cells.filter(|cell| cell.kind.model() == kind).collect()
    };
    assert_eq!(of(ModelKind::Dlcm).len(), 3 * 2 * 2 * 2);
    for cell in of(ModelKind::Dlcm) {
        assert_eq!(cell.recipe.rates.concept, 1e-3);
    }
    for cell in of(ModelKind::Dense) {
        assert_eq!((cell.recipe.rates.token, cell.recipe.batch), (5e-4, 8));
    }
    let controls = of(ModelKind::TokenOnly);
    // By N and P where it is their token level, and R, whose runs are the same; and by N.
    assert_eq!(controls.len(), (3 * 2 + 2) * 2 * 2);
    for cell in controls {
        assert!([2e-3, 3e-3].contains(&cell.recipe.rates.token));
        assert_eq!(cell.recipe.batch, 16);
        let names: Vec<&str> = cell.axes.iter().map(|(name, _)| name.as_str()).collect();
        assert!(!names.contains(&"compression_ratio") && !names.contains(&"training.aux_weight"));
        assert!(names.contains(&"training.learning_rate"), "{names:?}");
    }
}

#[test]
fn rates_that_were_found_are_given_to_families_without_one_of_their_own() {
    let text = format!(
        "{GRID}\nbaselines: {{params: 0.2M, training: {{learning_rate: 5e-4}}}}\ncontrols: tokens\n\
         tune: {{learning_rate: [4e-3, 1e-3, 2e-3], check: false}}\n"
    );
    let experiment = parse("t.yaml", &text).expect("valid");
    assert_eq!(experiment.tune.learning_rate, [1e-3, 2e-3, 4e-3]);
    assert!(!experiment.tune.check);
    let found = ModelKind::ALL.map(|kind| (kind, 2e-3)).into();
    for cell in experiment.with_rates(&found).cells {
        let rate = match cell.kind {
            CellKind::Dense => 5e-4,
            _ => 2e-3,
        };
        assert_eq!(cell.recipe.rates.token, rate, "{:?}", cell.kind);
    }
}
