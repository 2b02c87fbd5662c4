//! The stored form of bodies: compressed and identified by a digest.

use sha2::{Digest, Sha256};

use super::StoreError;

/// Identifies a body: the first 16 bytes of the SHA-256 of its compressed bytes. Another program version may
/// compress differently; it then takes a repeated body for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyDigest([u8; 16]);

impl BodyDigest {
    pub(super) fn new(hashed: Sha256) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&hashed.finalize()[..16]);
        Self(digest)
    }

    /// The digest of compressed bytes.
    pub(super) fn of(packed: &[u8]) -> Self {
        Self::new(Sha256::new_with_prefix(packed))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Compresses bytes to an LZ4 block after their number in four bytes (little-endian).
pub(super) fn pack(bytes: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress_prepend_size(bytes)
}

/// Appends the decompressed bytes to a buffer.
pub(super) fn unpack_into(packed: &[u8], buffer: &mut Vec<u8>) -> Result<(), StoreError> {
    let wrong = |error: &dyn std::fmt::Display| StoreError::corrupt(format!("a body: {error}"));
    let (size, block) =
        lz4_flex::block::uncompressed_size(packed).map_err(|error| wrong(&error))?;
    let start = buffer.len();
    buffer.resize(start + size, 0);
    let written = lz4_flex::block::decompress_into(block, &mut buffer[start..]);
    match written {
        Ok(written) if written == size => Ok(()),
        Ok(written) => Err(wrong(&format!("{written} bytes of {size}"))),
        Err(error) => Err(wrong(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_packed_block_is_an_error() {
        for wrong in [
            &b""[..],
            b"abc",
            &[9, 0, 0, 0, 0x10, b'a'],
            &[1, 0, 0, 0, 0xff, 0xff],
        ] {
            let unpacked = unpack_into(wrong, &mut Vec::new());
            assert!(matches!(unpacked, Err(StoreError::Corrupt(_))), "{wrong:?}");
        }
    }
}
