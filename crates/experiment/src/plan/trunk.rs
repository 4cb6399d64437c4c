//! Runs that differ only in tokens and decay become branches of one trunk.
//!
//! With a warmup of as many steps, such runs are one and the same training until the first of them
//! decays. So that is trained once: the trunk, in pieces, each of which ends where a branch leaves
//! it, keeps its whole state there and goes on from the piece before. A piece and a branch are what
//! a run of their own from the first step would be, to the last bit: where they go on from is how
//! they are carried out, not what they are. Hence a longer D adds a piece and a branch to those
//! there are, and a D in between trains again only what lies between two pieces.
//!
//! # Source
//! Hägele et al., arXiv 2405.18392.

use super::Declared;
use crate::grid::GridError;
use crate::recipe::Schedule;
use crate::run::{Evaluation, RunId, RunSpec, Start};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The trunk of some runs.
struct Trunk {
    /// Steps of the shortest run, of which the warmup is a share.
    shortest: u64,
    /// Steps after which branches leave.
    leaves: BTreeSet<u64>,
    /// The pieces that end there; none before they are planned.
    pieces: BTreeMap<u64, RunId>,
    /// The axis values that all its runs share.
    axes: BTreeMap<String, String>,
}

/// Puts the trunk's pieces before the first of its branches, and lets the runs branch off them.
///
/// # Errors
/// When a run is too short to have both a stable phase and a decay.
pub(super) fn branch(declared: Vec<Declared>) -> Result<Vec<Declared>, GridError> {
    let mut trunks: Vec<Trunk> = Vec::new();
    let mut places: HashMap<RunId, usize> = HashMap::new();
    let mut runs = Vec::with_capacity(declared.len());
    for run in declared {
        let (steps, leaves) = (steps(&run.spec), leaves(&run)?);
        let place = *places.entry(stem(&run.spec)).or_insert(trunks.len());
        if place == trunks.len() {
            trunks.push(Trunk {
                shortest: steps,
                leaves: BTreeSet::new(),
                pieces: BTreeMap::new(),
                axes: run.axes.clone(),
            });
        }
        let trunk = &mut trunks[place];
        trunk.shortest = trunk.shortest.min(steps);
        trunk.leaves.insert(leaves);
        let common = |name: &String, value: &mut String| run.axes.get(name) == Some(value);
        trunk.axes.retain(common);
        runs.push((run, place, leaves));
    }
    let mut planned = Vec::with_capacity(2 * runs.len());
    for (mut run, place, leaves) in runs {
        let trunk = &mut trunks[place];
        let warmup = run.spec.recipe.schedule.warmup_steps(trunk.shortest);
        if trunk.pieces.is_empty() {
            planned.extend(trunk.plan(&run, warmup));
        }
        let steps = steps(&run.spec);
        lengthen(&mut run.spec.recipe.schedule, warmup, steps);
        run.spec.execution.start = Some(Start {
            run: trunk.pieces[&leaves].clone(),
            step: leaves,
        });
        planned.push(run);
    }
    Ok(planned)
}

impl Trunk {
    /// Plans the pieces of the trunk of which `run` is a branch.
    fn plan(&mut self, run: &Declared, warmup: u64) -> Vec<Declared> {
        let mut start = None;
        let mut planned = Vec::with_capacity(self.leaves.len());
        for &step in &self.leaves {
            let mut spec = run.spec.clone();
            spec.recipe.tokens = step * tokens_per_step(&spec);
            spec.recipe.schedule.decay = 0.0;
            spec.recipe.schedule.final_share = 0.0;
            lengthen(&mut spec.recipe.schedule, warmup, step);
            spec.execution.start = start;
            spec.execution.keeps_end = true;
            spec.execution.evaluation = Evaluation::default();
            let id = spec.id();
            self.pieces.insert(step, id.clone());
            start = Some(Start { run: id, step });
            planned.push(Declared {
                spec,
                axes: self.axes.clone(),
                asked: None,
                straying: run.straying,
                location: run.location.clone(),
            });
        }
        planned
    }
}

fn tokens_per_step(run: &RunSpec) -> u64 {
    (run.recipe.batch * run.architecture.seq_len()) as u64
}

fn steps(run: &RunSpec) -> u64 {
    run.recipe.steps(run.architecture.seq_len())
}

/// Finds what a run has in common with the others of its trunk.
fn stem(run: &RunSpec) -> RunId {
    let mut stem = run.clone();
    stem.recipe.tokens = 0;
    stem.recipe.schedule.decay = 0.0;
    stem.recipe.schedule.final_share = 0.0;
    stem.id()
}

/// Counts the steps after which a run leaves its trunk.
fn leaves(run: &Declared) -> Result<u64, GridError> {
    let steps = steps(&run.spec);
    let decay = run.spec.recipe.schedule.decay_steps(steps);
    if decay == 0 || decay >= steps {
        return Err(run.location.error(
            format!("a run of {steps} steps with a decay of {decay} cannot be a branch"),
            "a branch has steps before its decay and in it: give more `tokens`, another \
             `training.decay`, or leave `training.branches` out",
        ));
    }
    Ok(steps - decay)
}

/// Makes the warmup so many steps of a run of `steps`.
///
/// The share as declared is kept where it comes to that: such a run is the one it is alone.
fn lengthen(schedule: &mut Schedule, warmup: u64, steps: u64) {
    if schedule.warmup_steps(steps) != warmup {
        schedule.warmup = warmup as f64 / steps as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::planned;
    use super::*;
    use crate::run::Part;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn grid(tokens: &str, rest: &str) -> String {
        format!(
            "grid: {{params: 0.2M, tokens: {tokens}, concept_share: 0.5, compression_ratio: 4}}\n\
             training: {{branches: true, {rest}}}"
        )
    }

    /// Part, end and start, in steps.
    fn lengths(text: &str) -> Vec<(Part, u64, u64)> {
        let runs = planned(text);
        let lengths = runs.iter().map(|run| {
            let start = run.spec.execution.start.as_ref();
            let step = start.map_or(0, |start| start.step);
            (run.part(), steps(&run.spec), step)
        });
        lengths.collect()
    }

    #[test]
    fn a_trunk_comes_before_its_branches_and_is_paid_once() {
        // 4096 tokens a step: 100, 200 and 50 steps.
        let text = grid("[409600, 819200, 204800]", "");
        assert_eq!(
            lengths(&text),
            [
                (Part::Trunk, 40, 0),
                (Part::Trunk, 80, 40),
                (Part::Trunk, 160, 80),
                (Part::Branch, 100, 80),
                (Part::Branch, 200, 160),
                (Part::Branch, 50, 40),
            ]
        );
        let runs = planned(&text);
        let trained: f64 = runs.iter().map(|run| run.flops).sum();
        let longest = runs[4].model_flops();
        assert!((trained / longest - (160.0 + 20.0 + 40.0 + 10.0) / 200.0).abs() < 1e-12);
        for run in &runs {
            // 5% of the 50 steps of the shortest run; the decay is each run's own.
            let (schedule, steps) = (&run.spec.recipe.schedule, steps(&run.spec));
            assert_eq!(schedule.warmup_steps(steps), 3);
            let decay = match run.part() {
                Part::Branch => steps / 5,
                _ => 0,
            };
            assert_eq!(schedule.decay_steps(steps), decay);
            if let Some(start) = &run.spec.execution.start {
                let before = runs.iter().find(|other| other.id == start.run);
                assert_eq!(before.map(|run| super::steps(&run.spec)), Some(start.step));
            }
            assert_eq!(run.axes.contains_key("tokens"), run.part() == Part::Branch);
        }
        assert_eq!(
            (runs[3].epochs - 409_600.0 / 500_000.0).abs(),
            0.0,
            "passes count from the trunk's beginning"
        );
    }

    #[test]
    fn decays_of_one_length_leave_one_trunk() {
        let text = grid("819200", "decay: [0.1, 0.2], final_rate: [0, 0.1]");
        assert_eq!(
            lengths(&text),
            [
                (Part::Trunk, 160, 0),
                (Part::Trunk, 180, 160),
                (Part::Branch, 200, 180),
                (Part::Branch, 200, 180),
                (Part::Branch, 200, 160),
                (Part::Branch, 200, 160),
            ]
        );
    }

    #[test]
    fn other_settings_have_a_trunk_of_their_own() {
        let text =
            grid("[409600, 819200]", "learning_rate: [1e-3, 2e-3]") + "\nbaselines: {params: 0.2M}";
        let trunks: Vec<_> = lengths(&text);
        let trunks = trunks.iter().filter(|run| run.0 == Part::Trunk).count();
        assert_eq!((trunks, lengths(&text).len()), (2 * 2 * 2, 2 * 2 * 2 * 2));
    }

    #[test]
    fn the_shortest_branch_is_the_run_it_is_alone() {
        let alone =
            "grid: {params: 0.2M, tokens: 409600, concept_share: 0.5, compression_ratio: 4}";
        let branched = planned(&grid("[819200, 409600]", ""));
        let shortest = branched.last().expect("runs");
        assert_eq!(planned(alone)[0].id, shortest.id);
    }

    #[test]
    fn too_short_runs_are_refused() {
        for (tokens, decay) in [("8192", "0.1"), ("8192", "1.0")] {
            let text = grid(tokens, &format!("warmup: 0, decay: {decay}"));
            let experiment = crate::grid::parse("t.yaml", &text).expect("valid");
            let facts = super::super::example::facts();
            let error = super::super::plan(&experiment, &|_| Some(facts.clone()))
                .expect_err("no stable phase or no decay");
            assert!(error.to_string().contains("cannot be a branch"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn more_tokens_keep_the_runs_there_were(
            shortest in 20u64..60, others in proptest::collection::vec(60u64..500, 0..4),
            more in 60u64..800,
        ) {
            let ids = |steps: &[u64]| -> HashSet<RunId> {
                let tokens: Vec<u64> = steps.iter().map(|steps| steps * 4096).collect();
                let text = grid(&format!("{tokens:?}"), "");
                planned(&text).into_iter().map(|run| run.id).collect()
            };
            let mut steps = vec![shortest];
            steps.extend(others);
            let before = ids(&steps);
            steps.push(more);
            let after = ids(&steps);
            prop_assert!(before.is_subset(&after));
            prop_assert!(after.len() - before.len() <= 2);
        }
    }
}
