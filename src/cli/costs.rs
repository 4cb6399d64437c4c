//! What the runs of a grid take on this machine: measured once, and kept beside prepared data.

use super::Failure;
use super::experiment::{Loaded, cache_folder, data_cache, devices, slots};
use crate::launch::hardware;
use crate::launch::measure::{Setting, measure_together};
use crate::model::device;
use crate::plan::{Cost, Costs, Planned, workloads};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// Seconds after which no more is measured; what is left is measured the next time.
const MOST_SECONDS: f64 = 30.0;

/// Seconds of timed steps of each run.
const SECONDS: f64 = 2.0;

/// The place where what was measured is kept.
struct Kept(PathBuf);

/// Puts measured memory in place of estimated.
///
/// On a GPU, where memory decides how many runs share it, what is missing is measured; on the CPU
/// what `plan` measured is taken.
pub(super) fn with_measured_memory(
    loaded: &Loaded,
    planned: &[Planned],
    device: &str,
) -> Result<Vec<Planned>, Failure> {
    let costs = match device::is_cpu(device) {
        true => Costs::new(planned, &Kept::on(loaded, planned, device).read()),
        false => costs(loaded, planned, device)?,
    };
    let runs = planned.iter().map(|run| Planned {
        memory: costs.memory(run),
        ..run.clone()
    });
    Ok(runs.collect())
}

/// Reads what was measured of a plan's runs on a device before, and measures what is missing.
///
/// As many processes as the grid would run train at once. A run that cannot be measured is told of
/// and left out.
pub(super) fn costs(loaded: &Loaded, planned: &[Planned], device: &str) -> Result<Costs, Failure> {
    let kept = Kept::on(loaded, planned, device);
    let mut known = kept.read();
    let mut missing = workloads(planned);
    missing.retain(|(name, _)| !known.contains_key(name));
    if missing.is_empty() {
        return Ok(Costs::new(planned, &known));
    }
    let at_once = at_once(loaded, planned, device);
    eprintln!(
        "measuring what {} take on {device}, {at_once} at once: up to {MOST_SECONDS:.0} s",
        match missing.len() {
            1 => "the steps of 1 model".to_owned(),
            several => format!("the steps of {several} models"),
        }
    );
    let program = std::env::current_exe()
        .map_err(|error| Failure::machine(format!("cannot find this program: {error}")))?;
    let setting = Setting {
        program: &program,
        data_cache: &data_cache(),
        device,
        threads: slots(&loaded.experiment).1,
        seconds: SECONDS,
    };
    let begun = Instant::now();
    let mut left = missing.as_slice();
    while !left.is_empty() && begun.elapsed().as_secs_f64() < MOST_SECONDS {
        let (now, later) = left.split_at(left.len().min(at_once));
        left = later;
        // Places that are left over are filled too: alone a run would go faster than in the grid.
        let together: Vec<_> = now.iter().cycle().take(at_once).collect();
        let specs: Vec<_> = together.iter().map(|(_, run)| &run.spec).collect();
        let mut failed = BTreeMap::new();
        for ((name, run), cost) in together.iter().zip(measure_together(&setting, &specs)) {
            match cost {
                Ok(cost) => {
                    let slower = known.get(name).map_or(cost, |other| slower(*other, cost));
                    known.insert(name.clone(), slower);
                }
                Err(why) => drop(failed.insert(&run.id, why)),
            }
        }
        for (run, why) in failed {
            eprintln!("warning: what run {run} takes could not be measured: {why}");
        }
        kept.write(&known);
    }
    Ok(Costs::new(planned, &known))
}

/// Takes the slower and larger of two measurements of the same.
fn slower(a: Cost, b: Cost) -> Cost {
    Cost {
        start: a.start.max(b.start),
        training: a.training.max(b.training),
        evaluation: a.evaluation.max(b.evaluation),
        gains: a.gains.max(b.gains),
        memory: a.memory.zip(b.memory).map(|(a, b)| a.max(b)),
    }
}

/// Counts the processes that would train at once on a device.
fn at_once(loaded: &Loaded, planned: &[Planned], device: &str) -> usize {
    let devices = devices(&loaded.experiment, &[device.to_owned()]);
    let slots: usize = devices.iter().map(|device| device.slots).sum();
    slots.min(planned.len()).max(1)
}

impl Kept {
    /// Names the file for a device of this machine and the processes on it.
    fn on(loaded: &Loaded, planned: &[Planned], device: &str) -> Self {
        let model = match device::gpu_index(device) {
            None => hardware::processor(),
            Some(index) => hardware::gpus()
                .ok()
                .and_then(|gpus| gpus.get(index).map(|gpu| gpu.name.clone())),
        };
        let machine = serde_json::json!([
            crate::lock::host(),
            device,
            model,
            at_once(loaded, planned, device),
            slots(&loaded.experiment).1,
            env!("CARGO_PKG_VERSION"),
        ]);
        let digest = Sha256::digest(machine.to_string().as_bytes());
        let name: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
        Self(cache_folder().join("costs").join(format!("{name}.json")))
    }

    /// Reads what there is; what cannot be read is measured again.
    fn read(&self) -> BTreeMap<String, Cost> {
        let text = std::fs::read(&self.0).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Keeps it; what cannot be kept is measured again the next time.
    fn write(&self, measured: &BTreeMap<String, Cost>) {
        let unfinished = self.0.with_extension(std::process::id().to_string());
        let write = || {
            std::fs::create_dir_all(self.0.parent()?).ok()?;
            std::fs::write(&unfinished, serde_json::to_vec_pretty(measured).ok()?).ok()?;
            std::fs::rename(&unfinished, &self.0).ok()
        };
        if write().is_none() {
            let _ = std::fs::remove_file(&unfinished);
        }
    }
}
