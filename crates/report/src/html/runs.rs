//! The table of all runs.

use super::{MISSING, Stored, decimals, kind, standing};
use campaign::store::RunRecord;
use experiment::quantity::human;
use maud::{Markup, html};

const HEADER: [&str; 15] = [
    "run",
    "kind",
    "N",
    "P",
    "R",
    "R realised",
    "D",
    "seed",
    "loss",
    "bits per byte",
    "FLOPs",
    "concept gain",
    "concept worth",
    "state",
    "message",
];

pub(super) fn section(stored: &Stored) -> Markup {
    html! {
        p.dim {
            "Losses are held out, in nats per token; FLOPs are training FLOPs spent, a branch's with \
             its trunk's. Concept gain: the loss without concepts minus with them, of one model; \
             concept worth: the loss of its trained control minus its own. "
            span.script hidden { "Click a heading to sort." }
        }
        div.tall {
            table.sortable {
                caption.hidden { "All runs" }
                thead { tr { @for name in HEADER { th scope="col" { (name) } } } }
                tbody { @for run in stored.runs { (row(run, stored)) } }
            }
        }
    }
}

fn row(run: &RunRecord, stored: &Stored) -> Markup {
    let (state, class) = standing(run, stored);
    let has_concepts = run.spec.architecture.has_concepts();
    let concepts = |text: String| {
        if has_concepts {
            text
        } else {
            MISSING.to_owned()
        }
    };
    let worth = stored.result.concept_worth.known();
    let worth = worth.and_then(|all| Some(all.of_run(&run.id)?.worth));
    let message = run.message.as_deref().and_then(last_line);
    html! {
        tr id={ "run-" (run.id) } {
            th scope="row" { (run.id) }
            td { (kind(run)) }
            td data-v=(run.params) { (human(run.params as f64)) }
            td { (concepts(format!("{:.3}", run.concept_share))) }
            td { (concepts(run.compression_ratio.to_string())) }
            td { (decimals(run.realised_ratio, 3)) }
            td data-v=(run.tokens) { (human(run.tokens as f64)) }
            td { (run.seed) }
            td { (decimals(run.loss, 4)) }
            td { (decimals(run.bits_per_byte, 4)) }
            td { (run.flops.map_or_else(|| MISSING.to_owned(), |flops| format!("{flops:.2e}"))) }
            td { (decimals(run.concept_gain, 3)) }
            td { (decimals(worth, 3)) }
            td class=(class) { (state) }
            td.message title=[run.message.as_deref()] { (message.unwrap_or_default()) }
        }
    }
}

/// The last line that says something: what a failing program ends with.
pub(super) fn last_line(message: &str) -> Option<&str> {
    message
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
}
