//! `orchestrator completions`: what a shell needs to complete commands.

use crate::cli::terminal::print;
use crate::cli::{Cli, Failure};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use std::process::ExitCode;

/// Print the script with which a shell completes commands and options.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestrator completions bash > ~/.local/share/bash-completion/completions/orchestrator\n  \
    orchestrator completions zsh > ~/.zfunc/_orchestrator   # a folder of $fpath\n  \
    orchestrator completions fish > ~/.config/fish/completions/orchestrator.fish")]
pub(in crate::cli) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(), "orchestrator", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// The commands that `--help` lists.
fn visible() -> Command {
    let all = Cli::command();
    let shown = all
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    Command::new("orchestrator")
        .args(all.get_arguments().cloned())
        .subcommands(shown.cloned())
}
