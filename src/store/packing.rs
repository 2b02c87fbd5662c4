//! The form in which bodies are kept: compressed, and told apart by a digest.

use sha2::{Digest, Sha256};

use super::StoreError;

/// What tells a body from others: the first 16 bytes of the SHA-256 of its compressed bytes. Another version may
/// compress them in another way; it takes a body that comes again for a new one then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyDigest([u8; 16]);

impl BodyDigest {
    pub(super) fn new(hashed: Sha256) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&hashed.finalize()[..16]);
        Self(digest)
    }

    /// Of bytes that are compressed already.
    pub(super) fn of(packed: &[u8]) -> Self {
        Self::new(Sha256::new_with_prefix(packed))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Compresses bytes: their number as four bytes (little-endian), and an LZ4 block.
pub(super) fn pack(bytes: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress_prepend_size(bytes)
}

/// Writes what was packed behind what is in a buffer.
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
