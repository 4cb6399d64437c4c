//! Controls, variants and learning rates of each family's own, through the program itself.

use crate::support::{Desk, TINY};
use serde_json::Value;

/// The tiny experiment with controls and with rates to find.
fn tuned() -> String {
    let grid = "compression_ratio: [2, 4]}\nbaselines: {params: 50000, tokens: 8192, training: \
                {learning_rate: 3e-3}}\ncontrols: tokens\ntune: {learning_rate: [1e-3, 2e-3, \
                8e-3]}";
    let text = TINY.replace("compression_ratio: 4}", grid);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.retain(|line| *line != "baselines: {params: 50000, tokens: 8192}");
    lines.join("\n")
}

fn of_kind<'a>(runs: &'a [Value], kind: &str, part: &str) -> Vec<&'a Value> {
    let wanted = |run: &&Value| run["kind"] == kind && run["part"] == part;
    runs.iter().filter(wanted).collect()
}

#[test]
fn each_family_is_trained_at_its_best_rate_and_controls_beside_the_grid() {
    let desk = Desk::new().with("tiny.yaml", tuned());
    let plan = desk.done(&["plan", "tiny.yaml", "--no-time"]);
    assert!(
        plan.contains("the trials find the learning rates of dlcm, token_only first"),
        "{plan}"
    );
    desk.done(&["run", "tiny.yaml"]);
    let runs = desk.status();
    assert_eq!(of_kind(&runs, "dlcm", "whole").len(), 4);
    // R is nothing to a control.
    assert_eq!(of_kind(&runs, "token_only", "whole").len(), 2);
    assert_eq!(of_kind(&runs, "dense", "whole").len(), 1);
    assert!(of_kind(&runs, "dense", "trial").is_empty());
    assert!(runs.iter().all(|run| run["outcome"] == "finished"));
    for kind in ["dlcm", "token_only"] {
        // The trial at the best rate is one of the others.
        let trials = of_kind(&runs, kind, "trial");
        assert_eq!(trials.len(), 2, "{kind}");
        let loss = |run: &&Value| run["loss"].as_f64().expect("a loss");
        let best = of_kind(&runs, kind, "whole")
            .iter()
            .map(loss)
            .fold(f64::INFINITY, f64::min);
        assert!(trials.iter().all(|trial| loss(trial) >= best), "{kind}");
    }
    let plan = desk.done(&["plan", "tiny.yaml", "--no-time"]);
    assert!(plan.contains("11 runs, 11 done, 0 to do"), "{plan}");
    assert!(plan.contains("learning rate of dlcm: "), "{plan}");
    let before: Vec<Vec<u8>> = runs.iter().map(|run| desk.journal(run)).collect();
    desk.done(&["run", "tiny.yaml"]);
    let after: Vec<Vec<u8>> = desk.status().iter().map(|run| desk.journal(run)).collect();
    assert_eq!(before, after, "a finished run was trained again");
    let fit = desk.json(&["fit", "tiny.yaml", "--json"]);
    let tuning = fit["tuning"].as_array().expect("what trials found");
    assert_eq!(tuning.len(), 2);
    assert_eq!(
        tuning[0]["sizes"][0]["losses"].as_array().map(Vec::len),
        Some(3)
    );
}

#[test]
fn every_rule_of_boundaries_and_pooling_trains_and_reads() {
    let text = TINY.replace(
        "token_window: 8}",
        "token_window: 8, boundaries: [learned, random, fixed], pooling: [mean, boundary]}",
    );
    let text = text.replace("concept_share: [0.3, 0.5]", "concept_share: 0.4");
    let desk = Desk::new().with("tiny.yaml", text);
    desk.done(&["run", "tiny.yaml"]);
    let runs = desk.status();
    let dlcm = of_kind(&runs, "dlcm", "whole");
    assert_eq!(dlcm.len(), 6);
    for run in dlcm {
        let number = |key: &str| {
            run[key]
                .as_f64()
                .unwrap_or_else(|| panic!("no {key}: {run}"))
        };
        // 512 held-out tokens and sixteen steps are few: chance moves R, and the first step is sampled
        // before any p is known.
        let most = match run["axes"]["model.boundaries"].as_str() {
            Some("fixed") => [0.01, 0.01],
            Some("random") => [1.0, 0.4],
            _ => [0.5, 2.0],
        };
        for (key, most) in ["realised_ratio", "realised_training"]
            .into_iter()
            .zip(most)
        {
            assert!((number(key) - 4.0).abs() < most, "{key} of {run}");
        }
        assert!(number("concept_gain").is_finite());
        let random = run["axes"]["model.boundaries"] == "random";
        assert_eq!(run["boundary_gain"].is_null(), random, "{run}");
        let id = run["id"].as_str().expect("an id");
        let read = desk.json(&["inspect", id, "--tokens", "1,2,3,4,5,6,7,8,9", "--json"]);
        assert!(read.to_string().contains("concept"), "{read}");
    }
}

#[test]
fn mistakes_about_controls_and_rates_are_told() {
    let said = |text: &str| {
        let desk = Desk::new().with("tiny.yaml", text);
        desk.refused(&["check", "tiny.yaml"])
    };
    let twice = said(
        &format!("{TINY}tune: {{learning_rate: [1e-3, 2e-3]}}\n")
            .replace("training: {", "training: {learning_rate: 1e-3, "),
    );
    assert!(twice.contains("given, and also looked for"), "{twice}");
    let one = said(&format!("{TINY}tune: {{learning_rate: 1e-3}}\n"));
    assert!(
        one.contains("`tune.learning_rate` is a list of 2 or more numbers"),
        "{one}"
    );
    let same = said(&format!("{TINY}tune: {{learning_rate: [1e-3, 1e-3]}}\n"));
    assert!(same.contains("give at least 2 different numbers"), "{same}");
    let word = said(&format!("{TINY}controls: dense\n"));
    assert!(word.contains("write `controls: tokens`"), "{word}");
    let alone = said("baselines: {params: 50000, tokens: 8192}\ncontrols: tokens\n");
    assert!(alone.contains("no `grid` whose token levels"), "{alone}");
    let foreign = said(&format!(
        "{TINY}controls: {{training: {{aux_weights: 1}}}}\n"
    ));
    assert!(foreign.contains("did you mean `aux_weight`"), "{foreign}");
}
