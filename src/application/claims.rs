//! What an experiment's runs say of the claims that were written down for them.

use super::Refused;
use crate::rows::ClaimedRuns;
use campaign::store::{RegisteredClaim, RunRecord, Store};
use experiment::claims::{Fitted, Test};
use experiment::run::RunState;
use scaling_law::analysis::{AnalysisResult, LawOutcome};
use scaling_law::claims::{ClaimVerdict, ClaimVerdicts, Evidence, Judged, judge};

/// Judges the claims of an experiment by its stored runs and its newest analysis; `None` where it has none.
///
/// # Errors
/// When the database refuses.
pub async fn verdicts(store: &Store, experiment: i64) -> Result<Option<ClaimVerdicts>, Refused> {
    let registered = store.claims(experiment).await?;
    let (dropped, current): (Vec<_>, Vec<_>) =
        (registered.into_iter()).partition(|claim| claim.dropped_at.is_some());
    if current.is_empty() && dropped.is_empty() {
        return Ok(None);
    }
    let fit = store.newest_fit(experiment, AnalysisResult::NAME).await?;
    // One that cannot be read is none.
    let analysis: Option<AnalysisResult> =
        fit.and_then(|fit| serde_json::from_value(fit.result).ok());
    let scores = store.scores(experiment).await?;
    let runs = store.runs(experiment).await?;
    let is_left = |run: &&RunRecord| run.state != RunState::Ended;
    let runs_left = runs.iter().filter(is_left).count();
    let runs = ClaimedRuns::new(&runs, &scores).map_err(Refused::machine)?;
    let claims = current.iter().map(|known| {
        let test = &known.claim.test;
        (&known.claim, evidence(test, &runs, analysis.as_ref()))
    });
    let judged = judge(&claims.collect::<Vec<_>>());
    let with_date = |(judged, known): (Judged, &RegisteredClaim)| ClaimVerdict {
        judged,
        registered_at: known.registered_at,
        runs_ended: known.runs_ended,
    };
    Ok(Some(ClaimVerdicts {
        claims: judged.into_iter().zip(&current).map(with_date).collect(),
        runs_left,
        dropped: dropped.into_iter().map(|known| known.claim.name).collect(),
    }))
}

fn evidence<'a>(
    test: &Test,
    runs: &ClaimedRuns,
    analysis: Option<&'a AnalysisResult>,
) -> Evidence<'a> {
    let Test::Law { law, .. } = test else {
        return match runs.samples(test) {
            Ok(samples) => Evidence::Runs(samples),
            Err(why) => Evidence::Nothing(why),
        };
    };
    let Some(analysis) = analysis else {
        return Evidence::Nothing("no law has been fitted yet".to_owned());
    };
    let outcome = match law {
        Fitted::Dlcm => &analysis.dlcm,
        Fitted::Dense => &analysis.dense,
        Fitted::TokenOnly => &analysis.control,
    };
    Evidence::Law(match outcome {
        LawOutcome::Fitted(report) => Ok(report),
        LawOutcome::CannotFit { why } => Err(why.to_string()),
    })
}
