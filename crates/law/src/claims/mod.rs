//! What runs say of claims that were written down before them.
//!
//! Every test compares runs that are alike in all but what the claim is about, or asks a fitted law. A verdict needs
//! evidence in one direction: a claim that is not reproduced is contradicted only where its opposite is shown. All
//! claims of an experiment together have a chance of 5% to be decided wrongly (Holm's correction).

mod contrast;
mod samples;
mod verdicts;

pub use samples::{Sample, Samples};
pub use verdicts::{ClaimVerdict, ClaimVerdicts};

use crate::analysis::{DecayGains, LEVEL, LawReport, Maybe, ParameterEstimate, Predicted};
use contrast::{Estimate, means};
use experiment::claims::{Claim, Test};
use experiment::quantity::human;
use experiment::run::RunId;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

/// The chance that any claim of an experiment is decided wrongly.
pub const ERRORS: f64 = 1.0 - LEVEL;

/// The fewest runs beyond a law's parameters with which its numbers are judged.
const LEAST_FREEDOM: f64 = 4.0;

/// The chance with which runs that are advised would decide, were the number what it is now.
const POWER: f64 = 0.8;

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The runs show it.
    Reproduced,
    /// The runs show its opposite.
    Contradicted,
    /// They show neither.
    NotDetermined,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reproduced => "reproduced",
            Self::Contradicted => "contradicted",
            Self::NotDetermined => "not determined",
        })
    }
}

/// What a test found, before other claims are looked at.
#[derive(Debug)]
struct Finding {
    /// What was measured, with its unit.
    what: String,
    /// The number that decides.
    number: Estimate,
    /// What it is compared with.
    bound: f64,
    /// What numbers are where they are shown: some are tested on another scale.
    shown: fn(f64) -> f64,
    /// The chance of such runs, were the claim wrong.
    p_wrong: f64,
    /// The chance of such runs, were the claim right.
    p_right: f64,
}

impl Finding {
    /// A claim that a number is above a bound, or below it.
    fn beyond(what: String, number: Estimate, bound: f64, is_above: bool) -> Self {
        let (above, below) = (number.p_above(bound), number.p_below(bound));
        let (p_wrong, p_right) = if is_above {
            (above, below)
        } else {
            (below, above)
        };
        Self {
            what,
            number,
            bound,
            shown: |value| value,
            p_wrong,
            p_right,
        }
    }
}

/// A claim with what the runs say of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Its name.
    pub name: String,
    /// What it says.
    pub says: String,
    /// Who makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A hash of the claim and its test.
    pub digest: String,
    /// The verdict, among all claims of the experiment.
    pub verdict: Verdict,
    /// What was measured, with its unit; `None` where nothing could be.
    pub what: Option<String>,
    /// The number that decides.
    pub estimate: Option<f64>,
    /// Its own 95% interval.
    pub interval: Option<[f64; 2]>,
    /// What it is compared with.
    pub bound: Option<f64>,
    /// The chance of such runs, were the claim not as the verdict says or leans; corrected for all claims.
    pub p: Option<f64>,
    /// Runs that were looked at.
    pub runs: usize,
    /// Runs that should have been looked at too, and ended without the quantity: diverged, failed, or not asked.
    pub lost: usize,
    /// Why it is not determined, and what would determine it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
}

/// What a claim is judged by.
#[derive(Debug)]
pub enum Evidence<'a> {
    /// Runs, as the claim sees them.
    Runs(Samples),
    /// A law, and what its runs have in common: of each the run, or the trunk that it branches off.
    Law(AskedLaw<'a>, &'a HashMap<RunId, String>),
    /// Why there is none.
    Nothing(String),
}

/// What a claim may ask of a fitted law.
#[derive(Clone, Debug)]
pub struct AskedLaw<'a> {
    /// Its name.
    name: &'a str,
    parameters: &'a [ParameterEstimate],
    /// Coefficient of determination; `None` where all that was fitted is equal.
    r2: Option<f64>,
    /// Runs that were fitted.
    runs: Vec<&'a RunId>,
    /// Those of most compute, as a fit to the others predicts them.
    held_out: &'a [Predicted],
}

impl<'a> From<&'a LawReport> for AskedLaw<'a> {
    fn from(law: &'a LawReport) -> Self {
        Self {
            name: &law.law,
            parameters: &law.parameters,
            r2: law.r2,
            runs: law.predicted.iter().map(|one| &one.run).collect(),
            held_out: &law.held_out,
        }
    }
}

impl<'a> AskedLaw<'a> {
    /// The law of what decays take off the loss.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of_decays(gains: &'a DecayGains) -> Result<Self, String> {
        let law = match &gains.law {
            Maybe::Known(law) => law,
            Maybe::Unknown(why) => return Err(why.clone()),
        };
        Ok(Self {
            name: "the decay law",
            parameters: &law.parameters,
            r2: law.r2,
            runs: gains.fitted().map(|decay| &decay.branch).collect(),
            held_out: &[],
        })
    }
}

/// Judges all claims of an experiment together.
pub fn judge(claims: &[(&Claim, Evidence<'_>)]) -> Vec<Judged> {
    let found: Vec<Result<Finding, String>> = claims
        .iter()
        .map(|(claim, evidence)| match evidence {
            Evidence::Runs(samples) => samples::find(&claim.test, samples),
            Evidence::Law(law, clusters) => of_law(&claim.test, law, clusters),
            Evidence::Nothing(why) => Err(why.clone()),
        })
        .collect();
    let p: Vec<f64> = found
        .iter()
        .map(|found| match found {
            // Two ways to be wrong.
            Ok(found) => (2.0 * found.p_wrong.min(found.p_right)).min(1.0),
            Err(_) => 1.0,
        })
        .collect();
    let corrected = holm(&p);
    let judged = claims.iter().zip(found).zip(&corrected);
    judged
        .map(|(((claim, evidence), found), &p)| judged_one(claim, evidence, found, p, claims.len()))
        .collect()
}

fn judged_one(
    claim: &Claim,
    evidence: &Evidence<'_>,
    found: Result<Finding, String>,
    p: f64,
    claims: usize,
) -> Judged {
    let (runs, flops) = match evidence {
        Evidence::Runs(samples) => (
            samples.runs.len(),
            samples.runs.iter().map(|sample| sample.flops).sum(),
        ),
        Evidence::Law(law, _) => (law.runs.len(), f64::NAN),
        Evidence::Nothing(_) => (0, f64::NAN),
    };
    let mut judged = Judged {
        name: claim.name.clone(),
        says: claim.says.clone(),
        source: claim.source.clone(),
        digest: claim.digest(),
        verdict: Verdict::NotDetermined,
        what: None,
        estimate: None,
        interval: None,
        bound: None,
        p: None,
        runs,
        lost: match evidence {
            Evidence::Runs(samples) => samples.lost,
            _ => 0,
        },
        open: None,
    };
    match found {
        Err(why) => judged.open = Some(why),
        Ok(found) => {
            let is_right = found.p_wrong <= found.p_right;
            judged.verdict = match (p <= ERRORS, is_right) {
                (false, _) => Verdict::NotDetermined,
                (true, true) => Verdict::Reproduced,
                (true, false) => Verdict::Contradicted,
            };
            if judged.verdict == Verdict::NotDetermined {
                judged.open = Some(needed(&found, runs, flops, claims));
            }
            judged.estimate = Some((found.shown)(found.number.value));
            judged.interval = Some(found.number.interval(LEVEL).map(found.shown));
            judged.bound = Some((found.shown)(found.bound));
            judged.p = Some(p);
            judged.what = Some(found.what);
        }
    }
    judged
}

/// Corrects probabilities for there being several of them (Holm 1979): that any is at most 0.05 by chance is then no
/// likelier than 0.05.
fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![1.0; p.len()];
    let mut highest: f64 = 0.0;
    for (rank, at) in order.into_iter().enumerate() {
        highest = highest.max(((p.len() - rank) as f64 * p[at]).min(1.0));
        corrected[at] = highest;
    }
    corrected
}

/// Says how many runs would decide, were the number what it is now.
fn needed(found: &Finding, runs: usize, flops: f64, claims: usize) -> String {
    /// Beyond so many times the runs, a number is as good as none.
    const HOPELESS: f64 = 100.0;
    let distance = ((found.number.value - found.bound) / found.number.standard_error).abs();
    let normal = Normal::standard();
    // Among several claims the first must pass the strictest bound.
    let wanted = normal.inverse_cdf(1.0 - ERRORS / 2.0 / claims as f64) + normal.inverse_cdf(POWER);
    let factor = (wanted / distance).powi(2);
    if !factor.is_finite() || factor > HOPELESS {
        return format!(
            "the number is too close to {} to be told from it by fewer than {} times these runs",
            short((found.shown)(found.bound)),
            HOPELESS
        );
    }
    // Few runs are judged more harshly than the normal distribution says.
    let factor = factor.max(1.5);
    let more = ((factor - 1.0) * runs as f64).ceil();
    let cost = if flops.is_finite() && flops > 0.0 {
        format!(" ({} FLOPs)", human((factor - 1.0) * flops))
    } else {
        String::new()
    };
    format!(
        "about {more:.0} more such runs{cost} would decide it in 4 of 5 cases, were the number as it is now"
    )
}

/// Asks a law.
fn of_law(
    test: &Test,
    law: &AskedLaw<'_>,
    clusters: &HashMap<RunId, String>,
) -> Result<Finding, String> {
    let Test::Law { number, bound, .. } = test else {
        return Err("this claim is not about a law".into());
    };
    let (limit, is_above) = bound.limit();
    let bounded = |what: String, estimate: Estimate, limit: f64| {
        Finding::beyond(what, estimate, limit, is_above)
    };
    let cluster = |run: &RunId| clusters.get(run).map_or(run.0.clone(), Clone::clone);
    // Branches of a trunk vary together.
    let fitted: HashSet<String> = law.runs.iter().map(|run| cluster(run)).collect();
    let freedom = fitted.len() as f64 - law.parameters.len() as f64;
    if number != "held_out" && freedom < LEAST_FREEDOM {
        return Err(format!(
            "the law has {} parameters and {} runs that vary by themselves: with fewer than {LEAST_FREEDOM} to spare its \
             numbers say nothing",
            law.parameters.len(),
            fitted.len()
        ));
    }
    match number.as_str() {
        "r_squared" => {
            let r2 = law
                .r2
                .ok_or("what was fitted is all equal, so there is no R²")?;
            // Every parameter raises R², whether the law is right or not.
            let adjusted = 1.0 - (1.0 - r2) * (fitted.len() as f64 - 1.0) / freedom;
            // Fisher's transformation, on the runs that are beyond the parameters.
            let fisher = |r2: f64| r2.clamp(0.0, 1.0 - 1e-12).sqrt().atanh();
            let estimate = Estimate {
                value: fisher(adjusted),
                standard_error: 1.0 / (freedom - 1.0).sqrt(),
                // Fisher's numbers are normal.
                freedom: 1e6,
            };
            let found = bounded(
                "R², adjusted for the parameters".into(),
                estimate,
                fisher(limit),
            );
            Ok(Finding {
                shown: |z| z.max(0.0).tanh().powi(2),
                ..found
            })
        }
        "held_out" => {
            let mut errors: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for one in law.held_out {
                let error = (one.predicted / one.observed).ln().abs();
                errors.entry(cluster(&one.run)).or_default().push(error);
            }
            let count = errors.len();
            let estimate = Estimate::mean(&means(errors.values())).filter(|_| count >= 3);
            let estimate = estimate.ok_or_else(|| {
                format!("{count} runs that vary by themselves are held out, and 3 at least tell how sure their error is")
            })?;
            Ok(bounded(
                "|ln(predicted/observed)| of the runs of most compute".into(),
                estimate,
                limit,
            ))
        }
        name => {
            let named = |one: &&ParameterEstimate| one.name == name;
            let parameter = law.parameters.iter().find(named).ok_or_else(|| {
                let names = law.parameters.iter().map(|one| one.name.as_str());
                let names = names.collect::<Vec<_>>().join(", ");
                format!("the law has no parameter `{name}`: it has {names}, and `r_squared` and `held_out`")
            })?;
            if let Some(why) = &parameter.unidentified {
                return Err(format!("{name} is not determined: {why}"));
            }
            let standard_error = parameter
                .standard_error
                .ok_or("the law has no resamples: use `analysis.bootstrap: 1000`")?;
            let estimate = Estimate {
                value: parameter.value,
                standard_error,
                freedom,
            };
            Ok(bounded(format!("{name} of {}", law.name), estimate, limit))
        }
    }
}

/// Writes a number with as many digits as it needs.
pub(crate) fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.01 => 3,
        size if size >= 0.001 => 4,
        _ => return format!("{value:.1e}"),
    };
    format!("{value:.digits$}")
}

impl Judged {
    /// The number with its interval, in words; `None` where it is not known.
    pub fn number(&self) -> Option<String> {
        let (what, [low, high]) = (self.what.as_ref()?, self.interval?);
        let [estimate, low, high] = [self.estimate?, low, high].map(short);
        Some(format!("{what}: {estimate} [{low}, {high}]"))
    }
}

#[cfg(test)]
mod tests;
