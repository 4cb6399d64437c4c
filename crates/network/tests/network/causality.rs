//! For any t, the tokens after t change nothing up to and including t: for the architectures of
//! the shipped experiments and for random ones.

use burn::module::Module;
use burn::tensor::Device;
use experiment::architecture::solver::ShapeSettings;
use experiment::architecture::{Architecture, BoundaryRule, Causality, Pooling, Window};
use experiment::grid;
use experiment::plan::plan;
use experiment::run::DataFacts;
use network::causality::find_leak;
use network::device;
use network::{Network, Placement};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The device that tests run on.
fn device() -> Device {
    device::open(&device::named()).expect("a device")
}

fn assert_causal(architecture: &Architecture, seed: u64, seq_len: usize) {
    let device = device();
    let network = Network::new(architecture, seed, &device).valid();
    for threshold in [0.0, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 1.0] {
        let leak = find_leak(
            &network,
            architecture.vocab(),
            seq_len,
            Placement::of(architecture, threshold, seed),
            seed,
            &device,
        );
        assert_eq!(leak, None, "θ = {threshold}, {architecture:?}");
    }
}

#[test]
fn every_architecture_of_the_shipped_experiments_is_causal() {
    let facts = DataFacts {
        fingerprint: "none".into(),
        vocab: 96,
        train_tokens: 1 << 20,
        validation_tokens: 1 << 14,
        bytes_per_token: None,
        entropy_floor: None,
    };
    let mut seen = BTreeSet::new();
    let files = ["../../experiments", "../../experiments/checks"]
        .map(|folder| std::fs::read_dir(folder).expect("experiments").flatten());
    for file in files.into_iter().flatten() {
        if file
            .path()
            .extension()
            .is_none_or(|extension| extension != "yaml")
        {
            continue;
        }
        let text = std::fs::read_to_string(file.path()).expect("readable");
        let experiment = grid::parse(&file.path().display().to_string(), &text).expect("valid");
        for run in plan(&experiment, &|_| Some(facts.clone())).expect("plannable") {
            let architecture = run.spec.architecture;
            if seen.insert(format!("{architecture:?}")) {
                assert_causal(&architecture, 7, architecture.seq_len().min(64));
            }
        }
    }
    assert!(seen.len() >= 10, "only {} architectures", seen.len());
}

#[test]
fn the_papers_mask_is_seen_to_leak() {
    let settings = ShapeSettings {
        seq_len: 48,
        token_window: Window::Local(8),
        causal: Causality::Paper,
        ..ShapeSettings::default()
    };
    let architecture = settings.solve_dlcm(100_000, 0.5, 4.0, 32);
    let architecture = architecture.expect("solvable");
    assert!(architecture.reads_ahead());
    let network = Network::new(&architecture, 1, &device()).valid();
    let placement = Placement::of(&architecture, 0.5, 1);
    let leak = find_leak(&network, 32, 48, placement, 1, &device());
    let leak = leak.expect("a token knows its future");
    // Where boundaries are does not depend on what comes later; what is read does.
    assert!(leak.change.is_some(), "{leak:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_architectures_are_causal(
        log_n in 4.7f64..6.0,
        share in 0.2f64..0.8,
        ratio in 1.05f64..16.0,
        window in prop::option::of(1usize..40),
        seq_len in 2usize..70,
        vocab in 2usize..80,
        seed in any::<u64>(),
        dense in any::<bool>(),
        boundaries in prop::sample::select(vec![
            BoundaryRule::Learned, BoundaryRule::Fixed, BoundaryRule::Random,
        ]),
        pooling in prop::sample::select(vec![Pooling::Mean, Pooling::Boundary]),
    ) {
        let settings = ShapeSettings {
            seq_len,
            token_window: window.map_or(Window::Full, Window::Local),
            boundaries,
            pooling,
            ..ShapeSettings::default()
        };
        let params = 10f64.powf(log_n) as u64;
        let architecture = if dense {
            settings.solve_dense(params, vocab)
        } else {
            settings.solve_dlcm(params, share, ratio, vocab)
        };
        // Not every small size can be built; what can be must be causal.
        if let Ok(architecture) = architecture {
            assert_causal(&architecture, seed, seq_len);
            if let Architecture::Dlcm(dlcm) = architecture {
                assert_causal(&Architecture::TokenOnly(dlcm.token_level()), seed, seq_len);
            }
        }
    }
}
