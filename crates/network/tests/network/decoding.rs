//! Decoding token by token gives the numbers of the whole forward pass, for random architectures,
//! and executes the FLOPs that are counted for them.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use experiment::architecture::solver::ShapeSettings;
use experiment::architecture::{Architecture, BoundaryRule, Dense, Dlcm, Pooling, Window};
use experiment::recipe::{BoundaryGradient, Precision};
use network::device;
use network::{Decoder, Network, Placement};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The device that tests run on.
fn device() -> Device {
    device::open(&device::named()).expect("a device")
}

/// Largest difference of a logit, relative to the largest, that rounding explains.
const TOLERANCE: f32 = 1e-5;

/// Moves every weight, so that none is a 1 that could be left out.
struct Disturb(ChaCha8Rng);

impl ModuleMapper for Disturb {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let noise: Vec<f32> = (0..param.shape().num_elements())
            .map(|_| self.0.random_range(-0.1..0.1))
            .collect();
        param.map(|tensor| {
            let noise = TensorData::new(noise, tensor.shape());
            tensor.clone() + Tensor::from_data(noise, &tensor.device())
        })
    }
}

fn network(architecture: &Architecture, seed: u64) -> Network {
    let mut disturb = Disturb(ChaCha8Rng::seed_from_u64(seed));
    Network::new(architecture, seed, &device())
        .map(&mut disturb)
        .valid()
}

fn tokens(architecture: &Architecture, count: usize, seed: u64) -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let vocab = architecture.vocab() as u32;
    (0..count).map(|_| random.random_range(0..vocab)).collect()
}

/// Logits, p and b of the whole forward pass.
fn whole(
    network: &Network,
    tokens: &[u32],
    placement: Placement,
) -> (Vec<f32>, Vec<f32>, Vec<bool>) {
    let ids: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, tokens.len()]), &device());
    let decision = placement.decision(0..1, tokens.len());
    let (logits, boundaries) = network.forward(ids, &decision, BoundaryGradient::Detached);
    let (p, b) = boundaries.map_or_else(Default::default, |boundaries| {
        (boundaries.probabilities, boundaries.decided)
    });
    (logits.into_data().iter::<f32>().collect(), p, b)
}

/// A threshold that rounding cannot cross: the middle of the widest gap between two of the
/// probabilities, among those that let about a share of the tokens start a concept.
fn threshold(probabilities: &[f32], share: f64) -> f64 {
    let mut sorted: Vec<f64> = probabilities.iter().map(|&p| f64::from(p)).collect();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let from = (share * sorted.len() as f64) as usize;
    let gap = |i: &usize| sorted[*i] - sorted[i + 1];
    let last = sorted.len() - 1;
    (from.min(last)..(from + 8).min(last))
        .max_by(|a, b| gap(a).total_cmp(&gap(b)))
        .map_or(0.5, |i| 0.5 * (sorted[i] + sorted[i + 1]))
}

fn assert_same(architecture: &Architecture, seed: u64, count: usize) {
    let device = device();
    let network = network(architecture, seed);
    let tokens = tokens(architecture, count, seed);
    let (_, probabilities, _) = whole(&network, &tokens, Placement::Threshold(0.5));
    // Every token a concept, none but the first, and some in between.
    let mut thresholds = vec![0.0, 1.1];
    if !probabilities.is_empty() {
        thresholds.extend([0.1, 0.25, 0.6].map(|share| threshold(&probabilities, share)));
    }
    let placements: Vec<Placement> = match architecture {
        Architecture::Dlcm(dlcm) if !dlcm.boundaries.is_learned() => {
            vec![Placement::of(architecture, 0.5, seed)]
        }
        _ => thresholds.into_iter().map(Placement::Threshold).collect(),
    };
    for placement in placements {
        let (logits, p, b) = whole(&network, &tokens, placement);
        let scale = logits.iter().fold(1e-6f32, |most, x| most.max(x.abs()));
        let mut decoder = Decoder::new(&network, placement, count, &device);
        for (t, &token) in tokens.iter().enumerate() {
            let step = decoder.step(token);
            let boundary = step.boundary.map(|boundary| boundary.decided);
            assert_eq!(boundary, b.get(t).copied(), "token {t}, {placement:?}");
            if let Some(boundary) = step.boundary {
                assert!((boundary.probability - p[t]).abs() <= TOLERANCE);
            }
            let row = &logits[t * architecture.vocab()..][..architecture.vocab()];
            assert_eq!(step.logits.len(), row.len());
            let worst = step.logits.iter().zip(row).map(|(a, b)| (a - b).abs());
            let worst = worst.fold(0f32, f32::max) / scale;
            assert!(
                worst <= TOLERANCE,
                "token {t}, {placement:?}: {worst} in {architecture:?}"
            );
        }
    }
}

/// What computes in bfloat16 goes on one token at a time too, and comes as near to the whole.
#[test]
fn one_by_one_in_bf16_is_near_all_at_once() {
    for architecture in shapes() {
        let network = network(&architecture, 1).with_precision(Precision::Bf16);
        let tokens = tokens(&architecture, 40, 1);
        // Every token a concept: no call is close.
        let every = Placement::Threshold(0.0);
        let (logits, ..) = whole(&network, &tokens, every);
        let scale = logits.iter().fold(1e-6f32, |most, x| most.max(x.abs()));
        let device = device();
        let mut decoder = Decoder::new(&network, every, 40, &device);
        for (&token, row) in tokens.iter().zip(logits.chunks(architecture.vocab())) {
            for (a, b) in decoder.step(token).logits.iter().zip(row) {
                assert!((a - b).abs() <= 0.05 * scale, "{a} for {b} of {scale}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn steps_give_the_numbers_of_the_whole_pass(
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
        // Not every small size can be built.
        if let Ok(architecture) = architecture {
            assert_same(&architecture, seed, seq_len);
            if let Architecture::Dlcm(dlcm) = architecture {
                assert_same(&Architecture::TokenOnly(dlcm.token_level()), seed, seq_len);
            }
        }
    }
}

fn shapes() -> [Architecture; 2] {
    let settings = ShapeSettings {
        seq_len: 192,
        token_window: Window::Local(16),
        ..ShapeSettings::default()
    };
    [
        settings.solve_dlcm(200_000, 0.6, 4.0, 64).expect("a shape"),
        settings.solve_dense(200_000, 64).expect("a shape"),
    ]
}

#[test]
fn positions_beyond_the_trained_length_are_those_of_a_longer_pass() {
    for architecture in shapes() {
        assert_same(&architecture, 5, 250);
    }
}

/// Executes a sequence and returns its FLOPs and its boundaries.
fn executed(architecture: &Architecture, count: usize, threshold: f64) -> (f64, Vec<bool>) {
    let device = device();
    let network = network(architecture, 3);
    let placement = Placement::Threshold(threshold);
    let mut decoder = Decoder::new(&network, placement, count, &device);
    let boundaries = tokens(architecture, count, 3)
        .into_iter()
        .filter_map(|token| decoder.step(token).boundary)
        .map(|boundary| boundary.decided)
        .collect();
    (decoder.flops() as f64, boundaries)
}

#[test]
fn a_dense_model_executes_the_flops_that_are_counted_for_it() {
    let [_, dense] = shapes();
    let counted = dense.forward_flops(1.0).total() * 192.0;
    assert_eq!(executed(&dense, 192, 0.5).0, counted);
    // Another length is another sequence length.
    let Architecture::Dense(shape) = dense.clone() else {
        panic!("dense")
    };
    let shorter = Architecture::Dense(Dense {
        seq_len: 50,
        ..shape
    });
    let counted = shorter.forward_flops(1.0).total() * 50.0;
    assert!((executed(&dense, 50, 0.5).0 / counted - 1.0).abs() < 1e-12);
}

#[test]
fn a_control_executes_the_flops_that_are_counted_for_it() {
    let [Architecture::Dlcm(dlcm), _] = shapes() else {
        panic!("a DLCM")
    };
    let control = Architecture::TokenOnly(dlcm.token_level());
    let counted = control.forward_flops(1.0).total() * 192.0;
    assert!((executed(&control, 192, 0.5).0 / counted - 1.0).abs() < 1e-12);
}

#[test]
fn a_dlcm_executes_the_flops_that_are_counted_for_it() {
    let [architecture, _] = shapes();
    let Architecture::Dlcm(Dlcm {
        encoder: token,
        backbone,
        ..
    }) = &architecture
    else {
        panic!("a DLCM")
    };
    let length = 192.0;
    let network = network(&architecture, 3);
    let ids = tokens(&architecture, 192, 3);
    let (_, probabilities, _) = whole(&network, &ids, Placement::Threshold(0.5));
    for share in [0.1, 0.25, 0.5] {
        let threshold = threshold(&probabilities, share);
        let (measured, boundaries) = executed(&architecture, 192, threshold);
        let concepts = boundaries.iter().filter(|&&starts| starts).count() as f64;
        let counted = architecture.forward_flops(length / concepts);
        // A multiply-add is two either way. What is counted is an average over a full sequence;
        // what is executed differs from it by the last concept, which never ends, ...
        let ended = concepts - 1.0;
        let reached = architecture.forward_flops(length / ended);
        let unfinished = (counted.backbone - reached.backbone + counted.up_projection
            - reached.up_projection)
            * length;
        // ... by the first token, whose boundary needs no key and no cosine, ...
        let width = token.width as f64;
        let first = 2.0 * width * width + 6.0 * width;
        // ... and by the slots each token sees: as many as there are, not half of all.
        let mut slots = 0.0;
        let seen: f64 = boundaries
            .iter()
            .map(|&starts| {
                slots += f64::from(u8::from(starts));
                slots
            })
            .sum();
        let unequal = 4.0 * width * (seen - length * (concepts + 1.0) / 2.0);
        let expected = counted.total() * length - unfinished - first + unequal;
        assert!(
            (measured / expected - 1.0).abs() < 1e-9,
            "{measured} {expected}"
        );
        // Together that is a few percent: one concept of many, and segments of unequal length.
        let relative = measured / (counted.total() * length) - 1.0;
        assert!(
            relative.abs() < 0.05,
            "{relative} at {concepts} concepts of {backbone:?}"
        );
    }
}
