//! Loading an experiment: file and overrides, its data, its plan, its folders.

use super::Failure;
use crate::data;
use crate::grid::{self, Experiment};
use crate::launch::local::{Device, machine_memory};
use crate::plan::{Calibration, Planned, plan};
use crate::run::{DataFacts, DataSpec};
use crate::store::{DATABASE, Store};
use crate::train::calibrate::calibrate;
use std::path::{Path, PathBuf};

/// The arguments that name an experiment.
#[derive(Debug, clap::Args)]
pub(super) struct ExperimentArgs {
    /// The experiment file (YAML).
    pub(super) file: PathBuf,

    /// Override a value of the file: a dotted path and a YAML value, as in `data.text=my.txt`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub(super) overrides: Vec<String>,

    /// Results folder [default: results/NAME, NAME being the experiment's].
    #[arg(long, value_name = "DIR")]
    pub(super) results: Option<PathBuf>,
}

/// A loaded experiment.
pub(super) struct Loaded {
    pub(super) experiment: Experiment,
    pub(super) results: PathBuf,
}

/// Where an experiment's results lie.
pub(super) struct Place {
    pub(super) results: PathBuf,
    /// Its name; `None` where a folder stands for the only experiment in it.
    pub(super) name: Option<String>,
    /// What its file says, where that names it.
    pub(super) experiment: Option<Experiment>,
}

/// Finds an experiment in a database: the one of this name, or the only one.
pub(super) async fn named(
    store: &Store,
    results: &Path,
    name: Option<String>,
) -> Result<(i64, String), Failure> {
    let known = store.experiments().await?;
    let name = match (name, known.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only.clone(),
        (None, several) => {
            return Err(Failure::input(format!(
                "{} holds several experiments ({}): name one, with --results {}",
                results.display(),
                several.join(", "),
                results.display()
            )));
        }
    };
    let experiment = store.experiment(&name).await?.ok_or_else(|| {
        Failure::input(format!(
            "{} holds no experiment `{name}`; it holds {}",
            results.display(),
            known.join(", ")
        ))
    })?;
    Ok((experiment, name))
}

impl ExperimentArgs {
    /// Finds stored results: those of a file, of a results folder, or of an experiment's name.
    pub(super) fn place(&self) -> Result<Place, Failure> {
        if self.file.is_file() {
            let loaded = self.load()?;
            return Ok(Place {
                results: loaded.results,
                name: Some(loaded.experiment.name.clone()),
                experiment: Some(loaded.experiment),
            });
        }
        if self.file.join(DATABASE).is_file() {
            return Ok(Place {
                results: self.file.clone(),
                name: None,
                experiment: None,
            });
        }
        let name = self.file.display().to_string();
        let folder = || Path::new("results").join(&name);
        let results = self.results.clone().unwrap_or_else(folder);
        if !results.join(DATABASE).is_file() {
            return Err(Failure::input(format!(
                "`{name}` is no experiment file, no results folder, and {} holds no results; \
                 is the path right?",
                results.display()
            )));
        }
        Ok(Place {
            results,
            name: Some(name),
            experiment: None,
        })
    }

    /// Reads and validates the file; nothing is written.
    pub(super) fn load(&self) -> Result<Loaded, Failure> {
        let name = self.file.display().to_string();
        let bytes = std::fs::read(&self.file).map_err(|error| {
            let hint = if self.file.is_dir() {
                "give an experiment file, such as experiments/quickstart.yaml"
            } else {
                "is the path right?"
            };
            Failure::input(format!("cannot read {name}: {error}; {hint}"))
        })?;
        let text = grid::decode(&name, bytes)?;
        let overrides = self
            .overrides
            .iter()
            .map(|given| match given.split_once('=') {
                Some((path, value)) => Ok((path.trim().to_owned(), value.to_owned())),
                None => Err(Failure::input(format!(
                    "`--set {given}` has no value; write it like --set data.text=my.txt"
                ))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let experiment = grid::parse_with_overrides(&name, &text, &overrides)?;
        let results = self
            .results
            .clone()
            .unwrap_or_else(|| Path::new("results").join(&experiment.name));
        Ok(Loaded {
            experiment,
            results,
        })
    }
}

impl Loaded {
    /// Prepares the data and plans every cell.
    pub(super) fn plan(&self) -> Result<Vec<Planned>, Failure> {
        let cache = data_cache();
        let mut known: Vec<(DataSpec, DataFacts)> = Vec::new();
        for cell in &self.experiment.cells {
            if known.iter().all(|(spec, _)| *spec != cell.data) {
                let dataset = data::prepare(&cell.data, &cache)?;
                known.push((cell.data.clone(), dataset.facts));
            }
            if let Some((_, facts)) = known.iter().find(|(spec, _)| *spec == cell.data) {
                check_length(facts, cell.shape.seq_len)?;
            }
        }
        let facts = |spec: &DataSpec| {
            known
                .iter()
                .find(|(known, _)| known == spec)
                .map(|(_, facts)| facts.clone())
        };
        Ok(plan(&self.experiment, &facts)?)
    }
}

/// Refuses data that do not fill one sequence of either split.
fn check_length(facts: &DataFacts, seq_len: usize) -> Result<(), Failure> {
    for (split, tokens) in [
        ("training", facts.train_tokens),
        ("validation", facts.validation_tokens),
    ] {
        if tokens < seq_len as u64 + 1 {
            return Err(Failure::input(format!(
                "the {split} data hold {tokens} tokens, fewer than one sequence of {seq_len} and \
                 the token after it; use more text or a shorter `model.seq_len`"
            )));
        }
    }
    Ok(())
}

/// Finds the folder of what can be made again: `$ORCHESTRATOR_CACHE`, else the user's cache.
fn cache_folder() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = variable("ORCHESTRATOR_CACHE") {
        return folder.into();
    }
    if let Some(folder) = variable("XDG_CACHE_HOME") {
        return Path::new(&folder).join("orchestrator");
    }
    match variable("HOME") {
        Some(home) => Path::new(&home).join(".cache/orchestrator"),
        None => std::env::temp_dir().join("orchestrator-cache"),
    }
}

/// Finds the folder of prepared data, which experiments share.
pub(super) fn data_cache() -> PathBuf {
    cache_folder().join("data")
}

/// Counts the processes that train at once and the threads of each.
pub(super) fn slots(experiment: &Experiment) -> (usize, usize) {
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

/// Lists the devices that runs train on, with the runs that each takes at once.
pub(super) fn devices(experiment: &Experiment, names: &[String]) -> Vec<Device> {
    let (parallel, _) = slots(experiment);
    let settings = &experiment.execution;
    let mut left = settings.parallel.unwrap_or(usize::MAX);
    let devices = names.iter().map(|name| {
        let is_cpu = matches!(name.as_str(), "cpu" | "auto");
        let slots = match (settings.per_device, is_cpu) {
            (Some(slots), _) => slots,
            (None, true) => parallel,
            (None, false) => 1,
        };
        let slots = slots.min(left);
        left -= slots;
        Device {
            name: name.clone(),
            slots,
            memory: is_cpu.then(machine_memory).flatten(),
        }
    });
    devices.collect()
}

/// Reads this machine's calibration from the cache, or measures it (a few seconds).
pub(super) fn calibration(experiment: &Experiment, device: &str) -> Option<Calibration> {
    let (parallel, threads) = slots(experiment);
    let path = cache_folder().join(format!(
        "calibration-{}-{device}-{parallel}x{threads}-{}.json",
        crate::lock::host(),
        env!("CARGO_PKG_VERSION")
    ));
    let stored = std::fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    if stored.is_some() {
        return stored;
    }
    let measured = measure(experiment, device, parallel, threads)?;
    // A calibration that cannot be kept is measured again next time.
    let _ = std::fs::create_dir_all(cache_folder());
    if let Ok(text) = serde_json::to_vec(&measured) {
        let _ = std::fs::write(&path, text);
    }
    Some(measured)
}

/// Measures with as many trainings at once as the grid will run; the slowest counts.
fn measure(
    experiment: &Experiment,
    device: &str,
    parallel: usize,
    threads: usize,
) -> Option<Calibration> {
    let recipe = &experiment.cells.first()?.recipe;
    let measured: Vec<Calibration> = std::thread::scope(|scope| {
        let trainings: Vec<_> = (0..parallel)
            .map(|_| {
                scope.spawn(|| {
                    let pool = rayon::ThreadPoolBuilder::new()
                        .num_threads(threads)
                        .build()
                        .ok()?;
                    pool.install(|| calibrate(device, recipe)).ok()
                })
            })
            .collect();
        trainings
            .into_iter()
            .filter_map(|training| training.join().ok().flatten())
            .collect()
    });
    measured.into_iter().reduce(|mut slowest, other| {
        for (point, other) in slowest.points.iter_mut().zip(other.points) {
            point.tokens_per_second = point.tokens_per_second.min(other.tokens_per_second);
        }
        slowest
    })
}
