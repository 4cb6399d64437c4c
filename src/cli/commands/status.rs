//! `orchestrator status`: where the runs of an experiment stand.

use super::watch;
use crate::application::verdicts;
use crate::cli::Failure;
use crate::cli::axes::Columns;
use crate::cli::experiment::ExperimentArgs;
use crate::cli::take_in::take_in;
use crate::cli::terminal::{draw, last_line, print};
use campaign::cluster::workload::Workload;
use campaign::orchestrate::blocked_by;
use campaign::store::{RunRecord, Selection, Store, Tally};
use clap::ValueEnum;
use experiment::lock::Lock;
use experiment::quantity::{Params, Tokens, or_dash};
use experiment::run::{Part, RunId, RunOutcome, RunState};
use experiment::tasks::Scores;
use scaling_law::claims::{ClaimVerdict, ClaimVerdicts};
use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Time between two looks of `--watch`.
const WATCH: Duration = Duration::from_secs(2);

/// The most runs that are shown without being asked for: nobody reads more.
const MOST_SHOWN: u64 = 1000;

/// Print where every run of an experiment stands.
///
/// Of a cluster it says what workers train and why jobs wait. Where nobody else does, it takes in what they have
/// measured.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator status experiments/quickstart.yaml --json")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    /// Print JSON: an object whose `runs` array holds one object a run, and whose `at_work` says
    /// whether an orchestrator trains them; `imported` counts runs of other people; `workers` is what
    /// workers on a cluster have, null where they have nothing.
    #[arg(long)]
    json: bool,

    /// Print it again every two seconds, until no run is left that waits or trains, or what trained
    /// them is gone.
    #[arg(long, conflicts_with = "json")]
    watch: bool,

    /// Order of the runs: as they are planned, or the lowest loss or fewest FLOPs first.
    #[arg(long, value_enum, default_value_t = Order::Plan, conflicts_with = "json")]
    sort: Order,

    /// Every run: also those that the experiment asked for once and does no more, and also where it
    /// is so large that only runs that train, failed or wait for a failed one would be shown.
    #[arg(long)]
    all: bool,
}

/// An order of runs.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Order {
    Plan,
    Loss,
    Flops,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let place = args.experiment.place()?;
    crate::cli::block_on(async {
        take_in(&args.experiment, &place.results).await;
        let mut store = crate::cli::open_to_read(&place.results).await?;
        let (experiment, name) = place.find(&store).await?;
        let has_board = args.watch && std::io::stdout().is_terminal();
        loop {
            let status = Status::read(&store, &place.results, experiment, args, has_board).await?;
            if args.json {
                print(&format!("{}\n", status.json(&name, args.all)?))?;
            } else if has_board {
                let summary = status.summary();
                let screen = watch::screen(&store, experiment, &status.runs, summary.trim_end());
                draw(&screen.await?)?;
            } else {
                print(&status.text())?;
            }
            if !args.watch || !status.is_open() {
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(WATCH).await;
            take_in(&args.experiment, &place.results).await;
            if store.is_copy() {
                let before = store;
                store = Store::open_to_read(&place.results).await?;
                before.close().await;
            }
        }
    })
}

type Run = RunRecord<()>;

/// A run with what it waits for in vain.
#[derive(serde::Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    run: &'a Run,
    blocked_by: Option<&'a RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scores: Option<&'a Scores>,
}

struct Status {
    /// The runs to show, and all that block others.
    runs: Vec<Run>,
    /// Runs that are no longer asked for, where they are to be shown.
    removed: Vec<Run>,
    /// The failed run that each blocked one waits for.
    blocked: HashMap<RunId, RunId>,
    tally: Vec<Tally>,
    /// What runs answer to tasks, of those that were asked.
    scores: BTreeMap<RunId, Scores>,
    /// What the runs say of the experiment's claims; `None` where it has none.
    claims: Option<ClaimVerdicts>,
    /// Runs of other people.
    imported: u64,
    /// Whether an orchestrator works on the folder, as far as can be told.
    at_work: bool,
    /// What workers elsewhere have.
    workers: Workload,
    /// Whether runs that only finished or wait for their turn are left out.
    is_short: bool,
}

impl Status {
    /// Reads it; a board is about all runs, however many there are.
    async fn read(
        store: &Store,
        results: &Path,
        experiment: i64,
        args: &Args,
        has_board: bool,
    ) -> Result<Self, Failure> {
        // Before the runs: one that starts in between is no reason to call it gone.
        let at_work = !matches!(Lock::holder(results), Ok(None));
        let workers = Workload::read(results);
        let workers = if at_work {
            workers
        } else {
            workers.with_queue(results)
        };
        let tally = store.tally(experiment).await?;
        let wanted = tally.iter().filter(|tally| tally.wanted);
        let wanted: u64 = wanted.map(|tally| tally.runs).sum();
        let is_short = wanted > MOST_SHOWN && !args.all && !args.json && !has_board;
        let selection = if is_short {
            Selection::Remarkable
        } else {
            Selection::Wanted
        };
        let runs = store.runs_in_brief(experiment, selection).await?;
        let mut runs = runs;
        // What has none comes last.
        let by = |value: fn(&Run) -> Option<f64>| {
            move |a: &Run, b: &Run| {
                let [a, b] = [a, b].map(|run| value(run).unwrap_or(f64::INFINITY));
                a.total_cmp(&b)
            }
        };
        match args.sort {
            Order::Plan => {}
            Order::Loss => runs.sort_by(by(|run| run.loss)),
            Order::Flops => runs.sort_by(by(|run| run.flops)),
        }
        let removed = if args.all {
            store.runs_in_brief(experiment, Selection::Removed).await?
        } else {
            Vec::new()
        };
        Ok(Self {
            blocked: blocked_by(&runs),
            imported: store.count_imported(experiment).await?,
            scores: store.scores(experiment).await?,
            claims: verdicts(store, experiment).await?,
            runs,
            removed,
            tally,
            at_work,
            workers,
            is_short,
        })
    }

    /// Counts the runs that trained when what trained them was killed.
    fn cut_off(&self) -> u64 {
        let running = |tally: &&Tally| tally.wanted && tally.state == RunState::Running;
        let running = self.tally.iter().filter(running).map(|tally| tally.runs);
        if self.at_work || self.workers.is_open() {
            0
        } else {
            running.sum()
        }
    }

    /// Says whether a run waits or trains, and may still do so.
    fn is_open(&self) -> bool {
        if self.cut_off() > 0 {
            return false;
        }
        let open = |tally: &&Tally| tally.wanted && tally.state != RunState::Ended;
        let open = self.tally.iter().filter(open).map(|tally| tally.runs);
        open.sum::<u64>() > self.blocked.len() as u64
    }

    fn rows<'a>(&'a self, runs: &'a [Run]) -> Vec<Row<'a>> {
        let row = |run: &'a Run| Row {
            run,
            blocked_by: self.blocked.get(&run.id),
            scores: self.scores.get(&run.id),
        };
        runs.iter().map(row).collect()
    }

    fn json(&self, experiment: &str, all: bool) -> Result<String, Failure> {
        #[derive(serde::Serialize)]
        struct Json<'a> {
            experiment: &'a str,
            at_work: bool,
            imported: u64,
            workers: Option<&'a Workload>,
            #[serde(skip_serializing_if = "Option::is_none")]
            claims: Option<&'a [ClaimVerdict]>,
            runs: Vec<Row<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            removed: Option<Vec<Row<'a>>>,
        }
        let json = Json {
            experiment,
            at_work: self.at_work,
            imported: self.imported,
            workers: Some(&self.workers).filter(|workers| workers.is_open()),
            claims: self.claims.as_ref().map(|claims| &*claims.claims),
            runs: self.rows(&self.runs),
            removed: all.then(|| self.rows(&self.removed)),
        };
        serde_json::to_string_pretty(&json).map_err(Failure::machine)
    }

    fn text(&self) -> String {
        let is_shown = |run: &&Run| {
            !self.is_short
                || self.blocked.contains_key(&run.id)
                || run.state != RunState::Pending && run.outcome != Some(RunOutcome::Finished)
        };
        let mut shown: Vec<&Run> = self.runs.iter().filter(is_shown).collect();
        let hidden = if self.is_short {
            shown.len().saturating_sub(MOST_SHOWN as usize)
        } else {
            0
        };
        shown.truncate(shown.len() - hidden);
        let all = shown.iter().copied().chain(&self.removed);
        let columns = Columns::of(all.map(|run| &run.axes));
        let mut text = if self.tally.is_empty() {
            String::new()
        } else {
            header(&columns)
        };
        text.extend(shown.iter().map(|run| self.line(run, &columns)));
        if !self.removed.is_empty() {
            text += "no longer asked for:\n";
            text.extend(self.removed.iter().map(|run| self.line(run, &columns)));
        }
        text.extend(shown.iter().map(|run| why(run)));
        if self.is_short {
            let more = match hidden {
                0 => String::new(),
                hidden => format!(" and {hidden} more of them"),
            };
            text += &format!(
                "shown are runs that train, failed or wait for a failed one; every run{more}: --all\n"
            );
        }
        text += &self.summary();
        text
    }

    fn summary(&self) -> String {
        let blocked = self.blocked.len() as u64;
        let (mut removed, mut counts) = (0, Vec::new());
        for tally in &self.tally {
            let name = match (tally.state, tally.outcome) {
                (RunState::Ended, Some(outcome)) => outcome.name(),
                (state, _) => state.name(),
            };
            match counts.iter_mut().find(|(other, _)| *other == name) {
                _ if !tally.wanted => removed += tally.runs,
                Some((_, count)) => *count += tally.runs,
                None => counts.push((name, tally.runs)),
            }
        }
        for (name, count) in &mut counts {
            if *name == RunState::Pending.name() {
                *count -= blocked.min(*count);
            }
        }
        counts.push(("waiting for a failed run", blocked));
        let some = counts.into_iter().filter(|(_, count)| *count > 0);
        let mut words: Vec<String> = some.map(|(name, n)| format!("{n} {name}")).collect();
        if removed > 0 {
            let hint = if self.removed.is_empty() {
                " (--all)"
            } else {
                ""
            };
            words.push(format!("{removed} no longer asked for{hint}"));
        }
        if self.imported > 0 {
            words.push(format!("{} imported", self.imported));
        }
        let mut text = format!("{}\n", words.join(", "));
        for said in self.workers.describe() {
            text += &format!("{said}\n");
        }
        text += &self.best();
        if !self.scores.is_empty() {
            text += &format!(
                "{} asked: `orchestrator evaluate` compares the answers\n",
                match self.scores.len() {
                    1 => "1 run has been".to_owned(),
                    runs => format!("{runs} runs have been"),
                }
            );
        }
        if let Some(claims) = &self.claims {
            text += &format!("claims: {} (`orchestrator claims`)\n", claims.tally());
        }
        if self.cut_off() > 0 {
            text += "no orchestrator is at work here: what says `running` was cut off, and goes on with \
                     `orchestrator run FILE`\n";
        }
        text
    }

    /// Names the run of the lowest loss, among those of the most tokens: of fewer it says little.
    fn best(&self) -> String {
        let finished = |run: &&Run| {
            run.outcome == Some(RunOutcome::Finished)
                && run.part != Part::Trunk
                && run.loss.is_some()
                // Of those that read ahead it is no language model's.
                && run.axes.get("model.causal").is_none_or(|causal| causal != "paper")
        };
        let most = self
            .runs
            .iter()
            .filter(finished)
            .map(|run| run.tokens)
            .max();
        let longest = self
            .runs
            .iter()
            .filter(finished)
            .filter(|run| Some(run.tokens) == most);
        let best = longest.min_by(|a, b| {
            a.loss
                .unwrap_or(f64::NAN)
                .total_cmp(&b.loss.unwrap_or(f64::NAN))
        });
        match (best, self.is_short) {
            (Some(run), false) => format!(
                "lowest loss at D = {}: {:.4}, {} ({})\n",
                or_dash(run.tokens.map(Tokens)),
                run.loss.unwrap_or(f64::NAN),
                run.id,
                super::plan::kind(run.kind, run.part)
            ),
            _ => String::new(),
        }
    }

    fn state(&self, run: &Run) -> String {
        if let Some(by) = self.blocked.get(&run.id) {
            let outcome = self.runs.iter().find(|other| other.id == *by);
            let outcome = outcome.and_then(|other| other.outcome);
            let outcome = outcome.map_or("failed", |outcome| outcome.name());
            return format!("waits for {by}: {outcome}");
        }
        match run.outcome {
            Some(outcome) if run.state == RunState::Ended => outcome.to_string(),
            Some(outcome) if run.state == RunState::Pending => format!("pending, {outcome} before"),
            _ => run.state.to_string(),
        }
    }

    fn line(&self, run: &Run, columns: &Columns) -> String {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        format!(
            "{:<12}  {:<12}  {:>6}  {:>5.3}  {:>5}  {:>8}  {:>6}  {:>4}  {}{:>7}  {:>9}  {}\n",
            run.id,
            super::plan::kind(run.kind, run.part),
            or_dash(run.params.map(Params)),
            run.concept_share,
            run.compression_ratio,
            number(run.realised_ratio, 3),
            or_dash(run.tokens.map(Tokens)),
            run.seed,
            spaced(columns.values(&run.axes)),
            number(run.loss, 4),
            run.flops
                .map_or("-".to_owned(), |flops| format!("{flops:.3e}")),
            self.state(run)
        )
    }
}

fn header(columns: &Columns) -> String {
    let further = spaced(columns.names());
    format!(
        "{:<12}  {:<12}  {:>6}  {:>5}  {:>5}  {:>8}  {:>6}  {:>4}  {further}{:>7}  {:>9}  {}\n",
        "id", "kind", "N", "P", "R", "realised", "D", "seed", "loss", "FLOPs", "state"
    )
}

/// Writes cells with the space that follows each.
fn spaced(cells: impl Iterator<Item = String>) -> String {
    cells.map(|cell| cell + "  ").collect()
}

/// Says in a line why a run failed; nothing for others.
fn why(run: &Run) -> String {
    let failed = run.outcome.is_some_and(|outcome| !outcome.is_result());
    match (&run.message, run.state) {
        (Some(message), RunState::Ended | RunState::Pending) if failed => {
            format!("{}: {}\n", run.id, last_line(message).unwrap_or_default())
        }
        _ => String::new(),
    }
}
