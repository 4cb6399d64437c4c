//! Chinchilla's approaches 1 and 2: compute-optimal size without a parametric loss.
//!
//! Both regress the optimum of measured losses on compute, `N* ∝ C^a`, `D* ∝ C^b`. They are kept for
//! comparison with published numbers, and their biases are known:
//!
//! * **Approach 1 (envelope).** The minimum over trajectories that happen to exist picks lucky seeds
//!   (a minimum over noise is biased down), is quantised to the sizes that were trained, and compares
//!   runs in the middle of their schedule, which favours runs whose schedule was short (Hoffmann et
//!   al. match the schedule; Hägele et al., arXiv 2405.18392, use constant rates).
//! * **Approach 2 (isoFLOP parabolas).** The loss is no parabola in ln N unless the exponents are
//!   equal: a fit over a wide or off-centre grid moves the vertex, so the constants are biased, and
//!   the exponents too if width or centre of the grid drift with C (shown on exact, noise-free data
//!   by Open-Athena/vpnls). Narrow, centred grids shrink the bias and inflate the noise.
//! * **Both** inherit how parameters and FLOPs were counted: with embeddings or without moves the
//!   exponent at small sizes (Pearce & Song, arXiv 2406.12907; Porian et al., arXiv 2406.19146).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::matrix::Symmetric;
use super::observations::{ObservationError, Observations};

/// A compute-optimal setting read off measured losses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimalPoint {
    /// Training FLOPs.
    pub flops: f64,
    /// Parameters at the optimum.
    pub params: f64,
    /// Tokens at the optimum.
    pub tokens: f64,
    /// Loss at the optimum.
    pub loss: f64,
}

/// A power of compute, `coefficient · C^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComputePower {
    /// The factor.
    pub coefficient: f64,
    /// The exponent.
    pub exponent: f64,
    /// Standard error of the exponent; `None` with two points. It knows nothing of the bias.
    pub exponent_error: Option<f64>,
}

impl ComputePower {
    /// Returns the value at a budget.
    pub fn at(&self, flops: f64) -> f64 {
        self.coefficient * flops.powf(self.exponent)
    }
}

/// What an approach found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Approach {
    /// The optimal settings that were regressed.
    pub points: Vec<OptimalPoint>,
    /// N* as a power of C.
    pub params: ComputePower,
    /// D* as a power of C.
    pub tokens: ComputePower,
    /// Budgets without a usable optimum, with the reason.
    pub dropped: Vec<(f64, Dropped)>,
}

/// Why a budget has no usable optimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// Fewer than three sizes.
    TooFewSizes,
    /// The lowest loss is at the smallest or largest size: the optimum lies outside.
    AtEdge,
    /// The parabola opens downwards.
    NotConvex,
}

/// Why an approach gave nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IsoflopError {
    /// The data lack a column or hold a bad value.
    #[error(transparent)]
    Observations(#[from] ObservationError),
    /// Fewer than two budgets have an optimum inside their sizes.
    #[error("{usable} of {budgets} budgets have an optimum inside their sizes; 2 are needed")]
    TooFewBudgets {
        /// Budgets with an optimum.
        usable: usize,
        /// Budgets looked at.
        budgets: usize,
    },
}

/// Approach 1: the lower envelope of training curves (the clusters), at `per_decade` budgets.
///
/// Needs columns `params`, `tokens`, `flops`, `loss`; a curve is interpolated in logarithms and never
/// extrapolated.
///
/// # Errors
/// [`IsoflopError`] for unusable data or fewer than two usable budgets.
pub fn envelope(data: &Observations, per_decade: usize) -> Result<Approach, IsoflopError> {
    let [params, tokens, flops, loss] = columns(data)?;
    let mut curves: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, cluster) in data.clusters().iter().enumerate() {
        curves.entry(*cluster).or_default().push(row);
    }
    for rows in curves.values_mut() {
        rows.sort_by(|a, b| flops[*a].total_cmp(&flops[*b]));
    }
    let low = flops.iter().copied().fold(f64::INFINITY, f64::min).log10();
    let high = flops.iter().copied().fold(0.0, f64::max).log10();
    let budgets = ((high - low) * per_decade.max(1) as f64).ceil() as usize;
    let (mut points, mut dropped) = (Vec::new(), Vec::new());
    for index in 0..=budgets {
        let budget = 10_f64.powf(low + (high - low) * index as f64 / budgets.max(1) as f64);
        let mut here: Vec<OptimalPoint> = curves
            .values()
            .filter_map(|rows| {
                let next = rows.iter().position(|row| flops[*row] >= budget)?;
                let (a, b) = (rows[next.saturating_sub(1)], rows[next]);
                if flops[a] > budget {
                    return None;
                }
                let width = (flops[b] / flops[a]).ln();
                let share = if width > 0.0 {
                    (budget / flops[a]).ln() / width
                } else {
                    0.0
                };
                let blend = |v: &[f64]| (v[a].ln() * (1.0 - share) + v[b].ln() * share).exp();
                let (params, tokens, loss) = (blend(params), blend(tokens), blend(loss));
                Some(OptimalPoint {
                    flops: budget,
                    params,
                    tokens,
                    loss,
                })
            })
            .collect();
        here.sort_by(|a, b| a.params.total_cmp(&b.params));
        let sizes = here
            .windows(2)
            .filter(|p| p[0].params != p[1].params)
            .count()
            + 1;
        let best = here.iter().min_by(|a, b| a.loss.total_cmp(&b.loss));
        match (best, here.first(), here.last()) {
            (Some(best), Some(first), Some(last)) if sizes >= 3 => {
                if best.params == first.params || best.params == last.params {
                    dropped.push((budget, Dropped::AtEdge));
                } else {
                    points.push(*best);
                }
            }
            _ => dropped.push((budget, Dropped::TooFewSizes)),
        }
    }
    approach(points, dropped)
}

/// Approach 2: a parabola of the loss in ln N at every budget.
///
/// Needs columns `params`, `tokens`, `flops`, `loss`; rows whose FLOPs agree within `tolerance`
/// (relative, such as 0.05) form one budget.
///
/// # Errors
/// [`IsoflopError`] for unusable data or fewer than two usable budgets.
pub fn parabolas(data: &Observations, tolerance: f64) -> Result<Approach, IsoflopError> {
    let [params, tokens, flops, loss] = columns(data)?;
    let mut order: Vec<usize> = (0..data.len()).collect();
    order.sort_by(|a, b| flops[*a].total_cmp(&flops[*b]));
    let (mut points, mut dropped) = (Vec::new(), Vec::new());
    let mut rest = order.as_slice();
    while let Some(&first) = rest.first() {
        let end = rest.partition_point(|row| flops[*row] <= flops[first] * (1.0 + tolerance));
        let (rows, others) = rest.split_at(end);
        rest = others;
        let n = rows.len() as f64;
        let mean = |v: &[f64]| (rows.iter().map(|r| v[*r].ln()).sum::<f64>() / n).exp();
        let budget = mean(flops);
        match vertex(rows, params, loss) {
            Ok((size, lowest)) => {
                // Tokens follow from the budget's FLOPs per parameter and token.
                let per_pair = budget / (mean(params) * mean(tokens));
                let tokens = budget / (per_pair * size);
                points.push(OptimalPoint {
                    flops: budget,
                    params: size,
                    tokens,
                    loss: lowest,
                });
            }
            Err(reason) => dropped.push((budget, reason)),
        }
    }
    approach(points, dropped)
}

/// Vertex of the least-squares parabola of the loss in ln N.
fn vertex(rows: &[usize], params: &[f64], loss: &[f64]) -> Result<(f64, f64), Dropped> {
    let x: Vec<f64> = rows.iter().map(|r| params[*r].ln()).collect();
    let low = x.iter().copied().fold(f64::INFINITY, f64::min);
    let high = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut different = x.clone();
    different.sort_by(f64::total_cmp);
    different.dedup();
    if different.len() < 3 {
        return Err(Dropped::TooFewSizes);
    }
    let center = 0.5 * (low + high);
    let mut normal = Symmetric::zeros(3);
    let mut right = [0.0; 3];
    for (x, row) in x.iter().zip(rows) {
        let basis = [1.0, x - center, (x - center).powi(2)];
        normal.add_outer_lower(1.0, &basis);
        right
            .iter_mut()
            .zip(basis)
            .for_each(|(r, b)| *r += b * loss[*row]);
    }
    normal.mirror();
    let c = normal.solve(&right).ok_or(Dropped::TooFewSizes)?;
    if c[2] <= 0.0 {
        return Err(Dropped::NotConvex);
    }
    let shift = -0.5 * c[1] / c[2];
    if center + shift <= low || center + shift >= high {
        return Err(Dropped::AtEdge);
    }
    Ok(((center + shift).exp(), c[0] + 0.5 * c[1] * shift))
}

fn columns(data: &Observations) -> Result<[&[f64]; 4], ObservationError> {
    let names = ["params", "tokens", "flops", "loss"];
    let mut columns = [[].as_slice(); 4];
    for (to, name) in columns.iter_mut().zip(names) {
        *to = data.required(name)?;
        if let Some(row) = to.iter().position(|v| !(v.is_finite() && *v > 0.0)) {
            return Err(ObservationError::Value {
                row: data.source_rows()[row],
                column: name.to_owned(),
                value: to[row],
                expected: "a finite number above 0".to_owned(),
            });
        }
    }
    Ok(columns)
}

fn approach(
    points: Vec<OptimalPoint>,
    dropped: Vec<(f64, Dropped)>,
) -> Result<Approach, IsoflopError> {
    let budgets = points.len() + dropped.len();
    let too_few = IsoflopError::TooFewBudgets {
        usable: points.len(),
        budgets,
    };
    let (Some(params), Some(tokens)) = (
        regress(&points, |p| p.params),
        regress(&points, |p| p.tokens),
    ) else {
        return Err(too_few);
    };
    Ok(Approach {
        points,
        params,
        tokens,
        dropped,
    })
}

/// Least squares of a logarithm on ln C; `None` without two different budgets.
fn regress(points: &[OptimalPoint], value: fn(&OptimalPoint) -> f64) -> Option<ComputePower> {
    let n = points.len() as f64;
    let x_mean = points.iter().map(|p| p.flops.ln()).sum::<f64>() / n;
    let y_mean = points.iter().map(|p| value(p).ln()).sum::<f64>() / n;
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for point in points {
        let (x, y) = (point.flops.ln() - x_mean, value(point).ln() - y_mean);
        xx += x * x;
        xy += x * y;
        yy += y * y;
    }
    if points.len() < 2 || xx <= 0.0 {
        return None;
    }
    let exponent = xy / xx;
    let coefficient = (y_mean - exponent * x_mean).exp();
    let exponent_error =
        (points.len() > 2).then(|| ((yy - exponent * xy).max(0.0) / (n - 2.0) / xx).sqrt());
    Some(ComputePower {
        coefficient,
        exponent,
        exponent_error,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Losses of a Chinchilla law with equal exponents, whose optimum is known and symmetric.
    fn symmetric(spread: f64) -> Observations {
        let mut columns = vec![Vec::new(); 4];
        for budget in [1e18, 1e19, 1e20, 1e21] {
            let best = f64::sqrt(budget / 6.0) * 0.5;
            for step in -4..=4 {
                let params = best * (f64::from(step) * spread).exp();
                let tokens = budget / (6.0 * params);
                let loss = 1.8
                    + 400.0 * 0.25_f64.powf(0.35) / params.powf(0.35)
                    + 400.0 / tokens.powf(0.35);
                let values = [params, tokens, budget, loss];
                columns.iter_mut().zip(values).for_each(|(c, v)| c.push(v));
            }
        }
        Observations::new(
            ["params", "tokens", "flops", "loss"]
                .into_iter()
                .zip(columns),
        )
        .unwrap()
    }

    #[test]
    fn parabolas_find_a_symmetric_optimum() {
        let found = parabolas(&symmetric(0.2), 0.05).unwrap();
        assert_eq!(found.points.len(), 4);
        assert!(
            (found.params.exponent - 0.5).abs() < 1e-9
                && (found.tokens.exponent - 0.5).abs() < 1e-9
        );
        assert!((found.params.at(1e20) / (0.5 * (1e20_f64 / 6.0).sqrt()) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn an_optimum_outside_the_sizes_is_dropped() {
        let data = symmetric(0.2).exclude("small", |row| {
            row.get("params") < row.get("flops").map(|c| 0.6 * (c / 6.0).sqrt())
        });
        let error = parabolas(&data, 0.05).unwrap_err();
        assert_eq!(
            error,
            IsoflopError::TooFewBudgets {
                usable: 0,
                budgets: 4
            }
        );
    }

    #[test]
    fn the_envelope_of_trajectories_follows_the_optimum() {
        let (mut columns, mut runs) = (vec![Vec::new(); 4], Vec::new());
        for size in 0..40 {
            let params = 1e7 * 1.2_f64.powi(size);
            for point in 0..60 {
                let tokens = params * 0.2 * 1.15_f64.powi(point);
                let loss = 1.8 + 400.0 / params.powf(0.35) + 400.0 / tokens.powf(0.35);
                let values = [params, tokens, 6.0 * params * tokens, loss];
                columns.iter_mut().zip(values).for_each(|(c, v)| c.push(v));
                runs.push(size.to_string());
            }
        }
        let names = ["params", "tokens", "flops", "loss"];
        let data = Observations::new(names.into_iter().zip(columns))
            .unwrap()
            .with_clusters(&runs)
            .unwrap();
        let found = envelope(&data, 10).unwrap();
        assert!(
            (found.params.exponent - 0.5).abs() < 0.02,
            "{:?}",
            found.params
        );
    }
}
