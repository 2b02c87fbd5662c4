//! Reads a webhook's body within limits on size and time. A small body stays in memory; a large one is written to
//! disk while it arrives.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody, to_bytes};
use actix_web::dev::Payload;
use actix_web::http::ConnectionType;
use actix_web::web::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use super::Limits;
use super::body_budget::{BodyBudget, Reservation};
use super::pace::Patience;
use crate::engine::{LargeBody, ReceiveError, RequestBody};

/// Bytes of a body that counts as small.
const MAX_SMALL_BYTES: usize = 1024 * 1024;
/// Bytes set aside before they arrived, whatever Content-Length promises.
const FIRST_CAPACITY: usize = 64 * 1024;

/// A whole body, and what it has reserved.
pub(super) struct Body {
    pub(super) body: RequestBody,
    pub(super) reservation: Reservation,
}

/// Why a body could not be read to its end.
#[derive(Debug)]
pub(super) enum BodyError {
    /// More bytes were announced or came than allowed.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// It came, and then nothing or hardly anything of it for too long.
    Stalled,
    /// So many bodies are held that there was no space for this one in time.
    NoSpace,
    /// The connection broke, or the chunks made no sense.
    BrokenOff,
    /// The engine could not take it.
    Refused(ReceiveError),
}

/// Reads a body whose request announced `announced` bytes, if it did. `begin` begins a large one.
pub(super) async fn read(
    payload: &mut Payload,
    announced: Option<u64>,
    limits: &Limits,
    budget: &BodyBudget,
    begin: impl Fn() -> Result<LargeBody, ReceiveError>,
) -> Result<Body, BodyError> {
    let announced = match announced.map(usize::try_from) {
        Some(Ok(bytes)) if bytes <= limits.body => Some(bytes),
        Some(Ok(_) | Err(_)) => return Err(BodyError::TooLarge),
        None => None,
    };
    let no_space_at = Instant::now() + limits.disk_wait;
    let mut chunks = Chunks {
        payload,
        patience: Patience::new(limits.body_stall),
        left: limits.body,
    };
    let reading = async {
        let mut small = SmallBody::new(announced, budget);
        let first = loop {
            let Some(chunk) = chunks.next().await? else {
                return Ok(Body {
                    body: small.bytes().into(),
                    reservation: small.reservation,
                });
            };
            if !small.takes(&chunk) {
                break chunk;
            }
        };
        let mut body = begin()?;
        let mut reservation = budget.on_disk();
        let mut next = [small.bytes(), first];
        drop(small);
        loop {
            for chunk in &mut next {
                timeout_at(no_space_at, reservation.grow(chunk.len()))
                    .await
                    .map_err(|_| BodyError::NoSpace)?;
                let written = body.write(&std::mem::take(chunk)).await;
                written.map_err(ReceiveError::from)?;
            }
            let Some(chunk) = chunks.next().await? else {
                let body = body.into();
                return Ok(Body { body, reservation });
            };
            next[0] = chunk;
        }
    };
    timeout(limits.body_time, reading)
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}

/// A body as it comes, with the patience for it. Only the sender uses that up, not who waits for space.
struct Chunks<'p> {
    payload: &'p mut Payload,
    patience: Patience,
    /// Bytes that may still come.
    left: usize,
}

impl Chunks<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let began = Instant::now();
        let next = timeout(self.patience.left(), self.payload.next()).await;
        self.patience.waited(began.elapsed());
        match next {
            Ok(Some(Ok(chunk))) => {
                self.patience.moved(chunk.len());
                let left = self.left.checked_sub(chunk.len());
                self.left = left.ok_or(BodyError::TooLarge)?;
                Ok(Some(chunk))
            }
            Ok(Some(Err(_))) => Err(BodyError::BrokenOff),
            Ok(None) => Ok(None),
            Err(_) => Err(BodyError::Stalled),
        }
    }
}

impl From<ReceiveError> for BodyError {
    fn from(error: ReceiveError) -> Self {
        Self::Refused(error)
    }
}

/// A body that is small so far.
struct SmallBody {
    announced: Option<usize>,
    /// All of it, if it came in one chunk.
    first: Bytes,
    /// All of it, if it came in several.
    joined: Vec<u8>,
    reservation: Reservation,
}

impl SmallBody {
    fn new(announced: Option<usize>, budget: &BodyBudget) -> Self {
        Self {
            announced,
            first: Bytes::new(),
            joined: Vec::new(),
            reservation: budget.in_memory(announced),
        }
    }

    /// Takes what came next, unless the body is large then or no memory is free.
    fn takes(&mut self, chunk: &Bytes) -> bool {
        let size = self.first.len().max(self.joined.len()) + chunk.len();
        let is_small = self.announced.unwrap_or(size).max(size) <= MAX_SMALL_BYTES;
        if !is_small || !self.reservation.try_grow(chunk.len()) {
            return false;
        }
        if size == chunk.len() {
            self.first = chunk.clone();
            return true;
        }
        if self.joined.is_empty() {
            let expected = self
                .announced
                .unwrap_or(size)
                .clamp(size, size.max(FIRST_CAPACITY));
            self.joined.reserve_exact(expected);
            self.joined
                .extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(chunk);
        true
    }

    /// All of it. It is empty then.
    fn bytes(&mut self) -> Bytes {
        if self.joined.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            std::mem::take(&mut self.joined).into()
        }
    }
}

/// The answer to a request whose body was not read: it goes out, and the connection is closed.
///
/// The server would go on reading and dropping the chunks of a body that nobody
/// wants, for as long as they come; it does not while someone holds on to the body.
pub(super) async fn without_reading(answer: HttpResponse, payload: Payload) -> HttpResponse {
    let (mut head, body) = answer.into_parts();
    // Answers that refuse are JSON in memory; there is nothing that could fail.
    let bytes = to_bytes(body).await.unwrap_or_default();
    head.head_mut().set_connection_type(ConnectionType::Close);
    head.set_body(Unread {
        answer: Some(bytes),
        _payload: payload,
    })
    .map_into_boxed_body()
}

/// An answer that holds on to its request's unread body until it has gone out.
struct Unread {
    answer: Option<Bytes>,
    _payload: Payload,
}

impl MessageBody for Unread {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(
            self.answer
                .as_ref()
                .map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(0)),
        )
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.answer.take().map(Ok))
    }
}
