//! Whose a saving is said to be, where the truth is known.

use super::super::cost::TokenOnlyCost;
use super::super::simulated::{ASKER, Controls, as_stored_before, true_control};
use super::*;
use crate::fit::allocation::{Cost, smallest_without_concepts};

/// Enough dense sizes for a floor of their own, and little noise.
const CLEAR: Grid<'static> = Grid {
    dense_sizes: &[200_000, 400_000, 800_000, 1_600_000],
    noise: 0.003,
    ..FIRST
};

/// Says that neither the summary nor the answer names a saving without saying whose it is not.
fn claims_nothing(result: &AnalysisResult) {
    assert!(!result.attribution().may_be_claimed());
    let text = summary(result, &ASKER, false);
    let mut verdict = false;
    for line in text.lines() {
        verdict |= line.starts_with("The saving is not the concepts'");
        let names_a_saving = line.contains('%') && line.contains("against");
        let marked = line.ends_with("(not the concepts')");
        assert!(!names_a_saving || verdict && marked, "{line}\nin\n{text}");
    }
    assert!(verdict, "{text}");
    let sentence = answer(result, &ASKER).text();
    assert!(sentence.contains("is not the concepts'"), "{sentence}");
    assert!(!sentence.contains('%'), "{sentence}");
}

#[test]
fn concepts_that_are_worth_nothing_save_nothing() {
    let runs = Grid {
        controls: Controls::AsGood,
        ..CLEAR
    }
    .runs();
    let result = analysed(&runs, 60);
    let worth = result.concept_worth.known().expect("controls");
    assert_eq!(worth.runs.len(), 27);
    assert!(worth.median.abs() < 0.02, "{worth:?}");
    let saved = result.savings.known().expect("known").headline(None);
    let saved = saved.expect("a point").1.training.expect("in reach");
    assert!(saved > 0.2, "the token level alone beats dense: {saved}");
    let Verdict::NotConcepts {
        why: NotConcepts::ControlDoesAsWell { .. },
    } = result.attribution().verdict
    else {
        panic!("{:?}", result.attribution());
    };
    claims_nothing(&result);
    let json = serde_json::to_value(&result).expect("serialises");
    let attribution = &json["attribution"];
    assert_eq!(attribution["verdict"], "not_concepts");
    let words = attribution["words"].as_str().expect("words");
    assert!(
        words.starts_with("The saving is not the concepts'"),
        "{words}"
    );
}

#[test]
fn concepts_that_save_are_given_their_part() {
    let runs = Grid {
        controls: Controls::Worse,
        ..CLEAR
    }
    .runs();
    let result = analysed(&runs, 100);
    let worth = result.concept_worth.known().expect("controls");
    assert!(
        worth.is_above_noise() && worth.above_noise > 15,
        "{worth:?}"
    );
    let attribution = result.attribution();
    let (Verdict::Concepts { part: Some(part) } | Verdict::Partly { part }) = attribution.verdict
    else {
        panic!("{attribution:?}");
    };
    let truth = true_part(&result, &runs);
    assert!((part.value - truth).abs() < 0.15, "{part:?} {truth}");
    let [low, high] = part.interval.expect("resamples");
    assert!(
        low - 0.02 <= truth && truth <= high + 0.02,
        "{part:?} {truth}"
    );
    let sentence = answer(&result, &ASKER).text();
    let told = format!("concepts have {part} of the saving");
    assert!(sentence.contains(&told), "{sentence}");
    let text = summary(&result, &ASKER, false);
    assert!(text.contains("Concepts are worth"), "{text}");
    assert!(text.contains("against the token level alone,"), "{text}");
}

/// The concepts' part of the saving that is named first, by the laws that made the runs.
fn true_part(result: &AnalysisResult, runs: &[RunRecord]) -> f64 {
    let savings = result.savings.known().expect("known");
    let (curve, point) = savings.headline(result.best_ratio()).expect("a point");
    let [low, high] = result.allocation.known().expect("known").sampled_shares;
    let largest = runs
        .iter()
        .map(|run| run.params.expect("known") as f64)
        .fold(0.0, f64::max);
    let sizes = Range::between(1e3, 1e4 * largest);
    let domain = Domain::default()
        .with(Variable::Params, sizes)
        .with(Variable::Tokens, Range::fixed(savings.tokens))
        .with(Variable::ConceptShare, Range::between(low, high))
        .with(Variable::CompressionRatio, Range::fixed(curve.ratio));
    let surface = |law| Surface::new(law, &[]).expect("known columns");
    let baseline = Baseline {
        params: point.baseline,
        tokens: savings.tokens,
    };
    let (dense, dlcm) = (surface(true_dense()), surface(true_dlcm()));
    let saved = saving(&dense, &dlcm, &result.cost, &domain, baseline);
    let saved = saved.expect("a domain").expect("reachable");
    let control = surface(true_control());
    let control = smallest_without_concepts(&control, savings.tokens, sizes, saved.target_loss);
    let control = control.expect("reachable").setting().shape();
    let alone = TokenOnlyCost(&result.cost).training_per_token(&control)
        / result.cost.training_per_token(&baseline.setting().shape());
    let whole = 1.0 - saved.training;
    ((alone / whole).ln() / -whole.ln()).clamp(0.0, 1.0)
}

#[test]
fn without_controls_nobody_knows_whose_a_saving_is() {
    let result = analysed(&CLEAR.runs(), 30);
    let attribution = result.attribution();
    let unknown = Verdict::Unknown {
        why: Untold::NoControls,
    };
    assert_eq!(attribution.verdict, unknown);
    let text = summary(&result, &ASKER, false);
    let words = "The concepts' part in the saving is not known: no controls were trained: add \
                 `controls: tokens`";
    assert!(text.contains(words), "{text}");
    let sentence = answer(&result, &ASKER).text();
    let words = "the concepts' part is not known";
    assert!(sentence.contains(words), "{sentence}");
}

#[test]
fn results_of_before_with_unused_concepts_claim_nothing() {
    let mut runs = CLEAR.runs();
    let result = as_stored_before(&analysed(&runs, 30));
    assert!(result.attribution().may_be_claimed());
    assert_eq!(result.runs, analysed(&runs, 0).runs);
    runs.iter_mut()
        .for_each(|run| run.concept_gain = run.concept_gain.map(|_| 0.001));
    let result = as_stored_before(&analysed(&runs, 30));
    let Verdict::NotConcepts {
        why: NotConcepts::Unused {
            runs: 27, of: 27, ..
        },
    } = result.attribution().verdict
    else {
        panic!("{:?}", result.attribution());
    };
    claims_nothing(&result);
}

#[test]
fn a_run_is_compared_with_its_own_token_level_and_seed() {
    let grid = Grid {
        controls: Controls::Worse,
        seeds: 2,
        ..QUICK
    };
    let mut runs = grid.runs();
    let result = analysed(&runs, 0);
    let worth = result.concept_worth.known().expect("controls");
    let loss = |runs: &[RunRecord], id: &experiment::run::RunId| {
        let run = runs.iter().find(|run| run.id == *id).expect("there");
        (run.loss.expect("finished"), run.seed)
    };
    assert_eq!(worth.runs.len(), 16);
    assert!(!worth.noise_is_assumed);
    for one in &worth.runs {
        let ((own, seed), [control]) = (loss(&runs, &one.run), &one.controls[..]) else {
            panic!("{one:?}");
        };
        let (other, other_seed) = loss(&runs, control);
        assert_eq!(seed, other_seed);
        assert!((one.worth - (other - own)).abs() < 1e-12);
    }
    assert_eq!(worth_by_run(&rows(&runs)).len(), 16);
    // Without a control of its own seed a run has the mean of all there are.
    let before = runs.len();
    runs.retain(|run| run.kind != ModelKind::TokenOnly || run.seed == 1);
    assert!(runs.len() < before);
    let result = analysed(&runs, 0);
    let worth = result.concept_worth.known().expect("controls");
    assert_eq!(worth.runs.len(), 16);
    // Another D is no control.
    for run in &mut runs {
        if run.kind == ModelKind::TokenOnly {
            run.tokens = run.tokens.map(|tokens| 2 * tokens);
        }
    }
    let none = analysed(&runs, 0);
    let Maybe::Unknown(why) = &none.concept_worth else {
        panic!("{:?}", none.concept_worth);
    };
    assert!(why.starts_with("no control has"), "{why}");
}

#[test]
fn controls_are_no_dense_models() {
    let with = Grid {
        controls: Controls::Worse,
        ..CLEAR
    };
    let (alone, with) = (analysed(&CLEAR.runs(), 0), analysed(&with.runs(), 0));
    assert_eq!(alone.dense, with.dense);
    assert_eq!(alone.dlcm, with.dlcm);
    let control = with.control.report().expect("fitted");
    assert!(control.runs >= 8, "{}", control.runs);
    assert!(with.left_out.is_empty());
}

#[test]
fn kinds_may_differ_in_what_they_are_trained_with() {
    let mut runs = Grid {
        controls: Controls::Worse,
        ..QUICK
    }
    .runs();
    for run in &mut runs {
        let rate = if run.kind == ModelKind::Dlcm {
            "1e-3"
        } else {
            "4e-3"
        };
        run.axes
            .insert("training.learning_rate".into(), rate.into());
        run.realised_training = run.realised_ratio.map(|ratio| 0.9 * ratio);
    }
    let result = analysed(&runs, 0);
    let other = |warning: &Warning| matches!(warning, Warning::OtherAxis { .. });
    assert!(!result.warnings.iter().any(other));
    let text = summary(&result, &ASKER, false);
    let off = "over the whole training R is more than 5% off the declared one in 8 of 8 runs";
    assert!(text.contains(off), "{text}");
    runs[0]
        .axes
        .insert("training.learning_rate".into(), "2e-3".into());
    assert!(analysed(&runs, 0).warnings.iter().any(other));
}
