//! Asking trained runs questions, through the program as a user does.

mod complete;
mod evaluate;

use assert_cmd::Command;
use experiment::run::{RunOutcome, RunSpec};
use network::device;
use serde_json::Value;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;
use trainer::data;
use trainer::data::batches::Batches;
use trainer::inference::Trained;
use trainer::train::session::{Place, ask_nothing, train};

/// A fixed threshold: validation and reading decide with the same number, whatever the folds.
const TEXT: &str = "
name: text
grid: {params: 60000, tokens: 8192, concept_share: 0.4, compression_ratio: 4}
baselines: {params: 60000, tokens: 8192}
model: {seq_len: 64, token_window: 8}
data: {text: corpus.txt, tokenizer: {bpe: {vocab: 300}}}
training: {batch: 8, validations: 2, validation_tokens: 1M, threshold: 0.43}
analysis: {bootstrap: 20}
";

const LETTERS: &str = "
name: letters
grid: {params: 60000, tokens: 1024, concept_share: 0.4, compression_ratio: 4}
model: {seq_len: 64, token_window: 8}
data: {synthetic: {language: cycles, document_tokens: 64, document_words: 6}}
training: {batch: 8, validations: 1, validation_tokens: 512}
analysis: {bootstrap: 20}
";

/// The same text in bytes.
const BYTES: &str = "
name: bytes
grid: {params: 60000, tokens: 8192, concept_share: 0.4, compression_ratio: 4}
baselines: {params: 60000, tokens: 8192}
model: {seq_len: 64, token_window: 8}
data: {text: corpus.txt}
training: {batch: 8, validations: 1, validation_tokens: 4096, threshold: 0.43}
analysis: {bootstrap: 0}
";

/// The folder in which the runs were trained, once for all tests here.
static DESK: LazyLock<PathBuf> = LazyLock::new(|| {
    let desk = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inference");
    if desk.exists() {
        std::fs::remove_dir_all(&desk).expect("removed");
    }
    std::fs::create_dir_all(&desk).expect("made");
    let words = [
        "the", "ship", "sails", "far", "beyond", "Ålesund", "and", "home.",
    ];
    let corpus: Vec<&str> = (0..6000u64)
        .map(|i| words[(i * i + i / 7) as usize % words.len()])
        .collect();
    for (name, content) in [
        ("corpus.txt", corpus.join(" ").as_bytes()),
        ("english.txt", b"the ship sails home."),
        ("other.txt", "Ålesund Ålesund far".as_bytes()),
        ("empty.txt", b""),
        ("bytes.bin", b"good \xff bad"),
        ("text.yaml", TEXT.as_bytes()),
        ("letters.yaml", LETTERS.as_bytes()),
        ("bytes.yaml", BYTES.as_bytes()),
    ] {
        std::fs::write(desk.join(name), content).expect("written");
    }
    for file in ["text.yaml", "letters.yaml"] {
        command(&desk, &["run", file]).assert().success();
    }
    desk
});

/// Trains the runs of one more experiment.
fn trained(file: &str) {
    // Tests run beside each other, and two commands do not train one experiment.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().expect("no other test failed");
    done(&["run", file, "--quiet"]);
}

fn command(desk: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("orchestrator").expect("the program");
    command
        .args(args)
        .current_dir(desk)
        .env("ORCHESTRATOR_CACHE", desk.join("cache"))
        .env_remove("NO_COLOR")
        .timeout(Duration::from_secs(300));
    command
}

/// What a command that succeeds prints: standard output and standard error.
fn done(args: &[&str]) -> (String, String) {
    let output = command(&DESK, args).output().expect("ran");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{args:?}: {said}");
    (String::from_utf8(output.stdout).expect("UTF-8"), said)
}

fn json(args: &[&str]) -> Value {
    let (text, _) = done(&[args, &["--json"]].concat());
    serde_json::from_str(&text).expect("JSON")
}

/// What a command says that must be refused with status 2.
fn refused(args: &[&str]) -> String {
    let output = command(&DESK, args).output().expect("ran");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    // Messages are broken to the width of the terminal, and marked along the left.
    let words = said.split_whitespace().filter(|word| *word != "│");
    words.collect::<Vec<_>>().join(" ")
}

/// A run's id and its held-out loss.
fn run(experiment: &str, kind: &str) -> (String, f64) {
    let (text, _) = done(&["status", experiment, "--json"]);
    let status: Value = serde_json::from_str(&text).expect("JSON");
    let runs = status["runs"].as_array().expect("runs");
    let run = runs.iter().find(|run| run["kind"] == kind).expect("a run");
    let id = run["id"].as_str().expect("an id").to_owned();
    (id, run["loss"].as_f64().expect("a loss"))
}

fn folder(id: &str) -> PathBuf {
    DESK.join("results/text/runs").join(id)
}

fn numbers(value: &Value) -> Vec<Option<f64>> {
    let values = value.as_array().expect("an array").iter();
    values.map(Value::as_f64).collect()
}

#[test]
fn a_reading_is_consistent_and_the_same_each_time() {
    let (id, _) = run("text.yaml", "dlcm");
    let text = "the ship sails far beyond Ålesund and home. ".repeat(20);
    let text = text.trim_end();
    let args = ["inspect", &id[..4], "--text", text];
    let reading = json(&args);
    assert_eq!(reading, json(&args));
    assert_eq!(reading["run"], id.as_str());
    let count = reading["tokens"].as_array().expect("tokens").len();
    assert!(
        count > 128,
        "three windows of 64 are wanted, not {count} tokens"
    );
    let p = numbers(&reading["boundary_probability"]);
    let concepts = numbers(&reading["concept"]);
    let losses = numbers(&reading["loss"]);
    let boundaries = reading["boundary"].as_array().expect("an array");
    let texts = reading["text"].as_array().expect("an array");
    for length in [
        p.len(),
        concepts.len(),
        losses.len(),
        boundaries.len(),
        texts.len(),
    ] {
        assert_eq!(length, count);
    }
    let threshold = reading["threshold"].as_f64().expect("a threshold");
    let mut concept = -1.0;
    for t in 0..count {
        let first = t % 64 == 0;
        let p = p[t].expect("a probability");
        assert!(if first {
            p == 1.0
        } else {
            (0.0..=1.0).contains(&p)
        });
        assert_eq!(boundaries[t], first || p >= threshold, "token {t}");
        concept += f64::from(u8::from(boundaries[t] == true));
        assert_eq!(concepts[t], Some(concept));
        // Only the very first token is predicted by nothing.
        assert_eq!(losses[t].is_none(), t == 0);
    }
    let totals = &reading["totals"];
    assert_eq!(totals["tokens"], count);
    assert_eq!(totals["concepts"].as_f64(), Some(concept + 1.0));
    let mean = losses.iter().flatten().sum::<f64>() / (count - 1) as f64;
    let loss = totals["loss"].as_f64().expect("a loss");
    assert!((loss - mean).abs() < 1e-6, "{loss} {mean}");
    let bytes = text.len() as f64 / count as f64;
    assert_eq!(totals["bytes_per_token"].as_f64(), Some(bytes));
    let bits = totals["bits_per_byte"].as_f64().expect("known");
    assert!((bits - mean / std::f64::consts::LN_2 / bytes).abs() < 1e-6);
    // As people see it: concepts between bars, nothing coloured where it is piped.
    let (shown, _) = done(&args);
    assert!(!shown.contains('\x1b'), "{shown}");
    let (line, rest) = shown.split_once('\n').expect("two lines");
    assert_eq!(line.replace('|', ""), text);
    assert_eq!(line.matches('|').count() as f64, concept);
    assert!(rest.contains("in windows of 64"), "{rest}");
    let (table, _) = done(&["inspect", &id, "--text", "the ship", "--per-token"]);
    assert!(
        table.contains("\"the\"") && table.contains("loss"),
        "{table}"
    );
}

#[test]
fn reading_the_held_out_tokens_gives_the_held_out_loss() {
    let cache = DESK.join("cache/data");
    // The text's path in the specification is relative to the desk.
    std::env::set_current_dir(&*DESK).expect("entered");
    for kind in ["dlcm", "dense"] {
        let (id, expected) = run("text.yaml", kind);
        let trained = Trained::load(&folder(&id), &cache, "cpu").expect("loaded");
        let dataset = data::prepare(&trained.spec.data, &cache).expect("data");
        let windows = Batches::new(&dataset, 64, 0).expect("windows");
        let mut tokens = vec![0; windows.validation_sequences() as usize * 64 + 1];
        dataset.validation.copy_range(0, &mut tokens);
        let reading = trained.read(&tokens).expect("read");
        let loss = reading.totals(None).loss.expect("a loss");
        assert!((loss - expected).abs() < 1e-5, "{kind}: {loss} {expected}");
    }
}

#[test]
fn a_dense_run_has_no_boundaries() {
    let (id, _) = run("text.yaml", "dense");
    let reading = json(&["inspect", &id, "--tokens", "17, 4 8"]);
    for key in ["boundary_probability", "boundary", "concept", "threshold"] {
        assert!(reading[key].is_null(), "{key} of {reading}");
    }
    assert!(reading["totals"]["concepts"].is_null());
    assert_eq!(numbers(&reading["loss"]).iter().flatten().count(), 2);
    let (shown, _) = done(&["inspect", &id, "--text", "the ship"]);
    assert!(shown.starts_with("the ship\n"), "{shown}");
    let said = refused(&["inspect", &id, "--text", "the ship", "--by-position"]);
    assert!(said.contains("is dense"), "{said}");
}

#[test]
fn several_files_give_a_table_by_content() {
    let (id, _) = run("text.yaml", "dlcm");
    let files = ["--file", "english=english.txt", "--file", "other.txt"];
    let args = [&["inspect", id.as_str()], &files[..]].concat();
    let (table, _) = done(&args);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert!(rows[0].contains("tokens/concept") && rows[0].contains("bytes/token"));
    assert!(rows[1].starts_with("english ") && rows[2].starts_with("other.txt"));
    let table = json(&args);
    let alone = json(&["inspect", &id, "--file", "other.txt"]);
    assert_eq!(table["contents"][1]["totals"], alone["totals"]);
    assert_eq!(alone["label"], "other.txt");
    let tokens = json(&[&args[..], &["--per-token"]].concat());
    assert_eq!(tokens["contents"][1]["tokens"], alone["tokens"]);
}

#[test]
fn losses_by_position_add_up_to_the_loss() {
    let (id, _) = run("text.yaml", "dlcm");
    let (dense, _) = run("text.yaml", "dense");
    let ask = ["inspect", &id, "--file", "english.txt", "--by-position"];
    let alone = json(&ask);
    let rows = alone["by_position"].as_array().expect("rows");
    assert_eq!(rows.len(), 17);
    let sum: f64 = rows
        .iter()
        .filter_map(|row| Some(row["tokens"].as_f64()? * row["loss"].as_f64()?))
        .sum();
    let count: f64 = rows.iter().filter_map(|row| row["tokens"].as_f64()).sum();
    // One window: every token but the first has a loss and counts.
    let totals = &alone["totals"];
    assert_eq!(totals["tokens"].as_f64(), Some(count + 1.0));
    let loss = totals["loss"].as_f64().expect("a loss");
    assert!((sum / count - loss).abs() < 1e-9);
    assert!(rows.iter().all(|row| row["gain"].is_null()));

    let against = json(&[&ask[..], &["--against", &dense]].concat());
    for row in against["by_position"].as_array().expect("rows") {
        let number = |key: &str| row[key].as_f64();
        match (number("loss"), number("against"), number("gain")) {
            (Some(loss), Some(other), Some(gain)) => assert!((other - loss - gain).abs() < 1e-9),
            (None, None, None) => assert_eq!(row["tokens"], 0),
            _ => panic!("{row}"),
        }
    }
    let (table, _) = done(&[&ask[..], &["--against", &dense]].concat());
    assert!(table.contains("gain") && table.contains("16+"), "{table}");
    let (letters, _) = run("letters.yaml", "dlcm");
    let said = refused(&[&ask[..], &["--against", &letters]].concat());
    assert!(said.contains("different data"), "{said}");
}

#[test]
fn letters_are_written_as_they_are_shown() {
    let (id, _) = run("letters.yaml", "dlcm");
    let reading = json(&["inspect", &id, "--text", "abcx"]);
    assert_eq!(reading["tokens"], serde_json::json!([0, 1, 2, 23]));
    assert!(reading["totals"]["bits_per_byte"].is_null());
    let said = refused(&["inspect", &id, "--text", "a b"]);
    assert!(said.contains("`a` to `x`"), "{said}");
    let (text, _) = done(&["generate", &id, "--prompt", "ab", "--tokens", "5"]);
    assert_eq!((text.len(), &text[..2]), (8, "ab"));
}

#[test]
fn what_cannot_be_read_is_refused() {
    let (id, _) = run("text.yaml", "dlcm");
    for (args, expected) in [
        (&["--text", ""][..], "empty"),
        (&["--file", "empty.txt"], "`empty.txt` is empty"),
        (&["--file", "missing.txt"], "`missing.txt` does not exist"),
        (&["--file", "bytes.bin"], "not UTF-8"),
        (&["--file", "."], "directory"),
        (&["--tokens", ""], "empty"),
        (&["--tokens", "1,two"], "`two` is no token id"),
        (&["--tokens", "1,-2"], "`-2` is no token id"),
        (&["--tokens", "1,300000"], "token 300000 is outside"),
        (&["--text", "a", "--tokens", "1"], "cannot be used with"),
        (&["--text", "a", "--against", "b"], "--by-position"),
        (&[], "required"),
    ] {
        let said = refused(&[&["inspect", id.as_str()], args].concat());
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    for (args, expected) in [
        (&["--prompt", ""][..], "empty"),
        (&["--prompt-tokens", "999"], "token 999 is outside"),
        (
            &["--prompt", "a", "--temperature", "-1"],
            "temperature of -1",
        ),
        (
            &["--prompt", "a", "--temperature", "nan"],
            "temperature of NaN",
        ),
        (&["--prompt", "a", "--top-k", "0"], "top-k of 1 or more"),
        (&["--prompt", "a", "--tokens", "0"], "0 is not in"),
    ] {
        let said = refused(&[&["generate", id.as_str()], args].concat());
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    let said = refused(&["inspect", "zzzz", "--text", "a"]);
    assert!(said.contains("`zzzz`"), "{said}");
}

#[test]
fn a_run_goes_on_from_a_prompt() {
    let (id, _) = run("text.yaml", "dlcm");
    let (dense, _) = run("text.yaml", "dense");
    let ask = |run: &str, more: &[&str]| {
        json(
            &[
                &["generate", run, "--prompt", "the ship", "--tokens", "20"],
                more,
            ]
            .concat(),
        )
    };
    let first = ask(&id, &["--seed", "7"]);
    assert_eq!(first["tokens"].as_array().expect("tokens").len(), 20);
    assert_eq!(first["tokens"], ask(&id, &["--seed", "7"])["tokens"]);
    assert_ne!(first["tokens"], ask(&id, &["--seed", "8"])["tokens"]);
    // The likeliest tokens need no seed, and one likeliest token is the likeliest.
    let greedy = ask(&id, &["--temperature", "0"]);
    assert_eq!(
        greedy["tokens"],
        ask(&id, &["--top-k", "1", "--seed", "3"])["tokens"]
    );
    assert_eq!(first["prompt"], "the ship");
    let own = first["flops_per_token"].as_f64().expect("FLOPs");
    let other = first["dense_flops_per_token"].as_f64().expect("FLOPs");
    assert!(own > 0.0 && own < other, "{own} {other}");
    assert!(first["tokens_per_concept"].as_f64().expect("a ratio") >= 1.0);
    let plain = ask(&dense, &[]);
    assert!(plain["concepts"].is_null() && plain["dense_flops_per_token"].is_null());

    let args = ["generate", &id, "--prompt", "the ship", "--tokens", "80"];
    let (text, said) = done(&args);
    assert!(text.starts_with("the ship"), "{text}");
    for part in [
        "generated 80 in",
        "tokens/s",
        "FLOP a token",
        "dense of equal N",
        "64 positions",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    let (id, _) = run("text.yaml", "dlcm");
    for args in [
        ["inspect", &id, "--text", "the ship"],
        ["generate", &id, "--prompt", "the ship"],
    ] {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("orchestrator"))
            .args(args)
            .current_dir(&*DESK)
            .env("ORCHESTRATOR_CACHE", DESK.join("cache"))
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("started");
        drop(child.stdout.take());
        assert!(child.wait().expect("ended").success(), "{args:?}");
    }
}

#[test]
fn an_unfinished_run_answers_from_its_checkpoint() {
    let (id, _) = run("text.yaml", "dlcm");
    std::env::set_current_dir(&*DESK).expect("entered");
    let place = DESK.join("unfinished");
    std::fs::create_dir_all(&place).expect("made");
    std::fs::copy(folder(&id).join("run.json"), place.join("run.json")).expect("copied");
    let said = refused(&["inspect", "unfinished/", "--text", "the ship"]);
    assert!(said.contains("no weights"), "{said}");
    let text = std::fs::read(place.join("run.json")).expect("read");
    let spec: RunSpec = serde_json::from_slice(&text).expect("a specification");
    let steps = Cell::new(0);
    let stop = || {
        steps.set(steps.get() + 1);
        steps.get() > 3
    };
    let outcome = train(
        &spec,
        &Place {
            folder: &place,
            data_cache: &DESK.join("cache/data"),
            device: device::named().leak(),
            should_stop: &stop,
            claim: None,
            at_end: &ask_nothing,
        },
    );
    assert_eq!(outcome.expect("trained"), RunOutcome::Interrupted);
    let (_, said) = done(&["inspect", "unfinished/", "--text", "the ship"]);
    assert!(said.contains("after 3 of 16 steps"), "{said}");
    std::fs::write(place.join("checkpoint.safetensors"), "damaged").expect("written");
    let said = refused(&["inspect", "unfinished/", "--text", "the ship"]);
    assert!(said.contains("no usable checkpoint"), "{said}");
}

/// Copies a folder with all that is in it. Commands of other tests work in it too: what is gone between its
/// listing and its copy was a passing file of theirs, such as SQLite's `-wal`.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("readable").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            match std::fs::copy(from, to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => assert!(copied.is_ok(), "{copied:?}"),
            }
        }
    }
}

#[test]
fn results_need_neither_their_text_nor_their_place() {
    let (id, _) = run("text.yaml", "dlcm");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let elsewhere = elsewhere.path();
    copy(&DESK.join("results"), &elsewhere.join("results"));
    let ask = ["inspect", &id, "--text", "the ship sails", "--json"];
    let (expected, _) = done(&ask);
    let answer = |args: &[&str]| {
        let output = command(elsewhere, args).output().expect("ran");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        (String::from_utf8(output.stdout).expect("UTF-8"), words)
    };
    assert_eq!(answer(&ask).0, expected);
    let (text, said) = answer(&["generate", &id, "--prompt", "the ship", "--tokens", "5"]);
    assert!(text.starts_with("the ship"), "{said}");
    let letters = run("letters.yaml", "dlcm").0;
    assert!(
        answer(&["generate", &letters, "--prompt", "ab"])
            .0
            .starts_with("ab")
    );
    // Exported weights take it along.
    std::fs::create_dir(elsewhere.join("out")).expect("made");
    let file = "out/model.safetensors";
    let (text, said) = answer(&["export", &id, "--safetensors", file]);
    assert!(text.contains("tokenizer: out/tokenizer.json"), "{said}");
    let exported = elsewhere.join("out/tokenizer.json");
    let kept = elsewhere
        .join("results/text/runs")
        .join(&id)
        .join("tokenizer.json");
    assert_eq!(
        std::fs::read(&exported).expect("read"),
        std::fs::read(&kept).expect("read")
    );
    std::fs::write(&exported, "another").expect("written");
    let (_, said) = answer(&["export", &id, "--safetensors", "out/other.safetensors"]);
    assert!(said.contains("is another run's tokenizer"), "{said}");

    // One that is not the run's has other rows than the model.
    let vocabulary = r#"{"type":"WordLevel","vocab":{"the":0},"unk_token":"the"}"#;
    let other = format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
        "pre_tokenizer":null,"post_processor":null,"decoder":null,"model":{vocabulary}}}"#
    );
    std::fs::write(&kept, other).expect("written");
    let (_, said) = answer(&ask);
    assert!(
        said.contains("has 1 entries, and the run was trained with"),
        "{said}"
    );

    // A run of a version that kept none needs the text that it was trained on, and no other.
    std::fs::remove_file(&kept).expect("removed");
    let (_, said) = answer(&ask);
    assert!(said.contains("`corpus.txt` does not exist"), "{said}");
    let corpus = std::fs::read(DESK.join("corpus.txt")).expect("read");
    std::fs::write(elsewhere.join("corpus.txt"), &corpus).expect("written");
    assert_eq!(answer(&ask).0, expected);
    let longer = [&corpus[..], b"\nand one line more"].concat();
    std::fs::write(elsewhere.join("corpus.txt"), longer).expect("written");
    let (_, said) = answer(&ask);
    assert!(said.contains("kept no tokenizer"), "{said}");
}
