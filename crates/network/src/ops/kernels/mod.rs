//! Kernels on slices of single precision: forward passes and hand-written backward passes.
//!
//! They know nothing of tensors. Row-major and contiguous operands, results written in full.

pub(super) mod adam;
pub(super) mod attention;
pub(super) mod boundary;
pub(super) mod cached;
pub(super) mod linear;
pub(super) mod loss;
pub(super) mod norm;
mod parallel;
pub(super) mod pooling;
pub(super) mod rotary;
pub(super) mod swiglu;
mod tile;
mod vector;
pub(super) mod visible;
