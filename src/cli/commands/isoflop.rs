//! `orchestrator isoflop`: the optimum without a law, by Chinchilla's approaches 1 and 2.

use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::rows::{RowsArgs, Source};
use crate::rows::Wanted;
use scaling_law::study;
use std::process::ExitCode;

/// Read the optimum off measured losses, without a law: Chinchilla's approaches 1 and 2.
///
/// Approach 1 is the lower envelope of training curves (rows of one run, see --group), approach 2
/// fits a parabola in ln N at every budget. Both are for comparison with published numbers; their
/// biases are printed with them. `fit` and `allocate` are approach 3.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  orchestrator isoflop --csv runs.csv --approach 2 --tolerance 0.1"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    rows: RowsArgs,

    /// 1 (envelope) or 2 (parabolas) [default: both].
    #[arg(long = "approach", value_parser = clap::value_parser!(u8).range(1..=2))]
    approaches: Vec<u8>,

    /// Budgets a decade at which approach 1 looks.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    per_decade: u16,

    /// Relative difference of FLOPs up to which approach 2 takes rows for one budget.
    #[arg(long, default_value_t = 0.05)]
    tolerance: f64,

    /// Print JSON: an object whose `approaches` array holds one object an approach.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if !(args.tolerance > 0.0 && args.tolerance < 1.0) {
        return Err(Failure::input(format!(
            "`--tolerance {}` must lie between 0 and 1, as in 0.05",
            args.tolerance
        )));
    }
    let Source { asked, .. } = args.rows.load()?;
    let by = "the command `isoflop`";
    let wanted = [
        Wanted::positive("params", "parameters", by),
        Wanted::positive("tokens", "tokens", by),
        Wanted::positive("flops", "FLOPs", by),
        Wanted::positive("loss", "nats per token", by),
    ];
    let rows = asked.table.select(&wanted, &asked.selection)?;
    let approaches: &[u8] = match args.approaches.as_slice() {
        [] => &[1, 2],
        given => given,
    };
    let report = study::isoflop(&rows, approaches, args.per_decade.into(), args.tolerance);
    answer(&report, args.json)
}
