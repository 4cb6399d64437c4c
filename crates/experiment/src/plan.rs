//! From an experiment and what its data turned out to be to the runs it asks for, with their cost.
//!
//! Pure: data have been read and the machine timed before. Refuses IO.

mod cost;
pub mod example;
mod external;
mod left;
mod rounding;
mod shapes;
mod trial;
mod trunk;

use crate::architecture::Architecture;
use crate::architecture::solver::{ShapeError, Straying};
use crate::flops::Convention;
use crate::grid::{Cell, CellKind, ControlSize, Experiment, GridError, Location, Size};
use crate::quantity::{MOST_TOKENS, Params, TokenBudget};
use crate::run::{DataFacts, DataSpec, Execution, Part, RunId, RunSpec};
use crate::work::Work;
use rayon::prelude::*;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use cost::{Cost, Costs, workloads};
pub use external::external;
pub use left::{Open, Pace, Task, makespan, seconds_left};
pub use rounding::rounding;
pub use shapes::{Exception, LevelRange, Shapes, shapes};
pub use trial::{Rates, trials};

/// A run that an experiment asks for.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its identity.
    pub id: RunId,
    /// What it is.
    pub spec: RunSpec,
    /// Whether it is asked for to find a learning rate.
    pub trial: bool,
    /// The axis values as written.
    pub axes: BTreeMap<String, String>,
    /// Training tokens that its cells ask for, before they are made whole steps; none where it is a
    /// piece of a trunk.
    pub asked: Vec<u64>,
    /// FLOPs of the steps it trains itself, at the declared ratio, convention `exact`, held-out
    /// evaluation not counted.
    pub flops: f64,
    /// Passes over the unique training tokens at its end.
    pub epochs: f64,
    /// Estimated peak memory of its process, bytes.
    pub memory: f64,
    /// How far its shape strays from the smooth proportions of its N.
    pub straying: Straying,
}

/// A run to carry out, whoever trains it.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its identity.
    pub id: RunId,
    /// What it carries out.
    pub work: Work,
    /// Whether it is asked for to find a learning rate.
    pub trial: bool,
    /// The axis values as written.
    pub axes: BTreeMap<String, String>,
    /// FLOPs of the steps it trains itself; `None` where nobody says.
    pub flops: Option<f64>,
    /// Estimated peak memory of its process, bytes.
    pub memory: f64,
}

impl From<&Planned> for Run {
    fn from(run: &Planned) -> Self {
        Self {
            id: run.id.clone(),
            work: run.spec.clone().into(),
            trial: run.trial,
            axes: run.axes.clone(),
            flops: Some(run.flops),
            memory: run.memory,
        }
    }
}

impl Run {
    /// Says which part of a training it carries out, and what for.
    pub fn part(&self) -> Part {
        self.work.part(self.trial)
    }

    /// How much there is to do: FLOPs, or one a run where nobody says how many.
    pub fn amount(&self) -> f64 {
        self.flops.unwrap_or(1.0)
    }

    /// Counts the tokens it trains on itself, where that is known: without those of the runs it goes on
    /// from.
    pub fn own_tokens(&self) -> Option<f64> {
        match self.work.model() {
            Some(spec) => Some(spec.own_tokens() as f64),
            None => self.work.tokens(),
        }
    }
}

impl Planned {
    /// Says which part of a training it carries out, and what for.
    pub fn part(&self) -> Part {
        self.spec.execution.part(self.trial)
    }

    /// Counts the training FLOPs of its model from the first step on, its trunk's included.
    pub fn model_flops(&self) -> f64 {
        self.flops * self.spec.recipe.tokens as f64 / self.spec.own_tokens() as f64
    }
}

/// Smallest and largest N that are tried when it is solved for.
const PARAMS_RANGE: (f64, f64) = (2e4, 1e13);

/// Halvings of ln N: the last interval is below a parameter.
const BISECTIONS: usize = 40;

/// Relative tolerance on a budget when N is solved for: shapes are integers.
const BUDGET_TOLERANCE: f64 = 0.02;

/// Plans every cell of an experiment; cells that come to the same run are planned once.
///
/// `facts` says what each data specification turned out to be.
///
/// # Errors
/// When a cell has no shape, or no N or D spends its budget; it points at the cell's source.
pub fn plan(
    experiment: &Experiment,
    facts: &(dyn Fn(&DataSpec) -> Option<DataFacts> + Sync),
) -> Result<Vec<Planned>, GridError> {
    let shapes = Solver {
        solved: Mutex::default(),
        convention: experiment.analysis.flops_convention,
    };
    let cells = experiment.cells.par_iter();
    let declared: Vec<_> = cells
        .map(|cell| declare(cell, experiment, facts, &shapes))
        .collect();
    // One after the other: the first error of the file is told.
    let mut declared = declared.into_iter().collect::<Result<Vec<_>, _>>()?;
    if experiment.branches {
        declared = trunk::branch(declared)?;
    }
    let runs: Vec<Planned> = declared.into_par_iter().map(Planned::from).collect();
    let mut places: HashMap<RunId, usize> = HashMap::with_capacity(runs.len());
    let mut planned: Vec<Planned> = Vec::with_capacity(runs.len());
    for run in runs {
        match places.entry(run.id.clone()) {
            Entry::Occupied(place) => planned[*place.get()].asked.extend(run.asked),
            Entry::Vacant(place) => {
                place.insert(planned.len());
                planned.push(run);
            }
        }
    }
    Ok(planned)
}

/// Finds what a cell asks for.
fn declare(
    cell: &Cell,
    experiment: &Experiment,
    facts: &(dyn Fn(&DataSpec) -> Option<DataFacts> + Sync),
    shapes: &Solver,
) -> Result<Declared, GridError> {
    let facts = facts(&cell.data).ok_or_else(|| {
        cell.location.error(
            "the data of this cell were not read",
            "this is a bug: report it",
        )
    })?;
    let (architecture, tokens) = match cell.kind {
        // Trained like the model whose token level it is, on as many tokens.
        CellKind::TokenOnly(ControlSize::Level {
            concept_share,
            compression_ratio,
        }) => {
            let kind = CellKind::Dlcm {
                concept_share,
                compression_ratio,
            };
            let whole = Cell {
                kind,
                ..cell.clone()
            };
            let (architecture, tokens) = shapes.size(&whole, facts.vocab)?;
            match architecture {
                Architecture::Dlcm(dlcm) => (Architecture::TokenOnly(dlcm.token_level()), tokens),
                other => (other, tokens),
            }
        }
        _ => shapes.size(cell, facts.vocab)?,
    };
    if tokens > MOST_TOKENS {
        return Err(cell.location.error(
            "this is a budget of more than 1e18 tokens",
            "give fewer `tokens` or `flops`, or more `params`",
        ));
    }
    let mut recipe = cell.recipe.clone();
    // Whole steps only, and never more than was asked for when that fills at least one.
    recipe.tokens = whole_steps(tokens, (recipe.batch * architecture.seq_len()) as u64);
    let straying = cell.shape.straying(&architecture);
    let spec = RunSpec {
        execution: Execution {
            micro_batch: experiment.execution.micro_batch.unwrap_or(recipe.batch),
            threads: experiment.execution.threads.unwrap_or(1),
            checkpoint_every: experiment.execution.checkpoint_every.get(),
            start: None,
            keeps_end: false,
            evaluation: experiment.evaluation.clone(),
        },
        architecture,
        data: cell.data.clone(),
        facts,
        recipe,
        seed: cell.seed,
    };
    Ok(Declared {
        spec,
        axes: cell.axes.iter().cloned().collect(),
        asked: Some(tokens),
        straying,
        location: cell.location.clone(),
    })
}

/// A run with what its file says of it.
struct Declared {
    spec: RunSpec,
    axes: BTreeMap<String, String>,
    /// Training tokens before they are made whole steps; none where no cell asks for it.
    asked: Option<u64>,
    straying: Straying,
    location: Location,
}

impl From<Declared> for Planned {
    fn from(declared: Declared) -> Self {
        let asked = declared.asked.into_iter().collect();
        Self::new(declared.spec, declared.axes, asked, declared.straying)
    }
}

impl Planned {
    fn new(
        spec: RunSpec,
        axes: BTreeMap<String, String>,
        asked: Vec<u64>,
        straying: Straying,
    ) -> Self {
        let ratio = spec.architecture.compression_ratio();
        let per_token = spec.architecture.training_flops(ratio, Convention::Exact);
        Self {
            id: spec.id(),
            trial: false,
            flops: per_token * spec.own_tokens() as f64,
            epochs: spec.recipe.tokens as f64 / spec.facts.train_tokens.max(1) as f64,
            memory: memory(&spec),
            axes,
            straying,
            asked,
            spec,
        }
    }
}

/// Computes, for each run, what it and the longest row of runs that go on from it cost together.
pub fn costs_to_the_end(planned: &[&Run], cost: impl Fn(&Run) -> f64) -> Vec<f64> {
    let mut after: HashMap<&RunId, f64> = HashMap::new();
    let mut costs = Vec::with_capacity(planned.len());
    // A run stands after the one it goes on from.
    for run in planned.iter().rev() {
        let whole = cost(run) + after.get(&run.id).unwrap_or(&0.0);
        if let Some(start) = run.work.start() {
            let longest = after.entry(&start.run).or_default();
            *longest = longest.max(whole);
        }
        costs.push(whole);
    }
    costs.reverse();
    costs
}

fn whole_steps(tokens: u64, step: u64) -> u64 {
    (tokens as f64 / step as f64).round().max(1.0) as u64 * step
}

/// Shapes that were solved, so that a large grid solves each once.
struct Solver {
    /// How a cell's `flops` are counted.
    convention: Convention,
    solved: Mutex<HashMap<String, Result<Architecture, ShapeError>>>,
}

impl Solver {
    /// Finds a cell's architecture and tokens, solving for what its budget leaves open.
    fn size(&self, cell: &Cell, vocab: usize) -> Result<(Architecture, u64), GridError> {
        if let Size::TokensFlops(tokens, flops) = cell.size {
            return self.spend(cell, tokens, flops.0, vocab);
        }
        let declared = cell.size.params();
        let architecture = self.solve(cell, declared, vocab).map_err(|error| {
            cell.location.error(
                error.to_string(),
                "change N or P, or free a width or depth that `model` fixes",
            )
        })?;
        let reached = Params(architecture.params().non_embedding());
        let tokens = match (cell.size.tokens(), cell.size.flops()) {
            (Some(tokens), _) => tokens.resolve(declared.unwrap_or(reached)).0,
            (None, flops) => {
                let ratio = architecture.compression_ratio();
                let per_token = architecture.training_flops(ratio, self.convention);
                (flops.map_or(0.0, |flops| flops.0) / per_token).round() as u64
            }
        };
        if tokens == 0 {
            return Err(cell.location.error(
                "the budget does not pay for a single token",
                "give more `flops`, or fewer `params`",
            ));
        }
        Ok((architecture, tokens))
    }

    /// Finds the N whose training on `tokens` spends `flops`, by bisection on ln N.
    fn spend(
        &self,
        cell: &Cell,
        tokens: TokenBudget,
        flops: f64,
        vocab: usize,
    ) -> Result<(Architecture, u64), GridError> {
        let convention = self.convention;
        let cost = |architecture: &Architecture, params: Params| {
            let ratio = architecture.compression_ratio();
            architecture.training_flops(ratio, convention) * tokens.resolve(params).0 as f64
        };
        let (mut low, mut high) = (PARAMS_RANGE.0.ln(), PARAMS_RANGE.1.ln());
        let mut best: Option<(f64, Architecture, Params)> = None;
        for _ in 0..BISECTIONS {
            let middle = 0.5 * (low + high);
            let params = Params(middle.exp().round() as u64);
            // Below what can be built at all there is nothing to compare: go up.
            let Ok(architecture) = self.solve(cell, Some(params), vocab) else {
                low = middle;
                continue;
            };
            let spent = cost(&architecture, params);
            let distance = (spent / flops).ln().abs();
            if best
                .as_ref()
                .is_none_or(|(nearest, ..)| distance < *nearest)
            {
                best = Some((distance, architecture, params));
            }
            if spent > flops {
                high = middle
            } else {
                low = middle
            }
        }
        match best {
            Some((distance, architecture, params)) if distance < BUDGET_TOLERANCE => {
                Ok((architecture, tokens.resolve(params).0))
            }
            Some((_, architecture, params)) => Err(cell.location.error(
                format!(
                    "no N spends {flops:.3e} FLOPs on these tokens: the closest spends {:.3e}",
                    cost(&architecture, params)
                ),
                "change `flops` or `tokens`, or free a width or depth that `model` fixes",
            )),
            None => Err(cell.location.error(
                "no shape could be built for any N",
                "free a width or depth that `model` fixes",
            )),
        }
    }

    fn solve(
        &self,
        cell: &Cell,
        params: Option<Params>,
        vocab: usize,
    ) -> Result<Architecture, ShapeError> {
        let key = format!("{:?} {params:?} {vocab} {:?}", cell.kind, cell.shape);
        if let Some(solved) = self.lock().get(&key) {
            return solved.clone();
        }
        // Not under the lock: two threads may solve the same shape, to the same result.
        let solved = match (&cell.kind, params) {
            (CellKind::Dense, Some(params)) => cell.shape.solve_dense(params.0, vocab),
            (CellKind::Dense, None) => cell.shape.explicit_dense(vocab),
            (CellKind::TokenOnly(_), Some(params)) => cell.shape.solve_token_only(params.0, vocab),
            (CellKind::TokenOnly(_), None) => Err(ShapeError::Incomplete {
                missing: "`params`, for a control of that size".into(),
            }),
            (
                CellKind::Dlcm {
                    concept_share: Some(share),
                    compression_ratio,
                },
                Some(params),
            ) => cell
                .shape
                .solve_dlcm(params.0, *share, *compression_ratio, vocab),
            (
                CellKind::Dlcm {
                    compression_ratio, ..
                },
                _,
            ) => cell.shape.explicit_dlcm(*compression_ratio, vocab),
        };
        self.lock().insert(key, solved.clone());
        solved
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Result<Architecture, ShapeError>>> {
        // A thread that panicked left the map whole: entries go in at once.
        self.solved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Estimates the peak memory of a run's process, in bytes.
///
/// Weights, their gradients and two moments in f32, the activations that the backward pass keeps,
/// and what the program itself takes.
fn memory(run: &RunSpec) -> f64 {
    const PROGRAM: f64 = 60e6;
    let tokens = (run.execution.micro_batch * run.architecture.seq_len()) as f64;
    let stack = |stack: &crate::architecture::Stack| {
        (stack.layers * (8 * stack.width + 5 * stack.ffn)) as f64
    };
    let per_token = match &run.architecture {
        Architecture::Dense(dense) => stack(&dense.stack),
        Architecture::Dlcm(dlcm) => {
            stack(&dlcm.encoder)
                + stack(&dlcm.decoder)
                + stack(&dlcm.backbone) / dlcm.compression_ratio
                + 10.0 * dlcm.encoder.width as f64
        }
        Architecture::TokenOnly(control) => stack(&control.encoder) + stack(&control.decoder),
    } + 3.0 * run.architecture.vocab() as f64;
    PROGRAM + 16.0 * run.architecture.params().total() as f64 + 4.0 * tokens * per_token
}

#[cfg(test)]
mod tests {
    use super::example::planned;
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const GRID: &str = "grid: {params: [0.2M, 0.4M], tokens: 1M, concept_share: [0.3, 0.6], \
                        compression_ratio: [2, 4], seed: [0, 1]}\nbaselines: {params: 0.2M}";

    #[test]
    fn planning_is_idempotent_and_every_run_is_its_own() {
        let ids = |text| {
            planned(text)
                .into_iter()
                .map(|run| run.id)
                .collect::<Vec<_>>()
        };
        let once = ids(GRID);
        assert_eq!(once, ids(GRID));
        assert_eq!(once.iter().collect::<HashSet<_>>().len(), 18);
        // What a run is does not depend on the order in which its file says it.
        let turned = "baselines: {params: 0.2M}\ngrid: {seed: [0, 1], compression_ratio: [2, 4], \
                      concept_share: [0.3, 0.6], tokens: 1M, params: [0.2M, 0.4M]}";
        assert_eq!(
            once.iter().collect::<HashSet<_>>(),
            ids(turned).iter().collect()
        );
    }

    #[test]
    fn identity_is_what_determines_the_result() {
        let run = planned(GRID).remove(0).spec;
        let changed = |change: &dyn Fn(&mut RunSpec)| {
            let mut other = run.clone();
            change(&mut other);
            other.id() != run.id()
        };
        assert!(changed(&|run| run.seed += 1));
        assert!(changed(&|run| run.recipe.tokens += 1));
        assert!(changed(&|run| run.facts.fingerprint.push('x')));
        assert!(!changed(&|run| run.execution.threads += 1));
        let elsewhere = || {
            let bytes = crate::run::TokenizerSpec::Bytes;
            DataSpec::text(vec!["elsewhere".into()], bytes, 0.5)
        };
        assert!(!changed(&|run| run.data = elsewhere()));
    }

    #[test]
    fn tokens_are_whole_steps_and_epochs_are_counted() {
        for run in planned(GRID) {
            assert_eq!(run.spec.recipe.tokens % (16 * 256), 0);
            assert!((run.spec.recipe.tokens as f64 / 1e6 - 1.0).abs() < 0.01);
            assert!((run.epochs - 2.0).abs() < 0.02);
            assert!(run.memory > 60e6);
        }
    }

    #[test]
    fn equal_budgets_are_spent_whichever_is_solved() {
        for text in [
            "grid: {params: [0.2M, 0.8M], flops: 1e13, concept_share: 0.5, compression_ratio: 4}",
            "grid: {tokens: [4M, 8M], flops: 1e13, concept_share: 0.5, compression_ratio: 4}",
            "grid: {tokens: 20 per param, flops: 1e13, concept_share: 0.5, compression_ratio: 4}",
        ] {
            for run in planned(text) {
                assert!(
                    (run.flops / 1e13 - 1.0).abs() < 0.03,
                    "{text}: {}",
                    run.flops
                );
            }
        }
        let text = "grid: {tokens: 1000T, flops: 1e13, concept_share: 0.5, compression_ratio: 4}";
        let experiment = crate::grid::parse("t.yaml", text).expect("valid");
        let error =
            plan(&experiment, &|_| Some(crate::plan::example::facts())).expect_err("too little");
        assert!(error.to_string().contains("no N spends"), "{error}");
    }

    proptest! {
        #[test]
        fn a_longer_axis_keeps_the_runs_there_were(seeds in 1u64..20, more in 1u64..5) {
            let text = |seeds: u64| format!(
                "grid: {{params: 0.2M, tokens: 1M, concept_share: 0.5, compression_ratio: 4, \
                 seed: {:?}}}",
                (0..seeds).collect::<Vec<_>>()
            );
            let few: HashSet<_> = planned(&text(seeds)).into_iter().map(|run| run.id).collect();
            let many: HashSet<_> =
                planned(&text(seeds + more)).into_iter().map(|run| run.id).collect();
            prop_assert!(few.is_subset(&many));
            prop_assert_eq!(many.len() - few.len(), more as usize);
        }

        #[test]
        fn another_p_or_n_changes_no_shape_that_was_there(
            shares in prop::collection::btree_set(10u32..85, 2..5), size in 50u64..400
        ) {
            let shares: Vec<f64> = shares.iter().map(|share| f64::from(*share) / 100.0).collect();
            let ids = |shares: &[f64], sizes: &[u64]| -> HashSet<RunId> {
                let sizes: Vec<String> = sizes.iter().map(|size| format!("{size}K")).collect();
                let text = format!(
                    "grid: {{params: [{}], tokens: 1M, concept_share: {shares:?}, \
                     compression_ratio: 4}}",
                    sizes.join(", ")
                );
                planned(&text).into_iter().map(|run| run.id).collect()
            };
            let few = ids(&shares[1..], &[size]);
            let many = ids(&shares, &[size, 2 * size]);
            prop_assert!(few.is_subset(&many));
            prop_assert_eq!(many.len(), 2 * shares.len());
        }
    }
}
