//! `orchestrator run --until`: of a grid, the runs that narrow an answer most, until it is narrow enough.

use super::Training;
use crate::application::{Asked, first_runs, open_runs};
use crate::cli::Failure;
use crate::cli::terminal::note;
use crate::rows::Selection;
use campaign::orchestrate::{Setting, Summary};
use campaign::store::ChosenRun;
use experiment::clock::now;
use experiment::grid::{ExecutionSettings, Experiment};
use experiment::plan::Planned;
use experiment::quantity::{Seconds, counted, human};
use experiment::run::RunId;
use scaling_law::analysis::number;
use scaling_law::study::{Chosen, Goal, Known, Next, Open};
use std::collections::HashSet;
use std::time::Instant;

/// What is to be known, and what may be spent on it.
pub(super) struct Until {
    goal: Goal,
    /// Training FLOPs of all runs of the grid that are trained; `None` for as many as it takes.
    most: Option<f64>,
}

impl Until {
    /// Reads what is asked for: by arguments, or else by the experiment's file; `None` where the whole grid is.
    pub(super) fn read(
        given: Option<&str>,
        most: Option<&str>,
        experiment: &Experiment,
    ) -> Result<Option<Self>, Failure> {
        let most = most.map(|text| crate::cli::fitted::number("--budget", text));
        let most = most.transpose()?;
        let Some(goal) = given.or(experiment.analysis.until.as_deref()) else {
            return match most {
                None => Ok(None),
                Some(_) => Err(Failure::input(
                    "`--budget` says what may be spent until something is known: name it, as in --until \
                     'interval(concept_share) < 0.1'; `execution.max_flops` limits a whole grid",
                )),
            };
        };
        if experiment.branches || experiment.external.is_some() {
            return Err(Failure::input(
                "`--until` chooses runs that are trained as a whole by this program: neither `branches: true`, whose runs \
                 share trunks, nor another trainer's",
            ));
        }
        if let Some(most) = most.filter(|most| *most <= 0.0) {
            return Err(Failure::input(format!("`--budget {most}` must be above 0")));
        }
        let goal = goal.parse().map_err(Failure::input)?;
        Ok(Some(Self { goal, most }))
    }
}

impl Training<'_> {
    /// Trains, of these runs, those that narrow what is asked for, until it is known; returns the experiment's id and
    /// the last summary.
    ///
    /// What has been trained before stays asked for, trials, baselines and controls included.
    pub(super) async fn until(
        &self,
        until: &Until,
        planned: &[Planned],
        setting: &Setting,
    ) -> Result<(i64, Summary), Failure> {
        let (places, grid): (Vec<usize>, Vec<Open>) = open_runs(planned).into_iter().unzip();
        if grid.is_empty() {
            return Err(Failure::input(
                "`--until` chooses among runs with concepts, and the grid has none",
            ));
        }
        if let Some(why) = until.goal.unfit(&grid) {
            return Err(Failure::input(why));
        }
        let whole: f64 = grid.iter().map(|open| open.flops).sum();
        note!(
            "until {}: of {} with concepts and {} FLOPs those are trained that narrow it most; baselines and controls are \
             left to a run of the whole grid",
            until.goal,
            counted(grid.len(), "run"),
            human(whole)
        );
        let (store, loaded) = (self.store, self.loaded);
        let file = &loaded.experiment;
        let started = Instant::now();
        let devices = crate::application::devices(file, self.device_names)?;
        let at_once = devices.iter().map(|device| device.slots).sum();
        loop {
            let experiment = store.experiment(&file.name).await?;
            let (ended, choices) = match experiment {
                None => (HashSet::new(), Vec::new()),
                Some(id) => (
                    HashSet::from_iter(store.ended(id).await?),
                    store.choices(id).await?,
                ),
            };
            let is_taken = |k: &usize| ended.contains(&planned[places[*k]].id);
            let taken: Vec<usize> = (0..grid.len()).filter(is_taken).collect();
            let spent: f64 = taken.iter().map(|k| grid[*k].flops).sum();
            let kept = |more: &HashSet<RunId>| -> Vec<Planned> {
                let is_kept =
                    |run: &&Planned| run.trial || ended.contains(&run.id) || more.contains(&run.id);
                planned.iter().filter(is_kept).cloned().collect()
            };
            let setting = Setting {
                execution: ExecutionSettings {
                    // What the rounds so far have left of it.
                    max_time: setting.execution.max_time.and_then(|most| {
                        let left = most.get() - started.elapsed().as_secs_f64();
                        Seconds::try_from(left.max(0.0)).ok()
                    }),
                    ..setting.execution.clone()
                },
                ..setting.clone()
            };
            // What was chosen before this command and has not ended is gone on with.
            let begun: HashSet<RunId> = choices
                .iter()
                .map(|choice| choice.run.clone())
                .filter(|run| !ended.contains(run) && planned.iter().any(|p| p.id == *run))
                .collect();
            if !begun.is_empty() {
                let (id, summary) = self.train(&kept(&begun), Vec::new(), &setting).await?;
                if summary.left > 0 {
                    return Ok((id, summary));
                }
                continue;
            }
            // What was found before the last choice counts as a round, whichever command made it.
            let newest = choices
                .last()
                .filter(|choice| choice.goal == until.goal.to_string());
            let before = newest.and_then(|choice| choice.known.as_deref());
            let before = before.and_then(|known| serde_json::from_str::<Known>(known).ok());
            let was_narrow = before.is_some_and(|known| known.width < until.goal.width);
            let so_far = kept(&HashSet::new());
            let done = || self.train(&so_far, Vec::new(), &setting);
            let next = match experiment.filter(|_| !taken.is_empty()) {
                None => first_runs(until.goal, &grid),
                Some(id) => {
                    // Of runs that were dropped from the plan the rows are read too.
                    self.record(&so_far, &setting).await?;
                    let all = Selection::default();
                    let asked =
                        Asked::of_experiment(store, id, &file.name, Some(file), all).await?;
                    let ask = || asked.next(until.goal, &grid, (&taken, was_narrow), at_once);
                    match self.stops.interruptible(ask) {
                        Ok(next) => next?,
                        Err(_) => return done().await,
                    }
                }
            };
            let costs = cost(&taken, spent, whole);
            let (chosen, known) = match next {
                Next::Train { runs, known } => (runs, known),
                Next::Reached(known) => {
                    note!("reached: {}; {costs}", describe(&until.goal, &known));
                    return done().await;
                }
                Next::Nothing { why, known } => {
                    let known = known.map(|known| describe(&until.goal, &known));
                    let known = known.unwrap_or_else(|| "no law could be fitted".to_owned());
                    note!("not reached: {why}; {known}; {costs}");
                    return done().await;
                }
            };
            if let Some(known) = &known {
                note!("{}; {costs}", describe(&until.goal, known));
            }
            let chosen = affordable(chosen, &grid, until.most.map(|most| most - spent));
            if chosen.is_empty() {
                note!("not reached: no run that was chosen is within --budget; {costs}");
                return done().await;
            }
            let choices = chosen.iter().map(|choice| ChosenRun {
                run: planned[places[choice.index]].id.clone(),
                chosen_at: now(),
                goal: until.goal.to_string(),
                reason: choice.reason.clone(),
                known: known
                    .as_ref()
                    .and_then(|known| serde_json::to_string(known).ok()),
            });
            let choices: Vec<ChosenRun> = choices.collect();
            for choice in &choices {
                note!("{}: {}", choice.run, choice.reason);
            }
            let chosen: HashSet<RunId> = choices.iter().map(|choice| choice.run.clone()).collect();
            // Before they are trained: what was expected of them is on record whatever becomes of them.
            let id = self.record(&kept(&chosen), &setting).await?;
            store.record_choices(id, &choices).await?;
            let (id, summary) = self.train(&kept(&chosen), Vec::new(), &setting).await?;
            if summary.left > 0 {
                return Ok((id, summary));
            }
        }
    }
}

/// Takes of the chosen runs those that are within what is left.
fn affordable(chosen: Vec<Chosen>, grid: &[Open], left: Option<f64>) -> Vec<Chosen> {
    let mut left = left.unwrap_or(f64::INFINITY);
    let within = chosen.into_iter().filter(|choice| {
        let flops = grid[choice.index].flops;
        let fits = flops <= left;
        left -= if fits { flops } else { 0.0 };
        fits
    });
    within.collect()
}

fn describe(goal: &Goal, known: &Known) -> String {
    let [low, high] = known.interval;
    format!(
        "{} {} [{}, {}], a width of {}",
        goal.quantity.name(),
        number(known.best),
        number(low),
        number(high),
        number(known.width)
    )
}

fn cost(taken: &[usize], spent: f64, whole: f64) -> String {
    format!(
        "{} and {} FLOPs so far, {:.0}% of the grid's",
        counted(taken.len(), "run"),
        human(spent),
        100.0 * spent / whole
    )
}
