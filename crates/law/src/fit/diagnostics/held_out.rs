//! Judging laws by what they did not see.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::fit::estimate::{FitError, FitOptions, fit};
use crate::fit::law::Law;
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
}
