//! Stored fits → the parameters of their laws.

use campaign::store::StoredFit;
use scaling_law::analysis::{AnalysisResult, LawOutcome, Maybe, ParameterEstimate};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A parameter of a fitted law, or a law that could not be fitted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FittedParameter {
    /// Number of the fit in the database.
    pub fit: i64,
    /// Seconds since the Unix epoch.
    pub created_at: f64,
    /// Version of the program that fitted.
    pub program_version: String,
    /// Name of the law.
    pub law: String,
    /// Its equation.
    pub equation: Option<String>,
    /// Runs that were fitted.
    pub runs: Option<u64>,
    /// Whether the minimisation ended in a minimum.
    pub converged: Option<bool>,
    /// Coefficient of determination.
    pub r2: Option<f64>,
    /// The parameter's name.
    pub parameter: Option<String>,
    /// Its unit.
    pub unit: Option<String>,
    /// Its value.
    pub value: Option<f64>,
    /// Lower end of its 95% interval.
    pub low: Option<f64>,
    /// Upper end of its 95% interval.
    pub high: Option<f64>,
    /// Whether it lies on a bound.
    pub at_bound: Option<bool>,
    /// Why it is not determined, or why there is no law.
    pub remark: Option<String>,
}

/// What of the report on one law is read back.
#[derive(Deserialize)]
struct Report {
    equation: String,
    parameters: BTreeMap<String, f64>,
    #[serde(default)]
    units: BTreeMap<String, String>,
    n_runs: u64,
    converged: bool,
    r2: Option<f64>,
    #[serde(default)]
    at_bound: Vec<String>,
    #[serde(default)]
    why_unidentified: BTreeMap<String, String>,
    #[serde(default)]
    intervals: BTreeMap<String, [Option<f64>; 2]>,
}

/// Lists the parameters of every law of a stored fit; of one that another version stored in a form
/// that this one cannot read, that.
pub(super) fn fitted_parameters(stored: &StoredFit) -> Vec<FittedParameter> {
    let blank = FittedParameter {
        fit: stored.id,
        created_at: stored.fit.created_at,
        program_version: stored.program_version.clone(),
        law: stored.fit.law.clone(),
        ..FittedParameter::default()
    };
    let result = &stored.fit.result;
    let rows = match stored.fit.law.as_str() {
        AnalysisResult::NAME => {
            AnalysisResult::deserialize(result).map(|result| of_analysis(&blank, &result))
        }
        _ => Report::deserialize(result).map(|report| of_report(&blank, &report)),
    };
    rows.unwrap_or_else(|error| {
        let why = format!("stored in a form that this version cannot read: {error}");
        vec![not_fitted(&blank, &blank.law, why)]
    })
}

fn of_analysis(blank: &FittedParameter, result: &AnalysisResult) -> Vec<FittedParameter> {
    let mut rows = Vec::new();
    let mut laws = vec![("dlcm", &result.dlcm), ("dense", &result.dense)];
    if result.has_controls() {
        laws.push(("token_only", &result.control));
    }
    for (name, outcome) in laws {
        match outcome {
            LawOutcome::Fitted(report) => {
                let law = FittedParameter {
                    law: name.to_owned(),
                    equation: Some(report.equation.clone()),
                    runs: Some(report.runs as u64),
                    converged: Some(report.converged),
                    r2: report.r2,
                    ..blank.clone()
                };
                rows.extend(report.parameters.iter().map(|estimate| of(&law, estimate)));
            }
            LawOutcome::CannotFit { why } => rows.push(not_fitted(blank, name, why.to_string())),
        }
    }
    match result.decay.as_ref().map(|gains| &gains.law) {
        Some(Maybe::Known(decay)) => {
            let law = FittedParameter {
                law: "decay".to_owned(),
                equation: Some(decay.equation.clone()),
                runs: Some(decay.decays as u64),
                converged: Some(decay.converged),
                r2: decay.r2,
                ..blank.clone()
            };
            rows.extend(decay.parameters.iter().map(|estimate| of(&law, estimate)));
        }
        Some(Maybe::Unknown(why)) => rows.push(not_fitted(blank, "decay", why.clone())),
        None => {}
    }
    rows
}

fn not_fitted(blank: &FittedParameter, law: &str, why: String) -> FittedParameter {
    FittedParameter {
        law: law.to_owned(),
        remark: Some(why),
        ..blank.clone()
    }
}

fn of(law: &FittedParameter, estimate: &ParameterEstimate) -> FittedParameter {
    FittedParameter {
        parameter: Some(estimate.name.clone()),
        unit: Some(estimate.unit.clone()),
        value: Some(estimate.value),
        low: estimate.interval.map(|[low, _]| low),
        high: estimate.interval.map(|[_, high]| high),
        at_bound: Some(estimate.at_bound.is_some()),
        remark: estimate.unidentified.clone(),
        ..law.clone()
    }
}

fn of_report(law: &FittedParameter, report: &Report) -> Vec<FittedParameter> {
    let row = |(name, value): (&String, &f64)| {
        let [low, high] = report.intervals.get(name).copied().unwrap_or_default();
        FittedParameter {
            equation: Some(report.equation.clone()),
            runs: Some(report.n_runs),
            converged: Some(report.converged),
            r2: report.r2,
            parameter: Some(name.clone()),
            unit: report.units.get(name).cloned(),
            value: Some(*value),
            low,
            high,
            at_bound: Some(report.at_bound.contains(name)),
            remark: report.why_unidentified.get(name).cloned(),
            ..law.clone()
        }
    };
    report.parameters.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use campaign::store::FitRecord;
    use serde_json::{Value, json};

    fn parameters(law: &str, result: Value) -> Vec<FittedParameter> {
        fitted_parameters(&StoredFit {
            id: 7,
            program_version: "1".into(),
            fit: FitRecord {
                law: law.into(),
                result,
                runs: Vec::new(),
                created_at: 1.0,
            },
        })
    }

    #[test]
    fn a_law_gives_a_row_a_parameter_and_open_ends_are_missing() {
        let rows = parameters(
            "kaplan",
            json!({
                "equation": "L = A", "parameters": {"A": 2.0, "alpha": 0.1}, "units": {"A": "nats"},
                "n_runs": 9, "converged": true, "r2": 0.9, "at_bound": ["alpha"],
                "why_unidentified": {"alpha": "one N only"}, "intervals": {"A": [1.5, null]},
            }),
        );
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].low, rows[0].high, rows[0].at_bound),
            (Some(1.5), None, Some(false))
        );
        assert_eq!((rows[1].low, rows[1].at_bound), (None, Some(true)));
        assert_eq!(rows[1].remark.as_deref(), Some("one N only"));
    }

    #[test]
    fn what_cannot_be_read_says_so_and_hides_nothing_else() {
        let rows = parameters("kaplan", json!({"equation": 3}));
        assert_eq!((rows.len(), rows[0].law.as_str()), (1, "kaplan"));
        let remark = rows[0].remark.as_deref().expect("a remark");
        assert!(remark.contains("cannot read"), "{remark}");
    }
}
