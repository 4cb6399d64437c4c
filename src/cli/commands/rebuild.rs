//! `orchestrator rebuild`: the database again, from the runs' journals.

use crate::cli::Failure;
use crate::cli::answer::in_json;
use crate::cli::failure::FAILED;
use crate::cli::terminal::{note, print};
use campaign::orchestrate;
use campaign::store::Store;
use experiment::folder::{DATABASE, ResultsFolder};
use experiment::lock::Lock;
use experiment::quantity::counted;
use serde_json::json;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Recreate a results folder's database from its runs' specifications and journals.
///
/// A database that is there is set aside as `orchestrator.db.old`. Experiments, fits and exit codes
/// are not in the journals: `orchestrator run FILE` records the experiment and fits again, and
/// trains nothing that has ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator rebuild results/quickstart")]
pub(in crate::cli) struct Args {
    /// The results folder.
    results: PathBuf,

    /// Print JSON: how many `runs` were recorded in which `database`, and each `folder` that was
    /// `left_out`, with `why`.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let results = &args.results;
    if !ResultsFolder(results).runs().is_dir() {
        return Err(Failure::input(format!(
            "{} holds no runs: give a results folder, such as results/quickstart",
            results.display()
        )));
    }
    let _lock = Lock::take(results, "orchestrator")?;
    refuse_two(results)?;
    // The database that is there stays until the new one is whole.
    let folder = results.join(".rebuild");
    clear(&folder)?;
    let rebuilt = crate::cli::block_on(async {
        let store = Store::create(&folder).await?;
        let rebuilt = orchestrate::rebuild(results, &store).await?;
        store.close().await;
        Ok(rebuilt)
    });
    let database = results.join(DATABASE);
    if rebuilt.is_ok() {
        set_aside(results)?;
        std::fs::rename(folder.join(DATABASE), &database).map_err(|error| {
            Failure::machine(format!("cannot make {}: {error}", database.display()))
        })?;
    }
    clear(&folder)?;
    let rebuilt = rebuilt?;
    if args.json {
        let left_out = rebuilt.left_out.iter();
        let left_out = left_out.map(|(folder, why)| json!({"folder": folder, "why": why}));
        print(&in_json(&json!({
            "runs": rebuilt.runs,
            "database": database,
            "left_out": left_out.collect::<Vec<_>>(),
        }))?)?;
    } else {
        for (folder, why) in &rebuilt.left_out {
            note!("left out: {}: {why}", folder.display());
        }
        print(&format!(
            "{} recorded in {}; run their experiment again to record it and to fit\n",
            counted(rebuilt.runs, "run"),
            database.display()
        ))?;
    }
    Ok(if rebuilt.left_out.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

/// Removes what an earlier attempt has left.
fn clear(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Failure::machine(format!(
            "cannot remove {}: {error}",
            folder.display()
        ))),
        _ => Ok(()),
    }
}

/// Refuses to set a database aside where one is.
fn refuse_two(results: &Path) -> Result<(), Failure> {
    let old = results.join(format!("{DATABASE}.old"));
    if results.join(DATABASE).exists() && old.exists() {
        return Err(Failure::input(format!(
            "{} is there already: remove one of the two databases first",
            old.display()
        )));
    }
    Ok(())
}

/// Renames the database with what belongs to it.
fn set_aside(results: &Path) -> Result<(), Failure> {
    let name = |end: &str| results.join(format!("{DATABASE}{end}"));
    for end in ["", "-wal", "-shm"] {
        let (from, to) = (name(end), name(&format!(".old{end}")));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(|error| {
                Failure::machine(format!("cannot set {} aside: {error}", from.display()))
            })?;
        }
    }
    Ok(())
}
