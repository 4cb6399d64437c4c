mod large;

use super::*;
use campaign::orchestrate::blocked_by;
use experiment::grid::Analysis;
use experiment::quantity::Draws;
use experiment::run::RunOutcome;
use scaling_law::analysis::simulated;
use scaling_law::analysis::simulated::{ASKER, Controls, Grid};
use scaling_law::analysis::{Answer, Asker, answer};
use scaling_law::row::rows;

fn machine() -> Machine {
    Machine {
        host: "a host".into(),
        device: "cpu".into(),
        hardware: None,
        threads: 1,
        program_version: "0.1.0".into(),
        git_commit: Some("0123abcd+".into()),
        lock_hash: Some("feed".into()),
        attempts: 3,
    }
}

fn experiment(name: &str) -> ExperimentRecord {
    ExperimentRecord {
        name: name.into(),
        config: "grid: {params: [1M] # <b>&\n}".into(),
        config_hash: "cafe".into(),
        program_version: "0.1.0".into(),
        git_commit: None,
    }
}

/// Makes the page of some runs, and the analysis in it.
fn page_of(name: &str, runs: &[RunRecord]) -> (String, AnalysisResult) {
    let settings = Analysis {
        bootstrap: Draws::from(30),
        ..Analysis::default()
    };
    let result = simulated::analysed(runs, &settings);
    let measurements: BTreeMap<_, _> = runs
        .iter()
        .map(|run| (run.id.clone(), simulated::measurements(run)))
        .collect();
    let stored = Stored {
        experiment: &experiment(name),
        runs,
        blocked: &blocked_by(runs),
        measurements: &measurements,
        readings: &[],
        answers: &Answers::default(),
        result: &result,
        analysed_at: 0.0,
        claims: None,
        since: result.since(&rows(runs)),
        machines: &[machine()],
        written_at: 1.0,
    };
    (page(&stored).expect("a page"), result)
}

/// What is answered to who reads the page of an experiment with runs.
fn answered(name: &str, result: &AnalysisResult) -> Answer {
    let asker = Asker {
        rows: name,
        has_grid: true,
    };
    answer(result, &asker)
}

/// Reads a page strictly: every element that opens closes in its place, every attribute is quoted.
/// Returns the text outside tags.
fn text_of(page: &str) -> String {
    const VOID: [&str; 4] = ["meta", "br", "link", "img"];
    let mut open: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        assert!(
            !rest[..at].contains('>')
                || matches!(open.last().map(String::as_str), Some("script" | "style"))
        );
        let end = rest[at..].find('>').expect("tags close") + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with('!') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "near {:.200}", rest);
            text.push(' ');
            continue;
        }
        let name: String = tag
            .chars()
            .take_while(|c| !c.is_whitespace() && *c != '/')
            .collect();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "<{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        if tag.ends_with('/') || VOID.contains(&name.as_str()) {
            continue;
        }
        if matches!(name.as_str(), "script" | "style") {
            let close = format!("</{name}>");
            let end = rest.find(&close).expect("closes");
            rest = &rest[end + close.len()..];
            continue;
        }
        open.push(name);
    }
    assert!(open.is_empty(), "{open:?}");
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

/// One run of each sad kind among others.
fn mixed() -> Vec<RunRecord> {
    let mut runs = simulated::FIRST.runs();
    let outcomes = [
        (RunOutcome::Diverged, "loss is NaN"),
        (
            RunOutcome::Crashed,
            "first line\n  thread 'main' <panicked> & died\n",
        ),
        (RunOutcome::OutOfMemory, "killed"),
    ];
    for (run, (outcome, message)) in runs.iter_mut().zip(outcomes) {
        run.outcome = Some(outcome);
        run.message = Some(message.into());
        run.loss = None;
    }
    runs[3].state = RunState::Pending;
    runs[3].outcome = None;
    runs[3].loss = None;
    runs
}

#[test]
fn the_page_is_well_formed_and_holds_everything() {
    let runs = mixed();
    let (page, result) = page_of("first", &runs);
    let text = text_of(&page);
    for run in &runs {
        assert!(
            page.contains(&format!("id=\"run-{}\"", run.id)),
            "{}",
            run.id
        );
    }
    for warning in &result.warnings {
        assert!(text.contains(&minus(&warning.to_string())), "{warning}");
    }
    for told in answered("first", &result).verdict {
        assert!(text.contains(&minus(&told)), "{told}");
    }
    for expected in [
        "loss is NaN",
        "thread 'main' <panicked> & died",
        "out of memory",
        "pending",
        "cafe",
        "0123abcd+",
        "feed",
        "# <b>&",
        "orchestrator run first.yaml",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
    assert_eq!(
        page.matches("<figure ").count() + result_skipped(&page),
        plots_count()
    );
}

fn plots_count() -> usize {
    crate::plots::Figure::ALL.len()
}

fn result_skipped(page: &str) -> usize {
    let list = page.split_once("Not drawn</h3>").map(|(_, rest)| rest);
    let list = list.and_then(|rest| rest.split("</ul>").next());
    list.map_or(0, |list| list.matches("<li>").count())
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let evil = "<script>alert(1)</script>\"'&";
    let mut runs = mixed();
    for run in &mut runs {
        run.message = Some(evil.into());
        run.axes.insert(evil.into(), evil.into());
        run.outcome = Some(RunOutcome::Crashed);
    }
    let (page, _) = page_of(evil, &runs);
    assert!(!page.contains("<script>alert"), "a script got in");
    assert_eq!(page.matches("<script>").count(), 1);
    assert!(text_of(&page).contains(evil));
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let (page, _) = page_of("first", &simulated::QUICK.runs());
    for outside in [" src=", "@import", "url(", "<link", "<iframe", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let links = page.matches("href=\"").count();
    assert_eq!(links, page.matches("href=\"#").count());
}

#[test]
fn without_runs_or_fit_the_page_says_why() {
    for runs in [&[][..], &simulated::QUICK.runs()[..1]] {
        let (page, result) = page_of("none", runs);
        let text = text_of(&page);
        let told = answered("none", &result).text();
        assert!(told.starts_with("What to train is not known"), "{told}");
        assert!(text.contains(&minus(&told)), "{told}");
    }
}

#[test]
fn the_page_says_whose_the_saving_is() {
    for controls in [Controls::AsGood, Controls::Worse] {
        let grid = Grid {
            controls,
            noise: 0.003,
            ..simulated::FIRST
        };
        let (page, result) = page_of("controls", &grid.runs());
        let text = text_of(&page);
        let attribution = result.attribution();
        assert!(text.contains(&attribution.title()), "{attribution:?}");
        assert!(text.contains(&minus(&attribution.words)), "{attribution:?}");
        for part in ["Against the token level alone", "What concepts are worth"] {
            assert!(text.contains(part), "{part}");
        }
    }
}

#[test]
fn missing_values_are_not_zero() {
    assert_eq!(decimals(None, 3), "–");
    assert_eq!(decimals(Some(f64::NAN), 3), "NaN");
    assert_eq!(decimals(Some(0.0), 1), "0.0");
}

#[test]
fn hyphens_before_numbers_are_minus_signs_and_no_others() {
    assert_eq!(minus("-5% [-1.2e-3, +4%] 1e-9"), "−5% [−1.2e−3, +4%] 1e−9");
    for text in [
        "2026-11-29",
        "GPT-2",
        "abcde-1",
        "--draws 3",
        "muP-like - 3",
    ] {
        assert_eq!(minus(text), text);
    }
}

#[test]
fn what_the_runs_do_not_determine_is_no_number() {
    let (_, mut result) = page_of("first", &simulated::FIRST.runs());
    let scaling_law::analysis::Maybe::Known(allocation) = &mut result.allocation else {
        panic!("an optimum");
    };
    allocation.best.undetermined = vec!["concept_share".into()];
    allocation.by_ratio.clear();
    let share = format!("{:.2} ", allocation.best.setting.concept_share);
    let text = text_of(&parts::answer(&result, &ASKER));
    let (_, row) = text.split_once("remarks").expect("the table");
    let (row, _) = row.split_once("FLOPs are counted").expect("what follows");
    assert!(row.contains("not determined by these runs"), "{row}");
    assert!(!row.contains(&share), "{row}");
}

#[test]
fn what_has_changed_since_the_analysis_is_told() {
    let runs = simulated::QUICK.runs();
    let result = simulated::analysed(&runs[1..], &Analysis::default());
    let since = result.since(&rows(&runs));
    let text = text_of(&answer::section(&result, &ASKER, since).into_string());
    assert!(
        text.contains("Since the analysis 1 run has finished"),
        "{text}"
    );
}
