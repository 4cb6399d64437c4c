//! Rotary positions, half-split: element i turns with element i + size/2.

use std::sync::{Arc, Mutex, PoisonError};

use crate::ops::ROTARY_BASE;

/// Cosines and sines of every position.
#[derive(Debug)]
pub(crate) struct Rotary {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// The tables made so far: a model needs two or three, and the same ones at every step.
static TABLES: Mutex<Vec<Arc<Rotary>>> = Mutex::new(Vec::new());

impl Rotary {
    /// Returns a table of at least `length` positions.
    pub(crate) fn table(size: usize, length: usize) -> Arc<Self> {
        assert!(
            size.is_multiple_of(2),
            "rotary positions need an even head size, got {size}"
        );
        let half = size / 2;
        // A table is complete before it is stored, so a panic elsewhere cannot have spoiled it.
        let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tables.iter().position(|table| table.half == half);
        if let Some(table) = known.map(|i| &tables[i])
            && table.cos.len() >= length * half
        {
            return Arc::clone(table);
        }
        let angle = |i: usize| {
            let frequency = ROTARY_BASE.powf(-2.0 * (i % half) as f64 / size as f64);
            (i / half) as f64 * frequency
        };
        let cells = length * half;
        let table = Arc::new(Self {
            half,
            cos: (0..cells).map(|i| angle(i).cos() as f32).collect(),
            sin: (0..cells).map(|i| angle(i).sin() as f32).collect(),
        });
        if let Some(i) = known {
            tables[i] = Arc::clone(&table);
        } else {
            tables.push(Arc::clone(&table));
        }
        table
    }

    /// Turns a vector to its position: `direction` 1 forwards, -1 back.
    #[inline(always)]
    pub(crate) fn turn(&self, position: usize, direction: f32, x: &mut [f32]) {
        let cos = &self.cos[position * self.half..][..self.half];
        let sin = &self.sin[position * self.half..][..self.half];
        let (left, right) = x.split_at_mut(self.half);
        let pairs = left.iter_mut().zip(right);
        for ((left, right), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
            let sin = direction * sin;
            let turned = left.mul_add(*cos, -*right * sin);
            *right = right.mul_add(*cos, *left * sin);
            *left = turned;
        }
    }
}
