//! The table of all runs.

use super::{Column, MISSING, Stored, decimals, kind, minus, standing};
use campaign::store::RunRecord;
use experiment::quantity::human;
use maud::{Markup, html};

const COLUMNS: [Column; 15] = [
    Column::Text("run"),
    Column::Text("kind"),
    Column::Number("N"),
    Column::Number("P"),
    Column::Number("declared R"),
    Column::Number("realised R"),
    Column::Number("D"),
    Column::Number("seed"),
    Column::Number("loss"),
    Column::Number("bits per byte"),
    Column::Number("FLOPs"),
    Column::Number("concept gain"),
    Column::Number("concept worth"),
    Column::Text("state"),
    Column::Text("message"),
];

pub(super) fn section(stored: &Stored) -> Markup {
    html! {
        p.dim {
            "Losses are held out, in nats per token; FLOPs are training FLOPs spent, a branch's with \
             its trunk's. Concept gain: the loss without concepts minus with them, of one model; \
             concept worth: the loss of its trained control minus its own. "
            span.script hidden { "Click a heading to sort." }
        }
        div.tall tabindex="0" role="region" aria-label="All runs" {
            table.sortable {
                caption.hidden { "All runs" }
                thead { tr { @for column in COLUMNS { (column.heading()) } } }
                tbody { @for run in stored.runs { (row(run, stored)) } }
            }
        }
    }
}

fn row(run: &RunRecord, stored: &Stored) -> Markup {
    let (state, class) = standing(run, stored);
    let has_concepts = run.has_concepts();
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
            td.num data-v=[run.params] { (count(run.params)) }
            td.num { (concepts(format!("{:.3}", run.concept_share))) }
            td.num { (concepts(run.compression_ratio.to_string())) }
            td.num { (decimals(run.realised_ratio, 3)) }
            td.num data-v=[run.tokens] { (count(run.tokens)) }
            td.num { (run.seed) }
            td.num { (decimals(run.loss, 4)) }
            td.num { (decimals(run.bits_per_byte, 4)) }
            td.num { (run.flops.map_or_else(|| MISSING.to_owned(), |flops| minus(&format!("{flops:.2e}")))) }
            td.num { (decimals(run.concept_gain, 3)) }
            td.num { (decimals(worth, 3)) }
            td class=(class) { (state) }
            td.message title=[run.message.as_deref()] { (message.unwrap_or_default()) }
        }
    }
}

/// Writes a number of parameters or tokens.
fn count(number: Option<u64>) -> String {
    number.map_or_else(|| MISSING.to_owned(), |number| human(number as f64))
}

/// The last line that says something: what a failing program ends with.
pub(super) fn last_line(message: &str) -> Option<&str> {
    message
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
}
