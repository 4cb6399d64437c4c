//! Taking in what workers have measured, where no leader does.

use super::experiment::ExperimentArgs;
use super::{Failure, provenance};
use crate::application::data_cache;
use campaign::cluster::leader::Cluster;
use campaign::cluster::pool::ByHand;
use campaign::cluster::profile::PATIENCE;
use campaign::cluster::workload::Workload;
use campaign::orchestrate::{self, Mode, Notice, Observer, Setting};
use campaign::store::Store;
use experiment::lock::Lock;
use experiment::plan::Run;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// Says nothing.
struct Silent;

impl Observer for Silent {
    fn notice(&mut self, _: Notice) {}
}

/// Takes in what workers have measured of an experiment, where nobody else is at work on its results and they may
/// be written. Whoever only looks is shown what there is, whatever keeps it from this.
pub(super) async fn take_in(experiment: &ExperimentArgs, results: &Path) {
    if !experiment.file.is_file() || !Workload::read(results).is_open() {
        return;
    }
    if let Err(why) = taken(experiment, results).await {
        tracing::debug!(?why, "not taken in");
    }
}

async fn taken(experiment: &ExperimentArgs, results: &Path) -> Result<(), Failure> {
    let loaded = experiment.load()?;
    let runs = loaded.runs().await?;
    let planned: Vec<Run> = if runs.untuned.is_empty() {
        runs.all()
    } else {
        runs.open_trials().iter().map(Run::from).collect()
    };
    // Held for no longer than it takes: somebody may want to begin.
    let Ok(_lock) = Lock::take(results, "orchestrator") else {
        return Ok(());
    };
    let store = Store::open(results).await?;
    if let Some(stored) = store.experiment(&loaded.experiment.name).await? {
        let setting = Setting {
            results: results.to_owned(),
            data_cache: data_cache(),
            execution: loaded.experiment.execution.clone(),
            max_runs: None,
            first: Vec::new(),
            mode: Mode::TakeIn,
            provenance: provenance::of(&[]),
        };
        let pool = Box::new(ByHand {
            patience: Duration::from_secs(PATIENCE.into()),
        });
        let mut workers = Cluster::new(results, pool).map_err(Failure::machine)?;
        let nobody = AtomicUsize::new(0);
        orchestrate::run(
            &store,
            stored,
            &planned,
            &setting,
            &mut workers,
            &mut Silent,
            &nobody,
        )
        .await?;
    }
    store.close().await;
    Ok(())
}
