//! The reference of an experiment file for people, from the table of keys that the parser reads.

use super::draft::Draft;
use super::key::{Form, Key, Role, Shown, written};
use super::settings::trainer::{FREE_AXES, KEYS, TrainerKey};
use super::settings::{AXES, CONTROLS, GROUPS, NAME, OWN_TRAINING, RULES, settings};
use std::fmt::Write;

const HEAD: &str = "# Experiment files

Every key of an experiment file, as `orchestrator schema --markdown` prints it. `orchestrator schema`
prints the same as JSON Schema, with which an editor completes and checks. A file needs `grid` or
`baselines`; everything else has a default. [The tutorial](tutorial.md) writes a file step by step.

- **Numbers** may have a suffix: `k`/`K`, `M`, `B`/`G`, `T` (thousands), as in `0.5M`; `_` and `1e18`
  work too. **Durations** are `90s`, `10min`, `2h`, `1.5d`, or a number of seconds.
- **A list makes an axis** of every key of `grid`, `baselines`, `model`, `data` and `training` unless
  said otherwise: `learning_rate: [2e-3, 4e-3]` trains everything twice. Axes combine to a product.
- **Paths with dots** are keys inside keys: `data.tokenizer.bpe.vocab: 1024` is written
  `data: {tokenizer: {bpe: {vocab: 1024}}}`, and with its dots after `--set`.
- **Anchors and merge keys** share values: with `shared: &shared {batch: 4}`, a top-level key of any name,
  `training: {<<: *shared, clip: 2}` has both. What a mapping has itself stands in place of what it merges.
- Two of `params`, `tokens` and `flops` are given, the third is solved.
- An unknown key, a wrong unit and a value out of range are errors that name line and column.
";

/// Writes the reference of experiment files in Markdown: every key with its values, default, unit,
/// meaning and an example.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    // Writing to a string cannot fail.
    let _ = write_reference(&mut text);
    text
}

fn write_reference(out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n## `name`\n\n{NAME}")?;
    let sections = GROUPS.iter().filter(|(path, _)| !path.contains('.'));
    for (section, doc) in sections {
        writeln!(out, "\n## `{section}`\n\n{doc}")?;
        match *section {
            "grid" => {
                write_table(out, AXES.iter())?;
                writeln!(out)?;
                write_rules(out, &RULES)?;
                write_rules(out, &[FREE_AXES])?;
            }
            "trainer" => write_plain(out, "trainer", KEYS)?,
            "claims" => write_plain(out, "claims.NAME", super::settings::claims::KEYS)?,
            "controls" => {
                writeln!(out)?;
                write_rules(out, &CONTROLS)?;
            }
            "baselines" => {
                let both = "It takes the keys of `grid` but for those of concepts:";
                let keys = AXES.iter().filter(|key| key.role != Role::Dlcm);
                let keys = keys.map(|key| key.path).chain(RULES.map(|(name, ..)| name));
                let keys: Vec<String> = keys.map(|key| format!("`{key}`")).collect();
                writeln!(out, "\n{both} {}. Beside them:\n", keys.join(", "))?;
                write_rules(out, &[OWN_TRAINING])?;
            }
            _ => {
                let groups = GROUPS.iter().filter(|(path, _)| inside(path, section));
                for (path, doc) in groups {
                    writeln!(out, "\n`{path}`: {doc}")?;
                }
                write_table(out, settings().filter(|key| inside(key.path, section)))?;
            }
        }
    }
    Ok(())
}

/// Writes keys that are no axes.
fn write_plain(out: &mut String, inside: &str, keys: &[TrainerKey]) -> std::fmt::Result {
    writeln!(out, "\n| key | meaning | example |\n| --- | --- | --- |")?;
    for key in keys {
        let (name, doc) = (key.name, key.doc);
        let example = key.example.replace('|', "\\|");
        writeln!(out, "| `{inside}.{name}` | {doc} | `{name}: {example}` |")?;
    }
    Ok(())
}

fn write_rules(out: &mut String, rules: &[(&str, &str, &str)]) -> std::fmt::Result {
    for (name, doc, example) in rules {
        writeln!(out, "- **`{name}`**: {doc} Example: `{name}: {example}`")?;
    }
    Ok(())
}

fn inside(path: &str, section: &str) -> bool {
    path.split_once('.')
        .is_some_and(|(first, _)| first == section)
}

fn write_table(out: &mut String, keys: impl Iterator<Item = &'static Key>) -> std::fmt::Result {
    writeln!(
        out,
        "\n| key | values | default | unit | meaning | example |"
    )?;
    writeln!(out, "| --- | --- | --- | --- | --- | --- |")?;
    for key in keys {
        let forms: Vec<String> = key.forms.iter().map(Form::describe).collect();
        let who = match key.role {
            Role::Dlcm => " Hierarchical models only.",
            Role::Dense => " Dense models only.",
            Role::Every | Role::Experiment => "",
        };
        // What holds for a whole experiment is no axis anyway in `analysis` and `execution`.
        let about = ["tune", "analysis", "execution"];
        let about = about.iter().any(|section| inside(key.path, section));
        let one = if key.is_axis() || about {
            ""
        } else {
            " No axis."
        };
        writeln!(
            out,
            "| `{}` | {} | {} | {} | {}{who}{one} | `{}` |",
            key.path,
            forms.join(" or "),
            default(key),
            key.unit,
            key.doc,
            key.example
        )?;
    }
    Ok(())
}

/// The value where none is given.
fn default(key: &Key) -> String {
    match (key.get)(&Draft::default()) {
        Shown::Number(x) => written(x),
        Shown::Word(word) => format!("`{word}`"),
        Shown::Flag(on) => format!("`{on}`"),
        Shown::Nothing => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{Source, document};
    use std::sync::Arc;

    #[test]
    fn every_example_is_a_value_of_its_key_and_not_its_default() {
        for key in AXES.iter().chain(settings()) {
            let source = Arc::new(Source {
                name: key.path.to_owned(),
                text: key.example.to_owned(),
            });
            let node = document::read(&source, 0)
                .unwrap_or_else(|problem| panic!("{}: {problem:?}", key.path));
            let read = key.read(&node);
            assert!(read.is_ok(), "{}: {}", key.path, key.example);
            let mut draft = Draft::default();
            for value in read.into_iter().flatten() {
                value.apply(&mut draft);
            }
            let default = (key.get)(&Draft::default());
            let shown = (key.get)(&draft);
            let axis = key.example.starts_with('[');
            assert!(
                axis || shown == Shown::Nothing || shown != default,
                "{}: {} is its default",
                key.path,
                key.example
            );
        }
    }

    #[test]
    fn every_key_is_in_the_committed_reference() {
        let text = reference();
        for key in AXES.iter().chain(settings()) {
            assert!(
                text.contains(&format!("\n| `{}` |", key.path)),
                "{}",
                key.path
            );
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference.md");
        let committed = std::fs::read_to_string(path).expect("docs/reference.md");
        assert!(
            committed == text,
            "docs/reference.md is not current: write it again with `cargo run --release -- schema \
             --markdown > docs/reference.md`"
        );
    }
}
