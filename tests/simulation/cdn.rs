//! A CDN of which everything is known: what it was asked, what it did, and when
//! that had its effect on its caches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use purgehook::account::AccountId;
use purgehook::cause::Cause;
use purgehook::cdn::{
    Batch, Cdn, CdnError, ErrorClass, FailureKind, InFlight, Limits, Pace, Quota, Report,
    TargetState,
};
use purgehook::purge::{PurgeKind, TaskId, TaskIds};

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
    /// Whether it answers a batch with an id. Else its history is the only way to one.
    pub gives_ids: bool,
    /// Whether rates must be kept to the letter. A process that stood still between its
    /// turn and its request sends that at another's turn.
    pub watches_rates: bool,
    /// The most milliseconds that a purge takes.
    pub slowest: u64,
}

/// How a target ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Done,
    Failed,
    /// It stays under way for ever.
    Never,
    /// It gets a word that nobody knows.
    Odd,
    /// The log never mentions it.
    Silent,
}

#[derive(Clone)]
pub struct Item {
    pub fate: Fate,
    /// When its end shows in the log.
    ends: Timestamp,
}

/// A batch that the account took.
#[derive(Clone)]
pub struct Taken {
    pub id: String,
    pub kind: PurgeKind,
    at: Timestamp,
    /// When the history shows it.
    logged: Timestamp,
    /// When the request was sent.
    sent: Timestamp,
    /// Whether its answer reached its sender.
    pub heard: bool,
    pub items: BTreeMap<String, Item>,
}

/// A batch that was more than was left of a day's quota.
struct Excess {
    kind: PurgeKind,
    day: i64,
    size: u64,
    /// What was allowed in the day.
    total: u64,
    /// How many batches had been taken before it.
    after: usize,
}

#[derive(Default)]
struct Books {
    taken: Vec<Taken>,
    /// When requests were sent: those that submit by kind, the others without one.
    sent: Vec<(Option<PurgeKind>, Timestamp)>,
    /// Looks into the history that came to nothing.
    blind_looks: usize,
    /// Batches that were more than was left of a day's quota.
    excesses: Vec<Excess>,
    excuses_questions: bool,
    /// How much was bought on top of each kind's quota.
    bought: u64,
    /// Targets taken, by kind and day.
    spent: BTreeMap<(PurgeKind, i64), u64>,
    /// Targets in a hundred that come to a bad end.
    bad_ends: u32,
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

    /// Whether the history told of a batch before anyone took it for lost.
    pub fn tells_in_time(&self, taken: &Taken) -> bool {
        self.nature.history == History::Prompt && taken.logged < taken.sent + Duration::from_secs(9)
    }

    /// Everything that it took, oldest first.
    pub fn taken(&self) -> Vec<Taken> {
        self.books.lock().unwrap().taken.clone()
    }

    /// Batches that were more than a day's quota, if only those count as spent that are known.
    pub fn excesses(&self, known: &BTreeSet<String>) -> Vec<String> {
        let books = self.books.lock().unwrap();
        let mut found = Vec::new();
        for excess in &books.excesses {
            let Excess {
                kind,
                day: of,
                size,
                total,
                after,
            } = *excess;
            let same = books.taken.iter().take(after).filter(|taken| {
                taken.kind == kind && day(taken.at) == of && known.contains(&taken.id)
            });
            let spent: usize = same.map(|taken| taken.items.len()).sum();
            if spent as u64 + size > total {
                found.push(format!(
                    "{spent} + {size} {} purges in a day, and {total} are allowed",
                    kind.as_str()
                ));
            }
        }
        found
    }

    /// Somebody buys a larger quota, where it can be asked for.
    pub fn buy(&self, more: u64) {
        if self.nature.says_quota {
            self.books.lock().unwrap().bought = more;
        }
    }

    /// Looks into the history that came to nothing.
    pub fn blind_looks(&self) -> usize {
        self.books.lock().unwrap().blind_looks
    }

    /// Whether a task's target is done, as its log says at this moment.
    pub fn has_done(&self, task: &str, target: &str) -> bool {
        let books = self.books.lock().unwrap();
        let is_it =
            |taken: &&Taken| taken.id == task || (task.is_empty() && !self.nature.gives_ids);
        let mut items = books.taken.iter().filter(is_it);
        let now = self.time.now();
        items.any(|taken| {
            let item = taken.items.get(target);
            item.is_some_and(|item| item.fate == Fate::Done && item.ends <= now)
        })
    }

    /// From now on questions may come too often: a turn at asking cannot be taken from a
    /// database that fails, and asking goes on all the same.
    pub fn excuse_questions(&self) {
        self.books.lock().unwrap().excuses_questions = true;
    }

    /// A request is on its way: it must keep to the rate of its kind.
    fn watch_rate(&self, kind: Option<PurgeKind>) {
        let is_excused = kind.is_none() && self.books.lock().unwrap().excuses_questions;
        if is_excused || !self.nature.watches_rates {
            return;
        }
        let now = self.time.now();
        let most = match kind {
            Some(kind) => self.nature.limits.kinds[&kind].requests_per_second,
            None => self.nature.limits.queries_per_second,
        };
        let mut books = self.books.lock().unwrap();
        books.sent.push((kind, now));
        // Some milliseconds pass between one's turn and the request.
        let since = now - Duration::from_millis(950);
        let in_a_second = books
            .sent
            .iter()
            .rev()
            .take_while(|(_, at)| *at > since)
            .filter(|(of, _)| *of == kind)
            .count();
        drop(books);
        if in_a_second > most as usize {
            let name = &self.nature.name;
            let kind = kind.map_or("query", PurgeKind::as_str);
            self.broken(&format!(
                "{name} got {in_a_second} {kind} requests in a second, and {most} are allowed"
            ));
        }
    }

    /// A batch is on its way: it must keep to the rate and to the size of batches.
    fn watch(&self, batch: &Batch) {
        self.watch_rate(Some(batch.kind));
        let limit = self.nature.limits.kinds[&batch.kind];
        let name = &self.nature.name;
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
    fn take(&self, batch: &Batch, sent: Timestamp) -> Result<Option<String>, CdnError> {
        let now = self.time.now();
        let mut books = self.books.lock().unwrap();
        let total = self.nature.per_day[&batch.kind] + books.bought;
        let size = batch.targets.len() as u64;
        let spent = books.spent.entry((batch.kind, day(now))).or_default();
        if *spent + size > total {
            let after = books.taken.len();
            books.excesses.push(Excess {
                kind: batch.kind,
                day: day(now),
                size,
                total,
                after,
            });
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
            let takes = self.chance.millis(200..self.nature.slowest);
            let acts = match fate {
                Fate::Done => true,
                Fate::Failed | Fate::Never | Fate::Silent | Fate::Odd => self.chance.one_in(3),
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
                batch.kind.as_str(),
                batch.targets
            ),
        );
        books.taken.push(Taken {
            id: id.clone(),
            kind: batch.kind,
            at: now,
            logged: now + lag,
            sent,
            heard: false,
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
        let taken = books.taken.iter().find(|taken| {
            let id = TaskId::Vendor(taken.id.clone());
            task.task == Some(id.into()) && taken.logged <= now
        });
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

    fn look_for(&self, lost: &InFlight, others: &BTreeSet<TaskId>) -> Option<TaskIds> {
        let now = self.time.now();
        if self.nature.history == History::None {
            return None;
        }
        let books = self.books.lock().unwrap();
        let mut candidates: Vec<_> = books
            .taken
            .iter()
            .filter(|taken| taken.kind == lost.batch.kind && taken.logged <= now)
            .filter(|taken| !others.contains(&TaskId::Vendor(taken.id.clone())))
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
        let found = candidates.into_iter().next();
        found.map(|(_, id)| TaskId::Vendor(id).into())
    }

    fn left(&self) -> BTreeMap<PurgeKind, Quota> {
        if !self.nature.says_quota {
            return BTreeMap::new();
        }
        let today = day(self.time.now());
        let books = self.books.lock().unwrap();
        let quota = |kind: &PurgeKind, documented: &u64| {
            let total = documented + books.bought;
            let spent = books.spent.get(&(*kind, today)).copied().unwrap_or(0);
            Quota {
                per_request: Some(self.nature.limits.kinds[kind].per_request as u64),
                total,
                left: total - spent,
            }
        };
        let kinds = self.nature.per_day.iter();
        kinds
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
        kind: FailureKind::Vendor(code.to_owned()),
        message: format!("refused: {code}"),
        retry_after: None,
        maybe_done: false,
        cause: Cause::NONE,
    }
}

/// What a client of a real CDN makes of a mishap.
fn error_of(mishap: Mishap) -> CdnError {
    let vendor = |code: &str| FailureKind::Vendor(code.to_owned());
    let (class, kind, maybe_done) = match mishap {
        Mishap::None => unreachable!("nothing went wrong"),
        Mishap::Unreachable => (ErrorClass::Retry, FailureKind::Connection, false),
        Mishap::Dropped(_) => (ErrorClass::Retry, FailureKind::Connection, true),
        Mishap::Hanging(_) => (ErrorClass::Retry, FailureKind::Timeout, true),
        Mishap::Unavailable(_) => (ErrorClass::Retry, FailureKind::HttpStatus(503), true),
        Mishap::Senseless(_) => (ErrorClass::Retry, FailureKind::MalformedAnswer, true),
        Mishap::Throttled(_) => (
            ErrorClass::RateLimited,
            vendor("RequestLimitExceeded"),
            false,
        ),
        Mishap::Failed => (ErrorClass::Retry, vendor("InternalError"), false),
        Mishap::Refused => (ErrorClass::Operator, vendor("AuthFailure"), false),
    };
    CdnError {
        class,
        kind,
        message: format!("{mishap:?}"),
        retry_after: match mishap {
            Mishap::Throttled(wait) => wait,
            _ => None,
        },
        maybe_done,
        cause: Cause::NONE,
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

    fn account(&self) -> AccountId {
        AccountId::new(self.account.nature.name.as_str())
    }

    fn limits(&self) -> &Limits {
        &self.account.nature.limits
    }

    async fn submit(&self, batch: &Batch) -> Result<Option<TaskIds>, CdnError> {
        self.account.watch(batch);
        let what = format!("purge {} {:?}", batch.kind.as_str(), batch.targets);
        let sent = self.account.time.now();
        let answer = self.call(&what, || self.account.take(batch, sent)).await?;
        if let Ok(Some(id)) = &answer {
            let mut books = self.account.books.lock().unwrap();
            for taken in books.taken.iter_mut().filter(|taken| taken.id == *id) {
                taken.heard = true;
            }
        }
        let id = answer.map(|id| id.filter(|_| self.account.nature.gives_ids));
        id.map(|id| id.map(|id| TaskId::Vendor(id).into()))
    }

    async fn follow(&self, tasks: &[InFlight], pace: &Pace) -> Result<Vec<Report>, CdnError> {
        let mut reports = Vec::new();
        for some in tasks.chunks(3) {
            pace.next().await?;
            self.account.watch_rate(None);
            let ids: Vec<_> = some
                .iter()
                .map(|task| task.task.as_ref().map(ToString::to_string))
                .collect();
            let ask =
                || -> Vec<Report> { some.iter().map(|task| self.account.report(task)).collect() };
            reports.extend(self.call(&format!("follow {ids:?}"), ask).await?);
        }
        // An answer that makes no sense, and looks as if it did.
        if self.account.wire.is_in_trouble() && self.account.chance.one_in(20) {
            reports.pop();
        }
        Ok(reports)
    }

    async fn find(
        &self,
        lost: &InFlight,
        others: &BTreeSet<TaskId>,
        pace: &Pace,
    ) -> Result<Option<TaskIds>, CdnError> {
        pace.next().await?;
        self.account.watch_rate(None);
        let what = format!("find {:?}", lost.batch.targets);
        let found = self
            .call(&what, || self.account.look_for(lost, others))
            .await;
        if found.is_err() {
            self.account.books.lock().unwrap().blind_looks += 1;
        }
        found
    }

    async fn quota(&self) -> Result<BTreeMap<PurgeKind, Quota>, CdnError> {
        self.call("quota", || self.account.left()).await
    }
}
