//! The columns of every table: names, types, units and meanings, as docs/exports.md lists them.

use super::fitted::FittedParameter;
use super::{Cell, TableColumn};
use campaign::store::{AttemptRecord, RunRecord};
use experiment::architecture::solver::Level;
use experiment::event::Measurement;
use experiment::run::RunId;
use experiment::tasks::{Mean, Score, Scores, TextScore};
use scaling_law::row::Row;

/// A run with what the others say of it.
pub struct Listed {
    /// The run.
    pub record: RunRecord,
    /// The same as laws see it.
    pub row: Row,
    /// Loss of its trained control minus its own, nats per token.
    pub concept_worth: Option<f64>,
}

fn token(run: &Listed) -> Option<Level> {
    run.row.levels.map(|(token, _)| token)
}

fn concept(run: &Listed) -> Option<Level> {
    run.row.levels.and_then(|(_, concept)| concept)
}

/// A measurement of a run.
pub struct Measured {
    /// The run.
    pub run: RunId,
    /// What was measured.
    pub measurement: Measurement,
}

/// An attempt at a run.
pub struct Attempted {
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: AttemptRecord,
}

const NATS: &str = "nats per token";
const RATIO: &str = "tokens per concept";
const TIME: &str = "seconds since 1970-01-01 UTC";

const fn column<R>(
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
    cell: Cell<R>,
) -> TableColumn<R> {
    TableColumn {
        name,
        unit,
        meaning,
        cell,
    }
}

/// The columns of the table of runs, but for those of the axes.
pub static RUNS: &[TableColumn<Listed>] = &[
    column(
        "id",
        "",
        "Identity: a hash of architecture, data, recipe and seed",
        Cell::Text(|run| Some(run.record.id.0.clone())),
    ),
    column(
        "run",
        "",
        "What varies by itself: the run, or the first piece of the trunk that branches share",
        Cell::Text(|run| Some(run.row.cluster.clone())),
    ),
    column(
        "kind",
        "",
        "`dlcm`, `dense` or `token_only`, the control",
        Cell::Text(|run| Some(run.record.kind.name().to_owned())),
    ),
    column(
        "state",
        "",
        "`pending`, `running` or `ended`",
        Cell::Text(|run| Some(run.record.state.name().to_owned())),
    ),
    column(
        "outcome",
        "",
        "How it, or else its last attempt, ended: `finished`, `diverged`, `out_of_memory`, \
         `crashed`, `interrupted`, `timed_out`, `stalled`, `cancelled` or, of another trainer, \
         `finished_without_result`",
        Cell::Text(|run| run.record.outcome.map(|outcome| outcome.name().to_owned())),
    ),
    column(
        "params",
        "parameters",
        "N: parameters without embeddings, of the shape that was built",
        Cell::Count(|run| run.record.params),
    ),
    column(
        "tokens",
        "tokens",
        "D: training tokens; a branch's with its trunk's",
        Cell::Count(|run| run.record.tokens),
    ),
    column(
        "concept_share",
        "share of N",
        "P: share of N in the concept backbone, of the shape that was built; 0 without concepts",
        Cell::Number(|run| Some(run.record.concept_share)),
    ),
    column(
        "declared_ratio",
        RATIO,
        "R as declared; 1 without concepts",
        Cell::Number(|run| Some(run.record.compression_ratio)),
    ),
    column(
        "realised_ratio",
        RATIO,
        "Realised R in the last validation, with boundaries where the probability passes the threshold",
        Cell::Number(|run| run.record.realised_ratio),
    ),
    column(
        "realised_sampled",
        RATIO,
        "Realised R in the last measured training step, with sampled boundaries",
        Cell::Number(|run| run.record.realised_sampled),
    ),
    column(
        "realised_training",
        RATIO,
        "Realised R over the whole training, with training's boundaries",
        Cell::Number(|run| run.record.realised_training),
    ),
    column(
        "seed",
        "",
        "Seed of initial weights, order of batches and boundary sampling",
        Cell::Count(|run| Some(run.record.seed)),
    ),
    column(
        "loss",
        NATS,
        "Held-out loss of the last validation",
        Cell::Number(|run| run.record.loss),
    ),
    column(
        "bits_per_byte",
        "bits per UTF-8 byte",
        "The same loss, comparable between tokenizers; missing where tokens have no text, or have lost some of it",
        Cell::Number(|run| run.record.bits_per_byte),
    ),
    column(
        "flops",
        "FLOPs",
        "Training FLOPs spent, convention `exact`, at realised R; a branch's with its trunk's",
        Cell::Number(|run| run.record.flops),
    ),
    column(
        "planned_flops",
        "FLOPs",
        "Training FLOPs expected at the declared R; a branch's with its trunk's",
        Cell::Number(|run| run.record.planned_flops),
    ),
    column(
        "concept_gain",
        NATS,
        "Held-out loss without concepts minus with them",
        Cell::Number(|run| run.record.concept_gain),
    ),
    column(
        "concept_worth",
        NATS,
        "Held-out loss of its trained control, its token level alone, minus its own; missing without one",
        Cell::Number(|run| run.concept_worth),
    ),
    column(
        "boundary_gain",
        NATS,
        "Held-out loss with random boundaries at the same rate minus with learned ones",
        Cell::Number(|run| run.record.boundary_gain),
    ),
    column(
        "part",
        "",
        "Part of a training: `whole`, `branch`, or, never to be fitted, `trunk` (its rate has not \
         decayed) or `trial` (it was to find a learning rate)",
        Cell::Text(|run| Some(run.record.part.name().to_owned())),
    ),
    column(
        "start_run",
        "",
        "The run from whose end it goes on",
        Cell::Text(|run| run.record.start_run.as_ref().map(|run| run.0.clone())),
    ),
    column(
        "stable_loss",
        NATS,
        "Of a branch: held-out loss of its trunk where it left it",
        Cell::Number(|run| run.row.stable_loss),
    ),
    column(
        "learning_rate",
        "per step",
        "Base learning rate of the token level",
        Cell::Number(|run| run.row.learning_rate),
    ),
    column(
        "setting",
        "",
        "Hash of what it is but for its seed: runs of one are replicates",
        Cell::Text(|run| run.row.setting.clone()),
    ),
    column(
        "family",
        "",
        "Hash of what it is but for its learning rates",
        Cell::Text(|run| run.row.family.clone()),
    ),
    column(
        "token_level",
        "",
        "Hash of the shape of its token level, which a model with concepts shares with its control",
        Cell::Text(|run| run.row.token_level.clone()),
    ),
    column(
        "reads_ahead",
        "",
        "`true` where tokens read what comes after them (`model.causal: paper`): no law takes such a loss",
        Cell::Text(|run| run.row.reads_ahead.then(|| "true".to_owned())),
    ),
    column(
        "token_layers",
        "blocks",
        "Blocks of the token level, encoder and decoder; all of a dense model",
        Cell::Count(|run| token(run).map(|level| level.layers as u64)),
    ),
    column(
        "token_width",
        "",
        "Width of the token level",
        Cell::Count(|run| token(run).map(|level| level.width as u64)),
    ),
    column(
        "token_ffn",
        "",
        "Feed-forward width of the token level",
        Cell::Count(|run| token(run).map(|level| level.ffn as u64)),
    ),
    column(
        "concept_layers",
        "blocks",
        "Blocks of the concept backbone",
        Cell::Count(|run| concept(run).map(|level| level.layers as u64)),
    ),
    column(
        "concept_width",
        "",
        "Width of the concept backbone",
        Cell::Count(|run| concept(run).map(|level| level.width as u64)),
    ),
    column(
        "concept_ffn",
        "",
        "Feed-forward width of the concept backbone",
        Cell::Count(|run| concept(run).map(|level| level.ffn as u64)),
    ),
    column(
        "data",
        "",
        "Hash of the tokens it was trained and measured on",
        Cell::Text(|run| run.row.data.clone()),
    ),
    column(
        "data_tokens",
        "tokens",
        "Different tokens there are to train on",
        Cell::Number(|run| run.row.data_tokens),
    ),
    column(
        "entropy_floor",
        NATS,
        "Entropy of the data, which no honest loss passes; missing where it is not known",
        Cell::Number(|run| run.row.entropy_floor),
    ),
    column(
        "retries",
        "",
        "Failures answered by a retry since the run was last made eligible",
        Cell::Count(|run| Some(run.record.retries)),
    ),
    column(
        "message",
        "",
        "What was said about how it ended",
        Cell::Text(|run| run.record.message.clone()),
    ),
];

/// The columns of the table of measurements.
pub static MEASUREMENTS: &[TableColumn<Measured>] = &[
    column(
        "run",
        "",
        "The run: `id` of the table of runs",
        Cell::Text(|row| Some(row.run.0.clone())),
    ),
    column(
        "step",
        "steps",
        "Optimizer steps taken; a branch counts from its trunk's first",
        Cell::Count(|row| Some(row.measurement.step)),
    ),
    column(
        "tokens",
        "tokens",
        "Tokens seen in training",
        Cell::Count(|row| row.measurement.tokens),
    ),
    column(
        "flops",
        "FLOPs",
        "Training FLOPs spent so far, convention `exact`, at realised R",
        Cell::Number(|row| row.measurement.flops),
    ),
    column(
        "loss",
        NATS,
        "Training loss of the step's batch",
        Cell::Number(|row| row.measurement.loss),
    ),
    column(
        "validation_loss",
        NATS,
        "Held-out loss, where a validation was made",
        Cell::Number(|row| row.measurement.validation_loss),
    ),
    column(
        "bits_per_byte",
        "bits per UTF-8 byte",
        "The held-out loss, comparable between tokenizers",
        Cell::Number(|row| row.measurement.bits_per_byte),
    ),
    column(
        "realised_sampled",
        RATIO,
        "Realised R in the step, with sampled boundaries",
        Cell::Number(|row| row.measurement.realised_sampled),
    ),
    column(
        "realised_training",
        RATIO,
        "Realised R over all steps so far, with training's boundaries",
        Cell::Number(|row| row.measurement.realised_training),
    ),
    column(
        "realised_thresholded",
        RATIO,
        "Realised R in the validation, with boundaries where the probability passes the threshold",
        Cell::Number(|row| row.measurement.realised_thresholded),
    ),
    column(
        "concept_gain",
        NATS,
        "Held-out loss without concepts minus with them",
        Cell::Number(|row| row.measurement.concept_gain),
    ),
    column(
        "boundary_gain",
        NATS,
        "Held-out loss with random boundaries at the same rate minus with learned ones",
        Cell::Number(|row| row.measurement.boundary_gain),
    ),
    column(
        "auxiliary_loss",
        "",
        "The loss that holds R, not weighted by λ",
        Cell::Number(|row| row.measurement.auxiliary_loss),
    ),
    column(
        "gradient_norm",
        "",
        "Global norm of the gradient before clipping",
        Cell::Number(|row| row.measurement.gradient_norm),
    ),
    column(
        "rate_share",
        "share of the base rates",
        "Where the schedule stands",
        Cell::Number(|row| row.measurement.rate_share),
    ),
    column(
        "tokens_per_second",
        "tokens per second",
        "Training speed since the row before",
        Cell::Number(|row| row.measurement.tokens_per_second),
    ),
];

/// The columns of the table of attempts.
pub static ATTEMPTS: &[TableColumn<Attempted>] = &[
    column(
        "run",
        "",
        "The run: `id` of the table of runs",
        Cell::Text(|row| Some(row.run.0.clone())),
    ),
    column(
        "number",
        "",
        "Which attempt at it, from 1",
        Cell::Count(|row| count(row.attempt.number)),
    ),
    column(
        "started_at",
        TIME,
        "When it began",
        Cell::Number(|row| Some(row.attempt.start.started_at)),
    ),
    column(
        "ended_at",
        TIME,
        "When it ended; missing while it trains",
        Cell::Number(|row| row.attempt.ended_at),
    ),
    column(
        "outcome",
        "",
        "How it ended, as in the table of runs",
        Cell::Text(|row| row.attempt.outcome.map(|outcome| outcome.name().to_owned())),
    ),
    column(
        "exit_code",
        "",
        "Exit code, where its process exited",
        Cell::Count(|row| row.attempt.exit_code.and_then(count)),
    ),
    column(
        "signal",
        "",
        "Signal, where its process was killed",
        Cell::Count(|row| row.attempt.signal.and_then(count)),
    ),
    column(
        "message",
        "",
        "What it said, or the last lines of its log",
        Cell::Text(|row| row.attempt.message.clone()),
    ),
    column(
        "host",
        "",
        "The machine's name",
        Cell::Text(|row| Some(row.attempt.start.host.clone())),
    ),
    column(
        "device",
        "",
        "The device's name",
        Cell::Text(|row| Some(row.attempt.start.device.clone())),
    ),
    column(
        "hardware",
        "",
        "The device as its system describes it, with its driver",
        Cell::Text(|row| row.attempt.start.hardware.clone()),
    ),
    column(
        "threads",
        "threads",
        "Threads of its process",
        Cell::Count(|row| count(row.attempt.start.threads)),
    ),
    column(
        "micro_batch",
        "sequences",
        "Sequences in one forward pass",
        Cell::Count(|row| row.attempt.start.micro_batch.and_then(count)),
    ),
    column(
        "pid",
        "",
        "Its process; missing where none could be started",
        Cell::Count(|row| row.attempt.pid.and_then(count)),
    ),
    column(
        "program_version",
        "",
        "Version of this program",
        Cell::Text(|row| Some(row.attempt.start.program_version.clone())),
    ),
    column(
        "git_commit",
        "",
        "Commit of the working folder's repository, with a trailing + when it had changes",
        Cell::Text(|row| row.attempt.start.git_commit.clone()),
    ),
    column(
        "lock_hash",
        "",
        "SHA-256 of the lock file that the program was built with",
        Cell::Text(|row| row.attempt.start.lock_hash.clone()),
    ),
    column(
        "log_path",
        "",
        "Where its output went",
        Cell::Text(|row| Some(row.attempt.start.log_path.clone())),
    ),
];

/// A count that the database holds as a signed number.
fn count(stored: i64) -> Option<u64> {
    stored.try_into().ok()
}

/// A run's score of a task, or what it makes of a text.
pub struct Scored {
    /// The run.
    pub run: RunId,
    /// The score.
    pub of: ScoredOf,
}

/// What was scored.
pub enum ScoredOf {
    /// A task.
    Task(Score),
    /// A text that is held out.
    Text(TextScore),
}

impl Scored {
    /// Lists all scores of a run.
    pub fn of_run(run: &RunId, scores: &Scores) -> Vec<Self> {
        let scored = |of| Self {
            run: run.clone(),
            of,
        };
        let tasks = scores.tasks.iter().cloned().map(ScoredOf::Task);
        let texts = scores.texts.iter().cloned().map(ScoredOf::Text);
        tasks.chain(texts).map(scored).collect()
    }

    fn task(&self) -> Option<&Score> {
        match &self.of {
            ScoredOf::Task(score) => Some(score),
            ScoredOf::Text(_) => None,
        }
    }

    fn text(&self) -> Option<&TextScore> {
        match &self.of {
            ScoredOf::Task(_) => None,
            ScoredOf::Text(text) => Some(text),
        }
    }

    fn bits(&self) -> Mean {
        match &self.of {
            ScoredOf::Task(score) => score.bits_per_byte,
            ScoredOf::Text(text) => text.bits_per_byte,
        }
    }
}

const BITS: &str = "bits per UTF-8 byte";

/// The columns of the table of scores: a row a task or text of a run.
pub static SCORES: &[TableColumn<Scored>] = &[
    column(
        "run",
        "",
        "The run: `id` of the table of runs",
        Cell::Text(|row| Some(row.run.0.clone())),
    ),
    column(
        "name",
        "",
        "The task, or the text that is held out",
        Cell::Text(|row| match &row.of {
            ScoredOf::Task(score) => Some(score.task.clone()),
            ScoredOf::Text(text) => Some(text.text.clone()),
        }),
    ),
    column(
        "kind",
        "",
        "`multiple_choice`, `schema`, `language_modeling`, or `text`",
        Cell::Text(|row| {
            Some(
                row.task()
                    .map_or("text", |score| score.kind.name())
                    .to_owned(),
            )
        }),
    ),
    column(
        "digest",
        "",
        "A hash of what was asked: scores can be compared where it is the same",
        Cell::Text(|row| match &row.of {
            ScoredOf::Task(score) => Some(score.digest.clone()),
            ScoredOf::Text(text) => Some(text.digest.clone()),
        }),
    ),
    column(
        "items",
        "items",
        "Items of the task",
        Cell::Count(|row| row.task().map(|score| score.items as u64)),
    ),
    column(
        "truncated",
        "items",
        "Items whose left end did not fit into the run's `seq_len`",
        Cell::Count(|row| row.task().map(|score| score.truncated as u64)),
    ),
    column(
        "bits_per_byte",
        BITS,
        "Of the right answers, or of the text",
        Cell::Number(|row| Some(row.bits().mean)),
    ),
    column(
        "bits_per_byte_error",
        BITS,
        "Standard error over items, or over windows of the text",
        Cell::Number(|row| row.bits().standard_error),
    ),
    column(
        "accuracy",
        "share",
        "Share of right answers, by the sum of logarithms",
        Cell::Number(|row| row.task().map(|score| score.accuracy.mean)),
    ),
    column(
        "accuracy_error",
        "share",
        "Its standard error",
        Cell::Number(|row| row.task().and_then(|score| score.accuracy.standard_error)),
    ),
    column(
        "accuracy_per_byte",
        "share",
        "Share of right answers, by that sum for each byte; where there are choices",
        Cell::Number(|row| Some(row.task()?.accuracy_per_byte?.mean)),
    ),
    column(
        "share",
        "share",
        "Share of the candidates' probability on the right one; where there are choices",
        Cell::Number(|row| Some(row.task()?.share?.mean)),
    ),
    column(
        "chance",
        "share",
        "Accuracy of guessing",
        Cell::Number(|row| row.task().map(|score| score.chance)),
    ),
    column(
        "at_chance",
        "",
        "Whether the accuracy is within two standard errors of guessing",
        Cell::Flag(|row| row.task().map(|score| score.at_chance)),
    ),
    column(
        "tokens",
        "tokens",
        "Tokens of the text",
        Cell::Count(|row| row.text().map(|text| text.tokens as u64)),
    ),
    column(
        "loss",
        NATS,
        "Loss of the text",
        Cell::Number(|row| row.text().map(|text| text.loss)),
    ),
    column(
        "realised_ratio",
        RATIO,
        "Tokens per concept of the text",
        Cell::Number(|row| row.text()?.realised_ratio),
    ),
];

/// The columns of the table of fits: a row a parameter of a law.
pub static FITS: &[TableColumn<FittedParameter>] = &[
    column(
        "fit",
        "",
        "Number of the fit in the database; one fit may hold several laws",
        Cell::Count(|row| count(row.fit)),
    ),
    column(
        "created_at",
        TIME,
        "When it was fitted",
        Cell::Number(|row| Some(row.created_at)),
    ),
    column(
        "program_version",
        "",
        "Version of this program",
        Cell::Text(|row| Some(row.program_version.clone())),
    ),
    column(
        "law",
        "",
        "Name of the law",
        Cell::Text(|row| Some(row.law.clone())),
    ),
    column(
        "equation",
        "",
        "Its equation; missing where it could not be fitted",
        Cell::Text(|row| row.equation.clone()),
    ),
    column(
        "runs",
        "runs",
        "Runs that were fitted; decays for the law of decays",
        Cell::Count(|row| row.runs),
    ),
    column(
        "converged",
        "",
        "Whether the minimisation ended in a minimum",
        Cell::Flag(|row| row.converged),
    ),
    column(
        "r2",
        "",
        "Coefficient of determination of what the law predicts",
        Cell::Number(|row| row.r2),
    ),
    column(
        "parameter",
        "",
        "Name of the parameter, as in the equation; missing where the law could not be fitted",
        Cell::Text(|row| row.parameter.clone()),
    ),
    column("unit", "", "Its unit", Cell::Text(|row| row.unit.clone())),
    column(
        "value",
        "as `unit` says",
        "Its value",
        Cell::Number(|row| row.value),
    ),
    column(
        "low",
        "as `unit` says",
        "Lower end of its 95% interval; missing where it is open or not known",
        Cell::Number(|row| row.low),
    ),
    column(
        "high",
        "as `unit` says",
        "Upper end of its 95% interval; missing where it is open or not known",
        Cell::Number(|row| row.high),
    ),
    column(
        "at_bound",
        "",
        "Whether it lies on a bound",
        Cell::Flag(|row| row.at_bound),
    ),
    column(
        "remark",
        "",
        "Why the data do not determine it, or why the law could not be fitted",
        Cell::Text(|row| row.remark.clone()),
    ),
];
