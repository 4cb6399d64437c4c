//! Parquet files that may be damaged: their readers panic at some, and ask for more memory than there is
//! at others.

use crate::quietly::quietly;
use std::fmt::Display;

/// Reads a Parquet file by `read`, once its footer is sound.
///
/// # Errors
/// Why it cannot be read, in words.
pub fn undamaged<T, E: Display>(
    file: &[u8],
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, String> {
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
    let mut thrift = Thrift {
        rest: &rest[start..],
        most: (file.len() as u64)
            .saturating_mul(MOST_PACKED)
            .max(MOST_SMALL),
    };
    thrift.structure(0).is_some()
}

/// Bytes or rows that a byte of a file may stand for: memory is asked for by numbers in the footer.
const MOST_PACKED: u64 = 1024;

/// The same that a file may stand for, however small it is.
const MOST_SMALL: u64 = 1 << 28;

/// A value in Thrift's compact protocol.
struct Thrift<'a> {
    /// What is left of it.
    rest: &'a [u8],
    /// The largest number that it may hold.
    most: u64,
}

/// Deeper nesting is damage: Parquet's own is six.
const MOST_DEPTH: usize = 32;

impl Thrift<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.rest.first()?;
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
        (count <= self.rest.len()).then_some(count)
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
            // Zigzag: the sign is the lowest bit.
            4..=6 => (self.number()? >> 1 <= self.most).then_some(()),
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

    fn file(footer: &[u8]) -> Vec<u8> {
        let length = (footer.len() as u32).to_le_bytes();
        [b"PAR1", footer, &length, b"PAR1"].concat()
    }

    #[test]
    fn a_footer_names_no_more_than_there_is() {
        let read = |footer: &[u8]| undamaged(&file(footer), || Ok::<_, String>(1)).is_ok();
        // A field 1 of type i32, and a list of two bytes; then the end.
        assert!(read(&[0x15, 0x02, 0x19, 0x23, 7, 7, 0]));
        // A list of 2^58 bytes, text of 200 bytes, a structure without its end, an unknown type.
        let huge = [
            0x19, 0xf3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x04, 0,
        ];
        for damaged in [
            &huge[..],
            &[0x18, 0xc8, 0x01, b'a', 0],
            &[0x15, 0x02],
            &[0x1d, 0],
        ] {
            assert!(!read(damaged), "{damaged:?}");
        }
        // More rows than so small a file may have.
        assert!(!read(&[0x16, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0]));
        // Lists in lists, without end.
        assert!(!read(&[0x19; 200]));
        assert!(undamaged(b"PAR1PAR1", || Ok::<_, String>(1)).is_err());
    }
}
