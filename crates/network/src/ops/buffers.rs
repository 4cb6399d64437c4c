//! Memory that is passed from one step's tensors to the next's.
//!
//! A training step asks for the same sizes as the one before it. Memory from the allocator has to
//! be cleared, and after a while to be mapped again, for every result: a tenth of a step. A buffer
//! that a backward pass has no more use for holds numbers already, so it can be handed out as it
//! is, and stays in the cache.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use burn::backend::flex::FlexTensor;
use burn::tensor::DType;

/// Fewest elements that are worth keeping: the allocator is quick with small blocks.
const WORTHWHILE: usize = 1 << 12;

/// Most elements kept, 1 GiB; beyond it the oldest buffers go.
const MOST: usize = 1 << 28;

/// Spare buffers, the oldest first.
#[derive(Default)]
struct Spare {
    buffers: VecDeque<Vec<f32>>,
    elements: usize,
}

static SPARE: Mutex<Spare> = Mutex::new(Spare {
    buffers: VecDeque::new(),
    elements: 0,
});

impl Spare {
    /// Takes out the smallest buffer that holds `count` elements and wastes little.
    fn take(&mut self, count: usize) -> Option<Vec<f32>> {
        let fits = |capacity: usize| capacity >= count && capacity - count <= count / 4;
        let (place, _) = (self.buffers.iter().enumerate().rev())
            .map(|(place, buffer)| (place, buffer.capacity()))
            .filter(|&(_, capacity)| fits(capacity))
            .min_by_key(|&(_, capacity)| capacity)?;
        let buffer = self.buffers.remove(place)?;
        self.elements -= buffer.capacity();
        Some(buffer)
    }

    /// Puts in a buffer, and gives up the oldest where there are too many.
    fn put(&mut self, buffer: Vec<f32>) {
        self.elements += buffer.capacity();
        self.buffers.push_back(buffer);
        while self.elements > MOST
            && let Some(oldest) = self.buffers.pop_front()
        {
            self.elements -= oldest.capacity();
        }
    }
}

/// Runs on the spare buffers; each change of them is complete, so a panic elsewhere spoils nothing.
fn with_spare<R>(run: impl FnOnce(&mut Spare) -> R) -> R {
    run(&mut SPARE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Returns room for `count` elements, holding anything: whoever asks writes all of them.
pub(super) fn room(count: usize) -> Vec<f32> {
    let spare = (count >= WORTHWHILE).then(|| with_spare(|spare| spare.take(count)));
    let mut buffer = match spare.flatten() {
        Some(mut buffer) => {
            buffer.resize(count, 0.0);
            buffer
        }
        // The allocator knows memory that is zero already.
        None => vec![0.0; count],
    };
    if cfg!(test) {
        // An element that is read, or that nobody writes, shows.
        buffer.fill(f32::NAN);
    }
    buffer
}

/// Keeps the memory of a tensor for later, if nobody else holds it.
pub(super) fn recycle(tensor: FlexTensor) {
    let count = tensor.layout().num_elements();
    let whole = tensor.is_contiguous() && tensor.bytes().len() == count * size_of::<f32>();
    if tensor.dtype() != DType::F32 || !tensor.is_unique() || !whole {
        return;
    }
    // Refused where the memory was not allocated for single precision; then it is just freed.
    if let Ok(buffer) = tensor.into_data().into_bytes().try_into_vec::<f32>() {
        keep(buffer);
    }
}

/// Keeps a buffer for later.
fn keep(buffer: Vec<f32>) {
    if buffer.capacity() >= WORTHWHILE {
        with_spare(|spare| spare.put(buffer));
    }
}

/// A buffer of zeros that goes back to the spare ones.
pub(super) struct Scratch(Vec<f32>);

impl Scratch {
    /// Returns `count` zeros.
    pub(super) fn zeros(count: usize) -> Self {
        let mut buffer = room(count);
        buffer.fill(0.0);
        Self(buffer)
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        keep(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_reused_when_they_fit_and_given_up_when_too_many() {
        let mut spare = Spare::default();
        for size in [1000, 500, 1100] {
            spare.put(vec![0.0; size]);
        }
        assert_eq!(spare.take(950).map(|buffer| buffer.capacity()), Some(1000));
        assert_eq!(spare.take(950).map(|buffer| buffer.capacity()), Some(1100));
        assert!(spare.take(300).is_none(), "500 would waste too much");
        assert_eq!(spare.elements, 500);
        spare.put(Vec::with_capacity(MOST));
        assert!(
            spare.buffers.len() == 1 && spare.elements == MOST,
            "the oldest went"
        );
    }
}
