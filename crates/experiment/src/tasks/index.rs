//! Reading a folder of tasks.

use super::{Item, Kind, Task};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// The index of our own form.
const OWN: &str = "tasks.yaml";
/// The index of CORE.
const CORE: &str = "core.yaml";

/// Why tasks cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// There is no index.
    #[error(
        "{} has no {OWN} (nor CORE's {CORE}): it names each task with `file`, `kind` (multiple_choice, schema or \
         language_modeling), and, where they are not 0 and a space, `shots` and `delimiter`",
        .0.display()
    )]
    NoIndex(PathBuf),
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The index is wrong.
    #[error("{}: {why}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line and column.
        why: String,
    },
    /// An item is wrong.
    #[error("{}, line {line}: {why}", path.display())]
    Item {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong, and what would be right.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    tasks: BTreeMap<String, Declared>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    file: PathBuf,
    kind: Kind,
    #[serde(default)]
    shots: usize,
    #[serde(default = "space")]
    delimiter: String,
}

/// CORE's index has more keys than these.
#[derive(Deserialize)]
struct Core {
    icl_tasks: Vec<CoreTask>,
}

#[derive(Deserialize)]
struct CoreTask {
    label: String,
    dataset_uri: PathBuf,
    icl_task_type: Kind,
    num_fewshot: Vec<usize>,
    #[serde(default = "space")]
    continuation_delimiter: String,
}

fn space() -> String {
    " ".to_owned()
}

/// Reads the tasks of a folder, in the order of its index.
///
/// # Errors
/// When the index or an item is missing or wrong.
pub fn read(folder: &Path) -> Result<Vec<Task>, TaskError> {
    let (path, is_own) = match [OWN, CORE].map(|name| folder.join(name)) {
        [own, _] if own.is_file() => (own, true),
        [_, core] if core.is_file() => (core, false),
        _ => return Err(TaskError::NoIndex(folder.to_owned())),
    };
    let text = text_of(&path)?;
    let wrong = |why: String| TaskError::Index {
        path: path.clone(),
        why,
    };
    let yaml = |error: serde_yaml::Error| wrong(error.to_string());
    // A key that stands twice is refused here alone.
    serde_yaml::from_str::<serde_yaml::Value>(&text).map_err(yaml)?;
    let declared: Vec<(String, Declared)> = if is_own {
        let Own { tasks } = serde_yaml::from_str(&text).map_err(yaml)?;
        tasks.into_iter().collect()
    } else {
        let Core { icl_tasks } = serde_yaml::from_str(&text).map_err(yaml)?;
        icl_tasks.into_iter().flat_map(of_core).collect()
    };
    if declared.is_empty() {
        return Err(wrong("it names no task".to_owned()));
    }
    let mut names = HashSet::new();
    for (name, _) in &declared {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(wrong(format!("{name:?} is no name of a task")));
        }
        if !names.insert(name) {
            return Err(wrong(format!("two tasks are called `{name}`")));
        }
    }
    declared
        .into_iter()
        .map(|(name, declared)| {
            let items = items_of(&of_index(folder, &declared.file), declared.kind)?;
            if declared.shots >= items.len() {
                return Err(wrong(format!(
                    "{name}: of {} items no {} others can stand before each",
                    items.len(),
                    declared.shots
                )));
            }
            Ok(Task {
                name,
                kind: declared.kind,
                shots: declared.shots,
                delimiter: declared.delimiter,
                items,
            })
        })
        .collect()
}

/// A task of CORE for each number of shots.
fn of_core(task: CoreTask) -> impl Iterator<Item = (String, Declared)> {
    let several = task.num_fewshot.len() > 1;
    task.num_fewshot.into_iter().map(move |shots| {
        let name = if several {
            format!("{}, {shots} shots", task.label)
        } else {
            task.label.clone()
        };
        let declared = Declared {
            file: task.dataset_uri.clone(),
            kind: task.icl_task_type,
            shots,
            delimiter: task.continuation_delimiter.clone(),
        };
        (name, declared)
    })
}

/// Finds a file of the index; CORE's lie in a folder beside it.
fn of_index(folder: &Path, file: &Path) -> PathBuf {
    let beside = folder.join(file);
    let of_core = folder.join("eval_data").join(file);
    if !beside.exists() && of_core.exists() {
        of_core
    } else {
        beside
    }
}

fn text_of(path: &Path) -> Result<String, TaskError> {
    std::fs::read_to_string(path).map_err(|source| TaskError::Io {
        path: path.to_owned(),
        source,
    })
}

#[derive(Deserialize)]
struct Choice {
    query: String,
    choices: Vec<String>,
    gold: usize,
}

#[derive(Deserialize)]
struct Schema {
    context_options: Vec<String>,
    continuation: String,
    gold: usize,
}

#[derive(Deserialize)]
struct Continuation {
    context: String,
    continuation: String,
}

fn items_of(path: &Path, kind: Kind) -> Result<Vec<Item>, TaskError> {
    let text = text_of(path)?;
    let wrong = |line: usize, why: String| TaskError::Item {
        path: path.to_owned(),
        line,
        why,
    };
    let mut items = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if !text.trim().is_empty() {
            let item = item_of(text, kind).and_then(|item| checked(item, kind));
            items.push(item.map_err(|why| wrong(line, why))?);
        }
    }
    if items.is_empty() {
        return Err(wrong(1, "there are no items".to_owned()));
    }
    Ok(items)
}

fn item_of(text: &str, kind: Kind) -> Result<Item, String> {
    let (form, item) = match kind {
        Kind::MultipleChoice => (
            r#"{"query": "…", "choices": ["…", "…"], "gold": 0}"#,
            serde_json::from_str(text).map(
                |Choice {
                     query,
                     choices,
                     gold,
                 }| Item {
                    contexts: vec![query],
                    continuations: choices,
                    gold,
                },
            ),
        ),
        Kind::Schema => (
            r#"{"context_options": ["…", "…"], "continuation": "…", "gold": 0}"#,
            serde_json::from_str(text).map(|item: Schema| Item {
                contexts: item.context_options,
                continuations: vec![item.continuation],
                gold: item.gold,
            }),
        ),
        Kind::LanguageModeling => (
            r#"{"context": "…", "continuation": "…"}"#,
            serde_json::from_str(text).map(|item: Continuation| Item {
                // As CORE's own evaluation does: what is between them is the delimiter.
                contexts: vec![item.context.trim().to_owned()],
                continuations: vec![item.continuation],
                gold: 0,
            }),
        ),
    };
    item.map_err(|error| format!("{error}; an item is {form}"))
}

fn checked(item: Item, kind: Kind) -> Result<Item, String> {
    let candidates = item.candidates();
    if item.contexts.is_empty() || item.continuations.is_empty() {
        return Err("there is nothing to choose from".to_owned());
    }
    if item.gold >= candidates {
        return Err(format!(
            "`gold` is {}, and there are {candidates} candidates, numbered from 0",
            item.gold
        ));
    }
    if kind != Kind::LanguageModeling && candidates < 2 {
        return Err(
            "of a single candidate there is nothing to choose: give two or more".to_owned(),
        );
    }
    for all in [&item.contexts, &item.continuations] {
        if let Some(second) = (1..all.len()).find(|&second| all[..second].contains(&all[second])) {
            return Err(format!(
                "candidate {second} is the same text as one before it: neither could be told from the other"
            ));
        }
    }
    match item.continuations.iter().position(String::is_empty) {
        Some(place) => Err(format!(
            "continuation {place} is empty: nothing could be scored"
        )),
        None => Ok(item),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        folder
    }

    const CHOICES: &str = "{\"query\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 1}\n\n\
                           {\"query\": \"d\", \"choices\": [\"e\", \"f\", \"g\", \"h\"], \"gold\": 0}\n";

    #[test]
    fn tasks_are_read_in_both_forms() {
        let own = folder(&[
            (
                "tasks.yaml",
                "tasks:\n  words: {file: w.jsonl, kind: multiple_choice, shots: 1, delimiter: ''}\n",
            ),
            ("w.jsonl", CHOICES),
        ]);
        let tasks = read(own.path()).expect("right");
        assert_eq!((tasks[0].name.as_str(), tasks[0].shots), ("words", 1));
        assert_eq!(tasks[0].items[0].continuations, ["b", "c"]);
        assert_eq!(tasks[0].chance(), 0.375);
        let core = folder(&[
            (
                "core.yaml",
                "icl_tasks:\n- label: wino\n  dataset_uri: lu/w.jsonl\n  num_fewshot: [0]\n  \
                 icl_task_type: schema\n  has_categories: false\n- label: lambada\n  dataset_uri: lu/l.jsonl\n  \
                 num_fewshot: [0]\n  icl_task_type: language_modeling\n",
            ),
            (
                "eval_data/lu/w.jsonl",
                "{\"context_options\": [\"A\", \"B\"], \"continuation\": \"c\", \"gold\": 0}",
            ),
            (
                "eval_data/lu/l.jsonl",
                "{\"context\": \"a b \", \"continuation\": \"c\"}",
            ),
        ]);
        let tasks = read(core.path()).expect("right");
        assert_eq!(tasks[0].items[0].candidates(), 2);
        assert_eq!(tasks[1].items[0].contexts, ["a b"]);
        assert_eq!((tasks[1].chance(), tasks[1].delimiter.as_str()), (0.0, " "));
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        let index = "tasks:\n  t: {file: t.jsonl, kind: multiple_choice}\n";
        for (index, items, whys) in [
            ("", "", ["missing field `tasks`", "tasks.yaml"]),
            ("tasks: {}", "", ["names no task", "tasks.yaml"]),
            (
                "tasks:\n  t: {file: t.jsonl, kind: choice}",
                "",
                ["line 2", "unknown variant `choice`"],
            ),
            (
                "tasks:\n  t: {file: no.jsonl, kind: schema}",
                "",
                ["no.jsonl", "No such file"],
            ),
            (index, "", ["t.jsonl", "no items"]),
            (
                index,
                "{\"query\": \"a\"}",
                ["line 1", "missing field `choices`"],
            ),
            (
                index,
                "\n{\"query\": \"a\", \"choices\": [\"b\"], \"gold\": 1}",
                ["line 2", "`gold` is 1"],
            ),
            (
                index,
                "{\"query\": \"a\", \"choices\": [\"b\", \"\"], \"gold\": 0}",
                ["line 1", "is empty"],
            ),
            (
                index,
                "{\"query\": \"a\", \"choices\": [\"b\", \"c\", \"b\"], \"gold\": 0}",
                ["line 1", "candidate 2 is the same text"],
            ),
            (
                index,
                "{\"query\": \"a\", \"choices\": [], \"gold\": 0}",
                ["line 1", "nothing to choose"],
            ),
            (
                index,
                "{\"query\": \"a\", \"choices\": [\"b\"], \"gold\": 0}",
                ["line 1", "nothing to choose"],
            ),
            (
                "tasks:\n  t: {file: t.jsonl, kind: schema}\n  t: {file: t.jsonl, kind: schema}\n",
                "",
                ["tasks.yaml", "duplicate"],
            ),
            (index, "not JSON", ["line 1", "an item is {\"query\""]),
        ] {
            let folder = folder(&[("tasks.yaml", index), ("t.jsonl", items)]);
            let said = read(folder.path()).expect_err(index).to_string();
            for why in whys {
                assert!(said.contains(why), "{index} {items}: {said}");
            }
        }
        let empty = folder(&[]);
        let said = read(empty.path()).expect_err("nothing").to_string();
        assert!(said.contains("has no tasks.yaml"), "{said}");
    }
}
