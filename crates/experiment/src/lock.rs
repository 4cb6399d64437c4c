//! Who works on a folder: locks that a dead holder does not keep.

use crate::clock::now;
use crate::folder::LOCK;
use crate::quantity::counted;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time that a look at who holds a lock may take, which holds it too.
const LOOK: Duration = Duration::from_millis(100);

/// A held lock; it is released when dropped, and by the system when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id, on its own machine.
    pub pid: i32,
    /// Its machine's name.
    pub host: String,
    /// When it took the lock, in seconds since the Unix epoch.
    pub since: f64,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "another {worker} works on {}: {}; wait for it, or stop it first",
        folder.display(),
        holder.as_ref().map_or("an unknown process".to_owned(), Holder::describe)
    )]
    Held {
        /// What works there.
        worker: &'static str,
        /// The folder.
        folder: PathBuf,
        /// Who, where it has said so.
        holder: Option<Holder>,
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
    /// Takes the lock of a folder; `worker` is what a second one is told works there.
    ///
    /// # Errors
    /// When another process holds it, or the file cannot be written.
    pub fn take(folder: &Path, worker: &'static str) -> Result<Self, LockError> {
        let path = folder.join(LOCK);
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
        match try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    worker,
                    folder: folder.to_owned(),
                    holder: read(&mut file).map_err(failed)?,
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let said = format!("{} {} {}", std::process::id(), host(), now());
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.write_all(said.as_bytes()).map_err(failed)?;
        Ok(Self { _file: file })
    }

    /// Finds who holds the lock of a folder; `None` when nobody does.
    ///
    /// # Errors
    /// When the file is there but cannot be used, or its holder has not said who it is.
    pub fn holder(folder: &Path) -> Result<Option<Holder>, LockError> {
        let path = folder.join(LOCK);
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => {
                let holder = read(&mut file).map_err(failed)?;
                let unknown = || failed(std::io::Error::other("its holder has not said who it is"));
                holder.ok_or_else(unknown).map(Some)
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

/// Locks a file, unless it is held for longer than [`Lock::holder`] does as it looks.
fn try_lock(file: &File) -> Result<(), TryLockError> {
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if since.elapsed() < LOOK => {
                std::thread::sleep(Duration::from_millis(1));
            }
            tried => return tried,
        }
    }
}

impl Holder {
    /// Says who it is and since when.
    pub fn describe(&self) -> String {
        let seconds = (now() - self.since).max(0.0);
        let Self { pid, host, .. } = self;
        let since = match seconds {
            s if s < 90.0 => counted(s as usize, "second"),
            s if s < 5400.0 => counted((s / 60.0).round() as usize, "minute"),
            s => counted((s / 3600.0).round() as usize, "hour"),
        };
        format!("process {pid} on {host}, for {since}")
    }
}

/// Reads `PID HOST SECONDS`.
fn read(file: &mut File) -> std::io::Result<Option<Holder>> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let mut words = text.split(' ');
    let mut holder = || {
        Some(Holder {
            pid: words.next()?.parse().ok()?,
            host: words.next()?.to_owned(),
            since: words.next()?.parse().ok()?,
        })
    };
    Ok(holder())
}

/// Reads the machine's name.
pub fn host() -> String {
    nix::unistd::gethostname().map_or_else(
        |_| "unknown".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_second_holder_is_told_about_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Lock::holder(folder.path()).expect("no file"), None);
        let first = Lock::take(folder.path(), "orchestrator").expect("free");
        let error = Lock::take(folder.path(), "orchestrator").expect_err("held");
        let said = error.to_string();
        let pid = std::process::id();
        assert!(
            said.contains("another orchestrator works on")
                && said.contains(&format!("process {pid} on {}", host())),
            "{said}"
        );
        let holder = Lock::holder(folder.path()).expect("readable");
        assert_eq!(holder.map(|holder| holder.pid), Some(pid as i32));
        drop(first);
        assert_eq!(Lock::holder(folder.path()).expect("free"), None);
        Lock::take(folder.path(), "orchestrator").expect("free again");
    }

    #[test]
    fn those_who_look_keep_nobody_from_taking_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let look = || {
                while !is_over.load(Ordering::Relaxed) {
                    // It may be held, or just be taken.
                    drop(Lock::holder(folder.path()));
                }
            };
            let lookers = [scope.spawn(look), scope.spawn(look)];
            let taken: Result<Vec<()>, LockError> = (0..200)
                .map(|_| Lock::take(folder.path(), "orchestrator").map(drop))
                .collect();
            is_over.store(true, Ordering::Relaxed);
            for looker in lookers {
                looker.join().expect("no panic");
            }
            taken.expect("free every time");
        });
    }
}
