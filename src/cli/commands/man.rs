//! `orchestrator man`: the manual pages.

use crate::cli::terminal::print;
use crate::cli::{Cli, Failure};
use clap::CommandFactory;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the manual page, or write one a command to a folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestrator man | man -l -\n  \
    orchestrator man --output ~/.local/share/man/man1   # then: man orchestrator-fit")]
pub(in crate::cli) struct Args {
    /// The folder to write orchestrator.1, orchestrator-run.1, … to.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Some(folder) = &args.output else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .map_err(Failure::machine)?;
        print(&String::from_utf8_lossy(&page))?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .map_err(|error| Failure::input(format!("cannot write {}: {error}", folder.display())))?;
    print(&format!("manual pages in {}\n", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
