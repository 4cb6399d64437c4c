//! `orchestrator schema`: the JSON Schema of experiment files, and of profiles of clusters.

use crate::cli::Failure;
use crate::cli::terminal::print;
use campaign::cluster::profile;
use experiment::grid;
use std::process::ExitCode;

/// Print the JSON Schema of experiment files, so that editors complete and check them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orchestrator schema > experiment.schema.json\n  orchestrator schema \
    --markdown > reference.md\n\nThen start an experiment file with:\n  \
    # yaml-language-server: $schema=experiment.schema.json"
)]
pub(in crate::cli) struct Args {
    /// The same for people, in Markdown: every key with its values, default, unit and an example.
    #[arg(long)]
    markdown: bool,

    /// That of clusters.yaml, the profiles of clusters, instead.
    #[arg(long, conflicts_with = "markdown")]
    clusters: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    print(&if args.clusters {
        format!("{:#}\n", profile::schema())
    } else if args.markdown {
        grid::reference()
    } else {
        format!("{:#}\n", grid::schema())
    })?;
    Ok(ExitCode::SUCCESS)
}
