//! The command line: one file a subcommand, arguments and the call. The only place that prints.

// They panic where nobody reads: see `terminal`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod answer;
mod axes;
mod board;
mod commands;
mod experiment;
mod failure;
mod find_run;
mod fitted;
mod fitting;
mod progress;
mod provenance;
mod rows;
mod stops;
mod take_in;
mod terminal;
mod trained;

use campaign::store::Store;
use clap::{Parser, Subcommand};
use commands::{
    allocate, bench, cancel, check, claims, compare, completions, coordinates, devices, evaluate,
    export, fit, generate, import, init, inspect, isoflop, logs, man, measure, plan, plot, predict,
    prune, rebuild, report, retry, run, schema, serve, show, status, suggest, train, try_out,
    worker,
};
pub use failure::Failure;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

/// Scaling-law experiments for hierarchical token/concept language models.
///
/// Declare a grid over compression ratio R and concept share P in YAML; get losses and FLOPs in
/// SQLite, fitted laws with intervals, the optimal allocation, and figures.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Example:\n  orchestrator run experiments/quickstart.yaml\n\n\
    Exit status: 0 done, 1 some runs failed or are left, 2 the input is wrong."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Run(run::Args),
    Plan(plan::Args),
    Check(check::Args),
    Try(try_out::Args),
    Status(status::Args),
    Show(show::Args),
    Logs(logs::Args),
    Retry(retry::Args),
    Cancel(cancel::Args),
    Prune(prune::Args),
    Rebuild(rebuild::Args),
    Claims(claims::Args),
    Fit(fit::Args),
    Allocate(allocate::Args),
    Predict(predict::Args),
    Compare(compare::Args),
    Suggest(suggest::Args),
    Isoflop(isoflop::Args),
    Import(import::Args),
    Plot(plot::Args),
    Report(report::Args),
    Export(export::Args),
    Serve(serve::Args),
    Inspect(inspect::Args),
    Evaluate(evaluate::Args),
    Generate(generate::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
    Bench(bench::Args),
    Coordinates(coordinates::Args),
    Devices(devices::Args),
    #[command(hide = true)]
    Measure(measure::Args),
    #[command(hide = true)]
    Train(train::Args),
    #[command(hide = true)]
    Worker(worker::Args),
}

/// Runs the program and returns its exit status.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,progress=info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && terminal::wants_colour())
        // It would panic where standard error is closed or its disk is full.
        .log_internal_errors(false)
        .init();
    let result = match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Try(args) => try_out::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Retry(args) => retry::run(&args),
        Command::Cancel(args) => cancel::run(&args),
        Command::Prune(args) => prune::run(&args),
        Command::Rebuild(args) => rebuild::run(&args),
        Command::Claims(args) => claims::run(&args),
        Command::Fit(args) => fit::run(&args),
        Command::Allocate(args) => allocate::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Suggest(args) => suggest::run(&args),
        Command::Isoflop(args) => isoflop::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Plot(args) => plot::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Coordinates(args) => coordinates::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Measure(args) => measure::run(&args),
        Command::Train(args) => return train::run(&args),
        Command::Worker(args) => worker::run(&args),
    };
    match result {
        Ok(status) => status,
        Err(failure) => failure.report(),
    }
}

/// Carries out what needs the database, and closes whatever it has opened, however it ended: a process
/// that ends before leaves its last rows outside the file.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::machine(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        let done = work.await;
        Store::close_all().await;
        done
    })
}

/// Opens the database of a results folder to read it; says what cannot be seen of it.
async fn open_to_read(results: &Path) -> Result<Store, Failure> {
    let store = Store::open_to_read(results).await?;
    if let Some(remark) = store.remark() {
        terminal::note!("warning: {remark}");
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_command_has_an_example_and_every_argument_words() {
        let mut program = Cli::command();
        program.clone().debug_assert();
        program.build();
        for command in program.get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            let name = command.get_name();
            if name != "help" {
                let example = format!("orchestrator {name} ");
                let bare = format!("orchestrator {name}\n");
                let shown = help.split("Example").nth(1).unwrap_or_default();
                assert!(
                    shown.contains(&example) || format!("{shown}\n").contains(&bare),
                    "`{name}` has no example:\n{help}"
                );
            }
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{name}: {}",
                    argument.get_id()
                );
            }
        }
    }
}
