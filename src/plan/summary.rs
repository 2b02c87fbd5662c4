//! What a plan costs each CDN: targets, requests, and how much of a day's quota.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Plan;
use crate::purge::{Mode, PurgeKind};

/// What a CDN takes of one kind of purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Targets in one request.
    pub per_request: usize,
    /// Targets in a day.
    pub per_day: u64,
}

/// What a plan asks of one CDN, of one kind of purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The CDN.
    pub cdn: String,
    /// The kind of purge.
    pub kind: PurgeKind,
    /// How many.
    pub targets: usize,
    /// In how many requests: a request holds targets of one mode.
    pub requests: usize,
    /// How many the CDN takes in a day; none where it is not known.
    pub per_day: Option<u64>,
}

impl Load {
    /// The share of a day's quota, in percent. None where the quota is not known; more than 100
    /// where the plan takes days. A quota of nothing is all used up.
    pub fn percent_of_day(&self) -> Option<f64> {
        let per_day = self.per_day?;
        #[expect(clippy::cast_precision_loss, reason = "a percentage is for people")]
        Some(match per_day {
            0 => 100.0,
            per_day => self.targets as f64 * 100.0 / per_day as f64,
        })
    }
}

impl Plan {
    /// What the plan asks of each CDN, under the limits that `ceiling` knows.
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
            }
        });
        loads.collect()
    }
}

/// `[{"cdn", "kind", "targets", "requests", "per_day", "percent_of_day"}]`.
pub fn loads_to_json(loads: &[Load]) -> Value {
    loads
        .iter()
        .map(|load| {
            json!({
                "cdn": load.cdn,
                "kind": load.kind.word(),
                "targets": load.targets,
                "requests": load.requests,
                "per_day": load.per_day,
                "percent_of_day": load.percent_of_day(),
            })
        })
        .collect()
}

/// A line a CDN and kind: `tencent: 12 URLs in 1 request, 0.12% of a day's 10000`.
pub fn loads_to_text(loads: &[Load]) -> String {
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
        }
        text.push('\n');
    }
    text
}

/// Two digits, however small.
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
            }),
            PurgeKind::Directory => Some(Ceiling {
                per_request: 20,
                per_day: 2,
            }),
            PurgeKind::Prefetch => None,
        });

        assert_eq!(
            loads_to_text(&loads),
            "a: 25 URLs in 3 requests, 0.25% of a day's 10000\n\
             a: 3 directories in 2 requests, 150% of a day's 2\n\
             a: 1 prefetch in 1 request\n"
        );
        assert_eq!(
            loads_to_json(&loads)[1],
            json!({"cdn": "a", "kind": "directory", "targets": 3, "requests": 2, "per_day": 2, "percent_of_day": 150.0})
        );
    }
}
