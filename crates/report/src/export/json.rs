//! One JSON document of everything.

use super::{ExportError, Source};
use crate::{ReportError, WholeFile};
use campaign::store::{AttemptRecord, RunRecord};
use experiment::event::Measurement;
use experiment::tasks::Scores;
use experiment::work::Work;
use scaling_law::analysis::worth_by_run;
use scaling_law::row::rows;
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What kind of document it is.
const FORMAT: &str = "orchestrator experiment";
/// Version of its form: a reader refuses newer ones. Keys may be added within a version.
const FORMAT_VERSION: u32 = 1;

/// A run with all that is known of it.
#[derive(Serialize)]
struct Run<'a> {
    #[serde(flatten)]
    record: &'a RunRecord,
    concept_worth: Option<f64>,
    spec: &'a Work,
    scores: Option<&'a Scores>,
    attempts: Vec<AttemptRecord>,
    measurements: Vec<Measurement>,
}

pub(super) async fn write(source: &Source<'_>, folder: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let (store, experiment) = (source.store, source.experiment);
    let mut file = WholeFile::create(&folder.join("experiment.json"))?;
    file.put(b"{\n\"format\": ")?;
    file.put(&text(&FORMAT)?)?;
    file.put(format!(",\n\"format_version\": {FORMAT_VERSION},\n\"experiment\": ").as_bytes())?;
    file.put(&text(&store.experiment_record(experiment).await?)?)?;
    file.put(b",\n\"runs\": [")?;
    let worth = worth_by_run(&rows(&source.runs));
    let scores = store.scores(experiment).await?;
    for (place, record) in source.runs.iter().enumerate() {
        file.put(separator(place))?;
        file.put(&text(&Run {
            record,
            concept_worth: worth.get(&record.id).copied(),
            spec: &record.spec,
            scores: scores.get(&record.id),
            attempts: store.history(&record.id).await?,
            measurements: store.measurements(&record.id).await?,
        })?)?;
    }
    file.put(b"\n],\n\"imported\": [")?;
    for (place, run) in store.imported(experiment).await?.iter().enumerate() {
        file.put(separator(place))?;
        file.put(&text(run)?)?;
    }
    file.put(b"\n],\n\"fits\": [")?;
    for (place, fit) in store.fits(experiment).await?.iter().enumerate() {
        file.put(separator(place))?;
        file.put(&text(fit)?)?;
    }
    file.put(b"\n]\n}\n")?;
    Ok(vec![file.finish()?])
}

fn separator(place: usize) -> &'static [u8] {
    if place == 0 { b"\n" } else { b",\n" }
}

/// A value as JSON in one line.
pub(super) fn text(value: &impl Serialize) -> Result<Vec<u8>, ReportError> {
    serde_json::to_vec(value).map_err(refused)
}

/// A value as JSON, to be changed before it is written.
pub(super) fn value(value: &impl Serialize) -> Result<Value, ReportError> {
    serde_json::to_value(value).map_err(refused)
}

fn refused(error: serde_json::Error) -> ReportError {
    ReportError::Json { source: error }
}
