//! What the server answers, and to whom.

use crate::serve::server::Serving;
use crate::support::{Desk, TINY};
use campaign::store::Store;
use scaling_law::analysis::AnalysisResult;
use std::net::TcpListener;

/// A folder with the results of a tiny experiment.
pub(crate) fn trained() -> Desk {
    let desk = Desk::new().with("tiny.yaml", TINY);
    desk.done(&["run", "tiny.yaml"]);
    desk
}

#[test]
fn everything_about_an_experiment_can_be_asked_for() {
    let desk = trained();
    let mut server = Serving::start(desk.path(), &[]);
    let listed = server.get("/api/experiments").json();
    let of = &listed[0]["experiments"][0];
    assert_eq!(listed[0]["place"], "tiny", "{listed}");
    assert_eq!(
        (&of["name"], &of["runs"], &of["finished"]),
        (&"tiny".into(), &3.into(), &3.into())
    );

    let shown = server.get("/api/experiments/tiny/tiny").json();
    let losses = shown["runs"]["loss"].as_array().expect("losses");
    assert_eq!(losses.len(), 3);
    let known = desk.losses();
    assert!(
        losses.iter().all(|loss| known.contains(loss)),
        "{losses:?} {known:?}"
    );
    let shares = &shown["runs"]["axes"]["concept_share"];
    assert_eq!(
        shares
            .as_array()
            .expect("an axis")
            .iter()
            .filter(|v| v.is_null())
            .count(),
        1
    );
    assert!(
        shown["config"]
            .as_str()
            .expect("a file")
            .contains("name: tiny")
    );

    let id = shown["runs"]["id"][0].as_str().expect("an id");
    let run = server.get(&format!("/api/runs/tiny/{id}")).json();
    assert_eq!(run["run"]["id"], id);
    assert_eq!(run["attempts"][0]["outcome"], "finished");
    assert!(
        run["events"]
            .as_array()
            .expect("events")
            .iter()
            .any(|line| line["event"] == "finished")
    );
    assert!(run["log"].is_string() && run["spec"]["recipe"].is_object());
    let rows = server
        .get(&format!("/api/runs/tiny/{id}/measurements"))
        .json();
    let steps = rows["step"].as_array().expect("steps");
    assert_eq!(steps.len(), 16);
    let last = server
        .get(&format!("/api/runs/tiny/{id}/measurements?after=15"))
        .json();
    assert_eq!(last["step"], serde_json::json!([16]));
    assert_eq!(last["loss"][0], rows["loss"][15]);

    let csv = server.get("/api/experiments/tiny/tiny/runs.csv");
    assert!(
        csv.head.contains("attachment; filename=\"tiny-runs.csv\""),
        "{}",
        csv.head
    );
    let text = String::from_utf8(csv.body).expect("text");
    let written = std::fs::read_to_string(desk.path().join("results/tiny/runs.csv"));
    assert_eq!(text, written.expect("written by the run"));
    let parquet = server.get("/api/experiments/tiny/tiny/runs.parquet");
    assert!(parquet.body.starts_with(b"PAR1"));

    // What the run stored is shown in the report's words. Three runs are too few for any law, and that
    // is an answer.
    let fit = "/api/experiments/tiny/tiny/fit";
    let shown_fit = server.get(fit).json();
    let stored = &shown_fit["stored"];
    let part = |name: &str| stored[name].as_str().expect("markup").to_owned();
    assert!(part("answer").contains("Not known: "), "{stored}");
    assert!(stored["since"].is_null() && stored["at"].is_f64());
    let report = server.get("/api/experiments/tiny/tiny/report.html");
    assert!(
        report.head.contains("sandbox allow-scripts"),
        "{}",
        report.head
    );
    let report = String::from_utf8(report.body).expect("text");
    assert!(report.contains(&part("answer")) && report.contains(&part("warnings")));
    let about = stored["laws"][0]["about"].as_str().expect("markup");
    assert!(about.contains("Cannot be fitted") && report.contains(about));
    assert_eq!(shown_fit["report"], true);
    let figures = shown_fit["figures"].as_array().expect("figures");
    assert!(!figures.is_empty());
    for figure in figures {
        let name = figure[0].as_str().expect("a name");
        let drawn = server.get(&format!("/api/experiments/tiny/tiny/figures/{name}.svg"));
        assert!(drawn.head.contains("image/svg+xml"), "{}", drawn.head);
        assert!(String::from_utf8_lossy(&drawn.body).contains("<svg"));
    }
    let laws = shown_fit["possible"].as_array().expect("laws");
    assert!(laws.contains(&"dlcm".into()));

    let question = r#"{"law": "all", "draws": 0}"#;
    let fitted = server.post(fit, question, "").json();
    assert_eq!(fitted["laws"][0]["about"], about);
    let one = shown["runs"]["id"][0].as_str().expect("an id");
    let question = format!(r#"{{"law": "all", "draws": 0, "exclude": ["{one}"]}}"#);
    let without = server.post("/api/experiments/tiny/tiny/fit", &question, "");
    let without = without.json().to_string();
    let by_hand = "1 rows are left out: excluded by hand";
    assert!(without.contains(by_hand), "{without}");
    let question = r#"{"law": "all", "draws": 0, "exclude": ["0123456789ab"]}"#;
    let unknown = server.post("/api/experiments/tiny/tiny/fit", question, "");
    assert_eq!(unknown.status, 422);
    assert!(unknown.error().contains("no such run"));
    assert_eq!(server.interrupt(), Some(0), "Ctrl-C is no failure");
}

#[test]
fn a_run_with_a_control_says_what_its_concepts_are_worth() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    let one = [
        "--set",
        "controls=tokens",
        "--set",
        "grid.concept_share=0.3",
    ];
    desk.done(&[&["run", "tiny.yaml"][..], &one].concat());
    let server = Serving::start(desk.path(), &[]);
    let runs = server.get("/api/experiments/tiny/tiny").json()["runs"].clone();
    let column = |name: &str| runs[name].as_array().expect("a column").clone();
    let (kinds, losses, worths) = (column("kind"), column("loss"), column("concept_worth"));
    let control = kinds.iter().position(|kind| kind == "token_only");
    let control = losses[control.expect("a control")]
        .as_f64()
        .expect("a loss");
    let mut compared = 0;
    for ((kind, loss), worth) in kinds.iter().zip(&losses).zip(&worths) {
        if kind == "dlcm" {
            let loss = loss.as_f64().expect("a loss");
            assert_eq!(worth.as_f64(), Some(control - loss), "{runs}");
            compared += 1;
        } else {
            assert!(worth.is_null(), "{runs}");
        }
    }
    assert!(compared > 0, "{runs}");
}

#[test]
fn what_has_changed_since_the_stored_fit_is_told() {
    let desk = trained();
    let shares = "grid.concept_share=[0.3, 0.5, 0.6]";
    // A run that comes to a result after the fit.
    let server = Serving::start(desk.path(), &[]);
    let since = || server.get("/api/experiments/tiny/tiny/fit").json()["stored"]["since"].clone();
    assert!(since().is_null());
    desk.done(&["run", "tiny.yaml", "--set", shares]);
    assert!(since().is_null(), "a run ends with a fit");
    let results = desk.path().join("results/tiny");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&results).await.expect("there");
        let id = store
            .experiment("tiny")
            .await
            .expect("read")
            .expect("there");
        let name = AnalysisResult::NAME;
        let fit = store.newest_fit(id, name).await.expect("read");
        let mut fit = fit.expect("stored");
        let runs = fit.result["runs"].as_array_mut().expect("runs");
        runs.pop();
        runs[0]["loss"] = 9.0.into();
        store.save_fit(id, &fit, None).await.expect("kept");
    });
    assert_eq!(
        since(),
        "since the analysis 1 run has finished, 1 run has changed"
    );
    // An experiment that was never fitted has none, and nothing is fitted for that.
    let text = "params,tokens,concept_share,compression_ratio,loss\n1e6,1e8,0.5,4,3.2\n";
    std::fs::write(desk.path().join("rows.csv"), text).expect("written");
    desk.done(&["import", "rows.csv", "--experiment", "other"]);
    let shown = server.get("/api/experiments/other/other/fit").json();
    assert!(
        shown["stored"].is_null() && shown["report"] == false,
        "{shown}"
    );
}

#[test]
fn what_is_not_there_is_said_in_json() {
    let desk = trained();
    let server = Serving::start(desk.path(), &["--results", "results/tiny"]);
    for (path, expected) in [
        ("/api/experiments/none/tiny", "`none`"),
        ("/api/experiments/tiny/none", "`none`"),
        ("/api/runs/tiny/ffff", "`ffff`"),
        ("/api/runs/tiny/..%2f..", "holds no run"),
        ("/api/experiments/tiny/tiny/runs.xlsx", "runs.csv"),
        ("/api/experiments/tiny/tiny/figures/none.svg", "none.svg"),
        (
            "/api/experiments/tiny/tiny/figures/..%2forchestrator.db",
            "no figure",
        ),
        ("/api/none", "nothing at this address"),
        ("/none", "`/none`"),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(
            answer.error().contains(expected),
            "{path}: {}",
            answer.error()
        );
    }
    let fit = "/api/experiments/tiny/tiny/fit";
    for (question, expected) in [
        (r#"{"law": "newton", "draws": 0}"#, "newton"),
        (r#"{"law": "dlcm", "draws": 0}"#, ""),
        (r#"{"law": "all", "draws": 9999999}"#, "too many"),
        (r#"{"law": "all", "draws": 0, "budget": -1}"#, "above zero"),
        (r#"{"law": "all""#, "JSON"),
        (r#"{"law": "all", "draws": 0, "tempo": 1}"#, "tempo"),
    ] {
        let answer = server.post(fit, question, "");
        assert!(
            (400..500).contains(&answer.status),
            "{question}: {}",
            answer.status
        );
        assert!(
            answer.error().contains(expected),
            "{question}: {}",
            answer.error()
        );
    }
    let refused = server.post("/api/experiments", "{}", "");
    assert_eq!(
        (refused.status, refused.error().as_str()),
        (405, "Method Not Allowed")
    );
    let answer = server.get("/api/runs/tiny/ffff/measurements?after=soon");
    assert_eq!(answer.status, 400);
    assert!(
        answer.error().contains("query string"),
        "{}",
        answer.error()
    );
}

#[test]
fn only_those_get_in_who_may() {
    let desk = trained();
    let server = Serving::start(desk.path(), &[]);
    // A stranger's name that leads here, and a stranger's page.
    let rebound = server.ask(
        "GET /api/experiments HTTP/1.1\r\nHost: evil.example\r\n",
        "",
    );
    assert_eq!(rebound.status, 403);
    assert!(rebound.error().contains("evil.example"));
    let question = r#"{"law": "all", "draws": 0}"#;
    let fit = "/api/experiments/tiny/tiny/fit";
    assert_eq!(
        server
            .post(fit, question, "Origin: http://evil.example\r\n")
            .status,
        403
    );
    let page = server.get("/");
    assert_eq!(page.status, 200);
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
    ] {
        assert!(page.head.contains(header), "{}", page.head);
    }
    assert!(
        server
            .get("/api/experiments")
            .head
            .contains("cache-control: no-store")
    );

    let guarded = Serving::start(desk.path(), &["--bind", "0.0.0.0"]);
    let (address, token) = guarded
        .url
        .split_once("?token=")
        .expect("a token is printed");
    assert!(
        address.starts_with("http://0.0.0.0:") && token.len() == 32,
        "{address}"
    );
    let refused = guarded.get("/api/experiments");
    assert_eq!(refused.status, 401);
    assert!(refused.error().contains("token"));
    assert_eq!(guarded.get("/?token=0123456789abcdef").status, 401);
    let taken = guarded.get(&format!("/?token={token}"));
    assert_eq!(taken.status, 303);
    let cookie = taken
        .head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie
        .expect("a cookie")
        .split(';')
        .next()
        .expect("a value");
    let ask = |with: &str| {
        let head = format!("GET /api/experiments HTTP/1.1\r\nHost: box:1\r\n{with}\r\n");
        guarded.ask(&head, "").status
    };
    assert_eq!(ask(&format!("Cookie: {cookie}")), 200);
    assert_eq!(ask(&format!("Authorization: Bearer {token}")), 200);
    assert_eq!(ask("Authorization: Bearer wrong"), 401);
}

#[test]
fn bad_arguments_are_refused_and_a_taken_port_is_named() {
    let desk = Desk::new().with("tiny.yaml", TINY);
    let said = desk.refused(&["serve"]);
    assert!(said.contains("no folder results"), "{said}");
    std::fs::create_dir(desk.path().join("results")).expect("made");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let said = desk.refused(&["serve", "--port", &port]);
    assert!(said.contains(&port) && said.contains("in use"), "{said}");
    let said = desk.refused(&["serve", "--token", "short"]);
    assert!(said.contains("12"), "{said}");
    let server = Serving::start(desk.path(), &[]);
    assert_eq!(server.get("/api/experiments").json(), serde_json::json!([]));
}

/// An experiment of which one run was cancelled before it started, and the ids of all.
pub(crate) fn cancelled() -> (Desk, Vec<String>) {
    let desk = Desk::new().with("tiny.yaml", TINY);
    let id = |run: &serde_json::Value| run["id"].as_str().expect("an id").to_owned();
    desk.command(&["run", "tiny.yaml", "--max-runs", "1"])
        .output()
        .expect("ran");
    let runs = desk.status();
    let pending = runs.iter().filter(|run| run["state"] == "pending");
    let ids: Vec<String> = pending.map(id).collect();
    desk.done(&["cancel", &ids[0]]);
    (desk, ids)
}

#[test]
fn nothing_is_changed_unless_that_is_allowed() {
    let (desk, ids) = cancelled();
    let server = Serving::start(desk.path(), &[]);
    let run = format!("/api/runs/tiny/{}", ids[0]);
    let experiment = "/api/experiments/tiny/tiny";
    assert_eq!(server.get(&run).json()["allows_changes"], false);
    for path in [
        format!("{run}/retry"),
        format!("{run}/cancel"),
        format!("{experiment}/retry"),
    ] {
        let refused = server.post(&path, "{}", "");
        assert_eq!(refused.status, 403, "{path}");
        let said = refused.error();
        assert!(said.contains("--allow-changes"), "{said}");
    }
    assert_eq!(server.get(&run).json()["run"]["outcome"], "cancelled");
}

#[test]
fn runs_are_cancelled_and_tried_again_where_that_is_allowed() {
    let (desk, ids) = cancelled();
    let server = Serving::start(desk.path(), &["--allow-changes"]);
    let run = |id: &str| format!("/api/runs/tiny/{id}");
    let (first, second) = (run(&ids[0]), run(&ids[1]));
    let state = |path: &str| server.get(path).json()["run"]["state"].clone();

    // Whatever another site can send is refused.
    let retry = format!("{first}/retry");
    for more in [
        "Origin: http://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
    ] {
        let refused = server.post(&retry, "{}", more);
        assert_eq!(refused.status, 403, "{more}");
        assert!(refused.error().contains("another site"));
    }
    let form = format!(
        "POST {retry} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: text/plain\r\n\
         Content-Length: 2\r\n",
        server.port
    );
    assert_eq!(server.ask(&form, "{}").status, 415);
    assert_eq!(server.post(&retry, "{\"a\":1}", "").status, 422);
    assert_eq!(server.get(&retry).status, 405);
    assert_eq!(state(&first), "ended");

    let own = format!("Origin: http://127.0.0.1:{}\r\n", server.port);
    let done = server.post(&retry, "{}", &own).json();
    let expected = serde_json::json!({"request": "retry", "runs": [ids[0]], "asked": null});
    assert_eq!(done, expected);
    assert_eq!(state(&first), "pending");
    let again = server.post(&retry, "{}", "");
    assert_eq!(again.status, 409);
    assert!(again.error().contains("has not ended"));
    assert_eq!(
        server
            .post(&format!("{}/retry", run("none")), "{}", "")
            .status,
        404
    );

    // Whoever is at work is asked.
    let results = desk.path().join("results/tiny");
    let lock = experiment::lock::Lock::take(&results, "orchestrator").expect("free");
    let asked = server.post(&format!("{second}/cancel"), "{}", "").json();
    assert!(
        asked["asked"]
            .as_str()
            .is_some_and(|who| who.contains("process")),
        "{asked}"
    );
    assert!(results.join(".cancel").join(&ids[1]).exists());
    drop(lock);
    let done = server.post(&format!("{second}/cancel"), "{}", "").json();
    assert!(done["asked"].is_null(), "{done}");
    assert_eq!(state(&second), "ended");
    let all = server
        .post("/api/experiments/tiny/tiny/retry", "{}", "")
        .json();
    assert_eq!(all["runs"], serde_json::json!([ids[1]]));
    assert_eq!(state(&second), "pending");
}
