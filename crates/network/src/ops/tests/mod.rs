//! Fused kernels and plain operations against double precision, forward and backward.

mod agreement;
mod reference;
mod threads;

use burn::tensor::{DType, Device, Int, Tensor, bf16};

use super::Segments;

/// An operation on flat inputs: reshapes them, runs, flattens.
type Run<'a> = &'a (dyn Fn(&[Tensor<1>]) -> Tensor<1> + Sync);

/// How far bf16 may be off: it rounds by 2^-9, and an operation and its gradient are chains of
/// roundings, some of which should cancel.
const HALF_TOLERANCE: f64 = 0.05;

/// Numbers between -1 and 1, always the same ones for the same seed.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((state >> 40) as f32) / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Output, and the gradients of a fixed weighting of it, computed in a float type.
fn run(inputs: &[Vec<f32>], op: Run<'_>, dtype: DType) -> Vec<Vec<f32>> {
    let device = crate::device::for_tests().autodiff();
    let inputs: Vec<Tensor<1>> = inputs
        .iter()
        .map(|input| Tensor::<1>::from_data(input.as_slice(), (&device, dtype)).require_grad())
        .collect();
    let out = op(&inputs);
    assert_eq!(
        out.dtype(),
        dtype,
        "an operation keeps the type of its inputs"
    );
    let weights = numbers(out.dims()[0], 99);
    let weights = Tensor::<1>::from_data(weights.as_slice(), &device);
    let grads = (out.clone().cast(DType::F32) * weights).sum().backward();
    let read = |tensor: Tensor<1>| {
        tensor
            .cast(DType::F32)
            .into_data()
            .try_to_vec::<f32>()
            .expect("single precision")
    };
    let mut results = vec![read(out.inner())];
    for input in &inputs {
        results.push(read(input.grad(&grads).expect("a gradient")));
    }
    results
}

/// The same in double precision, gradients by central differences.
fn exact(inputs: &[Vec<f32>], op: &dyn Fn(&[Vec<f64>]) -> Vec<f64>) -> Vec<Vec<f64>> {
    let mut inputs: Vec<Vec<f64>> = inputs
        .iter()
        .map(|input| input.iter().map(|&x| f64::from(x)).collect())
        .collect();
    let out = op(&inputs);
    let weights = numbers(out.len(), 99);
    let total = |out: &[f64]| -> f64 {
        out.iter()
            .zip(&weights)
            .map(|(x, &weight)| x * f64::from(weight))
            .sum()
    };
    let mut results = vec![out];
    for i in 0..inputs.len() {
        let mut grad = Vec::new();
        for j in 0..inputs[i].len() {
            let x = inputs[i][j];
            // Fourth order, so that the step may be long enough to lose no digits.
            let step = 1e-3 * x.abs().max(0.1);
            let mut at = |shift: f64| {
                inputs[i][j] = x + shift * step;
                total(&op(&inputs))
            };
            let slope = 8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0));
            inputs[i][j] = x;
            grad.push(slope / (12.0 * step));
        }
        results.push(grad);
    }
    results
}

/// Asserts that output and gradients agree to a share of their largest element.
///
/// Where a gradient cancels to almost nothing, as that of the one key a query sees, it is measured
/// against a tenth of the largest other result.
fn assert_close(name: &str, found: &[Vec<f32>], exact: &[Vec<f64>], tolerance: f64) {
    assert_eq!(found.len(), exact.len());
    let largest = |x: &[f64]| x.iter().fold(0.0f64, |size, x| size.max(x.abs()));
    let floor = exact.iter().map(|x| largest(x)).fold(0.0, f64::max) * 0.1;
    for (i, (found, exact)) in found.iter().zip(exact).enumerate() {
        assert_eq!(found.len(), exact.len(), "{name}, result {i}");
        let size = largest(exact).max(floor);
        for (j, (&found, exact)) in found.iter().zip(exact).enumerate() {
            let error = (f64::from(found) - exact).abs() / size;
            assert!(
                error < tolerance,
                "{name}, result {i}[{j}]: {found} for {exact}, off by {error:e}"
            );
        }
    }
}

/// Checks a fused operation and its plain form against double precision, and the plain one again
/// in bf16, as other devices compute.
fn check(
    name: &str,
    inputs: &[Vec<f32>],
    reference: &dyn Fn(&[Vec<f64>]) -> Vec<f64>,
    fused: Run<'_>,
    plain: Run<'_>,
) {
    let single = exact(inputs, reference);
    for (form, op) in [("fused", fused), ("plain", plain)] {
        let found = run(inputs, op, DType::F32);
        assert_close(&format!("{form} {name}"), &found, &single, 1e-5);
    }
    let rounded: Vec<Vec<f32>> = inputs
        .iter()
        .map(|input| input.iter().map(|&x| bf16::from_f32(x).to_f32()).collect())
        .collect();
    let found = run(&rounded, plain, DType::BF16);
    let name = format!("plain {name} in bf16");
    assert_close(&name, &found, &exact(&rounded, reference), HALF_TOLERANCE);
}

/// Segments from the lengths of each row's segments.
fn index(rows: &[&[usize]]) -> Vec<usize> {
    let row = |lengths: &&[usize]| -> Vec<usize> {
        lengths
            .iter()
            .enumerate()
            .flat_map(|(m, &n)| vec![m; n])
            .collect()
    };
    rows.iter().flat_map(row).collect()
}

fn integers<const D: usize>(
    values: &[usize],
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
    Tensor::<1, Int>::from_data(values.as_slice(), device).reshape(shape)
}

fn segments(index: &[usize], length: usize, concepts: usize, device: &Device) -> Segments {
    let shape = [index.len() / length, length];
    Segments {
        index: integers(index, shape, device),
        concepts,
    }
}
