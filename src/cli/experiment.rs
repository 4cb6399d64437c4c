//! Loading an experiment: file and overrides, its data, its plan, its folders.

use super::Failure;
use campaign::launch::hardware;
use campaign::launch::local::Device;
use campaign::store::{RunRecord, Store};
use experiment::architecture::ModelKind;
use experiment::folder::DATABASE;
use experiment::grid::{self, Experiment};
use experiment::plan::{Planned, plan, rounding, trials};
use experiment::run::{DataFacts, DataSpec, Part};
use network::device;
use scaling_law::analysis::{rates, tunings};
use scaling_law::row::rows;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use trainer::data;

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

/// The runs of an experiment.
pub(super) struct Runs {
    /// All of them, the trials first.
    pub(super) planned: Vec<Planned>,
    /// The families of models whose rate is not found yet: their runs are planned at the rate of
    /// `training`, and will be others.
    pub(super) untuned: Vec<ModelKind>,
    /// What trials found of the others, in words.
    pub(super) tuned: Vec<String>,
}

impl Runs {
    /// Returns the trials of the families whose rate is not found yet.
    pub(super) fn open_trials(&self) -> Vec<Planned> {
        let is_open =
            |run: &&Planned| run.trial && self.untuned.contains(&run.spec.architecture.kind());
        self.planned.iter().filter(is_open).cloned().collect()
    }
}

/// Where an experiment's results lie, whatever its grid.
pub(super) struct Place {
    pub(super) results: PathBuf,
    /// Its name; `None` where a folder stands for the only experiment in it.
    name: Option<String>,
}

/// An experiment's file as it was given.
struct Given {
    path: String,
    text: String,
    /// Dotted paths and YAML values.
    overrides: Vec<(String, String)>,
}

impl ExperimentArgs {
    /// Finds stored results: those of a file, whose cells are not made, of a results folder, or of an
    /// experiment's name.
    pub(super) fn place(&self) -> Result<Place, Failure> {
        if self.file.is_file() {
            let given = self.read()?;
            let name = grid::name_with_overrides(&given.path, &given.text, &given.overrides)?;
            return Ok(Place {
                results: self.results_of(&name),
                name: Some(name),
            });
        }
        if self.file.join(DATABASE).is_file() {
            return Ok(Place {
                results: self.file.clone(),
                name: None,
            });
        }
        let name = self.file.display().to_string();
        let results = self.results_of(&name);
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
        })
    }

    /// Reads and validates the file; nothing is written.
    pub(super) fn load(&self) -> Result<Loaded, Failure> {
        let given = self.read()?;
        let experiment = grid::parse_with_overrides(&given.path, &given.text, &given.overrides)?;
        let results = self.results_of(&experiment.name);
        Ok(Loaded {
            experiment,
            results,
        })
    }

    fn results_of(&self, experiment: &str) -> PathBuf {
        let default = || Path::new("results").join(experiment);
        self.results.clone().unwrap_or_else(default)
    }

    fn read(&self) -> Result<Given, Failure> {
        let path = self.file.display().to_string();
        let bytes = std::fs::read(&self.file).map_err(|error| {
            let hint = if self.file.is_dir() {
                "give an experiment file, such as experiments/quickstart.yaml"
            } else {
                "is the path right?"
            };
            Failure::input(format!("cannot read {path}: {error}; {hint}"))
        })?;
        let text = grid::decode(&path, bytes)?;
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
        Ok(Given {
            path,
            text,
            overrides,
        })
    }
}

impl Place {
    /// Finds the experiment in its database: the one of its name, or the only one; gives its name
    /// too.
    ///
    /// # Errors
    /// When the database refuses, does not know it, or knows several where none is named.
    pub(super) async fn find(&self, store: &Store) -> Result<(i64, String), Failure> {
        let results = self.results.display();
        let known = store.experiments().await?;
        let name = match (&self.name, known.as_slice()) {
            (Some(name), _) | (None, [name]) => name.clone(),
            (None, []) => {
                return Err(Failure::input(format!("{results} holds no experiment")));
            }
            (None, several) => {
                return Err(Failure::input(format!(
                    "{results} holds several experiments ({}): name one, with --results {results}",
                    several.join(", "),
                )));
            }
        };
        match store.experiment(&name).await? {
            Some(experiment) => Ok((experiment, name)),
            None if known.is_empty() => Err(Failure::input(format!(
                "{results} holds no experiment `{name}`: run it first"
            ))),
            None => Err(Failure::input(format!(
                "{results} holds no experiment `{name}`: run it first; it holds {}",
                known.join(", ")
            ))),
        }
    }
}

impl Loaded {
    /// Plans every run, at the rates that trials found, as far as the database knows them.
    ///
    /// # Errors
    /// When data, plan or database are wrong.
    pub(super) async fn runs(&self) -> Result<Runs, Failure> {
        let facts = self.prepare()?;
        let planned = self.plan(&facts, &self.experiment)?;
        let trials = trials(&self.experiment, &planned);
        if trials.is_empty() {
            return Ok(Runs {
                planned,
                untuned: Vec::new(),
                tuned: Vec::new(),
            });
        }
        let known = super::commands::plan::stored(self).await?;
        let known: Vec<RunRecord> = trials
            .iter()
            .filter_map(|trial| known.get(&trial.id).cloned())
            .map(|record| RunRecord {
                part: Part::Trial,
                ..record
            })
            .collect();
        let complete = |kind: &ModelKind| {
            let mut of_kind = trials
                .iter()
                .filter(|trial| trial.spec.architecture.kind() == *kind);
            of_kind.all(|trial| known.iter().any(|record| record.id == trial.id))
        };
        let mut tunings = tunings(&rows(&known));
        tunings.retain(|tuning| complete(&tuning.kind));
        let found = rates(&tunings);
        let asked: BTreeSet<ModelKind> = trials
            .iter()
            .map(|trial| trial.spec.architecture.kind())
            .collect();
        let experiment = self.experiment.clone().with_rates(&found);
        let planned = self.plan(&facts, &experiment)?;
        // A trial at the best rate is one of the others, once it is known which that is.
        let is_other = |trial: &Planned| {
            found.contains_key(&trial.spec.architecture.kind())
                && planned.iter().any(|run| run.id == trial.id)
        };
        let mut all: Vec<Planned> = trials
            .into_iter()
            .filter(|trial| !is_other(trial))
            .collect();
        let is_trial = |run: &Planned| all.iter().any(|trial| trial.id == run.id);
        let others: Vec<Planned> = planned.into_iter().filter(|run| !is_trial(run)).collect();
        all.extend(others);
        Ok(Runs {
            planned: all,
            untuned: asked
                .into_iter()
                .filter(|kind| !found.contains_key(kind))
                .collect(),
            tuned: tunings.iter().map(ToString::to_string).collect(),
        })
    }

    /// Prepares the data of every cell.
    fn prepare(&self) -> Result<Vec<(DataSpec, DataFacts)>, Failure> {
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
        Ok(known)
    }

    fn plan(
        &self,
        known: &[(DataSpec, DataFacts)],
        experiment: &Experiment,
    ) -> Result<Vec<Planned>, Failure> {
        let facts = |spec: &DataSpec| {
            known
                .iter()
                .find(|(known, _)| known == spec)
                .map(|(_, facts)| facts.clone())
        };
        Ok(plan(experiment, &facts)?)
    }
}

/// Says what a planned experiment will not be that its file may lead one to expect.
pub(super) fn warnings(planned: &[Planned]) -> Vec<String> {
    let epochs = planned.iter().map(|run| run.epochs).fold(0.0, f64::max);
    let mut warnings = rounding(planned);
    if epochs > 1.0 {
        warnings.push(format!(
            "the text is read up to {epochs:.1} times; a law fitted on repeated text is not one of \
             fresh text"
        ));
    }
    warnings
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
pub(super) fn cache_folder() -> PathBuf {
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

/// Where runs train.
#[derive(Debug, clap::Args)]
pub(super) struct DeviceArgs {
    /// The devices that runs train on, separated by commas.
    #[arg(
        long,
        env = device::VARIABLE,
        default_value = "auto",
        value_delimiter = ',',
        value_name = "DEVICE"
    )]
    device: Vec<String>,
}

impl DeviceArgs {
    /// Lists the names of the devices, all of which can be used.
    pub(super) fn names(&self) -> Result<Vec<String>, Failure> {
        let names = device::resolve(&self.device);
        for name in &names {
            device::open(name).map_err(Failure::input)?;
        }
        Ok(names)
    }
}

/// Most runs that share a GPU where the file does not say: more are slowed down by the others' starts
/// of kernels, and by the cores that feed them.
const RUNS_ON_A_GPU: usize = 8;

/// Lists the devices that runs train on, with the runs that each takes at once.
///
/// A GPU takes as many as its free memory and this machine's cores allow.
pub(super) fn devices(experiment: &Experiment, names: &[String]) -> Vec<Device> {
    let (parallel, _) = slots(experiment);
    let settings = &experiment.execution;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let any_gpu = names.iter().any(|name| device::gpu_index(name).is_some());
    let gpus = any_gpu.then(hardware::gpus).and_then(Result::ok);
    let gpus = gpus.unwrap_or_default();
    let mut left = settings.parallel.unwrap_or(usize::MAX);
    let devices = names.iter().map(|name| {
        let gpu = device::gpu_index(name);
        let slots = match (settings.per_device, gpu) {
            (Some(slots), _) => slots,
            (None, None) => parallel,
            (None, Some(_)) => (cores / names.len()).clamp(1, RUNS_ON_A_GPU),
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
