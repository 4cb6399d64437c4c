//! Answers about experiments.

use super::Context;
use super::places::Place;
use super::problem::Problem;
use crate::application::verdicts;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use campaign::orchestrate::blocked_by;
use campaign::store::{Overview, RunRecord, Selection, Store, StoreError};
use experiment::architecture::ModelKind;
use experiment::run::RunId;
use scaling_law::analysis::worth_by_run;
use scaling_law::claims::ClaimVerdicts;
use scaling_law::row::rows;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A results folder with its experiments, or why it cannot be read.
#[derive(Serialize)]
struct Listed {
    place: String,
    folder: String,
    version: Option<i64>,
    experiments: Vec<Overview>,
    problem: Option<String>,
}

/// Lists every experiment.
pub(super) async fn list(State(context): State<Context>) -> impl IntoResponse {
    let mut listed = Vec::new();
    for place in context.places.list() {
        let (found, problem) = match overviews(&context, &place).await {
            Ok(found) => (Some(found), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let (version, experiments) = found.unzip();
        listed.push(Listed {
            folder: place.folder.display().to_string(),
            place: place.key,
            version,
            experiments: experiments.unwrap_or_default(),
            problem,
        });
    }
    Json(listed)
}

async fn overviews(context: &Context, place: &Place) -> Result<(i64, Vec<Overview>), StoreError> {
    let store = context.places.store(place).await?;
    // Read first: what changes meanwhile is then told once more.
    let version = store.version().await?;
    Ok((version, store.overviews().await?))
}

/// An experiment with its runs, column by column: ten thousand runs are read in one go.
#[derive(Serialize)]
struct Shown<'a> {
    version: i64,
    allows_changes: bool,
    config: String,
    imported: u64,
    removed: usize,
    claims: Option<Value>,
    runs: Columns<'a>,
}

#[derive(Serialize)]
struct Columns<'a> {
    id: Vec<&'a str>,
    kind: Vec<&'a str>,
    part: Vec<&'static str>,
    state: Vec<&'static str>,
    outcome: Vec<Option<&'static str>>,
    message: Vec<Option<&'a str>>,
    retries: Vec<u64>,
    params: Vec<Option<u64>>,
    tokens: Vec<Option<u64>>,
    concept_share: Vec<f64>,
    compression_ratio: Vec<f64>,
    realised_ratio: Vec<Option<f64>>,
    seed: Vec<u64>,
    loss: Vec<Option<f64>>,
    bits_per_byte: Vec<Option<f64>>,
    flops: Vec<Option<f64>>,
    planned_flops: Vec<Option<f64>>,
    concept_gain: Vec<Option<f64>>,
    concept_worth: Vec<Option<f64>>,
    boundary_gain: Vec<Option<f64>>,
    start_run: Vec<Option<&'a str>>,
    /// The failed run for which a run waits.
    waits_for: Vec<Option<String>>,
    /// Axis values as written, by axis.
    axes: BTreeMap<&'a str, Vec<Option<&'a str>>>,
}

impl<'a> Columns<'a> {
    fn of(runs: &'a [RunRecord<()>], worth: &HashMap<RunId, f64>) -> Self {
        fn all<'a, T>(
            runs: &'a [RunRecord<()>],
            value: impl FnMut(&'a RunRecord<()>) -> T,
        ) -> Vec<T> {
            runs.iter().map(value).collect()
        }
        let blocked = blocked_by(runs);
        let names: BTreeSet<&str> = runs
            .iter()
            .flat_map(|run| run.axes.keys().map(String::as_str))
            .collect();
        let axis = |name: &'a str| {
            let written = all(runs, |run| run.axes.get(name).map(String::as_str));
            (name, written)
        };
        Self {
            id: all(runs, |run| run.id.0.as_str()),
            kind: all(runs, |run| run.kind.name()),
            part: all(runs, |run| run.part.name()),
            state: all(runs, |run| run.state.name()),
            outcome: all(runs, |run| run.outcome.map(|outcome| outcome.name())),
            message: all(runs, |run| run.message.as_deref()),
            retries: all(runs, |run| run.retries),
            params: all(runs, |run| run.params),
            tokens: all(runs, |run| run.tokens),
            concept_share: all(runs, |run| run.concept_share),
            compression_ratio: all(runs, |run| run.compression_ratio),
            realised_ratio: all(runs, |run| run.realised_ratio),
            seed: all(runs, |run| run.seed),
            loss: all(runs, |run| run.loss),
            bits_per_byte: all(runs, |run| run.bits_per_byte),
            flops: all(runs, |run| run.flops),
            planned_flops: all(runs, |run| run.planned_flops),
            concept_gain: all(runs, |run| run.concept_gain),
            concept_worth: all(runs, |run| worth.get(&run.id).copied()),
            boundary_gain: all(runs, |run| run.boundary_gain),
            start_run: all(runs, |run| run.start_run.as_ref().map(|run| run.0.as_str())),
            waits_for: all(runs, |run| blocked.get(&run.id).map(|by| by.0.clone())),
            axes: names.into_iter().map(axis).collect(),
        }
    }
}

/// Finds what concepts are worth in each run that has a control, nats per token.
async fn worth(
    store: &Store,
    experiment: i64,
    runs: &[RunRecord<()>],
) -> Result<HashMap<RunId, f64>, StoreError> {
    // Whole records are read only where there is something to compare.
    let is_control = |run: &RunRecord<()>| run.kind == ModelKind::TokenOnly;
    if !runs.iter().any(is_control) {
        return Ok(HashMap::new());
    }
    Ok(worth_by_run(&rows(&store.runs(experiment).await?)))
}

/// Claims in the words in which the program says them elsewhere too.
fn in_words(verdicts: ClaimVerdicts) -> Value {
    let claims = verdicts.claims.iter().map(|claim| {
        let judged = &claim.judged;
        json!({
            "verdict": judged.verdict.to_string(),
            "says": judged.says,
            "source": judged.source,
            "number": judged.number(),
            "notes": claim.notes(),
            "registered_at": claim.registered_at,
        })
    });
    json!({ "claims": claims.collect::<Vec<_>>(), "remarks": verdicts.remarks() })
}

/// Shows an experiment with all its runs.
pub(super) async fn show(
    State(context): State<Context>,
    Path((place, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (store, experiment) = context.places.experiment(&place, &name).await?;
    // Read first: what changes meanwhile is then told once more.
    let version = store.version().await?;
    let runs = store.runs_in_brief(experiment, Selection::Wanted).await?;
    let shown = Shown {
        version,
        allows_changes: context.allows_changes,
        config: store.config(experiment).await?,
        imported: store.count_imported(experiment).await?,
        removed: store
            .runs_in_brief(experiment, Selection::Removed)
            .await?
            .len(),
        claims: (verdicts(&store, experiment).await)
            .map_err(Problem::machine)?
            .map(in_words),
        runs: Columns::of(&runs, &worth(&store, experiment, &runs).await?),
    };
    Ok(Json(&shown).into_response())
}
