//! `orchestrator import`: other people's runs in the database, beside those trained here.

use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::rows::SelectionArgs;
use crate::rows::{Table, ToImport};
use campaign::store::{Imported, Store};
use experiment::clock::now;
use experiment::quantity::counted;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Take other people's runs into the database, beside those trained here.
///
/// Importing a file again changes nothing; when it was corrected, its rows take the place of the
/// earlier ones. Rows that it still holds stay, whatever `--where` says then. Imported runs are marked by the file they come from (column `source`), and every
/// command that takes an experiment reads them: `orchestrator fit NAME --law chinchilla`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  orchestrator import theirs.csv --experiment theirs --column \
    params=n_params\n  orchestrator fit theirs --law chinchilla"
)]
pub(in crate::cli) struct Args {
    /// The runs: a table (CSV, JSON lines or Parquet, compressed or not), one row a run or a measurement.
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
    /// Rows that were not taken in, by reason.
    left_out: BTreeMap<String, usize>,
    #[serde(flatten)]
    done: Imported,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = match self.done.removed {
            0 => String::new(),
            removed => format!(", {removed} of an earlier import taken out"),
        };
        writeln!(
            f,
            "{}: {} taken in, {} known{removed}; experiment `{}` in {}",
            self.source,
            counted(self.done.added, "row"),
            self.done.known,
            self.experiment,
            self.results.display()
        )?;
        let mut left_out = self.left_out.iter();
        left_out
            .try_for_each(|(why, rows)| writeln!(f, "  left out: {}: {why}", counted(*rows, "row")))
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
    let mut left_out = BTreeMap::new();
    let done = if args.remove {
        crate::cli::block_on(remove(name, &source, &results))?
    } else {
        let selection = args.selection.read()?;
        let table = Table::read(&args.file)?.scaled(&selection)?;
        let ToImport {
            runs,
            whole,
            left_out: aside,
        } = table.to_import(&selection)?;
        left_out.extend(aside);
        crate::cli::block_on(async {
            let store = Store::create(&results).await?;
            let experiment = store.experiment_without_file(name, now()).await?;
            let done = store.import(experiment, &source, &runs, &whole, now());
            Ok(done.await?)
        })?
    };
    let report = Report {
        source,
        experiment: name.to_owned(),
        results,
        left_out,
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
        let nothing = BTreeSet::new();
        return Ok(store
            .import(experiment, source, &[], &nothing, now())
            .await?);
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
