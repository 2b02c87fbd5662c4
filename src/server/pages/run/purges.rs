//! A run's purges with their states in plain words, and the progress of each CDN.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::super::super::view::Badge;
use crate::engine::UnavailableUpstream;
use crate::numerals::{counted, grouped};
use crate::purge::{GivenUp, Mode, Purge, PurgeKind, PurgeState};
use crate::run::{Run, WaitReason};
use crate::store::CdnCount;

/// What unsent purges wait for.
pub(super) struct Waits {
    /// CDNs whose circuits are open.
    silent: BTreeSet<String>,
    /// When the quota is renewed that the run waits for.
    quota_until: Option<Timestamp>,
}

impl Waits {
    pub(super) fn new(run: &Run, unavailable: Vec<UnavailableUpstream>, now: Timestamp) -> Self {
        let quota_until = match &run.waits_for {
            Some(WaitReason::Quota { renewed_at } | WaitReason::QuotaShare { renewed_at }) => {
                Some(*renewed_at).filter(|renewed_at| *renewed_at > now)
            }
            Some(WaitReason::CircuitOpen { .. } | WaitReason::Denied { .. }) | None => None,
        };
        let silent = unavailable.into_iter().flat_map(|upstream| upstream.cdns);
        Self {
            silent: silent.collect(),
            quota_until,
        }
    }
}

/// A purge's state as people see it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Confirmed,
    Failed,
    Refused,
    Skipped,
    Sent,
    BeingSent,
    WaitingForCdn,
    WaitingForQuota,
    Queued,
    WaitingForPurge,
    DryRun,
}

impl Standing {
    /// In the order in which they are counted.
    const ALL: [Self; 11] = [
        Self::Confirmed,
        Self::Failed,
        Self::Refused,
        Self::Skipped,
        Self::Sent,
        Self::BeingSent,
        Self::WaitingForCdn,
        Self::WaitingForQuota,
        Self::Queued,
        Self::WaitingForPurge,
        Self::DryRun,
    ];

    fn of(state: PurgeState, given_up: Option<GivenUp>, cdn: &str, waits: &Waits) -> Self {
        let is_silent = waits.silent.contains(cdn);
        match (state, given_up) {
            (PurgeState::Done, _) => Self::Confirmed,
            (PurgeState::Failed, None) => Self::Failed,
            (PurgeState::Failed, Some(GivenUp::Refused)) => Self::Refused,
            (PurgeState::Failed, Some(GivenUp::Skipped)) => Self::Skipped,
            (PurgeState::Running, _) => Self::Sent,
            (PurgeState::Submitting | PurgeState::Planned, _) if is_silent => Self::WaitingForCdn,
            (PurgeState::Submitting, _) => Self::BeingSent,
            (PurgeState::Planned, _) if waits.quota_until.is_some() => Self::WaitingForQuota,
            (PurgeState::Planned, _) => Self::Queued,
            (PurgeState::Waiting, _) => Self::WaitingForPurge,
            (PurgeState::DryRun, _) => Self::DryRun,
        }
    }

    fn badge(self) -> Badge {
        let (word, sign, tone) = match self {
            Self::Confirmed => ("confirmed", "✓", "good"),
            Self::Failed => ("failed", "✕", "bad"),
            Self::Refused => ("refused", "✕", "bad"),
            Self::Skipped => ("skipped", "–", "quiet"),
            Self::Sent => ("sent", "●", "busy"),
            Self::BeingSent => ("being sent", "●", "busy"),
            Self::WaitingForCdn => ("waiting for CDN", "○", "quiet"),
            Self::WaitingForQuota => ("waiting for quota", "○", "quiet"),
            Self::Queued => ("queued", "○", "quiet"),
            Self::WaitingForPurge => ("waiting for purge", "○", "quiet"),
            Self::DryRun => ("dry run", "◌", "quiet"),
        };
        Badge { word, sign, tone }
    }
}

/// The progress of one CDN.
pub(super) struct Progress {
    pub(super) cdn: String,
    pub(super) words: String,
    /// In thousandths: where each part of the bar starts, its width, and its tone.
    pub(super) parts: Vec<(u64, u64, &'static str)>,
}

/// The bars, one per CDN; `counts` is ordered by CDN.
pub(super) fn progress(counts: &[CdnCount], waits: &Waits) -> Vec<Progress> {
    let by_cdn = counts.chunk_by(|a, b| a.cdn == b.cdn);
    by_cdn
        .filter_map(|counts| Some(progress_of(&counts.first()?.cdn, counts, waits)))
        .collect()
}

fn progress_of(cdn: &str, counts: &[CdnCount], waits: &Waits) -> Progress {
    let total: u64 = counts.iter().map(|count| count.count).sum();
    let mut words = Vec::new();
    let mut parts = Vec::new();
    let mut before = 0;
    for standing in Standing::ALL {
        let of_it = counts
            .iter()
            .filter(|count| Standing::of(count.state, count.given_up, cdn, waits) == standing);
        let count: u64 = of_it.map(|count| count.count).sum();
        if count == 0 {
            continue;
        }
        let Badge { word, tone, .. } = standing.badge();
        let mut part = counted(count, word, word);
        if let (Standing::WaitingForQuota, Some(until)) = (standing, waits.quota_until) {
            part.push_str(&until.strftime(" until %Y-%m-%d %H:%M UTC").to_string());
        }
        words.push(part);
        let start = before * 1_000 / total;
        before += count;
        let end = before * 1_000 / total;
        parts.push((start, end - start, tone));
    }
    Progress {
        cdn: cdn.to_owned(),
        words: format!("{} of {}", words.join(", "), grouped(total)),
        parts,
    }
}

/// "12,000 URLs, 1 directory".
pub(super) fn counted_by_kind(counts: &[CdnCount]) -> String {
    let kinds = [
        (PurgeKind::Url, "URL", "URLs"),
        (PurgeKind::Directory, "directory", "directories"),
        (PurgeKind::Prefetch, "prefetch", "prefetches"),
    ];
    let words = kinds.into_iter().filter_map(|(kind, one, many)| {
        let of_kind = counts.iter().filter(|count| count.kind == kind);
        let count: u64 = of_kind.map(|count| count.count).sum();
        (count > 0).then(|| counted(count, one, many))
    });
    words.collect::<Vec<_>>().join(", ")
}

pub(super) struct PurgeRow {
    pub(super) state: Badge,
    pub(super) kind: &'static str,
    pub(super) target: String,
    pub(super) cdn: String,
    pub(super) rule: String,
    pub(super) path: Option<String>,
    pub(super) task: Option<String>,
    /// Why it failed, unless several failed for that reason.
    pub(super) error: Option<String>,
    /// The error of its last try, if it has not failed.
    pub(super) last_try: Option<String>,
    pub(super) attempts: i64,
    /// The reason for several failures, above the first of them.
    pub(super) reason: Option<Reason>,
    /// The command that gives it up by hand, if the CDN refused it.
    pub(super) skip: Option<String>,
}

/// The reason for several failures.
pub(super) struct Reason {
    pub(super) words: String,
    /// "12 targets"
    pub(super) counted: String,
}

/// The rows of purges, which are ordered failed ones first; `reasons` counts the failures per reason.
pub(super) fn rows(
    purges: Vec<Purge>,
    reasons: &BTreeMap<String, u64>,
    waits: &Waits,
) -> Vec<PurgeRow> {
    let is_failed = |purge: &Purge| purge.state == PurgeState::Failed;
    let (mut failed, others): (Vec<Purge>, Vec<Purge>) = purges.into_iter().partition(is_failed);
    let count = |purge: &Purge| {
        let why = purge.error.as_ref();
        why.and_then(|why| reasons.get(why)).copied().unwrap_or(1)
    };
    failed.sort_by_cached_key(|purge| (Reverse(count(purge)), purge.error.clone(), purge.id));
    let mut before = None;
    let mut rows = Vec::with_capacity(failed.len() + others.len());
    for purge in failed {
        let (count, why) = (count(&purge), purge.error.clone());
        let mut row = row(purge, waits);
        if count > 1 {
            row.error = None;
            if before != why {
                row.reason = Some(Reason {
                    words: why.clone().unwrap_or_default(),
                    counted: counted(count, "target", "targets"),
                });
            }
        }
        before = why;
        rows.push(row);
    }
    rows.extend(others.into_iter().map(|purge| row(purge, waits)));
    rows
}

fn row(purge: Purge, waits: &Waits) -> PurgeRow {
    let standing = Standing::of(purge.state, purge.given_up, &purge.planned.cdn, waits);
    let planned = purge.planned;
    let (error, last_try) = match purge.state {
        PurgeState::Failed => (purge.error, None),
        PurgeState::Done | PurgeState::DryRun => (None, None),
        PurgeState::Waiting
        | PurgeState::Planned
        | PurgeState::Submitting
        | PurgeState::Running => (None, purge.error),
    };
    PurgeRow {
        state: standing.badge(),
        kind: match planned.mode {
            Some(Mode::Flush) => "directory, flush",
            Some(Mode::Delete) => "directory, delete",
            None => planned.kind.as_str(),
        },
        skip: (standing == Standing::Refused).then(|| {
            format!(
                "purgehook skip {} {}",
                purge.run,
                shell_word(&planned.target)
            )
        }),
        target: planned.target,
        cdn: planned.cdn,
        rule: planned.rule,
        path: planned.path,
        task: purge.task.map(|ids| ids.to_string()),
        error,
        last_try,
        attempts: purge.attempts,
        reason: None,
    }
}

/// Quotes a text for a shell.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/:._%~-".contains(c);
    if text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The size of a purge's long fields in bytes.
pub(super) fn bytes(purge: &Purge) -> usize {
    let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    purge.planned.target.len() + of(&purge.planned.path) + of(&purge.error)
}
