//! `orchestrator import`: other people's runs in the database, beside those trained here.

use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::rows::SelectionArgs;
use crate::rows::Table;
use campaign::store::{Imported, Store};
use experiment::clock::now;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Take other people's runs into the database, beside those trained here.
///
/// Importing a file again changes nothing; when it was corrected, its rows take the place of the
/// earlier ones. Imported runs are marked by the file they come from (column `source`), and every
/// command that takes an experiment reads them: `orchestrator fit NAME --law chinchilla`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  orchestrator import theirs.csv --experiment theirs --column \
    params=n_params\n  orchestrator fit theirs --law chinchilla"
)]
pub(in crate::cli) struct Args {
    /// The runs: a CSV file with a header (or a Parquet file), one row a run or a measurement.
    file: PathBuf,

    /// The experiment that takes them: a new one, or one trained here.
    #[arg(long, value_name = "NAME")]
    experiment: String,

    /// Results folder [default: results/NAME, NAME being the experiment's].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,

    #[command(flatten)]
    selection: SelectionArgs,

    /// Take the file's rows out of the experiment again; the file need not be there any more.
    #[arg(long)]
    remove: bool,

    /// Print JSON: an object with the rows added, known and removed.
    #[arg(long)]
    json: bool,
}

/// What an import changed, and where.
#[derive(serde::Serialize)]
struct Report {
    source: String,
    experiment: String,
    results: PathBuf,
    /// Rows without a loss, which were not taken in.
    without_loss: usize,
    #[serde(flatten)]
    done: Imported,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = match self.done.removed {
            0 => String::new(),
            removed => format!(", {removed} of an earlier import taken out"),
        };
        let without = match self.without_loss {
            0 => String::new(),
            without => format!(", {without} without a loss left aside"),
        };
        writeln!(
            f,
            "{}: {} rows taken in, {} known{removed}{without}; experiment `{}` in {}",
            self.source,
            self.done.added,
            self.done.known,
            self.experiment,
            self.results.display()
        )
    }
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let name = args.experiment.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Failure::input(format!(
            "`--experiment {name}`: a name holds letters, digits, `.`, `_` and `-`"
        )));
    }
    let folder = || Path::new("results").join(name);
    let results = args.results.clone().unwrap_or_else(folder);
    let source = args.file.display().to_string();
    let mut without_loss = 0;
    let done = if args.remove {
        crate::cli::block_on(remove(name, &source, &results))?
    } else {
        let table = Table::read(&args.file)?;
        let (runs, without) = table.to_import(&args.selection.read()?)?;
        without_loss = without;
        crate::cli::block_on(async {
            let store = Store::create(&results).await?;
            let experiment = store.experiment_without_file(name, now()).await?;
            Ok(store.import(experiment, &source, &runs, now()).await?)
        })?
    };
    let report = Report {
        source,
        experiment: name.to_owned(),
        results,
        without_loss,
        done,
    };
    answer(&report, args.json)
}

/// Takes the rows of a file out of an experiment.
async fn remove(name: &str, source: &str, results: &Path) -> Result<Imported, Failure> {
    let store = Store::open(results).await?;
    let experiment = store.experiment(name).await?.ok_or_else(|| {
        Failure::input(format!(
            "{} holds no experiment `{name}`",
            results.display()
        ))
    })?;
    let imported = store.imported(experiment).await?;
    let files: BTreeSet<&str> = imported.iter().map(|run| run.source.as_str()).collect();
    if files.contains(source) {
        return Ok(store.import(experiment, source, &[], now()).await?);
    }
    let files = Vec::from_iter(files);
    let there = if files.is_empty() {
        "nothing was imported into it".to_owned()
    } else {
        format!("it holds rows of {}", files.join(", "))
    };
    Err(Failure::input(format!(
        "experiment `{name}` holds no rows of `{source}`: {there}"
    )))
}
