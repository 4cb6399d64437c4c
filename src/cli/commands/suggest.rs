//! `orchestrator suggest`: which runs to train next.

use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::fitted::{CountedAs, FittedArgs, number};
use scaling_law::analysis::Warning;
use scaling_law::study::{self, SuggestQuestion};
use std::process::ExitCode;

/// Suggest the runs that would narrow the optimum of a budget most per FLOP.
///
/// Candidates are a lattice over the range of the data (twice as far in N and D). The variance of
/// the optimum over resamples that a run would remove is known before it is trained.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  orchestrator suggest --csv runs.csv --law chinchilla --flops 1e22 -k 4"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    fitted: FittedArgs,

    /// Training FLOPs whose best use is to be narrowed.
    #[arg(long, value_name = "FLOPS")]
    flops: String,

    /// How many runs.
    #[arg(short = 'k', long = "count", default_value_t = 4)]
    count: usize,

    /// The most FLOPs a suggested run may take [default: what the largest N for the largest D of
    /// the data takes].
    #[arg(long, value_name = "FLOPS")]
    most_flops: Option<String>,

    /// How FLOPs are counted [default: the experiment's file; 6 for each active parameter and token
    /// where models are not known].
    #[arg(long, value_enum)]
    cost: Option<CountedAs>,

    /// Print JSON: an object whose `suggestions` array holds the runs in their order.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let budget = number("--flops", &args.flops)?;
    let most = args
        .most_flops
        .as_deref()
        .map(|text| number("--most-flops", text));
    let mut basis = args.fitted.load()?;
    let cost = basis.cost(args.cost);
    let question = SuggestQuestion {
        cost: &cost,
        budget,
        most: most.transpose()?,
        count: args.count,
    };
    let mut report = study::suggest(&basis.fitted, &question).map_err(Failure::input)?;
    report.warnings.extend(basis.warnings);
    report.warnings.sort_by_key(Warning::severity);
    answer(&report, args.json)
}
