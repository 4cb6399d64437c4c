//! What an experiment's runs say of the claims that were written down for them.

use super::{Analysed, Refused};
use crate::rows::{self, ClaimedRuns};
use campaign::store::{RegisteredClaim, RunRecord, Store};
use experiment::claims::{Fitted, Test};
use experiment::run::{RunId, RunState};
use scaling_law::analysis::{AnalysisResult, LawOutcome, Policy};
use scaling_law::claims::{AskedLaw, ClaimVerdict, ClaimVerdicts, Evidence, Judged, judge};
use std::collections::HashMap;

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
    let scores = store.scores(experiment).await?;
    let readings = store.readings(experiment).await?;
    let runs = store.runs(experiment).await?;
    let is_left = |run: &&RunRecord| run.state != RunState::Ended;
    let runs_left = runs.iter().filter(is_left).count();
    // Read only where it is asked: a page and a status look often.
    let is_of_law = |known: &RegisteredClaim| matches!(known.claim.test, Test::Law { .. });
    let laws = if current.iter().any(is_of_law) {
        let imported = store.imported(experiment).await?;
        let table = rows::stored(String::new(), &runs, &imported).map_err(Refused::machine)?;
        // One that cannot be read is none.
        Laws::of(
            Analysed::newest(store, experiment, &table)
                .await
                .ok()
                .flatten(),
        )
    } else {
        Laws::of(None)
    };
    let runs = ClaimedRuns::new(&runs, &scores, &readings).map_err(Refused::machine)?;
    let claims = current.iter().map(|known| {
        let test = &known.claim.test;
        (&known.claim, evidence(test, &runs, &laws))
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

/// The newest analysis, as far as it is of all the runs that were trained here and of no others.
enum Laws {
    Fitted {
        result: Box<AnalysisResult>,
        /// What varies by itself: of each run itself, or its trunk.
        clusters: HashMap<RunId, String>,
    },
    None(String),
}

impl Laws {
    fn of(analysed: Option<Analysed>) -> Self {
        let Some(Analysed { result, since, .. }) = analysed else {
            return Self::None("no law has been fitted yet".to_owned());
        };
        if let Some(changed) = since.words() {
            return Self::None(format!(
                "the newest fit is of other runs ({changed}): `orchestrator fit EXPERIMENT` fits all"
            ));
        }
        if result.policy() != Policy::from(&result.settings) {
            return Self::None(
                "the newest fit was made with other settings than the file's: `orchestrator fit EXPERIMENT` uses those"
                    .to_owned(),
            );
        }
        let clusters = result.runs.iter();
        let clusters = clusters.map(|run| (run.id.clone(), run.cluster().to_owned()));
        Self::Fitted {
            clusters: clusters.collect(),
            result: Box::new(result),
        }
    }
}

fn evidence<'a>(test: &Test, runs: &ClaimedRuns, laws: &'a Laws) -> Evidence<'a> {
    let Test::Law { law, .. } = test else {
        return match runs.samples(test) {
            Ok(samples) => Evidence::Runs(samples),
            Err(why) => Evidence::Nothing(why),
        };
    };
    let (result, clusters) = match laws {
        Laws::Fitted { result, clusters } => (result, clusters),
        Laws::None(why) => return Evidence::Nothing(why.clone()),
    };
    let outcome = match law {
        Fitted::Dlcm => &result.dlcm,
        Fitted::Dense => &result.dense,
        Fitted::TokenOnly => &result.control,
        Fitted::Decay => {
            let gains = result.decay.as_ref();
            let gains =
                gains.ok_or_else(|| "no run branches off a trunk: `branches: true`".to_owned());
            return match gains.and_then(AskedLaw::of_decays) {
                Ok(law) => Evidence::Law(law, clusters),
                Err(why) => Evidence::Nothing(why),
            };
        }
    };
    match outcome {
        LawOutcome::Fitted(report) => Evidence::Law(report.as_ref().into(), clusters),
        LawOutcome::CannotFit { why } => Evidence::Nothing(why.to_string()),
    }
}
