//! Files that are written whole or not at all.

use super::ReportError;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that takes its name when it is complete; until then, and when it is given up, nobody sees
/// it.
pub(super) struct WholeFile {
    path: PathBuf,
    temporary: PathBuf,
    /// `None` once it has its name.
    writer: Option<BufWriter<File>>,
}

impl WholeFile {
    /// Begins a file, and makes the folder it lies in.
    ///
    /// # Errors
    /// When either cannot be made.
    pub(super) fn create(path: &Path) -> Result<Self, ReportError> {
        let wrong = |source| refused(path, source);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(wrong)?;
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let file = File::create(&temporary).map_err(wrong)?;
        Ok(Self {
            path: path.to_owned(),
            temporary: temporary.into(),
            writer: Some(BufWriter::new(file)),
        })
    }

    /// Writes some of it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), ReportError> {
        self.write_all(bytes)
            .map_err(|source| refused(&self.path, source))
    }

    /// Gives the file its name, in place of one that has it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn finish(mut self) -> Result<PathBuf, ReportError> {
        self.flush()
            .and_then(|()| std::fs::rename(&self.temporary, &self.path))
            .map_err(|source| refused(&self.path, source))?;
        self.writer = None;
        Ok(self.path.clone())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if self.writer.is_some() {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

fn refused(path: &Path, source: std::io::Error) -> ReportError {
    ReportError::Write {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/a.txt");
        let mut file = WholeFile::create(&path).expect("begun");
        file.put(b"half").expect("written");
        drop(file);
        let left = std::fs::read_dir(folder.path().join("deep")).expect("listed");
        assert_eq!(left.count(), 0);

        let mut file = WholeFile::create(&path).expect("begun");
        file.put(b"all").expect("written");
        assert!(!path.exists(), "not before it is complete");
        file.finish().expect("named");
        assert_eq!(std::fs::read(&path).expect("there"), b"all");
    }
}
