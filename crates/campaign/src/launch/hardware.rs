//! What this machine is: its memory, its GPUs, their driver, as the system and NVIDIA say.

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use serde::Serialize;

/// An NVIDIA GPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gpu {
    /// Its name, as `NVIDIA H200`.
    pub name: String,
    /// All of its memory, in bytes.
    pub memory_bytes: u64,
    /// What nobody uses of it now, in bytes.
    pub free_memory_bytes: u64,
    /// Version of the driver.
    pub driver: String,
}

/// Lists the GPUs that CUDA shows, in its order: `cuda:0` is the first. A slice of a GPU (MIG) is one of its
/// own, with its own memory.
///
/// # Errors
/// Says why none can be seen.
pub fn gpus() -> Result<Vec<Gpu>, String> {
    let nvml = Nvml::init().map_err(|error| format!("no NVIDIA driver answers ({error})"))?;
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let read = || -> Result<Vec<Gpu>, NvmlError> {
        let (mut handles, mut seen) = (Vec::new(), Vec::new());
        for index in 0..nvml.device_count()? {
            let device = nvml.device_by_index(index)?;
            let slices = slices(&device);
            seen.push(Identity {
                uuid: device.uuid()?,
                slices: slices.iter().map(Device::uuid).collect::<Result<_, _>>()?,
            });
            handles.push((device, slices));
        }
        let driver = nvml.sys_driver_version()?;
        let gpu = |which: Which| {
            let (device, slices) = &handles[which.gpu];
            let device = which.slice.map_or(device, |slice| &slices[slice]);
            let memory = device.memory_info()?;
            Ok(Gpu {
                name: device.name()?,
                memory_bytes: memory.total,
                free_memory_bytes: memory.free,
                driver: driver.clone(),
            })
        };
        let which = visible_devices(visible.as_deref(), &seen).into_iter();
        which.map(gpu).collect()
    };
    read().map_err(|error| error.to_string())
}

/// Lists the slices that a GPU is cut into; none of one that is whole, or whose driver knows of none.
fn slices<'a>(device: &Device<'a>) -> Vec<Device<'a>> {
    let most = device.mig_device_count().unwrap_or(0);
    let slice = |index| device.mig_device_by_index(index).ok();
    (0..most).filter_map(slice).collect()
}

/// A GPU, as `CUDA_VISIBLE_DEVICES` may name it.
struct Identity {
    /// `GPU-…`.
    uuid: String,
    /// `MIG-…` of each slice.
    slices: Vec<String>,
}

/// A GPU or a slice of one, by their places.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Which {
    gpu: usize,
    slice: Option<usize>,
}

/// Reads `CUDA_VISIBLE_DEVICES` as CUDA does: up to the first entry that names no GPU, or more than one.
///
/// An entry is a place on the bus or as much of an identity as is unique. Of a GPU that is cut into slices
/// CUDA uses the first (<https://docs.nvidia.com/datacenter/tesla/mig-user-guide/>).
fn visible_devices(variable: Option<&str>, gpus: &[Identity]) -> Vec<Which> {
    let whole = |gpu: usize| {
        let slice = (!gpus[gpu].slices.is_empty()).then_some(0);
        Which { gpu, slice }
    };
    let Some(variable) = variable else {
        return (0..gpus.len()).map(whole).collect();
    };
    let named = |entry: &str| -> Option<Which> {
        if let Ok(index) = entry.parse::<usize>() {
            return (index < gpus.len()).then(|| whole(index));
        }
        let all = gpus.iter().enumerate();
        let found: Vec<Which> = if entry.starts_with("GPU-") {
            all.filter(|(_, identity)| identity.uuid.starts_with(entry))
                .map(|(gpu, _)| whole(gpu))
                .collect()
        } else if entry.starts_with("MIG-") {
            all.flat_map(|(gpu, identity)| {
                let slices = identity.slices.iter().enumerate();
                let slices = slices.filter(|(_, uuid)| uuid.starts_with(entry));
                slices.map(move |(slice, _)| Which {
                    gpu,
                    slice: Some(slice),
                })
            })
            .collect()
        } else {
            Vec::new()
        };
        match found[..] {
            [one] => Some(one),
            _ => None,
        }
    };
    variable
        .split(',')
        .map(str::trim)
        .map_while(named)
        .collect()
}

/// Reads how much memory the machine has, in bytes; `None` where it does not say.
pub fn machine_memory() -> Option<f64> {
    memory_line("MemTotal:")
}

/// Reads how much memory new processes can have, in bytes; `None` where the system does not say.
pub fn machine_free_memory() -> Option<f64> {
    memory_line("MemAvailable:")
}

fn memory_line(key: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let kilobytes: f64 = line?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024.0 * kilobytes)
}

/// Describes the machine's processor as its system does; `None` where the system does not.
pub fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = line.trim_start_matches([' ', '\t', ':']).trim();
    Some(format!("{model}, {cores} threads"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_gpus_are_read_as_cuda_reads_them() {
        let identity = |uuid: &str, slices: &[&str]| Identity {
            uuid: uuid.into(),
            slices: slices.iter().map(|uuid| (*uuid).to_owned()).collect(),
        };
        let whole = |gpu| Which { gpu, slice: None };
        let slice = |gpu, slice| Which {
            gpu,
            slice: Some(slice),
        };
        let gpus = [
            identity("GPU-1a2b3c", &[]),
            identity("GPU-1a9f00", &[]),
            identity("GPU-77", &["MIG-aa01", "MIG-aa02", "MIG-GPU-77/2/0"]),
        ];
        for (variable, expected) in [
            (None, vec![whole(0), whole(1), slice(2, 0)]),
            (Some("1, 0"), vec![whole(1), whole(0)]),
            (Some(""), vec![]),
            // The rest is hidden.
            (Some("0,-1,1"), vec![whole(0)]),
            (Some("7,0"), vec![]),
            (Some("GPU-1a2b3c"), vec![whole(0)]),
            (Some("GPU-1a9,GPU-1a2b"), vec![whole(1), whole(0)]),
            // Which of two is not said.
            (Some("GPU-1a"), vec![]),
            (Some("MIG-aa02"), vec![slice(2, 1)]),
            (Some("MIG-GPU-77/2/0,1"), vec![slice(2, 2), whole(1)]),
            (Some("GPU-77"), vec![slice(2, 0)]),
            (Some("2"), vec![slice(2, 0)]),
            (Some("nonsense"), vec![]),
        ] {
            assert_eq!(visible_devices(variable, &gpus), expected, "{variable:?}");
        }
    }
}
