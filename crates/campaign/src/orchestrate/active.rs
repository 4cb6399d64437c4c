//! A run being trained, and what its process is held to.

use super::pulse::Pulse;
use super::tail::Tail;
use crate::launch::Exit;
use experiment::event::{Event, Line};
use experiment::grid::ExecutionSettings;
use experiment::plan::Run;
use experiment::run::RunOutcome;
use std::path::Path;
use std::time::Instant;

/// A run being trained.
pub(super) struct Active<'a> {
    pub(super) run: &'a Run,
    pub(super) attempt: i64,
    /// Sequences in one forward pass.
    pub(super) micro_batch: Option<usize>,
    pub(super) tail: Tail,
    pulse: Pulse,
    started: Instant,
    /// The end it has told of.
    told: Option<RunOutcome>,
    /// What it said went wrong.
    message: Option<String>,
    /// The outcome it is made to end with, and since when.
    condemned: Option<(RunOutcome, Instant)>,
}

/// What is to be done to a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Stop,
    Kill,
}

impl<'a> Active<'a> {
    pub(super) fn new(
        run: &'a Run,
        attempt: i64,
        micro_batch: Option<usize>,
        folder: &Path,
        tail: Tail,
    ) -> Self {
        Self {
            run,
            attempt,
            micro_batch,
            tail,
            pulse: Pulse::new(folder),
            started: Instant::now(),
            told: None,
            message: None,
            condemned: None,
        }
    }

    /// Takes note of what it said.
    pub(super) fn hear(&mut self, lines: &[Line]) {
        self.told = told(self.told, lines);
        for line in lines {
            if let Event::Failed { message } | Event::WithoutResult { message } = &line.event {
                self.message = Some(message.clone());
            }
        }
    }

    /// Makes it end with this outcome, unless it is made to end already.
    pub(super) fn condemn(&mut self, outcome: RunOutcome) {
        self.condemned.get_or_insert((outcome, Instant::now()));
    }

    /// Judges whether it may go on, knowing whether it `said` something since the last time.
    pub(super) fn judge(&mut self, said: bool, settings: &ExecutionSettings) -> Option<Verdict> {
        let stall_limit = settings.stall_limit.duration();
        if self.pulse.quiet(said) > stall_limit {
            self.condemn(RunOutcome::Stalled);
            return Some(Verdict::Kill);
        }
        if let Some((_, since)) = self.condemned {
            return (since.elapsed() > stall_limit).then_some(Verdict::Kill);
        }
        let limit = settings.time_limit?.duration();
        (self.started.elapsed() > limit).then(|| {
            self.condemn(RunOutcome::TimedOut);
            Verdict::Stop
        })
    }

    /// Says how it ended, from what it told, what was done to it and how its process ended.
    pub(super) fn outcome(&self, exit: &Exit, all_killed: bool) -> RunOutcome {
        match (self.told, self.condemned) {
            (Some(told), _) if told.is_result() => told,
            // A machine that is lost makes nothing of what was decided before; a run was quiet for no other reason.
            (_, Some((outcome @ (RunOutcome::Cancelled | RunOutcome::TimedOut), _))) => outcome,
            _ if exit.lost.is_some() => RunOutcome::Interrupted,
            (Some(told), None) => told,
            (_, Some((outcome, _))) => outcome,
            _ if all_killed && exit.signal.is_some() => RunOutcome::Interrupted,
            _ => match exit.outcome() {
                // A result that is not in the journal is none.
                outcome if outcome.is_result() => RunOutcome::Crashed,
                outcome => outcome,
            },
        }
    }

    /// Says what is known about that end; nothing about a result.
    pub(super) fn message(
        self,
        outcome: RunOutcome,
        exit: Exit,
        settings: &ExecutionSettings,
    ) -> Option<String> {
        let said = || self.message;
        match outcome {
            RunOutcome::Finished | RunOutcome::Diverged | RunOutcome::Interrupted => None,
            RunOutcome::Cancelled => Some("cancelled".to_owned()),
            RunOutcome::Stalled => Some(format!(
                "no sign of life for {} s (execution.stall_limit)",
                settings.stall_limit.get()
            )),
            RunOutcome::TimedOut => Some(format!(
                "not done within {} s (execution.time_limit)",
                settings.time_limit.map_or(0.0, f64::from)
            )),
            RunOutcome::Crashed | RunOutcome::OutOfMemory | RunOutcome::FinishedWithoutResult => {
                let described = exit.describe();
                let log = Some(exit.log_tail).filter(|log| !log.is_empty());
                said().or(log).or(Some(described))
            }
        }
    }
}

/// Finds the end that a run has told of, from the one it `told` of before and what it said since.
pub(super) fn told(told: Option<RunOutcome>, lines: &[Line]) -> Option<RunOutcome> {
    lines.iter().fold(told, |told, line| match line.event {
        Event::Started { .. } => None,
        Event::Finished => Some(RunOutcome::Finished),
        Event::Diverged { .. } => Some(RunOutcome::Diverged),
        Event::WithoutResult { .. } => Some(RunOutcome::FinishedWithoutResult),
        _ => told,
    })
}
