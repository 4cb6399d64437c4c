//! What is said about a fit: its report and its warnings.

use super::laws::LawForm;
use super::report::{LawReport, LeftOut, ParameterEstimate, Uncertainty};
use super::warning::Warning;
use super::{LEVEL, interval, thin};
use crate::fit::diagnostics::{Side, Warning as FitWarning, Why};
use crate::fit::{Fit, FittedLaw, Observations};

/// N and D with a correlation above this (of logarithms) cannot be told apart.
const TOGETHER: f64 = 0.995;

/// Successive residuals with an autocorrelation above this go together.
const TRAJECTORY: f64 = 0.5;

/// An interval so many times as wide as the value (two standard errors of it on either side) says
/// that the parameter is not determined.
const WIDE: f64 = 4.0;

/// A fit with all that it came from.
pub(super) struct Described<'a> {
    /// What sentences call the law.
    pub(super) title: &'a str,
    pub(super) form: &'a LawForm,
    /// The one D to which it is confined.
    pub(super) at: Option<f64>,
    pub(super) law: &'a FittedLaw,
    pub(super) draws: &'a [FittedLaw],
    pub(super) found: &'a Fit,
    /// The rows that were fitted.
    pub(super) data: &'a Observations,
    /// Usable runs that it leaves out.
    pub(super) left_out: &'a [LeftOut],
}

/// A law that explains no more of the variance than this describes nothing.
const DESCRIBES: f64 = 0.01;

/// Resamples of the parameters that are kept: enough for the shape of a histogram.
const KEPT_DRAWS: usize = 200;

impl Described<'_> {
    /// Lists what limits it.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let law = || self.title.to_owned();
        let found = self.found;
        if let Some(r2) = found.goodness.r2.filter(|r2| *r2 <= DESCRIBES) {
            warnings.push(Warning::DescribesNothing { law: law(), r2 });
        }
        if !found.converged() {
            warnings.push(Warning::NotConverged { law: law() });
        } else if found.starts_at_minimum < 2 && found.starts > 4 {
            warnings.push(Warning::OneStart {
                law: law(),
                at_minimum: found.starts_at_minimum,
                starts: found.starts,
            });
        }
        if let (Some(tokens), false) = (self.at, self.left_out.is_empty()) {
            warnings.push(Warning::OneTokenCount {
                law: law(),
                tokens,
                left_out: self.left_out.len(),
            });
        }
        let parameters = self.parameters();
        let open = parameters.iter().filter(|p| p.unidentified.is_some());
        let open: Vec<String> = open.map(|parameter| parameter.name.clone()).collect();
        if !open.is_empty() {
            warnings.push(Warning::Unidentified {
                law: law(),
                parameters: open,
            });
        }
        for bound in &found.at_bound {
            warnings.push(Warning::AtBound {
                law: law(),
                parameter: bound.parameter.clone(),
                value: bound.value,
            });
        }
        let (runs, parameters) = (self.data.len(), found.parameters.len());
        if runs < 2 * parameters {
            warnings.push(Warning::Stretched {
                law: law(),
                runs,
                parameters,
            });
        }
        if self.form.knows_tokens() && move_together(self.data) {
            warnings.push(Warning::SizesMoveTogether { law: law() });
        }
        for warning in &found.warnings {
            // Known and said: the floor is one value by construction.
            let of_floor = matches!(
                warning,
                FitWarning::SingleValued { column, .. } if column == "floor"
            );
            if !of_floor {
                warnings.push(Warning::Fit {
                    law: law(),
                    warning: warning.clone(),
                });
            }
        }
        let rows_are_runs = self.data.n_clusters() == self.data.len();
        let together = found
            .goodness
            .autocorrelation
            .is_some_and(|a| a > TRAJECTORY);
        if together && rows_are_runs {
            warnings.push(Warning::NotIndependent { law: law() });
        }
        for trend in &found.goodness.trends {
            warnings.push(Warning::Trend {
                law: law(),
                column: trend.column.clone(),
                slope: trend.slope,
            });
        }
        if self.draws.is_empty() {
            warnings.push(Warning::NoResamples { law: law() });
        }
        warnings
    }

    /// Describes the parameters, in the order of the law.
    fn parameters(&self) -> Vec<ParameterEstimate> {
        let law = self.law.law();
        let parameters = law.parameters().into_iter().enumerate();
        let described = parameters.map(|(j, parameter)| {
            let values: Vec<f64> = self.draws.iter().map(|draw| draw.parameters()[j]).collect();
            // The shared-floor fit calls them A and alpha.
            let own = match (self.form, j) {
                (LawForm::DenseSharedFloor, 1) => "A",
                (LawForm::DenseSharedFloor, 2) => "alpha",
                _ => parameter.name.as_str(),
            };
            let value = self.law.parameters()[j];
            let found = self.found.unidentified.iter().find(|u| u.parameter == own);
            // Resamples of what has no effect agree with each other and say nothing.
            let silent = found.is_some_and(|found| !matches!(found.why, Why::Imprecise { .. }));
            let interval = interval(&values, LEVEL).filter(|_| !silent);
            let wide = interval
                .map(|[low, high]| (high - low) / value.abs())
                .filter(|times| *times > WIDE && times.is_finite());
            let wide = wide.map(|times| format!("its interval is {times:.0} times its value"));
            let bounds = self.found.at_bound.iter();
            ParameterEstimate {
                value,
                interval,
                standard_error: (values.len() > 1 && !silent)
                    .then(|| crate::fit::deviation(&values))
                    .filter(|error| error.is_finite()),
                at_bound: bounds
                    .clone()
                    .find(|bound| bound.parameter == own)
                    .map(|bound| bound.side),
                unidentified: found.map(|found| found.why.to_string()).or(wide),
                name: parameter.name,
                unit: parameter.unit.to_owned(),
            }
        });
        described.collect()
    }

    /// Reports everything needed to judge and redraw it but for its rows.
    pub(super) fn report(&self, uncertainty: Uncertainty) -> LawReport {
        let (law, found) = (self.law.law(), self.found);
        let ranges = found.ranges.iter();
        let draws = thin(self.draws, KEPT_DRAWS);
        LawReport {
            form: self.form.clone(),
            law: law.name(),
            equation: law.equation(),
            source: law.source().to_owned(),
            at_tokens: self.at,
            parameters: self.parameters(),
            runs: self.data.len(),
            converged: found.converged(),
            r2: found.goodness.r2.filter(|r2| r2.is_finite()),
            rms_residual: found.goodness.rms_residual,
            freedom: found.n_rows.saturating_sub(found.parameters.len()),
            uncertainty,
            failed: 0,
            starts: found.starts,
            starts_at_minimum: found.starts_at_minimum,
            ranges: ranges.filter(|r| r.column != "floor").cloned().collect(),
            predicted: Vec::new(),
            left_out: self.left_out.to_vec(),
            draws: draws
                .iter()
                .map(|draw| draw.parameters().to_vec())
                .collect(),
            held_out: Vec::new(),
        }
    }
}

fn move_together(data: &Observations) -> bool {
    let (Some(params), Some(tokens)) = (data.column("params"), data.column("tokens")) else {
        return false;
    };
    let n = data.len() as f64;
    let mean = |values: &[f64]| values.iter().map(|value| value.ln()).sum::<f64>() / n;
    let (mean_params, mean_tokens) = (mean(params), mean(tokens));
    let (mut pp, mut tt, mut pt) = (0.0, 0.0, 0.0);
    for (params, tokens) in params.iter().zip(tokens) {
        let (p, t) = (params.ln() - mean_params, tokens.ln() - mean_tokens);
        pp += p * p;
        tt += t * t;
        pt += p * t;
    }
    pt / (pp * tt).sqrt() > TOGETHER
}

/// Names a side of a range.
pub(super) fn side(side: Side) -> &'static str {
    match side {
        Side::Lower => "lower",
        Side::Upper => "upper",
    }
}
