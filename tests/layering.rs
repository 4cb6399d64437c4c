//! A module uses only modules that stand above it: data flows one way.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules, each of which may use those before it.
const ORDER: &[&str] = &[
    "quantity",
    "spelling",
    "digest",
    // Which cells of a grid and which rows of a table are kept is said in one language.
    "expression",
    "architecture",
    "flops",
    "recipe",
    "run",
    "event",
    "clock",
    "lock",
    "grid",
    "plan",
    "model",
    "data",
    "train",
    "fit",
    "launch",
    "inference",
    "store",
    "orchestrate",
    "analysis",
    // Reads files: rows of CSV, Parquet and the database, as the fit takes them.
    "rows",
    "study",
    "report",
    // A local web page over the database.
    "serve",
    "cli",
];

/// Pairs that stand in order but must not know each other.
const STRANGERS: &[(&str, &str)] = &[
    // They share `event` alone: a training process and its orchestrator may be machines apart.
    ("orchestrate", "train"),
    ("orchestrate", "model"),
    ("orchestrate", "inference"),
    ("report", "train"),
    ("report", "model"),
    ("report", "inference"),
    ("serve", "train"),
    ("serve", "model"),
    ("serve", "inference"),
    ("store", "train"),
    ("store", "model"),
    ("store", "inference"),
    // Numbers in, numbers out.
    ("fit", "grid"),
    ("fit", "plan"),
    ("fit", "model"),
    ("fit", "data"),
    ("fit", "train"),
    ("launch", "train"),
];

/// Names that say nothing about what a module holds.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "common", "helpers", "misc", "core", "types",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The module a file belongs to: the first part of its path below `src`.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix("src").expect("below src");
    let first = inside
        .components()
        .next()
        .expect("a name")
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that a source names as `crate::…`, one by one or in braces.
fn uses(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or("").split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            found.insert(name);
        }
    }
    found
}

#[test]
fn modules_use_only_those_above_them() {
    let place = |name: &str| ORDER.iter().position(|module| *module == name);
    let mut wrong = Vec::new();
    for path in sources(Path::new("src")) {
        let name = module(&path);
        if name == "lib" || name == "main" {
            continue;
        }
        let Some(own) = place(&name) else {
            wrong.push(format!(
                "{}: module `{name}` is not in the order",
                path.display()
            ));
            continue;
        };
        let text = std::fs::read_to_string(&path).expect("readable");
        for used in uses(&text) {
            if used != name && place(&used).is_some_and(|used| used > own) {
                wrong.push(format!(
                    "{}: `{name}` uses `{used}`, below it",
                    path.display()
                ));
            }
            if STRANGERS.contains(&(name.as_str(), used.as_str())) {
                wrong.push(format!(
                    "{}: `{name}` must not know `{used}`",
                    path.display()
                ));
            }
        }
        for part in path.components() {
            let part = part.as_os_str().to_string_lossy();
            if EMPTY_NAMES.contains(&part.trim_end_matches(".rs")) {
                wrong.push(format!(
                    "{}: `{part}` says nothing about what it holds",
                    path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_store_speaks_sql_and_only_the_command_line_prints() {
    let mut wrong = Vec::new();
    for path in sources(Path::new("src")) {
        let name = module(&path);
        let text = std::fs::read_to_string(&path).expect("readable");
        let code = text.split("#[cfg(test)]").next().unwrap_or("");
        if name != "store" && code.contains("sqlx::") {
            wrong.push(format!("{} uses sqlx", path.display()));
        }
        if name != "cli" && path.file_name().is_none_or(|file| file != "tests.rs") {
            for printing in ["println!", "eprintln!", "print!("] {
                if code
                    .lines()
                    .any(|line| line.contains(printing) && !line.trim_start().starts_with("//"))
                {
                    wrong.push(format!("{} prints", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
