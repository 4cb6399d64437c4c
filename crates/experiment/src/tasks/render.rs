//! The texts of an item that are scored.

use super::{Kind, Task};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

/// A text whose end is scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What comes before, solved items included.
    pub context: String,
    /// What is scored.
    pub continuation: String,
}

/// An item as it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What may follow, or what may come before; a single one where nothing is to choose.
    pub candidates: Vec<Candidate>,
    /// Which is right.
    pub gold: usize,
}

impl Task {
    /// Asks an item: after solved ones, drawn by its place alone, so that it is asked the same way whatever else is.
    pub fn question(&self, place: usize) -> Question {
        let item = &self.items[place];
        let solved: String = self
            .solved(place)
            .map(|other| self.solution(other))
            .collect();
        let candidates = (0..item.candidates()).map(|candidate| {
            let (context, continuation) = item.candidate(candidate);
            Candidate {
                context: format!("{solved}{context}{}", self.delimiter),
                continuation: continuation.to_owned(),
            }
        });
        Question {
            candidates: candidates.collect(),
            gold: item.gold,
        }
    }

    /// Says whether the model has something to choose.
    pub fn has_choices(&self) -> bool {
        self.kind != Kind::LanguageModeling
    }

    /// Draws the items that stand solved before one.
    fn solved(&self, place: usize) -> impl Iterator<Item = usize> {
        let mut random = ChaCha8Rng::seed_from_u64(place as u64);
        // Of all but this one, which the last stands in for.
        let last = self.items.len() - 1;
        let drawn = sample(&mut random, last, self.shots.min(last));
        drawn
            .into_iter()
            .map(move |other| if other == place { last } else { other })
    }

    fn solution(&self, place: usize) -> String {
        let item = &self.items[place];
        let (context, continuation) = item.candidate(item.gold);
        format!("{context}{}{continuation}\n\n", self.delimiter)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Item;
    use super::*;

    fn task(kind: Kind, shots: usize, items: usize) -> Task {
        let item = |place: usize| match kind {
            Kind::MultipleChoice => Item {
                contexts: vec![format!("q{place}")],
                continuations: vec!["no".into(), format!("a{place}")],
                gold: 1,
            },
            Kind::Schema => Item {
                contexts: vec![format!("A{place}"), format!("B{place}")],
                continuations: vec![format!("c{place}")],
                gold: 0,
            },
            Kind::LanguageModeling => Item {
                contexts: vec![format!("x{place}")],
                continuations: vec![format!("y{place}")],
                gold: 0,
            },
        };
        Task {
            name: "t".into(),
            kind,
            shots,
            delimiter: " ".into(),
            items: (0..items).map(item).collect(),
        }
    }

    fn texts(question: &Question) -> Vec<(&str, &str)> {
        let candidates = question.candidates.iter();
        candidates
            .map(|one| (one.context.as_str(), one.continuation.as_str()))
            .collect()
    }

    #[test]
    fn each_kind_is_asked_in_its_way() {
        let choice = task(Kind::MultipleChoice, 0, 2).question(0);
        assert_eq!(texts(&choice), [("q0 ", "no"), ("q0 ", "a0")]);
        assert_eq!(choice.gold, 1);
        let schema = task(Kind::Schema, 0, 2).question(1);
        assert_eq!(texts(&schema), [("A1 ", "c1"), ("B1 ", "c1")]);
        let alone = task(Kind::LanguageModeling, 0, 2).question(0);
        assert_eq!(texts(&alone), [("x0 ", "y0")]);
    }

    #[test]
    fn solved_items_are_others_and_the_same_each_time() {
        for items in 2..6 {
            let task = task(Kind::MultipleChoice, items - 1, items);
            for place in 0..items {
                let mut solved: Vec<usize> = task.solved(place).collect();
                assert!(!solved.contains(&place), "{solved:?}");
                solved.sort_unstable();
                solved.dedup();
                assert_eq!(solved.len(), items - 1, "each once");
                assert_eq!(task.question(place), task.question(place));
            }
        }
        let question = task(Kind::Schema, 1, 2).question(0);
        assert_eq!(question.candidates[1].context, "A1 c1\n\nB0 ");
    }
}
