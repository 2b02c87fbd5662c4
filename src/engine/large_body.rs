//! Bodies that are too large for memory. Each is verified, redacted, compressed and written to a file while it
//! arrives, so that a connection holds one block of it at a time, however its sender behaves.
//!
//! Complete bodies are parsed one at a time, in one shared buffer.

use std::sync::{Arc, Weak};
use std::thread::yield_now;

use parking_lot::Mutex as SyncMutex;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};

use super::low_priority::LowPriority;
use super::shortest_first::ShortestFirst;
use crate::event::Event;
use crate::forge::{BodyVerifier, Malformed, Refusal, Verified};
use crate::redact::BodyRedactor;
use crate::store::{SpoolFile, SpooledBody, Store, StoreError, StoredBody};

/// Bytes that are verified and compressed at a time. A secret is much shorter.
const BLOCK_BYTES: usize = 256 * 1024;

/// Why a large body is rejected.
#[derive(Debug, thiserror::Error)]
pub enum LargeBodyError {
    /// The signature or token is missing or wrong.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The body is not the event that its headers claim.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The disk fails or is full.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The state that all large bodies share.
pub(super) struct LargeBodies {
    /// Verifies and compresses bodies while they arrive.
    arriving: Arc<LowPriority>,
    turns: ShortestFirst,
    /// Reads complete bodies and prepares them for the store, independently of bodies that are still arriving.
    finishing: LowPriority,
    /// The shared buffer, while there are large bodies. An allocator may not give it back at once, so it is not
    /// allocated for each of them.
    buffer: SyncMutex<Weak<Buffer>>,
    /// Limits storing to one body at a time, so that a small delivery shares a commit with at most part of one.
    storing: Semaphore,
}

impl Default for LargeBodies {
    fn default() -> Self {
        // The other half of the cores stays free for small bodies.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / 2).max(1);
        Self {
            arriving: Arc::new(LowPriority::threads(threads)),
            // One more, so that no thread waits while a turn changes hands.
            turns: ShortestFirst::new(threads + 1),
            finishing: LowPriority::threads(1),
            buffer: SyncMutex::default(),
            storing: Semaphore::new(1),
        }
    }
}

impl LargeBodies {
    /// Starts receiving a body of at most `size` bytes with its verifier, unless the headers already show that it is
    /// rejected.
    pub fn begin(
        &self,
        store: &Store,
        verifier: Result<Box<dyn BodyVerifier>, Refusal>,
        redactor: BodyRedactor,
        size: usize,
    ) -> Result<LargeBody, StoreError> {
        let state = match verifier {
            Ok(verifier) => State::Arriving(Box::new(Arriving {
                block: Vec::new(),
                checked: 0,
                verifier,
                redactor,
                file: store.spool_file()?,
            })),
            Err(refusal) => State::Refused(refusal),
        };
        Ok(LargeBody {
            threads: Arc::clone(&self.arriving),
            turns: self.turns.clone(),
            _buffer: self.buffer(),
            left: size,
            state,
        })
    }

    /// Parses a body that has just arrived.
    pub async fn understand(
        &self,
        read: impl FnOnce(&[u8]) -> Result<Event, Malformed> + Send + 'static,
        body: &Arc<SpooledBody>,
    ) -> Result<Event, LargeBodyError> {
        let mut turn = self.turn(body.size()).await;
        let body = Arc::clone(body);
        let reading = self.finishing.run(move || {
            body.read_into(&mut turn)?;
            Ok(read(&turn)?)
        });
        reading.await.unwrap_or_else(|| Err(cut_off().into()))
    }

    /// Reads a stored body.
    pub async fn read_stored<T>(
        &self,
        store: &Store,
        body: &StoredBody,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, StoreError> {
        let size = match body {
            StoredBody::Whole(bytes) => return Ok(read(bytes)),
            StoredBody::InBlocks { size, .. } => *size,
        };
        let mut turn = self.turn(size).await;
        store.read_body(body, &mut turn).await?;
        Ok(read(&turn))
    }

    /// Stores a body's blocks, before its delivery is stored.
    pub async fn store(
        &self,
        store: &Arc<Store>,
        delivery: &str,
        body: &Arc<SpooledBody>,
    ) -> Result<(), StoreError> {
        let _turn = self.storing.acquire().await.map_err(|_| cut_off())?;
        let mut next = 0;
        loop {
            let (checkpointed, body) = (Arc::clone(store), Arc::clone(body));
            let reading = self.finishing.run(move || {
                // Otherwise the next commit, which may be of a small delivery, would have to do it.
                if next > 0 {
                    checkpointed.checkpoint();
                }
                body.some_blocks(next)
            });
            let blocks = reading.await.unwrap_or_else(|| Err(cut_off()))?;
            if blocks.is_empty() {
                return Ok(());
            }
            store.put_blocks(delivery, next, &blocks).await?;
            next += blocks.len();
        }
    }

    /// Waits for the turn to read a body of the given size. The buffer is empty at first.
    async fn turn(&self, size: usize) -> OwnedMutexGuard<Vec<u8>> {
        let mut turn = self.buffer().lock_owned().await;
        turn.clear();
        turn.reserve_exact(size);
        turn
    }

    /// The shared buffer. It is freed with the last one of those who have it.
    fn buffer(&self) -> Arc<Buffer> {
        let mut shared = self.buffer.lock();
        shared.upgrade().unwrap_or_else(|| {
            let buffer = Arc::default();
            *shared = Arc::downgrade(&buffer);
            buffer
        })
    }
}

/// Holds one complete body; its lock is the turn to parse one.
type Buffer = Mutex<Vec<u8>>;

fn cut_off() -> StoreError {
    StoreError::unreachable("reading a large body was cut off".to_owned())
}

/// A large body while it arrives.
pub struct LargeBody {
    threads: Arc<LowPriority>,
    turns: ShortestFirst,
    /// Keeps it for the time when this body is complete.
    _buffer: Arc<Buffer>,
    /// Bytes that are still to be written, at most.
    left: usize,
    state: State,
}

enum State {
    /// Still being received; it is kept if the signature matches.
    Arriving(Box<Arriving>),
    /// Rejected by its headers; the rest is discarded.
    Refused(Refusal),
    /// A block is being written, or writing it failed.
    Writing,
}

struct Arriving {
    /// Bytes that are not written yet.
    block: Vec<u8>,
    /// How many of these bytes are already verified.
    checked: usize,
    verifier: Box<dyn BodyVerifier>,
    redactor: BodyRedactor,
    file: SpoolFile,
}

/// A large body whose signature is verified.
pub(super) struct VerifiedBody {
    pub verified: Verified,
    pub body: Arc<SpooledBody>,
}

impl LargeBody {
    /// Adds the next bytes of the body.
    ///
    /// # Errors
    ///
    /// They could not be written; the body is lost.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), LargeBodyError> {
        while let State::Arriving(arriving) = &mut self.state
            && !bytes.is_empty()
        {
            let room = BLOCK_BYTES.saturating_sub(arriving.block.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            arriving.block.reserve_exact(room);
            arriving.block.extend_from_slice(now);
            bytes = later;
            if arriving.block.len() >= BLOCK_BYTES {
                self.write_block(false).await?;
            }
        }
        Ok(())
    }

    async fn write_block(&mut self, is_last: bool) -> Result<(), LargeBodyError> {
        let mut arriving = match std::mem::replace(&mut self.state, State::Writing) {
            State::Arriving(arriving) => arriving,
            state @ (State::Refused(_) | State::Writing) => {
                self.state = state;
                return Ok(());
            }
        };
        let turn = self.turns.turn(self.left).await;
        self.left = (self.left + arriving.checked).saturating_sub(arriving.block.len());
        let writing = self.threads.run(move || {
            // If the body is given up meanwhile, the turn ends with this block.
            let _turn = turn;
            let written = arriving.write_block(is_last);
            written.map(|()| arriving)
        });
        let arriving = writing.await.unwrap_or_else(|| Err(cut_off()))?;
        self.state = State::Arriving(arriving);
        Ok(())
    }

    /// Finishes the body.
    pub(super) async fn finish(mut self) -> Result<VerifiedBody, LargeBodyError> {
        if let State::Arriving(arriving) = &self.state {
            // All of it is here, and its length may not have been known.
            self.left = arriving.block.len();
        }
        self.write_block(true).await?;
        match self.state {
            State::Arriving(arriving) => Ok(VerifiedBody {
                verified: arriving.verifier.finish()?,
                body: Arc::new(arriving.file.finish()),
            }),
            State::Refused(refusal) => Err(refusal.into()),
            State::Writing => Err(cut_off().into()),
        }
    }
}

impl Arriving {
    fn write_block(&mut self, is_last: bool) -> Result<(), StoreError> {
        // Verifying the rest takes some hundred microseconds; then a thread that waits for the core gets it.
        self.verifier.update(&self.block[self.checked..]);
        yield_now();
        let (redacted, written) = self.redactor.apply(&self.block, is_last);
        yield_now();
        self.file.append(&redacted)?;
        yield_now();
        self.block.drain(..written);
        self.checked = self.block.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tempfile::TempDir;
    use tokio::task::JoinSet;

    use super::*;
    use crate::forge::VerifiedByHeaders;
    use crate::redact::Redactor;

    #[tokio::test]
    async fn of_bodies_that_wait_the_one_with_the_fewest_bytes_left_goes_first() {
        let folder = TempDir::new().unwrap();
        let store = format!("sqlite://{}", folder.path().join("x.db").display());
        let store = Store::open(&store).await.unwrap();
        let bodies = LargeBodies::default();
        let mut held = Vec::new();
        while let Some(turn) = bodies.turns.turn(0).now_or_never().flatten() {
            held.push(turn);
        }
        let written: Arc<SyncMutex<Vec<usize>>> = Arc::default();
        let mut writing = JoinSet::new();
        for blocks in [9, 5, 7] {
            let verified = Verified {
                delivery_id: None,
                event: "push".to_owned(),
            };
            let begun = bodies.begin(
                &store,
                Ok(Box::new(VerifiedByHeaders(verified))),
                Redactor::default().body_redactor(),
                blocks * BLOCK_BYTES,
            );
            let (mut body, written) = (begun.unwrap(), Arc::clone(&written));
            writing.spawn(async move {
                body.write(&vec![b' '; BLOCK_BYTES]).await.unwrap();
                written.lock().push(blocks);
            });
            tokio::task::yield_now().await;
        }

        // One turn passes from hand to hand.
        drop(held.pop());
        writing.join_all().await;

        assert_eq!(*written.lock(), [5, 7, 9]);
    }
}
