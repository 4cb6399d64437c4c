//! One orchestrator a results folder: a lock that a dead holder does not keep.

use crate::clock::now;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A held lock; it is released when dropped, and by the system when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "another orchestrator works on {}: {holder}; wait for it, or stop it first",
        results.display()
    )]
    Held {
        /// The results folder.
        results: PathBuf,
        /// Who, and since when.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock of a results folder.
    ///
    /// # Errors
    /// When another process holds it, or the file cannot be written.
    pub fn take(results: &Path, host: &str) -> Result<Self, LockError> {
        let path = results.join(".lock");
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(failed)?;
                return Err(LockError::Held {
                    results: results.to_owned(),
                    holder: describe(&holder),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let said = format!("{} {host} {}", std::process::id(), now());
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.write_all(said.as_bytes()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Turns `PID HOST SECONDS` into words.
fn describe(holder: &str) -> String {
    let mut words = holder.split(' ');
    match (
        words.next(),
        words.next(),
        words.next().and_then(|since| since.parse::<f64>().ok()),
    ) {
        (Some(pid), Some(host), Some(since)) => {
            let minutes = ((now() - since) / 60.0).max(0.0);
            format!("process {pid} on {host}, since {minutes:.0} minutes ago")
        }
        _ => "an unknown process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_about_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Lock::take(folder.path(), "box").expect("free");
        let error = Lock::take(folder.path(), "box").expect_err("held");
        let said = error.to_string();
        assert!(
            said.contains(&std::process::id().to_string()) && said.contains("on box"),
            "{said}"
        );
        drop(first);
        Lock::take(folder.path(), "box").expect("free again");
    }
}
