//! What a file is by its first bytes, whatever its name.

/// Forms that are known by how they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Magic {
    Gzip,
    Zstd,
    Parquet,
    Numpy,
    /// A form that is not read: what it is, and what would be right.
    Foreign(&'static str, &'static str),
}

/// Marks of forms that are not read, of three bytes or more: two may be a token.
const FOREIGN: &[(&[u8], &str, &str)] = &[
    (b"BZh", "compressed with bzip2", "unpack it with `bunzip2`"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it with `unxz`"),
    (
        b"\x04\x22\x4d\x18",
        "compressed with lz4",
        "unpack it with `unlz4`",
    ),
    (
        b"PK\x03\x04",
        "a ZIP archive (as `np.savez` and PyTorch write them too)",
        "unpack it; of arrays save each alone, with `np.save`",
    ),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (
        b"%PDF-",
        "a PDF document",
        "extract its text, for example with `pdftotext`",
    ),
    (b"ARROW1", "an Arrow file", "write it as Parquet"),
    (b"FEA1", "a Feather file", "write it as Parquet"),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file",
        "save its array with `np.save`",
    ),
    (
        b"SQLite format 3\0",
        "an SQLite database",
        "export its text as JSON lines",
    ),
    (
        b"Obj\x01",
        "an Avro file",
        "write it as JSON lines or Parquet",
    ),
    (
        b"MMIDIDX\0\0",
        "the index of a Megatron data set",
        "name the .bin file beside it, with its `width`",
    ),
    (
        b"\x80\x04\x95",
        "a Python pickle",
        "save its array with `np.save`",
    ),
];

/// Finds the form of a file by how it begins.
pub(super) fn recognise(bytes: &[u8]) -> Option<Magic> {
    let begins = |mark: &[u8]| bytes.starts_with(mark);
    let at = |place: usize, mark: &[u8]| bytes.get(place..place + mark.len()) == Some(mark);
    // Flags of gzip beyond these five are reserved.
    if begins(&[0x1f, 0x8b, 8]) && bytes.get(3).is_some_and(|flags| *flags < 32) {
        return Some(Magic::Gzip);
    }
    if begins(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Some(Magic::Zstd);
    }
    if begins(b"PAR1") && bytes.ends_with(b"PAR1") {
        return Some(Magic::Parquet);
    }
    if begins(b"\x93NUMPY") {
        return Some(Magic::Numpy);
    }
    if at(257, b"ustar") {
        return Some(Magic::Foreign("a tar archive", "unpack it"));
    }
    // A safetensors file begins with the length of its JSON.
    if at(8, b"{\"") && at(5, &[0; 3]) {
        return Some(Magic::Foreign(
            "a safetensors file",
            "save its array with `np.save`",
        ));
    }
    let known = FOREIGN.iter().find(|(mark, ..)| begins(mark));
    known.map(|(_, what, right)| Magic::Foreign(what, right))
}
