//! What a reader must know before believing a result, as values that say themselves in words.

use super::shapes::Proportion;
use crate::fit::allocation::Variable;
use crate::fit::diagnostics::{Extrapolation, Warning as FitWarning};
use experiment::run::RunId;
use serde::{Deserialize, Serialize, Serializer};

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
    /// Sizes that no language model has: a unit was missed.
    NoModel {
        /// `params` or `tokens`.
        column: String,
        /// Smallest value.
        lowest: f64,
        /// Largest value.
        highest: f64,
    },
    /// FLOPs that cannot be those of the rows' N and D: a unit was missed.
    FlopsUnit {
        /// Median of FLOPs over 6·N·D.
        ratio: f64,
        /// The unit that they may be in.
        unit: Option<String>,
        /// What `--scale flops=` takes to mend it.
        scale: Option<String>,
    },
    /// A law predicts the rows no better than their mean loss does.
    DescribesNothing {
        /// The law.
        law: String,
        /// Coefficient of determination.
        r2: f64,
    },
    /// Where a law has the lowest loss, the runs have another, lower one.
    OrderOfShares {
        /// Settings of N, D and R in which that is so.
        groups: usize,
        /// Settings that were run at two P or more.
        of: usize,
        /// P of the lowest loss that was measured, the median over those settings.
        measured: f64,
        /// P of the lowest loss by the law, likewise.
        predicted: f64,
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
    /// A single start reached the minimum.
    OneStart {
        /// The law.
        law: String,
        /// Starts that reached it.
        at_minimum: usize,
        /// Starts that were followed.
        starts: usize,
    },
    /// Parameters that the rows do not determine.
    Unidentified {
        /// The law.
        law: String,
        /// Their names.
        parameters: Vec<String>,
    },
    /// A parameter sits on its bound.
    AtBound {
        /// The law.
        law: String,
        /// The parameter.
        parameter: String,
        /// The bound.
        value: f64,
    },
    /// Successive residuals go together.
    NotIndependent {
        /// The law.
        law: String,
    },
    /// Residuals still follow a column.
    Trend {
        /// The law.
        law: String,
        /// The column.
        column: String,
        /// Change of the log residual per e-fold of it.
        slope: f64,
    },
    /// Nothing says how sure a law is.
    NoResamples {
        /// The law.
        law: String,
    },
    /// Intervals are from signs of residuals of a narrow objective, which holds many rows fast, or of rows that vary
    /// together.
    NarrowSigns {
        /// The law.
        law: String,
    },
    /// Other choices of the objective or of the rows lead elsewhere.
    ConclusionMoves {
        /// The law.
        law: String,
    },
    /// Too many rows for refits under other choices.
    NotChecked {
        /// Rows.
        rows: usize,
    },
    /// What was read, derived or left aside in a table.
    Rows {
        /// What.
        text: String,
    },
    /// A place lies outside the data.
    Extrapolated {
        /// Whose, such as `dense, `; empty for the law that was asked for.
        whose: String,
        /// The quantity and how far.
        #[serde(flatten)]
        far: Extrapolation,
    },
    /// Some of the places lie outside the data.
    ExtrapolatedPlaces {
        /// How many.
        places: usize,
        /// Of how many.
        of: usize,
    },
    /// An optimum lies on a bound of what was searched.
    ActiveBound {
        /// The quantity.
        variable: String,
        /// The bound.
        value: f64,
    },
    /// P or R is not determined: the optimum's interval covers most of what was searched.
    Undetermined {
        /// The quantities.
        variables: Vec<String>,
    },
    /// D is held, since runs at one D cannot tell how to divide a budget between N and D.
    HeldTokens {
        /// D.
        tokens: f64,
    },
    /// Parameters were stated: nothing says where data end.
    StatedParameters,
    /// There is no law to compare with.
    NoSaving {
        /// Why.
        why: String,
    },
    /// Exact FLOPs are those of assumed models.
    AssumedShapes {
        /// What is assumed, in words.
        assumed: String,
    },
    /// The experiment's file cannot be read by this version.
    UnreadFile,
    /// Every run has one value of a column: no resample knows what is not known of it.
    OneValue {
        /// The column.
        column: String,
    },
    /// No further run would narrow the optimum.
    NoMoreRuns,
    /// Two laws predict equally well.
    NoDifference {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// Whether the difference was held against the noise between seeds.
        by_seeds: bool,
    },
    /// A test of a law could not be made.
    Problem {
        /// The law.
        law: String,
        /// Why.
        problem: String,
    },
    /// What is known to be wrong with a method.
    KnownBias {
        /// What.
        text: String,
    },
}

/// How much a warning matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The result may mean nothing: said before it.
    Void,
    /// Results must not be read without it.
    Loud,
    /// Worth a line.
    Note,
    /// Stands with the parameters already.
    Detail,
}

impl Warning {
    /// Says how much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::UnusedConcepts { runs, of, .. } | Self::TrainingRatioOff { runs, of, .. }
                if 2 * runs < *of =>
            {
                Severity::Note
            }
            Self::DescribesNothing { .. }
            | Self::NoModel { .. }
            | Self::Fit {
                warning: FitWarning::Rises { .. } | FitWarning::RisesAlong { .. },
                ..
            } => Severity::Void,
            Self::UnusedConcepts { .. }
            | Self::FlopsUnit { .. }
            | Self::TrainingRatioOff { .. }
            | Self::SeveralDataSets { .. }
            | Self::OtherAxis { .. }
            | Self::BelowFloor { .. }
            | Self::SizesMoveTogether { .. }
            | Self::Shapes { .. }
            | Self::OrderOfShares { .. }
            | Self::NotConverged { .. }
            | Self::ConclusionMoves { .. }
            | Self::Extrapolated { .. }
            | Self::ExtrapolatedPlaces { .. }
            | Self::UnreadFile => Severity::Loud,
            Self::Fit { warning, .. } => match warning {
                FitWarning::LooksLikeBits { .. }
                | FitWarning::LooksLikePerplexity { .. }
                | FitWarning::Duplicates { .. } => Severity::Loud,
                FitWarning::SingleValued { .. } => Severity::Detail,
                _ => Severity::Note,
            },
            Self::Unidentified { .. }
            | Self::AtBound { .. }
            | Self::OneStart { .. }
            | Self::NoResamples { .. }
            | Self::Trend { .. }
            | Self::NotIndependent { .. } => Severity::Detail,
            _ => Severity::Note,
        }
    }

    /// Says what no law tells because of it, whatever its intervals are.
    pub(crate) fn leaves_open(&self) -> &'static [Variable] {
        const BOTH: [Variable; 2] = [Variable::ConceptShare, Variable::CompressionRatio];
        match self {
            Self::UnusedConcepts { .. } if self.is_loud() => &BOTH,
            Self::OrderOfShares { .. } => &BOTH[..1],
            _ => &[],
        }
    }

    /// Says whether results must not be read without it.
    pub fn is_loud(&self) -> bool {
        self.severity() <= Severity::Loud
    }

    /// Says whether the result may mean nothing.
    pub fn is_void(&self) -> bool {
        self.severity() == Severity::Void
    }
}

/// Writes warnings with what programs and people read of them: how severe each is, and in words.
///
/// # Errors
/// Those of the serializer.
pub(crate) fn in_words<S: Serializer>(warnings: &[Warning], to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct InWords<'a> {
        #[serde(flatten)]
        warning: &'a Warning,
        severity: Severity,
        message: String,
    }
    to.collect_seq(warnings.iter().map(|warning| InWords {
        warning,
        severity: warning.severity(),
        message: warning.to_string(),
    }))
}
