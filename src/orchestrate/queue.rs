//! What is to train, and in which order it can.

use super::is_done;
use crate::event::{CHECKPOINT, END};
use crate::plan::{Planned, costs_to_the_end};
use crate::run::{RunId, RunOutcome};
use crate::store::RunRecord;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Finds a run's folder in a results folder.
pub(super) fn run_folder(results: &Path, run: &RunId) -> PathBuf {
    results.join("runs").join(&run.0)
}

/// Lists the planned runs that are to train: those without a result, and those whose end state is
/// lost though such a run goes on from it.
pub fn to_do<'a>(
    planned: &'a [Planned],
    stored: &HashMap<RunId, RunRecord>,
    results: &Path,
) -> Vec<&'a Planned> {
    let has = |run: &RunId, file| run_folder(results, run).join(file).exists();
    let mut awaited: HashSet<&RunId> = HashSet::new();
    let mut to_do = Vec::new();
    // A run stands after the one it goes on from.
    for run in planned.iter().rev() {
        let outcome = stored.get(&run.id).filter(|record| is_done(record));
        let needed = match outcome.and_then(|record| record.outcome) {
            None => true,
            Some(RunOutcome::Diverged) => false,
            Some(_) => awaited.contains(&run.id) && !has(&run.id, END),
        };
        if needed {
            if let (Some(start), false) = (&run.spec.execution.start, has(&run.id, CHECKPOINT)) {
                awaited.insert(&start.run);
            }
            to_do.push(run);
        }
    }
    to_do.reverse();
    to_do
}

/// A run that cannot start, since the run it goes on from came to no end.
pub(super) struct Blocked<'a> {
    pub(super) run: &'a Planned,
    /// The run it goes on from.
    pub(super) start: &'a RunId,
    /// How that ended.
    pub(super) outcome: RunOutcome,
}

/// The runs that wait for a place or for the run they go on from.
pub(super) struct Queue<'a> {
    /// The most urgent last.
    waiting: Vec<&'a Planned>,
    /// Runs that are to end: those that wait and those that train.
    open: HashSet<RunId>,
    /// How those ended from which none can go on.
    broken: HashMap<RunId, RunOutcome>,
}

impl<'a> Queue<'a> {
    /// Queues runs, which stand after those they go on from.
    pub(super) fn new(to_do: &[&'a Planned]) -> Self {
        // The longest row of runs first, so that none is left alone at the end.
        let costs = costs_to_the_end(to_do, |run| run.flops);
        let mut waiting: Vec<(f64, &Planned)> =
            costs.into_iter().zip(to_do.iter().copied()).collect();
        waiting.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self {
            waiting: waiting.into_iter().map(|(_, run)| run).collect(),
            open: to_do.iter().map(|run| run.id.clone()).collect(),
            broken: HashMap::new(),
        }
    }

    /// Counts the runs that have not started.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the most urgent run that can start.
    pub(super) fn next(&mut self) -> Option<&'a Planned> {
        let can_start = |run: &&Planned| match &run.spec.execution.start {
            Some(start) => !self.open.contains(&start.run) && !self.broken.contains_key(&start.run),
            None => true,
        };
        let place = self.waiting.iter().rposition(can_start)?;
        Some(self.waiting.remove(place))
    }

    /// Takes note of how a run ended.
    pub(super) fn ended(&mut self, run: &RunId, outcome: RunOutcome) {
        self.open.remove(run);
        if outcome != RunOutcome::Finished {
            self.broken.insert(run.clone(), outcome);
        }
    }

    /// Takes out a run that cannot start any more, as if it had ended like the one before it.
    pub(super) fn blocked(&mut self) -> Option<Blocked<'a>> {
        let (place, start, outcome) =
            self.waiting.iter().enumerate().find_map(|(place, run)| {
                let start = &run.spec.execution.start.as_ref()?.run;
                Some((place, start, *self.broken.get(start)?))
            })?;
        let run = self.waiting.remove(place);
        self.ended(&run.id, outcome);
        Some(Blocked {
            run,
            start,
            outcome,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Part, RunState};

    /// A trunk of two pieces with a branch at each, and a dense run of its own length.
    fn planned() -> Vec<Planned> {
        let text = "grid: {params: 0.2M, tokens: [409600, 819200], concept_share: 0.5, \
                    compression_ratio: 4}\ntraining: {branches: true}";
        let experiment = crate::grid::parse("t.yaml", text).expect("valid");
        let facts = crate::run::DataFacts {
            fingerprint: "f".into(),
            vocab: 512,
            train_tokens: 500_000,
            validation_tokens: 50_000,
            bytes_per_token: None,
            entropy_floor: None,
        };
        crate::plan::plan(&experiment, &|_| Some(facts.clone())).expect("plannable")
    }

    fn finished(run: &Planned) -> RunRecord {
        let architecture = &run.spec.architecture;
        let params = architecture.params();
        RunRecord {
            id: run.id.clone(),
            spec: run.spec.clone(),
            part: run.spec.execution.part(),
            start_run: None,
            state: RunState::Ended,
            kind: "dlcm".into(),
            params: params.non_embedding(),
            tokens: run.spec.recipe.tokens,
            concept_share: params.concept_share(),
            compression_ratio: architecture.compression_ratio(),
            realised_ratio: Some(4.0),
            realised_sampled: Some(4.0),
            seed: 0,
            loss: Some(1.0),
            bits_per_byte: None,
            flops: Some(run.flops),
            planned_flops: run.flops,
            concept_gain: None,
            boundary_gain: None,
            outcome: Some(RunOutcome::Finished),
            axes: run.axes.clone(),
        }
    }

    fn end_state(step: u64) -> impl Fn(&Planned) -> bool {
        move |run| {
            let steps = run.spec.recipe.steps(run.spec.architecture.seq_len());
            run.spec.execution.part() == Part::Trunk && steps == step
        }
    }

    #[test]
    fn branches_start_when_their_piece_has_ended() {
        let planned = planned();
        let mut queue = Queue::new(&planned.iter().collect::<Vec<_>>());
        let first = queue.next().expect("the trunk");
        assert!(end_state(80)(first));
        assert!(queue.next().is_none(), "all others wait for it");
        queue.ended(&first.id, RunOutcome::Finished);
        let second = queue.next().expect("the trunk goes on before a branch");
        assert!(end_state(160)(second));
        let branch = queue.next().expect("a branch beside it");
        assert_eq!(
            branch.spec.execution.start.as_ref().expect("a start").step,
            80
        );
        assert!(queue.next().is_none());
        queue.ended(&second.id, RunOutcome::Crashed);
        let blocked = queue.blocked().expect("the other branch");
        assert_eq!(
            (blocked.start, blocked.outcome),
            (&second.id, RunOutcome::Crashed)
        );
        assert!(queue.blocked().is_none());
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_follows_a_broken_trunk_is_blocked_all_the_way() {
        let planned = planned();
        let mut queue = Queue::new(&planned.iter().collect::<Vec<_>>());
        let first = queue.next().expect("the trunk");
        queue.ended(&first.id, RunOutcome::OutOfMemory);
        let mut blocked = 0;
        while queue.blocked().is_some() {
            blocked += 1;
        }
        assert_eq!((blocked, queue.len()), (3, 0));
    }

    #[test]
    fn a_lost_end_is_trained_again_only_when_it_is_needed() {
        let folder = tempfile::tempdir().expect("a folder");
        let planned = planned();
        let mut stored = HashMap::new();
        let parts = |stored: &HashMap<RunId, RunRecord>| -> Vec<(Part, u64)> {
            to_do(&planned, stored, folder.path())
                .iter()
                .map(|run| (run.spec.execution.part(), run.spec.recipe.tokens / 4096))
                .collect()
        };
        use Part::{Branch, Trunk};
        let all = [(Trunk, 80), (Trunk, 160), (Branch, 100), (Branch, 200)];
        assert_eq!(parts(&stored), all);
        for run in &planned {
            stored.insert(run.id.clone(), finished(run));
        }
        assert_eq!(parts(&stored), [], "ends that nobody needs may be deleted");
        stored.remove(&planned[3].id);
        assert_eq!(parts(&stored), [all[0], all[1], all[3]]);
        // The first piece's end spares the first piece.
        let keep = |run: &Planned, file: &str| {
            let folder = run_folder(folder.path(), &run.id);
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join(file), "").expect("written");
        };
        keep(&planned[0], END);
        assert_eq!(parts(&stored), [all[1], all[3]]);
        // So does a checkpoint of the branch's own.
        keep(&planned[3], CHECKPOINT);
        assert_eq!(parts(&stored), [all[3]]);
    }
}
