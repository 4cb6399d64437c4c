//! A run's journal: the file its events are appended to, one JSON line each.

use super::TrainError;
use crate::clock::now;
use crate::event::{Event, JOURNAL, Line};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    next: u64,
}

impl Journal {
    /// Opens a run's journal to append to it; a torn last line of an earlier attempt is ended.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub fn open(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(JOURNAL);
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(TrainError::io("open", &path))?;
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(0))
            .map_err(TrainError::io("read", &path))?;
        file.read_to_end(&mut text)
            .map_err(TrainError::io("read", &path))?;
        let next = String::from_utf8_lossy(&text)
            .lines()
            .filter_map(|line| Line::decode(line).ok())
            .map(|line| line.seq + 1)
            .max()
            .unwrap_or(0);
        if text.last().is_some_and(|&last| last != b'\n') {
            file.write_all(b"\n")
                .map_err(TrainError::io("append to", &path))?;
        }
        Ok(Self { file, path, next })
    }

    /// Appends an event.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn append(&mut self, event: Event) -> Result<(), TrainError> {
        let mut text = Line::new(self.next, now(), event).encode();
        text.push('\n');
        // One write a line: a crash tears at most the last.
        self.file
            .write_all(text.as_bytes())
            .map_err(TrainError::io("append to", &self.path))?;
        self.next += 1;
        Ok(())
    }

    /// Makes everything appended so far safe on disk.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn sync(&mut self) -> Result<(), TrainError> {
        self.file
            .sync_data()
            .map_err(TrainError::io("sync", &self.path))
    }
}
