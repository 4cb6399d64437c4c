//! Live progress: a board on a terminal, plain lines elsewhere.

use super::axes::Columns;
use super::board::{Board, Row, Window};
use super::terminal::{harmless, last_line, note, tamed};
use campaign::orchestrate::{Notice, Observer, Retried};
use experiment::event::Measurement;
use experiment::plan::{Open, Pace, Run, seconds_left};
use experiment::quantity::{Params, Tokens, counted};
use experiment::run::{Part, RunId, RunOutcome};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::SIGWINCH;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time between two drawings of the board.
const REDRAW: Duration = Duration::from_millis(200);

/// Time between two estimates of the time left.
const ESTIMATE: Duration = Duration::from_secs(1);

/// The most losses of a run that are kept for its line.
const LOSSES: usize = 256;

/// Writes what a run is in a few words, with the further axes that tell it from others.
fn label(run: &Run, further: &Columns) -> String {
    let Some(spec) = run.work.model() else {
        return external_label(run);
    };
    let architecture = &spec.architecture;
    let params = architecture.params();
    let n = Params(params.non_embedding());
    let d = Tokens(spec.recipe.tokens);
    let kind = architecture.kind().name();
    let size = if !architecture.has_concepts() {
        format!("{kind} N={n} D={d}")
    } else {
        format!(
            "{kind} N={n} P={:.2} R={} D={d}",
            params.concept_share(),
            architecture.compression_ratio()
        )
    };
    let part = match run.part() {
        Part::Whole => String::new(),
        part => format!(" {part}"),
    };
    let axes = match further.words(&run.axes) {
        axes if axes.is_empty() => axes,
        axes => format!(" {axes}"),
    };
    format!("{size}{axes} seed {}{part}", spec.seed)
}

/// Writes another trainer's run by its axes.
fn external_label(run: &Run) -> String {
    let axes = run
        .work
        .external()
        .map_or(&[][..], |spec| spec.axes.as_slice());
    let words = axes
        .iter()
        .map(|(name, value)| format!("{name}={}", value.shown()));
    words.collect::<Vec<_>>().join(" ")
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stand {
    Waiting,
    /// It trains: since when, and which share was done by then.
    Training {
        since: Instant,
        from: f64,
    },
    Over,
    /// It does not start, since the run it goes on from failed.
    Blocked,
}

/// A run of the grid.
struct Followed {
    id: RunId,
    label: String,
    flops: f64,
    flops_per_token: f64,
    /// The run it goes on from.
    after: Option<RunId>,
    /// Steps at its beginning, which are another run's, and at its end.
    start: u64,
    steps: Option<u64>,
    /// Tokens that it trains on itself, where that is known.
    tokens: Option<f64>,
    stand: Stand,
    /// The share that is done.
    done: f64,
    /// What it has shown of its pace so far.
    pace: Option<Pace>,
    losses: Vec<f64>,
    /// The newest held-out loss.
    held_out: Option<f64>,
    tokens_per_second: Option<f64>,
}

impl Followed {
    fn new(run: &Run, further: &Columns) -> Self {
        let start = run.work.start();
        Self {
            id: run.id.clone(),
            label: label(run, further),
            flops: run.amount(),
            flops_per_token: run.amount() / run.own_tokens().unwrap_or(1.0),
            after: start.map(|start| start.run.clone()),
            start: start.map_or(0, |start| start.step),
            steps: run.work.steps(),
            tokens: run.own_tokens(),
            stand: Stand::Waiting,
            done: 0.0,
            pace: None,
            losses: Vec::new(),
            held_out: None,
            tokens_per_second: None,
        }
    }

    /// Takes note of how far it has come.
    fn reaches(&mut self, done: f64) {
        let Stand::Training { since, from } = self.stand else {
            return;
        };
        self.done = done;
        let step = self.steps.map_or(0.0, |steps| 1.0 / steps as f64);
        if self.pace.is_none() && done > from + 0.05 + 2.0 * step {
            // The first row after a checkpoint: what came before was not done now.
            self.stand = Stand::Training {
                since: Instant::now(),
                from: done,
            };
        } else if done > from {
            self.pace = Some(Pace {
                flops_per_token: self.flops_per_token,
                flops: self.flops * (done - from),
                seconds: since.elapsed().as_secs_f64(),
            });
        }
    }

    fn row(&self) -> Row {
        Row {
            id: self.id.to_string(),
            label: self.label.clone(),
            done: Some(self.done),
            losses: self.losses.clone(),
            tokens_per_second: self.tokens_per_second,
            failure: String::new(),
        }
    }
}

/// Where the board is drawn.
struct Screen {
    /// Draws its message in place of the one before, below what is printed.
    place: ProgressBar,
    window: Window,
    /// Set when the window's size changes.
    is_resized: Arc<AtomicBool>,
}

impl Screen {
    fn new() -> Self {
        let style = ProgressStyle::with_template("{msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let is_resized = Arc::new(AtomicBool::new(false));
        // Without the signal the board keeps the width it began with.
        drop(signal_hook::flag::register(
            SIGWINCH,
            Arc::clone(&is_resized),
        ));
        Self {
            place: ProgressBar::new_spinner().with_style(style),
            window: Window::now(),
            is_resized,
        }
    }

    fn draw(&mut self, board: &Board) {
        if self.is_resized.swap(false, Ordering::Relaxed) {
            self.window = Window::now();
        }
        self.place.set_message(board.draw(self.window).join("\n"));
    }
}

/// Shows a grid being run.
pub(super) struct Progress {
    /// In the order in which they start.
    runs: Vec<Followed>,
    places: HashMap<RunId, usize>,
    slots: usize,
    /// Where the board is drawn; `None` where lines are printed instead.
    screen: Option<Screen>,
    /// Whether only what goes wrong is said.
    is_quiet: bool,
    failed: Vec<Row>,
    drawn: Instant,
    /// Seconds.
    left: Option<f64>,
    estimated: Option<Instant>,
}

impl Progress {
    /// Starts to show the runs that are to do, those that start first last, at most `slots` at once.
    pub(super) fn new(by_urgency: &[&Run], slots: usize, is_quiet: bool) -> Self {
        let further = Columns::of(by_urgency.iter().map(|run| &run.axes));
        let runs: Vec<Followed> = by_urgency
            .iter()
            .rev()
            .map(|run| Followed::new(run, &further))
            .collect();
        let has_screen = !is_quiet && std::io::stderr().is_terminal();
        let screen = has_screen.then(Screen::new);
        Self {
            places: runs
                .iter()
                .enumerate()
                .map(|(k, run)| (run.id.clone(), k))
                .collect(),
            runs,
            slots,
            screen,
            is_quiet,
            failed: Vec::new(),
            drawn: Instant::now(),
            left: None,
            estimated: None,
        }
    }

    fn run(&mut self, id: &RunId) -> Option<&mut Followed> {
        self.runs.get_mut(*self.places.get(id)?)
    }

    fn running(&self) -> impl Iterator<Item = &Followed> {
        let training = |run: &&Followed| matches!(run.stand, Stand::Training { .. });
        self.runs.iter().filter(training)
    }

    fn count(&self, is_so: impl Fn(&Stand) -> bool) -> usize {
        self.runs.iter().filter(|run| is_so(&run.stand)).count()
    }

    /// The share of the FLOPs that is done.
    fn done(&self) -> f64 {
        let share = |run: &Followed| match run.stand {
            Stand::Over | Stand::Blocked => 1.0,
            Stand::Waiting | Stand::Training { .. } => run.done,
        };
        let done: f64 = self.runs.iter().map(|run| run.flops * share(run)).sum();
        let whole: f64 = self.runs.iter().map(|run| run.flops).sum();
        if whole > 0.0 { done / whole } else { 1.0 }
    }

    /// Estimates the time left from the paces that runs have shown.
    fn estimate(&mut self) {
        if self.estimated.is_some_and(|at| at.elapsed() < ESTIMATE) {
            return;
        }
        self.estimated = Some(Instant::now());
        let paces: Vec<Pace> = self.runs.iter().filter_map(|run| run.pace).collect();
        let left: Vec<&Followed> = self
            .runs
            .iter()
            .filter(|run| !matches!(run.stand, Stand::Over | Stand::Blocked))
            .collect();
        let places: HashMap<&RunId, usize> = left
            .iter()
            .enumerate()
            .map(|(k, run)| (&run.id, k))
            .collect();
        let open = |run: &&Followed| {
            let is_running = run.stand != Stand::Waiting;
            Open {
                flops_per_token: run.flops_per_token,
                flops: run.flops * (1.0 - run.done),
                pace: run.pace.filter(|_| is_running),
                is_running,
                after: run
                    .after
                    .as_ref()
                    .and_then(|after| places.get(after).copied()),
            }
        };
        let open: Vec<Open> = left.iter().map(open).collect();
        self.left = seconds_left(&open, &paces, self.slots);
    }

    fn whole(&mut self) -> String {
        self.estimate();
        let left = self.left.map_or_else(|| "?".to_owned(), words);
        let failed = match self.failed.len() {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        format!(
            "{left} left; {}/{} runs done, {} running{failed}",
            self.count(|stand| matches!(stand, Stand::Over)),
            self.count(|stand| !matches!(stand, Stand::Blocked)),
            self.running().count()
        )
    }

    fn say(&self, text: &str) {
        match &self.screen {
            Some(screen) => screen.place.println(tamed(text)),
            None => note!("{text}"),
        }
    }

    fn started(&mut self, id: &RunId) {
        let Some(run) = self.run(id) else {
            return;
        };
        run.stand = Stand::Training {
            since: Instant::now(),
            from: 0.0,
        };
        run.pace = None;
    }

    fn measured(&mut self, id: &RunId, row: &Measurement) {
        let Some(run) = self.run(id) else {
            return;
        };
        let by_steps = run.steps.map(|steps| {
            let step = row.step.saturating_sub(run.start);
            step as f64 / (steps - run.start).max(1) as f64
        });
        let by_tokens = || Some((row.tokens? as f64 / run.tokens?).min(1.0));
        if let Some(done) = by_steps.or_else(by_tokens) {
            run.reaches(done);
        }
        run.tokens_per_second = row.tokens_per_second.or(run.tokens_per_second);
        if let Some(loss) = row.loss.or(row.validation_loss) {
            run.losses.push(loss);
        }
        if run.losses.len() > LOSSES {
            let mut keep = false;
            run.losses.retain(|_| {
                keep = !keep;
                keep
            });
        }
        run.held_out = row.validation_loss.or(run.held_out);
    }

    fn reopened(&mut self, id: &RunId) {
        if let Some(run) = self.run(id) {
            run.stand = Stand::Waiting;
        }
        self.failed.retain(|row| row.id != id.0);
        self.say(&format!("{id} is eligible again, as asked"));
    }

    fn blocked(&mut self, id: &RunId, why: &str) {
        let Some(run) = self.run(id) else {
            return;
        };
        run.stand = Stand::Blocked;
        let text = format!("{id} does not start: {why}: {}", run.label);
        self.say(&text);
    }

    fn ended(&mut self, id: &RunId, outcome: RunOutcome, message: Option<&str>) {
        let Some(run) = self.run(id) else {
            return;
        };
        let loss = run.held_out.filter(|_| outcome == RunOutcome::Finished);
        let loss = loss.map_or_else(String::new, |loss| format!(", loss {loss:.4}"));
        let mut text = format!("{id} {outcome}{loss}: {}", run.label);
        if outcome == RunOutcome::Interrupted {
            run.stand = Stand::Waiting;
            self.say(&text);
            return;
        }
        if outcome == RunOutcome::Finished {
            run.reaches(1.0);
        }
        run.stand = Stand::Over;
        run.losses = Vec::new();
        let row = Row {
            done: None,
            failure: match message.and_then(last_line) {
                Some(reason) => format!("{outcome}: {reason}"),
                None => outcome.to_string(),
            },
            ..run.row()
        };
        if !outcome.is_result() {
            text += &indented(message);
            self.failed.push(row);
        } else if self.is_quiet {
            return;
        } else if self.screen.is_none() {
            text += &format!("; {}", self.whole());
        }
        self.say(&text);
    }

    fn retried(&mut self, retried: &Retried) {
        let Some(run) = self.run(&retried.run) else {
            return;
        };
        run.stand = Stand::Waiting;
        let again = match retried.micro_batch {
            Some(rows) => format!("again with {rows} sequences at a time"),
            None => format!("again in {}", words(retried.after.as_secs_f64())),
        };
        let (id, outcome) = (&retried.run, retried.outcome);
        let mut text = format!("{id} {outcome}, {again}: {}", run.label);
        text += &indented(retried.message.as_deref());
        self.say(&text);
    }
}

impl Observer for Progress {
    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Started(id) => self.started(&id),
            Notice::Measured(id, row) => self.measured(&id, &row),
            Notice::Ended(id, outcome, message) => self.ended(&id, outcome, message.as_deref()),
            Notice::Retried(retried) => self.retried(&retried),
            Notice::Held(id, holder) => self.say(&format!(
                "{id} waits for {holder}, which still works on it and is asked to stop"
            )),
            Notice::Left(id, of) => self.say(&format!(
                "{id}: {} was asked to cancel it and ended before it did; `orchestrator cancel {id}` \
                 cancels it",
                of.describe()
            )),
            Notice::Reopened(id) => self.reopened(&id),
            Notice::Blocked(id, why) => self.blocked(&id, &why),
            Notice::Said(text) => self.say(&text),
            Notice::Stopping(0) | Notice::Killing(0) => {}
            Notice::Stopping(running) => self.say(&format!(
                "stopping: {} to write a checkpoint and end; once more to kill",
                counted(running, "run")
            )),
            Notice::Killing(running) => self.say(&format!(
                "killing {}: what was done since the last checkpoint is done again",
                counted(running, "run")
            )),
        }
    }

    fn tick(&mut self) {
        if self.screen.is_none() || self.drawn.elapsed() < REDRAW {
            return;
        }
        self.drawn = Instant::now();
        let board = Board {
            running: self.running().map(Followed::row).collect(),
            failed: self.failed.clone(),
            done: self.done(),
            whole: self.whole(),
        };
        if let Some(screen) = &mut self.screen {
            screen.draw(&board);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(screen) = &self.screen {
            screen.place.finish_and_clear();
        }
    }
}

/// Writes what a run or its system said below what is said about it.
fn indented(message: Option<&str>) -> String {
    message.map_or_else(String::new, |message| {
        let message = harmless(message.to_owned());
        format!("\n  {}", message.replace('\n', "\n  "))
    })
}

/// Writes a duration as people say it.
pub(super) fn words(seconds: f64) -> String {
    // An estimate may be any number, of a plan of any size.
    match seconds as u64 {
        s @ 0..90 => format!("{s} s"),
        s @ 90..5400 => format!("{} min", (s + 30) / 60),
        s => format!("{:.1} h", s as f64 / 3600.0),
    }
}
