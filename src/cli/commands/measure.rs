//! `orchestrator measure`: the child process that finds what a run takes. Not for people: `plan` and
//! `run` start it.

use crate::cli::Failure;
use crate::cli::terminal::print;
use campaign::launch::measure::READY;
use experiment::run::RunSpec;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;
use trainer::train::measure::{Measuring, measure};

/// Measure what a run takes: its specification is read from the input, a line of JSON.
///
/// Says `ready`, waits for a line, takes steps, and prints the cost as JSON.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  (tr -d '\\n' < results/quickstart/runs/021d4c0d6641/run.json; echo; echo) \
    | orchestrator measure --data-cache ~/.cache/orchestrator/data --started $(date +%s)"
)]
pub(in crate::cli) struct Args {
    /// Where prepared data are kept.
    #[arg(long)]
    data_cache: PathBuf,

    /// The device.
    #[arg(long, default_value = "cpu")]
    device: String,

    /// Seconds of timed steps.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,

    /// When this process was started, in seconds since the Unix epoch.
    #[arg(long)]
    started: f64,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut lines = std::io::stdin().lock().lines();
    let text = lines.next().unwrap_or_else(|| Ok(String::new()));
    let text = text.map_err(Failure::machine)?;
    let spec = RunSpec::read(text.as_bytes())
        .map_err(|error| Failure::input(format!("cannot read the run's specification: {error}")))?;
    let measuring = Measuring {
        data_cache: &args.data_cache,
        device: &args.device,
        started: args.started,
        seconds: args.seconds,
    };
    let ready = || {
        // Nobody wants to know any more when there is no line.
        if print(&format!("{READY}\n")).is_err() || lines.next().is_none() {
            std::process::exit(i32::from(crate::cli::failure::FAILED));
        }
    };
    let cost = measure(&spec, &measuring, ready)?;
    print(&format!("{}\n", serde_json::json!(cost)))?;
    Ok(ExitCode::SUCCESS)
}
