//! What this machine is: its memory, its GPUs, their driver, as the system and NVIDIA say.

use nvml_wrapper::Nvml;
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

/// Lists the GPUs that CUDA shows, in its order: `cuda:0` is the first.
///
/// # Errors
/// Says why none can be seen.
pub fn gpus() -> Result<Vec<Gpu>, String> {
    let nvml = Nvml::init().map_err(|error| format!("no NVIDIA driver answers ({error})"))?;
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    let count = nvml.device_count().map_err(|error| error.to_string())?;
    let gpus = visible_devices(visible.as_deref(), count).into_iter();
    let read = |which: Which| {
        let device = match which {
            Which::Index(index) => nvml.device_by_index(index)?,
            Which::Uuid(uuid) => nvml.device_by_uuid(uuid)?,
        };
        let memory = device.memory_info()?;
        Ok(Gpu {
            name: device.name()?,
            memory_bytes: memory.total,
            free_memory_bytes: memory.free,
            driver: nvml.sys_driver_version()?,
        })
    };
    gpus.map(|which| read(which).map_err(|error: nvml_wrapper::error::NvmlError| error.to_string()))
        .collect()
}

/// Which GPU, as `CUDA_VISIBLE_DEVICES` names it.
#[derive(Clone, Debug, PartialEq)]
enum Which {
    /// By its place on the bus.
    Index(u32),
    /// By its identity, `GPU-…`.
    Uuid(String),
}

/// Reads `CUDA_VISIBLE_DEVICES` as CUDA does: up to the first entry that names no GPU.
fn visible_devices(variable: Option<&str>, count: u32) -> Vec<Which> {
    let Some(variable) = variable else {
        return (0..count).map(Which::Index).collect();
    };
    let entries = variable.split(',').map(str::trim);
    let which = |entry: &str| match entry.parse() {
        Ok(index) => (index < count).then_some(Which::Index(index)),
        Err(_) => entry
            .starts_with("GPU-")
            .then(|| Which::Uuid(entry.to_owned())),
    };
    entries.map_while(which).collect()
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
        let index = |numbers: &[u32]| {
            numbers
                .iter()
                .copied()
                .map(Which::Index)
                .collect::<Vec<_>>()
        };
        assert_eq!(visible_devices(None, 2), index(&[0, 1]));
        assert_eq!(visible_devices(Some("1, 0"), 2), index(&[1, 0]));
        assert_eq!(visible_devices(Some(""), 2), []);
        assert_eq!(
            visible_devices(Some("0,-1,1"), 2),
            index(&[0]),
            "the rest is hidden"
        );
        let uuid = Which::Uuid("GPU-1a".into());
        assert_eq!(visible_devices(Some("GPU-1a"), 1), [uuid]);
    }
}
