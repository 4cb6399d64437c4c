//! Laws in competition on the same rows.

use super::rows::{LeftOutRows, Rows, write_left_out};
use crate::analysis::{SeedNoise, Warning, in_words, number, seed_noise};
use crate::fit::diagnostics::{HeldOut, Which, compete, setting_columns};
use crate::fit::law::{Law, by_name};
use crate::fit::{FitOptions, Objective, Observations};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Laws that are tried where nothing else is said, as far as their columns are there.
const USUAL: [&str; 5] = ["chinchilla", "gamma", "kaplan", "data_constrained", "dlcm"];

/// Laws in competition, the best first.
#[derive(Clone, Debug, Serialize)]
pub struct ComparisonReport {
    /// What they were fitted to.
    pub data: String,
    /// Rows fitted.
    pub n_rows: usize,
    /// Rows left out.
    pub excluded: Vec<LeftOutRows>,
    /// The laws, by held-out error.
    pub laws: Vec<ComparedLaw>,
    /// Noise between runs that differ in nothing the laws read.
    pub seed_noise: Option<SeedNoise>,
    /// What a reader must know.
    #[serde(serialize_with = "in_words")]
    pub warnings: Vec<Warning>,
}

/// One law in a competition.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedLaw {
    /// Its name.
    pub law: String,
    /// Number of parameters.
    pub parameters: usize,
    /// The minimum of the objective on all rows; null when it could not be fitted.
    pub objective: Option<f64>,
    /// Root mean square log residual on all rows.
    pub rms_residual: Option<f64>,
    /// Akaike's criterion with its correction for few rows, for Gaussian log residuals; lower is
    /// better.
    pub aicc: Option<f64>,
    /// Mean held-out error over all tests; null when a test could not be made.
    pub score: Option<f64>,
    /// The tests: folds of runs, the largest N, the largest D.
    pub held_out: Vec<HeldOut>,
    /// What could not be done.
    pub problems: Vec<String>,
}

/// Returns the usual laws whose columns are among `names`.
pub fn usual_laws(names: &[String]) -> Vec<Arc<dyn Law>> {
    let known = |law: &Arc<dyn Law>| {
        let mut inputs = law.inputs().into_iter();
        inputs.all(|input| names.contains(&input.name))
    };
    let laws = USUAL.iter().filter_map(|name| by_name(name).ok());
    laws.filter(known).collect()
}

/// Fits laws to the same rows and orders them by what they predict of rows they did not see.
pub fn compare(laws: &[Arc<dyn Law>], rows: &Rows, objective: Objective) -> ComparisonReport {
    let data = &rows.observations;
    let options = FitOptions {
        objective,
        ..FitOptions::default()
    };
    let compared: Vec<ComparedLaw> = compete(laws, data, &options)
        .into_iter()
        .map(|contestant| {
            let score = Some(contestant.score()).filter(|score| score.is_finite());
            let rms = rms_residual(&contestant.law, data, &options);
            ComparedLaw {
                aicc: rms.and_then(|rms| aicc(rms, data.len(), contestant.parameters)),
                law: contestant.law,
                parameters: contestant.parameters,
                objective: contestant.objective,
                rms_residual: rms,
                score,
                held_out: contestant.held_out,
                problems: contestant.problems,
            }
        })
        .collect();
    let mut columns: Vec<String> = laws
        .iter()
        .flat_map(|law| setting_columns(data, law.as_ref()))
        .collect();
    columns.sort_unstable();
    columns.dedup();
    let response = laws.first().map_or("loss", |law| law.response());
    let noise = seed_noise(data, &columns, response);
    let mut warnings = verdict(&compared, noise);
    warnings.extend(rows.warnings());
    ComparisonReport {
        data: rows.name.clone(),
        n_rows: data.len(),
        excluded: rows.excluded.clone(),
        laws: compared,
        seed_noise: noise,
        warnings,
    }
}

fn rms_residual(law: &str, data: &Observations, options: &FitOptions) -> Option<f64> {
    let found = crate::fit::fit(&by_name(law).ok()?, data, options).ok()?;
    Some(found.goodness.rms_residual)
}

/// `n ln σ² + 2k + 2k(k+1)/(n−k−1)`, σ counting as a parameter.
fn aicc(rms: f64, rows: usize, parameters: usize) -> Option<f64> {
    let (n, k) = (rows as f64, parameters as f64 + 1.0);
    let spare = n - k - 1.0;
    (spare > 0.0 && rms > 0.0).then(|| 2.0 * n * rms.ln() + 2.0 * k + 2.0 * k * (k + 1.0) / spare)
}

/// Says whether the first law is really ahead of the second.
fn verdict(laws: &[ComparedLaw], noise: Option<SeedNoise>) -> Vec<Warning> {
    let mut remarks = Vec::new();
    if let [first, second, ..] = laws
        && let (Some(a), Some(b)) = (first.score, second.score)
    {
        let floor = noise.map_or(0.05 * b, |noise| noise.log);
        if b - a < floor {
            remarks.push(Warning::NoDifference {
                first: first.law.clone(),
                second: second.law.clone(),
                by_seeds: noise.is_some(),
            });
        }
    }
    for law in laws {
        for problem in &law.problems {
            remarks.push(Warning::Problem {
                law: law.law.clone(),
                problem: problem.clone(),
            });
        }
    }
    remarks
}

fn heading(which: &Which) -> String {
    match which {
        Which::Largest { column, .. } => format!("largest {column}"),
        Which::Folds(folds) => format!("{folds} folds"),
    }
}

impl fmt::Display for ComparisonReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Laws on {}: {} rows, best prediction of rows that were held out first",
            self.data, self.n_rows
        )?;
        write_left_out(f, &self.excluded)?;
        writeln!(f)?;
        let width = self
            .laws
            .iter()
            .map(|law| law.law.len())
            .max()
            .unwrap_or(0)
            .max(4);
        let tests: Vec<String> = self
            .laws
            .iter()
            .map(|law| {
                law.held_out
                    .iter()
                    .map(|held| heading(&held.rows))
                    .collect::<Vec<_>>()
            })
            .max_by_key(Vec::len)
            .unwrap_or_default();
        write!(
            f,
            "  {:<width$}  {:>10}  {:>9}  {:>9}",
            "law", "parameters", "residual", "AICc"
        )?;
        for test in &tests {
            write!(f, "  {test:>14}")?;
        }
        writeln!(f, "  {:>9}", "mean error")?;
        let percent = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{:.3}%", 100.0 * value))
        };
        for law in &self.laws {
            write!(
                f,
                "  {:<width$}  {:>10}  {:>9}  {:>9}",
                law.law,
                law.parameters,
                percent(law.rms_residual),
                law.aicc
                    .map_or_else(|| "-".to_owned(), |aicc| format!("{aicc:.1}")),
            )?;
            for test in &tests {
                let held = law
                    .held_out
                    .iter()
                    .find(|held| heading(&held.rows) == *test);
                write!(f, "  {:>14}", percent(held.map(|held| held.mean_error)))?;
            }
            writeln!(f, "  {:>9}", percent(law.score))?;
        }
        if let Some(noise) = self.seed_noise {
            writeln!(
                f,
                "  seed noise {}% of the loss, from {} settings run more than once",
                number(100.0 * noise.log),
                noise.settings
            )?;
        }
        if !self.warnings.is_empty() {
            writeln!(f)?;
        }
        for warning in &self.warnings {
            writeln!(f, "  ! {warning}")?;
        }
        Ok(())
    }
}
