//! Between runs' folders and the database.

use super::active::told;
use super::tail::Tail;
use super::{OrchestrateError, Setting, failed};
use crate::store::{Ended, Store, StoreError};
use experiment::clock::now;
use experiment::event::Line;
use experiment::folder::SPECIFICATION;
use experiment::plan::Run;
use experiment::run::{RunId, RunOutcome};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Ends what an orchestrator left open when it died: a run may have come to its end since.
pub(super) async fn settle(
    store: &Store,
    planned: &[Run],
    setting: &Setting,
    adopted: &HashSet<RunId>,
) -> Result<(), OrchestrateError> {
    let open: HashMap<RunId, i64> = store.open_attempts().await?.into_iter().collect();
    for run in planned.iter().filter(|run| !adopted.contains(&run.id)) {
        let Some(&attempt) = open.get(&run.id) else {
            continue;
        };
        let mut tail = Tail::new(&setting.run_folder(&run.id));
        let lines = take_in(store, &run.id, &mut tail).await?;
        let outcome = told(None, &lines).filter(|outcome| outcome.is_result());
        if let Some(outcome) = outcome
            && is_whole(store, run, outcome).await?
        {
            let ended = Ended {
                at: now(),
                outcome,
                exit_code: None,
                signal: None,
                message: None,
                tried_again: false,
                micro_batch: None,
            };
            store.end_attempt(&run.id, attempt, &ended).await?;
        }
    }
    store.close_abandoned(now(), adopted).await?;
    Ok(())
}

/// Stores the new lines of a journal and returns them.
pub(super) async fn take_in(
    store: &Store,
    run: &RunId,
    tail: &mut Tail,
) -> Result<Vec<Line>, OrchestrateError> {
    let lines = tail.read()?;
    if !lines.is_empty() {
        store.ingest(run, &lines).await?;
    }
    Ok(lines)
}

/// Says whether the database holds what a run with this outcome must have measured.
pub(super) async fn is_whole(
    store: &Store,
    run: &Run,
    outcome: RunOutcome,
) -> Result<bool, StoreError> {
    Ok(outcome != RunOutcome::Finished || store.is_validated(&run.id, run.work.steps()).await?)
}

/// Writes what a run is into its folder, whole or not at all.
pub(super) fn write_spec(
    folder: &Path,
    run: &Run,
    micro_batch: Option<usize>,
) -> Result<(), OrchestrateError> {
    std::fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let path = folder.join(SPECIFICATION);
    let temporary = path.with_extension("tmp");
    let mut work = run.work.clone();
    work.set_micro_batch(micro_batch);
    let text = serde_json::to_string_pretty(&work)
        .map_err(|error| failed("write", &path)(error.into()))?;
    std::fs::write(&temporary, text).map_err(failed("write", &temporary))?;
    std::fs::rename(&temporary, &path).map_err(failed("rename to", &path))
}
