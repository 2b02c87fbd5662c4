//! The bodies of deliveries: small ones in their delivery's row, large ones in blocks that are stored before it.
//!
//! `unfinished_bodies` names each delivery whose blocks are stored but whose row is not, so that the blocks can be
//! removed if the process dies in between.

use bytes::Bytes;
use jiff::Timestamp;

use super::database::{Transaction, insert_rows, params};
use super::packing::{BodyDigest, pack, unpack_into};
use super::spool::{SpoolFile, SpooledBody};
use super::{Store, StoreError, retry_on_conflict};
use crate::clock;

/// Bytes of blocks per transaction. Small deliveries must not wait long for the disk.
const BYTES_PER_TRANSACTION: usize = 1024 * 1024;
/// Blocks read at a time.
const BLOCKS_AT_ONCE: i64 = 4;
/// Bytes of the size prefix.
const SIZE_BYTES: usize = size_of::<u32>();

/// The body of a delivery that is about to be stored.
#[derive(Clone, Debug)]
pub enum DeliveryBody {
    /// As received.
    Whole(Bytes),
    /// In blocks that are already stored ([`Store::put_blocks`]).
    InBlocks {
        /// Its size in bytes.
        size: usize,
        /// Identifies the body's content.
        digest: BodyDigest,
    },
}

/// The part of a body that is stored in its delivery's row.
pub(super) struct PackedBody {
    pub bytes: Bytes,
    pub digest: BodyDigest,
}

impl DeliveryBody {
    /// Bytes held in memory.
    pub fn in_memory(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::InBlocks { .. } => 0,
        }
    }

    /// The part that is stored in the delivery's row.
    pub(super) fn packed(&self) -> Result<PackedBody, StoreError> {
        match self {
            Self::Whole(bytes) => {
                let packed = pack(bytes);
                Ok(PackedBody {
                    digest: BodyDigest::of(&packed),
                    bytes: packed.into(),
                })
            }
            Self::InBlocks { size, digest } => {
                let size = u32::try_from(*size).map_err(|_| {
                    StoreError::refused(format!("a body of {size} bytes is too large"))
                })?;
                Ok(PackedBody {
                    bytes: Bytes::copy_from_slice(&size.to_le_bytes()),
                    digest: *digest,
                })
            }
        }
    }
}

impl SpooledBody {
    /// The body for the delivery's row, once the blocks are stored.
    pub fn in_blocks(&self) -> DeliveryBody {
        DeliveryBody::InBlocks {
            size: self.size(),
            digest: self.digest(),
        }
    }

    /// Its blocks from number `first`, as many as one transaction stores. Empty at the end. Waits for the disk.
    ///
    /// # Errors
    ///
    /// The disk fails.
    pub fn some_blocks(&self, first: usize) -> Result<Vec<Bytes>, StoreError> {
        self.packed_blocks(first, BYTES_PER_TRANSACTION)
    }
}

/// The body of a stored delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredBody {
    /// As received.
    Whole(Bytes),
    /// In blocks; [`Store::read_body`] reads them.
    InBlocks {
        /// The delivery.
        delivery: String,
        /// The size of the body in bytes.
        size: usize,
    },
}

impl StoredBody {
    /// The size of the body in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::InBlocks { size, .. } => *size,
        }
    }

    /// Reads a body from its delivery's row.
    pub(super) fn read(delivery: &str, packed: &[u8]) -> Result<Self, StoreError> {
        if let Ok(size) = <[u8; SIZE_BYTES]>::try_from(packed) {
            return Ok(Self::InBlocks {
                delivery: delivery.to_owned(),
                size: usize::try_from(u32::from_le_bytes(size)).unwrap_or(usize::MAX),
            });
        }
        let mut body = Vec::new();
        unpack_into(packed, &mut body)?;
        Ok(Self::Whole(body.into()))
    }
}

impl Store {
    /// Creates a file that holds a large body while it arrives.
    ///
    /// # Errors
    ///
    /// The file cannot be created.
    pub fn spool_file(&self) -> Result<SpoolFile, StoreError> {
        SpoolFile::new(&self.database.spool_folder())
    }

    /// Stores some blocks of a body, starting with number `first`. The delivery is stored after all of them.
    ///
    /// # Errors
    ///
    /// The blocks could not be stored. Remove the earlier ones with [`Store::remove_blocks`]; otherwise a later start
    /// does so.
    pub async fn put_blocks(
        &self,
        delivery: &str,
        first: usize,
        blocks: &[Bytes],
    ) -> Result<(), StoreError> {
        retry_on_conflict(|| self.try_to_put_blocks(delivery, first, blocks)).await
    }

    async fn try_to_put_blocks(
        &self,
        delivery: &str,
        first: usize,
        blocks: &[Bytes],
    ) -> Result<(), StoreError> {
        let mut tx = self.database.begin().await?;
        if first == 0 {
            tx.execute(
                "INSERT INTO unfinished_bodies (delivery) VALUES ($1)",
                params![delivery],
            )
            .await?;
        }
        let rows = (first..).zip(blocks).map(|(seq, block)| {
            let seq = i64::try_from(seq).unwrap_or(i64::MAX);
            params![delivery, seq, block.clone()]
        });
        insert_rows(
            &mut *tx,
            "INSERT INTO body_blocks (delivery, seq, block)",
            "",
            rows.collect(),
        )
        .await?;
        tx.commit().await
    }

    /// Removes the blocks of a delivery, unless the delivery was stored after all.
    ///
    /// # Errors
    ///
    /// The blocks could not be removed.
    pub async fn remove_blocks(&self, delivery: &str) -> Result<(), StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            remove_unfinished(&mut *tx, delivery).await?;
            tx.commit().await
        })
        .await
    }

    /// Removes blocks whose process died before it stored their delivery. Call it only at the start, on a store
    /// that no other process uses.
    ///
    /// # Errors
    ///
    /// The blocks could not be removed.
    pub async fn remove_abandoned_bodies(&self) -> Result<(), StoreError> {
        if self.database.is_shared() {
            return Ok(());
        }
        self.remove_unfinished_bodies(Timestamp::MAX).await
    }

    /// Removes blocks that were stored before a given time and whose delivery never followed.
    ///
    /// # Errors
    ///
    /// The blocks could not be removed.
    pub async fn remove_unfinished_bodies(&self, before: Timestamp) -> Result<(), StoreError> {
        let rows = self
            .database
            .read(
                "SELECT delivery FROM unfinished_bodies WHERE delivery < $1",
                params![clock::first_id_of(before)],
            )
            .await?;
        for row in &rows {
            self.remove_blocks(&row.text("delivery")?).await?;
        }
        Ok(())
    }

    /// Appends a body to a buffer.
    ///
    /// # Errors
    ///
    /// The body cannot be read, or blocks are missing.
    pub async fn read_body(
        &self,
        body: &StoredBody,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let (delivery, size) = match body {
            StoredBody::Whole(bytes) => {
                buffer.extend_from_slice(bytes);
                return Ok(());
            }
            StoredBody::InBlocks { delivery, size } => (delivery, *size),
        };
        let start = buffer.len();
        let mut next = 0;
        loop {
            let rows = self
                .database
                .read(
                    "SELECT block FROM body_blocks WHERE delivery = $1 AND seq >= $2 ORDER BY seq LIMIT $3",
                    params![delivery, next, BLOCKS_AT_ONCE],
                )
                .await?;
            for row in &rows {
                unpack_into(&row.bytes("block")?, buffer)?;
                next += 1;
            }
            if i64::try_from(rows.len()) != Ok(BLOCKS_AT_ONCE) {
                break;
            }
        }
        match buffer.len() - start {
            read if read == size => Ok(()),
            read => Err(StoreError::corrupt(format!(
                "{read} of {size} bytes of the body of {delivery}"
            ))),
        }
    }
}

/// Records that this transaction stores the delivery of some blocks.
pub(super) async fn finish(tx: &mut dyn Transaction, delivery: &str) -> Result<(), StoreError> {
    let finished = tx
        .execute(
            "DELETE FROM unfinished_bodies WHERE delivery = $1",
            params![delivery],
        )
        .await?;
    match finished {
        0 => Err(StoreError::refused(format!(
            "the blocks of {delivery} are gone"
        ))),
        _ => Ok(()),
    }
}

async fn remove_unfinished(tx: &mut dyn Transaction, delivery: &str) -> Result<(), StoreError> {
    let unfinished = tx
        .execute(
            "DELETE FROM unfinished_bodies WHERE delivery = $1",
            params![delivery],
        )
        .await?;
    if unfinished > 0 {
        tx.execute(
            "DELETE FROM body_blocks WHERE delivery = $1",
            params![delivery],
        )
        .await?;
    }
    Ok(())
}
