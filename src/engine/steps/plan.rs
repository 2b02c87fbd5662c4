//! Finds out what changed and plans the purges, or leaves the run's work to a newer one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::info;

use super::Step;
use crate::account::AccountId;
use crate::cdn::Cdn;
use crate::changes::Completeness;
use crate::config::{Config, PurgeMode, Redeploy, Site, WhenUnknown};
use crate::engine::baseline::Baseline;
use crate::engine::change_set::{self, Found, Search};
use crate::engine::context::StepContext;
use crate::engine::ending::end;
use crate::engine::outcome::{Outcome, StepError};
use crate::engine::planner;
use crate::engine::policy::deadlines::STEP_LIMIT;
use crate::engine::policy::forge_retries::{ask_again, may_ask_again};
use crate::engine::policy::prefetch::Covers;
use crate::engine::policy::statuses::show;
use crate::engine::policy::summary;
use crate::engine::quota_shares::{self, Line};
use crate::engine::upstream::{RequestError, has_not_answered};
use crate::event::CommitId;
use crate::forge::ForgeError;
use crate::numerals::counted;
use crate::plan::{self, Allowance, Change, CoverDecision, Decision, Objects};
use crate::purge::{PlannedPurge, PurgeKind, PurgeState};
use crate::run::{Base, Origin, Run, RunChanges, RunState, StatusState, Step as RunStep};
use crate::store::{NewPurge, RunFilter, StoreError, Target, Work, WorkKey, Write};

/// How long the forge may take to list a commit's files: what the search for what changed leaves of the step, less
/// time for the commit of its outcome.
const LIST_LIMIT: Duration = Duration::from_secs(STEP_LIMIT.as_secs() / 20);
/// Runs that leave their work to a newer one in one transaction.
const MAX_SUPERSEDED: u32 = 256;
/// Earlier runs for the same commit that are looked at for what they found changed.
const MAX_DEPLOYMENTS: u32 = 5;
/// Notes on a plan that are kept with its run.
const MAX_NOTES: usize = 50;

/// The step of a run that plans its purges.
pub struct Plan<'a> {
    pub config: &'a Config,
    pub site: &'a Site,
    pub run: Run,
    /// The run's commit.
    pub commit: CommitId,
}

/// A run's plan, and what it rests on.
struct Planned {
    plan: plan::Plan,
    /// What changed, in words.
    what: String,
    /// The writes that record what changed.
    changes: Vec<Write>,
}

impl Step for Plan<'_> {
    async fn run(self, ctx: &StepContext, work: &Work) -> Result<Outcome, StepError> {
        let Self {
            config,
            site,
            mut run,
            commit,
        } = self;
        let baseline = Baseline::load(&ctx.store, &run, ctx.now()).await?;
        if baseline.planner(&run).is_some() {
            return Err(planner::is_taken(ctx));
        }
        let everything = run.origin == Origin::ManualEverything;
        let newer = ctx.store.newer_unplanned(&site.name, &run.id).await?;
        if let Some(newer) = newer
            && !everything
            && newer.commit.id().is_some()
        {
            let older = older_unplanned(ctx, &run, &newer).await?;
            return Ok(supersede(run, &older, &newer, &baseline, ctx.now()));
        }

        let bases = baseline.bases(&run);
        let changes = match search(ctx, config, &run, &commit, &baseline, &bases).await? {
            Search::Failed(ForgeError::Later {
                message,
                retry_after,
                ..
            }) if may_ask_again(&run, work, retry_after, ctx.now()) => {
                run.summary = format!("Finding out what changed; trying again: {message}");
                let (now, fraction) = (ctx.now(), ctx.clock.fraction());
                return Ok(ask_again(run, work, &message, retry_after, now, fraction));
            }
            Search::Failed(error) => Found::unknown(error.to_string()),
            Search::Found(found) => found,
        };
        let now = ctx.now();
        run.bases = bases;
        run.held_version = Some(baseline.next_version());
        let held = baseline.hold(&run);
        let planned = match changes {
            Found::Known { proof, changes } => {
                run.proof = Some(Completeness::Proven(proof));
                let again = match changes.files().is_empty() && run.origin.is_deployment() {
                    true => redeployed(ctx, site, &run, &commit).await?,
                    false => None,
                };
                let (changes, what, plan) = match again {
                    Some(Again::Everything) => {
                        let why = "the commit is deployed again, maybe with other content";
                        let change = Change::Unknown { why };
                        let plan = decide(ctx, config, site, &run, &commit, change).await?;
                        let what = "deployed again, so everything is purged".to_owned();
                        (changes, what, plan)
                    }
                    Some(Again::Changes(before)) => {
                        let change = Change::Files(before.files());
                        let plan = decide(ctx, config, site, &run, &commit, change).await?;
                        let count = summary::files(&before);
                        (
                            before,
                            format!("deployed again, {count} the first time"),
                            plan,
                        )
                    }
                    None => {
                        let change = Change::Files(changes.files());
                        let plan = decide(ctx, config, site, &run, &commit, change).await?;
                        let what = summary::files(&changes);
                        (changes, what, plan)
                    }
                };
                Planned {
                    plan,
                    what,
                    changes: vec![Write::Changes(run.id.clone(), changes)],
                }
            }
            Found::Unknown { why } => {
                run.proof = Some(Completeness::Unknown);
                if !everything && site.when_unknown == WhenUnknown::Fail {
                    return fail_unknown(ctx, run, &baseline, held, &why, now).await;
                }
                let change = Change::Unknown { why: &why };
                Planned {
                    plan: decide(ctx, config, site, &run, &commit, change).await?,
                    what: format!("unknown what changed ({why}), so everything is purged"),
                    changes: Vec::new(),
                }
            }
        };
        let planned = leave_out(ctx, config, site, &run, &commit, planned).await?;
        begin(ctx, site, run, planned, held, now).await
    }
}

/// What a deployment purges whose commit was deployed before.
enum Again {
    /// What its last deployment found changed.
    Changes(RunChanges),
    /// All that the site serves.
    Everything,
}

/// What a deployment purges by which nothing changed, as the site has it; none where its commit was not deployed before.
/// A commit that is deployed once more has replaced at the origin what it had brought, maybe with something else: a
/// build takes more in than what git holds.
async fn redeployed(
    ctx: &StepContext,
    site: &Site,
    run: &Run,
    commit: &CommitId,
) -> Result<Option<Again>, StoreError> {
    if site.redeploy == Redeploy::Nothing {
        return Ok(None);
    }
    let same_commit = RunFilter {
        site: Some(run.site.clone()),
        commit: Some(commit.clone()),
        before: Some(run.id.clone()),
        limit: MAX_DEPLOYMENTS,
        ..RunFilter::default()
    };
    for earlier in ctx.store.runs(&same_commit).await? {
        match site.redeploy {
            Redeploy::Everything if earlier.origin.is_deployment() => {
                return Ok(Some(Again::Everything));
            }
            Redeploy::Everything | Redeploy::Nothing => {}
            Redeploy::Same => {
                if let Some(changes) = ctx.store.changes(&earlier.id).await?
                    && !changes.files().is_empty()
                {
                    return Ok(Some(Again::Changes(changes)));
                }
            }
        }
    }
    Ok(None)
}

/// Leaves out what was given up and has not changed since, unless everything was asked for or nothing goes out.
async fn leave_out(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
    run: &Run,
    commit: &CommitId,
    mut planned: Planned,
) -> Result<Planned, StepError> {
    match &site.mode {
        PurgeMode::Live(_) if run.origin != Origin::ManualEverything => {}
        PurgeMode::Live(_) | PurgeMode::DryRun(_) => return Ok(planned),
    }
    let mut given_up = ctx.store.given_up(&site.name).await?;
    let wanted: BTreeSet<Target> = planned.plan.purges.iter().map(Target::from).collect();
    given_up.retain(|given_up| wanted.contains(&given_up.target));
    let commits: BTreeSet<CommitId> = given_up
        .iter()
        .filter_map(|given_up| given_up.commit.id().cloned())
        .collect();
    for since in commits {
        let bases = [Base::Commit(since.clone())];
        let changes = change_set::find(ctx, config, run, commit, &bases).await?;
        // What may have changed is asked for.
        let Search::Found(Found::Known { changes, .. }) = changes else {
            continue;
        };
        let change = Change::Files(changes.files());
        let plan = decide(ctx, config, site, run, commit, change).await?;
        let changed: BTreeSet<Target> = plan.purges.iter().map(Target::from).collect();
        let left_out: BTreeSet<&Target> = given_up
            .iter()
            .filter(|given_up| given_up.commit.id() == Some(&since))
            .map(|given_up| &given_up.target)
            .filter(|target| !changed.contains(*target))
            .collect();
        for target in &left_out {
            planned.plan.notes.push(format!(
                "{} is left out: {} has refused it since {}, and it has not changed",
                target.url,
                target.cdn,
                since.short()
            ));
        }
        let is_wanted = |purge: &PlannedPurge| !left_out.contains(&Target::from(purge));
        planned.plan.purges.retain(is_wanted);
    }
    Ok(planned)
}

/// What changed, unless it cannot be known or does not matter.
async fn search(
    ctx: &StepContext,
    config: &Config,
    run: &Run,
    commit: &CommitId,
    baseline: &Baseline,
    bases: &[Base],
) -> Result<Search, StepError> {
    if run.origin == Origin::ManualEverything {
        return Ok(Found::unknown("everything was asked for").into());
    }
    if let Some(count) = baseline.too_many() {
        let why = format!("the caches may hold any of {count} commits");
        return Ok(Found::unknown(why).into());
    }
    change_set::find(ctx, config, run, commit, bases).await
}

/// Ends a run of which it is unknown what changed, or has it wait until that can be known.
async fn fail_unknown(
    ctx: &StepContext,
    mut run: Run,
    baseline: &Baseline,
    held: Vec<Write>,
    why: &str,
    now: Timestamp,
) -> Result<Outcome, StepError> {
    let known = baseline.unknown_until();
    if let Some(known) = known.filter(|known| *known < run.deadline) {
        // Everything was purged, and for as long as the site's `settle` caches may have filled anew with
        // what was there before: what changed can be known from then on.
        run.held_version = None;
        run.summary = format!(
            "Waiting until {}: before, caches may have filled anew from what was live at first",
            known.strftime("%Y-%m-%d %H:%M:%S UTC")
        );
        let shown = show(&run, StatusState::Pending);
        return Ok(Outcome::reschedule(vec![Write::Run(run), shown], known));
    }
    let summary = format!(
        "Unknown what changed: {why}; `purgehook run {} --everything` purges all",
        run.site
    );
    let outcome = end(ctx, run, RunState::Failed, summary, now).await?;
    Ok(outcome.after(held))
}

/// Sets the planned purges on their way, or ends the run where there are none to make.
async fn begin(
    ctx: &StepContext,
    site: &Site,
    mut run: Run,
    planned: Planned,
    mut writes: Vec<Write>,
    now: Timestamp,
) -> Result<Outcome, StepError> {
    let Planned {
        plan,
        what,
        changes,
    } = planned;
    writes.extend(changes);
    for note in &plan.notes {
        info!("{note}");
    }
    let purges = plan.purges.len();
    info!(purges, "planned {purges} purges for {}", run.site);
    run.problems.clone_from(&plan.problems);
    run.notes = kept(&plan.notes);
    if plan.purges.is_empty() {
        let (state, summary) = match run.problems.first() {
            None => (RunState::Succeeded, format!("Nothing to purge: {what}")),
            Some(problem) => {
                let summary = format!("Nothing could be purged: {problem}");
                (RunState::Failed, summary)
            }
        };
        let outcome = end(ctx, run, state, summary, now).await?;
        return Ok(outcome.after(writes));
    }
    let cdns = match &site.mode {
        PurgeMode::DryRun(_) => {
            let outcome = end_dry_run(ctx, run, plan, now).await?;
            return Ok(outcome.after(writes));
        }
        PurgeMode::Live(cdns) => cdns,
    };
    run.step = RunStep::Purging;
    run.summary = format!("Purging {}: {what}", summary::purges(&plan.purges));
    run.waits_for = None;
    writes.push(show(&run, StatusState::Pending));
    // It may take long: no other run leaves its work to it any more.
    writes.push(Write::AdoptSuperseded(run.id.clone()));
    writes.extend(enqueue_purges(cdns, &run, plan.purges, now));
    let deadline = run.deadline;
    writes.push(Write::Run(run));
    Ok(Outcome::reschedule(writes, deadline))
}

/// Ends a dry run with what it would have purged: its purges come into being in a state that no purge queue
/// reads and nothing leads out of.
async fn end_dry_run(
    ctx: &StepContext,
    run: Run,
    plan: plan::Plan,
    now: Timestamp,
) -> Result<Outcome, StepError> {
    let would = summary::purges(&plan.purges);
    let (state, summary) = match plan.problems.first() {
        None => (RunState::Succeeded, format!("Would have purged {would}")),
        Some(problem) => {
            let targets = counted(plan.problems.len(), "target", "targets");
            let summary =
                format!("Would have purged {would}, but {targets} could not be: {problem}");
            (RunState::Failed, summary)
        }
    };
    let rows = plan.purges.into_iter();
    let rows = rows.map(|planned| NewPurge {
        planned,
        account: None,
        state: PurgeState::DryRun,
    });
    let purges = Write::Purges(run.id.clone(), rows.collect());
    let outcome = end(ctx, run, state, summary, now).await?;
    Ok(outcome.after(vec![purges]))
}

/// The other runs of a site that may leave their work to `newer` along with a run, since they say what was live before
/// and which commit they are for.
async fn older_unplanned(
    ctx: &StepContext,
    run: &Run,
    newer: &Run,
) -> Result<Vec<Run>, StoreError> {
    let older = ctx
        .store
        .older_unplanned(&run.site, &newer.id, MAX_SUPERSEDED);
    let mut older = older.await?;
    older.retain(|other| {
        other.id != run.id
            && other.before.is_some()
            && other.commit.id().is_some()
            && other.origin != Origin::ManualEverything
    });
    Ok(older)
}

/// Leaves the work of a run, and of others that have not planned yet, to a newer one of the same site.
fn supersede(
    mut run: Run,
    older: &[Run],
    newer: &Run,
    baseline: &Baseline,
    now: Timestamp,
) -> Outcome {
    let mut writes = baseline.hold_all(&run, older);
    info!("run {} is superseded by {}", run.id, newer.id);
    run.state = RunState::Superseded;
    run.step = RunStep::Ended;
    run.ended_at = Some(now);
    run.covered_by = Some(newer.id.clone());
    run.summary = format!("Covered by {}, which is under way", newer.commit.short());
    writes.push(show(&run, StatusState::Pending));
    if !older.is_empty() {
        writes.push(Write::Supersede {
            runs: older.iter().map(|run| run.id.clone()).collect(),
            by: newer.id.clone(),
            summary: run.summary.clone(),
        });
    }
    writes.push(Write::Run(run));
    Outcome::complete(writes)
}

/// Plans a change, asking for what the plan needs to know on the way.
async fn decide(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
    run: &Run,
    commit: &CommitId,
    change: Change<'_>,
) -> Result<plan::Plan, StepError> {
    let cdns = site.capabilities();
    let draft = match plan::decide(&site.rules, &cdns, site.cover, change) {
        Decision::Plan(plan) => return Ok(plan),
        Decision::NeedsAllowances(draft) => draft,
    };
    let allowances = allowances(ctx, config, site).await?;
    let allowance = |cdn: &str, kind| allowances.get(&(cdn.to_owned(), kind)).copied();
    match draft.with_allowances(allowance) {
        CoverDecision::Plan(plan) => Ok(plan),
        CoverDecision::NeedsObjects(uncovered) => {
            let objects = objects(ctx, config, site, run, commit, uncovered.plan()).await?;
            Ok(uncovered.with_objects(objects))
        }
    }
}

/// What each CDN of a site may still be asked for today.
async fn allowances(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
) -> Result<BTreeMap<(String, PurgeKind), Allowance>, StoreError> {
    let mut allowances = BTreeMap::new();
    match &site.mode {
        PurgeMode::Live(cdns) => {
            for (name, cdn) in cdns {
                let account = cdn.account();
                let Some(handle) = ctx.upstreams.cdn(config, name, &account) else {
                    continue;
                };
                for (kind, limit) in &cdn.limits().kinds {
                    let left = handle.quota_left(*kind, *limit).await?;
                    let line = Line {
                        account: &account,
                        kind: *kind,
                        cdn: name,
                    };
                    let share = quota_shares::largest_share(ctx, config, &site.name, line, left);
                    let allowance = Allowance {
                        per_request: left.per_request,
                        left: Some(share.await?),
                    };
                    allowances.insert((name.clone(), *kind), allowance);
                }
            }
        }
        // A dry run asks no CDN, and nothing was submitted.
        PurgeMode::DryRun(cdns) => {
            for (name, limits) in cdns {
                for (kind, limit) in &limits.kinds {
                    let allowance = Allowance {
                        per_request: limit.per_request,
                        left: Some(limit.per_day),
                    };
                    allowances.insert((name.clone(), *kind), allowance);
                }
            }
        }
    }
    Ok(allowances)
}

/// What the directories above a plan's purges hold at the run's commit. Where the forge does not say it at
/// once, the cover estimates.
async fn objects(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
    run: &Run,
    commit: &CommitId,
    plan: &plan::Plan,
) -> Result<Objects, StepError> {
    let estimated = |why: String| Ok(Objects::Estimated { why });
    let Some(forge) = ctx.upstreams.forge(config, &run.forge) else {
        return estimated(format!("the forge {} cannot be asked", run.forge));
    };
    planner::acquire(ctx, run).await?;
    let files = match tokio::time::timeout(LIST_LIMIT, forge.files(&run.repo, commit)).await {
        Ok(files) => files,
        Err(_) => {
            let of = commit.short();
            return estimated(format!(
                "{} did not list the files of {of} in time",
                run.forge
            ));
        }
    };
    match files {
        Ok(Some(files)) => Ok(Objects::count(&site.rules, &files, plan)),
        Ok(None) => estimated(format!(
            "{} does not list all files of {} at once",
            run.forge,
            commit.short()
        )),
        Err(RequestError::Store(error)) => Err(error.into()),
        Err(RequestError::CircuitOpen(rejection)) => {
            estimated(has_not_answered(&run.forge, rejection.circuit.since))
        }
        Err(RequestError::Failed(error)) => estimated(error.to_string()),
    }
}

/// The notes that are kept with a run: beyond so many, only how many more there are.
fn kept(notes: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = notes.iter().take(MAX_NOTES).cloned().collect();
    let more = notes.len().saturating_sub(MAX_NOTES);
    if more > 0 {
        kept.push(format!("and {more} more of this kind"));
    }
    kept
}

/// A run's purges, and the work that submits them.
fn enqueue_purges(
    cdns: &BTreeMap<String, Arc<dyn Cdn>>,
    run: &Run,
    purges: Vec<PlannedPurge>,
    now: Timestamp,
) -> Vec<Write> {
    let covers = Covers::new(purges.iter().map(|purge| (purge, ())));
    let mut queues = BTreeSet::new();
    let mut rows = Vec::with_capacity(purges.len());
    for purge in &purges {
        // A CDN that is not the site's has no account: that step says so, and fails its purges.
        let account = cdns
            .get(&purge.cdn)
            .map_or_else(|| AccountId::new(purge.cdn.as_str()), |cdn| cdn.account());
        let waits = purge.kind == PurgeKind::Prefetch && !covers.of(purge).is_empty();
        let state = if waits {
            PurgeState::Waiting
        } else {
            queues.insert((account.clone(), purge.kind));
            PurgeState::Planned
        };
        rows.push(NewPurge {
            planned: purge.clone(),
            account: Some(account),
            state,
        });
    }
    let mut writes = vec![Write::Purges(run.id.clone(), rows)];
    for (account, kind) in queues {
        writes.push(Write::Enqueue(WorkKey::Submit { account, kind }, now));
    }
    writes
}
