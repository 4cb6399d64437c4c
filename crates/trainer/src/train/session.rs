//! The training loop of one run.

use super::TrainError;
use super::checkpoint::{self, Progress, State};
use super::evaluate::Evaluator;
use super::heartbeat::Heartbeat;
use super::journal::Journal;
use super::optimizer::Widths;
use super::replay::Replays;
use super::step::{Sequences, Settings, batch};
use crate::data::{self, Tokenizer, Vocabulary, batches::Batches};
use burn::module::Module;
use burn::tensor::Device;
use experiment::architecture::Architecture;
use experiment::event::{Event, Measurement};
use experiment::flops::Convention;
use experiment::folder::TOKENIZER;
use experiment::lock::{self, Lock, LockError};
use experiment::run::{RunId, RunOutcome, RunSpec};
use experiment::run_claim::Fence;
use network::causality::find_leak;
use network::{Decision, Network, Placement, device};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// About so many training rows are measured over a run.
const TRAINING_ROWS: u64 = 200;

/// Where and how a session works.
pub struct Place<'a> {
    /// The run's folder: journal, checkpoints, weights. That of a run it goes on from is beside it.
    pub folder: &'a Path,
    /// Where prepared data are kept.
    pub data_cache: &'a Path,
    /// Name of the device.
    pub device: &'a str,
    /// Says, between steps, whether to stop.
    pub should_stop: &'a dyn Fn() -> bool,
    /// The claim that it keeps to, where several machines share the folder: its file and its token.
    pub claim: Option<(PathBuf, String)>,
    /// Asks the trained run, and returns what is to be said of it; `None` where it was stopped before.
    pub at_end: &'a AtEnd<'a>,
}

/// Asks a run whose weights are kept; is given what shows that it lives.
pub type AtEnd<'a> = dyn Fn(&RunSpec, &dyn Fn()) -> Option<Vec<Event>> + 'a;

/// Asks nothing.
pub fn ask_nothing(_: &RunSpec, _: &dyn Fn()) -> Option<Vec<Event>> {
    Some(Vec::new())
}

impl Place<'_> {
    fn fence(&self) -> Option<Fence> {
        fence(self.claim.as_ref())
    }
}

/// What keeps a process from writing once a claim is gone.
pub(crate) fn fence(claim: Option<&(PathBuf, String)>) -> Option<Fence> {
    claim.map(|(path, token)| Fence::new(path.clone(), token.clone()))
}

/// Trains a run from its newest checkpoint, or from where it starts, to its end or until told to
/// stop.
///
/// # Errors
/// When data, device, checkpoint or journal fail; what training itself comes to is the outcome.
pub fn train(spec: &RunSpec, place: &Place) -> Result<RunOutcome, TrainError> {
    let _lock = lock_run(place.folder)?;
    let mut journal = Journal::open(place.folder)?.fenced(place.fence());
    let outcome = train_locked(spec, place, &mut journal);
    if let Err(error) = &outcome
        && !matches!(error, TrainError::Fenced)
    {
        journal.append(Event::Failed {
            message: error.to_string(),
        })?;
    }
    let outcome = outcome?;
    journal.sync()?;
    Ok(outcome)
}

/// Takes the lock of a run's folder: never do two processes train the same run.
///
/// # Errors
/// When another process has it.
pub fn lock_run(folder: &Path) -> Result<Lock, TrainError> {
    const TRIES: usize = 20;
    let take = || Lock::take(folder, "training process");
    for _ in 1..TRIES {
        match take() {
            // Somebody may just be looking whether it is free.
            Err(LockError::Held { .. }) => std::thread::sleep(Duration::from_millis(50)),
            lock => return Ok(lock?),
        }
    }
    Ok(take()?)
}

fn train_locked(
    spec: &RunSpec,
    place: &Place,
    journal: &mut Journal,
) -> Result<RunOutcome, TrainError> {
    if has_ended(spec, place.folder, journal) {
        let steps = spec.recipe.steps(spec.architecture.seq_len());
        journal.append(started(spec.id(), place.device, steps))?;
        return finish(spec, journal, place);
    }
    let (mut session, network) = Session::open(spec, place, journal)?;
    session.run(network, journal, place)
}

/// Says whether a run came to its end before: all of it is on disk, though its process may have
/// been killed before it could say so.
fn has_ended(spec: &RunSpec, folder: &Path, journal: &Journal) -> bool {
    let steps = spec.recipe.steps(spec.architecture.seq_len());
    let keeps_end = spec.execution.keeps_end;
    let kept = || checkpoint::holds_end(folder, keeps_end, steps);
    journal.was_validated(steps) && (!keeps_end && journal.was_finished() || kept())
}

/// Asks the run what it is to be asked and says that it is at its end; only then are its checkpoints not needed any
/// more.
fn finish(spec: &RunSpec, journal: &mut Journal, place: &Place) -> Result<RunOutcome, TrainError> {
    let heartbeat = Heartbeat::new(place.folder);
    let steps = spec.recipe.steps(spec.architecture.seq_len());
    let Some(said) = (place.at_end)(spec, &|| heartbeat.beat(steps)) else {
        journal.append(Event::Interrupted { step: steps })?;
        return Ok(RunOutcome::Interrupted);
    };
    for event in said {
        journal.append(event)?;
    }
    journal.append(Event::Finished)?;
    journal.sync()?;
    checkpoint::drop_checkpoints(place.folder)?;
    heartbeat.end();
    Ok(RunOutcome::Finished)
}

/// Says that this process has begun a run, of our models or of another trainer.
pub(crate) fn started(run: RunId, device: &str, resumed_step: u64) -> Event {
    Event::Started {
        run,
        pid: std::process::id(),
        host: lock::host(),
        device: device.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        resumed_step,
    }
}

/// Widths that a run's learning rates depend on.
pub fn widths(architecture: &Architecture) -> Widths {
    match architecture {
        Architecture::Dense(dense) => Widths {
            token: dense.stack.width,
            concept: dense.stack.width,
        },
        Architecture::TokenOnly(control) => Widths {
            token: control.encoder.width,
            concept: control.encoder.width,
        },
        Architecture::Dlcm(dlcm) => Widths {
            token: dlcm.encoder.width,
            concept: dlcm.backbone.width,
        },
    }
}

struct Session<'a> {
    spec: &'a RunSpec,
    device: Device,
    state: State,
    batches: Batches,
    held_out: Sequences,
    widths: Widths,
    steps: u64,
    replays: Replays,
    /// The next step's batch.
    fetched: Option<Batch>,
}

/// What a step trains on.
struct Batch {
    sequences: Sequences,
    decision: Decision,
}

impl<'a> Session<'a> {
    fn open(
        spec: &'a RunSpec,
        place: &Place,
        journal: &mut Journal,
    ) -> Result<(Self, Network), TrainError> {
        let device = device::open(place.device)?.autodiff();
        let dataset = data::prepare(&spec.data, place.data_cache)?;
        if dataset.facts.fingerprint != spec.facts.fingerprint {
            return Err(TrainError::DataChanged {
                found: dataset.facts.fingerprint.clone(),
                planned: spec.facts.fingerprint.clone(),
            });
        }
        keep_tokenizer(&dataset.vocabulary, place.folder)?;
        let seq_len = spec.architecture.seq_len();
        let batches = Batches::new(&dataset, seq_len, spec.seed)?;
        let mut held_out = Sequences::new(seq_len);
        let rows = (spec.recipe.validation_tokens / seq_len as u64).max(1);
        // Every other sequence is in the other fold, so that the folds are alike.
        let windows: Vec<Vec<u32>> = batches.validation(rows).collect();
        for row in windows
            .iter()
            .step_by(2)
            .chain(windows.iter().skip(1).step_by(2))
        {
            held_out.push(row);
        }
        let network = Network::new(&spec.architecture, spec.seed, &device)
            .with_precision(spec.recipe.precision)
            .train();
        let (network, restored) = checkpoint::resume(place.folder, network, &device)?;
        let (network, restored) = match (restored, &spec.execution.start) {
            (None, Some(start)) => {
                let folder = place.folder.with_file_name(&start.run.0);
                let (network, state) =
                    checkpoint::restore_end(&folder, start.step, network, &device)?;
                (network, Some(state))
            }
            (restored, _) => (network, restored),
        };
        if restored.is_none() {
            check_causality(spec, &network, &device)?;
        }
        let state = restored.unwrap_or_else(|| State {
            progress: Progress {
                concepts: spec.architecture.has_concepts().then_some(0),
                ..Progress::default()
            },
            ..State::default()
        });
        journal.append(started(spec.id(), place.device, state.progress.step))?;
        journal.sync()?;
        let session = Self {
            spec,
            state,
            batches,
            held_out,
            widths: widths(&spec.architecture),
            steps: spec.recipe.steps(seq_len),
            replays: Replays::default(),
            fetched: None,
            device,
        };
        Ok((session, network))
    }

    fn run(
        &mut self,
        mut network: Network,
        journal: &mut Journal,
        place: &Place,
    ) -> Result<RunOutcome, TrainError> {
        let recipe = &self.spec.recipe;
        let mut saved = Instant::now();
        let heartbeat = Heartbeat::new(place.folder);
        let mut measured = (Instant::now(), self.state.progress.step);
        let every = (self.steps / TRAINING_ROWS).max(1);
        while self.state.progress.step < self.steps {
            if (place.should_stop)() {
                self.checkpoint(&network, journal, place)?;
                journal.append(Event::Interrupted {
                    step: self.state.progress.step,
                })?;
                return Ok(RunOutcome::Interrupted);
            }
            heartbeat.beat(self.state.progress.step);
            let mut row;
            (network, row) = self.step(network);
            let finite = row.loss.is_some_and(f64::is_finite)
                && row.gradient_norm.is_some_and(f64::is_finite);
            if !finite || row.loss.is_some_and(|loss| loss > recipe.divergence_loss) {
                let loss = row.loss.filter(|loss| loss.is_finite());
                journal.append(Event::Diverged {
                    step: self.state.progress.step,
                    loss,
                })?;
                return Ok(RunOutcome::Diverged);
            }
            let step = self.state.progress.step;
            let validates = is_validation(step, self.steps, recipe.validations as u64);
            if validates || step.is_multiple_of(every) {
                let seconds = measured.0.elapsed().as_secs_f64();
                let tokens = (step - measured.1) * self.tokens_per_step();
                row.tokens_per_second = (seconds > 0.0).then(|| tokens as f64 / seconds);
                if validates && !self.validate(&network, &mut row, &|| heartbeat.beat(step)) {
                    journal.append(Event::Diverged { step, loss: None })?;
                    return Ok(RunOutcome::Diverged);
                }
                journal.append(Event::Measured(row))?;
                measured = (Instant::now(), step);
            }
            let due = saved.elapsed().as_secs_f64() >= self.spec.execution.checkpoint_every;
            if due && step < self.steps {
                self.checkpoint(&network, journal, place)?;
                saved = Instant::now();
            }
        }
        // The numbers before what says that they are all there.
        journal.sync()?;
        if self.spec.execution.keeps_end {
            checkpoint::save_end(place.folder, &network, &self.state)?;
        } else {
            checkpoint::save_final(place.folder, &network, &self.state.progress)?;
        }
        finish(self.spec, journal, place)
    }

    fn tokens_per_step(&self) -> u64 {
        (self.spec.recipe.batch * self.spec.architecture.seq_len()) as u64
    }

    /// Fetches the sequences of a step and draws its boundaries.
    fn fetch(&self, step: u64) -> Batch {
        let recipe = &self.spec.recipe;
        let seq_len = self.spec.architecture.seq_len();
        let rows = recipe.batch as u64;
        let sequences = step * rows..(step + 1) * rows;
        let decision = match &self.spec.architecture {
            Architecture::Dlcm(shape) => {
                let temperature = recipe.boundary.temperature;
                let recent = &self.state.probabilities;
                let shift = if recipe.boundary.hold_ratio {
                    recent.shift(shape.compression_ratio, temperature)
                } else {
                    0.0
                };
                Decision::in_training(shape, (temperature, shift), self.spec.seed, sequences)
            }
            Architecture::Dense(_) | Architecture::TokenOnly(_) => Decision::NoConcepts,
        };
        Batch {
            sequences: batch(&self.batches, step, recipe.batch, seq_len),
            decision,
        }
    }

    /// Takes one optimizer step and says what it measured.
    ///
    /// The network is handed through by value, so that its weights are updated in place.
    fn step(&mut self, network: Network) -> (Network, Measurement) {
        let recipe = &self.spec.recipe;
        let step = self.state.progress.step;
        let fetched = self.fetched.take();
        let Batch {
            sequences,
            decision,
        } = fetched.unwrap_or_else(|| self.fetch(step));
        let settings = Settings {
            recipe,
            output_multiplier: recipe.output_multiplier(self.widths.token),
            architecture: &self.spec.architecture,
            micro_batch: self.spec.execution.micro_batch,
            device: &self.device,
        };
        let passes = settings.run(&network, &sequences, &decision, &mut self.replays);
        self.state.probabilities.extend(&passes.probabilities);
        let rate_share = recipe.schedule.at(step, self.steps);
        let (network, gradient_norm) = self.state.optimizer.step(
            network,
            passes.gradients,
            recipe,
            self.widths,
            step + 1,
            rate_share,
        );
        self.state.progress.step += 1;
        // Before it synchronises with an asynchronous device.
        self.fetched = (step + 1 < self.steps).then(|| self.fetch(step + 1));
        let tokens = self.state.progress.step * self.tokens_per_step();
        let concepts = (passes.realised_ratio)
            .map(|ratio| (self.tokens_per_step() as f64 / ratio).round() as u64);
        let progress = &mut self.state.progress;
        progress.concepts = progress.concepts.zip(concepts).map(|(sum, new)| sum + new);
        let ratio = passes.realised_ratio.unwrap_or(1.0);
        let per_token = self
            .spec
            .architecture
            .training_flops(ratio, Convention::Exact);
        self.state.progress.flops += per_token * self.tokens_per_step() as f64;
        let row = Measurement {
            step: self.state.progress.step,
            tokens: Some(tokens),
            flops: Some(self.state.progress.flops),
            loss: Some(passes.loss.read()),
            auxiliary_loss: passes.auxiliary_loss,
            realised_sampled: passes.realised_ratio,
            realised_training: (self.state.progress.concepts)
                .map(|concepts| tokens as f64 / concepts as f64),
            gradient_norm: Some(gradient_norm.read()),
            rate_share: Some(rate_share),
            ..Measurement::default()
        };
        (network, row)
    }

    /// Adds the held-out measurements to a row; false when the loss is not a number.
    fn validate(&mut self, network: &Network, row: &mut Measurement, alive: &dyn Fn()) -> bool {
        let device = self.device.clone().inner();
        let evaluator = Evaluator {
            architecture: &self.spec.architecture,
            seed: self.spec.seed,
            sequences: &self.held_out,
            output_multiplier: self.spec.recipe.output_multiplier(self.widths.token),
            micro_batch: self.spec.execution.micro_batch,
            device: &device,
            alive,
        };
        let ratio = self.spec.architecture.compression_ratio();
        let threshold = self.spec.recipe.boundary.threshold;
        let fallback = || self.state.probabilities.threshold(ratio).unwrap_or(0.5);
        let plain = evaluator.evaluate(network, threshold, fallback);
        self.state.progress.threshold = plain.threshold;
        row.validation_loss = Some(plain.loss);
        row.bits_per_byte = self
            .spec
            .facts
            .bytes_per_token
            .map(|bytes| plain.loss / std::f64::consts::LN_2 / bytes);
        row.realised_thresholded = plain.realised_ratio;
        if self.state.progress.step == self.steps {
            let gains = evaluator.gains(network, plain);
            row.concept_gain = gains.map(|gains| gains.concept);
            row.boundary_gain = gains.and_then(|gains| gains.boundary);
        }
        plain.loss.is_finite()
    }

    fn checkpoint(
        &self,
        network: &Network,
        journal: &mut Journal,
        place: &Place,
    ) -> Result<(), TrainError> {
        // The rows before what goes on from them: they are not measured again.
        journal.sync()?;
        checkpoint::save(place.folder, network, &self.state)?;
        journal.append(Event::Checkpointed {
            step: self.state.progress.step,
        })?;
        journal.sync()
    }
}

/// Keeps what ids stand for beside the weights, so that whoever has these needs no data.
fn keep_tokenizer(vocabulary: &Vocabulary, folder: &Path) -> Result<(), TrainError> {
    let path = folder.join(TOKENIZER);
    match vocabulary.tokenizer().and_then(Tokenizer::json) {
        Some(json) if !std::fs::read(&path).is_ok_and(|kept| kept == json) => {
            checkpoint::write_whole(&path, json)
        }
        _ => Ok(()),
    }
}

/// Refuses to train a network in which a token knows its future.
pub(super) fn check_causality(
    spec: &RunSpec,
    network: &Network,
    device: &Device,
) -> Result<(), TrainError> {
    let architecture = &spec.architecture;
    if architecture.reads_ahead() {
        // It is asked for, and no law takes it.
        return Ok(());
    }
    // Long enough for several concepts and windows, short enough to cost nothing.
    let seq_len = architecture.seq_len().min(96);
    let device = device.clone().inner();
    let leak = [0.4, 0.5, 0.6].into_iter().find_map(|threshold| {
        find_leak(
            &network.valid(),
            architecture.vocab(),
            seq_len,
            Placement::of(architecture, threshold, spec.seed),
            spec.seed,
            &device,
        )
    });
    leak.map_or(Ok(()), |leak| Err(TrainError::Leak(leak)))
}

/// Says whether a validation falls on this step: `count` of them, evenly spaced, the last at the
/// end.
fn is_validation(step: u64, steps: u64, count: u64) -> bool {
    let count = count.max(1);
    // The k-th validation is at step ceil(k · steps / count).
    step * count / steps > (step - 1) * count / steps
}

#[cfg(test)]
mod tests {
    use super::is_validation;

    #[test]
    fn validations_are_even_and_end_at_the_end() {
        for (steps, count) in [(100, 5), (7, 3), (3, 5), (1, 1), (10, 0)] {
            let at: Vec<u64> = (1..=steps)
                .filter(|&step| is_validation(step, steps, count))
                .collect();
            assert_eq!(at.len() as u64, count.clamp(1, steps), "{steps} {count}");
            assert_eq!(at.last(), Some(&steps));
        }
    }
}
