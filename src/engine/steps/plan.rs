//! Computes the change set and plans the purges, or leaves the run's work to a newer run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::info;

use super::Step;
use crate::account::AccountId;
use crate::cdn::Cdn;
use crate::changes::Completeness;
use crate::config::{Config, PurgeMode, Site, WhenUnknown};
use crate::engine::baseline::Baseline;
use crate::engine::change_set::{self, Found, Search};
use crate::engine::context::StepContext;
use crate::engine::denied_access::{self, WhenDenied};
use crate::engine::ending::{end, end_unable};
use crate::engine::out_of_order::{self, Order};
use crate::engine::outcome::{Outcome, StepError};
use crate::engine::plan_decision::decide;
use crate::engine::planner;
use crate::engine::policy::forge_retries::{ask_again, may_ask_again};
use crate::engine::policy::prefetch::Covers;
use crate::engine::policy::statuses::show;
use crate::engine::policy::summary;
use crate::engine::superseding::{Older, leave_to, supersede, take_over, unplanned};
use crate::event::CommitId;
use crate::forge::ForgeError;
use crate::numerals::counted;
use crate::plan::{self, Change, Problem};
use crate::purge::{PlannedPurge, PurgeKind, PurgeState};
use crate::run::{Base, Origin, Run, RunChanges, RunState, RunStep, StatusState};
use crate::store::{NewPurge, Target, Work, WorkKey, Write};

/// The maximum number of notes stored with a run.
const MAX_NOTES: usize = 50;

/// The step of a run that plans its purges.
pub struct Plan<'a> {
    pub config: &'a Config,
    pub site: &'a Site,
    pub run: Run,
    /// The run's commit.
    pub commit: CommitId,
}

/// A run's plan and its reasons.
struct Planned {
    plan: plan::Plan,
    /// What changed, in words.
    what: String,
    /// The writes that record what changed.
    changes: Vec<Write>,
    /// Targets that an earlier attempt of the run gave up, and that this one can request or does not want.
    mended: Vec<Target>,
}

impl Step for Plan<'_> {
    async fn run(self, ctx: &StepContext, work: &Work) -> Result<Outcome, StepError> {
        let Self {
            config,
            site,
            mut run,
            commit,
        } = self;
        let baseline = Baseline::load(&ctx.store, Some(site), &run, ctx.now()).await?;
        if baseline.planner(&run).is_some() {
            return Err(planner::is_taken(ctx));
        }
        let by_hand = run.origin == Origin::ManualEverything;
        let again = baseline.redeploys_everything();
        let everything = by_hand || again;
        // Where the unknown makes runs fail, it is not held, and a newer run would purge less.
        let is_on_its_own = by_hand || again && site.when_unknown == WhenUnknown::Fail;
        let waiting = unplanned(ctx, &run, work).await?;
        if let Some(newer) = &waiting.newer
            && !is_on_its_own
            && newer.commit.id().is_some()
            && !out_of_order::is_repeat(ctx, &run).await?
        {
            return Ok(supersede(run, &waiting, newer, &baseline, ctx.now()));
        }

        let ordered = out_of_order::check(ctx, config, site, &run, &commit, &baseline).await?;
        let confirmed = match ordered {
            Order::Plans(confirmed) => confirmed,
            Order::Ends(outcome) => return Ok(outcome),
        };
        let older = match waiting.older_than(&run) {
            Older::All(older) => older,
            Older::Part(older) => return Ok(take_over(&run, &older, &baseline, ctx.now())),
        };
        let bases = baseline.bases(&run, &older);
        let searched = search(ctx, config, &run, &older, &commit, &baseline, &bases).await?;
        let (changes, for_denial) = match found(ctx, site, &run, searched, work).await? {
            Searched::Changes(changes, writes) => (changes, writes),
            Searched::NotYet(outcome) => return Ok(outcome),
        };
        let now = ctx.now();
        ctx.pace.plans(&run.site, now, ctx.clock.fraction());
        run.waits_for = None;
        run.bases = bases;
        run.held_version = Some(baseline.next_version());
        let mut held = baseline.hold_all(&run, &older);
        held.extend(confirmed);
        held.extend(for_denial);
        held.extend(leave_to(&run, &older));
        let planned = match changes {
            Found::Known { proof, changes } => {
                run.proof = Some(Completeness::Proven(proof));
                plan_changes(ctx, config, site, &run, &commit, changes).await?
            }
            Found::Unknown { why } => {
                run.proof = Some(Completeness::Unknown);
                if !everything && site.when_unknown == WhenUnknown::Fail {
                    return fail_unknown(ctx, run, &baseline, held, &why, now).await;
                }
                plan_everything(ctx, config, site, &run, &commit, &why).await?
            }
        };
        let planned = leave_out(ctx, config, site, &run, &commit, planned).await?;
        begin(ctx, site, run, planned, held, now).await
    }
}

/// The result of computing a run's change set.
enum Searched {
    /// The run plans, and adds these writes.
    Changes(Found, Vec<Write>),
    /// The run tries again later.
    NotYet(Outcome),
}

/// Decides by a search's result whether a run plans or waits for the forge.
async fn found(
    ctx: &StepContext,
    site: &Site,
    run: &Run,
    searched: Search,
    work: &Work,
) -> Result<Searched, StepError> {
    let now = ctx.now();
    let unknown = |why: String| Searched::Changes(Found::unknown(why), Vec::new());
    Ok(match searched {
        Search::Found(changes) => Searched::Changes(changes, Vec::new()),
        Search::Failed(ForgeError::Later {
            message,
            retry_after,
            ..
        }) if may_ask_again(run, work, retry_after, now) => {
            let mut run = run.clone();
            run.summary = format!("Finding out what changed; trying again: {message}");
            let fraction = ctx.clock.fraction();
            Searched::NotYet(ask_again(run, work, &message, retry_after, now, fraction))
        }
        Search::Failed(ForgeError::Denied { message, .. }) => {
            match denied_access::turn(ctx, site, run).await? {
                WhenDenied::Act(writes) => Searched::Changes(Found::unknown(message), writes),
                WhenDenied::Wait => {
                    let run = run.clone();
                    Searched::NotYet(denied_access::wait(ctx, run, &message, now).await?)
                }
            }
        }
        Search::Failed(error) => unknown(error.to_string()),
    })
}

/// The plan for a change set.
async fn plan_changes(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
    run: &Run,
    commit: &CommitId,
    changes: RunChanges,
) -> Result<Planned, StepError> {
    let change = Change::Files(changes.files());
    Ok(Planned {
        plan: decide(ctx, config, site, run, commit, change).await?,
        what: summary::files(&changes),
        changes: vec![Write::Changes(run.id.clone(), changes)],
        mended: Vec::new(),
    })
}

/// The plan for an unknown change set.
async fn plan_everything(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
    run: &Run,
    commit: &CommitId,
    why: &str,
) -> Result<Planned, StepError> {
    let change = Change::Unknown { why };
    Ok(Planned {
        plan: decide(ctx, config, site, run, commit, change).await?,
        what: format!("unknown what changed ({why}), so everything is purged"),
        changes: Vec::new(),
        mended: Vec::new(),
    })
}

/// Leaves out targets that were given up and have not changed since, unless everything is purged or it is a dry run.
async fn leave_out(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
    run: &Run,
    commit: &CommitId,
    mut planned: Planned,
) -> Result<Planned, StepError> {
    match &site.mode {
        PurgeMode::Live(_) if run.proof != Some(Completeness::Unknown) => {}
        PurgeMode::Live(_) | PurgeMode::DryRun(_) => return Ok(planned),
    }
    let given_up = ctx.store.given_up(&site.name).await?;
    let (own, mut given_up): (Vec<_>, Vec<_>) = given_up
        .into_iter()
        .partition(|given_up| given_up.run == run.id);
    let problems: BTreeSet<Target> = planned.plan.problems.iter().map(Target::from).collect();
    let own = own.into_iter().map(|given_up| given_up.target);
    planned.mended = own.filter(|target| !problems.contains(target)).collect();
    let purges = planned.plan.purges.iter().map(Target::from);
    let wanted: BTreeSet<Target> = purges.chain(problems).collect();
    given_up.retain(|given_up| wanted.contains(&given_up.target));
    let commits: BTreeSet<CommitId> = given_up
        .iter()
        .filter_map(|given_up| given_up.commit.id().cloned())
        .collect();
    for since in commits {
        let bases = [Base::Commit(since.clone())];
        let changes = change_set::find(ctx, config, run, &[], commit, &bases).await?;
        // What may have changed is requested again.
        let Search::Found(Found::Known { changes, .. }) = changes else {
            continue;
        };
        let change = Change::Files(changes.files());
        let plan = decide(ctx, config, site, run, commit, change).await?;
        let purges = plan.purges.iter().map(Target::from);
        let changed: BTreeSet<Target> = purges
            .chain(plan.problems.iter().map(Target::from))
            .collect();
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
        let is_wanted = |problem: &Problem| !left_out.contains(&Target::from(problem));
        planned.plan.problems.retain(is_wanted);
    }
    Ok(planned)
}

/// The change set, unless it cannot be known or does not matter.
async fn search(
    ctx: &StepContext,
    config: &Config,
    run: &Run,
    older: &[Run],
    commit: &CommitId,
    baseline: &Baseline,
    bases: &[Base],
) -> Result<Search, StepError> {
    if run.origin == Origin::ManualEverything {
        return Ok(Found::unknown("everything was asked for").into());
    }
    if baseline.redeploys_everything() {
        return Ok(Found::unknown("the commit was deployed before").into());
    }
    if let Some(count) = baseline.too_many() {
        let why = format!("the caches may hold any of {count} commits");
        return Ok(Found::unknown(why).into());
    }
    change_set::find(ctx, config, run, older, commit, bases).await
}

/// Ends a run whose change set is unknown, or makes it wait until it can be known.
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
        // Everything was purged, but during the site's `settle` caches may have stored older content again. After that
        // the change set can be known.
        run.held_version = None;
        run.summary = format!(
            "Waiting until {}: before, caches may have filled anew from what was live at first",
            known.strftime("%Y-%m-%d %H:%M:%S UTC")
        );
        let shown = show(&run, StatusState::Pending);
        return Ok(Outcome::reschedule(vec![Write::Run(run), shown], known));
    }
    let summary = format!(
        "Unknown what changed: {why}; `purgehook run {} --everything` purges everything",
        run.site
    );
    let outcome = end(ctx, run, RunState::Failed, summary, now).await?;
    Ok(outcome.after(held))
}

/// Starts the planned purges, or ends the run if there are none.
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
        mended,
    } = planned;
    writes.extend(changes);
    if !mended.is_empty() {
        writes.push(Write::TakeBack(run.site.clone(), mended));
    }
    for note in &plan.notes {
        info!("{note}");
    }
    let purges = plan.purges.len();
    info!(purges, "planned {purges} purges for {}", run.site);
    let problems = plan.problems.iter();
    run.problems = problems.map(|problem| problem.words.clone()).collect();
    run.notes = kept(&plan.notes);
    if let (PurgeMode::Live(_), false) = (&site.mode, plan.problems.is_empty()) {
        run.notes.push(unable_advice(&run, plan.problems.len()));
        let targets = plan.problems.iter().map(Target::from).collect();
        writes.push(Write::GiveUp(run.clone(), targets));
    }
    if plan.purges.is_empty() {
        let outcome = match run.problems.first() {
            None => {
                let summary = format!("Nothing to purge: {what}");
                end(ctx, run, RunState::Succeeded, summary, now).await?
            }
            Some(problem) => {
                let summary = format!("Nothing could be purged: {problem}");
                end_unable(ctx, run, summary, now).await?
            }
        };
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
    // This may take long: from now on, no other run leaves its work to this one.
    writes.push(Write::AdoptSuperseded(run.id.clone()));
    writes.extend(enqueue_purges(cdns, &run, plan.purges, now));
    let deadline = run.deadline;
    writes.push(Write::Run(run));
    Ok(Outcome::reschedule(writes, deadline))
}

/// What to do about targets that cannot be requested from a CDN.
fn unable_advice(run: &Run, targets: usize) -> String {
    let targets = counted(targets, "target", "targets");
    format!(
        "{targets} will not be asked for again until what they show changes. \
         When the rules are mended: `purgehook retry {}`",
        run.id
    )
}

/// Ends a dry run with what it would have purged. Its purges are stored in a final state that no purge queue reads.
async fn end_dry_run(
    ctx: &StepContext,
    run: Run,
    plan: plan::Plan,
    now: Timestamp,
) -> Result<Outcome, StepError> {
    let would = summary::purges(&plan.purges);
    let rows = plan.purges.into_iter();
    let rows = rows.map(|planned| NewPurge {
        planned,
        account: None,
        state: PurgeState::DryRun,
    });
    let purges = Write::Purges(run.id.clone(), rows.collect());
    let outcome = match run.problems.first() {
        None => {
            let summary = format!("Would have purged {would}");
            end(ctx, run, RunState::Succeeded, summary, now).await?
        }
        Some(problem) => {
            let targets = counted(run.problems.len(), "target", "targets");
            let summary =
                format!("Would have purged {would}, but {targets} could not be: {problem}");
            end_unable(ctx, run, summary, now).await?
        }
    };
    Ok(outcome.after(vec![purges]))
}

/// The notes to store with a run: the first ones, and the number of the others.
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
        // A CDN that is not the site's has no account: the submission reports this and fails the purges.
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
