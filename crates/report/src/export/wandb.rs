//! JSON lines for Weights & Biases: a file a run, which `scripts/wandb_import.py` reads.

use super::json::{text, value};
use super::{ExportError, Source, name};
use crate::WholeFile;
use campaign::store::RunRecord;
use experiment::event::Measurement;
use experiment::run::RunOutcome;
use scaling_law::analysis::worth_by_run;
use scaling_law::row::rows;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What kind of file it is.
const FORMAT: &str = "orchestrator run";
/// Version of its form.
const FORMAT_VERSION: u32 = 1;

pub(super) async fn write(source: &Source<'_>, folder: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let experiment = source.store.experiment_record(source.experiment).await?;
    let worth = worth_by_run(&rows(&source.runs));
    let scores = source.store.scores(source.experiment).await?;
    let mut written = Vec::new();
    for run in &source.runs {
        let measurements = source.store.measurements(&run.id).await?;
        let name = name::readable(run);
        let mut file = WholeFile::create(&folder.join(format!("{name}.jsonl")))?;
        let mut put = |line: &Value| -> Result<(), ExportError> {
            file.put(&text(line)?)?;
            Ok(file.put(b"\n")?)
        };
        let mut head = head(run, &name, &experiment.name)?;
        head["summary"]["concept_worth"] = json!(worth.get(&run.id));
        for (name, value) in scores.get(&run.id).iter().flat_map(|all| all.numbers()) {
            head["summary"][name] = json!(value);
        }
        put(&head)?;
        for measurement in &measurements {
            put(&history(measurement)?)?;
        }
        written.push(file.finish()?);
    }
    Ok(written)
}

/// The first line: what the run is, and what came of it.
fn head(run: &RunRecord, name: &str, experiment: &str) -> Result<Value, ExportError> {
    Ok(json!({
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "id": run.id,
        "name": name,
        "group": experiment,
        "job_type": run.part,
        "tags": [run.kind],
        "finished": run.outcome == Some(RunOutcome::Finished),
        "config": {
            "kind": run.kind,
            "params": run.params,
            "tokens": run.tokens,
            "concept_share": run.concept_share,
            "compression_ratio": run.compression_ratio,
            "seed": run.seed,
            "axes": run.axes,
            "spec": value(&run.spec)?,
        },
        "summary": {
            "state": run.state,
            "outcome": run.outcome,
            "loss": run.loss,
            "bits_per_byte": run.bits_per_byte,
            "flops": run.flops,
            "planned_flops": run.planned_flops,
            "realised_ratio": run.realised_ratio,
            "realised_sampled": run.realised_sampled,
            "realised_training": run.realised_training,
            "concept_gain": run.concept_gain,
            "boundary_gain": run.boundary_gain,
        },
    }))
}

/// A line of history: a measurement without what was not measured.
fn history(measurement: &Measurement) -> Result<Value, ExportError> {
    let mut row = value(measurement)?;
    if let Some(row) = row.as_object_mut() {
        row.retain(|_, cell| !cell.is_null());
    }
    Ok(row)
}
