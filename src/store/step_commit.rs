//! What a step writes: all of it, and what becomes of its work item, in one transaction.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::database::{Dialect, Transaction};
use super::given_up::{self, Target};
use super::held::SiteCaches;
use super::purges::{Migration, NewPurge, PurgeUpdate};
use super::statuses::Posting;
use super::tasks::StoredTask;
use super::work_queue::{Disposition, Lease, WorkKey, apply_disposition, enqueue, enqueue_submits};
use super::{
    Store, StoreError, held, purges, retry_on_conflict, run_starts, runs, statuses, tasks,
    work_queue,
};
use crate::run::{Base, Run, RunChanges, RunId, StatusState, WaitReason};

/// A change to what is kept.
#[derive(Clone, Debug)]
pub enum Write {
    /// How a run stands now. Nothing is written if it has changed since it was read.
    Run(Run),
    /// A run covers all that left their work to it in the end, from now on at first hand.
    AdoptSuperseded(RunId),
    /// What a run found changed.
    Changes(RunId, RunChanges),
    /// A run's plan.
    Purges(RunId, Vec<NewPurge>),
    /// What became of purges.
    Update(PurgeUpdate),
    /// Purges that go to another CDN from now on.
    Migrate(Migration),
    /// A run waits for something outside: its summary and deadline change and
    /// its commit says so, unless the run has ended meanwhile.
    Waiting {
        /// The run.
        run: RunId,
        /// What it waits for.
        reason: WaitReason,
        /// The same for people.
        summary: String,
        /// When the run ends if nothing else ends it.
        deadline: Timestamp,
    },
    /// Something was planned in a run: whoever hands over its purges is to look.
    EnqueueSubmits(RunId),
    /// A batch, new or changed.
    Task(StoredTask),
    /// What a commit should show from now on.
    Status(RunId, StatusState, String),
    /// What a dry run's commit would show: not posted, unless a status of the run was before.
    DryStatus(RunId, StatusState, String),
    /// Runs that have not planned yet, and that no process is running, leave their work to another run.
    Supersede {
        /// The runs.
        runs: Vec<RunId>,
        /// The run that does their work along with its own.
        by: RunId,
        /// What their commits show.
        summary: String,
    },
    /// The runs that left their work to a run say how that ended, and so do their commits.
    ConcludeSuperseded {
        /// The run that did their work along with its own.
        by: RunId,
        /// What their commits show.
        state: StatusState,
        /// The same for people.
        summary: String,
        /// Whether it was a dry run.
        dry_run: bool,
    },
    /// What came of posting the status of a run with this number.
    Posted(RunId, i64, Posting),
    /// Nothing is written unless what a site holds is as of this version still.
    ExpectHeldVersion(SiteCaches, i64),
    /// These caches may hold these commits, as of this version on.
    Hold(SiteCaches, Vec<Base>, i64),
    /// A run purged what these commits of a site differ in: they are held until
    /// the moment only, unless they were held anew after the version.
    ReleaseHeld {
        /// The caches that may hold them.
        caches: SiteCaches,
        /// The commits.
        commits: Vec<Base>,
        /// The version that the run's plan made.
        version: i64,
        /// When they may be forgotten.
        until: Timestamp,
    },
    /// A run gives up targets that were not purged.
    GiveUp(Run, Vec<Target>),
    /// Targets of a site that were given up have been purged after all.
    TakeBack(String, Vec<Target>),
    /// A new run, to be taken up at once.
    NewRun(Run),
    /// Something is to be done, at this time or, if it is due earlier already, then.
    Enqueue(WorkKey, Timestamp),
}

impl Store {
    /// Writes a step's outcome, and what becomes of its work item, in one
    /// transaction. False, and nothing written, if the lease has passed on.
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
        let mut tx = self.database.begin().await?;
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

/// Whether a write leaves something to do at `now`. (What a run's line has planned is wished for, too.)
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
        | Write::TakeBack(_, _) => false,
    }
}

/// Takes hold of every work item that a commit touches, in one order for all:
/// two commits that wish for each other's items would wait for each other otherwise.
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
            // A new run's items are nobody else's yet; others are only known once they are written.
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
                // What has failed of it already is said along with that.
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
        Write::NewRun(run) => {
            runs::insert(tx, std::iter::once(run)).await?;
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
    let free = work_queue::remove_free_runs(tx, runs).await?;
    let superseded = runs::supersede(tx, &free, by, summary, now).await?;
    let state = StatusState::Pending;
    let shown = statuses::want_all(tx, &superseded, state, summary, now).await?;
    let at = statuses::post_superseded_at(now);
    work_queue::enqueue_statuses(tx, &shown, at).await
}

/// Has the runs that left their work to another say how that ended.
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
