//! The loop itself.

mod asked;

use super::active::{Active, Verdict};
use super::intake::{is_whole, settle, take_in, write_spec};
use super::policy::{self, Answer, Tries};
use super::queue::{Queue, to_do};
use super::tail::Tail;
use super::{Limit, Mode, Notice, Observer, OrchestrateError, Retried, Setting, Summary};
use crate::launch::local::environment;
use crate::launch::{Exit, Job, Launcher};
use crate::store::{Ended, RunRecord, StartedAttempt, Store};
use experiment::clock::now;
use experiment::event::Event;
use experiment::folder::log_name;
use experiment::folder::{CHECKPOINT, END, PREVIOUS_CHECKPOINT, WEIGHTS};
use experiment::lock::{Holder, Lock};
use experiment::plan::Run;
use experiment::run::{RunId, RunOutcome, RunState};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// Shortest and longest time between two looks at the runs: when much happens, and when nothing
/// does.
const POLL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Time between two looks at a folder in which somebody still works.
const HELD: Duration = Duration::from_secs(1);

/// Trains what is missing of a planned experiment.
///
/// `stop` counts requests to stop: at the first, running runs checkpoint and end; at the second
/// they are killed.
///
/// # Errors
/// When the database cannot be used; runs still going are killed first.
pub async fn run(
    store: &Store,
    experiment: i64,
    planned: &[Run],
    setting: &Setting,
    launcher: &mut dyn Launcher,
    observer: &mut dyn Observer,
    stop: &AtomicUsize,
) -> Result<Summary, OrchestrateError> {
    let adopted: HashSet<RunId> = launcher.adopt().into_iter().collect();
    settle(store, planned, setting, &adopted).await?;
    let stored: HashMap<RunId, RunRecord> = store
        .runs(experiment)
        .await?
        .into_iter()
        .map(|record| (record.id.clone(), record))
        .collect();
    let to_do = to_do(planned, &stored, &setting.results);
    let waits: HashSet<&RunId> = to_do.iter().map(|run| &run.id).collect();
    let done = planned.iter().filter(|run| !waits.contains(&run.id));
    let ahead = launcher.is_remote();
    let mut campaign = Campaign {
        store,
        setting,
        launcher,
        observer,
        planned: planned.iter().map(|run| (&run.id, run)).collect(),
        queue: Queue::new(&to_do, setting.execution.order, &setting.first, ahead),
        tries: HashMap::new(),
        active: HashMap::new(),
        started: HashSet::new(),
        flops: done.filter_map(|run| run.flops).sum(),
        began: Instant::now(),
        // A lock that cannot be read names nobody: requests of nobody in particular are taken then.
        own: Lock::holder(&setting.results).ok().flatten(),
        held: HashMap::new(),
        blocked: HashSet::new(),
        stops: 0,
        summary: Summary::default(),
    };
    for record in stored.values() {
        campaign.recall(record, waits.contains(&record.id));
    }
    campaign.adopt(adopted, &waits);
    let result = campaign.run(stop).await;
    if result.is_err() && !campaign.launcher.is_remote() {
        campaign.kill_all();
    }
    result?;
    campaign.launcher.settle();
    // What was asked for as the last runs ended.
    campaign.cancel().await?;
    campaign.reopen_all().await?;
    campaign.summary.left += campaign.queue.len();
    campaign.summary.left_by = campaign.limit().filter(|_| campaign.summary.left > 0);
    Ok(campaign.summary)
}

struct Campaign<'a, 'b> {
    store: &'b Store,
    setting: &'b Setting,
    launcher: &'b mut dyn Launcher,
    observer: &'b mut dyn Observer,
    planned: HashMap<&'a RunId, &'a Run>,
    queue: Queue<'a>,
    tries: HashMap<RunId, Tries>,
    active: HashMap<RunId, Active<'a>>,
    /// Runs that this command has started.
    started: HashSet<RunId>,
    /// Training FLOPs of runs that have ended or started.
    flops: f64,
    began: Instant,
    /// This process, as whoever asks for something knows it.
    own: Option<Holder>,
    /// Since when runs are seen to be held by a process of another orchestrator.
    held: HashMap<RunId, Instant>,
    /// Runs that did not start, since one before them had failed.
    blocked: HashSet<RunId>,
    /// Requests to stop.
    stops: usize,
    summary: Summary,
}

impl<'a> Campaign<'a, '_> {
    /// Takes note of what became of a run before.
    fn recall(&mut self, record: &RunRecord, is_to_do: bool) {
        let tries = Tries {
            retries: record.retries,
            micro_batch: record.micro_batch,
        };
        self.tries.insert(record.id.clone(), tries);
        if let (RunState::Ended, Some(outcome), false) = (record.state, record.outcome, is_to_do) {
            match outcome {
                RunOutcome::Finished => self.summary.already += 1,
                outcome => *self.summary.of(outcome) += 1,
            }
            self.queue.ended(&record.id, outcome);
        }
    }

    async fn run(&mut self, stop: &AtomicUsize) -> Result<(), OrchestrateError> {
        let mut wait = POLL.0;
        loop {
            self.hear_stops(stop);
            self.cancel().await?;
            self.reopen_all().await?;
            // One time for what may start and for what may start later: nothing falls between.
            let now = Instant::now();
            let started = self.start_all(now).await? | self.take_note().await?;
            self.listen().await?;
            let ended = self.collect().await?;
            self.block().await?;
            self.observer.tick();
            for note in self.launcher.tend()? {
                self.observer.notice(Notice::Said(note));
            }
            let busy = started || ended;
            let more = self.may_start() && (busy || self.queue.has_later(now));
            let stops = match self.setting.mode {
                Mode::Train => self.stops > 0,
                Mode::Offer => self.stops > 0 || !more && self.launcher.is_settled(),
                Mode::TakeIn => true,
            };
            if self.launcher.is_remote() && stops {
                // Workers go on by themselves; whoever comes next takes in what they do.
                self.summary.left += self.active.len() + self.launcher.waiting();
                return Ok(());
            }
            if self.active.is_empty() && self.launcher.waiting() == 0 && !more {
                return Ok(());
            }
            wait = if busy { POLL.0 } else { POLL.1.min(2 * wait) };
            tokio::time::sleep(wait).await;
        }
    }

    /// Says whether runs may start at all.
    fn may_start(&self) -> bool {
        self.stops == 0 && self.setting.mode != Mode::TakeIn && self.is_in_time()
    }

    fn is_in_time(&self) -> bool {
        let passed = self.began.elapsed();
        let most = self.setting.execution.max_time;
        most.is_none_or(|most| passed < most.duration())
    }

    /// Finds what keeps the runs that are left from starting.
    fn limit(&self) -> Option<Limit> {
        let is_reached = |most: usize| self.started.len() >= most;
        if self.stops > 0 {
            Some(Limit::Stop)
        } else if self.setting.max_runs.is_some_and(is_reached) {
            Some(Limit::MaxRuns)
        } else if !self.is_in_time() {
            Some(Limit::MaxTime)
        } else if self.setting.mode != Mode::Train {
            Some(Limit::Elsewhere)
        } else {
            self.setting.execution.max_flops.map(|_| Limit::MaxFlops)
        }
    }

    /// Starts what can start; says whether anything did.
    async fn start_all(&mut self, now: Instant) -> Result<bool, OrchestrateError> {
        let mut any = false;
        while self.may_start() && self.launcher.place(0.0).is_some() {
            let (launcher, started, flops) = (&*self.launcher, &self.started, self.flops);
            let most_runs = self.setting.max_runs.unwrap_or(usize::MAX);
            let most_flops = self.setting.execution.max_flops.unwrap_or(f64::INFINITY);
            let allowed = |run: &Run| {
                // Sums of floats: a cap of just what is asked for allows it.
                let affordable = flops + run.flops.unwrap_or(0.0) <= most_flops * (1.0 + 1e-9);
                started.contains(&run.id) || started.len() < most_runs && affordable
            };
            let next = self.queue.next(now, |run| {
                allowed(run) && launcher.place(run.memory).is_some()
            });
            let Some(run) = next else { break };
            if self.launcher.is_remote() {
                any = true;
                self.start(run).await?;
                continue;
            }
            match Lock::holder(&self.setting.run_folder(&run.id)) {
                Ok(Some(holder)) => self.wait_for(run, &holder),
                // A lock that cannot be read is left to the process that needs it.
                Ok(None) | Err(_) => {
                    any = true;
                    self.held.remove(&run.id);
                    self.start(run).await?;
                }
            }
        }
        Ok(any)
    }

    /// Has a run wait for a process that still works in its folder, and makes that end.
    fn wait_for(&mut self, run: &'a Run, holder: &Holder) {
        if !self.held.contains_key(&run.id) {
            let notice = Notice::Held(run.id.clone(), holder.describe());
            self.observer.notice(notice);
        }
        let since = self.held.entry(run.id.clone()).or_insert(Instant::now());
        let by_force = since.elapsed() > self.setting.execution.stall_limit.duration();
        self.launcher.evict(&run.id, holder, by_force);
        self.queue.again(run, Instant::now() + HELD);
    }

    async fn start(&mut self, run: &'a Run) -> Result<(), OrchestrateError> {
        if self.started.insert(run.id.clone()) {
            self.flops += run.flops.unwrap_or(0.0);
        }
        let folder = self.setting.run_folder(&run.id);
        let declared = run.work.micro_batch();
        let tries = self.tries.entry(run.id.clone()).or_default();
        let micro_batch = declared.map(|declared| {
            let after = tries.micro_batch;
            after.map_or(declared, |rows| rows.min(declared))
        });
        let number = self.store.attempts(&run.id).await? as usize + 1;
        let job = Job {
            run: run.id.clone(),
            log: folder.join(log_name(number)),
            data_cache: self.setting.data_cache.clone(),
            device: self.launcher.place(run.memory).unwrap_or_default(),
            threads: run.work.threads(),
            attempt: number,
            environment: run
                .work
                .model()
                .and_then(|spec| environment(spec.recipe.precision)),
            after: run.work.start().map(|start| start.run.clone()),
            claim: None,
            devices: run.work.devices(),
            memory: run.memory,
            folder,
        };
        let prepared = match self.prepare(run, &job, micro_batch).await {
            // The database's troubles are everybody's; others are this run's.
            Err(OrchestrateError::Store(error)) => return Err(error.into()),
            prepared => prepared,
        };
        if self.launcher.is_remote() {
            let offered = prepared.and_then(|_| Ok(self.launcher.start(&job)?));
            if let Err(error) = offered {
                let end = End::failed(error.to_string());
                return self.conclude(run, number as i64, micro_batch, end).await;
            }
            return Ok(());
        }
        let provenance = &self.setting.provenance;
        let attempt = StartedAttempt {
            host: provenance.host.clone(),
            hardware: provenance.hardware.get(&job.device).cloned(),
            device: job.device.clone(),
            threads: job.threads as i64,
            micro_batch: micro_batch.map(|rows| rows as i64),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: provenance.git_commit.clone(),
            lock_hash: provenance.lock_hash.clone(),
            started_at: now(),
            log_path: job.log.display().to_string(),
        };
        // Before its process: one that the database does not know would never be accounted for.
        let number = self.store.start_attempt(&run.id, &attempt).await?;
        let launched = prepared.and_then(|tail| Ok((self.launcher.start(&job)?, tail)));
        match launched {
            Ok((pid, tail)) => {
                let active = Active::new(run, number, micro_batch, &job.folder, tail);
                self.active.insert(run.id.clone(), active);
                self.observer.notice(Notice::Started(run.id.clone()));
                self.store.attempt_runs_as(&run.id, number, pid).await?;
                Ok(())
            }
            Err(error) => {
                let end = End::failed(error.to_string());
                self.conclude(run, number, micro_batch, end).await
            }
        }
    }

    /// Takes over the runs that were offered before; whatever is told of others is forgotten.
    fn adopt(&mut self, offered: HashSet<RunId>, to_do: &HashSet<&RunId>) {
        for run in offered {
            if to_do.contains(&run) && self.queue.adopt(&run) {
                self.started.insert(run);
            } else {
                self.forget(&run);
            }
        }
    }

    /// Forgets what is told of a run that is not to be trained. Whoever only takes in leaves the runs of others
    /// alone: they may be those of another plan.
    fn forget(&mut self, run: &RunId) {
        if self.setting.mode != Mode::TakeIn || self.planned.contains_key(run) {
            self.launcher.forget(run);
        } else {
            self.launcher.leave(run);
        }
    }

    /// Takes note of the runs that have begun elsewhere; says whether any has.
    async fn take_note(&mut self) -> Result<bool, OrchestrateError> {
        let begun = self.launcher.begun();
        let any = !begun.is_empty();
        for begun in begun {
            let Some(run) = self.queue.taken(&begun.run) else {
                self.forget(&begun.run);
                continue;
            };
            let folder = self.setting.run_folder(&run.id);
            let declared = run.work.micro_batch();
            let tries = self.tries.entry(run.id.clone()).or_default();
            let micro_batch = declared.map(|rows| tries.micro_batch.unwrap_or(rows).min(rows));
            let provenance = &self.setting.provenance;
            let attempt = StartedAttempt {
                host: begun.host,
                hardware: None,
                device: begun.device,
                threads: run.work.threads() as i64,
                micro_batch: micro_batch.map(|rows| rows as i64),
                program_version: env!("CARGO_PKG_VERSION").to_owned(),
                git_commit: provenance.git_commit.clone(),
                lock_hash: provenance.lock_hash.clone(),
                started_at: now(),
                log_path: folder.join(log_name(begun.attempt)).display().to_string(),
            };
            let open = self.store.open_attempts().await?;
            let number = match open.into_iter().find(|(open, _)| *open == run.id) {
                // It began while another watched.
                Some((_, number)) => number,
                None => self.store.start_attempt(&run.id, &attempt).await?,
            };
            let active = Active::new(run, number, micro_batch, &folder, Tail::new(&folder));
            self.active.insert(run.id.clone(), active);
            self.observer.notice(Notice::Started(run.id.clone()));
        }
        Ok(any)
    }

    /// Prepares a run's folder for its process; its journal is taken in as far as it goes.
    async fn prepare(
        &self,
        run: &Run,
        job: &Job,
        micro_batch: Option<usize>,
    ) -> Result<Tail, OrchestrateError> {
        // An earlier process may have written on after nobody listened any more.
        let mut tail = Tail::new(&job.folder);
        let lines = take_in(self.store, &run.id, &mut tail).await?;
        let newest = lines.iter().map(|line| line.seq).max();
        self.store.journal_ends(&run.id, newest).await?;
        write_spec(&job.folder, run, micro_batch)?;
        Ok(tail)
    }

    /// Takes in what the running runs wrote since the last look, and judges whether they may go on.
    async fn listen(&mut self) -> Result<(), OrchestrateError> {
        for (id, active) in &mut self.active {
            let lines = match take_in(self.store, id, &mut active.tail).await {
                // A journal that cannot be read now may be later; until then its run says nothing.
                Err(error @ OrchestrateError::Io { .. }) => {
                    tracing::warn!(%error, "journal not read");
                    Vec::new()
                }
                lines => lines?,
            };
            active.hear(&lines);
            let said = !lines.is_empty();
            for line in lines {
                if let Event::Measured(row) = line.event {
                    let notice = Notice::Measured(id.clone(), Box::new(row));
                    self.observer.notice(notice);
                }
            }
            match active.judge(said, &self.setting.execution) {
                None => {}
                Some(Verdict::Stop) => self.launcher.stop(id),
                Some(Verdict::Kill) => self.launcher.kill(id),
            }
        }
        Ok(())
    }

    /// Collects the runs that ended; says whether any did.
    async fn collect(&mut self) -> Result<bool, OrchestrateError> {
        let exits = self.launcher.ended()?;
        if exits.is_empty() {
            return Ok(false);
        }
        // The last lines may have come between the last look and the end.
        self.listen().await?;
        for exit in exits {
            if let Some(active) = self.active.remove(&exit.run) {
                self.end(active, exit).await?;
            }
        }
        Ok(true)
    }

    async fn end(&mut self, active: Active<'a>, exit: Exit) -> Result<(), OrchestrateError> {
        let (run, number, micro_batch) = (active.run, active.attempt, active.micro_batch);
        let outcome = active.outcome(&exit, self.stops == 2);
        let lost = exit.lost.clone();
        let lost = lost.filter(|_| outcome == RunOutcome::Interrupted);
        let (code, signal) = (exit.code, exit.signal);
        let end = if is_whole(self.store, run, outcome).await? {
            End {
                outcome,
                code,
                signal,
                message: lost
                    .clone()
                    .or_else(|| active.message(outcome, exit, &self.setting.execution)),
                is_lost: lost.is_some(),
            }
        } else {
            End {
                outcome: RunOutcome::Crashed,
                code,
                signal,
                message: Some("its journal has lost the last measurement".to_owned()),
                is_lost: false,
            }
        };
        self.conclude(run, number, micro_batch, end).await
    }

    /// Stores how an attempt ended, and does what follows.
    async fn conclude(
        &mut self,
        run: &'a Run,
        number: i64,
        micro_batch: Option<usize>,
        end: End,
    ) -> Result<(), OrchestrateError> {
        let tries = self.tries.entry(run.id.clone()).or_default();
        let settings = &self.setting.execution;
        let rows = micro_batch.zip(run.work.batch());
        let answer = if end.is_lost {
            // Not the run's fault: none of its retries is spent.
            Answer::Retry(Duration::ZERO)
        } else {
            policy::answer(end.outcome, *tries, rows, settings)
        };
        let (after, smaller) = match answer {
            Answer::Retry(after) => (Some(after), None),
            Answer::Smaller(rows) => (Some(Duration::ZERO), Some(rows)),
            Answer::End | Answer::Leave => (None, None),
        };
        let ended = Ended {
            at: now(),
            outcome: end.outcome,
            exit_code: end.code.map(i64::from),
            signal: end.signal.map(i64::from),
            message: end.message.clone(),
            // One that was lost is pending again, and no retry is spent.
            tried_again: after.is_some() && !end.is_lost,
            micro_batch: smaller.map(|rows| rows as i64),
        };
        self.store.end_attempt(&run.id, number, &ended).await?;
        let Some(after) = after else {
            if end.outcome == RunOutcome::Finished {
                // A process that is killed as it ends leaves its checkpoints. What cannot be removed does
                // no harm.
                let folder = self.setting.run_folder(&run.id);
                let weights = (!settings.keep_weights).then_some(WEIGHTS);
                for name in [CHECKPOINT, PREVIOUS_CHECKPOINT].into_iter().chain(weights) {
                    let _ = std::fs::remove_file(folder.join(name));
                }
            }
            self.queue.ended(&run.id, end.outcome);
            *self.summary.of(end.outcome) += 1;
            let notice = Notice::Ended(run.id.clone(), end.outcome, end.message);
            self.observer.notice(notice);
            return Ok(());
        };
        match smaller {
            Some(_) => tries.micro_batch = smaller,
            None if end.is_lost => {}
            None => tries.retries += 1,
        }
        self.reopen_start(run);
        self.queue.again(run, Instant::now() + after);
        self.observer.notice(Notice::Retried(Box::new(Retried {
            run: run.id.clone(),
            outcome: end.outcome,
            message: end.message,
            after,
            micro_batch: smaller,
        })));
        Ok(())
    }

    /// Queues a run that has ended again; false when it is queued or trained already.
    fn reopen(&mut self, run: &'a Run) -> bool {
        let is_new = self.queue.reopen(run);
        // As one that had ended it was counted; as one that starts it will be.
        if is_new && !self.started.contains(&run.id) {
            self.flops -= run.flops.unwrap_or(0.0);
        }
        is_new
    }

    /// Queues again the runs whose lost end states a run would go on from.
    fn reopen_start(&mut self, run: &Run) {
        let mut run = run;
        while let Some(start) = run.work.start()
            && let Some(&before) = self.planned.get(&start.run)
            && !self.setting.run_folder(&before.id).join(END).exists()
            && self.reopen(before)
        {
            run = before;
        }
    }

    /// Gives up the runs that cannot start any more; after a diverged one a run would only diverge
    /// again at the same step, and that is its outcome.
    async fn block(&mut self) -> Result<(), OrchestrateError> {
        while self.stops == 0 {
            for run in self.queue.stranded() {
                // One that is trained had what it goes on from.
                if !self.active.contains_key(&run.id) {
                    self.launcher.forget(&run.id);
                    self.queue.again(run, Instant::now());
                }
            }
            let Some(blocked) = self.queue.blocked() else {
                break;
            };
            let (id, outcome) = (&blocked.run.id, blocked.outcome);
            let start = blocked.start;
            let why = format!("it goes on from run {start}, which ended as {outcome}");
            match outcome {
                RunOutcome::Diverged => {
                    self.store.end_run(id, outcome, &why, now()).await?;
                    *self.summary.of(outcome) += 1;
                }
                RunOutcome::Interrupted => *self.summary.of(outcome) += 1,
                _ => {
                    self.summary.blocked += 1;
                    self.blocked.insert(id.clone());
                }
            }
            self.observer.notice(Notice::Blocked(id.clone(), why));
        }
        Ok(())
    }
}

/// How an attempt ended.
struct End {
    outcome: RunOutcome,
    code: Option<i32>,
    signal: Option<i32>,
    message: Option<String>,
    /// Whether its machine or its time ended it.
    is_lost: bool,
}

impl End {
    fn failed(message: String) -> Self {
        Self {
            outcome: RunOutcome::Crashed,
            code: None,
            signal: None,
            message: Some(message),
            is_lost: false,
        }
    }
}
