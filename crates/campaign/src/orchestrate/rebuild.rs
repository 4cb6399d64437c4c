//! The database again, from the folders of the runs.

use super::{OrchestrateError, Tail, failed};
use crate::store::{FoundRun, PlannedRun, Store};
use experiment::clock::now;
use experiment::folder::SPECIFICATION;
use experiment::folder::{ResultsFolder, log_name};
use experiment::run::RunId;
use experiment::work::Work;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;

/// What was found in a results folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rebuilt {
    /// Runs that were recorded.
    pub runs: usize,
    /// Folders that hold no run this program can read, and why.
    pub left_out: Vec<(PathBuf, String)>,
}

/// Folders that are read together, while those before are stored.
const AT_ONCE: usize = 16;

/// Records every run of a results folder in an empty database, from its specification and its
/// journal. Experiments are not known from them: planning one again finds its runs.
///
/// # Errors
/// When the folder cannot be read or the database refuses.
pub async fn rebuild(results: &Path, store: &Store) -> Result<Rebuilt, OrchestrateError> {
    let runs = ResultsFolder(results).runs();
    let entries = std::fs::read_dir(&runs).map_err(failed("read", &runs))?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let log = |run: &RunId, attempt| {
        let log = ResultsFolder(results).run(run).join(log_name(attempt));
        log.display().to_string()
    };
    let mut rebuilt = Rebuilt::default();
    let mut folders = folders.chunks(AT_ONCE).map(read_beside);
    let mut next = folders.next();
    while let Some(read) = next {
        let read = read
            .await
            .map_err(|error| failed("read", &runs)(error.into()))??;
        next = folders.next();
        let mut found = Vec::new();
        for (folder, run) in read {
            match run {
                Ok(run) => found.push(run),
                Err(why) => rebuilt.left_out.push((folder, why)),
            }
        }
        store.rebuild_runs(&found, log, now()).await?;
        rebuilt.runs += found.len();
    }
    Ok(rebuilt)
}

/// A folder, and the run in it or why there is none.
type Folder = (PathBuf, Result<FoundRun, String>);

/// Starts to read folders beside what else is done.
fn read_beside(folders: &[PathBuf]) -> JoinHandle<Result<Vec<Folder>, OrchestrateError>> {
    let folders = folders.to_vec();
    tokio::task::spawn_blocking(|| {
        let folders = folders.into_par_iter().map(|folder| {
            let run = match read(&folder) {
                Ok(planned) => {
                    let lines = Tail::new(&folder).read()?;
                    Ok(FoundRun { planned, lines })
                }
                Err(why) => Err(why),
            };
            Ok((folder, run))
        });
        folders.collect()
    })
}

fn read(folder: &Path) -> Result<PlannedRun, String> {
    let text = std::fs::read(folder.join(SPECIFICATION)).map_err(|error| error.to_string())?;
    let work = Work::read(&text).map_err(|error| error.to_string())?;
    let id = work.id();
    let name = folder.file_name().map(|name| name.to_string_lossy());
    if name.as_deref() != Some(&*id.0) {
        let RunId(id) = id;
        return Err(format!(
            "it holds run {id}, or one of another numerics version"
        ));
    }
    Ok(PlannedRun {
        flops: work.flops(),
        // What an experiment asks for it as is in its file.
        trial: false,
        axes: axes(&work),
        id,
        work,
    })
}

/// The axis values of another trainer's run; those of this program's own are in its experiment's file.
fn axes(work: &Work) -> BTreeMap<String, String> {
    let axes = work.external().map_or(&[][..], |spec| spec.axes.as_slice());
    let axes = axes.iter();
    axes.map(|(name, value)| (name.clone(), value.shown().to_owned()))
        .collect()
}
