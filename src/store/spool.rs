//! Spool files, which hold large bodies while they arrive: compressed, in blocks. They have no name in any folder,
//! so nothing remains when the program ends or crashes.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::StoreError;
use super::errors::Trouble;
use super::packing::{BodyDigest, pack, unpack_into};
use crate::cause::Cause;

/// A body that is being written to a file. Its methods block on the disk.
pub struct SpoolFile {
    file: File,
    blocks: Vec<Block>,
    /// Bytes in the file.
    end: u64,
    /// Bytes of the body.
    size: usize,
    /// The digest of all blocks as they are in the file.
    digest: Sha256,
}

/// The position of a block in the file.
#[derive(Clone, Copy)]
struct Block {
    start: u64,
    /// The compressed length.
    length: usize,
}

impl SpoolFile {
    /// Creates an empty, unnamed file in a folder.
    pub(super) fn new(folder: &Path) -> Result<Self, StoreError> {
        let file = tempfile::tempfile_in(folder).map_err(failed)?;
        Ok(Self {
            file,
            blocks: Vec::new(),
            end: 0,
            size: 0,
            digest: Sha256::new(),
        })
    }

    /// Appends the next part of the body.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn append(&mut self, block: &[u8]) -> Result<(), StoreError> {
        if block.is_empty() {
            return Ok(());
        }
        let packed = pack(block);
        let written = self.file.write_all_at(&packed, self.end);
        written.map_err(failed)?;
        self.blocks.push(Block {
            start: self.end,
            length: packed.len(),
        });
        self.digest.update(&packed);
        self.end += packed.len() as u64;
        self.size += block.len();
        Ok(())
    }

    /// The complete body.
    pub fn finish(self) -> SpooledBody {
        SpooledBody(self)
    }
}

/// A complete body in a file. Reading it may block on the disk.
pub struct SpooledBody(SpoolFile);

impl SpooledBody {
    /// The size of the body in bytes.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// Appends the whole body to a buffer.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn read_into(&self, buffer: &mut Vec<u8>) -> Result<(), StoreError> {
        let mut packed = Vec::new();
        for block in &self.0.blocks {
            self.read_block(*block, &mut packed)?;
            unpack_into(&packed, buffer)?;
            // What is small goes first.
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Identifies the body's content.
    pub(super) fn digest(&self) -> BodyDigest {
        BodyDigest::new(self.0.digest.clone())
    }

    /// Compressed blocks as they are in the file, starting with a given one: at least one, and then as many as have
    /// at most `most` bytes together. None after the last block.
    pub(super) fn packed_blocks(
        &self,
        first: usize,
        most: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        let mut some = Vec::new();
        let mut bytes = 0;
        for block in self.0.blocks.iter().skip(first) {
            bytes += block.length;
            if bytes > most && !some.is_empty() {
                break;
            }
            let mut packed = Vec::new();
            self.read_block(*block, &mut packed)?;
            some.push(packed.into());
        }
        Ok(some)
    }

    fn read_block(&self, block: Block, packed: &mut Vec<u8>) -> Result<(), StoreError> {
        packed.resize(block.length, 0);
        let read = self.0.file.read_exact_at(packed, block.start);
        read.map_err(failed)
    }
}

fn failed(error: io::Error) -> StoreError {
    let (words, kind) = (format!("a file for a large body: {error}"), error.kind());
    let trouble = Trouble::new(words, Cause::of(error));
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreError::Full(trouble)
        }
        ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(trouble),
        _ => StoreError::Unreachable(trouble),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn spooled(folder: &TempDir, blocks: &[&[u8]]) -> SpooledBody {
        let mut file = SpoolFile::new(folder.path()).unwrap();
        for block in blocks {
            file.append(block).unwrap();
        }
        file.finish()
    }

    #[test]
    fn a_body_is_read_as_it_was_written_and_leaves_nothing_in_the_folder() {
        let folder = TempDir::new().unwrap();
        let body = spooled(&folder, &[b"one ", b"", &[7; 100_000], b"!"]);

        let mut read = b"before ".to_vec();
        body.read_into(&mut read).unwrap();

        assert_eq!(
            read,
            [b"before one ".as_slice(), &[7; 100_000], b"!"].concat()
        );
        assert_eq!(body.size(), 100_005);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn blocks_are_given_some_at_a_time_and_never_none_before_the_end() {
        let folder = TempDir::new().unwrap();
        let body = spooled(&folder, &[b"one", b"two", b"three"]);
        let one = pack(b"one").len();

        let counts = [
            body.packed_blocks(0, 0),
            body.packed_blocks(0, 2 * one),
            body.packed_blocks(1, 1_000),
            body.packed_blocks(3, 1_000),
        ]
        .map(|some| some.unwrap().len());

        assert_eq!(counts, [1, 2, 2, 0]);
    }
}
