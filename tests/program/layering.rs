//! What the compiler does not hold to: inside a crate a module uses only those above it, only the store
//! speaks SQL, and only the command line prints. Which crate may know which is in their Cargo.toml.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules of each crate, each of which may use those before it.
const ORDER: &[(&str, &[&str])] = &[
    (
        "crates/experiment/src",
        &[
            "quantity",
            "quietly",
            "parquet",
            "spelling",
            "digest",
            // Which cells of a grid and which rows of a table are kept is said in one language.
            "expression",
            "architecture",
            "flops",
            "recipe",
            "run",
            "folder",
            // Other people's trainers.
            "external",
            "work",
            "record",
            // What trained models are asked.
            "tasks",
            "event",
            "claims",
            "run_claim",
            "clock",
            "lock",
            "processes",
            "grid",
            "plan",
        ],
    ),
    (
        "crates/law/src",
        &["fit", "row", "analysis", "study", "claims"],
    ),
    (
        "crates/trainer/src",
        &["data", "train", "inference", "external"],
    ),
    (
        "crates/campaign/src",
        &["launch", "store", "orchestrate", "cluster"],
    ),
    (
        "src",
        &[
            // Reads files: rows of CSV, Parquet and the database, as laws take them.
            "rows",
            "application",
            // A local web page over the database.
            "serve",
            // A trained run behind completions, on the same server.
            "complete",
            "cli",
        ],
    ),
];

/// Modules that may not know a crate that theirs depends on.
const STRANGERS: &[(&str, &[&str])] = &[
    ("rows", &["network", "trainer"]),
    ("serve", &["network", "trainer"]),
];

/// Names that say nothing about what a module holds.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "common", "helpers", "misc", "core", "types",
];

/// Finds the sources below a folder of the project, as paths from its root.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join(folder))
        .expect("readable")
        .flatten()
    {
        let path = folder.join(entry.file_name());
        if root.join(&path).is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The sources of every crate.
fn all_sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = std::fs::read_dir(root.join("crates"))
        .expect("crates")
        .flatten();
    let folders = crates.map(|entry| Path::new("crates").join(entry.file_name()).join("src"));
    let folders = folders.chain([PathBuf::from("src")]);
    folders.flat_map(|folder| sources(&folder)).collect()
}

/// The module a file belongs to: the first part of its path below its crate's sources.
fn module(folder: &str, path: &Path) -> String {
    let inside = path.strip_prefix(folder).expect("below the folder");
    let first = inside
        .components()
        .next()
        .expect("a name")
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// A source without comments and without what is compiled for tests alone.
fn code(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(path)).expect("readable");
    let (mut kept, mut lines) = (String::new(), text.lines());
    while let Some(line) = lines.next() {
        let start = line.trim_start();
        if start.starts_with("//") {
            continue;
        }
        if start.starts_with("#[cfg(test)]") {
            let mut depth = 0;
            for line in lines.by_ref() {
                if line.trim_start().starts_with("#[") {
                    continue;
                }
                depth += line.matches('{').count() as i64 - line.matches('}').count() as i64;
                if depth <= 0 {
                    break;
                }
            }
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// The names that stand before `::` at the start of a path, as in `network::Network`.
fn first_names(code: &str) -> BTreeSet<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let found = code.match_indices("::").filter_map(|(at, _)| {
        let before = &code[..at];
        let name = before.rsplit(|c| !word(c)).next()?;
        (!before[..at - name.len()].ends_with("::")).then_some(name)
    });
    found.collect()
}

#[test]
fn modules_use_only_those_above_them() {
    let mut wrong = Vec::new();
    for (folder, order) in ORDER {
        let place = |name: &str| order.iter().position(|module| *module == name);
        for path in sources(Path::new(folder)) {
            let name = module(folder, &path);
            if name == "lib" || name == "main" {
                continue;
            }
            let Some(own) = place(&name) else {
                wrong.push(format!("{}: `{name}` is not in the order", path.display()));
                continue;
            };
            let code = code(&path);
            for (at, _) in code.match_indices("crate::") {
                let rest = &code[at + "crate::".len()..];
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let used = &rest[..end.unwrap_or(rest.len())];
                if place(used).is_some_and(|used| used > own) {
                    wrong.push(format!(
                        "{}: `{name}` uses `{used}`, below it",
                        path.display()
                    ));
                }
            }
            let strange = STRANGERS.iter().find(|(module, _)| *module == name);
            for used in strange.into_iter().flat_map(|(_, crates)| *crates) {
                if first_names(&code).contains(used) {
                    wrong.push(format!("{}: must not know `{used}`", path.display()));
                }
            }
        }
    }
    for path in all_sources() {
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
    for path in all_sources() {
        let code = code(&path);
        let is_store = path.starts_with("crates/campaign/src/store")
            || path.starts_with("crates/campaign/src/store.rs");
        if !is_store && first_names(&code).contains("sqlx") {
            wrong.push(format!("{} uses sqlx", path.display()));
        }
        let is_test = path.components().any(|part| {
            let part = part.as_os_str().to_string_lossy();
            part == "tests" || part == "tests.rs"
        });
        if !path.starts_with("src/cli") && !is_test {
            for printing in ["println!", "eprintln!", "print!("] {
                if code.contains(printing) && !path.ends_with("build.rs") {
                    wrong.push(format!("{} prints", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
