//! Work that a GPU repeats by itself, on the same memory: CUDA graphs.
//!
//! Small models keep a GPU waiting for the host, which asks for one short kernel after another.
//! Recorded once, all kernels of a piece of work are asked for with one call.

use burn::backend::DispatchDevice;
use burn::backend::libtorch::LibTorchDevice;
use burn::tensor::{Device, Int, Tensor};

use super::aten::{self, CudaGraph};
use super::memory;

/// Recorded work.
#[derive(Debug)]
pub struct Recording(CudaGraph);

/// The number of a GPU; `None` for another device.
fn gpu(device: &Device) -> Option<usize> {
    match device.clone().inner().as_dispatch() {
        DispatchDevice::LibTorch(LibTorchDevice::Cuda(index)) => Some(*index),
        _ => None,
    }
}

impl Recording {
    /// Tells whether work on a device can be recorded.
    pub fn possible_on(device: &Device) -> bool {
        gpu(device).is_some() && CudaGraph::available()
    }

    /// Records what some work asks of a GPU; nothing is computed yet.
    ///
    /// The work must not read from the device, nor copy to it. What it reads must stay where it is;
    /// so do its results, which have their values whenever it was repeated. The recording may use
    /// the memory of `shares`, but for results that are still held.
    ///
    /// # Errors
    /// When the work does what cannot be recorded; the device is as before.
    pub fn new<T>(
        device: &Device,
        shares: Option<&Self>,
        work: impl FnOnce() -> T,
    ) -> Result<(Self, T), String> {
        let index = gpu(device).ok_or("not a GPU")?;
        let (graph, result) = CudaGraph::record(index, shares.map(|other| &other.0), work)?;
        Ok((Self(graph), result))
    }

    /// Has the device do the work, after what was asked of it before; does not wait.
    ///
    /// # Errors
    /// When the device fails.
    pub fn repeat(&self) -> Result<(), String> {
        self.0.replay()
    }
}

/// Overwrites a tensor's memory with numbers of the host, without waiting for it.
pub fn overwrite<const D: usize>(tensor: &Tensor<D>, numbers: &[f32]) {
    aten::upload(&memory(tensor), numbers);
}

/// Does what [`overwrite`] does, for integers.
pub fn overwrite_ints<const D: usize>(tensor: &Tensor<D, Int>, numbers: &[i32]) {
    aten::upload(&memory(tensor), numbers);
}

/// Copies tensors into the memory of others of the same shapes, which may be of another type.
pub fn copy_all(targets: &[Tensor<1>], sources: &[Tensor<1>]) {
    let pairs = targets.iter().map(memory).zip(sources.iter().map(memory));
    // What copies all at once takes sources of one type.
    let (single, other): (Vec<_>, Vec<_>) =
        pairs.partition(|(_, source)| source.kind() == tch::Kind::Float);
    tch::no_grad(|| {
        for pairs in [single, other] {
            let (targets, sources): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            if !targets.is_empty() {
                aten::copy_all(&targets, &sources);
            }
        }
    });
}

/// Says where a tensor's numbers are.
pub fn address<const D: usize>(tensor: &Tensor<D>) -> usize {
    memory(tensor).data_ptr() as usize
}
