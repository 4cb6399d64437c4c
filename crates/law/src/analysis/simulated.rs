//! Runs whose losses follow a known law: for tests, here and of what draws results, and for examples.

use super::{AnalysisResult, Asker, Models, Tried, Tuning, analyse};
use crate::fit::FittedLaw;
use crate::fit::law::by_name;
use crate::row::rows;
use experiment::architecture::solver::ShapeSettings;
use experiment::architecture::{Architecture, ModelKind, TokenOnly};
use experiment::event::Measurement;
use experiment::grid::Analysis;
use experiment::recipe::Recipe;
use experiment::record::RunRecord;
use experiment::run::{
    DataFacts, DataSpec, Execution, Part, RunId, RunOutcome, RunSpec, RunState, TokenizerSpec,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::collections::BTreeMap;

/// Who asks in tests.
pub const ASKER: Asker = Asker {
    rows: "my.yaml",
    has_grid: true,
};

/// What the token levels of a grid reach alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Controls {
    /// None is trained.
    None,
    /// As much as with concepts: these are worth nothing, and a DLCM's loss is its token level's.
    AsGood,
    /// Less than with concepts.
    Worse,
}

/// A grid of runs and how noisy they are.
pub struct Grid<'a> {
    /// Sizes N of the models with concepts.
    pub sizes: &'a [u64],
    /// Shares P.
    pub shares: &'a [f64],
    /// Declared ratios R.
    pub ratios: &'a [f64],
    /// Training tokens D.
    pub tokens: &'a [u64],
    /// Sizes N of the dense models.
    pub dense_sizes: &'a [u64],
    /// The controls.
    pub controls: Controls,
    /// Seeds of every setting.
    pub seeds: u64,
    /// Standard deviation of ln loss.
    pub noise: f64,
    /// Seed of the noise.
    pub noise_seed: u64,
}

/// The first experiment: 27 DLCMs and three dense baselines on the same tokens.
pub const FIRST: Grid<'static> = Grid {
    sizes: &[200_000, 400_000, 800_000],
    shares: &[0.3, 0.5, 0.7],
    ratios: &[2.0, 4.0, 8.0],
    tokens: &[2_000_000],
    dense_sizes: &[200_000, 400_000, 800_000],
    controls: Controls::None,
    seeds: 1,
    noise: 0.01,
    noise_seed: 1,
};

/// Several D and sizes, enough for the whole of Eq. 22.
pub const LARGE: Grid<'static> = Grid {
    sizes: &[200_000, 400_000, 800_000, 1_600_000, 3_200_000],
    shares: &[0.3, 0.5, 0.7],
    ratios: &[2.0, 4.0, 8.0],
    tokens: &[2_000_000, 6_000_000, 20_000_000, 60_000_000],
    dense_sizes: &[200_000, 400_000, 800_000, 1_600_000, 3_200_000],
    controls: Controls::None,
    seeds: 1,
    noise: 0.005,
    noise_seed: 2,
};

/// What the README's first command trains.
pub const QUICK: Grid<'static> = Grid {
    sizes: &[100_000, 200_000],
    shares: &[0.3, 0.6],
    ratios: &[2.0, 4.0],
    tokens: &[500_000],
    dense_sizes: &[100_000, 200_000],
    controls: Controls::None,
    seeds: 1,
    noise: 0.02,
    noise_seed: 3,
};

/// Eq. 22 with plausible values at this scale.
pub fn true_dlcm() -> FittedLaw {
    let law = by_name("dlcm").expect("registered");
    let values = vec![1.1, 14.0, 1e4, 0.28, 9.0, 0.12, 1e4, 0.3, 300.0, 0.0, 0.42];
    FittedLaw::from_parts(law, values).expect("complete")
}

/// The dense law on the same data.
pub fn true_dense() -> FittedLaw {
    let law = by_name("chinchilla").expect("registered");
    FittedLaw::from_parts(law, vec![1.1, 29.0, 300.0, 0.285, 0.42]).expect("complete")
}

/// The law of token levels alone where concepts are worth something.
pub fn true_control() -> FittedLaw {
    let law = by_name("chinchilla").expect("registered");
    FittedLaw::from_parts(law, vec![1.1, 26.0, 300.0, 0.28, 0.42]).expect("complete")
}

/// The law of token levels alone where a DLCM has no more than its own.
fn own_token_level() -> FittedLaw {
    let law = by_name("chinchilla").expect("registered");
    FittedLaw::from_parts(law, vec![1.1, 20.0, 300.0, 0.28, 0.42]).expect("complete")
}

impl Grid<'_> {
    /// Makes the runs.
    pub fn runs(&self) -> Vec<RunRecord> {
        let mut random = ChaCha8Rng::seed_from_u64(self.noise_seed);
        let mut runs = Vec::new();
        for &tokens in self.tokens {
            for seed in 0..self.seeds {
                for &size in self.sizes {
                    for &share in self.shares {
                        for &ratio in self.ratios {
                            let cell = Cell::Dlcm(share, ratio);
                            runs.push(self.run(size, tokens, &cell, seed, &mut random));
                        }
                    }
                }
                for &size in self.dense_sizes {
                    runs.push(self.run(size, tokens, &Cell::Dense, seed, &mut random));
                }
            }
        }
        if self.controls != Controls::None {
            self.add_controls(&mut runs, &mut random);
        }
        runs
    }

    /// Adds one control for every token level, D and seed.
    fn add_controls(&self, runs: &mut Vec<RunRecord>, random: &mut ChaCha8Rng) {
        let mut levels: Vec<(TokenOnly, u64, u64)> = Vec::new();
        for run in runs.iter() {
            if let Architecture::Dlcm(dlcm) = &spec(run).architecture {
                levels.push((dlcm.token_level(), spec(run).recipe.tokens, run.seed));
            }
        }
        for (k, (level, tokens, seed)) in levels.iter().enumerate() {
            if !levels[..k].contains(&(level.clone(), *tokens, *seed)) {
                let cell = Cell::TokenOnly(level.clone());
                runs.push(self.run(0, *tokens, &cell, *seed, random));
            }
        }
    }

    fn run(
        &self,
        size: u64,
        tokens: u64,
        cell: &Cell,
        seed: u64,
        random: &mut ChaCha8Rng,
    ) -> RunRecord {
        const VOCAB: usize = 1024;
        let settings = ShapeSettings::default();
        let architecture = match cell {
            Cell::Dlcm(share, ratio) => settings.solve_dlcm(size, *share, *ratio, VOCAB),
            Cell::Dense => settings.solve_dense(size, VOCAB),
            Cell::TokenOnly(level) => Ok(Architecture::TokenOnly(level.clone())),
        }
        .expect("solvable");
        let params = architecture.params();
        let n = params.non_embedding() as f64;
        let mut normal = || {
            let sum: f64 = (0..12).map(|_| random.random::<f64>()).sum();
            sum - 6.0
        };
        let factor = (self.noise * normal()).exp();
        let wander = 1.0 + 0.008 * normal();
        let d = tokens as f64;
        let kind = architecture.kind();
        let (realised, loss) = match (cell, self.controls) {
            (Cell::Dense, _) => (None, true_dense().predict(&[n, d])),
            (Cell::TokenOnly(_), Controls::AsGood) => (None, own_token_level().predict(&[n, d])),
            (Cell::TokenOnly(_), _) => (None, true_control().predict(&[n, d])),
            (Cell::Dlcm(_, ratio), Controls::AsGood) => {
                let Architecture::Dlcm(dlcm) = &architecture else {
                    unreachable!("a DLCM was solved for")
                };
                let level = Architecture::TokenOnly(dlcm.token_level()).params();
                let loss = own_token_level().predict(&[level.non_embedding() as f64, d]);
                (Some(ratio * wander), loss)
            }
            (Cell::Dlcm(_, ratio), _) => {
                let realised = ratio * wander;
                let inputs = [n, d, realised, params.concept_share()];
                (Some(realised), true_dlcm().predict(&inputs))
            }
        };
        let loss = loss * factor;
        let ratio = architecture.compression_ratio();
        let convention = experiment::flops::Convention::Exact;
        let flops = tokens as f64 * architecture.training_flops(ratio, convention);
        let spec = RunSpec {
            data: DataSpec::text(
                vec!["english.txt".into()],
                TokenizerSpec::Bpe { vocab: VOCAB },
                0.05,
            ),
            facts: DataFacts {
                fingerprint: "00".into(),
                vocab: VOCAB,
                train_tokens: 100_000_000,
                validation_tokens: 100_000,
                bytes_per_token: Some(2.6),
                entropy_floor: None,
            },
            recipe: recipe(tokens),
            execution: Execution {
                micro_batch: 16,
                threads: 1,
                checkpoint_every: f64::from(Execution::CHECKPOINT_EVERY),
                start: None,
                keeps_end: false,
                evaluation: Default::default(),
            },
            architecture,
            seed,
        };
        let mut axes = BTreeMap::from([("params".to_owned(), size.to_string())]);
        if let Cell::Dlcm(share, ratio) = cell {
            axes.insert("concept_share".into(), share.to_string());
            axes.insert("compression_ratio".into(), ratio.to_string());
        }
        RunRecord {
            id: RunId(format!("{:.12}", spec.id().0)),
            part: Part::Whole,
            start_run: None,
            state: RunState::Ended,
            kind,
            params: Some(params.non_embedding()),
            tokens: Some(tokens),
            concept_share: params.concept_share(),
            compression_ratio: ratio,
            realised_ratio: realised,
            realised_sampled: realised.map(|r| r * 1.003),
            realised_training: realised,
            seed,
            loss: Some(loss),
            bits_per_byte: Some(loss / 2.6 / std::f64::consts::LN_2),
            flops: Some(flops),
            planned_flops: Some(flops),
            concept_gain: realised.map(|_| 0.3),
            boundary_gain: realised.map(|_| 0.02),
            outcome: Some(RunOutcome::Finished),
            message: None,
            retries: 0,
            micro_batch: None,
            axes,
            spec: spec.into(),
        }
    }
}

/// What a run of a grid trains.
enum Cell {
    /// P and R.
    Dlcm(f64, f64),
    Dense,
    TokenOnly(TokenOnly),
}

fn recipe(tokens: u64) -> Recipe {
    Recipe {
        tokens,
        validations: 10,
        validation_tokens: 100_000,
        ..Recipe::default()
    }
}

/// Trains every run with five learning rates, the third of which is best and the last too high for
/// the largest size.
pub fn with_rates(runs: Vec<RunRecord>) -> Vec<RunRecord> {
    let largest = runs.iter().map(|run| run.params).max().flatten();
    let trained = runs.into_iter().flat_map(|run| {
        (-2..=2).map(move |step: i32| {
            let mut run = run.clone();
            if let Some(spec) = run.spec.model_mut() {
                let rates = &mut spec.recipe.rates;
                for rate in [&mut rates.token, &mut rates.concept, &mut rates.other] {
                    *rate *= 2f64.powi(step);
                }
            }
            run.id = RunId(format!("{}{}", run.id.0, step + 2));
            run.loss = run.loss.map(|loss| loss + 0.04 * f64::from(step * step));
            if step == 2 && run.params == largest {
                (run.loss, run.outcome) = (None, Some(RunOutcome::Diverged));
            }
            run
        })
    });
    trained.collect()
}

/// Gives the runs that differ in D alone a trunk: pieces whose rate has not decayed, which each run
/// leaves after four fifths of its tokens.
pub fn with_trunks(mut runs: Vec<RunRecord>) -> Vec<RunRecord> {
    runs.sort_by_key(|run| run.tokens);
    let mut newest: BTreeMap<String, RunId> = BTreeMap::new();
    let mut all = Vec::new();
    for mut branch in runs {
        let family = format!("{:?} {}", branch.axes, branch.seed);
        let mut piece = branch.clone();
        piece.id = RunId(format!("{}t", branch.id.0));
        piece.part = Part::Trunk;
        piece.start_run = newest.insert(family, piece.id.clone());
        piece.tokens = branch.tokens.map(|tokens| tokens / 5 * 4);
        piece.loss = branch.loss.map(|loss| loss + 0.12);
        branch.part = Part::Branch;
        branch.start_run = Some(piece.id.clone());
        all.extend([piece, branch]);
    }
    all
}

/// Makes the measurements of a run: a falling training loss, and ten validations.
pub fn measurements(run: &RunRecord) -> Vec<Measurement> {
    let mut random = ChaCha8Rng::seed_from_u64(run.params.unwrap_or(0));
    let last = run.loss.unwrap_or(3.0);
    let before = match run.part {
        Part::Branch => 80,
        _ => 0,
    };
    (before + 1..=100u64)
        .map(|step| {
            let share = step as f64 / 100.0;
            let loss = last + 3.5 * (-6.0 * share).exp() + 0.4 * (1.0 - share).powi(2);
            let validated = step % 10 == 0;
            Measurement {
                step,
                tokens: run.tokens.map(|tokens| (tokens as f64 * share) as u64),
                flops: run.planned_flops.map(|flops| flops * share),
                loss: Some(loss + 0.1 * (random.random::<f64>() - 0.5)),
                validation_loss: validated.then_some(loss),
                realised_sampled: run
                    .realised_ratio
                    .map(|r| r * (1.0 + 0.5 * (-9.0 * share).exp())),
                realised_thresholded: run.realised_ratio.filter(|_| validated),
                rate_share: Some(1.0),
                tokens_per_second: Some(20_000.0),
                ..Measurement::default()
            }
        })
        .collect()
}

/// A result as versions stored it that knew neither controls nor whose a saving is.
pub fn as_stored_before(result: &AnalysisResult) -> AnalysisResult {
    let mut stored = serde_json::to_value(result).expect("serialises");
    let fields = stored.as_object_mut().expect("an object");
    for added in ["control", "concept_worth", "control_savings", "attribution"] {
        fields.remove(added).expect("stored");
    }
    // Left out where no rate was looked for.
    fields.remove("tuning");
    if let Some(shapes) = stored["cost"]["shapes"].as_object_mut() {
        shapes.remove("token_only");
    }
    let runs = stored["runs"].as_array_mut().expect("runs").iter_mut();
    for run in runs.filter_map(Value::as_object_mut) {
        run.remove("kind").expect("stored");
        assert!(run.contains_key("dense"));
    }
    serde_json::from_value(stored).expect("reads")
}

/// A result as it would be with trials in which each family's best rate lies between others.
pub fn tuned(result: AnalysisResult) -> AnalysisResult {
    let tuning = |kind| Tuning {
        kind,
        sizes: vec![Tried {
            params: 100_000,
            tokens: 1_000_000,
            losses: vec![(1e-3, Some(2.0)), (2e-3, Some(1.9)), (4e-3, Some(2.1))],
        }],
    };
    AnalysisResult {
        tuning: ModelKind::ALL.map(tuning).into(),
        ..result
    }
}

/// What a made run is.
fn spec(run: &RunRecord) -> &RunSpec {
    run.spec.model().expect("a model of this program")
}

/// What the models of these runs are like.
pub fn models(runs: &[RunRecord]) -> Models {
    let vocab = runs.first().map(|run| spec(run).architecture.vocab());
    Models {
        shape: ShapeSettings::default(),
        vocab: vocab.unwrap_or(256),
    }
}

/// Analyses runs.
pub fn analysed(runs: &[RunRecord], settings: &Analysis) -> AnalysisResult {
    analyse(&rows(runs), settings, Some(&models(runs)))
}
