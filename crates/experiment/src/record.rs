//! A run and where it stands.

use crate::architecture::ModelKind;
use crate::run::{Part, RunId, RunOutcome, RunState};
use crate::work::Work;
use serde::Serialize;
use std::collections::BTreeMap;

/// A run as stored; `RunRecord<()>` leaves out what it is in full, which takes longest to read.
#[derive(Clone, Debug, Serialize)]
pub struct RunRecord<S = Work> {
    /// Its identity.
    pub id: RunId,
    /// What it is.
    #[serde(skip)]
    pub spec: S,
    /// Which part of a training the experiment has it carry out.
    pub part: Part,
    /// The run from whose end it goes on.
    pub start_run: Option<RunId>,
    /// Where it stands.
    pub state: RunState,
    /// What kind of model it is.
    pub kind: ModelKind,
    /// Non-embedding parameters N of the shape that was built; `None` where nobody has said.
    pub params: Option<u64>,
    /// Training tokens D; `None` where nobody has said.
    pub tokens: Option<u64>,
    /// Concept share P of the shape that was built.
    pub concept_share: f64,
    /// Declared tokens per concept R.
    pub compression_ratio: f64,
    /// Tokens per concept in evaluation.
    pub realised_ratio: Option<f64>,
    /// Tokens per concept in training's last measured step.
    pub realised_sampled: Option<f64>,
    /// Tokens per concept over the whole training; `None` where that was not kept.
    pub realised_training: Option<f64>,
    /// Seed.
    pub seed: u64,
    /// Last held-out loss, nats per token.
    pub loss: Option<f64>,
    /// The same in bits per UTF-8 byte.
    pub bits_per_byte: Option<f64>,
    /// Training FLOPs spent, convention `exact`, at realised R, its trunk's included.
    pub flops: Option<f64>,
    /// Training FLOPs expected at the declared R; `None` where nobody has said.
    pub planned_flops: Option<f64>,
    /// Loss without concepts minus with.
    pub concept_gain: Option<f64>,
    /// Loss with random boundaries minus with learned ones.
    pub boundary_gain: Option<f64>,
    /// How it ended, or else its last attempt, where that has.
    pub outcome: Option<RunOutcome>,
    /// What was said about that.
    pub message: Option<String>,
    /// Failures answered by a retry since the run was last made eligible.
    pub retries: u64,
    /// Sequences in one forward pass after memory ran out; `None`: as declared.
    pub micro_batch: Option<usize>,
    /// The axis values as written.
    pub axes: BTreeMap<String, String>,
}

impl<S> RunRecord<S> {
    /// Says whether the model has a concept level.
    pub fn has_concepts(&self) -> bool {
        self.kind == ModelKind::Dlcm
    }

    /// Says whether it ended without a result: it failed or was cancelled, and can be tried again.
    pub fn has_failed(&self) -> bool {
        self.state == RunState::Ended && self.outcome.is_some_and(|outcome| !outcome.is_result())
    }
}
