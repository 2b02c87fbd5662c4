//! A customer's account at a simulated CDN: its domains, its quotas, and its tasks, which take time.
//!
//! This is what all CDNs share; their APIs are in the modules beside it.

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz};
use strum::{EnumString, IntoStaticStr};

use super::exchange::Api;
use super::faults::When;
use crate::purge::{Mode, PurgeKind};

/// The area in which a domain is accelerated, or a purge is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Area {
    /// The Chinese mainland.
    Mainland,
    /// Everywhere else.
    Overseas,
    /// Both.
    Global,
}

impl Area {
    /// Its name in Tencent's API.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The areas with separate quotas.
    pub(super) fn parts(self) -> &'static [Area] {
        match self {
            Self::Mainland => &[Self::Mainland],
            Self::Overseas => &[Self::Overseas],
            Self::Global => &[Self::Mainland, Self::Overseas],
        }
    }

    pub(super) fn covers(self, other: Area) -> bool {
        other.parts().iter().all(|part| self.parts().contains(part))
    }
}

/// The result of a target of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetOutcome {
    /// It is purged or prefetched.
    Done,
    /// The CDN fails.
    Fail,
    /// The origin answers a prefetch with 4xx or 5xx.
    Invalid,
    /// It never ends.
    Never,
}

/// The API's spelling of a target's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// As in the examples of the documents (`Done` on Tencent, `succeed` on Huawei).
    Documented,
    /// All in lower case.
    Lower,
    /// All in upper case.
    Upper,
    /// This word, whatever the state.
    Odd(String),
}

impl Words {
    pub(super) fn write(&self, word: &str) -> String {
        match self {
            Self::Documented => word.to_owned(),
            Self::Lower => word.to_lowercase(),
            Self::Upper => word.to_uppercase(),
            Self::Odd(odd) => odd.clone(),
        }
    }
}

/// An accepted target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// URL, directory or prefetch.
    pub kind: PurgeKind,
    /// The URL.
    pub target: String,
    /// How to purge, for a directory.
    pub mode: Option<Mode>,
    /// The area.
    pub area: Area,
    /// The task's id.
    pub task: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// Its result; none while it runs.
    pub ended: Option<TargetOutcome>,
}

/// The limits of targets per request and per day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    pub per_request: usize,
    pub per_day: usize,
}

pub(super) struct Domain {
    pub area: Area,
    pub online: bool,
}

/// A target of a task.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The number of the target in the account.
    pub id: u64,
    pub url: String,
    outcome: TargetOutcome,
    ends_at: Timestamp,
}

impl Target {
    /// Its result at `now`; none while it runs.
    pub fn ended(&self, now: Timestamp) -> Option<TargetOutcome> {
        (now >= self.ends_at && self.outcome != TargetOutcome::Never).then_some(self.outcome)
    }

    /// When it ended or will end.
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }
}

#[derive(Clone, Debug)]
pub(super) struct Task {
    pub id: String,
    pub kind: PurgeKind,
    pub mode: Option<Mode>,
    pub area: Area,
    pub at: Timestamp,
    pub targets: Vec<Target>,
}

/// A simulated CDN: an API in front of an account.
pub(super) trait CdnService: Api + Any {
    /// The keys that requests are signed with.
    fn keys(&self) -> KeyPair;
    /// The account behind the API.
    fn account(&mut self) -> &mut Account;
}

/// A pair of keys, and their names in a rules file.
pub(super) struct KeyPair {
    pub names: [&'static str; 2],
    pub id: &'static str,
    pub secret: &'static str,
}

/// The account.
pub(super) struct Account {
    pub domains: BTreeMap<String, Domain>,
    pub tasks: Vec<Task>,
    pub allowances: BTreeMap<PurgeKind, Allowance>,
    pub words: Words,
    /// How long after its acceptance a task appears in lists.
    pub listed_after: Duration,
    /// The maximum number of entries per page, whatever was requested.
    pub page_cap: usize,
    /// How far the service's clock is ahead, in seconds.
    pub ahead: i64,
    /// Whether the service answers that it has moved.
    pub migrated: bool,
    /// The session token that must be sent with the keys.
    pub token: Option<String>,
    pub duration: Duration,
    outcomes: Vec<(String, TargetOutcome, When)>,
    calls: BTreeMap<String, Vec<Timestamp>>,
    target_count: u64,
    pub task_count: u64,
}

impl Account {
    pub fn new(allowances: impl IntoIterator<Item = (PurgeKind, Allowance)>) -> Self {
        Self {
            domains: BTreeMap::new(),
            tasks: Vec::new(),
            allowances: allowances.into_iter().collect(),
            words: Words::Documented,
            listed_after: Duration::ZERO,
            page_cap: 100,
            ahead: 0,
            migrated: false,
            token: None,
            duration: Duration::from_secs(2),
            outcomes: Vec::new(),
            calls: BTreeMap::new(),
            target_count: 8_992_600,
            task_count: 0,
        }
    }

    /// Counts a call; false if there were already `limit` calls within a second.
    pub fn within_rate(&mut self, action: &str, limit: usize, now: Timestamp) -> bool {
        let calls = self.calls.entry(action.to_owned()).or_default();
        calls.retain(|at| now.duration_since(*at) < SignedDuration::from_secs(1));
        if calls.len() >= limit {
            return false;
        }
        calls.push(now);
        true
    }

    /// The targets accepted today (Beijing time) that count for an area.
    pub fn used_today(&self, kind: PurgeKind, area: Area, now: Timestamp) -> usize {
        let today = day(now);
        self.tasks
            .iter()
            .filter(|task| task.kind == kind && task.area.covers(area) && day(task.at) == today)
            .map(|task| task.targets.len())
            .sum()
    }

    /// What is left today for a kind, in the most limited part of an area.
    pub fn left_today(&self, kind: PurgeKind, area: Area, now: Timestamp) -> usize {
        let per_day = self.allowances.get(&kind).map_or(0, |a| a.per_day);
        area.parts()
            .iter()
            .map(|part| per_day.saturating_sub(self.used_today(kind, *part, now)))
            .min()
            .unwrap_or(0)
    }

    /// Starts a task.
    pub fn begin(
        &mut self,
        id: String,
        kind: PurgeKind,
        mode: Option<Mode>,
        area: Area,
        urls: Vec<String>,
        now: Timestamp,
    ) {
        let ends_at = now + self.duration;
        let mut targets = Vec::with_capacity(urls.len());
        for url in urls {
            let outcome = self.outcome_of(&url);
            self.target_count += 1;
            targets.push(Target {
                id: self.target_count,
                url,
                outcome,
                ends_at,
            });
        }
        self.tasks.push(Task {
            id,
            kind,
            mode,
            area,
            at: now,
            targets,
        });
    }

    /// Adds a rule for the result of targets whose URL contains `part`.
    pub fn told(&mut self, part: &str, when: When, outcome: TargetOutcome) {
        self.outcomes.retain(|(told, _, _)| told != part);
        self.outcomes.push((part.to_owned(), outcome, when));
    }

    fn outcome_of(&mut self, url: &str) -> TargetOutcome {
        for (pattern, outcome, when) in &mut self.outcomes {
            let applies = url.contains(pattern.as_str())
                && match when {
                    When::Times(0) => false,
                    When::Times(left) => {
                        *left -= 1;
                        true
                    }
                    When::Chance(_) | When::Always => true,
                };
            if applies {
                return *outcome;
            }
        }
        TargetOutcome::Done
    }
}

/// The day in Beijing (UTC+8, no daylight saving time), for which quotas are counted.
fn day(at: Timestamp) -> jiff::civil::Date {
    at.to_zoned(beijing()).date()
}

/// UTC+8.
pub(super) fn beijing() -> tz::TimeZone {
    tz::TimeZone::fixed(tz::offset(8))
}

/// `YYYY-MM-DD HH:MM:SS` in Beijing.
pub(super) fn beijing_time(at: Timestamp) -> String {
    at.to_zoned(beijing())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// Parses `YYYY-MM-DD HH:MM:SS` as Beijing time, strictly.
pub(super) fn parse_beijing_time(text: &str) -> Option<Timestamp> {
    if text.len() != 19 {
        return None;
    }
    let civil = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    Some(civil.to_zoned(beijing()).ok()?.timestamp())
}
