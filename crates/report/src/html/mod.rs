//! An experiment's report: one HTML file that needs nothing beside it.
//!
//! Everything in it is stored: runs, measurements, the newest analysis, the experiment's file and
//! where its numbers come from. Everything that comes from outside is escaped; figures are SVG
//! within the page, and the page may load nothing.

mod answer;
mod claims;
mod figures;
mod formula;
mod grid;
mod law;
mod origin;
pub mod parts;
mod runs;
mod tasks;

use super::{ReportError, write_whole};
use crate::comparison::Answers;
use crate::plots::{self, Material};
use campaign::store::{ExperimentRecord, Machine, ReadingRecord, RunRecord};
use experiment::event::Measurement;
use experiment::run::{RunId, RunState};
pub use law::laws;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use scaling_law::analysis::{AnalysisResult, Asker, Since};
use scaling_law::claims::ClaimVerdicts;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const STYLE: &str = include_str!("style.css");
const SORT: &str = include_str!("sort.js");

/// What is shown where a value is missing.
const MISSING: &str = "–";

/// What a report is written from: stored values, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The experiment with its file.
    pub experiment: &'a ExperimentRecord,
    /// The runs, in plan order.
    pub runs: &'a [RunRecord],
    /// The failed run that each blocked one waits for.
    pub blocked: &'a HashMap<RunId, RunId>,
    /// The measurements of each run that has some.
    pub measurements: &'a BTreeMap<RunId, Vec<Measurement>>,
    /// What was kept of the runs' readings of texts.
    pub readings: &'a [ReadingRecord],
    /// What runs answered to tasks, and made of texts.
    pub answers: &'a Answers,
    /// What they say of the experiment's claims; `None` where it has none.
    pub claims: Option<&'a ClaimVerdicts>,
    /// The newest analysis.
    pub result: &'a AnalysisResult,
    /// When it was made, seconds since the Unix epoch.
    pub analysed_at: f64,
    /// What has become of the runs since.
    pub since: Since,
    /// What the runs were carried out on.
    pub machines: &'a [Machine],
    /// When the report is written, seconds since the Unix epoch.
    pub written_at: f64,
}

impl Stored<'_> {
    /// Who reads it: hints name the experiment, and its file where that declares runs.
    fn asker(&self) -> Asker<'_> {
        Asker {
            rows: &self.experiment.name,
            has_grid: !self.runs.is_empty(),
        }
    }
}

/// Writes the report to a file.
///
/// # Errors
/// When the file cannot be written or the drawing library fails.
pub fn write(path: &Path, stored: &Stored) -> Result<(), ReportError> {
    write_whole(path, page(stored)?.as_bytes())
}

/// Writes the report as the text of an HTML file.
///
/// # Errors
/// When the drawing library fails.
pub fn page(stored: &Stored) -> Result<String, ReportError> {
    let material = Material {
        runs: stored.runs,
        measurements: stored.measurements,
        readings: stored.readings,
        answers: stored.answers,
        result: stored.result,
    };
    let mut sections = vec![
        (
            "answer",
            "Question and answer",
            answer::section(stored.result, &stored.asker(), stored.since),
        ),
        ("grid", "What became of the grid", grid::section(stored)),
        ("law", "The law", law::section(stored.result)),
        (
            "warnings",
            "Warnings",
            law::warnings(&stored.result.warnings),
        ),
        ("figures", "Figures", figures::section(&material)?),
        ("runs", "Runs", runs::section(stored)),
        ("origin", "How to reproduce this", origin::section(stored)),
    ];
    if !stored.answers.runs.is_empty() {
        let tasks = tasks::section(stored.answers, stored.runs);
        sections.insert(3, ("tasks", "Tasks and texts", tasks));
    }
    if let Some(claims) = stored.claims {
        sections.insert(0, ("claims", "Claims", claims::section(claims)));
    }
    let name = &stored.experiment.name;
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                  base-uri 'none'; form-action 'none'";
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (name) " – report" }
                style { (PreEscaped(STYLE)) (PreEscaped(plots::theme())) }
            }
            body {
                header {
                    h1 { (name) }
                    p.dim {
                        (stored.runs.len()) " runs; analysed "
                        (experiment::clock::utc(stored.analysed_at)) " UTC, written "
                        (experiment::clock::utc(stored.written_at)) " UTC by orchestrator "
                        (env!("CARGO_PKG_VERSION"))
                    }
                    nav aria-label="Contents" {
                        ol { @for (id, title, _) in &sections { li { a href={ "#" (id) } { (title) } } } }
                    }
                }
                main {
                    @for (id, title, content) in &sections {
                        section id=(id) {
                            h2 { (title) }
                            (content)
                        }
                    }
                }
                script { (PreEscaped(SORT)) }
            }
        }
    };
    Ok(page.into_string())
}

/// Says in a word or two where a run stands, and gives the class it is styled as.
fn standing(run: &RunRecord, stored: &Stored) -> (String, &'static str) {
    if let Some(by) = stored.blocked.get(&run.id) {
        return (format!("waits for {by}"), "bad");
    }
    match (run.state, run.outcome) {
        (RunState::Ended, Some(outcome)) => {
            let class = match outcome {
                experiment::run::RunOutcome::Finished => "good",
                _ => "bad",
            };
            (outcome.name().replace('_', " "), class)
        }
        (RunState::Pending, Some(outcome)) => {
            let before = outcome.name().replace('_', " ");
            (format!("pending, {before} before"), "open")
        }
        (state, _) => (state.name().to_owned(), "open"),
    }
}

/// Names what kind of model a run trains, and which part of its training.
fn kind(run: &RunRecord) -> String {
    match run.part {
        experiment::run::Part::Whole => run.kind.name().to_owned(),
        part => format!("{} {part}", run.kind.name()),
    }
}

/// Prints a value with so many decimals, or that it is missing.
fn decimals(value: Option<f64>, digits: usize) -> String {
    let finite = |value: f64| {
        if value.is_finite() {
            minus(&format!("{value:.digits$}"))
        } else {
            value.to_string()
        }
    };
    value.map_or_else(|| MISSING.to_owned(), finite)
}

/// Puts a minus sign in place of every hyphen that stands for one.
fn minus(text: &str) -> String {
    let mut set = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    // What stands before: an exponent's e follows a digit.
    let mut before = [' ', ' '];
    while let Some(letter) = letters.next() {
        let starts = !before[1].is_alphanumeric() && before[1] != '-';
        let in_exponent = before[0].is_ascii_digit() && before[1] == 'e';
        let is_minus = letter == '-'
            && letters.peek().is_some_and(char::is_ascii_digit)
            && (starts || in_exponent);
        set.push(if is_minus { '−' } else { letter });
        before = [before[1], letter];
    }
    set
}

/// A column of a table: numbers stand to the right.
#[derive(Clone, Copy)]
enum Column {
    Text(&'static str),
    Number(&'static str),
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Self::Text(name) | Self::Number(name) => name,
        }
    }

    fn class(self) -> Option<&'static str> {
        matches!(self, Self::Number(_)).then_some("num")
    }

    fn heading(self) -> Markup {
        html! { th scope="col" class=[self.class()] { (self.name()) } }
    }
}

/// Writes a table with a header of plain words.
fn table(label: &str, columns: &[Column], rows: impl IntoIterator<Item = Vec<Markup>>) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr { @for column in columns { (column.heading()) } } }
                tbody { @for row in rows {
                    tr { @for (cell, column) in row.iter().zip(columns) {
                        td class=[column.class()] data-name=(column.name()) { (cell) }
                    } }
                } }
            }
        }
    }
}

/// Writes a quantity with its 95% interval.
fn with_interval(value: f64, interval: Option<&[f64; 2]>, print: &dyn Fn(f64) -> String) -> Markup {
    html! {
        (minus(&print(value)))
        @if let Some([low, high]) = interval {
            " " span.dim.whole { "[" (minus(&print(*low))) ", " (minus(&print(*high))) "]" }
        }
    }
}

/// Writes the first letter large.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

#[cfg(test)]
mod tests;
