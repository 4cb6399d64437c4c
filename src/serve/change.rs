//! Cancelling runs and trying them again, where the server allows it.

use super::Context;
use super::problem::Problem;
use axum::Json;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use campaign::orchestrate::{Control, ControlError, Request, Requested};
use campaign::store::{RunRecord, Store};
use experiment::run::RunId;
use serde::Deserialize;

/// The server's context, where it may change something.
pub(super) struct Changing(Context);

impl FromRequestParts<Context> for Changing {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, context: &Context) -> Result<Self, Problem> {
        if context.allows_changes {
            Ok(Self(context.clone()))
        } else {
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "this page only shows: `orchestrator serve --allow-changes` starts one that can \
             cancel runs and try them again",
            ))
        }
    }
}

/// The body `{}`. A form of another site, which needs no leave to be sent, cannot send JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Cancels a run.
pub(super) async fn cancel(
    changing: Changing,
    Path((place, id)): Path<(String, String)>,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Json<Requested>, Problem> {
    changing.of_run(Request::Cancel, &place, id).await
}

/// Makes a run eligible again.
pub(super) async fn retry(
    changing: Changing,
    Path((place, id)): Path<(String, String)>,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Json<Requested>, Problem> {
    changing.of_run(Request::Retry, &place, id).await
}

/// Makes all runs of an experiment eligible again that failed or were cancelled.
pub(super) async fn retry_all(
    changing: Changing,
    Path((place, name)): Path<(String, String)>,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Json<Requested>, Problem> {
    let failed = async |store: &Store, control: &Control| {
        let experiment = store
            .experiment(&name)
            .await?
            .ok_or_else(|| Problem::unknown(format!("`{place}` holds no experiment `{name}`")))?;
        let mut runs = store.runs(experiment).await?;
        runs.retain(|run| control.has_failed(run));
        Ok(runs)
    };
    changing.request(Request::Retry, &place, failed).await
}

impl Changing {
    async fn of_run(
        self,
        request: Request,
        place: &str,
        id: String,
    ) -> Result<Json<Requested>, Problem> {
        let id = RunId(id);
        let one = async |store: &Store, _: &Control| {
            let run = store.run(&id).await?;
            let unknown = || Problem::unknown(format!("`{place}` holds no run `{id}`"));
            Ok(vec![run.ok_or_else(unknown)?])
        };
        self.request(request, place, one).await
    }

    /// Asks for something of the runs that `choose` finds.
    async fn request(
        self,
        request: Request,
        place: &str,
        choose: impl AsyncFnOnce(&Store, &Control) -> Result<Vec<RunRecord>, Problem>,
    ) -> Result<Json<Requested>, Problem> {
        let place = self.0.places.find(place)?;
        // One at a time: else the second would take the first for an orchestrator at work.
        let _turn = self.0.changing.lock().await;
        let store = Store::open(&place.folder).await?;
        let came = ask(request, &place.folder, &store, choose).await;
        store.close().await;
        came.map(Json)
    }
}

async fn ask(
    request: Request,
    results: &std::path::Path,
    store: &Store,
    choose: impl AsyncFnOnce(&Store, &Control) -> Result<Vec<RunRecord>, Problem>,
) -> Result<Requested, Problem> {
    // First the lock: nobody changes what is read then.
    let control = Control::over(results, store)?;
    let runs = choose(store, &control).await?;
    let runs: Vec<&RunRecord> = runs.iter().collect();
    Ok(control.request(request, &runs).await?)
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Ended { .. }
            | ControlError::Finished { .. }
            | ControlError::Open { .. } => Self::new(StatusCode::CONFLICT, error),
            ControlError::Store(error) => error.into(),
            error @ (ControlError::Lock(_) | ControlError::Io(_)) => Self::machine(error),
        }
    }
}
