//! The circuit breaker stops requests to an upstream that does not answer.
//!
//! Failures are counted in the store, for all processes. After several in a row the circuit opens. After a pause it
//! is half open: one request is the probe that decides for all processes. Steps that would only hang thus leave
//! their permits to others.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::has_not_answered;
use crate::cause::Cause;
use crate::cdn::CdnError;
use crate::clock::Clock;
use crate::engine::outcome::StepError;
use crate::forge::ForgeError;
use crate::http;
use crate::store::{OpenCircuit, Store, StoreError, Upstream};

/// Failures in a row that open a circuit.
const FAILURE_THRESHOLD: i64 = 5;
/// The first pause of an open circuit. Each later one doubles; a random part of up to half is subtracted.
const INITIAL_PAUSE: Duration = Duration::from_secs(15);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// How long a probe may take before another request may be the probe. A request takes at most half of that.
const PROBE_LIMIT: Duration = Duration::from_secs(60);
/// How soon to check the result of another request's probe.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The circuits of all upstreams.
pub struct CircuitBreaker {
    store: Arc<Store>,
    clock: Clock,
    /// Upstreams with possible failures in the store. It only saves a write for each answer.
    maybe_open: Mutex<BTreeSet<Upstream>>,
}

/// A request that was not sent because the circuit is open.
pub struct Rejection {
    pub circuit: OpenCircuit,
    /// How long to wait: somewhat longer than the pause, so that not all steps return at once.
    pub wait: Duration,
}

/// Why a request got no answer.
pub enum RequestError<E> {
    /// The store could not be asked whether to send it.
    Store(StoreError),
    /// It was not sent.
    CircuitOpen(Rejection),
    /// It failed, or the answer is an error.
    Failed(E),
}

impl<E> RequestError<E> {
    /// The upstream's own error. If the circuit is open, the step has to wait instead.
    pub fn failed(self) -> Result<E, StepError> {
        match self {
            Self::Store(error) => Err(error.into()),
            Self::CircuitOpen(rejection) => Err(StepError::NotYet(rejection.wait)),
            Self::Failed(error) => Ok(error),
        }
    }
}

impl RequestError<ForgeError> {
    /// The forge's own error, or for an open circuit an error that passes at an unknown time.
    pub fn into_forge_error(self, forge: &str) -> Result<ForgeError, StoreError> {
        self.or_later(forge, |_| None)
    }

    /// The forge's own error, or for an open circuit an error with the time until it is half open.
    pub fn into_forge_error_to_wait_for(self, forge: &str) -> Result<ForgeError, StoreError> {
        self.or_later(forge, |rejection| Some(rejection.wait))
    }

    fn or_later(
        self,
        forge: &str,
        retry_after: impl Fn(&Rejection) -> Option<Duration>,
    ) -> Result<ForgeError, StoreError> {
        match self {
            Self::Store(error) => Err(error),
            Self::CircuitOpen(rejection) => {
                let since = has_not_answered(forge, rejection.circuit.since);
                Ok(ForgeError::Later {
                    message: format!("{since}: {}", rejection.circuit.error),
                    retry_after: retry_after(&rejection),
                    cause: Cause::NONE,
                })
            }
            Self::Failed(error) => Ok(error),
        }
    }
}

/// An error that knows whether the upstream answered.
pub trait Outage: Display {
    /// Whether the upstream could not be reached, or failed before it could answer.
    fn is_outage(&self) -> bool;
}

impl Outage for CdnError {
    fn is_outage(&self) -> bool {
        self.is_outage()
    }
}

impl Outage for ForgeError {
    fn is_outage(&self) -> bool {
        self.is_outage()
    }
}

impl CircuitBreaker {
    pub fn new(store: Arc<Store>, clock: Clock) -> Self {
        Self {
            store,
            clock,
            maybe_open: Mutex::default(),
        }
    }

    /// Sends a request unless the circuit is open, and records the result.
    pub async fn send<T, E: Outage>(
        &self,
        upstream: &Upstream,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, RequestError<E>> {
        match self.try_acquire(upstream).await {
            Err(error) => Err(RequestError::Store(error)),
            Ok(Some(rejection)) => Err(RequestError::CircuitOpen(rejection)),
            Ok(None) => {
                let result = self.record(upstream, request).await;
                result.map_err(RequestError::Failed)
            }
        }
    }

    /// Whether an upstream's circuit is open now, for a step that may have nothing to send. It does not acquire the
    /// probe.
    pub async fn rejection(&self, upstream: &Upstream) -> Result<Option<Rejection>, StoreError> {
        let now = self.clock.now();
        let pause = self.pause(upstream).await?;
        let pause = pause.filter(|(_, until)| *until > now);
        Ok(pause.map(|(circuit, until)| self.reject(circuit, until, now)))
    }

    /// None if a request may be sent. If the circuit is half open the request is the probe, so call this only right
    /// before [`record`](Self::record).
    pub async fn try_acquire(&self, upstream: &Upstream) -> Result<Option<Rejection>, StoreError> {
        let Some((circuit, until)) = self.pause(upstream).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        let limit = now + PROBE_LIMIT;
        if until <= now && self.store.acquire_probe(upstream, now, limit).await? {
            return Ok(None);
        }
        Ok(Some(self.reject(circuit, until, now)))
    }

    /// Sends a request, and records whether the upstream answered. If the result was found without a request (the
    /// operation is not supported, the token is missing, the rate limit is known to be used up), it says nothing
    /// about the upstream.
    pub async fn record<T, E: Outage>(
        &self,
        upstream: &Upstream,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let (result, was_sent) = http::tracked(request).await;
        match &result {
            _ if !was_sent => self.release_probe(upstream).await,
            Err(error) if error.is_outage() => self.record_failure(upstream, error).await,
            Ok(_) | Err(_) => self.record_success(upstream).await,
        }
        result
    }

    /// An upstream's circuit and the end of its pause, if it is open or half open.
    async fn pause(
        &self,
        upstream: &Upstream,
    ) -> Result<Option<(OpenCircuit, Timestamp)>, StoreError> {
        let Some(circuit) = self.store.circuit(upstream).await? else {
            return Ok(None);
        };
        self.maybe_open().insert(upstream.clone());
        Ok(circuit.until.map(|until| (circuit, until)))
    }

    fn reject(&self, circuit: OpenCircuit, until: Timestamp, now: Timestamp) -> Rejection {
        let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        // Once the pause has ended, another request is the probe.
        let wait = if circuit.probing || left.is_zero() {
            PROBE_INTERVAL
        } else {
            // A clock that was set back must not make the wait longer.
            left.min(MAX_PAUSE)
        };
        let wait = wait + PROBE_INTERVAL.mul_f64(2.0 * self.clock.fraction());
        Rejection { circuit, wait }
    }

    /// Releases the probe that [`try_acquire`](Self::try_acquire) may have acquired.
    async fn release_probe(&self, upstream: &Upstream) {
        if !self.maybe_open().contains(upstream) {
            return;
        }
        if let Err(error) = self.store.release_probe(upstream, self.clock.now()).await {
            error!(%upstream, "cannot release the probe of {upstream}: {error}");
        }
    }

    async fn record_failure(&self, upstream: &Upstream, failure: &impl Outage) {
        self.maybe_open().insert(upstream.clone());
        let now = self.clock.now();
        let fraction = self.clock.fraction();
        let words = failure.to_string();
        let recorded = self
            .store
            .record_failure(upstream, &words, now, |failures| pause(failures, fraction));
        match recorded.await {
            Ok(Some(OpenCircuit {
                failures,
                until: Some(until),
                ..
            })) => {
                let until = until.strftime("%H:%M:%S UTC");
                warn!(%upstream, "the circuit is open until {until} after {failures} requests without an answer: {words}");
            }
            Ok(_) => {}
            Err(error) => {
                error!(%upstream, "cannot record that {upstream} does not answer: {error}")
            }
        }
    }

    async fn record_success(&self, upstream: &Upstream) {
        if !self.maybe_open().remove(upstream) {
            return;
        }
        match self.store.record_success(upstream).await {
            Ok(true) => info!(%upstream, "{upstream} answers again"),
            Ok(false) => {}
            Err(error) => {
                self.maybe_open().insert(upstream.clone());
                error!(%upstream, "cannot record that {upstream} answers: {error}");
            }
        }
    }

    fn maybe_open(&self) -> MutexGuard<'_, BTreeSet<Upstream>> {
        self.maybe_open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a circuit stays open after this many failures in a row.
fn pause(failures: i64, fraction: f64) -> Option<Duration> {
    let doublings = u32::try_from(failures.checked_sub(FAILURE_THRESHOLD)?).ok()?;
    let full = INITIAL_PAUSE
        .saturating_mul(1 << doublings.min(16))
        .min(MAX_PAUSE);
    Some(full.mul_f64(1.0 - fraction.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_with_the_fifth_failure_in_a_row_and_double_up_to_five_minutes() {
        let pauses: Vec<Option<u64>> = (1..=11)
            .map(|failures| pause(failures, 0.0).map(|pause| pause.as_secs()))
            .collect();

        let none = [None; 4];
        let some = [15, 30, 60, 120, 240, 300, 300].map(Some);
        assert_eq!(pauses, [none.as_slice(), some.as_slice()].concat());
        assert_eq!(pause(5, 1.0), Some(Duration::from_millis(7_500)));
    }
}
