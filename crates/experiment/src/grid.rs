//! YAML text → a validated [`Experiment`].
//!
//! Owns the experiment file: its keys, units, axes, constraints and every message about them.
//! Refuses IO: text and the name to show it under come in, values go out.
//!
//! A file is read in four steps. `document` turns text into values with their places, `section`
//! turns values into checked assignments by the table of keys in `settings`, `expand` combines axes
//! and points into cells, and `check` refuses cells that cannot be run.

mod axes;
mod check;
mod claims;
mod combine;
mod constraint;
mod document;
mod draft;
mod expand;
mod external;
mod key;
mod places;
mod reference;
mod schema;
mod section;
mod settings;
mod source;

pub use external::{External, ExternalCell};
pub use reference::reference;
pub use schema::schema;
pub use source::{GridError, Location, Problem, Source};

use section::Declared;

use crate::architecture::ModelKind;
use crate::architecture::solver::ShapeSettings;
use crate::claims::Claim;
use crate::flops::Convention;
use crate::quantity::{Draws, Flops, Params, Seconds, TokenBudget};
use crate::recipe::Recipe;
use crate::run::{DataSpec, Evaluation, Execution};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A declared experiment: what to train, how to analyse it and how to carry it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Its name, that of its results too: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The models to train, each once: those of `grid`, then the baselines, then the controls.
    pub cells: Vec<Cell>,
    /// What another trainer is asked; there are no `cells` then.
    pub external: Option<External>,
    /// Whether cells that differ only in tokens and decay branch off one stable phase.
    pub branches: bool,
    /// How the learning rate of each family of models is found, before all else.
    pub tune: Tune,
    /// What runs are asked when they have been trained.
    pub evaluation: Evaluation,
    /// What the runs are to decide.
    pub claims: Vec<Claim>,
    /// How the laws are fitted and what they are asked.
    pub analysis: Analysis,
    /// How runs are carried out.
    pub execution: ExecutionSettings,
    /// The file it was read from.
    pub source: Arc<Source>,
}

/// How the learning rate of each family of models is found: dense models, controls and those of the
/// grid each have their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Tune {
    /// Base rates that are tried at the smallest width of each family; empty where none is looked for.
    pub learning_rate: Vec<f64>,
    /// Whether they are tried at the next larger width too, to see whether the best one stays the best.
    pub check: bool,
}

impl Default for Tune {
    fn default() -> Self {
        Self {
            learning_rate: Vec::new(),
            check: true,
        }
    }
}

/// How the laws are fitted and what they are asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Training FLOPs to allocate; `None` when the file does not say.
    pub budget: Option<f64>,
    /// How FLOPs are counted, there and in iso-FLOP cells.
    pub flops_convention: Convention,
    /// δ of the Huber loss on log residuals.
    pub huber_delta: f64,
    /// Resamples of runs behind every interval.
    pub bootstrap: Draws,
    /// Seed of the resampling and of the fit's starts.
    pub seed: u64,
    /// The law that is asked where none is named: a law's name, or a formula; `None` for that of the models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub law: Option<String>,
    /// What is to be known how well, as in `interval(concept_share) < 0.1`: until then `run` trains of the grid what
    /// narrows it most; `None` for all of the grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl Default for Analysis {
    fn default() -> Self {
        let flops_convention = Convention::default();
        Self {
            budget: None,
            flops_convention,
            huber_delta: 1e-3,
            bootstrap: Draws::from(1000),
            seed: 0,
            law: None,
            until: None,
        }
    }
}

/// How runs are carried out; their results do not depend on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutionSettings {
    /// The profile of the cluster where; `None` for this machine.
    pub on: Option<String>,
    /// Sequences in one forward pass, a divisor of every batch; `None` for the whole batch.
    pub micro_batch: Option<usize>,
    /// Time between two checkpoints of a run.
    pub checkpoint_every: Seconds,
    /// Threads of a run; `None` leaves it to the launcher.
    pub threads: Option<usize>,
    /// Runs at once; `None` leaves it to the launcher.
    pub parallel: Option<usize>,
    /// Runs at once on one device; `None` leaves it to the launcher.
    pub per_device: Option<usize>,
    /// Devices that a run of another trainer takes.
    pub devices_per_run: usize,
    /// Which of the runs that can start does.
    pub order: Order,
    /// How often a run that failed is tried again.
    pub retries: usize,
    /// Time before the first retry; each later one waits twice as long.
    pub back_off: Seconds,
    /// Time after which an attempt is ended; `None` for no limit.
    pub time_limit: Option<Seconds>,
    /// Time without a sign of life after which an attempt is killed.
    pub stall_limit: Seconds,
    /// Training FLOPs of all runs together beyond which none starts.
    pub max_flops: Option<f64>,
    /// Time after which no run starts.
    pub max_time: Option<Seconds>,
    /// Whether a run's weights are kept when it has finished.
    pub keep_weights: bool,
}

impl Default for ExecutionSettings {
    fn default() -> Self {
        Self {
            on: None,
            micro_batch: None,
            checkpoint_every: Seconds::from(Execution::CHECKPOINT_EVERY),
            threads: None,
            parallel: None,
            per_device: None,
            devices_per_run: 1,
            order: Order::Longest,
            retries: 2,
            back_off: Seconds::from(5),
            time_limit: None,
            stall_limit: Seconds::from(900),
            max_flops: None,
            max_time: None,
            keep_weights: true,
        }
    }
}

/// Which of the runs that can start does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The one with most to do, so that none is left alone at the end.
    Longest,
    /// The one with least to do, for first results early.
    Shortest,
    /// The one that the file asks for first.
    File,
}

/// What a cell trains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellKind {
    /// A hierarchical token/concept model.
    Dlcm {
        /// P, in (0, 1); `None` when the shape is explicit and P follows from it.
        concept_share: Option<f64>,
        /// R, above 1.
        compression_ratio: f64,
    },
    /// A dense baseline.
    Dense,
    /// A token level alone, a control.
    TokenOnly(ControlSize),
}

impl CellKind {
    /// Says which kind of model that is.
    pub fn model(self) -> ModelKind {
        match self {
            Self::Dlcm { .. } => ModelKind::Dlcm,
            Self::Dense => ModelKind::Dense,
            Self::TokenOnly(_) => ModelKind::TokenOnly,
        }
    }
}

/// Which token level a control is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlSize {
    /// That of a model of the grid, of N(1 − P) parameters or so: what the backbone adds to.
    Level {
        /// P of that model; `None` when its shape is explicit.
        concept_share: Option<f64>,
        /// Its R, from which its tokens may follow.
        compression_ratio: f64,
    },
    /// One of N parameters.
    Params,
}

/// How large a model is and how long it trains: two quantities, from which the third follows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// N and D.
    ParamsTokens(Params, TokenBudget),
    /// N and C: D is solved.
    ParamsFlops(Params, Flops),
    /// D and C: N is solved.
    TokensFlops(TokenBudget, Flops),
    /// An explicit shape, every width and depth in the shape settings, and D.
    ShapeTokens(TokenBudget),
    /// An explicit shape, every width and depth in the shape settings, and C: D is solved.
    ShapeFlops(Flops),
}

impl Size {
    /// N, where it is declared.
    pub fn params(self) -> Option<Params> {
        match self {
            Size::ParamsTokens(params, _) | Size::ParamsFlops(params, _) => Some(params),
            _ => None,
        }
    }

    /// D, where it is declared.
    pub fn tokens(self) -> Option<TokenBudget> {
        match self {
            Size::ParamsTokens(_, tokens)
            | Size::TokensFlops(tokens, _)
            | Size::ShapeTokens(tokens) => Some(tokens),
            _ => None,
        }
    }

    /// C, where it is declared.
    pub fn flops(self) -> Option<Flops> {
        match self {
            Size::ParamsFlops(_, flops) | Size::TokensFlops(_, flops) | Size::ShapeFlops(flops) => {
                Some(flops)
            }
            _ => None,
        }
    }

    /// Says whether the shape settings spell out the model.
    pub fn is_explicit_shape(self) -> bool {
        matches!(self, Size::ShapeTokens(_) | Size::ShapeFlops(_))
    }
}

/// One point of the grid: a model to train.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// What it trains, with P and R.
    pub kind: CellKind,
    /// N, D and C as far as they are declared.
    pub size: Size,
    /// Seed of initial weights, order of batches and boundary sampling.
    pub seed: u64,
    /// What is fixed of the shape.
    pub shape: ShapeSettings,
    /// Where tokens come from.
    pub data: DataSpec,
    /// How it is trained; its `tokens` are 0 until the cell is planned.
    pub recipe: Recipe,
    /// The values that make it this cell: names (`params`, `training.batch`) and values as written.
    pub axes: Vec<(String, String)>,
    /// Where it was declared: its point, or the value of its first axis.
    pub location: Location,
}

/// Reads an experiment from YAML text; errors call it `name`, a path as the user gave it.
///
/// # Errors
/// Everything that is wrong with it, each with its place and what would be right.
pub fn parse(name: &str, text: &str) -> Result<Experiment, GridError> {
    parse_with_overrides(name, text, &[])
}

/// Reads an experiment, with some values replaced: dotted paths (`data.text`) and YAML values.
///
/// # Errors
/// As [`parse`]; what is wrong with a replacement is shown in the replacement.
pub fn parse_with_overrides(
    name: &str,
    text: &str,
    overrides: &[(String, String)],
) -> Result<Experiment, GridError> {
    let (declared, source) = declared(name, text, overrides)?;
    let devices = declared.base.execution.devices_per_run;
    let (cells, external) = match &declared.external {
        Some(external) => (Vec::new(), Some(external::cells(external, devices)?)),
        None => (expand::cells(&declared)?, None),
    };
    Ok(Experiment {
        name: declared.name,
        cells,
        external,
        branches: declared.base.branches,
        tune: declared.base.tune,
        evaluation: declared.base.evaluation,
        claims: declared.claims,
        analysis: declared.base.analysis,
        execution: declared.base.execution,
        source,
    })
}

/// What messages call replacements.
const COMMAND_LINE: &str = "--set";

/// Reads an experiment's name alone: everything is as in [`parse_with_overrides`], except that no
/// cells are made, which takes longest.
///
/// # Errors
/// What is wrong with the file, but not with cells.
pub fn name_with_overrides(
    name: &str,
    text: &str,
    overrides: &[(String, String)],
) -> Result<String, GridError> {
    Ok(declared(name, text, overrides)?.0.name)
}

fn declared(
    name: &str,
    text: &str,
    overrides: &[(String, String)],
) -> Result<(Declared, Arc<Source>), GridError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Arc::new(Source::new(name, text));
    let mut root = document::read(&source, 0)?;
    section::require_mapping(&root)?;
    for (path, value) in overrides {
        let replacement = Arc::new(Source::new(COMMAND_LINE, &format!("{path}={value}")));
        let node = document::read(&replacement, path.len() + 1)?;
        let at = Location::new(&replacement, 0, path.len());
        root.set(&path.split('.').collect::<Vec<_>>(), &at, node)?;
    }
    Ok((section::read(&root, name)?, source))
}

/// Decodes a file's bytes as the UTF-8 text that [`parse`] takes.
///
/// # Errors
/// When they are no UTF-8 text; says at which byte.
pub fn decode(name: &str, bytes: Vec<u8>) -> Result<String, GridError> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Problem::new(format!(
            "{name}: byte {at} is not UTF-8: this is not a YAML text file"
        ))
        .help("an experiment is a text file in UTF-8, such as `experiments/quickstart.yaml`")
        .into()
    })
}

#[cfg(test)]
mod tests;
