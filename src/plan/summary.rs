//! A plan's cost on each CDN: targets, requests, the share of a day's quota, and what has to wait.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Plan;
use crate::numerals::agreeing;
use crate::purge::{Mode, PurgeKind};

/// The time between two renewals of a quota.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A CDN's limits for one kind of purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Targets per request.
    pub per_request: usize,
    /// Targets per day.
    pub per_day: u64,
    /// Targets left today; all of them if nothing was submitted yet.
    pub left: u64,
}

/// A plan's load on one CDN for one kind of purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The CDN.
    pub cdn: String,
    /// The kind of purge.
    pub kind: PurgeKind,
    /// The number of targets.
    pub targets: usize,
    /// The number of requests: a request contains targets of one mode.
    pub requests: usize,
    /// The CDN's daily limit, if known.
    pub per_day: Option<u64>,
    /// What is left of it today.
    pub left: Option<u64>,
}

/// What exceeds a day's quota, and when it will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The number of targets that are sent at once.
    pub today: u64,
    /// The number of targets that wait.
    pub waiting: u64,
    /// When the first and the last of these are sent; none if the quota is zero, so that they never are.
    pub until: Option<(Timestamp, Timestamp)>,
}

impl Load {
    /// The share of a day's quota in percent. None if the quota is not known; more than 100 if the plan takes days.
    /// A quota of zero counts as used up.
    pub fn percent_of_day(&self) -> Option<f64> {
        let per_day = self.per_day?;
        #[expect(clippy::cast_precision_loss, reason = "a percentage is for people")]
        Some(match per_day {
            0 => 100.0,
            per_day => self.targets as f64 * 100.0 / per_day as f64,
        })
    }

    /// What has to wait for the quota, which is renewed at `reset` and every day after. None if everything fits
    /// into the rest, or if the quota is not known.
    pub fn wait(&self, reset: Timestamp) -> Option<Wait> {
        let (per_day, left) = (self.per_day?, self.left?);
        let targets = u64::try_from(self.targets).unwrap_or(u64::MAX);
        let waiting = targets.saturating_sub(left);
        if waiting == 0 {
            return None;
        }
        let days = waiting.checked_div(per_day).map(|full| {
            if waiting.is_multiple_of(per_day) {
                full - 1
            } else {
                full
            }
        });
        let last = |days: u64| {
            let more = DAY.checked_mul(u32::try_from(days).ok()?)?;
            reset.checked_add(more).ok()
        };
        Some(Wait {
            today: targets - waiting,
            waiting,
            until: days.and_then(last).map(|last| (reset, last)),
        })
    }
}

impl Plan {
    /// The plan's load on each CDN, with the limits from `ceiling`.
    pub fn loads(&self, ceiling: impl Fn(&str, PurgeKind) -> Option<Ceiling>) -> Vec<Load> {
        let mut counts: BTreeMap<(&str, PurgeKind), BTreeMap<Option<Mode>, usize>> =
            BTreeMap::new();
        for purge in &self.purges {
            let modes = counts.entry((&purge.cdn, purge.kind)).or_default();
            *modes.entry(purge.mode).or_default() += 1;
        }
        let loads = counts.into_iter().map(|((cdn, kind), modes)| {
            let ceiling = ceiling(cdn, kind);
            let per_request = ceiling.map_or(1, |ceiling| ceiling.per_request.max(1));
            Load {
                cdn: cdn.to_owned(),
                kind,
                targets: modes.values().sum(),
                requests: modes.values().map(|n| n.div_ceil(per_request)).sum(),
                per_day: ceiling.map(|ceiling| ceiling.per_day),
                left: ceiling.map(|ceiling| ceiling.left),
            }
        });
        loads.collect()
    }
}

/// `[{"cdn", "kind", "targets", "requests", "per_day", "percent_of_day", "left_today", "today", "waiting",
/// "waits_until": {"first", "last"}}]`; the last is null if nothing waits, or waits for ever.
pub fn loads_to_json(loads: &[Load], reset: Timestamp) -> Value {
    loads
        .iter()
        .map(|load| {
            let wait = load.wait(reset);
            json!({
                "cdn": load.cdn,
                "kind": load.kind.as_str(),
                "targets": load.targets,
                "requests": load.requests,
                "per_day": load.per_day,
                "percent_of_day": load.percent_of_day(),
                "left_today": load.left,
                "today": wait.map_or(load.targets as u64, |wait| wait.today),
                "waiting": wait.map_or(0, |wait| wait.waiting),
                "waits_until": wait.and_then(|wait| wait.until).map(|(first, last)| json!({
                    "first": first.to_string(),
                    "last": last.to_string(),
                })),
            })
        })
        .collect()
}

/// One line per CDN and kind: `tencent: 12 URLs in 1 request, 0.12% of a day's 10000`, and what waits until when.
pub fn loads_to_text(loads: &[Load], reset: Timestamp) -> String {
    let counted = |n: usize, one: &str, many: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    };
    let mut text = String::new();
    for load in loads {
        let (one, many) = match load.kind {
            PurgeKind::Url => ("URL", "URLs"),
            PurgeKind::Directory => ("directory", "directories"),
            PurgeKind::Prefetch => ("prefetch", "prefetches"),
        };
        text.push_str(&format!(
            "{}: {} in {}",
            load.cdn,
            counted(load.targets, one, many),
            counted(load.requests, "request", "requests")
        ));
        if let (Some(per_day), Some(percent)) = (load.per_day, load.percent_of_day()) {
            text.push_str(&format!(", {} of a day's {per_day}", rounded(percent)));
            if let Some(left) = load.left.filter(|left| *left < per_day) {
                text.push_str(&format!(", {left} left today"));
            }
        }
        if let Some(wait) = load.wait(reset) {
            text.push_str(&in_words(&wait));
        }
        text.push('\n');
    }
    text
}

fn in_words(wait: &Wait) -> String {
    let Wait {
        today,
        waiting,
        until,
    } = wait;
    let (go, wait) = (
        agreeing(*today, "goes", "go"),
        agreeing(*waiting, "waits", "wait"),
    );
    let at = |moment: &Timestamp| moment.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let when = match until {
        None => "for a quota: this one is nothing".to_owned(),
        Some((first, last)) if first == last => format!("until {}", at(first)),
        Some((first, last)) => format!("from {} to {}", at(first), at(last)),
    };
    format!(": {today} {go} today, {waiting} {wait} {when}")
}

/// Rounds to two significant digits.
fn rounded(percent: f64) -> String {
    match percent {
        p if p < 0.01 => "less than 0.01%".to_owned(),
        p if p < 1.0 => format!("{p:.2}%"),
        p if p < 10.0 => format!("{p:.1}%"),
        p => format!("{p:.0}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::PlannedPurge;

    fn purge(kind: PurgeKind, mode: Option<Mode>, n: usize) -> PlannedPurge {
        PlannedPurge {
            cdn: "a".to_owned(),
            kind,
            target: format!("https://a.example/{n}/"),
            mode,
            rule: "r".to_owned(),
            path: None,
        }
    }

    fn reset() -> Timestamp {
        "2026-11-22T16:00:00Z".parse().unwrap()
    }

    fn load(targets: usize, per_day: u64, left: u64) -> Load {
        Load {
            cdn: "a".to_owned(),
            kind: PurgeKind::Url,
            targets,
            requests: 1,
            per_day: Some(per_day),
            left: Some(left),
        }
    }

    #[test]
    fn what_is_over_the_quota_goes_out_on_the_days_after() {
        let last = |targets, per_day, left| {
            let wait = load(targets, per_day, left).wait(reset())?;
            Some((
                wait.today,
                wait.waiting,
                wait.until.map(|(_, last)| last.to_string()),
            ))
        };
        let on = |day: &str| Some(format!("2026-11-{day}T16:00:00Z"));

        assert_eq!(last(10, 10, 10), None);
        assert_eq!(last(11, 10, 10), Some((10, 1, on("22"))));
        assert_eq!(last(20, 10, 10), Some((10, 10, on("22"))));
        assert_eq!(last(21, 10, 10), Some((10, 11, on("23"))));
        assert_eq!(last(21, 10, 0), Some((0, 21, on("24"))));
        assert_eq!(last(5, 0, 0), Some((0, 5, None)));
        assert_eq!(last(usize::MAX, 1, 0), Some((0, u64::MAX, None)));
        assert_eq!(
            loads_to_text(&[load(21, 10, 10)], reset()),
            "a: 21 URLs in 1 request, 210% of a day's 10: 10 go today, 11 wait from 2026-11-22 16:00 UTC to 2026-11-23 16:00 UTC\n"
        );
    }

    #[test]
    fn a_plans_cost_is_counted_in_requests_of_one_mode_and_in_days() {
        let mut plan = Plan::default();
        plan.purges
            .extend((0..25).map(|n| purge(PurgeKind::Url, None, n)));
        for (n, mode) in [Mode::Flush, Mode::Delete, Mode::Delete]
            .into_iter()
            .enumerate()
        {
            plan.purges.push(purge(PurgeKind::Directory, Some(mode), n));
        }
        plan.purges.push(purge(PurgeKind::Prefetch, None, 0));

        let loads = plan.loads(|_, kind| match kind {
            PurgeKind::Url => Some(Ceiling {
                per_request: 10,
                per_day: 10_000,
                left: 9_000,
            }),
            PurgeKind::Directory => Some(Ceiling {
                per_request: 20,
                per_day: 2,
                left: 1,
            }),
            PurgeKind::Prefetch => None,
        });

        assert_eq!(
            loads_to_text(&loads, reset()),
            "a: 25 URLs in 3 requests, 0.25% of a day's 10000, 9000 left today\n\
             a: 3 directories in 2 requests, 150% of a day's 2, 1 left today: \
             1 goes today, 2 wait until 2026-11-22 16:00 UTC\n\
             a: 1 prefetch in 1 request\n"
        );
        assert_eq!(
            loads_to_json(&loads, reset())[1],
            json!({"cdn": "a", "kind": "directory", "targets": 3, "requests": 2, "per_day": 2, "percent_of_day": 150.0,
                "left_today": 1, "today": 1, "waiting": 2,
                "waits_until": {"first": "2026-11-22T16:00:00Z", "last": "2026-11-22T16:00:00Z"}})
        );
    }
}
