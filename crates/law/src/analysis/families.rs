//! Which form of which law the runs of a kind of model are fitted with: the fullest that they
//! determine.

use super::estimate::{Estimate, Task, count_settings, estimate};
use super::laws::LawForm;
use super::observe::{Observed, SeedNoise, Sorted, levels, of_kind, sort};
use super::order;
use super::policy::Policy;
use super::report::{CannotFit, LeftOut};
use super::warning::Warning;
use super::{SAME_SIZE, same_size};
use crate::fit::law::DlcmForm;
use crate::fit::{Observations, fit};
use crate::row::Row;
use experiment::architecture::ModelKind;
use std::collections::BTreeSet;

/// The laws of an experiment's kinds of models, and what they were fitted to.
#[derive(Debug)]
pub struct Laws {
    /// The runs that could be fitted.
    pub used: Vec<Observed>,
    /// The others, with reasons.
    pub left_out: Vec<LeftOut>,
    /// Noise between seeds, where settings were repeated.
    pub noise: Option<SeedNoise>,
    /// What limits what the runs can show.
    pub warnings: Vec<Warning>,
    /// Eq. 22 on the DLCM runs.
    pub dlcm: Result<Estimate, CannotFit>,
    /// The dense law on the baselines.
    pub dense: Result<Estimate, CannotFit>,
    /// The same law on the controls.
    pub control: Result<Estimate, CannotFit>,
}

impl Laws {
    /// Fits the law of each kind of model to rows.
    pub fn of(rows: &[Row], policy: &Policy) -> Self {
        let Sorted {
            used,
            left_out,
            noise,
            warnings,
        } = sort(rows);
        let sets: BTreeSet<&str> = rows.iter().filter_map(|row| row.data.as_deref()).collect();
        let (dlcm, dense, control) = if sets.len() > 1 {
            let why = || Err(CannotFit::SeveralDataSets { sets: sets.len() });
            (why(), why(), why())
        } else {
            let mut dlcm = dlcm(&used, policy, noise);
            if let Ok(law) = &mut dlcm {
                let against = order::against_the_runs(&law.report, &used, noise);
                law.warnings.extend(against);
            }
            let shared = dlcm.as_ref().ok();
            let baseline = |kind| baseline(kind, &used, policy, noise, shared);
            let (dense, control) = (baseline(ModelKind::Dense), baseline(ModelKind::TokenOnly));
            (dlcm, dense, control)
        };
        Self {
            used,
            left_out,
            noise,
            warnings,
            dlcm,
            dense,
            control,
        }
    }

    /// Returns the law of a kind of model.
    pub fn of_kind(&self, kind: ModelKind) -> &Result<Estimate, CannotFit> {
        match kind {
            ModelKind::Dlcm => &self.dlcm,
            ModelKind::Dense => &self.dense,
            ModelKind::TokenOnly => &self.control,
        }
    }
}

/// Fits Eq. 22, or as much of it as the DLCM runs determine.
fn dlcm(
    runs: &[Observed],
    policy: &Policy,
    noise: Option<SeedNoise>,
) -> Result<Estimate, CannotFit> {
    let kind = ModelKind::Dlcm;
    let runs = of_kind(runs, kind);
    if policy.whole && !runs.is_empty() {
        let whole = LawForm::Dlcm(DlcmForm::WHOLE);
        return estimate(task(kind, whole, &runs, None, noise, None)?, policy);
    }
    check_axes(&runs)?;
    let mut refused = None;
    let crowded = most_common_tokens(&runs);
    for at in [None, Some(crowded)] {
        let kept = confine(&runs, at);
        if at.is_none() && levels(kept.iter().map(|run| run.tokens), SAME_SIZE).len() < 3 {
            continue;
        }
        // What varies over all D may not at this one.
        if let Err(lacking) = check_axes(&kept) {
            refused.get_or_insert(lacking);
            continue;
        }
        let ratio = levels(kept.iter().map(|run| run.declared_ratio), SAME_SIZE).len() > 1;
        let without = DlcmForm {
            offsets: false,
            ratio,
            data: at.is_none(),
        };
        let with = DlcmForm {
            offsets: true,
            ..without
        };
        let data = observations(&kept)?;
        let law = LawForm::Dlcm(with).law()?;
        let (found, needed) = (
            count_settings(&data, law.as_ref()),
            without.parameters() + 1,
        );
        if found < needed {
            refused = Some(CannotFit::TooFewRuns {
                kind: called(kind).into(),
                found,
                needed,
            });
            continue;
        }
        let enough = found >= 2 * with.parameters();
        let form = if enough && offsets_earn_their_place(with, without, &data, policy)? {
            with
        } else {
            without
        };
        return estimate(
            task(kind, LawForm::Dlcm(form), &runs, at, noise, None)?,
            policy,
        );
    }
    Err(refused.unwrap_or(CannotFit::NoRuns {
        kind: called(kind).into(),
    }))
}

/// Compares Eq. 22 with and without offsets by the Bayesian information criterion.
///
/// Offsets that the runs do not show only widen every interval and send exponents to their bounds.
fn offsets_earn_their_place(
    with: DlcmForm,
    without: DlcmForm,
    data: &Observations,
    policy: &Policy,
) -> Result<bool, CannotFit> {
    let criterion = |form: DlcmForm| -> Result<f64, CannotFit> {
        let found = fit(&LawForm::Dlcm(form).law()?, data, &policy.options())?;
        let n = found.n_rows as f64;
        let parameters = found.parameters.len() as f64;
        Ok(2.0 * n * found.goodness.rms_residual.ln() + parameters * n.ln())
    };
    Ok(criterion(with)? < criterion(without)?)
}

/// Fits a law of the models of a kind without concepts; one D and few sizes borrow the floor of the
/// DLCM law there.
fn baseline(
    kind: ModelKind,
    runs: &[Observed],
    policy: &Policy,
    noise: Option<SeedNoise>,
    dlcm: Option<&Estimate>,
) -> Result<Estimate, CannotFit> {
    let runs = of_kind(runs, kind);
    if runs.is_empty() {
        return Err(CannotFit::NoRuns {
            kind: called(kind).into(),
        });
    }
    let sizes = |runs: &[&Observed]| levels(runs.iter().map(|run| run.params), SAME_SIZE).len();
    let tokens = levels(runs.iter().map(|run| run.tokens), SAME_SIZE).len();
    let whole = task(kind, LawForm::Chinchilla, &runs, None, noise, dlcm)?;
    let law = LawForm::Chinchilla.law()?;
    let settings = count_settings(&whole.data, law.as_ref());
    if policy.whole || sizes(&runs) >= 3 && tokens >= 3 && settings >= 6 {
        return estimate(whole, policy);
    }
    let at = most_common_tokens(&runs);
    let found = sizes(&confine(&runs, Some(at)));
    let form = match (found, dlcm) {
        (4.., _) => LawForm::DenseAtOneD,
        (2.., Some(_)) => LawForm::DenseSharedFloor,
        _ => {
            let needed = if dlcm.is_some() { 2 } else { 4 };
            return Err(CannotFit::TooFewSizes {
                kind: called(kind).into(),
                found,
                needed,
            });
        }
    };
    estimate(task(kind, form, &runs, Some(at), noise, dlcm)?, policy)
}

/// Names a kind of model in a sentence.
pub(super) fn called(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::Dlcm => "DLCM",
        ModelKind::Dense => "dense",
        ModelKind::TokenOnly => "token-only",
    }
}

fn task<'a>(
    kind: ModelKind,
    form: LawForm,
    runs: &[&Observed],
    at: Option<f64>,
    noise: Option<SeedNoise>,
    other: Option<&'a Estimate>,
) -> Result<Task<'a>, CannotFit> {
    let kept = confine(runs, at);
    let left_out = runs.iter().filter(|run| !is_at(run, at));
    let left_out = left_out.map(|run| LeftOut {
        id: run.id.clone(),
        why: "it has another D".into(),
    });
    Ok(Task {
        title: format!("{} law", called(kind)),
        floor: other.filter(|_| form == LawForm::DenseSharedFloor),
        form,
        at,
        data: observations(&kept)?,
        names: kept.iter().map(|run| run.id.clone()).collect(),
        left_out: left_out.collect(),
        noise,
        other,
    })
}

/// Makes observations of runs, each its own cluster; branches of one trunk are one.
fn observations(kept: &[&Observed]) -> Result<Observations, CannotFit> {
    let column = |value: fn(&Observed) -> f64| kept.iter().map(|run| value(run)).collect();
    let columns: [(&str, Vec<f64>); 6] = [
        ("params", column(|run| run.params)),
        ("tokens", column(|run| run.tokens)),
        ("compression_ratio", column(|run| run.ratio)),
        ("declared_ratio", column(|run| run.declared_ratio)),
        ("concept_share", column(|run| run.share)),
        ("loss", column(|run| run.loss)),
    ];
    let clusters: Vec<&str> = kept.iter().map(|run| run.cluster()).collect();
    let data = Observations::new(columns)?.with_clusters(&clusters)?;
    let weights: Vec<f64> = column(|run| run.weight);
    if weights.iter().all(|weight| *weight == 1.0) {
        return Ok(data);
    }
    Ok(data.with_weights(weights)?)
}

/// Refuses grids in which a term of Eq. 22 cannot be seen at all.
fn check_axes(runs: &[&Observed]) -> Result<(), CannotFit> {
    let kind = || called(ModelKind::Dlcm).to_owned();
    if runs.is_empty() {
        return Err(CannotFit::NoRuns { kind: kind() });
    }
    let sizes = levels(runs.iter().map(|run| run.params), SAME_SIZE).len();
    if sizes < 2 {
        return Err(CannotFit::TooFewSizes {
            kind: kind(),
            found: sizes,
            needed: 2,
        });
    }
    // Shares are levels of 1 + P, so that the tolerance is one on P itself.
    if levels(runs.iter().map(|run| 1.0 + run.share), 0.02).len() < 2 {
        return Err(CannotFit::OneShare {
            share: runs[0].share,
        });
    }
    Ok(())
}

fn is_at(run: &Observed, at: Option<f64>) -> bool {
    at.is_none_or(|at| same_size(run.tokens, at))
}

fn confine<'a>(runs: &[&'a Observed], at: Option<f64>) -> Vec<&'a Observed> {
    runs.iter().copied().filter(|run| is_at(run, at)).collect()
}

/// Finds the D of most runs; the largest of equally common ones.
fn most_common_tokens(runs: &[&Observed]) -> f64 {
    let values = levels(runs.iter().map(|run| run.tokens), SAME_SIZE);
    let count = |at: f64| confine(runs, Some(at)).len();
    values
        .into_iter()
        .max_by_key(|&at| (count(at), at as u64))
        .unwrap_or(f64::NAN)
}
