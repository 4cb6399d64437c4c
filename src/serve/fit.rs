//! The stored fit, and fitting on request: other laws, other runs, other budgets. What is fitted on
//! request is not stored.

mod answer;

use super::Context;
use super::problem::Problem;
use crate::application::{Analysed, AskError, Asked};
use crate::rows::{self, Selection, Table};
use answer::FitAnswer;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use experiment::folder::ResultsFolder;
use report::plots::{self, Figure};
use scaling_law::analysis::default_budget;
use scaling_law::fit::allocation::{Budget, Range, Variable};
use scaling_law::fit::interruptible;
use scaling_law::fit::law::{Law, by_name, names};
use scaling_law::study::{self, AllocateQuestion, Checks};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Name of the analysis that `orchestrator fit` makes of an experiment.
const ALL: &str = "all";

/// The most resamples that are made on request.
const MOST_DRAWS: usize = 2000;

/// What is to be fitted, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// A law, or `all`.
    law: String,
    /// Ids of runs to leave out.
    #[serde(default)]
    exclude: BTreeSet<String>,
    /// Training FLOPs to allocate; `None` for what the experiment states.
    #[serde(default)]
    budget: Option<f64>,
    /// Resamples behind the intervals.
    draws: usize,
}

/// The newest stored analysis of an experiment, and what was written of it.
#[derive(Serialize)]
struct Shown {
    /// `None` where it was never analysed.
    stored: Option<StoredFit>,
    /// Laws that can be asked for.
    possible: Vec<String>,
    /// Whether there is a report.
    report: bool,
    /// The figures that were drawn, each with its name and title.
    figures: Vec<[String; 2]>,
}

/// A stored analysis as the page shows it.
#[derive(Serialize)]
struct StoredFit {
    #[serde(flatten)]
    fit: FitAnswer,
    /// When it was made, seconds since the Unix epoch.
    at: f64,
    /// What has become of the runs since, in words.
    since: Option<String>,
}

/// A fit that was made on request.
#[derive(Serialize)]
struct Fitted {
    #[serde(flatten)]
    fit: FitAnswer,
    seconds: f64,
}

/// Shows the newest stored analysis; nothing is fitted.
pub(super) async fn stored(
    State(context): State<Context>,
    Path((place, name)): Path<(String, String)>,
) -> Result<impl IntoResponse, Problem> {
    let folder = context.places.find(&place)?.folder;
    let (store, experiment) = context.places.experiment(&place, &name).await?;
    let runs = store.runs(experiment).await?;
    let imported = store.imported(experiment).await?;
    let table = rows::stored(name.clone(), &runs, &imported).map_err(Problem::machine)?;
    let analysed = Analysed::newest(&store, experiment, &table);
    let analysed = analysed.await.map_err(Problem::machine)?;
    let outputs = store.outputs(&folder, experiment).await?;
    // Whoever waits for something else is answered meanwhile.
    let shown = tokio::task::spawn_blocking(move || {
        let outputs = ResultsFolder(&outputs);
        let is_drawn = |figure: &Figure| {
            let file = format!("{}.svg", figure.name());
            outputs.figures().join(file).is_file()
        };
        let figures = Figure::ALL.into_iter().filter(is_drawn);
        let title = |figure: Figure| match &analysed {
            Some(analysed) => plots::title(figure, &analysed.result),
            None => figure.title().to_owned(),
        };
        Shown {
            possible: possible(&table),
            report: outputs.report().is_file(),
            figures: figures
                .map(|figure| [figure.name().to_owned(), title(figure)])
                .collect(),
            stored: analysed.as_ref().map(|analysed| StoredFit {
                fit: FitAnswer::of_analysis(&analysed.result, &name, &table.trained()),
                at: analysed.at,
                since: analysed.since.words(),
            }),
        }
    });
    shown.await.map(Json).map_err(Problem::machine)
}

/// Fits as asked.
pub(super) async fn answer(
    State(context): State<Context>,
    Path((place, name)): Path<(String, String)>,
    Json(question): Json<Question>,
) -> Result<impl IntoResponse, Problem> {
    if question.draws > MOST_DRAWS {
        return Err(Problem::input(format!(
            "{} resamples are too many for a page: at most {MOST_DRAWS}",
            question.draws
        )));
    }
    if question
        .budget
        .is_some_and(|budget| !(budget > 0.0 && budget.is_finite()))
    {
        return Err(Problem::input(
            "a budget is a number of FLOPs above zero, such as 1e18",
        ));
    }
    // Nothing is read for those who only wait.
    let turn = context.fitting.clone().acquire_owned().await;
    let turn = turn.map_err(Problem::machine)?;
    let (store, experiment) = context.places.experiment(&place, &name).await?;
    let selection = Selection::default();
    let asked = Asked::of_experiment(&store, experiment, &name, None, selection).await;
    let mut asked = asked.map_err(Problem::input)?;
    let without = asked.table.leave_out(&question.exclude, "excluded by hand");
    without.map_err(Problem::input)?;
    asked.settings.budget = question.budget.or(asked.settings.budget);
    asked.policy.draws = Some(question.draws);
    // Whoever asked may go away, and this request with them.
    let asking = Asking::default();
    let given_up = Arc::clone(&asking.given_up);
    let fitted = tokio::task::spawn_blocking(move || {
        // The next fit may begin when this work has ended, whatever became of the request.
        let _turn = turn;
        interruptible(&given_up, || fit(&asked, &name, &question.law))
    });
    let answer = fitted.await.map_err(Problem::machine)?;
    let answer = answer.map_err(Problem::machine)?;
    answer.map(Json).map_err(Problem::input)
}

/// Somebody who waits for a fit.
#[derive(Default)]
struct Asking {
    given_up: Arc<AtomicBool>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

fn fit(asked: &Asked, experiment: &str, law: &str) -> Result<Fitted, AskError> {
    let started = Instant::now();
    let fit = match law {
        ALL => {
            let result = asked.analyse(&asked.policy)?;
            FitAnswer::of_analysis(&result, experiment, &asked.table.trained())
        }
        law => one_law(asked, law)?,
    };
    Ok(Fitted {
        fit,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Fits one law, and allocates by it; what has one value in the data is held there.
fn one_law(asked: &Asked, name: &str) -> Result<FitAnswer, AskError> {
    // Somebody waits: refits under other choices are left to `orchestrator fit`.
    let mut studied = asked.fit(name, &asked.policy, Checks::NONE)?;
    let (cost, warning) = asked.cost(&studied, None);
    let fitted = studied.fitted.clone();
    let one_value = fitted
        .ranges
        .iter()
        .filter(|range| range.lowest == range.highest);
    let bounds = one_value.filter_map(|range| {
        let variable = Variable::of_column(&range.column)?;
        Some((variable, Range::fixed(range.lowest)))
    });
    let budget = asked.settings.budget;
    let budget = budget.unwrap_or_else(|| default_budget(&studied.estimate, &cost));
    let saving = asked.saving(&mut studied, &asked.policy, &cost, Some(budget))?;
    let limits = studied.report.warnings.clone();
    let question = AllocateQuestion {
        cost: &cost,
        limits: &limits,
        budget: Budget::training(budget),
        bounds: bounds.collect(),
        constants: Vec::new(),
        frontier: Vec::new(),
        saving,
    };
    let allocated = study::allocate(&fitted, &question).map_err(|why| why.to_string());
    Ok(FitAnswer::of_law(
        name,
        &studied,
        allocated,
        budget,
        warning,
        &asked.table.trained(),
    ))
}

/// Lists the laws whose columns the table has.
fn possible(table: &Table) -> Vec<String> {
    let has = |name: &str| table.header().iter().any(|column| column == name);
    let laws = names().into_iter().filter(|name| {
        by_name(name).is_ok_and(|law: Arc<dyn Law>| {
            let inputs = law.inputs();
            has(law.response()) && inputs.iter().all(|input| has(&input.name))
        })
    });
    [ALL].into_iter().chain(laws).map(str::to_owned).collect()
}
