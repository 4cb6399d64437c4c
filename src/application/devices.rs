//! Where runs train, and how many at once.

use super::Refused;
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
///
/// # Errors
/// As of [`places`].
pub fn devices(experiment: &Experiment, names: &[String]) -> Result<Vec<Device>, Refused> {
    let (parallel, _) = slots(experiment);
    let external = experiment.external.as_ref();
    let packing = Packing {
        on_processor: parallel,
        most: experiment.execution.parallel,
        per_device: experiment.execution.per_device,
        together: external.map_or(1, |external| external.devices_per_run),
    };
    places(names, &packing).map_err(Refused::input)
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
/// say how much memory that is. GPUs that a run takes together take one.
///
/// # Errors
/// When there are fewer GPUs than a run takes.
pub fn places(names: &[String], packing: &Packing) -> Result<Vec<Device>, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let any_gpu = names.iter().any(|name| device::gpu_index(name).is_some());
    let gpus = any_gpu.then(hardware::gpus).and_then(Result::ok);
    let gpus = gpus.unwrap_or_default();
    // A processor is one, however many a run would take.
    let together = if any_gpu { packing.together } else { 1 };
    if names.len() < together {
        return Err(format!(
            "a run takes {together} devices together (`execution.devices_per_run`), and there are {}: {}",
            names.len(),
            names.join(", ")
        ));
    }
    let mut left = packing.most.unwrap_or(usize::MAX);
    let groups = names.chunks_exact(together);
    let devices = groups.map(|group| {
        let gpu = group.first().and_then(|name| device::gpu_index(name));
        let known = gpu.and_then(|index| gpus.get(index));
        let slots = match (packing.per_device, gpu) {
            (Some(slots), _) => slots,
            (None, None) => packing.on_processor,
            (None, Some(_)) if together == 1 && known.is_some() => {
                (cores / names.len()).clamp(1, RUNS_ON_A_GPU)
            }
            // Of how much memory it has nothing is known: several at once might not fit.
            (None, Some(_)) => 1,
        };
        let slots = slots.min(left);
        left -= slots;
        let memory = match gpu {
            None => hardware::machine_memory(),
            Some(_) => known.map(|gpu| gpu.free_memory_bytes as f64 * together as f64),
        };
        Device {
            name: group.join(","),
            slots,
            memory,
            overhead: if gpu.is_some() { GPU_CONTEXT } else { 0.0 },
        }
    });
    Ok(devices.collect())
}

/// Memory of a GPU that a process takes before it holds a tensor, in bytes: CUDA's context, its
/// libraries' kernels and workspaces.
const GPU_CONTEXT: f64 = 0.8e9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_a_run_takes_together_take_one_run() {
        let packing = |together| Packing {
            on_processor: 16,
            most: None,
            per_device: None,
            together,
        };
        let gpus: Vec<String> = (0..5).map(|gpu| format!("cuda:{gpu}")).collect();
        let found = places(&gpus, &packing(2)).expect("enough");
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.name.as_str(), one.slots))
            .collect();
        assert_eq!(found, [("cuda:0,cuda:1", 1), ("cuda:2,cuda:3", 1)]);
        let said = places(&gpus[..1], &packing(4)).expect_err("too few");
        assert!(said.contains("takes 4 devices together"), "{said}");
        let processor = places(&["cpu".to_owned()], &packing(4)).expect("there");
        assert_eq!(processor[0].slots, 16);
    }
}
