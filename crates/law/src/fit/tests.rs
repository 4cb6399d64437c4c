//! What fits make of good, bad and misleading data.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::diagnostics::{Warning, Why};
use super::law::by_name;
use super::*;

const TRUTH: [f64; 5] = [1.8, 480.0, 2100.0, 0.35, 0.37];

/// Rows of a Chinchilla law on a grid, with a relative error that has no pattern.
fn grid(truth: &[f64; 5], error: f64) -> [Vec<f64>; 3] {
    let (mut n, mut d, mut loss) = (Vec::new(), Vec::new(), Vec::new());
    let mut row = 0.0_f64;
    for params in [2e7, 6e7, 2e8, 6e8, 2e9, 6e9] {
        for tokens in [1e9, 4e9, 1.6e10, 6.4e10, 2.6e11] {
            row += 1.0;
            let [e, a, b, alpha, beta] = truth;
            let value = e + a / f64::powf(params, *alpha) + b / f64::powf(tokens, *beta);
            n.push(params);
            d.push(tokens);
            loss.push(value * (error * (row * 2.399).sin()).exp());
        }
    }
    [n, d, loss]
}

fn observations(columns: [Vec<f64>; 3]) -> Observations {
    Observations::new(["params", "tokens", "loss"].into_iter().zip(columns)).unwrap()
}

fn chinchilla(data: &Observations) -> Result<Fit, FitError> {
    fit(
        &by_name("chinchilla").unwrap(),
        data,
        &FitOptions::default(),
    )
}

fn why<'a>(fit: &'a Fit, parameter: &str) -> Option<&'a Why> {
    fit.unidentified
        .iter()
        .find(|u| u.parameter == parameter)
        .map(|u| &u.why)
}

#[test]
fn too_few_rows_are_refused() {
    let data = observations(grid(&TRUTH, 0.0).map(|c| c[..3].to_vec()));
    let message = chinchilla(&data).unwrap_err().to_string();
    assert!(
        message.contains("3 rows") && message.contains("5 parameters"),
        "{message}"
    );
}

#[test]
fn repeated_rows_do_not_count_as_more() {
    let data = observations(grid(&TRUTH, 0.0).map(|c| [&c[..3], &c[..3]].concat()));
    assert!(matches!(
        chinchilla(&data).unwrap_err(),
        FitError::Observations(ObservationError::TooFew {
            rows: 6,
            distinct: 3,
            ..
        })
    ));
}

#[test]
fn bad_values_are_named_by_row_and_column() {
    for bad in [f64::NAN, f64::INFINITY, 0.0, -2.0] {
        let mut columns = grid(&TRUTH, 0.0);
        columns[2][6] = bad;
        let message = chinchilla(&observations(columns)).unwrap_err().to_string();
        assert!(
            message.contains("row 7") && message.contains("`loss`"),
            "{message}"
        );
    }
}

#[test]
fn one_size_only_is_marked() {
    let mut columns = grid(&TRUTH, 0.003);
    columns[0].fill(1e9);
    let fit = chinchilla(&observations(columns)).unwrap();
    for parameter in ["E", "A", "alpha"] {
        let single_valued = vec!["params".to_owned()];
        assert_eq!(
            why(&fit, parameter),
            Some(&Why::Degenerate { single_valued }),
            "{parameter}"
        );
    }
    assert_eq!(why(&fit, "beta"), None);
    assert!(fit.identification.condition_number.is_none());
}

#[test]
fn one_token_count_only_is_marked() {
    let mut columns = grid(&TRUTH, 0.003);
    columns[1].fill(2e10);
    let fit = chinchilla(&observations(columns)).unwrap();
    for parameter in ["E", "B", "beta"] {
        assert!(
            matches!(why(&fit, parameter), Some(Why::Degenerate { .. })),
            "{parameter}"
        );
    }
    assert_eq!(why(&fit, "alpha"), None);
}

#[test]
fn one_ratio_only_is_marked() {
    let law = by_name("dlcm").unwrap();
    let truth = [
        1.6, 110.0, 2e7, 0.3, 55.0, 0.15, 3e7, 0.28, 850.0, 1e9, 0.33,
    ];
    let truth = FittedLaw::from_parts(law.clone(), truth.to_vec()).unwrap();
    let mut columns = vec![Vec::new(); 5];
    for row in 0..160_u32 {
        let part = |k: u32| f64::from((row * k) % 161) / 161.0;
        let at = [
            3e8 * 10_f64.powf(part(37)),
            1e10 * 30_f64.powf(part(59)),
            4.0,
            0.1 + 0.8 * part(83),
        ];
        let noise = 0.002 * (f64::from(row) * 2.399).sin();
        let values = at.into_iter().chain([truth.predict(&at) * noise.exp()]);
        columns.iter_mut().zip(values).for_each(|(c, v)| c.push(v));
    }
    let names = [
        "params",
        "tokens",
        "compression_ratio",
        "concept_share",
        "loss",
    ];
    let data = Observations::new(names.into_iter().zip(columns)).unwrap();
    let fit = fit(&law, &data, &FitOptions::default()).unwrap();
    let single_valued = vec!["compression_ratio".to_owned()];
    for parameter in ["A_concept", "gamma"] {
        let single_valued = single_valued.clone();
        assert_eq!(
            why(&fit, parameter),
            Some(&Why::Degenerate { single_valued }),
            "{parameter}"
        );
    }
}

#[test]
fn tokens_in_step_with_size_are_marked() {
    let mut columns = grid(&TRUTH, 0.003);
    columns[1] = columns[0].iter().map(|n| 20.0 * n).collect();
    let fit = chinchilla(&observations(columns)).unwrap();
    assert!(!fit.unidentified.is_empty(), "{:?}", fit.identification);
}

#[test]
fn as_many_rows_as_parameters_leave_nothing_to_judge_by() {
    let rows = [0, 6, 13, 22, 29];
    let columns = grid(&TRUTH, 0.003).map(|c| rows.map(|row| c[row]).to_vec());
    let fit = chinchilla(&observations(columns)).unwrap();
    assert_eq!(fit.unidentified.len() + fit.at_bound.len(), 5, "{fit:?}");
    let text = serde_json::to_string(&fit).unwrap();
    assert_eq!(serde_json::from_str::<Fit>(&text).unwrap(), fit);
}

#[test]
fn rows_without_weight_do_not_count() {
    let mut weights = vec![0.0; 30];
    weights[..4].fill(1.0);
    let data = observations(grid(&TRUTH, 0.0))
        .with_weights(weights)
        .unwrap();
    let error = chinchilla(&data).unwrap_err();
    assert!(
        matches!(
            error,
            FitError::Observations(ObservationError::TooFew { distinct: 4, .. })
        ),
        "{error}"
    );
}

#[test]
fn outliers_do_not_carry_the_fit_away() {
    let [n, d, mut loss] = grid(&TRUTH, 0.001);
    for row in [3, 11, 26] {
        loss[row] *= 1.5;
    }
    let fit = chinchilla(&observations([n, d, loss])).unwrap();
    assert!(
        (fit.parameters["alpha"] / 0.35 - 1.0).abs() < 0.1,
        "{:?}",
        fit.parameters
    );
    let mut worst: Vec<usize> = fit
        .goodness
        .worst_rows
        .iter()
        .map(|(row, _)| *row)
        .collect();
    worst.truncate(3);
    worst.sort_unstable();
    assert_eq!(worst, [3, 11, 26]);
}

#[test]
fn a_loss_that_rises_with_size_is_marked() {
    let [n, d, loss] = grid(&[1.8, 0.0, 2100.0, 0.35, 0.37], 0.003);
    let loss = loss
        .iter()
        .zip(&n)
        .map(|(l, n)| l + 0.02 * n.powf(0.15))
        .collect();
    let fit = chinchilla(&observations([n, d, loss])).unwrap();
    assert!(
        fit.warnings
            .iter()
            .any(|w| matches!(w, Warning::Rises { column, .. } if column == "params"))
    );
    assert!(
        fit.at_bound
            .iter()
            .any(|b| b.parameter == "A" || b.parameter == "alpha")
    );
}

#[test]
fn losses_in_bits_are_marked() {
    let [n, d, loss] = grid(&TRUTH, 0.003);
    let bits = loss.iter().map(|l| l / std::f64::consts::LN_2).collect();
    let nats = chinchilla(&observations([n.clone(), d.clone(), loss])).unwrap();
    let bits = chinchilla(&observations([n, d, bits])).unwrap();
    let suspicious = |fit: &Fit| {
        fit.warnings
            .iter()
            .any(|w| matches!(w, Warning::LooksLikeBits { .. }))
    };
    assert!(suspicious(&bits) && !suspicious(&nats));
}

#[test]
fn runs_entered_twice_are_counted() {
    let data = observations(grid(&TRUTH, 0.003).map(|c| [&c[..], &c[..4]].concat()));
    assert!(
        chinchilla(&data)
            .unwrap()
            .warnings
            .contains(&Warning::Duplicates { rows: 4 })
    );
}

#[test]
fn a_stored_fit_predicts_and_marks_extrapolation() {
    let fit = chinchilla(&observations(grid(&TRUTH, 0.0))).unwrap();
    let far = fit.predict(|_| Some(1e11)).unwrap();
    assert_eq!(far.extrapolates.len(), 1);
    assert_eq!(far.extrapolates[0].column, "params");
    let near = fit.predict(|_| Some(6e9)).unwrap();
    assert!(near.extrapolates.is_empty());
    assert!(
        fit.predict(|name| (name == "params").then_some(1e9))
            .is_err()
    );
}

#[test]
fn weights_count_rows() {
    let columns = grid(&TRUTH, 0.01);
    let twice = observations(columns.clone().map(|c| [&c[..], &c[..7]].concat()));
    let weights = (0..30).map(|row| if row < 7 { 2.0 } else { 1.0 }).collect();
    let weighted = observations(columns).with_weights(weights).unwrap();
    let (a, b) = (chinchilla(&twice).unwrap(), chinchilla(&weighted).unwrap());
    assert!((a.objective / b.objective - 1.0).abs() < 1e-12);
    assert!((a.parameters["alpha"] - b.parameters["alpha"]).abs() < 1e-9);
}

#[test]
fn every_law_recovers_itself() {
    let parameters: [(&str, &[f64]); 6] = [
        ("chinchilla", &TRUTH),
        ("kaplan", &[6.4e13, 1.8e13, 0.076, 0.103]),
        ("power:params,tokens", &[1.8, 480.0, 0.35, 2100.0, 0.37]),
        ("gamma", &[1.5, 3000.0, 18000.0, 0.43, 0.45, 0.6]),
        (
            "data_constrained",
            &[1.87, 521.0, 1488.0, 0.353, 0.353, 15.4, 5.3],
        ),
        ("dlcm_decay", &[0.01, 1.8, -0.1, 0.06]),
    ];
    for (name, truth) in parameters {
        let law = by_name(name).unwrap();
        let predictor = FittedLaw::from_parts(law.clone(), truth.to_vec()).unwrap();
        let inputs = law.inputs();
        let mut columns = vec![Vec::new(); inputs.len() + 1];
        for row in 0..150_u32 {
            let part = |k: u32| f64::from((row * k) % 151) / 151.0;
            let at: Vec<f64> = inputs
                .iter()
                .map(|input| match input.name.as_str() {
                    "params" => 1e7 * 1e3_f64.powf(part(37)),
                    "tokens" => 1e9 * 1e3_f64.powf(part(59)),
                    "unique_tokens" => 2e8 * 1e2_f64.powf(part(83)),
                    "stable_loss" => 2.0 + part(37),
                    _ => 1.0 + 7.0 * part(59),
                })
                .collect();
            columns.iter_mut().zip(&at).for_each(|(c, v)| c.push(*v));
            columns[inputs.len()].push(predictor.predict(&at));
        }
        let names = inputs.iter().map(|i| i.name.clone());
        let names = names.chain([law.response().to_owned()]);
        let data = Observations::new(names.zip(columns)).unwrap();
        let fit = fit(&law, &data, &FitOptions::default()).unwrap();
        for (parameter, truth) in law.parameters().iter().zip(truth) {
            let found = fit.parameters[&parameter.name];
            let error = (found / truth - 1.0).abs();
            assert!(
                error < 1e-6,
                "{name}: {} is {found}, not {truth}",
                parameter.name
            );
        }
        assert!(fit.converged(), "{name}: {:?}", fit.outcome);
    }
}

/// A law's truth over random sizes, at a random scale of sizes and losses, with noise and outliers.
fn drawn(law: &str, seed: u64) -> (std::sync::Arc<dyn Law>, Observations) {
    let law = by_name(law).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut between = move |low: f64, high: f64| low + (high - low) * random.random::<f64>();
    let center = 10_f64.powf(between(3.0, 12.0));
    let scale = 10_f64.powf(between(-3.0, 3.0));
    let error = 10_f64.powf(between(-4.0, -1.7));
    let rows = between(14.0, 60.0) as usize;
    let frame = law::Frame {
        sizes: law
            .inputs()
            .iter()
            .map(|input| match input.name.as_str() {
                "compression_ratio" => 4.0,
                "stable_loss" => 2.5,
                _ => center,
            })
            .collect(),
        response: scale,
    };
    let internal: Vec<f64> = law
        .parameters()
        .iter()
        .map(|parameter| {
            let value = between(parameter.start.0, parameter.start.1);
            match parameter.role {
                law::Role::Linear => value.max(0.02),
                _ => value,
            }
        })
        .collect();
    let truth = FittedLaw::from_parts(law.clone(), law.natural(&internal, &frame)).unwrap();
    let mut columns = vec![Vec::new(); law.inputs().len() + 1];
    for _ in 0..rows {
        let at: Vec<f64> = law
            .inputs()
            .iter()
            .map(|input| match input.name.as_str() {
                "concept_share" => between(0.1, 0.9),
                "compression_ratio" => between(1.5, 8.0),
                "stable_loss" => between(2.0, 3.0),
                _ => center * 10_f64.powf(between(-1.5, 1.5)),
            })
            .collect();
        let noise = (0..12).map(|_| between(-0.5, 0.5)).sum::<f64>() * error;
        let noise = noise + if between(0.0, 1.0) < 0.05 { 0.2 } else { 0.0 };
        columns.iter_mut().zip(&at).for_each(|(c, v)| c.push(*v));
        columns[at.len()].push(truth.predict(&at) * noise.exp());
    }
    let names = law.inputs().into_iter().map(|input| input.name);
    let names = names.chain([law.response().to_owned()]);
    let data = Observations::new(names.zip(columns)).unwrap();
    (law, data)
}

#[test]
fn twenty_times_as_many_starts_find_nothing_lower() {
    let laws = [
        "chinchilla",
        "kaplan",
        "gamma",
        "power:params,tokens,width",
        "dlcm",
        "dlcm_decay",
    ];
    for (k, name) in laws.into_iter().enumerate() {
        for seed in 0..5 {
            let (law, data) = drawn(name, seed + 100 * k as u64);
            let few = fit(&law, &data, &FitOptions::default()).unwrap();
            let many = FitOptions {
                starts: 480,
                ..FitOptions::default()
            };
            let many = fit(&law, &data, &many).unwrap();
            assert!(
                few.objective <= many.objective * (1.0 + 1e-9),
                "{name} {seed}: {:e} against {:e}",
                few.objective,
                many.objective
            );
        }
    }
}

#[test]
fn a_law_of_the_best_recipes_stays_below_runs_that_were_not_tuned() {
    let [n, d, loss] = grid(&TRUTH, 1e-3);
    // Two runs of three lie up to 6% above what the best recipe reaches.
    let raised = |(k, loss): (usize, f64)| match k % 3 {
        0 => loss,
        _ => loss * (1.02 + 0.04 * (k as f64 * 0.618).fract()),
    };
    let loss = loss.into_iter().enumerate().map(raised).collect();
    let data = observations([n, d, loss]);
    let law = by_name("chinchilla").unwrap();
    let off = |objective: Objective| {
        let options = FitOptions {
            objective,
            ..FitOptions::default()
        };
        let found = fit(&law, &data, &options).unwrap();
        assert!(found.converged(), "{:?}", found.outcome);
        let names = law.parameters().into_iter().map(|p| p.name);
        let values = names.map(|name| found.parameters[&name]).collect();
        let found = FittedLaw::from_parts(law.clone(), values).unwrap();
        let truth = FittedLaw::from_parts(law.clone(), TRUTH.to_vec()).unwrap();
        (found.predict(&[1e9, 5e10]) / truth.predict(&[1e9, 5e10]) - 1.0).abs()
    };
    let both = off(Objective::default());
    let lower = off(Objective::Asymmetric {
        delta: 1e-3,
        above: 0.1,
    });
    assert!(both > 0.015 && lower < 0.005, "{both} {lower}");
}

/// The laws that are written by hand, as formulas.
const AS_FORMULAS: [(&str, &str); 6] = [
    ("chinchilla", "E + A/params^alpha + B/tokens^beta"),
    (
        "power:params,tokens,width",
        "E + A_params/params^e_params + A_tokens/tokens^e_tokens + A_width/`width`^e_width",
    ),
    (
        "kaplan",
        "((N_c/params)^(alpha_N/alpha_D) + D_c/tokens)^alpha_D",
    ),
    ("gamma", "E + (A/params^alpha + B/tokens^beta)^gamma"),
    (
        "dlcm",
        "E0 + A_token/(params*(1 - concept_share) + t_token)^delta1 \
         + A_concept*compression_ratio^gamma/(params*concept_share + t_concept)^delta2 + A_data/(tokens + t_data)^alpha",
    ),
    (
        "dlcm_decay",
        "k * stable_loss^a * compression_ratio^b * params^c",
    ),
];

#[test]
fn a_law_as_a_formula_has_the_same_minimum() {
    let mut wrong = Vec::new();
    for (k, (name, formula)) in AS_FORMULAS.into_iter().enumerate() {
        for seed in 0..5 {
            let (law, data) = drawn(name, seed + 100 * k as u64);
            let names = law.inputs().into_iter().map(|input| input.name);
            let column = |name: String| {
                let values = data.column(&name).unwrap().to_vec();
                (name, values)
            };
            let loss = (
                "loss".to_owned(),
                data.column(law.response()).unwrap().to_vec(),
            );
            // What a formula computes is a loss.
            let response = (law.response() != "loss").then(|| law.response().to_owned());
            let columns = names.chain(response).map(column).chain([loss]);
            let data = Observations::new(columns).unwrap();
            let own = fit(&law, &data, &FitOptions::default()).unwrap();
            let other = fit(&by_name(formula).unwrap(), &data, &FitOptions::default()).unwrap();
            let off = other.objective / own.objective - 1.0;
            // Either may stop that far above the minimum, the formula no further.
            if !(-1e-11..1e-12).contains(&off) {
                wrong.push(format!(
                    "{name} {seed}: {:e} for {:e}",
                    other.objective, own.objective
                ));
                continue;
            }
            for (parameter, value) in &own.parameters {
                let found = other.parameters[parameter];
                if (found - value).abs() > 1e-5 * value.abs() {
                    wrong.push(format!("{name} {seed}: {parameter} is {found} for {value}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The law of repeated tokens as a formula, in units of these sizes and this loss.
///
/// Its parameters stand in several places, of which none gives them a scale.
fn repeated_tokens(params: f64, tokens: f64, loss: f64) -> String {
    let [params, tokens, loss] = [params, tokens, loss].map(|number| format!("{number:.16e}"));
    let (low, high) = (0.01_f64.ln(), 1e4_f64.ln());
    format!(
        "{loss}*(E + A/m^alpha + B/d^beta) where \
         u = min(D, unique_tokens)/{tokens}, d = u*(1 + R_D*(1 - exp(-(D/{tokens}/u - 1)/R_D))), \
         best = (alpha*A/(beta*B)*u^beta)^(1/alpha), n = N/{params}, fresh = min(n, best), \
         m = fresh*(1 + R_N*(1 - exp(-(n/fresh - 1)/R_N))), R_D = exp(ln_D), R_N = exp(ln_N), \
         ln_D in {low}..{high}, ln_N in {low}..{high}, A in 0..3, B in 0..3, alpha in 0..8, beta in 0..8"
    )
}

#[test]
fn repeated_tokens_as_a_formula_have_the_same_minimum() {
    for seed in 0..5 {
        let (law, data) = drawn("data_constrained", seed);
        let own = fit(&law, &data, &FitOptions::default()).unwrap();
        let middle = |name: &str| {
            let values = data.column(name).unwrap();
            (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
        };
        let [params, tokens, loss] = ["params", "tokens", "loss"].map(middle);
        let formula = by_name(&repeated_tokens(params, tokens, loss)).unwrap();
        let other = fit(&formula, &data, &FitOptions::default()).unwrap();
        let off = other.objective / own.objective - 1.0;
        assert!(off.abs() < 1e-12, "{seed}: {off:e}");
        let found = |name: &str| other.parameters[name];
        let (alpha, beta) = (found("alpha"), found("beta"));
        for (name, found) in [
            ("E", loss * found("E")),
            ("A", loss * found("A") * params.powf(alpha)),
            ("B", loss * found("B") * tokens.powf(beta)),
            ("alpha", alpha),
            ("beta", beta),
            ("R_D_star", found("ln_D").exp()),
            ("R_N_star", found("ln_N").exp()),
        ] {
            let value = own.parameters[name];
            assert!(
                (found - value).abs() < 1e-5 * value,
                "{seed}: {name} is {found} for {value}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn simulated_laws_are_recovered(
        e in 0.5_f64..3.0,
        n_term in 0.05_f64..1.0,
        d_term in 0.05_f64..1.0,
        alpha in 0.15_f64..0.8,
        beta in 0.15_f64..0.8,
    ) {
        let truth = [e, n_term * 3e8_f64.powf(alpha), d_term * 1.6e10_f64.powf(beta), alpha, beta];
        let fit = chinchilla(&observations(grid(&truth, 0.0))).unwrap();
        for (name, value) in ["E", "A", "B", "alpha", "beta"].into_iter().zip(truth) {
            prop_assert!((fit.parameters[name] / value - 1.0).abs() < 1e-7, "{name}");
        }
    }

    #[test]
    fn units_of_size_and_order_of_rows_do_not_matter(factor in 1e-6_f64..1e6, shift in 0_usize..30) {
        let [n, d, loss] = grid(&TRUTH, 0.01);
        let plain = chinchilla(&observations([n.clone(), d.clone(), loss.clone()])).unwrap();
        let mut columns = [n.iter().map(|n| n * factor).collect(), d, loss];
        columns.iter_mut().for_each(|c: &mut Vec<f64>| c.rotate_left(shift));
        let scaled = chinchilla(&observations(columns)).unwrap();
        prop_assert!((scaled.objective / plain.objective - 1.0).abs() < 1e-9);
        prop_assert!((scaled.parameters["alpha"] - plain.parameters["alpha"]).abs() < 1e-6);
    }
}
