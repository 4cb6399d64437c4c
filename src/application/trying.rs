//! Another trainer tried for a minute: what is understood of it, whether it goes on after a kill, and how
//! it stops.

use super::external::differ;
use super::{Refused, data_cache};
use campaign::launch::local::{Device, Local};
use campaign::launch::{Exit, Job, Launcher};
use campaign::orchestrate::Tail;
use experiment::event::{Event, Line, Measurement};
use experiment::external::{ExternalSpec, Quantities, ReportFrom};
use experiment::folder::{SPECIFICATION, log_name};
use experiment::plan::Run;
use experiment::quantity::{Params, Tokens, human};
use experiment::run::RunOutcome;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Time without a word after which what has been heard is enough.
const ENOUGH: Duration = Duration::from_secs(10);

/// Rows after a checkpoint that are worth comparing with those of another attempt.
const COMPARED: usize = 3;

/// What trying a trainer showed.
#[derive(Debug, Serialize)]
pub struct Tried {
    /// The run that was tried: its axes.
    pub run: String,
    /// The command of its first attempt.
    pub command: Vec<String>,
    /// Where its logs and reports lie.
    pub folder: PathBuf,
    /// What was understood, quantity by quantity.
    pub understood: Vec<Understood>,
    /// How it went on after it was killed; `None` where it had ended before.
    pub resumed: Option<Resumed>,
    /// How it stopped when it was asked to; `None` where it had ended before.
    pub stopped: Option<Stopped>,
    /// How it ended by itself, with what is said of that.
    pub ended: Option<(RunOutcome, Option<String>)>,
    /// What has to be mended before a grid is worth its time.
    pub missing: Vec<String>,
    /// What else is to be known: what was not seen in the time, and where reports and file differ.
    pub remarks: Vec<String>,
}

/// A quantity, and what was heard of it.
#[derive(Debug, Serialize)]
pub struct Understood {
    /// Its name in reports.
    pub name: &'static str,
    /// Its newest value in words; `None` where none was reported.
    pub value: Option<String>,
    /// What that means.
    pub note: &'static str,
}

/// What a second attempt did.
#[derive(Debug, Serialize)]
pub struct Resumed {
    /// The last step before the kill, and the newest checkpoint that was reported.
    pub killed_at: u64,
    /// The newest checkpoint reported before it.
    pub checkpoint: Option<u64>,
    /// The first step that it reported afterwards.
    pub first_step: Option<u64>,
    /// Steps that both attempts reported a loss of, and the largest relative difference.
    pub common: usize,
    /// That difference; `None` without a common step.
    pub difference: Option<f64>,
}

/// How it ended after SIGTERM.
#[derive(Debug, Serialize)]
pub struct Stopped {
    /// Seconds from the signal to its end.
    pub seconds: f64,
    /// What that end is taken for.
    pub outcome: RunOutcome,
}

/// Tries the smallest run of a plan, each of four parts for so many seconds at most.
///
/// # Errors
/// When it cannot be started.
pub fn try_out(
    runs: &[Run],
    results: &Path,
    device: &str,
    seconds: f64,
    say: &dyn Fn(String),
) -> Result<Tried, Refused> {
    let size = |run: &Run| run.amount();
    let smallest = runs.iter().min_by(|a, b| size(a).total_cmp(&size(b)));
    let Some((run, spec)) = smallest.and_then(|run| Some((run, run.work.external()?))) else {
        return Err(Refused::input(
            "there is nothing to try: this experiment has no `trainer`".to_owned(),
        ));
    };
    let folder = results.join("try").join(&run.id.0);
    let machine =
        |error: std::io::Error| Refused::machine(format!("{}: {error}", folder.display()));
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(machine(error)),
        _ => {}
    }
    std::fs::create_dir_all(&folder).map_err(machine)?;
    let json = serde_json::to_vec_pretty(&run.work);
    let json = json.map_err(|error| Refused::machine(error.to_string()))?;
    std::fs::write(folder.join(SPECIFICATION), json).map_err(machine)?;
    let program = super::this_program()?;
    let place = Device {
        name: device.to_owned(),
        slots: 1,
        memory: None,
        overhead: 0.0,
    };
    let axes = spec.axes.iter();
    let axes = axes.map(|(name, value)| format!("{name}={}", value.shown()));
    let command = spec.command(&experiment::external::command::Attempt {
        folder: &folder,
        device,
        number: 1,
        step: None,
        micro_batch: run.work.micro_batch(),
    });
    let mut trial = Trial {
        run,
        spec,
        device: device.to_owned(),
        tail: Tail::new(&folder),
        folder,
        launcher: Local::new(program, vec![place]),
        limit: Duration::from_secs_f64(seconds),
        lines: Vec::new(),
    };
    let mut tried = Tried {
        run: axes.collect::<Vec<_>>().join(" "),
        command: command.map_err(Refused::input)?.arguments,
        folder: trial.folder.clone(),
        understood: Vec::new(),
        resumed: None,
        stopped: None,
        ended: None,
        missing: Vec::new(),
        remarks: Vec::new(),
    };
    say(format!("first, up to {seconds:.0} s: {}", tried.run));
    trial.start(1)?;
    let mut exit = trial.watch(|trial, quiet| trial.has_shown_enough(quiet))?;
    if exit.is_none() {
        let killed_at = trial.last_step();
        let (checkpoint, before) = (trial.checkpoint(), trial.lines.len());
        say(format!(
            "killing it after step {killed_at}, and starting it again"
        ));
        trial.launcher.kill(&run.id);
        trial.wait_for_its_end()?;
        trial.start(2)?;
        exit = trial.watch(|trial, quiet| {
            let again = trial.rows_since(before).map(|row| row.step).max();
            again.is_some_and(|step| step > killed_at) || quiet > ENOUGH && again.is_some()
        })?;
        tried.resumed = Some(trial.resumed(killed_at, checkpoint, before));
    }
    if exit.is_none() {
        say(format!(
            "asking it to stop (SIGTERM) after step {}",
            trial.last_step()
        ));
        let asked = Instant::now();
        trial.launcher.stop(&run.id);
        let exit = trial.wait_for_its_end()?;
        tried.stopped = exit.map(|exit| Stopped {
            seconds: asked.elapsed().as_secs_f64(),
            outcome: exit.outcome(),
        });
    }
    if exit.is_none() {
        say("starting it once more, to its end".to_owned());
        trial.start(3)?;
        exit = trial.watch(|_, _| false)?;
        if exit.is_none() {
            trial.launcher.kill(&run.id);
            trial.wait_for_its_end()?;
        }
    }
    tried.ended = exit.map(|exit| (exit.outcome(), trial.message(&exit)));
    tried.understood = trial.understood();
    tried.missing = trial.missing(&tried);
    tried.remarks = trial.differences();
    if tried.ended.is_none() {
        let end =
            "its end, and with it a held-out loss that is a result: --seconds gives it more time";
        tried.remarks.push(format!("not seen: {end}"));
    }
    Ok(tried)
}

/// A trainer being tried.
struct Trial<'a> {
    run: &'a Run,
    spec: &'a ExternalSpec,
    device: String,
    folder: PathBuf,
    tail: Tail,
    launcher: Local,
    limit: Duration,
    lines: Vec<Line>,
}

impl Trial<'_> {
    fn start(&mut self, attempt: usize) -> Result<(), Refused> {
        let job = Job {
            run: self.run.id.clone(),
            log: self.folder.join(log_name(attempt)),
            folder: self.folder.clone(),
            data_cache: data_cache(),
            device: self.device.clone(),
            threads: self.run.work.threads(),
            attempt,
            environment: None,
            after: None,
            claim: None,
            devices: self.run.work.devices(),
            memory: 0.0,
        };
        let started = self.launcher.start(&job);
        started.map_err(|error| Refused::machine(error.to_string()))?;
        Ok(())
    }

    fn hear(&mut self) -> Result<bool, Refused> {
        let lines = self.tail.read();
        let lines = lines.map_err(|error| Refused::machine(error.to_string()))?;
        let any = !lines.is_empty();
        self.lines.extend(lines);
        Ok(any)
    }

    /// Hears it until it has ended, its time is over, or `enough` was heard; what it ended with.
    fn watch(&mut self, enough: impl Fn(&Self, Duration) -> bool) -> Result<Option<Exit>, Refused> {
        let start = Instant::now();
        let mut heard = Instant::now();
        while start.elapsed() < self.limit {
            if self.hear()? {
                heard = Instant::now();
            }
            if let Some(exit) = self.ended()? {
                self.hear()?;
                return Ok(Some(exit));
            }
            if enough(self, heard.elapsed()) {
                break;
            }
            std::thread::sleep(LOOK);
        }
        Ok(None)
    }

    fn ended(&mut self) -> Result<Option<Exit>, Refused> {
        let ended = self.launcher.ended();
        Ok(ended
            .map_err(|error| Refused::machine(error.to_string()))?
            .pop())
    }

    fn wait_for_its_end(&mut self) -> Result<Option<Exit>, Refused> {
        loop {
            if let Some(exit) = self.ended()? {
                self.hear()?;
                return Ok(Some(exit));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn rows_since(&self, from: usize) -> impl Iterator<Item = &Measurement> {
        self.lines
            .iter()
            .skip(from)
            .filter_map(|line| match &line.event {
                Event::Measured(row) => Some(row),
                _ => None,
            })
    }

    fn last_step(&self) -> u64 {
        self.rows_since(0).last().map_or(0, |row| row.step)
    }

    fn checkpoint(&self) -> Option<u64> {
        self.lines.iter().rev().find_map(|line| match line.event {
            Event::Checkpointed { step } => Some(step),
            _ => None,
        })
    }

    /// Says whether a kill would show something: a step after a checkpoint, or many without one.
    fn has_shown_enough(&self, quiet: Duration) -> bool {
        let after = self.checkpoint().is_some_and(|step| {
            let since = self.rows_since(0).filter(|row| row.step > step);
            since.count() >= COMPARED
        });
        after || quiet > ENOUGH && self.rows_since(0).count() > 1
    }

    fn resumed(&self, killed_at: u64, checkpoint: Option<u64>, before: usize) -> Resumed {
        let first: Vec<&Measurement> = self.rows_since(0).collect();
        let again: Vec<&Measurement> = self.rows_since(before).collect();
        let first = &first[..first.len() - again.len()];
        let mut differences = Vec::new();
        for row in &again {
            let other = first.iter().rev().find(|other| other.step == row.step);
            if let Some((a, b)) = other.and_then(|other| other.loss.zip(row.loss)) {
                differences.push((a - b).abs() / a.abs().max(f64::MIN_POSITIVE));
            }
        }
        Resumed {
            killed_at,
            checkpoint,
            first_step: again.first().map(|row| row.step),
            common: differences.len(),
            difference: differences.into_iter().reduce(f64::max),
        }
    }

    /// What it said went wrong, or the end of its log.
    fn message(&self, exit: &Exit) -> Option<String> {
        let said = self.lines.iter().rev().find_map(|line| match &line.event {
            Event::Failed { message } | Event::WithoutResult { message } => Some(message.clone()),
            _ => None,
        });
        let log = Some(exit.log_tail.clone()).filter(|log| !log.is_empty());
        said.or(log).filter(|_| !exit.outcome().is_result())
    }

    fn understood(&self) -> Vec<Understood> {
        let newest = |value: &dyn Fn(&Measurement) -> Option<f64>| {
            self.rows_since(0).filter_map(value).last()
        };
        let mut said = self.spec.declared;
        for line in &self.lines {
            if let Event::Reported(reported) = &line.event {
                for name in Quantities::NAMES {
                    if let Some(value) = reported.get(name) {
                        said.set(name, value);
                    }
                }
            }
        }
        let unit = self.spec.trainer.stored_unit();
        let loss = |value: f64| format!("{value:.4} {unit}");
        let declared = |value: Option<f64>, text: &dyn Fn(u64) -> String| {
            value.map(|value| text(value as u64))
        };
        let row = |name, value, note| Understood { name, value, note };
        vec![
            row(
                "step",
                newest(&|row| Some(row.step as f64)).map(|step| format!("{step}")),
                "where a report stands",
            ),
            row(
                "tokens",
                newest(&|row| row.tokens.map(|seen| seen as f64)).map(human),
                "seen so far: the curves' axis, and D at the end",
            ),
            row(
                "loss",
                newest(&|row| row.loss).map(loss),
                "of training: the curves",
            ),
            row(
                "validation_loss",
                newest(&|row| row.validation_loss).map(loss),
                "held out: the result, at the end at the latest",
            ),
            row(
                "params",
                declared(said.params, &|n| Params(n).to_string()),
                "N: declared, or reported",
            ),
            row(
                "total tokens",
                declared(said.tokens, &|d| Tokens(d).to_string()),
                "D: declared, or reported as `total_tokens` or by the last `tokens`",
            ),
            row(
                "flops",
                newest(&|row| row.flops)
                    .or(said.flops)
                    .map(|flops| format!("{flops:.3e}")),
                "C: declared, or reported; 6·N·D is what laws take else",
            ),
            row(
                "checkpoint",
                self.checkpoint().map(|step| format!("step {step}")),
                "from where a later attempt may go on (`{step}` in `trainer.resume`)",
            ),
        ]
    }

    /// Says where what was reported is not what the file says.
    fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        let declared = self.spec.declared;
        for line in &self.lines {
            let Event::Reported(said) = &line.event else {
                continue;
            };
            for name in Quantities::NAMES {
                if let Some((reported, declared)) = said.get(name).zip(declared.get(name))
                    && differ(reported, declared)
                {
                    differences.push(format!(
                        "`{name}` is reported as {reported:.4e}, and the file says {declared:.4e}: what is \
                         reported is taken"
                    ));
                }
            }
        }
        differences
    }

    fn missing(&self, tried: &Tried) -> Vec<String> {
        let mut missing = Vec::new();
        let has = |name: &str| {
            let mut all = tried.understood.iter();
            all.any(|one| one.name == name && one.value.is_some())
        };
        let crashed = matches!(
            &tried.ended,
            Some((RunOutcome::Crashed | RunOutcome::OutOfMemory, _))
        );
        if !has("step") && !crashed {
            let hint = match &self.spec.trainer.report {
                ReportFrom::File => "append JSON lines to the file named in ORCHESTRATOR_REPORT",
                ReportFrom::Stdout(_) => "print lines that begin with the marker",
                ReportFrom::Regex(_) => "no line of its log matches `trainer.report.regex`",
                ReportFrom::TrainerState(_) => "no trainer_state.json was found: `save_steps`?",
                ReportFrom::Tensorboard { .. } => "no event file has these tags",
            };
            missing.push(format!("nothing was reported: {hint}"));
        }
        for (name, what) in [("params", "N"), ("total tokens", "D")] {
            if !has(name) {
                missing.push(format!(
                    "{what} is neither declared nor reported: no law can take the run"
                ));
            }
        }
        match &tried.ended {
            Some((RunOutcome::Finished, _)) => {}
            Some((outcome, why)) => missing.push(format!(
                "it ended as {outcome}{}",
                why.as_deref()
                    .map_or(String::new(), |why| format!(": {why}"))
            )),
            None => {}
        }
        if let Some(resumed) = &tried.resumed
            && resumed
                .difference
                .is_some_and(|difference| difference > 1e-3)
        {
            missing.push(
                "after a kill its losses are others: the order of its data or its optimizer's state is not \
                 in its checkpoint"
                    .to_owned(),
            );
        }
        if let Some(stopped) = &tried.stopped
            && stopped.seconds >= self.spec.trainer.stop_limit
        {
            missing.push(format!(
                "it did not end within {:.0} s of SIGTERM (`trainer.stop_limit`), and was killed",
                self.spec.trainer.stop_limit
            ));
        }
        missing
    }
}
