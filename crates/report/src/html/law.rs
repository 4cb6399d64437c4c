//! The fitted laws, how well they fit, and every warning.

use super::{Column, MISSING, answer, capital, formula, minus, table};
use maud::{Markup, html};
use scaling_law::analysis::{
    self, AnalysisResult, DecayLaw, LawOutcome, LawReport, Maybe, ParameterEstimate, Warning,
};
use scaling_law::fit::diagnostics::Side;

pub(super) fn section(result: &AnalysisResult) -> Markup {
    html! {
        @for (title, law) in laws(result) {
            h3 { (title) }
            (outcome(law))
        }
        @if let Some(gains) = &result.decay {
            h3 { "What the decay takes off" }
            @match &gains.law {
                Maybe::Known(law) => (decay(law)),
                Maybe::Unknown(why) => p { "Cannot be fitted: " (minus(why)) "." },
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

/// The laws of all kinds of models, each with what it is the law of.
pub fn laws(result: &AnalysisResult) -> Vec<(&'static str, &LawOutcome)> {
    let mut laws = vec![("DLCM", &result.dlcm), ("Dense baselines", &result.dense)];
    if result.has_controls() {
        laws.push(("Controls: the token level alone", &result.control));
    }
    laws
}

/// Lists warnings, the serious ones marked.
pub(super) fn warnings(warnings: &[Warning]) -> Markup {
    html! {
        @if warnings.is_empty() { p { "None." } }
        @else {
            ul.warnings {
                @for warning in warnings {
                    li class=(if warning.is_loud() { "bad" } else { "plain" }) {
                        @if warning.is_loud() { strong { "Serious: " } }
                        (minus(&warning.to_string()))
                    }
                }
            }
        }
    }
}

pub(super) fn outcome(outcome: &LawOutcome) -> Markup {
    html! {
        @match outcome {
            LawOutcome::CannotFit { why } => p { "Cannot be fitted: " (minus(&why.to_string())) "." },
            LawOutcome::Fitted(report) => (fitted(report)),
        }
    }
}

pub(super) fn fitted(report: &LawReport) -> Markup {
    html! {
        (formula::display(&report.equation))
        p.dim { (report.source) }
        @for reduction in analysis::reductions(report) { p { "Reduced: " (minus(&reduction)) "." } }
        @if !report.converged { p.bad { "The fit did not converge: do not use it." } }
        p { (minus(&analysis::quality(report))) "." }
        p {
            @match analysis::held_out(report) {
                Some(held_out) => { (capital(&minus(&held_out))) "." },
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
        let mut remarks = Vec::from_iter(parameter.unidentified.clone());
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
        let is_determined = parameter.unidentified.is_none();
        let class = (!is_determined).then_some("undetermined");
        vec![
            formula::symbol(&parameter.name),
            answer::parameter(parameter.value, is_determined),
            html! { span.whole class=[class] { (minus(interval.as_deref().unwrap_or(MISSING))) } },
            html! { span.dim { (parameter.unit) } },
            html! { (minus(&remarks.join("; "))) },
        ]
    };
    let columns = [
        Column::Text("parameter"),
        Column::Number("value"),
        Column::Number("95% interval"),
        Column::Text("unit"),
        Column::Text("remark"),
    ];
    table("Parameters", &columns, parameters.iter().map(row))
}
