//! `orchestrator prune`: files that are no longer needed.

use crate::application::{cost_cache, data_cache};
use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::experiment::ExperimentArgs;
use campaign::store::Standing;
use experiment::folder::{CHECKPOINT, ClusterFolder, END, HEARTBEAT, ResultsFolder, WEIGHTS};
use experiment::lock::Lock;
use experiment::quantity::{human, human_bytes};
use experiment::run::RunState;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Remove files that are no longer needed; without `--yes` only list them.
///
/// Always: what unfinished writes and damaged checkpoints left, and the checkpoints of runs that came
/// to a result. The database keeps every number.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orchestrator prune experiments/quickstart.yaml --removed --yes\n  orchestrator prune --cache"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    experiment: Option<ExperimentArgs>,

    /// Instead of an experiment's files the cache that experiments share: prepared data and what was
    /// measured of this machine. All of it is made again where it is needed.
    #[arg(long, conflicts_with_all = ["file", "weights", "ends", "removed"])]
    cache: bool,

    /// The weights of finished runs too, as with `execution.keep_weights: false`.
    #[arg(long)]
    weights: bool,

    /// The states that trunks keep, where every run that goes on from them came to a result.
    #[arg(long)]
    ends: bool,

    /// The folders of runs that no experiment here asks for any more.
    #[arg(long)]
    removed: bool,

    /// Remove them.
    #[arg(long)]
    yes: bool,

    /// Print JSON: an object whose `files` array holds one object a file or folder.
    #[arg(long)]
    json: bool,
}

/// What is no longer needed.
#[derive(serde::Serialize)]
struct Pruned {
    removed: bool,
    bytes: u64,
    files: Vec<Unneeded>,
}

impl Pruned {
    /// Lists a file or folder, and removes it where that was asked for.
    fn take(&mut self, path: PathBuf, why: &'static str) -> Result<(), Failure> {
        let bytes = size(&path);
        if self.removed {
            remove(&path)?;
        }
        self.bytes += bytes;
        self.files.push(Unneeded { path, bytes, why });
        Ok(())
    }
}

/// Lists what is in a folder, but for what is being written.
fn whole_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut whole: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_none_or(|ending| ending != "tmp"))
        .collect();
    whole.sort();
    whole
}

/// A file or folder that is no longer needed.
#[derive(serde::Serialize)]
struct Unneeded {
    path: PathBuf,
    bytes: u64,
    why: &'static str,
}

impl fmt::Display for Pruned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Unneeded { path, bytes, why } in &self.files {
            writeln!(
                f,
                "{}  {}  {why}",
                path.display(),
                human_bytes(*bytes as f64)
            )?;
        }
        let (count, bytes) = (self.files.len(), human(self.bytes as f64));
        if self.removed {
            writeln!(f, "{count} removed, {bytes}B")
        } else {
            writeln!(f, "{count} to remove, {bytes}B; `--yes` removes them")
        }
    }
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut pruned = Pruned {
        removed: args.yes,
        bytes: 0,
        files: Vec::new(),
    };
    if args.cache {
        for (folder, why) in [
            (data_cache(), "prepared data"),
            (cost_cache(), "what was measured of this machine"),
        ] {
            for path in whole_files(&folder) {
                pruned.take(path, why)?;
            }
        }
        return answer(&pruned, args.json);
    }
    let Some(experiment) = &args.experiment else {
        return Err(Failure::input(
            "name an experiment, as in `orchestrator prune experiment.yaml`, or --cache",
        ));
    };
    let results = experiment.place()?.results;
    // What a file says of weights counts where there is one.
    let keep_weights = if experiment.file.is_file() {
        experiment.load()?.experiment.execution.keep_weights
    } else {
        true
    };
    let standings = crate::cli::block_on(async {
        let store = crate::cli::open_to_read(&results).await?;
        Ok::<_, Failure>(store.standings().await?)
    })?;
    let _lock = if args.yes {
        Some(Lock::take(&results, "orchestrator")?)
    } else {
        None
    };
    let choice = Choice {
        weights: args.weights || !keep_weights,
        ends: args.ends,
        removed: args.removed,
    };
    for run in &standings {
        let folder = ResultsFolder(&results).run(&run.id);
        // Whoever works there needs it, and whoever cannot be asked may.
        let is_claimed = ClusterFolder(&results).claim(&run.id).exists();
        if is_claimed || !matches!(Lock::holder(&folder), Ok(None)) {
            continue;
        }
        for (path, why) in choice.of(run, &folder) {
            pruned.take(path, why)?;
        }
    }
    answer(&pruned, args.json)
}

/// What is to be removed beside what always is.
struct Choice {
    weights: bool,
    ends: bool,
    removed: bool,
}

impl Choice {
    /// Lists what is not needed of a run, with why.
    fn of(&self, run: &Standing, folder: &Path) -> Vec<(PathBuf, &'static str)> {
        if self.removed && !run.wanted && run.state != RunState::Running && folder.is_dir() {
            return vec![(folder.to_owned(), "no experiment asks for it")];
        }
        let is_result =
            run.state == RunState::Ended && run.outcome.is_some_and(|outcome| outcome.is_result());
        let stem = CHECKPOINT.split('.').next().unwrap_or(CHECKPOINT);
        let why = |name: &str| {
            if name.ends_with(".tmp") {
                Some("left by an unfinished write")
            } else if name.ends_with(".unusable") {
                Some("a damaged checkpoint")
            } else if is_result && (name.starts_with(stem) || name == HEARTBEAT) {
                Some("of a run that came to a result")
            } else if is_result && self.weights && name == WEIGHTS {
                Some("weights")
            } else if is_result && self.ends && !run.awaited && name == END {
                Some("no run goes on from it")
            } else {
                None
            }
        };
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut unneeded: Vec<(PathBuf, &'static str)> = entries
            .filter_map(|entry| Some((entry.path(), why(&entry.file_name().to_string_lossy())?)))
            .collect();
        unneeded.sort();
        unneeded
    }
}

/// Counts the bytes of a file, or of the files in a folder.
fn size(path: &Path) -> u64 {
    let length = |path: &Path| path.metadata().map_or(0, |file| file.len());
    if !path.is_dir() {
        length(path)
    } else {
        std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| length(&entry.path()))
            .sum()
    }
}

fn remove(path: &Path) -> Result<(), Failure> {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    removed.map_err(|error| Failure::machine(format!("cannot remove {}: {error}", path.display())))
}
