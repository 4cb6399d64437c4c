//! The header of a NumPy array.
//!
//! # Source
//! NumPy Enhancement Proposal 1, the .npy format: a magic string, a version, the length of the header,
//! and the header, a Python dictionary with `descr`, `fortran_order` and `shape`.

use experiment::run::TokenWidth;

/// What a header says: where the numbers begin, their width, how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Array {
    pub(super) offset: usize,
    pub(super) width: TokenWidth,
    pub(super) len: u64,
}

/// Reads a header; the error says what is wrong and what would be right.
pub(super) fn read(bytes: &[u8]) -> Result<Array, String> {
    let broken = || "its NumPy header is damaged; save the array again with `np.save`".to_owned();
    let field = |range: std::ops::Range<usize>| bytes.get(range).ok_or_else(broken);
    let (start, length) = match field(6..7)?[0] {
        1 => (
            10,
            usize::from(u16::from_le_bytes([field(8..9)?[0], field(9..10)?[0]])),
        ),
        2 | 3 => {
            let length = field(8..12)?.iter().rev();
            (
                12,
                length.fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            )
        }
        version => {
            return Err(format!(
                "its .npy format {version} is not known; 1 to 3 are"
            ));
        }
    };
    let header = field(start..start + length)?;
    let header = std::str::from_utf8(header).map_err(|_| broken())?;
    let value = |key: &str| {
        let (_, rest) = header.split_once(&format!("'{key}':"))?;
        Some(rest.trim_start())
    };
    let kind = value("descr").ok_or_else(broken)?;
    let kind = kind
        .strip_prefix('\'')
        .and_then(|rest| rest.split('\'').next());
    let kind = kind.ok_or("its array has several fields; save the ids alone with `np.save`")?;
    let width = match kind {
        "|u1" => TokenWidth::U8,
        "<u2" => TokenWidth::U16,
        "<u4" | "<i4" => TokenWidth::U32,
        "<u8" | "<i8" => TokenWidth::I64,
        other => {
            return Err(format!(
                "its NumPy type is `{other}`; save the ids as unsigned little-endian integers, with \
                 `np.save(file, ids.astype('<u4'))`"
            ));
        }
    };
    let shape = value("shape").and_then(|rest| rest.strip_prefix('('));
    let (shape, _) = shape
        .and_then(|rest| rest.split_once(')'))
        .ok_or_else(broken)?;
    let sides: Vec<&str> = shape
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty())
        .collect();
    let [len] = sides[..] else {
        return Err(format!(
            "its NumPy array has the shape ({shape}), and one dimension is read; save it with \
             `np.save(file, ids.reshape(-1))` if its rows follow each other"
        ));
    };
    let len = len.parse().map_err(|_| broken())?;
    let offset = start + length;
    let found = bytes.len() - offset;
    if (width.bytes() as u64).checked_mul(len) != Some(found as u64) {
        return Err(format!(
            "its NumPy header promises {len} numbers of {} bytes, {found} bytes follow; it may be cut off",
            width.bytes()
        ));
    }
    Ok(Array { offset, width, len })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Writes an array as NumPy does, in the given version of the format.
    pub(crate) fn npy(version: u8, kind: &str, shape: &str, payload: &[u8]) -> Vec<u8> {
        let mut header =
            format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
        let start = if version == 1 { 10 } else { 12 };
        while (start + header.len() + 1) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        let mut file = [b"\x93NUMPY".as_slice(), &[version, 0]].concat();
        let length = (header.len() as u32).to_le_bytes();
        file.extend(&length[..start - 8]);
        file.extend(header.as_bytes());
        file.extend(payload);
        file
    }

    #[test]
    fn one_dimension_of_integers_is_read() {
        for (kind, width) in [
            ("|u1", TokenWidth::U8),
            ("<u2", TokenWidth::U16),
            ("<u4", TokenWidth::U32),
            ("<i4", TokenWidth::U32),
            ("<i8", TokenWidth::I64),
        ] {
            for version in 1..=3 {
                let file = npy(version, kind, "24,", &vec![0; 24 * width.bytes()]);
                let array = read(&file).unwrap();
                assert_eq!((array.width, array.len, array.offset % 64), (width, 24, 0));
            }
        }
    }

    #[test]
    fn other_arrays_are_refused_with_what_would_be_right() {
        for (kind, shape, payload, said) in [
            (">u2", "24,", 48, "`>u2`"),
            ("<f4", "24,", 96, "`<f4`"),
            ("<u2", "4, 6", 48, "the shape (4, 6)"),
            ("<u2", "", 2, "the shape ()"),
            (
                "<u2",
                "24,",
                46,
                "promises 24 numbers of 2 bytes, 46 bytes follow",
            ),
        ] {
            let error = read(&npy(1, kind, shape, &vec![0; payload])).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(read(b"\x93NUMPY\x01\0\xff\xff{'descr'").is_err());
        assert!(read(b"\x93NUMPY").is_err());
    }
}
