//! Judging laws by what they did not see, and asking whether a conclusion moves.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::fit::estimate::{Fit, FitError, FitOptions, fit};
use crate::fit::law::Law;
use crate::fit::objective::Objective;
use crate::fit::observations::Observations;
use crate::fit::solve::Outcome;

/// How well rows that were held out are predicted from the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Which rows were held out.
    pub rows: Which,
    /// Their number.
    pub n_rows: usize,
    /// Mean absolute relative error of the prediction.
    pub mean_error: f64,
    /// Worst absolute relative error.
    pub worst_error: f64,
    /// Mean relative error with its sign: positive when the law is too pessimistic.
    pub bias: f64,
    /// How the fit to the other rows ended.
    pub outcome: Outcome,
}

/// Rows that are held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// The rows with the largest values of a column.
    Largest {
        /// The column.
        column: String,
        /// The smallest value that is held out.
        from: f64,
    },
    /// Every cluster once, in so many folds.
    Folds(usize),
}

/// At least this share of the rows is held out, in whole values of the column.
const LARGEST_SHARE: f64 = 0.1;

/// Predicts the rows with the largest values of `column` from the others.
///
/// # Errors
/// [`FitError`] when the column is missing, has one value only, or the other rows cannot be fitted.
pub fn held_out_largest(
    law: &Arc<dyn Law>,
    data: &Observations,
    options: &FitOptions,
    column: &str,
) -> Result<HeldOut, FitError> {
    let values = data.required(column)?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = ((sorted.len() as f64 * LARGEST_SHARE).ceil() as usize).clamp(1, sorted.len());
    let from = sorted[sorted.len() - count];
    if sorted[0] == from {
        return Err(FitError::Options(format!(
            "`{column}` has too few different values to hold out the largest"
        )));
    }
    let test: Vec<bool> = values.iter().map(|v| *v >= from).collect();
    let (errors, outcome) = errors(law, data, options, &test)?;
    Ok(summary(
        Which::Largest {
            column: column.to_owned(),
            from,
        },
        &errors,
        outcome,
    ))
}

/// Predicts every cluster from the clusters of the other folds.
///
/// # Errors
/// [`FitError`] when there are fewer clusters than folds or a fold cannot be fitted.
pub fn cross_validated(
    law: &Arc<dyn Law>,
    data: &Observations,
    options: &FitOptions,
    folds: usize,
    seed: u64,
) -> Result<HeldOut, FitError> {
    let clusters = data.n_clusters();
    if folds < 2 || clusters < folds {
        return Err(FitError::Options(format!(
            "{clusters} runs cannot make {folds} folds"
        )));
    }
    let mut ids = data.clusters().to_vec();
    ids.sort_unstable();
    ids.dedup();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for i in (1..ids.len()).rev() {
        ids.swap(i, random.random_range(0..=i));
    }
    let fold: BTreeMap<usize, usize> = ids
        .iter()
        .enumerate()
        .map(|(i, c)| (*c, i % folds))
        .collect();
    let parts: Vec<_> = (0..folds)
        .into_par_iter()
        .map(|f| {
            let test: Vec<bool> = data.clusters().iter().map(|c| fold[c] == f).collect();
            errors(law, data, options, &test)
        })
        .collect::<Result<_, _>>()?;
    let worst = parts
        .iter()
        .map(|(_, outcome)| *outcome)
        .find(|o| *o != Outcome::Converged);
    let all: Vec<f64> = parts.into_iter().flat_map(|(errors, _)| errors).collect();
    Ok(summary(
        Which::Folds(folds),
        &all,
        worst.unwrap_or(Outcome::Converged),
    ))
}

/// Signed relative errors on the rows marked in `test`, fitted on the others.
fn errors(
    law: &Arc<dyn Law>,
    data: &Observations,
    options: &FitOptions,
    test: &[bool],
) -> Result<(Vec<f64>, Outcome), FitError> {
    let train: Vec<bool> = test.iter().map(|t| !t).collect();
    let fitted = fit(law, &data.clone().keep(&train, "held out"), options)?;
    let predictor = fitted.fitted()?;
    let inputs = law.inputs();
    let columns: Vec<&[f64]> = inputs
        .iter()
        .map(|input| data.required(&input.name))
        .collect::<Result<_, _>>()?;
    let response = data.required(law.response())?;
    let found = (0..data.len()).filter(|row| test[*row]).map(|row| {
        let at: Vec<f64> = columns.iter().map(|c| c[row]).collect();
        predictor.predict(&at) / response[row] - 1.0
    });
    Ok((found.collect(), fitted.outcome))
}

fn summary(rows: Which, errors: &[f64], outcome: Outcome) -> HeldOut {
    let n = errors.len() as f64;
    HeldOut {
        rows,
        n_rows: errors.len(),
        mean_error: errors.iter().map(|e| e.abs()).sum::<f64>() / n,
        worst_error: errors.iter().map(|e| e.abs()).fold(0.0, f64::max),
        bias: errors.iter().sum::<f64>() / n,
        outcome,
    }
}

/// A law in a competition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contestant {
    /// Name of the law.
    pub law: String,
    /// Number of parameters.
    pub parameters: usize,
    /// Objective on all rows; `None` when the law could not be fitted.
    pub objective: Option<f64>,
    /// Held-out errors: folds of clusters, then the largest N and the largest D.
    pub held_out: Vec<HeldOut>,
    /// What could not be done, and why.
    pub problems: Vec<String>,
}

impl Contestant {
    /// Returns the mean held-out error over all tests, or infinity when a test is missing.
    pub fn score(&self) -> f64 {
        if self.objective.is_none() || self.held_out.is_empty() || !self.problems.is_empty() {
            return f64::INFINITY;
        }
        self.held_out.iter().map(|h| h.mean_error).sum::<f64>() / self.held_out.len() as f64
    }
}

/// Fits several laws to the same rows and orders them by held-out error.
pub fn compete(
    laws: &[Arc<dyn Law>],
    data: &Observations,
    options: &FitOptions,
) -> Vec<Contestant> {
    let mut contestants: Vec<Contestant> = laws
        .iter()
        .map(|law| {
            let (mut held_out, mut problems) = (Vec::new(), Vec::new());
            let folds = data.n_clusters().min(5);
            let mut tests = vec![cross_validated(law, data, options, folds, 0)];
            for column in ["params", "tokens"] {
                if data
                    .column(column)
                    .is_some_and(|v| v.iter().any(|x| *x != v[0]))
                {
                    tests.push(held_out_largest(law, data, options, column));
                }
            }
            for test in tests {
                match test {
                    Ok(result) => held_out.push(result),
                    Err(error) => problems.push(error.to_string()),
                }
            }
            let objective = match fit(law, data, options) {
                Ok(fitted) => Some(fitted.objective),
                Err(error) => {
                    problems.push(error.to_string());
                    None
                }
            };
            let parameters = law.parameters().len();
            Contestant {
                law: law.name(),
                parameters,
                objective,
                held_out,
                problems,
            }
        })
        .collect();
    contestants.sort_by(|a, b| a.score().total_cmp(&b.score()));
    contestants
}

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
            _ => crate::fit::solve::median(&mut values),
        };
        reference.insert(input.name, value);
    }
    let at = |fit: &Fit| {
        fit.predict(|name| reference.get(name).copied())
            .map(|p| p.value)
    };
    let prediction = at(fitted)?;

    let objectives = [
        Objective::Huber { delta: 1e-4 },
        Objective::Huber { delta: 1e-3 },
        Objective::Huber { delta: 1e-2 },
        Objective::L1,
        Objective::L2,
    ];
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

/// What replicates say about the noise between runs that differ only in their seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedNoise {
    /// Settings that were run more than once.
    pub settings: usize,
    /// Degrees of freedom: replicates beyond the first of every setting.
    pub degrees_of_freedom: usize,
    /// Pooled standard deviation of the response.
    pub deviation: f64,
    /// Pooled standard deviation of the logarithm of the response.
    pub log_deviation: f64,
    /// Differences of two single runs below this are within the noise (95%).
    pub floor: f64,
}

/// Pools the spread of `response` over rows of different clusters that agree in all `columns`.
///
/// Returns `None` without replicates.
pub fn seed_noise(data: &Observations, columns: &[&str], response: &str) -> Option<SeedNoise> {
    let values = data.column(response)?;
    let keys: Vec<&[f64]> = columns
        .iter()
        .map(|c| data.column(c))
        .collect::<Option<_>>()?;
    let mut groups: BTreeMap<Vec<u64>, BTreeMap<usize, f64>> = BTreeMap::new();
    for row in 0..data.len() {
        let key = keys.iter().map(|c| c[row].to_bits()).collect();
        // One value a run: a later row replaces an earlier one.
        groups
            .entry(key)
            .or_default()
            .insert(data.clusters()[row], values[row]);
    }
    let (mut settings, mut freedom, mut squares, mut log_squares) = (0, 0, 0.0, 0.0);
    for group in groups.values().filter(|group| group.len() > 1) {
        let runs: Vec<f64> = group.values().copied().collect();
        settings += 1;
        freedom += runs.len() - 1;
        squares += scatter(&runs);
        log_squares += scatter(&runs.iter().map(|v| v.ln()).collect::<Vec<_>>());
    }
    (freedom > 0).then(|| {
        let deviation = (squares / freedom as f64).sqrt();
        let log_deviation = (log_squares / freedom as f64).sqrt();
        let floor = 1.96 * std::f64::consts::SQRT_2 * deviation;
        SeedNoise {
            settings,
            degrees_of_freedom: freedom,
            deviation,
            log_deviation,
            floor,
        }
    })
}

fn scatter(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|v| (v - mean).powi(2)).sum()
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
    fn a_true_law_predicts_what_it_did_not_see() {
        let law = by_name("chinchilla").unwrap();
        let held = held_out_largest(&law, &grid(), &FitOptions::default(), "params").unwrap();
        assert_eq!(
            (held.n_rows, &held.rows),
            (
                4,
                &Which::Largest {
                    column: "params".into(),
                    from: 1e9
                }
            )
        );
        assert!(held.worst_error < 1e-9, "{held:?}");
    }

    #[test]
    fn the_true_law_wins() {
        let laws = ["kaplan", "chinchilla"].map(|name| by_name(name).unwrap());
        let order = compete(&laws, &grid(), &FitOptions::default());
        assert_eq!(order[0].law, "chinchilla", "{order:?}");
        assert!(order[1].score() > 10.0 * order[0].score());
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

    #[test]
    fn replicates_give_the_noise() {
        let data = Observations::new([
            ("params", vec![1e8, 1e8, 1e8, 2e8]),
            ("loss", vec![2.0, 2.1, 2.2, 1.9]),
        ])
        .unwrap();
        let noise = seed_noise(&data, &["params"], "loss").unwrap();
        assert_eq!((noise.settings, noise.degrees_of_freedom), (1, 2));
        assert!((noise.deviation - 0.1).abs() < 1e-12);
        assert!(seed_noise(&data, &["loss"], "loss").is_none());
    }
}
