//! CDNs: clients that submit purges, with the vendors' limits, errors and signatures.
//!
//! To add one, write its module and add its line to [`KINDS`].

mod credentials;
mod errors;
mod history;
mod huawei;
mod limits;
mod local_time;
mod matching;
mod qcloud;
mod request;
mod server_clock;
pub mod sign;
mod tencent;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::account::AccountId;
use crate::cause::Cause;
use crate::clock::ClockSkew;
use crate::http::Outbound;
use crate::numerals::counted;
use crate::purge::{Mode, PurgeKind, TaskId, TaskIds};
use crate::settings::{Entry, Section};

/// A kind of CDN, as named by `kind:`.
pub struct CdnKind {
    /// The value of `kind:`.
    pub name: &'static str,
    /// Reads an entry under `cdns:` and creates its client. None if the entry has problems, which the section has
    /// recorded.
    pub read: fn(&mut Section, &Outbound) -> Option<Arc<dyn Cdn>>,
    /// Whether it can prefetch URLs.
    pub prefetches: bool,
    /// The entry that `purgehook init` writes.
    pub entry: Entry,
}

/// All kinds of CDNs.
pub const KINDS: &[CdnKind] = &[
    tencent::cdn::KIND,
    tencent::ecdn::KIND,
    qcloud::KIND,
    huawei::KIND,
];

/// The limits for one kind of purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Targets per request.
    pub per_request: usize,
    /// Targets per day and account.
    pub per_day: u64,
    /// Whether `per_day` is configured. Otherwise it is the vendor's documented limit for an ordinary account, and
    /// the account's own quota replaces it if the API can report that.
    pub per_day_configured: bool,
    /// Purge requests per second and account.
    pub requests_per_second: u32,
}

/// All limits of a CDN. It does not support a kind that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// By kind of purge.
    pub kinds: BTreeMap<PurgeKind, Limit>,
    /// Queries for the state of tasks per second and account.
    pub queries_per_second: u32,
    /// The maximum length of a URL in bytes, if one is documented.
    pub url_length: Option<usize>,
}

/// Purges to submit in one request: of one kind and one mode.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The kind of purge.
    pub kind: PurgeKind,
    /// How to purge, for directories.
    pub mode: Option<Mode>,
    /// The full URLs, without duplicates.
    pub targets: Vec<String>,
}

impl Batch {
    /// Its targets, for messages: "12 URLs", "1 directory".
    fn counted(&self) -> String {
        let (one, many) = match self.kind {
            PurgeKind::Url | PurgeKind::Prefetch => ("URL", "URLs"),
            PurgeKind::Directory => ("directory", "directories"),
        };
        counted(self.targets.len(), one, many)
    }
}

/// A submitted batch.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// The CDN's ids. None while it is not known whether the CDN accepted the batch.
    pub task: Option<TaskIds>,
    /// When the request was sent.
    pub submitted_at: Timestamp,
    /// The submitted purges, without those that are known to have ended.
    pub batch: Batch,
}

/// The state of one target of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// In progress, with a percentage if the CDN reports one.
    Running(Option<u8>),
    /// Confirmed.
    Done,
    /// Failed on the CDN; another try may succeed.
    Failed(String),
    /// The origin answered a prefetch with an error; another try is useless.
    Invalid(String),
    /// An undocumented status word; treated as still running.
    Unknown(String),
}

/// A CDN's report on one submitted batch. Targets that it does not mention are missing.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// States by target, as submitted.
    pub targets: BTreeMap<String, TargetState>,
}

/// The meaning of an error. The engine handles each class in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// Temporary: retry a few times with backoff.
    Retry,
    /// Too many requests per second: wait, keep everything.
    RateLimited,
    /// The daily quota is used up: wait for its renewal.
    QuotaDay,
    /// The batch is larger than this account may send: halve it.
    Split,
    /// A person must act; a retry is useless.
    Operator,
    /// One of the batch's targets is refused: find it, fail it, send the rest.
    BadInput,
    /// The service has moved to another one.
    Migrated,
}

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The connection failed, or ended before the answer was complete.
    Connection,
    /// There was no answer in time.
    Timeout,
    /// The answer had this HTTP status and no API error in its body.
    HttpStatus(u16),
    /// The answer did not have the documented form.
    MalformedAnswer,
    /// The CDN answered with an API error. Only its own client interprets the code.
    Vendor(String),
    /// The CDN's API has no such call.
    Unsupported,
    /// The rate limiter could not assign a slot, so nothing was sent.
    NoSlot,
}

/// A short code, for logs.
impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => f.write_str("connection"),
            Self::Timeout => f.write_str("timeout"),
            Self::HttpStatus(status) => write!(f, "http {status}"),
            Self::MalformedAnswer => f.write_str("answer"),
            Self::Vendor(code) => f.write_str(code),
            Self::Unsupported => f.write_str("unsupported"),
            Self::NoSlot => f.write_str("no slot"),
        }
    }
}

/// A failed call and its meaning.
#[derive(Debug, Clone)]
pub struct CdnError {
    /// What to do about it.
    pub class: ErrorClass,
    /// How it failed.
    pub kind: FailureKind,
    /// What was attempted and what the CDN answered, for people.
    pub message: String,
    /// How long the CDN asked to wait.
    pub retry_after: Option<Duration>,
    /// Whether the CDN may have done the work anyway (the answer was lost or malformed).
    pub maybe_done: bool,
    /// The HTTP client's error, if there was no answer.
    pub cause: Cause,
}

impl fmt::Display for CdnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CdnError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

impl CdnError {
    /// Whether the CDN could not be reached or failed before it could answer.
    pub fn is_outage(&self) -> bool {
        match self.kind {
            FailureKind::Connection | FailureKind::Timeout | FailureKind::MalformedAnswer => true,
            FailureKind::HttpStatus(status) => status >= 500,
            FailureKind::Vendor(_) | FailureKind::Unsupported | FailureKind::NoSlot => false,
        }
    }

    /// The CDN's own error code, if it answered with an API error.
    fn vendor_code(&self) -> Option<&str> {
        match &self.kind {
            FailureKind::Vendor(code) => Some(code),
            FailureKind::Connection
            | FailureKind::Timeout
            | FailureKind::HttpStatus(_)
            | FailureKind::MalformedAnswer
            | FailureKind::Unsupported
            | FailureKind::NoSlot => None,
        }
    }
}

/// What is left of a daily quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Targets per request.
    pub per_request: Option<u64>,
    /// Targets per day.
    pub total: u64,
    /// Targets left today.
    pub left: u64,
}

/// One CDN, as configured by an entry under `cdns:`.
#[async_trait]
pub trait Cdn: Send + Sync {
    /// The value of `kind:`.
    fn kind(&self) -> &'static str;

    /// The account whose limits apply.
    fn account(&self) -> AccountId;

    /// The documented limits, with those of the configuration replacing them.
    fn limits(&self) -> &Limits;

    /// The name of the API action that takes purges of a kind; the limit of requests per second counts per action.
    /// Tencent has one action per kind (`PurgeUrlsCache`, `PurgePathCache`, `PushUrlsCache`; `RefreshCdnUrl`,
    /// `RefreshCdnDir`, `CdnPusherV2`).
    fn action(&self, kind: PurgeKind) -> &'static str {
        kind.as_str()
    }

    /// Submits a batch and returns the CDN's task ids. `Ok(None)` if the CDN accepted it without an id.
    async fn submit(&self, batch: &Batch) -> Result<Option<TaskIds>, CdnError>;

    /// Asks for the state of tasks in as few requests as the API allows. Returns one report per task, in the same
    /// order. Waits for `pace` before each request.
    async fn follow(&self, tasks: &[InFlight], pace: &Pace) -> Result<Vec<Report>, CdnError>;

    /// Looks in the CDN's history for a batch whose answer was lost, and returns its ids if it was accepted. Never
    /// returns `others`, the ids of tasks that are known to belong to other batches: a missed match costs quota, a
    /// false match leaves a stale page.
    async fn find(
        &self,
        lost: &InFlight,
        others: &BTreeSet<TaskId>,
        pace: &Pace,
    ) -> Result<Option<TaskIds>, CdnError>;

    /// What is left of today's quotas, by kind. Empty if the API cannot tell.
    async fn quota(&self) -> Result<BTreeMap<PurgeKind, Quota>, CdnError>;

    /// How far the CDN's clock differed from ours at its last answer, and how far its signatures allow it to
    /// differ. None before the first answer, and if signatures do not depend on the time.
    fn clock_skew(&self) -> Option<ClockSkew> {
        None
    }

    /// The entry under `cdns:` that takes over the purges once this service answers that it has moved.
    fn migrated_to(&self) -> Option<&str> {
        None
    }
}

/// A rate limiter: assigns the times of requests.
#[async_trait]
pub trait Turns: Send + Sync {
    /// Waits until the next request may be sent; fails if that time is unknown.
    async fn next(&self) -> Result<(), CdnError>;

    /// Waits for a while, to give the upstream a rest.
    async fn rest(&self, duration: Duration);
}

/// A rate limiter with a fixed interval.
struct Regular {
    clock: crate::clock::Clock,
    between: Duration,
}

#[async_trait]
impl Turns for Regular {
    async fn next(&self) -> Result<(), CdnError> {
        self.clock.sleep(self.between).await;
        Ok(())
    }

    async fn rest(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}

/// Limits a series of requests to a rate.
#[derive(Clone)]
pub struct Pace(Arc<dyn Turns>);

impl Pace {
    /// A rate limit of its own, with this many requests per second.
    pub fn new(clock: crate::clock::Clock, per_second: u32) -> Self {
        Self(Arc::new(Regular {
            clock,
            between: Duration::from_secs(1) / per_second.max(1),
        }))
    }

    /// The rate of the given limiter.
    pub fn by(turns: Arc<dyn Turns>) -> Self {
        Self(turns)
    }

    /// Waits until the next request may be sent.
    pub async fn next(&self) -> Result<(), CdnError> {
        self.0.next().await
    }
}

/// For up to this many tasks, querying each by its id takes no more requests than listing a period of time.
const FEW_TASKS: usize = 2;
/// The limit on requests per call: a day's purges are some hundred pages. An API that never stops returning pages
/// must not be read for ever.
const MOST_REQUESTS: u32 = 1_000;
/// The limit on history entries held at a time, for the same reason.
const MOST_ENTRIES: usize = 200_000;
/// How often one request is repeated after the CDN said that there were too many.
const REFUSALS: u32 = 4;
/// The first pause after such an answer; later ones double. Limits count per second.
const REST: Duration = Duration::from_secs(1);
/// The longest pause within a call.
const LONGEST_REST: Duration = Duration::from_secs(8);

/// The requests of one call, each sent when the rate limit allows it.
struct Paced<'p> {
    pace: &'p Pace,
    made: u32,
}

impl<'p> Paced<'p> {
    fn new(pace: &'p Pace) -> Self {
        Self { pace, made: 0 }
    }

    /// Waits until the next request may be sent; `held` entries have been read so far. Fails if the call has made
    /// too many requests or holds too many entries.
    async fn next(&mut self, held: usize) -> Result<(), CdnError> {
        if self.made >= MOST_REQUESTS || held >= MOST_ENTRIES {
            return Err(CdnError {
                class: ErrorClass::Retry,
                kind: FailureKind::MalformedAnswer,
                message: format!(
                    "the CDN's history has no end: {} requests brought {held} entries, and more are said to come",
                    self.made
                ),
                retry_after: None,
                maybe_done: true,
                cause: Cause::NONE,
            });
        }
        self.pace.next().await?;
        self.made += 1;
        Ok(())
    }

    /// Sends a query when the rate limit allows it. Repeats it after a pause if the CDN received too many, and once
    /// at once if the connection broke: the CDN may close an idle connection just when it is used again, and a
    /// query costs nothing.
    ///
    /// Even with a rate limit, two requests may arrive closer together than they were sent. If a call of many pages
    /// started again after each such refusal, it might never end.
    async fn ask<T, F>(&mut self, held: usize, request: impl Fn() -> F) -> Result<T, CdnError>
    where
        F: Future<Output = Result<T, CdnError>>,
    {
        let mut rest = REST;
        let mut broke_off = false;
        for _ in 0..REFUSALS {
            self.next(held).await?;
            match request().await {
                Err(error) if error.class == ErrorClass::RateLimited => {
                    let asked = error.retry_after.unwrap_or_default();
                    if asked > LONGEST_REST {
                        return Err(error);
                    }
                    self.pace.0.rest(rest.max(asked)).await;
                    rest = (rest * 2).min(LONGEST_REST);
                }
                Err(error)
                    if error.kind == FailureKind::Connection && error.maybe_done && !broke_off =>
                {
                    broke_off = true;
                }
                answered => return answered,
            }
        }
        self.next(held).await?;
        request().await
    }
}
