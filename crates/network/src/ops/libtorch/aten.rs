//! What libtorch has and its Rust bindings lack, by way of `aten.cpp`.

#![allow(
    unsafe_code,
    reason = "libtorch is C++; every pointer comes from a tensor that is borrowed for the call"
)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{NonNull, null, null_mut};
use std::sync::{Mutex, PoisonError};

use tch::{Kind, Tensor};

type Pointer = *const c_void;
type Error = *mut c_char;

#[link(name = "aten", kind = "static")]
unsafe extern "C" {
    fn aten_free_error(text: *mut c_char);
    fn aten_choose_deterministic_kernels(strictly: bool) -> Error;
    fn aten_gradients(
        out: Pointer,
        grad: Pointer,
        inputs: *const Pointer,
        count: usize,
        results: *mut *mut c_void,
    ) -> Error;
    fn aten_norm(tensors: *const Pointer, count: usize, result: *mut *mut c_void) -> Error;
    fn aten_adamw(
        params: *const Pointer,
        grads: *const Pointer,
        first: *const Pointer,
        second: *const Pointer,
        count: usize,
        rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
        step: f64,
        divisor: Pointer,
        skipped: Pointer,
    ) -> Error;
    fn aten_copy_all(targets: *const Pointer, sources: *const Pointer, count: usize) -> Error;
    fn aten_upload(target: Pointer, host: Pointer, scalar_type: i32) -> Error;
    fn aten_has_graphs() -> bool;
    fn aten_capture_begin(device: i32, shares: *mut c_void, capture: *mut *mut c_void) -> Error;
    fn aten_capture_end(capture: *mut c_void, graph: *mut *mut c_void) -> Error;
    fn aten_replay(graph: *mut c_void) -> Error;
    fn aten_free_graph(graph: *mut c_void);
    fn aten_peak_memory(device: i32, bytes: *mut i64) -> Error;
}

fn check(error: Error) -> Result<(), String> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a C string of the other side's, freed there once it is copied.
    let text = unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        aten_free_error(error);
        text
    };
    Err(text.lines().next().unwrap_or_default().to_owned())
}

/// As the bindings do where libtorch refuses what this program asks of it.
fn expect(error: Error, what: &str) {
    if let Err(message) = check(error) {
        panic!("libtorch: {what}: {message}");
    }
}

fn pointer(tensor: &Tensor) -> Pointer {
    tensor.as_ptr().cast()
}

fn pointers<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<Pointer> {
    tensors.into_iter().map(pointer).collect()
}

/// Takes over a tensor that the other side made.
fn adopt(made: *mut c_void) -> Tensor {
    // SAFETY: made there with `new`, and handed over.
    unsafe { Tensor::from_ptr(made.cast()) }
}

/// Has libtorch choose kernels that give the same bits every time, where there are such.
pub(crate) fn choose_deterministic_kernels() -> Result<(), String> {
    // SAFETY: takes a number.
    check(unsafe { aten_choose_deterministic_kernels(false) })
}

/// Asks how much of a GPU's memory libtorch has held at most in this process, in bytes; `None` where
/// the program was built without CUDA's headers.
pub(crate) fn peak_memory(device: usize) -> Option<u64> {
    let mut bytes = 0;
    // SAFETY: one number.
    check(unsafe { aten_peak_memory(device as i32, &mut bytes) }).ok()?;
    u64::try_from(bytes).ok()
}

/// While it lives, kernels that do not give the same bits every time are not chosen at all: those of
/// attention are otherwise, where they are faster.
pub(super) struct SameBits(());

impl SameBits {
    pub(super) fn new() -> Self {
        // SAFETY: takes a number.
        expect(
            unsafe { aten_choose_deterministic_kernels(true) },
            "kernels",
        );
        Self(())
    }
}

impl Drop for SameBits {
    fn drop(&mut self) {
        // SAFETY: takes a number.
        let error = unsafe { aten_choose_deterministic_kernels(false) };
        // It cannot fail, and a destructor could not say so.
        let _ = check(error);
    }
}

/// Computes the gradients of inputs from that of a result which libtorch recorded.
pub(super) fn gradients(out: &Tensor, grad: &Tensor, inputs: &[&Tensor]) -> Vec<Tensor> {
    let inputs = pointers(inputs.iter().copied());
    let mut results = vec![null_mut(); inputs.len()];
    // SAFETY: as many results as inputs.
    let done = unsafe {
        let results = results.as_mut_ptr();
        aten_gradients(
            pointer(out),
            pointer(grad),
            inputs.as_ptr(),
            inputs.len(),
            results,
        )
    };
    expect(done, "gradients");
    results.into_iter().map(adopt).collect()
}

/// Computes the norm over all tensors, in double precision, without waiting for it.
pub(super) fn norm(tensors: &[Tensor]) -> Tensor {
    let tensors = pointers(tensors);
    let mut result = null_mut();
    // SAFETY: one result.
    expect(
        unsafe { aten_norm(tensors.as_ptr(), tensors.len(), &mut result) },
        "norm",
    );
    adopt(result)
}

/// Takes one AdamW step on many weights at once: parameters and both moments (the first, third and
/// fourth list) change in their memory.
///
/// `clip` holds two numbers on the device: what gradients are divided by, in their memory, and 1 where
/// nothing is to change.
pub(super) fn adamw(
    tensors: &[Vec<Tensor>; 4],
    step: &super::AdamWStep,
    clip: Option<[&Tensor; 2]>,
) {
    let [params, grads, first, second] = tensors.each_ref().map(pointers);
    let [divisor, skipped] = clip.map_or([null(); 2], |clip| clip.map(pointer));
    // SAFETY: four lists of one length, and two numbers or neither.
    let done = unsafe {
        aten_adamw(
            params.as_ptr(),
            grads.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            params.len(),
            step.rate,
            step.beta1,
            step.beta2,
            step.weight_decay,
            step.epsilon,
            step.step as f64,
            divisor,
            skipped,
        )
    };
    expect(done, "AdamW");
}

/// Copies tensors into the memory of others.
pub(super) fn copy_all(targets: &[Tensor], sources: &[Tensor]) {
    assert_eq!(targets.len(), sources.len(), "a source for each target");
    let (targets, sources) = (pointers(targets), pointers(sources));
    // SAFETY: two lists of one length.
    expect(
        unsafe { aten_copy_all(targets.as_ptr(), sources.as_ptr(), targets.len()) },
        "copy",
    );
}

/// Copies numbers of the host into a tensor's memory without waiting for it.
pub(super) fn upload<T: tch::kind::Element>(target: &Tensor, numbers: &[T]) {
    assert_eq!(target.numel(), numbers.len(), "a number for each element");
    let kind = match T::KIND {
        Kind::Int => 3,
        Kind::Float => 6,
        other => unreachable!("{other:?} is not uploaded"),
    };
    // SAFETY: as many numbers as elements, of the type that is named.
    expect(
        unsafe { aten_upload(pointer(target), numbers.as_ptr().cast(), kind) },
        "upload",
    );
}

/// One thread of a process records at a time.
static CAPTURING: Mutex<()> = Mutex::new(());

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(false) };
}

/// Gives a recording up, where something is computed that must not be part of it.
pub(super) fn refuse_while_recording(what: &str) {
    if RECORDING.get() {
        resume_unwind(Box::new(format!("{what} while a step is recorded")));
    }
}

/// A CUDA graph: kernels that the GPU runs again by itself, on the same memory.
#[derive(Debug)]
pub(crate) struct CudaGraph(NonNull<c_void>);

impl CudaGraph {
    /// Tells whether this program was built with them.
    pub(crate) fn available() -> bool {
        // SAFETY: takes nothing.
        unsafe { aten_has_graphs() }
    }

    /// Records what some work asks of a GPU; nothing is computed.
    ///
    /// The graph may use the memory of `shares`, whose results are then only whole until this one
    /// runs, but for those that are still held.
    pub(crate) fn record<T>(
        device: usize,
        shares: Option<&Self>,
        work: impl FnOnce() -> T,
    ) -> Result<(Self, T), String> {
        let _alone = CAPTURING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut capture = null_mut();
        let shares = shares.map_or(null_mut(), |graph| graph.0.as_ptr());
        // SAFETY: the graph shared with is alive.
        check(unsafe { aten_capture_begin(device as i32, shares, &mut capture) })?;
        RECORDING.set(true);
        let done = catch_unwind(AssertUnwindSafe(work));
        RECORDING.set(false);
        let mut graph = null_mut();
        // SAFETY: begun above, and ended once.
        let ended = check(unsafe { aten_capture_end(capture, &mut graph) });
        let graph = NonNull::new(graph).map(Self);
        let result = done.map_err(|panic| {
            let text = panic.downcast_ref::<String>();
            text.cloned()
                .unwrap_or_else(|| "an operation failed".to_owned())
        })?;
        ended?;
        Ok((graph.ok_or("no graph")?, result))
    }

    /// Has the GPU run it, after what was asked of it before; does not wait.
    pub(crate) fn replay(&self) -> Result<(), String> {
        // SAFETY: recorded, and not yet freed.
        check(unsafe { aten_replay(self.0.as_ptr()) })
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        // SAFETY: freed once.
        unsafe { aten_free_graph(self.0.as_ptr()) }
    }
}
