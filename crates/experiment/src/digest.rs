//! SHA-256 in hexadecimal digits.

use sha2::{Digest, Sha256};

/// Writes bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Computes all 64 digits of some content.
pub fn sha256(content: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(content))
}

/// Names a text by the first 12 digits: of a million texts, two have the same name with a chance of
/// 1 in 500.
pub fn name(text: &str) -> String {
    hex(&Sha256::digest(text)[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// # Source
    /// FIPS 180-2, appendix B.1.
    #[test]
    fn digits_are_those_of_the_standard() {
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256("abc"), digits);
        assert_eq!(name("abc"), &digits[..12]);
    }
}
