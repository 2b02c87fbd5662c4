//! Reading a webhook's body: never more of it than allowed, never for longer than allowed.

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
use super::memory_budget::{MemoryBudget, Reservation};

/// Bytes set aside before any arrived, whatever Content-Length promises.
const FIRST_CAPACITY: usize = 64 * 1024;

/// A whole body, and its share of the memory that all bodies may take.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) reservation: Reservation,
}

/// Why a body could not be read to its end.
#[derive(Debug)]
pub(super) enum BodyError {
    /// More bytes were announced or came than allowed.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// So many bodies are held that there was no room for this one in time.
    NoMemory,
    /// The connection broke, or the chunks made no sense.
    BrokenOff,
}

/// Reads a body whose request announced `announced` bytes, if it did.
pub(super) async fn read(
    payload: &mut Payload,
    announced: Option<u64>,
    limits: &Limits,
    memory: &MemoryBudget,
) -> Result<Body, BodyError> {
    let announced = match announced.map(usize::try_from) {
        Some(Ok(bytes)) if bytes <= limits.body => Some(bytes),
        Some(Ok(_) | Err(_)) => return Err(BodyError::TooLarge),
        None => None,
    };
    let patience = Instant::now() + limits.memory_wait;
    let reading = async {
        let mut body = Body {
            bytes: Vec::with_capacity(announced.unwrap_or(0).min(FIRST_CAPACITY)),
            reservation: memory.reserve(announced),
        };
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| BodyError::BrokenOff)?;
            if chunk.len() > limits.body - body.bytes.len() {
                return Err(BodyError::TooLarge);
            }
            timeout_at(patience, body.reservation.grow(chunk.len()))
                .await
                .map_err(|_| BodyError::NoMemory)?;
            body.bytes.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    timeout(limits.body_time, reading)
        .await
        .unwrap_or(Err(BodyError::TooSlow))
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
