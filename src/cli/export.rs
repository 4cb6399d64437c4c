//! `orchestrator export`: a run's weights for other programs.

use super::Failure;
use super::find_run::find_run;
use crate::inference::read_spec;
use crate::train::TrainError;
use crate::train::export::export;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a run's weights to a safetensors file, with what is needed to use them elsewhere.
///
/// docs/weights.md says what the file holds and what is computed with it. A run without final
/// weights gives those of its newest checkpoint.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator export 3f2a --safetensors model.safetensors")]
pub(super) struct Args {
    /// The run: its id, the beginning of it, or its folder.
    run: String,

    /// The file to write.
    #[arg(long, value_name = "FILE")]
    safetensors: PathBuf,

    /// Results folder to look for the run in [default: every folder below results/].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,

    /// Replace the file when it exists.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let folder = find_run(&args.run, args.results.as_deref())?;
    let file = &args.safetensors;
    if file.is_dir() || file.file_name().is_none() {
        return Err(Failure::input(format!(
            "{} is a folder: give the file to write, as in --safetensors model.safetensors",
            file.display()
        )));
    }
    if file.exists() && !args.force {
        return Err(Failure::input(format!(
            "{} exists: give another name, or --force to replace it",
            file.display()
        )));
    }
    let spec = read_spec(&folder)?;
    let exported = export(&folder, &spec, file).map_err(|error| match error {
        TrainError::Io { .. } => Failure::input(error),
        error => error.into(),
    })?;
    let Some(progress) = exported else {
        return Err(Failure::input(format!(
            "{} holds no weights: the run has not been trained to its first checkpoint",
            folder.display()
        )));
    };
    let steps = spec.recipe.steps(spec.architecture.seq_len());
    if progress.step < steps {
        eprintln!(
            "warning: run {} has no final weights; these are of its newest checkpoint, after {} of \
             {steps} steps",
            spec.id(),
            progress.step
        );
    }
    println!(
        "run {}, step {}: {}",
        spec.id(),
        progress.step,
        file.display()
    );
    Ok(ExitCode::SUCCESS)
}
