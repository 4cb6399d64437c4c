//! What a setting costs, as a smooth function of N, P and R.
//!
//! Real shapes come in whole layers and heads. An optimiser would chase those steps, so the widths
//! and depths that the shape solver finds over a lattice of (N, P) are replaced by power laws in the
//! token and concept parameters; the FLOPs are then counted by the exact formulas.

use super::Models;
use super::observe::Observed;
use crate::fit::allocation::{Cost, Shape};
use experiment::architecture::solver::ShapeSettings;
use experiment::architecture::{Architecture, Dlcm, ModelKind, TokenOnly, Window};
use experiment::flops::{Convention, pairs};
use serde::{Deserialize, Serialize};

/// FLOPs per token of any (N, P, R) under a convention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostModel {
    /// How FLOPs are counted.
    pub convention: Convention,
    /// Smoothed shapes; `None` for the conventions that need none.
    pub shapes: Option<SmoothShapes>,
}

/// Shapes as power laws of the parameters on either side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmoothShapes {
    /// Tokens in a sequence.
    pub seq_len: f64,
    /// Vocabulary size.
    pub vocab: f64,
    /// Reach of token-level attention.
    pub token_window: Window,
    /// Token width.
    pub token_width: PowerLaw,
    /// Token-level layers × width, encoder and decoder.
    pub token_attention: PowerLaw,
    /// Backbone layers × width.
    pub concept_attention: PowerLaw,
    /// Token-side parameters that work once a concept: W_up and the keys and values of the
    /// cross-attention.
    pub once_a_concept: PowerLaw,
    /// Width of a dense model.
    pub dense_width: PowerLaw,
    /// Layers × width of a dense model.
    pub dense_attention: PowerLaw,
    /// Token levels alone; `None` in results of before there were any.
    #[serde(default)]
    pub token_only: Option<TokenOnlyShapes>,
    /// Largest relative deviation from the exact count among the solved shapes.
    pub deviation: f64,
}

/// Shapes of token levels alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenOnlyShapes {
    /// Width.
    pub width: PowerLaw,
    /// Layers × width.
    pub attention: PowerLaw,
}

/// What models cost where those without concepts are token levels alone, and not dense.
pub(super) struct TokenOnlyCost<'a>(pub(super) &'a CostModel);

/// `scale · (N(1−P))^token · (N·P)^concept`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerLaw {
    /// Logarithm of the scale.
    pub ln_scale: f64,
    /// Exponent of the token-side parameters.
    pub token: f64,
    /// Exponent of the backbone's parameters; 0 for a dense model.
    pub concept: f64,
}

impl PowerLaw {
    fn at(&self, ln_token: f64, ln_concept: f64) -> f64 {
        (self.ln_scale + self.token * ln_token + self.concept * ln_concept).exp()
    }

    /// Fits by least squares in logarithms; `None` when the samples do not determine it.
    fn through(samples: &[([f64; 2], f64)], use_concept: bool) -> Option<Self> {
        let rows = samples.iter().map(|([token, concept], value)| {
            let concept = if use_concept { concept.ln() } else { 0.0 };
            ([1.0, token.ln(), concept], value.ln())
        });
        let mut normal = [[0.0; 3]; 3];
        let mut right = [0.0; 3];
        for (x, y) in rows {
            for i in 0..3 {
                for j in 0..3 {
                    normal[i][j] += x[i] * x[j];
                }
                right[i] += x[i] * y;
            }
        }
        if !use_concept {
            normal[2][2] = 1.0;
        }
        let [ln_scale, token, concept] = solve(normal, right)?;
        Some(Self {
            ln_scale,
            token,
            concept,
        })
    }
}

/// Solves a 3×3 system by elimination with pivoting.
fn solve(mut a: [[f64; 3]; 3], mut b: [f64; 3]) -> Option<[f64; 3]> {
    for column in 0..3 {
        let pivot =
            (column..3).max_by(|&i, &j| a[i][column].abs().total_cmp(&a[j][column].abs()))?;
        a.swap(column, pivot);
        b.swap(column, pivot);
        if a[column][column].abs() < 1e-9 {
            return None;
        }
        for row in column + 1..3 {
            let factor = a[row][column] / a[column][column];
            let above = a[column];
            for (value, above) in a[row].iter_mut().zip(above).skip(column) {
                *value -= factor * above;
            }
            b[row] -= factor * b[column];
        }
    }
    for row in (0..3).rev() {
        for k in row + 1..3 {
            b[row] -= a[row][k] * b[k];
        }
        b[row] /= a[row][row];
    }
    b.iter().all(|x| x.is_finite()).then_some(b)
}

/// Shares at which shapes are solved.
const SHARES: [f64; 5] = [0.15, 0.3, 0.5, 0.7, 0.85];

/// Sizes at which shapes are solved, a factor of 2 apart.
const SIZES: usize = 8;

impl CostModel {
    /// Builds the cost under a convention for models like those of a grid.
    ///
    /// `smallest` is the smallest N of the grid. Falls back to `6N_active` when the settings admit
    /// too few shapes to smooth, which [`CostModel::convention`] then says.
    pub fn new(
        convention: Convention,
        settings: &ShapeSettings,
        vocab: usize,
        smallest: f64,
    ) -> Self {
        if convention != Convention::Exact {
            return Self {
                convention,
                shapes: None,
            };
        }
        match SmoothShapes::new(settings, vocab, smallest) {
            Some(shapes) => Self {
                convention,
                shapes: Some(shapes),
            },
            None => Self {
                convention: Convention::SixNActive,
                shapes: None,
            },
        }
    }

    /// Builds the cost of models like those of some runs.
    pub fn of_rows(convention: Convention, models: Option<&Models>, runs: &[Observed]) -> Self {
        let sizes = runs.iter().map(|run| run.params);
        let smallest = sizes.fold(f64::INFINITY, f64::min);
        let smallest = if smallest.is_finite() { smallest } else { 1e5 };
        match models {
            Some(Models { shape, vocab }) => Self::new(convention, shape, *vocab, smallest),
            None => Self::without_shapes(convention),
        }
    }

    /// Builds the cost of models of which nothing is known: `exact` falls back to `6N_active`.
    pub fn without_shapes(convention: Convention) -> Self {
        Self {
            convention: match convention {
                Convention::Exact => Convention::SixNActive,
                other => other,
            },
            shapes: None,
        }
    }

    /// Names the convention as it is written in experiment files.
    pub fn name(&self) -> &'static str {
        match self.convention {
            Convention::SixN => "6N",
            Convention::SixNActive => "6N_active",
            Convention::Exact => "exact",
        }
    }
}

impl SmoothShapes {
    fn new(settings: &ShapeSettings, vocab: usize, smallest: f64) -> Option<Self> {
        let sizes: Vec<u64> = (0..SIZES)
            .map(|k| (smallest * 2f64.powi(k as i32)).round() as u64)
            .collect();
        let dlcm: Vec<Dlcm> = sizes
            .iter()
            .flat_map(|&size| SHARES.map(|share| (size, share)))
            .filter_map(
                |(size, share)| match settings.solve_dlcm(size, share, 2.0, vocab) {
                    Ok(Architecture::Dlcm(shape)) => Some(shape),
                    _ => None,
                },
            )
            .collect();
        let dense: Vec<_> = sizes
            .iter()
            .filter_map(|&size| match settings.solve_dense(size, vocab) {
                Ok(Architecture::Dense(shape)) => Some(shape),
                _ => None,
            })
            .collect();
        let of_dlcm = |value: fn(&Dlcm) -> usize| {
            let samples: Vec<_> = dlcm.iter().map(|s| (sides(s), value(s) as f64)).collect();
            PowerLaw::through(&samples, true)
        };
        let token_only = |value: fn(&TokenOnly) -> usize| {
            let levels = dlcm.iter().map(Dlcm::token_level);
            let samples = levels.map(|level| {
                let at = value(&level) as f64;
                let params = Architecture::TokenOnly(level).params().non_embedding();
                ([params as f64, 1.0], at)
            });
            PowerLaw::through(&samples.collect::<Vec<_>>(), false)
        };
        let of_dense = |value: fn(&experiment::architecture::Stack) -> usize| {
            let samples: Vec<_> = dense
                .iter()
                .map(|shape| {
                    (
                        [shape.stack.params() as f64, 1.0],
                        value(&shape.stack) as f64,
                    )
                })
                .collect();
            PowerLaw::through(&samples, false)
        };
        let mut shapes = Self {
            seq_len: settings.seq_len as f64,
            vocab: vocab as f64,
            token_window: settings.token_window,
            token_width: of_dlcm(|s| s.encoder.width)?,
            token_attention: of_dlcm(|s| (s.encoder.layers + s.decoder.layers) * s.encoder.width)?,
            concept_attention: of_dlcm(|s| s.backbone.layers * s.backbone.width)?,
            once_a_concept: of_dlcm(|s| {
                let kv_width = s.decoder.kv_heads * s.decoder.head_size;
                s.backbone.width * (s.encoder.width + 2 * kv_width)
            })?,
            dense_width: of_dense(|stack| stack.width)?,
            dense_attention: of_dense(|stack| stack.layers * stack.width)?,
            token_only: Some(TokenOnlyShapes {
                width: token_only(|level| level.encoder.width)?,
                attention: token_only(|level| {
                    (level.encoder.layers + level.decoder.layers) * level.encoder.width
                })?,
            }),
            deviation: 0.0,
        };
        let levels = dlcm
            .iter()
            .map(|shape| Architecture::TokenOnly(shape.token_level()));
        let levels: Vec<Architecture> = levels.collect();
        let all = dlcm.into_iter().map(Architecture::Dlcm).chain(levels);
        let all = all.chain(dense.into_iter().map(Architecture::Dense));
        shapes.deviation = all
            .map(|shape| shapes.deviates(&shape, 4.0))
            .fold(0.0, f64::max);
        Some(shapes)
    }

    /// Computes the relative deviation from the exact count of a real shape.
    pub fn deviates(&self, real: &Architecture, ratio: f64) -> f64 {
        let params = real.params();
        let ratio = if real.has_concepts() { ratio } else { 1.0 };
        let shape = Shape {
            params: params.non_embedding() as f64,
            concept_share: params.concept_share(),
            compression_ratio: ratio,
        };
        let smooth = match (real.kind(), &self.token_only) {
            (ModelKind::TokenOnly, Some(shapes)) => self.forward_token_only(shapes, shape.params),
            _ => self.forward(&shape),
        };
        (smooth / real.forward_flops(ratio).total() - 1.0).abs()
    }

    /// Counts forward FLOPs per token of a token level alone.
    fn forward_token_only(&self, shapes: &TokenOnlyShapes, params: f64) -> f64 {
        let (len, ln_params) = (self.seq_len, params.ln());
        let scores = 4.0 * shapes.attention.at(ln_params, 0.0) * pairs(len, self.token_window);
        let unembedding = 2.0 * self.vocab * shapes.width.at(ln_params, 0.0);
        2.0 * params + scores / len + unembedding
    }

    /// Counts forward FLOPs per token.
    fn forward(&self, shape: &Shape) -> f64 {
        let len = self.seq_len;
        if shape.concept_share == 0.0 {
            let ln_params = shape.params.ln();
            let scores = 4.0 * self.dense_attention.at(ln_params, 0.0);
            let unembedding = 2.0 * self.vocab * self.dense_width.at(ln_params, 0.0);
            return 2.0 * shape.params + scores * pairs(len, Window::Full) / len + unembedding;
        }
        let token = shape.params * (1.0 - shape.concept_share);
        let concept = shape.params * shape.concept_share;
        let (ln_token, ln_concept) = (token.ln(), concept.ln());
        let concepts = (len / shape.compression_ratio).max(1.0);
        // Small token sides cannot hold more than they have.
        let once = self
            .once_a_concept
            .at(ln_token, ln_concept)
            .min(0.5 * token);
        let width = self.token_width.at(ln_token, ln_concept);
        let matrices = 2.0 * (token - once) + 2.0 * (concept + once) * concepts / len;
        let token_scores =
            4.0 * self.token_attention.at(ln_token, ln_concept) * pairs(len, self.token_window)
                / len;
        let concept_scores =
            4.0 * self.concept_attention.at(ln_token, ln_concept) * pairs(concepts, Window::Full)
                / len;
        let cross_scores = 4.0 * width * (concepts + 1.0) / 2.0;
        matrices + token_scores + concept_scores + cross_scores + 2.0 * self.vocab * width
    }
}

/// Parameters outside and inside the backbone.
fn sides(shape: &Dlcm) -> [f64; 2] {
    let params = Architecture::Dlcm(shape.clone()).params();
    [
        (params.non_embedding() - params.backbone) as f64,
        params.backbone as f64,
    ]
}

impl Cost for CostModel {
    fn convention(&self) -> &str {
        self.name()
    }

    fn training_per_token(&self, shape: &Shape) -> f64 {
        let share = shape.concept_share;
        match (self.convention, &self.shapes) {
            (Convention::SixN, _) => 6.0 * shape.params,
            (Convention::Exact, Some(shapes)) => 3.0 * shapes.forward(shape),
            _ => 6.0 * shape.params * (1.0 - share + share / shape.compression_ratio),
        }
    }

    fn inference_per_token(&self, shape: &Shape) -> f64 {
        // The same parts, forward only.
        self.training_per_token(shape) / 3.0
    }
}

impl Cost for TokenOnlyCost<'_> {
    fn convention(&self) -> &str {
        self.0.name()
    }

    fn training_per_token(&self, shape: &Shape) -> f64 {
        let Self(cost) = self;
        let shapes = cost.shapes.as_ref().filter(|_| shape.concept_share == 0.0);
        match (cost.convention, shapes) {
            (
                Convention::Exact,
                Some(
                    smooth @ SmoothShapes {
                        token_only: Some(own),
                        ..
                    },
                ),
            ) => 3.0 * smooth.forward_token_only(own, shape.params),
            _ => cost.training_per_token(shape),
        }
    }

    fn inference_per_token(&self, shape: &Shape) -> f64 {
        self.training_per_token(shape) / 3.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smooth_counts_follow_the_exact_ones() {
        let settings = ShapeSettings::default();
        let cost = CostModel::new(Convention::Exact, &settings, 1024, 2e5);
        let shapes = cost.shapes.expect("shapes were solved");
        assert!(shapes.deviation < 0.16, "{}", shapes.deviation);
        // Far beyond the lattice too: the exponents are those of the solver's proportions.
        for (params, share) in [(2e8 as u64, 0.5), (1e9 as u64, 0.6)] {
            let real = settings
                .solve_dlcm(params, share, 4.0, 1024)
                .expect("solvable");
            assert!(shapes.deviates(&real, 4.0) < 0.1, "{params}");
        }
    }

    #[test]
    fn costs_grow_with_n_and_fall_with_r() {
        let settings = ShapeSettings::default();
        for convention in [Convention::Exact, Convention::SixN, Convention::SixNActive] {
            let cost = CostModel::new(convention, &settings, 256, 2e5);
            for share in [0.05, 0.3, 0.6, 0.95] {
                for size in [1e5, 1e6, 1e8, 1e10] {
                    let at = |params: f64, ratio: f64| {
                        cost.training_per_token(&Shape {
                            params,
                            concept_share: share,
                            compression_ratio: ratio,
                        })
                    };
                    assert!(at(1.1 * size, 4.0) > at(size, 4.0));
                    assert!(at(size, 4.0) >= at(size, 6.0));
                }
            }
        }
    }

    #[test]
    fn a_token_level_alone_costs_less_than_a_dense_model() {
        let settings = ShapeSettings::default();
        let cost = CostModel::new(Convention::Exact, &settings, 1024, 2e5);
        for params in [2e5, 1e6, 1e8] {
            let alone = Shape {
                params,
                concept_share: 0.0,
                compression_ratio: 1.0,
            };
            let dense = cost.training_per_token(&alone);
            let local = TokenOnlyCost(&cost).training_per_token(&alone);
            assert!(local < dense && local > 6.0 * params, "{local} {dense}");
            let whole = Shape {
                concept_share: 0.5,
                compression_ratio: 4.0,
                ..alone
            };
            let same = TokenOnlyCost(&cost).training_per_token(&whole);
            assert_eq!(same, cost.training_per_token(&whole));
        }
    }

    #[test]
    fn settings_without_shapes_fall_back_and_say_so() {
        let settings = ShapeSettings {
            head_size: Some(4096),
            ..ShapeSettings::default()
        };
        let cost = CostModel::new(Convention::Exact, &settings, 256, 2e5);
        assert_eq!((cost.name(), cost.shapes), ("6N_active", None));
    }
}
