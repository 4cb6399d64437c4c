//! Tasks that a trained model is asked: their files, and the texts that are scored.
//!
//! Items are JSON lines in the three kinds of CORE (DCLM, arXiv 2406.11794; nanochat reads the same files): several
//! choices after one query, one continuation after several contexts, and a continuation alone. An index says which
//! file is of which kind: `tasks.yaml`, or CORE's own `core.yaml`.

mod answers;
mod index;
mod render;

pub use answers::{Answer, Answered, Difference, Mean, Score, Scored, Scores, TextScore};
pub use index::{TaskError, read};
pub use render::{Candidate, Question};

use crate::digest;
use serde::{Deserialize, Serialize};

/// What kind of task it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One query, and choices of which one follows it.
    MultipleChoice,
    /// Contexts of which one comes before a continuation.
    Schema,
    /// A context and what follows it.
    #[serde(alias = "language_modelling")]
    LanguageModeling,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::MultipleChoice, Self::Schema, Self::LanguageModeling];

    /// The name used in files, in the database and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::MultipleChoice => "multiple_choice",
            Self::Schema => "schema",
            Self::LanguageModeling => "language_modeling",
        }
    }

    /// Finds the kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// Solved items before each.
    pub shots: usize,
    /// What stands between a query or context and what follows.
    pub delimiter: String,
    /// Its items.
    pub items: Vec<Item>,
}

/// An item of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// What comes before: the same for all candidates, or one for each.
    pub contexts: Vec<String>,
    /// What follows: one for each candidate, or the same for all.
    pub continuations: Vec<String>,
    /// Which candidate is right.
    pub gold: usize,
}

impl Item {
    /// Counts the candidates.
    pub fn candidates(&self) -> usize {
        self.contexts.len().max(self.continuations.len())
    }

    /// Returns a candidate's context and continuation.
    fn candidate(&self, place: usize) -> (&str, &str) {
        let of = |texts: &'_ [String]| if texts.len() == 1 { 0 } else { place };
        (
            &self.contexts[of(&self.contexts)],
            &self.continuations[of(&self.continuations)],
        )
    }
}

impl Task {
    /// Names what is asked: a hash of all but the task's name.
    pub fn digest(&self) -> String {
        let asked = (self.kind, self.shots, &self.delimiter, &self.items);
        let asked = serde_json::to_string(&asked);
        digest::name(&asked.unwrap_or_else(|error| unreachable!("a task is plain data: {error}")))
    }

    /// Returns the accuracy of guessing; of a continuation alone nobody guesses right.
    pub fn chance(&self) -> f64 {
        if self.kind == Kind::LanguageModeling || self.items.is_empty() {
            return 0.0;
        }
        let guesses = self.items.iter().map(|item| 1.0 / item.candidates() as f64);
        guesses.sum::<f64>() / self.items.len() as f64
    }
}
