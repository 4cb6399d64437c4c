//! Answers about one run.

use super::Context;
use super::places::Place;
use super::plain_file;
use super::problem::Problem;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use campaign::orchestrate::Tail;
use campaign::store::{RunRecord, Store};
use experiment::event::{Event, Line, Measurement};
use experiment::folder::ResultsFolder;
use experiment::run::RunId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::{Read, Seek, SeekFrom};

/// The part of a log that is shown, from its end.
const LOG: u64 = 64 * 1024;

/// Measurements that are shown of a run in one go; more cannot be told apart on a screen.
const MOST: usize = 4000;

/// Finds a run.
async fn find(
    context: &Context,
    key: &str,
    id: &str,
) -> Result<(Place, Store, RunRecord), Problem> {
    let place = context.places.find(key)?;
    let store = context.places.store(&place).await?;
    let run = store.run(&RunId(id.to_owned())).await?;
    // It names a folder below.
    let plain = id.chars().all(|c| c.is_ascii_alphanumeric());
    match run.filter(|_| plain) {
        Some(run) => Ok((place, store, run)),
        None => Err(Problem::unknown(format!("`{key}` holds no run `{id}`"))),
    }
}

/// Shows everything that is known of a run, but its measurements.
pub(super) async fn show(
    State(context): State<Context>,
    Path((key, id)): Path<(String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let (place, store, run) = find(&context, &key, &id).await?;
    let attempts = store.history(&run.id).await?;
    let experiments = store.experiments_of(&run.id).await?;
    let scores = store.scores_of(&run.id).await?;
    let folder = ResultsFolder(&place.folder).run(&run.id);
    // A database may come from another machine: of its path to the log the name alone counts.
    let log = attempts.last().and_then(|attempt| {
        let path = std::path::Path::new(&attempt.start.log_path);
        Some(folder.join(path.file_name()?))
    });
    let shown = folder.display().to_string();
    let (events, log) = tokio::task::spawn_blocking(move || {
        // A damaged journal is as good as none here.
        let lines = Tail::new(&folder).read().unwrap_or_default();
        (events(lines), log.and_then(|path| end_of(&path).ok()))
    })
    .await
    .map_err(Problem::machine)?;
    let experiments: Vec<_> = experiments
        .iter()
        .map(|(name, wanted)| json!({ "name": name, "wanted": wanted }))
        .collect();
    Ok(Json(json!({
        "run": run,
        "spec": run.spec,
        "scores": scores,
        "attempts": attempts,
        "experiments": experiments,
        "folder": shown,
        "events": events,
        "log": log,
        "allows_changes": context.allows_changes,
    })))
}

/// Leaves out the measurements, which are drawn.
fn events(lines: Vec<Line>) -> Vec<Line> {
    let told = |line: &Line| !matches!(line.event, Event::Measured(_));
    lines.into_iter().filter(told).collect()
}

/// Reads the end of a log, from the beginning of a line.
fn end_of(path: &std::path::Path) -> std::io::Result<String> {
    let mut file = plain_file::open(path)?;
    let from = file.metadata()?.len().saturating_sub(LOG);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(match (from, text.split_once('\n')) {
        (1.., Some((_, whole_lines))) => format!("…\n{whole_lines}"),
        _ => text.into_owned(),
    })
}

/// From where on measurements are wanted.
#[derive(Deserialize)]
pub(super) struct From {
    #[serde(default)]
    after: u64,
}

/// Measurements column by column.
#[derive(Serialize)]
struct Columns {
    step: Vec<u64>,
    tokens: Vec<Option<u64>>,
    flops: Vec<Option<f64>>,
    loss: Vec<Option<f64>>,
    validation_loss: Vec<Option<f64>>,
    bits_per_byte: Vec<Option<f64>>,
    realised_sampled: Vec<Option<f64>>,
    realised_training: Vec<Option<f64>>,
    realised_thresholded: Vec<Option<f64>>,
    concept_gain: Vec<Option<f64>>,
    boundary_gain: Vec<Option<f64>>,
    auxiliary_loss: Vec<Option<f64>>,
    gradient_norm: Vec<Option<f64>>,
    rate_share: Vec<Option<f64>>,
    tokens_per_second: Vec<Option<f64>>,
    /// Every how many steps' rows are there; 1: all.
    every: usize,
}

/// Shows a run's measurements; of very many, every so many and all held-out losses.
pub(super) async fn measurements(
    State(context): State<Context>,
    Path((key, id)): Path<(String, String)>,
    Query(from): Query<From>,
) -> Result<impl IntoResponse, Problem> {
    let (_, store, run) = find(&context, &key, &id).await?;
    let rows = match from.after {
        0 => store.measurements(&run.id).await?,
        step => store.measurements_after(&run.id, step).await?,
    };
    let every = rows.len().div_ceil(MOST).max(1);
    let last = rows.len().saturating_sub(1);
    let kept = |(i, row): (usize, Measurement)| {
        (i % every == 0 || i == last || row.validation_loss.is_some()).then_some(row)
    };
    let rows: Vec<Measurement> = rows.into_iter().enumerate().filter_map(kept).collect();
    fn all<T>(rows: &[Measurement], value: fn(&Measurement) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    Ok(Json(Columns {
        step: all(&rows, |row| row.step),
        tokens: all(&rows, |row| row.tokens),
        flops: all(&rows, |row| row.flops),
        loss: all(&rows, |row| row.loss),
        validation_loss: all(&rows, |row| row.validation_loss),
        bits_per_byte: all(&rows, |row| row.bits_per_byte),
        realised_sampled: all(&rows, |row| row.realised_sampled),
        realised_training: all(&rows, |row| row.realised_training),
        realised_thresholded: all(&rows, |row| row.realised_thresholded),
        concept_gain: all(&rows, |row| row.concept_gain),
        boundary_gain: all(&rows, |row| row.boundary_gain),
        auxiliary_loss: all(&rows, |row| row.auxiliary_loss),
        gradient_norm: all(&rows, |row| row.gradient_norm),
        rate_share: all(&rows, |row| row.rate_share),
        tokens_per_second: all(&rows, |row| row.tokens_per_second),
        every,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_shown_from_a_whole_line_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.1.txt");
        std::fs::write(&path, "short\n").expect("written");
        assert_eq!(end_of(&path).expect("read"), "short\n");
        let long: String = (0..20_000).map(|i| format!("line {i}\n")).collect();
        std::fs::write(&path, &long).expect("written");
        let end = end_of(&path).expect("read");
        assert!(end.starts_with("…\nline ") && end.ends_with("line 19999\n"));
        assert!(end.len() as u64 <= LOG + 4);
    }

    #[test]
    fn neither_links_nor_pipes_are_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (secret, link) = (
            folder.path().join("secret"),
            folder.path().join("log.1.txt"),
        );
        std::fs::write(&secret, "secret").expect("written");
        std::os::unix::fs::symlink(&secret, &link).expect("linked");
        assert!(end_of(&link).is_err());
        let pipe = folder.path().join("log.2.txt");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert!(end_of(&pipe).is_err());
    }
}
