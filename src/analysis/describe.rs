//! What is said about a fit: its report and its warnings.

use super::estimate::{called, predict};
use super::laws::LawForm;
use super::observe::{LeftOut, Observed};
use super::report::{LawReport, ParameterEstimate, Predicted, Uncertainty};
use super::warning::Warning;
use super::{LEVEL, interval, thin};
use crate::architecture::ModelKind;
use crate::fit::diagnostics::{Side, Warning as FitWarning};
use crate::fit::{Fit, FittedLaw};

/// N and D with a correlation above this (of logarithms) cannot be told apart.
const TOGETHER: f64 = 0.995;

/// A fit with all that it came from.
pub(super) struct Described<'a> {
    pub(super) kind: ModelKind,
    pub(super) form: LawForm,
    /// The one D to which it is confined.
    pub(super) at: Option<f64>,
    pub(super) law: &'a FittedLaw,
    pub(super) draws: &'a [FittedLaw],
    pub(super) found: &'a Fit,
    /// The runs that were fitted.
    pub(super) kept: &'a [&'a Observed],
    /// The usable runs of that kind.
    pub(super) all: &'a [&'a Observed],
    /// Runs as a fit to the others predicts them.
    pub(super) held_out: Vec<Predicted>,
}

/// Resamples of the parameters that are kept: enough for the shape of a histogram.
const KEPT_DRAWS: usize = 200;

impl Described<'_> {
    /// Lists what limits it.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let left_out = self.all.len() - self.kept.len();
        let law = || format!("{} law", called(self.kind));
        if !self.found.converged() {
            warnings.push(Warning::NotConverged { law: law() });
        }
        if let (Some(tokens), true) = (self.at, left_out > 0) {
            warnings.push(Warning::OneTokenCount {
                law: law(),
                tokens,
                left_out,
            });
        }
        let (runs, parameters) = (self.kept.len(), self.found.parameters.len());
        if runs < 2 * parameters {
            warnings.push(Warning::Stretched {
                law: law(),
                runs,
                parameters,
            });
        }
        if self.form.knows_tokens() && move_together(self.kept) {
            warnings.push(Warning::SizesMoveTogether { law: law() });
        }
        for warning in &self.found.warnings {
            // Known and said: the floor is one value by construction.
            let single = matches!(warning, FitWarning::SingleValued { .. });
            if !single {
                warnings.push(Warning::Fit {
                    law: law(),
                    warning: warning.clone(),
                });
            }
        }
        warnings
    }

    /// Reports everything needed to judge and redraw it.
    pub(super) fn report(self, uncertainty: Uncertainty) -> LawReport {
        let law = self.law.law();
        let parameters = law
            .parameters()
            .into_iter()
            .enumerate()
            .map(|(j, parameter)| {
                let values: Vec<f64> = self.draws.iter().map(|draw| draw.parameters()[j]).collect();
                // The shared-floor fit calls them A and alpha.
                let own = match (self.form, j) {
                    (LawForm::DenseSharedFloor, 1) => "A",
                    (LawForm::DenseSharedFloor, 2) => "alpha",
                    _ => parameter.name.as_str(),
                };
                let why = self.found.unidentified.iter().find(|u| u.parameter == own);
                ParameterEstimate {
                    value: self.law.parameters()[j],
                    interval: interval(&values, LEVEL),
                    at_bound: self
                        .found
                        .at_bound
                        .iter()
                        .find(|b| b.parameter == own)
                        .map(|b| b.side),
                    unidentified: why.map(|unidentified| unidentified.why.to_string()),
                    name: parameter.name,
                    unit: parameter.unit.to_owned(),
                }
            });
        let parameters = parameters.collect();
        let left_out = self
            .all
            .iter()
            .filter(|run| !self.kept.iter().any(|other| other.id == run.id))
            .map(|run| LeftOut {
                id: run.id.clone(),
                why: "it has another D".into(),
            })
            .collect();
        let predicted = self.kept.iter().map(|run| Predicted {
            run: run.id.clone(),
            observed: run.loss,
            predicted: predict(self.law, run.params, run.tokens, run.share, run.ratio),
        });
        LawReport {
            form: self.form,
            law: law.name(),
            equation: law.equation(),
            source: law.source().to_owned(),
            at_tokens: self.at,
            parameters,
            runs: self.kept.len(),
            converged: self.found.converged(),
            r2: self.found.goodness.r2.filter(|r2| r2.is_finite()),
            rms_residual: self.found.goodness.rms_residual,
            freedom: self
                .found
                .n_rows
                .saturating_sub(self.found.parameters.len()),
            uncertainty,
            starts: self.found.starts,
            starts_at_minimum: self.found.starts_at_minimum,
            ranges: self
                .found
                .ranges
                .iter()
                .filter(|r| r.column != "floor")
                .cloned()
                .collect(),
            predicted: predicted.collect(),
            left_out,
            draws: thin(self.draws, KEPT_DRAWS)
                .iter()
                .map(|draw| draw.parameters().to_vec())
                .collect(),
            held_out: self.held_out,
        }
    }
}

fn move_together(kept: &[&Observed]) -> bool {
    let n = kept.len() as f64;
    let mean = |value: fn(&Observed) -> f64| kept.iter().map(|r| value(r).ln()).sum::<f64>() / n;
    let (params, tokens) = (mean(|r| r.params), mean(|r| r.tokens));
    let (mut pp, mut tt, mut pt) = (0.0, 0.0, 0.0);
    for run in kept {
        let (p, t) = (run.params.ln() - params, run.tokens.ln() - tokens);
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
