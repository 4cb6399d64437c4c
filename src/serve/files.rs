//! Tables of runs to take along.

use super::Context;
use super::problem::Problem;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use polars::prelude::DataFrame;
use report::{ReportError, tables};

/// Answers with the table of an experiment's runs, `runs.csv` or `runs.parquet`.
pub(super) async fn download(
    State(context): State<Context>,
    Path((place, name, file)): Path<(String, String, String)>,
) -> Result<impl IntoResponse, Problem> {
    type Write = fn(&mut DataFrame) -> Result<Vec<u8>, ReportError>;
    let (kind, write): (&str, Write) = match file.as_str() {
        "runs.csv" => ("text/csv; charset=utf-8", tables::csv),
        "runs.parquet" => ("application/vnd.apache.parquet", tables::parquet),
        _ => {
            return Err(Problem::unknown(format!(
                "there is no `{file}`: runs.csv and runs.parquet can be had"
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
    Ok((headers, bytes))
}
