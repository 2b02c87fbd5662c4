//! What submissions wait for (a quota's renewal, or a CDN's answer), and which runs show it.
//!
//! A run may wait for several things at once, in several queues. It shows one of them for as long as that holds.
//! Otherwise they would keep replacing each other on the commit, and forges limit the number of statuses (GitHub:
//! 1,000 per commit and context).

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::context::StepContext;
use super::outcome::{Outcome, StepError};
use super::policy::deadlines::RUN_LIMIT;
use super::policy::quota::quota_day;
use super::upstream::{Rejection, has_not_answered};
use crate::account::AccountId;
use crate::purge::PurgeKind;
use crate::run::WaitReason;
use crate::store::{PassedOver, StoreError, Upstream, Work, Write};

/// How long a run may wait for quotas in total.
const MAX_QUOTA_WAIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How often to ask again for a used-up quota.
const QUOTA_POLL: Duration = Duration::from_secs(15 * 60);

/// A quota that is used up, for a CDN or for one of its sites.
pub(super) enum UsedUp {
    /// The whole quota.
    Quota {
        /// The CDN, by its name under `cdns:`.
        cdn: String,
    },
    /// One site's share of it.
    Share {
        /// The CDN, by its name under `cdns:`.
        cdn: String,
        /// The site.
        site: String,
        /// Targets that are reserved for other sites.
        kept: u64,
    },
}

impl UsedUp {
    fn cdn(&self) -> &str {
        match self {
            Self::Quota { cdn } | Self::Share { cdn, .. } => cdn,
        }
    }

    /// The site that waits; none if all do.
    fn site(&self) -> Option<&String> {
        match self {
            Self::Quota { .. } => None,
            Self::Share { site, .. } => Some(site),
        }
    }

    /// The purges that wait, to be skipped in the queue until then.
    pub fn waiting(&self) -> PassedOver {
        PassedOver {
            cdn: self.cdn().to_owned(),
            site: self.site().cloned(),
        }
    }

    fn reason(&self, renewed_at: Timestamp) -> WaitReason {
        match self {
            Self::Quota { .. } => WaitReason::Quota { renewed_at },
            Self::Share { .. } => WaitReason::QuotaShare { renewed_at },
        }
    }

    fn summary(&self, renewed_at: Timestamp, kind: PurgeKind) -> String {
        let until = renewed_at.strftime("%Y-%m-%d %H:%M UTC");
        let kind = kind.as_str();
        match self {
            Self::Quota { cdn } => format!("Waiting until {until} for {cdn}'s daily {kind} quota"),
            Self::Share { cdn, site, kept } => {
                let are = if *kept == 1 { "is" } else { "are" };
                format!(
                    "Waiting until {until}: {site} has used its share of {cdn}'s {kind} quota for today; \
                     {kept} {are} kept for other sites"
                )
            }
        }
    }
}

/// Tries again when the quota day ends, or after [`QUOTA_POLL`] if that is sooner.
pub(super) fn until_renewal(writes: Vec<Write>, now: Timestamp) -> Outcome {
    let (_, reset) = quota_day(now);
    // Ask again before then: the vendor's day may begin at another hour, the quota may be raised, and what is
    // reserved for other sites shrinks.
    Outcome::reschedule(writes, reset.min(now + QUOTA_POLL))
}

/// Shows the wait for the next quota day on every run with queued purges for which no quota is left.
pub(super) async fn await_quotas(
    ctx: &StepContext,
    account: &AccountId,
    kind: PurgeKind,
    used_up: &[UsedUp],
) -> Result<Vec<Write>, StoreError> {
    let (_, reset) = quota_day(ctx.now());
    let reasons = quota_reasons(reset);
    let mut writes = Vec::new();
    let mut shown = BTreeSet::new();
    for used_up in used_up {
        let runs = ctx
            .store
            .queued_runs(account, kind, used_up.cdn(), &reasons)
            .await?;
        for run in runs {
            let waits = used_up.site().is_none_or(|site| *site == run.site);
            if !waits || !shown.insert(run.id.clone()) {
                continue;
            }
            // A quota that never comes back must not keep a run pending for ever.
            let last = run.created_at + MAX_QUOTA_WAIT;
            let deadline = run.deadline.max((reset + RUN_LIMIT).min(last));
            writes.push(Write::Waiting {
                run: run.id,
                reason: used_up.reason(reset),
                summary: used_up.summary(reset, kind),
                deadline,
            });
        }
    }
    Ok(writes)
}

/// Waits while a CDN's circuit is open, and shows that on every run that has to wait. `first` is the CDN that the
/// request was for; the other CDNs of its account wait too.
pub(super) async fn await_answer(
    ctx: &StepContext,
    rejection: &Rejection,
    kind: PurgeKind,
    first: &str,
    work: &Work,
) -> Result<Outcome, StepError> {
    let circuit = &rejection.circuit;
    let Upstream::Cdn(account) = &circuit.upstream else {
        return Ok(Outcome::complete(Vec::new()));
    };
    let current = current(ctx).await?;
    let reason = WaitReason::CircuitOpen {
        account: account.clone(),
        since: circuit.since,
    };
    let config = ctx.config();
    let others = config
        .cdns
        .iter()
        .filter(|(_, cdn)| cdn.account() == *account);
    let names: BTreeSet<&str> = others
        .map(|(name, _)| name.as_str())
        .chain([first])
        .collect();
    let mut writes = Vec::new();
    let mut shown = BTreeSet::new();
    for cdn in names {
        let runs = ctx.store.queued_runs(account, kind, cdn, &current).await?;
        for run in runs {
            if shown.insert(run.id.clone()) {
                let since = has_not_answered(cdn, circuit.since);
                writes.push(Write::Waiting {
                    run: run.id,
                    reason: reason.clone(),
                    summary: format!("Waiting: {since}: {}", circuit.error),
                    deadline: run.deadline,
                });
            }
        }
    }
    let at = ctx.now() + rejection.wait;
    Ok(Outcome::postpone(writes, at, work.attempts))
}

/// The wait reasons that still hold.
pub(super) async fn current(ctx: &StepContext) -> Result<Vec<WaitReason>, StoreError> {
    let (_, renewed_at) = quota_day(ctx.now());
    let circuits = ctx.upstreams.circuits().await?.into_iter();
    let open = circuits.filter_map(|circuit| match circuit.upstream {
        Upstream::Cdn(account) => Some(WaitReason::CircuitOpen {
            account,
            since: circuit.since,
        }),
        Upstream::Forge(_) => None,
    });
    Ok(quota_reasons(renewed_at).into_iter().chain(open).collect())
}

/// The reasons to wait for the end of a quota day. A run shows one of them until then.
fn quota_reasons(renewed_at: Timestamp) -> [WaitReason; 2] {
    [
        WaitReason::Quota { renewed_at },
        WaitReason::QuotaShare { renewed_at },
    ]
}
