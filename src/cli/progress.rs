//! Live progress: bars on a terminal, plain lines elsewhere.

use super::trained::harmless;
use crate::event::Measurement;
use crate::orchestrate::{Notice, Observer, Retried};
use crate::plan::Planned;
use crate::quantity::{Params, Tokens, human};
use crate::run::{Part, RunId, RunOutcome};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Parts of a FLOP bar: enough for a smooth bar whatever the FLOPs are.
const PARTS: f64 = 10_000.0;

/// Writes what a run is in a few words.
pub(super) fn label(run: &Planned) -> String {
    let architecture = &run.spec.architecture;
    let params = architecture.params();
    let n = Params(params.non_embedding());
    let d = Tokens(run.spec.recipe.tokens);
    let size = match architecture.is_dense() {
        true => format!("dense N={n} D={d}"),
        false => format!(
            "dlcm N={n} P={:.2} R={} D={d}",
            params.concept_share(),
            architecture.compression_ratio()
        ),
    };
    let part = match run.spec.execution.part() {
        Part::Whole => String::new(),
        part => format!(" {part}"),
    };
    format!("{size} seed {}{part}", run.spec.seed)
}

struct Active {
    label: String,
    flops: f64,
    /// Steps at its beginning, which are another run's, and at its end.
    start: u64,
    steps: u64,
    done: f64,
    bar: Option<ProgressBar>,
}

/// Shows a grid being run.
pub(super) struct Progress {
    runs: HashMap<RunId, Active>,
    bars: Option<(MultiProgress, ProgressBar)>,
    total: usize,
    ended: usize,
    running: usize,
    failed: usize,
    flops_total: f64,
    flops_ended: f64,
    /// FLOPs that were in checkpoints before this start.
    flops_before: f64,
    started: Instant,
}

impl Progress {
    /// Starts to show the runs that are to do.
    pub(super) fn new<'a>(planned: impl Iterator<Item = &'a Planned>) -> Self {
        let runs: HashMap<RunId, Active> = planned
            .map(|run| {
                let active = Active {
                    label: label(run),
                    flops: run.flops,
                    start: run
                        .spec
                        .execution
                        .start
                        .as_ref()
                        .map_or(0, |start| start.step),
                    steps: run.spec.recipe.steps(run.spec.architecture.seq_len()),
                    done: 0.0,
                    bar: None,
                };
                (run.id.clone(), active)
            })
            .collect();
        let bars = std::io::stderr().is_terminal().then(|| {
            let bars = MultiProgress::new();
            let style = ProgressStyle::with_template("{bar:30} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let whole = bars.add(ProgressBar::new(PARTS as u64).with_style(style));
            (bars, whole)
        });
        Self {
            total: runs.len(),
            flops_total: runs.values().map(|run| run.flops).sum(),
            runs,
            bars,
            ended: 0,
            running: 0,
            failed: 0,
            flops_ended: 0.0,
            flops_before: 0.0,
            started: Instant::now(),
        }
    }

    fn flops_done(&self) -> f64 {
        self.flops_ended
            + self
                .runs
                .values()
                .map(|run| run.flops * run.done)
                .sum::<f64>()
    }

    /// Estimates the time left from the FLOPs done since the start.
    fn left(&self) -> Option<Duration> {
        let done = self.flops_done();
        let now = done - self.flops_before;
        let rate = now / self.started.elapsed().as_secs_f64();
        (now > 0.0 && rate > 0.0)
            .then(|| Duration::from_secs_f64((self.flops_total - done).max(0.0) / rate))
    }

    fn whole(&self) -> String {
        let left = self.left().map_or_else(|| "?".to_owned(), words);
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        format!(
            "{}/{} runs done, {} running{failed}, {left} left",
            self.ended, self.total, self.running
        )
    }

    fn say(&self, text: &str) {
        match &self.bars {
            // A terminal that cannot take the line loses nothing that is not in the database.
            Some((bars, _)) => drop(bars.println(text)),
            None => eprintln!("{text}"),
        }
    }

    fn started(&mut self, id: &RunId) {
        self.running += 1;
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        if let Some((bars, whole)) = &self.bars {
            let style = ProgressStyle::with_template("{bar:30} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let steps = run.steps - run.start;
            let bar = bars.insert_before(whole, ProgressBar::new(steps).with_style(style));
            bar.set_message(run.label.clone());
            run.bar = Some(bar);
        } else {
            let text = format!("{id} started: {}", run.label);
            self.say(&text);
        }
    }

    fn measured(&mut self, id: &RunId, row: &Measurement) {
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        let step = row.step.saturating_sub(run.start);
        let done = step as f64 / (run.steps - run.start).max(1) as f64;
        if run.done == 0.0 && step > run.steps / 20 + 1 {
            // The first row of a resumed run: what came before was not done now.
            self.flops_before += run.flops * done;
        }
        run.done = done;
        let loss = row.validation_loss.or(row.loss);
        let speed = row
            .tokens_per_second
            .map_or(String::new(), |s| format!(", {} tokens/s", human(s)));
        if let (Some(bar), Some(loss)) = (&run.bar, loss) {
            bar.set_position(step);
            bar.set_message(format!("{}: loss {loss:.3}{speed}", run.label));
        } else if let Some(loss) = row.validation_loss {
            let text = format!(
                "{id} {:.0}%: validation loss {loss:.4} at {} tokens{speed}; {}",
                100.0 * done,
                Tokens(row.tokens),
                self.whole()
            );
            self.say(&text);
        }
    }

    fn blocked(&mut self, id: &RunId, why: &str) {
        let Some(run) = self.runs.get(id) else {
            return;
        };
        let text = format!("{id} does not start: {why}: {}", run.label);
        self.flops_total -= run.flops;
        self.total -= 1;
        self.say(&text);
    }

    fn ended(&mut self, id: &RunId, outcome: RunOutcome, message: Option<&str>) {
        self.running = self.running.saturating_sub(1);
        let Some(run) = self.runs.get_mut(id) else {
            return;
        };
        if let Some(bar) = run.bar.take() {
            bar.finish_and_clear();
        }
        let mut text = format!("{id} {outcome}: {}", run.label);
        if outcome == RunOutcome::Interrupted {
            self.say(&text);
            return;
        }
        run.done = 0.0;
        self.flops_ended += run.flops;
        self.ended += 1;
        if !outcome.is_result() {
            text += &indented(message);
            self.failed += 1;
        }
        self.say(&text);
    }

    fn retried(&mut self, retried: &Retried) {
        self.running = self.running.saturating_sub(1);
        let Some(run) = self.runs.get_mut(&retried.run) else {
            return;
        };
        if let Some(bar) = run.bar.take() {
            bar.finish_and_clear();
        }
        let again = match retried.micro_batch {
            Some(rows) => format!("again with {rows} sequences at a time"),
            None => format!("again in {}", words(retried.after)),
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
            Notice::Reopened(id) => self.say(&format!("{id} is eligible again, as asked")),
            Notice::Blocked(id, why) => self.blocked(&id, &why),
            Notice::Stopping(0) => {}
            Notice::Stopping(running) => self.say(&format!(
                "stopping: {running} run(s) write a checkpoint and end; once more to kill them"
            )),
        }
    }

    fn tick(&mut self) {
        if let Some((_, whole)) = &self.bars {
            whole.set_position((PARTS * self.flops_done() / self.flops_total.max(1.0)) as u64);
            whole.set_message(self.whole());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((_, whole)) = &self.bars {
            whole.finish_and_clear();
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
fn words(duration: Duration) -> String {
    match duration.as_secs() {
        s @ 0..90 => format!("{s} s"),
        s @ 90..5400 => format!("{} min", (s + 30) / 60),
        s => format!("{:.1} h", s as f64 / 3600.0),
    }
}
