//! The arguments that say how a law is fitted.

use super::Failure;
use crate::fit::{Objective, Resampling};
use crate::study::FitQuestion;
use clap::ValueEnum;

/// The arguments that say how a law is fitted.
#[derive(Debug, clap::Args)]
pub(super) struct FittingArgs {
    /// What is minimised, summed over the residuals of the logarithm of the loss.
    #[arg(
        long,
        value_enum,
        default_value = "huber",
        requires = "law",
        help_heading = "Fitting"
    )]
    objective: Minimised,

    /// Where Huber turns from quadratic to linear [default: 1e-3].
    #[arg(long, value_name = "DELTA", requires = "law", help_heading = "Fitting")]
    delta: Option<f64>,

    /// Refits of resampled runs behind the intervals; 0 for none [default: 1000 when cheap].
    #[arg(long, value_name = "DRAWS", requires = "law", help_heading = "Fitting")]
    bootstrap: Option<usize>,

    /// How runs are resampled.
    #[arg(
        long,
        value_enum,
        default_value = "pairs",
        requires = "law",
        help_heading = "Fitting"
    )]
    resampling: Resampled,

    /// Seed of the resamples.
    #[arg(long, default_value_t = 0, requires = "law", help_heading = "Fitting")]
    seed: u64,
}

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Minimised {
    /// Quadratic for small residuals, linear for large ones.
    Huber,
    /// Absolute residuals.
    L1,
    /// Squared residuals.
    L2,
}

/// How runs are resampled.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Resampled {
    /// Runs are drawn with replacement.
    Pairs,
    /// Runs keep their settings; their residuals keep or change sign. For few runs on a grid.
    Wild,
}

impl FittingArgs {
    /// Returns what is asked of the fit.
    pub(super) fn question(&self) -> Result<FitQuestion, Failure> {
        let objective = match (self.objective, self.delta) {
            (Minimised::Huber, None) => Objective::default(),
            (Minimised::Huber, Some(delta)) if delta > 0.0 && delta.is_finite() => {
                Objective::Huber { delta }
            }
            (Minimised::Huber, Some(delta)) => {
                return Err(Failure::input(format!(
                    "`--delta {delta}` must be above 0; it is a log residual, usually 1e-3"
                )));
            }
            (_, Some(_)) => {
                return Err(Failure::input(
                    "`--delta` belongs to `--objective huber`: L1 and L2 have none",
                ));
            }
            (Minimised::L1, None) => Objective::L1,
            (Minimised::L2, None) => Objective::L2,
        };
        Ok(FitQuestion {
            objective,
            draws: self.bootstrap,
            resampling: match self.resampling {
                Resampled::Pairs => Resampling::Pairs,
                Resampled::Wild => Resampling::Wild,
            },
            seed: self.seed,
            ..FitQuestion::default()
        })
    }
}
