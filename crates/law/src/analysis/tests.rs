use super::simulated::{ASKER, FIRST, Grid, LARGE, QUICK, true_dense, true_dlcm};
use super::*;
use crate::fit::allocation::{Baseline, Budget, Domain, Range, Surface, Variable, optimum, saving};
use crate::row::rows;
use experiment::flops::Convention;
use experiment::quantity::Draws;
use experiment::record::RunRecord;
use experiment::run::{RunOutcome, RunState};

mod attribution;

fn analysed(runs: &[RunRecord], bootstrap: u16) -> AnalysisResult {
    let settings = Analysis {
        bootstrap: Draws::from(bootstrap),
        ..Analysis::default()
    };
    // Rates that were not tuned are a story of their own.
    simulated::tuned(simulated::analysed(runs, &settings))
}

fn cannot_fit(outcome: &LawOutcome) -> &CannotFit {
    match outcome {
        LawOutcome::CannotFit { why } => why,
        LawOutcome::Fitted(report) => panic!("fitted {} on {} runs", report.law, report.runs),
    }
}

#[test]
fn without_noise_the_whole_law_and_its_savings_are_recovered() {
    let runs = Grid {
        noise: 0.0,
        ..LARGE
    }
    .runs();
    let result = analysed(&runs, 0);
    let report = result.dlcm.report().expect("fitted");
    assert!(report.r2.expect("defined") > 0.999_999, "{:?}", report.r2);
    assert_eq!(report.at_tokens, None);
    let gamma = report.parameter("gamma").expect("there").value;
    assert!((gamma - 0.12).abs() < 1e-3, "{gamma}");
    let allocation = result.allocation.known().expect("known");
    assert!((allocation.times_largest - 1.0).abs() < 1e-6 && !allocation.stated);
    let best = &allocation.best;
    assert!(
        (best.flops / allocation.budget - 1.0).abs() < 1e-3,
        "the budget is used up"
    );
    for curve in &result.savings.known().expect("known").curves {
        let (true_saving, _) = truth(&result, &runs, curve.declared_ratio);
        let middle = middle_point(curve);
        let found = middle.training.expect("reachable");
        assert!((found - true_saving).abs() < 0.01, "{found} {true_saving}");
    }
}

#[test]
fn curves_of_equal_flops_cost_what_they_say_and_hold_the_optimum() {
    let runs = Grid {
        noise: 0.0,
        ..LARGE
    };
    let result = analysed(&runs.runs(), 30);
    let domain = Domain::default()
        .with(Variable::Params, Range::between(1e4, 1e9))
        .with(Variable::Tokens, Range::between(1e4, 1e11))
        .with(Variable::ConceptShare, Range::between(0.3, 0.7))
        .with(Variable::CompressionRatio, Range::between(2.0, 8.0));
    let surface = Surface::new(true_dlcm(), &[]).expect("a surface");
    let (mut dlcm, mut dense) = (0, 0);
    for curve in &result.isoflop {
        let Some(lowest) = curve.lowest() else {
            continue;
        };
        assert!(lowest.interval.is_some());
        if curve.dense {
            dense += 1;
            let loss = true_dense().predict(&[lowest.params, lowest.tokens]);
            assert!((loss / lowest.loss - 1.0).abs() < 1e-3, "{loss} {lowest:?}");
            continue;
        }
        dlcm += 1;
        let budget = Budget::training(curve.flops);
        let best = optimum(&surface, &result.cost, &domain, &budget).expect("an optimum");
        assert!(
            (best.loss / lowest.loss - 1.0).abs() < 2e-3,
            "{best:?} {lowest:?}"
        );
    }
    assert!(dlcm > 1 && dense > 1, "{dlcm} {dense}");
    let at_one_d = analysed(&FIRST.runs(), 0);
    assert!(at_one_d.isoflop.is_empty());
}

#[test]
fn the_runs_of_most_compute_are_predicted_from_the_others() {
    let exact = Grid {
        noise: 0.0,
        ..LARGE
    };
    let result = analysed(&exact.runs(), 20);
    for outcome in [&result.dlcm, &result.dense] {
        let report = outcome.report().expect("fitted");
        assert!(report.held_out.len() * 10 >= report.runs);
        for one in &report.held_out {
            let error = one.predicted / one.observed - 1.0;
            assert!(error.abs() < 1e-3, "{one:?}");
        }
        assert_eq!(report.draws.len(), 20);
        let parameters = report.parameters.len();
        assert!(report.draws.iter().all(|draw| draw.len() == parameters));
    }
    let few = analysed(&QUICK.runs(), 0);
    let report = few.dlcm.report().expect("fitted");
    assert!(report.held_out.is_empty() && report.draws.is_empty());
}

#[test]
fn one_d_gives_a_reduced_law_that_says_so() {
    let result = analysed(&FIRST.runs(), 60);
    let report = result.dlcm.report().expect("fitted");
    assert!(report.form.is_reduced() && report.at_tokens.is_some());
    assert!(report.parameter("alpha").is_none() && report.parameter("A_data").is_none());
    let dense = result.dense.report().expect("fitted");
    assert_eq!(dense.form, LawForm::DenseSharedFloor);
    let allocation = result.allocation.known().expect("known");
    assert_eq!(
        allocation.best.setting.tokens,
        report.at_tokens.expect("one D")
    );
    assert_eq!(allocation.by_ratio.len(), 3);
    assert_eq!(result.curves.len(), 9);
    let text = summary(&result, &ASKER, false);
    for words in [
        "reduced",
        "D is held",
        "R²",
        "FLOPs saved",
        "with a second seed",
    ] {
        assert!(text.contains(words), "{words} is missing in:\n{text}");
    }
}

/// Lines that a text takes on a terminal of 80 columns, its words never broken.
fn lines_of_80(text: &str) -> usize {
    let lines = text.lines().map(|line| {
        let mut column = 0;
        let mut lines = 1;
        for word in line.split(' ') {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > 80 {
                lines += 1;
                column = 2;
            }
            column += 1 + width;
        }
        lines
    });
    lines.sum()
}

#[test]
fn the_short_form_fits_a_screen() {
    let controls = |controls| Grid { controls, ..FIRST };
    for runs in [
        FIRST.runs(),
        QUICK.runs(),
        LARGE.runs(),
        controls(simulated::Controls::AsGood).runs(),
        controls(simulated::Controls::Worse).runs(),
    ] {
        let text = summary(&analysed(&runs, 30), &ASKER, true);
        // Below it stand where the report is, and the prompt.
        assert!(
            lines_of_80(&text) <= 22,
            "{} lines:\n{text}",
            lines_of_80(&text)
        );
    }
}

#[test]
fn a_stored_result_reads_back_and_says_the_same() {
    for runs in [FIRST.runs(), QUICK.runs(), Vec::new()] {
        let result = analysed(&runs, 20);
        let text = serde_json::to_string(&result).expect("serialises");
        let back: AnalysisResult = serde_json::from_str(&text).expect("reads back");
        assert_eq!(
            summary(&back, &ASKER, false),
            summary(&result, &ASKER, false)
        );
        if let LawOutcome::Fitted(report) = &back.dlcm {
            let named = |name: &str| report.parameter(name).map(|parameter| parameter.value);
            let law = report.form.fitted(named).expect("rebuilt");
            let run = &back.runs[0];
            let again = estimate::predict(&law, run.params, run.tokens, run.share, run.ratio);
            assert!((again - report.predicted[0].predicted).abs() < 1e-9);
        }
    }
}

#[test]
fn sizes_that_only_vary_with_tokens_are_none_at_one_d() {
    // Twenty tokens a parameter: at each D there is one N.
    let runs: Vec<RunRecord> = [(200_000, 4_000_000), (400_000, 8_000_000)]
        .iter()
        .flat_map(|&(size, tokens)| {
            let grid = Grid {
                sizes: &[size],
                tokens: &[tokens],
                dense_sizes: &[],
                ..FIRST
            };
            grid.runs()
        })
        .collect();
    assert!(matches!(
        cannot_fit(&analysed(&runs, 5).dlcm),
        CannotFit::TooFewSizes { found: 1, .. }
    ));
}

#[test]
fn few_or_broken_runs_are_never_fitted() {
    assert!(matches!(
        cannot_fit(&analysed(&[], 5).dlcm),
        CannotFit::NoRuns { .. }
    ));
    let mut runs = QUICK.runs();
    let one = analysed(&runs[..1], 5);
    assert!(matches!(
        cannot_fit(&one.dlcm),
        CannotFit::TooFewSizes { found: 1, .. }
    ));
    assert!(matches!(cannot_fit(&one.dense), CannotFit::NoRuns { .. }));
    assert!(one.allocation.known().is_none() && one.savings.known().is_none());
    let same_share: Vec<RunRecord> = runs
        .iter()
        .filter(|run| run.concept_share < 0.4)
        .cloned()
        .collect();
    assert!(matches!(
        cannot_fit(&analysed(&same_share, 5).dlcm),
        CannotFit::OneShare { .. }
    ));
    runs[0].loss = Some(f64::NAN);
    runs[3].loss = None;
    runs[5].outcome = Some(RunOutcome::Diverged);
    (runs[6].state, runs[6].outcome) = (RunState::Pending, None);
    let result = analysed(&runs, 5);
    assert!(matches!(
        cannot_fit(&result.dlcm),
        CannotFit::TooFewRuns { found: 4, .. }
    ));
    let reasons: Vec<&str> = result
        .left_out
        .iter()
        .map(|left| left.why.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "its held-out loss is NaN",
            "it has no held-out loss",
            "it ended as diverged",
            "it is pending"
        ]
    );
    assert!(summary(&result, &ASKER, false).contains("4 of 10 runs are not fitted"));
}

#[test]
fn losses_of_different_data_are_not_mixed() {
    let mut runs = FIRST.runs();
    let other = runs[3].spec.model_mut().expect("a model");
    other.facts.fingerprint = "ff".into();
    let result = analysed(&runs, 5);
    assert_eq!(
        cannot_fit(&result.dlcm),
        &CannotFit::SeveralDataSets { sets: 2 }
    );
    assert!(result.warnings[0].is_loud());
}

#[test]
fn unused_concepts_and_leaks_are_loud() {
    let mut runs = QUICK.runs();
    runs.iter_mut().for_each(|run| {
        run.concept_gain = run.concept_gain.map(|_| 0.001);
        let spec = run.spec.model_mut().expect("a model");
        spec.facts.entropy_floor = Some(100.0);
        run.axes.insert(
            "training.batch".into(),
            run.params.expect("known").to_string(),
        );
    });
    let result = analysed(&runs, 5);
    let loud: Vec<String> = result
        .warnings
        .iter()
        .filter(|w| w.is_loud())
        .map(ToString::to_string)
        .collect();
    let text = loud.join("\n");
    for words in [
        "are not identified",
        "a leak until proven otherwise",
        "`training.batch`",
    ] {
        assert!(text.contains(words), "{words} is missing in:\n{text}");
    }
    let said = summary(&result, &ASKER, true);
    assert!(said.contains("The saving is not the concepts'"), "{said}");
    assert!(said.contains("--verbose, or the report"), "{said}");
}

#[test]
fn replicates_tell_the_noise() {
    let runs = Grid {
        seeds: 4,
        noise: 0.02,
        ..QUICK
    }
    .runs();
    let noise = analysed(&runs, 5).seed_noise.expect("replicates");
    assert_eq!((noise.settings, noise.runs), (10, 40));
    assert!((noise.log / 0.02 - 1.0).abs() < 0.35, "{}", noise.log);
}

fn middle_point(curve: &SavingCurve) -> &SavingPoint {
    &curve.points[1]
}

/// The true saving at the second point of a curve, and the true best P at that R.
fn truth(result: &AnalysisResult, runs: &[RunRecord], declared: f64) -> (f64, f64) {
    let savings = result.savings.known().expect("known");
    let curve = savings
        .curves
        .iter()
        .find(|curve| curve.declared_ratio == declared);
    let curve = curve.expect("there");
    let allocation = result.allocation.known().expect("known");
    let [low, high] = allocation.sampled_shares;
    let params = runs.iter().map(|run| run.params.expect("known") as f64);
    let domain = Domain::default()
        .with(
            Variable::Params,
            Range::between(1e3, 1e4 * params.fold(0.0, f64::max)),
        )
        .with(Variable::Tokens, Range::fixed(savings.tokens))
        .with(Variable::ConceptShare, Range::between(low, high))
        .with(Variable::CompressionRatio, Range::fixed(curve.ratio));
    let dlcm = Surface::new(true_dlcm(), &[]).expect("known columns");
    let dense = Surface::new(true_dense(), &[]).expect("known columns");
    let baseline = Baseline {
        params: middle_point(curve).baseline,
        tokens: savings.tokens,
    };
    let saved = saving(&dense, &dlcm, &result.cost, &domain, baseline);
    let saved = saved.expect("a domain").expect("reachable").training;
    let budget = Budget::training(allocation.budget);
    let best = optimum(&dlcm, &result.cost, &domain, &budget).expect("affordable");
    (saved, best.setting.concept_share)
}

#[test]
fn conventions_are_named() {
    let settings = Analysis {
        bootstrap: Draws::from(5),
        flops_convention: Convention::SixNActive,
        ..Analysis::default()
    };
    let result = simulated::analysed(&FIRST.runs(), &settings);
    assert_eq!(
        result.allocation.known().expect("known").convention,
        "6N_active"
    );
    assert!(summary(&result, &ASKER, false).contains("6N_active"));
}

/// Counts how often intervals hold the truth; `cargo test --release -- --ignored coverage`.
#[test]
#[ignore = "takes minutes"]
fn coverage_of_the_intervals() {
    const TRIALS: u64 = 40;
    for (name, grid, declared) in [("first", FIRST, 4.0), ("quick", QUICK, 4.0)] {
        let (mut savings, mut shares, mut wide) = (0, 0, 0.0);
        for noise_seed in 0..TRIALS {
            let runs = Grid {
                noise_seed: 100 + noise_seed,
                ..grid
            }
            .runs();
            let result = analysed(&runs, 120);
            let (saved, share) = truth(&result, &runs, declared);
            let known = result.savings.known().expect("known");
            let curve = known
                .curves
                .iter()
                .find(|c| c.declared_ratio == declared)
                .expect("there");
            let [low, high] = middle_point(curve).interval;
            savings += u32::from(
                low.is_none_or(|low| low <= saved) && high.is_none_or(|high| high >= saved),
            );
            let by_ratio = &result.allocation.known().expect("known").by_ratio;
            let choice = by_ratio.iter().find(|c| c.declared_ratio == Some(declared));
            let [low, high] = choice.expect("there").intervals["concept_share"];
            shares += u32::from(low - 1e-3 <= share && share <= high + 1e-3);
            wide += high - low;
        }
        println!(
            "{name}: saving {savings}/{TRIALS}, P {shares}/{TRIALS}, mean width of P {:.2}",
            wide / TRIALS as f64
        );
        assert!(
            savings >= 34 && shares >= 34,
            "{name}: {savings} {shares} of {TRIALS}"
        );
    }
}
