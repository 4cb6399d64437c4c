//! Asking the trained runs of an experiment.

use super::{Refused, data_cache};
use campaign::orchestrate::Tail;
use campaign::store::{RunRecord, Store};
use experiment::folder::{ITEMS, ResultsFolder, WEIGHTS};
use experiment::run::{DataSpec, Evaluation, Part, RunId, RunOutcome};
use experiment::tasks::{Answer, Scores};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use trainer::inference::{EvaluationSet, InferenceError, Trained, items};
use trainer::train::journal::Journal;
use trainer::train::session::lock_run;

/// Runs of an experiment, and what they are to be asked.
pub struct Asking<'a> {
    /// The database.
    pub store: &'a Store,
    /// The experiment there.
    pub experiment: i64,
    /// The results folder.
    pub results: &'a Path,
    /// The tasks and texts.
    pub set: &'a EvaluationSet,
}

/// Which runs lack answers.
#[derive(Default)]
pub struct Unasked {
    /// Those that can be asked.
    pub runs: Vec<RunId>,
    /// Those whose weights are not kept.
    pub without_weights: usize,
}

/// Reads what trained runs of an experiment are to be asked: tasks and texts.
///
/// # Errors
/// When they cannot be read, are wrong, or the data have no text.
pub fn read_set(evaluation: &Evaluation, data: &DataSpec) -> Result<EvaluationSet, Refused> {
    if !evaluation.is_empty() && matches!(data, DataSpec::Tokens { .. }) {
        return Err(Refused::input(
            "`evaluation` asks texts, and what the ids of `data.tokens` stand for is not known: give the data as \
             `data.text` with their tokenizer (`data.tokenizer: tokenizer.json`), or take `evaluation` out",
        ));
    }
    EvaluationSet::read(evaluation, data).map_err(Refused::input)
}

impl Asking<'_> {
    /// Finds the trained runs that have not answered all of this as it is now.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn unasked(&self) -> Result<Unasked, Refused> {
        let known = self.store.scores(self.experiment).await?;
        let mut unasked = Unasked::default();
        for run in self.store.runs(self.experiment).await? {
            let folder = ResultsFolder(self.results).run(&run.id);
            let has_items = self.set.tasks.is_empty() || folder.join(ITEMS).exists();
            let has_answered = known.get(&run.id).is_some_and(|known| self.answers(known));
            if !can_be_asked(&run) || has_answered && has_items {
                continue;
            }
            let weights = folder.join(WEIGHTS);
            if weights.exists() {
                unasked.runs.push(run.id);
            } else {
                unasked.without_weights += 1;
            }
        }
        Ok(unasked)
    }

    /// Says whether these are answers to all that is asked, as it is now.
    fn answers(&self, known: &Scores) -> bool {
        let tasks = known.tasks.iter().map(|score| (&score.task, &score.digest));
        let texts = known.texts.iter().map(|text| (&text.text, &text.digest));
        let (tasks, texts): (HashSet<_>, HashSet<_>) = (tasks.collect(), texts.collect());
        let mut asked = self.set.tasks.iter();
        asked.all(|task| tasks.contains(&(&task.name, &task.digest())))
            && self
                .set
                .texts
                .iter()
                .all(|text| texts.contains(&(&text.name, &text.digest())))
    }

    /// Asks a run, as its own process would have at its end, and stores what it answers.
    ///
    /// # Errors
    /// When the run cannot be loaded or answer, and when it is not to go on.
    pub async fn ask(
        &self,
        run: &RunId,
        device: &str,
        goes_on: &dyn Fn(&str, usize) -> bool,
    ) -> Result<(), AskRunError> {
        let folder = ResultsFolder(self.results).run(run);
        let _lock = lock_run(&folder)?;
        let trained = Trained::load(&folder, &data_cache(), device)?;
        let said = trained.evaluate(self.set, goes_on)?.keep(&folder, &run.0)?;
        let mut journal = Journal::open(&folder)?;
        for event in said {
            journal.append(event)?;
        }
        journal.sync()?;
        let lines = Tail::new(&folder).read().map_err(Refused::machine)?;
        let stored = self.store.ingest(run, &lines).await;
        stored.map_err(Refused::from)?;
        Ok(())
    }
}

/// Why a run was not asked.
#[derive(Debug, thiserror::Error)]
pub enum AskRunError {
    /// It cannot answer.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// Its folder cannot be used.
    #[error(transparent)]
    Folder(#[from] trainer::train::TrainError),
    /// Its answers cannot be stored.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl AskRunError {
    /// Says whether somebody asked to stop.
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Inference(InferenceError::Stopped))
    }
}

/// Says whether a run is a model of this program's that has been trained to its end: the pieces of a trunk, whose
/// rate has not decayed, are not.
fn can_be_asked(run: &RunRecord) -> bool {
    run.outcome == Some(RunOutcome::Finished)
        && run.part != Part::Trunk
        && (run.spec.model()).is_some_and(|spec| !spec.architecture.reads_ahead())
}

/// Reads what a run answered to every item; `None` where that is not kept.
pub fn items_of(results: &Path, run: &RunId) -> Option<BTreeMap<String, Vec<Answer>>> {
    let path = ResultsFolder(results).run(run).join(ITEMS);
    match items::read(&path, &run.0) {
        Ok(items) => Some(items),
        Err(why) => {
            tracing::warn!("{}: {why}", path.display());
            None
        }
    }
}
