//! What was claimed before the runs, and what they say of it.

use super::{Column, minus, table};
use maud::{Markup, html};
use scaling_law::claims::ClaimVerdicts;

pub(super) fn section(claims: &ClaimVerdicts) -> Markup {
    let columns = [
        Column::Text("verdict"),
        Column::Text("claim"),
        Column::Text("number, with its 95% interval"),
        Column::Text("written down"),
    ];
    let rows = claims.claims.iter().map(|claim| {
        let judged = &claim.judged;
        vec![
            html! { strong { (judged.verdict) } },
            html! {
                (minus(&judged.says))
                @if let Some(source) = &judged.source { " " span.dim { "(" (source) ")" } }
            },
            html! {
                @if let Some(number) = judged.number() { (minus(&number)) }
                @for note in claim.notes() { p.dim { (minus(&note)) } }
            },
            html! { (experiment::clock::utc(claim.registered_at)) },
        ]
    });
    html! {
        p.answer { (claims.tally()) "." }
        (table("Claims and verdicts", &columns, rows))
        @if !claims.remarks().is_empty() {
            ul { @for remark in claims.remarks() { li { (remark) } } }
        }
    }
}
