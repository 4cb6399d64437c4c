//! What follows the end of an attempt.

use experiment::grid::ExecutionSettings;
use experiment::run::RunOutcome;
use std::time::Duration;

/// What was done about a run's failures so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tries {
    /// Failures answered by a retry.
    pub(super) retries: u64,
    /// Sequences in one forward pass after memory ran out; `None`: as declared.
    pub(super) micro_batch: Option<usize>,
}

/// What is done about the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answer {
    /// Nothing: it is the run's end.
    End,
    /// The run waits to be carried out by another command.
    Leave,
    /// It is tried again after a while.
    Retry(Duration),
    /// It is tried again at once with so many sequences in one forward pass.
    Smaller(usize),
}

/// Decides what follows an attempt.
///
/// `rows` are the sequences that the attempt computed at once and those of an optimizer step, where the
/// trainer can be told how many.
pub(super) fn answer(
    outcome: RunOutcome,
    tries: Tries,
    rows: Option<(usize, usize)>,
    settings: &ExecutionSettings,
) -> Answer {
    match outcome {
        RunOutcome::Finished
        | RunOutcome::Diverged
        | RunOutcome::TimedOut
        | RunOutcome::Cancelled
        // It would end so again.
        | RunOutcome::FinishedWithoutResult => Answer::End,
        RunOutcome::Interrupted => Answer::Leave,
        RunOutcome::OutOfMemory => rows
            .and_then(|(micro_batch, batch)| smaller(micro_batch, batch))
            .map_or(Answer::End, Answer::Smaller),
        RunOutcome::Crashed | RunOutcome::Stalled if tries.retries < settings.retries as u64 => {
            // Beyond an hour nothing is gained by waiting longer.
            let first = settings.back_off.get();
            let seconds = first * 2f64.powi(tries.retries.min(30) as i32);
            Answer::Retry(Duration::from_secs_f64(seconds.min(first.max(3600.0))))
        }
        RunOutcome::Crashed | RunOutcome::Stalled => Answer::End,
    }
}

/// Finds the next smaller micro-batch: the largest divisor of the batch that is at most half of it.
fn smaller(micro_batch: usize, batch: usize) -> Option<usize> {
    (1..=micro_batch / 2)
        .rev()
        .find(|rows| batch.is_multiple_of(*rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_answered_and_results_are_not() {
        let settings = ExecutionSettings::default();
        let after = |outcome, retries| {
            let tries = Tries {
                retries,
                micro_batch: None,
            };
            answer(outcome, tries, Some((12, 12)), &settings)
        };
        use RunOutcome::{
            Crashed, Diverged, Finished, Interrupted, OutOfMemory, Stalled, TimedOut,
        };
        let without = RunOutcome::FinishedWithoutResult;
        for outcome in [Finished, Diverged, TimedOut, RunOutcome::Cancelled, without] {
            assert_eq!(after(outcome, 0), Answer::End);
        }
        assert_eq!(after(Interrupted, 9), Answer::Leave);
        let seconds = |seconds| Answer::Retry(Duration::from_secs(seconds));
        for outcome in [Crashed, Stalled] {
            let answers = [0, 1, 2].map(|retries| after(outcome, retries));
            assert_eq!(answers, [seconds(5), seconds(10), Answer::End]);
        }
        assert_eq!(after(OutOfMemory, 9), Answer::Smaller(6));
        let none = answer(OutOfMemory, Tries::default(), None, &settings);
        assert_eq!(none, Answer::End, "nobody can tell it");
        let mut sizes = vec![12];
        while let Some(rows) = smaller(sizes[sizes.len() - 1], 12) {
            sizes.push(rows);
        }
        assert_eq!(sizes, [12, 6, 3, 1]);
    }
}
