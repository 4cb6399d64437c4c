//! How well a fit describes its rows, and what pattern is left.

use serde::{Deserialize, Serialize};

use crate::fit::design::Design;
use crate::fit::law::Law;
use crate::fit::observations::Observations;
use crate::fit::solve::spread;

/// How much of the data a fit explains, and what is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goodness {
    /// Coefficient of determination on the response; `None` when the response is constant.
    pub r2: Option<f64>,
    /// Coefficient of determination on the logarithm of the response.
    pub r2_log: Option<f64>,
    /// Mean log residual (predicted over observed).
    pub mean_residual: f64,
    /// Root mean square log residual.
    pub rms_residual: f64,
    /// Robust scale of the log residuals (1.4826 × median absolute deviation).
    pub robust_residual: f64,
    /// Correlation of successive residuals within clusters; near 1 means rows of a run are not
    /// independent, and only resampling whole runs gives honest intervals.
    pub autocorrelation: Option<f64>,
    /// Trend of the residuals along every input, where it is significant.
    pub trends: Vec<Trend>,
    /// The five rows (of the original data, from 0) with the largest residuals.
    pub worst_rows: Vec<(usize, f64)>,
}

/// A trend left in the residuals: the law misses something along this column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// The column.
    pub column: String,
    /// Change of the log residual per e-fold of the column.
    pub slope: f64,
    /// The slope in standard errors.
    pub t: f64,
}

/// Trends below this many standard errors are not reported.
const SIGNIFICANT: f64 = 3.0;

pub(crate) fn goodness(
    law: &dyn Law,
    data: &Observations,
    design: &Design<'_>,
    residuals: &[f64],
) -> Goodness {
    let n = residuals.len() as f64;
    let mean_residual = residuals.iter().sum::<f64>() / n;
    let rms_residual = (residuals.iter().map(|r| r * r).sum::<f64>() / n).sqrt();
    let ln_loss = &design.target;
    let loss: Vec<f64> = ln_loss.iter().map(|t| t.exp()).collect();
    let predicted = ln_loss.iter().zip(residuals).map(|(t, r)| (t + r).exp());
    let errors: f64 = predicted.zip(&loss).map(|(p, l)| (p - l).powi(2)).sum();
    let trends = law
        .inputs()
        .iter()
        .filter_map(|input| trend(&input.name, data.column(&input.name)?, residuals))
        .filter(|trend| trend.t.abs() > SIGNIFICANT)
        .collect();
    let mut order: Vec<usize> = (0..residuals.len()).collect();
    let worst = 5.min(order.len());
    if worst < order.len() {
        order.select_nth_unstable_by(worst, |a, b| {
            residuals[*b].abs().total_cmp(&residuals[*a].abs())
        });
    }
    order.truncate(worst);
    order.sort_by(|a, b| residuals[*b].abs().total_cmp(&residuals[*a].abs()));
    Goodness {
        r2: determination(&loss, errors),
        r2_log: determination(ln_loss, residuals.iter().map(|r| r * r).sum()),
        mean_residual,
        rms_residual,
        robust_residual: spread(residuals),
        autocorrelation: autocorrelation(data.clusters(), residuals),
        trends,
        worst_rows: order
            .iter()
            .map(|r| (data.source_rows()[*r], residuals[*r]))
            .collect(),
    }
}

/// One minus the share of the variance that errors leave.
fn determination(values: &[f64], squared_errors: f64) -> Option<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let total: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (total > 0.0).then(|| 1.0 - squared_errors / total)
}

fn autocorrelation(clusters: &[usize], residuals: &[f64]) -> Option<f64> {
    let (mut product, mut squares, mut pairs) = (0.0, 0.0, 0_usize);
    for (c, r) in clusters.windows(2).zip(residuals.windows(2)) {
        if c[0] == c[1] {
            product += r[0] * r[1];
            squares += 0.5 * (r[0] * r[0] + r[1] * r[1]);
            pairs += 1;
        }
    }
    (pairs >= 10 && squares > 0.0).then(|| product / squares)
}

fn trend(column: &str, values: &[f64], residuals: &[f64]) -> Option<Trend> {
    let n = values.len() as f64;
    let x_mean = values.iter().map(|v| v.ln()).sum::<f64>() / n;
    let r_mean = residuals.iter().sum::<f64>() / n;
    let (mut xx, mut xr, mut rr) = (0.0, 0.0, 0.0);
    for (v, r) in values.iter().zip(residuals) {
        let (x, r) = (v.ln() - x_mean, r - r_mean);
        xx += x * x;
        xr += x * r;
        rr += r * r;
    }
    if xx <= 1e-12 || n < 4.0 {
        return None;
    }
    let slope = xr / xx;
    let error = ((rr - slope * xr).max(0.0) / (n - 2.0) / xx).sqrt();
    let t = if error > 0.0 { slope / error } else { 0.0 };
    Some(Trend {
        column: column.to_owned(),
        slope,
        t,
    })
}
