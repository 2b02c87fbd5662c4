//! Asks CDNs for the state of an account's tasks, all at once.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::Step;
use super::recover_batch::tasks_of_others;
use crate::account::AccountId;
use crate::cdn::{Batch, InFlight, Report};
use crate::config::Config;
use crate::engine::context::StepContext;
use crate::engine::outcome::{Outcome, StepError};
use crate::engine::policy::backoff::backoff_at_least;
use crate::engine::policy::batches::{self, is_too_early_for_history};
use crate::engine::policy::deadlines::resumed_late;
use crate::engine::policy::migration::migrate;
use crate::engine::policy::task_reports::{
    FollowTrouble, OpenTask, follow_interval, give_up, is_firm, judge,
};
use crate::engine::upstream::{CdnHandle, RequestError};
use crate::purge::{PurgeKind, TaskIds};
use crate::store::{Precondition, StoreError, TaskState, Work, Write};

/// The step that follows an account's tasks of one kind.
pub struct Follow<'a> {
    pub account: &'a AccountId,
    pub kind: PurgeKind,
}

/// The answers of an account's CDNs.
#[derive(Default)]
struct Followed {
    writes: Vec<Write>,
    /// When the tasks that have not ended were submitted.
    running: Vec<Timestamp>,
    /// Set if a CDN could not be asked.
    delay: Option<Delay>,
}

/// How long the CDN asked to wait, if it did.
struct Delay(Option<Duration>);

/// One CDN's answer about its tasks.
enum Answer {
    /// One report per task.
    Reports(Vec<Report>),
    Trouble(FollowTrouble),
}

impl Step for Follow<'_> {
    async fn run(self, ctx: &StepContext, work: &Work) -> Result<Outcome, StepError> {
        let config = ctx.config();
        let mut followed = Followed::default();
        for (cdn, open) in self.open_tasks(ctx).await? {
            self.follow(ctx, &config, work, &cdn, open, &mut followed)
                .await?;
        }
        let Followed {
            writes,
            running,
            delay,
        } = followed;
        let now = ctx.now();
        if let Some(Delay(asked)) = delay {
            let wait = backoff_at_least(work.attempts, ctx.clock.fraction(), asked);
            return Ok(Outcome::postpone(writes, now + wait, work.attempts + 1));
        }
        let Some(youngest) = running.into_iter().max() else {
            return Ok(Outcome::complete(writes));
        };
        let wait = follow_interval(youngest, now);
        Ok(if is_firm(wait) {
            Outcome::postpone(writes, now + wait, 0)
        } else {
            Outcome::reschedule(writes, now + wait)
        })
    }
}

impl Follow<'_> {
    /// The account's unfinished tasks, by CDN.
    async fn open_tasks(
        &self,
        ctx: &StepContext,
    ) -> Result<BTreeMap<String, Vec<OpenTask>>, StoreError> {
        let Self { account, kind } = *self;
        let tasks = ctx.store.tasks(account, kind, TaskState::Running).await?;
        let mut by_cdn: BTreeMap<String, Vec<OpenTask>> = BTreeMap::new();
        if tasks.is_empty() {
            return Ok(by_cdn);
        }
        let mut purges = ctx.store.purges_in_flight(account, kind).await?;
        for task in tasks {
            let purges = purges.remove(&task.id).unwrap_or_default();
            by_cdn.entry(task.cdn.clone()).or_default().push(OpenTask {
                task,
                purges,
                is_found: false,
            });
        }
        Ok(by_cdn)
    }

    /// Follows the tasks of one CDN.
    async fn follow(
        &self,
        ctx: &StepContext,
        config: &Config,
        work: &Work,
        cdn: &str,
        mut open: Vec<OpenTask>,
        followed: &mut Followed,
    ) -> Result<(), StepError> {
        let answer = match ctx.upstreams.cdn(config, cdn, self.account) {
            Some(handle) => ask(ctx, &handle, cdn, &mut open).await?,
            None => {
                let why = format!("the CDN {cdn} is no longer configured");
                Answer::Trouble(FollowTrouble::Operator(why))
            }
        };
        let now = ctx.now();
        let reports = match answer {
            Answer::Reports(reports) => reports,
            Answer::Trouble(FollowTrouble::Later(retry_after)) => {
                followed.delay = Some(Delay(retry_after));
                // The deadlines of its tasks still apply.
                open.iter().map(|_| Report::default()).collect()
            }
            Answer::Trouble(FollowTrouble::Operator(why)) => {
                followed.writes.extend(give_up(open, now, |keys| {
                    batches::fail(keys, &why, Precondition::Open, now)
                }));
                return Ok(());
            }
            Answer::Trouble(FollowTrouble::Migrated(why)) => {
                let moved = |keys| migrate(config, cdn, self.kind, keys, &why, now);
                followed.writes.extend(give_up(open, now, moved));
                return Ok(());
            }
        };
        for (mut open, report) in open.into_iter().zip(reports) {
            let task = &mut open.task;
            let submitted_at = task.submitted_at;
            let begins_anew = now >= task.deadline && resumed_late(work, now);
            if begins_anew {
                task.deadline = now + task.deadline.duration_since(submitted_at);
            }
            if begins_anew || open.is_found {
                followed.writes.push(Write::Task(open.task.clone()));
            }
            let (writes, is_over) = judge(open, &report, now);
            followed.writes.extend(writes);
            followed.running.extend((!is_over).then_some(submitted_at));
        }
        Ok(())
    }
}

/// Asks one CDN for the state of its tasks. Tasks without an id are looked up in its history first.
async fn ask(
    ctx: &StepContext,
    cdn: &CdnHandle<'_>,
    name: &str,
    open: &mut [OpenTask],
) -> Result<Answer, StoreError> {
    let mut in_flight: Vec<InFlight> = Vec::with_capacity(open.len());
    for open in open.iter_mut() {
        let task = &open.task;
        let mut flight = InFlight {
            task: task.vendor_id.clone(),
            submitted_at: task.submitted_at,
            batch: Batch {
                kind: task.kind,
                mode: task.mode,
                targets: batches::targets(&open.purges),
            },
        };
        // Until the history shows all batches, another one in it could be mistaken for this one.
        if flight.task.is_none()
            && !flight.batch.targets.is_empty()
            && !is_too_early_for_history(task, ctx.now())
        {
            let mut others = tasks_of_others(ctx, task).await?;
            let identified = in_flight.iter().filter_map(|other| other.task.as_ref());
            others.extend(identified.flat_map(TaskIds::iter).cloned());
            match cdn.find(&flight, &others).await {
                Ok(Some(id)) => {
                    flight.task = Some(id.clone());
                    open.task.vendor_id = Some(id);
                    open.is_found = true;
                }
                Ok(None) => {}
                Err(RequestError::Store(error)) => return Err(error),
                Err(RequestError::CircuitOpen(rejection)) => {
                    let later = FollowTrouble::Later(Some(rejection.wait));
                    return Ok(Answer::Trouble(later));
                }
                Err(RequestError::Failed(error)) => {
                    warn!(cdn = name, "cannot read the history: {error}");
                }
            }
        }
        in_flight.push(flight);
    }
    Ok(match cdn.follow(&in_flight).await {
        Ok(reports) if reports.len() == open.len() => Answer::Reports(reports),
        Ok(_) => Answer::Trouble(FollowTrouble::Later(None)),
        Err(RequestError::Store(error)) => return Err(error),
        Err(RequestError::CircuitOpen(rejection)) => {
            Answer::Trouble(FollowTrouble::Later(Some(rejection.wait)))
        }
        Err(RequestError::Failed(error)) => {
            warn!(cdn = name, code = %error.kind, "cannot see how tasks stand: {error}");
            Answer::Trouble(error.into())
        }
    })
}
