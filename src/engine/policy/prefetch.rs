//! Prefetches wait for the purges that cover them.
//!
//! It is no use to fill a cache with content that is about to be purged, and a CDN keeps what it has. So a URL is
//! prefetched only after its purge was confirmed.

use std::collections::HashMap;

use crate::purge::{GivenUp, PlannedPurge, Purge, PurgeKind, PurgeState};
use crate::run::RunId;
use crate::store::{Precondition, PurgeKey, PurgeUpdate, Write};

/// The purges of a run, indexed by what they cover.
pub struct Covers<'p, S> {
    urls: HashMap<(&'p str, &'p str), S>,
    directories: Vec<(&'p str, &'p str, S)>,
}

impl<'p, S: Copy> Covers<'p, S> {
    /// Indexes purges, each with a value.
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

    /// The values of all purges that cover a prefetch.
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

/// Releases prefetches whose purges have ended: planned if all of these were confirmed, failed otherwise.
pub fn release(run: &RunId, purges: &[Purge]) -> Vec<Write> {
    let covers = Covers::new(purges.iter().map(|purge| (&purge.planned, purge)));
    let (mut planned, mut dry) = (Vec::new(), Vec::new());
    let (mut failed, mut refused, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for prefetch in purges
        .iter()
        .filter(|purge| purge.state == PurgeState::Waiting)
    {
        let of_it = covers.of(&prefetch.planned);
        let has = |state| of_it.iter().any(|purge| purge.state == state);
        let is_asked_for_again =
            |purge: &&Purge| purge.state == PurgeState::Failed && purge.given_up.is_none();
        if of_it.iter().any(is_asked_for_again) {
            failed.push(PurgeKey::from(prefetch));
        } else if of_it
            .iter()
            .any(|purge| purge.given_up == Some(GivenUp::Refused))
        {
            refused.push(PurgeKey::from(prefetch));
        } else if has(PurgeState::Failed) {
            skipped.push(PurgeKey::from(prefetch));
        } else if has(PurgeState::DryRun) {
            dry.push(PurgeKey::from(prefetch));
        } else if of_it.iter().all(|purge| purge.state == PurgeState::Done) {
            planned.push(PurgeKey::from(prefetch));
        }
    }
    let mut writes = Vec::new();
    for (keys, given_up) in [
        (failed, None),
        (refused, Some(GivenUp::Refused)),
        (skipped, Some(GivenUp::Skipped)),
    ] {
        if !keys.is_empty() {
            writes.push(Write::Update(PurgeUpdate {
                error: Some("not prefetched: the purge of this URL failed".to_owned()),
                given_up,
                ..PurgeUpdate::new(keys, PurgeState::Failed, Precondition::Waiting)
            }));
        }
    }
    if !dry.is_empty() {
        let update = PurgeUpdate::new(dry, PurgeState::DryRun, Precondition::Waiting);
        writes.push(Write::Update(update));
    }
    if !planned.is_empty() {
        let update = PurgeUpdate::new(planned, PurgeState::Planned, Precondition::Waiting);
        writes.push(Write::Update(update));
        writes.push(Write::EnqueueSubmits(run.clone()));
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purge(kind: PurgeKind, target: &str, state: PurgeState, given_up: Option<GivenUp>) -> Purge {
        Purge {
            id: 1,
            run: RunId("R1".to_owned()),
            planned: PlannedPurge {
                cdn: "edge".to_owned(),
                kind,
                target: target.to_owned(),
                mode: None,
                rule: "pages".to_owned(),
                path: None,
            },
            state,
            task: None,
            error: None,
            attempts: 1,
            given_up,
        }
    }

    #[test]
    fn a_prefetch_fails_as_the_purge_failed_that_covers_it() {
        for given_up in [None, Some(GivenUp::Refused), Some(GivenUp::Skipped)] {
            let purges = [
                purge(PurgeKind::Directory, "/docs/", PurgeState::Failed, given_up),
                purge(PurgeKind::Prefetch, "/docs/a", PurgeState::Waiting, None),
            ];

            let writes = release(&RunId("R1".to_owned()), &purges);

            let [Write::Update(update)] = writes.as_slice() else {
                panic!("{writes:?}");
            };
            assert_eq!(update.state, PurgeState::Failed);
            assert_eq!(update.given_up, given_up);
        }
    }
}
