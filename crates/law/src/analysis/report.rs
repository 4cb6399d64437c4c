//! What is reported about a fitted law, or about why there is none.

use super::laws::LawForm;
use crate::fit::diagnostics::{DataRange, Side};
use crate::fit::{FitError, LawError, ObservationError};
use experiment::quantity::counted;
use experiment::run::RunId;
use serde::{Deserialize, Serialize};

/// A run that is not fitted, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The run.
    pub id: RunId,
    /// Why, in words.
    pub why: String,
}

/// A law that was fitted, or the reason why it was not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum LawOutcome {
    /// It was fitted.
    Fitted(Box<LawReport>),
    /// It was not.
    CannotFit {
        /// Why.
        why: CannotFit,
    },
}

impl LawOutcome {
    /// Returns the report, where there is one.
    pub fn report(&self) -> Option<&LawReport> {
        match self {
            Self::Fitted(report) => Some(report),
            Self::CannotFit { .. } => None,
        }
    }
}

/// Why a law cannot be fitted on these runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum CannotFit {
    /// There is nothing to fit.
    #[error("there are no finished {kind} runs")]
    NoRuns {
        /// `DLCM`, `dense` or `token-only`.
        kind: String,
    },
    /// The losses are of different data.
    #[error("the runs use {sets} different data sets, whose losses cannot be compared")]
    SeveralDataSets {
        /// How many.
        sets: usize,
    },
    /// Fewer settings than the smallest sensible form of the law needs.
    #[error("the {kind} runs have {} and the law needs {needed}", counted(*found, "different setting"))]
    TooFewRuns {
        /// `DLCM`, `dense` or `token-only`.
        kind: String,
        /// Settings there are; replicates count once.
        found: usize,
        /// Settings needed.
        needed: usize,
    },
    /// Too few different N.
    #[error("the {kind} runs have {} N on the same tokens and the law needs {needed}", counted(*found, "size"))]
    TooFewSizes {
        /// `DLCM`, `dense` or `token-only`.
        kind: String,
        /// Sizes there are.
        found: usize,
        /// Sizes needed.
        needed: usize,
    },
    /// With one P the token and concept terms cannot be told apart.
    #[error("every DLCM run has P = {share:.2}, so token and concept terms cannot be told apart")]
    OneShare {
        /// That P.
        share: f64,
    },
    /// The floor that a law without concepts would borrow contradicts its runs.
    #[error(
        "the {kind} runs are too few for an E of their own, and the DLCM law's, {level:.3}, is above \
         their lowest loss, {lowest:.3}"
    )]
    FloorAbove {
        /// `dense` or `token-only`.
        #[serde(default = "dense")]
        kind: String,
        /// The DLCM law's loss of an infinite model.
        level: f64,
        /// The lowest loss of these runs.
        lowest: f64,
    },
    /// The fit engine refused.
    #[error("{message}")]
    Refused {
        /// What it said.
        message: String,
    },
}

impl CannotFit {
    /// Says whether there was nothing to fit.
    pub fn is_no_runs(&self) -> bool {
        matches!(self, Self::NoRuns { .. })
    }
}

/// The kind of the runs in results of before there were others without concepts.
fn dense() -> String {
    "dense".to_owned()
}

macro_rules! refused {
    ($($error:ty),+) => {$(
        impl From<$error> for CannotFit {
            fn from(error: $error) -> Self {
                Self::Refused { message: error.to_string() }
            }
        }
    )+};
}

refused!(FitError, LawError, ObservationError);

/// A fitted law with everything needed to judge and redraw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LawReport {
    /// Which form was fitted, from which the law can be rebuilt.
    pub form: LawForm,
    /// Name of the law.
    pub law: String,
    /// Its equation in plain text.
    pub equation: String,
    /// Where it comes from.
    pub source: String,
    /// The one D on which it was fitted and holds; `None` when it knows what D does.
    pub at_tokens: Option<f64>,
    /// Its parameters.
    pub parameters: Vec<ParameterEstimate>,
    /// Runs that were fitted.
    pub runs: usize,
    /// Whether the minimisation ended in a minimum.
    pub converged: bool,
    /// Coefficient of determination on the loss; `None` when all losses are equal.
    pub r2: Option<f64>,
    /// Root mean square of ln(predicted/observed).
    pub rms_residual: f64,
    /// Runs beyond the number of parameters.
    pub freedom: usize,
    /// Where the intervals come from.
    pub uncertainty: Uncertainty,
    /// Resamples without a fit; they are in no interval.
    #[serde(default)]
    pub failed: usize,
    /// Starts of the minimisation.
    pub starts: usize,
    /// Starts that reached the reported minimum.
    pub starts_at_minimum: usize,
    /// Range of every input in the data.
    pub ranges: Vec<DataRange>,
    /// Observed and predicted loss of every fitted run.
    pub predicted: Vec<Predicted>,
    /// Usable runs that this law leaves out.
    pub left_out: Vec<LeftOut>,
    /// The runs of most compute, as a fit to the others predicts them; empty where the others are
    /// too few.
    #[serde(default)]
    pub held_out: Vec<Predicted>,
    /// Parameters of resampled laws, each in the order of `parameters`.
    #[serde(default)]
    pub draws: Vec<Vec<f64>>,
}

impl LawReport {
    /// Returns a parameter by name.
    pub fn parameter(&self, name: &str) -> Option<&ParameterEstimate> {
        self.parameters
            .iter()
            .find(|parameter| parameter.name == name)
    }
}

/// A parameter with its 95% interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParameterEstimate {
    /// Its name, as in the equation.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its value.
    pub value: f64,
    /// Central 95% of the resamples; `None` without resamples.
    pub interval: Option<[f64; 2]>,
    /// Standard deviation over the resamples; `None` without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// The bound it sits on, if it does.
    pub at_bound: Option<Side>,
    /// Why the data do not determine it, if they do not.
    pub unidentified: Option<String>,
}

/// A run's observed and predicted loss, nats per token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// The run.
    pub run: RunId,
    /// Its loss.
    pub observed: f64,
    /// The law's.
    pub predicted: f64,
}

/// Where intervals come from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Uncertainty {
    /// There are none.
    None,
    /// Runs drawn with replacement.
    Runs {
        /// Resamples.
        draws: usize,
    },
    /// Profiles of the objective, which take rows as independent.
    Profiles,
    /// Residuals that keep or change sign, run by run.
    Signs {
        /// Resamples.
        draws: usize,
    },
    /// Fitted losses with fresh noise, for grids so small that drawing runs loses whole settings.
    Noise {
        /// Resamples.
        draws: usize,
        /// Standard deviation of the noise on ln loss.
        sigma: f64,
        /// Where that is known from.
        source: NoiseSource,
    },
}

/// Where the scale of the noise is known from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum NoiseSource {
    /// Runs that differ in their seed alone.
    Replicates,
    /// What the fit leaves.
    Residuals {
        /// Runs beyond the number of parameters.
        freedom: usize,
    },
    /// What both laws' fits leave, for a law with hardly a run to spare.
    BothLaws,
}
