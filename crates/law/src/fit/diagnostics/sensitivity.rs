//! Whether a conclusion moves under choices that could as well have been made differently.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::fit::estimate::{Fit, FitError, FitOptions, fit};
use crate::fit::law::Law;
use crate::fit::objective::Objective;
use crate::fit::observations::Observations;
use crate::fit::solve::{Outcome, median};

/// A refit under another choice that could as well have been made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refit {
    /// The choice.
    pub change: Change,
    /// Natural parameters by name.
    pub parameters: BTreeMap<String, f64>,
    /// How the fit ended.
    pub outcome: Outcome,
    /// Prediction at the reference point.
    pub prediction: f64,
}

/// A choice made differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Another objective.
    Objective(Objective),
    /// Without the smallest tenth of a column.
    WithoutSmallest(String),
    /// Without the given number of rows with the largest residuals.
    WithoutWorst(usize),
}

/// Whether a conclusion depends on choices that could as well have been made differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// The reference point: 10× the largest value of every resource, medians of the rest.
    pub reference: BTreeMap<String, f64>,
    /// The fit's own prediction there.
    pub prediction: f64,
    /// The refits.
    pub refits: Vec<Refit>,
    /// Choices under which the law could not be fitted, with the reason.
    pub problems: Vec<(Change, String)>,
    /// Largest relative change of the prediction.
    pub largest_change: f64,
}

/// Refits under other Huber widths, other objectives and without the most arguable rows.
///
/// # Errors
/// [`FitError`] when `fit` is not a fit of `law` to such data.
pub fn sensitivity(
    law: &Arc<dyn Law>,
    data: &Observations,
    fitted: &Fit,
) -> Result<Sensitivity, FitError> {
    let mut reference = BTreeMap::new();
    for input in law.inputs() {
        let mut values = data.required(&input.name)?.to_vec();
        let value = match input.helps {
            Some(true) => 10.0 * values.iter().copied().fold(0.0, f64::max),
            _ => median(&mut values),
        };
        reference.insert(input.name, value);
    }
    let at = |fit: &Fit| {
        fit.predict(|name| reference.get(name).copied())
            .map(|p| p.value)
    };
    let prediction = at(fitted)?;

    let deltas = [1e-4, 1e-3, 1e-2];
    let objectives = match fitted.options.objective {
        // A law of the best recipes is not compared with one of all.
        Objective::Asymmetric { above, .. } => deltas
            .map(|delta| Objective::Asymmetric { delta, above })
            .to_vec(),
        Objective::Huber { .. } | Objective::L1 | Objective::L2 => {
            let hubers = deltas.map(|delta| Objective::Huber { delta });
            hubers
                .into_iter()
                .chain([Objective::L1, Objective::L2])
                .collect()
        }
    };
    let mut changes: Vec<Change> = objectives
        .into_iter()
        .filter(|objective| *objective != fitted.options.objective)
        .map(Change::Objective)
        .collect();
    let resources = law
        .inputs()
        .into_iter()
        .filter(|input| input.helps == Some(true));
    changes.extend(resources.map(|input| Change::WithoutSmallest(input.name)));
    changes.push(Change::WithoutWorst(fitted.goodness.worst_rows.len()));

    let results: Vec<(Change, Result<Refit, FitError>)> = changes
        .into_par_iter()
        .map(|change| {
            let refit = refit(law, data, fitted, &change).and_then(|fit| {
                Ok(Refit {
                    change: change.clone(),
                    prediction: at(&fit)?,
                    parameters: fit.parameters,
                    outcome: fit.outcome,
                })
            });
            (change, refit)
        })
        .collect();
    let (mut refits, mut problems) = (Vec::new(), Vec::new());
    for (change, result) in results {
        match result {
            Ok(refit) => refits.push(refit),
            Err(error) => problems.push((change, error.to_string())),
        }
    }
    let change = |refit: &Refit| (refit.prediction / prediction - 1.0).abs();
    let largest_change = refits.iter().map(change).fold(0.0, f64::max);
    Ok(Sensitivity {
        reference,
        prediction,
        refits,
        problems,
        largest_change,
    })
}

fn refit(
    law: &Arc<dyn Law>,
    data: &Observations,
    fitted: &Fit,
    change: &Change,
) -> Result<Fit, FitError> {
    let options = &fitted.options;
    match change {
        Change::Objective(objective) => fit(
            law,
            data,
            &FitOptions {
                objective: *objective,
                ..options.clone()
            },
        ),
        Change::WithoutSmallest(column) => {
            let values = data.required(column)?;
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            let limit = sorted[sorted.len() / 10];
            let keep: Vec<bool> = values.iter().map(|v| *v > limit).collect();
            fit(
                law,
                &data.clone().keep(&keep, "smallest tenth left out"),
                options,
            )
        }
        Change::WithoutWorst(_) => {
            let worst: Vec<usize> = fitted
                .goodness
                .worst_rows
                .iter()
                .map(|(row, _)| *row)
                .collect();
            let keep: Vec<bool> = data
                .source_rows()
                .iter()
                .map(|row| !worst.contains(row))
                .collect();
            fit(
                law,
                &data.clone().keep(&keep, "largest residual left out"),
                options,
            )
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fit::law::by_name;

    fn grid() -> Observations {
        let (mut n, mut d, mut loss) = (Vec::new(), Vec::new(), Vec::new());
        for params in [1e7, 3e7, 1e8, 3e8, 1e9] {
            for tokens in [1e9, 3e9, 1e10, 3e10] {
                n.push(params);
                d.push(tokens);
                loss.push(1.8 + 400.0 / f64::powf(params, 0.34) + 2000.0 / f64::powf(tokens, 0.37));
            }
        }
        Observations::new([("params", n), ("tokens", d), ("loss", loss)]).unwrap()
    }

    #[test]
    fn a_true_law_does_not_move() {
        let law = by_name("chinchilla").unwrap();
        let fitted = fit(&law, &grid(), &FitOptions::default()).unwrap();
        let moved = sensitivity(&law, &grid(), &fitted).unwrap();
        assert!(
            moved.largest_change < 1e-6 && moved.refits.len() >= 6,
            "{moved:?}"
        );
    }
}
