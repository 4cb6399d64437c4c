//! Scores of runs in place of their losses, for laws of them.

use super::AskError;
use campaign::store::RunRecord;
use experiment::run::RunId;
use experiment::spelling::nearest;
use experiment::tasks::{Score, Scores};
use scaling_law::study::TaskScore;
use std::collections::{BTreeMap, BTreeSet};

/// The scores that fall towards a floor as losses do, which the laws are made for.
const FALLING: [&str; 2] = [".bits_per_byte", ".loss"];

/// Puts a score in place of each run's loss; what else belongs to losses goes. Returns what the runs answer to the task
/// that it is of; nothing where it is of a text.
///
/// # Errors
/// When no run has this score, or it is one that laws are not made for.
pub(super) fn take(
    runs: &mut [RunRecord],
    scores: &BTreeMap<RunId, Scores>,
    target: &str,
) -> Result<Vec<(RunId, TaskScore)>, AskError> {
    let known: BTreeSet<String> = scores
        .values()
        .flat_map(Scores::numbers)
        .map(|(name, _)| name)
        .filter(|name| is_falling(name))
        .collect();
    if !known.contains(target) {
        return Err(AskError::Target(unknown(target, &known)));
    }
    let task = target.strip_suffix(FALLING[0]);
    let subject = FALLING
        .iter()
        .find_map(|ending| target.strip_suffix(ending));
    let digests = scores.values().flat_map(|scores| {
        let tasks = scores
            .tasks
            .iter()
            .map(|score| (&score.task, &score.digest));
        let texts = scores.texts.iter().map(|text| (&text.text, &text.digest));
        tasks.chain(texts)
    });
    let digests = digests.filter(|(name, _)| Some(name.as_str()) == subject);
    let digests: BTreeSet<&String> = digests.map(|(_, digest)| digest).collect();
    if digests.len() > 1 {
        return Err(AskError::Target(format!(
            "runs have answered {} versions of `{}`, which cannot be compared: `orchestrator evaluate` asks anew those \
             whose weights are kept",
            digests.len(),
            subject.unwrap_or_default()
        )));
    }
    let mut answered = Vec::new();
    for run in runs {
        let of_run = scores.get(&run.id);
        run.loss = of_run.and_then(|scores| {
            let mut numbers = scores.numbers();
            numbers
                .find(|(name, _)| name == target)
                .map(|(_, value)| value)
        });
        run.concept_gain = None;
        if let Some(spec) = run.spec.model_mut() {
            // A floor of losses in nats per token.
            spec.facts.entropy_floor = None;
        }
        let score = of_run.and_then(|scores| scores.tasks.iter().find(|s| Some(&*s.task) == task));
        let score = score.and_then(|score| task_score(score, run));
        answered.extend(score.map(|score| (run.id.clone(), score)));
    }
    Ok(answered)
}

fn task_score(score: &Score, run: &RunRecord) -> Option<TaskScore> {
    Some(TaskScore {
        bits_per_byte: score.bits_per_byte.mean,
        accuracy: score.accuracy.mean,
        chance: score.chance,
        at_chance: score.at_chance,
        flops: run.flops?,
    })
}

fn is_falling(name: &str) -> bool {
    FALLING.iter().any(|ending| name.ends_with(ending))
}

fn unknown(target: &str, known: &BTreeSet<String>) -> String {
    let names = || known.iter().map(String::as_str);
    if let Some(task) = target.strip_suffix(".accuracy") {
        return format!(
            "laws are of what falls towards a floor: fit `{task}.bits_per_byte`, and `orchestrator predict --target \
             {task}.bits_per_byte --accuracy` says what accuracy goes with it"
        );
    }
    match nearest(target, names()) {
        _ if known.is_empty() => format!(
            "no run has the score `{target}`: none was asked (`orchestrator evaluate EXPERIMENT --tasks DIR`)"
        ),
        Some(meant) => format!("no run has the score `{target}`: did you mean `{meant}`?"),
        None => format!(
            "no run has the score `{target}`; there are {}",
            names().collect::<Vec<_>>().join(", ")
        ),
    }
}
