//! Each operation, fused and plain, against double precision.

use burn::tensor::{DType, Tensor};

use super::{Run, assert_close, check, index, integers, numbers, reference, run, segments};
use crate::ops::{self, AdamWStep, Heads, plain};

const HEADS: Heads = Heads {
    query: 4,
    key_value: 2,
    size: 6,
};

/// Ragged rows of one batch, all of the same length: every token a boundary, only the first, and
/// rows with very different numbers of segments.
const RAGGED: [&[usize]; 5] = [&[1; 9], &[9], &[1, 8], &[3, 1, 5], &[2, 2, 1, 1, 1, 1, 1]];

fn scaled(values: Vec<f32>, factor: f32) -> Vec<f32> {
    values.into_iter().map(|x| x * factor).collect()
}

#[test]
fn linear() {
    for (rows, inputs, outputs) in [(1, 1, 1), (5, 3, 7), (12, 20, 9)] {
        let data = [numbers(rows * inputs, 1), numbers(inputs * outputs, 2)];
        let shape = move |x: &[Tensor<1>]| {
            (
                x[0].clone().reshape([1, rows, inputs]),
                x[1].clone().reshape([inputs, outputs]),
            )
        };
        check(
            "linear",
            &data,
            &|x| reference::linear(&x[0], &x[1], inputs, outputs),
            &|x| {
                let (x, weight) = shape(x);
                ops::linear(x, weight).reshape([rows * outputs])
            },
            &|x| {
                let (x, weight) = shape(x);
                plain::linear(x, weight).reshape([rows * outputs])
            },
        );
    }
}

#[test]
fn linear_on_a_detached_input_trains_its_weight() {
    let data = [numbers(12, 1), numbers(8, 2)];
    let op = |detach: bool| {
        move |x: &[Tensor<1>]| {
            let (input, weight) = (x[0].clone(), x[1].clone().reshape([4, 2]));
            let input = if detach { input.detach() } else { input };
            // Both runs must give the input a gradient.
            let kept = x[0].clone().sum().reshape([1, 1]) * 0.0;
            (ops::linear(input.reshape([3, 4]), weight) + kept).reshape([6])
        }
    };
    let [free, held] = [false, true].map(|detach| run(&data, &op(detach), DType::F32));
    assert_eq!((&free[0], &free[2]), (&held[0], &held[2]));
    assert!(held[1].iter().all(|&x| x == 0.0) && free[1].iter().any(|&x| x != 0.0));
}

#[test]
fn rms_norm() {
    for (rows, width) in [(1, 1), (3, 5), (7, 40)] {
        let data = [numbers(rows * width, 3), numbers(width, 4)];
        let reference = |x: &[Vec<f64>]| reference::rms_norm(&x[0], &x[1], 1e-5);
        let shape = move |x: &Tensor<1>| x.clone().reshape([rows, width]);
        check(
            "rms_norm",
            &data,
            &reference,
            &|x| ops::rms_norm(shape(&x[0]), x[1].clone(), 1e-5).reshape([rows * width]),
            &|x| plain::rms_norm(shape(&x[0]), x[1].clone(), 1e-5).reshape([rows * width]),
        );
    }
}

#[test]
fn head_norm() {
    let (rows, heads, size) = (5, 3, 8);
    let cells = rows * heads * size;
    let data = [numbers(cells, 5), numbers(size, 6)];
    let shape = move |x: &Tensor<1>| x.clone().reshape([1, rows, heads * size]);
    check(
        "head_norm",
        &data,
        &|x| reference::rms_norm(&x[0], &x[1], 1e-6),
        &|x| ops::head_norm(shape(&x[0]), x[1].clone(), 1e-6).reshape([cells]),
        &|x| plain::head_norm(shape(&x[0]), x[1].clone(), 1e-6).reshape([cells]),
    );
}

#[test]
fn swiglu() {
    let data = [scaled(numbers(60, 7), 8.0), numbers(60, 8)];
    let shape = |x: &Tensor<1>| x.clone().reshape([2, 3, 10]);
    check(
        "swiglu",
        &data,
        &|x| reference::swiglu(&x[0], &x[1]),
        &|x| ops::swiglu(shape(&x[0]), shape(&x[1])).reshape([60]),
        &|x| plain::swiglu(shape(&x[0]), shape(&x[1])).reshape([60]),
    );
}

#[test]
fn causal_attention() {
    let wide = Heads {
        query: 2,
        key_value: 1,
        size: 20,
    };
    let one = |size| Heads {
        query: 1,
        key_value: 1,
        size,
    };
    for (heads, length, window) in [
        (HEADS, 1, None),
        (HEADS, 9, None),
        (HEADS, 9, Some(1)),
        (HEADS, 9, Some(4)),
        (HEADS, 9, Some(100)),
        // Longer than a block of rows, windows that start inside and outside the lanes.
        (one(2), 60, None),
        (one(4), 60, Some(17)),
        (wide, 30, Some(3)),
        // Many windows long, whole and not.
        (one(2), 131, Some(9)),
        (one(2), 141, Some(70)),
    ] {
        let batch = 2;
        let (q, k) = (
            batch * length * heads.query,
            batch * length * heads.key_value,
        );
        let data = [
            scaled(numbers(q * heads.size, 9), 2.0),
            scaled(numbers(k * heads.size, 10), 2.0),
            numbers(k * heads.size, 11),
        ];
        let shape = |x: &Tensor<1>| {
            let width = x.dims()[0] / batch / length;
            x.clone().reshape([batch, length, width])
        };
        let flat = |x: Tensor<3>| x.reshape([q * heads.size]);
        check(
            &format!("causal_attention {heads:?} {length} {window:?}"),
            &data,
            &|x| reference::causal_attention([&x[0], &x[1], &x[2]], &heads, batch, length, window),
            &|x| {
                let [q, k, v] = [0, 1, 2].map(|i| shape(&x[i]));
                flat(ops::causal_attention(q, k, v, &heads, window))
            },
            &|x| {
                let [q, k, v] = [0, 1, 2].map(|i| shape(&x[i]));
                flat(plain::causal_attention(q, k, v, &heads, window))
            },
        );
    }
}

/// Rows too long for differences: plain is the reference here.
#[test]
fn long_rows_attend_in_windows_as_plain_ones_do() {
    let heads = Heads {
        query: 4,
        key_value: 2,
        size: 8,
    };
    let batch = 3;
    for (length, window) in [(192, 64), (192, 9), (150, 9), (300, 100)] {
        let data = [(heads.query, 3), (heads.key_value, 4), (heads.key_value, 5)]
            .map(|(count, seed)| numbers(batch * length * count * heads.size, seed));
        let shaped = |x: &[Tensor<1>]| {
            [0, 1, 2].map(|i| {
                let width = x[i].dims()[0] / batch / length;
                x[i].clone().reshape([batch, length, width])
            })
        };
        let out = batch * length * heads.query * heads.size;
        let fused: Run<'_> = &|x| {
            let [q, k, v] = shaped(x);
            ops::causal_attention(q, k, v, &heads, Some(window)).reshape([out])
        };
        let plain: Run<'_> = &|x| {
            let [q, k, v] = shaped(x);
            plain::causal_attention(q, k, v, &heads, Some(window)).reshape([out])
        };
        let exact: Vec<Vec<f64>> = run(&data, plain, DType::F32)
            .into_iter()
            .map(|values| values.into_iter().map(f64::from).collect())
            .collect();
        let found = run(&data, fused, DType::F32);
        assert_close(&format!("{length} tokens, {window}"), &found, &exact, 1e-5);
    }
}

#[test]
fn keys_outside_the_window_are_never_touched() {
    let (length, window) = (70, 5);
    let heads = Heads {
        query: 1,
        key_value: 1,
        size: 4,
    };
    let device = crate::device::for_tests();
    let attend = |first: f32| {
        let tensor = |seed| {
            let mut values = numbers(length * 4, seed);
            values[..4].fill(first);
            Tensor::<1>::from_data(values.as_slice(), &device).reshape([1, length, 4])
        };
        ops::causal_attention(tensor(1), tensor(2), tensor(3), &heads, Some(window))
            .slice([0..1, window..length, 0..4])
            .into_data()
    };
    assert_eq!(
        attend(0.5),
        attend(1e30),
        "token 0 is seen by tokens 0 to 4 only"
    );
}

#[test]
fn segment_mean() {
    let (index, length, width) = (index(&RAGGED), 9, 3);
    let (batch, concepts) = (RAGGED.len(), 9);
    let data = [numbers(batch * length * width, 12)];
    let shape = |x: &[Tensor<1>]| x[0].clone().reshape([batch, length, width]);
    let out = batch * concepts * width;
    check(
        "segment_mean",
        &data,
        &|x| reference::segment_mean(&x[0], [batch, length, concepts], &index),
        &|x| {
            let segments = segments(&index, length, concepts, &x[0].device());
            ops::segment_mean(shape(x), &segments).reshape([out])
        },
        &|x| {
            let segments = segments(&index, length, concepts, &x[0].device());
            plain::segment_mean(shape(x), &segments).reshape([out])
        },
    );
}

#[test]
fn cross_attention() {
    let long: [&[usize]; 2] = [&[1; 40], &[30, 2, 8]];
    let single: [&[usize]; 3] = [&[1], &[1], &[1]];
    for (rows, length, concepts) in [
        (RAGGED.as_slice(), 9, 9),
        (long.as_slice(), 40, 40),
        (single.as_slice(), 1, 1),
    ] {
        let index = index(rows);
        let heads = if length > 9 {
            Heads {
                query: 1,
                key_value: 1,
                size: 2,
            }
        } else {
            HEADS
        };
        let batch = rows.len();
        let q = batch * length * heads.query * heads.size;
        let k = batch * concepts * heads.key_value * heads.size;
        let data = [
            scaled(numbers(q, 13), 2.0),
            scaled(numbers(k, 14), 2.0),
            numbers(k, 15),
        ];
        let dims = [batch, length, concepts];
        let reshape = |x: &Tensor<1>, rows: usize| {
            let width = x.dims()[0] / batch / rows;
            x.clone().reshape([batch, rows, width])
        };
        let shape = |x: &[Tensor<1>]| {
            (
                reshape(&x[0], length),
                reshape(&x[1], concepts),
                reshape(&x[2], concepts),
            )
        };
        let reference = |x: &[Vec<f64>]| {
            reference::cross_attention([&x[0], &x[1], &x[2]], &heads, dims, &index)
        };
        check(
            "cross_attention",
            &data,
            &reference,
            &|x| {
                let segments = segments(&index, length, concepts, &x[0].device());
                let (q, k, v) = shape(x);
                let out = ops::cross_attention(q, k, v, &heads, &segments);
                let cells = out.shape().num_elements();
                out.reshape([cells])
            },
            &|x| {
                let segments = segments(&index, length, concepts, &x[0].device());
                let (q, k, v) = shape(x);
                let out = plain::cross_attention(q, k, v, &heads, &segments);
                let cells = out.shape().num_elements();
                out.reshape([cells])
            },
        );
        // MODEL: repeating a key n times is adding ln n to its score.
        let double: Vec<Vec<f64>> = data
            .iter()
            .map(|x| x.iter().map(|&x| f64::from(x)).collect())
            .collect();
        let operands = [&double[0][..], &double[1], &double[2]];
        let repeated = reference::replicated_cross_attention(operands, &heads, dims, &index);
        for (compact, repeated) in reference(&double).iter().zip(&repeated) {
            assert!((compact - repeated).abs() < 1e-14, "{compact} {repeated}");
        }
    }
}

#[test]
fn cross_entropy() {
    for (rows, vocabulary, scale) in [(1, 2, 1.0), (4, 37, 0.25), (3, 600, 2.0)] {
        let data = [scaled(numbers(rows * vocabulary, 16), 5.0)];
        let targets: Vec<usize> = (0..rows).map(|row| (row * 7) % vocabulary).collect();
        let shape = |x: &[Tensor<1>]| x[0].clone().reshape([rows, vocabulary]);
        check(
            "cross_entropy",
            &data,
            &|x| reference::cross_entropy(&x[0], scale, &targets),
            &|x| ops::cross_entropy(shape(x), scale, integers(&targets, [rows], &x[0].device())),
            &|x| plain::cross_entropy(shape(x), scale, integers(&targets, [rows], &x[0].device())),
        );
    }
}

#[test]
fn boundary_probability() {
    for (batch, length, width) in [(1, 2, 1), (3, 7, 5), (2, 4, 20)] {
        let data = [
            numbers(batch * length * width, 17),
            numbers(batch * length * width, 18),
        ];
        let shape = |x: &Tensor<1>| x.clone().reshape([batch, length, width]);
        check(
            "boundary_probability",
            &data,
            &|x| reference::boundary_probability(&x[0], &x[1], length, width),
            &|x| ops::boundary_probability(shape(&x[0]), shape(&x[1])).reshape([batch * length]),
            &|x| plain::boundary_probability(shape(&x[0]), shape(&x[1])).reshape([batch * length]),
        );
    }
}

#[test]
fn boundaries_of_zero_vectors_are_finite() {
    let mut q = numbers(12, 1);
    q[..8].fill(0.0);
    for k in [vec![0.0; 12], numbers(12, 2)] {
        let op = |x: &[Tensor<1>]| {
            let shape = |x: &Tensor<1>| x.clone().reshape([1, 3, 4]);
            ops::boundary_probability(shape(&x[0]), shape(&x[1])).reshape([3])
        };
        for result in run(&[q.clone(), k], &op, DType::F32) {
            assert!(result.iter().all(|x| x.is_finite()), "{result:?}");
        }
    }
    let device = crate::device::for_tests();
    let single = Tensor::<3>::zeros([2, 1, 4], &device);
    let p = ops::boundary_probability(single.clone(), single);
    assert_eq!(
        p.into_data().try_to_vec::<f32>().expect("floats"),
        [1.0, 1.0]
    );
}

#[test]
fn double_precision_takes_the_plain_road() {
    let device = crate::device::for_tests();
    let x = Tensor::<2>::from_data([[3.0, 4.0]], (&device, DType::F64));
    let weight = Tensor::<1>::from_data([1.0, 2.0], (&device, DType::F64));
    let out = ops::rms_norm(x, weight, 0.0);
    assert_eq!(out.dtype(), DType::F64);
    let out = out
        .into_data()
        .try_to_vec::<f64>()
        .expect("double precision");
    let root = 12.5f64.sqrt();
    assert!((out[0] - 3.0 / root).abs() < 1e-12 && (out[1] - 8.0 / root).abs() < 1e-12);
}

const STEP: AdamWStep = AdamWStep {
    rate: 0.01,
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weight_decay: 0.1,
    step: 3,
};

#[test]
fn adamw() {
    let device = crate::device::for_tests();
    let count = 1000;
    let values = [
        numbers(count, 19),
        numbers(count, 20),
        numbers(count, 21),
        numbers(count, 22),
    ];
    let tensor = |i: usize| {
        // The second moment is not negative.
        let values: Vec<f32> = values[i]
            .iter()
            .map(|&x| if i == 3 { x * x + 0.1 } else { x })
            .collect();
        Tensor::<1>::from_data(values.as_slice(), &device)
    };
    let tensors = [0, 1, 2, 3].map(tensor);
    let untouched = tensors.clone().map(Tensor::into_data);
    let read = |x: Tensor<1>| x.into_data().try_to_vec::<f32>().expect("single precision");
    let [p, g, m, v] = tensors.clone().map(read);
    let [param, grad, first, second] = tensors.clone();
    // A norm twice what it may be. The gradient may be scaled in its memory.
    let grad = grad + 0.0;
    let norm = ops::norm(vec![grad.clone()]);
    let mut adamw = ops::AdamW::clipped(&norm, norm.read() / 2.0);
    let fused = adamw.update(param, grad, first, second, &STEP);
    adamw.finish();
    let [param, grad, first, second] = tensors.clone();
    let plain = plain::adamw(param, grad, first, second, &STEP, 0.5);
    assert_eq!(
        tensors.map(Tensor::into_data),
        untouched,
        "tensors held elsewhere do not change"
    );
    for (param, first, second) in [fused, plain] {
        let (param, first, second) = (read(param), read(first), read(second));
        for i in 0..count {
            let grad = f64::from(g[i]) * 0.5;
            let exact_m = 0.9 * f64::from(m[i]) + 0.1 * grad;
            let exact_v = 0.95 * f64::from(v[i]) + 0.05 * grad * grad;
            let m_hat = exact_m / (1.0 - 0.9f64.powi(3));
            let v_hat = exact_v / (1.0 - 0.95f64.powi(3));
            let exact = f64::from(p[i]) * (1.0 - 0.001) - 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            assert!((f64::from(param[i]) - exact).abs() < 1e-6);
            assert!((f64::from(first[i]) - exact_m).abs() < 1e-6);
            assert!((f64::from(second[i]) - exact_v).abs() < 1e-6);
        }
    }
}

#[test]
fn adamw_changes_nothing_where_the_norm_is_not_finite() {
    let device = crate::device::for_tests();
    for wrong in [f32::NAN, f32::INFINITY] {
        let tensor = |x: f32| Tensor::<1>::from_data([1.0, x, 2.0], &device);
        let (param, grad, zeros) = (tensor(3.0), tensor(wrong), tensor(0.0));
        let norm = ops::norm(vec![grad.clone()]);
        assert!(!norm.read().is_finite());
        let mut adamw = ops::AdamW::clipped(&norm, 1.0);
        let (found, m, v) = adamw.update(param.clone(), grad, zeros.clone(), zeros.clone(), &STEP);
        adamw.finish();
        let found = [found, m, v].map(Tensor::into_data);
        assert_eq!(found, [param, zeros.clone(), zeros].map(Tensor::into_data));
    }
}

#[test]
fn norm() {
    let device = crate::device::for_tests();
    let values = numbers(100_003, 23);
    let exact: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let (first, rest) = values.split_at(70_001);
    let tensors = vec![
        Tensor::<1>::from_data(first, &device),
        Tensor::from_data(rest, &device),
    ];
    for found in [
        ops::norm(tensors.clone()).read().powi(2),
        plain::sum_of_squares(tensors),
    ] {
        assert!((found - exact).abs() < 1e-9 * exact, "{found} {exact}");
    }
}
