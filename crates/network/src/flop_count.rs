//! What a model executes when it goes on token by token.

use super::ops;
use burn::module::Param;
use burn::tensor::Tensor;
use std::cell::Cell;

/// Counts the FLOPs of matrix products and attention as they are executed; a multiply-add is two.
#[derive(Clone, Debug, Default)]
pub(crate) struct FlopCount(Cell<u64>);

impl FlopCount {
    /// Multiplies the last axis by a matrix, and counts it.
    pub(crate) fn linear<const D: usize>(
        &self,
        x: Tensor<D>,
        weight: &Param<Tensor<2>>,
    ) -> Tensor<D> {
        let weight = weight.val();
        let outputs = weight.dims()[1];
        self.add(2 * (x.shape().num_elements() * outputs) as u64);
        ops::linear(x, weight)
    }

    /// Returns what was counted.
    pub(crate) fn total(&self) -> u64 {
        self.0.get()
    }

    /// Counts what was executed elsewhere.
    pub(crate) fn add(&self, flops: u64) {
        self.0.set(self.0.get() + flops);
    }
}
