//! Losses predicted at named places.

use super::fit_text::write_void;
use super::second_step::{PredictedScore, SecondStep};
use super::speedup::Speedup;
use crate::analysis::{Fitted, PredictedLoss, Warning, in_words, number};
use experiment::quantity::human;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Losses predicted at named places.
#[derive(Clone, Debug, Serialize)]
pub struct PredictionReport {
    /// Name of the law.
    pub law: String,
    /// What it predicts.
    pub response: String,
    /// The predictions, in the order of the places.
    pub predictions: Vec<PredictedLoss>,
    /// What every resample of the law predicts, place by place.
    #[serde(skip)]
    draws: Vec<Vec<f64>>,
    /// The step from what the law predicts to a score, where that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_step: Option<SecondStep>,
    /// The score at each place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scores: Vec<PredictedScore>,
    /// How much less one kind of runs needs than another, where that is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub speedups: Vec<Speedup>,
    /// Standard deviation of the log loss of one run around the law, where it is known.
    pub noise: Option<f64>,
    /// What a reader must know.
    #[serde(serialize_with = "in_words")]
    pub warnings: Vec<Warning>,
}

/// Predicts at every place.
///
/// # Errors
/// What is wrong with the first place at which the law has no value.
pub fn predict(
    fitted: &Fitted,
    places: &[BTreeMap<String, f64>],
) -> Result<PredictionReport, String> {
    let predicted = places.iter().map(|at| fitted.predict_with_draws(at));
    let predicted: Vec<(PredictedLoss, Vec<f64>)> = predicted.collect::<Result<_, _>>()?;
    let (predictions, draws): (Vec<PredictedLoss>, Vec<Vec<f64>>) = predicted.into_iter().unzip();
    let far = predictions
        .iter()
        .filter(|p| !p.extrapolation.is_empty())
        .count();
    let mut warnings = Vec::new();
    if far > 0 {
        warnings.push(Warning::ExtrapolatedPlaces {
            places: far,
            of: predictions.len(),
        });
    }
    if fitted.draws.is_empty() {
        warnings.push(Warning::NoResamples {
            law: fitted.law.law().name(),
        });
    }
    let law = fitted.law.law();
    Ok(PredictionReport {
        law: law.name(),
        response: law.response().to_owned(),
        predictions,
        draws,
        second_step: None,
        scores: Vec::new(),
        speedups: Vec::new(),
        noise: fitted.noise,
        warnings,
    })
}

impl PredictionReport {
    /// Adds the scores that go with what is predicted.
    pub fn take_second_step(&mut self, step: SecondStep) {
        let predicted = self.predictions.iter().zip(&self.draws);
        let scores = predicted.map(|(place, draws)| step.predict(place.prediction, draws));
        self.scores = scores.collect();
        self.second_step = Some(step);
    }
}

impl fmt::Display for PredictionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_void(f, &self.warnings)?;
        let columns: Vec<&String> = self.predictions.first().map_or_else(Vec::new, |first| {
            first.at.keys().chain(first.words.keys()).collect()
        });
        write!(f, "  ")?;
        for column in &columns {
            write!(f, "{column:>width$}  ", width = column.len().max(9))?;
        }
        writeln!(f, "{:>9}  95% interval of the law", self.response)?;
        for prediction in &self.predictions {
            write!(f, "  ")?;
            for column in &columns {
                let value = match (prediction.at.get(*column), prediction.words.get(*column)) {
                    (Some(value), _) => human(*value),
                    (None, word) => word.cloned().unwrap_or_default(),
                };
                write!(f, "{value:>width$}  ", width = column.len().max(9))?;
            }
            let interval = prediction
                .interval
                .map_or_else(String::new, |[low, high]| format!("[{low:.4}, {high:.4}]"));
            let far = prediction
                .extrapolation
                .iter()
                .map(|e| format!("{} {}×", e.column, number(e.factor)));
            let far: Vec<String> = far.collect();
            let mark = if far.is_empty() {
                String::new()
            } else {
                format!("  extrapolated: {} outside", far.join(", "))
            };
            let line = format!("{:>9.4}  {interval:<18}{mark}", prediction.prediction);
            writeln!(f, "{}", line.trim_end())?;
        }
        if let Some(step) = &self.second_step {
            write!(f, "{step}")?;
            for predicted in &self.scores {
                let interval = predicted.interval;
                let interval = interval.map_or_else(String::new, |[low, high]| {
                    format!("  [{low:.3}, {high:.3}]")
                });
                writeln!(
                    f,
                    "  {} {:.4}: {} {:.3}{interval}",
                    self.response, predicted.from, step.response, predicted.score
                )?;
            }
        }
        for speedup in &self.speedups {
            writeln!(f, "  {speedup}")?;
        }
        if let Some(noise) = self.noise {
            writeln!(
                f,
                "  a single run scatters around the law by about {:.2}% more",
                100.0 * noise
            )?;
        }
        for warning in &self.warnings {
            writeln!(f, "  ! {warning}")?;
        }
        Ok(())
    }
}
