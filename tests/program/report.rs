//! The report of an experiment, as a user writes and opens it.

use crate::support::{Desk, TINY};
use std::path::Path;
use std::process::Command;

/// The page as a browser makes it of a file, and what the browser's console says; `None`, said
/// loudly, where there is no browser.
fn opened(file: &Path) -> Option<(String, Vec<String>)> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let profile = tempfile::tempdir().expect("a folder");
    let output = names.into_iter().find_map(|name| {
        Command::new(name)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args(["--enable-logging=stderr", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("file://{}", file.display()))
            .output()
            .ok()
    });
    let Some(output) = output else {
        eprintln!("SKIPPED: no browser is installed ({})", names.join(", "));
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let console = said.lines().filter(|line| line.contains("CONSOLE"));
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    Some((page, console.map(str::to_owned).collect()))
}

#[test]
fn a_run_ends_with_a_report_that_a_browser_opens() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    let said = desk.done(&["run", "tiny.yaml"]);
    assert!(
        said.contains("Written to results/tiny: report.html,"),
        "{said}"
    );
    let file = desk.path().join("results/tiny/report.html");
    let page = std::fs::read_to_string(&file).expect("a report");
    for run in desk.status() {
        let id = run["id"].as_str().expect("an id");
        assert!(page.contains(&format!("id=\"run-{id}\"")), "{id}");
    }
    // What it is asked for goes to its own file, and whole.
    assert!(desk.done(&["report", "tiny"]).contains("report.html"));
    let other = desk.done(&["report", "tiny.yaml", "--output", "deep/er.html"]);
    assert_eq!(other.trim(), "report: deep/er.html");
    let other = std::fs::read_to_string(desk.path().join("deep/er.html")).expect("a report");
    let body = |page: &str| page.split_once("</header>").expect("a header").1.to_owned();
    assert_eq!(
        body(&page),
        body(&other),
        "the same numbers make the same report"
    );
    // Its file is stored with it: the name is enough.
    assert_eq!(
        desk.done(&["fit", "tiny"]),
        desk.done(&["fit", "tiny.yaml"])
    );
    let said = desk.refused(&["fit", "tiny", "--set", "analysis.budget=1e15"]);
    assert!(said.contains("--set changes what its file says"), "{said}");
    let said = desk.refused(&["report", "tiny.yaml", "--output", "results"]);
    assert!(said.contains("is a folder"), "{said}");

    let Some((page, console)) = opened(&file) else {
        return;
    };
    assert!(console.is_empty(), "{console:?}");
    assert!(page.contains("<button>"), "headings can be clicked");
}

#[test]
fn a_report_before_anything_has_finished_says_so() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    let said = desk.refused(&["report", "tiny.yaml"]);
    assert!(said.contains("run the experiment first"), "{said}");
    let output = desk
        .command(&["run", "tiny.yaml", "--max-runs", "1"])
        .output();
    assert_eq!(output.expect("ran").status.code(), Some(1), "some are left");
    desk.done(&["report", "tiny.yaml"]);
    let page = std::fs::read_to_string(desk.path().join("results/tiny/report.html"));
    let page = page.expect("a report");
    assert!(page.contains("Not known: ") && page.contains("pending"));
}
