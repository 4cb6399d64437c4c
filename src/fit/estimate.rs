//! The point fit: observations and a law in, parameters and their diagnosis out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::design::Design;
use super::diagnostics::{
    AtBound, DataRange, Goodness, Identification, Unidentified, Warning, at_bounds, data_warnings,
    goodness, identification, ranges,
};
use super::law::{FittedLaw, Law, LawError, by_name};
use super::objective::Objective;
use super::observations::{Exclusion, ObservationError, Observations};
use super::solve::{Outcome, Search, search};

/// How to fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitOptions {
    /// What is minimised.
    pub objective: Objective,
    /// Number of starting points that are followed to their end; eight times as many are screened.
    pub starts: usize,
}

impl Default for FitOptions {
    /// Returns Huber with δ = 1e-3 from 24 starts.
    fn default() -> Self {
        Self {
            objective: Objective::default(),
            starts: 24,
        }
    }
}

/// Why there is no fit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FitError {
    /// The data cannot be fitted.
    #[error(transparent)]
    Observations(#[from] ObservationError),
    /// The law or its parameters are wrong.
    #[error(transparent)]
    Law(#[from] LawError),
    /// The options are wrong.
    #[error("{0}")]
    Options(String),
    /// No start led to a finite objective.
    #[error("law `{law}`: none of {starts} starts led to a finite objective")]
    NoMinimum {
        /// The law.
        law: String,
        /// Starts that were tried.
        starts: usize,
    },
}

/// A fitted law with everything needed to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Name of the law, as the registry knows it.
    pub law: String,
    /// Natural parameters by name.
    pub parameters: BTreeMap<String, f64>,
    /// What was minimised.
    pub options: FitOptions,
    /// Sum over rows of the objective at the minimum.
    pub objective: f64,
    /// Rows that were fitted.
    pub n_rows: usize,
    /// Clusters (runs) that were fitted.
    pub n_clusters: usize,
    /// How the best start ended.
    pub outcome: Outcome,
    /// Starts that were followed.
    pub starts: usize,
    /// Starts that reached the reported minimum.
    pub starts_at_minimum: usize,
    /// Parameters that sit on a bound.
    pub at_bound: Vec<AtBound>,
    /// Parameters the data do not determine.
    pub unidentified: Vec<Unidentified>,
    /// Approximate standard errors and the condition number behind them.
    pub identification: Identification,
    /// Coefficients of determination and the residuals' pattern.
    pub goodness: Goodness,
    /// DataRange of every input, for marking extrapolation.
    pub ranges: Vec<DataRange>,
    /// What is suspicious about the data or the result.
    pub warnings: Vec<Warning>,
    /// Rows left out, with reasons.
    pub exclusions: Vec<Exclusion>,
    /// Other minima, in natural parameters, from which resamples also start.
    pub alternates: Vec<Vec<f64>>,
}

impl Fit {
    /// Returns whether the solver reached a minimum.
    pub fn converged(&self) -> bool {
        self.outcome == Outcome::Converged
    }

    /// Returns the law with the fitted parameters, ready to predict.
    ///
    /// # Errors
    /// [`LawError`] when the stored name or parameters are not those of a registered law.
    pub fn fitted(&self) -> Result<FittedLaw, LawError> {
        FittedLaw::from_named(by_name(&self.law)?, |name| {
            self.parameters.get(name).copied()
        })
    }

    /// Returns the natural parameters in the law's order.
    ///
    /// # Errors
    /// As [`Fit::fitted`].
    pub fn vector(&self) -> Result<Vec<f64>, LawError> {
        Ok(self.fitted()?.parameters().to_vec())
    }

    /// Predicts the response at named inputs, such as `|name| point.get(name)`.
    ///
    /// # Errors
    /// [`FitError`] when the law is unknown or an input is missing.
    pub fn predict(&self, input: impl Fn(&str) -> Option<f64>) -> Result<Prediction, FitError> {
        let fitted = self.fitted()?;
        let mut values = Vec::new();
        for column in fitted.law().inputs() {
            let value = input(&column.name).ok_or_else(|| ObservationError::MissingColumn {
                name: column.name.clone(),
                available: fitted.law().inputs().into_iter().map(|i| i.name).collect(),
            })?;
            values.push(value);
        }
        let extrapolates = self
            .ranges
            .iter()
            .zip(&values)
            .filter_map(|(range, value)| range.extrapolation(*value))
            .collect();
        Ok(Prediction {
            value: fitted.predict(&values),
            extrapolates,
        })
    }
}

/// A predicted response and where it leaves the data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The predicted response.
    pub value: f64,
    /// Inputs more than 10× outside the data.
    pub extrapolates: Vec<super::diagnostics::Extrapolation>,
}

/// Fits a law.
///
/// # Errors
/// [`FitError`] when the data or options are unusable, or when no start has a finite objective.
/// A fit that stopped early, sits on a bound or is not identified is not an error: it is marked
/// in the result.
pub fn fit(law: &Arc<dyn Law>, data: &Observations, options: &FitOptions) -> Result<Fit, FitError> {
    check_options(options)?;
    let design = Design::new(law.as_ref(), data)?;
    let search = search(&design, options.objective, options.starts, &[]).ok_or_else(|| {
        FitError::NoMinimum {
            law: law.name(),
            starts: options.starts,
        }
    })?;
    Ok(describe(law.as_ref(), data, options, &design, &search))
}

pub(crate) fn check_options(options: &FitOptions) -> Result<(), FitError> {
    if !options.objective.is_valid() {
        return Err(FitError::Options(
            "the Huber delta must be positive and finite".into(),
        ));
    }
    if options.starts == 0 {
        return Err(FitError::Options("at least one start is needed".into()));
    }
    Ok(())
}

fn describe(
    law: &dyn Law,
    data: &Observations,
    options: &FitOptions,
    design: &Design<'_>,
    search: &Search,
) -> Fit {
    let u = &search.best.u;
    let natural = law.natural(u, &design.frame);
    let residuals = design.residuals(u);
    let at_bound = at_bounds(law, design, u);
    let (identification, unidentified) = identification(law, data, design, u, options.objective);
    let objective: f64 = residuals
        .iter()
        .zip(&design.weight)
        .map(|(r, w)| w * options.objective.value(*r))
        .sum();
    let names = law.parameters().into_iter().map(|p| p.name);
    Fit {
        law: law.name(),
        parameters: names.zip(natural).collect(),
        options: options.clone(),
        objective,
        n_rows: data.len(),
        n_clusters: data.n_clusters(),
        outcome: search.best.outcome,
        starts: search.starts,
        starts_at_minimum: search.at_minimum,
        at_bound,
        unidentified,
        identification,
        goodness: goodness(law, data, design, &residuals),
        ranges: ranges(law, data),
        warnings: data_warnings(law, data),
        exclusions: data.exclusions().to_vec(),
        alternates: search
            .alternates
            .iter()
            .map(|u| law.natural(u, &design.frame))
            .collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fit::diagnostics::{Warning, Why};

    const TRUTH: [f64; 5] = [1.8, 480.0, 2100.0, 0.35, 0.37];

    /// Rows of a Chinchilla law on a grid, with a relative error that has no pattern.
    fn grid(truth: &[f64; 5], error: f64) -> [Vec<f64>; 3] {
        let (mut n, mut d, mut loss) = (Vec::new(), Vec::new(), Vec::new());
        let mut row = 0.0_f64;
        for params in [2e7, 6e7, 2e8, 6e8, 2e9, 6e9] {
            for tokens in [1e9, 4e9, 1.6e10, 6.4e10, 2.6e11] {
                row += 1.0;
                let [e, a, b, alpha, beta] = truth;
                let value = e + a / f64::powf(params, *alpha) + b / f64::powf(tokens, *beta);
                n.push(params);
                d.push(tokens);
                loss.push(value * (error * (row * 2.399).sin()).exp());
            }
        }
        [n, d, loss]
    }

    fn observations(columns: [Vec<f64>; 3]) -> Observations {
        Observations::new(["params", "tokens", "loss"].into_iter().zip(columns)).unwrap()
    }

    fn chinchilla(data: &Observations) -> Result<Fit, FitError> {
        fit(
            &by_name("chinchilla").unwrap(),
            data,
            &FitOptions::default(),
        )
    }

    fn why<'a>(fit: &'a Fit, parameter: &str) -> Option<&'a Why> {
        fit.unidentified
            .iter()
            .find(|u| u.parameter == parameter)
            .map(|u| &u.why)
    }

    #[test]
    fn too_few_rows_are_refused() {
        let data = observations(grid(&TRUTH, 0.0).map(|c| c[..3].to_vec()));
        let message = chinchilla(&data).unwrap_err().to_string();
        assert!(
            message.contains("3 rows") && message.contains("5 parameters"),
            "{message}"
        );
    }

    #[test]
    fn repeated_rows_do_not_count_as_more() {
        let data = observations(grid(&TRUTH, 0.0).map(|c| [&c[..3], &c[..3]].concat()));
        assert!(matches!(
            chinchilla(&data).unwrap_err(),
            FitError::Observations(ObservationError::TooFew {
                rows: 6,
                distinct: 3,
                ..
            })
        ));
    }

    #[test]
    fn bad_values_are_named_by_row_and_column() {
        for bad in [f64::NAN, f64::INFINITY, 0.0, -2.0] {
            let mut columns = grid(&TRUTH, 0.0);
            columns[2][6] = bad;
            let message = chinchilla(&observations(columns)).unwrap_err().to_string();
            assert!(
                message.contains("row 7") && message.contains("`loss`"),
                "{message}"
            );
        }
    }

    #[test]
    fn one_size_only_is_marked() {
        let mut columns = grid(&TRUTH, 0.003);
        columns[0].fill(1e9);
        let fit = chinchilla(&observations(columns)).unwrap();
        for parameter in ["E", "A", "alpha"] {
            let single_valued = vec!["params".to_owned()];
            assert_eq!(
                why(&fit, parameter),
                Some(&Why::Degenerate { single_valued }),
                "{parameter}"
            );
        }
        assert_eq!(why(&fit, "beta"), None);
        assert!(fit.identification.condition_number.is_none());
    }

    #[test]
    fn a_loss_that_rises_with_size_is_marked() {
        let [n, d, loss] = grid(&[1.8, 0.0, 2100.0, 0.35, 0.37], 0.003);
        let loss = loss
            .iter()
            .zip(&n)
            .map(|(l, n)| l + 0.02 * n.powf(0.15))
            .collect();
        let fit = chinchilla(&observations([n, d, loss])).unwrap();
        assert!(
            fit.warnings
                .iter()
                .any(|w| matches!(w, Warning::Rises { column, .. } if column == "params"))
        );
        assert!(
            fit.at_bound
                .iter()
                .any(|b| b.parameter == "A" || b.parameter == "alpha")
        );
    }

    #[test]
    fn losses_in_bits_are_marked() {
        let [n, d, loss] = grid(&TRUTH, 0.003);
        let bits = loss.iter().map(|l| l / std::f64::consts::LN_2).collect();
        let nats = chinchilla(&observations([n.clone(), d.clone(), loss])).unwrap();
        let bits = chinchilla(&observations([n, d, bits])).unwrap();
        let suspicious = |fit: &Fit| {
            fit.warnings
                .iter()
                .any(|w| matches!(w, Warning::LooksLikeBits { .. }))
        };
        assert!(suspicious(&bits) && !suspicious(&nats));
    }

    #[test]
    fn runs_entered_twice_are_counted() {
        let data = observations(grid(&TRUTH, 0.003).map(|c| [&c[..], &c[..4]].concat()));
        assert!(
            chinchilla(&data)
                .unwrap()
                .warnings
                .contains(&Warning::Duplicates { rows: 4 })
        );
    }

    #[test]
    fn a_stored_fit_predicts_and_marks_extrapolation() {
        let fit = chinchilla(&observations(grid(&TRUTH, 0.0))).unwrap();
        let far = fit.predict(|_| Some(1e11)).unwrap();
        assert_eq!(far.extrapolates.len(), 1);
        assert_eq!(far.extrapolates[0].column, "params");
        let near = fit.predict(|_| Some(6e9)).unwrap();
        assert!(near.extrapolates.is_empty());
        assert!(
            fit.predict(|name| (name == "params").then_some(1e9))
                .is_err()
        );
    }

    #[test]
    fn weights_count_rows() {
        let columns = grid(&TRUTH, 0.01);
        let twice = observations(columns.clone().map(|c| [&c[..], &c[..7]].concat()));
        let weights = (0..30).map(|row| if row < 7 { 2.0 } else { 1.0 }).collect();
        let weighted = observations(columns).with_weights(weights).unwrap();
        let (a, b) = (chinchilla(&twice).unwrap(), chinchilla(&weighted).unwrap());
        assert!((a.objective / b.objective - 1.0).abs() < 1e-12);
        assert!((a.parameters["alpha"] - b.parameters["alpha"]).abs() < 1e-9);
    }

    #[test]
    fn every_law_recovers_itself() {
        let parameters: [(&str, &[f64]); 6] = [
            ("chinchilla", &TRUTH),
            ("kaplan", &[6.4e13, 1.8e13, 0.076, 0.103]),
            ("power:params,tokens", &[1.8, 480.0, 0.35, 2100.0, 0.37]),
            ("gamma", &[1.5, 3000.0, 18000.0, 0.43, 0.45, 0.6]),
            (
                "data_constrained",
                &[1.87, 521.0, 1488.0, 0.353, 0.353, 15.4, 5.3],
            ),
            ("dlcm_decay", &[0.01, 1.8, -0.1, 0.06]),
        ];
        for (name, truth) in parameters {
            let law = by_name(name).unwrap();
            let predictor = FittedLaw::from_parts(law.clone(), truth.to_vec()).unwrap();
            let inputs = law.inputs();
            let mut columns = vec![Vec::new(); inputs.len() + 1];
            for row in 0..150_u32 {
                let part = |k: u32| f64::from((row * k) % 151) / 151.0;
                let at: Vec<f64> = inputs
                    .iter()
                    .map(|input| match input.name.as_str() {
                        "params" => 1e7 * 1e3_f64.powf(part(37)),
                        "tokens" => 1e9 * 1e3_f64.powf(part(59)),
                        "unique_tokens" => 2e8 * 1e2_f64.powf(part(83)),
                        "stable_loss" => 2.0 + part(37),
                        _ => 1.0 + 7.0 * part(59),
                    })
                    .collect();
                columns.iter_mut().zip(&at).for_each(|(c, v)| c.push(*v));
                columns[inputs.len()].push(predictor.predict(&at));
            }
            let names = inputs.iter().map(|i| i.name.clone());
            let names = names.chain([law.response().to_owned()]);
            let data = Observations::new(names.zip(columns)).unwrap();
            let fit = fit(&law, &data, &FitOptions::default()).unwrap();
            for (parameter, truth) in law.parameters().iter().zip(truth) {
                let found = fit.parameters[&parameter.name];
                let error = (found / truth - 1.0).abs();
                assert!(
                    error < 1e-6,
                    "{name}: {} is {found}, not {truth}",
                    parameter.name
                );
            }
            assert!(fit.converged(), "{name}: {:?}", fit.outcome);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn simulated_laws_are_recovered(
            e in 0.5_f64..3.0,
            n_term in 0.05_f64..1.0,
            d_term in 0.05_f64..1.0,
            alpha in 0.15_f64..0.8,
            beta in 0.15_f64..0.8,
        ) {
            let truth = [e, n_term * 3e8_f64.powf(alpha), d_term * 1.6e10_f64.powf(beta), alpha, beta];
            let fit = chinchilla(&observations(grid(&truth, 0.0))).unwrap();
            for (name, value) in ["E", "A", "B", "alpha", "beta"].into_iter().zip(truth) {
                prop_assert!((fit.parameters[name] / value - 1.0).abs() < 1e-7, "{name}");
            }
        }

        #[test]
        fn units_of_size_and_order_of_rows_do_not_matter(factor in 1e-6_f64..1e6, shift in 0_usize..30) {
            let [n, d, loss] = grid(&TRUTH, 0.01);
            let plain = chinchilla(&observations([n.clone(), d.clone(), loss.clone()])).unwrap();
            let mut columns = [n.iter().map(|n| n * factor).collect(), d, loss];
            columns.iter_mut().for_each(|c: &mut Vec<f64>| c.rotate_left(shift));
            let scaled = chinchilla(&observations(columns)).unwrap();
            prop_assert!((scaled.objective / plain.objective - 1.0).abs() < 1e-9);
            prop_assert!((scaled.parameters["alpha"] - plain.parameters["alpha"]).abs() < 1e-6);
        }
    }
}
