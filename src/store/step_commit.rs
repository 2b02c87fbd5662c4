//! Commits a step: all of its writes, and the disposition of its work item, in one transaction.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::database::{Dialect, Transaction};
use super::denials::{self, RepoKey};
use super::given_up::{self, Target};
use super::held::SiteCaches;
use super::purges::{Migration, NewPurge, PurgeUpdate};
use super::statuses::Posting;
use super::tasks::StoredTask;
use super::work_queue::{Disposition, Lease, WorkKey, apply_disposition, enqueue, enqueue_submits};
use super::{
    Store, StoreError, duplicates, held, purges, retry_on_conflict, run_starts, runs, statuses,
    tasks, work_queue,
};
use crate::run::{Base, Origin, Run, RunChanges, RunId, StatusState, WaitReason};

/// A change to stored state.
#[derive(Clone, Debug)]
pub enum Write {
    /// The new state of a run. Fails if the run has changed since it was read.
    Run(Run),
    /// Makes a run the direct successor of all runs that it superseded through others.
    AdoptSuperseded(RunId),
    /// A run's change set.
    Changes(RunId, RunChanges),
    /// A run's plan.
    Purges(RunId, Vec<NewPurge>),
    /// The result of purges.
    Update(PurgeUpdate),
    /// Purges that move to another CDN.
    Migrate(Migration),
    /// A run waits for something outside purgehook: updates its summary, deadline and commit, unless it has ended.
    Waiting {
        /// The run.
        run: RunId,
        /// What it waits for.
        reason: WaitReason,
        /// The same, for people.
        summary: String,
        /// When the run fails if it has not ended by then.
        deadline: Timestamp,
    },
    /// A run has new planned purges: enqueues the submission of each of its queues.
    EnqueueSubmits(RunId),
    /// A new or changed batch.
    Task(StoredTask),
    /// A status that a commit should show.
    Status(RunId, StatusState, String),
    /// A status of a dry run. It is not posted unless an earlier status of the run was.
    DryStatus(RunId, StatusState, String),
    /// Ends runs as superseded if they have not planned yet and no process is running them.
    Supersede {
        /// The runs.
        runs: Vec<RunId>,
        /// The run that does their work.
        by: RunId,
        /// The text for their commits.
        summary: String,
    },
    /// Gives the runs that a run superseded its result, and their commits its status.
    ConcludeSuperseded {
        /// The run that did their work.
        by: RunId,
        /// The status for their commits.
        state: StatusState,
        /// The text for people.
        summary: String,
        /// Whether it was a dry run.
        dry_run: bool,
    },
    /// The result of posting a run's status with this number.
    Posted(RunId, i64, Posting),
    /// Writes nothing unless the site's held commits are still at this version.
    ExpectHeldVersion(SiteCaches, i64),
    /// These caches may hold these commits, as of this version.
    Hold(SiteCaches, Vec<Base>, i64),
    /// A run purged the differences of these held commits: they are released at the given time, unless they were
    /// held again after the version.
    ReleaseHeld {
        /// The caches that may hold them.
        caches: SiteCaches,
        /// The commits.
        commits: Vec<Base>,
        /// The version that the run's plan created.
        version: i64,
        /// When they are released.
        until: Timestamp,
    },
    /// A run gives up targets that it could not purge.
    GiveUp(Run, Vec<Target>),
    /// Targets of a site that were given up have been purged after all.
    TakeBack(String, Vec<Target>),
    /// A run purges everything of a site, because the forge denies read requests.
    PurgedForDenial(RepoKey, String, RunId),
    /// A delivery that was out of order is for the head of its branch.
    ConfirmDelivery(String),
    /// A new run, due at once.
    NewRun(Run),
    /// Enqueues work for a time, or leaves it if it is due earlier.
    Enqueue(WorkKey, Timestamp),
}

impl Store {
    /// Writes a step's outcome and the disposition of its work item in one transaction. If the step has lost its
    /// lease, writes nothing and returns false.
    pub async fn commit(
        &self,
        lease: &Lease,
        writes: &[Write],
        after: Disposition,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        retry_on_conflict(|| self.commit_at_once(lease, writes, after, now)).await
    }

    async fn commit_at_once(
        &self,
        lease: &Lease,
        writes: &[Write],
        after: Disposition,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.begin_background().await?;
        keep_in_order(&mut *tx, lease, writes).await?;
        if !apply_disposition(&mut *tx, lease, after, now).await? {
            return Ok(false);
        }
        for write in writes {
            apply(&mut *tx, write, now).await?;
        }
        if writes.iter().any(|write| makes_work(write, now)) {
            tx.notify().await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

/// Whether a write leaves work that is due at `now`, such as a submission of planned purges.
fn makes_work(write: &Write, now: Timestamp) -> bool {
    match write {
        Write::Enqueue(_, at) => *at <= now,
        Write::Status(_, _, _)
        | Write::DryStatus(_, _, _)
        | Write::Supersede { .. }
        | Write::ConcludeSuperseded { .. }
        | Write::Waiting { .. }
        | Write::EnqueueSubmits(_)
        | Write::NewRun(_) => true,
        Write::Run(_)
        | Write::AdoptSuperseded(_)
        | Write::Changes(_, _)
        | Write::Purges(_, _)
        | Write::Update(_)
        | Write::Migrate(_)
        | Write::Task(_)
        | Write::Posted(_, _, _)
        | Write::ExpectHeldVersion(_, _)
        | Write::Hold(_, _, _)
        | Write::ReleaseHeld { .. }
        | Write::GiveUp(_, _)
        | Write::TakeBack(_, _)
        | Write::ConfirmDelivery(_)
        | Write::PurgedForDenial(_, _, _) => false,
    }
}

/// Locks all work items of a commit in one order, so that two commits that enqueue each other's items cannot
/// deadlock.
async fn keep_in_order(
    tx: &mut dyn Transaction,
    lease: &Lease,
    writes: &[Write],
) -> Result<(), StoreError> {
    if tx.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let mut items = BTreeSet::from([lease.key.columns()]);
    for write in writes {
        match write {
            Write::Enqueue(key, _) => {
                items.insert(key.columns());
            }
            Write::Status(run, _, _) | Write::DryStatus(run, _, _) => {
                items.insert(WorkKey::Status(run.clone()).columns());
            }
            Write::Waiting { run, .. } => {
                items.insert(WorkKey::Run(run.clone()).columns());
                items.insert(WorkKey::Status(run.clone()).columns());
            }
            Write::Supersede { runs, .. } => {
                for run in runs {
                    items.insert(WorkKey::Run(run.clone()).columns());
                    items.insert(WorkKey::Status(run.clone()).columns());
                }
            }
            // No other transaction knows a new run's items yet; the remaining writes learn their items only when
            // they run.
            Write::NewRun(_)
            | Write::ConcludeSuperseded { .. }
            | Write::Run(_)
            | Write::AdoptSuperseded(_)
            | Write::Changes(_, _)
            | Write::Purges(_, _)
            | Write::Update(_)
            | Write::Migrate(_)
            | Write::EnqueueSubmits(_)
            | Write::Task(_)
            | Write::Posted(_, _, _)
            | Write::ExpectHeldVersion(_, _)
            | Write::Hold(_, _, _)
            | Write::GiveUp(_, _)
            | Write::TakeBack(_, _)
            | Write::ConfirmDelivery(_)
            | Write::PurgedForDenial(_, _, _)
            | Write::ReleaseHeld { .. } => {}
        }
    }
    work_queue::lock(tx, items).await
}

async fn apply(tx: &mut dyn Transaction, write: &Write, now: Timestamp) -> Result<(), StoreError> {
    match write {
        Write::Run(run) => {
            runs::update(tx, run).await?;
            work_queue::step_changed(tx, run).await
        }
        Write::AdoptSuperseded(run) => runs::cover(tx, run).await,
        Write::Changes(run, changes) => runs::put_changes(tx, run, changes).await,
        Write::Purges(run, planned) => purges::insert(tx, run, planned).await,
        Write::Update(update) => purges::update(tx, update).await,
        Write::Migrate(to) => purges::migrate(tx, to).await,
        Write::Waiting {
            run,
            reason,
            summary,
            deadline,
        } => {
            if runs::wait(tx, run, reason, summary, *deadline).await? {
                let state = StatusState::Pending;
                statuses::want(tx, run, state, summary, now).await?;
                let at = statuses::post_at(state, now);
                enqueue(tx, &WorkKey::Status(run.clone()), at).await?;
                // Its earlier failures are reported along with this.
                enqueue(tx, &WorkKey::Run(run.clone()), now).await?;
            }
            Ok(())
        }
        Write::EnqueueSubmits(run) => enqueue_submits(tx, run, now).await,
        Write::Task(task) => tasks::put_task(tx, task).await,
        Write::Status(run, state, description) => {
            statuses::want(tx, run, *state, description, now).await?;
            let at = statuses::post_at(*state, now);
            enqueue(tx, &WorkKey::Status(run.clone()), at).await
        }
        Write::DryStatus(run, state, description) => {
            if statuses::want_dry(tx, run, *state, description, now).await? {
                enqueue(tx, &WorkKey::Status(run.clone()), now).await?;
            }
            Ok(())
        }
        Write::Supersede { runs, by, summary } => supersede(tx, runs, by, summary, now).await,
        Write::ConcludeSuperseded {
            by,
            state,
            summary,
            dry_run,
        } => conclude_superseded(tx, by, *state, summary, *dry_run, now).await,
        Write::Posted(run, seq, posting) => statuses::posted(tx, run, *seq, posting).await,
        Write::Enqueue(key, at) => enqueue(tx, key, *at).await,
        Write::ExpectHeldVersion(caches, version) => held::as_of(tx, caches, *version).await,
        Write::Hold(caches, commits, version) => {
            held::hold(tx, caches, commits, *version, now).await
        }
        Write::ReleaseHeld {
            caches,
            commits,
            version,
            until,
        } => held::let_go(tx, caches, commits, *version, *until).await,
        Write::GiveUp(run, targets) => given_up::give_up(tx, run, targets).await,
        Write::TakeBack(site, targets) => given_up::take_back(tx, site, targets).await,
        Write::PurgedForDenial(key, site, run) => denials::put_purged(tx, key, site, run).await,
        Write::ConfirmDelivery(delivery) => duplicates::confirm(tx, delivery).await,
        Write::NewRun(run) => {
            runs::insert(tx, std::iter::once(run)).await?;
            match run.origin {
                Origin::Reconciliation => duplicates::note_head(tx, run).await?,
                Origin::Push
                | Origin::Deployment
                | Origin::Workflow
                | Origin::Pipeline
                | Origin::Release
                | Origin::PageBuild
                | Origin::Manual
                | Origin::ManualEverything => {}
            }
            run_starts::begin(tx, run, now).await
        }
    }
}

async fn supersede(
    tx: &mut dyn Transaction,
    runs: &[RunId],
    by: &RunId,
    summary: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let free = work_queue::remove_free_runs(tx, runs, now).await?;
    let superseded = runs::supersede(tx, &free, by, summary, now).await?;
    let state = StatusState::Pending;
    let shown = statuses::want_all(tx, &superseded, state, summary, now).await?;
    let at = statuses::post_superseded_at(now);
    work_queue::enqueue_statuses(tx, &shown, at).await
}

/// Gives the runs that another run superseded its result.
async fn conclude_superseded(
    tx: &mut dyn Transaction,
    by: &RunId,
    state: StatusState,
    summary: &str,
    dry_run: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    let concluded = runs::conclude_superseded(tx, by, summary, dry_run).await?;
    if concluded.is_empty() {
        return Ok(());
    }
    let shown = statuses::want_all(tx, &concluded, state, summary, now).await?;
    work_queue::enqueue_statuses(tx, &shown, statuses::post_at(state, now)).await
}
