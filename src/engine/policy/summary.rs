//! The sentences that commits and pages show. Pure functions.

use crate::numerals::{counted, grouped};
use crate::purge::{PlannedPurge, PurgeKind};
use crate::run::{RunChanges, Shares, WaitReason};
use crate::sanitize::cut;
use crate::store::Failures;

/// "12 URLs and 1 directory on tencent and huawei", from the kind and CDN of each purge.
pub fn purges<'a>(purges: impl IntoIterator<Item = &'a PlannedPurge>) -> String {
    let mut counts = [0_u64; 3];
    let mut cdns: Vec<&str> = Vec::new();
    for purge in purges {
        match purge.kind {
            PurgeKind::Url => counts[0] += 1,
            PurgeKind::Directory => counts[1] += 1,
            PurgeKind::Prefetch => counts[2] += 1,
        }
        if !cdns.contains(&purge.cdn.as_str()) {
            cdns.push(&purge.cdn);
        }
    }
    let [urls, directories, prefetches] = counts;
    let parts: Vec<String> = [
        (urls, "URL", "URLs"),
        (directories, "directory", "directories"),
        (prefetches, "prefetch", "prefetches"),
    ]
    .into_iter()
    .filter(|(count, _, _)| *count > 0)
    .map(|(count, one, many)| counted(count, one, many))
    .collect();
    format!("{} on {}", and(&parts), and(&cdns))
}

/// "a", "a and b", "a, b and c".
fn and<S: AsRef<str>>(parts: &[S]) -> String {
    match parts {
        [] => "nothing".to_owned(),
        [only] => only.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<&str> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

/// "7 files changed", or "3 files changed, and 48 in 17 earlier commits" if caches may hold several commits.
pub fn files(changes: &RunChanges) -> String {
    let changed = |count| counted(count, "file changed", "files changed");
    match Shares::of(changes.links()) {
        Some(shares) if shares.earlier > 0 => format!(
            "{}, and {} in {}",
            changed(shares.own),
            grouped(shares.earlier),
            counted(shares.commits, "earlier commit", "earlier commits")
        ),
        _ => changed(changes.files().len()),
    }
}

/// "3 of 14 targets failed: why: URL on CDN". The reason comes first because the URL may be long and forges
/// truncate texts.
pub fn failure(failures: &Failures, all: usize) -> String {
    let what = match all {
        1 => "The purge failed".to_owned(),
        _ => format!(
            "{} of {} failed",
            grouped(failures.count),
            counted(all, "target", "targets")
        ),
    };
    format!("{what}: {}", cause(failures))
}

/// "12 failed, 2 still running: why: URL on CDN", for a pending run.
pub fn failing(failures: &Failures, open: u64, waits_for: Option<&WaitReason>) -> String {
    let failed = grouped(failures.count);
    let open = grouped(open);
    let rest = match waits_for {
        // What waits for the forge has no purges yet.
        None | Some(WaitReason::Denied { .. }) => format!("{open} still running"),
        Some(WaitReason::Quota { renewed_at } | WaitReason::QuotaShare { renewed_at }) => format!(
            "{open} waiting for quota until {}",
            renewed_at.strftime("%Y-%m-%d %H:%M UTC")
        ),
        Some(WaitReason::CircuitOpen { since, .. }) => format!(
            "{open} waiting for a CDN that has not answered since {}",
            since.strftime("%H:%M UTC")
        ),
    };
    format!("{failed} failed, {rest}: {}", cause(failures))
}

/// The longest reason in a sentence, in characters, which leaves room for the target: GitHub accepts 140 in total.
/// The run's page shows the full reason.
const MAX_REASON: usize = 72;

/// The most frequent reason, and the first target that failed for it.
fn cause(failures: &Failures) -> String {
    let Failures { why, first, .. } = failures;
    format!(
        "{}: {} on {}",
        cut(why, MAX_REASON),
        first.target,
        first.cdn
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purge(cdn: &str, kind: PurgeKind) -> PlannedPurge {
        PlannedPurge {
            cdn: cdn.to_owned(),
            kind,
            target: "https://www.example.com/a".to_owned(),
            mode: None,
            rule: "pages".to_owned(),
            path: None,
        }
    }

    #[test]
    fn purges_are_counted_by_kind_and_named_by_cdn() {
        let planned = [
            purge("tencent", PurgeKind::Url),
            purge("tencent", PurgeKind::Url),
            purge("huawei", PurgeKind::Directory),
            purge("huawei", PurgeKind::Prefetch),
        ];

        assert_eq!(
            purges(&planned),
            "2 URLs, 1 directory and 1 prefetch on tencent and huawei"
        );
    }

    fn failures(count: u64) -> Failures {
        Failures {
            count,
            why: "no such host".to_owned(),
            first: purge("tencent", PurgeKind::Url),
        }
    }

    #[test]
    fn a_failure_says_the_reason_before_the_target() {
        assert_eq!(
            failure(&failures(2), 14_000),
            "2 of 14,000 targets failed: no such host: https://www.example.com/a on tencent"
        );
        assert_eq!(
            failure(&failures(1), 1),
            "The purge failed: no such host: https://www.example.com/a on tencent"
        );
    }

    #[test]
    fn a_run_that_goes_on_says_what_failed_and_what_the_rest_waits_for() {
        let renewed_at = "2026-11-29T16:00:00Z".parse().unwrap();

        assert_eq!(
            failing(&failures(12), 2, None),
            "12 failed, 2 still running: no such host: https://www.example.com/a on tencent"
        );
        let quota = WaitReason::Quota { renewed_at };
        let text = failing(&failures(12), 1_900, Some(&quota));
        let start = "12 failed, 1,900 waiting for quota until 2026-11-29 16:00 UTC: no such host";
        assert!(text.starts_with(start), "{text}");
    }
}
