//! What a run answers to tasks and makes of texts, in a few numbers that say how sure they are.

use super::{Kind, Task};
use serde::{Deserialize, Serialize};
use std::f64::consts::LN_2;

/// What a run makes of a continuation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// Sum of the logarithms of its tokens' probabilities, nats.
    pub log_likelihood: f64,
    /// Tokens of the continuation.
    pub tokens: usize,
    /// UTF-8 bytes of the continuation, with the spaces before it.
    pub bytes: usize,
    /// Whether each of its tokens is the likeliest there.
    pub is_greedy: bool,
    /// Tokens on the left that did not fit into the run's `seq_len`.
    pub truncated: usize,
}

/// A mean with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean over items.
    pub mean: f64,
    /// Its standard error; `None` for a single item.
    pub standard_error: Option<f64>,
}

impl Mean {
    /// Takes it; `None` of nothing.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let n = values.clone().count();
        if n == 0 {
            return None;
        }
        let mean = values.clone().sum::<f64>() / n as f64;
        let squares = values.map(|value| (value - mean).powi(2)).sum::<f64>();
        let variance = (n > 1).then(|| squares / (n - 1) as f64);
        Some(Self {
            mean,
            standard_error: variance.map(|variance| (variance / n as f64).sqrt()),
        })
    }

    /// Returns half the width of a 95% interval, two standard errors.
    pub fn two_errors(&self) -> Option<f64> {
        self.standard_error.map(|error| 2.0 * error)
    }
}

/// What a run answers to an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What it makes of each candidate.
    pub candidates: Vec<Scored>,
    /// Which is right.
    pub gold: usize,
}

impl Answer {
    fn right(&self) -> &Scored {
        &self.candidates[self.gold]
    }

    /// Bits for each byte of the right answer.
    pub fn bits_per_byte(&self) -> f64 {
        -self.right().log_likelihood / LN_2 / self.right().bytes as f64
    }

    /// Whether it is right: the likeliest is, or, of a continuation alone, each of its tokens is.
    pub fn is_right(&self) -> bool {
        match self.candidates.len() {
            1 => self.right().is_greedy,
            _ => self.chosen(|scored| scored.log_likelihood) == self.gold,
        }
    }

    /// Whether the likeliest for its bytes is right.
    pub fn is_right_per_byte(&self) -> bool {
        self.chosen(|scored| scored.log_likelihood / scored.bytes as f64) == self.gold
    }

    /// The right one's share of the probability of all candidates.
    pub fn share(&self) -> f64 {
        let right = self.right().log_likelihood;
        let all = self.candidates.iter();
        1.0 / all
            .map(|scored| (scored.log_likelihood - right).exp())
            .sum::<f64>()
    }

    /// The candidate with the largest value; of equal ones the first.
    fn chosen(&self, value: impl Fn(&Scored) -> f64) -> usize {
        let mut best = 0;
        for place in 1..self.candidates.len() {
            if value(&self.candidates[place]) > value(&self.candidates[best]) {
                best = place;
            }
        }
        best
    }
}

/// A run's answers to a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The task.
    pub task: String,
    /// Its kind.
    pub kind: Kind,
    /// What it asks, as a hash: scores of one task can be compared where this is the same.
    pub digest: String,
    /// Its items.
    pub items: usize,
    /// Items of which the left end did not fit into the run's `seq_len`.
    pub truncated: usize,
    /// Bits for each byte of the right answer: the number to compare small models by.
    pub bits_per_byte: Mean,
    /// Share of right answers, by the sum of logarithms.
    pub accuracy: Mean,
    /// The same, by that sum for each byte; `None` where nothing is to choose.
    pub accuracy_per_byte: Option<Mean>,
    /// Share of the probability on the right candidate; `None` where nothing is to choose.
    pub share: Option<Mean>,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Whether the accuracy is not two standard errors above guessing: then it says nothing.
    pub at_chance: bool,
}

impl Score {
    /// Sums up the answers to a task.
    pub fn of(task: &Task, answers: &[Answer]) -> Option<Self> {
        let flags = |flag: fn(&Answer) -> bool| {
            Mean::of(
                answers
                    .iter()
                    .map(move |answer| f64::from(u8::from(flag(answer)))),
            )
        };
        let choices = task.has_choices();
        let (accuracy, chance) = (flags(Answer::is_right)?, task.chance());
        // Of a few items all may be wrong: guessing would scatter nevertheless.
        let guessed = (chance * (1.0 - chance) / answers.len() as f64).sqrt();
        let error = accuracy
            .standard_error
            .unwrap_or(f64::INFINITY)
            .max(guessed);
        let is_cut = |answer: &&Answer| answer.candidates.iter().any(|scored| scored.truncated > 0);
        Some(Self {
            task: task.name.clone(),
            kind: task.kind,
            digest: task.digest(),
            items: answers.len(),
            truncated: answers.iter().filter(is_cut).count(),
            bits_per_byte: Mean::of(answers.iter().map(Answer::bits_per_byte))?,
            accuracy,
            accuracy_per_byte: flags(Answer::is_right_per_byte).filter(|_| choices),
            share: Mean::of(answers.iter().map(Answer::share)).filter(|_| choices),
            chance,
            at_chance: accuracy.mean - chance <= 2.0 * error,
        })
    }
}

/// What a run answers to all tasks, and makes of all texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Its scores, in order of the tasks' names.
    pub tasks: Vec<Score>,
    /// What it makes of texts, in order of their names.
    pub texts: Vec<TextScore>,
}

impl Scores {
    /// Lists them as numbers by name: `TASK.bits_per_byte`, `TASK.accuracy` and so on.
    pub fn numbers(&self) -> impl Iterator<Item = (String, f64)> {
        let tasks = self.tasks.iter().flat_map(|score| {
            let mean = |mean: Option<Mean>| mean.map(|mean| mean.mean);
            let numbers = [
                ("bits_per_byte", Some(score.bits_per_byte.mean)),
                ("accuracy", Some(score.accuracy.mean)),
                ("accuracy_per_byte", mean(score.accuracy_per_byte)),
                ("share", mean(score.share)),
            ];
            named(&score.task, numbers)
        });
        let texts = self.texts.iter().flat_map(|text| {
            let numbers = [
                ("bits_per_byte", Some(text.bits_per_byte.mean)),
                ("loss", Some(text.loss)),
                ("realised_ratio", text.realised_ratio),
            ];
            named(&text.text, numbers)
        });
        tasks.chain(texts)
    }
}

fn named<const N: usize>(subject: &str, numbers: [(&str, Option<f64>); N]) -> Vec<(String, f64)> {
    let numbers = numbers.into_iter();
    numbers
        .filter_map(|(name, value)| Some((format!("{subject}.{name}"), value?)))
        .collect()
}

/// How much better one run answers a task than another, item by item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The task.
    pub task: String,
    /// Bits for each byte that it saves: those of the other minus its own.
    pub bits_per_byte: Mean,
    /// Its accuracy minus the other's; `None` where either is at chance.
    pub accuracy: Option<Mean>,
}

impl Difference {
    /// Compares answers to the same items; `None` where they are others.
    pub fn of(own: Answered, other: Answered) -> Option<Self> {
        Self::between(&[own], &[other])
    }

    /// Compares the answers of two groups of runs, each item by the mean over a group; `None` where items are others.
    pub fn between(own: &[Answered], other: &[Answered]) -> Option<Self> {
        let (first, _) = own.first()?;
        let mut all = own.iter().chain(other);
        if !all.all(|(score, answers)| score.digest == first.digest && answers.len() == first.items)
        {
            return None;
        }
        let differences = |value: fn(&Answer) -> f64| {
            let mean = |runs: &[Answered], item: usize| {
                let values = runs.iter().map(|(_, answers)| value(&answers[item]));
                values.sum::<f64>() / runs.len() as f64
            };
            let items = (0..first.items).map(|item| mean(own, item) - mean(other, item));
            items.collect::<Vec<f64>>()
        };
        let saved = differences(|answer| -answer.bits_per_byte());
        let gained = differences(|answer| f64::from(u8::from(answer.is_right())));
        let is_known = |runs: &[Answered]| runs.iter().any(|(score, _)| !score.at_chance);
        Some(Self {
            task: first.task.clone(),
            bits_per_byte: Mean::of(saved.into_iter())?,
            accuracy: Mean::of(gained.into_iter()).filter(|_| is_known(own) && is_known(other)),
        })
    }
}

/// A run's score of a task, with its answers.
pub type Answered<'a> = (&'a Score, &'a [Answer]);

/// What a run makes of a text that is held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextScore {
    /// What it is called.
    pub text: String,
    /// What it is, as a hash.
    pub digest: String,
    /// Its tokens.
    pub tokens: usize,
    /// UTF-8 bytes a token.
    pub bytes_per_token: f64,
    /// Held-out loss, nats per token.
    pub loss: f64,
    /// The same in bits per UTF-8 byte, with its error over windows of `seq_len` tokens.
    pub bits_per_byte: Mean,
    /// Tokens per concept; `None` for a model without concepts.
    pub realised_ratio: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::super::Item;
    use super::*;

    fn scored(log_likelihood: f64, bytes: usize) -> Scored {
        Scored {
            log_likelihood,
            tokens: 1,
            bytes,
            is_greedy: log_likelihood > -0.5,
            truncated: 0,
        }
    }

    fn task(kind: Kind, candidates: usize, items: usize) -> Task {
        let item = Item {
            contexts: vec!["c".into()],
            continuations: vec!["x".into(); candidates],
            gold: 0,
        };
        Task {
            name: "t".into(),
            kind,
            shots: 0,
            delimiter: String::new(),
            items: vec![item; items],
        }
    }

    #[test]
    fn planted_likelihoods_score_what_they_should() {
        // Likelihoods 1/2 and 1/4, the longer one the likelier for its bytes.
        let answer = Answer {
            candidates: vec![scored(0.5_f64.ln(), 1), scored(0.25_f64.ln(), 4)],
            gold: 0,
        };
        assert!(answer.is_right() && !answer.is_right_per_byte());
        assert!((answer.share() - 2.0 / 3.0).abs() < 1e-12);
        assert!((answer.bits_per_byte() - 1.0).abs() < 1e-12);
        let other = Answer {
            gold: 1,
            ..answer.clone()
        };
        assert!(!other.is_right() && other.is_right_per_byte());
        assert!((other.bits_per_byte() - 0.5).abs() < 1e-12);
        let score = Score::of(&task(Kind::MultipleChoice, 2, 2), &[answer, other]).expect("items");
        assert_eq!((score.accuracy.mean, score.chance), (0.5, 0.5));
        assert!(score.at_chance);
        assert!((score.bits_per_byte.mean - 0.75).abs() < 1e-12);
        let error = score.bits_per_byte.standard_error.expect("two items");
        assert!((error - 0.25).abs() < 1e-12);
    }

    #[test]
    fn accuracy_counts_where_it_is_far_from_guessing() {
        let answer = |right: f64| Answer {
            candidates: vec![scored(right, 1), scored(-2.0, 1)],
            gold: 0,
        };
        let choice = |n| task(Kind::MultipleChoice, 2, n);
        let all = vec![answer(-1.0); 40];
        assert!(!Score::of(&choice(40), &all).expect("items").at_chance);
        // All wrong is worse than guessing, and no better answer.
        let wrong = vec![answer(-3.0); 40];
        assert!(Score::of(&choice(40), &wrong).expect("items").at_chance);
        // Two right ones of two are what guessing gives in a quarter of all cases.
        assert!(Score::of(&choice(2), &all[..2]).expect("items").at_chance);
        let alone = |value| Answer {
            candidates: vec![scored(value, 1)],
            gold: 0,
        };
        let language = task(Kind::LanguageModeling, 1, 3);
        let none = Score::of(&language, &[alone(-9.0), alone(-8.0)]).expect("items");
        assert!(none.at_chance && none.share.is_none());
        let score = Score::of(&choice(40), &all).expect("items");
        let worse = vec![answer(-1.5); 40];
        let other = Score::of(&choice(40), &worse).expect("items");
        let difference = Difference::of((&score, &all), (&other, &worse)).expect("items");
        assert!((difference.bits_per_byte.mean - 0.5 / LN_2).abs() < 1e-12);
        assert_eq!(difference.accuracy.map(|mean| mean.mean), Some(0.0));
    }
}
