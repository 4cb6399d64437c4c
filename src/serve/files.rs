//! Files to take along or to open: tables of runs, made on request, and what was written of a fit.

use super::Context;
use super::problem::Problem;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use experiment::folder::ResultsFolder;
use polars::prelude::DataFrame;
use report::plots::Figure;
use report::{ReportError, tables};
use std::io::ErrorKind;
use std::path::PathBuf;

/// What a report may do: run its own script, and reach nothing of this page.
const REPORT: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts";

/// What a figure may do: nothing.
const FIGURE: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox";

/// Answers with a file of an experiment: `runs.csv`, `runs.parquet` or `report.html`.
pub(super) async fn download(
    State(context): State<Context>,
    Path((place, name, file)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    type Write = fn(&mut DataFrame) -> Result<Vec<u8>, ReportError>;
    let (kind, write): (&str, Write) = match file.as_str() {
        "runs.csv" => ("text/csv; charset=utf-8", tables::csv),
        "runs.parquet" => ("application/vnd.apache.parquet", tables::parquet),
        "report.html" => {
            let kind = "text/html; charset=utf-8";
            let path = |outputs: ResultsFolder<'_>| outputs.report();
            return written(&context, &place, &name, path, [kind, REPORT]).await;
        }
        _ => {
            return Err(Problem::unknown(format!(
                "there is no `{file}`: runs.csv, runs.parquet and report.html can be had"
            )));
        }
    };
    let (store, experiment) = context.places.experiment(&place, &name).await?;
    let runs = store.runs(experiment).await?;
    let bytes = tokio::task::spawn_blocking(move || write(&mut tables::runs(&runs)?))
        .await
        .map_err(Problem::machine)?
        .map_err(Problem::machine)?;
    // A name may hold what a header may not.
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(safe).collect();
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}-{file}\""),
        ),
    ];
    Ok((headers, bytes).into_response())
}

/// Answers with a figure that was drawn, as SVG.
pub(super) async fn figure(
    State(context): State<Context>,
    Path((place, name, file)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let known = file.strip_suffix(".svg").and_then(Figure::from_name);
    let known = known.ok_or_else(|| Problem::unknown(format!("there is no figure `{file}`")))?;
    let path = |outputs: ResultsFolder<'_>| outputs.figures().join(format!("{}.svg", known.name()));
    written(&context, &place, &name, path, ["image/svg+xml", FIGURE]).await
}

/// Answers with a file that was written of an experiment; `[kind, policy]` is what it is and may do.
async fn written(
    context: &Context,
    place: &str,
    name: &str,
    path: impl FnOnce(ResultsFolder<'_>) -> PathBuf,
    [kind, policy]: [&'static str; 2],
) -> Result<Response, Problem> {
    let folder = context.places.find(place)?.folder;
    let (store, experiment) = context.places.experiment(place, name).await?;
    let outputs = store.outputs(&folder, experiment).await?;
    let path = path(ResultsFolder(&outputs));
    let read = tokio::task::spawn_blocking(move || super::plain_file::read(&path));
    match read.await.map_err(Problem::machine)? {
        Ok(bytes) => {
            let headers = [(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, policy)];
            Ok((headers, bytes).into_response())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Problem::unknown(
            "it was not written yet: `orchestrator fit` writes it",
        )),
        Err(error) => Err(Problem::machine(error)),
    }
}
