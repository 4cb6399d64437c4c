//! What a trainer prints: read as it comes, kept in a log that does not grow without end.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

pub(super) use std::sync::mpsc::{Receiver, RecvTimeoutError};

/// Bytes after which a log begins anew; the piece before it stays.
const PIECE: u64 = 16 << 20;
/// Bytes of a line that are kept together; a longer one is taken as several.
const LONGEST_LINE: usize = 64 << 10;
/// Last bytes that are kept to say what went wrong.
const TAIL: usize = 16 << 10;
/// Pieces of output that may wait: a trainer that prints faster than its log can be written waits.
const WAITING: usize = 16;

/// Starts to read some streams to their ends: whole lines come together.
pub(super) fn read(streams: Vec<Box<dyn Read + Send>>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(WAITING);
    for mut stream in streams {
        let sender = sender.clone();
        thread::spawn(move || pump(&mut stream, &sender));
    }
    receiver
}

fn pump(stream: &mut dyn Read, sender: &SyncSender<Vec<u8>>) {
    let mut buffer = vec![0; LONGEST_LINE];
    let mut open = Vec::new();
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => 0,
        };
        open.extend_from_slice(&buffer[..read]);
        // A progress bar ends its lines with carriage returns.
        let end = open.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        let whole = match end {
            _ if read == 0 || open.len() >= 2 * LONGEST_LINE => open.len(),
            Some(end) => end + 1,
            None => 0,
        };
        if whole > 0 {
            let rest = open.split_off(whole);
            if sender.send(std::mem::replace(&mut open, rest)).is_err() {
                return;
            }
        }
        if read == 0 {
            return;
        }
    }
}

/// The log of an attempt.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    length: u64,
    tail: VecDeque<u8>,
}

impl Log {
    /// Opens a log to append to it.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            length: file.metadata()?.len(),
            file,
            tail: VecDeque::new(),
        })
    }

    /// Appends some lines; what cannot be written is lost, and training goes on.
    pub(super) fn write(&mut self, lines: &[u8]) {
        self.tail.extend(lines.iter().rev().take(TAIL).rev());
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
        if self.length > PIECE {
            let before = self.path.with_extension("before.txt");
            let renamed = std::fs::rename(&self.path, before);
            let opened = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path);
            if let (Ok(()), Ok(file)) = (renamed, opened) {
                (self.file, self.length) = (file, 0);
            }
        }
        if self.file.write_all(lines).is_ok() {
            self.length += lines.len() as u64;
        }
    }

    /// Says something in the log that the trainer did not.
    pub(super) fn note(&mut self, text: &str) {
        self.write(format!("orchestrator: {text}\n").as_bytes());
    }

    /// The last lines, at most so many bytes.
    pub(super) fn tail(&self, most: usize) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        let from = bytes.len().saturating_sub(most);
        String::from_utf8_lossy(&bytes[from..]).trim().to_owned()
    }

    /// Says whether its last lines are those of a process for which there was no memory.
    pub(super) fn says_out_of_memory(&self) -> bool {
        let said = self.tail(TAIL).to_lowercase();
        [
            "out of memory",
            "out_of_memory",
            "outofmemoryerror",
            "memoryerror",
            "cannot allocate memory",
        ]
        .iter()
        .any(|words| said.contains(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_newest_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.1.txt");
        let mut log = Log::open(&path).expect("opened");
        let line = vec![b'x'; 1 << 20];
        for _ in 0..70 {
            log.write(&line);
        }
        log.note("the end");
        let size = |name: &str| {
            let path = folder.path().join(name);
            path.metadata().expect("there").len()
        };
        assert!(size("log.1.txt") <= PIECE + (2 << 20));
        assert!(size("log.1.before.txt") <= PIECE + (2 << 20));
        assert!(log.tail(40).ends_with("orchestrator: the end"));
    }

    #[test]
    fn lines_come_whole_and_a_last_one_without_end_too() {
        let text = b"one\ntwo\nthree".to_vec();
        let received = read(vec![Box::new(std::io::Cursor::new(text))]);
        let pieces: Vec<Vec<u8>> = received.iter().collect();
        assert_eq!(pieces, [b"one\ntwo\n".to_vec(), b"three".to_vec()]);
    }
}
