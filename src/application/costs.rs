//! What the runs of a grid take on this machine: measured once, and kept beside prepared data.

use super::{Loaded, Refused, cost_cache, data_cache, devices, slots};
use campaign::launch::hardware;
use campaign::launch::local::Device;
use campaign::launch::measure::{Setting, measure_together};
use experiment::digest;
use experiment::plan::{Cost, Costs, Planned, workloads};
use network::device;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Seconds after which no more is measured; what is left is measured the next time.
const MOST_SECONDS: f64 = 30.0;

/// Time after which a measurement that says nothing is given up: its device hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// Seconds of timed steps of each run.
const SECONDS: f64 = 2.0;

/// The place where what was measured is kept.
struct Kept {
    path: PathBuf,
    /// Processes that measured, or are to measure, side by side.
    at_once: usize,
}

/// Puts measured memory in place of estimated.
///
/// On a GPU, where memory decides how many runs share it, what is missing is measured; on the CPU
/// what `plan` measured is taken.
pub fn with_measured_memory(
    loaded: &Loaded,
    planned: &[Planned],
    device: &str,
    say: &dyn Fn(String),
) -> Result<Vec<Planned>, Refused> {
    let costs = if device::is_cpu(device) {
        Costs::new(planned, &Kept::on(loaded, planned, device)?.read())
    } else {
        costs(loaded, planned, device, false, say)?
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
/// and left out. `again` measures everything anew.
pub fn costs(
    loaded: &Loaded,
    planned: &[Planned],
    device: &str,
    again: bool,
    say: &dyn Fn(String),
) -> Result<Costs, Refused> {
    let kept = Kept::on(loaded, planned, device)?;
    let mut known = kept.read();
    let mut missing = workloads(planned);
    if again {
        // Other grids' models stay.
        known.retain(|known, _| missing.iter().all(|(name, _)| name != known));
    }
    missing.retain(|(name, _)| !known.contains_key(name));
    if missing.is_empty() {
        return Ok(Costs::new(planned, &known));
    }
    let at_once = kept.at_once;
    say(format!(
        "measuring what {} take on {device}, {at_once} at once: up to {MOST_SECONDS:.0} s",
        match missing.len() {
            1 => "the steps of 1 model".to_owned(),
            several => format!("the steps of {several} models"),
        }
    ));
    let program = super::this_program()?;
    let setting = Setting {
        program: &program,
        data_cache: &data_cache(),
        device,
        threads: slots(&loaded.experiment).1,
        seconds: SECONDS,
        patience: PATIENCE,
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
            say(format!(
                "warning: what run {run} takes could not be measured: {why}"
            ));
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

/// Counts the processes that train at once on some devices: their slots, as far as the largest of the
/// runs fit into their memory.
pub fn at_once(devices: &[Device], planned: &[Planned], memory: impl Fn(&Planned) -> f64) -> usize {
    let mut memories: Vec<f64> = planned.iter().map(memory).collect();
    memories.sort_by(|a, b| b.total_cmp(a));
    let fit = |device: &Device| {
        let mut free = device.memory.unwrap_or(f64::INFINITY);
        let fit = memories.iter().take_while(|memory| {
            free -= *memory + device.overhead;
            free >= 0.0
        });
        // One that is larger than the device is tried alone.
        fit.count().max(1).min(device.slots)
    };
    let places: usize = devices.iter().map(fit).sum();
    places.min(planned.len()).max(1)
}

impl Kept {
    /// Names the file for a device of this machine and the processes on it.
    fn on(loaded: &Loaded, planned: &[Planned], device: &str) -> Result<Self, Refused> {
        let model = match device::gpu_index(device) {
            None => hardware::processor(),
            Some(index) => hardware::gpus()
                .ok()
                .and_then(|gpus| gpus.get(index).map(|gpu| gpu.name.clone())),
        };
        let devices = devices(&loaded.experiment, &[device.to_owned()])?;
        let at_once = at_once(&devices, planned, |run| run.memory);
        let machine = serde_json::json!([
            experiment::lock::host(),
            device,
            model,
            at_once,
            slots(&loaded.experiment).1,
            env!("CARGO_PKG_VERSION"),
        ]);
        let name = digest::name(&machine.to_string());
        Ok(Self {
            path: cost_cache().join(format!("{name}.json")),
            at_once,
        })
    }

    /// Reads what there is; what cannot be read is measured again.
    fn read(&self) -> BTreeMap<String, Cost> {
        let text = std::fs::read(&self.path).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Keeps it; what cannot be kept is measured again the next time.
    fn write(&self, measured: &BTreeMap<String, Cost>) {
        let unfinished = self.path.with_extension(std::process::id().to_string());
        let write = || {
            std::fs::create_dir_all(self.path.parent()?).ok()?;
            std::fs::write(&unfinished, serde_json::to_vec_pretty(measured).ok()?).ok()?;
            std::fs::rename(&unfinished, &self.path).ok()
        };
        if write().is_none() {
            let _ = std::fs::remove_file(&unfinished);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiment::plan::example::planned;

    #[test]
    fn as_many_train_at_once_as_slots_and_memory_allow() {
        let grid = "grid: {params: 0.1M, tokens: 1M, concept_share: 0.5, compression_ratio: 4, \
                    seed: [0, 1, 2, 3]}";
        let planned = planned(grid);
        let device = |slots, memory| Device {
            name: "cuda:0".into(),
            slots,
            memory,
            overhead: 1.0,
        };
        for (devices, right) in [
            (vec![device(2, None)], 2),
            (vec![device(8, None)], 4),
            (vec![device(8, Some(30.0))], 2),
            (vec![device(8, Some(5.0)), device(0, None)], 1),
            (vec![device(8, Some(30.0)), device(1, None)], 3),
        ] {
            assert_eq!(at_once(&devices, &planned, |_| 10.0), right, "{devices:?}");
        }
    }
}
