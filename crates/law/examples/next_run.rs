//! Says what share of a grid's FLOPs choosing each run by what it narrows needs, for the interval of P* that the whole
//! grid gives: `cargo run --release --workspace --example next_run [TRUTHS]`, 50 simulated truths unless told otherwise.

use experiment::architecture::ModelKind;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scaling_law::analysis::{CostModel, Policy};
use scaling_law::fit::allocation::{Budget, Domain, Range, Setting, Surface, Variable, optimum};
use scaling_law::fit::{FittedLaw, law};
use scaling_law::row::Row;
use scaling_law::study::{Course, Goal, Known, Next, Open};
use std::error::Error;

const SIZES: [f64; 3] = [2e5, 8e5, 3.2e6];
const TOKENS: [f64; 3] = [4e6, 1.6e7, 6.4e7];
const SHARES: [f64; 5] = [0.2, 0.35, 0.5, 0.65, 0.8];
const RATIOS: [f64; 2] = [2.0, 4.0];
/// Standard deviation of ln loss.
const NOISE: f64 = 0.005;

/// Draws a truth of Eq. 22.
fn truth(random: &mut ChaCha8Rng) -> Result<FittedLaw, Box<dyn Error>> {
    let mut between = |low: f64, high: f64| low + (high - low) * random.random::<f64>();
    let values = vec![
        1.1,
        between(7.0, 28.0),
        between(0.22, 0.34),
        between(4.0, 18.0),
        between(0.05, 0.3),
        between(0.22, 0.34),
        between(150.0, 600.0),
        between(0.35, 0.5),
    ];
    Ok(FittedLaw::from_parts(
        law::by_name("dlcm_without_offsets")?,
        values,
    )?)
}

/// Draws from the standard normal distribution (Box–Muller).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

fn grid(cost: &CostModel) -> Vec<Open> {
    let mut grid = Vec::new();
    for params in SIZES {
        for tokens in TOKENS {
            for concept_share in SHARES {
                for compression_ratio in RATIOS {
                    let setting = Setting {
                        params,
                        tokens,
                        concept_share,
                        compression_ratio,
                    };
                    grid.push(Open {
                        flops: setting.training_flops(cost),
                        setting,
                    });
                }
            }
        }
    }
    grid
}

fn row(id: usize, open: &Open, loss: f64) -> Row {
    let Setting {
        params,
        tokens,
        concept_share,
        compression_ratio,
    } = open.setting;
    Row {
        concept_share,
        declared_ratio: compression_ratio,
        realised_ratio: Some(compression_ratio),
        ..Row::measured(id.to_string().into(), ModelKind::Dlcm, params, tokens, loss)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let truths: usize = std::env::args()
        .nth(1)
        .map_or(Ok(50), |truths| truths.parse())?;
    let cost = CostModel::without_shapes(experiment::flops::Convention::SixNActive);
    let grid = grid(&cost);
    let whole: f64 = grid.iter().map(|open| open.flops).sum();
    let budget = grid.iter().map(|open| open.flops).fold(0.0, f64::max);
    let policy = Policy::default();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut shares, mut held, mut held_by_all) = (Vec::new(), 0, 0);
    while shares.len() < truths {
        let truth = truth(&mut random)?;
        let domain = Domain::default()
            .with(Variable::Params, Range::between(1e4, 1e12))
            .with(Variable::ConceptShare, Range::between(0.2, 0.8))
            .with(Variable::CompressionRatio, Range::between(2.0, 4.0));
        let surface = Surface::new(truth.clone(), &[])?;
        let best = optimum(&surface, &cost, &domain, &Budget::training(budget))?;
        let best = best.setting.concept_share;
        if !(0.25..0.75).contains(&best) {
            continue;
        }
        let rows: Vec<Row> = grid
            .iter()
            .enumerate()
            .map(|(id, open)| {
                let at = open.setting;
                let inputs = [at.params, at.tokens, at.compression_ratio, at.concept_share];
                row(
                    id,
                    open,
                    truth.predict(&inputs) * (NOISE * normal(&mut random)).exp(),
                )
            })
            .collect();
        let course = |width: f64| Course {
            goal: Goal {
                quantity: Variable::ConceptShare,
                width,
            },
            budget,
            cost: &cost,
            grid: &grid,
            at_once: 1,
        };
        let all: Vec<usize> = (0..grid.len()).collect();
        let Next::Reached(Known {
            interval, width, ..
        }) = course(1.0).next(Course::laws(&rows, &policy), &all, false)
        else {
            continue;
        };
        let holds = |[low, high]: [f64; 2]| usize::from(low <= best && best <= high);
        held_by_all += holds(interval);
        let course = course(width * 1.001);
        let (mut taken, mut was_narrow, mut last) = (Vec::new(), false, None);
        loop {
            let so_far: Vec<Row> = taken.iter().map(|k: &usize| rows[*k].clone()).collect();
            match course.next(Course::laws(&so_far, &policy), &taken, was_narrow) {
                Next::Train { runs, known } => {
                    was_narrow = known.is_some_and(|known| known.width < course.goal.width);
                    taken.extend(runs.iter().map(|run| run.index));
                }
                Next::Reached(known) => {
                    last = Some(known.interval);
                    break;
                }
                Next::Nothing { known, .. } => {
                    last = known.map(|known| known.interval).or(last);
                    break;
                }
            }
        }
        held += last.map_or(0, holds);
        let spent: f64 = taken.iter().map(|k| grid[*k].flops).sum();
        shares.push(spent / whole);
        println!(
            "P* {best:.2}: interval of the grid {:.3}; {} of {} runs, {:.0}% of the FLOPs",
            width,
            taken.len(),
            grid.len(),
            100.0 * spent / whole
        );
    }
    shares.sort_by(f64::total_cmp);
    let at = |share: f64| shares[((shares.len() - 1) as f64 * share).round() as usize];
    println!(
        "of {truths} truths: median {:.1}% of the FLOPs (quartiles {:.1}% and {:.1}%, most {:.1}%); the last interval \
         holds the truth in {held}, the whole grid's in {held_by_all}",
        100.0 * at(0.5),
        100.0 * at(0.25),
        100.0 * at(0.75),
        100.0 * at(1.0)
    );
    Ok(())
}
