//! `orchestrator report`: everything about an experiment in one HTML file.

use super::experiment::ExperimentArgs;
use super::{Failure, fit};
use crate::analysis::AnalysisResult;
use crate::clock::now;
use crate::orchestrate::blocked_by;
use crate::report::html::{self, Stored};
use crate::store::{FitRecord, Store};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a report: one HTML file that opens from disk, prints, and needs nothing beside it.
///
/// It holds the answer with its uncertainty, what became of every cell, the laws, all warnings, the
/// figures, the table of runs and how to reproduce them, all from the database: the stored runs and
/// the newest stored fit. Runs that were never fitted are fitted first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator report experiments/quickstart.yaml")]
pub(super) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    /// The file to write [default: report.html in the results folder].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    let output = match &args.output {
        Some(output) if output.is_dir() || output.file_name().is_none() => {
            return Err(Failure::input(format!(
                "{} is a folder: give the file to write, as in --output report.html",
                output.display()
            )));
        }
        Some(output) => output.clone(),
        None => default_file(&loaded.results),
    };
    super::runtime()?.block_on(async {
        let store = Store::open(&loaded.results).await?;
        let experiment = fit::known(&store, &loaded).await?;
        if newest(&store, experiment).await?.is_none() {
            fit::fit_and_draw(&store, experiment, &loaded).await?;
        }
        write(&store, experiment, &output).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Names the report of a results folder.
pub(super) fn default_file(results: &Path) -> PathBuf {
    results.join("report.html")
}

async fn newest(store: &Store, experiment: i64) -> Result<Option<FitRecord>, Failure> {
    Ok(store.newest_fit(experiment, AnalysisResult::NAME).await?)
}

/// Writes the report of an experiment that has been fitted.
pub(super) async fn write(store: &Store, experiment: i64, output: &Path) -> Result<(), Failure> {
    let gone = || Failure::machine("the experiment has left the database");
    let record = store
        .experiment_record(experiment)
        .await?
        .ok_or_else(gone)?;
    let fit = newest(store, experiment).await?.ok_or_else(gone)?;
    let result: AnalysisResult = serde_json::from_value(fit.result).map_err(|error| {
        Failure::machine(format!(
            "the stored fit cannot be read ({error}): fit again with `orchestrator fit`"
        ))
    })?;
    let runs = store.runs(experiment).await?;
    let mut measurements = BTreeMap::new();
    for run in &runs {
        measurements.insert(run.id.clone(), store.measurements(&run.id).await?);
    }
    let stored = Stored {
        experiment: &record,
        runs: &runs,
        blocked: &blocked_by(&runs),
        measurements: &measurements,
        result: &result,
        analysed_at: fit.created_at,
        machines: &store.machines(experiment).await?,
        written_at: now(),
    };
    html::write(output, &stored).map_err(Failure::machine)?;
    println!("report: {}", output.display());
    Ok(())
}
