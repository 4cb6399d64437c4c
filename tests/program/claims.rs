//! Claims and what runs say of them, through the program itself; and the mask of the paper, whose runs no law takes.

use crate::support::{Desk, TINY};
use serde_json::Value;

const CLAIMS: &str = "
claims:
  larger_share_is_worse: {says: the loss rises with P, test: rises, along: concept_share, among: kind = dlcm}
  dense_is_worse: {says: dense is worse, test: differs, between: [kind = dense, kind = dlcm]}
  concepts_help: {says: a model loses more than nothing without its concepts, test: mean, of: concept_gain, at_least: -9, among: kind = dlcm}
  first_gains: {says: tokens that start a concept gain, test: mean, of: position_0.gain, at_least: 0, among: kind = dlcm}
  law_fits: {says: the law fits, test: law, law: dlcm, number: r_squared, at_least: 0.9}
";

fn verdicts(told: &Value) -> Vec<&str> {
    let claims = told["claims"].as_array().expect("claims").iter();
    claims
        .map(|claim| claim["verdict"].as_str().expect("a verdict"))
        .collect()
}

fn read(desk: &Desk, file: &str) -> String {
    std::fs::read_to_string(desk.path().join(file)).expect("read")
}

#[test]
fn claims_are_written_down_before_the_runs_and_judged_by_every_door() {
    let desk = Desk::new().with(
        "tiny.yaml",
        format!("{TINY}{CLAIMS}").replace("{params: 60000,", "{seed: [0, 1, 2], params: 60000,"),
    );
    let run = desk.done(&["run", "tiny.yaml"]);
    assert!(run.contains("Claims: "), "{run}");
    let told = desk.json(&["claims", "tiny.yaml", "--json"]);
    let claims = told["claims"].as_array().expect("claims");
    assert_eq!(claims.len(), 5);
    assert!(claims.iter().all(|claim| claim["runs_ended"] == 0));
    // Three seeds at two shares: two of four degrees of freedom are left for the slope.
    assert_eq!(claims[0]["runs"], 6);
    let interval = claims[0]["interval"].as_array().expect("an interval");
    assert_eq!(interval.len(), 2);
    // The law has too few settings.
    assert_eq!(claims[2]["verdict"], "reproduced");
    assert_eq!(claims[4]["verdict"], "not_determined");
    assert!(
        claims[4]["open"]
            .as_str()
            .is_some_and(|open| !open.is_empty())
    );
    // One question, one answer.
    let judged = verdicts(&told);
    assert_eq!(
        verdicts(&desk.json(&["fit", "tiny.yaml", "--json"])),
        judged
    );
    let status = desk.json(&["status", "tiny.yaml", "--json"]);
    assert_eq!(verdicts(&status), judged);
    let text = desk.done(&["status", "tiny.yaml"]);
    assert!(text.contains("claims: "), "{text}");
    desk.done(&["report", "tiny.yaml"]);
    let report = read(&desk, "results/tiny/report.html");
    for said in [
        "Claims and verdicts",
        "the loss rises with P",
        "not determined",
    ] {
        assert!(report.contains(said), "{said}");
    }
    // No run was asked yet where in a concept it gains; two are now, and four are missed.
    assert_eq!(claims[3]["runs"], 0);
    std::fs::write(desk.path().join("a.txt"), "abcdefg".repeat(40)).expect("written");
    let runs = desk.status();
    let of_kind = |kind: &'static str| {
        let runs = runs.iter().filter(move |run| run["kind"] == kind);
        runs.map(|run| run["id"].as_str().expect("an id"))
    };
    let dense = of_kind("dense").next().expect("a baseline");
    for run in of_kind("dlcm").take(2) {
        let ask = [
            "inspect",
            run,
            "--file",
            "a.txt",
            "--by-position",
            "--against",
            dense,
            "--keep",
        ];
        desk.done(&ask);
    }
    let asked = desk.json(&["claims", "tiny.yaml", "--json"]);
    let first = &asked["claims"][3];
    assert_eq!([&first["runs"], &first["lost"]], [2, 4], "{first}");
    // A claim that is changed when the runs are known is another, and says so; the first stays on record.
    let changed = format!("{TINY}{CLAIMS}")
        .replace("{params: 60000,", "{seed: [0, 1, 2], params: 60000,")
        .replace("test: rises", "test: falls");
    let desk = desk.with("tiny.yaml", changed);
    desk.done(&["run", "tiny.yaml"]);
    let told = desk.json(&["claims", "tiny.yaml", "--json"]);
    assert_eq!(
        told["dropped"],
        serde_json::json!(["larger_share_is_worse"])
    );
    assert_eq!(told["claims"][0]["runs_ended"], 9);
    assert_eq!(told["claims"][1]["runs_ended"], 0);
    let text = desk.done(&["claims", "tiny.yaml"]);
    assert!(
        text.contains("written down when 9 runs had ended"),
        "{text}"
    );
}

#[test]
fn runs_whose_tokens_read_ahead_are_marked_and_no_law_takes_them() {
    let claim = "
claims:
  leaks: {says: reading ahead lowers the loss, test: differs, between: [model.causal = strict, model.causal = paper]}
  rises: {says: it rises, test: rises, along: seed, among: kind = dlcm}
";
    let text = format!("{TINY}{claim}")
        .replace(
            "concept_share: [0.3, 0.5]",
            "concept_share: 0.4, seed: [0, 1]",
        )
        .replace(
            "token_window: 8}",
            "token_window: 8, causal: [strict, paper]}",
        );
    let desk = Desk::new().with("tiny.yaml", text);
    let plan = desk
        .command(&["plan", "tiny.yaml", "--no-time"])
        .output()
        .expect("started");
    let said =
        String::from_utf8_lossy(&plan.stderr).into_owned() + &String::from_utf8_lossy(&plan.stdout);
    assert!(said.contains("read what comes after them"), "{said}");
    desk.done(&["run", "tiny.yaml"]);
    let runs = desk.status();
    let leaking = |run: &&Value| run["axes"]["model.causal"] == "paper";
    assert_eq!(runs.iter().filter(leaking).count(), 2);
    let fit = desk.json(&["fit", "tiny.yaml", "--json"]);
    let left_out = fit["left_out"].as_array().expect("what is left out");
    let ahead = left_out.iter().filter(|one| {
        one["why"]
            .as_str()
            .is_some_and(|why| why.contains("model.causal: paper"))
    });
    assert_eq!(ahead.count(), 2);
    // Its own table says so too, and is read back so.
    let table = read(&desk, "results/tiny/runs.csv");
    assert_eq!(
        table.lines().filter(|line| line.contains(",true,")).count(),
        2,
        "{table}"
    );
    let told = desk.json(&["claims", "tiny.yaml", "--json"]);
    // Only a claim that names the mask looks at them.
    assert_eq!(told["claims"][0]["runs"], 4);
    assert!(told["claims"][0]["estimate"].is_number(), "{told}");
    assert_eq!(told["claims"][1]["runs"], 2);
    let run = runs.iter().find(leaking).expect("a run");
    let id = run["id"].as_str().expect("an id");
    let refused = desk.refused(&["generate", id, "--prompt", "a"]);
    assert!(refused.contains("read what comes after them"), "{refused}");
}

#[test]
fn the_papers_files_are_planned_at_the_size_of_a_gpu() {
    let documented = include_str!("../../docs/paper.md");
    let text = "what is said here depends on what was said before. ".repeat(2000);
    let desk = Desk::new().with("any.txt", text);
    let mut planned = 0;
    for line in documented.lines() {
        let Some(arguments) = line.strip_prefix("orchestrator run ") else {
            continue;
        };
        let here = |word: &str| match word {
            "data.text=corpus/*.txt" => {
                format!("data.text={}", desk.path().join("any.txt").display())
            }
            word => word.replace(
                "experiments/paper/",
                concat!(env!("CARGO_MANIFEST_DIR"), "/experiments/paper/"),
            ),
        };
        let words: Vec<String> = arguments.split(' ').map(here).collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        // There is no such device here.
        let device = words
            .iter()
            .position(|word| *word == "--device")
            .expect("a device");
        words.drain(device..device + 2);
        let said = desk.done(&[&["plan", "--no-time"], &words[..]].concat());
        assert!(
            said.contains("e17 training FLOPs") || said.contains("e16 training FLOPs"),
            "{said}"
        );
        planned += 1;
    }
    assert_eq!(planned, 4);
}

#[test]
fn groups_by_the_declared_ratio_are_compared_at_equal_settings() {
    let claim = "
claims:
  longer: {says: it is another loss, test: differs, between: [declared_ratio = 4, declared_ratio = 2], among: kind = dlcm}
";
    let text = format!("{TINY}{claim}").replace(
        "concept_share: [0.3, 0.5], compression_ratio: 4",
        "concept_share: 0.4, compression_ratio: [2, 4], seed: [0, 1]",
    );
    let desk = Desk::new().with("tiny.yaml", text);
    desk.done(&["run", "tiny.yaml"]);
    let told = desk.json(&["claims", "tiny.yaml", "--json"]);
    // The axis of R is not what they have in common; the seed is.
    assert!(told["claims"][0]["estimate"].is_number(), "{told}");
}
