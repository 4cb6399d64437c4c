//! A trained run behind completions: what is answered, and lm-evaluation-harness on it.

use super::evaluate::{items, number, tasks};
use super::{DESK, run};
use serde_json::{Value, json as value};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The program as it serves a run.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    fn of(run: &str) -> Self {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin("orchestrator"))
            .args(["serve", "--complete", run, "--port", "0"])
            .current_dir(&*DESK)
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("an address");
        let address = line.trim().strip_prefix("http://").expect("an address");
        let address = address.split('/').next().expect("a host").to_owned();
        Self { child, address }
    }

    /// Asks, and returns the status and the answer.
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.address).expect("connected");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let status = answer[9..12].parse().expect("a status");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        (status, serde_json::from_str(body).expect("JSON"))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask("POST", path, body);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn tokens(&self, text: &str) -> Vec<Value> {
        let answer = self.post("/tokenize", &value!({ "prompt": text }));
        answer["tokens"].as_array().expect("tokens").clone()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn completions_are_what_the_run_predicts() {
    let (id, _) = run("text.yaml", "dlcm");
    let serving = Serving::of(&id);
    let (_, info) = serving.ask("GET", "/tokenizer_info", &Value::Null);
    assert_eq!(info["eos_token"], "\n\n");
    let text = "the ship sails far beyond Ålesund and home.";
    let ids = serving.tokens(text);
    let back = serving.post("/detokenize", &value!({ "tokens": ids }));
    assert_eq!(back["prompt"], text);
    assert_eq!(serving.tokens(""), [] as [Value; 0]);

    let asked = |prompt: Value| {
        let body = value!({
            "model": "any", "prompt": prompt, "temperature": 0, "max_tokens": 1, "logprobs": 1, "echo": true,
            "seed": 1234
        });
        serving.post("/v1/completions", &body)["choices"].clone()
    };
    let choices = asked(value!([ids, ids[..5].to_vec()]));
    assert_eq!(choices[0], asked(value!(text))[0], "ids and their text");
    let numbers = &choices[0]["logprobs"];
    let [own, top] =
        ["token_logprobs", "top_logprobs"].map(|key| numbers[key].as_array().expect("an array"));
    assert_eq!((own.len(), top.len()), (ids.len() + 1, ids.len() + 1));
    assert!(own[0].is_null());
    let reading = super::json(&["inspect", &id, "--text", text]);
    let losses = reading["loss"].as_array().expect("losses");
    for at in 1..ids.len() {
        let found = number(&own[at]);
        assert!((found + number(&losses[at])).abs() < 1e-4, "{at}");
        let best = top[at]
            .as_object()
            .expect("one")
            .values()
            .next()
            .expect("one");
        assert!(number(best) >= found);
    }
    // Both numbers of the new token are the likeliest's.
    assert_eq!(
        own.last(),
        top.last()
            .expect("one")
            .as_object()
            .expect("one")
            .values()
            .next()
    );
    assert_eq!(
        choices[1]["logprobs"]["tokens"]
            .as_array()
            .expect("tokens")
            .len(),
        6
    );

    // A token that is drawn has its own probability, not the likeliest's.
    let body = value!({"prompt": "the ship", "max_tokens": 1, "logprobs": 1, "temperature": 5.0, "seed": 3});
    let drawn = serving.post("/v1/completions", &body)["choices"][0]["logprobs"].clone();
    let best = drawn["top_logprobs"][0].as_object().expect("one");
    let (best, best_number) = best.iter().next().expect("one");
    assert_ne!(
        drawn["tokens"][0],
        best.as_str(),
        "at this temperature another is likelier"
    );
    assert!(number(&drawn["token_logprobs"][0]) < number(best_number));

    let body = value!({"prompt": "the ship", "max_tokens": 12, "temperature": 0.0, "stop": ["\n"]});
    let more = serving.post("/v1/completions", &body);
    let whole = more["choices"][0]["text"].as_str().expect("text");
    let middle: String = whole.chars().skip(3).take(4).collect();
    let body =
        value!({"prompt": "the ship", "max_tokens": 12, "temperature": 0.0, "stop": [middle]});
    let cut = &serving.post("/v1/completions", &body)["choices"][0];
    let text = cut["text"].as_str().expect("text");
    assert!(
        whole.starts_with(text) && !text.contains(&middle),
        "{whole}: {cut}"
    );
    assert_eq!(cut["finish_reason"], "stop");
    assert!(
        !more["choices"][0]["text"]
            .as_str()
            .expect("text")
            .starts_with("the ship")
    );
    assert!(more["choices"][0]["logprobs"].is_null());
}

#[test]
fn what_cannot_be_completed_is_refused_and_the_server_goes_on() {
    let (id, _) = run("text.yaml", "dense");
    let serving = Serving::of(&id);
    for (body, says) in [
        (
            value!({"prompt": [[9999]], "logprobs": 1}),
            "outside the run's vocabulary",
        ),
        (
            value!({"prompt": vec![65; 100], "logprobs": 1}),
            "more than the 64",
        ),
        (value!({"prompt": "a", "logprobs": 5}), "ask for 1"),
        (value!({"prompt": "a", "temperature": -1}), "temperature"),
        (value!({"prompt": {"a": 1}}), "prompt"),
        (value!({}), "prompt"),
        (
            value!({"prompt": "a", "max_tokens": 100_000}),
            "`seq_len` is 64",
        ),
        (value!({"prompt": []}), "0 prompts"),
        (value!({"prompt": "a", "n": 2}), "leave out `n`"),
    ] {
        let (status, answer) = serving.ask("POST", "/v1/completions", &body);
        assert_eq!(status, 422, "{body}: {answer}");
        let said = answer["error"].as_str().expect("a message");
        assert!(said.contains(says), "{body}: {said}");
    }
    assert_eq!(serving.ask("GET", "/api/experiments", &Value::Null).0, 404);
    assert_eq!(serving.tokens("the").len(), 1);
}

/// The program of lm-evaluation-harness, or loudly nothing.
fn harness() -> Option<PathBuf> {
    let program = std::env::var_os("LM_EVAL").map(PathBuf::from);
    if program.is_none() {
        eprintln!(
            "SKIPPED: LM_EVAL does not name lm-evaluation-harness's program, so its log-likelihoods were not compared"
        );
    }
    program
}

/// A task as the harness has it, over a file of ours.
fn declared(name: &str, kind: &str, file: &str) -> String {
    let (output, fields, delimiter) = match kind {
        "multiple_choice" => (
            kind,
            "doc_to_text: query\ndoc_to_choice: choices\ndoc_to_target: gold",
            " ",
        ),
        _ => (
            "loglikelihood",
            "doc_to_text: context\ndoc_to_target: continuation",
            "",
        ),
    };
    format!(
        "task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: '{}'}}}}\ntest_split: test\n\
         output_type: {output}\n{fields}\ntarget_delimiter: '{delimiter}'\nnum_fewshot: 0\n\
         metric_list: [{{metric: acc}}]\n",
        DESK.join(file).display()
    )
}

/// # Source
/// lm-evaluation-harness 0.4.13, `--model local-completions`.
#[test]
fn the_harness_finds_the_same_log_likelihoods() {
    let Some(program) = harness() else { return };
    let words = [
        "the ship sails",
        "far beyond Ålesund",
        "and home.",
        "sails \u{1f642}",
    ];
    let choice = |k: usize| {
        let query = ["the ship", "home. ", "beyond\n", "", "far Ålesund and"][k % 5];
        value!({"query": query, "choices": [words[k % 4], words[(k + 1) % 4]], "gold": k % 2})
    };
    let open = |k: usize| value!({"context": words[k % 4], "continuation": format!(" {}", words[(k + 1) % 4])});
    let index = "tasks:\n  choices: {file: choices.jsonl, kind: multiple_choice}\n  \
                 open: {file: open.jsonl, kind: language_modeling, delimiter: ''}\n";
    let files = [
        ("choices.jsonl", (0..10).map(choice).collect()),
        ("open.jsonl", (0..8).map(open).collect()),
    ];
    let folder = tasks("tasks-harness", index, &files);
    let declarations = DESK.join("harness-tasks");
    std::fs::create_dir_all(&declarations).expect("made");
    for (name, kind) in [
        ("choices", "multiple_choice"),
        ("open", "language_modeling"),
    ] {
        let text = declared(name, kind, &format!("{folder}/{name}.jsonl"));
        std::fs::write(declarations.join(format!("{name}.yaml")), text).expect("written");
    }
    super::trained("bytes.yaml");
    let mut most = 0.0_f64;
    for (experiment, kind) in [
        ("text.yaml", "dlcm"),
        ("text.yaml", "dense"),
        ("bytes.yaml", "dlcm"),
        ("bytes.yaml", "dense"),
    ] {
        let (id, _) = run(experiment, kind);
        let own = items(&id, &folder);
        let serving = Serving::of(&id);
        let found = DESK.join(format!("harness-{id}"));
        let arguments = format!(
            "model={id},base_url=http://{}/v1/completions,tokenizer_backend=remote,tokenized_requests=True,\
             max_length=65",
            serving.address
        );
        let output = Command::new(&program)
            .args([
                "run",
                "--model",
                "local-completions",
                "--model_args",
                &arguments,
            ])
            .args([
                "--batch_size",
                "4",
                "--tasks",
                "choices,open",
                "--log_samples",
            ])
            .arg("--include_path")
            .arg(&declarations)
            .arg("--output_path")
            .arg(&found)
            .envs([("HF_HUB_OFFLINE", "1"), ("HF_DATASETS_OFFLINE", "1")])
            .env("HF_HOME", DESK.join("huggingface"))
            .output()
            .expect("ran");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        for (task, answers) in own {
            let samples = samples(&found.join(&id), &task);
            assert_eq!(samples.len(), answers.len());
            for (sample, answer) in samples.iter().zip(&answers) {
                let found = sample["resps"].as_array().expect("answers");
                assert_eq!(found.len(), answer.candidates.len());
                for (theirs, ours) in found.iter().zip(&answer.candidates) {
                    let [likelihood, greedy] = [0, 1].map(|k| theirs[0][k].as_str().expect("text"));
                    let likelihood: f64 = likelihood.parse().expect("a number");
                    let apart = (likelihood - ours.log_likelihood).abs();
                    most = most.max(apart);
                    assert!(
                        apart < 1e-4,
                        "{experiment} {kind} {task}: {sample} {ours:?}"
                    );
                    assert_eq!(greedy == "True", ours.is_greedy, "{sample}");
                }
            }
        }
    }
    println!("log-likelihoods differ by up to {most:e}");
}

/// The samples of a task that the harness has written, in order.
fn samples(folder: &std::path::Path, task: &str) -> Vec<Value> {
    let files = std::fs::read_dir(folder).expect("written").flatten();
    let file = files
        .map(|file| file.path())
        .find(|path| {
            path.file_name().is_some_and(|name| {
                name.to_string_lossy()
                    .starts_with(&format!("samples_{task}_"))
            })
        })
        .expect("samples");
    let text = std::fs::read_to_string(file).expect("readable");
    let mut samples: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    samples.sort_by_key(|sample| sample["doc_id"].as_u64());
    samples
}
