//! `orchestrator fit`: fit one law to anybody's runs, or all laws to an experiment, and draw.

use super::Failure;
use super::answer::answer;
use super::experiment::Loaded;
use super::fitting::FittingArgs;
use super::plot::Stored;
use super::rows::{Home, RowsArgs, law};
use crate::analysis::{self, AnalysisResult};
use crate::clock::now;
use crate::report::{plots, tables};
use crate::store::{FitRecord, Store};
use crate::study;
use std::process::ExitCode;

/// Name under which a whole analysis is stored among the fits.
const ANALYSIS: &str = "analysis";

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

    /// Print JSON: one object with the fit, its intervals, checks and warnings.
    #[arg(long, requires = "law")]
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
        Ok(()) => eprintln!("stored with its rows in {}", results.display()),
        Err(error) => eprintln!("warning: the fit is not stored: {error}"),
    }
    Ok(status)
}

fn fit_experiment(args: &Args) -> Result<ExitCode, Failure> {
    args.rows.refuse_selection()?;
    let loaded = args.rows.experiment_args()?.load()?;
    super::runtime()?.block_on(async {
        let store = Store::open(&loaded.results).await?;
        let experiment = known(&store, &loaded).await?;
        fit_and_draw(&store, experiment, &loaded).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Finds the experiment in the database.
pub(super) async fn known(store: &Store, loaded: &Loaded) -> Result<i64, Failure> {
    let name = &loaded.experiment.name;
    store.experiment(name).await?.ok_or_else(|| {
        Failure::input(format!(
            "{} holds no experiment `{name}`: run it first",
            loaded.results.display()
        ))
    })
}

/// Fits, stores the fit, prints the summary and draws the figures.
pub(super) async fn fit_and_draw(
    store: &Store,
    experiment: i64,
    loaded: &Loaded,
) -> Result<(), Failure> {
    let runs = store.runs(experiment).await?;
    let shape = loaded
        .experiment
        .cells
        .first()
        .map(|cell| cell.shape.clone())
        .unwrap_or_default();
    let result = analysis::analyse(&runs, &loaded.experiment.analysis, &shape);
    print!("{}", analysis::summary(&result));
    let fit = FitRecord {
        law: ANALYSIS.to_owned(),
        result: serde_json::to_value(&result).map_err(Failure::machine)?,
        runs: result.runs.iter().map(|run| run.id.clone()).collect(),
        created_at: now(),
    };
    store.save_fit(experiment, &fit, None).await?;
    draw(&Stored::read(store, experiment, result).await?, loaded)
}

/// Reads the newest stored analysis.
pub(super) async fn newest(store: &Store, experiment: i64) -> Result<AnalysisResult, Failure> {
    let Some(fit) = store.newest_fit(experiment, ANALYSIS).await? else {
        return Err(Failure::input(
            "nothing has been fitted yet: use `orchestrator fit` first",
        ));
    };
    serde_json::from_value(fit.result).map_err(|error| {
        Failure::machine(format!(
            "the stored fit cannot be read ({error}): fit again with `orchestrator fit`"
        ))
    })
}

/// Writes the figures and the table of runs.
fn draw(stored: &Stored, loaded: &Loaded) -> Result<(), Failure> {
    let folder = loaded.results.join("figures");
    let drawn = plots::draw_all(&folder, &stored.material()).map_err(Failure::machine)?;
    if !drawn.skipped.is_empty() {
        let names = drawn.skipped.iter().map(|skipped| skipped.figure.name());
        let names = names.collect::<Vec<_>>().join(", ");
        println!("not drawn: {names} (`orchestrator plot FILE --list` says why)");
    }
    let mut table = tables::runs(&stored.runs).map_err(Failure::machine)?;
    let csv = loaded.results.join("runs.csv");
    tables::write_csv(&mut table, &csv).map_err(Failure::machine)?;
    println!(
        "{} figure files in {}, runs in {}",
        drawn.files.len(),
        folder.display(),
        csv.display()
    );
    Ok(())
}
