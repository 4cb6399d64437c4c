//! Another trainer's run: its process is started, heard and ended here, and what it says becomes the
//! run's journal.
//!
//! ```text
//! orchestrator ─ starts ─► this ─ starts ─► the trainer
//!      ▲ journal, heartbeat │ ◄─ reports, output ─┘
//! ```
//!
//! Owns the process, its log, its reports and its outcome. Refuses to know what it trains.

pub mod code;
mod output;
mod reports;
mod sources;

use crate::train::TrainError;
use crate::train::heartbeat::Heartbeat;
use crate::train::journal::Journal;
use crate::train::session::{fence, lock_run, started};
use experiment::event::{Event, Measurement};
use experiment::external::ExternalSpec;
use experiment::external::command::{Attempt, Command};
use experiment::external::template::{Filling, Template};
use experiment::folder::{ARGUMENTS, CHECKPOINTS, REPORT, log_name};
use experiment::processes;
use experiment::run::RunOutcome;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use output::{Log, Receiver, RecvTimeoutError};
use reports::Reports;
use sources::{Report, Source};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Exit codes by which a trainer says its outcome; what it says by other means wins.
mod said {
    pub(super) const DIVERGED: i32 = 3;
    pub(super) const INTERRUPTED: i32 = 4;
    /// `EX_TEMPFAIL` of `sysexits.h`.
    pub(super) const TRY_AGAIN: i32 = 75;
}

/// Longest and shortest wait between two looks at the trainer: it may be over in milliseconds, or in weeks.
const LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));
/// Time between two times that the journal is made safe on disk.
const SYNC: Duration = Duration::from_secs(1);
/// Time that processes which a trainer leaves behind may take to end by themselves.
const AFTER: Duration = Duration::from_secs(2);
/// Time that a trainer whose loss is no number may take to end.
const DIVERGED: Duration = Duration::from_secs(10);
/// Bytes of its last lines that go into a message.
const LAST_LINES: usize = 2_000;

/// Where and how a trainer is watched over.
pub struct Place<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// Names of its devices, separated by commas.
    pub device: &'a str,
    /// Which attempt it is, from 1.
    pub attempt: usize,
    /// Says whether to stop.
    pub should_stop: &'a dyn Fn() -> bool,
    /// The claim that it keeps to, where several machines share the folder: its file and its token.
    pub claim: Option<(PathBuf, String)>,
}

/// How an attempt ended, with the exit code to pass on where the outcome alone does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The outcome.
    pub outcome: RunOutcome,
    /// Whether SIGKILL ended it, which the system sends where memory runs out.
    pub was_killed: bool,
}

impl From<RunOutcome> for Ended {
    fn from(outcome: RunOutcome) -> Self {
        Self {
            outcome,
            was_killed: false,
        }
    }
}

/// Starts a run's trainer and watches over it to its end, or until told to stop.
///
/// # Errors
/// When it cannot be started or watched; how it ends is the outcome.
pub fn watch(spec: &ExternalSpec, place: &Place) -> Result<Ended, TrainError> {
    let _lock = lock_run(place.folder)?;
    let mut journal = Journal::open(place.folder)?.fenced(fence(place.claim.as_ref()));
    let ended = watch_locked(spec, place, &mut journal);
    if let Err(TrainError::Fenced) = &ended {
        // What it has started trains for nobody.
        processes::kill_all(&processes::descendants(std::process::id() as i32));
        return ended;
    }
    if let Err(error) = &ended {
        journal.append(Event::Failed {
            message: error.to_string(),
        })?;
    }
    journal.sync()?;
    ended
}

fn watch_locked(
    spec: &ExternalSpec,
    place: &Place,
    journal: &mut Journal,
) -> Result<Ended, TrainError> {
    let started = |step| started(spec.id(), place.device, step);
    if journal.was_finished() {
        // Its process was killed before it could say so.
        journal.append(started(0))?;
        journal.append(Event::Finished)?;
        return Ok(RunOutcome::Finished.into());
    }
    let log_path = place.folder.join(log_name(place.attempt));
    let mut log = Log::open(&log_path).map_err(TrainError::io("open", &log_path))?;
    // What an attempt left that was killed with its watcher would train beside this one.
    let left = processes::of_run(place.folder);
    if place.attempt > 1 && !left.is_empty() {
        processes::kill_all(&left);
        log.note(&format!("{} of an earlier attempt killed", left.len()));
    }
    let checkpoints = place.folder.join(CHECKPOINTS);
    std::fs::create_dir_all(&checkpoints).map_err(TrainError::io("make", &checkpoints))?;
    end_line(&place.folder.join(REPORT))
        .map_err(TrainError::io("open", &place.folder.join(REPORT)))?;

    let mut attempt = Attempt {
        folder: place.folder,
        device: place.device,
        number: place.attempt,
        step: None,
        micro_batch: spec.micro_batch,
    };
    let folder = |text: &str| -> Result<PathBuf, String> {
        let at = place.folder.display().to_string();
        let filled = Template::parse(text)?.fill(&|name| match name {
            "folder" => Some(Filling::Text(at.clone())),
            "checkpoints" => Some(Filling::Text(format!("{at}/{CHECKPOINTS}"))),
            _ => None,
        })?;
        Ok(spec.trainer.directory.join(filled))
    };
    let source = Source::open(&spec.trainer.report, place.folder, folder);
    let source = source.map_err(TrainError::External)?;
    let mut hearing = Hearing {
        reports: Reports::new(spec),
        // What was printed before is not heard again.
        skip: if source.reads_output() {
            0
        } else {
            journal.rows()
        },
        source,
        last: None,
        diverged: None,
        bad: 0,
    };
    // What earlier attempts reported, as far as the journal lacks it; and where a checkpoint is.
    hearing.poll(journal, &mut log, true)?;
    hearing.reports.begin_attempt(journal.before());
    hearing.diverged = None;
    attempt.step = hearing.reports.checkpoint();
    let command = spec.command(&attempt).map_err(TrainError::External)?;
    if let Some(text) = &command.file {
        let path = place.folder.join(ARGUMENTS);
        std::fs::write(&path, text).map_err(TrainError::io("write", &path))?;
    }
    // Whoever a trainer leaves behind becomes this process's child, and can be ended.
    let _ = set_child_subreaper(true);
    journal.append(started(attempt.step.unwrap_or(0)))?;
    let (child, output) = start(spec, &command)?;
    let mut watched = Watched {
        spec,
        place,
        child,
        hearing,
        log,
        heart: Heartbeat::new(place.folder),
        stopping: None,
        killed: false,
    };
    let status = watched.run(journal, &output)?;
    watched.conclude(status, journal)
}

/// Ends the last line of a file, which the process that wrote it may not have ended.
fn end_line(path: &Path) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(path)?;
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(())
}

fn start(spec: &ExternalSpec, command: &Command) -> Result<(Child, Receiver<Vec<u8>>), TrainError> {
    let (program, arguments) = match command.arguments.split_first() {
        Some((program, arguments)) => (program, arguments),
        None => return Err(TrainError::External("its command is empty".to_owned())),
    };
    let directory = &spec.trainer.directory;
    // A path is meant from where it is started; a name alone is looked for where programs are.
    let program = if program.contains('/') {
        directory.join(program)
    } else {
        PathBuf::from(program)
    };
    let child = std::process::Command::new(&program)
        .args(arguments)
        .envs(&command.environment)
        // That was this process's own.
        .env_remove("RAYON_NUM_THREADS")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // It is asked to stop by itself: what it has started would die before it had saved.
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|error| {
        let why = if directory.is_dir() {
            error.to_string()
        } else {
            format!("there is no folder {}", directory.display())
        };
        TrainError::External(format!("cannot start `{}`: {why}", program.display()))
    })?;
    let mut streams: Vec<Box<dyn Read + Send>> = Vec::new();
    if let Some(stream) = child.stdout.take() {
        streams.push(Box::new(stream));
    }
    if let Some(stream) = child.stderr.take() {
        streams.push(Box::new(stream));
    }
    Ok((child, output::read(streams)))
}

/// What is heard of a trainer.
struct Hearing<'a> {
    source: Source,
    reports: Reports<'a>,
    /// Rows that the journal holds already.
    skip: usize,
    last: Option<Measurement>,
    /// The step at which a loss was no number.
    diverged: Option<u64>,
    /// Reports that could not be read.
    bad: usize,
}

impl Hearing<'_> {
    /// Hears what files hold; says whether there was anything.
    fn poll(
        &mut self,
        journal: &mut Journal,
        log: &mut Log,
        now: bool,
    ) -> Result<bool, TrainError> {
        let reports = self.source.poll(now);
        let any = !reports.is_empty();
        for report in reports {
            self.hear(report, journal, log)?;
        }
        Ok(any)
    }

    /// Hears the reports among lines of output.
    fn lines(
        &mut self,
        lines: &[u8],
        journal: &mut Journal,
        log: &mut Log,
    ) -> Result<(), TrainError> {
        if self.source.reads_output() {
            let text = String::from_utf8_lossy(lines);
            for line in text.split(['\n', '\r']) {
                if let Some(report) = self.source.line(line) {
                    self.hear(report, journal, log)?;
                }
            }
        }
        Ok(())
    }

    fn hear(
        &mut self,
        report: Report,
        journal: &mut Journal,
        log: &mut Log,
    ) -> Result<(), TrainError> {
        /// Reports that are told of one by one.
        const MOST: usize = 5;
        let report = match report {
            Ok(report) => report,
            Err(why) => {
                self.bad += 1;
                if self.bad <= MOST {
                    log.note(&format!("a report was left out: {why}"));
                }
                return Ok(());
            }
        };
        let heard = self.reports.hear(&report);
        for note in heard.notes {
            log.note(&format!("of a report {note}"));
        }
        for event in heard.events {
            if let Event::Measured(row) = &event {
                self.last = Some(row.clone());
                if self.skip > 0 {
                    self.skip -= 1;
                    continue;
                }
            }
            journal.append(event)?;
        }
        self.diverged = self.diverged.or(heard.diverged);
        Ok(())
    }
}

/// A trainer that runs.
struct Watched<'a> {
    spec: &'a ExternalSpec,
    place: &'a Place<'a>,
    child: Child,
    hearing: Hearing<'a>,
    log: Log,
    heart: Heartbeat,
    /// Since when it has been asked to stop, and how long it may take.
    stopping: Option<(Instant, Duration)>,
    /// Whether it was killed here.
    killed: bool,
}

impl Watched<'_> {
    /// Hears it to its end.
    fn run(
        &mut self,
        journal: &mut Journal,
        output: &Receiver<Vec<u8>>,
    ) -> Result<ExitStatus, TrainError> {
        let mut wait = LOOK.0;
        let mut synced = Instant::now();
        let mut status: Option<(ExitStatus, Instant)> = None;
        let mut at_end = false;
        loop {
            let mut alive = match output.recv_timeout(wait) {
                Ok(lines) => {
                    self.log.write(&lines);
                    self.hearing.lines(&lines, journal, &mut self.log)?;
                    true
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => {
                    at_end = true;
                    // It may close its output and go on.
                    if status.is_none() {
                        std::thread::sleep(wait);
                    }
                    false
                }
            };
            alive |= self.hearing.poll(journal, &mut self.log, false)?;
            if alive {
                self.heart.beat(self.hearing.reports.step().unwrap_or(0));
            }
            wait = if alive { LOOK.0 } else { LOOK.1.min(2 * wait) };
            if synced.elapsed() > SYNC {
                journal.sync()?;
                synced = Instant::now();
            }
            if status.is_none() {
                self.ask_to_stop();
                let ended = self.child.try_wait();
                let ended = ended.map_err(|error| TrainError::External(error.to_string()))?;
                status = ended.map(|status| (status, Instant::now()));
            }
            let Some((status, since)) = status else {
                continue;
            };
            let alone = !has_children();
            if alone && at_end {
                self.hearing.poll(journal, &mut self.log, true)?;
                return Ok(status);
            }
            if since.elapsed() > AFTER {
                self.end_what_is_left();
                if since.elapsed() > 2 * AFTER {
                    // Somebody beyond reach holds its output open.
                    at_end = true;
                }
            }
        }
    }

    /// Asks it to stop where that is due, and kills it where it does not.
    fn ask_to_stop(&mut self) {
        let diverged = self.hearing.diverged.is_some();
        match self.stopping {
            None if diverged || (self.place.should_stop)() => {
                let limit = if diverged {
                    DIVERGED
                } else {
                    Duration::from_secs_f64(self.spec.trainer.stop_limit)
                };
                self.stopping = Some((Instant::now(), limit));
                self.log.note("asked to stop (SIGTERM)");
                let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
            }
            Some((since, limit)) if since.elapsed() > limit && !self.killed => {
                self.killed = true;
                self.log.note(&format!(
                    "killed: it had not ended {:.0} s after it was asked to",
                    limit.as_secs_f64()
                ));
                let mut all = processes::descendants(self.child.id() as i32);
                all.push(self.child.id() as i32);
                processes::kill_all(&all);
            }
            // While it saves it says nothing, and is not stalled.
            Some(_) => self.heart.beat(self.hearing.reports.step().unwrap_or(0)),
            None => {}
        }
    }

    /// Kills what it has started and left behind.
    fn end_what_is_left(&mut self) {
        let left = processes::descendants(std::process::id() as i32);
        if !left.is_empty() {
            self.log
                .note(&format!("{} that it left behind killed", left.len()));
            processes::kill_all(&left);
        }
        // They take a moment to be gone.
        std::thread::sleep(LOOK.0);
    }

    /// Says what its end means.
    fn conclude(mut self, status: ExitStatus, journal: &mut Journal) -> Result<Ended, TrainError> {
        if self.hearing.bad > 0 {
            let bad = self.hearing.bad;
            self.log.note(&format!("{bad} reports could not be read"));
        }
        let asked = self.stopping.is_some();
        let last_lines = match self.log.tail(LAST_LINES) {
            lines if lines.is_empty() => "it printed nothing".to_owned(),
            lines => format!("its last lines:\n{lines}"),
        };
        let step = self.hearing.reports.step().unwrap_or(0);
        let interrupted = Event::Interrupted {
            step: self.hearing.reports.checkpoint().unwrap_or(0),
        };
        let (event, ended) = if let Some(step) = self.hearing.diverged {
            (
                Event::Diverged { step, loss: None },
                RunOutcome::Diverged.into(),
            )
        } else if status.success() {
            let (reports, last) = (&self.hearing.reports, self.hearing.last.as_ref());
            match reports.result(last) {
                // Asked to stop it may have saved and gone, with whatever loss it had last.
                Ok(_) if asked && !reports.proves_its_end(last) => {
                    (interrupted, RunOutcome::Interrupted.into())
                }
                Ok(quantities) => {
                    if quantities.tokens.is_some() {
                        journal.append(Event::Reported(quantities))?;
                    }
                    (Event::Finished, RunOutcome::Finished.into())
                }
                Err(_) if asked => (interrupted, RunOutcome::Interrupted.into()),
                Err(why) => {
                    let message = format!("it ended without a fault, but {why}; {last_lines}");
                    let outcome = RunOutcome::FinishedWithoutResult.into();
                    (Event::WithoutResult { message }, outcome)
                }
            }
        } else if status.code() == Some(said::DIVERGED) {
            (
                Event::Diverged { step, loss: None },
                RunOutcome::Diverged.into(),
            )
        } else if asked || status.code() == Some(said::INTERRUPTED) {
            (interrupted, RunOutcome::Interrupted.into())
        } else {
            let memory = self.log.says_out_of_memory();
            if memory {
                // Whoever looks at the end of the log sees it there.
                self.log.note("it ran out of memory");
            }
            let how = match (status.code(), status.signal()) {
                (Some(said::TRY_AGAIN), _) => "it asks to be tried again (status 75)".to_owned(),
                (Some(code), _) => format!("it ended with status {code}"),
                (_, Some(signal)) => format!("it was killed by signal {signal}"),
                _ => "it ended".to_owned(),
            };
            let message = format!("{how}; {last_lines}");
            let ended = Ended {
                outcome: if memory {
                    RunOutcome::OutOfMemory
                } else {
                    RunOutcome::Crashed
                },
                was_killed: status.signal() == Some(Signal::SIGKILL as i32),
            };
            (Event::Failed { message }, ended)
        };
        journal.append(event)?;
        journal.sync()?;
        self.heart.end();
        Ok(ended)
    }
}

/// Says whether this process has children; those that have ended are taken note of.
fn has_children() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}
