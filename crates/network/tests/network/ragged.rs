//! Rows of a batch know nothing of each other, however different their numbers of concepts are.

use burn::tensor::{Device, Int, Tensor, TensorData};
use experiment::architecture::solver::ShapeSettings;
use experiment::architecture::{Architecture, Window};
use experiment::recipe::BoundaryGradient;
use network::device;
use network::{Decision, Network};
use proptest::prelude::*;

/// The device that tests run on.
fn device() -> Device {
    device::open(&device::named()).expect("a device")
}

const VOCAB: usize = 23;

/// Where concepts start in a row.
#[derive(Clone, Debug)]
enum Row {
    Everywhere,
    Nowhere,
    Somewhere(Vec<bool>),
}

impl Row {
    /// Uniform numbers that force these boundaries at a rate of a half.
    fn uniforms(&self, seq_len: usize) -> Vec<f32> {
        let boundary = |t: usize| match self {
            Row::Everywhere => true,
            Row::Nowhere => false,
            Row::Somewhere(boundaries) => boundaries[t % boundaries.len()],
        };
        (0..seq_len)
            .map(|t| if boundary(t) { 0.0 } else { 1.0 })
            .collect()
    }
}

fn row() -> impl Strategy<Value = Row> {
    prop_oneof![
        Just(Row::Everywhere),
        Just(Row::Nowhere),
        proptest::collection::vec(any::<bool>(), 1..40).prop_map(Row::Somewhere),
    ]
}

fn logits(network: &Network, tokens: &[i32], uniforms: &[f32], rows: usize) -> Vec<f32> {
    let seq_len = tokens.len() / rows;
    let tokens = TensorData::new(tokens.to_vec(), [rows, seq_len]);
    let tokens = Tensor::<2, Int>::from_data(tokens, &device());
    let decision = Decision::random(uniforms, 0.5);
    let (logits, _) = network.forward(tokens, &decision, BoundaryGradient::Detached);
    logits.into_data().iter::<f32>().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_row_in_a_batch_is_the_row_alone(
        rows in proptest::collection::vec(row(), 1..5),
        seq_len in prop_oneof![Just(1usize), Just(2), 3usize..48],
        window in prop_oneof![Just(Window::Full), (1usize..12).prop_map(Window::Local)],
        salt in 0usize..1000,
    ) {
        let settings = ShapeSettings { seq_len, token_window: window, ..ShapeSettings::default() };
        let architecture: Architecture = settings
            .solve_dlcm(60_000, 0.4, 4.0, VOCAB)
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        let network = Network::new(&architecture, salt as u64, &device());
        let tokens: Vec<i32> = (0..rows.len() * seq_len)
            .map(|i| ((i * i + 7 * i + salt) % VOCAB) as i32)
            .collect();
        let uniforms: Vec<f32> = rows.iter().flat_map(|row| row.uniforms(seq_len)).collect();
        let together = logits(&network, &tokens, &uniforms, rows.len());
        let largest = together.iter().fold(1e-3f32, |most, x| most.max(x.abs()));
        for (index, row) in rows.iter().enumerate() {
            let tokens = &tokens[index * seq_len..(index + 1) * seq_len];
            let alone = logits(&network, tokens, &row.uniforms(seq_len), 1);
            for (a, b) in together[index * seq_len * VOCAB..].iter().zip(&alone) {
                prop_assert!((a - b).abs() <= 1e-5 * largest, "row {index}: {a} {b}");
            }
        }
    }
}
