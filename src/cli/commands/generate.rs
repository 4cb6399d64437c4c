//! `orchestrator generate`: let a trained run go on from a prompt.

use crate::cli::Failure;
use crate::cli::terminal::{harmless, note, print};
use crate::cli::trained::{TrainedArgs, parse_tokens};
use experiment::quantity::human;
use std::process::ExitCode;
use trainer::inference::{Generated, Sampling, Trained};

/// Let a trained run go on from a prompt.
///
/// Decodes token by token with key/value caches: token-level attention keeps its window, and the
/// concept backbone runs once a concept. The text goes to standard output; what it took goes to
/// standard error: the time, and the FLOPs executed for each new token, beside those of a dense
/// model of equal N at the same positions. Positions beyond the run's `seq_len` are computed too,
/// with a warning: no training has reached them.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  orchestrator generate 3f2a --prompt \"Once upon\" --tokens 200 \
    --temperature 0.8"
)]
#[command(group(clap::ArgGroup::new("from").required(true).args(["prompt", "prompt_tokens"])))]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    trained: TrainedArgs,

    /// The text to go on from.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,

    /// The token ids to go on from, for data that are not text.
    #[arg(long, value_name = "IDS")]
    prompt_tokens: Option<String>,

    /// Tokens to generate.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    tokens: u32,

    /// Divides the logits: 0 takes the likeliest token, 1 draws by the model's probabilities.
    #[arg(
        long,
        value_name = "T",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    temperature: f64,

    /// Draw among so many likeliest tokens only.
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,

    /// Seed of the draws.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,

    /// Print one JSON object instead.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let trained = args.trained.load()?;
    let prompt = match (&args.prompt, &args.prompt_tokens) {
        (Some(text), _) => trained.encode(text)?,
        (None, ids) => parse_tokens(ids.as_deref().unwrap_or_default())?,
    };
    let sampling = Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        seed: args.seed,
    };
    let generated = trained.generate(&prompt, args.tokens as usize, &sampling)?;
    let seq_len = trained.spec.architecture.seq_len();
    if generated.read > seq_len {
        note!("warning: this run was trained on {seq_len} positions; later ones are untried");
    }
    if args.json {
        print(&format!(
            "{}\n",
            json(&trained, &prompt, &generated, &sampling)?
        ))?;
    } else {
        let all = [&prompt[..], &generated.tokens].concat();
        print(&format!(
            "{}\n",
            harmless(trained.vocabulary().decode(&all)?)
        ))?;
        note!("{}", summary(prompt.len(), &generated));
    }
    Ok(ExitCode::SUCCESS)
}

fn tokens_per_second(generated: &Generated) -> f64 {
    generated.tokens.len() as f64 / generated.elapsed.as_secs_f64()
}

fn tokens_per_concept(generated: &Generated) -> Option<f64> {
    let concepts = generated.concepts?;
    Some(generated.read as f64 / concepts as f64)
}

fn summary(prompt: usize, generated: &Generated) -> String {
    let mut text = format!(
        "prompt {prompt} tokens, generated {} in {:.2} s: {:.0} tokens/s, {}FLOP a token",
        generated.tokens.len(),
        generated.elapsed.as_secs_f64(),
        tokens_per_second(generated),
        spaced(generated.flops_per_token),
    );
    if let Some(ratio) = tokens_per_concept(generated) {
        text += &match generated.dense_flops_per_token {
            Some(dense) => format!(" (dense of equal N: {}FLOP)", spaced(dense)),
            None => " (no dense model has this N)".to_owned(),
        };
        text += &format!(", {ratio:.2} tokens a concept");
    }
    text
}

/// Writes a number with a space before its suffix, as in `0.61 M`.
fn spaced(value: f64) -> String {
    let text = human(value).replace('B', "G");
    let digits = text.trim_end_matches(char::is_alphabetic);
    format!("{digits} {}", &text[digits.len()..])
}

fn json(
    trained: &Trained,
    prompt: &[u32],
    generated: &Generated,
    sampling: &Sampling,
) -> Result<serde_json::Value, Failure> {
    Ok(serde_json::json!({
        "run": trained.spec.id(),
        "prompt_tokens": prompt,
        "prompt": trained.vocabulary().decode(prompt)?,
        "tokens": generated.tokens,
        "text": trained.vocabulary().decode(&generated.tokens)?,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "seed": sampling.seed,
        "seq_len": trained.spec.architecture.seq_len(),
        "positions": generated.read,
        "concepts": generated.concepts,
        "tokens_per_concept": tokens_per_concept(generated),
        "seconds": generated.elapsed.as_secs_f64(),
        "tokens_per_second": tokens_per_second(generated),
        "flops_per_token": generated.flops_per_token,
        "dense_flops_per_token": generated.dense_flops_per_token,
    }))
}
