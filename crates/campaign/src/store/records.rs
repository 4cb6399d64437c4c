//! The rows of the database as values.

use super::{StoreError, content, read_spec};
use experiment::architecture::ModelKind;
use experiment::event::Measurement;
use experiment::plan::Run;
use experiment::record::RunRecord;
use experiment::run::{Part, RunId, RunOutcome, RunState};
use experiment::work::Work;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An experiment, to record or as recorded.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct ExperimentRecord {
    /// Its name.
    pub name: String,
    /// The YAML as given.
    pub config: String,
    /// SHA-256 of it, hexadecimal.
    pub config_hash: String,
    /// Version of this program.
    pub program_version: String,
    /// Commit of the working folder's repository.
    pub git_commit: Option<String>,
}

/// A planned run to record.
#[derive(Clone, Debug)]
pub struct PlannedRun {
    /// Its identity.
    pub id: RunId,
    /// What it carries out.
    pub work: Work,
    /// Whether it is asked for to find a learning rate.
    pub trial: bool,
    /// Training FLOPs at the declared ratio, convention `exact`, its trunk's included; `None` where nobody
    /// says.
    pub flops: Option<f64>,
    /// The axis values as written.
    pub axes: BTreeMap<String, String>,
}

impl From<&Run> for PlannedRun {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id.clone(),
            work: run.work.clone(),
            trial: run.trial,
            flops: run.work.flops(),
            axes: run.axes.clone(),
        }
    }
}

/// A row of `runs` with the axes of its experiment.
#[derive(sqlx::FromRow)]
pub(super) struct RunRow {
    id: String,
    kind: String,
    spec: String,
    params: Option<i64>,
    concept_share: f64,
    compression_ratio: f64,
    tokens: Option<i64>,
    seed: i64,
    planned_flops: Option<f64>,
    state: String,
    outcome: Option<String>,
    message: Option<String>,
    retries: i64,
    micro_batch: Option<i64>,
    loss: Option<f64>,
    bits_per_byte: Option<f64>,
    flops: Option<f64>,
    realised_ratio: Option<f64>,
    realised_sampled: Option<f64>,
    realised_training: Option<f64>,
    concept_gain: Option<f64>,
    boundary_gain: Option<f64>,
    axes: String,
    part: String,
    start_run: Option<String>,
}

impl TryFrom<RunRow> for RunRecord {
    type Error = StoreError;

    fn try_from(row: RunRow) -> Result<Self, StoreError> {
        let spec = read_spec(&row.spec)?;
        record(row, spec)
    }
}

impl TryFrom<RunRow> for RunRecord<()> {
    type Error = StoreError;

    fn try_from(row: RunRow) -> Result<Self, StoreError> {
        record(row, ())
    }
}

fn record<S>(row: RunRow, spec: S) -> Result<RunRecord<S>, StoreError> {
    Ok(RunRecord {
        spec,
        id: RunId(row.id),
        part: Part::from_name(&row.part)
            .ok_or_else(|| content("experiment_runs.part", &row.part))?,
        start_run: row.start_run.map(RunId),
        state: RunState::from_name(&row.state).ok_or_else(|| content("runs.state", &row.state))?,
        kind: ModelKind::from_name(&row.kind).ok_or_else(|| content("runs.kind", &row.kind))?,
        params: row.params.map(|n| n as u64),
        tokens: row.tokens.map(|n| n as u64),
        concept_share: row.concept_share,
        compression_ratio: row.compression_ratio,
        realised_ratio: row.realised_ratio,
        realised_sampled: row.realised_sampled,
        realised_training: row.realised_training,
        seed: row.seed as u64,
        loss: row.loss,
        bits_per_byte: row.bits_per_byte,
        flops: row.flops,
        planned_flops: row.planned_flops,
        concept_gain: row.concept_gain,
        boundary_gain: row.boundary_gain,
        outcome: read_outcome("runs.outcome", row.outcome)?,
        message: row.message,
        retries: row.retries as u64,
        micro_batch: row.micro_batch.map(|rows| rows as usize),
        axes: serde_json::from_str(&row.axes)
            .map_err(|error| content("experiment_runs.axes", error))?,
    })
}

pub(super) fn read_outcome(
    column: &str,
    name: Option<String>,
) -> Result<Option<RunOutcome>, StoreError> {
    let outcome = |name: String| RunOutcome::from_name(&name).ok_or_else(|| content(column, &name));
    name.map(outcome).transpose()
}

/// An attempt as it starts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StartedAttempt {
    /// The machine's name.
    pub host: String,
    /// The device's name.
    pub device: String,
    /// The device as its system describes it, with its driver.
    pub hardware: Option<String>,
    /// Threads of its process.
    pub threads: i64,
    /// Sequences in one forward pass.
    pub micro_batch: Option<i64>,
    /// Version of this program.
    pub program_version: String,
    /// Commit of the working folder's repository, with a trailing + when it had changes.
    pub git_commit: Option<String>,
    /// SHA-256 of the lock file that the program was built with.
    pub lock_hash: Option<String>,
    /// Seconds since the Unix epoch.
    pub started_at: f64,
    /// Where its output goes.
    pub log_path: String,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Seconds since the Unix epoch.
    pub at: f64,
    /// The outcome.
    pub outcome: RunOutcome,
    /// Exit code, where the process exited.
    pub exit_code: Option<i64>,
    /// Signal, where it was killed.
    pub signal: Option<i64>,
    /// What it said, or the last lines of its log.
    pub message: Option<String>,
    /// Whether the run is to be tried again.
    pub tried_again: bool,
    /// Sequences in one forward pass from now on, where memory ran out.
    pub micro_batch: Option<i64>,
}

/// An attempt as stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// From 1.
    pub number: i64,
    /// Its process; `None` where none could be started.
    pub pid: Option<i64>,
    /// How it started.
    #[serde(flatten)]
    pub start: StartedAttempt,
    /// Seconds since the Unix epoch; `None` while it trains.
    pub ended_at: Option<f64>,
    /// How it ended.
    pub outcome: Option<RunOutcome>,
    /// Exit code, where the process exited.
    pub exit_code: Option<i64>,
    /// Signal, where it was killed.
    pub signal: Option<i64>,
    /// What it said, or the last lines of its log.
    pub message: Option<String>,
}

#[derive(sqlx::FromRow)]
pub(super) struct AttemptRow {
    number: i64,
    pid: Option<i64>,
    host: String,
    device: String,
    hardware: Option<String>,
    threads: i64,
    micro_batch: Option<i64>,
    program_version: String,
    git_commit: Option<String>,
    lock_hash: Option<String>,
    started_at: f64,
    log_path: String,
    ended_at: Option<f64>,
    outcome: Option<String>,
    exit_code: Option<i64>,
    signal: Option<i64>,
    message: Option<String>,
}

impl TryFrom<AttemptRow> for AttemptRecord {
    type Error = StoreError;

    fn try_from(row: AttemptRow) -> Result<Self, StoreError> {
        Ok(Self {
            number: row.number,
            pid: row.pid,
            start: StartedAttempt {
                host: row.host,
                device: row.device,
                hardware: row.hardware,
                threads: row.threads,
                micro_batch: row.micro_batch,
                program_version: row.program_version,
                git_commit: row.git_commit,
                lock_hash: row.lock_hash,
                started_at: row.started_at,
                log_path: row.log_path,
            },
            ended_at: row.ended_at,
            outcome: read_outcome("attempts.outcome", row.outcome)?,
            exit_code: row.exit_code,
            signal: row.signal,
            message: row.message,
        })
    }
}

/// A stored fit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FitRecord {
    /// Name of the law.
    pub law: String,
    /// The fit with its intervals and diagnostics.
    pub result: serde_json::Value,
    /// The runs it used.
    pub runs: Vec<RunId>,
    /// Seconds since the Unix epoch.
    pub created_at: f64,
}

/// A fit with its place in the database.
#[derive(Clone, Debug, Serialize)]
pub struct StoredFit {
    /// Its number there.
    pub id: i64,
    /// Version of the program that fitted.
    pub program_version: String,
    /// The fit.
    #[serde(flatten)]
    pub fit: FitRecord,
}

#[derive(sqlx::FromRow)]
pub(super) struct MeasurementRow {
    step: i64,
    tokens: Option<i64>,
    flops: Option<f64>,
    loss: Option<f64>,
    validation_loss: Option<f64>,
    bits_per_byte: Option<f64>,
    realised_sampled: Option<f64>,
    realised_training: Option<f64>,
    realised_thresholded: Option<f64>,
    concept_gain: Option<f64>,
    boundary_gain: Option<f64>,
    auxiliary_loss: Option<f64>,
    gradient_norm: Option<f64>,
    rate_share: Option<f64>,
    tokens_per_second: Option<f64>,
    metrics: Option<String>,
}

impl TryFrom<MeasurementRow> for Measurement {
    type Error = StoreError;

    fn try_from(row: MeasurementRow) -> Result<Self, StoreError> {
        let metrics = row.metrics.map(|json| serde_json::from_str(&json));
        let metrics = metrics
            .transpose()
            .map_err(|error| content("measurements.metrics", error))?;
        Ok(Self {
            step: row.step as u64,
            tokens: row.tokens.map(|n| n as u64),
            flops: row.flops,
            loss: row.loss,
            validation_loss: row.validation_loss,
            bits_per_byte: row.bits_per_byte,
            realised_sampled: row.realised_sampled,
            realised_training: row.realised_training,
            realised_thresholded: row.realised_thresholded,
            concept_gain: row.concept_gain,
            boundary_gain: row.boundary_gain,
            auxiliary_loss: row.auxiliary_loss,
            gradient_norm: row.gradient_norm,
            rate_share: row.rate_share,
            tokens_per_second: row.tokens_per_second,
            metrics: metrics.unwrap_or_default(),
        })
    }
}
