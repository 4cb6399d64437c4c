//! The question, the answer in one sentence, and what stands behind it.

use super::{MISSING, Stored, table, with_interval};
use experiment::architecture::ModelKind;
use experiment::quantity::human;
use experiment::run::{Part, RunOutcome};
use maud::{Markup, html};
use scaling_law::analysis::{
    self, Allocation, Asker, Choice, ConceptWorth, LawOutcome, Maybe, SavingParts, Savings,
};

pub(super) fn section(stored: &Stored) -> Markup {
    let result = stored.result;
    let asker = Asker {
        rows: &stored.experiment.name,
        has_grid: !stored.runs.is_empty(),
    };
    let answer = analysis::answer(result, &asker);
    let mut caveats = answer.caveats.clone();
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
        p.answer { (answer.text()) }
        @if !answer.next.is_empty() {
            p { strong { "Next" } }
            ul { @for next in &answer.next { li { (next) } } }
        }
        p.dim { "Intervals in brackets hold 95%." @if let LawOutcome::Fitted(law) = &result.dlcm {
            " " (analysis::quality(law)) "."
        } }
        @if let Maybe::Known(allocation) = &result.allocation { (allocated(allocation)) }
        h3 { (result.attribution().title()) }
        p { (result.attribution().words) "." }
        h4 { "Against dense models" }
        @match &result.savings {
            Maybe::Known(savings) => (saved(savings, ModelKind::Dense)),
            Maybe::Unknown(why) => p { "Not known: " (why) "." },
        }
        @if result.has_controls() {
            h4 { "Against the token level alone" }
            @match &result.control_savings {
                Maybe::Known(savings) => (saved(savings, ModelKind::TokenOnly)),
                Maybe::Unknown(why) => p { "Not known: " (why) "." },
            }
            (worth(&result.concept_worth))
        }
    }
}

/// Says that runs have come to a result since the analysis.
fn stale(stored: &Stored) -> Option<String> {
    let finished = stored
        .runs
        .iter()
        .filter(|run| run.outcome == Some(RunOutcome::Finished) && run.part != Part::Trunk);
    let known = |run: &&campaign::store::RunRecord| {
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

fn saved(savings: &Savings, against: ModelKind) -> Markup {
    let baseline = match against {
        ModelKind::TokenOnly => "its N",
        _ => "dense N",
    };
    let mut header = vec![
        "R",
        baseline,
        "its loss",
        "training FLOPs saved at that loss",
    ];
    let points = savings.curves.iter().flat_map(|curve| {
        let told = savings.told(curve);
        told.map(move |point| (curve, point))
    });
    let points: Vec<_> = points.collect();
    let divided = points.iter().any(|(_, point)| point.parts.is_some());
    if divided {
        header.extend(["the token level alone saves", "the concepts' part"]);
    }
    let rows = points.iter().map(|(curve, point)| {
        let mut row = vec![
            html! { (curve.declared_ratio) },
            html! { (human(point.baseline)) },
            html! { (super::decimals(point.target_loss, 3)) },
            html! { (analysis::saved(point)) },
        ];
        if divided {
            row.extend(parts(point.parts.as_ref()));
        }
        row
    });
    html! {
        (table(&header, rows))
        p.dim {
            "Both train on D = " (human(savings.tokens)) ", counted as "
            code { (savings.convention) } "; the sign is that of the saving. Inference saves alike."
            @if divided {
                " The concepts' part: the share of ln(FLOPs of the dense model ÷ FLOPs of the DLCM) \
                 that lies between the token level alone and the DLCM."
            }
        }
    }
}

/// What the token level alone saves, and the concepts' part.
fn parts(parts: Option<&SavingParts>) -> [Markup; 2] {
    let Some(parts) = parts else {
        return [html! { (MISSING) }, html! { (MISSING) }];
    };
    let percent = |share: f64| format!("{:+.0}%", 100.0 * share);
    let alone = match parts.locality {
        Some(saved) => {
            let [low, high] = parts
                .locality_interval
                .map(|end| end.map_or_else(|| "out of reach".to_owned(), percent));
            format!("{} [{low}, {high}]", percent(saved))
        }
        None => "the loss is out of its reach".to_owned(),
    };
    let part = parts.concepts.map(|value| analysis::Part {
        value,
        interval: parts.concepts_interval,
    });
    let part = part.map_or_else(|| MISSING.to_owned(), |part| part.to_string());
    let far = if parts.extrapolated {
        "  extrapolated"
    } else {
        ""
    };
    [html! { (alone) (far) }, html! { (part) }]
}

fn worth(worth: &Maybe<ConceptWorth>) -> Markup {
    let worth = match worth {
        Maybe::Known(worth) => worth,
        Maybe::Unknown(why) => {
            return html! { p { "What concepts are worth is not known: " (why) "." } };
        }
    };
    let rows = worth.levels.iter().map(|level| {
        vec![
            html! { (human(level.params)) },
            html! { (format!("{:.2}", level.share)) },
            html! { (format!("{:.3}", level.median)) },
            html! { (level.above_noise) " of " (level.runs) },
        ]
    });
    html! {
        h4 { "What concepts are worth" }
        p { (analysis::worth_in_words(worth)) "." }
        (table(&["N", "P", "median worth (nats per token)", "runs above noise"], rows))
    }
}
