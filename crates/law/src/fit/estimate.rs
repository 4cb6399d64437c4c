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
    /// With few rows, starts around the best end are added.
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
    /// Inputs more than 10× outside the data; P and R outside them.
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
    let design = Design::new(law.as_ref(), data)?.under(options.objective);
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
