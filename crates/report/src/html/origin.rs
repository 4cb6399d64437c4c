//! Where the numbers come from and how to get them again.

use super::{Column, MISSING, Stored, table};
use campaign::store::Machine;
use experiment::clock::utc;
use experiment::quantity::human;
use experiment::run::{DataFacts, DataSpec};
use maud::{Markup, html};

pub(super) fn section(stored: &Stored) -> Markup {
    let experiment = stored.experiment;
    let policy = stored.result.policy();
    let file = in_shell(&format!("{}.yaml", experiment.name));
    html! {
        p { "Save the configuration below as " code { (file) } ", with its data in place, then:" }
        pre { code { "orchestrator run " (file) "\norchestrator report " (file) } }
        dl {
            dt { "program" }
            dd { "orchestrator " (experiment.program_version) }
            dt { "git commit of the working folder" }
            dd { code { (experiment.git_commit.as_deref().unwrap_or(MISSING)) } }
            dt { "configuration, SHA-256" }
            dd { code { (experiment.config_hash) } }
            dt { "analysis" }
            dd {
                (utc(stored.analysed_at)) " UTC; "
                @if let Some(draws) = policy.draws { (draws) " resamples, " }
                "seed " (policy.seed) ", " (policy.objective)
            }
        }
        h3 { "Data" }
        (data(stored))
        h3 { "Machines" }
        @if stored.machines.is_empty() { p { "No attempt at a run is on record." } }
        @else { (machines(stored.machines)) }
        h3 { "Configuration as stored" }
        pre.config { code { (experiment.config) } }
    }
}

/// Quotes a word for a shell, where it needs that.
fn in_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if word.chars().all(is_plain) && !word.starts_with('-') {
        word.to_owned()
    } else {
        format!("'./{}'", word.replace('\'', "'\\''"))
    }
}

fn data(stored: &Stored) -> Markup {
    let mut known: Vec<(&DataSpec, &DataFacts, usize)> = Vec::new();
    for spec in stored.runs.iter().filter_map(|run| run.spec.model()) {
        let facts = &spec.facts;
        match known
            .iter_mut()
            .find(|(_, other, _)| other.fingerprint == facts.fingerprint)
        {
            Some((_, _, runs)) => *runs += 1,
            None => known.push((&spec.data, facts, 1)),
        }
    }
    let row = |(spec, facts, runs): &(&DataSpec, &DataFacts, usize)| {
        let optional = |value: Option<f64>| html! { (super::decimals(value, 4)) };
        vec![
            html! { code { (facts.fingerprint) } },
            html! { (source(spec)) },
            html! { (facts.vocab) },
            html! { (human(facts.train_tokens as f64)) },
            html! { (human(facts.validation_tokens as f64)) },
            optional(facts.bytes_per_token),
            optional(facts.entropy_floor),
            html! { (runs) },
        ]
    };
    let columns = [
        Column::Text("fingerprint"),
        Column::Text("from"),
        Column::Number("vocabulary"),
        Column::Number("training tokens"),
        Column::Number("held-out tokens"),
        Column::Number("bytes per token"),
        Column::Number("entropy (nats per token)"),
        Column::Number("runs"),
    ];
    table("Data", &columns, known.iter().map(row))
}

fn source(spec: &DataSpec) -> String {
    match spec {
        DataSpec::Synthetic(_) => "the synthetic language".to_owned(),
        DataSpec::Text { text, .. } => text.join(", "),
        DataSpec::Tokens { train, .. } => train.to_string(),
    }
}

fn machines(machines: &[Machine]) -> Markup {
    let row = |machine: &Machine| {
        let text = |value: &Option<String>| match value {
            Some(value) => html! { (value) },
            None => html! { (MISSING) },
        };
        vec![
            html! { (machine.host) },
            html! { (machine.device) },
            text(&machine.hardware),
            html! { (machine.threads) },
            html! { (machine.program_version) },
            html! { code { (text(&machine.git_commit)) } },
            html! { code { (text(&machine.lock_hash)) } },
            html! { (machine.attempts) },
        ]
    };
    let columns = [
        Column::Text("host"),
        Column::Text("device"),
        Column::Text("hardware"),
        Column::Number("threads"),
        Column::Text("program"),
        Column::Text("git commit"),
        Column::Text("lock file, SHA-256"),
        Column::Number("attempts"),
    ];
    table("Machines", &columns, machines.iter().map(row))
}
