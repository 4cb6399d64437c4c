//! Where runs train, and how many at once.

use campaign::launch::hardware;
use campaign::launch::local::Device;
use experiment::grid::Experiment;
use network::device;

/// Counts the processes that train at once and the threads of each.
pub fn slots(experiment: &Experiment) -> (usize, usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = experiment.execution.threads.unwrap_or(1);
    (
        experiment
            .execution
            .parallel
            .unwrap_or((cores / threads).max(1)),
        threads,
    )
}

/// Lists the names of this machine's devices for whoever trains on them: its GPUs, or else the CPU.
pub fn of_this_machine() -> Vec<String> {
    match hardware::gpus().map_or(0, |gpus| gpus.len()) {
        0 => vec!["cpu".to_owned()],
        gpus => (0..gpus).map(|index| format!("cuda:{index}")).collect(),
    }
}

/// Most runs that share a GPU where the file does not say: more are slowed down by the others' starts
/// of kernels, and by the cores that feed them.
const RUNS_ON_A_GPU: usize = 8;

/// Lists the devices that an experiment's runs train on, with the runs that each takes at once.
pub fn devices(experiment: &Experiment, names: &[String]) -> Vec<Device> {
    let (parallel, _) = slots(experiment);
    let external = experiment.external.as_ref();
    let packing = Packing {
        on_processor: parallel,
        most: experiment.execution.parallel,
        per_device: experiment.execution.per_device,
        together: external.map_or(1, |external| external.devices_per_run),
    };
    places(names, &packing)
}

/// How runs share devices.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    /// Runs at once where there is no GPU.
    pub on_processor: usize,
    /// Runs at once in all, where that is bounded.
    pub most: Option<usize>,
    /// Runs at once on one device, where that is given.
    pub per_device: Option<usize>,
    /// Devices that a run takes: it has a place of its own on them together.
    pub together: usize,
}

/// Lists devices with the runs that each takes at once.
///
/// A GPU takes as many as its free memory and this machine's cores allow, and one where its driver does not
/// say how much memory that is.
pub fn places(names: &[String], packing: &Packing) -> Vec<Device> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let any_gpu = names.iter().any(|name| device::gpu_index(name).is_some());
    let gpus = any_gpu.then(hardware::gpus).and_then(Result::ok);
    let gpus = gpus.unwrap_or_default();
    let mut left = packing.most.unwrap_or(usize::MAX);
    let names: Vec<String> = names
        .chunks(packing.together)
        .map(|names| names.join(","))
        .collect();
    let devices = names.iter().map(|name| {
        let gpu = device::gpu_index(name);
        let slots = match (packing.per_device, gpu) {
            (Some(slots), _) => slots,
            (None, None) => packing.on_processor,
            (None, Some(index)) if index < gpus.len() => {
                (cores / names.len()).clamp(1, RUNS_ON_A_GPU)
            }
            // Of how much memory it has nothing is known: several at once might not fit.
            (None, Some(_)) => 1,
        };
        let slots = slots.min(left);
        left -= slots;
        let memory = match gpu {
            None => hardware::machine_memory(),
            Some(index) => gpus.get(index).map(|gpu| gpu.free_memory_bytes as f64),
        };
        Device {
            name: name.clone(),
            slots,
            memory,
            overhead: if gpu.is_some() { GPU_CONTEXT } else { 0.0 },
        }
    });
    devices.collect()
}

/// Memory of a GPU that a process takes before it holds a tensor, in bytes: CUDA's context, its
/// libraries' kernels and workspaces.
const GPU_CONTEXT: f64 = 0.8e9;
