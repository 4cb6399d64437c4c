//! A law with known parameters: fitted here, read from a stored fit, or stated.

use super::remark::Remark;
use super::{FitReport, LEVEL};
use crate::fit::diagnostics::{DataRange, Extrapolation, SeedNoise};
use crate::fit::law::{Law, by_name};
use crate::fit::{FittedLaw, LawError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A law with known parameters, and how sure they are.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The law.
    pub law: FittedLaw,
    /// Refits of resampled rows; empty when nothing says how sure the parameters are.
    pub draws: Vec<FittedLaw>,
    /// Range of every input in the data; empty when there are none.
    pub ranges: Vec<DataRange>,
    /// Standard deviation of the log loss of one run: between seeds, or what the fit leaves.
    pub noise: Option<f64>,
}

/// What of a stored fit is read back.
#[derive(Deserialize)]
struct Stored {
    law: String,
    parameters: BTreeMap<String, f64>,
    #[serde(default)]
    draws: Vec<Vec<f64>>,
    #[serde(default)]
    ranges: Vec<DataRange>,
    #[serde(default)]
    seed_noise: Option<SeedNoise>,
    #[serde(default)]
    residuals: Option<Residuals>,
    #[serde(default)]
    warnings: Vec<Remark>,
}

#[derive(Deserialize)]
struct Residuals {
    robust_residual: Option<f64>,
}

/// A predicted loss with its interval, and where it leaves the data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PredictedLoss {
    /// Where.
    pub at: BTreeMap<String, f64>,
    /// The predicted response.
    pub prediction: f64,
    /// Its 95% interval over the resamples: of the law, not of a single run.
    pub interval: Option<[f64; 2]>,
    /// Inputs more than 10× outside the data; P and R outside them.
    pub extrapolation: Vec<Extrapolation>,
}

impl Fitted {
    /// Takes over a fit.
    ///
    /// # Errors
    /// [`LawError`] when the report is not one of `law`.
    pub fn of_report(law: &Arc<dyn Law>, report: &FitReport) -> Result<Self, LawError> {
        Self::assemble(
            law.clone(),
            &report.parameters,
            &report.draws,
            report.ranges.clone(),
            report
                .seed_noise
                .map(|noise| noise.log_deviation)
                .or(Some(report.residuals.robust_residual)),
        )
    }

    /// Reads a fit and what limits it from the JSON of `fit`.
    ///
    /// # Errors
    /// What is missing or wrong in it.
    pub fn from_json(text: &str) -> Result<(Self, Vec<Remark>), String> {
        let stored: Stored = serde_json::from_str(text)
            .map_err(|error| format!("this is not the JSON of a fit: {error}"))?;
        let noise = stored.seed_noise.map(|noise| noise.log_deviation);
        let left = stored
            .residuals
            .and_then(|residuals| residuals.robust_residual);
        let fitted = by_name(&stored.law)
            .and_then(|law| {
                Self::assemble(
                    law,
                    &stored.parameters,
                    &stored.draws,
                    stored.ranges,
                    noise.or(left),
                )
            })
            .map_err(|error| error.to_string())?;
        Ok((fitted, stored.warnings))
    }

    /// Takes stated parameters.
    ///
    /// # Errors
    /// [`LawError`] when one is missing, not of this law, or not finite.
    pub fn of_parameters(
        law: &Arc<dyn Law>,
        parameters: &BTreeMap<String, f64>,
    ) -> Result<Self, LawError> {
        let names: Vec<String> = law.parameters().into_iter().map(|p| p.name).collect();
        if let Some(strange) = parameters.keys().find(|name| !names.contains(name)) {
            return Err(LawError::Parameters {
                law: law.name(),
                problem: format!("there is no `{strange}`"),
                expected: names,
            });
        }
        Self::assemble(law.clone(), parameters, &[], Vec::new(), None)
    }

    fn assemble(
        law: Arc<dyn Law>,
        parameters: &BTreeMap<String, f64>,
        draws: &[Vec<f64>],
        ranges: Vec<DataRange>,
        noise: Option<f64>,
    ) -> Result<Self, LawError> {
        let draws = draws
            .iter()
            .map(|draw| FittedLaw::from_parts(law.clone(), draw.clone()))
            .collect::<Result<_, _>>()?;
        let law = FittedLaw::from_named(law, |name| parameters.get(name).copied())?;
        Ok(Self {
            law,
            draws,
            ranges,
            noise,
        })
    }

    /// Predicts at a named place.
    ///
    /// # Errors
    /// What is missing, strange or out of the law's range.
    pub fn predict(&self, at: &BTreeMap<String, f64>) -> Result<PredictedLoss, String> {
        let inputs = self.law.law().inputs();
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        if let Some(strange) = at.keys().find(|name| !names.contains(&name.as_str())) {
            return Err(format!(
                "law `{}` does not read `{strange}`; it reads {}",
                self.law.law().name(),
                names.join(", ")
            ));
        }
        let mut values = Vec::new();
        for input in &inputs {
            let value = *at.get(&input.name).ok_or_else(|| {
                format!(
                    "law `{}` reads {}: `{}` is missing",
                    self.law.law().name(),
                    names.join(", "),
                    input.name
                )
            })?;
            if !(value.is_finite() && value > input.above && value < input.below) {
                return Err(format!(
                    "`{}` is {value}, which must lie between {} and {}, both excluded",
                    input.name, input.above, input.below
                ));
            }
            values.push(value);
        }
        let over_draws: Vec<f64> = self
            .draws
            .iter()
            .map(|draw| draw.predict(&values))
            .collect();
        let far = |range: &DataRange| range.extrapolation(*at.get(&range.column)?);
        Ok(PredictedLoss {
            at: at.clone(),
            prediction: self.law.predict(&values),
            interval: crate::fit::interval(&over_draws, LEVEL),
            extrapolation: self.ranges.iter().filter_map(far).collect(),
        })
    }
}
