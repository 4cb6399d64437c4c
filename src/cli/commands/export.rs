//! `orchestrator export`: an experiment's numbers, or a run's weights, for other programs.

use crate::application::Place;
use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::experiment::ExperimentArgs;
use crate::cli::find_run::find_run;
use crate::cli::terminal::note;
use clap::{ArgGroup, ValueEnum};
use experiment::folder::TOKENIZER;
use experiment::run::RunId;
use report::export::{ExportError, Format, TableFormat};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trainer::inference::read_spec;
use trainer::train::TrainError;
use trainer::train::export::{export, tokenizer};

/// Write an experiment's numbers, or a run's weights, for other programs.
///
/// With --format: everything that was measured, tried and fitted, as tables (CSV or Parquet), one
/// JSON document, event files for TensorBoard, or files that scripts/wandb_import.py takes to Weights
/// & Biases. docs/exports.md says what each file holds, with units. What is missing stays missing.
///
/// With --database: a copy of the database as one file, whole as it stands at one moment, also while runs
/// go on.
///
/// With --safetensors: a run's weights, with what is needed to use them elsewhere, and its tokenizer
/// beside them as tokenizer.json; docs/weights.md says how. A run without final weights gives those of
/// its newest checkpoint.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("what").required(true).args(["format", "safetensors", "database"])))]
#[command(after_help = "Examples:\n  \
    orchestrator export experiments/quickstart.yaml --format parquet\n  \
    orchestrator export experiments/quickstart.yaml --format tensorboard --output logs\n  \
    orchestrator export experiments/quickstart.yaml --database copy.db\n  \
    orchestrator export 3f2a --safetensors model.safetensors")]
pub(in crate::cli) struct Args {
    /// With --format or --database, an experiment: its file (YAML), its results folder, or its name. With
    /// --safetensors, a run: its id, the beginning of it, or its folder.
    #[arg(value_name = "EXPERIMENT|RUN")]
    subject: PathBuf,

    /// The form in which an experiment's numbers are written.
    #[arg(long, value_enum)]
    format: Option<FormatName>,

    /// The folder to write to [default: export/FORMAT in the results folder].
    #[arg(long, value_name = "DIR", conflicts_with_all = ["safetensors", "database"])]
    output: Option<PathBuf>,

    /// Override a value of the experiment's file, as in `name=other`.
    #[arg(
        long = "set",
        value_name = "PATH=VALUE",
        conflicts_with = "safetensors"
    )]
    overrides: Vec<String>,

    /// The file to write a run's weights to.
    #[arg(long, value_name = "FILE")]
    safetensors: Option<PathBuf>,

    /// The file to write a copy of the whole database to.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,

    /// Results folder [default: results/NAME for an experiment; every folder below results/ is
    /// looked through for a run].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,

    /// Print JSON: an object whose `files` array holds what was written; of weights the
    /// run, step, file and tokenizer.
    #[arg(long)]
    json: bool,
}

/// What was written.
#[derive(serde::Serialize)]
struct Written {
    folder: PathBuf,
    files: Vec<PathBuf>,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.files.len() {
            0..=FEW => self
                .files
                .iter()
                .try_for_each(|file| writeln!(f, "{}", file.display())),
            many => writeln!(f, "{many} files in {}", self.folder.display()),
        }
    }
}

/// Weights that were written.
#[derive(serde::Serialize)]
struct Weights {
    run: RunId,
    step: u64,
    file: PathBuf,
    /// Beside it; `None` where tokens are bytes or no text.
    tokenizer: Option<PathBuf>,
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "run {}, step {}: {}",
            self.run,
            self.step,
            self.file.display()
        )?;
        match &self.tokenizer {
            Some(tokenizer) => writeln!(f, "tokenizer: {}", tokenizer.display()),
            None => Ok(()),
        }
    }
}

/// Files that are listed one by one: the tables.
const FEW: usize = 5;

/// The form in which numbers are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatName {
    /// Five tables as text: runs, measurements, attempts, scores, fits.
    Csv,
    /// The same tables as Apache Parquet.
    Parquet,
    /// One document.
    Json,
    /// Event files, a folder a run.
    Tensorboard,
    /// JSON lines, a file a run.
    Wandb,
}

impl FormatName {
    fn folder(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Json => "json",
            Self::Tensorboard => "tensorboard",
            Self::Wandb => "wandb",
        }
    }
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Csv => Self::Table(TableFormat::Csv),
            FormatName::Parquet => Self::Table(TableFormat::Parquet),
            FormatName::Json => Self::Json,
            FormatName::Tensorboard => Self::Tensorboard,
            FormatName::Wandb => Self::Wandb,
        }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => error.into(),
            ExportError::Report(error) => Self::input(error),
        }
    }
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    match (&args.format, &args.safetensors, &args.database) {
        (Some(format), ..) => numbers(args, *format),
        (_, Some(file), _) => weights(args, file),
        (.., Some(file)) => database(args, file),
        (None, None, None) => Err(Failure::input("give --format, --database or --safetensors")),
    }
}

fn place(args: &Args) -> Result<Place, Failure> {
    let experiment = ExperimentArgs {
        file: args.subject.clone(),
        overrides: args.overrides.clone(),
        results: args.results.clone(),
    };
    experiment.place()
}

fn database(args: &Args, file: &Path) -> Result<ExitCode, Failure> {
    let place = place(args)?;
    writable(args, file, "--database copy.db")?;
    // In place of a file that is there only when it is whole.
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let failed = |error| Failure::machine(format!("cannot write {}: {error}", file.display()));
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    crate::cli::block_on(async {
        let store = crate::cli::open_to_read(&place.results).await?;
        Ok(store.copy_to(&temporary).await?)
    })?;
    std::fs::rename(&temporary, file).map_err(failed)?;
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let files = vec![file.to_owned()];
    answer(&Written { folder, files }, args.json)
}

/// Refuses a file that is a folder, or is there already.
fn writable(args: &Args, file: &Path, example: &str) -> Result<(), Failure> {
    if file.is_dir() || file.file_name().is_none() {
        return Err(Failure::input(format!(
            "{} is a folder: give the file to write, as in {example}",
            file.display()
        )));
    }
    if file.exists() && !args.force {
        return Err(Failure::input(format!(
            "{} exists: give another name, or --force to replace it",
            file.display()
        )));
    }
    Ok(())
}

fn numbers(args: &Args, format: FormatName) -> Result<ExitCode, Failure> {
    let place = place(args)?;
    if let Some(folder) = &args.output
        && !args.force
    {
        refuse_used(folder)?;
    }
    let (folder, files) = crate::cli::block_on(async {
        let store = crate::cli::open_to_read(&place.results).await?;
        let (id, _) = place.find(&store).await?;
        let folder = match &args.output {
            Some(folder) => folder.clone(),
            None => {
                let outputs = store.outputs(&place.results, id).await?;
                outputs.join("export").join(format.folder())
            }
        };
        let files = report::export::export(&store, id, format.into(), &folder).await?;
        Ok((folder, files))
    })?;
    if files.is_empty() {
        note!("warning: no run has been measured yet: nothing is written");
    }
    answer(&Written { folder, files }, args.json)
}

/// Refuses a folder with something in it, which is not ours to replace.
fn refuse_used(folder: &Path) -> Result<(), Failure> {
    if folder.is_file() {
        return Err(Failure::input(format!(
            "{} is a file: --output takes a folder",
            folder.display()
        )));
    }
    let used = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if used {
        return Err(Failure::input(format!(
            "{} is not empty: give another folder, or --force to replace files of the same names in \
             it",
            folder.display()
        )));
    }
    Ok(())
}

fn weights(args: &Args, file: &Path) -> Result<ExitCode, Failure> {
    let subject = args.subject.display().to_string();
    if args.subject.is_file() {
        return Err(Failure::input(format!(
            "{subject} is a file, and --safetensors writes the weights of one run: name the run, or \
             write the experiment's numbers with --format"
        )));
    }
    let folder = find_run(&subject, args.results.as_deref())?;
    writable(args, file, "--safetensors model.safetensors")?;
    let spec = read_spec(&folder)?;
    let beside = file.with_file_name(TOKENIZER);
    let own = tokenizer(&folder);
    if let Some(own) = &own
        && !args.force
        && std::fs::read(&beside).is_ok_and(|other| other != *own)
    {
        return Err(Failure::input(format!(
            "{} exists and is another run's tokenizer: give a file in another folder, or --force to \
             replace it",
            beside.display()
        )));
    }
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
        note!(
            "warning: run {} has no final weights; these are of its newest checkpoint, after {} of \
             {steps} steps",
            spec.id(),
            progress.step
        );
    }
    let weights = Weights {
        run: spec.id(),
        step: progress.step,
        file: file.to_owned(),
        tokenizer: own.map(|_| beside),
    };
    answer(&weights, args.json)
}
