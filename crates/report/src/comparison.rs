//! Hierarchical models against dense ones on tasks: at equal inference FLOPs, and at equal loss.
//!
//! # Source
//! DLCM, arXiv 2512.24617, Table 2, whose two abstracts read it in these two ways.

use campaign::store::RunRecord;
use experiment::architecture::ModelKind;
use experiment::run::{Part, RunId, RunOutcome, RunSpec};
use experiment::tasks::{Answer, Answered, Difference, Mean, Score, Scores};
use serde::Serialize;
use std::collections::BTreeMap;

/// Inference FLOPs, or losses, that are called equal lie within this factor of each other.
const EQUAL_FLOPS: f64 = 1.1;
const EQUAL_LOSS: f64 = 1.01;
/// The same for training tokens, which whole steps round.
const EQUAL_TOKENS: f64 = 1.02;

/// In what two models are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Equal {
    /// Forward FLOPs for a token.
    InferenceFlops,
    /// Held-out loss.
    Loss,
}

/// Runs that differ in their seed alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// The runs.
    pub runs: Vec<RunId>,
    /// N.
    pub params: u64,
    /// D.
    pub tokens: u64,
    /// Tokens per concept, on the mean; 1 without concepts.
    pub realised_ratio: f64,
    /// Forward FLOPs for a token, on average over a full sequence.
    pub inference_flops: f64,
    /// Held-out loss, nats per token, on the mean.
    pub loss: f64,
}

/// A task, answered by a hierarchical and by a dense model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskPair {
    /// Bits for each byte of the right answer, and accuracy, of the hierarchical model.
    pub dlcm: Means,
    /// Of the dense one.
    pub dense: Means,
    /// Accuracy of guessing.
    pub chance: f64,
    /// What the hierarchical model gains, item by item.
    pub difference: Difference,
}

/// A group's means over runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Means {
    /// Bits for each byte of the right answer.
    pub bits_per_byte: f64,
    /// Accuracy; `None` where all runs are at chance.
    pub accuracy: Option<f64>,
}

/// A hierarchical and a dense model that are alike in something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// In what.
    pub equal: Equal,
    /// The hierarchical model.
    pub dlcm: Group,
    /// The dense one.
    pub dense: Group,
    /// What they answer.
    pub tasks: Vec<TaskPair>,
    /// Bits for each byte that the hierarchical model saves, on the mean over tasks.
    pub bits_saved: Mean,
    /// Accuracy that it gains, on the mean over tasks at which neither is at chance; `None` where there are none.
    pub accuracy_gained: Option<Mean>,
}

/// What an experiment's runs say of hierarchical models against dense ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Pairs alike in inference FLOPs, one for each dense model that has one, that with the most first.
    pub at_equal_flops: Vec<Pair>,
    /// Pairs alike in loss of which the hierarchical model takes fewer inference FLOPs, in the same order.
    pub at_equal_loss: Vec<Pair>,
    /// What the runs cannot tell.
    pub remarks: Vec<String>,
}

/// What the runs of an experiment answer, and how they compare.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Answers {
    /// What each run answers, of those that were asked.
    pub runs: BTreeMap<RunId, Scores>,
    /// Hierarchical models against dense ones.
    pub comparison: Comparison,
}

impl Answers {
    /// Compares what runs answer; `items` reads what a run answered to every item.
    pub fn of(
        runs: &[RunRecord],
        mut scores: BTreeMap<RunId, Scores>,
        items: &dyn Fn(&RunId) -> Option<Items>,
    ) -> Self {
        // Trials are there to find a rate, and may have a bad one.
        for run in runs.iter().filter(|run| run.part == Part::Trial) {
            scores.remove(&run.id);
        }
        let comparison = if scores.values().all(|scores| scores.tasks.is_empty()) {
            Comparison::default()
        } else {
            Comparison::of(runs, &scores, items)
        };
        Self {
            runs: scores,
            comparison,
        }
    }

    /// Lists, in order of their names, the tasks with how many runs answered each, and how many of those better than
    /// by guessing.
    pub fn tasks(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut tasks: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for score in self.runs.values().flat_map(|scores| &scores.tasks) {
            let (answered, above) = tasks.entry(&score.task).or_default();
            *answered += 1;
            *above += usize::from(!score.at_chance);
        }
        tasks
    }

    /// Finds of each kind of model that read texts the run with the lowest loss.
    pub fn best_readers<'r>(&self, runs: &'r [RunRecord]) -> BTreeMap<&'static str, &'r RunRecord> {
        let has_read = |run: &&RunRecord| {
            let scores = self.runs.get(&run.id);
            scores.is_some_and(|scores| !scores.texts.is_empty())
        };
        let mut best: BTreeMap<&'static str, &RunRecord> = BTreeMap::new();
        for run in runs.iter().filter(has_read) {
            let of_kind = best.entry(run.kind.name()).or_insert(run);
            if run.loss.unwrap_or(f64::INFINITY) < of_kind.loss.unwrap_or(f64::INFINITY) {
                *of_kind = run;
            }
        }
        best
    }
}

/// A run's answers, task by task.
pub type Items = BTreeMap<String, Vec<Answer>>;

/// A group with what its runs answered.
struct Answering<'a> {
    group: Group,
    /// The data, as a hash: losses and bits of other tokens are others.
    data: &'a str,
    runs: Vec<(&'a Scores, Items)>,
}

impl Comparison {
    /// Compares the trained runs of an experiment; `items` reads what a run answered to every item.
    pub fn of(
        runs: &[RunRecord],
        scores: &BTreeMap<RunId, Scores>,
        items: &dyn Fn(&RunId) -> Option<Items>,
    ) -> Self {
        let mut groups: BTreeMap<RunId, Vec<&RunRecord>> = BTreeMap::new();
        for run in runs.iter().filter(|run| is_comparable(run, scores)) {
            if let Some(spec) = run.spec.model() {
                groups.entry(without_seed(spec)).or_default().push(run);
            }
        }
        let (mut dlcm, mut dense) = (Vec::new(), Vec::new());
        for runs in groups.values() {
            let of_kind = match runs[0].kind {
                ModelKind::Dlcm => &mut dlcm,
                ModelKind::Dense => &mut dense,
                // What a token level alone answers is no alternative to either.
                ModelKind::TokenOnly => continue,
            };
            of_kind.extend(Answering::of(runs, scores, items));
        }
        dense.sort_by(|a: &Answering, b: &Answering| {
            b.group.inference_flops.total_cmp(&a.group.inference_flops)
        });
        let mut comparison = Self::default();
        if dlcm.is_empty() || dense.is_empty() {
            let missing = if dense.is_empty() {
                "dense"
            } else {
                "hierarchical"
            };
            comparison.remarks.push(format!(
                "no {missing} model has answered the tasks: there is nothing to compare with"
            ));
            return comparison;
        }
        for baseline in &dense {
            let alike: Vec<&Answering> = dlcm
                .iter()
                .filter(|model| model.is_alike(baseline))
                .collect();
            let flops = |model: &&&Answering| {
                let [own, other] =
                    [&model.group, &baseline.group].map(|group| group.inference_flops);
                is_within(own, other, EQUAL_FLOPS)
            };
            // By what tasks have no part in: the best of many by their scores would be luck.
            let best = alike.iter().filter(flops);
            let best = best.min_by(|a, b| a.group.loss.total_cmp(&b.group.loss));
            comparison
                .at_equal_flops
                .extend(best.and_then(|model| pair(Equal::InferenceFlops, model, baseline)));
            let loss = |model: &&&Answering| {
                is_within(model.group.loss, baseline.group.loss, EQUAL_LOSS)
                    && model.group.inference_flops * EQUAL_FLOPS < baseline.group.inference_flops
            };
            let cheapest = alike.iter().filter(loss);
            let cheapest =
                cheapest.min_by(|a, b| a.group.inference_flops.total_cmp(&b.group.inference_flops));
            comparison
                .at_equal_loss
                .extend(cheapest.and_then(|model| pair(Equal::Loss, model, baseline)));
        }
        comparison.say_what_is_missing(&dlcm, &dense);
        comparison
    }

    fn say_what_is_missing(&mut self, dlcm: &[Answering], dense: &[Answering]) {
        if self.at_equal_flops.is_empty() {
            let ratios = dense.iter().flat_map(|dense| {
                let alike = dlcm.iter().filter(|dlcm| dlcm.is_alike(dense));
                alike.map(|dlcm| dlcm.group.inference_flops / dense.group.inference_flops)
            });
            let nearest = ratios.min_by(|a, b| a.ln().abs().total_cmp(&b.ln().abs()));
            self.remarks.push(match nearest {
                None => "no hierarchical and dense model were trained on as many tokens of the same data".to_owned(),
                Some(ratio) if is_within(ratio, 1.0, EQUAL_FLOPS) => {
                    "models that take the same inference FLOPs have answered no task in the same form: \
                     `orchestrator evaluate` asks them anew"
                        .to_owned()
                }
                Some(ratio) => format!(
                    "no hierarchical model takes the inference FLOPs of a dense one within {:.0}%, after as many \
                     training tokens (the nearest take {ratio:.2} times as many): add `baselines` of the N between",
                    100.0 * (EQUAL_FLOPS - 1.0)
                ),
            });
        }
        if self.at_equal_loss.is_empty() {
            self.remarks.push(format!(
                "no hierarchical model reaches the loss of a dense one within {:.0}% with fewer inference FLOPs, \
                 after as many training tokens",
                100.0 * (EQUAL_LOSS - 1.0)
            ));
        }
        let pairs = self.at_equal_flops.iter().chain(&self.at_equal_loss);
        let mut groups = pairs.flat_map(|pair| [&pair.dlcm, &pair.dense]);
        if groups.any(|group| group.runs.len() == 1) {
            self.remarks.push(
                "intervals are over items; what another seed would change is not in them where a model was trained \
                 once"
                    .to_owned(),
            );
        }
    }
}

fn is_comparable(run: &RunRecord, scores: &BTreeMap<RunId, Scores>) -> bool {
    let is_whole = matches!(run.part, Part::Whole | Part::Branch);
    let has_scores = || {
        scores
            .get(&run.id)
            .is_some_and(|scores| !scores.tasks.is_empty())
    };
    run.outcome == Some(RunOutcome::Finished) && is_whole && has_scores()
}

/// The identity of a run but for its seed.
fn without_seed(spec: &RunSpec) -> RunId {
    RunSpec {
        seed: 0,
        ..spec.clone()
    }
    .id()
}

fn is_within(a: f64, b: f64, factor: f64) -> bool {
    (a / b).max(b / a) <= factor
}

impl<'a> Answering<'a> {
    fn of(
        runs: &[&'a RunRecord],
        scores: &'a BTreeMap<RunId, Scores>,
        items: &dyn Fn(&RunId) -> Option<Items>,
    ) -> Option<Self> {
        let answered = runs.iter().filter_map(|run| {
            let answered = (scores.get(&run.id)?, items(&run.id)?);
            Some((*run, answered))
        });
        let (runs, answered): (Vec<&RunRecord>, Vec<_>) = answered.unzip();
        let mean = |value: &dyn Fn(&RunRecord) -> Option<f64>| -> Option<f64> {
            let values: Option<Vec<f64>> = runs.iter().map(|run| value(run)).collect();
            values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
        };
        let spec = runs.first()?.spec.model()?;
        let realised_ratio = mean(&|run| {
            if run.has_concepts() {
                run.realised_ratio
            } else {
                Some(1.0)
            }
        })?;
        Some(Self {
            group: Group {
                runs: runs.iter().map(|run| run.id.clone()).collect(),
                params: spec.architecture.params().non_embedding(),
                tokens: spec.recipe.tokens,
                inference_flops: spec.architecture.forward_flops(realised_ratio).total(),
                realised_ratio,
                loss: mean(&|run| run.loss)?,
            },
            data: &spec.facts.fingerprint,
            runs: answered,
        })
    }

    /// Says whether both were trained on as many tokens of the same data.
    fn is_alike(&self, other: &Answering) -> bool {
        let [own, of_other] = [self, other].map(|answering| answering.group.tokens as f64);
        self.data == other.data && is_within(own, of_other, EQUAL_TOKENS)
    }

    /// Returns what each run answered to a task.
    fn answered(&self, task: &str) -> Option<Vec<Answered<'_>>> {
        let of_run = |(scores, items): &'_ (&'a Scores, Items)| -> Option<&Score> {
            let _ = items.get(task)?;
            scores.tasks.iter().find(|score| score.task == task)
        };
        let runs = self.runs.iter();
        runs.map(|run| Some((of_run(run)?, run.1.get(task)?.as_slice())))
            .collect()
    }
}

fn pair(equal: Equal, dlcm: &Answering, dense: &Answering) -> Option<Pair> {
    let (scores, _) = dlcm.runs.first()?;
    let tasks: Vec<TaskPair> = scores
        .tasks
        .iter()
        .filter_map(|score| {
            let [own, other] = [dlcm, dense].map(|group| group.answered(&score.task));
            let (own, other) = (own?, other?);
            Some(TaskPair {
                difference: Difference::between(&own, &other)?,
                dlcm: means(&own),
                dense: means(&other),
                chance: score.chance,
            })
        })
        .collect();
    let over_tasks = |value: fn(&Difference) -> Option<Mean>| {
        let means: Vec<Mean> = (tasks.iter())
            .filter_map(|task| value(&task.difference))
            .collect();
        average(&means)
    };
    Some(Pair {
        equal,
        dlcm: dlcm.group.clone(),
        dense: dense.group.clone(),
        bits_saved: over_tasks(|difference| Some(difference.bits_per_byte))?,
        accuracy_gained: over_tasks(|difference| difference.accuracy),
        tasks,
    })
}

fn means(runs: &[Answered]) -> Means {
    let mean = |value: fn(&Score) -> f64| {
        runs.iter().map(|(score, _)| value(score)).sum::<f64>() / runs.len() as f64
    };
    let is_known = runs.iter().any(|(score, _)| !score.at_chance);
    Means {
        bits_per_byte: mean(|score| score.bits_per_byte.mean),
        accuracy: is_known.then(|| mean(|score| score.accuracy.mean)),
    }
}

/// Takes the mean of means over different items; each task counts alike.
fn average(means: &[Mean]) -> Option<Mean> {
    let n = means.len() as f64;
    let errors: Option<Vec<f64>> = means.iter().map(|mean| mean.standard_error).collect();
    (!means.is_empty()).then(|| Mean {
        mean: means.iter().map(|mean| mean.mean).sum::<f64>() / n,
        standard_error: errors
            .map(|errors| errors.iter().map(|error| error * error).sum::<f64>().sqrt() / n),
    })
}

impl Pair {
    /// Says in a sentence what the pair shows, and no more than that.
    pub fn verdict(&self) -> String {
        let saved = self.bits_saved;
        let alike = match self.equal {
            Equal::InferenceFlops => format!(
                "At equal inference FLOPs ({:.3e} and {:.3e} a token)",
                self.dlcm.inference_flops, self.dense.inference_flops
            ),
            Equal::Loss => format!(
                "At equal loss ({:.3} and {:.3}), with {:.0}% fewer inference FLOPs",
                self.dlcm.loss,
                self.dense.loss,
                100.0 * (1.0 - self.dlcm.inference_flops / self.dense.inference_flops)
            ),
        };
        let found = match saved.two_errors() {
            Some(error) if saved.mean.abs() > error => {
                let (size, what) = (
                    saved.mean.abs(),
                    if saved.mean > 0.0 { "fewer" } else { "more" },
                );
                format!(
                    "the hierarchical model needs {size:.3} [{:.3}, {:.3}] bits per byte {what} than the dense one, on \
                     the mean over tasks",
                    size - error,
                    size + error
                )
            }
            Some(error) => format!(
                "the two do not differ beyond two standard errors on the mean over tasks ({:.3} [{:.3}, {:.3}] bits per \
                 byte saved)",
                saved.mean,
                saved.mean - error,
                saved.mean + error
            ),
            None => "a single item tells of no difference".to_owned(),
        };
        format!("{alike} {found}.")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use experiment::tasks::{Item, Kind, Scored, Task};
    use scaling_law::analysis::simulated;

    /// Answers to a task of 40 items, each with so many bits for each byte.
    fn answers(bits: f64) -> (Score, Vec<Answer>) {
        let scored = |bits: f64| Scored {
            log_likelihood: -bits * std::f64::consts::LN_2,
            tokens: 1,
            bytes: 1,
            is_greedy: false,
            truncated: 0,
        };
        let answer = |item: usize| Answer {
            // Items differ, models by the same on each.
            candidates: vec![scored(bits + item as f64 / 40.0), scored(9.0)],
            gold: 0,
        };
        let item = Item {
            contexts: vec!["c".into()],
            continuations: vec!["x".into(), "y".into()],
            gold: 0,
        };
        let task = Task {
            name: "t".into(),
            kind: Kind::MultipleChoice,
            shots: 0,
            delimiter: String::new(),
            items: vec![item; 40],
        };
        let answers: Vec<Answer> = (0..40).map(answer).collect();
        (Score::of(&task, &answers).expect("items"), answers)
    }

    fn compared(runs: &[RunRecord]) -> Comparison {
        answered(runs).comparison
    }

    /// Answers of runs, of which those with concepts need a quarter of a bit less.
    fn answered(runs: &[RunRecord]) -> Answers {
        let bits = |run: &RunRecord| if run.has_concepts() { 1.0 } else { 1.25 };
        let of_run = |run: &RunRecord| answers(bits(run));
        let scores = runs.iter().map(|run| {
            let scores = Scores {
                tasks: vec![of_run(run).0],
                texts: Vec::new(),
            };
            (run.id.clone(), scores)
        });
        Answers::of(runs, scores.collect(), &|id| {
            let run = runs.iter().find(|run| run.id == *id)?;
            Some(Items::from([("t".to_owned(), of_run(run).1)]))
        })
    }

    /// The same of models of one loss, so that there are some to compare.
    pub(crate) fn of_alike(runs: &[RunRecord]) -> Answers {
        let mut runs = runs.to_vec();
        let loss = runs[0].loss;
        runs.iter_mut().for_each(|run| run.loss = loss);
        answered(&runs)
    }

    #[test]
    fn models_are_compared_where_they_are_alike() {
        let runs = simulated::QUICK.runs();
        let comparison = compared(&runs);
        let pairs = comparison
            .at_equal_flops
            .iter()
            .chain(&comparison.at_equal_loss);
        for pair in pairs {
            assert!((pair.bits_saved.mean - 0.25).abs() < 1e-12);
            // The same on every item, and so without doubt.
            assert!(pair.bits_saved.standard_error.expect("items") < 1e-12);
            assert!(is_within(
                pair.dlcm.tokens as f64,
                pair.dense.tokens as f64,
                EQUAL_TOKENS
            ));
            let flops = pair.dlcm.inference_flops / pair.dense.inference_flops;
            match pair.equal {
                Equal::InferenceFlops => assert!(is_within(flops, 1.0, EQUAL_FLOPS)),
                Equal::Loss => {
                    assert!(is_within(pair.dlcm.loss, pair.dense.loss, EQUAL_LOSS) && flops < 1.0)
                }
            }
        }
        // What there is no pair for is said.
        let pairs = [&comparison.at_equal_flops, &comparison.at_equal_loss];
        let missing = pairs.iter().filter(|pairs| pairs.is_empty()).count();
        assert!(comparison.remarks.len() >= missing, "{comparison:?}");
        let without: Vec<RunRecord> = runs.into_iter().filter(RunRecord::has_concepts).collect();
        let alone = compared(&without);
        assert!(alone.remarks[0].contains("no dense model"), "{alone:?}");
    }

    #[test]
    fn a_pair_says_what_it_shows_and_no_more() {
        let comparison = of_alike(&simulated::QUICK.runs()).comparison;
        let pair = comparison.at_equal_loss.first().expect("all are alike");
        let verdict = pair.verdict();
        assert!(verdict.starts_with("At equal loss"), "{verdict}");
        assert!(
            verdict.contains("needs 0.250 [0.250, 0.250] bits per byte fewer"),
            "{verdict}"
        );
        let none = Pair {
            bits_saved: Mean {
                mean: 0.01,
                standard_error: Some(0.02),
            },
            ..pair.clone()
        };
        assert!(
            none.verdict()
                .contains("do not differ beyond two standard errors")
        );
    }
}
