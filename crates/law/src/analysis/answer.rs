//! The question of an experiment and its answer, for a person: the verdict in words, what to do next,
//! and what limits both.

use super::allocate::{Allocation, Choice, DenseBest};
use super::attribution::Part;
use super::summary::{beyond, letter, saved};
use super::{
    AnalysisResult, Attribution, CannotFit, LawOutcome, Maybe, NotConcepts, Untold, Verdict,
    Warning,
};
use experiment::architecture::ModelKind;
use experiment::quantity::human;

/// The question of an experiment and its answer in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is asked.
    pub question: String,
    /// The verdict, in sentences.
    pub verdict: Vec<String>,
    /// What to do next, the most urgent first.
    pub next: Vec<String>,
    /// What limits the verdict, the most serious first; what it says itself is not said again.
    pub caveats: Vec<String>,
}

impl Answer {
    /// Returns the verdict as one text.
    pub fn text(&self) -> String {
        self.verdict.join(" ")
    }
}

/// Who asks: what the hints are written for.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// What names the rows on a command line: an experiment, or `--csv FILE`.
    pub rows: &'a str,
    /// Whether an experiment's file declares the runs: its keys can be changed.
    pub has_grid: bool,
}

/// Answers in words: what to train for the budget, whether concepts save anything, and what to do next.
/// Numbers that the runs do not determine are said to be so.
pub fn answer(result: &AnalysisResult, asker: &Asker) -> Answer {
    let allocation = result.allocation.known();
    let budget = allocation.map(|allocation| allocation.budget);
    let attribution = result.attribution();
    let mut verdict: Vec<String> = void(result).collect();
    if !verdict.is_empty() {
        verdict.push("Nothing below means anything before that is mended.".to_owned());
    }
    if !result.has_concepts() && !result.runs.is_empty() {
        return without_concepts(result, &attribution, asker, verdict);
    }
    verdict.extend(
        result
            .sweeps
            .iter()
            .map(|sweep| format!("{}.", sentence(&sweep.to_string()))),
    );
    if result.runs.is_empty() {
        verdict.push("What to train is not known: no run has finished.".to_owned());
        return Answer {
            question: question(result.settings.budget),
            verdict,
            next: vec![format!(
                "`orchestrator status {}` says where the runs stand, and why.",
                asker.rows
            )],
            caveats: caveats(result, &attribution).collect(),
        };
    }
    verdict.push(match &result.allocation {
        Maybe::Known(allocation) => best(allocation, &result.warnings),
        Maybe::Unknown(why) => format!("What to train is not known: {why}."),
    });
    verdict.extend(
        contradiction(result).map(|warning| format!("{}.", sentence(&warning.to_string()))),
    );
    verdict.extend(saving(result, &attribution));
    let told: Vec<String> = caveats(result, &attribution).collect();
    Answer {
        question: question(result.settings.budget.or(budget)),
        next: next(result, &attribution, asker),
        verdict,
        caveats: told,
    }
}

fn question(budget: Option<f64>) -> String {
    let budget = budget.map_or_else(
        || "the budget".to_owned(),
        |budget| format!("{} training FLOPs", human(budget)),
    );
    format!(
        "Which concept share P, compression ratio R and size N are best for {budget}, and what does \
         that save against a dense model?"
    )
}

/// Begins a sentence.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// Answers about rows of which none is of a model with concepts.
fn without_concepts(
    result: &AnalysisResult,
    attribution: &Attribution,
    asker: &Asker,
    mut verdict: Vec<String>,
) -> Answer {
    let sweeps = result.sweeps.iter();
    verdict.extend(sweeps.map(|sweep| format!("{}.", sentence(&sweep.to_string()))));
    let rows = asker.rows;
    let mut next = Vec::new();
    if matches!(result.dense, LawOutcome::Fitted(_)) {
        next.push(format!(
            "`orchestrator fit {rows} --law chinchilla` judges one law by itself."
        ));
    }
    let question = match &result.dense_best {
        Some(found) => {
            verdict.extend(divided(found));
            next.push(format!(
                "`orchestrator allocate {rows} --law chinchilla --flops BUDGET` divides another budget."
            ));
            format!(
                "How are {} training FLOPs best divided between N and D?",
                human(found.budget)
            )
        }
        None => {
            verdict.push(
                "None of these runs has concepts, so nothing is said of P and R: only the laws of the \
                 other models are fitted."
                    .to_owned(),
            );
            next.push("Runs of several N and several D let a law divide a budget.".to_owned());
            question(result.settings.budget)
        }
    };
    Answer {
        question,
        verdict,
        next,
        caveats: caveats(result, attribution).collect(),
    }
}

/// Says how a budget is best divided between N and D.
fn divided(found: &DenseBest) -> impl Iterator<Item = String> {
    let quantity = |name: &str, letter: &str, value: f64| {
        let interval = found.best.intervals.get(name);
        let interval = interval.map_or_else(String::new, |[low, high]| {
            format!(" [{}, {}]", human(*low), human(*high))
        });
        format!("{letter} = {}{interval}", human(value))
    };
    let setting = &found.best.setting;
    let times = match (found.stated, found.times_largest) {
        (false, _) => ", those of the largest run,".to_owned(),
        (true, times) if times > 1.05 => format!(", {times:.1} times the largest run's,"),
        (true, _) => String::new(),
    };
    let best = format!(
        "{} training FLOPs{times} are best divided into {} and {} tokens, by the law of these runs.",
        human(found.budget),
        quantity("params", "N", setting.params),
        quantity("tokens", "D", setting.tokens),
    );
    let remarks = super::remarks(&found.best);
    let remarks = (!remarks.is_empty()).then(|| format!("{}.", sentence(&remarks.join("; "))));
    [best].into_iter().chain(remarks)
}

/// Says why the result may mean nothing: the laws of what is compared with void that comparison alone.
fn void(result: &AnalysisResult) -> impl Iterator<Item = String> {
    let void = result.warnings.iter().filter(|warning| voids_all(warning));
    void.map(|warning| format!("{}.", sentence(&warning.to_string())))
}

fn voids_all(warning: &Warning) -> bool {
    let law = match warning {
        Warning::DescribesNothing { law, .. } | Warning::Fit { law, .. } => law.as_str(),
        _ => DLCM_LAW,
    };
    warning.is_void() && law == DLCM_LAW
}

/// What warnings call the law of models with concepts.
const DLCM_LAW: &str = "DLCM law";

fn contradiction(result: &AnalysisResult) -> Option<&Warning> {
    let contradicts = |warning: &&Warning| matches!(warning, Warning::OrderOfShares { .. });
    result.warnings.iter().find(contradicts)
}

/// Says what to train, as far as the runs determine it.
fn best(allocation: &Allocation, warnings: &[Warning]) -> String {
    let choice = &allocation.best;
    let budget = human(allocation.budget);
    let budget = match (allocation.stated, allocation.times_largest) {
        (false, _) => format!("At the largest run's {budget} training FLOPs"),
        (true, times) if times > 1.05 => {
            format!("For {budget} training FLOPs, {times:.1} times the largest run's")
        }
        (true, _) => format!("For {budget} training FLOPs"),
    };
    // Where concepts are unused, or the law contradicts the runs, its interval says nothing.
    let has_interval = warnings
        .iter()
        .all(|warning| warning.leaves_open().is_empty());
    let open = choice.undetermined.iter();
    let open: Vec<String> = open
        .map(|name| open_quantity(choice, name, has_interval))
        .collect();
    let setting = &choice.setting;
    let known = [
        ("concept_share", format!("{:.2}", setting.concept_share)),
        (
            "compression_ratio",
            format!("{:.1}", setting.compression_ratio),
        ),
    ];
    let one_ratio = allocation.by_ratio.len() == 1;
    let told = |name: &str| {
        let is_open = choice.undetermined.iter().any(|open| open == name);
        // One R is no choice.
        let is_choice = !(one_ratio && name == "compression_ratio");
        is_choice && !is_open
    };
    let known = known.iter().filter(|(name, _)| told(name));
    let known: Vec<String> = known
        .map(|(name, value)| format!("{} = {value}{}", letter(name), edge(choice, name)))
        .collect();
    let known = (!known.is_empty()).then(|| format!("{} is best by the law", known.join(" with ")));
    let open = match open.len() {
        0 => None,
        1 => Some(format!("{} is not determined by these runs", open[0])),
        _ => Some(format!(
            "{} are not determined by these runs",
            open.join(" and ")
        )),
    };
    let told: Vec<String> = [open, known].into_iter().flatten().collect();
    format!("{budget}, {}.", told.join("; "))
}

/// Says that the best value is the last that was trained.
fn edge(choice: &Choice, name: &str) -> &'static str {
    let mut ends = choice
        .at_edge
        .iter()
        .filter_map(|edge| edge.strip_prefix(name));
    match ends.next() {
        Some(end) if end.contains("upper") => " (the highest that was trained)",
        Some(_) => " (the lowest that was trained)",
        None => "",
    }
}

/// Names a quantity that is not determined, with where it may lie.
fn open_quantity(choice: &Choice, name: &str, has_interval: bool) -> String {
    let within = choice.intervals.get(name).filter(|_| has_interval);
    let within = within.map_or_else(String::new, |[low, high]| {
        format!(" ({low:.2} to {high:.2})")
    });
    format!("{}{within}", letter(name))
}

/// Says whether concepts save FLOPs; a saving that is not the concepts' is said to be none of theirs.
fn saving(result: &AnalysisResult, attribution: &Attribution) -> Option<String> {
    let dense = result.runs.iter().any(|run| run.kind == ModelKind::Dense);
    let told = match &attribution.verdict {
        Verdict::NotConcepts { .. } | Verdict::NoSaving => {
            return Some(format!("{}.", attribution.words));
        }
        // Nothing to compare with was asked for.
        Verdict::Unknown {
            why: Untold::NoControls,
        } if !dense => return None,
        Verdict::Concepts { part } => *part,
        Verdict::Partly { part } => Some(*part),
        Verdict::Unknown { .. } => None,
    };
    let savings = match (&result.savings, attribution.doubt()) {
        (Maybe::Unknown(why), _) => {
            return Some(format!(
                "What is saved against dense models is not known: {why}."
            ));
        }
        (_, Some(doubt)) => {
            return Some(format!(
                "What is saved against dense models is not told here: {doubt}."
            ));
        }
        (Maybe::Known(savings), None) => savings,
    };
    let (curve, point) = savings.headline(result.best_ratio())?;
    let whose = match (&attribution.verdict, told) {
        (Verdict::Unknown { why }, _) => format!("; the concepts' part is not known: {why}"),
        (_, None) => String::new(),
        (_, Some(part @ Part { .. })) => format!("; concepts have {part} of the saving"),
    };
    let against = format!("a dense model of N = {}", human(point.baseline));
    Some(if !point.sign_is_known() {
        format!("Whether a DLCM saves FLOPs against {against} is not determined by these runs.")
    } else {
        format!(
            "Saved against {against} of the same loss, with R = {}: {} of its training FLOPs{whose}.",
            curve.declared_ratio,
            saved(point)
        )
    })
}

/// Lists what limits the verdict, but for what it says itself.
fn caveats<'a>(
    result: &'a AnalysisResult,
    attribution: &'a Attribution,
) -> impl Iterator<Item = String> + 'a {
    let unused = matches!(
        attribution.verdict,
        Verdict::NotConcepts {
            why: NotConcepts::Unused { .. }
        }
    );
    let is_said = move |warning: &Warning| match warning {
        Warning::OrderOfShares { .. } => true,
        Warning::UnusedConcepts { .. } => unused,
        Warning::OtherAxis { axis, .. } => {
            !result.sweeps.is_empty() && axis.starts_with("training.learning_rate")
        }
        warning => voids_all(warning),
    };
    let loud = result.warnings.iter().filter(|warning| warning.is_loud());
    let loud = loud
        .filter(move |warning| !is_said(warning))
        .map(ToString::to_string);
    let allocation = result.allocation.known();
    let of_best = allocation.and_then(|it| beyond(&it.best));
    let held = allocation.and_then(|it| it.at_tokens).map(|tokens| {
        format!(
            "D is held at {}: runs at one D cannot tell how to divide a budget between N and D",
            human(tokens)
        )
    });
    loud.chain(of_best).chain(held)
}

/// Says what to do next.
fn next(result: &AnalysisResult, attribution: &Attribution, asker: &Asker) -> Vec<String> {
    let mut next = Vec::new();
    let key = |key: &str| {
        if asker.has_grid {
            format!(" (`{key}`)")
        } else {
            String::new()
        }
    };
    if let (LawOutcome::CannotFit { why }, true) = (&result.dlcm, result.sweeps.is_empty()) {
        next.extend(remedy(why, &key));
    }
    for sweep in &result.sweeps {
        let ends = sweep.sizes.iter().map(|size| size.at_edge);
        let [below, above] = ends.fold([false; 2], |all, own| [all[0] || own[0], all[1] || own[1]]);
        let beyond = [(below, "lower"), (above, "higher")];
        for (_, side) in beyond.into_iter().filter(|(reached, _)| *reached) {
            next.push(format!(
                "Try {side} learning rates for {}{}.",
                sweep.kind.label(),
                key("training.learning_rate")
            ));
        }
    }
    let was_tried = |kind: &&ModelKind| result.tuning.iter().any(|it| it.kind == **kind);
    let labels = |kinds: Vec<&ModelKind>| {
        let labels: Vec<&str> = kinds.iter().map(|kind| kind.label()).collect();
        labels.join(", ")
    };
    let (tried, never): (Vec<_>, Vec<_>) = attribution.untuned.iter().partition(was_tried);
    if !tried.is_empty() {
        next.push(format!(
            "Try more learning rates for {}{}: the best lies at the edge, or moves with N.",
            labels(tried),
            key("tune.learning_rate")
        ));
    }
    if !never.is_empty() && result.sweeps.is_empty() {
        next.push(format!(
            "Find the learning rates of {}{}: a wrong one can leave concepts unused.",
            labels(never),
            key("tune.learning_rate")
        ));
    }
    if !result.has_controls() && !result.runs.is_empty() {
        next.push(format!(
            "Train token levels alone as controls{}: without them nobody knows what concepts are worth.",
            key("controls: tokens")
        ));
    }
    if let Maybe::Known(allocation) = &result.allocation {
        let edges = allocation.best.at_edge.iter();
        let edges = edges.map(|edge| edge.split_once(' ').unwrap_or((edge, "")));
        // One R is no edge of anything.
        let one_ratio = allocation.by_ratio.len() == 1;
        let edges = edges.filter(|(name, _)| !(one_ratio && *name == "compression_ratio"));
        let (sides, keys): (Vec<String>, Vec<String>) = edges
            .map(|(name, end)| {
                let side = if end.contains("upper") {
                    "above"
                } else {
                    "below"
                };
                (format!("{} {side}", letter(name)), format!("grid.{name}"))
            })
            .unzip();
        if !sides.is_empty() {
            next.push(format!(
                "Train at {} what was tried{}: the best lies at the edge.",
                sides.join(" and "),
                key(&keys.join(", "))
            ));
        }
        if !allocation.best.undetermined.is_empty() {
            next.push(format!(
                "`orchestrator suggest {} --law dlcm --flops {:e}` names the runs that tell most.",
                asker.rows,
                rounded(allocation.budget)
            ));
        }
    }
    if result.seed_noise.is_none() && !result.runs.is_empty() {
        next.push(format!(
            "Train with a second seed too{}: the noise is not known.",
            key("seed: [0, 1]")
        ));
    }
    if next.is_empty() {
        next.push(format!(
            "`orchestrator allocate {} --law dlcm --flops BUDGET` answers for another budget.",
            asker.rows
        ));
    }
    next
}

/// Rounds to three digits, as a budget on a command line is written.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

/// Says what would make a law of runs that give none.
fn remedy(why: &CannotFit, key: &dyn Fn(&str) -> String) -> Option<String> {
    Some(match why {
        CannotFit::NoRuns { .. } => return None,
        CannotFit::SeveralDataSets { .. } => "Fit runs of one data set at a time.".to_owned(),
        CannotFit::TooFewRuns { needed, .. } => format!(
            "Train at least {needed} different settings{}.",
            key("grid.params, grid.concept_share, grid.compression_ratio")
        ),
        CannotFit::TooFewSizes { needed, .. } => {
            format!(
                "Train at least {needed} sizes N on the same tokens{}.",
                key("grid.params")
            )
        }
        CannotFit::OneShare { .. } => {
            format!("Train at two P or more{}.", key("grid.concept_share"))
        }
        CannotFit::FloorAbove { .. } => {
            format!(
                "Train baselines of more sizes N{}.",
                key("baselines.params")
            )
        }
        CannotFit::Refused { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::simulated::{self, ASKER};
    use experiment::grid::Analysis;
    use experiment::quantity::Draws;

    fn answered(runs: &[experiment::record::RunRecord]) -> (AnalysisResult, Answer) {
        let settings = Analysis {
            bootstrap: Draws::from(30),
            ..Analysis::default()
        };
        let result = simulated::tuned(simulated::analysed(runs, &settings));
        let answer = answer(&result, &ASKER);
        (result, answer)
    }

    #[test]
    fn the_verdict_says_what_to_train_and_what_it_saves() {
        let (result, answer) = answered(&simulated::FIRST.runs());
        let allocation = result.allocation.known().expect("an optimum");
        let best = &allocation.best;
        assert!(!allocation.stated);
        assert!(
            (allocation.times_largest - 1.0).abs() < 1e-9,
            "inside the data"
        );
        let share = format!("P = {:.2}", best.setting.concept_share);
        assert!(answer.text().contains(&share), "{}", answer.text());
        assert!(
            answer.text().contains("Saved against a dense model of N ="),
            "{}",
            answer.text()
        );
        let far = beyond(best);
        assert!(
            far.iter().all(|far| answer.caveats.contains(far)),
            "{far:?}"
        );
    }

    #[test]
    fn what_the_runs_do_not_determine_is_no_headline() {
        let (mut result, _) = answered(&simulated::FIRST.runs());
        let Maybe::Known(allocation) = &mut result.allocation else {
            panic!("no optimum");
        };
        allocation.best.undetermined = vec!["concept_share".to_owned()];
        let best = allocation.best.setting.concept_share;
        let told = answer(&result, &ASKER);
        assert!(
            !told.text().contains(&format!("P = {best:.2}")),
            "{}",
            told.text()
        );
        assert!(
            told.text().contains("is not determined by these runs"),
            "{}",
            told.text()
        );
        let suggested =
            |next: &String| next.starts_with("`orchestrator suggest my.yaml --law dlcm");
        assert!(told.next.iter().any(suggested), "{:?}", told.next);
    }

    #[test]
    fn a_saving_at_rates_that_were_not_tuned_is_no_headline() {
        let (mut result, _) = answered(&simulated::FIRST.runs());
        result.tuning.pop();
        // At the edge of what was tried.
        result.tuning[0].sizes[0].losses.pop();
        let told = answer(&result, &ASKER);
        assert!(!told.text().contains("Saved against"), "{}", told.text());
        assert!(
            told.text()
                .contains("the learning rates of DLCM were not tuned"),
            "{}",
            told.text()
        );
        assert!(
            told.next[0].contains("`tune.learning_rate`"),
            "{:?}",
            told.next
        );
        assert!(result.attribution().title().ends_with("(rates not tuned)"));
    }

    #[test]
    fn no_answer_says_why() {
        let (_, answer) = answered(&[]);
        assert!(
            answer.text().starts_with("What to train is not known: "),
            "{answer:?}"
        );
        assert!(answer.text().contains("no run has finished"));
    }
}
