//! Leaving an upstream alone that does not answer, and trying now and then whether it does again.
//!
//! What is not answered is counted in the store, for all processes: after some in a row
//! the upstream is left alone for a while, then one request is the try that decides for
//! all of them. So steps that would only hang make room for those that would not.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{error, info, warn};

use crate::cdn::CdnError;
use crate::config::Config;
use crate::engine::{Engine, StepError};
use crate::forge::ForgeError;
use crate::http;
use crate::store::{OpenCircuit, StoreError, Upstream};

/// Requests in a row that nobody answers before an upstream is left alone.
const THRESHOLD: i64 = 5;
/// The first and the longest pause; each is twice the one before, less a random half.
const PAUSES: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(300));
/// How long a try may go without being heard of before somebody else tries. A request takes half of it at most.
const PROBE_LIMIT: Duration = Duration::from_secs(60);
/// How soon to see what somebody else's try came to.
const PROBE_LOOK: Duration = Duration::from_secs(5);

/// Upstreams that the store may know as not answering. It only saves a write for each answer.
#[derive(Default)]
pub(in crate::engine) struct Suspects(Mutex<BTreeSet<Upstream>>);

impl Suspects {
    fn add(&self, upstream: &Upstream) {
        let mut suspects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !suspects.contains(upstream) {
            suspects.insert(upstream.clone());
        }
    }

    fn has(&self, upstream: &Upstream) -> bool {
        let suspects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.contains(upstream)
    }

    fn remove(&self, upstream: &Upstream) -> bool {
        let mut suspects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.remove(upstream)
    }
}

/// An error that tells whether anybody answered.
pub(in crate::engine) trait Unanswered: std::fmt::Display {
    /// Whether nobody did, or nobody who knew what to say.
    fn is_outage(&self) -> bool;
}

impl Unanswered for CdnError {
    fn is_outage(&self) -> bool {
        self.is_outage()
    }
}

impl Unanswered for ForgeError {
    fn is_outage(&self) -> bool {
        self.is_outage()
    }
}

/// An upstream is to be left alone.
pub(in crate::engine) struct LeftAlone {
    /// Since when, and why.
    pub outage: OpenCircuit,
    /// For how long. Some more than that, so that not everybody comes back at once.
    pub wait: Duration,
}

impl LeftAlone {
    /// As what a forge would have said.
    pub fn by_forge(&self, who: &str, retry_after: Option<Duration>) -> ForgeError {
        let since = has_not_answered(who, self.outage.since);
        ForgeError::Later {
            message: format!("{since}: {}", self.outage.error),
            retry_after,
        }
    }
}

/// "GitHub has not answered since 12:04 UTC", the same for as long as it lasts.
pub(in crate::engine) fn has_not_answered(who: &str, since: Timestamp) -> String {
    format!(
        "{who} has not answered since {}",
        since.strftime("%H:%M UTC")
    )
}

/// An upstream that is left alone for now, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// "the forge github", or "the CDN main", or "the CDNs main, small, which are one account".
    pub who: String,
    /// Since when it has not answered.
    pub since: Timestamp,
    /// When it is tried next.
    pub until: Timestamp,
    /// What happened last.
    pub error: String,
}

impl Engine {
    /// The upstreams that do not answer and are left alone for now.
    pub async fn silent(&self) -> Result<Vec<Silent>, StoreError> {
        let config = self.config();
        let outages = self.store.circuits().await?;
        let silent = outages.into_iter().filter_map(|outage| {
            Some(Silent {
                who: name(&config, &outage.upstream)?,
                since: outage.since,
                until: outage.until?,
                error: outage.error,
            })
        });
        Ok(silent.collect())
    }

    /// Whether an upstream is to be left alone. Where it is not and has not answered lately,
    /// the next request is the try that decides: to be asked right before [`heard`](Self::heard) only.
    pub(in crate::engine) async fn left_alone(
        &self,
        upstream: &Upstream,
    ) -> Result<Option<LeftAlone>, StoreError> {
        let Some((outage, until)) = self.pause(upstream).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        if until <= now
            && self
                .store
                .acquire_probe(upstream, now, now + PROBE_LIMIT)
                .await?
        {
            return Ok(None);
        }
        Ok(Some(self.leave(outage, until, now)))
    }

    /// Whether an upstream is to be left alone at this moment, for who does not know yet whether
    /// there is anything to ask it.
    pub(in crate::engine) async fn left_alone_for_now(
        &self,
        upstream: &Upstream,
    ) -> Result<Option<LeftAlone>, StoreError> {
        let now = self.clock.now();
        let pause = self.pause(upstream).await?;
        let pause = pause.filter(|(_, until)| *until > now);
        Ok(pause.map(|(outage, until)| self.leave(outage, until, now)))
    }

    /// As [`left_alone`](Self::left_alone), for a step that can only wait until then.
    pub(in crate::engine) async fn may_ask(&self, upstream: &Upstream) -> Result<(), StepError> {
        match self.left_alone(upstream).await? {
            None => Ok(()),
            Some(left) => Err(StepError::NotYet(left.wait)),
        }
    }

    /// An upstream's outage, if it is one after which it is left alone, and until when.
    async fn pause(
        &self,
        upstream: &Upstream,
    ) -> Result<Option<(OpenCircuit, Timestamp)>, StoreError> {
        let Some(outage) = self.store.circuit(upstream).await? else {
            return Ok(None);
        };
        self.suspects.add(upstream);
        Ok(outage.until.map(|until| (outage, until)))
    }

    fn leave(&self, outage: OpenCircuit, until: Timestamp, now: Timestamp) -> LeftAlone {
        let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        // Whose time is up is being tried by somebody else, as is one that is being tried.
        let wait = if outage.probing || left.is_zero() {
            PROBE_LOOK
        } else {
            // A clock that was set back must not make it longer.
            left.min(PAUSES.1)
        };
        let wait = wait + PROBE_LOOK.mul_f64(2.0 * self.clock.fraction());
        LeftAlone { outage, wait }
    }

    /// Asks an upstream, and notes whether it answered. What was found out without a request (the
    /// kind knows of no such thing, there is no token, its rate limit is known to be used up) says nothing of that.
    pub(in crate::engine) async fn heard<T, E: Unanswered>(
        &self,
        upstream: &Upstream,
        asking: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let (result, has_asked) = http::watched(asking).await;
        match &result {
            _ if !has_asked => self.leave_try(upstream).await,
            Err(error) if error.is_outage() => self.note_unanswered(upstream, error).await,
            Ok(_) | Err(_) => self.note_answered(upstream).await,
        }
        result
    }

    /// Leaves to somebody else the try that [`left_alone`](Self::left_alone) may have granted.
    async fn leave_try(&self, upstream: &Upstream) {
        if !self.suspects.has(upstream) {
            return;
        }
        if let Err(error) = self.store.release_probe(upstream, self.clock.now()).await {
            error!("cannot leave it to others to try {upstream}: {error}");
        }
    }

    async fn note_unanswered(&self, upstream: &Upstream, failure: &impl Unanswered) {
        self.suspects.add(upstream);
        let now = self.clock.now();
        let fraction = self.clock.fraction();
        let words = failure.to_string();
        let noted = self
            .store
            .record_failure(upstream, &words, now, |failures| pause(failures, fraction));
        match noted.await {
            Ok(Some(OpenCircuit {
                failures,
                until: Some(until),
                ..
            })) => {
                let until = until.strftime("%H:%M:%S UTC");
                warn!(upstream = %upstream, "left alone until {until} after {failures} requests without an answer: {words}");
            }
            Ok(_) => {}
            Err(error) => error!("cannot note that {upstream} does not answer: {error}"),
        }
    }

    async fn note_answered(&self, upstream: &Upstream) {
        if !self.suspects.remove(upstream) {
            return;
        }
        match self.store.record_success(upstream).await {
            Ok(true) => info!(upstream = %upstream, "{upstream} answers again"),
            Ok(false) => {}
            Err(error) => {
                self.suspects.add(upstream);
                error!("cannot note that {upstream} answers: {error}");
            }
        }
    }
}

/// How an upstream is called in the configuration; none if it is no longer there.
fn name(config: &Config, upstream: &Upstream) -> Option<String> {
    match upstream {
        Upstream::Forge(name) => config
            .forges
            .contains_key(name)
            .then(|| format!("the forge {name}")),
        Upstream::Cdn(account) => {
            let of_account = config
                .cdns
                .iter()
                .filter(|(_, cdn)| cdn.account() == *account);
            let names: Vec<&str> = of_account.map(|(name, _)| name.as_str()).collect();
            match names.as_slice() {
                [] => None,
                [name] => Some(format!("the CDN {name}")),
                names => Some(format!(
                    "the CDNs {}, which are one account",
                    names.join(", ")
                )),
            }
        }
    }
}

/// How long an upstream is left alone after so many requests without an answer.
fn pause(failures: i64, fraction: f64) -> Option<Duration> {
    let doublings = u32::try_from(failures.checked_sub(THRESHOLD)?).ok()?;
    let full = PAUSES
        .0
        .saturating_mul(1 << doublings.min(16))
        .min(PAUSES.1);
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
