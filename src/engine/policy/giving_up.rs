//! Decides which targets to give up: those that a CDN refuses individually, and those that cannot be requested from
//! it at all.
//!
//! A run that failed for nothing else reports them once and releases its commits. The given-up targets are
//! recorded, so later runs need not purge them, and each later success names them.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::Problem;
use crate::purge::{GivenUp, PlannedPurge, Purge, PurgeKind, PurgeState};
use crate::store::{GivenUpTarget, Target};

/// If a CDN refuses this many targets and accepts none, it counts as out of order.
const ALL_REFUSED: usize = 3;

impl From<&PlannedPurge> for Target {
    fn from(purge: &PlannedPurge) -> Self {
        Self {
            cdn: purge.cdn.clone(),
            kind: purge.kind,
            url: purge.target.clone(),
        }
    }
}

impl From<&Problem> for Target {
    fn from(problem: &Problem) -> Self {
        Self {
            cdn: problem.cdn.clone(),
            kind: problem.kind,
            url: problem.target.clone(),
        }
    }
}

/// The targets that a run gives up once all of its purges have ended. None if a purge failed for another reason:
/// then the next run purges everything again.
pub fn given_up(purges: &[Purge]) -> Option<Vec<Target>> {
    let failed: Vec<&Purge> = purges
        .iter()
        .filter(|purge| purge.state == PurgeState::Failed)
        .collect();
    if failed.iter().any(|purge| purge.given_up.is_none()) {
        return None;
    }
    let mut refused: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for purge in &failed {
        if purge.given_up == Some(GivenUp::Refused) && purge.planned.kind != PurgeKind::Prefetch {
            let of_cdn = refused.entry(&purge.planned.cdn).or_default();
            of_cdn.insert(&purge.planned.target);
        }
    }
    let took = |cdn: &str| {
        let mut purges = purges.iter();
        purges.any(|purge| purge.state == PurgeState::Done && purge.planned.cdn == cdn)
    };
    let mut refused = refused.iter();
    if refused.any(|(cdn, refused)| refused.len() >= ALL_REFUSED && !took(cdn)) {
        return None;
    }
    Some(failed.iter().map(|purge| (&purge.planned).into()).collect())
}

/// Given-up targets that have now been purged, directly or by a directory above them.
pub fn taken_back(given_up: &[GivenUpTarget], purges: &[Purge]) -> Vec<Target> {
    let done = || {
        purges
            .iter()
            .filter(|purge| purge.state == PurgeState::Done)
    };
    let covers = |planned: &PlannedPurge, target: &Target| {
        planned.cdn == target.cdn
            && match planned.kind {
                PurgeKind::Directory => target.url.starts_with(&planned.target),
                PurgeKind::Url | PurgeKind::Prefetch => {
                    planned.kind == target.kind && planned.target == target.url
                }
            }
    };
    given_up
        .iter()
        .filter(|given_up| done().any(|purge| covers(&purge.planned, &given_up.target)))
        .map(|given_up| given_up.target.clone())
        .collect()
}

/// The part of a success's summary about targets that are not purged: "1 URL still refused since 7bf4cd23". None if
/// there are none.
pub fn still_refused(given_up: &[&GivenUpTarget]) -> Option<String> {
    let first = given_up.iter().min_by_key(|given_up| &given_up.run)?;
    let count = given_up.len();
    let is_url = |given_up: &&GivenUpTarget| given_up.target.kind == PurgeKind::Url;
    let noun = match (given_up.iter().all(is_url), count) {
        (true, 1) => "URL",
        (true, _) => "URLs",
        (false, 1) => "target",
        (false, _) => "targets",
    };
    Some(format!(
        "{count} {noun} still refused since {}",
        first.commit.short()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::CommitRef;
    use crate::run::RunId;

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

    fn refused(target: &str) -> Purge {
        purge(
            PurgeKind::Url,
            target,
            PurgeState::Failed,
            Some(GivenUp::Refused),
        )
    }

    fn done(target: &str) -> Purge {
        purge(PurgeKind::Url, target, PurgeState::Done, None)
    }

    fn urls(targets: Option<Vec<Target>>) -> Option<Vec<String>> {
        targets.map(|targets| targets.into_iter().map(|target| target.url).collect())
    }

    #[test]
    fn a_refused_target_is_given_up_alone_or_among_others() {
        assert_eq!(
            urls(given_up(&[refused("/a")])),
            Some(vec!["/a".to_owned()])
        );
        assert_eq!(
            urls(given_up(&[done("/b"), refused("/a")])),
            Some(vec!["/a".to_owned()])
        );
    }

    #[test]
    fn nothing_is_given_up_where_another_purge_failed_for_another_reason() {
        let unconfirmed = purge(PurgeKind::Url, "/b", PurgeState::Failed, None);

        assert_eq!(given_up(&[refused("/a"), unconfirmed]), None);
    }

    #[test]
    fn a_cdn_that_refuses_all_of_several_targets_is_out_of_order() {
        let all = [refused("/a"), refused("/b"), refused("/c")];

        assert_eq!(given_up(&all), None);
        assert!(given_up(&[all.as_slice(), &[done("/d")]].concat()).is_some());
    }

    #[test]
    fn what_a_person_skipped_is_given_up_however_much_it_is() {
        let skipped = |target| Purge {
            given_up: Some(GivenUp::Skipped),
            ..refused(target)
        };

        let all = given_up(&[skipped("/a"), skipped("/b"), skipped("/c")]);

        assert_eq!(all.unwrap().len(), 3);
    }

    #[test]
    fn a_target_is_taken_back_when_it_or_a_directory_above_it_is_purged() {
        let given_up = |url: &str| GivenUpTarget {
            target: (&refused(url).planned).into(),
            run: RunId("R1".to_owned()),
            commit: CommitRef::parse("7bf4cd23"),
        };
        let before = [given_up("/docs/a"), given_up("/b"), given_up("/c")];
        let directory = purge(PurgeKind::Directory, "/docs/", PurgeState::Done, None);

        let taken = taken_back(&before, &[directory, done("/b"), refused("/c")]);

        assert_eq!(urls(Some(taken)).unwrap(), ["/docs/a", "/b"]);
        let left: Vec<&GivenUpTarget> = before.iter().skip(2).collect();
        assert_eq!(
            still_refused(&left).unwrap(),
            "1 URL still refused since 7bf4cd23"
        );
        assert_eq!(still_refused(&[]), None);
    }
}
