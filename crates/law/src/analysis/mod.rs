//! Rows → fitted laws → allocation → savings.
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
mod families;
mod fitted;
mod isoflop;
mod laws;
mod noise;
mod observe;
mod order;
mod parts;
mod policy;
mod report;
mod saving;
mod shapes;
mod since;
mod summary;
mod suspicion;
mod sweep;
mod tuning;
mod units;
mod warning;
mod warning_text;
mod worth;

pub mod simulated;

pub use allocate::default_budget;
pub use allocate::{Allocation, Choice, DenseBest, FrontierStep, LossSurface, Outside};
pub(crate) use allocate::{DRAWS, Search, untold};
pub use answer::{Answer, Asker, answer};
pub use attribution::{Attribution, NotConcepts, Part, Untold, Verdict};
pub use cost::{CostModel, PowerLaw, SmoothShapes, TokenOnlyShapes};
pub use curves::{CurvePoint, LossCurve};
pub use decay::{Decay, DecayGains, DecayLaw};
pub use estimate::{Estimate, fit_as_written};
pub use families::Laws;
pub use fitted::{Fitted, PredictedLoss};
pub use isoflop::{IsoflopCurve, IsoflopPoint};
pub use laws::{DlcmForm, LawForm};
pub use observe::levels;
pub(crate) use observe::seed_noise;
pub use observe::{Observed, SeedNoise};
pub use parts::SavingParts;
pub use policy::{Policy, ResampledBy};
pub use report::{
    CannotFit, LawOutcome, LawReport, LeftOut, NoiseSource, ParameterEstimate, Predicted,
    Uncertainty,
};
pub(crate) use saving::savings_against;
pub use saving::{SavingCurve, SavingPoint, Savings};
pub use shapes::{Proportion, ShapeEffect};
pub use since::Since;
pub(crate) use summary::intervals_from;
pub use summary::summary;
pub use summary::{held_out, number, quality, reductions, remarks, saved, worth_in_words};
pub use sweep::{RateSweep, SweptSize};
pub use tuning::{Tried, Tuning, rates, tunings};
pub(crate) use units::units;
pub(crate) use warning::in_words;
pub use warning::{Severity, Warning};
pub use worth::{ConceptWorth, RunWorth, WorthLevel, worth_by_run};

use crate::fit::interval;
use crate::row::Row;
use experiment::architecture::ModelKind;
use experiment::architecture::solver::ShapeSettings;
use experiment::grid::Analysis;
use serde::{Deserialize, Serialize};

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
    /// How the laws were fitted; `None` in results of versions that kept to the settings.
    #[serde(default)]
    policy: Option<Policy>,
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
    /// The same where no run has concepts: N and D by the dense law.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dense_best: Option<DenseBest>,
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
    /// What sweeps of learning rates say; empty where none was swept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sweeps: Vec<RateSweep>,
    /// What limits all this, the most serious first.
    #[serde(serialize_with = "in_words")]
    pub warnings: Vec<Warning>,
}

impl AnalysisResult {
    /// What it is called among the stored fits.
    pub const NAME: &str = "analysis";

    /// Says whose the saving is, from what the result holds: of those that earlier versions stored too.
    pub fn attribution(&self) -> Attribution {
        attribution::attribution(self)
    }

    /// Says how the laws were fitted.
    pub fn policy(&self) -> Policy {
        let told = self.policy.clone();
        told.unwrap_or_else(|| Policy::from(&self.settings))
    }

    /// Returns the R of the best setting.
    pub fn best_ratio(&self) -> Option<f64> {
        let best = &self.allocation.known()?.best;
        Some(best.setting.compression_ratio)
    }

    /// Says whether there are models with concepts among the runs.
    pub fn has_concepts(&self) -> bool {
        self.runs.iter().any(Observed::has_concepts)
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
            kind: families::called(ModelKind::TokenOnly).to_owned(),
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

/// What models are like, as far as their exact FLOPs depend on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Models {
    /// What the experiment fixes of their shapes.
    pub shape: ShapeSettings,
    /// Their vocabulary.
    pub vocab: usize,
}

/// Sizes within this relative distance count as one: solvers reach N within 1%.
const SAME_SIZE: f64 = 0.05;

/// Says whether two values of N, D or R are one.
fn same_size(a: f64, b: f64) -> bool {
    (a / b).ln().abs() < SAME_SIZE
}

/// Analyses rows under the policy that follows from the settings.
///
/// `models` is what the rows' models are like: the cost of sizes that were not trained follows from
/// it, and is counted by active parameters where it is not known. Never fails: what cannot be fitted
/// says so in the result.
pub fn analyse(rows: &[Row], settings: &Analysis, models: Option<&Models>) -> AnalysisResult {
    let policy = Policy::from(settings);
    let laws = Laws::of(rows, &policy);
    let cost = CostModel::of_rows(settings.flops_convention, models, &laws.used);
    analyse_laws(rows, settings, &policy, laws, cost)
}

/// Works out what follows from laws that were fitted to rows.
pub fn analyse_laws(
    rows: &[Row],
    settings: &Analysis,
    policy: &Policy,
    laws: Laws,
    cost: CostModel,
) -> AnalysisResult {
    let Laws {
        used,
        left_out,
        noise,
        mut warnings,
        dlcm,
        dense,
        control,
    } = laws;
    for law in [&dlcm, &dense, &control] {
        let said = law.iter().flat_map(|law| &law.warnings);
        warnings.extend(said.cloned());
    }
    let (curves, mut allocation) = match &dlcm {
        Ok(dlcm) => (
            curves::curves(dlcm, &used),
            allocate::allocate(dlcm, &cost, settings.budget),
        ),
        Err(why) => (Vec::new(), Maybe::Unknown(format!("no DLCM law: {why}"))),
    };
    let against = |kind: ModelKind, law: &Result<Estimate, CannotFit>, divided: bool| {
        let laws = |dlcm, baseline| saving::Laws {
            dlcm,
            kind,
            baseline,
            control: control
                .as_ref()
                .ok()
                .map(|law| &law.fitted)
                .filter(|_| divided),
        };
        match (&dlcm, law) {
            (Ok(dlcm), Ok(law)) => saving::savings(laws(&dlcm.fitted, &law.fitted), &cost),
            (Err(why), _) => Maybe::Unknown(format!("no DLCM law: {why}")),
            (_, Err(why)) if kind == ModelKind::TokenOnly && why.is_no_runs() => no_controls(),
            (_, Err(why)) => Maybe::Unknown(format!("no {} law: {why}", families::called(kind))),
        }
    };
    let savings = against(ModelKind::Dense, &dense, true);
    let control_savings = against(ModelKind::TokenOnly, &control, false);
    let concept_worth = worth::worth(rows, &used, noise, policy.seed);
    if let (Maybe::Known(allocation), Ok(dlcm)) = (&mut allocation, &dlcm) {
        allocation.leave_open(&warnings, &dlcm.fitted.domain());
    }
    let shapes = dlcm.as_ref().ok().and_then(|estimate| {
        let effect = shapes::effect(&estimate.report, rows, noise, policy.seed)?;
        warnings.extend(effect.warning(&estimate.report.law));
        Some(effect)
    });
    let no_concepts = !used.iter().any(Observed::has_concepts);
    let dense_best = dense
        .as_ref()
        .ok()
        .filter(|_| no_concepts)
        .and_then(|law| allocate::dense_best(law, &cost, settings.budget));
    let isoflop = isoflop::curves(dlcm.as_ref().ok(), dense.as_ref().ok(), &used, &cost);
    let decay = decay::gains(rows, &used, policy);
    warnings.sort_by_key(Warning::severity);
    let mut result = AnalysisResult {
        version: RESULT_VERSION,
        settings: settings.clone(),
        policy: Some(policy.clone()),
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
        dense_best,
        concept_worth,
        savings,
        control_savings,
        attribution: None,
        tuning: tunings(rows),
        sweeps: sweep::sweeps(rows, noise),
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

/// Returns at most `most` values, evenly strided.
pub(crate) fn thin<T: Clone>(values: &[T], most: usize) -> Vec<T> {
    let step = values.len().div_ceil(most).max(1);
    values.iter().step_by(step).cloned().collect()
}

#[cfg(test)]
mod tests;
