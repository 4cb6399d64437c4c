//! Stored runs → observations → fitted laws → allocation → savings.
//!
//! Numbers in, numbers out: the result holds everything a figure or a report draws, so that it can
//! be stored as JSON and drawn again without a fit. Refuses SQL, files and drawing.

mod allocate;
mod answer;
mod attribution;
mod cost;
mod curves;
mod decay;
mod describe;
mod estimate;
mod isoflop;
mod laws;
mod noise;
mod observe;
mod parts;
mod report;
mod saving;
mod shapes;
mod summary;
mod suspicion;
mod tuning;
mod warning;
mod worth;

#[cfg(test)]
pub(crate) mod simulated;

pub use allocate::{Allocation, Choice, FrontierStep, LossSurface, Outside};
pub use answer::{Answer, answer};
pub use attribution::{Attribution, NotConcepts, Part, Untold, Verdict};
pub use cost::{CostModel, PowerLaw, SmoothShapes, TokenOnlyShapes};
pub use curves::{CurvePoint, LossCurve};
pub use decay::{Decay, DecayGains, DecayLaw};
pub use isoflop::{IsoflopCurve, IsoflopPoint};
pub use laws::{DlcmForm, LawForm};
pub(crate) use observe::levels;
pub use observe::{LeftOut, Observed, SeedNoise};
pub use parts::SavingParts;
pub use report::{
    CannotFit, LawOutcome, LawReport, NoiseSource, ParameterEstimate, Predicted, Uncertainty,
};
pub use saving::{SavingCurve, SavingPoint, Savings};
pub use shapes::{Proportion, ShapeEffect};
pub use summary::summary;
pub(crate) use summary::{held_out, number, quality, reductions, remarks, saved, worth_in_words};
pub use tuning::{Tried, Tuning, rates, tunings};
pub use warning::Warning;
pub use worth::{ConceptWorth, RunWorth, WorthLevel, worth_by_run};

use crate::architecture::ModelKind;
use crate::architecture::solver::ShapeSettings;
use crate::grid::Analysis;
use crate::store::RunRecord;
use estimate::Estimate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Coverage of every interval.
pub const LEVEL: f64 = 0.95;

/// Version of the stored form.
pub const RESULT_VERSION: u32 = 1;

/// Everything that is known once an experiment's runs have been analysed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnalysisResult {
    /// Version of this form.
    pub version: u32,
    /// What was asked for.
    pub settings: Analysis,
    /// What settings cost.
    pub cost: CostModel,
    /// The runs that were fitted.
    pub runs: Vec<Observed>,
    /// The others, with reasons.
    pub left_out: Vec<LeftOut>,
    /// Noise between seeds, where settings were repeated.
    pub seed_noise: Option<SeedNoise>,
    /// Eq. 22 on the DLCM runs.
    pub dlcm: LawOutcome,
    /// The dense law on the baselines.
    pub dense: LawOutcome,
    /// The same law on the controls, token levels alone.
    #[serde(default = "no_control_runs")]
    pub control: LawOutcome,
    /// What shapes explain of what the DLCM law leaves; `None` where they are too few or too alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shapes: Option<ShapeEffect>,
    /// What the decay took off the losses of branches; `None` without branches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay: Option<DecayGains>,
    /// Loss against P for every N and R of the grid; empty without a DLCM law.
    pub curves: Vec<LossCurve>,
    /// Loss against N at equal FLOPs; empty for laws of one D.
    #[serde(default)]
    pub isoflop: Vec<IsoflopCurve>,
    /// What to train for the budget.
    pub allocation: Maybe<Allocation>,
    /// What concepts are worth: the loss of a trained control minus that of its DLCM.
    #[serde(default = "no_controls")]
    pub concept_worth: Maybe<ConceptWorth>,
    /// FLOPs saved against the dense law.
    pub savings: Maybe<Savings>,
    /// FLOPs saved against the law of the controls.
    #[serde(default = "no_controls")]
    pub control_savings: Maybe<Savings>,
    /// Whose the saving is, for whoever reads what is stored; here it follows from the rest.
    #[serde(skip_deserializing)]
    attribution: Option<Attribution>,
    /// What trials found of each family's learning rate; empty where none was looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tuning: Vec<Tuning>,
    /// What limits all this, the most serious first.
    pub warnings: Vec<Warning>,
}

impl AnalysisResult {
    /// What it is called among the stored fits.
    pub const NAME: &str = "analysis";

    /// Says whose the saving is, from what the result holds: of those that earlier versions stored too.
    pub fn attribution(&self) -> Attribution {
        attribution::attribution(self)
    }

    /// Returns the R of the best setting.
    pub fn best_ratio(&self) -> Option<f64> {
        let best = &self.allocation.known()?.best;
        Some(best.setting.compression_ratio)
    }

    /// Says whether there are controls among the runs.
    pub fn has_controls(&self) -> bool {
        self.runs.iter().any(|run| run.kind == ModelKind::TokenOnly)
    }
}

/// What results of before there were controls hold of their law.
fn no_control_runs() -> LawOutcome {
    LawOutcome::CannotFit {
        why: CannotFit::NoRuns {
            kind: estimate::called(ModelKind::TokenOnly).to_owned(),
        },
    }
}

fn no_controls<T>() -> Maybe<T> {
    Maybe::Unknown(worth::NO_CONTROLS.to_owned())
}

/// A result, or in words why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maybe<T> {
    /// The result.
    Known(T),
    /// Why there is none.
    Unknown(String),
}

impl<T> Maybe<T> {
    /// Returns the result, where there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// Analyses an experiment's runs.
///
/// `shape` is what the experiment fixes of its models' shapes: the cost of sizes that were not
/// trained follows from it. Never fails: what cannot be fitted says so in the result.
pub fn analyse(runs: &[RunRecord], settings: &Analysis, shape: &ShapeSettings) -> AnalysisResult {
    let observe::Sorted {
        used,
        left_out,
        noise,
        mut warnings,
    } = observe::sort(runs);
    let vocab = runs
        .first()
        .map_or(256, |run| run.spec.architecture.vocab());
    let smallest = used
        .iter()
        .map(|run| run.params)
        .fold(f64::INFINITY, f64::min);
    let smallest = if smallest.is_finite() { smallest } else { 1e5 };
    let cost = CostModel::new(settings.flops_convention, shape, vocab, smallest);
    let sets: BTreeSet<&str> = runs
        .iter()
        .map(|run| run.spec.facts.fingerprint.as_str())
        .collect();
    let (dlcm, dense, control) = if sets.len() > 1 {
        let why = || Err(CannotFit::SeveralDataSets { sets: sets.len() });
        (why(), why(), why())
    } else {
        let dlcm = estimate::dlcm(&used, settings, noise, &mut warnings);
        let shared = dlcm.as_ref().ok();
        let mut baseline =
            |kind| estimate::baseline(kind, &used, settings, noise, shared, &mut warnings);
        let (dense, control) = (baseline(ModelKind::Dense), baseline(ModelKind::TokenOnly));
        (dlcm, dense, control)
    };
    let (curves, allocation) = match &dlcm {
        Ok(dlcm) => (
            curves::curves(dlcm, &used),
            allocate::allocate(dlcm, &used, &cost, settings),
        ),
        Err(why) => (Vec::new(), Maybe::Unknown(format!("no DLCM law: {why}"))),
    };
    let against = |kind: ModelKind, law: &Result<Estimate, CannotFit>, divided: bool| {
        let laws = |dlcm, baseline| saving::Laws {
            dlcm,
            kind,
            baseline,
            control: control.as_ref().ok().filter(|_| divided),
        };
        match (&dlcm, law) {
            (Ok(dlcm), Ok(law)) => saving::savings(laws(dlcm, law), &used, &cost),
            (Err(why), _) => Maybe::Unknown(format!("no DLCM law: {why}")),
            (_, Err(why)) if kind == ModelKind::TokenOnly && why.is_no_runs() => no_controls(),
            (_, Err(why)) => Maybe::Unknown(format!("no {} law: {why}", estimate::called(kind))),
        }
    };
    let savings = against(ModelKind::Dense, &dense, true);
    let control_savings = against(ModelKind::TokenOnly, &control, false);
    let concept_worth = worth::worth(runs, &used, noise, settings.seed);
    let shapes = dlcm.as_ref().ok().and_then(|estimate| {
        let effect = shapes::effect(&estimate.report, runs, noise, settings.seed)?;
        warnings.extend(effect.warning(&estimate.report.law));
        Some(effect)
    });
    let isoflop = isoflop::curves(dlcm.as_ref().ok(), dense.as_ref().ok(), &used, &cost);
    let decay = decay::gains(runs, &used, settings);
    warnings.sort_by_key(|warning| !warning.is_loud());
    let mut result = AnalysisResult {
        version: RESULT_VERSION,
        settings: settings.clone(),
        cost,
        runs: used,
        left_out,
        seed_noise: noise,
        dlcm: outcome(dlcm),
        dense: outcome(dense),
        control: outcome(control),
        shapes,
        decay,
        curves,
        isoflop,
        allocation,
        concept_worth,
        savings,
        control_savings,
        attribution: None,
        tuning: tunings(runs),
        warnings,
    };
    result.attribution = Some(result.attribution());
    result
}

fn outcome(estimate: Result<Estimate, CannotFit>) -> LawOutcome {
    match estimate {
        Ok(estimate) => LawOutcome::Fitted(Box::new(estimate.report)),
        Err(why) => LawOutcome::CannotFit { why },
    }
}

/// Sorts runs into those that a law may be fitted on and the others, with reasons.
pub fn observed(runs: &[RunRecord]) -> (Vec<Observed>, Vec<LeftOut>) {
    let sorted = observe::sort(runs);
    (sorted.used, sorted.left_out)
}

/// Returns the central interval of finite values; `None` when there are none.
fn interval(values: &[f64], level: f64) -> Option<[f64; 2]> {
    let mut sorted: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let quantile = |probability: f64| {
        let position = probability * last as f64;
        let (low, share) = (position.floor() as usize, position.fract());
        sorted[low] * (1.0 - share) + sorted[(low + 1).min(last)] * share
    };
    let tail = 0.5 * (1.0 - level);
    Some([quantile(tail), quantile(1.0 - tail)])
}

/// Returns at most `most` values, evenly strided.
fn thin<T: Clone>(values: &[T], most: usize) -> Vec<T> {
    let step = values.len().div_ceil(most).max(1);
    values.iter().step_by(step).cloned().collect()
}

#[cfg(test)]
mod tests;
