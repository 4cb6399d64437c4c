//! The kinds of input, and what the program makes of one.

use super::mutant::{EXTREMES, Mutant};
use super::program;
use super::seeds::*;
use campaign::orchestrate::{Tail, rebuild};
use campaign::store::Store;
use experiment::folder::{DATABASE, JOURNAL, ResultsFolder, SPECIFICATION};
use experiment::grid::{self, GridError, schema};
use experiment::plan::plan;
use experiment::run::{DataFacts, DataSpec, Paths, RunId, RunSpec, TokenWidth, TokenizerSpec};
use miette::{GraphicalReportHandler, GraphicalTheme};
use orchestrator::application::Asked;
use orchestrator::rows::{Selection, Table};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use scaling_law::analysis::Policy;
use scaling_law::study::Checks;
use serde_json::Value;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;
use trainer::data::{Batches, prepare};
use trainer::train::journal::Journal;

/// What the program makes of an input.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// It is read, as this.
    Accepted(String),
    /// It is refused, with this message.
    Refused(String),
    /// Neither may be.
    Wrong(String),
}

impl Answer {
    /// Says whether two answers are one: where threads read together, another may be the first to find
    /// something wrong.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Refused(_), Self::Refused(_))) || self == other
    }
}

/// A kind of input.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// How the name of such a file ends.
    pub(super) ending: &'static str,
    /// Whether it has lines and words.
    pub(super) is_text: bool,
    /// Good inputs.
    pub(super) seeds: fn() -> Vec<Vec<u8>>,
    /// How a mutant is made, where that is not by damaging a good input.
    pub(super) mutate: Option<fn(&mut ChaCha8Rng) -> Mutant>,
    /// What the program makes of one, in an empty folder.
    pub(super) judge: fn(&Path, &[u8]) -> Answer,
    /// Whether asking twice takes too long.
    pub(super) once: bool,
    /// The time after which it hangs.
    pub(super) patience: Duration,
    /// How many mutants the short form judges.
    pub(super) few: u64,
}

const PATIENCE: Duration = Duration::from_secs(20);

const fn in_process(
    name: &'static str,
    ending: &'static str,
    is_text: bool,
    seeds: fn() -> Vec<Vec<u8>>,
    judge: fn(&Path, &[u8]) -> Answer,
    few: u64,
) -> Kind {
    Kind {
        name,
        ending,
        is_text,
        seeds,
        mutate: None,
        judge,
        once: false,
        patience: PATIENCE,
        few,
    }
}

pub(super) const KINDS: &[Kind] = &[
    in_process(
        "experiment file",
        ".yaml",
        true,
        experiments,
        experiment_file,
        120,
    ),
    Kind {
        mutate: Some(setting),
        ..in_process("--set", ".txt", true, experiments, set, 80)
    },
    in_process("CSV table", ".csv", true, csv_tables, csv_table, 60),
    in_process(
        "JSON-lines table",
        ".jsonl",
        true,
        json_tables,
        json_table,
        30,
    ),
    in_process(
        "Parquet table",
        ".parquet",
        false,
        parquet_tables,
        parquet_table,
        30,
    ),
    in_process("tokenizer", ".json", true, tokenizers, tokenizer, 30),
    in_process("token file", ".bin", false, token_files, token_file, 30),
    in_process("text", ".txt", true, texts, text, 30),
    in_process("JSON-lines text", ".jsonl", true, json_texts, json_text, 20),
    in_process("run.json", ".json", true, specifications, specification, 60),
    in_process("journal", ".jsonl", true, journals, journal, 10),
    in_process("database", ".db", false, databases, database, 10),
    program::CHECK,
    program::TRAIN,
    program::ARGUMENTS,
];

pub(super) fn refused(error: impl Display) -> Answer {
    Answer::Refused(error.to_string())
}

/// Says of what is printed to a terminal whether a terminal would act on it.
pub(super) fn acts_on_terminal(text: &str) -> bool {
    text.contains(|c: char| c.is_control() && !"\n\t".contains(c))
}

/// Refuses with the message as it is printed.
fn refused_file(error: &GridError) -> Answer {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    handler
        .render_report(&mut text, error)
        .expect("writing into a string");
    if acts_on_terminal(&text) {
        Answer::Wrong(format!("a terminal acts on {text:?}"))
    } else {
        Answer::Refused(error.to_string())
    }
}

/// What a file asks for: its plan and all that its runs' names do not say.
fn planned(experiment: Result<grid::Experiment, GridError>) -> Answer {
    const MANY: usize = 20_000;
    let experiment = match experiment {
        Ok(experiment) => experiment,
        Err(error) => return refused_file(&error),
    };
    let facts = |spec: &DataSpec| {
        Some(DataFacts {
            fingerprint: format!("{spec:?}"),
            vocab: 300,
            train_tokens: 500_000,
            validation_tokens: 50_000,
            bytes_per_token: None,
            entropy_floor: None,
        })
    };
    let runs = match experiment.cells.len() {
        0..MANY => plan(&experiment, &facts),
        _ => Ok(Vec::new()),
    };
    let grid::Experiment {
        name,
        cells,
        tune,
        analysis,
        execution,
        ..
    } = experiment;
    match runs {
        Err(error) => refused_file(&error),
        Ok(runs) => {
            let runs: Vec<String> = runs
                .iter()
                .map(|run| format!("{} {} {}", run.id, run.flops, run.memory))
                .collect();
            let cells = cells.len();
            Answer::Accepted(format!(
                "{name} {cells} {tune:?} {analysis:?} {execution:?} {runs:?}"
            ))
        }
    }
}

fn experiment_file(_: &Path, bytes: &[u8]) -> Answer {
    match grid::decode("probe.yaml", bytes.to_vec()) {
        Ok(text) => planned(grid::parse("probe.yaml", &text)),
        Err(error) => refused_file(&error),
    }
}

/// Replaces the value of a key by one that nobody would give.
fn setting(rng: &mut ChaCha8Rng) -> Mutant {
    let mut keys = Vec::new();
    keys_of(&schema(), "", &mut keys);
    let key = keys.choose(rng).expect("a key");
    let value = EXTREMES.choose(rng).expect("a value");
    let mut bytes = format!("{key}={value}").into_bytes();
    if rng.random_ratio(1, 20) {
        let at = rng.random_range(0..bytes.len());
        bytes[at] = rng.random();
    }
    let edit = Some(format!("{key}={value}"));
    Mutant {
        bytes,
        class: "value replaced",
        edit,
    }
}

/// Lists the dotted paths of an experiment's keys.
fn keys_of(schema: &Value, path: &str, keys: &mut Vec<String>) {
    let forms = schema["anyOf"].as_array().into_iter().flatten();
    for mapping in forms.chain([schema]) {
        for (name, inner) in mapping["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            keys_of(inner, &path, keys);
            keys.push(path);
        }
    }
}

fn set(_: &Path, bytes: &[u8]) -> Answer {
    let given = String::from_utf8_lossy(bytes);
    let overrides: Vec<(String, String)> = match given.split_once('=') {
        Some((path, value)) => vec![(path.to_owned(), value.to_owned())],
        None => Vec::new(),
    };
    planned(grid::parse_with_overrides("probe.yaml", BASE, &overrides))
}

/// Reads a table and fits a law to it.
fn table(folder: &Path, name: &str, bytes: &[u8]) -> Answer {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("written");
    let table = match Table::read(&path) {
        Ok(table) => table,
        Err(error) => return refused(error),
    };
    let policy = Policy {
        draws: Some(4),
        ..Policy::default()
    };
    let asked = Asked::of_table(table, Selection::default());
    match asked.fit("chinchilla", &policy, Checks::NONE) {
        Ok(studied) => {
            let report = studied.report;
            Answer::Accepted(format!("{:?} {:?}", report.parameters, report.excluded))
        }
        Err(error) => refused(error),
    }
}

fn csv_table(folder: &Path, bytes: &[u8]) -> Answer {
    table(folder, "probe.csv", bytes)
}

fn json_table(folder: &Path, bytes: &[u8]) -> Answer {
    table(folder, "probe.jsonl", bytes)
}

fn parquet_table(folder: &Path, bytes: &[u8]) -> Answer {
    table(folder, "probe.parquet", bytes)
}

/// Prepares data and reads sequences of them.
fn dataset(folder: &Path, spec: &DataSpec) -> Answer {
    let dataset = match prepare(spec, &folder.join("cache")) {
        Ok(dataset) => dataset,
        Err(error) => return refused(error),
    };
    let batches = match Batches::new(&dataset, 16, 0) {
        Ok(batches) => batches,
        Err(error) => return refused(error),
    };
    let mut first = vec![0; 17];
    batches.sequence(0, &mut first);
    let rows: Vec<Vec<u32>> = batches.validation(2).collect();
    match rows
        .iter()
        .flatten()
        .chain(&first)
        .find(|id| **id as usize >= dataset.facts.vocab)
    {
        Some(id) => Answer::Wrong(format!("{id} is no token of {}", dataset.facts.vocab)),
        None => Answer::Accepted(format!("{:?} {first:?} {rows:?}", dataset.facts)),
    }
}

fn text_data(folder: &Path, name: &str, bytes: &[u8], tokenizer: TokenizerSpec) -> Answer {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("written");
    let text = vec![path.display().to_string()];
    dataset(folder, &DataSpec::text(text, tokenizer, 0.2))
}

fn text(folder: &Path, bytes: &[u8]) -> Answer {
    text_data(
        folder,
        "probe.txt",
        bytes,
        TokenizerSpec::Bpe { vocab: 270 },
    )
}

fn json_text(folder: &Path, bytes: &[u8]) -> Answer {
    text_data(folder, "probe.jsonl", bytes, TokenizerSpec::Bytes)
}

fn tokenizer(folder: &Path, bytes: &[u8]) -> Answer {
    let path = folder.join("tokenizer.json");
    std::fs::write(&path, bytes).expect("written");
    text_data(
        folder,
        "probe.txt",
        PROSE.repeat(12).as_bytes(),
        TokenizerSpec::File { path },
    )
}

fn token_file(folder: &Path, bytes: &[u8]) -> Answer {
    let train = folder.join("probe.bin");
    std::fs::write(&train, bytes).expect("written");
    let spec = DataSpec::Tokens {
        train: Paths::One(train.display().to_string()),
        validation: None,
        width: Some(TokenWidth::U16),
        vocab: 300,
        validation_share: 0.2,
        accept_doubtful: false,
    };
    dataset(folder, &spec)
}

fn specification(_: &Path, bytes: &[u8]) -> Answer {
    let spec = match RunSpec::read(bytes) {
        Ok(spec) => spec,
        Err(error) => return refused(error),
    };
    let steps = spec.recipe.steps(spec.architecture.seq_len());
    let (params, own) = (spec.architecture.params(), spec.own_tokens());
    let rates = [0, steps / 2, steps].map(|step| spec.recipe.schedule.at(step, steps));
    Answer::Accepted(format!("{spec:?} {} {params:?} {own} {rates:?}", spec.id()))
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// Reads a journal as both sides do, and makes a database of it.
fn journal(folder: &Path, bytes: &[u8]) -> Answer {
    let run = ResultsFolder(folder).run(&RunId(RUN.into()));
    std::fs::create_dir_all(&run).expect("a folder");
    std::fs::write(run.join(SPECIFICATION), of_run(SPECIFICATION)).expect("written");
    std::fs::write(run.join(JOURNAL), bytes).expect("written");
    let lines = match Tail::new(&run).read() {
        Ok(lines) => lines,
        Err(error) => return refused(error),
    };
    if let Err(error) = Journal::open(&run) {
        return refused(error);
    }
    let made = runtime().block_on(async {
        let store = Store::create(folder)
            .await
            .map_err(|error| error.to_string())?;
        let rebuilt = rebuild(folder, &store)
            .await
            .map_err(|error| error.to_string())?;
        let rows = store
            .measurements(&RunId(RUN.into()))
            .await
            .map_err(|error| error.to_string())?;
        Ok::<_, String>((rebuilt.runs, rows))
    });
    match made {
        Ok(made) => Answer::Accepted(format!("{lines:?} {made:?}")),
        Err(error) => refused(error),
    }
}

/// Brings a database up to date and reads what it holds.
fn database(folder: &Path, bytes: &[u8]) -> Answer {
    std::fs::write(folder.join(DATABASE), bytes).expect("written");
    let read = runtime().block_on(async {
        let wrong = |error: campaign::store::StoreError| error.to_string();
        let store = Store::open(folder).await.map_err(wrong)?;
        let mut found = String::new();
        for name in store.experiments().await.map_err(wrong)? {
            let Some(id) = store.experiment(&name).await.map_err(wrong)? else {
                return Err(format!("`{name}` is not there"));
            };
            let asked = Asked::of_experiment(&store, id, &name, None, Selection::default());
            let asked = asked.await.map_err(|error| error.to_string())?;
            found += &format!(
                "{name} {:?} {:?}",
                asked.table,
                store.tally(id).await.map_err(wrong)?
            );
            for run in store.runs(id).await.map_err(wrong)? {
                found += &format!(
                    "{run:?} {:?}",
                    store.measurements(&run.id).await.map_err(wrong)?
                );
            }
        }
        Ok(found)
    });
    match read {
        Ok(found) => Answer::Accepted(found),
        Err(error) => refused(error),
    }
}
