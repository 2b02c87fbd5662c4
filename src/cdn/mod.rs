//! CDNs: what takes the purges, with their limits, errors and signatures.
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

/// A kind of CDN, as `kind:` names it.
pub struct CdnKind {
    /// The word behind `kind:`.
    pub name: &'static str,
    /// Reads an entry under `cdns:` and makes its client. None when the entry has problems, which the section has noted.
    pub read: fn(&mut Section, &Outbound) -> Option<Arc<dyn Cdn>>,
    /// Whether it prefetches URLs.
    pub prefetches: bool,
    /// What `purgehook init` writes of it.
    pub entry: Entry,
}

/// Every kind of CDN there is.
pub const KINDS: &[CdnKind] = &[
    tencent::cdn::KIND,
    tencent::ecdn::KIND,
    qcloud::KIND,
    huawei::KIND,
];

/// What a CDN takes, per kind of purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Targets in one request.
    pub per_request: usize,
    /// Targets in a day, per account.
    pub per_day: u64,
    /// Whether the configuration says so; else it is what the vendor documents
    /// for an account like any other, and the account's own quota counts instead where it can be asked for.
    pub per_day_configured: bool,
    /// Requests a second, per account.
    pub requests_per_second: u32,
}

/// What a CDN takes in all. A kind that is missing is one it cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// By kind of purge.
    pub kinds: BTreeMap<PurgeKind, Limit>,
    /// Requests a second that ask how tasks stand, per account.
    pub queries_per_second: u32,
    /// Bytes in one URL, where a limit is documented.
    pub url_length: Option<usize>,
}

/// Purges to hand over in one request: of one kind and one mode.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What is to be done.
    pub kind: PurgeKind,
    /// For directories: how.
    pub mode: Option<Mode>,
    /// The full URLs, each once.
    pub targets: Vec<String>,
}

impl Batch {
    /// What it holds, for messages: "12 URLs", "1 directory".
    fn counted(&self) -> String {
        let (one, many) = match self.kind {
            PurgeKind::Url | PurgeKind::Prefetch => ("URL", "URLs"),
            PurgeKind::Directory => ("directory", "directories"),
        };
        counted(self.targets.len(), one, many)
    }
}

/// A batch that was handed over.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// What the CDN calls it. None while it is not known whether the CDN took it.
    pub task: Option<TaskIds>,
    /// When the request went out.
    pub submitted_at: Timestamp,
    /// What was handed over, less what is known to have ended.
    pub batch: Batch,
}

/// How one target of a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// Not done yet. `Some` percent where the CDN counts.
    Running(Option<u8>),
    /// Confirmed.
    Done,
    /// The CDN failed at it; trying once more may help.
    Failed(String),
    /// The origin answered a prefetch with an error; trying again is no use.
    Invalid(String),
    /// A word that is in no document: still running, as far as anyone knows.
    Unknown(String),
}

/// What the CDN says of one batch in flight. Targets it says nothing of are left out.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By target, as it was handed over.
    pub targets: BTreeMap<String, TargetState>,
}

/// What kind of trouble an answer means; each has one behaviour in the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// Passing: again, with backoff, a few times.
    Retry,
    /// Too fast: wait, keep everything.
    RateLimited,
    /// The day's quota is used up: wait for the reset.
    QuotaDay,
    /// The batch is larger than this account may send: halve it.
    Split,
    /// A person must act; again is no use.
    Operator,
    /// One of the batch's targets is refused: find it, drop it, send the rest.
    BadInput,
    /// The service has moved to another one.
    Migrated,
}

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// There was no connection, or it ended before the answer did.
    Connection,
    /// No answer came in time.
    Timeout,
    /// The answer was an HTTP status alone, without an error of the API's in it.
    HttpStatus(u16),
    /// The answer was not what the API promises.
    MalformedAnswer,
    /// The CDN answered with an error of its own; its code means something to its own client only.
    Vendor(String),
    /// The CDN's API has no such call.
    Unsupported,
    /// purgehook could not find out when the request may go out, and sent nothing.
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

/// A call that failed, and what that means.
#[derive(Debug, Clone)]
pub struct CdnError {
    /// What to do about it.
    pub class: ErrorClass,
    /// How it failed.
    pub kind: FailureKind,
    /// What was attempted and what the CDN answered, for people.
    pub message: String,
    /// How long the CDN asked to be sent no requests.
    pub retry_after: Option<Duration>,
    /// Whether the CDN may have done the work all the same (the answer was lost or made no sense).
    pub maybe_done: bool,
    /// The HTTP client's error, where there was no answer.
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
    /// Whether the CDN could not be reached or did not get to an answer of its own.
    pub fn is_outage(&self) -> bool {
        match self.kind {
            FailureKind::Connection | FailureKind::Timeout | FailureKind::MalformedAnswer => true,
            FailureKind::HttpStatus(status) => status >= 500,
            FailureKind::Vendor(_) | FailureKind::Unsupported | FailureKind::NoSlot => false,
        }
    }

    /// The CDN's own code, where it answered with an error of its own.
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

/// What is left of one day's quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Targets in one request.
    pub per_request: Option<u64>,
    /// Targets a day.
    pub total: u64,
    /// Targets left today.
    pub left: u64,
}

/// One CDN, as an entry under `cdns:` configures it.
#[async_trait]
pub trait Cdn: Send + Sync {
    /// The word behind `kind:`.
    fn kind(&self) -> &'static str;

    /// The account whose limits apply.
    fn account(&self) -> AccountId;

    /// The documented limits, with what the configuration says over them.
    fn limits(&self) -> &Limits;

    /// Names the API's action that takes purges of a kind: what its limit of requests a second is
    /// counted by. Tencent has one for each kind (`PurgeUrlsCache`, `PurgePathCache`,
    /// `PushUrlsCache`; `RefreshCdnUrl`, `RefreshCdnDir`, `CdnPusherV2`).
    fn action(&self, kind: PurgeKind) -> &'static str {
        kind.as_str()
    }

    /// Hands a batch over; what the CDN calls it when it took it. `Ok(None)` when it took it without giving an id.
    async fn submit(&self, batch: &Batch) -> Result<Option<TaskIds>, CdnError>;

    /// Asks how tasks stand, in as few requests as the API allows. One report a
    /// task, in the same order. `pace` is awaited before each request.
    async fn follow(&self, tasks: &[InFlight], pace: &Pace) -> Result<Vec<Report>, CdnError>;

    /// Looks for a batch whose answer was lost in the CDN's history: what it is called there if it was taken.
    /// `others` are the ids of tasks that are known to be other batches'. What may
    /// be one of these is not the batch: to purge twice costs quota, and not to purge a stale page.
    async fn find(
        &self,
        lost: &InFlight,
        others: &BTreeSet<TaskId>,
        pace: &Pace,
    ) -> Result<Option<TaskIds>, CdnError>;

    /// What is left of today's quotas, by kind. Empty where the API cannot say.
    async fn quota(&self) -> Result<BTreeMap<PurgeKind, Quota>, CdnError>;

    /// How far the CDN's clock was from ours at its newest answer, and how far its signatures let it be. None before
    /// the first answer, and where nothing goes by the time.
    fn clock_skew(&self) -> Option<ClockSkew> {
        None
    }

    /// The entry under `cdns:` that takes this one's purges once its service answers that it has moved.
    fn migrated_to(&self) -> Option<&str> {
        None
    }
}

/// Says when it is a request's turn.
#[async_trait]
pub trait Turns: Send + Sync {
    /// Returns when the next request may go out; an error if that cannot be known.
    async fn next(&self) -> Result<(), CdnError>;

    /// Returns after a while, in which whoever was asked has had a rest.
    async fn rest(&self, duration: Duration);
}

/// Turns that come regularly.
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

/// Keeps a series of requests inside a rate.
#[derive(Clone)]
pub struct Pace(Arc<dyn Turns>);

impl Pace {
    /// A pace of nobody else's, of so many requests a second.
    pub fn new(clock: crate::clock::Clock, per_second: u32) -> Self {
        Self(Arc::new(Regular {
            clock,
            between: Duration::from_secs(1) / per_second.max(1),
        }))
    }

    /// At the pace of whoever says when it is one's turn.
    pub fn by(turns: Arc<dyn Turns>) -> Self {
        Self(turns)
    }

    /// Returns when the next request may go out.
    pub async fn next(&self) -> Result<(), CdnError> {
        self.0.next().await
    }
}

/// Up to this many tasks it takes no more requests to ask for each by its id than for what happened in a while.
const FEW_TASKS: usize = 2;
/// More requests than any one call needs: a day's purges are some hundred pages. An API that gives ever
/// more pages must not be read for ever.
const MOST_REQUESTS: u32 = 1_000;
/// More entries of a history than are held at one time, for the same reason.
const MOST_ENTRIES: usize = 200_000;
/// How often one request is made again after the CDN said that it has had too many.
const REFUSALS: u32 = 4;
/// The first rest after that; it doubles. Limits are counted by the second.
const REST: Duration = Duration::from_secs(1);
/// The longest rest in the middle of a call.
const LONGEST_REST: Duration = Duration::from_secs(8);

/// The requests of one call: each goes out when the pace lets it.
struct Paced<'p> {
    pace: &'p Pace,
    made: u32,
}

impl<'p> Paced<'p> {
    fn new(pace: &'p Pace) -> Self {
        Self { pace, made: 0 }
    }

    /// Returns when the next request may go out; `held` entries have been read so far. An error when it has been enough.
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

    /// Makes a request when the pace lets it, and again after a rest where the CDN has had too many,
    /// or once at once where the connection ended: the CDN may close one at the moment at which it is
    /// used again, and a question costs nothing.
    ///
    /// Pace or no pace, two requests may arrive closer to each other than they left. A call of many
    /// pages that began anew after each such refusal might never come to its end.
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
