//! Fitting on request: other laws, other runs, other budgets. Nothing is stored.

mod answer;

use super::Context;
use super::problem::Problem;
use crate::analysis::{self, CostModel};
use crate::architecture::solver::ShapeSettings;
use crate::fit::allocation::{Budget, Range, Variable};
use crate::fit::law::{Law, by_name, names};
use crate::grid::{self, Analysis};
use crate::rows::{self, Rows, Selection, Table, Wanted};
use crate::store::{ImportedRun, RunRecord};
use crate::study::{self, AllocateQuestion, FitQuestion, FitReport, Fitted, Remark};
use answer::{FitAnswer, Outcome};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// Name of the analysis that `orchestrator fit` makes of an experiment.
const ALL: &str = "all";

/// The most resamples that are made on request.
const MOST_DRAWS: usize = 2000;

/// Vocabulary of models of which no run says it.
const USUAL_VOCAB: usize = 32_768;

/// How many times the largest run's FLOPs are allocated where no budget is stated.
const BEYOND: f64 = 10.0;

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

/// What there is to fit.
struct Material {
    name: String,
    runs: Vec<RunRecord>,
    imported: Vec<ImportedRun>,
    settings: Analysis,
    shape: ShapeSettings,
    /// What is to be known of it before any fit.
    warnings: Vec<Remark>,
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
    let (store, experiment) = context.places.experiment(&place, &name).await?;
    let config = store.config(experiment).await?;
    let mut runs = store.runs(experiment).await?;
    runs.retain(|run| !question.exclude.contains(&run.id.0));
    let imported = store.imported(experiment).await?;
    let _turn = context.fitting.acquire().await.map_err(Problem::machine)?;
    let fitted = tokio::task::spawn_blocking(move || {
        let material = Material::new(name, &config, runs, imported, &question);
        let started = Instant::now();
        let mut answer = match question.law.as_str() {
            ALL => material.analyse(),
            law => material.fit(law, &question)?,
        };
        answer.seconds = started.elapsed().as_secs_f64();
        Ok(answer)
    });
    fitted.await.map_err(Problem::machine)?.map(Json)
}

impl Material {
    fn new(
        name: String,
        config: &str,
        runs: Vec<RunRecord>,
        imported: Vec<ImportedRun>,
        question: &Question,
    ) -> Self {
        let mut warnings = Vec::new();
        let declared = (!config.is_empty()).then(|| grid::parse(&name, config));
        let (mut settings, shape) = match declared {
            Some(Ok(experiment)) => {
                let shape = experiment.cells.first().map(|cell| cell.shape.clone());
                (experiment.analysis, shape.unwrap_or_default())
            }
            Some(Err(_)) => {
                let message = "this version cannot read the experiment's file: what that says about \
                     the analysis and the shapes of models is not used";
                warnings.push(Remark::new("unread_file", message));
                Default::default()
            }
            None => Default::default(),
        };
        settings.bootstrap = question.draws;
        settings.budget = question.budget.or(settings.budget);
        Self {
            name,
            runs,
            imported,
            settings,
            shape,
            warnings,
        }
    }

    /// Fits all laws to the runs trained here, as `orchestrator fit` does.
    fn analyse(self) -> FitAnswer {
        let result = analysis::analyse(&self.runs, &self.settings, &self.shape);
        let laws = self.table().map(|table| possible(&table));
        FitAnswer::of_analysis(&result, &self.warnings, laws.unwrap_or_default())
    }

    /// Fits one law, and allocates by it.
    fn fit(mut self, name: &str, question: &Question) -> Result<FitAnswer, Problem> {
        let law = by_name(name).map_err(Problem::input)?;
        let table = self.table().map_err(Problem::input)?;
        let all = Selection::default();
        let rows = table.select(&Wanted::of_law(law.as_ref()), &all);
        let rows = rows.map_err(Problem::input)?;
        let asked = FitQuestion {
            objective: crate::fit::Objective::Huber {
                delta: self.settings.huber_delta,
            },
            draws: Some(question.draws),
            seed: self.settings.seed,
            // Somebody waits: refits under other choices are left to `orchestrator fit`.
            checks: false,
            ..FitQuestion::default()
        };
        let report = study::fit(&law, &table, &rows, &asked).map_err(Problem::input)?;
        let fitted = Fitted::of_report(&law, &report).map_err(Problem::machine)?;
        let dense = (rows.dense > 0)
            .then(|| dense_law(&table, &asked))
            .flatten();
        let (optimum, saving) = self.allocate(&fitted, dense.as_ref().map(|(_, fitted)| fitted));
        self.warnings.extend(report.warnings.iter().cloned());
        let mut laws = vec![answer::law(name, &law, &report, &table, &rows)?];
        if let Some((report, fitted)) = &dense {
            let law = fitted.law.law();
            let rows = table.select(&Wanted::of_law(law.as_ref()), &all);
            let rows = rows.map_err(Problem::input)?;
            laws.push(answer::law("dense baselines", law, report, &table, &rows)?);
        }
        let excluded = &report.excluded;
        Ok(FitAnswer {
            laws,
            optimum,
            saving,
            attribution: None,
            warnings: answer::warned(&self.warnings),
            left_out: excluded.iter().map(answer::left_out).collect(),
            possible: possible(&table),
            seconds: 0.0,
        })
    }

    fn table(&self) -> Result<Table, rows::RowsError> {
        rows::stored(self.name.clone(), &self.runs, &self.imported)
    }

    /// Finds what to train for the budget; what has one value in the data is held there.
    fn allocate(
        &mut self,
        fitted: &Fitted,
        dense: Option<&Fitted>,
    ) -> (Outcome<answer::Optimum>, Outcome<answer::Saving>) {
        let one_value = fitted
            .ranges
            .iter()
            .filter(|range| range.lowest == range.highest);
        let bounds = one_value
            .filter_map(|range| {
                Some((
                    Variable::of_column(&range.column)?,
                    Range::fixed(range.lowest),
                ))
            })
            .collect();
        let largest = self
            .runs
            .iter()
            .filter_map(|run| run.flops)
            .fold(0.0, f64::max);
        let budget = self.settings.budget.unwrap_or(BEYOND * largest);
        let data = fitted.ranges.iter().find(|range| range.column == "params");
        let cost = CostModel::new(
            self.settings.flops_convention,
            &self.shape,
            self.runs
                .first()
                .map_or(USUAL_VOCAB, |run| run.spec.architecture.vocab()),
            data.map_or(1e6, |range| range.lowest),
        );
        let question = AllocateQuestion {
            cost: &cost,
            budget: Budget::training(budget),
            bounds,
            constants: Vec::new(),
            frontier: Vec::new(),
            dense,
        };
        match study::allocate(fitted, &question) {
            Ok(report) => {
                self.warnings.extend(report.warnings.iter().cloned());
                (
                    Outcome::Known(answer::Optimum::of_report(&report, budget)),
                    answer::Saving::of_report(&report),
                )
            }
            Err(error) => {
                let why = error.to_string();
                (Outcome::Unknown(why.clone()), Outcome::Unknown(why))
            }
        }
    }
}

/// Fits the dense law to the dense rows beside those of a law about concepts.
fn dense_law(table: &Table, asked: &FitQuestion) -> Option<(FitReport, Fitted)> {
    let law = by_name("chinchilla").ok()?;
    let only = Selection {
        filters: vec!["concept_share=0".to_owned()],
        ..Selection::default()
    };
    let rows: Rows = table.select(&Wanted::of_law(law.as_ref()), &only).ok()?;
    let report = study::fit(&law, table, &rows, asked).ok()?;
    let fitted = Fitted::of_report(&law, &report).ok()?;
    Some((report, fitted))
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
