//! What a trainer's code is: part of a run's identity, so that a changed trainer trains again.

use experiment::digest;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Folders and endings that hold no code, and change by themselves.
const PASSED_OVER: [&str; 6] = [
    ".git",
    "__pycache__",
    ".venv",
    "node_modules",
    ".ipynb_checkpoints",
    ".mypy_cache",
];

/// Why the code could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// Nothing is there.
    #[error("`trainer.code` names {named}, and nothing is there ({})", place.display())]
    Nothing {
        /// As the file writes it.
        named: String,
        /// Where that is.
        place: PathBuf,
    },
    /// A pattern or a file cannot be read.
    #[error("`trainer.code`: cannot read {}: {why}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Computes a hash of the files that are named, from a folder: of their paths there and of what they hold.
///
/// # Errors
/// When nothing is there, or it cannot be read.
pub fn fingerprint(directory: &Path, named: &[String]) -> Result<Option<String>, CodeError> {
    if named.is_empty() {
        return Ok(None);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for name in named {
        let place = directory.join(name);
        let unread = |why: String| CodeError::Unread {
            path: place.clone(),
            why,
        };
        let pattern = place.to_string_lossy();
        let found: Vec<PathBuf> = if place.exists() {
            vec![place.clone()]
        } else {
            let found = glob::glob(&pattern).map_err(|error| unread(error.to_string()))?;
            found.filter_map(Result::ok).collect()
        };
        let before = files.len();
        for path in found {
            collect(&path, &mut files)?;
        }
        if files.len() == before {
            return Err(CodeError::Nothing {
                named: name.clone(),
                place,
            });
        }
    }
    files.sort();
    files.dedup();
    let mut hash = Sha256::new();
    for path in files {
        let content = std::fs::read(&path).map_err(|error| CodeError::Unread {
            path: path.clone(),
            why: error.to_string(),
        })?;
        let name = path.strip_prefix(directory).unwrap_or(&path);
        hash.update(name.to_string_lossy().as_bytes());
        hash.update([0]);
        hash.update(Sha256::digest(&content));
    }
    Ok(Some(digest::hex(&hash.finalize()[..8])))
}

/// Adds the files of a path: itself, or those below it.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), CodeError> {
    let unread = |error: std::io::Error| CodeError::Unread {
        path: path.to_owned(),
        why: error.to_string(),
    };
    let name = path.file_name().map(|name| name.to_string_lossy());
    let passed_over =
        name.is_some_and(|name| PASSED_OVER.contains(&&*name) || name.ends_with(".pyc"));
    if passed_over {
        return Ok(());
    }
    if !path.is_dir() {
        // A link to what is not there holds no code.
        if path.exists() {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        // A link to a folder may lead around in a circle.
        if !(entry.file_type().map_err(unread)?.is_symlink() && entry.path().is_dir()) {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_its_files_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        let code = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            fingerprint(folder.path(), &names)
        };
        assert_eq!(code(&[]).expect("none"), None);
        write("src/train.py", "a");
        write("src/model/net.py", "b");
        write("other.py", "c");
        let before = code(&["src/", "*.py"]).expect("read");
        assert_eq!(before, code(&["other.py", "src"]).expect("read"));
        write("src/__pycache__/net.pyc", "x");
        std::os::unix::fs::symlink("nowhere", folder.path().join("src/link")).expect("linked");
        assert_eq!(before, code(&["src/", "*.py"]).expect("read"));
        write("src/model/net.py", "b2");
        assert_ne!(before, code(&["src/", "*.py"]).expect("read"));
        assert!(matches!(code(&["lib/"]), Err(CodeError::Nothing { .. })));
    }
}
