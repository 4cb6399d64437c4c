//! Files that can be made again: written whole or not at all, and checked when read.
//!
//! An entry is one line of SHA-256 over the rest, then the rest. Its name is a hash of everything
//! it was made from, so an entry is never out of date; processes that make the same one at the same
//! time write the same bytes, each under a name of its own, and the last rename wins.

use super::DataError;
use super::stream::map_file;
use experiment::digest;
use memmap2::Mmap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Bytes before an entry's body: 64 hexadecimal digits and a line end.
pub(super) const BODY: usize = 65;

/// A checked entry, mapped into memory.
pub(super) struct Entry {
    pub(super) map: Arc<Mmap>,
}

impl Entry {
    /// Opens an entry; `None` if there is none or it is damaged, and so must be made again.
    pub(super) fn open(path: &Path) -> Option<Self> {
        let map = match map_file(path) {
            Ok(map) => map,
            Err(DataError::Missing { .. }) => return None,
            Err(error) => {
                tracing::warn!("a cached file is made again: {error}");
                return None;
            }
        };
        let sound = map.len() >= BODY
            && map[BODY - 1] == b'\n'
            && map[..BODY - 1] == *digest::sha256(&map[BODY..]).as_bytes();
        if !sound {
            tracing::warn!("`{}` is damaged and is made again", path.display());
            return None;
        }
        Some(Self { map: Arc::new(map) })
    }

    /// Writes an entry under a temporary name, renames it, and opens what stands there.
    ///
    /// # Errors
    /// If the folder cannot be made or written to.
    pub(super) fn write(path: &Path, body: &[u8]) -> Result<Self, DataError> {
        let failed = |source| DataError::Cache {
            path: path.to_path_buf(),
            source,
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        // Process numbers repeat among machines that share a folder; a random number does not.
        let random = RandomState::new().hash_one(path);
        let temporary = path.with_extension(format!("{random:016x}.tmp"));
        let written = fs::File::create(&temporary)
            .and_then(|mut file| {
                writeln!(file, "{}", digest::sha256(body))?;
                file.write_all(body)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&temporary, path));
        if let Err(source) = written {
            // What failed is reported; a leftover would only waste space.
            let _ = fs::remove_file(&temporary);
            return Err(failed(source));
        }
        Self::open(path).ok_or_else(|| {
            failed(std::io::Error::other(
                "what was written could not be read back",
            ))
        })
    }

    /// Returns what was stored.
    pub(super) fn body(&self) -> &[u8] {
        &self.map[BODY..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_written_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/entry.tokens");
        Entry::write(&path, b"body\nof bytes").unwrap();
        assert_eq!(Entry::open(&path).unwrap().body(), b"body\nof bytes");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_entry_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entry");
        Entry::write(&path, b"some body").unwrap();
        let sound = fs::read(&path).unwrap();
        let flipped = [&sound[..70], &[sound[70] ^ 1], &sound[71..]].concat();
        for damaged in [&sound[..sound.len() - 1], &sound[..10], b"", &flipped] {
            fs::write(&path, damaged).unwrap();
            assert!(Entry::open(&path).is_none());
        }
    }

    #[test]
    fn many_writers_of_one_entry_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entry");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let entry = Entry::write(&path, &[7; 100_000]).unwrap();
                    assert_eq!(entry.body().len(), 100_000);
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "in the way").unwrap();
        let error = Entry::write(&file.join("entry"), b"x").err().unwrap();
        assert!(matches!(error, DataError::Cache { .. }), "{error}");
    }
}
