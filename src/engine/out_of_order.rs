//! Pushes that arrive out of order: old ones that are sent again, and late ones.
//!
//! The forge is asked for the head of the branch. A run for another commit purges nothing: it would fill caches with
//! content that is no longer live. Caches may still hold what such a push brought, so its commits become held. If the
//! push names a commit that no run was for, a run for the head purges at once what the push brought.

use std::time::Duration;

use jiff::Timestamp;
use tracing::info;

use super::baseline::Baseline;
use super::context::StepContext;
use super::new_run::new_run;
use super::outcome::{Outcome, StepError};
use super::policy::deadlines::FORGE_REPLICA_LAG;
use super::policy::statuses::show;
use super::upstream::RequestError;
use crate::config::{Config, Site};
use crate::event::{CommitId, CommitRef, GitRef};
use crate::run::{Arrival, Base, Origin, Run, RunState, RunStep, StatusState};
use crate::store::{RunFilter, StoreError, WorkKey, Write};

/// The newest runs for the head to search for a run that has purged what a late push brought.
const MAX_RUNS_OF_HEAD: u32 = 5;
/// The runs that have not planned yet to search for pushes that lead to the head.
const MAX_PENDING: u32 = 256;
/// How long a late run waits before it checks again whether another run has purged what its push brought.
const COVERING_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Runs per read in the search for the newest run that counts.
const RUNS_PER_READ: u32 = 50;
/// The maximum number of such reads.
const MAX_READS: usize = 20;

/// What happens to a run whose delivery came out of order.
pub(super) enum Order {
    /// The run plans, and adds these writes.
    Plans(Vec<Write>),
    /// The run ends without a plan, or waits.
    Ends(Outcome),
}

/// The head of a branch, if a run is for another commit.
struct OtherHead<'a> {
    site: &'a Site,
    branch: &'a str,
    head: CommitId,
    /// The newest runs for the head.
    runs: Vec<Run>,
}

/// Whether a run is still for the head of its branch. If the forge does not answer, it is taken to be.
pub(super) async fn check(
    ctx: &StepContext,
    config: &Config,
    site: &Site,
    run: &Run,
    commit: &CommitId,
    baseline: &Baseline,
) -> Result<Order, StepError> {
    let branch = match (run.arrival, &run.git_ref) {
        (Arrival::OutOfOrder | Arrival::Repeated, Some(GitRef::Branch(branch))) => branch,
        _ => return Ok(Order::Plans(Vec::new())),
    };
    let Some(forge) = ctx.upstreams.forge(config, &run.forge) else {
        return Ok(Order::Plans(Vec::new()));
    };
    let head = match forge.branch_head(&run.repo, branch).await {
        Ok(head) if head == *commit => {
            let delivery = run.delivery.iter().cloned();
            return Ok(Order::Plans(delivery.map(Write::ConfirmDelivery).collect()));
        }
        Ok(head) => head,
        Err(RequestError::Store(error)) => return Err(error.into()),
        Err(RequestError::CircuitOpen(_) | RequestError::Failed(_)) => {
            return Ok(Order::Plans(Vec::new()));
        }
    };
    let of_head = RunFilter {
        site: Some(run.site.clone()),
        commit: Some(head.clone()),
        limit: MAX_RUNS_OF_HEAD,
        ..RunFilter::default()
    };
    let other = OtherHead {
        site,
        branch,
        runs: ctx.store.runs(&of_head).await?,
        head,
    };
    // Some of the forge's servers may not know the latest push yet. A known push that leads to the head is proof.
    let sure_at = run.created_at + FORGE_REPLICA_LAG;
    let is_sure = ctx.now() >= sure_at
        || !is_repeat(ctx, run).await? && other.is_after(ctx, run, commit).await?;
    if !is_sure {
        return Ok(Order::Ends(Outcome::reschedule(Vec::new(), sure_at)));
    }
    let outcome = other.leave(ctx, run, commit, baseline).await?;
    Ok(Order::Ends(outcome))
}

impl OtherHead<'_> {
    /// Whether known pushes lead from a run's commit to the head: then the forge's answer is not outdated.
    async fn is_after(
        &self,
        ctx: &StepContext,
        run: &Run,
        commit: &CommitId,
    ) -> Result<bool, StoreError> {
        let covered = ctx.store.covered_by([&run.id]).await?;
        let pending = ctx
            .store
            .unplanned(&run.site, &run.id, ctx.now(), MAX_PENDING)
            .await?;
        let known = self
            .runs
            .iter()
            .chain(&covered)
            .chain(pending.iter().map(|pending| &pending.run));
        let mut moves: Vec<(&CommitId, &CommitId)> = known
            .filter(|other| other.git_ref == run.git_ref)
            .filter_map(|other| Some((other.before.as_ref()?, other.commit.id()?)))
            .collect();
        let mut reached = vec![commit];
        while let Some(at) = reached.pop() {
            if *at == self.head {
                return Ok(true);
            }
            // Each push is followed once.
            let (from_here, others): (Vec<_>, Vec<_>) =
                moves.into_iter().partition(|(from, _)| *from == at);
            reached.extend(from_here.into_iter().map(|(_, to)| to));
            moves = others;
        }
        Ok(false)
    }

    /// Ends a run whose commit is not the head of its branch.
    async fn leave(
        &self,
        ctx: &StepContext,
        run: &Run,
        commit: &CommitId,
        baseline: &Baseline,
    ) -> Result<Outcome, StepError> {
        let now = ctx.now();
        let earlier = of_commit(ctx, run, commit).await?;
        let began_known = match &run.before {
            Some(before) => of_commit(ctx, run, before).await?.is_some(),
            None => false,
        };
        let covers_others = ctx.store.covers_others(&run.id).await?;
        let mut writes = match run.arrival {
            // The newest delivery ended where this one begins: both of its commits were purged, or are held.
            Arrival::Repeated if began_known && earlier.is_some() => Vec::new(),
            Arrival::InOrder | Arrival::OutOfOrder | Arrival::Repeated => baseline.hold(run),
        };
        if !covers_others {
            if let Some(earlier) = &earlier {
                writes.extend(shows_again(ctx, run, earlier, now).await?);
                if !began_known {
                    writes.push(Write::NewRun(self.run_for_head(ctx, run)));
                }
                return Ok(self.end(run.clone(), writes, now));
            }
            match self.covering(run, commit) {
                // If the pending run ended first, it would not find this run to give it its result.
                Some(covering) if covering.state == RunState::Pending => {
                    return Ok(Outcome::reschedule(
                        Vec::new(),
                        now + COVERING_LOOK_INTERVAL,
                    ));
                }
                Some(covering) => {
                    // Provided that no run has left its work to this one in the meantime.
                    let unchanged = vec![baseline.expect_unchanged(run)];
                    return Ok(self.leave_to(
                        run.clone(),
                        covering,
                        StatusState::Success,
                        unchanged,
                        now,
                    ));
                }
                None => {}
            }
            if !began_known && !self.is_after(ctx, run, commit).await? {
                // The push is older than all known ones: nothing is urgent.
                writes.push(show(&self.ended(run.clone(), now), StatusState::Error));
                return Ok(self.end(run.clone(), writes, now));
            }
        }
        let next = self.run_for_head(ctx, run);
        writes.push(Write::NewRun(next.clone()));
        Ok(self.leave_to(run.clone(), &next, StatusState::Pending, writes, now))
    }

    fn run_for_head(&self, ctx: &StepContext, run: &Run) -> Run {
        let (origin, head) = (Origin::Reconciliation, CommitRef::Id(self.head.clone()));
        new_run(&ctx.clock, self.site, origin, run.git_ref.clone(), head)
    }

    /// A run for the head that has purged what a push to `commit` brought, or will.
    fn covering(&self, run: &Run, commit: &CommitId) -> Option<&Run> {
        let brought = run.before.iter().chain([commit]).cloned();
        let brought: Vec<Base> = brought.map(Base::Commit).collect();
        self.runs.iter().find(|covering| {
            let purges = matches!(covering.state, RunState::Pending | RunState::Succeeded);
            let covers = brought.iter().all(|base| covering.bases.contains(base));
            purges && covers && covering.held_version.is_some()
        })
    }

    /// The run, ended as superseded with no work left.
    fn ended(&self, mut run: Run, now: Timestamp) -> Run {
        run.summary = format!("Superseded: {} is at {}", self.branch, self.head.short());
        run.state = RunState::Superseded;
        run.step = RunStep::Ended;
        run.ended_at = Some(now);
        run.waits_for = None;
        run
    }

    fn end(&self, run: Run, mut writes: Vec<Write>, now: Timestamp) -> Outcome {
        let run = self.ended(run, now);
        info!("run {} ended: {}", run.id, run.summary);
        writes.push(Write::Run(run));
        Outcome::complete(writes)
    }

    /// Leaves a run's work to a run for the head.
    fn leave_to(
        &self,
        run: Run,
        to: &Run,
        state: StatusState,
        mut writes: Vec<Write>,
        now: Timestamp,
    ) -> Outcome {
        let mut run = self.ended(run, now);
        run.covered_by = Some(to.id.clone());
        run.summary = match state {
            StatusState::Success => format!("Covered by {}: {}", to.commit.short(), to.summary),
            StatusState::Pending | StatusState::Failure | StatusState::Error => {
                format!("Covered by {}, where {} is", to.commit.short(), self.branch)
            }
        };
        info!("run {} is superseded by {}", run.id, to.id);
        writes.push(show(&run, state));
        writes.push(Write::Run(run));
        Outcome::complete(writes)
    }
}

/// Makes a commit show the result of an earlier run again, in case it has shown that this run is in progress.
async fn shows_again(
    ctx: &StepContext,
    run: &Run,
    earlier: &Run,
    now: Timestamp,
) -> Result<Vec<Write>, StoreError> {
    let Some(last) = ctx.store.statuses(&earlier.id).await?.pop() else {
        return Ok(Vec::new());
    };
    let text = last.description;
    let mut writes = vec![match run.dry_run {
        true => Write::DryStatus(run.id.clone(), last.state, text),
        false => Write::Status(run.id.clone(), last.state, text),
    }];
    if last.posted_at.is_none() && !earlier.dry_run {
        // The status may have been withheld since this run was created.
        writes.push(Write::Enqueue(WorkKey::Status(earlier.id.clone()), now));
    }
    Ok(writes)
}

/// The newest earlier run of the site for a commit, without the runs for which `is_left` holds.
async fn of_commit(
    ctx: &StepContext,
    run: &Run,
    commit: &CommitId,
) -> Result<Option<Run>, StoreError> {
    let filter = RunFilter {
        site: Some(run.site.clone()),
        commit: Some(commit.clone()),
        before: Some(run.id.clone()),
        limit: RUNS_PER_READ,
        ..RunFilter::default()
    };
    let runs = ctx.store.runs(&filter).await?;
    Ok(runs.into_iter().find(|run| !is_left(run)))
}

/// Whether an earlier run of the site was for the same commit, so that the delivery is not new.
pub(super) async fn is_repeat(ctx: &StepContext, run: &Run) -> Result<bool, StoreError> {
    Ok(match (run.arrival, run.commit.id()) {
        (Arrival::OutOfOrder | Arrival::Repeated, Some(commit)) => {
            of_commit(ctx, run, commit).await?.is_some()
        }
        (Arrival::InOrder, _) | (_, None) => false,
    })
}

/// Whether a run ended because its branch had another head, and nothing was done for it.
pub(super) fn is_left(run: &Run) -> bool {
    run.state == RunState::Superseded && run.covered_by.is_none()
}

/// The newest run of a site at a ref, without the runs for which `is_left` holds.
pub(super) async fn newest_run(
    ctx: &StepContext,
    site: &str,
    git_ref: Option<&GitRef>,
) -> Result<Option<Run>, StoreError> {
    let mut oldest = match ctx.store.newest_run(site, git_ref).await? {
        Some(newest) if is_left(&newest) => newest,
        newest => return Ok(newest),
    };
    for _ in 0..MAX_READS {
        let filter = RunFilter {
            site: Some(site.to_owned()),
            before: Some(oldest.id.clone()),
            limit: RUNS_PER_READ,
            ..RunFilter::default()
        };
        let runs = ctx.store.runs(&filter).await?;
        let of_ref = |run: &&Run| git_ref.is_none() || run.git_ref.as_ref() == git_ref;
        if let Some(counts) = runs.iter().filter(of_ref).find(|run| !is_left(run)) {
            return Ok(Some(counts.clone()));
        }
        match runs.into_iter().last() {
            Some(last) => oldest = last,
            None => return Ok(None),
        }
    }
    Ok(Some(oldest))
}
