//! `orchestrator init`: an experiment to start from.

use crate::cli::Failure;
use crate::cli::terminal::print;
use experiment::grid;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write an experiment file to start from, with a comment on every line that one changes first.
///
/// Without --text a synthetic language is generated, so that it runs as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator init my --text 'corpus/*.jsonl'")]
pub(in crate::cli) struct Args {
    /// The experiment's name: NAME.yaml is written.
    #[arg(value_name = "NAME", default_value = "experiment")]
    name: PathBuf,

    /// Your text: files or patterns in quotes; plain, JSON lines or Parquet, compressed or not.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    text: Vec<PathBuf>,
}

const TEMPLATE: &str = include_str!("init.yaml");

const SYNTHETIC: &str = "# No `data`: a synthetic language is generated. Your own text, plain, JSON lines or Parquet:\n#\n\
                         # data:\n#   text: [corpus/*.jsonl]         # relative to this file\n\
                         #   tokenizer: {bpe: {vocab: 1024}}\n";

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let file = match args.name.extension() {
        Some(ending) if ending == "yaml" || ending == "yml" => args.name.clone(),
        _ => PathBuf::from(format!("{}.yaml", args.name.display())),
    };
    let shown = file.display().to_string();
    let text = written(&shown, &paths(&file, &args.text)?);
    // What is written is right, whatever it was called.
    grid::parse(&shown, &text)?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::input(format!("{}: {error}", folder.display())))?;
    }
    let new = OpenOptions::new().write(true).create_new(true).open(&file);
    let mut new = new.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::input(format!(
            "{shown} is there already: give another name, as in `orchestrator init my-experiment`"
        )),
        _ => Failure::input(format!("cannot write {shown}: {error}")),
    })?;
    new.write_all(text.as_bytes()).map_err(Failure::machine)?;
    print(&format!(
        "{shown} is written. Next:\n  orchestrator check {shown}\n  orchestrator run {shown}\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Names texts as the file does that lies elsewhere: from where it is.
fn paths(file: &Path, text: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let elsewhere = file.parent().is_some_and(|folder| folder != Path::new(""));
    let from_there = |path: &PathBuf| {
        if elsewhere {
            std::path::absolute(path)
        } else {
            Ok(path.clone())
        }
    };
    let paths = text.iter().map(|path| {
        let path = from_there(path).map_err(Failure::machine)?;
        let path = path.to_str().map(str::to_owned);
        path.ok_or_else(|| {
            Failure::input("a path to a text is not UTF-8: no YAML file can name it")
        })
    });
    paths.collect()
}

fn written(file: &str, text: &[String]) -> String {
    // JSON's strings are YAML's.
    let quoted: Vec<String> = text.iter().map(|path| format!("{path:?}")).collect();
    let data = if text.is_empty() {
        SYNTHETIC.to_owned()
    } else {
        format!(
            "data:\n  text: [{}]\n  tokenizer: bytes                 # or {{bpe: {{vocab: 1024}}}}, trained on the text\n",
            quoted.join(", ")
        )
    };
    TEMPLATE.replace("{file}", file).replace("{data}\n", &data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiment::run::DataSpec;

    #[test]
    fn what_is_written_is_an_experiment() {
        let own = ["corpus/*.jsonl".to_owned(), "a \"b\".txt".to_owned()];
        for text in [&[][..], &own] {
            let file = written("my.yaml", text);
            let experiment = grid::parse("my.yaml", &file).expect(&file);
            assert_eq!(experiment.name, "my");
            let placeholders = ["{file}", "{data}"];
            assert!(!placeholders.iter().any(|it| file.contains(it)), "{file}");
            match &experiment.cells[0].data {
                DataSpec::Text { text: named, .. } => assert_eq!(named, text),
                _ => assert!(text.is_empty()),
            }
        }
    }
}
