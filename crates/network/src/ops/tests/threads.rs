//! The same bits at any number of threads.

use burn::tensor::{DType, Device, Tensor};

use super::{Run, index, integers, numbers, run, segments};
use crate::ops::{self, AdamWStep, Heads};

const BATCH: usize = 3;
const LENGTH: usize = 100;
const WIDTH: usize = 128;
const HEADS: Heads = Heads {
    query: 4,
    key_value: 2,
    size: 32,
};

/// Asserts that output and gradients are the same bits at one, two and three threads.
fn assert_deterministic(name: &str, inputs: &[Vec<f32>], op: Run<'_>) {
    let bits = |threads: usize| -> Vec<Vec<u32>> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        let results = pool.install(|| run(inputs, op, DType::F32));
        results
            .into_iter()
            .map(|x| x.into_iter().map(f32::to_bits).collect())
            .collect()
    };
    let one = bits(1);
    assert!(one == bits(2), "{name} at two threads");
    assert!(one == bits(3), "{name} at three threads");
}

fn states(seed: u64) -> Vec<f32> {
    numbers(BATCH * LENGTH * WIDTH, seed)
}

fn shape(x: &Tensor<1>) -> Tensor<3> {
    let width = x.dims()[0] / BATCH / LENGTH;
    x.clone().reshape([BATCH, LENGTH, width])
}

fn flat(x: Tensor<3>) -> Tensor<1> {
    let cells = x.shape().num_elements();
    x.reshape([cells])
}

#[test]
fn rows_and_weights() {
    assert_deterministic("linear", &[states(1), numbers(WIDTH * 96, 2)], &|x| {
        flat(ops::linear(shape(&x[0]), x[1].clone().reshape([WIDTH, 96])))
    });
    assert_deterministic("rms_norm", &[states(1), numbers(WIDTH, 2)], &|x| {
        flat(ops::rms_norm(shape(&x[0]), x[1].clone(), 1e-5))
    });
    assert_deterministic("head_norm", &[states(1), numbers(32, 2)], &|x| {
        flat(ops::head_norm(shape(&x[0]), x[1].clone(), 1e-5))
    });
    assert_deterministic("swiglu", &[states(1), states(2)], &|x| {
        flat(ops::swiglu(shape(&x[0]), shape(&x[1])))
    });
    let targets: Vec<usize> = (0..BATCH * LENGTH).map(|i| i % WIDTH).collect();
    assert_deterministic("cross_entropy", &[states(1)], &|x| {
        let rows = BATCH * LENGTH;
        let logits = x[0].clone().reshape([rows, WIDTH]);
        ops::cross_entropy(logits, 0.5, integers(&targets, [rows], &x[0].device()))
    });
}

#[test]
fn attention_and_segments() {
    let rows: [&[usize]; BATCH] = [&[1; LENGTH], &[60, 1, 39], &[LENGTH]];
    let index = index(&rows);
    let shared = || numbers(BATCH * LENGTH * 64, 3);
    for window in [None, Some(32)] {
        assert_deterministic("causal_attention", &[states(1), shared(), shared()], &|x| {
            let [q, k, v] = [0, 1, 2].map(|i| shape(&x[i]));
            flat(ops::causal_attention(q, k, v, &HEADS, window))
        });
    }
    assert_deterministic("cross_attention", &[states(1), shared(), shared()], &|x| {
        let [q, k, v] = [0, 1, 2].map(|i| shape(&x[i]));
        let segments = segments(&index, LENGTH, LENGTH, &x[0].device());
        flat(ops::cross_attention(q, k, v, &HEADS, &segments))
    });
    assert_deterministic("segment_mean", &[states(1)], &|x| {
        let segments = segments(&index, LENGTH, LENGTH, &x[0].device());
        flat(ops::segment_mean(shape(&x[0]), &segments))
    });
    assert_deterministic("boundary_probability", &[states(1), states(2)], &|x| {
        ops::boundary_probability(shape(&x[0]), shape(&x[1])).reshape([BATCH * LENGTH])
    });
}

#[test]
fn the_optimizer() {
    let step = AdamWStep {
        rate: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        step: 1,
    };
    let bits = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        pool.install(|| {
            let device = Device::flex();
            let tensor = |values: Vec<f32>| Tensor::<1>::from_data(values.as_slice(), &device);
            let (zero, grad) = (vec![0.0; states(1).len()], tensor(states(2)));
            let norm = ops::norm(vec![grad.clone()]).read();
            let (param, m, v) = ops::adamw(
                tensor(states(1)),
                grad,
                tensor(zero.clone()),
                tensor(zero),
                &step,
            );
            (norm.to_bits(), [param, m, v].map(Tensor::into_data))
        })
    };
    assert_eq!(bits(1), bits(2));
}
