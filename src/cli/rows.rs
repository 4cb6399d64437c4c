//! The arguments that name rows of runs: an experiment or a file, and which of its rows are meant.

use super::Failure;
use super::experiment::ExperimentArgs;
use super::fitted::pair;
use super::terminal::note;
use crate::application::Asked;
use crate::rows::{LossUnit, Scale, Selection, Table};
use campaign::store::{Store, StoreError};
use clap::ValueEnum;
use experiment::clock::now;
use scaling_law::fit::law::{Law, by_name};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The arguments that name rows of runs.
#[derive(Debug, clap::Args)]
pub(super) struct RowsArgs {
    /// An experiment: its file (YAML), its results folder, or its name.
    #[arg(value_name = "EXPERIMENT", conflicts_with = "csv")]
    pub(super) experiment: Option<PathBuf>,

    /// Override a value of the file: a dotted path and a YAML value, as in `data.text=my.txt`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    overrides: Vec<String>,

    /// Results folder [default: results/NAME, NAME being the experiment's].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,

    /// Anybody's runs instead: a table (CSV, JSON lines or Parquet, compressed or not), `-` for standard
    /// input, or a pattern in quotes that names one file a run.
    #[arg(long, value_name = "FILE", help_heading = "Rows")]
    pub(super) csv: Option<PathBuf>,

    #[command(flatten)]
    selection: SelectionArgs,
}

/// The arguments that say which rows and columns of a table are meant.
#[derive(Debug, clap::Args)]
pub(super) struct SelectionArgs {
    /// What a column that laws read is called in the file, as in `params=n_params`.
    #[arg(long = "column", value_name = "STANDARD=THEIRS", help_heading = "Rows")]
    columns: Vec<String>,

    /// Keep only rows for which this holds, as in 'used=true' or 'params < 1e9 and split=train'; names
    /// that are no plain word stand between backticks.
    #[arg(long = "where", value_name = "EXPRESSION", help_heading = "Rows")]
    filters: Vec<String>,

    /// The unit of a column, by its name or the laws': a factor, or log10 or ln where it holds
    /// logarithms, as in `flops=1e9` for GFLOPs.
    #[arg(long = "scale", value_name = "COLUMN=FACTOR", help_heading = "Rows")]
    scales: Vec<String>,

    /// Keep of every setting only the rows with the best value of this column, as in `lr`: that of the
    /// lowest mean loss.
    #[arg(long = "best-of", value_name = "COLUMN", help_heading = "Rows")]
    best_of: Vec<String>,

    /// What laws are of in place of the loss: a score of the runs that were evaluated, as in
    /// `TASK.bits_per_byte`, or a column of the table.
    #[arg(long, value_name = "SCORE", help_heading = "Rows")]
    target: Option<String>,

    /// Column that names the runs: rows of one run stay together [default: run, if there is one].
    #[arg(long, value_name = "COLUMN", help_heading = "Rows")]
    group: Option<String>,

    /// Column of weights: a row of weight 2 counts as two.
    #[arg(long, value_name = "COLUMN", help_heading = "Rows")]
    weight: Option<String>,

    /// What losses are counted in, per token.
    #[arg(long, value_enum, default_value = "nats", help_heading = "Rows")]
    loss_unit: Unit,

    /// Compute missing tokens as flops/(6·params).
    #[arg(long, help_heading = "Rows")]
    tokens_from_flops: bool,
}

/// What losses are counted in.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unit {
    /// Natural logarithms.
    Nats,
    /// Logarithms to base 2.
    Bits,
}

/// Where an experiment is stored.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) results: PathBuf,
    pub(super) experiment: String,
    /// The table whose fits it holds, where it is not an experiment of its own.
    table: Option<PathBuf>,
}

impl Home {
    /// Finds the experiment that keeps fits, or records it; says so where it has another name than its
    /// table.
    pub(super) async fn find(&self, store: &Store) -> Result<i64, StoreError> {
        let Some(table) = &self.table else {
            return store.experiment_without_file(&self.experiment, now()).await;
        };
        let found = store.experiment_of_table(&self.experiment, table, now());
        let (id, name) = found.await?;
        if name != self.experiment {
            note!(
                "{} keeps fits of another table as `{}`: those of {} are kept as `{name}`",
                self.results.display(),
                self.experiment,
                table.display()
            );
        }
        Ok(id)
    }
}

/// What is asked about the rows that were named, and where answers are stored.
pub(super) struct Source {
    pub(super) asked: Asked,
    pub(super) home: Home,
}

impl RowsArgs {
    /// Writes a table's argument as hints on a command line do; `None` of an experiment.
    pub(super) fn table(&self) -> Option<String> {
        let path = self.csv.as_ref()?.display().to_string();
        Some(if path.contains([' ', '*', '?', '[', '\'']) {
            format!("--csv '{}'", path.replace('\'', "'\\''"))
        } else {
            format!("--csv {path}")
        })
    }

    /// Names what laws are of in place of the loss, where they are.
    pub(super) fn target(&self) -> Option<&str> {
        self.selection.target.as_deref()
    }

    /// Says whether rows are named at all.
    pub(super) fn are_given(&self) -> bool {
        self.experiment.is_some() || self.csv.is_some()
    }

    /// Says whether an experiment's rows are meant as they are stored: nothing chooses among them, reads
    /// them otherwise or changes what its file says.
    pub(super) fn are_as_stored(&self) -> Result<bool, Failure> {
        let chosen = self.selection.read()? != Selection::default();
        Ok(self.csv.is_none() && self.overrides.is_empty() && !chosen)
    }

    /// Returns the arguments that name an experiment by its file.
    pub(super) fn experiment_args(&self) -> Result<ExperimentArgs, Failure> {
        let file = self.experiment.clone().ok_or_else(|| {
            Failure::input(
                "name what to fit: an experiment, as in `orchestrator fit experiment.yaml`, or \
                 anybody's runs with a law, as in `orchestrator fit --csv runs.csv --law chinchilla`",
            )
        })?;
        Ok(ExperimentArgs {
            file,
            overrides: self.overrides.clone(),
            results: self.results.clone(),
        })
    }

    /// Reads the rows that are named: of a file of runs, or of an experiment, with what its own file
    /// says of their analysis.
    pub(super) fn load(&self) -> Result<Source, Failure> {
        let selection = self.selection.read()?;
        if let Some(path) = &self.csv {
            return Ok(Source {
                asked: Asked::of_table(Table::read(path)?.scaled(&selection)?, selection),
                home: self.home_of(path),
            });
        }
        let args = self.experiment_args()?;
        let place = args.place()?;
        let file = match args.file.is_file() {
            true => Some(args.load()?.experiment),
            false if self.overrides.is_empty() => None,
            false => {
                return Err(Failure::input(format!(
                    "`{}` is where an experiment is stored: --set changes what its file says, so give \
                     that",
                    args.file.display()
                )));
            }
        };
        super::block_on(async {
            let store = super::open_to_read(&place.results).await?;
            let (id, name) = place.find(&store).await?;
            let asked = Asked::of_experiment(&store, id, &name, file.as_ref(), selection).await?;
            Ok(Source {
                asked,
                home: Home {
                    results: place.results,
                    experiment: name,
                    table: None,
                },
            })
        })
    }

    /// Fits of a file are stored as those of an experiment of its name; of several files that of their
    /// folder.
    fn home_of(&self, path: &Path) -> Home {
        let is_pattern = |name: &str| name.contains(['*', '?', '[']);
        let mut named = path.ancestors().filter_map(Path::file_stem);
        let plain = named.find(|name| !is_pattern(&name.to_string_lossy()));
        let stem = match plain.unwrap_or_default().to_string_lossy() {
            stem if stem.is_empty() || stem == "-" => "table".into(),
            stem => stem,
        };
        let folder = || Path::new("results").join(stem.as_ref());
        Home {
            results: self.results.clone().unwrap_or_else(folder),
            experiment: stem.into_owned(),
            // A pattern is no file that there is.
            table: Some(
                path.canonicalize()
                    .or_else(|_| std::path::absolute(path))
                    .unwrap_or_else(|_| path.to_owned()),
            ),
        }
    }
}

impl SelectionArgs {
    /// Reads the arguments.
    pub(super) fn read(&self) -> Result<Selection, Failure> {
        let columns = self.columns.iter().map(|given| {
            let pair = given
                .split_once('=')
                .filter(|(a, b)| !a.is_empty() && !b.is_empty());
            pair.map(|(standard, theirs)| (standard.trim().to_owned(), theirs.trim().to_owned()))
                .ok_or_else(|| {
                    Failure::input(format!(
                        "`--column {given}`: write the law's name and the file's, as in --column \
                         params=n_params"
                    ))
                })
        });
        let scales = self.scales.iter().map(|given| {
            let (column, scale) = pair("--scale", given)?;
            let scale: Scale = scale
                .parse()
                .map_err(|error| Failure::input(format!("`--scale {given}`: {error}")))?;
            Ok((column.to_owned(), scale))
        });
        Ok(Selection {
            scales: scales.collect::<Result<_, Failure>>()?,
            best_of: self.best_of.clone(),
            target: self.target.clone(),
            columns: columns.collect::<Result<_, _>>()?,
            filters: self.filters.clone(),
            group: self.group.clone(),
            weight: self.weight.clone(),
            loss_unit: match self.loss_unit {
                Unit::Nats => LossUnit::Nats,
                Unit::Bits => LossUnit::Bits,
            },
            tokens_from_flops: self.tokens_from_flops,
        })
    }
}

/// Finds a law.
pub(super) fn law(name: &str) -> Result<Arc<dyn Law>, Failure> {
    by_name(name).map_err(Failure::input)
}
