//! `orchestrator fit`: fit one law to anybody's runs, or all laws to an experiment, and draw.

use super::answer::answer;
use super::experiment::Loaded;
use super::fitting::FittingArgs;
use super::plot::Stored;
use super::rows::{Home, RowsArgs, law};
use super::terminal::{note, print};
use super::{Failure, report};
use crate::analysis::{self, AnalysisResult};
use crate::clock::now;
use crate::report::{plots, tables};
use crate::store::{FitRecord, Store};
use crate::study;
use std::process::ExitCode;

/// Fit a law to runs: anybody's (--csv) or an experiment's.
///
/// With --law, one law is fitted to the rows and judged: intervals from resamples of whole runs,
/// what the data do not determine, the error on the largest runs when they are held out, and
/// whether other choices lead elsewhere. Without it, all laws are fitted to an experiment, the
/// allocation is printed and the figures are drawn again.
///
/// Laws: dlcm, dlcm_decay, chinchilla, kaplan, gamma, data_constrained and power:COLUMN,…
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orchestrator fit --csv runs.csv --law chinchilla --column \
    params=n_params --where 'used=1'\n  orchestrator fit experiments/quickstart.yaml --law dlcm \
    --json\n  orchestrator fit experiments/quickstart.yaml --set analysis.budget=1e15"
)]
pub(super) struct Args {
    #[command(flatten)]
    rows: RowsArgs,

    /// The law, such as chinchilla or power:width,depth,tokens.
    #[arg(long, value_name = "NAME", required_unless_present = "experiment")]
    law: Option<String>,

    #[command(flatten)]
    fitting: FittingArgs,

    /// Profile every parameter: how far it can go while the others make up for it.
    #[arg(long, requires = "law")]
    profile: bool,

    /// Print JSON: one object with the fit, its intervals, checks and warnings; without --law, with
    /// the laws, the allocation and the savings.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match &args.law {
        Some(name) => fit_law(args, name),
        None => fit_experiment(args),
    }
}

fn fit_law(args: &Args, name: &str) -> Result<ExitCode, Failure> {
    let (law, source) = (law(name)?, args.rows.load()?);
    let rows = source.rows(law.as_ref())?;
    let question = study::FitQuestion {
        profile: args.profile,
        ..args.fitting.question()?
    };
    let report = study::fit(&law, &source.table, &rows, &question)?;
    let status = answer(&report, args.json)?;
    let record = FitRecord {
        law: law.name(),
        result: serde_json::to_value(&report).map_err(Failure::machine)?,
        runs: source.table.trained_runs(&rows.observations),
        created_at: now(),
    };
    let fitted = source.table.fitted_rows(&rows.observations);
    let Home {
        results,
        experiment,
    } = &source.home;
    let stored = super::runtime()?.block_on(async {
        let store = Store::create(results).await?;
        let id = store.experiment_without_file(experiment, now()).await?;
        store.save_fit(id, &record, Some(&fitted)).await
    });
    // A fit is an answer even where it cannot be kept.
    match stored {
        Ok(()) => note!("stored with its rows in {}", results.display()),
        Err(error) => note!("warning: the fit is not stored: {error}"),
    }
    Ok(status)
}

fn fit_experiment(args: &Args) -> Result<ExitCode, Failure> {
    args.rows.refuse_selection()?;
    let experiment = args.rows.experiment_args()?;
    if !experiment.file.is_file() && experiment.place().is_ok() {
        return Err(Failure::input(format!(
            "`{}` is where an experiment is stored, and which laws to fit and how is in its file: give \
             that, or one law with --law NAME",
            experiment.file.display()
        )));
    }
    let loaded = experiment.load()?;
    super::runtime()?.block_on(async {
        let store = Store::open(&loaded.results).await?;
        let (experiment, _) = loaded.place().find(&store).await?;
        fit_and_draw(&store, experiment, &loaded, args.json).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Fits, stores the fit, prints the summary, or the whole as JSON, draws the figures and writes the
/// report.
pub(super) async fn fit_and_draw(
    store: &Store,
    experiment: i64,
    loaded: &Loaded,
    json: bool,
) -> Result<(), Failure> {
    let runs = store.runs(experiment).await?;
    let shape = loaded
        .experiment
        .cells
        .first()
        .map(|cell| cell.shape.clone())
        .unwrap_or_default();
    let result = analysis::analyse(&runs, &loaded.experiment.analysis, &shape);
    let stored = serde_json::to_value(&result).map_err(Failure::machine)?;
    print(&match json {
        true => format!("{stored}\n"),
        false => analysis::summary(&result),
    })?;
    let fit = FitRecord {
        law: AnalysisResult::NAME.to_owned(),
        result: stored,
        runs: result.runs.iter().map(|run| run.id.clone()).collect(),
        created_at: now(),
    };
    store.save_fit(experiment, &fit, None).await?;
    let stored = Stored::newest(store, experiment).await?;
    let stored = stored.ok_or_else(|| Failure::machine("the fit has left the database"))?;
    let drawn = draw(store, experiment, &stored, loaded).await?;
    let file = report::default_file(&loaded.results);
    report::write(store, experiment, &stored, &file).await?;
    let said = format!("{drawn}report: {}\n", file.display());
    match json {
        true => note!("{}", said.trim_end()),
        false => print(&said)?,
    }
    Ok(())
}

/// Writes the figures and the tables of runs and fits; says what was drawn and where.
async fn draw(
    store: &Store,
    experiment: i64,
    stored: &Stored,
    loaded: &Loaded,
) -> Result<String, Failure> {
    let folder = loaded.results.join("figures");
    let drawn = plots::draw_all(&folder, &stored.material()).map_err(Failure::machine)?;
    let names: Vec<&str> = drawn
        .skipped
        .iter()
        .map(|skipped| skipped.figure.name())
        .collect();
    let skipped = match names.is_empty() {
        true => String::new(),
        false => format!(
            "not drawn: {} (`orchestrator plot FILE --list` says why)\n",
            names.join(", ")
        ),
    };
    let mut table = tables::runs(&stored.runs).map_err(Failure::machine)?;
    let csv = loaded.results.join("runs.csv");
    tables::write_csv(&mut table, &csv).map_err(Failure::machine)?;
    let mut table = tables::fits(&store.fits(experiment).await?).map_err(Failure::machine)?;
    let fits = loaded.results.join("fits.csv");
    tables::write_csv(&mut table, &fits).map_err(Failure::machine)?;
    Ok(format!(
        "{skipped}{} figure files in {}, runs in {}, fits in {}\n",
        drawn.files.len(),
        folder.display(),
        csv.display(),
        fits.display()
    ))
}
