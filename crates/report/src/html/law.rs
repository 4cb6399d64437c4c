//! The fitted laws, how well they fit, and every warning.

use super::{MISSING, capital, formula, table};
use maud::{Markup, html};
use scaling_law::analysis::{
    self, AnalysisResult, DecayLaw, LawOutcome, LawReport, Maybe, ParameterEstimate,
};
use scaling_law::fit::diagnostics::Side;

pub(super) fn section(result: &AnalysisResult) -> Markup {
    html! {
        (outcome("DLCM", &result.dlcm))
        (outcome("Dense baselines", &result.dense))
        @if result.has_controls() { (outcome("Controls: the token level alone", &result.control)) }
        @if let Some(gains) = &result.decay {
            h3 { "What the decay takes off" }
            @match &gains.law {
                Maybe::Known(law) => (decay(law)),
                Maybe::Unknown(why) => p { "Cannot be fitted: " (why) "." },
            }
        }
        @match result.seed_noise {
            Some(noise) => p {
                "Noise between seeds: " (format!("{:.4}", noise.nats)) " nats per token, from "
                (noise.runs) " runs of " (noise.settings) " settings."
            },
            None => @if !result.runs.is_empty() {
                p {
                    "No setting was run with two seeds: the noise is known only from what the fit \
                     leaves."
                }
            },
        }
    }
}

/// Lists every warning of the analysis, the serious ones marked.
pub(super) fn warnings(result: &AnalysisResult) -> Markup {
    html! {
        @if result.warnings.is_empty() { p { "None." } }
        @else {
            ul.warnings {
                @for warning in &result.warnings {
                    li class=(if warning.is_loud() { "bad" } else { "plain" }) {
                        @if warning.is_loud() { strong { "Serious: " } }
                        (warning)
                    }
                }
            }
        }
    }
}

fn outcome(title: &str, outcome: &LawOutcome) -> Markup {
    html! {
        h3 { (title) }
        @match outcome {
            LawOutcome::CannotFit { why } => p { "Cannot be fitted: " (why) "." },
            LawOutcome::Fitted(report) => (fitted(report)),
        }
    }
}

fn fitted(report: &LawReport) -> Markup {
    html! {
        (formula::display(&report.equation))
        p.dim { (report.source) }
        @for reduction in analysis::reductions(report) { p { "Reduced: " (reduction) "." } }
        @if !report.converged { p.bad { "The fit did not converge: do not use it." } }
        p { (analysis::quality(report)) "." }
        p {
            @match analysis::held_out(report) {
                Some(held_out) => { (capital(&held_out)) "." },
                None => "The runs are too few to hold out the largest.",
            }
        }
        (parameters(&report.parameters))
    }
}

fn decay(law: &DecayLaw) -> Markup {
    html! {
        (formula::display(&law.equation))
        p { (law.decays) " decays." }
        (parameters(&law.parameters))
    }
}

fn parameters(parameters: &[ParameterEstimate]) -> Markup {
    let row = |parameter: &ParameterEstimate| {
        let mut remarks = Vec::new();
        if let Some(why) = &parameter.unidentified {
            remarks.push(format!("not identified: {why}"));
        }
        if let Some(side) = parameter.at_bound {
            let side = match side {
                Side::Lower => "lower",
                Side::Upper => "upper",
            };
            remarks.push(format!("at its {side} bound"));
        }
        let interval = parameter
            .interval
            .map(|[low, high]| format!("[{}, {}]", analysis::number(low), analysis::number(high)));
        vec![
            formula::symbol(&parameter.name),
            html! { (analysis::number(parameter.value)) },
            html! { (interval.as_deref().unwrap_or(MISSING)) },
            html! { span.dim { (parameter.unit) } },
            html! { (remarks.join("; ")) },
        ]
    };
    table(
        &["parameter", "value", "95% interval", "unit", "remark"],
        parameters.iter().map(row),
    )
}
