//! `orchestrator predict`: losses at named places.

use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::fitted::{FittedArgs, assignment};
use crate::rows::{Selection, Table, Wanted};
use scaling_law::analysis::{Fitted, Warning};
use scaling_law::study;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Predict losses with a fitted law, with intervals and a mark where the data end.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orchestrator predict --csv runs.csv --law chinchilla --at \
    params=1B,tokens=20B --at params=7B,tokens=1T\n  orchestrator predict --fit fit.json --at-csv \
    places.csv --json"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    fitted: FittedArgs,

    /// A place: every column of the law, as in params=1e9,tokens=2e10; N, D, P and R name them too.
    #[arg(
        long = "at",
        value_name = "NAME=VALUE,…",
        required_unless_present = "at_csv"
    )]
    places: Vec<String>,

    /// A file of places: CSV or Parquet with the law's columns.
    #[arg(long, value_name = "FILE")]
    at_csv: Option<PathBuf>,

    /// Say what accuracy goes with the bits per byte that are predicted, by a sigmoid that is fitted to the runs.
    #[arg(long)]
    accuracy: bool,

    /// Print JSON: an object whose `predictions` array holds one object a place.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut places = args
        .places
        .iter()
        .map(|place| {
            place
                .split(',')
                .map(|given| assignment("--at", given))
                .collect::<Result<BTreeMap<_, _>, _>>()
        })
        .collect::<Result<Vec<_>, _>>()?;
    let basis = args.fitted.load()?;
    if let Some(path) = &args.at_csv {
        places.extend(places_of(path, &basis.fitted)?);
    }
    let mut report = study::predict(&basis.fitted, &places).map_err(Failure::input)?;
    if let Some(target) = args.fitted.target() {
        target.clone_into(&mut report.response);
    }
    if args.accuracy {
        let scores = basis.task_scores();
        if scores.is_empty() {
            return Err(Failure::input(
                "`--accuracy` is of a task: name an experiment whose runs were evaluated, and \
                 `--target TASK.bits_per_byte`",
            ));
        }
        report.take_second_step(study::second_step(&scores).map_err(Failure::input)?);
    }
    report.warnings.extend(basis.warnings);
    report.warnings.sort_by_key(Warning::severity);
    answer(&report, args.json)
}

/// Reads the law's inputs from every row of a file.
fn places_of(path: &Path, fitted: &Fitted) -> Result<Vec<BTreeMap<String, f64>>, Failure> {
    let law = fitted.law.law();
    let mut wanted = Wanted::of_law(law.as_ref());
    wanted.retain(|want| want.name() != law.response());
    let rows = Table::read(path)?.select(&wanted, &Selection::default())?;
    let data = &rows.observations;
    let inputs = law.inputs();
    Ok((0..data.len())
        .map(|row| {
            let at = |name: &String| Some((name.clone(), data.column(name)?[row]));
            inputs.iter().filter_map(|input| at(&input.name)).collect()
        })
        .collect())
}
