//! Reading a journal as it grows.

use super::OrchestrateError;
use experiment::event::{Line, LineError};
use experiment::folder::JOURNAL;
use nix::fcntl::OFlag;
use rayon::prelude::*;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Lines that are decoded on one thread: fewer are not worth another.
const AT_ONCE: usize = 256;

/// A journal and how far it has been read.
pub struct Tail {
    path: PathBuf,
    offset: u64,
}

impl Tail {
    /// Starts at the beginning of the journal in a run's folder.
    pub fn new(folder: &Path) -> Self {
        Self {
            path: folder.join(JOURNAL),
            offset: 0,
        }
    }

    /// Reads the whole lines added since the last call; damaged ones are logged and left out.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn read(&mut self) -> Result<Vec<Line>, OrchestrateError> {
        let failed = |source| OrchestrateError::Io {
            action: "read",
            path: self.path.clone(),
            source,
        };
        // A pipe in its place would never be opened, or have an end.
        let flags = OFlag::O_NONBLOCK.bits();
        let mut file = match OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&self.path)
        {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.map_err(failed)?,
        };
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(std::io::Error::other("it is no file")));
        }
        file.seek(SeekFrom::Start(self.offset)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        // A line without its newline is still being written.
        let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') else {
            return Ok(Vec::new());
        };
        bytes.truncate(end + 1);
        self.offset += bytes.len() as u64;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let decoded = lines.par_iter().with_min_len(AT_ONCE);
        Ok(decoded.filter_map(|line| self.decode(line)).collect())
    }

    fn decode(&self, text: &str) -> Option<Line> {
        match Line::decode(text) {
            Ok(line) => Some(line),
            Err(
                error @ (LineError::Malformed(_) | LineError::Damaged | LineError::Newer { .. }),
            ) => {
                tracing::warn!(journal = %self.path.display(), %error, "line left out");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiment::event::Event;
    use std::fs::File;
    use std::io::Write;

    #[test]
    fn only_whole_sound_lines_are_read_and_each_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut tail = Tail::new(folder.path());
        assert_eq!(tail.read().expect("no journal yet"), []);
        let mut file = File::create(folder.path().join(JOURNAL)).expect("a journal");
        let first = Line::new(0, 1.0, Event::Checkpointed { step: 1 });
        let second = Line::new(1, 2.0, Event::Finished);
        let text = second.encode();
        let (half, rest) = text.split_at(10);
        write!(file, "{}\ngarbage\n\n{half}", first.encode()).expect("written");
        assert_eq!(tail.read().expect("readable"), [first]);
        assert_eq!(tail.read().expect("readable"), []);
        writeln!(file, "{rest}").expect("written");
        assert_eq!(tail.read().expect("readable"), [second]);
    }
}
