//! `orchestrator compare`: which law predicts what it did not see.

use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::rows::{RowsArgs, Source};
use crate::rows::Wanted;
use scaling_law::fit::Objective;
use scaling_law::study;
use std::process::ExitCode;

/// Compare laws on the same rows by what they predict of rows that were held out.
///
/// Every law is judged on folds of whole runs, on the largest N and on the largest D; the corrected
/// Akaike criterion stands beside it. Laws that differ by less than the noise are said to be equal.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orchestrator compare --csv runs.csv\n  orchestrator compare \
    experiments/quickstart.yaml --law dlcm --law power:params,tokens --json"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    rows: RowsArgs,

    /// A law; repeat it [default: the usual ones whose columns are there].
    #[arg(long = "law", value_name = "NAME")]
    laws: Vec<String>,

    /// Where Huber turns from quadratic to linear.
    #[arg(long, value_name = "DELTA", default_value_t = 1e-3)]
    delta: f64,

    /// Print JSON: an object whose `laws` array holds one object a law, the best first.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let objective = Objective::Huber { delta: args.delta };
    if !objective.is_valid() {
        return Err(Failure::input(format!(
            "`--delta {}` must be above 0; it is a log residual, usually 1e-3",
            args.delta
        )));
    }
    let Source { asked, .. } = args.rows.load()?;
    let named = args.laws.iter().map(|name| asked.law(name));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let laws = if named.is_empty() {
        study::usual_laws(&asked.table.names(&asked.selection)?)
    } else {
        named
    };
    if laws.is_empty() {
        // The message names the columns that are missing.
        asked.rows("chinchilla")?;
    }
    if let Some(other) = laws
        .iter()
        .find(|other| other.response() != laws[0].response())
    {
        return Err(Failure::input(format!(
            "`{}` predicts `{}` and `{}` predicts `{}`: they cannot be compared",
            laws[0].name(),
            laws[0].response(),
            other.name(),
            other.response()
        )));
    }
    let wanted: Vec<Wanted> = laws
        .iter()
        .flat_map(|law| Wanted::of_law(law.as_ref()))
        .collect();
    let rows = asked.table.select(&wanted, &asked.selection)?;
    let report = study::compare(&laws, &rows, objective);
    answer(&report, args.json)
}
