//! The loop: plan → launch → events → store.
//!
//! Owns the order of things while an experiment runs. It is the only writer of the database; the
//! runs write journals, which are taken in idempotently, so that a crash on either side loses
//! nothing.

mod lock;
mod queue;
mod tail;

pub use lock::{Lock, LockError};
pub use queue::to_do;

use crate::clock::now;
use crate::event::{Event, Measurement};
use crate::launch::{Job, LOG_FILE, LaunchError, Launcher, SPEC_FILE};
use crate::plan::Planned;
use crate::run::{RunId, RunOutcome, RunState};
use crate::store::{AttemptRecord, Ended, RunRecord, Store, StoreError};
use queue::{Blocked, Queue, run_folder};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tail::Tail;

/// Time between two looks at the runs.
const POLL: Duration = Duration::from_millis(100);

/// Why the loop had to end early.
#[derive(Debug, thiserror::Error)]
pub enum OrchestrateError {
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A process could not be started or watched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A run's folder could not be written or read.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Where an experiment's runs live and on what they run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The results folder.
    pub results: PathBuf,
    /// The folder of prepared data.
    pub data_cache: PathBuf,
    /// The device's name.
    pub device: String,
    /// The machine's name.
    pub host: String,
    /// Commit of the working folder's repository.
    pub git_commit: Option<String>,
}

impl Setting {
    /// Finds a run's folder.
    pub fn run_folder(&self, run: &RunId) -> PathBuf {
        run_folder(&self.results, run)
    }
}

/// What an observer is told.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A run's process started.
    Started(RunId),
    /// A run measured something.
    Measured(RunId, Box<Measurement>),
    /// A run ended.
    Ended(RunId, RunOutcome, Option<String>),
    /// A run will not start, and why.
    Blocked(RunId, String),
    /// Stopping was asked for; so many runs are still to stop.
    Stopping(usize),
}

/// Watches a grid being run.
pub trait Observer {
    /// Takes a notice.
    fn notice(&mut self, notice: Notice);

    /// Is called about ten times a second.
    fn tick(&mut self) {}
}

/// What came of a grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs that were finished before.
    pub already: usize,
    /// Runs that finished now.
    pub finished: usize,
    /// Runs that diverged, now or before: a result, and not tried again.
    pub diverged: usize,
    /// Runs that failed now.
    pub failed: usize,
    /// Runs that did not start, since the one they go on from failed.
    pub blocked: usize,
    /// Runs left to do.
    pub left: usize,
}

/// A run being trained.
struct Active {
    attempt: i64,
    tail: Tail,
    said: Option<String>,
}

/// Says whether a stored run needs no more training.
pub fn is_done(run: &RunRecord) -> bool {
    run.state == RunState::Ended
        && matches!(
            run.outcome,
            Some(RunOutcome::Finished | RunOutcome::Diverged)
        )
}

/// Trains what is missing of a planned experiment.
///
/// `stop` counts requests to stop: at the first, running runs checkpoint and end; at the second
/// they are killed.
///
/// # Errors
/// When the database, a folder or a process cannot be used; runs still going are stopped first.
pub async fn run(
    store: &Store,
    experiment: i64,
    planned: &[Planned],
    setting: &Setting,
    launcher: &mut dyn Launcher,
    observer: &mut dyn Observer,
    stop: &AtomicUsize,
) -> Result<Summary, OrchestrateError> {
    let mut grid = Grid {
        store,
        setting,
        launcher,
        observer,
        active: HashMap::new(),
    };
    let result = grid.run(experiment, planned, stop).await;
    if result.is_err() {
        grid.launcher.kill();
    }
    result
}

struct Grid<'a> {
    store: &'a Store,
    setting: &'a Setting,
    launcher: &'a mut dyn Launcher,
    observer: &'a mut dyn Observer,
    active: HashMap<RunId, Active>,
}

impl Grid<'_> {
    async fn run(
        &mut self,
        experiment: i64,
        planned: &[Planned],
        stop: &AtomicUsize,
    ) -> Result<Summary, OrchestrateError> {
        self.store.close_abandoned(now()).await?;
        for run in planned {
            // What a run said after its orchestrator died.
            let mut tail = Tail::new(&self.setting.run_folder(&run.id));
            self.take_in(&run.id, &mut tail).await?;
        }
        let stored: HashMap<RunId, RunRecord> = self
            .store
            .runs(experiment)
            .await?
            .into_iter()
            .map(|record| (record.id.clone(), record))
            .collect();
        let to_do = to_do(planned, &stored, &self.setting.results);
        let mut queue = Queue::new(&to_do);
        let mut summary = Summary::default();
        for record in stored.values() {
            if is_done(record) && record.outcome == Some(RunOutcome::Diverged) {
                queue.ended(&record.id, RunOutcome::Diverged);
                summary.diverged += 1;
            }
        }
        summary.already = planned.len() - to_do.len() - summary.diverged;

        let mut stops = 0;
        let mut looked = Instant::now();
        while !self.active.is_empty() || (stops == 0 && queue.len() > 0) {
            let asked = stop.load(Ordering::Relaxed).min(2);
            if asked > stops {
                stops = asked;
                self.observer.notice(Notice::Stopping(self.active.len()));
                if stops == 1 {
                    self.launcher.stop()
                } else {
                    self.launcher.kill()
                }
            }
            while stops == 0 && self.active.len() < self.launcher.slots() {
                let Some(run) = queue.next() else { break };
                self.start(run).await?;
            }
            self.listen().await?;
            for exit in self.launcher.ended()? {
                let killed = stops == 2 && exit.signal.is_some();
                let outcome = if killed {
                    RunOutcome::Interrupted
                } else {
                    exit.outcome()
                };
                match outcome {
                    RunOutcome::Finished => summary.finished += 1,
                    RunOutcome::Diverged => summary.diverged += 1,
                    RunOutcome::Interrupted => summary.left += 1,
                    RunOutcome::Crashed | RunOutcome::OutOfMemory => summary.failed += 1,
                }
                queue.ended(&exit.run, outcome);
                self.end(&exit.run.clone(), outcome, exit).await?;
            }
            while stops == 0
                && let Some(blocked) = queue.blocked()
            {
                match blocked.outcome {
                    RunOutcome::Diverged => summary.diverged += 1,
                    RunOutcome::Interrupted => summary.left += 1,
                    _ => summary.blocked += 1,
                }
                self.block(&blocked).await?;
            }
            self.observer.tick();
            tokio::time::sleep(POLL.saturating_sub(looked.elapsed().min(POLL / 2))).await;
            looked = Instant::now();
        }
        summary.left += queue.len();
        Ok(summary)
    }

    /// Says that a run cannot start; after a diverged one it would only diverge again at the same
    /// step, and that is its outcome.
    async fn block(&mut self, blocked: &Blocked<'_>) -> Result<(), OrchestrateError> {
        let id = &blocked.run.id;
        let why = format!(
            "it goes on from run {}, which ended as {}",
            blocked.start, blocked.outcome
        );
        if blocked.outcome == RunOutcome::Diverged {
            let attempt = self.attempt(blocked.run, None);
            let number = self.store.start_attempt(id, &attempt).await?;
            let ended = Ended {
                at: now(),
                outcome: blocked.outcome,
                exit_code: None,
                signal: None,
                message: Some(why.clone()),
            };
            self.store.end_attempt(id, number, &ended).await?;
        }
        self.observer.notice(Notice::Blocked(id.clone(), why));
        Ok(())
    }

    /// Describes an attempt at a run that starts now.
    fn attempt(&self, run: &Planned, pid: Option<u32>) -> AttemptRecord {
        let log = self.setting.run_folder(&run.id).join(LOG_FILE);
        AttemptRecord {
            pid: pid.map(i64::from),
            host: self.setting.host.clone(),
            device: self.setting.device.clone(),
            threads: run.spec.execution.threads as i64,
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: self.setting.git_commit.clone(),
            started_at: now(),
            log_path: log.display().to_string(),
        }
    }

    async fn start(&mut self, run: &Planned) -> Result<(), OrchestrateError> {
        let folder = self.setting.run_folder(&run.id);
        write_spec(&folder, run)?;
        let job = Job {
            run: run.id.clone(),
            data_cache: self.setting.data_cache.clone(),
            device: self.setting.device.clone(),
            threads: run.spec.execution.threads,
            folder,
        };
        let pid = self.launcher.start(&job)?;
        let attempt = self.attempt(run, Some(pid));
        let attempt = self.store.start_attempt(&run.id, &attempt).await?;
        let active = Active {
            attempt,
            tail: Tail::at_end(&job.folder),
            said: None,
        };
        self.active.insert(run.id.clone(), active);
        self.observer.notice(Notice::Started(run.id.clone()));
        Ok(())
    }

    /// Takes in what the running runs wrote since the last look.
    async fn listen(&mut self) -> Result<(), OrchestrateError> {
        let mut active = std::mem::take(&mut self.active);
        for (id, running) in &mut active {
            for event in self.take_in(id, &mut running.tail).await? {
                match event {
                    Event::Measured(row) => {
                        self.observer
                            .notice(Notice::Measured(id.clone(), Box::new(row)));
                    }
                    Event::Failed { message } => running.said = Some(message),
                    _ => {}
                }
            }
        }
        self.active = active;
        Ok(())
    }

    /// Stores the new lines of a journal and returns their events.
    async fn take_in(&self, id: &RunId, tail: &mut Tail) -> Result<Vec<Event>, OrchestrateError> {
        let lines = tail.read()?;
        if !lines.is_empty() {
            self.store.ingest(id, &lines).await?;
        }
        Ok(lines.into_iter().map(|line| line.event).collect())
    }

    async fn end(
        &mut self,
        id: &RunId,
        outcome: RunOutcome,
        exit: crate::launch::Exit,
    ) -> Result<(), OrchestrateError> {
        // The last lines may have come between the last look and the end.
        self.listen().await?;
        let Some(active) = self.active.remove(id) else {
            return Ok(());
        };
        let message = active.said.or_else(|| {
            let failed = matches!(outcome, RunOutcome::Crashed | RunOutcome::OutOfMemory);
            (failed && !exit.log_tail.is_empty()).then_some(exit.log_tail)
        });
        let ended = Ended {
            at: now(),
            outcome,
            exit_code: exit.code.map(i64::from),
            signal: exit.signal.map(i64::from),
            message: message.clone(),
        };
        self.store.end_attempt(id, active.attempt, &ended).await?;
        self.observer
            .notice(Notice::Ended(id.clone(), outcome, message));
        Ok(())
    }
}

/// Writes what a run is into its folder, whole or not at all.
fn write_spec(folder: &Path, run: &Planned) -> Result<(), OrchestrateError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| OrchestrateError::Io {
            action,
            path,
            source,
        }
    };
    std::fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let path = folder.join(SPEC_FILE);
    let temporary = path.with_extension("tmp");
    let text = serde_json::to_string_pretty(&run.spec)
        .map_err(|error| failed("write", &path)(error.into()))?;
    std::fs::write(&temporary, text).map_err(failed("write", &temporary))?;
    std::fs::rename(&temporary, &path).map_err(failed("rename to", &path))
}
