//! What is asked about rows: the rows, how they are to be analysed and what their models are like, put
//! together in one place for the command line, the page and tests.
//!
//! Every question about an experiment goes through here, so that all doors give one answer. Refuses
//! arguments, pages and printing.

use super::target;
use crate::rows::{self, RowsError, Selection, Table, Wanted};
use campaign::store::{Store, StoreError};
use experiment::architecture::solver::ShapeSettings;
use experiment::flops::Convention;
use experiment::grid::{self, Analysis, Experiment};
use experiment::run::RunId;
use scaling_law::analysis::{
    AnalysisResult, CostModel, Estimate, Laws, Models, Policy, Warning, analyse_laws,
};
use scaling_law::fit::LawError;
use scaling_law::fit::law::{Law, by_name_over, unsaid_words, with_words};
use scaling_law::study::{self, Checks, Rows, SavingReport, Studied, TaskScore, Unfit};
use std::sync::Arc;

/// Rows, and how they are to be analysed.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The rows.
    pub table: Table,
    /// Which of them are meant.
    pub selection: Selection,
    /// How the experiment's file wants them analysed.
    pub settings: Analysis,
    /// How laws are fitted where nothing else is asked for.
    pub policy: Policy,
    /// What their models are like, where that is known.
    pub models: Option<Models>,
    /// What is to be known before any fit.
    pub warnings: Vec<Warning>,
    /// What the runs answer to the task of which a score is taken in place of the loss.
    pub task_scores: Vec<(RunId, TaskScore)>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The rows cannot be used.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// There is no such law.
    #[error(transparent)]
    Law(#[from] LawError),
    /// The law cannot be fitted to them.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// There is no such score.
    #[error("{0}")]
    Target(String),
    /// The database refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Vocabulary of models of which nothing says it.
const USUAL_VOCAB: usize = 32_768;

/// Smallest N of models of which no data say it.
const USUAL_SMALLEST: f64 = 1e7;

impl Asked {
    /// Asks about the rows of a table, of whose models nothing is known.
    pub fn of_table(table: Table, mut selection: Selection) -> Self {
        // Of an experiment's runs it stands there already.
        if let (Some(target), false) = (&selection.target, table.is_of_experiment()) {
            let column = ("loss".to_owned(), target.clone());
            selection.columns.push(column);
        }
        Self {
            table,
            selection,
            settings: Analysis::default(),
            policy: Policy::default(),
            models: None,
            warnings: Vec::new(),
            task_scores: Vec::new(),
        }
    }

    /// Asks about an experiment's runs, those imported included, as its file says: the one that is
    /// given, or else the one that is stored.
    ///
    /// # Errors
    /// When the database refuses, or its runs cannot be read as rows.
    pub async fn of_experiment(
        store: &Store,
        experiment: i64,
        name: &str,
        file: Option<&Experiment>,
        selection: Selection,
    ) -> Result<Self, AskError> {
        let mut runs = store.runs(experiment).await?;
        let mut imported = store.imported(experiment).await?;
        let mut task_scores = Vec::new();
        if let Some(target) = &selection.target {
            task_scores = target::take(&mut runs, &store.scores(experiment).await?, target)?;
            // Of imported runs losses alone are known.
            imported.clear();
        }
        let vocab = runs
            .iter()
            .find_map(|run| Some(run.spec.model()?.architecture.vocab()));
        let table = rows::stored(name.to_owned(), &runs, &imported)?.scaled(&selection)?;
        let mut asked = Self {
            task_scores,
            ..Self::of_table(table, selection)
        };
        let mut shape = None;
        let mut take = |file: &Experiment| {
            asked.settings = file.analysis.clone();
            asked.policy = Policy::from(&file.analysis);
            shape = file.cells.first().map(|cell| cell.shape.clone());
        };
        match file {
            Some(file) => take(file),
            None => {
                let config = store.config(experiment).await?;
                match (config.is_empty(), grid::parse(name, &config)) {
                    (true, _) => {}
                    (false, Ok(file)) => take(&file),
                    (false, Err(_)) => asked.warnings.push(Warning::UnreadFile),
                }
            }
        }
        asked.models = vocab.map(|vocab| Models {
            shape: shape.unwrap_or_default(),
            vocab,
        });
        Ok(asked)
    }

    /// Analyses the rows as runs of models.
    ///
    /// # Errors
    /// When the rows that are meant cannot be chosen.
    pub fn analyse(&self, policy: &Policy) -> Result<AnalysisResult, AskError> {
        let runs = self.table.runs(&self.selection)?;
        let laws = Laws::of(&runs.rows, policy);
        let cost = CostModel::of_rows(
            self.settings.flops_convention,
            self.models.as_ref(),
            &laws.used,
        );
        let mut result = analyse_laws(&runs.rows, &self.settings, policy, laws, cost);
        let said = runs.remarks.into_iter().map(|text| Warning::Rows { text });
        result
            .warnings
            .extend(self.warnings.iter().cloned().chain(said));
        result.warnings.sort_by_key(Warning::severity);
        Ok(result)
    }

    /// Chooses the rows for a law.
    ///
    /// # Errors
    /// When there is no such law, or the rows lack what it reads.
    pub fn rows(&self, law: &str) -> Result<Rows, AskError> {
        self.rows_of(self.law(law)?.as_ref())
    }

    /// Finds a law; the names in a formula that are columns of the table are columns.
    ///
    /// # Errors
    /// When there is no such law, or a formula cannot be read.
    pub fn law(&self, name: &str) -> Result<Arc<dyn Law>, AskError> {
        let renamed = self.selection.columns.iter().map(|(name, _)| name);
        let columns: Vec<String> = self.table.header().iter().chain(renamed).cloned().collect();
        let mut text = name.to_owned();
        for column in unsaid_words(name) {
            // Without a table's column, what is wrong is said of the formula.
            if columns.contains(&column) {
                let words = self.table.words(&column, &self.selection)?;
                if let Some(word) = words.iter().find(|word| word.contains(',')) {
                    return Err(AskError::Target(format!(
                        "`{word}` in the column `{column}` cannot be told from two words: write it without a comma"
                    )));
                }
                text = with_words(&text, &column, &words);
            }
        }
        Ok(by_name_over(&text, &columns)?)
    }

    fn rows_of(&self, law: &dyn Law) -> Result<Rows, AskError> {
        let wanted = Wanted::of_law(law);
        Ok(self.table.select(&wanted, &self.selection)?)
    }

    /// Fits a law to the rows.
    ///
    /// # Errors
    /// When there is no such law, or it cannot be fitted to them.
    pub fn fit(&self, law: &str, policy: &Policy, checks: Checks) -> Result<Studied, AskError> {
        let law = self.law(law)?;
        let rows = self.rows_of(law.as_ref())?;
        let mut studied = study::fit(&law.name(), &rows, policy, checks)?;
        let before = self.warnings.iter().cloned();
        studied.report.warnings.splice(0..0, before);
        Ok(studied)
    }

    /// Lists the runs trained here among the rows of a fit.
    pub fn trained(&self, estimate: &Estimate) -> Vec<RunId> {
        let trained = self.table.trained();
        let rows = estimate.report.predicted.iter().map(|row| &row.run);
        rows.filter(|id| trained.contains(*id)).cloned().collect()
    }

    /// Says what settings cost by a law that was fitted to the rows: as the experiment's file counts
    /// FLOPs, or as is asked for.
    ///
    /// Exact counts of models of which nothing is known are those of assumed ones, and the warning says
    /// so.
    pub fn cost(
        &self,
        studied: &Studied,
        counted: Option<Convention>,
    ) -> (CostModel, Option<Warning>) {
        let convention = counted.unwrap_or(self.settings.flops_convention);
        match (&studied.laws, &self.models) {
            (Some(laws), Some(_)) => {
                let models = self.models.as_ref();
                (CostModel::of_rows(convention, models, &laws.used), None)
            }
            (_, None) if counted.is_none() => (CostModel::without_shapes(convention), None),
            _ => {
                let smallest = studied.fitted.extent_of("params").map(|[low, _]| low);
                cost_of_assumed(convention, self.models.as_ref(), smallest)
            }
        }
    }

    /// Says what is saved against models without concepts and whose that is, for a budget of training
    /// FLOPs; `None` for a law that is not about concepts.
    ///
    /// # Errors
    /// When the rows that are meant cannot be chosen.
    pub fn saving(
        &self,
        studied: &mut Studied,
        policy: &Policy,
        cost: &CostModel,
        budget: Option<f64>,
    ) -> Result<Option<SavingReport>, AskError> {
        let about_concepts = studied.fitted.extent_of("concept_share").is_some();
        let Some(laws) = studied.laws.take().filter(|_| about_concepts) else {
            return Ok(None);
        };
        let runs = self.table.runs(&self.selection)?;
        let settings = Analysis {
            budget: budget.or(self.settings.budget),
            ..self.settings.clone()
        };
        let result = analyse_laws(&runs.rows, &settings, policy, laws, cost.clone());
        Ok(Some(SavingReport::of(&result)))
    }
}

/// Says what settings cost where nobody's rows say what models are like: exact counts are those of
/// assumed models.
pub fn cost_of_assumed(
    convention: Convention,
    models: Option<&Models>,
    smallest: Option<f64>,
) -> (CostModel, Option<Warning>) {
    let assumed = Models {
        shape: ShapeSettings::default(),
        vocab: USUAL_VOCAB,
    };
    let Models { shape, vocab } = models.unwrap_or(&assumed);
    let cost = CostModel::new(
        convention,
        shape,
        *vocab,
        smallest.unwrap_or(USUAL_SMALLEST),
    );
    let warning = (convention == Convention::Exact && models.is_none()).then(|| {
        Warning::AssumedShapes {
            assumed: format!(
                "sequence length, windows and head sizes are this program's defaults, the vocabulary \
                 has {USUAL_VOCAB} tokens; name an experiment that has run for your own"
            ),
        }
    });
    (cost, warning)
}
