//! What a run is asked when it has been trained: tasks, and texts that are held out.

use super::{InferenceError, Trained, items};
use crate::data::read_texts;
use experiment::digest;
use experiment::event::Event;
use experiment::folder::ITEMS;
use experiment::run::{DataSpec, Evaluation, RunSpec};
use experiment::tasks::{self, Answer, Mean, Score, Task, TextScore};
use std::f64::consts::LN_2;
use std::path::Path;

/// Tasks and texts that have been read.
#[derive(Clone, Debug, Default)]
pub struct EvaluationSet {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// The texts.
    pub texts: Vec<Text>,
}

/// A text that is held out.
#[derive(Clone, Debug)]
pub struct Text {
    /// What it is called.
    pub name: String,
    /// The text.
    pub text: String,
}

impl Text {
    /// Names what is read, as a hash.
    pub fn digest(&self) -> String {
        digest::name(&self.text)
    }
}

impl EvaluationSet {
    /// Says whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.texts.is_empty()
    }

    /// Reads what is asked of runs that were trained on such data.
    ///
    /// # Errors
    /// When tasks or texts cannot be read, or are wrong.
    pub fn read(evaluation: &Evaluation, data: &DataSpec) -> Result<Self, InferenceError> {
        let tasks = evaluation.tasks.as_deref().map(tasks::read).transpose()?;
        let texts = evaluation.texts.iter().map(|(name, paths)| {
            let text = read_texts(paths.as_slice(), data)?;
            Ok(Text {
                name: name.clone(),
                text,
            })
        });
        let tasks = tasks.unwrap_or_default();
        let mut names = tasks.iter().map(|task| &task.name);
        if let Some(name) = names.find(|name| evaluation.texts.contains_key(*name)) {
            return Err(InferenceError::SameName(name.clone()));
        }
        Ok(Self {
            tasks,
            texts: texts.collect::<Result<_, InferenceError>>()?,
        })
    }
}

/// What a run answered.
#[derive(Clone, Debug, Default)]
pub struct Evaluated {
    /// Its answers, task by task.
    pub answered: Vec<(Score, Vec<Answer>)>,
    /// What it makes of the texts.
    pub texts: Vec<TextScore>,
}

impl Evaluated {
    /// Keeps the answers to every item in a run's folder, beside those to other tasks, and returns what is to be said
    /// of all.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep(&self, folder: &Path, run: &str) -> Result<Vec<Event>, InferenceError> {
        if !self.answered.is_empty() {
            let path = folder.join(ITEMS);
            // One that is damaged holds nothing to keep.
            let mut all = items::read(&path, run).unwrap_or_default();
            let answered = self.answered.iter();
            all.extend(answered.map(|(score, answers)| (score.task.clone(), answers.clone())));
            items::write(&path, [(run, &all)])?;
        }
        let scores = self.answered.iter();
        let scores = scores.map(|(score, _)| Event::Scored(score.clone()));
        let texts = self.texts.iter().cloned().map(Event::Read);
        Ok(scores.chain(texts).collect())
    }
}

/// Where a run is asked by its own process.
pub struct Place<'a> {
    /// The run's folder, where its weights lie and its answers are kept.
    pub folder: &'a Path,
    /// Where prepared data are kept.
    pub data_cache: &'a Path,
    /// Name of the device.
    pub device: &'a str,
    /// Says whether to stop.
    pub should_stop: &'a dyn Fn() -> bool,
}

impl Place<'_> {
    /// Asks a run what its specification says, from the weights it has kept, as whoever asks it later does; returns
    /// what is to be said of it, or `None` where it was stopped before.
    ///
    /// What goes wrong is said in the log alone: the run is trained all the same, and can be asked again.
    pub fn ask(&self, spec: &RunSpec, alive: &dyn Fn()) -> Option<Vec<Event>> {
        if spec.execution.evaluation.is_empty() {
            return Some(Vec::new());
        }
        match self.answers(spec, alive) {
            Ok(said) => Some(said),
            Err(InferenceError::Stopped) => None,
            Err(error) => {
                tracing::warn!(%error, "the run is trained, but could not be evaluated");
                Some(Vec::new())
            }
        }
    }

    fn answers(&self, spec: &RunSpec, alive: &dyn Fn()) -> Result<Vec<Event>, InferenceError> {
        let set = EvaluationSet::read(&spec.execution.evaluation, &spec.data)?;
        let trained = Trained::load(self.folder, self.data_cache, self.device)?;
        let goes_on = |_: &str, _| {
            alive();
            !(self.should_stop)()
        };
        let evaluated = trained.evaluate(&set, &goes_on)?;
        evaluated.keep(self.folder, &spec.id().0)
    }
}

impl Trained {
    /// Answers all tasks and reads all texts; `goes_on` is told which task or text it is at and how many of its
    /// items are done, and says whether to go on.
    ///
    /// # Errors
    /// As [`Trained::score`], and for texts without bytes.
    pub fn evaluate(
        &self,
        asked: &EvaluationSet,
        goes_on: &dyn Fn(&str, usize) -> bool,
    ) -> Result<Evaluated, InferenceError> {
        let answered = asked.tasks.iter().map(|task| {
            let answers = self.answer(task, &|scored| goes_on(&task.name, scored))?;
            // A task that has been read has items.
            Ok(Score::of(task, &answers).map(|score| (score, answers)))
        });
        let answered: Vec<Option<_>> = answered.collect::<Result<_, InferenceError>>()?;
        let texts = asked.texts.iter();
        let texts = texts.map(|text| self.read_text(text, &|read| goes_on(&text.name, read)));
        Ok(Evaluated {
            answered: answered.into_iter().flatten().collect(),
            texts: texts.collect::<Result<_, _>>()?,
        })
    }

    /// Reads a text that is held out, as [`Trained::read`] does.
    fn read_text(
        &self,
        text: &Text,
        goes_on: &dyn Fn(usize) -> bool,
    ) -> Result<TextScore, InferenceError> {
        let ids = self.encode(&text.text)?;
        let reading = self.read_while(&ids, goes_on)?;
        let totals = reading.totals(self.vocabulary().bytes_of(&text.text, &ids));
        let loss = totals.loss;
        let loss = loss.ok_or_else(|| InferenceError::ShortText(text.name.clone()))?;
        if !loss.is_finite() {
            return Err(InferenceError::NotNumbers(0));
        }
        let bytes = totals.bytes_per_token;
        let bytes = bytes.ok_or_else(|| InferenceError::NoBytes(text.name.clone()))?;
        // Only whole windows are alike.
        let windows = reading.losses.chunks_exact(reading.window);
        let windows = windows.map(|window| {
            window.iter().map(|&loss| f64::from(loss)).sum::<f64>() / window.len() as f64
        });
        let over_windows = Mean::of(windows).and_then(|mean| mean.standard_error);
        let bits = |nats: f64| nats / LN_2 / bytes;
        Ok(TextScore {
            text: text.name.clone(),
            digest: text.digest(),
            tokens: totals.tokens,
            bytes_per_token: bytes,
            loss,
            bits_per_byte: Mean {
                mean: bits(loss),
                standard_error: over_windows.map(bits),
            },
            realised_ratio: totals.tokens_per_concept,
        })
    }
}
