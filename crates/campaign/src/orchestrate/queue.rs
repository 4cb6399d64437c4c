//! What is to train, and in which order it can.

use crate::store::RunRecord;
use experiment::folder::{CHECKPOINT, END, ResultsFolder};
use experiment::grid::Order;
use experiment::plan::{Run, costs_to_the_end};
use experiment::run::{RunId, RunOutcome, RunState};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Instant;

/// Lists the planned runs that are to train: those that have not ended, and those whose end state
/// is lost though such a run goes on from it. A run that failed is to train once it is made
/// eligible again.
pub fn to_do<'a>(
    planned: &'a [Run],
    stored: &HashMap<RunId, RunRecord>,
    results: &Path,
) -> Vec<&'a Run> {
    let has = |run: &RunId, file| ResultsFolder(results).run(run).join(file).exists();
    let mut awaited: HashSet<&RunId> = HashSet::new();
    let mut to_do = Vec::new();
    // A run stands after the one it goes on from.
    for run in planned.iter().rev() {
        let ended = stored
            .get(&run.id)
            .filter(|record| record.state == RunState::Ended);
        let needed = match ended.and_then(|record| record.outcome) {
            None => true,
            Some(RunOutcome::Finished) => awaited.contains(&run.id) && !has(&run.id, END),
            Some(_) => false,
        };
        if needed {
            if let (Some(start), false) = (run.work.start(), has(&run.id, CHECKPOINT)) {
                awaited.insert(&start.run);
            }
            to_do.push(run);
        }
    }
    to_do.reverse();
    to_do
}

/// Puts runs, which stand after those they go on from, into the order in which they start where they
/// can, the first last; those in `first` before all others.
pub fn by_urgency<'a>(to_do: &[&'a Run], order: Order, first: &[RunId]) -> Vec<&'a Run> {
    // What the whole row of runs that go on from it costs, so that none is left alone.
    let costs = match order {
        Order::Longest => costs_to_the_end(to_do, Run::amount),
        Order::Shortest => to_do.iter().map(|run| -run.amount()).collect(),
        Order::File => (0..to_do.len()).map(|place| -(place as f64)).collect(),
    };
    let mut waiting: Vec<(bool, f64, &Run)> = costs
        .into_iter()
        .zip(to_do)
        .map(|(cost, run)| (first.contains(&run.id), cost, *run))
        .collect();
    waiting.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    waiting.into_iter().map(|(.., run)| run).collect()
}

/// Finds the stored runs that wait for nothing that would come by itself: the run they go on from,
/// directly or not, has failed. Gives that run for each.
pub fn blocked_by<S>(stored: &[RunRecord<S>]) -> HashMap<RunId, RunId> {
    let mut blocked: HashMap<RunId, RunId> = HashMap::new();
    let failed: HashSet<&RunId> = stored
        .iter()
        .filter(|run| run.state == RunState::Ended && run.outcome != Some(RunOutcome::Finished))
        .map(|run| &run.id)
        .collect();
    // A run stands after the one it goes on from.
    for run in stored.iter().filter(|run| run.state == RunState::Pending) {
        let Some(start) = &run.start_run else {
            continue;
        };
        let by = if failed.contains(start) {
            Some(start.clone())
        } else {
            blocked.get(start).cloned()
        };
        if let Some(by) = by {
            blocked.insert(run.id.clone(), by);
        }
    }
    blocked
}

/// A run that cannot start, since the run it goes on from came to no end.
pub(super) struct Blocked<'a> {
    pub(super) run: &'a Run,
    /// The run it goes on from.
    pub(super) start: &'a RunId,
    /// How that ended.
    pub(super) outcome: RunOutcome,
}

/// The runs that wait for a place, for their time, or for the run they go on from.
pub(super) struct Queue<'a> {
    /// The most urgent last.
    waiting: Vec<&'a Run>,
    /// Runs that start no earlier.
    later: HashMap<RunId, Instant>,
    /// Runs that are to end: those that wait and those that train.
    open: HashSet<RunId>,
    /// Of these, those that were taken and have not come back.
    under_way: HashMap<RunId, &'a Run>,
    /// Whether runs are taken before the one they go on from has ended, once that is taken: whoever trains them
    /// waits for it.
    ahead: bool,
    /// How those ended from which none can go on.
    broken: HashMap<RunId, RunOutcome>,
    /// Whether one broke since runs were last looked through for those it blocks.
    breaking: bool,
}

impl<'a> Queue<'a> {
    /// Queues runs, which stand after those they go on from; those in `first` before all others.
    pub(super) fn new(to_do: &[&'a Run], order: Order, first: &[RunId], ahead: bool) -> Self {
        Self {
            waiting: by_urgency(to_do, order, first),
            later: HashMap::new(),
            open: to_do.iter().map(|run| run.id.clone()).collect(),
            under_way: HashMap::new(),
            ahead,
            broken: HashMap::new(),
            breaking: false,
        }
    }

    /// Counts the runs that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Says whether the time of a run is still to come.
    pub(super) fn has_later(&self, now: Instant) -> bool {
        self.later.values().any(|at| *at > now)
    }

    /// Takes the most urgent run that can start and that `fits`.
    pub(super) fn next(&mut self, now: Instant, fits: impl Fn(&Run) -> bool) -> Option<&'a Run> {
        let can_start = |run: &&Run| {
            let start = run.work.start();
            let goes_on = start.is_none_or(|start| {
                let is_near = self.ahead && self.under_way.contains_key(&start.run);
                let is_done = is_near || !self.open.contains(&start.run);
                is_done && !self.broken.contains_key(&start.run)
            });
            goes_on && self.later.get(&run.id).is_none_or(|at| *at <= now) && fits(run)
        };
        let place = self.waiting.iter().rposition(can_start)?;
        let run = self.waiting.remove(place);
        self.later.remove(&run.id);
        self.under_way.insert(run.id.clone(), run);
        Some(run)
    }

    /// Finds the runs that were taken ahead of one that came to no end.
    pub(super) fn stranded(&self) -> Vec<&'a Run> {
        let is_stranded = |run: &&Run| {
            let start = run.work.start();
            start.is_some_and(|start| self.broken.contains_key(&start.run))
        };
        if self.broken.is_empty() || !self.ahead {
            return Vec::new();
        }
        self.under_way
            .values()
            .copied()
            .filter(is_stranded)
            .collect()
    }

    /// Finds a run that was taken and has not come back.
    pub(super) fn taken(&self, run: &RunId) -> Option<&'a Run> {
        self.under_way.get(run).copied()
    }

    /// Takes out a run that was taken before.
    pub(super) fn adopt(&mut self, run: &RunId) -> bool {
        let found = self.withdraw(run);
        if let Some(run) = found {
            self.under_way.insert(run.id.clone(), run);
        }
        found.is_some()
    }

    /// Queues a run again, to start no earlier than `at`.
    pub(super) fn again(&mut self, run: &'a Run, at: Instant) {
        self.under_way.remove(&run.id);
        self.later.insert(run.id.clone(), at);
        self.waiting.push(run);
    }

    /// Queues a run that has ended again, since another needs what it has lost; false when it is
    /// queued or trained already.
    pub(super) fn reopen(&mut self, run: &'a Run) -> bool {
        let is_new = self.open.insert(run.id.clone());
        if is_new {
            self.broken.remove(&run.id);
            self.waiting.push(run);
        }
        is_new
    }

    /// Takes out a run that waits.
    pub(super) fn withdraw(&mut self, run: &RunId) -> Option<&'a Run> {
        let place = self.waiting.iter().position(|waiting| waiting.id == *run)?;
        self.later.remove(run);
        Some(self.waiting.remove(place))
    }

    /// Takes note of how a run ended.
    pub(super) fn ended(&mut self, run: &RunId, outcome: RunOutcome) {
        self.open.remove(run);
        self.under_way.remove(run);
        if outcome != RunOutcome::Finished {
            self.broken.insert(run.clone(), outcome);
            self.breaking = true;
        }
    }

    /// Takes out a run that cannot start any more, as if it had ended like the one before it.
    pub(super) fn blocked(&mut self) -> Option<Blocked<'a>> {
        if !self.breaking {
            return None;
        }
        let found = self.waiting.iter().enumerate().find_map(|(place, run)| {
            let start = &run.work.start()?.run;
            Some((place, start, *self.broken.get(start)?))
        });
        let Some((place, start, outcome)) = found else {
            self.breaking = false;
            return None;
        };
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
    use experiment::run::Part;
    use std::time::Duration;

    /// A trunk of two pieces with a branch at each, and a dense run of its own length.
    fn planned() -> Vec<Run> {
        experiment::plan::example::runs(
            "grid: {params: 0.2M, tokens: [409600, 819200], concept_share: 0.5, \
             compression_ratio: 4}\ntraining: {branches: true}",
        )
    }

    fn finished(run: &Run) -> RunRecord {
        let spec = run.work.model().expect("a model");
        let architecture = &spec.architecture;
        let params = architecture.params();
        RunRecord {
            id: run.id.clone(),
            spec: run.work.clone(),
            part: run.part(),
            start_run: None,
            state: RunState::Ended,
            kind: experiment::architecture::ModelKind::Dlcm,
            params: Some(params.non_embedding()),
            tokens: Some(spec.recipe.tokens),
            concept_share: params.concept_share(),
            compression_ratio: architecture.compression_ratio(),
            realised_ratio: Some(4.0),
            realised_sampled: Some(4.0),
            realised_training: Some(4.0),
            seed: 0,
            loss: Some(1.0),
            bits_per_byte: None,
            flops: run.flops,
            planned_flops: run.flops,
            concept_gain: None,
            boundary_gain: None,
            outcome: Some(RunOutcome::Finished),
            message: None,
            retries: 0,
            micro_batch: None,
            axes: run.axes.clone(),
        }
    }

    fn queue(planned: &[Run]) -> Queue<'_> {
        Queue::new(
            &planned.iter().collect::<Vec<_>>(),
            Order::Longest,
            &[],
            false,
        )
    }

    fn end_state(step: u64) -> impl Fn(&Run) -> bool {
        move |run| run.part() == Part::Trunk && run.work.steps() == Some(step)
    }

    #[test]
    fn branches_start_when_their_piece_has_ended() {
        let planned = planned();
        let mut queue = queue(&planned);
        let first = queue.next(Instant::now(), |_| true).expect("the trunk");
        assert!(end_state(80)(first));
        assert!(
            queue.next(Instant::now(), |_| true).is_none(),
            "all others wait for it"
        );
        queue.ended(&first.id, RunOutcome::Finished);
        let second = queue
            .next(Instant::now(), |_| true)
            .expect("the trunk goes on before a branch");
        assert!(end_state(160)(second));
        let branch = queue
            .next(Instant::now(), |_| true)
            .expect("a branch beside it");
        assert_eq!(branch.work.start().expect("a start").step, 80);
        assert!(queue.next(Instant::now(), |_| true).is_none());
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
    fn a_run_may_start_now_or_later_and_nothing_falls_between() {
        let planned = planned();
        let mut queue = queue(&planned);
        let first = queue.next(Instant::now(), |_| true).expect("the trunk");
        let at = Instant::now() + Duration::from_secs(5);
        queue.again(first, at);
        let before = at - Duration::from_nanos(1);
        assert!(queue.has_later(before) && queue.next(before, |_| true).is_none());
        assert!(!queue.has_later(at) && queue.next(at, |_| true).is_some());
    }

    #[test]
    fn what_follows_a_broken_trunk_is_blocked_all_the_way() {
        let planned = planned();
        let mut queue = queue(&planned);
        let first = queue.next(Instant::now(), |_| true).expect("the trunk");
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
                .map(|run| (run.part(), run.work.tokens().expect("known") as u64 / 4096))
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
        let keep = |run: &Run, file: &str| {
            let folder = ResultsFolder(folder.path()).run(&run.id);
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join(file), "").expect("written");
        };
        keep(&planned[0], END);
        assert_eq!(parts(&stored), [all[1], all[3]]);
        // So does a checkpoint of the branch's own.
        keep(&planned[3], CHECKPOINT);
        assert_eq!(parts(&stored), [all[3]]);
    }

    #[test]
    fn runs_start_in_the_order_asked_for_when_they_fit_and_not_too_early() {
        let text = "grid: {params: [0.2M, 0.4M, 0.8M], tokens: 409600, concept_share: 0.5, \
                    compression_ratio: 4}";
        let planned = experiment::plan::example::runs(text);
        let all: Vec<&Run> = planned.iter().collect();
        let order = |order, first: &[RunId]| -> Vec<usize> {
            let mut queue = Queue::new(&all, order, first, false);
            let runs = std::iter::from_fn(|| queue.next(Instant::now(), |_| true));
            runs.filter_map(|run| planned.iter().position(|other| other.id == run.id))
                .collect()
        };
        assert_eq!(order(Order::Longest, &[]), [2, 1, 0]);
        assert_eq!(order(Order::Shortest, &[]), [0, 1, 2]);
        assert_eq!(order(Order::File, &[]), [0, 1, 2]);
        let first = [planned[1].id.clone()];
        assert_eq!(order(Order::Longest, &first), [1, 2, 0]);

        let mut queue = queue(&planned);
        let small = queue.next(Instant::now(), |run| run.flops < planned[1].flops);
        assert_eq!(small.expect("it fits").id, planned[0].id);
        queue.again(
            &planned[0],
            Instant::now() + std::time::Duration::from_secs(600),
        );
        assert!(queue.has_later(Instant::now()));
        let ids: Vec<_> = std::iter::from_fn(|| queue.next(Instant::now(), |_| true)).collect();
        assert_eq!(ids.len(), 2, "the third waits");
        assert_eq!(
            queue.withdraw(&planned[0].id).map(|run| &run.id),
            Some(&planned[0].id)
        );
        assert!(!queue.has_later(Instant::now()));
    }
}
