//! `orchestrator report`: everything about an experiment in one HTML file.

use super::fit::{self, Said};
use super::plot::Stored;
use crate::application::Asked;
use crate::cli::Failure;
use crate::cli::experiment::ExperimentArgs;
use crate::cli::terminal::print;
use crate::rows::Selection;
use campaign::orchestrate::blocked_by;
use campaign::store::Store;
use experiment::clock::now;
use experiment::folder::ResultsFolder;
use report::html;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a report: one HTML file that opens from disk, prints, and needs nothing beside it.
///
/// It holds the answer with its uncertainty, what became of every cell, the laws, all warnings, the
/// figures, the table of runs and how to reproduce them, all from the database: the stored runs and
/// the newest stored fit. Runs that were never fitted are fitted first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator report experiments/quickstart.yaml")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    /// The file to write [default: report.html in the results folder].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let place = args.experiment.place()?;
    if let Some(output) = &args.output
        && (output.is_dir() || output.file_name().is_none())
    {
        return Err(Failure::input(format!(
            "{} is a folder: give the file to write, as in --output report.html",
            output.display()
        )));
    }
    crate::cli::block_on(async {
        let mut store = crate::cli::open_to_read(&place.results).await?;
        let (experiment, name) = place.find(&store).await?;
        if Stored::newest(&store, experiment).await?.is_none() {
            store.close().await;
            store = Store::open(&place.results).await?;
            let file = if args.experiment.file.is_file() {
                Some(args.experiment.load()?.experiment)
            } else {
                None
            };
            let all = Selection::default();
            let asked = Asked::of_experiment(&store, experiment, &name, file.as_ref(), all).await?;
            let result = asked.analyse(&asked.policy)?;
            let (results, said) = (&place.results, Said::Short);
            fit::keep_and_draw(&store, experiment, &result, results, None, said).await?;
        }
        let stored = Stored::newest(&store, experiment).await?;
        let stored = stored.ok_or_else(|| Failure::machine("the fit has left the database"))?;
        let output = match &args.output {
            Some(output) => output.clone(),
            None => {
                let outputs = store.outputs(&place.results, experiment).await?;
                ResultsFolder(&outputs).report()
            }
        };
        write(&store, experiment, &stored, &output).await?;
        print(&format!("report: {}\n", output.display()))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the report of an experiment that has been fitted.
pub(in crate::cli) async fn write(
    store: &Store,
    experiment: i64,
    stored: &Stored,
    output: &Path,
) -> Result<(), Failure> {
    let material = stored.material();
    let origin = html::Stored {
        experiment: &store.experiment_record(experiment).await?,
        runs: material.runs,
        blocked: &blocked_by(material.runs),
        measurements: material.measurements,
        readings: material.readings,
        answers: material.answers,
        result: material.result,
        analysed_at: stored.analysed.at,
        since: stored.analysed.since,
        claims: stored.claims.as_ref(),
        machines: &store.machines(experiment).await?,
        written_at: now(),
    };
    html::write(output, &origin).map_err(Failure::machine)
}
