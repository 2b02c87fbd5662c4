//! Runs that leave their work to another run of their site, which does it together with its own.

use jiff::Timestamp;
use tracing::info;

use super::baseline::Baseline;
use super::context::StepContext;
use super::out_of_order;
use super::outcome::Outcome;
use super::policy::statuses::show;
use crate::run::{Run, RunId, RunState, RunStep, StatusState};
use crate::store::{StoreError, UnplannedRun, Work, Write};

/// The maximum number of runs that leave their work to a newer run in one transaction.
const MAX_SUPERSEDED: u32 = 256;

/// The runs of a site that have not planned yet, apart from the run that is about to plan.
pub(super) struct Unplanned {
    /// The newest run created after that run, unless it repeats an earlier one: it does the work of all others.
    pub newer: Option<Run>,
    /// The other runs that may leave their work to another run, oldest first. Each names the commit that was live
    /// before, and its own.
    others: Vec<Run>,
    /// Whether there may be more.
    more: bool,
}

/// Runs whose work a plan does.
pub(super) enum Older {
    /// All of them.
    All(Vec<Run>),
    /// As many as one transaction takes over. There may be more.
    Part(Vec<Run>),
}

impl Unplanned {
    /// The runs that are older than the one that plans. Some of them may wait to ask the forge again, but its plan does
    /// all of their work.
    pub fn older_than(self, run: &Run) -> Older {
        let older = self.others.into_iter().filter(|other| other.id < run.id);
        let older: Vec<Run> = older.collect();
        if self.more && !older.is_empty() {
            Older::Part(older)
        } else {
            Older::All(older)
        }
    }
}

/// The other runs of a run's site that have not planned yet, without newer ones that arrived while the run was claimed:
/// while pushes keep arriving, there is always such a run, and none would ever plan. Runs that repeat an earlier one
/// are left out too: they may end with nothing done, so they neither take over work nor leave theirs.
pub(super) async fn unplanned(
    ctx: &StepContext,
    run: &Run,
    work: &Work,
) -> Result<Unplanned, StoreError> {
    let unplanned = ctx
        .store
        .unplanned(&run.site, &run.id, ctx.now(), MAX_SUPERSEDED)
        .await?;
    let more = u32::try_from(unplanned.len()).is_ok_and(|count| count >= MAX_SUPERSEDED);
    let mut newer = None;
    let mut others = Vec::new();
    for UnplannedRun { run: other, due_at } in unplanned {
        let is_newer = other.id > run.id;
        let waits = other.created_at <= work.claimed_at && due_at > work.claimed_at;
        if is_newer && !work.passed_over_newer && !waits {
            continue;
        }
        if out_of_order::is_repeat(ctx, &other).await? {
            continue;
        }
        if newer.is_none() && is_newer {
            newer = Some(other);
            continue;
        }
        if other.can_be_superseded() {
            others.push(other);
        }
    }
    others.reverse();
    Ok(Unplanned {
        newer,
        others,
        more,
    })
}

/// Leaves the work of runs that have not planned yet to another run. None if there are no such runs.
pub(super) fn leave_to(by: &Run, runs: &[Run]) -> Option<Write> {
    let runs: Vec<RunId> = runs.iter().map(|run| run.id.clone()).collect();
    (!runs.is_empty()).then(|| Write::Supersede {
        runs,
        by: by.id.clone(),
        summary: covered_by(by),
    })
}

fn covered_by(run: &Run) -> String {
    format!("Covered by {}, which is under way", run.commit.short())
}

/// Takes over the work of some older runs of the site. The run stays due.
pub(super) fn take_over(run: &Run, older: &[Run], baseline: &Baseline, now: Timestamp) -> Outcome {
    let mut writes = baseline.hold_all(run, older);
    writes.extend(leave_to(run, older));
    Outcome::reschedule(writes, now)
}

/// Leaves the work of a run, and of the others that wait, to a newer run of the same site.
pub(super) fn supersede(
    mut run: Run,
    waiting: &Unplanned,
    newer: &Run,
    baseline: &Baseline,
    now: Timestamp,
) -> Outcome {
    let mut writes = baseline.hold_all(&run, &waiting.others);
    info!("run {} is superseded by {}", run.id, newer.id);
    run.state = RunState::Superseded;
    run.step = RunStep::Ended;
    run.ended_at = Some(now);
    run.covered_by = Some(newer.id.clone());
    run.summary = covered_by(newer);
    writes.push(show(&run, StatusState::Pending));
    writes.extend(leave_to(newer, &waiting.others));
    writes.push(Write::Run(run));
    Outcome::complete(writes)
}
