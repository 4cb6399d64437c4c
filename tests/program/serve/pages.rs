//! Every page, as somebody uses it.

use crate::serve::answers::{cancelled, trained};
use crate::serve::browser::Page;
use crate::serve::server::Serving;
use crate::serve::size::attempt;
use crate::support::{Desk, TINY};
use campaign::store::Store;
use experiment::run::RunId;
use std::path::Path;

/// Enough runs for the laws, each trained for a moment.
fn grid() -> String {
    TINY.replace("params: 60000", "params: [40000, 60000]")
        .replace("[0.3, 0.5]", "[0.3, 0.5, 0.7]")
        .replace("compression_ratio: 4", "compression_ratio: [2, 4]")
        .replace(
            "params: 50000, tokens: 8192",
            "params: [30000, 40000, 60000], tokens: [2048, 4096]",
        )
        .replace("8192", "2048")
}

#[test]
fn every_page_works_in_a_browser() {
    let desk = Desk::new().with("tiny.yaml", grid());
    desk.done(&["run", "tiny.yaml"]);
    let mut server = Serving::start(desk.path(), &[]);
    let Some(page) = Page::open(&server.url) else {
        return;
    };
    // The list, and the first experiment.
    page.until("document.querySelector('#live').dataset.state === 'live'");
    page.press("tiny");
    // The grid: two axes, a metric, keys, and a cell's run.
    page.until("document.querySelectorAll('.matrix a.cell').length >= 6");
    assert!(page.text().contains("nats/token"), "{}", page.text());
    let choose = |label: &str, value: &str| {
        let script = format!(
            "(() => {{ const l = [...document.querySelectorAll('.field')].find(f => \
             f.innerText.startsWith({label:?})); const s = l.querySelector('select'); \
             s.value = {value:?}; s.dispatchEvent(new Event('change')); return s.value; }})()"
        );
        assert_eq!(page.value(&script), value);
    };
    choose("Colour", "state");
    page.until("document.querySelector('.matrix a.cell[data-state=finished]')");
    choose("Rows", "compression_ratio");
    choose("Columns", "concept_share");
    page.until("document.querySelector('.matrix tbody th').innerText === '2'");
    page.with(".matrix a.cell", "focus()");
    page.key("ArrowRight");
    page.until("document.activeElement.closest('td').cellIndex === 2");
    page.until("document.querySelector('.detail').innerText.includes('finished')");
    assert!(
        page.value("location.hash")
            .as_str()
            .is_some_and(|hash| hash.contains("by=state"))
    );

    // The table: sorted, filtered, selected.
    page.press("Runs");
    page.until("document.querySelectorAll('table.runs tbody tr').length === 18");
    page.click("button[data-key=loss]");
    let sorted = "(() => { const at = [...document.querySelectorAll('table.runs thead th')].findIndex(t => \
        t.innerText.startsWith('Loss')); const v = [...document.querySelectorAll('table.runs tbody tr')]\
        .map(r => Number(r.cells[at].innerText)); return v.every((x, i) => !i || SIGN * (v[i - 1] - x) <= 0); })()";
    page.until(&sorted.replace("SIGN", "1"));
    page.click("button[data-key=loss]");
    page.until(&sorted.replace("SIGN", "-1"));
    let filter = |text: &str, rows: usize| {
        let set = format!("value = {text:?}");
        page.with("#filter", &set);
        page.with("#filter", "dispatchEvent(new Event('input'))");
        page.until(&format!(
            "document.querySelectorAll('table.runs tbody tr').length === {rows}"
        ));
    };
    filter("concept_share=0.5 R=2", 2);
    filter("dense", 6);
    filter("loss<0.001", 0);
    page.until("document.querySelector('.tab [role=status]').innerText.includes('No run')");
    filter("", 18);
    page.click("table.runs tbody tr:nth-child(1) input");
    page.click("table.runs tbody tr:nth-child(2) input");
    page.click("table.runs tbody tr:nth-child(3) input");

    // Curves and comparison of the selected.
    page.press("Curves");
    page.until("document.querySelectorAll('.u-legend .u-series').length === 4");
    choose("Draw", "gradient_norm");
    choose("Over", "flops");
    page.click(".check input");
    page.until("location.hash.includes('logy=1')");
    page.with("input[type=range]", "value = '0.6'");
    page.with("input[type=range]", "dispatchEvent(new Event('input'))");
    page.until("document.querySelectorAll('.u-legend .u-series').length === 4");
    page.press("Compare");
    page.until("document.querySelectorAll('.compare thead a').length === 3");
    page.until("document.body.innerText.includes('Settings that differ')");

    // A run.
    page.click(".compare thead a");
    page.until("document.body.innerText.includes('Everything that determines its result')");
    page.until("document.querySelector('.chart canvas')");
    for part in ["Reached", "Settings", "Attempts", "Events", "finished"] {
        assert!(
            page.text().contains(part),
            "{part} is missing: {}",
            page.text()
        );
    }

    // The fit: the stored one at once; fitted again, given up, a run taken out and back, another law.
    page.value("(location.hash = '#/x/tiny/tiny/fit?draws=0', 1)");
    page.until("document.querySelector('.which').innerText.startsWith('The stored fit, made 2')");
    page.until("document.querySelector('.which').innerText.includes('no run was added')");
    page.until("document.querySelector('.answer') && document.querySelector('ul.warnings')");
    page.until("document.querySelector('.files a').innerText === 'Report'");
    let give_up = "(() => { document.querySelector('form.controls button').click(); \
        const shown = !document.querySelector('.working').hidden; \
        document.querySelector('.working button').click(); return shown; })()";
    assert_eq!(page.value(give_up), true, "it is seen to work");
    page.until("document.body.innerText.includes('Cancelled: what is shown is what it was.')");
    page.until("document.querySelector('.working').hidden");
    page.until("document.querySelector('.which').innerText.startsWith('The stored fit, made 2')");
    page.press("Fit again");
    page.until("document.querySelector('.which').innerText.includes('nothing is stored')");
    page.value("document.querySelectorAll('.analysis details').forEach(d => { d.open = true; })");
    page.click("input[data-exclude]");
    page.until("document.body.innerText.includes('Excluded here')");
    page.press("Take back 1 excluded");
    page.until("!document.body.innerText.includes('Excluded here')");
    choose("Law", "chinchilla");
    page.press("Fit again");
    page.until("[...document.querySelectorAll('h2')].some(t => t.innerText === 'Law: chinchilla')");
    page.press("Show the stored fit");
    page.until("document.querySelector('.which').innerText.startsWith('The stored fit, made 2')");
    page.press("File");
    page.until("document.body.innerText.includes('name: tiny')");

    // Narrow windows: nothing is wider than the page, and all of it has a name.
    page.narrow(420);
    for tab in ["Grid", "Runs", "Curves", "Axes", "Compare", "Fit"] {
        page.press(tab);
        page.until(&format!(
            "document.querySelector('.tabs [aria-current]').innerText.startsWith({tab:?})"
        ));
        page.until("document.documentElement.scrollWidth <= innerWidth");
        assert_eq!(page.unnamed(), [""; 0], "{tab}");
    }
    let mistakes = page.mistakes();
    assert!(mistakes.is_empty(), "{mistakes:#?}");

    // The page says so when nobody answers any more.
    assert_eq!(server.interrupt(), Some(0));
    page.until("document.querySelector('#live').dataset.state === 'lost'");
}

#[test]
fn losses_are_of_the_largest_d_and_means_over_seeds() {
    let text = TINY
        .replace(
            "params: 60000, tokens: 8192, concept_share: [0.3, 0.5]",
            "params: [40000, 60000], tokens: [1024, 2048], concept_share: [0.3, 0.5], seed: [0, 1]",
        )
        .replace("baselines: {params: 50000, tokens: 8192}\n", "");
    let desk = Desk::new().with("tiny.yaml", text);
    desk.done(&["run", "tiny.yaml"]);
    let server = Serving::start(desk.path(), &[]);
    let Some(page) = Page::open(&format!("{}#/x/tiny/tiny/grid", server.url)) else {
        return;
    };
    let mean = |share: &str, params: &str| {
        let at = [
            ("concept_share", share),
            ("params", params),
            ("tokens", "2048"),
        ];
        let runs = desk.status().into_iter();
        let runs = runs.filter(|run| at.iter().all(|(name, value)| run["axes"][name] == *value));
        let losses: Vec<f64> = runs.filter_map(|run| run["loss"].as_f64()).collect();
        assert_eq!(losses.len(), 2);
        losses.iter().sum::<f64>() / 2.0
    };
    page.until("document.querySelectorAll('.matrix a.cell').length === 4");
    let shown = page.value(
        "[...document.querySelectorAll('.matrix a.cell')].map(cell => Number(cell.firstChild.data))",
    );
    let shown: Vec<f64> = serde_json::from_value(shown).expect("numbers");
    let expected = ["0.3", "0.5"].map(|share| ["40000", "60000"].map(|params| mean(share, params)));
    for (shown, expected) in shown.iter().zip(expected.concat()) {
        assert!((shown - expected).abs() < 6e-4, "{shown} {expected}");
    }
    page.press("Curves");
    page.until("document.querySelector('.u-legend').innerText.includes('mean of 2 seeds')");
    page.until("document.querySelectorAll('.u-legend .faint').length === 8");
    page.press("Axes");
    page.until("document.querySelectorAll('.across g path').length === 8");
    page.until("document.querySelector('[aria-label=\"Shares of variance\"]').innerText.includes('concept_share')");
    assert_eq!(page.unnamed(), [""; 0]);
    assert_eq!(page.mistakes(), [""; 0]);
}

#[test]
fn what_changes_is_seen_without_asking() {
    let desk = trained();
    let server = Serving::start(desk.path(), &[]);
    let Some(page) = Page::open(&format!("{}#/x/tiny/tiny/runs", server.url)) else {
        return;
    };
    page.until("document.querySelectorAll('table.runs tbody tr').length === 3");
    page.until("document.querySelector('#live').dataset.state === 'live'");
    // One more value of an axis while the page is open.
    let shares = "grid.concept_share=[0.3, 0.5, 0.6]";
    desk.done(&["run", "tiny.yaml", "--set", shares]);
    page.until("document.querySelectorAll('table.runs tbody tr').length === 4");
    page.until("document.querySelector('.strip').innerText.includes('4 finished')");
    assert_eq!(page.mistakes(), [""; 0]);
}

#[test]
fn runs_that_were_cut_off_are_told_while_nobody_is_at_work() {
    let desk = trained();
    let results = desk.path().join("results/tiny");
    start_attempt(
        &results,
        &desk.status()[0]["id"].to_string().replace('"', ""),
    );
    let server = Serving::start(desk.path(), &[]);
    let Some(page) = Page::open(&format!("{}#/x/tiny/tiny/runs", server.url)) else {
        return;
    };
    let told = "document.querySelector('.cutoff')?.innerText.includes('cut off') === true";
    page.until(told);
    let lock = experiment::lock::Lock::take(&results, "orchestrator").expect("free");
    page.until("document.querySelector('.cutoff').hidden");
    drop(lock);
    page.until(told);
    assert_eq!(page.mistakes(), [""; 0]);
}

/// Makes a run one that trains, as far as its database knows.
fn start_attempt(results: &Path, run: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(results).await.expect("there");
        let attempt = attempt("log.2.txt");
        let run = RunId(run.to_owned());
        store.start_attempt(&run, &attempt).await.expect("begun");
    });
}

#[test]
fn nothing_that_is_written_is_taken_as_markup() {
    let nasty = "<img src=x onerror=alert(1)>";
    let desk = Desk::new();
    desk.with_results(nasty);
    let server = Serving::start(desk.path(), &[]);
    let Some(page) = Page::open(&server.url) else {
        return;
    };
    page.press(nasty);
    page.press("Runs");
    page.until("document.querySelectorAll('table.runs tbody tr').length === 1");
    assert!(page.text().contains(nasty));
    page.click("table.runs a.id");
    page.until("document.body.innerText.includes('Message')");
    assert!(page.text().contains(nasty));
    assert_eq!(page.value("document.querySelectorAll('img').length"), 0);
    assert_eq!(page.mistakes(), [""; 0]);
}

#[test]
fn runs_are_cancelled_and_tried_again_by_a_click() {
    let (desk, ids) = cancelled();
    let server = Serving::start(desk.path(), &["--allow-changes"]);
    let at = format!("{}#/run/tiny/{}", server.url, ids[0]);
    let Some(page) = Page::open(&at) else {
        return;
    };
    let said = |text: &str| {
        page.until(&format!(
            "document.querySelector('.changes [role=status]').innerText.includes({text:?})"
        ));
    };
    let button =
        |text: &str| format!("document.querySelector('.changes button')?.innerText === {text:?}");
    page.until(&button("Retry"));
    page.with(".changes button", "focus()");
    page.key("Enter");
    said("eligible again");
    page.until(&button("Cancel"));
    // It asks, and Escape means no.
    page.click(".changes button");
    page.until("document.querySelector('dialog[open]').innerText.includes('will not start')");
    page.key("Escape");
    page.until("!document.querySelector('dialog')");
    page.until(&button("Cancel"));
    page.click(".changes button");
    page.press("Cancel it");
    said("It is cancelled");
    page.until(&button("Retry"));

    page.value("(location.hash = '#/x/tiny/tiny/runs', 1)");
    page.until(&button("Retry all 1 failed"));
    page.press("Retry all 1 failed");
    said("eligible again");
    page.until("!document.querySelector('.changes button')");
    assert_eq!(page.mistakes(), [""; 0]);

    let server = Serving::start(desk.path(), &[]);
    let page = Page::open(&format!("{}#/run/tiny/{}", server.url, ids[1])).expect("as before");
    page.until("document.body.innerText.includes('Everything that determines its result')");
    assert_eq!(
        page.value("document.querySelectorAll('.changes').length"),
        0
    );
}
