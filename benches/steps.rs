//! Whole training steps of the named shapes and their dense twins, on the CPU.
//!
//! `cargo bench --bench steps`; `orchestrator bench` prints the same as tokens per second.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use experiment::recipe::Recipe;
use std::time::Duration;
use trainer::train::shapes::SHAPES;
use trainer::train::timing::time_steps;

const BATCH: usize = 8;

fn steps(criterion: &mut Criterion) {
    let recipe = Recipe {
        batch: BATCH,
        ..Recipe::default()
    };
    let mut group = criterion.benchmark_group("step");
    group.sample_size(10);
    for shape in &SHAPES[..3] {
        let dlcm = shape.dlcm(4.0).expect("a shape");
        let models = [
            ("dense_n", shape.dense_of_equal_params(&dlcm)),
            ("dense_flops", shape.dense_of_equal_flops(&dlcm)),
            ("dlcm", Ok(dlcm)),
        ];
        for (name, architecture) in models {
            let architecture = architecture.expect("a shape");
            let tokens = (BATCH * architecture.seq_len()) as u64;
            group.throughput(Throughput::Elements(tokens));
            group.bench_function(BenchmarkId::new(name, shape.name), |bencher| {
                bencher.iter_custom(|steps| {
                    let timing =
                        time_steps(&architecture, &recipe, 1, steps, "cpu").expect("a device");
                    Duration::from_secs_f64(timing.seconds.iter().sum())
                });
            });
        }
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
