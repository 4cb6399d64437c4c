//! What people ask of runs: done at once, or by the orchestrator that is at work on them.

use super::requests::{Request, ask, asked, take_back};
use crate::launch::offers::withdraw;
use crate::store::{RunRecord, Store, StoreError};
use experiment::clock::now;
use experiment::lock::{Holder, Lock, LockError};
use experiment::run::{RunId, RunOutcome, RunState};
use serde::Serialize;
use std::collections::HashSet;
use std::path::Path;

/// Why nothing was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// What has ended cannot be cancelled.
    #[error("run {run} has ended already, as {outcome}")]
    Ended {
        /// The run.
        run: RunId,
        /// How it ended.
        outcome: RunOutcome,
    },
    /// What finished needs no other try.
    #[error("run {run} has finished")]
    Finished {
        /// The run.
        run: RunId,
    },
    /// What has not ended cannot be tried again.
    #[error("run {run} has not ended: it is {state}")]
    Open {
        /// The run.
        run: RunId,
        /// Where it stands.
        state: RunState,
    },
    /// A request could not be written or taken back.
    #[error("cannot ask for it: {0}")]
    Io(#[from] std::io::Error),
    /// The lock of the results folder cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requested {
    /// What was asked for.
    pub request: Request,
    /// Of which runs.
    pub runs: Vec<RunId>,
    /// Who was asked for it; `None` when it is done.
    pub asked: Option<String>,
}

/// Somebody who decides what becomes of the runs of a results folder.
///
/// Where nobody else is at work on the folder, nobody can begin while this lives. Else whoever is at
/// work is asked, since one process alone writes the database.
pub struct Control<'a> {
    results: &'a Path,
    store: &'a Store,
    at_work: AtWork,
}

/// Who is at work on a results folder.
enum AtWork {
    /// Nobody, for as long as this lock is held.
    Nobody(#[allow(dead_code, reason = "held, not read")] Lock),
    /// Another process, where it has said which.
    Other(Option<Holder>),
}

impl<'a> Control<'a> {
    /// Takes a results folder, where nobody is at work on it.
    ///
    /// # Errors
    /// When its lock cannot be used.
    pub fn over(results: &'a Path, store: &'a Store) -> Result<Self, ControlError> {
        let at_work = match Lock::take(results, "orchestrator") {
            Ok(lock) => AtWork::Nobody(lock),
            Err(LockError::Held { holder, .. }) => AtWork::Other(holder),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            results,
            store,
            at_work,
        })
    }

    /// Says whether a run is to be tried again where that is asked of all that failed or were cancelled: also
    /// where somebody has asked to cancel it, and it is not done yet.
    pub fn has_failed<S>(&self, run: &RunRecord<S>) -> bool {
        let is_run = |(asked, _): &(RunId, Option<Holder>)| *asked == run.id;
        run.has_failed() || asked(self.results, Request::Cancel).iter().any(is_run)
    }

    /// Asks for something of all these runs, or of none when it does not suit one of them. To ask for the
    /// opposite of what was asked for, and is not done yet, takes that back.
    ///
    /// # Errors
    /// When it does not suit a run, a request cannot be written, or the database refuses.
    pub async fn request(
        &self,
        request: Request,
        runs: &[&RunRecord],
    ) -> Result<Requested, ControlError> {
        let opposite = match request {
            Request::Cancel => Request::Retry,
            Request::Retry => Request::Cancel,
        };
        let open: HashSet<RunId> = asked(self.results, opposite)
            .into_iter()
            .map(|(run, _)| run)
            .collect();
        for run in runs {
            match suits(request, run) {
                Err(_) if open.contains(&run.id) => {}
                suits => suits?,
            }
        }
        for run in runs {
            // What was asked for before must not undo it.
            take_back(self.results, opposite, &run.id)?;
            take_back(self.results, request, &run.id)?;
            if suits(request, run).is_ok() {
                self.carry_out(request, &run.id).await?;
            }
        }
        Ok(Requested {
            request,
            runs: runs.iter().map(|run| run.id.clone()).collect(),
            asked: match &self.at_work {
                AtWork::Nobody(_) => None,
                AtWork::Other(holder) => {
                    let known = holder.as_ref().map(Holder::describe);
                    Some(known.unwrap_or("the orchestrator".to_owned()))
                }
            },
        })
    }

    async fn carry_out(&self, request: Request, run: &RunId) -> Result<(), ControlError> {
        match (&self.at_work, request) {
            (AtWork::Other(holder), _) => ask(self.results, request, run, holder.as_ref())?,
            (AtWork::Nobody(_), Request::Retry) => self.store.make_eligible(run).await?,
            (AtWork::Nobody(_), Request::Cancel) => {
                withdraw(self.results, run)?;
                let outcome = RunOutcome::Cancelled;
                self.store.end_run(run, outcome, "cancelled", now()).await?;
            }
        }
        Ok(())
    }
}

fn suits(request: Request, run: &RunRecord) -> Result<(), ControlError> {
    let id = run.id.clone();
    match (request, run.state, run.outcome) {
        (Request::Cancel, RunState::Ended, Some(outcome)) => {
            Err(ControlError::Ended { run: id, outcome })
        }
        (Request::Retry, RunState::Ended, Some(RunOutcome::Finished)) => {
            Err(ControlError::Finished { run: id })
        }
        (Request::Retry, state @ (RunState::Pending | RunState::Running), _) => {
            Err(ControlError::Open { run: id, state })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{experiment, planned};

    #[tokio::test]
    async fn runs_change_at_once_or_by_whoever_is_at_work() {
        let folder = tempfile::tempdir().expect("a folder");
        let results = folder.path();
        let store = Store::create(results).await.expect("made");
        let plan = [planned(0), planned(1)];
        store.plan(&experiment(), &plan, 1.0).await.expect("stored");
        let id = &plan[0].id;
        let record = async || store.run(id).await.expect("read").expect("stored");

        let control = Control::over(results, &store).expect("free");
        let run = record().await;
        let open = control.request(Request::Retry, &[&run]).await;
        assert!(matches!(open, Err(ControlError::Open { .. })));
        let done = control.request(Request::Cancel, &[&run]).await;
        assert_eq!(done.expect("done").asked, None);
        let run = record().await;
        assert!(run.has_failed());
        let ended = control.request(Request::Cancel, &[&run]).await;
        assert!(matches!(ended, Err(ControlError::Ended { .. })));

        let second = Control::over(results, &store).expect("usable");
        let answer = second.request(Request::Retry, &[&run]).await;
        let by = answer.expect("asked").asked.expect("somebody");
        assert!(by.starts_with("process "), "{by}");
        let holder = Lock::holder(results).expect("readable");
        assert_eq!(asked(results, Request::Retry), [(id.clone(), holder)]);
        assert!(record().await.has_failed());

        control
            .request(Request::Retry, &[&run])
            .await
            .expect("done");
        assert_eq!(record().await.state, RunState::Pending);
        assert_eq!(asked(results, Request::Retry), []);

        // Asked of an orchestrator that ends before it is done; to retry takes it back.
        let run = record().await;
        let asks = second.request(Request::Cancel, &[&run]).await;
        asks.expect("asked");
        drop((control, second));
        let control = Control::over(results, &store).expect("free");
        let back = control.request(Request::Retry, &[&run]).await;
        assert_eq!(back.expect("taken back").asked, None);
        assert_eq!(asked(results, Request::Cancel), []);
        assert_eq!(record().await.state, RunState::Pending);
        let open = control.request(Request::Retry, &[&run]).await;
        assert!(matches!(open, Err(ControlError::Open { .. })));
    }
}
