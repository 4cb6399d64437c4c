//! Which files patterns name, and which of them are named as held-out data.

use super::DataError;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file, and how it came to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Whether it was named by itself, not by a glob or its folder.
    pub(super) by_name: bool,
}

/// What a file's name says it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Validation,
    Test,
}

impl Purpose {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// Reads a purpose from the words of a file's name, as in `fineweb_val_000000.bin`.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let words: Vec<&str> = name.split(|c: char| !c.is_alphabetic()).collect();
        let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
        if has(&["train", "training"]) {
            None
        } else if has(&["val", "valid", "validation", "dev", "eval", "heldout"]) {
            Some(Self::Validation)
        } else if has(&["test"]) {
            Some(Self::Test)
        } else {
            None
        }
    }
}

/// Lists the files that patterns name, in order, each once.
///
/// A folder stands for its files with one of `endings`, in order of their names; where there are no
/// endings it is listed itself, and refused by whoever reads it.
pub(super) fn find(patterns: &[String], endings: &[&str]) -> Result<Vec<Found>, DataError> {
    let mut files = Vec::new();
    for pattern in patterns {
        let path = Path::new(pattern);
        let before = files.len();
        let mut add = |path: PathBuf, by_name| files.push(Found { path, by_name });
        if path.is_dir() && !endings.is_empty() {
            let failed = |source| DataError::reading(path, source);
            let mut inside = fs::read_dir(path)
                .map_err(failed)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<PathBuf>, _>>()
                .map_err(failed)?;
            inside.sort();
            let fits = |path: &PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                path.is_file() && endings.iter().any(|ending| name.ends_with(ending))
            };
            inside
                .into_iter()
                .filter(fits)
                .for_each(|path| add(path, false));
        } else if path.exists() || !pattern.contains(['*', '?', '[']) {
            // A file may have a bracket in its name; what exists is not taken for a pattern.
            add(path.to_owned(), true);
        } else {
            let matches = glob::glob(pattern).map_err(|error| DataError::Pattern {
                pattern: pattern.clone(),
                position: error.pos,
                reason: error.msg.into(),
            })?;
            for path in matches {
                let path = path.map_err(|error| DataError::Read {
                    path: error.path().into(),
                    source: error.into(),
                })?;
                if !path.is_dir() {
                    add(path, false);
                }
            }
        }
        if files.len() == before {
            let pattern = pattern.clone();
            return Err(DataError::NoMatch { pattern });
        }
    }
    if files.is_empty() {
        return Err(DataError::NoFiles);
    }
    // Two patterns may name one file; read twice it would be trained on twice.
    let mut seen = HashSet::new();
    files.retain(|file| seen.insert(place(&file.path)));
    Ok(files)
}

/// Returns what is equal for two names of one file.
pub(super) fn place(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Names a few files and counts the others.
pub(super) fn listed<'a>(paths: impl IntoIterator<Item = &'a Path>) -> String {
    const FEW: usize = 3;
    let paths: Vec<&Path> = paths.into_iter().collect();
    let shown: Vec<String> = (paths.iter().take(FEW))
        .map(|path| format!("`{}`", path.display()))
        .collect();
    match paths.len().saturating_sub(FEW) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_a_file_is_for() {
        let purpose = |name: &str| Purpose::of(Path::new(name));
        for name in [
            "fineweb_val_000000.bin",
            "val.bin",
            "wiki.valid.tokens",
            "x-Dev1.npy",
        ] {
            assert_eq!(purpose(name), Some(Purpose::Validation), "{name}");
        }
        assert_eq!(purpose("a/test-00.bin"), Some(Purpose::Test));
        for name in [
            "interval.bin",
            "train_val_split.bin",
            "test/a.bin",
            "device.bin",
            "value.bin",
        ] {
            assert_eq!(purpose(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_stands_for_its_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.bin", "a.bin", "meta.pkl"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::create_dir(folder.path().join("c.bin")).unwrap();
        let pattern = [folder.path().display().to_string()];
        let found = find(&pattern, &[".bin"]).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|file| file.path.file_name().unwrap())
            .collect();
        assert_eq!(names, ["a.bin", "b.bin"]);
        assert!(found.iter().all(|file| !file.by_name));
        let none = find(&pattern, &[".npy"]).unwrap_err();
        assert!(matches!(none, DataError::NoMatch { .. }));
    }
}
