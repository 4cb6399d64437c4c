//! A worker: takes runs that are offered, trains them here, and tells how they ended.

use super::slurm::began_name;
use super::{Ending, exit_name, read, write_whole};
use crate::launch::local::Local;
use crate::launch::offers::{KILL, Offer, listed, remove, run_of_offer};
use crate::launch::{Exit, Job, LaunchError, Launcher, exit_code};
use crate::orchestrate::Tail;
use experiment::clock::now;
use experiment::event::Event;
use experiment::folder::{ClusterFolder, END, JOURNAL, ResultsFolder, log_name};
use experiment::run::{RunId, RunOutcome};
use experiment::run_claim::{Fence, RunClaim};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Shortest and longest time between two looks at the offers.
const LOOK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Time between two signs of life, and two looks at what is to stop.
const EVERY: Duration = Duration::from_secs(1);
/// Runs in a row that die before their first step, after which a machine is taken for broken.
const SUSPECT: usize = 2;
/// Time after which a run that dies has begun, whatever it has told.
const AT_ITS_START: Duration = Duration::from_secs(600);

/// Who works, and how long.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The results folder.
    pub results: PathBuf,
    /// Names it: no other has this.
    pub token: String,
    /// Its machine.
    pub host: String,
    /// Its job in a batch system.
    pub job: Option<String>,
    /// Where prepared data are kept.
    pub data_cache: PathBuf,
    /// Devices that a run takes together: others are not for it.
    pub together: usize,
    /// Threads of all that it trains at once, where that is more than one run.
    pub threads: usize,
    /// Runs that it takes at most.
    pub runs: usize,
    /// Time without work after which it ends.
    pub idle: Duration,
    /// When it begins nothing more and stops what it trains; `None`: never.
    pub until: Option<Instant>,
}

/// Why a worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing was offered for long enough.
    Idle,
    /// It has trained as many runs as it was to.
    Enough,
    /// It was asked to stop, or its time was over.
    Asked,
    /// Its machine seems to be broken.
    Suspect,
}

/// Why it cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// There is nothing to work on.
    #[error("{}: nothing is offered here: `orchestrator run FILE --on NAME` offers runs", results.display())]
    NoOffers {
        /// The results folder.
        results: PathBuf,
    },
    /// A file of the results folder cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A process cannot be watched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

/// A run that it trains.
struct Training {
    claim: RunClaim,
    fence: Fence,
    offer: PathBuf,
    folder: PathBuf,
    pid: Option<u32>,
    threads: usize,
    /// Lines of its journal before it began, and when that was.
    lines: usize,
    since: Instant,
    /// Whether it was asked to end.
    asked: bool,
}

/// Works until nothing is left, its time is over, or it is asked to stop: at the first request runs save and
/// end, at the second they are killed.
///
/// # Errors
/// When the results folder cannot be used, or a process cannot be watched.
pub fn work(
    worker: &Worker,
    launcher: &mut Local,
    stop: &AtomicUsize,
    say: &dyn Fn(String),
) -> Result<Over, WorkerError> {
    let cluster = ClusterFolder(&worker.results);
    if !cluster.offers().is_dir() {
        return Err(WorkerError::NoOffers {
            results: worker.results.clone(),
        });
    }
    let mut at_work = AtWork {
        worker,
        cluster,
        launcher,
        say,
        trains: BTreeMap::new(),
        stopping: 0,
        begun: 0,
        stillborn: 0,
        passed_over: false,
        offers: VecDeque::new(),
        listed: None,
    };
    if let Some(job) = &worker.job {
        let path = cluster.jobs().join(began_name(job));
        std::fs::write(&path, &worker.host).map_err(io(&path))?;
    }
    let over = at_work.run(stop);
    if over.is_err() {
        at_work.kill_all();
    }
    let _ = std::fs::remove_file(at_work.sign());
    over
}

/// What came of an offer.
enum Tried {
    /// It is trained here.
    Begun,
    /// It may be taken once there is room, or what it goes on from is there.
    Later,
    /// Somebody else has it, or nobody is to have it.
    Gone,
}

struct AtWork<'a> {
    worker: &'a Worker,
    cluster: ClusterFolder<'a>,
    launcher: &'a mut Local,
    say: &'a dyn Fn(String),
    trains: BTreeMap<RunId, Training>,
    /// Requests to stop that were passed on.
    stopping: usize,
    begun: usize,
    /// Runs in a row that died before their first step.
    stillborn: usize,
    /// Whether it was said that runs need other devices.
    passed_over: bool,
    /// Offers that were there a moment ago: there may be many.
    offers: VecDeque<PathBuf>,
    listed: Option<Instant>,
}

impl AtWork<'_> {
    fn run(&mut self, stop: &AtomicUsize) -> Result<Over, WorkerError> {
        let mut wait = LOOK.0;
        let mut busy_at = Instant::now();
        let mut looked: Option<Instant> = None;
        loop {
            let asked = stop
                .load(Ordering::Relaxed)
                .max(usize::from(self.is_late()));
            self.pass_on(asked);
            if looked.is_none_or(|at| at.elapsed() > EVERY) {
                looked = Some(Instant::now());
                self.look_after();
            }
            let ended = self.collect()?;
            let is_suspect = self.stillborn >= SUSPECT || self.begun == 1 && self.stillborn == 1;
            let is_enough = self.begun >= self.worker.runs;
            let begun = if asked > 0 || is_suspect || is_enough {
                false
            } else {
                self.take()?
            };
            if self.trains.is_empty() {
                if is_suspect {
                    return Ok(Over::Suspect);
                }
                if asked > 0 {
                    return Ok(Over::Asked);
                }
                if is_enough {
                    return Ok(Over::Enough);
                }
                if busy_at.elapsed() > self.worker.idle {
                    return Ok(Over::Idle);
                }
            } else {
                busy_at = Instant::now();
            }
            wait = if begun || ended {
                LOOK.0
            } else {
                LOOK.1.min(2 * wait)
            };
            if !self.trains.is_empty() {
                // What ends is told soon.
                wait = wait.min(Duration::from_millis(100));
            }
            std::thread::sleep(wait);
        }
    }

    /// Says whether its time is over.
    fn is_late(&self) -> bool {
        self.worker
            .until
            .is_some_and(|until| Instant::now() >= until)
    }

    /// The file that tells that it lives.
    fn sign(&self) -> PathBuf {
        self.cluster.workers().join(&self.worker.token)
    }

    fn pass_on(&mut self, asked: usize) {
        while self.stopping < asked.min(2) {
            self.stopping += 1;
            for run in self.trains.keys() {
                match self.stopping {
                    1 => self.launcher.stop(run),
                    _ => self.launcher.kill(run),
                }
            }
        }
    }

    /// Gives a sign of life, and does what was asked of runs.
    fn look_after(&mut self) {
        let worker = self.worker;
        let runs: Vec<&RunId> = self.trains.keys().collect();
        let sign = serde_json::json!({
            "host": worker.host, "job": worker.job, "runs": runs, "time": now(),
        });
        // Where it cannot be written, neither can anything that matters: that fails by itself.
        let _ = write_whole(&self.sign(), &sign);
        for (run, training) in &mut self.trains {
            let asked = std::fs::read_to_string(self.cluster.stops().join(&run.0));
            training.asked |= asked.is_ok();
            match asked.as_deref().map(str::trim) {
                Ok(KILL) => self.launcher.kill(run),
                Ok(_) => self.launcher.stop(run),
                // Its claim is another's, or nobody's: whatever it would write is not wanted.
                Err(_) if !training.fence.holds() => self.launcher.kill(run),
                Err(_) => {}
            }
        }
    }

    /// Takes a run that is offered, where there is a place; says whether it took one.
    fn take(&mut self) -> Result<bool, WorkerError> {
        let used = self.threads_in_use();
        if self.launcher.place(0.0).is_none() || used > 0 && used >= self.worker.threads {
            return Ok(false);
        }
        if self.listed.is_none_or(|at| at.elapsed() > LOOK.1) {
            self.listed = Some(Instant::now());
            self.offers = listed(&self.cluster.offers()).into();
        }
        for _ in 0..self.offers.len() {
            let Some(path) = self.offers.pop_front() else {
                break;
            };
            match self.try_to_take(&path)? {
                Tried::Begun => return Ok(true),
                Tried::Later => self.offers.push_back(path),
                Tried::Gone => {}
            }
        }
        Ok(false)
    }

    fn try_to_take(&mut self, path: &Path) -> Result<Tried, WorkerError> {
        let Some((run, offer)) = run_of_offer(path).zip(read::<Offer>(path)) else {
            return Ok(Tried::Gone);
        };
        let claim_path = self.cluster.claim(&run);
        let Some(device) = self.launcher.place(offer.memory) else {
            return Ok(Tried::Later);
        };
        if !self.has_room(&offer) || !self.can_begin(&offer) {
            return Ok(Tried::Later);
        }
        let claim = RunClaim {
            token: format!("{}.{}", self.worker.token, self.begun),
            host: self.worker.host.clone(),
            job: self.worker.job.clone(),
            device,
            attempt: offer.attempt,
            since: now(),
        };
        let taken = claim.take(&claim_path);
        if !taken.map_err(io(&claim_path))? {
            return Ok(Tried::Gone);
        }
        // It may have been withdrawn, or done by another, since it was listed: a file that is opened is looked for, a
        // name may be remembered.
        let exit = self.cluster.exits().join(exit_name(&run, offer.attempt));
        let is_done = read::<Ending>(&exit).is_some();
        if is_done {
            remove(path).map_err(io(path))?;
        }
        if is_done || read::<Offer>(path).is_none() {
            claim.release(&claim_path).map_err(io(&claim_path))?;
            return Ok(Tried::Gone);
        }
        self.begin(run, offer, claim, path.to_owned())?;
        Ok(Tried::Begun)
    }

    fn threads_in_use(&self) -> usize {
        self.trains.values().map(|training| training.threads).sum()
    }

    /// Says whether a run suits the devices, and the cores that are left.
    fn has_room(&mut self, offer: &Offer) -> bool {
        let (together, threads) = (self.worker.together, self.worker.threads);
        if offer.devices != together {
            if !std::mem::replace(&mut self.passed_over, true) {
                (self.say)(format!(
                    "runs are passed over: they take {} devices each, and this worker gives them {together} \
                     (`--devices-per-run`)",
                    offer.devices
                ));
            }
            return false;
        }
        let used = self.threads_in_use();
        used == 0 || used + offer.threads <= threads
    }

    /// Says whether what a run goes on from is there.
    fn can_begin(&self, offer: &Offer) -> bool {
        let folder = |run: &RunId| ResultsFolder(&self.worker.results).run(run);
        let after = offer.after.as_ref();
        after.is_none_or(|run| {
            // Its end is written before its process ends: only when nobody trains it any more is it whole.
            folder(run).join(END).exists() && !self.cluster.claim(run).exists()
        })
    }

    fn begin(
        &mut self,
        run: RunId,
        offer: Offer,
        claim: RunClaim,
        path: PathBuf,
    ) -> Result<(), WorkerError> {
        let folder = ResultsFolder(&self.worker.results).run(&run);
        let claim_path = self.cluster.claim(&run);
        let job = Job {
            run: run.clone(),
            log: folder.join(log_name(offer.attempt)),
            folder: folder.clone(),
            data_cache: self.worker.data_cache.clone(),
            device: claim.device.clone(),
            threads: offer.threads,
            attempt: offer.attempt,
            environment: offer.environment,
            memory: offer.memory,
            devices: offer.devices,
            after: None,
            claim: Some((claim_path.clone(), claim.token.clone())),
        };
        (self.say)(format!("{run}, attempt {}", offer.attempt));
        let lines = Tail::new(&folder).read().map_or(0, |lines| lines.len());
        let mut training = Training {
            fence: Fence::new(claim_path, claim.token.clone()),
            claim,
            offer: path,
            folder,
            pid: None,
            threads: offer.threads,
            lines,
            since: Instant::now(),
            asked: false,
        };
        self.begun += 1;
        match self.launcher.start(&job) {
            Ok(pid) => {
                training.pid = Some(pid);
                self.trains.insert(run, training);
                Ok(())
            }
            Err(error) => {
                let exit = Exit {
                    run,
                    code: Some(exit_code::FAILED),
                    signal: None,
                    memory_ran_out: None,
                    log_tail: error.to_string(),
                    lost: None,
                };
                self.tell(training, exit)
            }
        }
    }

    /// Tells of the runs that have ended; says whether any has.
    fn collect(&mut self) -> Result<bool, WorkerError> {
        let exits = self.launcher.ended()?;
        let any = !exits.is_empty();
        for exit in exits {
            if let Some(training) = self.trains.remove(&exit.run) {
                self.tell(training, exit)?;
            }
        }
        Ok(any)
    }

    fn tell(&mut self, training: Training, exit: Exit) -> Result<(), WorkerError> {
        let outcome = exit.outcome();
        // Neither its own memory nor somebody's wish is laid to the machine.
        let failed = matches!(outcome, RunOutcome::Crashed | RunOutcome::Stalled)
            && !training.asked
            && self.stopping == 0
            && training.since.elapsed() < AT_ITS_START;
        let got_on =
            |event: &Event| matches!(event, Event::Measured(_) | Event::Checkpointed { .. });
        let began = Tail::new(&training.folder).read().is_ok_and(|lines| {
            let mut new = lines.into_iter().skip(training.lines);
            new.any(|line| got_on(&line.event))
        });
        self.stillborn = if failed && !began {
            self.stillborn + 1
        } else {
            0
        };
        let run = exit.run.clone();
        (self.say)(format!("{run}: {outcome}"));
        // Whoever lost its claim has nothing to tell.
        if !training.fence.holds() {
            return Ok(());
        }
        let ending = Ending {
            pid: training.pid,
            code: exit.code,
            signal: exit.signal,
            memory_ran_out: exit.memory_ran_out,
            log_tail: exit.log_tail,
            is_suspect: self.stillborn >= SUSPECT || self.begun == 1 && self.stillborn == 1,
            // Whoever trained it has written all of it.
            journal: std::fs::metadata(training.folder.join(JOURNAL))
                .map_or(0, |of_file| of_file.len()),
            claim: training.claim.clone(),
        };
        let path = self.cluster.exits();
        let path = path.join(exit_name(&run, training.claim.attempt));
        write_whole(&path, &ending).map_err(io(&path))?;
        // In this order: without its offer nobody takes it, without its claim it would be taken.
        remove(&training.offer).map_err(io(&training.offer))?;
        let claim_path = self.cluster.claim(&run);
        training.claim.release(&claim_path).map_err(io(&claim_path))
    }

    fn kill_all(&mut self) {
        for run in self.trains.keys() {
            self.launcher.kill(run);
        }
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> WorkerError {
    let path = path.to_owned();
    move |source| WorkerError::Io { path, source }
}
