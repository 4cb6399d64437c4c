//! What is to be known of another trainer's runs before they train.

use campaign::store::RunRecord;
use experiment::external::{ExternalSpec, LossUnit, Quantities};
use experiment::grid::External;
use experiment::plan::Run;
use experiment::quantity::counted;
use experiment::run::{RunId, RunOutcome};
use std::collections::{HashMap, HashSet};

/// Largest distance of what a trainer reports from what its file says that is passed over, as a ratio.
const SILENT: f64 = 1.01;

/// Says whether what is reported is another quantity than what is declared.
pub(super) fn differ(reported: f64, declared: f64) -> bool {
    (reported / declared).max(declared / reported) > SILENT
}

/// Says what an experiment will not be that its file may lead one to expect: `known` are the runs stored.
pub(super) fn doubts(
    asked: &External,
    planned: &[Run],
    known: &HashMap<RunId, RunRecord>,
) -> Vec<String> {
    let mut doubts = Vec::new();
    let trainer = &asked.trainer;
    if trainer.code.is_empty() {
        doubts.push(
            "`trainer.code` names no files: when the trainer changes, what it has trained is not trained \
             again"
                .to_owned(),
        );
    }
    if trainer.loss_unit == LossUnit::BitsPerByte && trainer.bytes_per_token.is_none() {
        doubts.push(
            "losses are stored in nats per byte: `trainer.bytes_per_token` makes them nats per token"
                .to_owned(),
        );
    }
    doubts.extend(changed_code(planned, known));
    doubts.extend(differences(planned, known));
    doubts
}

/// Says that runs which were trained are asked for again, since the trainer's code is another.
fn changed_code(planned: &[Run], known: &HashMap<RunId, RunRecord>) -> Option<String> {
    let spec = |run: &Run| run.work.external().map(ExternalSpec::asked);
    let new: HashSet<String> = planned
        .iter()
        .filter(|run| !known.contains_key(&run.id))
        .filter_map(spec)
        .collect();
    let before = known.values().filter(|run| {
        let asked = run.spec.external().map(ExternalSpec::asked);
        run.outcome == Some(RunOutcome::Finished) && asked.is_some_and(|asked| new.contains(&asked))
    });
    match before.count() {
        0 => None,
        runs => Some(format!(
            "the trainer's code (`trainer.code`) has changed since {} finished: those stay stored, and train \
             again as new runs",
            counted(runs, "run")
        )),
    }
}

/// Says where what the trainer reported is not what the file says.
pub(super) fn differences(planned: &[Run], known: &HashMap<RunId, RunRecord>) -> Vec<String> {
    let mut said = Vec::new();
    for name in Quantities::NAMES {
        let far = planned.iter().filter_map(|run| {
            let declared = run.work.external()?.declared.get(name)?;
            let record = known.get(&run.id)?;
            let finished = record.outcome == Some(RunOutcome::Finished);
            let reported = match name {
                "params" => record.params.map(|n| n as f64),
                "tokens" => record.tokens.map(|n| n as f64),
                "flops" => record.planned_flops,
                "compression_ratio" => Some(record.compression_ratio),
                _ => Some(record.concept_share),
            };
            let reported = reported.filter(|_| finished)?;
            let ratio = (reported / declared).max(declared / reported);
            differ(reported, declared).then_some((ratio, reported, declared))
        });
        let far: Vec<(f64, f64, f64)> = far.collect();
        let worst = far.iter().max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((_, reported, declared)) = worst {
            said.push(format!(
                "`{name}` is another than the file says in {}: at worst {reported:.4e} reported, \
                 {declared:.4e} declared; what is reported is taken",
                counted(far.len(), "run")
            ));
        }
    }
    said
}
