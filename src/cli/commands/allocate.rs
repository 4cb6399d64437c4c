//! `orchestrator allocate`: what to train for a budget.

use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::fitted::{CountedAs, FittedArgs, number, pair, read_fit, value_of};
use scaling_law::analysis::{Fitted, Warning};
use scaling_law::fit::allocation::{Budget, Range, Variable};
use scaling_law::study::{self, AllocateQuestion, DENSE, SavingReport};
use std::path::PathBuf;
use std::process::ExitCode;

/// Find what to train for a budget: N, D, P and R with the lowest predicted loss.
///
/// The law is fitted to rows (an experiment's, or anybody's: --csv), read from a stored fit (--fit)
/// or stated (--parameter). The optimum comes with the region in which it lies over resamples of
/// whole runs, what not knowing the law better costs, the bounds it lies on, and a mark where it
/// leaves the data by more than 10×.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orchestrator allocate --csv runs.csv --law dlcm --flops 1e21 --fix \
    compression_ratio=4\n  orchestrator allocate --fit fit.json --flops 1e21 --bound \
    concept_share=0.05..0.95 --json\n  orchestrator allocate --law chinchilla --parameter E=1.82 \
    --parameter A=478 --parameter B=2143 --parameter alpha=0.347 --parameter beta=0.367 --flops \
    1e22 --served 1T"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    fitted: FittedArgs,

    /// Training FLOPs; with --served, FLOPs for training and serving together.
    #[arg(
        long,
        value_name = "FLOPS",
        required_unless_present = "inference_flops"
    )]
    flops: Option<String>,

    /// The most FLOPs that a generated token may take.
    #[arg(long, value_name = "FLOPS")]
    inference_flops: Option<String>,

    /// Tokens that will be generated and are paid from the same FLOPs.
    #[arg(long, value_name = "TOKENS", requires = "flops")]
    served: Option<String>,

    /// Hold a quantity: params, tokens, concept_share, compression_ratio, or another column of the
    /// law.
    #[arg(long = "fix", value_name = "NAME=VALUE")]
    fixed: Vec<String>,

    /// Bound a quantity, as in concept_share=0.05..0.95.
    #[arg(long = "bound", value_name = "NAME=LOW..HIGH")]
    bounds: Vec<String>,

    /// How FLOPs are counted [default: the experiment's file; 6 for each active parameter and token
    /// where models are not known].
    #[arg(long, value_enum)]
    cost: Option<CountedAs>,

    /// Follow the optimum along training budgets, as in 1e18..1e22: two a decade.
    #[arg(long, value_name = "LOW..HIGH")]
    frontier: Option<String>,

    /// A stored dense fit, against which FLOPs are saved [default: the law of the
    /// dense rows].
    #[arg(long, value_name = "FILE")]
    dense: Option<PathBuf>,

    /// Other rows, against whose models FLOPs are saved, by an expression as --where has it: the same law
    /// is fitted to them.
    #[arg(long, value_name = "EXPRESSION", conflicts_with = "dense")]
    against: Option<String>,

    /// Print JSON: one object with the optimum, its bounds and its region.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let positive = |flag: &str, text: &Option<String>| {
        let value = text.as_deref().map(|text| number(flag, text)).transpose()?;
        match value {
            Some(value) if value <= 0.0 => Err(Failure::input(format!(
                "`{flag} {value}` must be above zero"
            ))),
            value => Ok(value),
        }
    };
    let budget = Budget {
        training: positive("--flops", &args.flops)?,
        inference_per_token: positive("--inference-flops", &args.inference_flops)?,
        served_tokens: positive("--served", &args.served)?.unwrap_or(0.0),
    };
    let (mut bounds, mut constants) = (Vec::new(), Vec::new());
    for given in &args.bounds {
        let (name, text) = pair("--bound", given)?;
        let Some(variable) = Variable::of_name(name) else {
            return Err(Failure::input(format!(
                "`--bound {given}`: params, tokens, concept_share and compression_ratio can be \
                 bounded"
            )));
        };
        let (low, high) = range(&format!("--bound {name}="), text)?;
        bounds.push((variable, Range::between(low, high)));
    }
    let frontier = args.frontier.as_deref().map(budgets).transpose()?;
    let mut basis = args.fitted.load()?;
    for given in &args.fixed {
        let (name, value) = value_of(basis.fitted.law.law().as_ref(), "--fix", given)?;
        match Variable::of_name(&name) {
            Some(variable) => bounds.push((variable, Range::fixed(value))),
            None => constants.push((name, value)),
        }
    }
    check_constants(&basis.fitted, &constants)?;
    let cost = basis.cost(args.cost);
    let saving = match (&args.dense, &args.against) {
        (Some(path), _) => {
            let (dense, _) = read_fit(path)?;
            Some(SavingReport::against(&basis.fitted, &dense, &cost, DENSE))
        }
        (None, Some(rows)) => {
            let other = basis.of_other_rows(rows)?;
            Some(SavingReport::against(&basis.fitted, &other, &cost, rows))
        }
        (None, None) => basis.saving(&cost, budget.training)?,
    };
    let mut report = study::allocate(
        &basis.fitted,
        &AllocateQuestion {
            cost: &cost,
            limits: &basis.warnings,
            budget,
            bounds,
            constants,
            frontier: frontier.unwrap_or_default(),
            saving,
        },
    )
    .map_err(Failure::input)?;
    report.warnings.extend(basis.warnings);
    report.warnings.sort_by_key(Warning::severity);
    answer(&report, args.json)
}

/// Refuses to hold what the law does not read.
fn check_constants(fitted: &Fitted, constants: &[(String, f64)]) -> Result<(), Failure> {
    let inputs = fitted.law.law().inputs();
    let known = |name: &str| inputs.iter().any(|input| input.name == name);
    match constants.iter().find(|(name, _)| !known(name)) {
        None => Ok(()),
        Some((name, _)) => Err(Failure::input(format!(
            "`--fix {name}`: law `{}` reads {}",
            fitted.law.law().name(),
            inputs
                .iter()
                .map(|input| input.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

/// Reads `low..high`; `flag` is all that stands before it.
fn range(flag: &str, text: &str) -> Result<(f64, f64), Failure> {
    let Some((low, high)) = text.split_once("..") else {
        return Err(Failure::input(format!(
            "`{flag}{text}`: write a range like `{flag}0.05..0.95`"
        )));
    };
    let end = |text: &str| number(flag.trim_end(), text.trim());
    let (low, high) = (end(low)?, end(high)?);
    if low > high {
        return Err(Failure::input(format!(
            "`{flag}{text}`: {low} lies above {high}; write the lower end first"
        )));
    }
    Ok((low, high))
}

/// Training budgets, two a decade.
fn budgets(text: &str) -> Result<Vec<f64>, Failure> {
    let (low, high) = range("--frontier ", text)?;
    if low <= 0.0 {
        return Err(Failure::input("`--frontier`: FLOPs must be above zero"));
    }
    let decades = (high / low).log10();
    if decades > 30.0 {
        return Err(Failure::input("`--frontier`: more than 30 decades"));
    }
    let steps = (2.0 * decades).round().max(1.0);
    Ok((0..=steps as usize)
        .map(|step| low * (high / low).powf(step as f64 / steps))
        .collect())
}
