//! `orchestrator fit`: fit one law to anybody's runs, or all laws to an experiment, and draw.

use super::plot::Stored;
use super::report;
use crate::cli::Failure;
use crate::cli::answer::{answer, in_json};
use crate::cli::fitting::FittingArgs;
use crate::cli::rows::{Home, RowsArgs, Source, law};
use crate::cli::terminal::{note, print};
use crate::rows;
use ::report::{plots, tables};
use campaign::store::{FitRecord, FittedRows, Store, StoreError};
use experiment::clock::now;
use experiment::folder::ResultsFolder;
use experiment::quantity::counted;
use scaling_law::analysis::{self, AnalysisResult, Asker};
use scaling_law::fit::law::is_formula;
use scaling_law::study::{Checks, FitReport};
use serde::{Serialize, Serializer};
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// Fit a law to runs: anybody's (--csv) or an experiment's.
///
/// With --law, one law is fitted to the rows and judged: its intervals, what the data do not
/// determine, the error on the largest runs when they are held out, and whether other choices lead
/// elsewhere. Without it, the laws of all kinds of models among the rows are fitted, the allocation is
/// printed and the figures are drawn.
///
/// dlcm and chinchilla are the laws of kinds of models: as much of them is fitted as the runs of that
/// kind determine, unless --whole asks for all.
///
/// Laws: dlcm, dlcm_decay, chinchilla, kaplan, gamma, data_constrained, power:COLUMN,… and formulas, in
/// which every name that is no column is a parameter (docs/laws.md).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orchestrator fit --csv runs.csv --law chinchilla --column \
    params=n_params --where 'used=1'\n  orchestrator fit experiments/quickstart.yaml --law dlcm \
    --json\n  orchestrator fit experiments/quickstart.yaml --set analysis.budget=1e15"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    rows: RowsArgs,

    /// The law, such as chinchilla, power:width,depth,tokens or 'E + A/N^a + B/D^b where a in 0.1..1'.
    #[arg(long, value_name = "NAME")]
    law: Option<String>,

    #[command(flatten)]
    fitting: FittingArgs,

    /// Profile every parameter: how far it can go while the others make up for it.
    #[arg(long, requires = "law")]
    profile: bool,

    /// Say everything: all parameters, the optimum at every R, every warning.
    #[arg(long, short, conflicts_with = "json")]
    verbose: bool,

    /// Print JSON: one object with the fit, its intervals, checks and warnings; without --law, with
    /// the laws, the allocation and the savings.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match &args.law {
        Some(name) => fit_law(args, name),
        None => fit_experiment(args),
    }
}

fn fit_law(args: &Args, name: &str) -> Result<ExitCode, Failure> {
    // What is a column of a formula its table says.
    if !is_formula(name) {
        law(name)?;
    }
    let Source { asked, home } = args.rows.load()?;
    let policy = args.fitting.policy(asked.policy.clone())?;
    let checks = Checks {
        profile: args.profile,
        choices: true,
    };
    let studied = asked.fit(name, &policy, checks)?;
    let told = Told {
        report: &studied.report,
        verbose: args.verbose,
    };
    let status = answer(&told, args.json)?;
    let record = FitRecord {
        law: if is_formula(name) {
            studied.report.law.clone()
        } else {
            name.to_owned()
        },
        result: serde_json::to_value(&studied.report).map_err(Failure::machine)?,
        runs: asked.trained(&studied.estimate),
        created_at: now(),
    };
    let fitted = rows::fitted_rows(&studied.estimate);
    if let Some(target) = args.rows.target() {
        note!("the loss here is `{target}`; as a law of scores the fit is not stored");
        return Ok(status);
    }
    // A fit is an answer even where it cannot be kept.
    match crate::cli::block_on(async { Ok(keep(&home, &record, &fitted).await) })? {
        Ok(()) => note!("stored with its rows in {}", home.results.display()),
        Err(error) => note!("warning: the fit is not stored: {error}"),
    }
    Ok(status)
}

/// A fit as it is told: in short, or with everything.
struct Told<'a> {
    report: &'a FitReport,
    verbose: bool,
}

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.report.serialize(to)
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.verbose {
            write!(f, "{}", self.report)
        } else {
            self.report.short(f)
        }
    }
}

/// Stores a fit with its rows.
async fn keep(home: &Home, fit: &FitRecord, rows: &FittedRows) -> Result<(), StoreError> {
    let store = Store::create(&home.results).await?;
    let id = home.find(&store).await?;
    store.save_fit(id, fit, Some(rows)).await
}

fn fit_experiment(args: &Args) -> Result<ExitCode, Failure> {
    let Source { asked, home } = args.rows.load()?;
    let policy = args.fitting.policy(asked.policy.clone())?;
    if args.rows.target().is_some() {
        return Err(Failure::input(
            "laws of scores are fitted one by one and not drawn: name one, as in `--target TASK.bits_per_byte --law \
             dlcm`",
        ));
    }
    crate::cli::block_on(async {
        let store = Store::create(&home.results).await?;
        let id = home.find(&store).await?;
        let result = asked.analyse(&policy)?;
        let said = Said::of(args.json, args.verbose);
        keep_and_draw(&store, id, &result, &home.results, args.rows.table(), said).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// How much is said of an analysis.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::cli) enum Said {
    /// What fits a screen.
    Short,
    Everything,
    Json,
}

impl Said {
    pub(in crate::cli) fn of(json: bool, verbose: bool) -> Self {
        match (json, verbose) {
            (true, _) => Self::Json,
            (false, true) => Self::Everything,
            (false, false) => Self::Short,
        }
    }
}

/// Stores an analysis, prints its summary, or the whole as JSON, draws the figures and writes the
/// report. `table` names the rows where they are no experiment's.
pub(in crate::cli) async fn keep_and_draw(
    store: &Store,
    experiment: i64,
    result: &AnalysisResult,
    results: &Path,
    table: Option<String>,
    said: Said,
) -> Result<(), Failure> {
    let record = store.experiment_record(experiment).await?;
    let named = if results == Path::new("results").join(&record.name) {
        record.name
    } else {
        results.display().to_string()
    };
    let asker = Asker {
        rows: &table.unwrap_or(named),
        has_grid: !record.config.is_empty(),
    };
    let mut json = serde_json::to_value(result).map_err(Failure::machine)?;
    let fit = FitRecord {
        law: AnalysisResult::NAME.to_owned(),
        result: json.clone(),
        runs: result.runs.iter().map(|run| run.id.clone()).collect(),
        created_at: now(),
    };
    store.save_fit(experiment, &fit, None).await?;
    let stored = Stored::newest(store, experiment).await?;
    let stored = stored.ok_or_else(|| Failure::machine("the fit has left the database"))?;
    // What was asked beforehand is answered first.
    print(&match (said, &stored.claims) {
        (Said::Json, None) => in_json(&json)?,
        (Said::Json, Some(claims)) => {
            json["claims"] = serde_json::to_value(&claims.claims).map_err(Failure::machine)?;
            in_json(&json)?
        }
        (_, claims) => {
            let claims = claims
                .as_ref()
                .map_or(String::new(), |claims| format!("{claims}\n"));
            claims + &analysis::summary(result, &asker, said == Said::Short)
        }
    })?;
    let outputs = store.outputs(results, experiment).await?;
    let drawn = draw(store, experiment, &stored, &outputs).await?;
    report::write(
        store,
        experiment,
        &stored,
        &ResultsFolder(&outputs).report(),
    )
    .await?;
    let mut written = format!(
        "Written to {}: report.html, {}\n",
        outputs.display(),
        drawn.files.join(", ")
    );
    if said == Said::Everything && !drawn.skipped.is_empty() {
        written += &format!(
            "Not drawn: {} (`orchestrator plot … --list` says why)\n",
            drawn.skipped.join(", ")
        );
    }
    match said {
        Said::Json => note!("{}", written.trim()),
        _ => print(&written)?,
    }
    Ok(())
}

/// What was drawn and written, by name, and the figures that could not be.
struct Drawn {
    files: Vec<String>,
    skipped: Vec<&'static str>,
}

/// Writes the figures and the tables of runs and fits.
async fn draw(
    store: &Store,
    experiment: i64,
    stored: &Stored,
    outputs: &Path,
) -> Result<Drawn, Failure> {
    let folder = ResultsFolder(outputs).figures();
    let drawn = plots::draw_all(&folder, &stored.material()).map_err(Failure::machine)?;
    let mut files = vec![counted(drawn.files.len(), "figure file")];
    let skipped = drawn.skipped.iter();
    let skipped = skipped.map(|skipped| skipped.figure.name()).collect();
    // Without runs trained here a table of runs may be somebody's own file.
    if !stored.runs.is_empty() {
        let mut table = tables::runs(&stored.runs).map_err(Failure::machine)?;
        let csv = ResultsFolder(outputs).runs_table();
        tables::write_csv(&mut table, &csv).map_err(Failure::machine)?;
        files.push(file_name(&csv));
    }
    let mut table = tables::fits(&store.fits(experiment).await?).map_err(Failure::machine)?;
    let fits = ResultsFolder(outputs).fits_table();
    tables::write_csv(&mut table, &fits).map_err(Failure::machine)?;
    files.push(file_name(&fits));
    Ok(Drawn { files, skipped })
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
