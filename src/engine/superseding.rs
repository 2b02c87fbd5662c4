//! Runs that leave their work to another run of their site, which does it together with its own.

use jiff::Timestamp;
use tracing::info;

use super::baseline::Baseline;
use super::context::StepContext;
use super::out_of_order;
use super::outcome::Outcome;
use super::policy::statuses::show;
use crate::run::{Origin, Run, RunId, RunState, RunStep, StatusState};
use crate::store::{StoreError, Write};

/// The maximum number of runs that leave their work to a newer run in one transaction.
const MAX_SUPERSEDED: u32 = 256;

/// The runs of a site that have not planned yet, apart from the run that is about to plan.
pub(super) struct Unplanned {
    /// The newest run created after that run, unless it repeats an earlier one: it does the work of all others.
    pub newer: Option<Run>,
    /// The other runs that may leave their work to another run, oldest first. Each names the commit that was live
    /// before, and its own.
    pub others: Vec<Run>,
}

/// The other runs of a run's site that have not planned yet. Runs that repeat an earlier one are left out: they may end
/// with nothing done, so they neither take over work nor leave theirs.
pub(super) async fn unplanned(ctx: &StepContext, run: &Run) -> Result<Unplanned, StoreError> {
    let unplanned = ctx
        .store
        .unplanned(&run.site, &run.id, MAX_SUPERSEDED)
        .await?;
    let mut newer = None;
    let mut others = Vec::new();
    for other in unplanned {
        if out_of_order::is_repeat(ctx, &other).await? {
            continue;
        }
        if newer.is_none() && other.id > run.id {
            newer = Some(other);
            continue;
        }
        let says_all = other.before.is_some() && other.commit.id().is_some();
        if says_all && other.origin != Origin::ManualEverything {
            others.push(other);
        }
    }
    others.reverse();
    Ok(Unplanned { newer, others })
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

/// Leaves the work of a run, and of older ones that have not planned yet, to a newer run of the same site.
pub(super) fn supersede(
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
    run.summary = covered_by(newer);
    writes.push(show(&run, StatusState::Pending));
    writes.extend(leave_to(newer, older));
    writes.push(Write::Run(run));
    Outcome::complete(writes)
}
