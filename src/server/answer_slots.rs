//! Limits how many large responses are in progress at a time: those being generated, and those not yet read.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpResponse};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Shared;
use super::answer::{RETRY_AFTER, refused};
use super::shares::{Place, Shares};

/// Large responses in progress. The largest have about a megabyte.
const MAX_ANSWERS: usize = 64;
/// Large responses in progress per address, so that a client that does not read blocks only itself.
const MAX_ANSWERS_PER_ADDRESS: usize = 16;
/// Responses up to this size, in bytes, need no slot once they are generated.
const SMALL: u64 = 32 * 1024;
/// How long a request waits for a slot.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Slots for responses, and a lock for those that need much memory to generate.
pub(super) struct AnswerSlots {
    slots: Arc<Semaphore>,
    shares: Shares,
    large_reads: Arc<Semaphore>,
}

/// A response's slot. Dropping it releases it.
struct Slot {
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
}

impl AnswerSlots {
    pub(super) fn new() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(MAX_ANSWERS)),
            shares: Shares::default(),
            large_reads: Arc::new(Semaphore::new(1)),
        }
    }

    async fn slot(&self, peer: Option<IpAddr>) -> Option<Slot> {
        let permit = acquire(&self.slots).await?;
        let place = match peer {
            Some(peer) => Some(self.shares.place(peer, MAX_ANSWERS_PER_ADDRESS)?),
            None => None,
        };
        Some(Slot {
            _permit: permit,
            _place: place,
        })
    }

    /// Waits for the turn to read large data of which a part is shown. None if it does not come in time.
    pub(super) async fn large_read(&self) -> Option<OwnedSemaphorePermit> {
        acquire(&self.large_reads).await
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    let acquiring = Arc::clone(semaphore).acquire_owned();
    timeout(MAX_WAIT, acquiring).await.ok()?.ok()
}

/// 503: too many responses are in progress.
pub(super) fn busy() -> HttpResponse {
    let mut answer = refused(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many answers are under way at this time; try again in a few seconds",
    );
    answer
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    answer
}

/// Generates a response once there is a slot for it. A large response keeps the slot until it is read.
pub(super) async fn limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, Error> {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let slot = match request.app_data::<Data<Shared>>() {
        Some(shared) => shared.answers.slot(peer).await,
        None => None,
    };
    let Some(slot) = slot else {
        return Ok(request.into_response(busy()));
    };
    let answer = next.call(request).await?;
    Ok(answer.map_body(|_, body| {
        let is_small = match body.size() {
            BodySize::None => true,
            BodySize::Sized(bytes) => bytes <= SMALL,
            BodySize::Stream => false,
        };
        let body = LimitedBody {
            body: body.boxed(),
            _slot: (!is_small).then_some(slot),
        };
        body.boxed()
    }))
}

/// A body that holds its response's slot.
struct LimitedBody {
    body: BoxBody,
    _slot: Option<Slot>,
}

impl MessageBody for LimitedBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_does_not_take_all_slots() {
        let slots = AnswerSlots::new();
        let mut held = Vec::new();
        for _ in 0..MAX_ANSWERS {
            held.extend(slots.slot(address("192.0.2.1")).await);
        }

        assert_eq!(held.len(), MAX_ANSWERS_PER_ADDRESS);
        assert!(slots.slot(address("192.0.2.2")).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_waited_for_and_not_for_ever() {
        let slots = AnswerSlots::new();
        let first = slots.large_read().await;
        assert!(slots.large_read().await.is_none());

        let (second, ()) = tokio::join!(slots.large_read(), async { drop(first) });

        assert!(second.is_some());
    }
}
