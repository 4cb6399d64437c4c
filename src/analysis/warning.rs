//! What a reader must know before believing a result, as values that say themselves in words.

use super::shapes::Proportion;
use crate::fit::diagnostics::Warning as FitWarning;
use crate::quantity::human;
use crate::run::RunId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that limits what the results mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warning {
    /// Runs that are not fitted.
    LeftOut {
        /// How many.
        runs: usize,
        /// Of how many.
        of: usize,
    },
    /// The runs were not trained and measured on the same tokens.
    SeveralDataSets {
        /// How many different data sets.
        sets: usize,
    },
    /// An axis that the laws know nothing of was varied.
    OtherAxis {
        /// The axis.
        axis: String,
        /// How many values it takes.
        values: usize,
    },
    /// A loss below the entropy of the data: a leak until proven otherwise.
    BelowFloor {
        /// The run.
        run: RunId,
        /// Its loss, nats per token.
        loss: f64,
        /// The entropy, nats per token.
        floor: f64,
    },
    /// Removing the concepts changes the loss by no more than noise.
    UnusedConcepts {
        /// Runs in which it does not.
        runs: usize,
        /// Runs in which it was measured.
        of: usize,
        /// Median gain, nats per token.
        median: f64,
        /// Standard deviation of the loss between seeds, nats per token.
        noise: f64,
    },
    /// Realised R is not what was declared.
    RatioOff {
        /// Runs off by more than 2%.
        runs: usize,
        /// DLCM runs.
        of: usize,
        /// Declared R of the worst.
        declared: f64,
        /// Its realised R.
        realised: f64,
    },
    /// Over its training, R was not what was declared: a run's own FLOPs are off the plan.
    TrainingRatioOff {
        /// Runs off by more than 5%.
        runs: usize,
        /// DLCM runs.
        of: usize,
        /// Declared R of the worst.
        declared: f64,
        /// Its R over the whole training.
        realised: f64,
    },
    /// Training tokens were seen more than once.
    Repeats {
        /// The largest number of passes.
        epochs: f64,
    },
    /// N and D move together, so the law cannot tell them apart.
    SizesMoveTogether {
        /// The law.
        law: String,
    },
    /// Fewer runs than a fit needs in order to be checked.
    Stretched {
        /// The law.
        law: String,
        /// Runs.
        runs: usize,
        /// Parameters.
        parameters: usize,
    },
    /// Shapes explain more of what a law leaves than noise between seeds does.
    Shapes {
        /// The law.
        law: String,
        /// The proportions that explain most, the strongest first.
        proportions: Vec<Proportion>,
        /// What they explain, a standard deviation of ln loss.
        explained: f64,
        /// Noise, a standard deviation of ln loss.
        noise: f64,
        /// Whether the noise is that between seeds; else it is what is left unexplained.
        from_seeds: bool,
    },
    /// The minimisation did not end in a minimum.
    NotConverged {
        /// The law.
        law: String,
    },
    /// Runs at other D are left out because they are too few to fit what D does.
    OneTokenCount {
        /// The law.
        law: String,
        /// The D that is kept.
        tokens: f64,
        /// Runs left out.
        left_out: usize,
    },
    /// What the fit engine found.
    Fit {
        /// The law.
        law: String,
        /// Its warning.
        warning: FitWarning,
    },
}

impl Warning {
    /// Says whether results must not be read without it.
    pub fn is_loud(&self) -> bool {
        match self {
            Self::UnusedConcepts { runs, of, .. } | Self::TrainingRatioOff { runs, of, .. } => {
                2 * runs >= *of
            }
            Self::SeveralDataSets { .. }
            | Self::OtherAxis { .. }
            | Self::BelowFloor { .. }
            | Self::SizesMoveTogether { .. }
            | Self::Shapes { .. }
            | Self::NotConverged { .. } => true,
            Self::Fit { warning, .. } => matches!(
                warning,
                FitWarning::Rises { .. }
                    | FitWarning::LooksLikeBits { .. }
                    | FitWarning::LooksLikePerplexity { .. }
                    | FitWarning::Duplicates { .. }
            ),
            _ => false,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut { runs, of } => write!(f, "{runs} of {of} runs are not fitted"),
            Self::SeveralDataSets { sets } => write!(
                f,
                "the runs use {sets} different data sets: their losses cannot be compared"
            ),
            Self::OtherAxis { axis, values } => write!(
                f,
                "`{axis}` takes {values} values, which the laws know nothing of: its effect counts \
                 as noise"
            ),
            Self::BelowFloor { run, loss, floor } => write!(
                f,
                "run {run} has a loss of {loss:.4}, below the data's entropy of {floor:.4}: a leak \
                 until proven otherwise"
            ),
            Self::UnusedConcepts {
                runs,
                of,
                median,
                noise,
            } => write!(
                f,
                "in {runs} of {of} runs the loss without concepts is within noise of the loss with \
                 them (median gain {median:.3}, noise {noise:.3} nats/token): the concept term, and \
                 so P and R, are not identified by such runs"
            ),
            Self::RatioOff {
                runs,
                of,
                declared,
                realised,
            } => write!(
                f,
                "realised R is more than 2% off the declared one in {runs} of {of} runs (worst: \
                 {declared} declared, {realised:.2} realised); the laws, and the \
                 FLOPs of allocations, use realised R"
            ),
            Self::TrainingRatioOff {
                runs,
                of,
                declared,
                realised,
            } => write!(
                f,
                "over the whole training R is more than 5% off the declared one in {runs} of {of} \
                 runs (worst: {declared} declared, {realised:.2} realised): their own FLOPs are off \
                 the plan"
            ),
            Self::Repeats { epochs } => write!(
                f,
                "training tokens repeat ({epochs:.1} passes at most): D counts repeats as if they \
                 were new"
            ),
            Self::SizesMoveTogether { law } => write!(
                f,
                "{law}: N and D move together in these runs, so how to divide a budget between them \
                 cannot be told"
            ),
            Self::Stretched {
                law,
                runs,
                parameters,
            } => {
                write!(
                    f,
                    "{law}: {runs} runs for {parameters} parameters leave little to check it"
                )
            }
            Self::Shapes {
                law,
                proportions,
                explained,
                noise,
                from_seeds,
            } => {
                let names: Vec<String> = proportions.iter().map(Proportion::to_string).collect();
                write!(
                    f,
                    "{law}: shapes explain more of what it leaves than {} ({:.1}% against {:.1}% of \
                     the loss; by {}): part of what it says of N and P is an effect of shapes; \
                     `orchestrator plan` shows how they stray",
                    if *from_seeds {
                        "seeds do"
                    } else {
                        "is left unexplained"
                    },
                    100.0 * explained,
                    100.0 * noise,
                    names.join(", "),
                )
            }
            Self::NotConverged { law } => {
                write!(f, "{law}: the fit did not converge; do not use it")
            }
            Self::OneTokenCount {
                law,
                tokens,
                left_out,
            } => write!(
                f,
                "{law}: fitted at D = {} only, too few other D for a data term; {left_out} runs at \
                 other D left out",
                human(*tokens)
            ),
            Self::Fit { law, warning } => write!(f, "{law}: {warning}"),
        }
    }
}
