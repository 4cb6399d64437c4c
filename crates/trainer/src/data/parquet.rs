//! Parquet files that may be damaged: polars panics at some, and asks for more memory than there is at
//! others.

use experiment::quietly::quietly;
use polars::prelude::PolarsResult;

/// Reads a Parquet file by `read`, once its footer is sound.
///
/// # Errors
/// Why it cannot be read, in words.
pub fn undamaged<T>(file: &[u8], read: impl FnOnce() -> PolarsResult<T>) -> Result<T, String> {
    if !footer_is_sound(file) {
        return Err("its footer is damaged".into());
    }
    quietly(read)
        .map_err(|panicked| panicked.to_string())?
        .map_err(|error| error.to_string())
}

/// Says whether the metadata behind the data name no more than there is.
///
/// # Source
/// Parquet's file format (metadata, their length in four bytes, `PAR1`) and Thrift's compact protocol.
fn footer_is_sound(file: &[u8]) -> bool {
    let Some((rest, length)) = file
        .strip_suffix(b"PAR1")
        .and_then(<[u8]>::split_last_chunk)
    else {
        return false;
    };
    let length = u32::from_le_bytes(*length) as usize;
    let Some(start) = rest.len().checked_sub(length) else {
        return false;
    };
    let mut thrift = Thrift(&rest[start..]);
    thrift.structure(0).is_some()
}

/// What is left of a value in Thrift's compact protocol.
struct Thrift<'a>(&'a [u8]);

/// Deeper nesting is damage: Parquet's own is six.
const MOST_DEPTH: usize = 32;

impl Thrift<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.0.first()?;
        self.skip(1)?;
        Some(byte)
    }

    /// Reads seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Reads how many elements of at least a byte each follow.
    fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len()).then_some(count)
    }

    fn structure(&mut self, depth: usize) -> Option<()> {
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Some(());
            }
            if header >> 4 == 0 {
                self.number()?;
            }
            match header & 15 {
                // The header holds the truth itself.
                1 | 2 => {}
                kind => self.value(kind, depth)?,
            }
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > MOST_DEPTH {
            return None;
        }
        match kind {
            1..=3 => self.skip(1),
            4..=6 => self.number().map(|_| ()),
            7 => self.skip(8),
            8 => {
                let length = self.count()?;
                self.skip(length)
            }
            9 | 10 => {
                let header = self.byte()?;
                let count = match header >> 4 {
                    15 => self.count()?,
                    few => usize::from(few),
                };
                (0..count).try_for_each(|_| self.value(header & 15, depth + 1))
            }
            11 => {
                let count = self.count()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (0..count).try_for_each(|_| {
                    self.value(kinds >> 4, depth + 1)?;
                    self.value(kinds & 15, depth + 1)
                })
            }
            12 => self.structure(depth + 1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polars::prelude::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn file() -> Vec<u8> {
        let columns = vec![
            Column::new("loss".into(), [Some(2.1), None]),
            Column::new("run".into(), ["a", "b"]),
        ];
        let mut bytes = Vec::new();
        let mut frame = DataFrame::new(2, columns).unwrap();
        ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
        bytes
    }

    fn read(file: &[u8]) -> Result<DataFrame, String> {
        undamaged(file, || ParquetReader::new(Cursor::new(file)).finish())
    }

    #[test]
    fn a_whole_file_is_read_and_a_cut_one_is_told() {
        let file = file();
        assert_eq!(read(&file).unwrap().height(), 2);
        for end in [0, 3, 8, file.len() - 1] {
            assert!(read(&file[..end]).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn no_damage_panics(at in 0..1000_usize, byte in 0..=255_u8, more in 0..1000_usize) {
            let mut file = file();
            let (at, more) = (at % file.len(), more % file.len());
            file[at] = byte;
            file[more] ^= byte;
            let _ = read(&file);
        }
    }
}
