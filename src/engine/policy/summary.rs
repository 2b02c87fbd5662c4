//! The sentences that commits and pages show. Pure.

use crate::numerals::counted;
use crate::purge::{PlannedPurge, PurgeKind};
use crate::run::{RunChanges, Shares};

/// "12 URLs and 1 directory on tencent and huawei", from (kind, CDN) of each purge.
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

/// "7 files changed", or "3 files changed, and 48 in 17 earlier commits" where caches may hold more than one.
pub fn files(changes: &RunChanges) -> String {
    let changed = |count| counted(count, "file changed", "files changed");
    match Shares::of(changes.links()) {
        Some(shares) if shares.earlier > 0 => format!(
            "{}, and {} in {}",
            changed(shares.own),
            shares.earlier,
            counted(shares.commits, "earlier commit", "earlier commits")
        ),
        _ => changed(changes.files().len()),
    }
}

/// "3 of 14 purges failed: URL on CDN: why".
pub fn failure(failed: usize, all: u64, first: &PlannedPurge, why: &str) -> String {
    let what = if all == 1 {
        "The purge failed".to_owned()
    } else {
        format!("{failed} of {all} purges failed")
    };
    format!("{what}: {} on {}: {why}", first.target, first.cdn)
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

    #[test]
    fn a_failure_names_the_first_target_and_the_reason() {
        let first = purge("tencent", PurgeKind::Url);

        assert_eq!(
            failure(2, 14, &first, "no such host"),
            "2 of 14 purges failed: https://www.example.com/a on tencent: no such host"
        );
    }
}
