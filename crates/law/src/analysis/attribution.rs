//! Whose a saving is: the concepts', or what a token level with local attention has by itself.

use super::saving::{SavingPoint, Savings};
use super::warning::Warning;
use super::{AnalysisResult, LawOutcome, Maybe, Tuning};
use experiment::architecture::ModelKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is said about whose a saving is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// The verdict in one sentence.
    pub words: String,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The families of models that are compared without being at their best learning rates, as far as
    /// trials tell: what differs between them may be the recipe's.
    #[serde(default)]
    pub untuned: Vec<ModelKind>,
}

/// Whose the saving against dense models is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Most of it is the concepts'.
    Concepts {
        /// How much; `None` where only the saving against the token level alone is known.
        part: Option<Part>,
    },
    /// Concepts have a part in it that is not shown to be most of it.
    Partly {
        /// How much.
        part: Part,
    },
    /// None of it is.
    NotConcepts {
        /// Why not.
        why: NotConcepts,
    },
    /// There is none to be anybody's: the interval against dense models includes 0, or lies below.
    NoSaving,
    /// The runs do not tell.
    Unknown {
        /// Why not.
        why: Untold,
    },
}

/// The concepts' part of a saving, from 0 to 1, as [`super::SavingParts::concepts`] measures it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The part.
    pub value: f64,
    /// Its 95% interval; `None` without resamples.
    pub interval: Option<[f64; 2]>,
}

/// Why a saving is not the concepts'.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum NotConcepts {
    /// Removing the concepts changes the loss by no more than noise.
    Unused {
        /// Runs in which it does not.
        runs: usize,
        /// Runs in which it was measured.
        of: usize,
        /// Median gain, nats per token.
        median: f64,
        /// Standard deviation of the loss between seeds, nats per token.
        noise: f64,
    },
    /// A trained token level alone has the loss, or has it as cheaply.
    ControlDoesAsWell {
        /// Median worth of concepts against it, nats per token, with its 95% interval; `None` where
        /// no run has a control of its own.
        worth: Option<(f64, [f64; 2])>,
        /// Share of its FLOPs that a DLCM saves at equal loss.
        saving: Option<f64>,
        /// 95% interval of `saving`; an end is `None` where the loss is out of reach.
        saving_interval: [Option<f64>; 2],
    },
}

/// Why whose a saving is cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Untold {
    /// No control was trained.
    NoControls,
    /// The controls give no law to compare with.
    NoControlLaw {
        /// Why.
        why: String,
    },
}

/// A part whose interval lies above this is most of a saving.
const MOST: f64 = 0.5;

impl Attribution {
    /// Says whether a saving may be named without saying first that it is not the concepts'.
    pub fn may_be_claimed(&self) -> bool {
        !matches!(self.verdict, Verdict::NotConcepts { .. })
    }

    /// Says which families are not known to be at their best rates; `None` where all are.
    pub fn doubt(&self) -> Option<String> {
        let labels: Vec<&str> = self.untuned.iter().map(|kind| kind.label()).collect();
        (!labels.is_empty()).then(|| {
            format!(
                "the learning rates of {} were not tuned (`tune:`), so it may be the recipe's",
                labels.join(", ")
            )
        })
    }

    /// Names the saving in a few words, as a title does.
    pub fn title(&self) -> String {
        let doubt = match (&self.verdict, self.untuned.is_empty()) {
            (Verdict::NotConcepts { .. } | Verdict::NoSaving, _) | (_, true) => "",
            (_, false) => " (rates not tuned)",
        };
        let title = match &self.verdict {
            Verdict::Concepts { .. } => "FLOPs saved, most of it by concepts",
            Verdict::Partly { .. } => "FLOPs saved, in part by concepts",
            Verdict::NotConcepts { .. } => "FLOPs saved: not the concepts'",
            Verdict::NoSaving => "FLOPs saved: none is shown",
            Verdict::Unknown { .. } => "FLOPs saved: the concepts' part is not known",
        };
        format!("{title}{doubt}")
    }
}

/// Judges whose the saving of a result is, from what is stored of it.
pub(super) fn attribution(result: &AnalysisResult) -> Attribution {
    let verdict = verdict(result);
    let words = words(&verdict, result);
    let untuned = untuned(result);
    let mut attribution = Attribution {
        words,
        verdict,
        untuned,
    };
    let claimed = !matches!(
        attribution.verdict,
        Verdict::NotConcepts { .. } | Verdict::NoSaving
    );
    if let (Some(doubt), true) = (attribution.doubt(), claimed) {
        attribution.words += &format!("; {doubt}");
    }
    attribution
}

/// Lists the families with runs whose trials did not find their best rate, or that had none.
fn untuned(result: &AnalysisResult) -> Vec<ModelKind> {
    let has_runs = |kind: &ModelKind| result.runs.iter().any(|run| run.kind == *kind);
    let is_tuned = |kind: &ModelKind| {
        let mut found = result.tuning.iter().filter(|tuning| tuning.kind == *kind);
        found.any(Tuning::is_tuned)
    };
    let kinds = ModelKind::ALL.into_iter();
    kinds
        .filter(|kind| has_runs(kind) && !is_tuned(kind))
        .collect()
}

fn verdict(result: &AnalysisResult) -> Verdict {
    if let Some(why) = unused(&result.warnings).or_else(|| does_as_well(result)) {
        return Verdict::NotConcepts { why };
    }
    let best = result.best_ratio();
    let headline = |savings: &Maybe<Savings>| -> Option<SavingPoint> {
        let (_, point) = savings.known()?.headline(best)?;
        Some(point.clone())
    };
    let untold = |why: Untold| Verdict::Unknown { why };
    let Some(against_dense) = headline(&result.savings) else {
        // What a DLCM saves against the token level alone, concepts save.
        return match (headline(&result.control_savings), no_control_law(result)) {
            (Some(_), _) => Verdict::Concepts { part: None },
            (None, why) => untold(why),
        };
    };
    if result.has_controls() && !is_shown(&against_dense) {
        return Verdict::NoSaving;
    }
    let parts = against_dense.parts;
    let part = parts.and_then(|parts| {
        Some(Part {
            value: parts.concepts?,
            interval: parts.concepts_interval,
        })
    });
    match part {
        None => untold(no_control_law(result)),
        Some(part) if part.interval.map_or(part.value, |[low, _]| low) > MOST => {
            Verdict::Concepts { part: Some(part) }
        }
        Some(part) => Verdict::Partly { part },
    }
}

/// Says that the concepts are unused where the warning about that is a loud one.
fn unused(warnings: &[Warning]) -> Option<NotConcepts> {
    warnings.iter().find_map(|warning| match *warning {
        Warning::UnusedConcepts {
            runs,
            of,
            median,
            noise,
        } if warning.is_loud() => Some(NotConcepts::Unused {
            runs,
            of,
            median,
            noise,
        }),
        _ => None,
    })
}

fn does_as_well(result: &AnalysisResult) -> Option<NotConcepts> {
    let worth = result.concept_worth.known();
    let savings = result.control_savings.known();
    let point = savings.and_then(|savings| Some(savings.headline(result.best_ratio())?.1));
    let no_worth = worth.is_some_and(|worth| !worth.is_above_noise());
    let no_saving = point.is_some_and(|point| !is_shown(point));
    (no_worth || no_saving).then(|| NotConcepts::ControlDoesAsWell {
        worth: worth.map(|worth| (worth.median, worth.interval)),
        saving: point.and_then(|point| point.training),
        saving_interval: point.map_or([None; 2], |point| point.interval),
    })
}

/// Says whether something is saved for certain; without resamples, whether it is at all.
fn is_shown(point: &SavingPoint) -> bool {
    match point.interval {
        [Some(low), _] => low > 0.0,
        [None, Some(_)] => false,
        [None, None] => point.out_of_reach == 0.0 && point.training.is_some_and(|s| s > 0.0),
    }
}

/// Says why the controls do not divide a saving.
fn no_control_law(result: &AnalysisResult) -> Untold {
    match (&result.control, &result.control_savings) {
        _ if !result.has_controls() => Untold::NoControls,
        (LawOutcome::CannotFit { why }, _) => Untold::NoControlLaw {
            why: format!("the law of the controls cannot be fitted: {why}"),
        },
        (LawOutcome::Fitted(_), Maybe::Unknown(why)) => Untold::NoControlLaw { why: why.clone() },
        (LawOutcome::Fitted(_), Maybe::Known(_)) => Untold::NoControlLaw {
            why: "the law of the controls holds at another D than the dense law".to_owned(),
        },
    }
}

fn words(verdict: &Verdict, result: &AnalysisResult) -> String {
    match verdict {
        Verdict::Concepts { part: None } => "What is saved against the token level alone is the \
                                             concepts'"
            .to_owned(),
        Verdict::Concepts { part: Some(part) } | Verdict::Partly { part } => format!(
            "Concepts have {part} of the saving (of ln FLOPs), the token level alone the rest"
        ),
        Verdict::NotConcepts { why } => format!("The saving is not the concepts': {why}"),
        Verdict::NoSaving => {
            let worth = result.concept_worth.known();
            let worth = worth.map_or_else(String::new, |worth| {
                let [low, high] = worth.interval;
                format!(
                    "; against the token level alone concepts are worth {} nats/token",
                    nats(worth.median, [low, high])
                )
            });
            format!("No saving against dense models is shown{worth}")
        }
        Verdict::Unknown { why } => format!("The concepts' part in the saving is not known: {why}"),
    }
}

/// Prints a difference of losses with its interval.
pub(super) fn nats(value: f64, [low, high]: [f64; 2]) -> String {
    format!("{value:.3} [{low:.3}, {high:.3}]")
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}%", 100.0 * self.value)?;
        match self.interval {
            Some([low, high]) => write!(f, " [{:.0}%, {:.0}%]", 100.0 * low, 100.0 * high),
            None => Ok(()),
        }
    }
}

impl fmt::Display for NotConcepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unused { runs, of, .. } => write!(
                f,
                "in {runs} of {of} runs the loss without concepts is within noise of the loss with \
                 them"
            ),
            Self::ControlDoesAsWell {
                worth: Some((median, interval)),
                ..
            } if interval[0] <= 0.0 => write!(
                f,
                "the token level alone does as well (concepts are worth {} nats/token against it)",
                nats(*median, *interval)
            ),
            Self::ControlDoesAsWell { .. } => f.write_str(
                "the token level alone does as well (a DLCM is not shown to need fewer FLOPs for \
                 its loss)",
            ),
        }
    }
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoControls => f.write_str(super::worth::NO_CONTROLS),
            Self::NoControlLaw { why } => f.write_str(why),
        }
    }
}
