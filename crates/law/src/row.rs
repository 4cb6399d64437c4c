//! A run as laws see it, wherever it comes from: what every fit of an experiment starts from.

use experiment::architecture::solver::{Level, levels};
use experiment::architecture::{Architecture, ModelKind};
use experiment::digest;
use experiment::external::ExternalSpec;
use experiment::record::RunRecord;
use experiment::run::{Part, RunId, RunOutcome, RunSpec, RunState};
use experiment::work::Work;
use std::collections::{BTreeMap, HashMap};

/// A run: trained here, imported, or a line of anybody's table.
///
/// What a table does not say is `None`: those of others lack most of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The run's identity, or where it stands in a table.
    pub id: RunId,
    /// What varies by itself: the run, or the trunk that branches share.
    pub cluster: String,
    /// Which part of a training it is.
    pub part: Part,
    /// Where it stands.
    pub state: RunState,
    /// How it ended.
    pub outcome: Option<RunOutcome>,
    /// What kind of model it is.
    pub kind: ModelKind,
    /// Non-embedding parameters N.
    pub params: f64,
    /// Training tokens D.
    pub tokens: f64,
    /// Concept share P; 0 without concepts.
    pub concept_share: f64,
    /// Declared tokens per concept; 1 without concepts.
    pub declared_ratio: f64,
    /// Tokens per concept in evaluation: the R of the laws.
    pub realised_ratio: Option<f64>,
    /// Tokens per concept over the whole training.
    pub realised_training: Option<f64>,
    /// Whether its tokens read what comes after them: its loss is then no language model's.
    pub reads_ahead: bool,
    /// Held-out loss, nats per token.
    pub loss: Option<f64>,
    /// How much it counts; 2 as much as two.
    pub weight: f64,
    /// Seed.
    pub seed: u64,
    /// Loss without concepts minus with, nats per token.
    pub concept_gain: Option<f64>,
    /// For a branch: held-out loss of its trunk where it left it, nats per token.
    pub stable_loss: Option<f64>,
    /// Names what it is but for its seed: runs of one such name are replicates.
    pub setting: Option<String>,
    /// Names what it is but for its learning rates.
    pub family: Option<String>,
    /// Base learning rate of the token level.
    pub learning_rate: Option<f64>,
    /// Names the shape of its token level, which a model with concepts shares with its control.
    pub token_level: Option<String>,
    /// Blocks of the token level and of the concept level.
    pub levels: Option<(Level, Option<Level>)>,
    /// Names the data.
    pub data: Option<String>,
    /// Tokens there are to train on.
    pub data_tokens: Option<f64>,
    /// Entropy of the data, nats per token.
    pub entropy_floor: Option<f64>,
    /// Axis values as written.
    pub axes: BTreeMap<String, String>,
}

impl Row {
    /// Describes a finished run of which no more is known.
    pub fn measured(id: RunId, kind: ModelKind, params: f64, tokens: f64, loss: f64) -> Self {
        Self {
            cluster: id.0.clone(),
            id,
            part: Part::Whole,
            state: RunState::Ended,
            outcome: Some(RunOutcome::Finished),
            kind,
            params,
            tokens,
            concept_share: 0.0,
            declared_ratio: 1.0,
            realised_ratio: None,
            realised_training: None,
            reads_ahead: false,
            loss: Some(loss),
            weight: 1.0,
            seed: 0,
            concept_gain: None,
            stable_loss: None,
            setting: None,
            family: None,
            learning_rate: None,
            token_level: None,
            levels: None,
            data: None,
            data_tokens: None,
            entropy_floor: None,
            axes: BTreeMap::new(),
        }
    }

    /// Says why it cannot be fitted; `None` where it can.
    pub fn unusable(&self) -> Option<String> {
        if self.reads_ahead {
            return Some(
                "`model.causal: paper` lets its tokens read what comes after them".to_owned(),
            );
        }
        self.unmeasured()
    }

    /// Says why it has no loss that can be compared; `None` where it has.
    pub fn unmeasured(&self) -> Option<String> {
        match self.part {
            Part::Trunk => return Some("it is a trunk: its rate has not decayed".to_owned()),
            Part::Trial => return Some("it is a trial: it was to find a learning rate".to_owned()),
            Part::Whole | Part::Branch => {}
        }
        match (self.state, self.outcome) {
            (_, Some(RunOutcome::Finished)) => {}
            (RunState::Ended, Some(outcome)) => return Some(format!("it ended as {outcome}")),
            (state, _) => return Some(format!("it is {state}")),
        }
        match self.loss {
            None => return Some("it has no held-out loss".to_owned()),
            Some(loss) if !(loss.is_finite() && loss > 0.0) => {
                return Some(format!("its held-out loss is {loss}"));
            }
            Some(_) => {}
        }
        match (self.kind, self.realised_ratio) {
            (ModelKind::Dlcm, None) => Some("it has no realised R".to_owned()),
            (ModelKind::Dlcm, Some(ratio)) if !(ratio.is_finite() && ratio >= 1.0) => {
                Some(format!("its realised R is {ratio}"))
            }
            _ => None,
        }
    }

    /// Its loss, where it finished with one that is a number.
    pub fn finished_loss(&self) -> Option<f64> {
        let finished = self.outcome == Some(RunOutcome::Finished);
        self.loss.filter(|loss| finished && loss.is_finite())
    }

    /// What the decay took off the loss, for a branch whose trunk is known, nats per token.
    pub fn decay_gain(&self) -> Option<f64> {
        Some(self.stable_loss? - self.loss?)
    }
}

/// Reads stored runs as rows, in their order; those of whose model or training nothing is known are none.
pub fn rows(runs: &[RunRecord]) -> Vec<Row> {
    each(runs).into_iter().flatten().collect()
}

/// Reads each stored run as a row; `None` where nobody has said its N or its D.
pub fn each(runs: &[RunRecord]) -> Vec<Option<Row>> {
    let by_id: HashMap<&RunId, &RunRecord> = runs.iter().map(|run| (&run.id, run)).collect();
    runs.iter().map(|run| row(run, &by_id)).collect()
}

fn row(run: &RunRecord, by_id: &HashMap<&RunId, &RunRecord>) -> Option<Row> {
    match &run.spec {
        Work::Model(spec) => own_row(run, spec, by_id),
        Work::External(spec) => external_row(run, spec),
    }
}

/// A run of another trainer: what tells it from others are its axes.
fn external_row(run: &RunRecord, spec: &ExternalSpec) -> Option<Row> {
    let rate = |name: &str| run.axes.get(name).and_then(|rate| rate.parse().ok());
    let concepts = run.kind == ModelKind::Dlcm;
    let reached = run.realised_ratio.or(Some(run.compression_ratio));
    Some(Row {
        state: run.state,
        outcome: run.outcome,
        concept_share: run.concept_share,
        declared_ratio: run.compression_ratio,
        realised_ratio: reached.filter(|_| concepts),
        realised_training: run.realised_training,
        loss: run.loss,
        seed: run.seed,
        concept_gain: run.concept_gain,
        setting: Some(spec.setting()),
        family: Some(spec.family()),
        learning_rate: rate("learning_rate").or_else(|| rate("lr")),
        axes: run.axes.clone(),
        ..Row::measured(
            run.id.clone(),
            run.kind,
            run.params? as f64,
            run.tokens? as f64,
            0.0,
        )
    })
}

fn own_row(run: &RunRecord, spec: &RunSpec, by_id: &HashMap<&RunId, &RunRecord>) -> Option<Row> {
    let before = |id: &&RunId| by_id.get(*id).and_then(|run| run.start_run.as_ref());
    let trunk = std::iter::successors(run.start_run.as_ref(), before).last();
    let start = run.start_run.as_ref().and_then(|id| by_id.get(id));
    let stable = start
        .and_then(|trunk| trunk.loss)
        .filter(|_| run.part == Part::Branch);
    let token_level = match &spec.architecture {
        Architecture::Dlcm(dlcm) => Some(dlcm.token_level()),
        Architecture::TokenOnly(level) => Some(level.clone()),
        Architecture::Dense(_) => None,
    };
    let unseeded = RunSpec {
        seed: 0,
        ..spec.clone()
    };
    let mut unrated = spec.clone();
    let rates = &mut unrated.recipe.rates;
    (rates.token, rates.concept, rates.other) = (0.0, 0.0, 0.0);
    Some(Row {
        id: run.id.clone(),
        cluster: trunk.unwrap_or(&run.id).0.clone(),
        part: run.part,
        state: run.state,
        outcome: run.outcome,
        kind: spec.architecture.kind(),
        params: run.params? as f64,
        tokens: run.tokens? as f64,
        concept_share: run.concept_share,
        declared_ratio: run.compression_ratio,
        realised_ratio: run.realised_ratio,
        realised_training: run.realised_training,
        reads_ahead: spec.architecture.reads_ahead(),
        loss: run.loss,
        weight: 1.0,
        seed: run.seed,
        concept_gain: run.concept_gain,
        stable_loss: stable,
        setting: Some(unseeded.id().0),
        family: Some(unrated.id().0),
        learning_rate: Some(spec.recipe.rates.token),
        token_level: token_level
            .map(|level| digest::name(&serde_json::to_string(&level).unwrap_or_default())),
        levels: Some(levels(&spec.architecture)),
        data: Some(spec.facts.fingerprint.clone()),
        data_tokens: Some(spec.facts.train_tokens as f64),
        entropy_floor: spec.facts.entropy_floor,
        axes: run.axes.clone(),
    })
}
