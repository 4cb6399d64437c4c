//! Every operation a layer is made of, forward and with its backward pass, on the CPU.
//!
//! `cargo bench --bench operations`; a part of a name after `--` picks some.

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use network::ops::{self, AdamWStep, Heads, Segments};
use std::hint::black_box;

const BATCH: usize = 8;
const SEQ_LEN: usize = 256;
const VOCAB: usize = 2048;
/// Tokens per concept; every segment is as long.
const RATIO: usize = 4;
const EPSILON: f64 = 1e-6;

/// Widths of the named shapes `small` and `base`, and their head sizes.
const WIDTHS: [(usize, usize); 2] = [(128, 32), (256, 64)];

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// Times a function of leaves, without and with the gradients of all of them.
fn operation<const N: usize>(
    criterion: &mut Criterion,
    name: &str,
    width: usize,
    shapes: [[usize; 3]; N],
    run: impl Fn([Tensor<3>; N]) -> Tensor<1>,
) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20);
    let plain = shapes.map(|shape| random(shape, &Device::flex()));
    group.bench_function(BenchmarkId::new("forward", width), |bencher| {
        bencher.iter(|| black_box(run(plain.clone()).into_data()));
    });
    group.bench_function(BenchmarkId::new("both", width), |bencher| {
        bencher.iter(|| {
            let leaves = plain.clone().map(|leaf| leaf.autodiff().require_grad());
            let gradients = run(leaves.clone()).backward();
            black_box(leaves.map(|leaf| leaf.grad(&gradients)))
        });
    });
}

fn segments(device: &Device) -> Segments {
    let index: Vec<i32> = (0..BATCH * SEQ_LEN)
        .map(|i| (i % SEQ_LEN / RATIO) as i32)
        .collect();
    Segments {
        index: Tensor::from_data(TensorData::new(index, [BATCH, SEQ_LEN]), device),
        concepts: SEQ_LEN / RATIO,
    }
}

fn layers(criterion: &mut Criterion) {
    let rows = BATCH * SEQ_LEN;
    for (width, size) in WIDTHS {
        let tokens = [BATCH, SEQ_LEN, width];
        let heads = Heads {
            query: width / size,
            key_value: width / size / 2,
            size,
        };
        let keys = |length| [BATCH, length, width / 2];
        let weight = [1, width, width];
        operation(criterion, "linear", width, [tokens, weight], |[x, w]| {
            ops::linear(x, w.reshape([width, width])).sum()
        });
        operation(
            criterion,
            "rms_norm",
            width,
            [tokens, [1, 1, width]],
            |[x, w]| ops::rms_norm(x, w.reshape([width]), EPSILON).sum(),
        );
        operation(
            criterion,
            "swiglu",
            width,
            [tokens, tokens],
            |[gate, up]| ops::swiglu(gate, up).sum(),
        );
        for (name, window) in [("attention_local", Some(32)), ("attention_full", None)] {
            let shapes = [tokens, keys(SEQ_LEN), keys(SEQ_LEN)];
            operation(criterion, name, width, shapes, |[q, k, v]| {
                ops::causal_attention(q, k, v, &heads, window).sum()
            });
        }
        operation(criterion, "segment_mean", width, [tokens], |[h]| {
            let segments = segments(&h.device());
            ops::segment_mean(h, &segments).sum()
        });
        let concepts = SEQ_LEN / RATIO;
        let shapes = [tokens, keys(concepts), keys(concepts)];
        operation(criterion, "cross_attention", width, shapes, |[q, k, v]| {
            let segments = segments(&q.device());
            ops::cross_attention(q, k, v, &heads, &segments).sum()
        });
        operation(criterion, "boundary", width, [tokens, tokens], |[q, k]| {
            ops::boundary_probability(q, k).sum()
        });
    }
    operation(
        criterion,
        "cross_entropy",
        VOCAB,
        [[1, rows, VOCAB]],
        |[logits]| {
            let targets: Vec<i32> = (0..rows).map(|i| (i * 7 % VOCAB) as i32).collect();
            let targets = TensorData::new(targets, [rows]);
            let targets = Tensor::<1, Int>::from_data(targets, &logits.device());
            ops::cross_entropy(logits.reshape([rows, VOCAB]), 1.0, targets).sum()
        },
    );
}

/// Attention to concepts in both forms, which compute the same: each key once, with the logarithm of how many tokens
/// carry it (L × M scores), and repeated over its tokens for plain causal attention (L × L), as the paper's Table 6 has it.
fn forms(criterion: &mut Criterion) {
    const WIDTH: usize = 128;
    let heads = Heads {
        query: 4,
        key_value: 2,
        size: 32,
    };
    for length in [256, 1024, 4096] {
        for ratio in [2, 4, 8] {
            let batch = (2048 / length).max(1);
            let concepts = length / ratio;
            let keys = [batch, concepts, WIDTH / 2];
            let shapes = [[batch, length, WIDTH], keys, keys];
            let index: Vec<i32> = (0..length).map(|t| (t / ratio) as i32).collect();
            let name = |form: &str| format!("concepts_{form}/L{length}/R{ratio}");
            operation(criterion, &name("once"), WIDTH, shapes, |[q, k, v]| {
                let rows = TensorData::new(index.repeat(batch), [batch, length]);
                let segments = Segments {
                    index: Tensor::from_data(rows, &q.device()),
                    concepts,
                };
                ops::cross_attention(q, k, v, &heads, &segments).sum()
            });
            operation(criterion, &name("repeated"), WIDTH, shapes, |[q, k, v]| {
                let index = TensorData::new(index.clone(), [length]);
                let index = Tensor::<1, Int>::from_data(index, &q.device());
                let (k, v) = (k.select(1, index.clone()), v.select(1, index));
                ops::causal_attention(q, k, v, &heads, None).sum()
            });
        }
    }
}

fn optimizer(criterion: &mut Criterion) {
    let device = Device::flex();
    let step = AdamWStep {
        rate: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
        step: 10,
    };
    let count = 1 << 20;
    let gradient = random([count], &device);
    let mut state = [0; 3].map(|_| random([count], &device).abs());
    criterion.bench_function("adamw/1M", |bencher| {
        bencher.iter(|| {
            let [param, m, v] =
                std::mem::replace(&mut state, [0; 3].map(|_| Tensor::empty([1], &device)));
            let (param, m, v) = ops::adamw(param, gradient.clone(), m, v, &step);
            state = [param, m, v];
        });
    });
}

criterion_group!(benches, layers, forms, optimizer);
criterion_main!(benches);
