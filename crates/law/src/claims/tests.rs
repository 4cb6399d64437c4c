use super::*;
use experiment::claims::{Along, Bound};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Grids that are simulated.
const GRIDS: usize = 1000;

fn along(axis: &str) -> Along {
    Along {
        along: axis.into(),
        of: "loss".into(),
        among: None,
    }
}

fn claim(test: Test) -> Claim {
    Claim {
        name: "a".into(),
        says: "it is so".into(),
        source: None,
        test,
    }
}

fn differs(at_least: f64) -> Test {
    Test::Differs {
        between: ["kind == 'dense'".into(), "kind == 'dlcm'".into()],
        of: "loss".into(),
        at_least,
        among: None,
    }
}

fn transfers(within: f64) -> Test {
    Test::Transfers {
        along: along("learning_rate"),
        over: "params".into(),
        within,
    }
}

fn mean(least: f64) -> Test {
    Test::Mean {
        of: "loss".into(),
        bound: Bound::AtLeast(least),
        among: None,
    }
}

fn runs(samples: &[Sample]) -> Evidence<'static> {
    Evidence::Runs(Samples {
        runs: samples.to_vec(),
        lost: 0,
    })
}

/// A normal number, by Box and Muller.
fn noise(random: &mut ChaCha8Rng, deviation: f64) -> f64 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    deviation * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Two seeds of runs of three sizes on an axis of four levels, whose loss follows `curve` beside what size and seed
/// give, with noise of 0.01 nats.
fn grid(random: &mut ChaCha8Rng, curve: impl Fn(f64, f64) -> f64) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (size, params) in [1e5, 2e5, 4e5].into_iter().enumerate() {
        for seed in 0..2 {
            let block = 1.5 - 0.1 * size as f64 + noise(random, 0.02);
            for level in [0.2, 0.4, 0.6, 0.8] {
                samples.push(Sample {
                    block: format!("{params} {seed}"),
                    along: level,
                    over: params,
                    value: block + curve(params, level) + noise(random, 0.01),
                    flops: 1e9,
                });
            }
        }
    }
    samples
}

/// Such a grid as one axis alone sees it.
fn one_axis(random: &mut ChaCha8Rng, curve: impl Fn(f64, f64) -> f64) -> Vec<Sample> {
    let samples = grid(random, curve).into_iter();
    samples
        .map(|sample| Sample {
            over: 0.0,
            ..sample
        })
        .collect()
}

/// Runs of two groups in the same blocks, the first larger by `difference`.
fn groups(random: &mut ChaCha8Rng, difference: f64) -> Vec<Sample> {
    let mut samples = grid(random, |_, _| 0.0);
    samples.retain(|sample| sample.along < 0.5);
    for sample in &mut samples {
        sample.along = f64::from(sample.along < 0.3);
        sample.value += difference * sample.along;
    }
    samples
}

/// Three trunks of two seeds with two branches each, around a mean.
fn around(random: &mut ChaCha8Rng, mean: f64) -> Vec<Sample> {
    let mut samples = Vec::new();
    for trunk in 0..6 {
        let trunk_mean = mean + noise(random, 0.01);
        samples.extend((0..2).map(|_| Sample {
            block: trunk.to_string(),
            along: 0.0,
            over: 0.0,
            value: trunk_mean + noise(random, 0.002),
            flops: 1e9,
        }));
    }
    samples
}

/// Makes the runs of a grid.
type Made = fn(&mut ChaCha8Rng) -> Vec<Sample>;

/// Simulates grids of claims; counts those with any claim that is decided (as a claim at its null must not be), and how
/// often each is.
fn decided(
    seed: u64,
    make: impl Fn(&mut ChaCha8Rng) -> Vec<(Claim, Vec<Sample>)>,
) -> (usize, Vec<[usize; 2]>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut any = 0;
    let mut each: Vec<[usize; 2]> = Vec::new();
    for _ in 0..GRIDS {
        let made = make(&mut random);
        let claims: Vec<(&Claim, Evidence<'_>)> = (made.iter())
            .map(|(claim, samples)| (claim, runs(samples)))
            .collect();
        let judged = judge(&claims);
        each.resize(judged.len(), [0; 2]);
        for (counts, judged) in each.iter_mut().zip(&judged) {
            counts[0] += usize::from(judged.verdict == Verdict::Reproduced);
            counts[1] += usize::from(judged.verdict == Verdict::Contradicted);
        }
        any += usize::from(
            judged
                .iter()
                .any(|judged| judged.verdict != Verdict::NotDetermined),
        );
    }
    (any, each)
}

/// Along a curve with regrets of exactly 0.02 at the larger sizes of what is best at the smallest.
fn at_the_edge_of_transfer(params: f64, level: f64) -> f64 {
    match (params < 1.5e5, level) {
        (true, 0.4) => -0.2,
        (false, 0.6) => -0.02,
        _ => 0.0,
    }
}

#[test]
fn where_nothing_is_true_at_most_one_grid_in_twenty_says_otherwise() {
    // Six claims of an experiment, each at its null: no optimum, no trend, differences of just what is claimed.
    let (any, each) = decided(1, |random| {
        vec![
            (
                claim(Test::OptimumInside(along("concept_share"))),
                one_axis(random, |_, _| 0.0),
            ),
            (
                claim(Test::Rises(along("concept_share"))),
                one_axis(random, |_, _| 0.0),
            ),
            (
                claim(Test::Falls(along("concept_share"))),
                one_axis(random, |_, _| 0.0),
            ),
            (claim(differs(0.03)), groups(random, 0.03)),
            (
                claim(transfers(0.02)),
                grid(random, at_the_edge_of_transfer),
            ),
            (claim(mean(0.03)), around(random, 0.03)),
        ]
    });
    println!(
        "of {GRIDS} grids {any} decide a claim; each claim is reproduced and contradicted {each:?}"
    );
    assert!(any <= GRIDS / 20, "{any} {each:?}");
}

#[test]
fn a_single_claim_at_its_null_is_decided_at_most_once_in_twenty() {
    // Three standard deviations of a share of 5% among so many grids: the tests of Student's t have just that share.
    let most = GRIDS / 20 + 21;
    let nulls: [(Test, Made); 5] = [
        (Test::OptimumInside(along("concept_share")), |random| {
            one_axis(random, |_, _| 0.0)
        }),
        (Test::Rises(along("concept_share")), |random| {
            one_axis(random, |_, _| 0.0)
        }),
        (differs(0.03), |random| groups(random, 0.03)),
        (transfers(0.02), |random| {
            grid(random, at_the_edge_of_transfer)
        }),
        (mean(0.03), |random| around(random, 0.03)),
    ];
    for (test, make) in nulls {
        let (any, each) = decided(2, |random| vec![(claim(test.clone()), make(random))]);
        println!("{test:?}: {any} of {GRIDS} {each:?}");
        assert!(any <= most, "{test:?}: {any} {each:?}");
    }
}

#[test]
fn effects_of_four_times_the_noise_are_found_and_of_twice_often() {
    let share = |times: usize| times as f64 / GRIDS as f64;
    let mut powers = Vec::new();
    for effect in [0.02, 0.04] {
        let (_, each) = decided(3, |random| {
            let bowl = |_: f64, level: f64| {
                if (0.3..0.7).contains(&level) {
                    -effect
                } else {
                    0.0
                }
            };
            let at_end = |_: f64, level: f64| if level < 0.3 { -effect } else { 0.0 };
            vec![
                (
                    claim(Test::OptimumInside(along("concept_share"))),
                    one_axis(random, bowl),
                ),
                (
                    claim(Test::OptimumInside(along("concept_share"))),
                    one_axis(random, at_end),
                ),
                (
                    claim(Test::Falls(along("concept_share"))),
                    one_axis(random, |_, level| -effect * level / 0.4),
                ),
                (claim(differs(0.01)), groups(random, 0.01 + effect)),
                (claim(differs(0.01)), groups(random, 0.01 - effect)),
                (
                    claim(transfers(0.02)),
                    grid(random, |_, level| if level == 0.4 { -effect } else { 0.0 }),
                ),
                (claim(mean(0.0)), around(random, effect)),
            ]
        });
        println!("effect {effect} nats, noise 0.01: {each:?}");
        powers.push(each);
    }
    let [small, large] = powers.as_slice() else {
        unreachable!("two effects")
    };
    // Inside, at an end, falling, above, below, carried, a mean: what is right is said, ...
    for (at, right) in [0, 1, 0, 0, 1, 0, 0].into_iter().enumerate() {
        assert!(share(large[at][right]) > 0.8, "claim {at}: {large:?}");
        assert!(large[at][right] >= small[at][right]);
        // ... and what is wrong nearly never.
        assert!(share(large[at][1 - right]) < 0.005, "claim {at}: {large:?}");
    }
    assert!(
        share(small[2][0]) > 0.9 && share(small[0][0]) > 0.5,
        "{small:?}"
    );
}

#[test]
fn several_claims_are_corrected_as_holm_does() {
    // By R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02.
    let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (found, right) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
        assert!((found - right).abs() < 1e-12, "{corrected:?}");
    }
}

#[test]
fn what_cannot_be_tested_says_why_and_what_is_open_what_would_decide() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let one_seed: Vec<Sample> = one_axis(&mut random, |_, _| 0.0)
        .into_iter()
        .take(4)
        .collect();
    let weak = one_axis(&mut random, |_, level| -0.006 * level);
    let claims = [
        claim(Test::Rises(along("concept_share"))),
        claim(Test::OptimumInside(along("concept_share"))),
        claim(Test::Falls(along("concept_share"))),
        claim(differs(0.0)),
    ];
    let judged = judge(&[
        (&claims[0], runs(&[])),
        (&claims[1], runs(&one_seed)),
        (&claims[2], runs(&weak)),
        (&claims[3], Evidence::Nothing("there is no database".into())),
    ]);
    let open: Vec<&str> = judged
        .iter()
        .map(|judged| judged.open.as_deref().unwrap_or_default())
        .collect();
    assert_eq!(open[0], "no finished run is what the claim is about");
    assert!(open[1].contains("two seeds"), "{}", open[1]);
    assert!(
        open[2].contains("more such runs") || open[2].contains("too close"),
        "{}",
        open[2]
    );
    assert_eq!(open[3], "there is no database");
    for judged in &judged {
        assert_eq!(judged.verdict, Verdict::NotDetermined);
        let text = serde_json::to_string(judged).expect("plain data");
        assert_eq!(
            &serde_json::from_str::<Judged>(&text).expect("reads"),
            judged
        );
    }
}

#[test]
fn a_law_of_decays_is_asked_as_the_other_laws_are() {
    use crate::analysis::{Decay, DecayLaw};
    let decay = |at: usize| Decay {
        branch: RunId(at.to_string()),
        stable_loss: 1.0,
        gain: if at == 0 { -0.01 } else { 0.1 },
    };
    let law = |r2: f64| DecayGains {
        decays: (0..25).map(decay).collect(),
        law: Maybe::Known(DecayLaw {
            equation: String::new(),
            parameters: Vec::new(),
            decays: 24,
            converged: true,
            r2: Some(r2),
        }),
        without_gain: 1,
    };
    let claim = claim(Test::Law {
        law: experiment::claims::Fitted::Decay,
        number: "r_squared".into(),
        bound: Bound::AtLeast(0.9),
    });
    let clusters = HashMap::new();
    for (r2, verdict) in [
        (0.99, Verdict::Reproduced),
        (0.5, Verdict::Contradicted),
        (0.91, Verdict::NotDetermined),
    ] {
        let gains = law(r2);
        let asked = AskedLaw::of_decays(&gains).expect("a law");
        let judged = judge(&[(&claim, Evidence::Law(asked, &clusters))]);
        // The one that gained nothing was not fitted.
        assert_eq!((judged[0].verdict, judged[0].runs), (verdict, 24));
    }
}

#[test]
fn where_runs_are_lost_the_best_of_the_others_is_not_the_best() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let samples = Samples {
        runs: one_axis(&mut random, |_, level| -level),
        lost: 2,
    };
    let claims = [
        claim(Test::OptimumInside(along("concept_share"))),
        claim(Test::Falls(along("concept_share"))),
    ];
    let judged = judge(&[
        (&claims[0], Evidence::Runs(samples.clone())),
        (&claims[1], Evidence::Runs(samples)),
    ]);
    assert_eq!(judged[0].verdict, Verdict::NotDetermined);
    assert!(
        judged[0]
            .open
            .as_ref()
            .is_some_and(|open| open.starts_with("2 runs ended"))
    );
    // A trend is one of those that are there, and says how many are not.
    assert_eq!(
        (judged[1].verdict, judged[1].lost),
        (Verdict::Reproduced, 2)
    );
}
