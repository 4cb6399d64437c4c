//! A fit that is read back from its JSON.

use crate::analysis::{Fitted, Warning};
use crate::fit::diagnostics::DataRange;
use crate::fit::law::by_name;
use crate::fit::{FittedLaw, LawError};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What predictions need of a [`FitReport`](super::FitReport)'s JSON. All but the law may be missing, as
/// it is in the JSON of earlier versions: what is not there is then not known of the fit.
#[derive(Debug, Deserialize)]
pub struct StoredFit {
    law: String,
    parameters: BTreeMap<String, f64>,
    #[serde(default)]
    draws: Vec<Vec<f64>>,
    #[serde(default)]
    ranges: Vec<DataRange>,
    #[serde(default)]
    ratios: Vec<(f64, f64)>,
    #[serde(default)]
    at_tokens: Option<f64>,
    #[serde(default)]
    seed_noise: Option<Noise>,
    #[serde(default)]
    residuals: Option<Residuals>,
    #[serde(default)]
    warnings: Vec<Said>,
}

#[derive(Debug, Deserialize)]
struct Noise {
    #[serde(alias = "log_deviation")]
    log: f64,
}

#[derive(Debug, Deserialize)]
struct Residuals {
    robust_residual: f64,
}

/// A warning of this version, or the words of another's.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Said {
    Known(Warning),
    InWords { message: String },
}

impl StoredFit {
    /// Makes the law ready to predict.
    ///
    /// # Errors
    /// [`LawError`] when it is not of a law that this version knows.
    pub fn fitted(&self) -> Result<Fitted, LawError> {
        let law = by_name(&self.law)?;
        let draws = self.draws.iter();
        let draws = draws.map(|draw| FittedLaw::from_parts(law.clone(), draw.clone()));
        let residuals = self.residuals.as_ref();
        let noise = self.seed_noise.as_ref().map(|noise| noise.log);
        Ok(Fitted {
            draws: draws.collect::<Result<_, _>>()?,
            law: FittedLaw::from_named(law, |name| self.parameters.get(name).copied())?.stated()?,
            ranges: self.ranges.clone(),
            ratios: self.ratios.clone(),
            at_tokens: self.at_tokens,
            noise: noise.or(residuals.map(|residuals| residuals.robust_residual)),
        })
    }

    /// Returns what limits it.
    pub fn warnings(self) -> Vec<Warning> {
        let warnings = self.warnings.into_iter().map(|said| match said {
            Said::Known(warning) => warning,
            Said::InWords { message } => Warning::Rows { text: message },
        });
        warnings.collect()
    }
}
