//! `orchestrator schema`: the JSON Schema of experiment files.

use super::Failure;
use crate::grid;
use std::process::ExitCode;

/// Print the JSON Schema of experiment files, so that editors complete and check them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  orchestrator schema > experiment.schema.json\n\nThen start an \
    experiment file with:\n  # yaml-language-server: $schema=experiment.schema.json"
)]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> Result<ExitCode, Failure> {
    println!("{:#}", grid::schema());
    Ok(ExitCode::SUCCESS)
}
