//! Ends a run: its last status, those of the runs that it superseded, and the held commits that its success
//! releases.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::baseline::{self, Baseline};
use super::context::StepContext;
use super::outcome::Outcome;
use super::policy::conclusion::{conclusion, shown};
use super::policy::deadlines::delivery_order_known_after;
use super::policy::giving_up;
use super::policy::statuses::show;
use crate::numerals::counted;
use crate::purge::Purge;
use crate::run::{Base, Run, RunState, RunStep, WaitReason};
use crate::store::{GivenUpTarget, StoreError, Target, Write};

/// How a run ends.
struct Ending {
    state: RunState,
    summary: String,
    /// Whether it releases the held commits whose differences it purged.
    releases: bool,
    /// Targets that were given up before and have now been purged.
    taken_back: Vec<Target>,
}

/// Ends a run and shows the result on its commit and on those of the runs that it superseded. A success releases
/// the held commits whose differences the run purged.
pub(super) async fn end(
    ctx: &StepContext,
    run: Run,
    state: RunState,
    summary: String,
    now: Timestamp,
) -> Result<Outcome, StoreError> {
    let given_up = ctx.store.given_up(&run.site).await?;
    let ending = Ending {
        state,
        summary,
        releases: state == RunState::Succeeded,
        taken_back: Vec::new(),
    };
    close(ctx, run, ending, &given_up, now).await
}

/// Ends a run whose plan contains nothing that can be purged. The plan has given up what it could not request.
pub(super) async fn end_unable(
    ctx: &StepContext,
    run: Run,
    summary: String,
    now: Timestamp,
) -> Result<Outcome, StoreError> {
    let given_up = ctx.store.given_up(&run.site).await?;
    let ending = Ending {
        state: RunState::Failed,
        summary,
        releases: true,
        taken_back: Vec::new(),
    };
    close(ctx, run, ending, &given_up, now).await
}

/// Ends a run whose purges have all ended. If only targets failed that CDNs refuse for good, it gives these up.
pub(super) async fn end_purged(
    ctx: &StepContext,
    mut run: Run,
    purges: &[Purge],
    now: Timestamp,
) -> Result<Outcome, StoreError> {
    let before = ctx.store.given_up(&run.site).await?;
    let (state, summary) = conclusion(&run, purges);
    let given_up = match state {
        RunState::Failed | RunState::Succeeded => giving_up::given_up(purges),
        RunState::Pending | RunState::Errored | RunState::Superseded | RunState::Cancelled => None,
    };
    // Targets that could not be planned were given up with the plan.
    let releases = state == RunState::Succeeded || given_up.is_some();
    let given_up = given_up.unwrap_or_default();
    if state == RunState::Failed && !given_up.is_empty() {
        run.notes.push(advice(&run, &given_up));
    }
    let ending = Ending {
        state,
        summary,
        releases,
        taken_back: giving_up::taken_back(&before, purges),
    };
    let giving_up = (!given_up.is_empty()).then(|| Write::GiveUp(run.clone(), given_up));
    let outcome = close(ctx, run, ending, &before, now).await?;
    // Before the targets that were taken back: a directory may have purged a target that was refused by itself.
    Ok(outcome.after(giving_up.into_iter().collect()))
}

/// What a person can do about targets that were given up.
fn advice(run: &Run, given_up: &[Target]) -> String {
    let targets = counted(given_up.len(), "target", "targets");
    let (id, first) = (&run.id, given_up.first().map_or("", |target| &target.url));
    format!(
        "{targets} will not be asked for again until what they show changes. \
         When the cause is mended: `purgehook retry {id}`. To leave one as it is: `purgehook skip {id} {first}`"
    )
}

async fn close(
    ctx: &StepContext,
    mut run: Run,
    ending: Ending,
    given_up: &[GivenUpTarget],
    now: Timestamp,
) -> Result<Outcome, StoreError> {
    let Ending {
        state,
        summary,
        releases,
        taken_back,
    } = ending;
    run.state = state;
    run.step = RunStep::Ended;
    run.summary = summary;
    // One that waited in vain for the forge is owed its purges once the forge answers again.
    let waited_for_forge = matches!(run.waits_for, Some(WaitReason::Denied { .. }));
    if !(waited_for_forge && run.state == RunState::Errored) {
        run.waits_for = None;
    }
    run.ended_at = Some(now);
    if state == RunState::Succeeded && !run.dry_run {
        let is_left =
            |each: &&GivenUpTarget| each.run != run.id && !taken_back.contains(&each.target);
        let left: Vec<&GivenUpTarget> = given_up.iter().filter(is_left).collect();
        if let Some(still) = giving_up::still_refused(&left) {
            run.summary.push_str("; ");
            run.summary.push_str(&still);
        }
    }
    log(&run, state);

    let mut writes = vec![show(&run, shown(state))];
    if !taken_back.is_empty() {
        writes.push(Write::TakeBack(run.site.clone(), taken_back));
    }
    if run.held_version.is_none() {
        // The run ends without a plan, so its commit is held for the next run. This also prevents other runs from
        // passing their work to it in the meantime.
        let config = ctx.config();
        let site = config.sites.get(&run.site);
        let baseline = Baseline::load(&ctx.store, site, &run, now).await?;
        writes.extend(baseline.hold(&run));
    }
    writes.push(Write::ConcludeSuperseded {
        by: run.id.clone(),
        state: shown(state),
        summary: format!("Covered by {}: {}", run.commit.short(), run.summary),
        dry_run: run.dry_run,
    });
    if let (true, Some(version)) = (releases, run.held_version) {
        writes.push(release(ctx, &run, version, now).await?);
    }
    writes.push(Write::Run(run));
    Ok(Outcome::complete(writes))
}

fn log(run: &Run, state: RunState) {
    let (summary, word) = (&run.summary, state.as_str());
    match state {
        RunState::Failed | RunState::Errored => {
            warn!(state = word, "run {} ended: {summary}", run.id);
        }
        RunState::Succeeded | RunState::Superseded | RunState::Cancelled | RunState::Pending => {
            info!(state = word, "run {} ended: {summary}", run.id)
        }
    }
}

/// Releases the commits that a run's plan started from, as of the version that the plan created.
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
    // Commits of newer runs, and of runs that may be newer, stay held.
    let since = run.created_at - order;
    let newer = ctx.store.commits_since(&run.site, &run.id, since).await?;
    let is_kept = |base: &Base| {
        let commit = base.commit();
        commit.is_some_and(|id| run.commit.id() == Some(id) || newer.contains(id))
    };
    let released = run.bases.iter().filter(|base| !is_kept(base));
    Ok(Write::ReleaseHeld {
        caches: baseline::caches_of(run),
        commits: released.cloned().collect(),
        version,
        until: now + settle,
    })
}
