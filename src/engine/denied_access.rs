//! What runs do while a forge denies read requests: one run of each site follows `when_unknown`, and later runs wait.
//!
//! Purging everything with each push would silently use up the quotas. Held commits stay held in the meantime, so the
//! first run that can read again purges everything that the earlier ones should have purged.

use std::time::Duration;

use jiff::Timestamp;

use super::context::StepContext;
use super::outcome::Outcome;
use super::policy::statuses::show;
use crate::config::{Site, WhenUnknown};
use crate::run::{Run, RunState, StatusState, WaitReason};
use crate::store::{RepoKey, RepoRequest, StoreError, Write};

/// The first pause before a waiting run checks again: the run that purges everything may have ended.
const FIRST_LOOK: Duration = Duration::from_secs(15);
/// The longest pause between two checks, each of which is a request.
const MAX_LOOK_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// What a run does if the forge denies read requests.
pub(super) enum WhenDenied {
    /// It follows `when_unknown`, with these writes.
    Act(Vec<Write>),
    /// It waits, because another run has already followed `when_unknown`.
    Wait,
}

/// Decides whether a run follows `when_unknown` or waits.
pub(super) async fn turn(
    ctx: &StepContext,
    site: &Site,
    run: &Run,
) -> Result<WhenDenied, StoreError> {
    match site.when_unknown {
        // A failing run purges nothing, and says why it failed.
        WhenUnknown::Fail => return Ok(WhenDenied::Act(Vec::new())),
        WhenUnknown::Everything => {}
    }
    let key = RepoKey::new(&run.forge, &run.repo);
    if let Some(first) = ctx.store.purged_for_denial(&key, &site.name).await?
        && first != run.id
        && let Some(first) = ctx.store.run(&first).await?
        && first.dry_run == run.dry_run
        && has_purged(&first)
    {
        return Ok(WhenDenied::Wait);
    }
    let first = Write::PurgedForDenial(key, site.name.clone(), run.id.clone());
    Ok(WhenDenied::Act(vec![first]))
}

/// Whether a run has purged what it planned, or will.
fn has_purged(run: &Run) -> bool {
    match run.state {
        RunState::Pending | RunState::Succeeded => true,
        RunState::Failed | RunState::Errored | RunState::Superseded | RunState::Cancelled => false,
    }
}

/// Makes a run wait until the forge accepts requests again, at most until its deadline.
pub(super) async fn wait(
    ctx: &StepContext,
    mut run: Run,
    message: &str,
    now: Timestamp,
) -> Result<Outcome, StoreError> {
    let key = RepoKey::new(&run.forge, &run.repo);
    let denied = ctx.upstreams.denials.of(&key).await?.into_iter();
    let since = denied
        .filter(|denied| denied.access == RepoRequest::Read)
        .map(|denied| denied.since)
        .next();
    let reason = WaitReason::Denied {
        since: since.unwrap_or(now),
    };
    let waited = Duration::try_from(now.duration_since(run.created_at)).unwrap_or_default();
    let wait = (waited / 4).clamp(FIRST_LOOK, MAX_LOOK_INTERVAL);
    let at = now + wait.mul_f64(1.0 - ctx.clock.fraction() / 4.0);
    if run.waits_for.as_ref() == Some(&reason) {
        return Ok(Outcome::reschedule(Vec::new(), at));
    }
    run.summary = format!(
        "Waiting: {message}. `purgehook run {} --everything` purges everything without asking the forge",
        run.site
    );
    run.waits_for = Some(reason);
    let shown = show(&run, StatusState::Pending);
    Ok(Outcome::reschedule(vec![Write::Run(run), shown], at))
}
