//! What shapes explain of a law's residuals.
//!
//! A law knows N and P; shapes that jump between its points move the loss too, and the fit takes that
//! for an effect of P or for noise. So the residuals, averaged over the runs of a shape, are
//! regressed on proportions of the shapes, after ln N, P and P² are taken out of both: what is smooth
//! in these is the law's to explain. How much proportions explain by chance is told by permutations,
//! since they were chosen for explaining most.

use super::observe::SeedNoise;
use super::report::LawReport;
use super::warning::Warning;
use crate::row::Row;
use experiment::architecture::solver::Level;
use experiment::run::RunId;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// A proportion of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proportion {
    /// Token width.
    TokenWidth,
    /// Concept width.
    ConceptWidth,
    /// Concept width over token width.
    WidthRatio,
    /// Token width over token-level blocks.
    TokenAspect,
    /// Concept width over backbone blocks.
    ConceptAspect,
    /// Feed-forward width over width at the token level.
    TokenFeedForward,
    /// Feed-forward width over width in the backbone.
    ConceptFeedForward,
}

impl Proportion {
    const ALL: [Self; 7] = [
        Self::TokenWidth,
        Self::ConceptWidth,
        Self::WidthRatio,
        Self::TokenAspect,
        Self::ConceptAspect,
        Self::TokenFeedForward,
        Self::ConceptFeedForward,
    ];

    /// Computes its logarithm but for what N and P alone determine.
    ///
    /// A level with a share of N has (width² · (1 + ffn ratio))⁻¹ times as many blocks, so that its
    /// aspect ratio moves as width³ · (1 + ffn ratio).
    fn ln(self, token: &Level, concept: &Level) -> f64 {
        let width = |level: &Level| (level.width as f64).ln();
        let aspect = |level: &Level| 3.0 * width(level) + level.feed_forward().ln_1p();
        match self {
            Self::TokenWidth => width(token),
            Self::ConceptWidth => width(concept),
            Self::WidthRatio => width(concept) - width(token),
            Self::TokenAspect => aspect(token),
            Self::ConceptAspect => aspect(concept),
            Self::TokenFeedForward => token.feed_forward().ln(),
            Self::ConceptFeedForward => concept.feed_forward().ln(),
        }
    }
}

impl fmt::Display for Proportion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TokenWidth => "token width",
            Self::ConceptWidth => "concept width",
            Self::WidthRatio => "concept over token width",
            Self::TokenAspect => "token aspect ratio",
            Self::ConceptAspect => "concept aspect ratio",
            Self::TokenFeedForward => "token feed-forward ratio",
            Self::ConceptFeedForward => "concept feed-forward ratio",
        })
    }
}

/// How much of a law's residuals goes with shapes.
///
/// # Units
/// Standard deviations of ln loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShapeEffect {
    /// Different shapes.
    pub shapes: usize,
    /// The proportions that explain most, the strongest first.
    pub proportions: Vec<Proportion>,
    /// What they explain beyond what they would by chance.
    pub explained: f64,
    /// What the law leaves.
    pub residual: f64,
    /// Noise between seeds; what neither law nor shapes explain where no setting was repeated.
    pub noise: f64,
    /// Whether `noise` is from repeated settings.
    pub from_seeds: bool,
    /// How often shapes explain as much by chance.
    pub chance: f64,
}

/// Proportions that are taken together, at most.
const MOST: usize = 3;

/// Shapes, beyond those that ln N, P and P² use up, for every proportion that is taken.
const SHAPES_A_PROPORTION: usize = 4;

/// With fewer shapes to spare than this nothing is said.
const LEAST_SPARE: usize = 5;

/// A proportion that strays by less (as a standard deviation of its logarithm) is left alone.
const LEAST_STRAYING: f64 = 0.02;

/// Permutations: enough for a chance of 0.05.
const PERMUTATIONS: usize = 999;

/// Chance above which nothing is claimed.
const CHANCE: f64 = 0.05;

/// Regresses what a law leaves on the shapes of its runs; `None` where they are too few or too
/// alike.
pub(super) fn effect(
    report: &LawReport,
    runs: &[Row],
    seeds: Option<SeedNoise>,
    seed: u64,
) -> Option<ShapeEffect> {
    let cells = cells(report, runs);
    let column = |value: &dyn Fn(&Cell) -> f64| cells.iter().map(value).collect::<Vec<f64>>();
    let mut known = Basis::default();
    for values in [
        vec![1.0; cells.len()],
        column(&|cell| cell.ln_params),
        column(&|cell| cell.share),
        column(&|cell| cell.share.powi(2)),
    ] {
        known.add(values);
    }
    let spare = cells.len().checked_sub(known.0.len())?;
    if spare < LEAST_SPARE || report.freedom == 0 {
        return None;
    }
    let candidates: Vec<(Proportion, Vec<f64>)> = Proportion::ALL
        .into_iter()
        .map(|proportion| {
            let values = column(&|cell| proportion.ln(&cell.token, &cell.concept));
            (proportion, known.without(values))
        })
        .filter(|(_, left)| dot(left, left) > spare as f64 * LEAST_STRAYING.powi(2))
        .collect();
    let left = known.without(column(&|cell| cell.residual));
    let total = dot(&left, &left);
    if candidates.is_empty() || total <= 0.0 {
        return None;
    }
    let most = (spare / SHAPES_A_PROPORTION).clamp(1, MOST);
    let (proportions, explained) = explain(&left, &candidates, most);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut shuffled = left.clone();
    let by_chance: Vec<f64> = (0..PERMUTATIONS)
        .map(|_| {
            shuffled.shuffle(&mut random);
            let again = known.without(shuffled.clone());
            explain(&again, &candidates, most).1 / dot(&again, &again)
        })
        .collect();
    let share = explained / total;
    let usual = by_chance.iter().sum::<f64>() / PERMUTATIONS as f64;
    let beyond = ((share - usual) / (1.0 - usual)).max(0.0);
    let variance = beyond * total / spare as f64;
    let rows = report.predicted.len() as f64;
    let residual = report.rms_residual.powi(2) * rows / report.freedom as f64;
    let rest = (residual - variance).max(0.0);
    Some(ShapeEffect {
        shapes: cells.len(),
        proportions,
        explained: variance.sqrt(),
        residual: residual.sqrt(),
        noise: seeds.map_or(rest.sqrt(), |seeds| seeds.log),
        from_seeds: seeds.is_some(),
        chance: (1 + by_chance.iter().filter(|one| **one >= share).count()) as f64
            / (1 + PERMUTATIONS) as f64,
    })
}

impl ShapeEffect {
    /// Returns a warning where shapes explain more than seeds do, and not by chance.
    pub(super) fn warning(&self, law: &str) -> Option<Warning> {
        let told = self.chance <= CHANCE && self.explained > self.noise;
        told.then(|| Warning::Shapes {
            law: law.to_owned(),
            proportions: self.proportions.clone(),
            explained: self.explained,
            noise: self.noise,
            from_seeds: self.from_seeds,
        })
    }
}

/// The runs of one shape.
struct Cell {
    ln_params: f64,
    share: f64,
    token: Level,
    concept: Level,
    /// Mean of ln(observed/predicted).
    residual: f64,
}

/// Averages the residuals of each shape: R, D and seed vary within it.
fn cells(report: &LawReport, runs: &[Row]) -> Vec<Cell> {
    let by_id: HashMap<&RunId, &Row> = runs.iter().map(|run| (&run.id, run)).collect();
    let key = |level: &Level| [level.layers, level.width, level.ffn];
    let mut groups: BTreeMap<_, (Cell, usize)> = BTreeMap::new();
    for one in &report.predicted {
        let Some(run) = by_id.get(&one.run) else {
            continue;
        };
        let Some((token, Some(concept))) = run.levels else {
            continue;
        };
        let new = || {
            let cell = Cell {
                ln_params: run.params.ln(),
                share: run.concept_share,
                token,
                concept,
                residual: 0.0,
            };
            (cell, 0)
        };
        let (cell, count) = groups
            .entry((key(&token), key(&concept)))
            .or_insert_with(new);
        cell.residual += (one.observed / one.predicted).ln();
        *count += 1;
    }
    let mean = |(mut cell, count): (Cell, usize)| {
        cell.residual /= count as f64;
        cell
    };
    groups.into_values().map(mean).collect()
}

/// Chooses one column after the other by what it adds, and returns them with the squares that they
/// explain together.
fn explain(
    left: &[f64],
    candidates: &[(Proportion, Vec<f64>)],
    most: usize,
) -> (Vec<Proportion>, f64) {
    let mut basis = Basis::default();
    let mut chosen = Vec::with_capacity(most);
    let mut explained = 0.0;
    for _ in 0..most {
        let best = candidates
            .iter()
            .filter(|(proportion, _)| !chosen.contains(proportion))
            .filter_map(|(proportion, column)| {
                let direction = basis.direction(column.clone())?;
                Some((dot(&direction, left).powi(2), *proportion, direction))
            })
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((squares, proportion, direction)) = best else {
            break;
        };
        explained += squares;
        chosen.push(proportion);
        basis.0.push(direction);
    }
    (chosen, explained)
}

/// Orthonormal directions.
#[derive(Default)]
struct Basis(Vec<Vec<f64>>);

impl Basis {
    /// Share of a column's length below which it is a combination of the others.
    const COLLINEAR: f64 = 1e-6;

    /// Takes the directions out of a column.
    fn without(&self, mut column: Vec<f64>) -> Vec<f64> {
        // Twice: once leaves rounding errors where the column lies nearly in the span.
        for _ in 0..2 {
            for direction in &self.0 {
                let along = dot(direction, &column);
                for (value, d) in column.iter_mut().zip(direction) {
                    *value -= along * d;
                }
            }
        }
        column
    }

    /// Returns the direction that a column adds; `None` when it is a combination of the others.
    fn direction(&self, column: Vec<f64>) -> Option<Vec<f64>> {
        let before = dot(&column, &column).sqrt();
        let mut left = self.without(column);
        let length = dot(&left, &left).sqrt();
        if length <= Self::COLLINEAR * before {
            return None;
        }
        left.iter_mut().for_each(|value| *value /= length);
        Some(left)
    }

    fn add(&mut self, column: Vec<f64>) {
        let direction = self.direction(column);
        self.0.extend(direction);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{Controls, Grid};
    use super::*;
    use crate::analysis::{AnalysisResult, simulated};
    use experiment::architecture::solver::levels;
    use experiment::grid::Analysis;
    use experiment::quantity::Draws;
    use experiment::record::RunRecord;

    const WIDE: Grid<'static> = Grid {
        sizes: &[50_000, 100_000, 200_000],
        shares: &[0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
        ratios: &[4.0],
        tokens: &[2_000_000],
        dense_sizes: &[],
        seeds: 2,
        noise: 0.004,
        noise_seed: 5,
        controls: Controls::None,
    };

    fn analysed(runs: &[RunRecord]) -> AnalysisResult {
        let settings = Analysis {
            bootstrap: Draws::from(0),
            ..Analysis::default()
        };
        simulated::analysed(runs, &settings)
    }

    fn told(result: &AnalysisResult) -> Option<&Warning> {
        let mut warnings = result.warnings.iter();
        warnings.find(|warning| matches!(warning, Warning::Shapes { .. }))
    }

    /// Moves ln loss by so much for a concept feed-forward ratio that is e times 8/3.
    fn with_effect(mut runs: Vec<RunRecord>, slope: f64) -> Vec<RunRecord> {
        for run in &mut runs {
            let (_, Some(concept)) = levels(&run.spec.model().expect("a model").architecture)
            else {
                continue;
            };
            let strays = (concept.feed_forward() * 3.0 / 8.0).ln();
            run.loss = run.loss.map(|loss| loss * (slope * strays).exp());
        }
        runs
    }

    #[test]
    fn an_effect_of_shapes_is_told_and_named() {
        let result = analysed(&with_effect(WIDE.runs(), 0.1));
        let effect = result.shapes.as_ref().expect("enough shapes");
        assert!(effect.from_seeds && effect.chance < 0.01, "{effect:?}");
        let warning = told(&result).expect("shapes explain more than seeds");
        assert!(warning.is_loud());
        let named = [Proportion::ConceptFeedForward, Proportion::ConceptAspect];
        assert!(named.contains(&effect.proportions[0]), "{effect:?}");
        // Without repeated settings, what is left is what it is compared with.
        let once = Grid { seeds: 1, ..WIDE };
        let result = analysed(&with_effect(once.runs(), 0.1));
        assert!(told(&result).is_some(), "{:?}", result.shapes);
    }

    #[test]
    fn noise_is_not_taken_for_shapes() {
        let mut claimed = 0;
        for noise_seed in 0..20 {
            let grid = Grid { noise_seed, ..WIDE };
            let result = analysed(&grid.runs());
            assert_eq!(told(&result), None, "{:?}", result.shapes);
            claimed += usize::from(result.shapes.is_some_and(|effect| effect.chance <= CHANCE));
        }
        assert!(claimed <= 4, "{claimed} of 20 by chance");
    }

    #[test]
    fn few_shapes_say_nothing() {
        let few = Grid {
            shares: &[0.3, 0.6],
            ratios: &[2.0, 4.0],
            ..WIDE
        };
        let result = analysed(&with_effect(few.runs(), 0.1));
        assert!(result.dlcm.report().is_some());
        assert_eq!(result.shapes, None);
    }
}
