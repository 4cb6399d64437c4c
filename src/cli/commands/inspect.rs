//! `orchestrator inspect`: what a trained run makes of a text.

use crate::cli::Failure;
use crate::cli::find_run::Stored;
use crate::cli::terminal::{harmless, note, print, wants_colour};
use crate::cli::trained::{TrainedArgs, parse_tokens};
use campaign::store::{ReadContent, ReadPosition, ReadingRecord, Store};
use experiment::clock::now;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use trainer::data;
use trainer::inference::position::{AtPosition, LAST, by_position};
use trainer::inference::{InferenceError, Reading, Totals, Trained};

/// Show what a trained run makes of a text: its concepts, and how well it predicts each token.
///
/// The run reads in evaluation mode, where the same text gives the same numbers. On a terminal
/// concepts alternate in colour; elsewhere, and with NO_COLOR, `|` separates them. Several files
/// give a table of tokens per concept by content.
///
/// A text longer than the run's `seq_len` is read in windows of that length, as in validation.
/// Each window starts afresh with a concept of its own (p = 1); the loss of its first token is its
/// prediction at the end of the window before. Only the very first token has no loss.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    orchestrator inspect 3f2a --text \"Once upon a time\" --per-token\n  \
    orchestrator inspect 3f2a --file english=a.txt --file chinese=b.txt\n  \
    orchestrator inspect 3f2a --file a.txt --by-position --against 9c01")]
#[command(group(clap::ArgGroup::new("source").required(true).args(["text", "file", "tokens"])))]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    trained: TrainedArgs,

    /// The text.
    #[arg(long, value_name = "STRING", allow_hyphen_values = true)]
    text: Option<String>,

    /// A UTF-8 file, with a label if you like; give several to compare them.
    #[arg(long, value_name = "[LABEL=]FILE")]
    file: Vec<String>,

    /// Token ids, separated by commas.
    #[arg(long, value_name = "IDS")]
    tokens: Option<String>,

    /// Print a line a token: id, text, p, boundary, concept, loss.
    #[arg(long)]
    per_token: bool,

    /// Print loss by position inside a concept, over all texts: 0 is the token that starts it.
    #[arg(long)]
    by_position: bool,

    /// Another run of the same data, a dense one perhaps: what RUN gains over it by position.
    #[arg(long, value_name = "RUN2", requires = "by_position")]
    against: Option<String>,

    /// Keep what was found in the run's database, from which `orchestrator plot` draws it.
    #[arg(long, requires = "file")]
    keep: bool,

    /// Print one JSON object; a dense run's boundaries and concepts are null.
    #[arg(long)]
    json: bool,
}

/// Something that was read.
struct Content {
    label: Option<String>,
    reading: Reading,
    totals: Totals,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let trained = args.trained.load()?;
    let contents = read(args, &trained)?;
    let positions = if args.by_position {
        Some(positions(args, &trained, &contents)?)
    } else {
        None
    };
    print(&if args.json {
        format!(
            "{}\n",
            object(args, &trained, &contents, positions.as_deref())
        )
    } else {
        words(args, &trained, &contents, positions.as_deref())
    })?;
    if args.keep {
        keep(args, &trained, &contents, positions.unwrap_or_default())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps the totals of each text, and the losses by position.
fn keep(
    args: &Args,
    trained: &Trained,
    contents: &[Content],
    positions: Vec<AtPosition>,
) -> Result<(), Failure> {
    let contents = contents
        .iter()
        .map(|Content { label, totals, .. }| ReadContent {
            label: label.clone().unwrap_or_default(),
            tokens: totals.tokens,
            tokens_per_concept: totals.tokens_per_concept,
            loss: totals.loss,
        });
    let positions = positions.into_iter().map(|at| ReadPosition {
        position: at.position,
        tokens: at.tokens,
        loss: at.loss,
        gain: at.gain,
    });
    let against = args.against.as_ref();
    let against = against
        .map(|run| args.trained.load_other(run))
        .transpose()?;
    let reading = ReadingRecord {
        run: trained.spec.id(),
        against: against.map(|other| other.spec.id()),
        contents: contents.collect(),
        positions: positions.collect(),
    };
    crate::cli::block_on(async {
        let Stored { results, store, .. } = args.trained.stored().await?;
        store.close().await;
        let store = Store::open(&results).await?;
        store.save_reading(&reading, now()).await?;
        note!(
            "kept in {}: `orchestrator plot` draws it",
            results.display()
        );
        Ok(())
    })
}

/// What people read.
fn words(
    args: &Args,
    trained: &Trained,
    contents: &[Content],
    positions: Option<&[AtPosition]>,
) -> String {
    let mut text = String::new();
    if args.per_token {
        for content in contents {
            if let (Some(label), 2..) = (&content.label, contents.len()) {
                text += &format!("{label}\n");
            }
            text += &per_token(trained, &content.reading);
        }
    }
    match contents {
        [content] if args.per_token => text += &in_words(content),
        [content] => text += &(by_concept(trained, &content.reading) + "\n" + &in_words(content)),
        _ => text += &by_content(contents),
    }
    if let Some(positions) = positions {
        text.push('\n');
        text += &position_table(positions, args.against.is_some());
    }
    text
}

/// Reads what the arguments name.
fn read(args: &Args, trained: &Trained) -> Result<Vec<Content>, Failure> {
    let content = |label: Option<String>, tokens: Vec<u32>, text: Option<&str>| {
        let reading = trained.read(&tokens)?;
        // The text's own length, where it is known, is exact for every tokenizer.
        let vocabulary = trained.vocabulary();
        let totals = reading.totals(match text {
            Some(text) => vocabulary.bytes_of(text, &tokens),
            None => vocabulary.bytes(&tokens),
        });
        Ok::<_, InferenceError>(Content {
            label,
            reading,
            totals,
        })
    };
    if let Some(ids) = &args.tokens {
        return Ok(vec![content(None, parse_tokens(ids)?, None)?]);
    }
    if let Some(text) = &args.text {
        return Ok(vec![content(None, trained.encode(text)?, Some(text))?]);
    }
    let files = args.file.iter().map(|given| {
        let (label, path) = labelled(given);
        let text = data::read_text(Path::new(path))?;
        trained
            .encode(&text)
            .and_then(|tokens| content(Some(label), tokens, Some(&text)))
            .map_err(|error| Failure::input(format!("{path}: {error}")))
    });
    files.collect()
}

/// Splits a label from a path; without one the file's name is it.
fn labelled(given: &str) -> (String, &str) {
    match given.split_once('=') {
        // A file may have the sign in its name.
        Some((label, path)) if !Path::new(given).exists() => (label.to_owned(), path),
        _ => {
            let name = Path::new(given).file_name();
            let name = name.map_or(given.into(), |name| name.to_string_lossy());
            (name.into_owned(), given)
        }
    }
}

fn positions(
    args: &Args,
    trained: &Trained,
    contents: &[Content],
) -> Result<Vec<AtPosition>, Failure> {
    let id = trained.spec.id();
    if !trained.spec.architecture.has_concepts() {
        return Err(InferenceError::NoConcepts(id).into());
    }
    let other = match &args.against {
        Some(run) => Some(args.trained.load_other(run)?),
        None => None,
    };
    if let Some(other) = &other
        && other.spec.facts.fingerprint != trained.spec.facts.fingerprint
    {
        return Err(InferenceError::OtherTokens(id, other.spec.id()).into());
    }
    let readings = contents.iter().map(|content| {
        let reading = content.reading.clone();
        let other = match &other {
            Some(other) => Some(other.read(&reading.tokens)?),
            None => None,
        };
        Ok::<_, InferenceError>((reading, other))
    });
    Ok(by_position(&readings.collect::<Result<Vec<_>, _>>()?))
}

/// Writes the text concept by concept.
fn by_concept(trained: &Trained, reading: &Reading) -> String {
    let tokens = &reading.tokens;
    let starts = reading.segmentation.as_ref().map(|it| &it.boundaries);
    let starts = |t: usize| starts.is_some_and(|starts| starts[t]);
    let mut texts = Vec::new();
    let mut from = 0;
    for t in 1..=tokens.len() {
        if t == tokens.len() || starts(t) {
            texts.push(harmless(trained.vocabulary().shown(&tokens[from..t])));
            from = t;
        }
    }
    let coloured = reading.segmentation.is_some() && std::io::stdout().is_terminal();
    if coloured && wants_colour() {
        paint(&texts)
    } else {
        texts.join("|")
    }
}

/// Gives texts two backgrounds in turn, so that white space shows whose it is; not across line
/// ends, where a terminal would fill the rest of the line.
fn paint(texts: &[String]) -> String {
    let painted = texts.iter().enumerate().map(|(turn, text)| {
        let start = ["\x1b[30;46m", "\x1b[30;43m"][turn % 2];
        let lines = text.split('\n').map(|line| match line {
            "" => String::new(),
            line => format!("{start}{line}\x1b[0m"),
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    painted.collect()
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

fn in_words(content: &Content) -> String {
    let totals = &content.totals;
    let mut parts = vec![format!("{} tokens", totals.tokens)];
    if let (Some(concepts), Some(ratio)) = (totals.concepts, totals.tokens_per_concept) {
        parts.push(format!("{concepts} concepts"));
        parts.push(format!("{ratio:.2} tokens a concept"));
    }
    if let Some(loss) = totals.loss {
        parts.push(format!("loss {loss:.4} nats a token"));
    }
    if let Some(bits) = totals.bits_per_byte {
        parts.push(format!("{bits:.4} bits a byte"));
    }
    let window = content.reading.window;
    if totals.tokens > window {
        parts.push(format!("in windows of {window}"));
    }
    parts.join(", ") + "\n"
}

fn per_token(trained: &Trained, reading: &Reading) -> String {
    let segmentation = reading.segmentation.as_ref();
    let concepts = segmentation.map(|segmentation| segmentation.concepts());
    let mut text = format!(
        "{:>7}  {:<12}  {:>6}  {:>8}  {:>7}  {:>7}\n",
        "id", "text", "p", "boundary", "concept", "loss"
    );
    for (t, &token) in reading.tokens.iter().enumerate() {
        let shown = format!("{:?}", trained.vocabulary().token_text(token));
        let p = segmentation.map(|it| f64::from(it.probabilities[t]));
        let starts = segmentation.is_some_and(|it| it.boundaries[t]);
        let concept = concepts.as_ref();
        let loss = t.checked_sub(1).map(|t| f64::from(reading.losses[t]));
        text += &format!(
            "{token:>7}  {shown:<12}  {:>6}  {:>8}  {:>7}  {:>7}\n",
            number(p, 4),
            if starts { "|" } else { "" },
            concept.map_or("-".to_owned(), |concepts| concepts[t].to_string()),
            number(loss, 4)
        );
    }
    text
}

fn by_content(contents: &[Content]) -> String {
    let label = |content: &Content| content.label.clone().unwrap_or_default();
    let longest = contents
        .iter()
        .map(|content| label(content).chars().count());
    let width = longest.max().unwrap_or(0).max("content".len());
    let mut text = format!(
        "{:<width$}  {:>8}  {:>8}  {:>14}  {:>7}  {:>11}\n",
        "content", "tokens", "concepts", "tokens/concept", "loss", "bytes/token"
    );
    for content in contents {
        let totals = &content.totals;
        let concepts = totals.concepts.map(|concepts| concepts as f64);
        text += &format!(
            "{:<width$}  {:>8}  {:>8}  {:>14}  {:>7}  {:>11}\n",
            label(content),
            totals.tokens,
            number(concepts, 0),
            number(totals.tokens_per_concept, 2),
            number(totals.loss, 4),
            number(totals.bytes_per_token, 2)
        );
    }
    text
}

fn position_table(positions: &[AtPosition], compared: bool) -> String {
    let mut text = format!("{:>8}  {:>8}  {:>7}", "position", "tokens", "loss");
    if compared {
        text += &format!("  {:>7}  {:>7}", "against", "gain");
    }
    text.push('\n');
    for row in positions {
        let position = match row.position {
            LAST => format!("{LAST}+"),
            position => position.to_string(),
        };
        text += &format!(
            "{position:>8}  {:>8}  {:>7}",
            row.tokens,
            number(row.loss, 4)
        );
        if compared {
            text += &format!(
                "  {:>7}  {:>7}",
                number(row.against, 4),
                number(row.gain, 4)
            );
        }
        text.push('\n');
    }
    text
}

/// One content gives its tokens, several give their totals, and their tokens when asked to.
fn object(
    args: &Args,
    trained: &Trained,
    contents: &[Content],
    positions: Option<&[AtPosition]>,
) -> Value {
    let mut object = match contents {
        [content] => arrays(trained, content),
        _ => {
            let contents = contents.iter().map(|content| {
                if args.per_token {
                    arrays(trained, content)
                } else {
                    json!({ "label": content.label, "totals": content.totals })
                }
            });
            json!({ "contents": contents.collect::<Vec<_>>() })
        }
    };
    object["run"] = json!(trained.spec.id());
    if let Some(positions) = positions {
        object["by_position"] = json!(positions);
    }
    object
}

fn arrays(
    trained: &Trained,
    Content {
        label,
        reading,
        totals,
    }: &Content,
) -> Value {
    let text = reading
        .tokens
        .iter()
        .map(|&token| trained.vocabulary().token_text(token));
    let losses = reading.losses.iter().map(|&loss| Some(loss));
    let segmentation = reading.segmentation.as_ref();
    json!({
        "label": label,
        "window": reading.window,
        "threshold": trained.threshold,
        "tokens": reading.tokens,
        "text": text.collect::<Vec<_>>(),
        "boundary_probability": segmentation.map(|it| &it.probabilities),
        "boundary": segmentation.map(|it| &it.boundaries),
        "concept": segmentation.map(|it| it.concepts()),
        // Nothing predicts the first token.
        "loss": std::iter::once(None).chain(losses).collect::<Vec<_>>(),
        "totals": totals,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_alternate_and_stop_at_line_ends() {
        let texts = ["a b".to_owned(), "c\n\nd".to_owned(), "e".to_owned()];
        let (blue, yellow, end) = ("\x1b[30;46m", "\x1b[30;43m", "\x1b[0m");
        assert_eq!(
            paint(&texts),
            format!("{blue}a b{end}{yellow}c{end}\n\n{yellow}d{end}{blue}e{end}")
        );
    }

    #[test]
    fn a_label_stands_before_the_first_sign() {
        assert_eq!(labelled("english=a/b.txt"), ("english".into(), "a/b.txt"));
        assert_eq!(labelled("a/b.txt"), ("b.txt".into(), "a/b.txt"));
        assert_eq!(labelled("x=y=z"), ("x".into(), "y=z"));
    }
}
