//! Time limits.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::Trigger;
use crate::purge::PurgeKind;
use crate::store::Work;

/// How long the machines of a forge may not know of what was pushed to another.
pub const FORGE_REPLICA_LAG: Duration = Duration::from_secs(60);
/// How long a run may stay pending. Purges that are not confirmed by then have failed.
pub const RUN_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);
/// How long one step may take. Comparing two large trees takes the longest.
pub const STEP_LIMIT: Duration = Duration::from_secs(900);
/// How long a purge may take: Tencent and Huawei say about five minutes.
const PURGE_LIMIT: Duration = Duration::from_secs(30 * 60);
/// How long a prefetch may take: Tencent says five to thirty minutes.
const PREFETCH_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);
/// A step that is later than this was due while no process was running.
const LATE_STEP: Duration = Duration::from_secs(5 * 60);
/// How late a delivery may arrive. GitHub says "minutes" ("Troubleshooting webhooks").
const DELIVERY_DELAY: Duration = Duration::from_secs(15 * 60);

/// How long a CDN may take to confirm a purge of this kind.
pub fn confirmation_limit(kind: PurgeKind) -> Duration {
    match kind {
        PurgeKind::Url | PurgeKind::Directory => PURGE_LIMIT,
        PurgeKind::Prefetch => PREFETCH_LIMIT,
    }
}

/// Whether no process was running when a step was due: the program was down, or the clock was set forward.
/// Deadlines that passed in that time start again, since nothing was known about the tasks.
pub fn resumed_late(work: &Work, now: Timestamp) -> bool {
    now > work.due_at + LATE_STEP
}

/// For how long two deliveries of a site may arrive out of order.
///
/// The head of a branch or environment is compared with the forge regularly, so the live commit becomes known.
/// Other triggers have no head to ask for, and their deliveries may be late.
pub fn delivery_order_known_after(trigger: &Trigger) -> Duration {
    match trigger {
        Trigger::Push | Trigger::Deployment(_) => Duration::ZERO,
        Trigger::Workflow(_) | Trigger::Pipeline(_) | Trigger::Release | Trigger::PageBuild => {
            DELIVERY_DELAY
        }
    }
}
