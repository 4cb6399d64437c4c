//! `status --watch` on a terminal: the board of a grid that is being run, from its database.

use crate::cli::Failure;
use crate::cli::board::{Board, Row, Window};
use crate::cli::progress::words;
use crate::cli::terminal::last_line;
use campaign::store::{RunRecord, Store};
use experiment::event::Measurement;
use experiment::plan::{Open, Pace, seconds_left};
use experiment::quantity::{Params, Tokens};
use experiment::run::{RunId, RunState};
use std::collections::HashMap;

type Run = RunRecord<()>;

/// Draws the board of all runs in place of what the terminal shows; `summary` says how the whole
/// stands.
pub(in crate::cli) async fn screen(
    store: &Store,
    experiment: i64,
    runs: &[Run],
    summary: &str,
) -> Result<String, Failure> {
    let mut shares = Shares::of(runs);
    let mut board = Board::default();
    for run in runs.iter().filter(|run| run.state == RunState::Running) {
        let rows = store.measurements(&run.id).await?;
        board.running.push(shares.training(run, &rows));
    }
    board.failed = runs.iter().filter_map(failed).collect();
    for (run, seconds) in store.seconds_taken(experiment).await? {
        shares.took(&run, seconds);
    }
    board.done = shares.done();
    board.whole = match shares.seconds_left() {
        Some(left) => format!("{} left; {summary}", words(left)),
        None => summary.to_owned(),
    };
    let lines = board.draw(Window::now());
    // Each line replaces what stood there; nothing flickers.
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
    Ok(format!("\x1b[H{}\x1b[J", lines.concat()))
}

fn label(run: &Run) -> String {
    let params = run.params.map(|n| format!(" N={}", Params(n)));
    let tokens = run.tokens.map(|d| format!(" D={}", Tokens(d)));
    let concepts = if !run.has_concepts() {
        String::new()
    } else {
        format!(" P={:.2} R={}", run.concept_share, run.compression_ratio)
    };
    let kind = super::plan::kind(run.kind, run.part);
    format!(
        "{kind}{}{concepts}{} seed {}",
        params.unwrap_or_default(),
        tokens.unwrap_or_default(),
        run.seed
    )
}

/// The line of a run that has failed.
fn failed(run: &Run) -> Option<Row> {
    let outcome = run.outcome.filter(|outcome| !outcome.is_result())?;
    let failure = match run.message.as_deref().and_then(last_line) {
        Some(reason) => format!("{outcome}: {reason}"),
        None => outcome.to_string(),
    };
    (run.state == RunState::Ended).then(|| Row {
        id: run.id.to_string(),
        label: label(run),
        failure,
        ..Row::default()
    })
}

/// What each run has to do, has done, and how fast.
struct Shares<'a> {
    runs: &'a [Run],
    places: HashMap<&'a RunId, usize>,
    done: Vec<f64>,
    paces: Vec<Option<Pace>>,
}

impl<'a> Shares<'a> {
    fn of(runs: &'a [Run]) -> Self {
        let done = |run: &Run| f64::from(u8::from(run.state == RunState::Ended));
        Self {
            places: runs
                .iter()
                .enumerate()
                .map(|(k, run)| (&run.id, k))
                .collect(),
            done: runs.iter().map(done).collect(),
            paces: vec![None; runs.len()],
            runs,
        }
    }

    /// The tokens and FLOPs of the run that another goes on from, with those before it.
    fn before(&self, run: &Run) -> (f64, f64) {
        let start = run
            .start_run
            .as_ref()
            .and_then(|start| self.places.get(start));
        start.map_or((0.0, 0.0), |&start| {
            let run = &self.runs[start];
            (
                run.tokens.map_or(0.0, |tokens| tokens as f64),
                run.planned_flops.unwrap_or(0.0),
            )
        })
    }

    /// The tokens and FLOPs that a run trains itself; one of each where nobody has said how many.
    fn own(&self, run: &Run) -> (f64, f64) {
        let (tokens, flops) = self.before(run);
        (
            run.tokens.map_or(1.0, |all| all as f64 - tokens),
            run.planned_flops.map_or(1.0, |all| all - flops),
        )
    }

    /// Takes note of what a run has measured, and makes its line.
    fn training(&mut self, run: &Run, rows: &[Measurement]) -> Row {
        let (tokens, flops) = self.own(run);
        let last = rows.last();
        let seen = last
            .and_then(|row| row.tokens)
            .filter(|_| run.tokens.is_some());
        let done = seen.map(|seen| ((seen as f64 - self.before(run).0) / tokens).clamp(0.0, 1.0));
        let speed = rows.iter().rev().find_map(|row| row.tokens_per_second);
        if let (Some(&place), Some(done)) = (self.places.get(&run.id), done) {
            self.done[place] = done;
            self.paces[place] = speed.map(|speed| Pace {
                flops_per_token: flops / tokens,
                flops: flops * done,
                seconds: tokens * done / speed,
            });
        }
        Row {
            id: run.id.to_string(),
            label: label(run),
            done: Some(done.unwrap_or(0.0)),
            failure: String::new(),
            losses: rows
                .iter()
                .filter_map(|row| row.loss.or(row.validation_loss))
                .collect(),
            tokens_per_second: speed,
        }
    }

    /// Takes note of how long a finished run took.
    fn took(&mut self, run: &RunId, seconds: f64) {
        let Some(&place) = self.places.get(run) else {
            return;
        };
        let (tokens, flops) = self.own(&self.runs[place]);
        self.paces[place] = Some(Pace {
            flops_per_token: flops / tokens,
            flops,
            seconds,
        });
    }

    /// The share of the FLOPs that is done.
    fn done(&self) -> f64 {
        let flops = |k: usize| self.own(&self.runs[k]).1;
        let all = 0..self.runs.len();
        let whole: f64 = all.clone().map(flops).sum();
        let done: f64 = all.map(|k| flops(k) * self.done[k]).sum();
        if whole > 0.0 { done / whole } else { 1.0 }
    }

    /// Estimates the time left with as many runs at once as train now, the longest first.
    fn seconds_left(&self) -> Option<f64> {
        let is_running = |k: &usize| self.runs[*k].state == RunState::Running;
        let all = 0..self.runs.len();
        let mut open: Vec<usize> = all
            .filter(|k| self.runs[*k].state != RunState::Ended)
            .collect();
        open.sort_by(|a, b| {
            let flops = |k: &usize| self.own(&self.runs[*k]).1;
            flops(b).total_cmp(&flops(a))
        });
        let slots = open.iter().filter(|k| is_running(k)).count();
        if slots == 0 {
            return None;
        }
        let places: HashMap<&RunId, usize> = open
            .iter()
            .enumerate()
            .map(|(place, k)| (&self.runs[*k].id, place))
            .collect();
        let left = open.iter().map(|k| {
            let (tokens, flops) = self.own(&self.runs[*k]);
            let start = self.runs[*k].start_run.as_ref();
            Open {
                flops_per_token: flops / tokens,
                flops: flops * (1.0 - self.done[*k]),
                pace: self.paces[*k].filter(|pace| pace.flops > 0.0),
                is_running: is_running(k),
                after: start.and_then(|start| places.get(start).copied()),
            }
        });
        let paces: Vec<Pace> = self.paces.iter().flatten().copied().collect();
        seconds_left(&left.collect::<Vec<_>>(), &paces, slots)
    }
}
