//! A long sequence of token ids, read in pieces from wherever it lies.

use super::DataError;
use super::synthetic::Documents;
use experiment::run::TokenWidth;
use memmap2::Mmap;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Tokens hashed or scanned as one piece; fixed, so that a digest does not depend on threads.
const PIECE: u64 = 1 << 20;

/// A sequence of token ids: part of a memory-mapped file, or documents generated as they are read.
///
/// Cloning is cheap and shares what lies behind.
#[derive(Clone, Debug)]
pub struct TokenStream {
    source: Source,
    len: u64,
}

#[derive(Clone, Debug)]
enum Source {
    /// Parts, each with the position of its first token.
    Mapped(Arc<[(u64, Part)]>),
    Generated(Arc<Documents>),
}

/// Tokens in a memory-mapped file.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) map: Arc<Mmap>,
    /// Where the first one begins, in bytes.
    pub(super) offset: usize,
    pub(super) width: TokenWidth,
    /// How many there are.
    pub(super) len: u64,
}

impl Part {
    /// Returns the bytes of the tokens from `start` on.
    fn bytes(&self, start: u64) -> &[u8] {
        let width = self.width.bytes();
        let end = self.offset + self.len as usize * width;
        &self.map[self.offset + start as usize * width..end]
    }

    /// Reads the tokens from `start` on; an id that is negative or beyond 32 bits becomes the largest
    /// number, which no vocabulary has.
    fn copy(&self, start: u64, out: &mut [u32]) {
        fn read<const N: usize>(bytes: &[u8], out: &mut [u32], id: impl Fn([u8; N]) -> u32) {
            let (ids, _) = bytes.as_chunks::<N>();
            out.iter_mut().zip(ids).for_each(|(o, &b)| *o = id(b));
        }
        let bytes = self.bytes(start);
        match self.width {
            TokenWidth::U8 => read(bytes, out, |[id]| id.into()),
            TokenWidth::U16 => read(bytes, out, |id| u16::from_le_bytes(id).into()),
            TokenWidth::U32 => read(bytes, out, u32::from_le_bytes),
            TokenWidth::I64 => read(bytes, out, |id| {
                u32::try_from(i64::from_le_bytes(id)).unwrap_or(u32::MAX)
            }),
        }
    }
}

impl TokenStream {
    /// Views parts of mappings one after the other.
    ///
    /// The caller has checked that they lie inside.
    pub(super) fn mapped(parts: Vec<Part>) -> Self {
        let mut len = 0;
        let placed = parts.into_iter().map(|part| {
            let start = len;
            len += part.len;
            (start, part)
        });
        let placed: Arc<[(u64, Part)]> = placed.collect();
        Self {
            source: Source::Mapped(placed),
            len,
        }
    }

    /// Reads generated documents one after the other.
    pub(super) fn generated(documents: Documents) -> Self {
        let len = documents.stored_tokens();
        Self {
            source: Source::Generated(Arc::new(documents)),
            len,
        }
    }

    /// Returns the number of tokens.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Says whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the tokens from `start` on into `out`, filling it.
    ///
    /// # Panics
    /// If the range does not lie inside the stream, as with a slice.
    pub fn copy_range(&self, start: u64, out: &mut [u32]) {
        let end = start.checked_add(out.len() as u64);
        assert!(
            end.is_some_and(|end| end <= self.len),
            "{} tokens from {start} are outside a stream of {}",
            out.len(),
            self.len
        );
        match &self.source {
            Source::Mapped(parts) => {
                let (mut start, mut out) = (start, out);
                let first = parts.partition_point(|(from, part)| from + part.len <= start);
                for (from, part) in &parts[first..] {
                    let skipped = start - from;
                    let taken = (part.len - skipped).min(out.len() as u64);
                    let (now, later) = out.split_at_mut(taken as usize);
                    part.copy(skipped, now);
                    (start, out) = (start + taken, later);
                    if out.is_empty() {
                        break;
                    }
                }
            }
            Source::Generated(documents) => documents.copy_range(start, out),
        }
    }

    /// Finds the position of the first token that is outside a vocabulary.
    pub(super) fn first_outside(&self, vocab: usize) -> Option<u64> {
        self.pieces().find_map_first(|(start, ids)| {
            let index = ids.iter().position(|&id| id as usize >= vocab)?;
            Some(start + index as u64)
        })
    }

    /// Returns the largest id; 0 where there is none.
    pub(super) fn largest(&self) -> u32 {
        let pieces = self.pieces();
        let largest = pieces.filter_map(|(_, ids)| ids.into_iter().max()).max();
        largest.unwrap_or(0)
    }

    /// Hashes the ids, whatever the width they are stored in: SHA-256 over the SHA-256 of pieces.
    pub(super) fn digest(&self) -> [u8; 32] {
        let pieces: Vec<[u8; 32]> = self
            .pieces()
            .map(|(_, ids)| {
                let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
                Sha256::digest(&bytes).into()
            })
            .collect();
        let mut hash = Sha256::new_with_prefix(self.len.to_le_bytes());
        pieces.iter().for_each(|piece| hash.update(piece));
        hash.finalize().into()
    }

    fn pieces(&self) -> impl ParallelIterator<Item = (u64, Vec<u32>)> {
        (0..self.len.div_ceil(PIECE)).into_par_iter().map(|piece| {
            let start = piece * PIECE;
            let mut ids = vec![0; PIECE.min(self.len - start) as usize];
            self.copy_range(start, &mut ids);
            (start, ids)
        })
    }
}

/// Maps a file into memory.
///
/// # Errors
/// If it is missing, a directory, empty or unreadable.
pub(super) fn map_file(path: &Path) -> Result<Mmap, DataError> {
    let file = File::open(path).map_err(|source| DataError::reading(path, source))?;
    let meta = file
        .metadata()
        .map_err(|source| DataError::reading(path, source))?;
    if meta.is_dir() {
        return Err(DataError::Directory {
            path: path.to_path_buf(),
        });
    }
    if meta.len() == 0 {
        return Err(DataError::Empty {
            path: path.to_path_buf(),
        });
    }
    // SAFETY: the mapping is read-only and only ever read as bytes, for which every value is
    // valid. Another process that rewrote the file in place could change what is read or, by
    // shortening it, end this process; caches are replaced by renaming, never rewritten, and a
    // token file is the user's input, which must stay as it is while a run reads it.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) };
    map.map_err(|source| DataError::reading(path, source))
}
