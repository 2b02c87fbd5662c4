//! Asks a CDN's API about a key: whether it is valid, and what is left of today's quotas.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::{clocks, in_time};
use crate::cdn::{Batch, Cdn, CdnError, ErrorClass, InFlight, Pace, Quota};
use crate::clock::Clock;
use crate::numerals::agreeing;
use crate::purge::PurgeKind;

/// A host that cannot exist (RFC 6761): no task is found for it.
const NOWHERE: &str = "https://purgehook.invalid/";

/// Asks a CDN. `kinds` are those whose history is read: each may need its own permission.
pub async fn check(name: &str, cdn: &dyn Cdn, kinds: &[PurgeKind], clock: &Clock) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut is_taken = true;
    for kind in kinds {
        let answered = in_time(history(cdn, *kind, clock)).await;
        match answered {
            None => {
                findings.push(silent(name));
                is_taken = false;
            }
            Some(Err(error)) => {
                findings.push(refused(name, &error));
                is_taken = false;
            }
            Some(Ok(())) => {}
        }
        // Further requests would be refused too, and Huawei locks a key for that.
        if !is_taken {
            break;
        }
    }
    if is_taken {
        findings.push(Finding::ok(
            name,
            "the key is taken, and what was purged with it can be read",
        ));
        findings.extend(match in_time(cdn.quota()).await {
            None => vec![silent(name)],
            Some(Ok(quotas)) if quotas.is_empty() => Vec::new(),
            Some(Ok(quotas)) => vec![Finding::ok(name, left(&quotas))],
            Some(Err(error)) => vec![Finding::note(
                name,
                format!("today's quota cannot be asked for, so the documented one counts: {error}"),
            )],
        });
    }
    findings.extend(cdn.clock_skew().map(|skew| clocks::finding(name, skew)));
    findings
}

/// Looks for a task that never existed, as after a crash, which reads the CDN's history of purges or prefetches.
async fn history(cdn: &dyn Cdn, kind: PurgeKind, clock: &Clock) -> Result<(), CdnError> {
    let nothing = InFlight {
        task: None,
        submitted_at: clock.now(),
        batch: Batch {
            kind,
            mode: None,
            targets: vec![NOWHERE.to_owned()],
        },
    };
    let pace = Pace::new(clock.clone(), cdn.limits().queries_per_second);
    cdn.find(&nothing, &BTreeSet::new(), &pace).await?;
    Ok(())
}

fn silent(name: &str) -> Finding {
    Finding::wrong(
        name,
        "the CDN's API did not answer in time",
        "check `endpoint:`, and that this machine may reach it",
    )
}

fn refused(name: &str, error: &CdnError) -> Finding {
    let advice = match error.class {
        ErrorClass::Operator | ErrorClass::BadInput => {
            format!(
                "check the key of `cdns.{name}`, and what the vendor's console says that it may do"
            )
        }
        ErrorClass::Migrated => {
            "move the entry to the CDN that the service has moved to, or name one in `migrated_to`"
                .to_owned()
        }
        ErrorClass::Retry | ErrorClass::RateLimited | ErrorClass::QuotaDay | ErrorClass::Split => {
            "try again; if it stays so, check `endpoint:`, and that this machine may reach it"
                .to_owned()
        }
    };
    Finding::wrong(name, error.to_string(), advice)
}

/// "left today: 9,990 of 10,000 URLs, 100 of 100 directories"
fn left(quotas: &BTreeMap<PurgeKind, Quota>) -> String {
    let of_kind = |(kind, quota): (&PurgeKind, &Quota)| {
        let (one, many) = match kind {
            PurgeKind::Url => ("URL", "URLs"),
            PurgeKind::Directory => ("directory", "directories"),
            PurgeKind::Prefetch => ("prefetch", "prefetches"),
        };
        let noun = agreeing(quota.total, one, many);
        format!("{} of {} {noun}", quota.left, quota.total)
    };
    let all: Vec<String> = quotas.iter().map(of_kind).collect();
    format!("left today: {}", all.join(", "))
}
