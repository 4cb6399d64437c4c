//! Attention one token at a time, over the keys and values of those before.

use burn::tensor::{Tensor, TensorData};

use super::Heads;
use super::kernels::cached;
use super::kernels::rotary::Rotary;

/// The keys and values that one attention layer remembers of one sequence.
///
/// They lie on the host: a single query does too little for a device to be worth the way there.
#[derive(Clone, Debug)]
pub struct KeyValues {
    heads: Heads,
    /// Most rows kept: a ring, since softmax does not ask for an order.
    window: Option<usize>,
    keys: Vec<f32>,
    values: Vec<f32>,
    /// ln of the tokens each row stands for.
    bias: Vec<f32>,
    /// Tokens the newest row stands for.
    repeats: f32,
    seen: usize,
}

impl KeyValues {
    /// Remembers nothing yet, and in time the last `window` rows, or all.
    pub fn new(heads: Heads, window: Option<usize>) -> Self {
        assert_ne!(window, Some(0), "a token sees itself at least");
        Self {
            heads,
            window,
            keys: Vec::new(),
            values: Vec::new(),
            bias: Vec::new(),
            repeats: 0.0,
            seen: 0,
        }
    }

    /// Attends from the next token to itself and those before, as [`super::causal_attention`]
    /// does from all at once.
    ///
    /// # Shapes
    /// q `[1, 1, query * size]`, k and v `[1, 1, key_value * size]` to the shape of q.
    pub fn causal_attention(&mut self, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<3> {
        let position = self.seen;
        // A longer table replaces a shorter one: doubling makes that rare.
        let rotary = Rotary::table(self.heads.size, (position + 1).next_power_of_two());
        let like = (&q.device(), q.dtype());
        let turned = |x: Tensor<3>| {
            let mut x = host(x);
            let heads = x.chunks_exact_mut(self.heads.size);
            heads.for_each(|head| rotary.turn(position, 1.0, head));
            x
        };
        let (q, k) = (turned(q), turned(k));
        self.push_rows(k, host(v));
        let shape = [1, 1, q.len()];
        Tensor::from_data(TensorData::new(self.read(&q), shape), like)
    }

    /// Remembers a row as it is, standing for one token.
    ///
    /// # Shapes
    /// `[1, 1, key_value * size]`, both.
    pub fn push(&mut self, k: Tensor<3>, v: Tensor<3>) {
        self.push_rows(host(k), host(v));
    }

    /// Lets the newest row stand for one token more: its score grows as if it were repeated.
    pub fn repeat(&mut self) {
        self.repeats += 1.0;
        if let Some(newest) = self.bias.last_mut() {
            *newest = self.repeats.ln();
        }
    }

    /// Attends from one query, which is not turned, to every row.
    ///
    /// # Shapes
    /// `[1, 1, query * size]`, in and out.
    pub fn attend(&self, q: Tensor<3>) -> Tensor<3> {
        let (shape, device, dtype) = (q.dims(), q.device(), q.dtype());
        Tensor::from_data(
            TensorData::new(self.read(&host(q)), shape),
            (&device, dtype),
        )
    }

    /// Counts the FLOPs of one query's scores and of mixing the values.
    pub fn flops(&self) -> u64 {
        (4 * self.bias.len() * self.heads.query * self.heads.size) as u64
    }

    fn push_rows(&mut self, k: Vec<f32>, v: Vec<f32>) {
        let width = self.heads.key_value * self.heads.size;
        assert_eq!([k.len(), v.len()], [width; 2], "width of a key and a value");
        match self.window {
            Some(window) if self.seen >= window => {
                let oldest = self.seen % window * width;
                self.keys[oldest..][..width].copy_from_slice(&k);
                self.values[oldest..][..width].copy_from_slice(&v);
            }
            _ => {
                self.keys.extend(k);
                self.values.extend(v);
                self.bias.push(0.0);
            }
        }
        self.repeats = 1.0;
        self.seen += 1;
    }

    fn read(&self, q: &[f32]) -> Vec<f32> {
        assert_eq!(q.len(), self.heads.query * self.heads.size, "width of q");
        let mut scores = vec![0.0; self.bias.len()];
        let mut out = vec![0.0; q.len()];
        let (keys, values) = (&self.keys, &self.values);
        cached::forward(
            q,
            keys,
            values,
            &self.bias,
            self.heads,
            &mut scores,
            &mut out,
        );
        out
    }
}

/// Copies a tensor's elements to the host.
fn host(x: Tensor<3>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{self, Segments};
    use burn::tensor::Int;

    const HEADS: Heads = Heads {
        query: 4,
        key_value: 2,
        size: 6,
    };

    fn rows(count: usize, width: usize, salt: f32) -> Tensor<3> {
        let values: Vec<f32> = (0..count * width)
            .map(|i| (i as f32 * salt).sin())
            .collect();
        let data = TensorData::new(values, [1, count, width]);
        Tensor::from_data(data, &crate::device::for_tests())
    }

    fn assert_close(one_by_one: &[f32], at_once: Tensor<3>) {
        for (i, (a, b)) in one_by_one.iter().zip(host(at_once)).enumerate() {
            assert!((a - b).abs() < 1e-5, "element {i}: {a} {b}");
        }
    }

    #[test]
    fn one_by_one_is_as_all_at_once() {
        let (q, k, v) = (rows(20, 24, 0.7), rows(20, 12, 0.37), rows(20, 12, 0.53));
        for window in [None, Some(1), Some(7), Some(20), Some(30)] {
            let mut cache = KeyValues::new(HEADS, window);
            let mut out = Vec::new();
            for t in 0..20 {
                let at = |x: &Tensor<3>| x.clone().narrow(1, t, 1);
                out.extend(host(cache.causal_attention(at(&q), at(&k), at(&v))));
                let seen = (t + 1).min(window.unwrap_or(20)) as u64;
                assert_eq!(cache.flops(), 4 * seen * 24);
            }
            let whole = ops::causal_attention(q.clone(), k.clone(), v.clone(), &HEADS, window);
            assert_close(&out, whole);
        }
    }

    #[test]
    fn repeated_slots_count_as_often_as_they_stand_for_tokens() {
        let index = [0i32, 0, 0, 1, 2, 2];
        let (q, k, v) = (rows(6, 24, 0.7), rows(3, 12, 0.37), rows(3, 12, 0.53));
        let segments = Segments {
            index: Tensor::<2, Int>::from_data(
                TensorData::new(index.to_vec(), [1, 6]),
                &crate::device::for_tests(),
            ),
            concepts: 3,
        };
        let mut slots = KeyValues::new(HEADS, None);
        let mut out = Vec::new();
        for (t, &slot) in index.iter().enumerate() {
            if t > 0 && index[t - 1] == slot {
                slots.repeat();
            } else {
                let at = |x: &Tensor<3>| x.clone().narrow(1, slot as usize, 1);
                slots.push(at(&k), at(&v));
            }
            out.extend(host(slots.attend(q.clone().narrow(1, t, 1))));
        }
        assert_close(&out, ops::cross_attention(q, k, v, &HEADS, &segments));
    }
}
