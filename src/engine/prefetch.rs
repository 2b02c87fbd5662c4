//! Prefetches wait for the purges that cover them. Pure.
//!
//! Filling a cache with what is about to be purged is no use, and a CDN keeps
//! what it has: a URL is filled only once its purge was confirmed.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::advance::key;
use crate::config::Config;
use crate::purge::{PlannedPurge, Purge, PurgeKind, PurgeState};
use crate::store::{PurgeKey, PurgeUpdate, WorkKey, Write};

/// The purges of a run by what they cover.
pub(super) struct Covers<'p, S> {
    urls: HashMap<(&'p str, &'p str), S>,
    directories: Vec<(&'p str, &'p str, S)>,
}

impl<'p, S: Copy> Covers<'p, S> {
    /// Sorts purges by what they cover, each with something known of it.
    pub fn new(purges: impl IntoIterator<Item = (&'p PlannedPurge, S)>) -> Self {
        let (mut urls, mut directories) = (HashMap::new(), Vec::new());
        for (purge, known) in purges {
            match purge.kind {
                PurgeKind::Url => {
                    urls.insert((purge.cdn.as_str(), purge.target.as_str()), known);
                }
                PurgeKind::Directory => {
                    directories.push((purge.cdn.as_str(), purge.target.as_str(), known));
                }
                PurgeKind::Prefetch => {}
            }
        }
        Self { urls, directories }
    }

    /// What is known of each purge that covers a prefetch.
    pub fn of(&self, prefetch: &PlannedPurge) -> Vec<S> {
        let url = self
            .urls
            .get(&(prefetch.cdn.as_str(), prefetch.target.as_str()))
            .copied();
        let above = self
            .directories
            .iter()
            .filter(|(cdn, target, _)| *cdn == prefetch.cdn && prefetch.target.starts_with(target))
            .map(|(_, _, known)| *known);
        url.into_iter().chain(above).collect()
    }
}

/// Lets prefetches go whose purges are over: planned where all were confirmed, failed where one was not.
pub(super) fn release(config: &Config, purges: &[Purge], now: Timestamp) -> Vec<Write> {
    let covers = Covers::new(purges.iter().map(|purge| (&purge.planned, purge.state)));
    let (mut planned, mut failed) = (Vec::new(), Vec::new());
    let mut lanes = BTreeSet::new();
    for prefetch in purges
        .iter()
        .filter(|purge| purge.state == PurgeState::Waiting)
    {
        let states = covers.of(&prefetch.planned);
        if states.contains(&PurgeState::Failed) {
            failed.push(key(prefetch));
        } else if states.iter().all(|state| *state == PurgeState::Done) {
            planned.push(key(prefetch));
            lanes.insert(account_of(config, &prefetch.planned.cdn));
        }
    }
    let why = "not prefetched: the purge of this URL failed";
    let mut writes = Vec::new();
    writes.extend(update(planned, PurgeState::Planned, None));
    writes.extend(update(failed, PurgeState::Failed, Some(why)));
    for account in lanes {
        let submit = WorkKey::Submit {
            account,
            kind: PurgeKind::Prefetch,
        };
        writes.push(Write::Wish(submit, now));
    }
    writes
}

fn update(keys: Vec<PurgeKey>, state: PurgeState, error: Option<&str>) -> Option<Write> {
    (!keys.is_empty()).then(|| {
        Write::Update(PurgeUpdate {
            keys,
            state,
            task: None,
            error: error.map(str::to_owned),
            tried: false,
            batch_cap: None,
        })
    })
}

/// The account behind a CDN's name; empty where it is no longer configured.
pub(super) fn account_of(config: &Config, cdn: &str) -> String {
    config
        .cdns
        .get(cdn)
        .map_or_else(String::new, |cdn| cdn.account())
}
