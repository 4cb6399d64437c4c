//! The database again, from the folders of the runs.

use super::queue::run_folder;
use super::{OrchestrateError, Tail, failed};
use crate::clock::now;
use crate::flops::Convention;
use crate::launch::SPEC_FILE;
use crate::run::{RunId, RunSpec};
use crate::store::{PlannedRun, Store};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What was found in a results folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rebuilt {
    /// Runs that were recorded.
    pub runs: usize,
    /// Folders that hold no run this program can read, and why.
    pub left_out: Vec<(PathBuf, String)>,
}

/// Records every run of a results folder in an empty database, from its specification and its
/// journal. Experiments are not known from them: planning one again finds its runs.
///
/// # Errors
/// When the folder cannot be read or the database refuses.
pub async fn rebuild(results: &Path, store: &Store) -> Result<Rebuilt, OrchestrateError> {
    let runs = results.join("runs");
    let entries = std::fs::read_dir(&runs).map_err(failed("read", &runs))?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let mut rebuilt = Rebuilt::default();
    for folder in folders {
        match read(&folder) {
            Ok(run) => {
                let lines = Tail::new(&folder).read()?;
                let logs = run_folder(results, &run.id);
                let log = |attempt| logs.join(log_file(attempt)).display().to_string();
                store.rebuild_run(&run, &lines, log, now()).await?;
                rebuilt.runs += 1;
            }
            Err(why) => rebuilt.left_out.push((folder, why)),
        }
    }
    Ok(rebuilt)
}

/// Names the file that takes the output of a run's attempt.
pub(super) fn log_file(attempt: usize) -> String {
    format!("log.{attempt}.txt")
}

fn read(folder: &Path) -> Result<PlannedRun, String> {
    let text = std::fs::read(folder.join(SPEC_FILE)).map_err(|error| error.to_string())?;
    let spec: RunSpec = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let id = spec.id();
    let name = folder.file_name().map(|name| name.to_string_lossy());
    if name.as_deref() != Some(&*id.0) {
        let RunId(id) = id;
        return Err(format!(
            "it holds run {id}, or one of another numerics version"
        ));
    }
    let ratio = spec.architecture.compression_ratio();
    let per_token = spec.architecture.training_flops(ratio, Convention::Exact);
    Ok(PlannedRun {
        flops: per_token * spec.recipe.tokens as f64,
        axes: BTreeMap::new(),
        id,
        spec,
    })
}
