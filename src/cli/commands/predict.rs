//! `orchestrator predict`: losses at named places.

use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::fitted::{FittedArgs, pair, value_of};
use crate::rows::{Selection, Table, Wanted};
use scaling_law::analysis::{Fitted, Warning};
use scaling_law::study::{self, SpeedupQuestion};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Predict losses with a fitted law, with intervals and a mark where the data end.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orchestrator predict --csv runs.csv --law chinchilla --at \
    params=1B,tokens=20B --at params=7B,tokens=1T\n  orchestrator predict --fit fit.json --at-csv \
    places.csv --json\n  orchestrator predict --csv runs.csv --law chinchilla --at N=7B,D=1T --then 'accuracy = b + \
    a*sigmoid(k*(m - loss)) where a in 0..1, b in 0..1, k in 0..50, m in 0..9'"
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

    /// Say what score goes with what is predicted: a column, and a formula of what the law predicts that is fitted to it,
    /// as in 'accuracy = b + a*sigmoid(k*(m - loss))'.
    #[arg(long, value_name = "SCORE = FORMULA", conflicts_with = "accuracy")]
    then: Option<String>,

    /// Fit the second step to the rows of this table [default: those that the law is fitted to].
    #[arg(long, value_name = "FILE", requires = "then")]
    then_csv: Option<PathBuf>,

    /// Say how many times as much runs of one word of a column need as those of another for the same loss, by a law with
    /// parameters that differ by that column, as in `optimizer=muon:adamw`.
    #[arg(long, value_name = "COLUMN=WORD:OVER")]
    speedup: Option<String>,

    /// Of what more is needed [default: tokens, or params where the law does not read them].
    #[arg(long, value_name = "COLUMN", requires = "speedup")]
    along: Option<String>,

    /// Print JSON: an object whose `predictions` array holds one object a place.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let basis = args.fitted.load()?;
    let law = basis.fitted.law.law();
    let place = |place: &String| {
        place
            .split(',')
            .map(|given| value_of(law.as_ref(), "--at", given))
            .collect::<Result<BTreeMap<_, _>, _>>()
    };
    let mut places = args
        .places
        .iter()
        .map(place)
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = &args.at_csv {
        places.extend(places_of(path, &basis.fitted)?);
    }
    let mut speedups = Vec::new();
    if let Some(given) = &args.speedup {
        let question = speedup(given, args.along.clone())?;
        for place in &mut places {
            let found = basis.fitted.speedup(place, &question);
            speedups.push(found.map_err(Failure::input)?);
            // What is predicted beside it is that of the runs that are judged.
            let own = format!("{}={}", question.column, question.word);
            let (column, word) = value_of(law.as_ref(), "--speedup", &own)?;
            place.entry(column).or_insert(word);
        }
    }
    let mut report = study::predict(&basis.fitted, &places).map_err(Failure::input)?;
    report.speedups = speedups;
    if let Some(target) = args.fitted.target() {
        target.clone_into(&mut report.response);
    }
    if args.accuracy {
        report.take_second_step(basis.accuracy()?);
    }
    if let Some(text) = &args.then {
        let other = args.then_csv.as_deref().map(Table::read).transpose()?;
        let (step, warnings) = basis.then(text, other)?;
        report.take_second_step(step);
        report.warnings.extend(warnings);
    }
    report.warnings.extend(basis.warnings);
    report.warnings.sort_by_key(Warning::severity);
    answer(&report, args.json)
}

/// Reads which kinds of runs are compared.
fn speedup(given: &str, along: Option<String>) -> Result<SpeedupQuestion, Failure> {
    let (column, words) = pair("--speedup", given)?;
    let words = words
        .split_once(':')
        .map(|(word, over)| (word.trim(), over.trim()));
    let Some((word, over)) = words.filter(|(word, over)| word != over) else {
        return Err(Failure::input(format!(
            "`--speedup {given}`: write two words of the column, as in --speedup optimizer=muon:adamw"
        )));
    };
    Ok(SpeedupQuestion {
        column: column.to_owned(),
        word: word.to_owned(),
        over: over.to_owned(),
        along,
    })
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
