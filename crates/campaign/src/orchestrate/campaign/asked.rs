//! What others ask of a campaign: to stop, to cancel a run, to try one again.

use super::{Campaign, End};
use crate::orchestrate::requests::{self, Request};
use crate::orchestrate::{Notice, OrchestrateError, failed};
use experiment::clock::now;
use experiment::plan::Run;
use experiment::run::{RunId, RunOutcome, RunState};
use std::sync::atomic::{AtomicUsize, Ordering};

impl Campaign<'_, '_> {
    /// Stops, or kills, what trains, as often as that was asked for.
    pub(super) fn hear_stops(&mut self, stop: &AtomicUsize) {
        let asked = stop.load(Ordering::Relaxed).min(2);
        if asked > self.stops {
            self.stops = asked;
            if self.launcher.is_remote() {
                let said = "workers go on: the same command again takes in what they have done, and with \
                            --cancel ends them";
                self.observer.notice(Notice::Said(said.to_owned()));
                return;
            }
            let running = self.active.len();
            match asked {
                1 => {
                    self.observer.notice(Notice::Stopping(running));
                    for run in self.active.keys() {
                        self.launcher.stop(run);
                    }
                }
                _ => {
                    self.observer.notice(Notice::Killing(running));
                    self.kill_all();
                }
            }
        }
    }

    /// Kills what trains.
    pub(super) fn kill_all(&mut self) {
        for run in self.active.keys() {
            self.launcher.kill(run);
        }
    }

    /// Cancels the runs that others asked to.
    pub(super) async fn cancel(&mut self) -> Result<(), OrchestrateError> {
        let results = &self.setting.results;
        for (id, of) in requests::asked(results, Request::Cancel) {
            // What another one was asked for and did not do, since it was killed, may be long ago: whoever
            // still wants it asks again.
            if let Some(of) = of.filter(|of| self.own.as_ref() != Some(of)) {
                self.observer.notice(Notice::Left(id.clone(), of));
            } else if self.launcher.is_remote() && self.active.contains_key(&id) {
                self.cancel_elsewhere(&id).await?;
            } else if let Some(active) = self.active.get_mut(&id) {
                active.condemn(RunOutcome::Cancelled);
                self.launcher.stop(&id);
            } else {
                self.cancel_waiting(&id).await?;
            }
            requests::take_back(results, Request::Cancel, &id)
                .map_err(failed("answer a request in", results))?;
        }
        Ok(())
    }

    /// Cancels a run that a worker elsewhere trains. That is done at once: whoever comes after this leader, or after
    /// that worker, must not train it.
    async fn cancel_elsewhere(&mut self, id: &RunId) -> Result<(), OrchestrateError> {
        let Some(active) = self.active.remove(id) else {
            return Ok(());
        };
        self.launcher.forget(id);
        self.launcher.stop(id);
        let end = End {
            outcome: RunOutcome::Cancelled,
            code: None,
            signal: None,
            message: Some("cancelled".to_owned()),
            is_lost: false,
        };
        self.conclude(active.run, active.attempt, active.micro_batch, end)
            .await
    }

    /// Cancels a run that waits: for its turn, for a worker, for a failed run, or for another command.
    async fn cancel_waiting(&mut self, id: &RunId) -> Result<(), OrchestrateError> {
        let outcome = RunOutcome::Cancelled;
        let is_offered = self.launcher.forget(id);
        if is_offered {
            // A worker may have taken it just now.
            self.launcher.stop(id);
        }
        let is_queued = is_offered || self.queue.withdraw(id).is_some();
        if is_queued || self.is_open(id).await? {
            self.store.end_run(id, outcome, "cancelled", now()).await?;
        }
        if is_queued {
            self.queue.ended(id, outcome);
            *self.summary.of(outcome) += 1;
            self.observer
                .notice(Notice::Ended(id.clone(), outcome, None));
        } else if self.blocked.remove(id) {
            self.summary.blocked -= 1;
            *self.summary.of(outcome) += 1;
        }
        Ok(())
    }

    /// Queues again the ended runs that others asked for, with the runs that they blocked.
    pub(super) async fn reopen_all(&mut self) -> Result<(), OrchestrateError> {
        let results = &self.setting.results;
        // Whoever was asked: to be eligible is not bound to who trains.
        for (id, _) in requests::asked(results, Request::Retry) {
            let before = self.store.run(&id).await?;
            let ended = before.filter(|record| record.state == RunState::Ended);
            let outcome = ended.and_then(|record| record.outcome);
            let outcome = outcome.filter(|outcome| *outcome != RunOutcome::Finished);
            if let Some(outcome) = outcome {
                self.store.make_eligible(&id).await?;
                // Another experiment's is for the command that trains that.
                if let Some(&run) = self.planned.get(&id) {
                    *self.summary.of(outcome) -= 1;
                    self.tries.entry(id.clone()).or_default().retries = 0;
                    self.reopen(run);
                    self.unblock(run);
                    self.observer.notice(Notice::Reopened(id.clone()));
                }
            }
            requests::take_back(results, Request::Retry, &id)
                .map_err(failed("answer a request in", results))?;
        }
        Ok(())
    }

    /// Says whether a run is stored and has not ended.
    async fn is_open(&self, id: &RunId) -> Result<bool, OrchestrateError> {
        let record = self.store.run(id).await?;
        Ok(record.is_some_and(|record| record.state != RunState::Ended))
    }

    /// Queues again the runs that could not start since this one had failed.
    fn unblock(&mut self, run: &Run) {
        let goes_on = |other: &&&Run| {
            let start = other.work.start();
            start.is_some_and(|start| start.run == run.id)
        };
        let after: Vec<&Run> = self.planned.values().filter(goes_on).copied().collect();
        for run in after {
            if self.blocked.remove(&run.id) {
                self.summary.blocked -= 1;
                self.queue.reopen(run);
                self.unblock(run);
            }
        }
    }
}
