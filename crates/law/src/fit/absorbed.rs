//! What a fit takes of noise that rows share.

use super::design::Design;
use super::matrix::Symmetric;
use super::solve::SILENT;
use super::{Fit, FitError, FittedLaw, Law, Observations};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Counts how many rows' variance of the noise a fit explains away: as many as it has parameters where every row varies
/// by itself, and more where the rows of a cluster share a part of their variance, since a parameter that follows what
/// they share follows all of it. The squares of the residuals are those of the noise without these.
///
/// It is the trace of the noise's correlations times the projection on the law's slopes, as of least squares.
///
/// # Errors
/// [`FitError`] when the data or the fit are not of this law.
pub fn absorbed(
    law: &Arc<dyn Law>,
    data: &Observations,
    fit: &Fit,
    shared: f64,
) -> Result<f64, FitError> {
    let parameters = fit.parameters.len() as f64;
    if data.n_clusters() == data.len() {
        return Ok(parameters);
    }
    let design = Design::new(law.as_ref(), data)?;
    let named = FittedLaw::from_named(law.clone(), |name| fit.parameters.get(name).copied())?;
    let at = law.internal(named.parameters(), &design.frame);
    let Some(Slopes { rows, information }) = Slopes::at(&design, &at) else {
        return Ok(parameters);
    };
    // Of each cluster its rows alone, and what they have in common: the sum of them.
    let mut common: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let taken_by = |slopes: &[f64]| -> Option<f64> {
        let solved = information.solve(slopes)?;
        Some(solved.iter().zip(slopes).map(|(a, b)| a * b).sum())
    };
    let mut taken = 0.0;
    for ((row, cluster), weight) in rows.iter().zip(data.clusters()).zip(&design.weight) {
        let row: Vec<f64> = row.iter().map(|slope| slope * weight.sqrt()).collect();
        let Some(alone) = taken_by(&row) else {
            return Ok(parameters);
        };
        taken += (1.0 - shared) * alone;
        let sum = common
            .entry(*cluster)
            .or_insert_with(|| vec![0.0; row.len()]);
        sum.iter_mut()
            .zip(&row)
            .for_each(|(sum, slope)| *sum += slope);
    }
    for sum in common.values() {
        taken += shared * taken_by(sum).unwrap_or(0.0);
    }
    Ok(taken)
}

/// How much of each row's noise a fit explains away, as least squares do: what is left of its variance is 1 minus that.
/// Nothing where the rows do not determine the law.
pub(super) fn leverages(design: &Design<'_>, at: &[f64]) -> Option<Vec<f64>> {
    let Slopes { rows, information } = Slopes::at(design, at)?;
    let one = |(row, weight): (&Vec<f64>, &f64)| {
        let solved = information.solve(row)?;
        Some(weight * solved.iter().zip(row).map(|(a, b)| a * b).sum::<f64>())
    };
    rows.iter().zip(&design.weight).map(one).collect()
}

/// The slopes of log predictions by the coordinates that may move: row by row, and summed up.
struct Slopes {
    rows: Vec<Vec<f64>>,
    information: Symmetric,
}

impl Slopes {
    /// `None` where the rows do not determine the law.
    fn at(design: &Design<'_>, at: &[f64]) -> Option<Self> {
        let information = design.information(at);
        let free: Vec<usize> = (0..at.len())
            .filter(|&j| information.at(j, j) > SILENT * design.rows() as f64)
            .filter(|&j| design.lower[j] < at[j] && at[j] < design.upper[j])
            .collect();
        let information = information.submatrix(&free);
        information.solve(&vec![0.0; free.len()])?;
        let rows = design.relative_slopes(at).into_iter();
        let rows = rows.map(|row| free.iter().map(|j| row[*j]).collect());
        Some(Self {
            rows: rows.collect(),
            information,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fit::law::by_name;
    use crate::fit::{FitOptions, fit};

    #[test]
    fn what_rows_share_is_taken_whole() {
        let (mut columns, mut trunks) = (vec![Vec::new(); 3], Vec::new());
        for (n, params) in [1e7, 1e8, 1e9].into_iter().enumerate() {
            for tokens in [1e9, 1e10, 1e11, 1e12] {
                let loss = 1.8 + 480.0 / f64::powf(params, 0.35) + 2100.0 / f64::powf(tokens, 0.37);
                let noisy = loss * (1.0 + 1e-3 * (loss * 1e4).sin());
                columns
                    .iter_mut()
                    .zip([params, tokens, noisy])
                    .for_each(|(c, v)| c.push(v));
                trunks.push(n.to_string());
            }
        }
        let law = by_name("chinchilla").unwrap();
        let data =
            Observations::new(["params", "tokens", "loss"].into_iter().zip(columns)).unwrap();
        let found = fit(&law, &data, &FitOptions::default()).unwrap();
        assert_eq!(absorbed(&law, &data, &found, 0.5).unwrap(), 5.0);
        let branches = data.with_clusters(&trunks).unwrap();
        let taken = absorbed(&law, &branches, &found, 0.5).unwrap();
        // E, A and alpha follow the three trunks: of each, half of its variance and half of four times that. B and beta
        // follow what is left along them: half. Nearly, since slopes are relative to a loss that falls along them.
        assert!((taken - (3.0 * 2.5 + 2.0 * 0.5)).abs() < 0.1, "{taken}");
        let alone = absorbed(&law, &branches, &found, 0.0).unwrap();
        assert!((alone - 5.0).abs() < 1e-9, "{alone}");
    }
}
