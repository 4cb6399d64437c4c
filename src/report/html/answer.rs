//! The question, the answer in one sentence, and what stands behind it.

use super::{Stored, table, with_interval};
use crate::analysis::{self, Allocation, Choice, LawOutcome, Maybe, Savings};
use crate::quantity::human;
use crate::run::{Part, RunOutcome};
use maud::{Markup, html};

pub(super) fn section(stored: &Stored) -> Markup {
    let result = stored.result;
    let answer = analysis::answer(result);
    let mut caveats = answer.caveats;
    if let Some(stale) = stale(stored) {
        caveats.insert(0, stale);
    }
    html! {
        p.question { (answer.question) }
        @if !caveats.is_empty() {
            div.caveats role="note" {
                strong { "Read this first" }
                ul { @for caveat in &caveats { li { (caveat) } } }
            }
        }
        p.answer { (answer.sentence) }
        p.dim { "Intervals in brackets hold 95%." @if let LawOutcome::Fitted(law) = &result.dlcm {
            " " (analysis::quality(law)) "."
        } }
        @if let Maybe::Known(allocation) = &result.allocation { (allocated(allocation)) }
        h3 { "FLOPs saved against a dense model" }
        @match &result.savings {
            Maybe::Known(savings) => (saved(savings)),
            Maybe::Unknown(why) => p { "Not known: " (why) "." },
        }
    }
}

/// Says that runs have come to a result since the analysis.
fn stale(stored: &Stored) -> Option<String> {
    let finished = stored
        .runs
        .iter()
        .filter(|run| run.outcome == Some(RunOutcome::Finished) && run.part != Part::Trunk);
    let known = |run: &&crate::store::RunRecord| {
        let used = stored.result.runs.iter().map(|used| &used.id);
        let left_out = stored.result.left_out.iter().map(|left_out| &left_out.id);
        used.chain(left_out).any(|id| *id == run.id)
    };
    let new = finished.filter(|run| !known(run)).count();
    (new > 0).then(|| {
        format!(
            "{new} runs have finished since the analysis and are not in it: `orchestrator fit` \
             makes a new one"
        )
    })
}

fn allocated(allocation: &Allocation) -> Markup {
    let row = |choice: &Choice| {
        let shown = |name: &str, value: f64, print: &dyn Fn(f64) -> String| {
            with_interval(value, choice.intervals.get(name), print)
        };
        let setting = &choice.setting;
        let ratio = match choice.declared_ratio {
            Some(ratio) => html! { (ratio) },
            None => {
                html! { "free: " (shown("compression_ratio", setting.compression_ratio, &|r| format!("{r:.1}"))) }
            }
        };
        vec![
            ratio,
            shown("concept_share", setting.concept_share, &|p| {
                format!("{p:.2}")
            }),
            shown("params", setting.params, &human),
            shown("tokens", setting.tokens, &human),
            shown("loss", choice.loss, &|loss| format!("{loss:.3}")),
            html! { span.dim { (analysis::remarks(choice).join("; ")) } },
        ]
    };
    let choices = std::iter::once(&allocation.best).chain(&allocation.by_ratio);
    html! {
        h3 { "What to train for " (human(allocation.budget)) " training FLOPs" }
        (table(&["R", "P*", "N*", "D", "loss (nats per token)", "remarks"], choices.map(row)))
        p.dim {
            "FLOPs are counted as " code { (allocation.convention) } ". "
            @if !allocation.stated { "No budget was stated: this one is " }
            @else { "The budget is " }
            (analysis::number(allocation.times_largest)) " times the largest run's."
        }
    }
}

fn saved(savings: &Savings) -> Markup {
    let rows = savings.curves.iter().flat_map(|curve| {
        analysis::told(curve, savings.trained).map(|point| {
            vec![
                html! { (curve.declared_ratio) },
                html! { (human(point.baseline)) },
                html! { (super::decimals(point.target_loss, 3)) },
                html! { (analysis::saved(point)) },
            ]
        })
    });
    html! {
        (table(&["R", "dense N", "its loss", "training FLOPs saved at that loss"], rows))
        p.dim {
            "Both train on D = " (human(savings.tokens)) ", counted as "
            code { (savings.convention) } "; the sign is that of the saving. Inference saves alike."
        }
    }
}
