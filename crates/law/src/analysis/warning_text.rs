//! Warnings in words.

use super::shapes::Proportion;
use super::summary::number;
use super::warning::Warning;
use experiment::quantity::{counted, human};
use std::fmt;

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
                    "{law}: {} for {} leave little to check it",
                    counted(*runs, "run"),
                    counted(*parameters, "parameter")
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
            Self::NoModel {
                column,
                lowest,
                highest,
            } => {
                let of = if column == "params" {
                    "language models are not that small"
                } else {
                    "language models are not trained on so few"
                };
                write!(
                    f,
                    "{column} lie between {} and {}: {of}; if they are in millions, say --scale \
                     {column}=1e6, in billions {column}=1e9, and {column}=log10 if they are decimal \
                     logarithms",
                    number(*lowest),
                    number(*highest)
                )
            }
            Self::FlopsUnit { ratio, unit, scale } => {
                write!(
                    f,
                    "flops are {ratio:.1e} times 6·params·tokens, which they cannot be"
                )?;
                match (unit, scale.as_deref()) {
                    (_, Some("log10")) => f.write_str(
                        ": they may be decimal logarithms; if so, say --scale flops=log10",
                    ),
                    (Some(unit), Some(scale)) => {
                        write!(f, ": they may be {unit}; if so, say --scale flops={scale}")
                    }
                    _ => f.write_str("; is a column in another unit? (--scale COLUMN=FACTOR)"),
                }
            }
            Self::DescribesNothing { law, r2 } => write!(
                f,
                "{law}: it does not describe these rows: their mean loss predicts them as well (R² \
                 {r2:.2}), so what it says means nothing"
            ),
            Self::OrderOfShares {
                groups,
                of,
                measured,
                predicted,
            } => write!(
                f,
                "the DLCM law contradicts the runs: in {groups} of {} it has the lowest loss at \
                 another P (about {predicted:.2}) than was measured (about {measured:.2}), by more \
                 than noise",
                counted(*of, "setting")
            ),
            Self::NotConverged { law } => {
                write!(f, "{law}: the fit did not converge; do not use it")
            }
            Self::OneTokenCount {
                law,
                tokens,
                left_out,
            } => write!(
                f,
                "{law}: fitted at D = {} only, too few other D for a data term; {} at \
                 other D left out",
                human(*tokens),
                counted(*left_out, "run")
            ),
            Self::Fit { law, warning } => write!(f, "{law}: {warning}"),
            Self::OneStart {
                law,
                at_minimum,
                starts,
            } => write!(
                f,
                "{law}: only {at_minimum} of {starts} starts reached this minimum: there may be a \
                 lower one"
            ),
            Self::Unidentified { law, parameters } => write!(
                f,
                "{law}: not determined by these data: {}; use predictions near the data, not these \
                 values",
                parameters.join(", ")
            ),
            Self::AtBound {
                law,
                parameter,
                value,
            } => write!(f, "{law}: {parameter} sits on its bound, {value}"),
            Self::NotIndependent { law } => write!(
                f,
                "{law}: successive residuals go together: if rows are points of a trajectory, name \
                 the runs with --group"
            ),
            Self::Trend { law, column, slope } => write!(
                f,
                "{law}: residuals still follow {column} ({:+.2}% per e-fold): the law misses \
                 something along it",
                100.0 * slope
            ),
            Self::NoResamples { law } => write!(
                f,
                "{law}: no resamples were drawn, so nothing says how sure this is: --bootstrap 1000 \
                 does, or `analysis.bootstrap: 1000` in the file"
            ),
            Self::NarrowSigns { law } => write!(
                f,
                "{law}: its intervals are too narrow, since signs of residuals stand for noise only under --objective \
                 l2 and of runs that vary by themselves: on simulated grids such intervals hold the truth in 82 to 93%; \
                 --resampling noise holds it in 95%"
            ),
            Self::ConclusionMoves { law } => write!(
                f,
                "{law}: other choices (of δ, or of the rows) lead elsewhere: see sensitivity"
            ),
            Self::NotChecked { rows } => write!(
                f,
                "{rows} rows are many: nothing was held out and no other choices were tried"
            ),
            Self::Rows { text } | Self::KnownBias { text } => f.write_str(text),
            Self::Extrapolated { whose, far } => write!(f, "{whose}extrapolated: {far}"),
            Self::ExtrapolatedPlaces { places, of } => write!(
                f,
                "{places} of {of} places lie more than 10× outside the data, or outside them in P or R"
            ),
            Self::ActiveBound { variable, value } => write!(
                f,
                "{variable} lies on its bound, {}: better may lie beyond it",
                number(*value)
            ),
            Self::Undetermined { variables } => write!(
                f,
                "not determined: {}: the interval covers most of what was searched",
                variables.join(", ")
            ),
            Self::HeldTokens { tokens } => write!(
                f,
                "D is held at {}: runs at one D cannot tell how to divide a budget between N and D",
                human(*tokens)
            ),
            Self::StatedParameters => f.write_str(
                "the parameters were stated: nothing says where the data end or how sure this is",
            ),
            Self::NoSaving { why } => write!(f, "no saving: {why}"),
            Self::AssumedShapes { assumed } => {
                write!(f, "FLOPs are exact for assumed models: {assumed}")
            }
            Self::UnreadFile => f.write_str(
                "this version cannot read the experiment's file: what that says about the analysis \
                 and the shapes of models is not used",
            ),
            Self::OneValue { column } => write!(
                f,
                "every run has one {column}: the resamples do not know what they do not know of it; \
                 first train runs at another"
            ),
            Self::NoMoreRuns => f.write_str(
                "no further run narrows the optimum: what is left is noise, or lies beyond these \
                 sizes",
            ),
            Self::NoDifference {
                first,
                second,
                by_seeds,
            } => write!(
                f,
                "`{first}` and `{second}` predict equally well: their errors differ by {}",
                if *by_seeds {
                    "less than the noise between seeds"
                } else {
                    "less than a twentieth"
                }
            ),
            Self::Problem { law, problem } => write!(f, "{law}: {problem}"),
        }
    }
}
