//! A run's answers to the items of a task.

use super::{InferenceError, Trained};
use experiment::tasks::{Answer, Task};

impl Trained {
    /// Answers all items of a task; `goes_on` is told how many texts are scored and says whether to go on.
    ///
    /// # Errors
    /// As [`Trained::score`], with the item's place.
    pub fn answer(
        &self,
        task: &Task,
        goes_on: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<Answer>, InferenceError> {
        let questions: Vec<_> = (0..task.items.len())
            .map(|place| task.question(place))
            .collect();
        let candidates = questions
            .iter()
            .flat_map(|question| question.candidates.clone());
        let candidates: Vec<_> = candidates.collect();
        let mut scored = self.score(&candidates, goes_on)?.into_iter();
        let answers = questions.into_iter().map(|question| Answer {
            candidates: scored.by_ref().take(question.candidates.len()).collect(),
            gold: question.gold,
        });
        Ok(answers.collect())
    }
}
