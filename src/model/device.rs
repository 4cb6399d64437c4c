//! The devices that models run on: what this program can use, under which names.
//!
//! | name | what |
//! | --- | --- |
//! | `cpu` | the CPU with the kernels of this program |
//! | `cuda:0`, `cuda:1`, … | NVIDIA GPUs, as libtorch numbers them (feature `tch`) |
//! | `tch:cpu` | the CPU with libtorch's kernels (feature `tch`) |
//! | `auto` | every GPU that can be used, or else `cpu` |

use burn::tensor::Device;
use thiserror::Error;

/// Names a device where none is given.
pub const VARIABLE: &str = "ORCHESTRATOR_DEVICE";

/// Why a device cannot be used.
#[derive(Debug, Error)]
#[error("device `{name}` is not available: {why}; this program can use {available}")]
pub struct DeviceError {
    /// As asked for.
    pub name: String,
    /// What is missing.
    pub why: String,
    /// What there is.
    pub available: String,
}

/// Lists the names of the devices that can be used.
pub fn available() -> Vec<String> {
    let mut names: Vec<String> = (0..gpus()).map(|index| format!("cuda:{index}")).collect();
    names.push("cpu".to_owned());
    if cfg!(feature = "tch") {
        names.push("tch:cpu".to_owned());
    }
    names
}

/// Says whether a device is the machine's own processor, whoever's kernels run on it.
pub fn is_cpu(name: &str) -> bool {
    matches!(name, "cpu" | "tch:cpu")
}

/// Finds the number of a GPU in a device's name.
pub fn gpu_index(name: &str) -> Option<usize> {
    name.strip_prefix("cuda:")?.parse().ok()
}

/// Puts names in place of `auto`: every GPU that can be used, or else the CPU.
pub fn resolve(names: &[String]) -> Vec<String> {
    let auto = || match gpus() {
        0 => vec!["cpu".to_owned()],
        count => (0..count).map(|index| format!("cuda:{index}")).collect(),
    };
    let names = names.iter().flat_map(|name| match name.as_str() {
        "auto" => auto(),
        "cuda" => vec!["cuda:0".to_owned()],
        _ => vec![name.clone()],
    });
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}

/// Finds a device by its name; `auto` is the first GPU, or else the CPU.
///
/// # Errors
/// When this program has no such device.
pub fn open(name: &str) -> Result<Device, DeviceError> {
    let resolved = resolve(&[name.to_owned()]);
    let first = resolved.first().map_or(name, String::as_str);
    find(first).map_err(|why| DeviceError {
        name: name.to_owned(),
        why,
        available: available().join(", "),
    })
}

fn find(name: &str) -> Result<Device, String> {
    match name.split_once(':') {
        None if name == "cpu" => Ok(Device::flex()),
        Some(("tch", "cpu")) => libtorch_cpu(),
        Some(("cuda", index)) => {
            let index: usize = index
                .parse()
                .map_err(|_| format!("`{index}` is not a GPU's number, as in `cuda:0`"))?;
            gpu(index)
        }
        _ => Err("there is no device of that name".to_owned()),
    }
}

/// What a program without libtorch says of what needs it.
#[cfg(not(feature = "tch"))]
const WITHOUT: &str = "this program was built without the feature `tch`";

/// Counts the GPUs that can be used.
#[cfg(not(feature = "tch"))]
pub fn gpus() -> usize {
    0
}

#[cfg(not(feature = "tch"))]
fn libtorch_cpu() -> Result<Device, String> {
    Err(WITHOUT.to_owned())
}

#[cfg(not(feature = "tch"))]
fn gpu(_: usize) -> Result<Device, String> {
    Err(WITHOUT.to_owned())
}

/// Counts the GPUs that can be used.
#[cfg(feature = "tch")]
pub fn gpus() -> usize {
    usize::try_from(tch::Cuda::device_count()).unwrap_or(0)
}

#[cfg(feature = "tch")]
#[allow(
    deprecated,
    reason = "burn will drop libtorch; those who asked for it by name still get it"
)]
fn libtorch_cpu() -> Result<Device, String> {
    // libtorch has threads of its own; a run has as many as it was given.
    let threads = i32::try_from(rayon::current_num_threads()).unwrap_or(i32::MAX);
    tch::set_num_threads(threads);
    Ok(Device::libtorch())
}

#[cfg(feature = "tch")]
#[allow(deprecated, reason = "as above")]
fn gpu(index: usize) -> Result<Device, String> {
    match gpus() {
        count if index < count => {
            super::ops::choose_deterministic_kernels()?;
            Ok(Device::libtorch_cuda(index))
        }
        0 => Err(
            "libtorch finds none; either it was built or linked without CUDA, or \
             CUDA_VISIBLE_DEVICES hides them, or there is no NVIDIA GPU or driver"
                .to_owned(),
        ),
        count => Err(format!("libtorch finds {count} GPU(s)")),
    }
}

/// Reads which device [`VARIABLE`] names; without it, `cpu`.
pub fn named() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| "cpu".to_owned())
}

/// The device that tests run on.
#[cfg(test)]
pub(crate) fn for_tests() -> Device {
    open(&named()).expect("a device that tests can run on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_resolved_and_refused() {
        let names = ["cpu", "auto", "cuda:3", "cpu"].map(str::to_owned);
        let resolved = resolve(&names);
        assert!(resolved.contains(&"cuda:3".to_owned()));
        assert_eq!(resolved.iter().filter(|name| *name == "cpu").count(), 1);
        for (name, why) in [
            ("gpu", "no device of that name"),
            ("cuda:x", "not a GPU's number"),
            ("cuda:999", ""),
            ("tch:1", "no device of that name"),
        ] {
            let error = open(name).expect_err("no such device").to_string();
            assert!(error.contains(why) && error.contains("cpu"), "{error}");
        }
        assert!(open("cpu").is_ok());
        assert_eq!(open("tch:cpu").is_ok(), cfg!(feature = "tch"));
    }
}
