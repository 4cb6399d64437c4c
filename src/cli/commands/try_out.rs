//! `orchestrator try`: is another trainer understood?

use crate::application::{Tried, try_out};
use crate::cli::Failure;
use crate::cli::answer::in_json;
use crate::cli::experiment::{DeviceArgs, ExperimentArgs};
use crate::cli::failure::FAILED;
use crate::cli::terminal::{harmless, note, print};
use experiment::quantity::counted;
use std::fmt::Write;
use std::process::ExitCode;

/// Try an experiment's trainer on its smallest run for a minute: what is understood of its reports,
/// whether it goes on after a kill, and how it stops. Nothing is stored.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator try experiments/trainers/law.yaml --seconds 20")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    #[command(flatten)]
    devices: DeviceArgs,

    /// Time for each of the four parts: until it is killed, until it is stopped, until it has stopped, and
    /// to its end.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    seconds: f64,

    /// Print JSON: an object with what was `understood`, how it `resumed` and `stopped`, what is
    /// `missing`, and `remarks`.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if !(args.seconds > 0.0 && args.seconds <= 1e6) {
        return Err(Failure::input(format!(
            "`--seconds {}` must be above 0",
            args.seconds
        )));
    }
    let loaded = args.experiment.load()?;
    let runs = crate::cli::block_on(async { Ok(loaded.runs().await?) })?;
    for warning in runs.warnings() {
        note!("warning: {warning}");
    }
    let names = args.devices.names_for(&loaded.experiment)?;
    let device = names
        .iter()
        .take(loaded.experiment.execution.devices_per_run);
    let device = device.cloned().collect::<Vec<_>>().join(",");
    let tried = try_out(
        &runs.external,
        &loaded.results,
        &device,
        args.seconds,
        &|said| note!("{said}"),
    )?;
    print(&if args.json {
        in_json(&tried)?
    } else {
        harmless(describe(&tried))
    })?;
    Ok(if tried.missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

fn describe(tried: &Tried) -> String {
    let mut text = format!("{}\n  {}\n\n", tried.run, tried.command.join(" "));
    // Writing to a string cannot fail.
    for one in &tried.understood {
        let value = one.value.as_deref().unwrap_or("-");
        let _ = writeln!(text, "  {:<16}{value:<26}{}", one.name, one.note);
    }
    text.push('\n');
    if let Some(resumed) = &tried.resumed {
        let from = match resumed.first_step {
            Some(step) => format!("it went on at step {step}"),
            None => "it reported nothing more in its time".to_owned(),
        };
        let checkpoint = match resumed.checkpoint {
            Some(step) => format!(" (checkpoint of step {step})"),
            None => " (no checkpoint was reported)".to_owned(),
        };
        let losses = match (resumed.common, resumed.difference) {
            (common, Some(difference)) => {
                let steps = counted(common, "common step");
                match difference {
                    0.0 => format!("; the losses of {steps} are the same"),
                    _ => format!("; the losses of {steps} differ by {difference:.1e} at most"),
                }
            }
            _ => String::new(),
        };
        let at = resumed.killed_at;
        let _ = writeln!(text, "killed after step {at}: {from}{checkpoint}{losses}");
    }
    if let Some(stopped) = &tried.stopped {
        let _ = writeln!(
            text,
            "asked to stop: ended as {} after {:.1} s",
            stopped.outcome, stopped.seconds
        );
    }
    if let Some((outcome, _)) = &tried.ended {
        let _ = writeln!(text, "ended by itself: {outcome}");
    }
    if tried.missing.is_empty() {
        text += "nothing is missing\n";
    }
    for remark in &tried.remarks {
        let _ = writeln!(text, "{remark}");
    }
    for missing in &tried.missing {
        let _ = writeln!(text, "missing: {missing}");
    }
    let _ = writeln!(text, "its logs and reports: {}", tried.folder.display());
    text
}
