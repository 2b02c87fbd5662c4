//! Reads a webhook's body within limits on size and time. A small body stays in memory; a large one is written to
//! disk while it arrives.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody, to_bytes};
use actix_web::dev::Payload;
use actix_web::http::ConnectionType;
use actix_web::web::Bytes;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use super::Limits;
use super::body_budget::{BodyBudget, Reservation};
use super::patience::Patience;
use crate::engine::{LargeBody, ReceiveError, RequestBody};

/// The maximum size of a small body in bytes.
const MAX_SMALL_BYTES: usize = 1024 * 1024;
/// The maximum size of an unwanted body that is read and dropped, in bytes.
const MAX_DROPPED_BYTES: usize = 64 * 1024;
/// Bytes to allocate before any have arrived, whatever Content-Length says.
const FIRST_CAPACITY: usize = 64 * 1024;

/// A complete body with its reservation.
pub(super) struct Body {
    pub(super) body: RequestBody,
    pub(super) reservation: Reservation,
}

/// Why a body could not be read completely.
#[derive(Debug)]
pub(super) enum BodyError {
    /// Content-Length or the body exceeds the limit.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The body stalled or became too slow.
    Stalled,
    /// Too many bodies are in progress: no space became free in time, or none of the time of this server.
    NoSpace,
    /// The connection broke, or the chunks are malformed.
    BrokenOff,
    /// The engine rejected it.
    Refused(ReceiveError),
}

/// Reads a body with an optional Content-Length of `announced` bytes. `begin` starts a large body of at most a given
/// size.
pub(super) async fn read(
    payload: &mut Payload,
    announced: Option<u64>,
    limits: &Limits,
    budget: &BodyBudget,
    begin: impl Fn(usize) -> Result<LargeBody, ReceiveError>,
) -> Result<Body, BodyError> {
    let announced = match announced.map(usize::try_from) {
        Some(Ok(bytes)) if bytes <= limits.body => Some(bytes),
        Some(Ok(_) | Err(_)) => return Err(BodyError::TooLarge),
        None => None,
    };
    let mut disk_wait = limits.disk_wait;
    let mut chunks = Chunks {
        payload,
        patience: Patience::new(limits.body_stall),
        time_left: limits.body_time,
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
        let mut body = begin(announced.unwrap_or(limits.body))?;
        let mut reservation = budget.on_disk();
        let mut next = [small.bytes(), first];
        drop(small);
        loop {
            for chunk in &mut next {
                let began = Instant::now();
                timeout(disk_wait, reservation.grow(chunk.len()))
                    .await
                    .map_err(|_| BodyError::NoSpace)?;
                disk_wait = disk_wait.saturating_sub(began.elapsed());
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
    timeout(limits.body_work, reading)
        .await
        .unwrap_or(Err(BodyError::NoSpace))
}

/// A body's chunks, with the time limits for them. Only waiting for the sender counts, not waiting for space or for a
/// turn: a body is not refused for what this server took.
struct Chunks<'p> {
    payload: &'p mut Payload,
    patience: Patience,
    /// How long the sender may still take.
    time_left: Duration,
    /// Bytes that may still arrive.
    left: usize,
}

impl Chunks<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let began = Instant::now();
        let (patience, time_left) = (self.patience.left(), self.time_left);
        let next = timeout(patience.min(time_left), self.payload.next()).await;
        self.patience.waited(began.elapsed());
        self.time_left = time_left.saturating_sub(began.elapsed());
        match next {
            Ok(Some(Ok(chunk))) => {
                self.patience.moved(chunk.len());
                let left = self.left.checked_sub(chunk.len());
                self.left = left.ok_or(BodyError::TooLarge)?;
                Ok(Some(chunk))
            }
            Ok(Some(Err(_))) => Err(BodyError::BrokenOff),
            Ok(None) => Ok(None),
            Err(_) if patience < time_left => Err(BodyError::Stalled),
            Err(_) => Err(BodyError::TooSlow),
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
    /// The whole body, if it arrived in one chunk.
    first: Bytes,
    /// The whole body, if it arrived in several chunks.
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

    /// Appends a chunk; false if the body then is too large or no memory is free.
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

    /// Takes the whole body out and leaves it empty.
    fn bytes(&mut self) -> Bytes {
        if self.joined.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            std::mem::take(&mut self.joined).into()
        }
    }
}

/// The response to a request whose body is not wanted. A tiny body is read and dropped, which costs less than another
/// connection.
pub(super) async fn unwanted(
    answer: HttpResponse,
    mut payload: Payload,
    announced: Option<u64>,
    limits: &Limits,
) -> HttpResponse {
    let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
    let Some(left) = announced.filter(|bytes| *bytes <= MAX_DROPPED_BYTES) else {
        return without_reading(answer, payload).await;
    };
    let mut chunks = Chunks {
        payload: &mut payload,
        patience: Patience::new(limits.body_stall),
        time_left: limits.body_time,
        left,
    };
    loop {
        match chunks.next().await {
            Ok(Some(_)) => {}
            Ok(None) => return answer,
            Err(_) => return without_reading(answer, payload).await,
        }
    }
}

/// The response to a request whose body was not read: sends it, and closes the connection.
///
/// Otherwise the server would keep reading and discarding the body's chunks for as long as they arrive. It does not
/// while the body is held.
pub(super) async fn without_reading(answer: HttpResponse, payload: Payload) -> HttpResponse {
    let (mut head, body) = answer.into_parts();
    // Error responses are JSON in memory; nothing can fail here.
    let bytes = to_bytes(body).await.unwrap_or_default();
    head.head_mut().set_connection_type(ConnectionType::Close);
    head.set_body(Unread {
        answer: Some(bytes),
        _payload: payload,
    })
    .map_into_boxed_body()
}

/// A response that holds its request's unread body until it has been sent.
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
