//! A run's journal: the file its events are appended to, one JSON line each.

use super::TrainError;
use experiment::clock::now;
use experiment::event::{Event, Line, Measurement};
use experiment::folder::JOURNAL;
use experiment::run_claim::Fence;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    next: u64,
    /// Whether the last line was not written whole.
    torn: bool,
    /// Steps whose held-out loss it holds.
    validated: HashSet<u64>,
    finished: bool,
    /// Rows of measurements it holds.
    rows: usize,
    before: Before,
    /// What keeps it from writing once its run is another's.
    fence: Option<Fence>,
}

/// What earlier attempts had come to.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// The last step that was measured.
    pub step: Option<u64>,
    /// The last row with a held-out loss.
    pub validated: Option<Measurement>,
    /// The newest checkpoint.
    pub checkpoint: Option<u64>,
}

impl Journal {
    /// Opens a run's journal to append to it; after a torn last line comes a new one.
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
        let mut journal = Self {
            file,
            path,
            next: 0,
            torn: text.last().is_some_and(|&last| last != b'\n'),
            validated: HashSet::new(),
            finished: false,
            rows: 0,
            before: Before::default(),
            fence: None,
        };
        for line in String::from_utf8_lossy(&text).lines() {
            let Ok(line) = Line::decode(line) else {
                continue;
            };
            journal.next = journal.next.max(line.seq.saturating_add(1));
            match line.event {
                Event::Measured(row) => {
                    journal.rows += 1;
                    journal.before.step = Some(row.step);
                    if row.validation_loss.is_some() {
                        journal.validated.insert(row.step);
                        journal.before.validated = Some(row);
                    }
                }
                Event::Checkpointed { step } => journal.before.checkpoint = Some(step),
                Event::Finished => journal.finished = true,
                _ => {}
            }
        }
        Ok(journal)
    }

    /// Writes only as long as a claim holds.
    #[must_use]
    pub fn fenced(self, fence: Option<Fence>) -> Self {
        Self { fence, ..self }
    }

    /// Makes sure that its run is still this process's to train: before what is kept of it is written.
    ///
    /// # Errors
    /// When it is another's.
    pub fn guard(&self) -> Result<(), TrainError> {
        match &self.fence {
            Some(fence) if !fence.holds() => Err(TrainError::Fenced),
            _ => Ok(()),
        }
    }

    /// Says whether it held the held-out loss after `step` steps when it was opened.
    pub fn was_validated(&self, step: u64) -> bool {
        self.validated.contains(&step)
    }

    /// Says whether it held the end of the run when it was opened.
    pub fn was_finished(&self) -> bool {
        self.finished
    }

    /// Counts the rows of measurements that it held when it was opened.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Says what earlier attempts had come to when it was opened.
    pub fn before(&self) -> &Before {
        &self.before
    }

    /// Appends an event.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn append(&mut self, event: Event) -> Result<(), TrainError> {
        if self.fence.as_ref().is_some_and(|fence| !fence.held()) {
            return Err(TrainError::Fenced);
        }
        let mut text = Line::new(self.next, now(), event).encode();
        if self.torn {
            text.insert(0, '\n');
        }
        text.push('\n');
        // One write a line: a crash tears at most the last.
        self.torn = true;
        self.file
            .write_all(text.as_bytes())
            .map_err(TrainError::io("append to", &self.path))?;
        self.torn = false;
        self.next += 1;
        Ok(())
    }

    /// Makes everything appended so far safe on disk.
    ///
    /// # Errors
    /// When the system cannot.
    pub fn sync(&mut self) -> Result<(), TrainError> {
        self.guard()?;
        self.file
            .sync_data()
            .map_err(TrainError::io("sync", &self.path))
    }
}
