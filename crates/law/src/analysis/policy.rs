//! How laws are fitted: one set of defaults, whoever asks.

use crate::fit::{FitOptions, Objective};
use experiment::grid::Analysis;
use serde::{Deserialize, Serialize};

/// How laws are fitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// What is minimised.
    pub objective: Objective,
    /// Resamples behind every interval; `None` for as many as are cheap.
    pub draws: Option<usize>,
    /// How a resample is made; `None` leaves it to the rows.
    pub resampling: Option<ResampledBy>,
    /// Seed of the resamples.
    pub seed: u64,
    /// Whether a law is fitted as it is written, also where the rows do not determine all of it.
    pub whole: bool,
}

/// How a resample is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResampledBy {
    /// Runs are drawn with replacement.
    Pairs,
    /// Runs keep their settings; their residuals keep or change sign.
    Wild,
    /// Fitted losses get fresh noise. For grids so small that drawing runs loses whole settings.
    Noise,
}

impl From<&Analysis> for Policy {
    /// Takes over what an experiment's file says.
    fn from(settings: &Analysis) -> Self {
        Self {
            objective: Objective::Huber {
                delta: settings.huber_delta,
            },
            draws: Some(settings.bootstrap.get()),
            seed: settings.seed,
            ..Self::default()
        }
    }
}

/// Rows times parameters up to which 1,000 resamples are cheap, and up to which 200 are.
const CHEAP: [(usize, usize); 2] = [(20_000, 1000), (100_000, 200)];

/// Below this many settings a parameter, resampling runs would lose whole settings of the grid, and
/// losses are perturbed by their noise instead: with 7 a parameter the one holds the truth in 97 to 99.5%
/// of simulated grids, the other in 95 to 98% (`examples/coverage.rs`).
const SETTINGS_A_PARAMETER: usize = 8;

impl Policy {
    /// Chooses the estimator.
    pub(crate) fn options(&self) -> FitOptions {
        FitOptions {
            objective: self.objective,
            ..FitOptions::default()
        }
    }

    /// Returns how many resamples are made of a fit.
    pub(crate) fn draws(&self, rows: usize, parameters: usize) -> usize {
        self.draws.unwrap_or_else(|| {
            let cheap = CHEAP.iter().find(|(most, _)| rows * parameters <= *most);
            cheap.map_or(0, |(_, draws)| *draws)
        })
    }

    /// Chooses how a resample is made of rows with so many independent settings.
    pub(super) fn resampling(&self, settings: usize, parameters: usize) -> ResampledBy {
        // Noise is symmetric about a law; a law of the best recipes has most rows above it.
        let is_lower = matches!(self.objective, Objective::Asymmetric { .. });
        let few = settings < SETTINGS_A_PARAMETER * parameters && !is_lower;
        self.resampling.unwrap_or(if few {
            ResampledBy::Noise
        } else {
            ResampledBy::Pairs
        })
    }
}
