//! The arguments that say how a law is fitted.

use super::Failure;
use clap::ValueEnum;
use experiment::quantity::Draws;
use scaling_law::analysis::{Policy, ResampledBy};
use scaling_law::fit::Objective;

/// The arguments that say how a law is fitted.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub(super) struct FittingArgs {
    /// What is minimised, summed over the residuals of the logarithm of the loss [default: the
    /// experiment's file, huber].
    #[arg(long, value_enum, help_heading = "Fitting")]
    objective: Option<Minimised>,

    /// Where Huber turns from quadratic to linear [default: the experiment's file, 1e-3].
    #[arg(long, value_name = "DELTA", help_heading = "Fitting")]
    delta: Option<f64>,

    /// How much runs above the law count, from 0 to 1: those whose recipe was not tuned lie there [default: 1].
    #[arg(long, value_name = "SHARE", help_heading = "Fitting")]
    above: Option<f64>,

    /// Refits of resampled runs behind the intervals; 0 for none [default: the experiment's file, 1000 when cheap].
    #[arg(long, value_name = "DRAWS", help_heading = "Fitting")]
    bootstrap: Option<Draws>,

    /// How a resample is made [default: pairs, or noise where there are fewer than eight settings a
    /// parameter].
    #[arg(long, value_enum, help_heading = "Fitting")]
    resampling: Option<Resampled>,

    /// Seed of the resamples [default: the experiment's file, 0].
    #[arg(long, help_heading = "Fitting")]
    seed: Option<u64>,

    /// Fit the law of a kind of models as it is written, also where the rows do not determine all of
    /// it.
    #[arg(long, help_heading = "Fitting")]
    whole: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Resampled {
    /// Runs are drawn with replacement.
    Pairs,
    /// Runs keep their settings; their residuals keep or change sign.
    Wild,
    /// Fitted losses get fresh noise. For grids so small that drawing runs loses whole settings.
    Noise,
}

impl FittingArgs {
    /// Says how laws are fitted: as is asked for, and else by `policy`.
    pub(super) fn policy(&self, policy: Policy) -> Result<Policy, Failure> {
        let objective = match (self.objective, self.delta) {
            (None | Some(Minimised::Huber), Some(delta)) if delta > 0.0 && delta.is_finite() => {
                Objective::Huber { delta }
            }
            (None | Some(Minimised::Huber), Some(delta)) => {
                return Err(Failure::input(format!(
                    "`--delta {delta}` must be above 0; it is a log residual, usually 1e-3"
                )));
            }
            (Some(_), Some(_)) => {
                return Err(Failure::input(
                    "`--delta` belongs to `--objective huber`: L1 and L2 have none",
                ));
            }
            (None, None) => policy.objective,
            (Some(Minimised::Huber), None) => Objective::default(),
            (Some(Minimised::L1), None) => Objective::L1,
            (Some(Minimised::L2), None) => Objective::L2,
        };
        let objective = match (objective, self.above) {
            (objective, None) => objective,
            (Objective::Huber { delta }, Some(above)) if above > 0.0 && above <= 1.0 => {
                Objective::Asymmetric { delta, above }
            }
            (Objective::Huber { .. }, Some(above)) => {
                return Err(Failure::input(format!(
                    "`--above {above}` must be above 0 and at most 1, as in --above 0.2"
                )));
            }
            _ => return Err(Failure::input("`--above` belongs to `--objective huber`")),
        };
        if self.above.is_some() && !matches!(self.resampling, None | Some(Resampled::Pairs)) {
            return Err(Failure::input(
                "`--above` goes with `--resampling pairs`: noise and signs are the same on both sides of a law, and most \
                 runs lie above this one",
            ));
        }
        Ok(Policy {
            objective,
            draws: self.bootstrap.map(Draws::get).or(policy.draws),
            resampling: match self.resampling {
                None => policy.resampling,
                Some(Resampled::Pairs) => Some(ResampledBy::Pairs),
                Some(Resampled::Wild) => Some(ResampledBy::Wild),
                Some(Resampled::Noise) => Some(ResampledBy::Noise),
            },
            seed: self.seed.unwrap_or(policy.seed),
            whole: self.whole,
        })
    }
}
