//! The question, the answer, and what stands behind it.

use super::{Column, MISSING, capital, decimals, minus, table, with_interval};
use experiment::architecture::ModelKind;
use experiment::quantity::human;
use maud::{Markup, html};
use scaling_law::analysis::{
    self, Allocation, AnalysisResult, Asker, Attribution, Choice, ConceptWorth, LawOutcome, Maybe,
    SavingParts, Savings, Since,
};

/// What is shown in place of a number that the runs do not tell.
const UNDETERMINED: &str = "not determined by these runs";

pub(super) fn section(result: &AnalysisResult, asker: &Asker, since: Since) -> Markup {
    let answer = analysis::answer(result, asker);
    let mut caveats = answer.caveats.clone();
    if let Some(changed) = since.words() {
        caveats.insert(
            0,
            format!("{}: `orchestrator fit` takes that in", capital(&changed)),
        );
    }
    html! {
        p.question { (minus(&answer.question)) }
        p.answer { (minus(&answer.text())) }
        @if !answer.next.is_empty() {
            div.next {
                strong { "Next" }
                ul { @for next in &answer.next { li { (minus(next)) } } }
            }
        }
        @if !caveats.is_empty() {
            div.caveats role="note" {
                strong { "What limits it" }
                ul { @for caveat in &caveats { li { (minus(caveat)) } } }
            }
        }
        p.dim { "Intervals in brackets hold 95%." @if let LawOutcome::Fitted(law) = &result.dlcm {
            " " (minus(&analysis::quality(law))) "."
        } }
        @if let Maybe::Known(allocation) = &result.allocation { (allocated(allocation)) }
        @if let Some(found) = &result.dense_best {
            (optimum(found.budget, std::iter::once(&found.best)))
            p.dim { "FLOPs are counted as " code { (found.convention) } "." }
        }
        @if result.dense_best.is_none() {
            (against_dense(&result.savings, Some(&result.attribution())))
        }
        @if result.has_controls() {
            h4 { "Against the token level alone" }
            (savings(&result.control_savings, ModelKind::TokenOnly))
            (worth(&result.concept_worth))
        }
    }
}

/// The saving against dense models, and whose it is where that is judged.
pub(super) fn against_dense(savings: &Maybe<Savings>, attribution: Option<&Attribution>) -> Markup {
    html! {
        @if let Some(attribution) = attribution {
            h3 { (attribution.title()) }
            p { (minus(&attribution.words)) "." }
        }
        h4 { "Against dense models" }
        (self::savings(savings, ModelKind::Dense))
    }
}

fn savings(savings: &Maybe<Savings>, against: ModelKind) -> Markup {
    match savings {
        Maybe::Known(savings) => saved(savings, against),
        Maybe::Unknown(why) => unknown(why),
    }
}

pub(super) fn unknown(why: &str) -> Markup {
    html! { p { "Not known: " (minus(why)) "." } }
}

fn allocated(allocation: &Allocation) -> Markup {
    let choices = std::iter::once(&allocation.best).chain(&allocation.by_ratio);
    html! {
        (optimum(allocation.budget, choices))
        p.dim {
            "FLOPs are counted as " code { (allocation.convention) } ". "
            @if !allocation.stated { "No budget was stated: this one is " }
            @else { "The budget is " }
            (analysis::number(allocation.times_largest)) " times the largest run's."
        }
    }
}

/// What to train for a budget: a row for each choice.
pub(super) fn optimum<'a>(budget: f64, choices: impl Iterator<Item = &'a Choice>) -> Markup {
    let choices: Vec<&Choice> = choices.collect();
    let with_concepts = choices
        .iter()
        .any(|choice| choice.setting.concept_share > 0.0);
    let row = |choice: &&Choice| {
        let setting = &choice.setting;
        let mut row = vec![match choice.declared_ratio {
            Some(ratio) => html! { (ratio) },
            None if with_concepts => html! { "free" },
            None => html! { "dense" },
        }];
        if with_concepts {
            row.extend([
                quantity(
                    choice,
                    "compression_ratio",
                    setting.compression_ratio,
                    &|r| format!("{r:.1}"),
                ),
                quantity(choice, "concept_share", setting.concept_share, &|p| {
                    format!("{p:.2}")
                }),
            ]);
        }
        row.extend([
            quantity(choice, "params", setting.params, &human),
            quantity(choice, "tokens", setting.tokens, &human),
            quantity(choice, "loss", choice.loss, &|loss| format!("{loss:.3}")),
            html! { (minus(&analysis::remarks(choice).join("; "))) },
        ]);
        row
    };
    let mut columns = vec![Column::Text("declared R")];
    if with_concepts {
        columns.extend([Column::Number("realised R"), Column::Number("P*")]);
    }
    columns.extend([
        Column::Number("N*"),
        Column::Number("D"),
        Column::Number("loss (nats per token)"),
        Column::Text("remarks"),
    ]);
    html! {
        h3 { "What to train for " (human(budget)) " training FLOPs" }
        (table("Optimum", &columns, choices.iter().map(row)))
    }
}

/// A quantity of a choice with its interval, or that the runs do not determine it.
fn quantity(choice: &Choice, name: &str, value: f64, print: &dyn Fn(f64) -> String) -> Markup {
    let interval = choice.intervals.get(name);
    if !choice.undetermined.iter().any(|other| other == name) {
        return with_interval(value, interval, print);
    }
    html! {
        span.undetermined {
            (UNDETERMINED)
            @if let Some([low, high]) = interval {
                " " span.whole { "[" (minus(&print(*low))) ", " (minus(&print(*high))) "]" }
            }
        }
    }
}

/// A parameter's value, or that the runs do not determine it.
pub(super) fn parameter(value: f64, is_determined: bool) -> Markup {
    html! {
        @if is_determined { (minus(&analysis::number(value))) }
        @else { span.undetermined { (UNDETERMINED) } }
    }
}

fn saved(savings: &Savings, against: ModelKind) -> Markup {
    let (baseline, label) = match against {
        ModelKind::TokenOnly => ("its N", "Saving against the token level alone"),
        _ => ("dense N", "Saving against dense models"),
    };
    let mut columns = vec![
        Column::Number("declared R"),
        Column::Number(baseline),
        Column::Number("its loss"),
        Column::Number("training FLOPs saved at that loss"),
    ];
    let points = savings.curves.iter().flat_map(|curve| {
        let told = savings.told(curve);
        told.map(move |point| (curve, point))
    });
    let points: Vec<_> = points.collect();
    let divided = points.iter().any(|(_, point)| point.parts.is_some());
    if divided {
        columns.extend([
            Column::Number("the token level alone saves"),
            Column::Number("the concepts' part"),
        ]);
    }
    let rows = points.iter().map(|(curve, point)| {
        let class = (!point.sign_is_known()).then_some("undetermined");
        let mut row = vec![
            html! { (curve.declared_ratio) },
            html! { (human(point.baseline)) },
            html! { (decimals(point.target_loss, 3)) },
            html! { span class=[class] { (minus(&analysis::saved(point))) } },
        ];
        if divided {
            row.extend(parts(point.parts.as_ref()));
        }
        row
    });
    html! {
        (table(label, &columns, rows))
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
    [html! { (minus(&alone)) (far) }, html! { (minus(&part)) }]
}

fn worth(worth: &Maybe<ConceptWorth>) -> Markup {
    let worth = match worth {
        Maybe::Known(worth) => worth,
        Maybe::Unknown(why) => {
            return html! { p { "What concepts are worth is not known: " (minus(why)) "." } };
        }
    };
    let rows = worth.levels.iter().map(|level| {
        vec![
            html! { (human(level.params)) },
            html! { (format!("{:.2}", level.share)) },
            html! { (minus(&format!("{:.3}", level.median))) },
            html! { (level.above_noise) " of " (level.runs) },
        ]
    });
    let columns = [
        Column::Number("N"),
        Column::Number("P"),
        Column::Number("median worth (nats per token)"),
        Column::Number("runs above noise"),
    ];
    html! {
        h4 { "What concepts are worth" }
        p { (minus(&analysis::worth_in_words(worth))) "." }
        (table("Worth of concepts", &columns, rows))
    }
}
