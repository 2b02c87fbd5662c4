//! A CDN of which everything is known: what it was asked, what it did, and when
//! that had its effect on its caches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use purgehook::cdn::{
    Batch, Cdn, CdnError, ErrorClass, InFlight, Limits, Pace, Quota, Report, TargetState,
};
use purgehook::purge::PurgeKind;

use crate::caches::{Caches, Effect};
use crate::process::{Chance, Process, Time};
use crate::trace::Trace;
use crate::wire::{Mishap, Wire};

/// How a CDN's history can be asked for a batch whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// It knows a batch within seconds.
    Prompt,
    /// It may take a minute, which is longer than anyone waits for it.
    Late,
    /// There is none.
    None,
}

/// What is so of an account from beginning to end.
pub struct Nature {
    pub name: String,
    pub limits: Limits,
    pub history: History,
    /// What the account may really do in a day.
    pub per_day: BTreeMap<PurgeKind, u64>,
    /// Whether it can be asked what is left of that.
    pub says_quota: bool,
}

/// How a target ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    Failed,
    /// It stays under way for ever.
    Never,
    /// It gets a word that nobody knows.
    Odd,
    /// The log never mentions it.
    Silent,
}

struct Item {
    fate: Fate,
    /// When its end shows in the log.
    ends: Timestamp,
}

struct Taken {
    id: String,
    kind: PurgeKind,
    at: Timestamp,
    /// When the history shows it.
    logged: Timestamp,
    items: BTreeMap<String, Item>,
}

#[derive(Default)]
struct Books {
    taken: Vec<Taken>,
    /// When requests that submit were sent, by kind.
    sent: Vec<(PurgeKind, Timestamp)>,
    /// Targets taken, by kind and day.
    spent: BTreeMap<(PurgeKind, i64), u64>,
    /// Targets in a hundred that come to a bad end.
    bad_ends: u32,
    /// Whether the account's keys are refused.
    is_locked: bool,
}

/// An account, its books and its caches.
pub struct Account {
    pub nature: Nature,
    pub wire: Wire,
    caches: Arc<Caches>,
    books: Mutex<Books>,
    chance: Chance,
    time: Time,
    trace: Trace,
}

impl Account {
    pub fn new(
        nature: Nature,
        caches: &Arc<Caches>,
        time: Time,
        chance: &Chance,
        trace: &Trace,
    ) -> Arc<Self> {
        Arc::new(Self {
            wire: Wire::new(&nature.name, time, chance, trace),
            nature,
            caches: Arc::clone(caches),
            books: Mutex::default(),
            chance: Chance::new(chance.seed()),
            time,
            trace: trace.clone(),
        })
    }

    /// From now on so many targets in a hundred come to a bad end.
    pub fn set_bad_ends(&self, percent: u32) {
        self.books.lock().unwrap().bad_ends = percent;
    }

    /// A request is on its way: it must keep to the rate and to the size of batches.
    fn watch(&self, batch: &Batch) {
        let now = self.time.now();
        let limit = self.nature.limits.kinds[&batch.kind];
        let mut books = self.books.lock().unwrap();
        books.sent.push((batch.kind, now));
        let in_a_second = books
            .sent
            .iter()
            .filter(|(kind, at)| {
                *kind == batch.kind && *at > now.saturating_sub(Duration::from_secs(1)).unwrap()
            })
            .count();
        drop(books);
        let name = &self.nature.name;
        if in_a_second > limit.requests_per_second as usize {
            let kind = batch.kind.word();
            let most = limit.requests_per_second;
            self.broken(&format!(
                "{name} got {in_a_second} {kind} requests in a second, and {most} are allowed"
            ));
        }
        if batch.targets.len() > limit.per_request {
            self.broken(&format!(
                "{name} got a batch of {}, and {} are allowed",
                batch.targets.len(),
                limit.per_request
            ));
        }
        let distinct: BTreeSet<&String> = batch.targets.iter().collect();
        if distinct.len() != batch.targets.len() || distinct.is_empty() {
            self.broken(&format!("{name} got the batch {:?}", batch.targets));
        }
    }

    /// A request has arrived.
    fn take(&self, batch: &Batch) -> Result<Option<String>, CdnError> {
        let now = self.time.now();
        let mut books = self.books.lock().unwrap();
        if books.is_locked {
            return Err(refused(ErrorClass::Operator, "AuthFailure"));
        }
        let total = self.nature.per_day[&batch.kind];
        let size = batch.targets.len() as u64;
        let spent = books.spent.entry((batch.kind, day(now))).or_default();
        if *spent + size > total {
            let by_document = self.nature.limits.kinds[&batch.kind].per_day;
            // Where nothing told of the quota, it is learnt from this answer.
            if by_document == total {
                let (name, kind) = (&self.nature.name, batch.kind.word());
                let before = *spent;
                self.broken(&format!(
                    "{name} was asked for {before} + {size} {kind} purges in a day, and {total} are allowed"
                ));
            }
            return Err(refused(ErrorClass::QuotaDay, "LimitExceeded.Day"));
        }
        *spent += size;
        let id = format!("{}-{}", self.nature.name, books.taken.len() + 1);
        let lag = match self.nature.history {
            History::Prompt => self.chance.millis(0..8_000),
            History::Late | History::None => self.chance.millis(0..60_000),
        };
        let mut items = BTreeMap::new();
        for target in &batch.targets {
            let fate = self.fate(books.bad_ends);
            let takes = self.chance.millis(200..90_000);
            let acts = match fate {
                Fate::Done => true,
                Fate::Failed | Fate::Never | Fate::Silent => self.chance.one_in(3),
                Fate::Odd => false,
            };
            if acts {
                // Somewhere between the answer and the word that it is done.
                let effect =
                    now + Duration::from_millis(self.chance.within(0..=takes.as_millis() as u64));
                self.caches.will(
                    effect,
                    Effect {
                        cdn: self.nature.name.clone(),
                        kind: batch.kind,
                        target: target.clone(),
                    },
                );
            }
            let ends = now + takes;
            items.insert(target.clone(), Item { fate, ends });
        }
        self.trace.tell(
            now,
            &format!(
                "{} takes {id}: {} {:?}",
                self.nature.name,
                batch.kind.word(),
                batch.targets
            ),
        );
        books.taken.push(Taken {
            id: id.clone(),
            kind: batch.kind,
            at: now,
            logged: now + lag,
            items,
        });
        Ok(Some(id))
    }

    fn fate(&self, bad_ends: u32) -> Fate {
        if bad_ends == 0 || !self.chance.percent(bad_ends) {
            return Fate::Done;
        }
        match self.chance.within(0..10) {
            0 => Fate::Never,
            1 => Fate::Odd,
            2 => Fate::Silent,
            _ => Fate::Failed,
        }
    }

    fn report(&self, task: &InFlight) -> Report {
        let now = self.time.now();
        let books = self.books.lock().unwrap();
        let taken = books
            .taken
            .iter()
            .find(|taken| Some(&taken.id) == task.task.as_ref() && taken.logged <= now);
        let mut report = Report::default();
        let Some(taken) = taken else {
            return report;
        };
        for target in &task.batch.targets {
            let Some(item) = taken.items.get(target) else {
                continue;
            };
            let is_over = item.ends <= now;
            let state = match item.fate {
                Fate::Silent => continue,
                Fate::Odd => TargetState::Unknown("succeeded?".to_owned()),
                Fate::Done if is_over => TargetState::Done,
                Fate::Failed if is_over => TargetState::Failed("the node is gone".to_owned()),
                Fate::Done | Fate::Failed | Fate::Never => TargetState::Running(Some(50)),
            };
            report.targets.insert(target.clone(), state);
        }
        report
    }

    fn look_for(&self, lost: &InFlight) -> Option<String> {
        let now = self.time.now();
        if self.nature.history == History::None {
            return None;
        }
        let books = self.books.lock().unwrap();
        let mut candidates: Vec<_> = books
            .taken
            .iter()
            .filter(|taken| taken.kind == lost.batch.kind && taken.logged <= now)
            .filter(|taken| {
                let mut targets = lost.batch.targets.iter();
                targets.all(|target| taken.items.contains_key(target))
            })
            .filter_map(|taken| {
                let after = taken.at.duration_since(lost.submitted_at).as_millis();
                (-5_000..=120_000)
                    .contains(&after)
                    .then(|| (after.abs(), taken.id.clone()))
            })
            .collect();
        candidates.sort();
        candidates.into_iter().next().map(|(_, id)| id)
    }

    fn left(&self) -> BTreeMap<PurgeKind, Quota> {
        if !self.nature.says_quota {
            return BTreeMap::new();
        }
        let today = day(self.time.now());
        let books = self.books.lock().unwrap();
        let quota = |kind: &PurgeKind, total: &u64| Quota {
            per_request: Some(self.nature.limits.kinds[kind].per_request as u64),
            total: *total,
            left: total - books.spent.get(&(*kind, today)).copied().unwrap_or(0),
        };
        self.nature
            .per_day
            .iter()
            .map(|(kind, total)| (*kind, quota(kind, total)))
            .collect()
    }

    fn broken(&self, promise: &str) {
        self.trace.broken(self.time.now(), promise);
    }
}

/// The day of a quota: from midnight to midnight in UTC+8.
fn day(now: Timestamp) -> i64 {
    (now.as_second() + 8 * 3_600).div_euclid(24 * 3_600)
}

fn refused(class: ErrorClass, code: &str) -> CdnError {
    CdnError {
        class,
        code: code.to_owned(),
        message: format!("refused: {code}"),
        retry_after: None,
        maybe_done: false,
    }
}

/// What a client of a real CDN makes of a mishap.
fn error_of(mishap: Mishap) -> CdnError {
    let (class, code, maybe_done) = match mishap {
        Mishap::None => unreachable!("nothing went wrong"),
        Mishap::Unreachable => (ErrorClass::Retry, "connection", false),
        Mishap::Dropped(_) => (ErrorClass::Retry, "connection", true),
        Mishap::Hanging(_) => (ErrorClass::Retry, "timeout", true),
        Mishap::Unavailable(_) => (ErrorClass::Retry, "http 503", true),
        Mishap::Senseless(_) => (ErrorClass::Retry, "answer", true),
        Mishap::Throttled(_) => (ErrorClass::RateLimited, "RequestLimitExceeded", false),
        Mishap::Failed => (ErrorClass::Retry, "InternalError", false),
    };
    CdnError {
        class,
        code: code.to_owned(),
        message: format!("{mishap:?}"),
        retry_after: match mishap {
            Mishap::Throttled(wait) => wait,
            _ => None,
        },
        maybe_done,
    }
}

/// One process's client of an account.
pub struct Client {
    pub account: Arc<Account>,
    pub process: Arc<Process>,
}

impl Client {
    async fn call<T>(&self, what: &str, work: impl FnOnce() -> T) -> Result<T, CdnError> {
        let sent = self.account.wire.send(&self.process, what, work);
        sent.await.map_err(error_of)
    }
}

#[async_trait]
impl Cdn for Client {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn account(&self) -> String {
        self.account.nature.name.clone()
    }

    fn limits(&self) -> &Limits {
        &self.account.nature.limits
    }

    async fn submit(&self, batch: &Batch) -> Result<Option<String>, CdnError> {
        self.account.watch(batch);
        let what = format!("purge {} {:?}", batch.kind.word(), batch.targets);
        self.call(&what, || self.account.take(batch)).await?
    }

    async fn follow(&self, tasks: &[InFlight], pace: &Pace) -> Result<Vec<Report>, CdnError> {
        let mut reports = Vec::new();
        for some in tasks.chunks(3) {
            if !reports.is_empty() {
                pace.next().await;
            }
            let ids: Vec<_> = some.iter().map(|task| task.task.as_deref()).collect();
            let ask =
                || -> Vec<Report> { some.iter().map(|task| self.account.report(task)).collect() };
            reports.extend(self.call(&format!("follow {ids:?}"), ask).await?);
        }
        Ok(reports)
    }

    async fn find(&self, lost: &InFlight, _pace: &Pace) -> Result<Option<String>, CdnError> {
        let what = format!("find {:?}", lost.batch.targets);
        self.call(&what, || self.account.look_for(lost)).await
    }

    async fn quota(&self) -> Result<BTreeMap<PurgeKind, Quota>, CdnError> {
        self.call("quota", || self.account.left()).await
    }
}
