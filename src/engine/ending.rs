//! How a run ends: its last status, those of the runs that it supersedes, and what its success releases.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::baseline::{self, Baseline};
use super::context::StepContext;
use super::outcome::Outcome;
use super::policy::conclusion::shown;
use super::policy::deadlines::delivery_order_known_after;
use super::policy::statuses::show;
use crate::run::{Base, Run, RunState, Step};
use crate::store::{StoreError, Write};

/// Ends a run and shows so on its commit and on those of the runs it supersedes. A success
/// releases the held commits whose differences it purged.
pub(super) async fn end(
    ctx: &StepContext,
    mut run: Run,
    state: RunState,
    summary: String,
    now: Timestamp,
) -> Result<Outcome, StoreError> {
    log(&run, state, &summary);
    run.state = state;
    run.step = Step::Ended;
    run.summary = summary;
    run.waits_for = None;
    run.ended_at = Some(now);

    let mut writes = vec![show(&run, shown(state))];
    if run.held_version.is_none() {
        // It ends without a plan: what it should have purged is held for the next run. And no other
        // run may leave its work to it meanwhile.
        let baseline = Baseline::load(&ctx.store, &run, now).await?;
        writes.extend(baseline.hold(&run));
    }
    writes.push(Write::ConcludeSuperseded {
        by: run.id.clone(),
        state: shown(state),
        summary: format!("Covered by {}: {}", run.commit.short(), run.summary),
        dry_run: run.dry_run,
    });
    if let (RunState::Succeeded, Some(version)) = (state, run.held_version) {
        writes.push(release(ctx, &run, version, now).await?);
    }
    writes.push(Write::Run(run));
    Ok(Outcome::complete(writes))
}

fn log(run: &Run, state: RunState, summary: &str) {
    let word = state.as_str();
    match state {
        RunState::Failed | RunState::Errored => {
            warn!(state = word, "run {} ended: {summary}", run.id);
        }
        RunState::Succeeded | RunState::Superseded | RunState::Cancelled | RunState::Pending => {
            info!(state = word, "run {} ended: {summary}", run.id)
        }
    }
}

/// Releases the commits that a run's plan started from, as of the version that its plan made.
async fn release(
    ctx: &StepContext,
    run: &Run,
    version: i64,
    now: Timestamp,
) -> Result<Write, StoreError> {
    let config = ctx.config();
    let site = config.sites.get(&run.site);
    let settle = site.map_or(Duration::ZERO, |site| site.settle);
    let order = site.map_or(Duration::ZERO, |site| {
        delivery_order_known_after(&site.trigger)
    });
    // What a newer run brings is not this one's to release, nor what may be newer.
    let since = run.created_at - order;
    let newer = ctx.store.commits_since(&run.site, &run.id, since).await?;
    let is_kept = |base: &Base| {
        let commit = base.commit();
        commit.is_some_and(|id| run.commit.id() == Some(id) || newer.contains(id))
    };
    let released = run.bases.iter().filter(|base| !is_kept(base));
    Ok(Write::ReleaseHeld {
        site: baseline::held_by(run),
        commits: released.cloned().collect(),
        version,
        until: now + settle,
    })
}
