//! Tasks in a language of dialects whose right answers, and how sure of them one can be, follow from the language.
//!
//! Contexts are documents of the language from their first word to the end of one, so that a reader who knows the
//! lexicon parses them in one way, and who knows the dialects too can say how likely each word is next: that reader's
//! answers are what no model can be expected to beat.

use super::{Language, Split};
use crate::data::DataError;
use experiment::run::{LanguageKind, SyntheticSpec};
use experiment::tasks::{Item, Kind};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::json;

/// Items of one kind, and what a reader who knows the language makes of them.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSet {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its items; what follows a context follows at once.
    pub items: Vec<Item>,
    /// The share of items that the reader answers right.
    pub accuracy: f64,
}

/// Items of each set that ships, and the seed they are drawn by.
pub const ITEMS: usize = 100;
/// See [`ITEMS`].
pub const SEED: u64 = 1;

/// Letters of a context in which only the lexicon counts, at least.
const CONTEXT: usize = 160;
/// Letters of a context that tells most dialects from each other, but not all.
const TOPIC: usize = 12;
/// Letters of contexts that differ in their beginning, and words of their common end, at least.
const BEGINNING: usize = 24;
const COMMON_WORDS: usize = 3;
/// Choices of a word's end.
const ENDS: usize = 4;

/// A reader who knows the language and not the dialect of a document.
struct Reader<'a> {
    language: &'a Language,
}

/// Makes the three sets of `items` items each: the end of a word, the next word by the document's dialect, and which of
/// two beginnings a word agrees with, over a stretch that both have in common.
///
/// # Errors
/// When the language is not one of dialects, or so small that there are no such items.
pub fn task_sets(spec: &SyntheticSpec, items: usize, seed: u64) -> Result<[TaskSet; 3], DataError> {
    let language = Language::new(spec)?;
    let few = |why: &str| DataError::Tasks(why.to_owned());
    if spec.language != LanguageKind::Dialects {
        return Err(few("tasks are made of a language of dialects"));
    }
    if spec.letters > 26 {
        return Err(few("letters beyond z cannot be written"));
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let reader = Reader {
        language: &language,
    };
    Ok([
        reader.completion(items, &mut random)?,
        reader.topic(items, &mut random)?,
        reader.agreement(items, &mut random)?,
    ])
}

/// Writes the sets as the files of a folder of tasks, by name.
///
/// # Errors
/// As [`task_sets`].
pub fn files(
    spec: &SyntheticSpec,
    items: usize,
    seed: u64,
) -> Result<Vec<(String, String)>, DataError> {
    let sets = task_sets(spec, items, seed)?;
    let mut index = String::from(
        "# Tasks in the synthetic language of dialects with its default settings, made by\n\
         # `cargo run --release -p trainer --example synthetic_tasks`. A reader who knows the language, but not the\n\
         # dialect of a document, answers this share right:\n",
    );
    for set in &sets {
        index += &format!("#   {}: {:.2}\n", set.name, set.accuracy);
    }
    index += "tasks:\n";
    let mut files = Vec::new();
    for set in sets {
        let (name, kind) = (set.name, set.kind.name());
        index += &format!("  {name}: {{file: {name}.jsonl, kind: {kind}, delimiter: ''}}\n");
        let lines = set.items.iter().map(|item| match set.kind {
            Kind::Schema => json!({
                "context_options": item.contexts, "continuation": item.continuations[0], "gold": item.gold
            }),
            _ => json!({"query": item.contexts[0], "choices": item.continuations, "gold": item.gold}),
        });
        let lines = lines.map(|line| format!("{line}\n"));
        files.push((format!("{name}.jsonl"), lines.collect()));
    }
    files.push(("tasks.yaml".to_owned(), index));
    Ok(files)
}

impl Reader<'_> {
    fn word(&self, word: usize) -> String {
        let letters = self.language.lexicon[word].iter();
        letters.map(|&id| char::from(b'a' + id as u8)).collect()
    }

    fn text(&self, words: &[usize]) -> String {
        words.iter().map(|&word| self.word(word)).collect()
    }

    /// The first words of a held-out document, of so many letters or a few more.
    fn document(&self, index: u64, letters: usize) -> Vec<usize> {
        let mut walk = self.language.walk(Split::Validation, index);
        let (mut words, mut length) = (Vec::new(), 0);
        while length < letters {
            let Some(word) = walk.next() else { break };
            length += word.len();
            if let Some(place) = walk.current {
                words.push(walk.chain.words[place]);
            }
        }
        words
    }

    /// A document's successor of a word.
    fn successor(&self, index: u64, word: usize) -> usize {
        self.language
            .walk(Split::Validation, index)
            .chain
            .successors[word]
    }

    /// The probability of a word after a document's first words: over the dialects that these leave possible.
    fn probability(&self, words: &[usize], next: usize) -> f64 {
        let noise = self.language.spec.noise;
        let by_chance = noise / self.language.lexicon.len() as f64;
        let step = |successors: &[usize], from: usize, to: usize| {
            by_chance
                + if successors[from] == to {
                    1.0 - noise
                } else {
                    0.0
                }
        };
        let dialects = self.language.dialects.iter().flat_map(|all| all.weighted());
        let (mut of_all, mut with_next) = (0.0, 0.0);
        for (weight, successors) in dialects {
            let likelihood: f64 = words
                .windows(2)
                .map(|pair| step(successors, pair[0], pair[1]))
                .product();
            of_all += weight * likelihood;
            if let Some(&last) = words.last() {
                with_next += weight * likelihood * step(successors, last, next);
            }
        }
        with_next / of_all
    }

    /// The end of a word whose first two letters, which name it, are given.
    fn completion(&self, items: usize, random: &mut ChaCha8Rng) -> Result<TaskSet, DataError> {
        let mut made = Vec::new();
        for index in 0..self.language.documents(Split::Validation) {
            if made.len() == items {
                break;
            }
            let mut words = self.document(index, CONTEXT);
            let Some(last) = words.pop() else { continue };
            let word = self.word(last);
            let (start, end) = (word[..2].to_owned(), word[2..].to_owned());
            let mut ends: Vec<String> = (0..self.language.lexicon.len())
                .map(|other| self.word(other)[2..].to_owned())
                .filter(|other| other.len() == end.len() && *other != end)
                .collect();
            ends.sort();
            ends.dedup();
            ends.shuffle(random);
            ends.truncate(ENDS - 1);
            if ends.len() == ENDS - 1 && !end.is_empty() {
                made.push(choice(self.text(&words) + &start, end, ends, random));
            }
        }
        // After two letters there is one word that goes on so.
        set("completion", Kind::MultipleChoice, made, items, 1.0)
    }

    /// The word that follows in the document's dialect, among those that may follow in any.
    fn topic(&self, items: usize, random: &mut ChaCha8Rng) -> Result<TaskSet, DataError> {
        let (mut made, mut right) = (Vec::new(), 0);
        for index in 0..self.language.documents(Split::Validation) {
            if made.len() == items {
                break;
            }
            let words = self.document(index, TOPIC);
            let Some(&last) = words.last() else { continue };
            let next = self.successor(index, last);
            let mut others: Vec<usize> = self
                .language
                .dialects
                .iter()
                .flat_map(|all| all.weighted())
                .map(|(_, successors)| successors[last])
                .filter(|&other| other != next)
                .collect();
            others.sort_unstable();
            others.dedup();
            if others.is_empty() {
                continue;
            }
            let best = others
                .iter()
                .map(|&other| self.probability(&words, other))
                .fold(0.0, f64::max);
            right += usize::from(self.probability(&words, next) > best);
            let others = others.into_iter().map(|other| self.word(other)).collect();
            made.push(choice(self.text(&words), self.word(next), others, random));
        }
        let accuracy = right as f64 / made.len().max(1) as f64;
        set("topic", Kind::MultipleChoice, made, items, accuracy)
    }

    /// Which of two documents a word agrees with, after words that follow each other in both.
    fn agreement(&self, items: usize, random: &mut ChaCha8Rng) -> Result<TaskSet, DataError> {
        let (mut made, mut right) = (Vec::new(), 0);
        let documents = self.language.documents(Split::Validation);
        for index in 0..documents {
            if made.len() == items {
                break;
            }
            let other = random.random_range(0..documents);
            let Some(common) = self.common(index, other, random) else {
                continue;
            };
            let Some(&last) = common.last() else { continue };
            let next = self.successor(index, last);
            let begun = [index, other].map(|document| {
                let words = self.document(document, BEGINNING);
                [words.as_slice(), &common].concat()
            });
            let gold = usize::from(random.random::<bool>());
            let [own, foreign] = &begun;
            right += usize::from(self.probability(own, next) > self.probability(foreign, next));
            let mut contexts = vec![self.text(own), self.text(foreign)];
            contexts.swap(0, gold);
            made.push(Item {
                contexts,
                continuations: vec![self.word(next)],
                gold,
            });
        }
        let accuracy = right as f64 / made.len().max(1) as f64;
        set("agreement", Kind::Schema, made, items, accuracy)
    }

    /// Words that follow each other in the dialects of both documents, the last with another successor in each.
    fn common(&self, one: u64, other: u64, random: &mut ChaCha8Rng) -> Option<Vec<usize>> {
        let follows = |document| {
            let walk = self.language.walk(Split::Validation, document);
            walk.chain.successors.clone()
        };
        let (one, other) = (follows(one), follows(other));
        let mut starts: Vec<usize> = (0..one.len()).collect();
        starts.shuffle(random);
        starts.into_iter().find_map(|start| {
            let mut words = vec![start];
            while words.len() <= one.len() {
                let last = *words.last()?;
                if one[last] != other[last] {
                    break;
                }
                words.push(one[last]);
            }
            (words.len() >= COMMON_WORDS && words.len() <= one.len()).then_some(words)
        })
    }
}

/// Puts the right answer at a random place among others.
fn choice(context: String, right: String, others: Vec<String>, random: &mut ChaCha8Rng) -> Item {
    let gold = random.random_range(0..=others.len());
    let mut continuations = others;
    continuations.insert(gold, right);
    Item {
        contexts: vec![context],
        continuations,
        gold,
    }
}

fn set(
    name: &'static str,
    kind: Kind,
    items: Vec<Item>,
    wanted: usize,
    accuracy: f64,
) -> Result<TaskSet, DataError> {
    if items.len() < wanted {
        return Err(DataError::Tasks(format!(
            "of the {wanted} items of `{name}` the held-out documents give {}: more `validation_tokens`, dialects or \
             words give more",
            items.len()
        )));
    }
    Ok(TaskSet {
        name,
        kind,
        items,
        accuracy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn spec() -> SyntheticSpec {
        SyntheticSpec::of(LanguageKind::Dialects)
    }

    #[test]
    fn what_ships_is_what_the_language_gives() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/tasks/dialects");
        for (name, text) in files(&spec(), ITEMS, SEED).expect("tasks") {
            let there = std::fs::read_to_string(folder.join(&name)).expect("it ships");
            assert!(there == text, "{name} is another: run the example again");
        }
        let read = experiment::tasks::read(&folder).expect("right");
        assert_eq!(read.len(), 3);
    }

    #[test]
    fn probabilities_are_those_of_the_language() {
        let language = Language::new(&spec()).expect("a language");
        let reader = Reader {
            language: &language,
        };
        let words = reader.document(3, CONTEXT);
        let all: f64 = (0..language.lexicon.len())
            .map(|next| reader.probability(&words, next))
            .sum();
        assert!((all - 1.0).abs() < 1e-12, "{all}");
        // The document's own dialect is mostly found out, and then its successor is nearly sure.
        let next = reader.successor(3, *words.last().expect("words"));
        assert!(reader.probability(&words, next) > 0.5);
        // Of nothing but a word, what follows is as frequent as the dialects are.
        let alone = reader.probability(&words[..1], next);
        assert!(alone < 0.9, "{alone}");
    }

    #[test]
    fn a_reader_who_knows_the_language_answers_well_and_nobody_without_the_context() {
        let [completion, topic, agreement] = task_sets(&spec(), 60, 7).expect("tasks");
        assert_eq!(completion.accuracy, 1.0);
        assert!(
            topic.accuracy > 0.7 && topic.accuracy < 1.0,
            "{}",
            topic.accuracy
        );
        assert!(agreement.accuracy > 0.8, "{}", agreement.accuracy);
        for item in &agreement.items {
            let [one, other] = [&item.contexts[0], &item.contexts[1]];
            let common = one.bytes().rev().zip(other.bytes().rev());
            let common = common.take_while(|(a, b)| a == b).count();
            assert!(common >= 3 * COMMON_WORDS && common < one.len(), "{common}");
        }
        let other = task_sets(&spec(), 60, 8).expect("tasks");
        assert_ne!(other[1].items, topic.items, "the seed shuffles");
        let cycles = SyntheticSpec::of(LanguageKind::Cycles);
        task_sets(&cycles, 60, 7).expect_err("no dialects");
    }
}
