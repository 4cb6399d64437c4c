//! A trained run behind the completions that evaluation harnesses ask for.
//!
//! `POST /v1/completions` as OpenAI's API of that name, with `echo` and `logprobs`, and vLLM's `GET /tokenizer_info`,
//! `POST /tokenize` and `POST /detokenize`, with which lm-evaluation-harness (`--model local-completions`) needs no
//! other tokenizer. Log-probabilities are those of [`Trained::predict`].

use crate::serve::{Problem, nothing};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use experiment::clock::now;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use trainer::data::SEPARATOR;
use trainer::inference::{InferenceError, Predicted, Sampling, Trained};

/// Prompts of one request.
const MOST_PROMPTS: usize = 1024;
/// New tokens of one request, where nothing is said.
const USUAL_TOKENS: usize = 16;

/// The run, which computes one answer at a time.
#[derive(Clone)]
struct Served(Arc<Mutex<Trained>>);

/// Makes the routes of a run.
pub fn routes(trained: Trained) -> Router {
    Router::new()
        .route("/v1/completions", post(completions))
        .route("/v1/models", get(models))
        .route("/tokenizer_info", get(tokenizer_info))
        .route("/tokenize", post(tokenize))
        .route("/detokenize", post(detokenize))
        .fallback(nothing)
        .with_state(Served(Arc::new(Mutex::new(trained))))
}

/// What may stand as prompts: a text or the ids of its tokens, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Prompts {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    AllIds(Vec<Vec<u32>>),
}

#[derive(Debug, Deserialize)]
struct Asked {
    prompt: Prompts,
    max_tokens: Option<usize>,
    #[serde(default)]
    echo: bool,
    logprobs: Option<usize>,
    /// Where nothing is said the model's own probabilities.
    temperature: Option<f64>,
    seed: Option<u64>,
    #[serde(default)]
    stop: Option<Stops>,
    n: Option<usize>,
    stream: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stops {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Text {
    prompt: String,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    tokens: Vec<u32>,
}

impl Served {
    /// Does work with the run, outside the server's own thread.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Trained) -> Result<T, InferenceError> + Send + 'static,
    ) -> Result<T, Problem> {
        let trained = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Work changes nothing that could be left half done.
            let trained = trained.lock().unwrap_or_else(PoisonError::into_inner);
            work(&trained)
        });
        let done = done.await.map_err(Problem::machine)?;
        done.map_err(Problem::input)
    }
}

async fn models(State(served): State<Served>) -> Result<Json<Value>, Problem> {
    let id = served.with(|trained| Ok(trained.name.clone())).await?;
    Ok(Json(
        json!({"object": "list", "data": [{"id": id, "object": "model"}]}),
    ))
}

async fn tokenizer_info(State(served): State<Served>) -> Result<Json<Value>, Problem> {
    let info = served.with(|trained| {
        let has_text = trained.vocabulary().tokenizer().is_some();
        let separator = has_text.then_some(SEPARATOR);
        Ok(json!({
            "tokenizer_class": "orchestrator",
            "eos_token": separator,
            "bos_token": separator,
            "pad_token": null,
            "chat_template": null,
            "model_max_length": trained.spec.architecture.seq_len(),
        }))
    });
    Ok(Json(info.await?))
}

async fn tokenize(
    State(served): State<Served>,
    Json(asked): Json<Text>,
) -> Result<Json<Value>, Problem> {
    let tokens = served.with(move |trained| match asked.prompt.as_str() {
        "" => Ok(json!({"count": 0, "tokens": []})),
        text => {
            let tokens = trained.encode(text)?;
            Ok(json!({"count": tokens.len(), "tokens": tokens}))
        }
    });
    Ok(Json(tokens.await?))
}

async fn detokenize(
    State(served): State<Served>,
    Json(asked): Json<Tokens>,
) -> Result<Json<Value>, Problem> {
    let text = served.with(move |trained| {
        if asked.tokens.is_empty() {
            return Ok(String::new());
        }
        trained.check(&asked.tokens)?;
        Ok(trained.vocabulary().decode(&asked.tokens)?)
    });
    Ok(Json(json!({"prompt": text.await?})))
}

async fn completions(
    State(served): State<Served>,
    Json(asked): Json<Asked>,
) -> Result<Json<Value>, Problem> {
    if let Some(wanted) = asked.logprobs.filter(|&wanted| wanted > 1) {
        return Err(Problem::input(format!(
            "`logprobs` is {wanted}: the likeliest token's is given, so ask for 1"
        )));
    }
    if asked.n.is_some_and(|n| n != 1) || asked.stream == Some(true) {
        return Err(Problem::input(
            "one completion a prompt is made, and given whole: leave out `n` and `stream`",
        ));
    }
    let answer = served.with(move |trained| {
        let prompts = prompts(trained, &asked.prompt)?;
        let choices = prompts
            .iter()
            .enumerate()
            .map(|(index, prompt)| choice(trained, index, prompt, &asked));
        let choices: Vec<(Value, usize)> = choices.collect::<Result<_, _>>()?;
        let read: usize = prompts.iter().map(Vec::len).sum();
        let written: usize = choices.iter().map(|(_, written)| written).sum();
        let choices: Vec<Value> = choices.into_iter().map(|(choice, _)| choice).collect();
        Ok(json!({
            "id": format!("cmpl-{}", trained.name),
            "object": "text_completion",
            "created": now() as u64,
            "model": trained.name,
            "choices": choices,
            "usage": {
                "prompt_tokens": read,
                "completion_tokens": written,
                "total_tokens": read + written,
            },
        }))
    });
    Ok(Json(answer.await?))
}

/// Turns prompts into tokens; an empty one is the end of what was before.
fn prompts(trained: &Trained, asked: &Prompts) -> Result<Vec<Vec<u32>>, InferenceError> {
    let encode = |text: &String| match text.as_str() {
        "" => Ok(Vec::new()),
        text => trained.encode(text),
    };
    let mut prompts = match asked {
        Prompts::Text(text) => vec![encode(text)?],
        Prompts::Texts(texts) => texts.iter().map(encode).collect::<Result<_, _>>()?,
        Prompts::Ids(ids) => vec![ids.clone()],
        Prompts::AllIds(all) => all.clone(),
    };
    if prompts.is_empty() || prompts.len() > MOST_PROMPTS {
        return Err(InferenceError::Sampling(format!(
            "{} prompts: give from 1 to {MOST_PROMPTS}",
            prompts.len()
        )));
    }
    for prompt in prompts.iter_mut().filter(|prompt| prompt.is_empty()) {
        prompt.extend(trained.separator());
    }
    for prompt in &prompts {
        trained.check(prompt)?;
    }
    Ok(prompts)
}

/// Goes on from a prompt; returns how many tokens are new, too.
fn choice(
    trained: &Trained,
    index: usize,
    prompt: &[u32],
    asked: &Asked,
) -> Result<(Value, usize), InferenceError> {
    let most = asked.max_tokens.unwrap_or(USUAL_TOKENS);
    let longest = trained.spec.architecture.seq_len();
    if most > longest {
        return Err(InferenceError::Sampling(format!(
            "`max_tokens` is {most}: the run's `seq_len` is {longest}, and it has seen nothing longer"
        )));
    }
    let temperature = asked.temperature.unwrap_or(1.0);
    let mut predicted = match asked.logprobs {
        Some(_) => Some(trained.predict(prompt)?),
        None => None,
    };
    let new = match (most, predicted.as_ref().and_then(|all| all.last())) {
        (0, _) => Vec::new(),
        // The pass has found it already.
        (1, Some(last)) if temperature == 0.0 => vec![last.likeliest],
        _ => {
            let sampling = Sampling {
                temperature,
                top_k: None,
                seed: asked.seed.unwrap_or(0),
            };
            let new = trained.generate(prompt, most, &sampling)?.tokens;
            if let Some(all) = &mut predicted {
                *all = trained.predict(&[prompt, &new].concat())?;
            }
            new
        }
    };
    let (text, finish) = stopped(trained.vocabulary().decode(&new)?, asked);
    let shown = if asked.echo { prompt } else { &[] };
    let text = match shown {
        [] => text,
        shown => trained.vocabulary().decode(shown)? + &text,
    };
    let from = if asked.echo { 0 } else { prompt.len() };
    let all = [prompt, &new].concat();
    let logprobs = predicted.map(|predicted| logprobs(trained, &all, from, &predicted));
    let choice =
        json!({"index": index, "text": text, "finish_reason": finish, "logprobs": logprobs});
    Ok((choice, new.len()))
}

/// Cuts a text before whatever it is to stop at; returns why it ends, too.
fn stopped(mut text: String, asked: &Asked) -> (String, &'static str) {
    let stops = match &asked.stop {
        None => &[],
        Some(Stops::One(stop)) => std::slice::from_ref(stop),
        Some(Stops::Several(stops)) => stops.as_slice(),
    };
    let found = stops.iter().filter(|stop| !stop.is_empty());
    match found.filter_map(|stop| text.find(stop.as_str())).min() {
        Some(end) => {
            text.truncate(end);
            (text, "stop")
        }
        None => (text, "length"),
    }
}

/// Log-probabilities of tokens from one on; nothing is known of the very first.
fn logprobs(trained: &Trained, all: &[u32], from: usize, predicted: &[Predicted]) -> Value {
    let text = |id: u32| trained.vocabulary().token_text(id);
    let (mut tokens, mut own, mut top, mut offsets) = (vec![], vec![], vec![], vec![]);
    let mut offset = 0;
    for (at, &id) in all.iter().enumerate().skip(from) {
        let before = at.checked_sub(1).map(|at| predicted[at]);
        // That of a token that was just made is the likeliest's.
        let known = before.map(|before| {
            before
                .log_probability
                .unwrap_or(before.likeliest_log_probability)
        });
        let best = before
            .map(|before| json!({ text(before.likeliest): before.likeliest_log_probability }));
        offsets.push(offset);
        offset += text(id).chars().count();
        tokens.push(text(id));
        own.push(known);
        top.push(best);
    }
    json!({"tokens": tokens, "token_logprobs": own, "top_logprobs": top, "text_offset": offsets})
}
