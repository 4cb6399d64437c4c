//! The devices that models run on: what this program can use, under which names.
//!
//! | name | what |
//! | --- | --- |
//! | `cpu` | the CPU with the kernels of this program |
//! | `cuda:0`, `cuda:1`, … | NVIDIA GPUs with libtorch's kernels (feature `tch`) |
//! | `cubecl:0`, `cubecl:1`, … | NVIDIA GPUs with burn's kernels (feature `cuda`) |
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
    let mut names: Vec<String> = Family::ALL.into_iter().flat_map(Family::names).collect();
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
    let (family, index) = name.split_once(':')?;
    Family::from_name(family)?;
    index.parse().ok()
}

/// Says whose kernels run on a device.
pub fn kernels(name: &str) -> &'static str {
    match name.split_once(':') {
        None => "own kernels",
        Some(("cubecl", _)) => "CubeCL",
        Some(_) => "libtorch",
    }
}

/// GPUs by whose kernels run on them, what `auto` prefers first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// libtorch's.
    Libtorch,
    /// burn's.
    Cubecl,
}

impl Family {
    const ALL: [Self; 2] = [Self::Libtorch, Self::Cubecl];

    /// What their names begin with.
    fn name(self) -> &'static str {
        match self {
            Self::Libtorch => "cuda",
            Self::Cubecl => "cubecl",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// Counts the GPUs that can be used.
    fn count(self) -> usize {
        match self {
            Self::Libtorch => libtorch::gpus(),
            Self::Cubecl => cubecl::gpus(),
        }
    }

    /// Lists the names of the GPUs that can be used.
    fn names(self) -> Vec<String> {
        let name = |index| format!("{}:{index}", self.name());
        (0..self.count()).map(name).collect()
    }
}

/// Puts names in place of `auto`: every GPU that can be used, or else the CPU.
pub fn resolve(names: &[String]) -> Vec<String> {
    let auto = || {
        let gpus = Family::ALL.into_iter().map(Family::names);
        gpus.into_iter()
            .find(|names| !names.is_empty())
            .unwrap_or_else(|| vec!["cpu".to_owned()])
    };
    let names = names.iter().flat_map(|name| match name.as_str() {
        "auto" => auto(),
        family if Family::from_name(family).is_some() => vec![format!("{family}:0")],
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
    let number = |index: &str| {
        index
            .parse()
            .map_err(|_| format!("`{index}` is not a GPU's number, as in `cuda:0`"))
    };
    match name.split_once(':') {
        None if name == "cpu" => Ok(Device::flex()),
        Some(("tch", "cpu")) => libtorch::cpu(),
        Some(("cuda", index)) => libtorch::gpu(number(index)?),
        Some(("cubecl", index)) => cubecl::gpu(number(index)?),
        _ => Err("there is no device of that name".to_owned()),
    }
}

#[cfg(feature = "tch")]
#[allow(
    deprecated,
    reason = "burn will drop libtorch; those who asked for it by name still get it"
)]
mod libtorch {
    use burn::tensor::Device;

    pub(super) fn gpus() -> usize {
        usize::try_from(tch::Cuda::device_count()).unwrap_or(0)
    }

    pub(super) fn cpu() -> Result<Device, String> {
        // libtorch has threads of its own; a run has as many as it was given.
        let threads = i32::try_from(rayon::current_num_threads()).unwrap_or(i32::MAX);
        tch::set_num_threads(threads);
        Ok(Device::libtorch())
    }

    pub(super) fn gpu(index: usize) -> Result<Device, String> {
        match gpus() {
            count if index < count => {
                crate::ops::choose_deterministic_kernels()?;
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

    pub(super) fn peak_memory(index: usize) -> Option<f64> {
        crate::ops::peak_memory(index).map(|bytes| bytes as f64)
    }
}

#[cfg(not(feature = "tch"))]
mod libtorch {
    use burn::tensor::Device;

    const WITHOUT: &str = "this program was built without the feature `tch`";

    pub(super) fn gpus() -> usize {
        0
    }

    pub(super) fn cpu() -> Result<Device, String> {
        Err(WITHOUT.to_owned())
    }

    pub(super) fn gpu(_: usize) -> Result<Device, String> {
        Err(WITHOUT.to_owned())
    }

    pub(super) fn peak_memory(_: usize) -> Option<f64> {
        None
    }
}

#[cfg(feature = "cuda")]
mod cubecl {
    use burn::tensor::{Device, DeviceType};

    pub(super) fn gpus() -> usize {
        Device::enumerate(DeviceType::Cuda).into_vec().len()
    }

    pub(super) fn gpu(index: usize) -> Result<Device, String> {
        match gpus() {
            count if index < count => Ok(Device::cuda(index)),
            0 => Err("CUDA finds none: there is no NVIDIA GPU or driver, or \
                      CUDA_VISIBLE_DEVICES hides them"
                .to_owned()),
            count => Err(format!("CUDA finds {count} GPU(s)")),
        }
    }
}

#[cfg(not(feature = "cuda"))]
mod cubecl {
    use burn::tensor::Device;

    pub(super) fn gpus() -> usize {
        0
    }

    pub(super) fn gpu(_: usize) -> Result<Device, String> {
        Err("this program was built without the feature `cuda`".to_owned())
    }
}

/// Asks how much of a device's memory this process has held at most, in bytes; `None` where that is
/// not known.
///
/// On a GPU what CUDA itself takes is not counted.
pub fn peak_memory(name: &str) -> Option<f64> {
    if is_cpu(name) {
        // What getrusage says began with the process that started this one.
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes: f64 = line?.trim().strip_suffix("kB")?.trim().parse().ok()?;
        return Some(1024.0 * kilobytes);
    }
    match Family::from_name(name.split_once(':')?.0)? {
        Family::Libtorch => libtorch::peak_memory(gpu_index(name)?),
        Family::Cubecl => None,
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
            ("cubecl:999", ""),
        ] {
            let error = open(name).expect_err("no such device").to_string();
            assert!(error.contains(why) && error.contains("cpu"), "{error}");
        }
        assert!(open("cpu").is_ok());
        assert_eq!(open("tch:cpu").is_ok(), cfg!(feature = "tch"));
    }
}
