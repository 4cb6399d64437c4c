//! Tasks that a trained run is asked, against what `inspect` reads of the same tokens.

use super::{DESK, done, json, refused, run};
use experiment::tasks::Answer;
use serde_json::{Value, json as value};
use std::collections::BTreeMap;
use std::f64::consts::LN_2;

/// Writes a folder of tasks: its index, and a file of items each.
pub(super) fn tasks(name: &str, index: &str, files: &[(&str, Vec<Value>)]) -> String {
    let folder = DESK.join(name);
    std::fs::create_dir_all(&folder).expect("made");
    std::fs::write(folder.join("tasks.yaml"), index).expect("written");
    for (file, items) in files {
        let lines: Vec<String> = items.iter().map(Value::to_string).collect();
        std::fs::write(folder.join(file), lines.join("\n")).expect("written");
    }
    name.to_owned()
}

/// What a run answered to every item.
pub(super) fn items(run: &str, tasks: &str) -> BTreeMap<String, Vec<Answer>> {
    let file = format!("{tasks}.parquet");
    done(&["evaluate", run, "--tasks", tasks, "--items", &file]);
    trainer::inference::items::read(&DESK.join(file), run).expect("written")
}

/// The log-likelihood of the end of a text, by another way: the losses of its tokens after so many.
fn by_reading(run: &str, text: &str, after: usize) -> f64 {
    let reading = json(&["inspect", run, "--text", text]);
    let losses = reading["loss"].as_array().expect("losses");
    let losses = losses[after..]
        .iter()
        .map(|loss| loss.as_f64().expect("a loss"));
    -losses.sum::<f64>()
}

fn tokens(run: &str, text: &str) -> usize {
    let reading = json(&["inspect", run, "--text", text]);
    reading["tokens"].as_array().expect("tokens").len()
}

pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn what_follows_is_as_likely_as_the_losses_of_its_tokens_say() {
    let follows = "the ship sails far beyond";
    let choices = ["home.", "Ålesund and home.", "the the the the the the"];
    let index = "tasks:\n  next: {file: next.jsonl, kind: multiple_choice}\n  \
                 before: {file: before.jsonl, kind: schema}\n  end: {file: end.jsonl, kind: language_modeling}\n";
    let folder = tasks(
        "tasks-likely",
        index,
        &[
            (
                "next.jsonl",
                vec![value!({"query": follows, "choices": choices, "gold": 1})],
            ),
            (
                "before.jsonl",
                vec![
                    value!({"context_options": [follows, "Ålesund"], "continuation": "and home.", "gold": 0}),
                ],
            ),
            (
                "end.jsonl",
                vec![value!({"context": follows, "continuation": "Ålesund"})],
            ),
        ],
    );
    for kind in ["dlcm", "dense"] {
        let (id, _) = run("text.yaml", kind);
        let items = items(&id, &folder);
        let check = |task: &str, place: usize, context: &str, continuation: &str| {
            let scored = &items[task][0].candidates[place];
            let text = format!("{context} {continuation}");
            // The first tokens are the context's own; spaces at its end belong to what follows.
            let right = by_reading(&id, &text, tokens(&id, context));
            let found = scored.log_likelihood;
            assert!(
                (found - right).abs() < 1e-4,
                "{kind} {task} {place}: {found} {right}"
            );
            assert_eq!(scored.bytes, continuation.len() + 1);
        };
        for (place, choice) in choices.iter().enumerate() {
            check("next", place, follows, choice);
        }
        check("before", 0, follows, "and home.");
        check("before", 1, "Ålesund", "and home.");
        check("end", 0, follows, "Ålesund");
    }
}

#[test]
fn spaces_before_what_follows_change_nothing() {
    let item = |query: &str, choice: &str| value!({"query": query, "choices": [choice, format!("{choice} far")], "gold": 0});
    let folder = tasks(
        "tasks-spaces",
        "tasks:\n  t: {file: t.jsonl, kind: multiple_choice, delimiter: ''}\n",
        &[(
            "t.jsonl",
            vec![item("the ship ", "sails"), item("the ship", " sails")],
        )],
    );
    let (id, _) = run("text.yaml", "dlcm");
    let items = &items(&id, &folder)["t"];
    assert_eq!(items[0].candidates, items[1].candidates);
}

#[test]
fn a_text_that_does_not_fit_is_cut_on_the_left_and_counted() {
    let long = "the ship sails far beyond Ålesund and home. ".repeat(20);
    let folder = tasks(
        "tasks-long",
        "tasks:\n  t: {file: t.jsonl, kind: language_modeling, delimiter: ''}\n",
        &[(
            "t.jsonl",
            vec![value!({"context": long, "continuation": " the ship"})],
        )],
    );
    let (id, _) = run("text.yaml", "dense");
    let found = json(&["evaluate", &id, "--tasks", &folder]);
    assert_eq!(found["scores"][0]["truncated"], 1);
    let (said, _) = done(&["evaluate", &id, "--tasks", &folder]);
    assert!(said.contains("the left end did not fit"), "{said}");
    let candidate = &items(&id, &folder)["t"][0].candidates[0];
    assert!(candidate.truncated > 0 && candidate.log_likelihood < 0.0);
}

#[test]
fn scores_say_how_sure_they_are_and_runs_are_compared_item_by_item() {
    // What comes next in the corpus, and something that never does.
    let item = |place: usize| {
        let (right, wrong) = ("the ship sails", "\u{17f}\u{17f}\u{17f}");
        let choices = if place.is_multiple_of(2) {
            [right, wrong]
        } else {
            [wrong, right]
        };
        value!({"query": "home.", "choices": choices, "gold": place % 2})
    };
    let folder = tasks(
        "tasks-sure",
        "tasks:\n  easy: {file: easy.jsonl, kind: multiple_choice}\n  few: {file: few.jsonl, kind: multiple_choice}\n",
        &[
            ("easy.jsonl", (0..40).map(item).collect()),
            ("few.jsonl", (0..2).map(item).collect()),
        ],
    );
    let (id, _) = run("text.yaml", "dlcm");
    let (dense, _) = run("text.yaml", "dense");
    let found = json(&["evaluate", &id, "--tasks", &folder, "--against", &dense]);
    let [easy, few] = [&found["scores"][0], &found["scores"][1]];
    assert_eq!(number(&easy["accuracy"]["mean"]), 1.0, "{easy}");
    assert_eq!(
        (easy["at_chance"] == false, few["at_chance"] == true),
        (true, true)
    );
    assert_eq!(number(&easy["chance"]), 0.5);
    let differences = found["differences"].as_array().expect("two");
    assert!(differences[1]["accuracy"].is_null(), "{found}");
    let bits = |scores: &Value| number(&scores[0]["bits_per_byte"]["mean"]);
    let saved = bits(&found["scores_against"]) - bits(&found["scores"]);
    assert!((number(&differences[0]["bits_per_byte"]["mean"]) - saved).abs() < 1e-9);
    let right = by_reading(&id, "home. the ship sails", tokens(&id, "home."));
    assert!((bits(&found["scores"]) + right / LN_2 / 15.0).abs() < 1e-4);
    let (said, _) = done(&["evaluate", &id, "--tasks", &folder]);
    let first = said.lines().next().expect("a verdict");
    assert!(first.contains("at chance in few"), "{said}");
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_place() {
    let (id, _) = run("text.yaml", "dlcm");
    let said = refused(&["evaluate", &id, "--tasks", "nothing"]);
    assert!(said.contains("has no tasks.yaml"), "{said}");
    let index = "tasks:\n  t: {file: t.jsonl, kind: multiple_choice}\n";
    let item = value!({"query": "the", "choices": ["ship"], "gold": 3});
    let folder = tasks("tasks-wrong", index, &[("t.jsonl", vec![item])]);
    let said = refused(&["evaluate", &id, "--tasks", &folder, "--items", "wrong.out"]);
    assert!(
        said.contains("line 1") && said.contains("`gold` is 3"),
        "{said}"
    );
    assert!(!DESK.join("wrong.out").exists());
    // Documents of text follow an empty line; letters follow nothing.
    let item = value!({"query": "", "choices": ["ship", "home"], "gold": 0});
    let index = "tasks:\n  t: {file: t.jsonl, kind: multiple_choice, delimiter: ''}\n";
    let folder = tasks("tasks-alone", index, &[("t.jsonl", vec![item])]);
    let alone = &items(&id, &folder)["t"][0].candidates[0];
    let right = by_reading(&id, "\nship", tokens(&id, "\n"));
    assert!(
        (alone.log_likelihood - right).abs() < 1e-4,
        "{alone:?} {right}"
    );
    let (letters, _) = run("letters.yaml", "dlcm");
    let said = refused(&["evaluate", &letters, "--tasks", &folder]);
    assert!(said.contains("nothing stands before `ship`"), "{said}");
}

/// An experiment that asks its runs when they are trained: of two seeds of each model.
const ASKING: &str = "
name: asking
grid: {params: 60000, tokens: 8192, concept_share: 0.4, compression_ratio: 4, seed: [0, 1]}
baselines: {params: [25000, 40000, 60000], tokens: 8192}
model: {seq_len: 64, token_window: 8}
data:
  text: corpus.txt
  tokenizer: {bpe: {vocab: 300}}
  evaluate: {ships: corpus.txt, towns: [other.txt, english.txt]}
training: {batch: 8, validations: 2, validation_tokens: 1M}
evaluation: {tasks: asked}
analysis: {bootstrap: 20}
execution: {checkpoint_every: 0.05}
";

fn asked() {
    let item = |place: usize| {
        let words = ["the ship sails", "far beyond Ålesund", "and home."];
        let choices = [words[place % 3], words[(place + 1) % 3]];
        value!({"query": "home.", "choices": choices, "gold": place % 2})
    };
    tasks(
        "asked",
        "tasks:\n  next: {file: next.jsonl, kind: multiple_choice}\n  shots: {file: next.jsonl, kind: multiple_choice, shots: 2}\n",
        &[("next.jsonl", (0..30).map(item).collect())],
    );
    std::fs::write(DESK.join("asking.yaml"), ASKING).expect("written");
}

/// Runs it, on the processor: so is what it is compared with. Returns what was said.
fn ran(results: &str, more: &[&str]) -> String {
    let run = [
        "run",
        "asking.yaml",
        "--device",
        "cpu",
        "--quiet",
        "--results",
        results,
    ];
    done(&[&run[..], more].concat()).1
}

/// What the runs of an experiment answer, and how they compare.
fn answers(results: &str) -> Value {
    json(&["evaluate", "asking.yaml", "--results", results])
}

#[test]
fn an_experiment_asks_its_runs_at_their_end_and_never_twice() {
    asked();
    let said = ran("asked-whole", &[]);
    assert!(
        !said.contains("asking run"),
        "each process asks its own run: {said}"
    );
    let whole = answers("asked-whole");
    let runs = whole["runs"].as_object().expect("runs");
    assert_eq!(runs.len(), 8);
    for (id, scores) in runs {
        assert_eq!(scores["tasks"].as_array().expect("tasks").len(), 2, "{id}");
        let texts = scores["texts"].as_array().expect("texts");
        let named: Vec<&str> = texts
            .iter()
            .filter_map(|text| text["text"].as_str())
            .collect();
        assert_eq!(named, ["ships", "towns"]);
        // The same number by another door.
        let folder = format!("asked-whole/runs/{id}");
        let alone = json(&["evaluate", &folder, "--tasks", "asked"]);
        assert_eq!(alone["scores"], scores["tasks"]);
        let read = json(&["inspect", &folder, "--file", "corpus.txt"]);
        let ships = number(&texts[0]["bits_per_byte"]["mean"]);
        assert!(
            (ships - number(&read["totals"]["bits_per_byte"])).abs() < 1e-9,
            "{read}"
        );
    }
    let status = json(&["status", "asking.yaml", "--results", "asked-whole"]);
    for run in status["runs"].as_array().expect("runs") {
        assert_eq!(run["scores"], runs[run["id"].as_str().expect("an id")]);
    }
    // A database that is made again knows them too.
    std::fs::remove_file(DESK.join("asked-whole/orchestrator.db")).expect("removed");
    done(&["rebuild", "asked-whole"]);
    ran("asked-whole", &[]);
    assert_eq!(answers("asked-whole")["runs"], whole["runs"]);
}

#[test]
fn hierarchical_models_are_compared_with_dense_ones_alike() {
    asked();
    ran("asked-compared", &[]);
    let found = answers("asked-compared");
    let (said, _) = done(&["evaluate", "asking.yaml", "--results", "asked-compared"]);
    // Each way has its verdict, or says why there is none.
    for (way, verdict, why) in [
        (
            "at_equal_flops",
            "At equal inference FLOPs",
            "takes the inference FLOPs of a dense one",
        ),
        (
            "at_equal_loss",
            "At equal loss",
            "reaches the loss of a dense one",
        ),
    ] {
        let pairs = found["comparison"][way].as_array().expect("pairs");
        assert_eq!(said.contains(verdict), !pairs.is_empty(), "{said}");
        assert_eq!(said.contains(why), pairs.is_empty(), "{said}");
        for pair in pairs {
            assert_eq!(
                pair["dlcm"]["runs"].as_array().expect("runs").len(),
                2,
                "of both seeds"
            );
            assert_eq!(pair["tasks"].as_array().expect("tasks").len(), 2);
        }
    }
    assert!(
        said.contains("next: ") && said.contains("better than by guessing"),
        "{said}"
    );
}

#[test]
fn what_an_experiment_cannot_ask_is_refused_before_it_trains() {
    let choice = value!({"query": "The", "choices": ["a", "b"], "gold": 0});
    let folder = tasks(
        "asked-capital",
        "tasks: {t: {file: t.jsonl, kind: multiple_choice, delimiter: ''}}",
        &[("t.jsonl", vec![choice])],
    );
    let set = format!("evaluation.tasks={folder}");
    let said = refused(&["check", "letters.yaml", "--set", &set]);
    assert!(
        said.contains("task `t`, item 1") && said.contains("'T'"),
        "{said}"
    );
    asked();
    let said = refused(&[
        "check",
        "asking.yaml",
        "--set",
        "data.evaluate={next: corpus.txt}",
    ]);
    assert!(said.contains("both called `next`"), "{said}");
    for (value, says) in [
        ("data.evaluate={}", "it names nothing"),
        ("data.evaluate=[a]", "list"),
        ("evaluation.tasks=nowhere", "no tasks.yaml"),
    ] {
        let said = refused(&["check", "asking.yaml", "--set", value]);
        assert!(said.contains(says), "{value}: {said}");
    }
}

#[test]
fn exported_weights_answer_as_the_run_does() {
    let item = value!({"query": "the ship", "choices": ["sails far", "Ålesund home."], "gold": 0});
    let index = "tasks:\n  t: {file: t.jsonl, kind: multiple_choice}\n";
    let folder = tasks("tasks-exported", index, &[("t.jsonl", vec![item; 3])]);
    for kind in ["dlcm", "dense"] {
        let (id, _) = run("text.yaml", kind);
        let file = format!("exported-{kind}/model.safetensors");
        std::fs::create_dir_all(DESK.join(&file).parent().expect("a folder")).expect("made");
        done(&["export", &id, "--safetensors", &file, "--force"]);
        let scores =
            |subject: &str| json(&["evaluate", subject, "--tasks", &folder])["scores"].clone();
        assert_eq!(scores(&file), scores(&id), "{kind}");
    }
    std::fs::write(DESK.join("other.safetensors"), "no tensors").expect("written");
    let said = refused(&["evaluate", "other.safetensors", "--tasks", &folder]);
    assert!(said.contains("cannot use other.safetensors"), "{said}");
}

#[test]
fn laws_are_fitted_to_scores_as_to_losses() {
    asked();
    ran("asked-laws", &[]);
    let rows = [
        "asking.yaml",
        "--results",
        "asked-laws",
        "--where",
        "kind = dense",
    ];
    fn fit<'a>(rows: &[&'a str], target: &'a str) -> Vec<&'a str> {
        let law = ["--law", "power:params", "--target", target];
        [&["fit"], rows, &law].concat()
    }
    let by_bits = json(&fit(&rows, "ships.bits_per_byte"));
    let by_loss = json(&fit(&rows, "ships.loss"));
    assert_eq!(by_bits["rows"], by_loss["rows"]);
    // Bits per byte are the loss in other units: the same but for a factor.
    let predicted = |target: &str| {
        let at = [
            "--law",
            "power:params",
            "--target",
            target,
            "--at",
            "params=50000",
        ];
        number(&json(&[&["predict"], &rows[..], &at].concat())["predictions"][0]["prediction"])
    };
    let factor = predicted("ships.loss") / predicted("ships.bits_per_byte");
    let scores = answers("asked-laws");
    let (_, of_run) = scores["runs"]
        .as_object()
        .expect("runs")
        .iter()
        .next()
        .expect("one");
    let bytes = number(&of_run["texts"][0]["bytes_per_token"]);
    assert!(
        (factor / (bytes * LN_2) - 1.0).abs() < 0.02,
        "{factor} {bytes}"
    );
    for (target, says) in [
        ("ship.bits_per_byte", "did you mean `ships.bits_per_byte`"),
        ("next.accuracy", "--accuracy` says what accuracy"),
    ] {
        let said = refused(&fit(&rows, target));
        assert!(said.contains(says), "{said}");
    }
    let without_law = [&["fit"], &rows[..], &["--target", "ships.loss"]].concat();
    assert!(refused(&without_law).contains("one by one"));
    let step = [
        "--law",
        "power:params",
        "--at",
        "params=1e5",
        "--accuracy",
        "--target",
        "next.bits_per_byte",
    ];
    let said = refused(&[&["predict"], &rows[..], &step].concat());
    assert!(said.contains("answer better than by guessing"), "{said}");
}

#[test]
fn runs_trained_before_are_asked_later_and_answer_alike() {
    asked();
    ran("asked-later", &["--set", "evaluation=null"]);
    let said = ran("asked-later", &[]);
    assert!(said.contains("asking run"), "{said}");
    let later = answers("asked-later");
    ran("asked-at-once", &[]);
    let at_once = answers("asked-at-once");
    assert_eq!(later, at_once);
    // Other tasks take the place of those of the same name, and only they are asked.
    let item = value!({"query": "the", "choices": ["ship", "home."], "gold": 0});
    tasks(
        "asked-other",
        "tasks:\n  next: {file: next.jsonl, kind: multiple_choice}\n",
        &[("next.jsonl", vec![item; 3])],
    );
    let other = json(&[
        "evaluate",
        "asking.yaml",
        "--results",
        "asked-later",
        "--tasks",
        "asked-other",
    ]);
    for (id, scores) in other["runs"].as_object().expect("runs") {
        assert_eq!(scores["tasks"][0]["items"], 3, "{id}");
        assert_eq!(scores["tasks"][1], at_once["runs"][id]["tasks"][1]);
        // The answers to the task that was not asked again are there still.
        let file = DESK.join(format!("asked-later/runs/{id}/items.parquet"));
        let items = trainer::inference::items::read(&file, id).expect("items");
        assert_eq!((items["next"].len(), items["shots"].len()), (3, 30));
    }
}

#[test]
fn choices_that_share_a_context_answer_as_each_alone() {
    // In bytes single letters share the context's row, and longer ones begin with others.
    super::trained("bytes.yaml");
    let choices = ["a", "b", "sh", "s", "ship", "far", "Ålesund"];
    let together = value!({"query": "the ship sails ", "choices": choices, "gold": 4});
    let alone: Vec<Value> = choices
        .iter()
        .map(|choice| value!({"context": "the ship sails", "continuation": format!(" {choice}")}))
        .collect();
    let index = "tasks:\n  alone: {file: alone.jsonl, kind: language_modeling, delimiter: ''}\n  \
                 together: {file: together.jsonl, kind: multiple_choice, delimiter: ''}\n";
    let files = [("together.jsonl", vec![together]), ("alone.jsonl", alone)];
    let folder = tasks("tasks-shared", index, &files);
    for kind in ["dlcm", "dense"] {
        let (id, _) = run("bytes.yaml", kind);
        let found = items(&id, &folder);
        for (place, shared) in found["together"][0].candidates.iter().enumerate() {
            let text = format!("the ship sails {}", choices[place]);
            let right = by_reading(&id, &text, "the ship sails".len());
            assert!(
                (shared.log_likelihood - right).abs() < 1e-4,
                "{kind} {text}"
            );
            let alone = &found["alone"][place].candidates[0];
            assert!(
                (shared.log_likelihood - alone.log_likelihood).abs() < 1e-5,
                "{kind} {text}"
            );
            assert_eq!(shared.is_greedy, alone.is_greedy);
        }
    }
}
