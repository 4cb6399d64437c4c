//! Profile likelihood: how far one parameter can go while the others make up for it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::design::{Design, Pin};
use super::estimate::{Fit, FitError};
use super::law::{FittedLaw, Law, LawError, Role};
use super::observations::Observations;
use super::solve::{Outcome, descend, median};

/// How the objective rises when one parameter is held away from its estimate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The parameter.
    pub parameter: String,
    /// Coverage of the interval.
    pub level: f64,
    /// Ends of the interval; `None` where the objective never rises enough: the data do not bound
    /// the parameter on that side.
    pub interval: [Option<f64>; 2],
    /// Objective at which the interval ends.
    pub threshold: f64,
    /// The refits, ordered by the parameter's value.
    pub points: Vec<ProfilePoint>,
}

/// A refit with the parameter held.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfilePoint {
    /// The held value.
    pub value: f64,
    /// Lowest objective found with it.
    pub objective: f64,
    /// How the refit ended.
    pub outcome: Outcome,
}

/// Steps outwards before a side counts as open.
const STEPS: usize = 40;

/// Profiles one parameter.
///
/// The threshold is the likelihood ratio's, scaled for the robust objective:
/// `Q_min + ½ z² Σψ²/Σψ'`. It takes rows as independent; for trajectories the bootstrap over runs is
/// the honest interval.
///
/// # Errors
/// [`FitError`] when the parameter does not exist, `level` is not in (0, 1), or `fit` is not a fit
/// of `law` to such data.
pub fn profile(
    law: &Arc<dyn Law>,
    data: &Observations,
    fit: &Fit,
    parameter: &str,
    level: f64,
) -> Result<Profile, FitError> {
    if !(level > 0.0 && level < 1.0) {
        return Err(FitError::Options("level must be in (0, 1)".into()));
    }
    let parameters = law.parameters();
    let Some(index) = parameters.iter().position(|p| p.name == parameter) else {
        return Err(FitError::Law(LawError::Parameters {
            law: law.name(),
            expected: parameters.into_iter().map(|p| p.name).collect(),
            problem: format!("there is no `{parameter}`"),
        }));
    };
    let mut design = Design::new(law.as_ref(), data)?.under(fit.options.objective);
    let named = FittedLaw::from_named(law.clone(), |name| fit.parameters.get(name).copied())?;
    let best = law.internal(named.parameters(), &design.frame);
    let objective = fit.options.objective;
    let lowest = descend(&design, objective, &best);
    let z = normal_quantile(0.5 * (1.0 + level));
    let threshold = lowest.objective + 0.5 * z * z * scale(&design, &lowest.u, objective.width());

    let estimate = named.parameters()[index];
    // Amplitudes and offsets are walked by factors, everything else by steps of its standard error.
    let by_factor = parameters[index].role != Role::Nonlinear && estimate > 0.0;
    let error = fit
        .identification
        .standard_errors
        .get(parameter)
        .and_then(|e| e.0);
    let error = error
        .filter(|e| *e > 0.0)
        .unwrap_or(0.1 * estimate.abs().max(1e-3));
    let step = if by_factor {
        (error / estimate).clamp(1e-9, 0.7)
    } else {
        error
    };
    let place = |distance: f64| {
        if by_factor {
            estimate * distance.exp()
        } else {
            estimate + distance
        }
    };

    let mut points = vec![ProfilePoint {
        value: estimate,
        objective: lowest.objective,
        outcome: lowest.outcome,
    }];
    let mut interval = [None, None];
    for (side, sign) in [(0, -1.0), (1, 1.0)] {
        let mut from = lowest.u.clone();
        let (mut inside, mut stride) = (0.0, step);
        let mut refit = |distance: f64, from: &[f64]| {
            let value = place(sign * distance);
            design.pin = Some(Pin { index, value });
            // A value beyond the parameter's bounds cannot be held.
            let (full, _) = design.pinned(from);
            let held = full[index];
            if !(held >= design.lower[index] && held <= design.upper[index]) {
                return None;
            }
            let end = descend(&design, objective, &full);
            points.push(ProfilePoint {
                value,
                objective: end.objective,
                outcome: end.outcome,
            });
            Some(end)
        };
        for _ in 0..STEPS {
            let Some(end) = refit(inside + stride, &from) else {
                break;
            };
            if end.objective <= threshold {
                inside += stride;
                stride *= 1.6;
                from = end.u;
                continue;
            }
            let (mut low, mut high) = (inside, inside + stride);
            for _ in 0..12 {
                let middle = 0.5 * (low + high);
                match refit(middle, &from) {
                    Some(end) if end.objective <= threshold => {
                        low = middle;
                        from = end.u;
                    }
                    _ => high = middle,
                }
            }
            interval[side] = Some(place(sign * 0.5 * (low + high)));
            break;
        }
    }
    points.sort_by(|a, b| a.value.total_cmp(&b.value));
    Ok(Profile {
        parameter: parameter.to_owned(),
        level,
        interval,
        threshold,
        points,
    })
}

/// `Σψ²/Σψ'`: what turns a rise of the objective into a log likelihood ratio.
fn scale(design: &Design<'_>, u: &[f64], delta: f64) -> f64 {
    let sums = design.sums(u, delta);
    let residuals = design.residuals(u);
    let mut sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
    let typical = median(&mut sizes);
    if delta > 0.3 * typical {
        return sums.squared_influence / sums.count_inside;
    }
    // Few rows lie within a narrow width: estimate their density from a wider band.
    let near = residuals
        .iter()
        .zip(&design.weight)
        .filter(|(r, _)| r.abs() <= typical);
    let density = near.map(|(_, w)| w).sum::<f64>() / typical;
    sums.squared_influence / (density * delta)
}

/// Returns the standard normal quantile (Acklam's rational approximation, to 1e-9 relative).
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 5] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 4] = [
        7.784695709041462e-3,
        3.224671290700398e-1,
        2.445134137142996,
        3.754408661907416,
    ];
    let horner = |c: &[f64], x: f64| c.iter().fold(0.0, |sum, v| sum * x + v);
    if p > 0.97575 {
        let q = (-2.0 * (1.0 - p).ln()).sqrt();
        return -horner(&C, q) / (horner(&D, q) * q + 1.0);
    }
    let q = p - 0.5;
    let r = q * q;
    q * horner(&A, r) / (horner(&B, r) * r + 1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fit::law::by_name;
    use crate::fit::{FitOptions, Objective, fit};

    #[test]
    fn normal_quantiles_are_the_tables() {
        for (p, z) in [
            (0.75, 0.6744897502),
            (0.95, 1.6448536270),
            (0.975, 1.9599639845),
            (0.995, 2.5758293035),
        ] {
            assert!((normal_quantile(p) - z).abs() < 1e-8, "{p}");
        }
    }

    /// The decay law is linear in logarithms, so with L2 the profile is the textbook interval.
    #[test]
    fn a_linear_law_has_its_textbook_interval() {
        let law = by_name("dlcm_decay").unwrap();
        let mut columns = vec![Vec::new(); 4];
        for i in 0..60 {
            let at = |k: usize| ((i * k) % 17) as f64 / 17.0;
            let (l, r, n) = (2.0 + at(3), 1.0 + 7.0 * at(5), 1e8 * (1.0 + 9.0 * at(7)));
            let noise = 0.05 * (i as f64 * 2.399).sin();
            columns[0].push(l);
            columns[1].push(r);
            columns[2].push(n);
            columns[3].push(0.01 * l.powf(1.8) * r.powf(-0.1) * n.powf(0.06) * noise.exp());
        }
        let names = ["stable_loss", "compression_ratio", "params", "decay_gain"];
        let data = Observations::new(names.into_iter().zip(columns)).unwrap();
        let options = FitOptions {
            objective: Objective::L2,
            ..FitOptions::default()
        };
        let fitted = fit(&law, &data, &options).unwrap();
        let profile = profile(&law, &data, &fitted, "b", 0.95).unwrap();
        let error = fitted.identification.standard_errors["b"].0.unwrap();
        let [low, high] = profile.interval.map(|end| end.unwrap());
        // The standard error divides by n − k, the likelihood ratio by n.
        let half = 1.959964 * error * (56.0_f64 / 60.0).sqrt();
        assert!(
            (high - fitted.parameters["b"] - half).abs() < 0.01 * half,
            "{high} {half}"
        );
        assert!((fitted.parameters["b"] - low - half).abs() < 0.01 * half);
    }
}
